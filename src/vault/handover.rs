//! Keys of a fleet on their way to another of its vaults, sealed to that vault's attested channel key (DESIGN section 7).
//!
//! ```text
//! who joins                                   a vault of the fleet
//! Recipient -- its public key --> attested, named in a statement of both signers
//!                                             Vault::obey(statement)
//! Custody::receive <-- sealed to that key --- Vault::hand_over; to founders, Custody::hand_over
//! ```
//!
//! Members get the keys of epochs and never a root (DESIGN section 5): a [`MemberRoot`] keeps them sealed under a root of the
//! member's own. Keys that turn at one vault come to the others in the same way: [`super::aside`], [`super::follow`].
//!
//! | id | invariant |
//! |---|---|
//! | V13 | keys are handed to nobody but a member that the last statement of both signers names, under the channel key that it names |
//! | V14 | keys are taken only by the member and fleet that they were sealed for, and never in the place of newer ones |

use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Vault;
use super::custody::{Custody, Keeper, KeyStore};
use super::keys::FleetSecrets;
use super::member_root::{Epochs, MemberRoot, boxed, read_epochs, write_epochs};
use super::ring::Ring;
use super::turn::{Named, older_copy, other_keys};
use crate::error::Fault;
use crate::ledger::Signers;
use crate::limits::HANDED_MAX;
use crate::session::{self, PUBLIC_KEY_LEN, Recipient};
use crate::transparency::{Note, Statement};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::{EpochKey, EpochKeys, RootSource};

const VERSION: u8 = 1;
const HANDOVER: &[u8] = b"strongroom hand over v1";

/// To whom keys are handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The fleet's id.
    pub fleet: [u8; 32],
    /// The member's number.
    pub member: u64,
}

impl Receiver {
    fn info(&self) -> Vec<u8> {
        [HANDOVER, &self.fleet, &self.member.to_be_bytes()].concat()
    }
}

/// What is in a message.
pub(super) struct Handed {
    secrets: Box<FleetSecrets>,
    /// The newest last.
    epochs: Epochs,
}

impl Handed {
    pub(super) fn of(secrets: &FleetSecrets, root: &dyn RootSource, epochs: &EpochKeys) -> Result<Self, Fault> {
        let epochs = epochs.epochs().map(|epoch| Ok((epoch, boxed(root.derive(epoch)?.expose()))));
        Ok(Handed { secrets: secrets.same(), epochs: epochs.collect::<Result<_, Fault>>()? })
    }

    pub(super) fn serial(&self) -> u32 {
        self.secrets.serial
    }

    /// Whether these are the keys that a journal names.
    pub(super) fn is(&self, named: &Named) -> Result<bool, Fault> {
        let Some((newest, key)) = self.epochs.last() else { return Ok(false) };
        Ok(Named::of(&self.secrets, &EpochKeys::new(*newest, key))? == *named)
    }

    /// Leaves out the epochs whose key is among these, but the newest: by that the journal names them.
    pub(super) fn leave_out(&mut self, held: &EpochKeys) {
        let newest = newest_of(&self.epochs);
        self.epochs.retain(|(epoch, key)| *epoch == newest || !holds(held, *epoch, key));
    }

    /// Leaves out the epochs before this one; whether the newest stays, without which the journal cannot name these keys.
    pub(super) fn leave_out_before(&mut self, epoch_min: u32) -> bool {
        self.epochs.retain(|(epoch, _)| *epoch >= epoch_min);
        !self.epochs.is_empty()
    }

