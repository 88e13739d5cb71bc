//! [`Aside`]: keys that other vaults of the fleet are about to turn to.
//!
//! A vault that turned keys by itself would be the only one to have them until the others have taken them; lost in that moment,
//! it would leave a journal that names keys which nobody has, and no vault would open again. So it has the others keep them
//! first, each sealed to that member's channel key:
//!
//! ```text
//! who turns                        every other member
//! drawn, made ready
//!   --- which channel key? ------>
//!   --- Handed, sealed to it ---->  kept aside, on disk
//! a majority keeps them
//! written, named in the journal, in use
//!                                   applies the row: what is kept aside and has this mark is in use
//! ```
//!
//! | id | invariant |
//! |---|---|
//! | V17 | the journal of a fleet names no keys but those that a majority of its members keeps, each of which can turn to them without asking anybody |

use std::sync::{Arc, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::Vault;
use super::custody::{Custody, Keeper, KeyStore};
use super::handover::{Handed, Receiver, check_newer};
use super::ring::Ring;
use super::turn::Named;
use crate::error::Fault;
use crate::limits::{ASIDE_MAX, HANDED_MAX};
use crate::session::Recipient;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::{EpochKeys, blob_epoch};

/// What the sealed bytes are for.
const PURPOSE: &str = "keys aside";
const VERSION: u8 = 1;

/// Where a vault keeps them: by the member that turns, of each what it handed over last.
pub(super) struct Aside(Option<Box<dyn KeyStore>>);

impl Aside {
    pub(super) fn nowhere() -> Self {
        Aside(None)
    }

    fn read(&self, epochs: &EpochKeys) -> Result<Vec<(u64, Handed)>, Fault> {
        passed_over(self.read_whole(epochs))
    }

    /// The same; [`Fault::Damaged`] if it does not open.
    fn read_whole(&self, epochs: &EpochKeys) -> Result<Vec<(u64, Handed)>, Fault> {
        let Some(sealed) = self.0.as_ref().map(|place| place.read()).transpose()?.flatten() else {
            return Ok(Vec::new());
        };
        // What is sealed under an epoch that is over was kept for a turn that is over: see `leave_epochs_before`.
        if !epochs.holds(blob_epoch(&sealed)?) {
            return Ok(Vec::new());
        }
        let plain = epochs.open_blob(PURPOSE, &sealed)?;
        let mut reader = Reader::versioned("keys kept aside", plain.expose(), VERSION)?;
        let damaged = Invalid::stored("keys kept aside");
        let mut kept = Vec::new();
        while !reader.is_empty() {
            let from = reader.u64().map_err(&damaged)?;
            kept.push((from, Handed::read(reader.counted(HANDED_MAX).map_err(&damaged)?)?));
        }
        Ok(kept)
    }

    fn write(&self, kept: &[(u64, Handed)], epochs: &EpochKeys) -> Result<(), Fault> {
        let place = self.0.as_ref().ok_or_else(|| Fault::Key("this vault keeps nothing aside".to_owned()))?;
        // Room for everything, so that no copy is left behind by a growing vector.
        let mut writer = Writer::with_capacity(1 + kept.len() * (12 + HANDED_MAX));
        writer.u8(VERSION);
        for (from, handed) in kept {
            writer.u64(*from).counted(&handed.write());
        }
        let plain = Zeroizing::new(writer.finish());
        place.write(&epochs.seal_blob(PURPOSE, &plain)?)
    }

    /// Keeps what this member is about to turn to, in the place of what it was about to turn to before.
    fn keep(&self, from: u64, handed: Handed, epochs: &EpochKeys) -> Result<(), Fault> {
        let mut kept = self.read(epochs)?;
        kept.retain(|(member, _)| *member != from);
        if kept.len() >= ASIDE_MAX {
            return Err(Fault::Limit("so many members do not turn keys at once".to_owned()));
        }
        kept.push((from, handed));
        // Sealed under the newest epoch: who has that key one day is not to have those of epochs that are over.
        kept.iter_mut().for_each(|(_, handed)| handed.leave_out(epochs));
        self.write(&kept, epochs)
    }

    /// What the journal names, if it is kept here.
    fn named(&self, named: &Named, epochs: &EpochKeys) -> Result<Option<Handed>, Fault> {
        for (_, handed) in self.read(epochs)? {
            if handed.is(named)? {
                return Ok(Some(handed));
            }
        }
        Ok(None)
    }

    /// Forgets what no journal can name any more: the keys of turns up to this one, which is done, and what does not open.
    fn forget(&self, serial: u32, epochs: &EpochKeys) -> Result<(), Fault> {
        let whole = self.read_whole(epochs);
        let before = whole.as_ref().map_or(usize::MAX, Vec::len);
        let mut kept = passed_over(whole)?;
        kept.retain(|(_, handed)| handed.serial() > serial);
        if kept.len() < before { self.write(&kept, epochs) } else { Ok(()) }
    }

    /// Has what is kept open without the keys of the epochs before this one, which are about to be destroyed, and hold none of
    /// them.
    fn leave_epochs_before(&self, epoch_min: u32, epochs: &EpochKeys) -> Result<(), Fault> {
        let mut kept = self.read(epochs)?;
        if kept.is_empty() {
            return Ok(());
        }
        kept.retain_mut(|(_, handed)| handed.leave_out_before(epoch_min));
        self.write(&kept, epochs)
    }
}

/// What does not open helps nobody, and hinders nobody either: it is told, and what is kept next takes its place. Keys that the
/// journal names are to be had of other members, too.
fn passed_over(kept: Result<Vec<(u64, Handed)>, Fault>) -> Result<Vec<(u64, Handed)>, Fault> {
    match kept {
        Err(fault @ Fault::Damaged(_)) => {
            tracing::warn!(%fault, "keys that were kept aside do not open; keys that are missed are had of another member");
            Ok(Vec::new())
        }
        kept => kept,
    }
}

impl Vault {
    /// Keeps keys that the member `from` is about to turn to, until the journal says whether it has. Durable when it returns.
    ///
    /// # Errors
    /// [`Fault::Key`] if they were not sealed for this `member` of the fleet, or are not newer than those in use or of an epoch
    /// that is over, or the vault has no place for them ([`Custody::keeping_aside`]); the faults of that place and of the journal.
    pub fn keep_aside(&self, from: u64, sealed: &[u8], member: u64, recipient: &Recipient) -> Result<(), Fault> {
        let mut handed = Handed::open(sealed, &Receiver { fleet: self.fleet, member }, recipient)?;
        let mut epoch_min = 0;
        self.journal.look(&mut |state| epoch_min = state.epoch_min())?;
        // Who turns may not have destroyed what this vault has.
        if !handed.leave_out_before(epoch_min) {
            return Err(Fault::Key("these keys are of an epoch that is over".to_owned()));
        }
        let aside = self.aside();
        let ring = self.ring();
        check_newer(handed.serial(), ring.secrets.serial)?;
        let serial = handed.serial();
        aside.keep(from, handed, &ring.epochs)?;
        tracing::info!(from, serial, "keys are kept aside that another vault is about to turn to");
        Ok(())
    }

    /// Has the other members keep these keys: as many as a commit takes, or the journal does not name them (V17).
    pub(super) fn hand_round(&self, keeper: &Keeper, ring: &Ring) -> Result<(), Fault> {
        self.hand_to_each(keeper, ring, &mut 0)
    }

    /// The same by a vault that opens, for keys of a turn that was cut short: who kept them then may be no member any more.
    /// While fewer vaults than a majority are open it does without, or each could wait for the others to open first.
    pub(super) fn hand_round_to_open(&self) -> Result<(), Fault> {
        let mut asked = 0;
        let kept = self.hand_to_each(&self.keeper(), &self.ring(), &mut asked);
        let Err(Fault::Unsettled(why)) = kept else { return kept };
        let members = self.statement()?.order.members().map_or(0, |(_, members)| members.len());
        if 2 * (asked + 1) > members {
            return Err(Fault::Unsettled(why));
        }
        tracing::warn!(asked, "too few vaults are open to keep the keys of a turn that was cut short; it is finished");
        Ok(())
    }

    /// Has every other member that can be asked keep these keys, and counts whom it asks.
    fn hand_to_each(&self, keeper: &Keeper, ring: &Ring, asked: &mut usize) -> Result<(), Fault> {
        let mut ready = None;
        self.journal.keep_elsewhere(&mut |member, channel_key| {
            let to = Receiver { fleet: self.fleet, member };
            let channel_key = channel_key.try_into().map_err(|_| Fault::Key("no channel key".to_owned()))?;
            self.check_member(&to, channel_key)?;
            let handed = match ready.take() {
                Some(handed) => handed,
                None => Handed::of(&ring.secrets, &*keeper.root, &ring.epochs)?,
            };
            let sealed = ready.insert(handed).seal(&to, channel_key)?;
            *asked += 1;
            Ok(sealed)
        })
    }

    /// Keys that the journal names, if they are kept here. What cannot be read is not here.
    pub(super) fn kept_aside(&self, named: &Named) -> Option<Handed> {
        let aside = self.aside();
        let ring = self.ring();
        aside.named(named, &ring.epochs).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "keys that were kept aside cannot be read");
            None
        })
    }

    /// Forgets what was kept of turns that are over.
    pub(super) fn clear_aside(&self) {
        let aside = self.aside();
        let ring = self.ring();
        if let Err(fault) = aside.forget(ring.secrets.serial, &ring.epochs) {
            tracing::warn!(%fault, "keys that were kept aside stay there");
        }
    }

    /// Before epochs are destroyed: what is kept of turns to come outlives them, and their keys are not in it (V8, V17).
    pub(super) fn leave_epochs_before(&self, epoch_min: u32) -> Result<(), Fault> {
        let aside = self.aside();
        let ring = self.ring();
        aside.leave_epochs_before(epoch_min, &ring.epochs)
    }

    /// Locked before the ring is asked for: who puts another ring in its place does so without this.
    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Custody {
    /// The same, with a place for keys that other vaults of the fleet are about to turn to. A member of a fleet has one: without
    /// it the turns of others find no majority that keeps them.
    pub fn keeping_aside(mut self, place: Box<dyn KeyStore>) -> Self {
        self.aside = Aside(Some(place));
        self
    }

    /// Turns to the keys of which a journal says that the fleet has turned to them, if they are kept here aside; whether it has
    /// them then, or newer ones. For a member whose fleet does not run any more; who has one calls [`Custody::follow_keys`].
    /// What is kept and does not open is as good as not kept, and told in the log: such a member takes another's keys.
    ///
    /// # Errors
    /// The faults of root key source and stores.
    pub fn take_kept(&mut self, serial: u32, mark: &[u8; 32]) -> Result<bool, Fault> {
        let named = Named { serial, mark: *mark };
        if self.is_as_new_as(&named)? {
            return Ok(true);
        }
        match self.aside.named(&named, &self.epochs) {
            Ok(Some(handed)) => self.adopt(handed).map(|()| true),
            Ok(None) => Ok(false),
            // Left to the later program that has written it.
            Err(fault @ Fault::Format { .. }) => {
                tracing::warn!(%fault, "keys that were kept aside cannot be read; take another member's");
                Ok(false)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether these keys are those that the journal names, or newer.
    pub(super) fn is_as_new_as(&self, named: &Named) -> Result<bool, Fault> {
        let (serial, epochs) = (self.secrets.serial, &self.epochs);
        Ok(serial > named.serial || Named::of(&self.secrets, epochs)?.is_among(named))
    }

    /// Has these keys in the place of those that are held.
    pub(super) fn adopt(&mut self, handed: Handed) -> Result<(), Fault> {
        let (epochs, secrets) = handed.into_parts();
        let mut used = self.epochs.newest();
        let own = self.keeper.root.derive(used)?;
        if epochs.iter().any(|(epoch, key)| *epoch == used && !bool::from(own.ct_eq(key.expose()))) {
            // A turn of this member's own that another's was before, however many have followed. What it began is nobody's:
            // the store is made to open without it first.
            let before = self.epochs.epochs().take_while(|epoch| *epoch < used).last();
            if let Some(before) = before {
                let own = Arc::new(EpochKeys::load(&*self.keeper.root, before)?);
                self.keeper.store.write(&self.secrets.seal(&own)?)?;
                used = before;
            }
        }
        let epochs = self.keeper.take_epochs(&epochs, used)?;
        self.keeper.store.write(&secrets.seal(&epochs)?)?;
        tracing::info!(serial = secrets.serial, "keys were taken that another vault has turned to");
        (self.epochs, self.secrets) = (epochs, secrets);
        Ok(())
    }
}
