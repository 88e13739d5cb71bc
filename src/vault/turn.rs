//! Turns of keys under load (DESIGN sections 5 and 7): each kind on its own, while requests go on.
//!
//! | id | invariant |
//! |---|---|
//! | V7 | new keys are durable (in a fleet on a majority, V17), then in the journal by their serial number and mark, and only then in use; an older copy of them is never used again, and of two vaults that turn keys at once one is refused |
//! | V8 | a key is kept while anything may still need it: a ticket's until its tickets are over, a record's while a record names it, an epoch's until nothing sealed under it is left in state or journal |
//! | V9 | a batch begins and ends under the keys of one moment |

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Vault;
use super::custody::Keeper;
use super::keys::{FleetSecrets, IN_USE, Numbered, can_hold_epochs, no_number, staying, with_one_more, with_server};
use super::ring::{Bundles, Ring};
use crate::error::{Fault, Refusal};
use crate::journal::Journal;
use crate::ledger::{Command, Moving, Side, Verdict};
use crate::wrap::{EpochKeys, blob_epoch};

/// How often is looked whether the batches under the keys of before have ended.
const LOOK: Duration = Duration::from_millis(1);

/// A kind of key that can turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// The root and key of a new epoch: what is sealed from now on is sealed under it. Older records are moved to it by
    /// [`Vault::rewrap`], and the epochs before end with [`Vault::retire_epochs`].
    Epoch,
    /// The keys of tickets. Those before open for as long as a ticket lives.
    Tickets,
    /// The key by which a repeated KE1 is known. The one before still knows its own until the next turn; what the one
    /// before that knew is forgotten, and a KE1 of then is charged again.
    Digests,
    /// The key that requests are sealed to (`session`). The one before opens until its bundle is over and what was begun under
    /// it has ended.
    Channel {
        /// Not-after of the last bundle that names the present key, in seconds.
        not_after_s: u64,
    },
    /// A second OPRF seed and static key beside the present ones. New records are made by them once
    /// [`Vault::enrol_under`] says so: clients must have heard of the new key by then.
    Server,
}

/// What keys a vault holds, and what still needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Serial number of the keys: one more with every turn.
    pub serial: u32,
    /// Kind of place the root keys live in.
    pub root: &'static str,
    /// Epochs below it are over.
    pub epoch_min: u32,
    /// Epochs whose key is held, in order; what is sealed is sealed under the last.
    pub epochs: Vec<EpochStatus>,
    /// OPRF seeds and static keys, in order of number.
    pub servers: Vec<ServerStatus>,
    /// Keys of login tickets, newest last.
    pub login_tickets: Vec<TicketKeyStatus>,
    /// Keys of enrolment tickets, newest last.
    pub enrolment_tickets: Vec<TicketKeyStatus>,
    /// Keys that requests are sealed to, newest last.
    pub channel: Vec<TicketKeyStatus>,
    /// Numbers of the keys by which a repeated KE1 is known, newest last.
    pub digests: Vec<u16>,
}

/// An epoch, and what is sealed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Its number.
    pub epoch: u32,
    /// Live records that are sealed under it.
    pub records: u64,
}

/// An OPRF seed and static key, and what was made by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Their number.
    pub number: u16,
    /// The static public key.
    pub public_key: [u8; 32],
    /// Whether new records are made by them.
    pub enrols: bool,
    /// Whether new records may not be made by them any more.
    pub retired: bool,
    /// Live records that were made by them.
    pub records: u64,
}

/// A key of tickets or of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketKeyStatus {
    /// Its number.
    pub number: u16,
    /// State time up to which it opens, in seconds, or `None` for the one in use.
    pub until_s: Option<u64>,
}

/// What a journal says of keys: their serial number, and what tells them from others of that number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) serial: u32,
    pub(super) mark: [u8; 32],
}

impl Named {
    /// What it would say of these.
    pub(super) fn of(secrets: &FleetSecrets, epochs: &EpochKeys) -> Result<Self, Fault> {
        Ok(Named { serial: secrets.serial, mark: secrets.mark(epochs)? })
    }

