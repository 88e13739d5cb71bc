//! [`Kept`]: what the rows amount to: every counter in memory, sealed records in memory or in the checkpoint's file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Committed;
use super::anchor::LogId;
use super::applied::{apply, check_sealed, live_header};
#[cfg(feature = "fleet")]
use super::carried::{Incoming, Outgoing};
use super::changed::Changed;
use super::checkpoint::{self, Base, Cut, Snapshot};
use super::latch::Latch;
use super::row::{Chain, Keys};
use super::store::{Store, shielded, storage};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, State};
use crate::wrap::{Header, Sealed};

/// Reads of records that may be under way at once, on threads that mostly wait: a disk answers sixteen in little more
/// time than one.
const READERS: usize = 16;
/// Records of a reader's task.
const READS_MIN: usize = 4;

/// The state, and where its sealed records are.
pub(crate) struct Kept {
    /// Written only by who appends rows or writes a checkpoint, and never across I/O: readers do not wait for the disk.
    applied: RwLock<Applied>,
    store: Store,
    /// Started by the first batch that is worth it.
    readers: OnceLock<Option<ThreadPool>>,
}

struct Applied {
    state: State,
    index: u64,
    changed: Changed,
    /// Sealed records that have not changed since the last checkpoint.
    snapshot: Arc<Snapshot>,
}

/// Where a sealed record is.
enum Place<'a> {
    /// The account has none of that generation.
    Nowhere,
    /// It has changed since the last checkpoint.
    Here(Result<Option<Sealed>, Fault>),
    OnDisk {
        account: &'a AccountId,
        header: Header,
        snapshot: Arc<Snapshot>,
    },
}

impl Kept {
    /// The state as of the row at `index`, with what of it the checkpoint in `store` lacks.
    pub(crate) fn new(store: Store, state: State, changed: Changed, index: u64) -> Result<Self, Fault> {
        let snapshot = Arc::new(checkpoint::snapshot(store.db()?)?);
        let applied = RwLock::new(Applied { state, index, changed, snapshot });
        Ok(Kept { applied, store, readers: OnceLock::new() })
    }

    /// Applies the row at `index`, which is durable, and makes the receipts.
    pub(crate) fn apply(&self, index: u64, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
        let Applied { state, changed, .. } = &mut *applied;
        changed.note(&commands, state);
        let receipts = apply(state, changed, index, time_s, commands);
        applied.index = index;
        Ok(receipts)
    }

    /// What the receipts of commands would be that were applied to what there is now, which they are not: a mistake, for checks.
    #[cfg(feature = "planted")]
    pub(crate) fn guess(&self, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let applied = self.applied.read().map_err(|_| Fault::Latched)?;
        Ok(apply(&mut applied.state.clone(), &mut Changed::default(), applied.index, 0, commands))
    }