    pub(super) fn into_parts(self) -> (Epochs, Box<FleetSecrets>) {
        (self.epochs, self.secrets)
    }

    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        // Room for everything, so that no copy is left behind by a growing vector.
        let mut writer = Writer::with_capacity(HANDED_MAX);
        write_epochs(&mut writer, &self.epochs);
        writer.bytes(&Zeroizing::new(self.secrets.encode()));
        Zeroizing::new(writer.finish())
    }

    pub(super) fn read(plain: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(plain);
        let epochs = read_epochs(&mut reader).map_err(Invalid::stored("keys handed over"))?;
        let secrets = FleetSecrets::decode(reader.rest())?;
        if epochs.is_empty() {
            return Err(Fault::Damaged("keys handed over have no epoch".to_owned()));
        }
        Ok(Handed { secrets, epochs })
    }

    pub(super) fn seal(&self, to: &Receiver, public_key: &[u8; PUBLIC_KEY_LEN]) -> Result<Vec<u8>, Fault> {
        let sealed = session::seal(public_key, &to.info(), &self.write())?;
        tracing::info!(member = to.member, serial = self.secrets.serial, "keys are handed over");
        Ok([&[VERSION][..], &sealed].concat())
    }

    pub(super) fn open(sealed: &[u8], to: &Receiver, recipient: &Recipient) -> Result<Self, Fault> {
        let sealed = Reader::versioned("keys handed over", sealed, VERSION)?.rest();
        let plain = recipient.open(&to.info(), sealed).map_err(|_| {
            Fault::Key("these keys were not sealed to this member's channel key, or are damaged".to_owned())
        })?;
        let handed = Self::read(plain.expose())?;
        if handed.secrets.fleet != to.fleet {
            return Err(Fault::Key("these keys are another fleet's".to_owned()));
        }
        Ok(handed)
    }
}

/// Whether a statement to this fleet names the member, under this channel key (V13).
fn check_named(statement: &Statement, to: &Receiver, public_key: &[u8; PUBLIC_KEY_LEN]) -> Result<(), Fault> {
    let refused = |why: &str| Fault::Key(format!("keys are not handed over: {why}"));
    let Some((_, members)) = statement.order.members() else {
        return Err(refused("the statement does not name members"));
    };
    if statement.fleet != to.fleet {
        return Err(refused("the statement is to another fleet"));
    }
    match members.iter().find(|it| it.number == to.member) {
        Some(named) if <[u8; 32]>::from(Sha256::digest(public_key)) == named.channel_key => Ok(()),
        Some(_) => Err(refused("the statement names another channel key")),
        None => Err(refused("the statement does not name that member")),
    }
}

/// Keys that are held are not replaced by older ones (V14).
pub(super) fn check_newer(handed: u32, held: u32) -> Result<(), Fault> {
    if handed > held {
        return Ok(());
    }
    Err(Fault::Key("these keys are not newer than those that are held".to_owned()))
}

impl Keeper {
    /// Keeps the keys of epochs that were handed over, where those up to `used` are in use; all that are there then.
    pub(super) fn take_epochs(&self, epochs: &Epochs, used: u32) -> Result<Arc<EpochKeys>, Fault> {
        epochs.iter().try_for_each(|(epoch, key)| self.root.take(*epoch, key, used))?;
        Ok(Arc::new(EpochKeys::load(&*self.root, newest_of(epochs))?))
    }
}

/// Whether this is the key that is held of an epoch: what is sealed under the one opens under the other.
fn holds(held: &EpochKeys, epoch: u32, key: &EpochKey) -> bool {
    let sealed = EpochKeys::new(epoch, key).seal_blob("the same key", &[]);
    sealed.and_then(|sealed| held.open_blob("the same key", &sealed)).is_ok()
}

fn newest_of(epochs: &Epochs) -> u32 {
    epochs.last().map_or(0, |(epoch, _)| *epoch)
}

impl Vault {
    /// This vault's keys for another member, sealed to its attested channel key.
    ///
    /// # Errors
    /// [`Fault::Key`] if the last statement of both signers does not name the member, or names another key for it; the
    /// journal's faults, those of the root key source, and [`Fault::Randomness`].
    pub fn hand_over(&self, member: u64, public_key: &[u8; PUBLIC_KEY_LEN]) -> Result<Vec<u8>, Fault> {
        let to = Receiver { fleet: self.fleet, member };
        self.check_member(&to, public_key)?;
        let keeper = self.keeper();
        let ring = self.ring();
        Handed::of(&ring.secrets, &*keeper.root, &ring.epochs)?.seal(&to, public_key)
    }

    /// Whether the last statement of both signers names the member, under this channel key (V13).
    pub(super) fn check_member(&self, to: &Receiver, channel_key: &[u8; PUBLIC_KEY_LEN]) -> Result<(), Fault> {
        check_named(&self.statement()?, to, channel_key)
    }