    /// What it says, at a confirmed index.
    pub(super) fn by(journal: &dyn Journal) -> Result<Self, Fault> {
        let mut named = Named { serial: 0, mark: [0; 32] };
        journal.read(&mut |state| named = Named { serial: state.keys_serial(), mark: *state.keys_mark() })?;
        Ok(named)
    }

    /// Whether these are keys of which the journal knows, which names none before the first turn.
    pub(super) fn is_among(&self, named: &Named) -> bool {
        self == named || (self.serial == 0 && named.serial == 0)
    }

    /// What has the journal name them.
    pub(super) fn command(self) -> Command {
        Command::TurnKeys { serial: self.serial, mark: self.mark }
    }
}

impl Vault {
    /// Turns a kind of key, and returns the new one's number. Requests go on meanwhile. Where it fails before the new
    /// keys are in use, the old ones stay; what was begun is finished by the next turn, or by opening the vault.
    ///
    /// ```
    /// # use strongroom::ledger::Policy;
    /// # use strongroom::vault::{ManualClock, Pace, Turn, Vault};
    /// # let clock = std::sync::Arc::new(ManualClock::new(1_800_000_000));
    /// # let vault = Vault::in_memory(Policy::development(), clock)?;
    /// assert_eq!(vault.rotate(Turn::Epoch)?, 2);
    /// vault.rewrap(Pace::default()).run(|progress| println!("{} records to go", progress.left))?;
    /// assert_eq!(vault.retire_epochs()?, 2, "what was sealed before is gone, and so is its key");
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Limit`] if as many keys of the kind are held as can be; the faults of root key source, key store and journal;
    /// [`Fault::Randomness`].
    pub fn rotate(&self, turn: Turn) -> Result<u32, Fault> {
        let keeper = self.keeper_to_turn()?;
        let ring = self.ring();
        let mut secrets = ring.secrets.next()?;
        let mut epochs = Arc::clone(&ring.epochs);
        let number = match turn {
            Turn::Epoch => {
                let newest = ring.epochs.newest();
                // A turn that was cut short may have left its root.
                let held = keeper.root.epochs()?;
                let begun = held.iter().copied().find(|epoch| *epoch > newest);
                let epoch = match begun {
                    Some(epoch) => epoch,
                    None => {
                        let next = newest.checked_add(1).ok_or_else(no_number)?;
                        can_hold_epochs(held.len() + 1)?;
                        keeper.root.create(next)?;
                        next
                    }
                };
                epochs = Arc::new(EpochKeys::load(&*keeper.root, epoch)?);
                epoch
            }
            Turn::Tickets => {
                // No ticket under the keys before is good for longer, whatever the batches under way are dated by.
                let latest_s = self.time_s()?.max(self.clock.now_s()?).saturating_add(self.policy.skew_max_s);
                let until = |ttl_s: u64| latest_s.saturating_add(ttl_s).min(IN_USE - 1);
                let (login_s, enrolment_s) = (until(self.policy.login_ttl_s), until(self.policy.enrolment_ttl_s));
                secrets.login_tickets = with_one_more(&secrets.login_tickets, login_s)?;
                secrets.enrolment_tickets = with_one_more(&secrets.enrolment_tickets, enrolment_s)?;
                secrets.login_tickets.last().map_or(0, |it| u32::from(it.number))
            }
            Turn::Channel { not_after_s } => {
                let over_s = self.policy.login_ttl_s.max(self.policy.enrolment_ttl_s);
                let until_s = not_after_s.saturating_add(over_s).saturating_add(self.policy.skew_max_s);
                secrets.channel = with_one_more(&secrets.channel, until_s.min(IN_USE - 1))?;
                secrets.channel.last().map_or(0, |it| u32::from(it.number))
            }
            Turn::Digests => {
                let kept = secrets.digests.len().saturating_sub(1);
                secrets.digests = with_one_more(&secrets.digests[kept..], IN_USE)?;
                secrets.digests.last().map_or(0, |it| u32::from(it.number))
            }
            Turn::Server => {
                let newest = secrets.servers.last().map_or(0, |it| it.number);
                let number = newest.checked_add(1).ok_or_else(no_number)?;
                secrets.servers = with_server(&secrets.servers, number)?;
                u32::from(number)
            }
        };
        drop(ring);
        self.turn_to(&keeper, secrets, epochs)?;
        tracing::info!(?turn, number, "keys have turned");
        Ok(number)
    }

    /// Makes new records by the OPRF seed and static key of this number from now on. A record moves to them at its next
    /// enrolment; clients must trust their static key by then.
    ///
    /// # Errors
    /// [`Fault::Key`] if they are not held or are retired; else as [`Vault::rotate`].
    pub fn enrol_under(&self, number: u16) -> Result<(), Fault> {
        let keeper = self.keeper_to_turn()?;
        let ring = self.ring();
        let mut retired = false;
        self.journal.read(&mut |state| retired = number < state.key_min())?;
        if retired || !ring.secrets.servers.iter().any(|it| it.number == number) {
            let what = if retired { "retired" } else { "not held" };
            return Err(Fault::Key(format!("server keys of number {number} are {what}; no record is made by them")));
        }
        if ring.secrets.enrols == number {
            return Ok(());
        }
        let (mut secrets, epochs) = (ring.secrets.next()?, Arc::clone(&ring.epochs));
        drop(ring);
        secrets.enrols = number;
        self.turn_to(&keeper, secrets, epochs)
    }

    /// Retires the OPRF seeds and static keys up to this number: no new record is made by them. Records that were live
    /// on; with the last of them, and the next [`Vault::sweep`], the keys go.
    ///
    /// # Errors
    /// [`Fault::Key`] if new records are made by one of them; else as [`Vault::rotate`].
    pub fn retire_server_keys(&self, number: u16) -> Result<(), Fault> {
        // A turn that was given up may have changed which keys new records are made by.
        let _keeper = self.keeper_to_turn()?;
        let enrols = self.ring().secrets.enrols;
        match number.checked_add(1).filter(|next| *next <= enrols) {
            Some(key_number) => self.commit_turn(Command::RaiseKeyMin { key_number }),
            None => {
                Err(Fault::Key(format!("new records are made by server keys of number {enrols}; turn those first")))
            }
        }
    }

    /// Ends all epochs before the newest: nothing is left in the journal that was sealed under them, and their roots are
    /// destroyed. Returns the first epoch that is left. Copies of the disk from before cannot be opened any more.
    ///
    /// # Errors
    /// [`Fault::Key`] if a live record is still sealed under one of them, and nothing has ended; else the faults of root
    /// key source and journal, and then it may be called again.
    pub fn retire_epochs(&self) -> Result<u32, Fault> {
        let keeper = self.keeper();
        let epoch = self.ring().epochs.newest();
        let mut left = 0;
        self.journal.read(&mut |state| left = state.records_by_epoch().range(..epoch).map(|(_, count)| count).sum())?;
        if left > 0 {
            return Err(Fault::Key(format!(
                "{left} records are still sealed under epochs before {epoch}; rewrap first"
            )));
        }
        self.commit_turn(Command::RaiseEpochMin { epoch })?;
        self.destroy_epochs(&keeper)?;
        Ok(epoch)
    }

    /// What keys there are.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn keys(&self) -> Result<KeyStatus, Fault> {
        let keeper = self.keeper();
        let ring = self.ring();
        let (public_keys, enrols) = ring.evaluator.public_keys();
        let public_keys: Vec<_> = public_keys.map(|(number, public_key)| (number, *public_key)).collect();
        let tickets = |keys: &[Numbered<32>]| {
            let until_s = |it: &Numbered<32>| Some(it.until_s).filter(|until_s| *until_s != IN_USE);
            keys.iter().map(|it| TicketKeyStatus { number: it.number, until_s: until_s(it) }).collect()
        };
        let mut status = KeyStatus {
            serial: ring.secrets.serial,
            root: keeper.root.name(),
            epoch_min: 0,
            epochs: Vec::new(),
            servers: Vec::new(),
            login_tickets: tickets(&ring.secrets.login_tickets),
            enrolment_tickets: tickets(&ring.secrets.enrolment_tickets),
            channel: tickets(&ring.secrets.channel),
            digests: ring.secrets.digests.iter().map(|it| it.number).collect(),
        };
        self.journal.read(&mut |state| {
            status.epoch_min = state.epoch_min();
            let count = |epoch| state.records_by_epoch().get(&epoch).copied().unwrap_or(0);
            status.epochs = ring.epochs.epochs().map(|epoch| EpochStatus { epoch, records: count(epoch) }).collect();
            let server = |(number, public_key): &(u16, [u8; 32])| ServerStatus {
                number: *number,
                public_key: *public_key,
                enrols: *number == enrols,
                retired: *number < state.key_min(),
                records: state.records_by_key().get(number).copied().unwrap_or(0),
            };
            status.servers = public_keys.iter().map(server).collect();
        })?;
        Ok(status)
    }

    /// Drops the keys that nothing needs any more (V8), and finishes what a crash cut short.
    pub(super) fn drop_unused_keys(&self) -> Result<(), Fault> {
        let keeper = self.keeper_to_turn()?;
        let ring = self.ring();
        let (mut time_s, mut key_min, mut named, mut come) = (0, 0, BTreeSet::new(), false);
        self.journal.read(&mut |state| {
            (time_s, key_min) = (state.time_s(), state.key_min());
            named = state.records_by_key().keys().copied().collect();
            come = matches!(state.moving(), Some(Moving { bound: None, side: Side::Arriving(_), .. }));
        })?;
        let held = &ring.secrets;
        let over = |it: &Numbered<32>| it.until_s < time_s;
        // A move in which all have come is over, also where it was cut short before its keys were dropped.
        let (ended, waits) = (held.arriving.is_some() && come, held.arriving.is_some() && !come);
        let unused = |number: u16| number < key_min && number != held.enrols && !named.contains(&number) && !waits;
        if ended
            || held.login_tickets.iter().chain(&held.enrolment_tickets).chain(&held.channel).any(over)
            || held.servers.iter().any(|it| unused(it.number))
        {
            let (mut secrets, epochs) = (held.next()?, Arc::clone(&ring.epochs));
            secrets.login_tickets = staying(&held.login_tickets, |it| !over(it));
            secrets.enrolment_tickets = staying(&held.enrolment_tickets, |it| !over(it));
            secrets.channel = staying(&held.channel, |it| !over(it));
            secrets.servers = staying(&held.servers, |it| !unused(it.number));
            if ended {
                secrets.arriving = None;
            }
            drop(ring);
            self.turn_to(&keeper, secrets, epochs)?;
            tracing::info!("keys that nothing needs are gone");
        } else {
            drop(ring);
        }
        self.destroy_epochs(&keeper)
    }

    /// Destroys the roots of epochs that are over, once the journal holds nothing from before they were.
    fn destroy_epochs(&self, keeper: &Keeper) -> Result<(), Fault> {
        let (mut epoch_min, ring) = (0, self.ring());
        self.journal.read(&mut |state| epoch_min = state.epoch_min())?;
        // Asked of what is held in memory, so that a token is not asked every few minutes. The newest stays even where the fleet has
        // ended it: the keys here are sealed under it until this vault has taken those that the fleet has turned to.
        let ends = epoch_min.min(ring.epochs.newest());
        let over: Vec<_> = ring.epochs.epochs().filter(|epoch| *epoch < ends).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.journal.checkpoint()?;
        #[cfg(feature = "fleet")]
        self.leave_epochs_before(ends)?;
        for epoch in &over {
            keeper.root.destroy(*epoch)?;
        }
        let (secrets, bundles, newest) = (ring.secrets.same(), Arc::clone(&ring.bundles), ring.epochs.newest());
        drop(ring);
        let epochs = EpochKeys::load(&*keeper.root, newest)?;
        self.put(Ring::new(&self.policy, secrets, Arc::new(epochs), bundles)?);
        tracing::info!(epoch_min = ends, "epochs have ended, and their root keys are destroyed");
        Ok(())
    }

    /// Puts new keys in the place of those before (V7).
    pub(super) fn turn_to(
        &self,
        keeper: &Keeper,
        secrets: Box<FleetSecrets>,
        epochs: Arc<EpochKeys>,
    ) -> Result<(), Fault> {
        let sealed = secrets.seal(&epochs)?;
        // Made ready first: what cannot be used is not kept.
        let ring = Ring::new(&self.policy, secrets, epochs, self.bundles())?;
        #[cfg(feature = "fleet")]
        self.hand_round(keeper, &ring)?;
        keeper.store.write(&sealed)?;
        if self.settle(keeper, ring)? { Ok(()) } else { Err(older_copy()) }
    }

    /// Has the journal name keys that are in the store, and uses them. Where another vault of the fleet was first they are
    /// nobody's, and those of before are put back; whether it was not.
    fn settle(&self, keeper: &Keeper, ring: Ring) -> Result<bool, Fault> {
        match self.commit_turn(Named::of(&ring.secrets, &ring.epochs)?.command()) {
            Ok(()) => self.put(ring),
            Err(Fault::Key(_)) => {
                let before = self.ring();
                keeper.store.write(&before.secrets.seal(&before.epochs)?)?;
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        }
        #[cfg(feature = "fleet")]
        self.clear_aside();
        Ok(true)
    }

    /// Whether the store has keys that are newer than those in use. The root is not asked where there are none: what needs no root
    /// turns without it.
    fn has_begun(&self, keeper: &Keeper) -> Result<bool, Fault> {
        let ring = self.ring();
        let Some(sealed) = keeper.store.read()? else { return Ok(false) };
        match blob_epoch(&sealed) {
            Ok(epoch) if epoch > ring.epochs.newest() => Ok(true),
            // What does not open is written over by the next turn.
            Ok(_) => Ok(FleetSecrets::open(&ring.epochs, &sealed).is_ok_and(|it| it.serial > ring.secrets.serial)),
            Err(_) => Ok(false),
        }
    }

    /// Finishes a turn that is in the store, and of which is not known whether the journal took it; whether there was one, and
    /// it has.
    pub(super) fn finish(&self, keeper: &Keeper) -> Result<bool, Fault> {
        if !self.has_begun(keeper)? {
            return Ok(false);
        }
        let (epochs, secrets) = keeper.held()?;
        let ring = Ring::new(&self.policy, secrets, epochs, self.bundles())?;
        #[cfg(feature = "fleet")]
        if Named::by(&*self.journal)?.serial < ring.secrets.serial {
            // Who kept them when the turn began may be no member any more (V17).
            self.hand_round(keeper, &ring)?;
        }
        self.settle(keeper, ring)
    }

    pub(super) fn commit_turn(&self, command: Command) -> Result<(), Fault> {
        let receipts = self.journal.commit(self.clock.now_s()?, vec![command])?;
        match receipts.first().map(|receipt| *receipt.verdict()) {
            Some(Verdict::Done) => Ok(()),
            Some(Verdict::Refused(Refusal::Stale)) => Err(older_copy()),
            other => Err(Fault::Key(format!("the journal does not take this turn of keys: {other:?}"))),
        }
    }

    /// Puts a ring in the place of the one before, and waits until no batch is under that one any more: who calls holds
    /// none.
    pub(super) fn put(&self, ring: Ring) {
        let old = {
            let mut place = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, Arc::new(ring))
        };
        while Arc::strong_count(&old) > 1 {
            thread::sleep(LOOK);
        }
    }

    /// The keys of this moment.
    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bundles of this moment.
    pub(super) fn bundles(&self) -> Bundles {
        Arc::clone(&self.ring().bundles)
    }

    /// The places of the keys, for a turn: what was begun before is finished first.
    pub(super) fn keeper_to_turn(&self) -> Result<MutexGuard<'_, Keeper>, Fault> {
        let keeper = self.keeper();
        self.finish(&keeper)?;
        Ok(keeper)
    }

    /// The places of the keys: one turn at a time.
    pub(super) fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time_s(&self) -> Result<u64, Fault> {
        let mut time_s = 0;
        self.journal.read(&mut |state| time_s = state.time_s())?;
        Ok(time_s)
    }
}

/// What is said of keys that are not those of which the journal knows.
pub(super) fn other_keys() -> Fault {
    Fault::Key(
        "another vault of this fleet has turned to other keys of the same serial number; have it hand those over, into an \
         empty key store"
            .to_owned(),
    )
}

/// What is said of keys that the journal knows to have turned since.
pub(super) fn older_copy() -> Fault {
    Fault::Key(
        "these are an older copy of the fleet's keys, and the journal knows of a newer one; put the newest copy back"
            .to_owned(),
    )
}