    /// Shows the state, and tells the index of the last row in it.
    pub(crate) fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        let applied = self.applied.read().map_err(|_| Fault::Latched)?;
        look(&applied.state);
        Ok(applied.index)
    }

    /// Cuts for a checkpoint: at the last row applied, which is at `last` and whose chain is `chain`. `beside` is what the
    /// caller wants kept with the state.
    pub(crate) fn cut(&self, last: LogId, chain: Chain, beside: Vec<u8>) -> Result<Cut, Fault> {
        let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
        let Applied { state, changed, .. } = &mut *applied;
        let globals = state.encode_globals();
        let (accounts, records) = changed.cut(state);
        Ok(Cut { last, chain, globals, beside, accounts, records })
    }

    /// Writes a cut, beside which rows are applied; given up, with [`Fault::Latched`], once `closing` is set. `tell` hears
    /// which part of it is written.
    pub(crate) fn write(
        &self,
        keys: &Keys,
        base: &Base,
        cut: Cut,
        closing: &AtomicBool,
        tell: impl Fn(f64),
    ) -> Result<(Base, Arc<Snapshot>), Fault> {
        // What a cut had that was given up is in no other: none is written from then on.
        if closing.load(Ordering::Relaxed) {
            return Err(Fault::Latched);
        }
        let base = checkpoint::write(self.store.db()?, keys, base, cut, |ids, part| {
            tell(part);
            if closing.load(Ordering::Relaxed) {
                return Err(Fault::Latched);
            }
            let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
            let Applied { state, changed, .. } = &mut *applied;
            Ok(changed.take_rows(ids, state))
        })?;
        Ok((base, Arc::new(checkpoint::snapshot(self.store.db()?)?)))
    }

    /// From here on records are read from this checkpoint, which the anchor names.
    pub(crate) fn turn_to(&self, snapshot: Arc<Snapshot>) -> Result<(), Fault> {
        let past = {
            let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
            (std::mem::replace(&mut applied.snapshot, snapshot), applied.changed.thaw())
        };
        drop(past);
        Ok(())
    }

    /// Begins to take the place of the checkpoint and the state, from another replica.
    #[cfg(feature = "fleet")]
    pub(crate) fn receive(&self, keys: &Keys, previous: [u8; 32], head: &[u8]) -> Result<Incoming, Fault> {
        Incoming::begin(self.store.db()?, keys, previous, head)
    }

    /// The last checkpoint, for another replica; `None` before the first.
    #[cfg(feature = "fleet")]
    pub(crate) fn outgoing(&self) -> Result<Option<Outgoing>, Fault> {
        Outgoing::of(self.store.db()?)
    }

    /// From here on the state is what a checkpoint says that has come from another replica and is anchored.
    #[cfg(feature = "fleet")]
    pub(crate) fn install(&self, state: State, index: u64) -> Result<(), Fault> {
        let snapshot = Arc::new(checkpoint::snapshot(self.store.db()?)?);
        let installed = Applied { state, index, changed: Changed::default(), snapshot };
        let past = std::mem::replace(&mut *self.applied.write().map_err(|_| Fault::Latched)?, installed);
        drop(past);
        Ok(())
    }

    /// The sealed records that are asked for, those that are in memory without leaving this thread.
    pub(crate) fn sealed_each(&self, latch: &Latch, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        let places = match self.places(latch, asked) {
            Ok(places) => places,
            Err(fault) => return vec![Err(fault); asked.len()],
        };
        let on_disk = places.iter().filter(|place| matches!(place, Place::OnDisk { .. })).count();
        match self.readers(on_disk) {
            None => places.into_iter().map(|place| self.fetch(latch, place)).collect(),
            Some(pool) => {
                let fetched = places.into_par_iter().with_min_len(READS_MIN).map(|place| self.fetch(latch, place));
                pool.install(|| fetched.collect())
            }
        }
    }

    /// Where each record is, at one moment.
    fn places<'a>(&self, latch: &Latch, asked: &'a [(AccountId, u32)]) -> Result<Vec<Place<'a>>, Fault> {
        latch.check()?;
        let applied = self.applied.read().map_err(|_| Fault::Latched)?;
        let place = |(account, generation): &'a (AccountId, u32)| {
            let Some(header) = live_header(&applied.state, account, *generation) else { return Place::Nowhere };
            match applied.changed.record(account) {
                Some(change) => Place::Here(check_sealed(change.clone(), header)),
                // Taken under the lock: the next checkpoint may hold the bytes of a later generation.
                None => Place::OnDisk { account, header, snapshot: Arc::clone(&applied.snapshot) },
            }
        };
        Ok(asked.iter().map(place).collect())
    }

    fn fetch(&self, latch: &Latch, place: Place<'_>) -> Result<Option<Sealed>, Fault> {
        let found = match place {
            Place::Nowhere => Ok(None),
            Place::Here(found) => found,
            Place::OnDisk { account, header, snapshot } => shielded(|| {
                let found = snapshot.get(&account.0).map_err(storage)?;
                check_sealed(found.map(|bytes| Sealed::from_bytes(bytes.value())).transpose()?, header)
            }),
        };
        match found {
            // One account's bytes say nothing of the others'; a disk that fails does.
            Err(fault @ Fault::Storage(_)) => Err(latch.close(fault)),
            found => found,
        }
    }

    /// The threads that read so many records, if it takes several.
    fn readers(&self, records: usize) -> Option<&ThreadPool> {
        if records <= READS_MIN {
            return None;
        }
        let start = || {
            let named = ThreadPoolBuilder::new().num_threads(READERS).thread_name(|at| format!("strongroom-read-{at}"));
            named.build().inspect_err(|error| tracing::warn!(%error, "records are read one by one")).ok()
        };
        self.readers.get_or_init(start).as_ref()
    }
}