    /// The last statement of both signers that names members.
    pub(super) fn statement(&self) -> Result<Statement, Fault> {
        let mut statement = Vec::new();
        // Its signatures were checked when it came.
        self.journal.read(&mut |state| statement = state.members().1.to_vec())?;
        if statement.is_empty() {
            return Err(Fault::Key("keys are not handed over: no statement has named members".to_owned()));
        }
        Statement::read(&Note::read_unsigned(&statement)?)
    }

    /// Takes the keys that another vault of the fleet has turned to. Requests go on meanwhile.
    ///
    /// # Errors
    /// [`Fault::Key`] if they are not for this member, or not those that the journal names, or this vault's root key source is
    /// not a [`MemberRoot`]; the faults of source, store and journal.
    pub fn take_keys(&self, sealed: &[u8], member: u64, recipient: &Recipient) -> Result<(), Fault> {
        self.adopt(Handed::open(sealed, &Receiver { fleet: self.fleet, member }, recipient)?)
    }

    pub(super) fn adopt(&self, handed: Handed) -> Result<(), Fault> {
        // What it began itself is finished first: the store may be sealed under an epoch whose key these have another of.
        let keeper = self.keeper_to_turn()?;
        check_newer(handed.serial(), self.ring().secrets.serial)?;
        let named = Named::by(&*self.journal)?;
        if !handed.is(&named)? {
            return Err(if handed.serial() < named.serial { older_copy() } else { other_keys() });
        }
        let (epochs, secrets) = handed.into_parts();
        let used = self.ring().epochs.newest();
        let epochs = keeper.take_epochs(&epochs, used)?;
        let serial = secrets.serial;
        let sealed = secrets.seal(&epochs)?;
        let ring = Ring::new(&self.policy, secrets, epochs, self.bundles())?;
        keeper.store.write(&sealed)?;
        self.put(ring);
        self.clear_aside();
        tracing::info!(serial, "keys were taken that another vault has turned to");
        Ok(())
    }
}

impl Custody {
    /// The keys for a founder of the fleet, sealed to its attested channel key: where they were drawn, before any vault runs.
    /// `signers` are those who signed the statement that founds the fleet, `None` where there are none.
    ///
    /// # Errors
    /// [`Fault::Key`] if both have not signed the statement, or it does not name the member, or names another key for it;
    /// the faults of the root key source, and [`Fault::Randomness`].
    pub fn hand_over(
        &self,
        statement: &Note,
        signers: Option<&Signers>,
        member: u64,
        public_key: &[u8; PUBLIC_KEY_LEN],
    ) -> Result<Vec<u8>, Fault> {
        let statement = match signers {
            Some(signers) => Statement::of(statement, signers).map_err(|why| Fault::Key(why.to_string()))?,
            None => Statement::read(statement)?,
        };
        let to = Receiver { fleet: self.secrets.fleet, member };
        check_named(&statement, &to, public_key)?;
        Handed::of(&self.secrets, &*self.keeper.root, &self.epochs)?.seal(&to, public_key)
    }

    /// Takes the keys of a fleet that this member joins, and keeps them: the keys of epochs in `root`, all else in `store`.
    /// Both must be empty. Whoever could seal them to this member's key may have made them up: that shows when the member
    /// joins, since the fleet asks it for a proof.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the store has keys, [`Fault::Key`] if these are not for this member of this fleet, or the root
    /// has epochs; else the faults of either.
    pub fn receive(
        sealed: &[u8],
        to: &Receiver,
        recipient: &Recipient,
        root: MemberRoot,
        store: Box<dyn KeyStore>,
    ) -> Result<Self, Fault> {
        if store.read()?.is_some() {
            return Err(Fault::Storage("there are a fleet's keys already; they are not replaced".to_owned()));
        }
        let Handed { secrets, epochs } = Handed::open(sealed, to, recipient)?;
        root.begin(&epochs)?;
        let epochs = Arc::new(EpochKeys::load(&root, newest_of(&epochs))?);
        store.write(&secrets.seal(&epochs)?)?;
        Ok(Custody::over(Keeper { root: Box::new(root), store }, epochs, secrets))
    }
}
