//! [`Log`]: a replica's log and vote, in a redb file, under its anchor.
//!
//! Whatever openraft is told to be written is on the disk and named by the anchor before it hears that it is (F1): rows,
//! votes, and in the other order what is cut off, which the anchor gives up before the disk does. So a disk that lacks
//! what the anchor names is an older copy, and never one that a power cut left behind (F3).
//!
//! But for one kind of row: a leader's batches go to the others while they are being written here, so that a commit waits once
//! for a disk and an anchor and not twice. openraft is told at once that they are written, and counts this replica among those
//! that have them; so nothing may follow from that before it is true. What [`Log::written`] waits for is waited for by whatever
//! says that a row is committed: its application here, and with it every receipt, and each message that tells others (F11).
//! Rows that change members, and those that begin a term, are written before they leave.

mod begin;
mod stored;
mod tail;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogState, OptionalSend, RaftLogReader, StorageIOError};
use redb::{ReadableDatabase, StorageBackend};
use tokio::sync::Notify;

pub(super) use begin::Beginning;
use begin::begins_well;
use stored::{
    LOG, META, Meta, PURGED, VOTE, check_anchored, check_base, read_meta, read_rows, write_meta, write_meta_with,
};
pub(crate) use tail::Place;
use tail::{ROW_OVERHEAD, Tail};

use super::consensus::{Consensus, Entry, RaftLogId, StorageError, Vote, from_raft, leader_of, to_raft};
use super::link::Address;
use super::message::{ENTRIES_BYTES, size_of_entry};
use super::planted::{self, Mistake, makes};
use super::row;
use super::version::{ROW, Versions};
use crate::error::Fault;
use crate::journal::checkpoint::Base;
use crate::journal::latch::Latch;
use crate::journal::row::{CHAIN_BEGIN, Chain, Keys};
use crate::journal::store::{Store, durable, shielded, storage};
use crate::journal::{Leader, LogId};
use crate::ledger::Policy;

/// What redb may keep of the file in memory.
const CACHE: usize = 16 << 20;
/// Rows that leave the log in one transaction, for which batches wait.
const PURGE_MAX: u64 = 64;
/// Between two looks whether what is waited for has failed.
const LOOK: Duration = Duration::from_millis(100);

/// A replica's log. Copies of the handle are of one log.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

struct Shared {
    keys: Arc<Keys>,
    policy: Policy,
    member: u64,
    life: u64,
    store: Store,
    latch: Latch,
    /// From whom this member takes its first rows, if it did not found the fleet.
    invitation: BTreeMap<u64, Address>,
    /// Held over every write to disk and anchor; taken before `tail`.
    disk: Mutex<()>,
    /// Held while what is in memory changes.
    tail: Mutex<Tail>,
    /// Told when rows are written, or a checkpoint is installed.
    settles: Notify,
}

impl Log {
    /// Opens the log of the replica that is `member`, whose checkpoint is `base`, and holds both against the anchor.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if the disk lacks what the anchor names, [`Fault::Damaged`] if stored bytes do not authenticate,
    /// [`Fault::PolicyMismatch`] if the log was begun under another policy, [`Fault::Format`] if it has batches that this member
    /// does not read, [`Fault::Storage`].
    pub(super) fn open(
        backend: impl StorageBackend,
        keys: Arc<Keys>,
        policy: &Policy,
        member: u64,
        latch: Latch,
        base: &Base,
        versions: &Versions,
    ) -> Result<Self, Fault> {
        let held = latch.held();
        let store = Store::open(backend, CACHE)?;
        let base_place = base.last.map(|id| Place { id, chain: base.chain });
        if held.root != base.root && held.root != base.previous {
            return Err(Fault::Anchor("the checkpoint is an older copy, or of another fleet".to_owned()));
        }
        let Meta { mut vote, purged, invitation } = read_meta(&store, &keys, member)?;
        // A leader that starts again must be elected again. It does not know how far it had committed, and would confirm
        // reads that lack what was acknowledged; a new term's first row is behind all of that.
        if let Some(vote) = vote.as_mut().filter(|vote| vote.leader_id.node_id == member) {
            vote.committed &= makes(Mistake::LeadsAtOnce);
        }
        let mut tail = Tail {
            vote,
            purged,
            rows: VecDeque::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            base: base_place,
            bytes: 0,
            leaving: None,
            unwritten: Vec::new(),
            written: None,
        };
        versions.check(ROW, read_rows(&store, &keys, policy, &mut tail)?)?;
        let anchored = Place { id: held.last, chain: held.chain };
        check_base(&tail)?;
        if held.sequence == 0 {
            // A founding that was cut short, or a replica that has never been opened.
            if !begins_well(&tail) {
                return Err(Fault::Anchor("the anchor is unused, and the log is not".to_owned()));
            }
        } else if held.chain != CHAIN_BEGIN {
            check_anchored(&tail, anchored)?;
        }
        let voted = tail.vote.as_ref().map_or(Leader::default(), |vote| leader_of(&vote.leader_id));
        if voted < held.vote {
            return Err(Fault::Anchor(format!(
                "an older copy of the log: its vote is of term {}, the anchor names one of term {}",
                voted.term, held.vote.term
            )));
        }
        let last = tail.last().filter(|it| tail.base.is_none_or(|base| it.id >= base.id)).or(tail.base);
        // What the file shows may be in the page cache alone, after a kill: the anchor must not name it yet.
        let write = durable(store.db()?)?;
        write.open_table(LOG).map_err(storage)?;
        write.open_table(META).map_err(storage)?;
        write.commit().map_err(storage)?;
        let Place { id, chain } = last.unwrap_or(NOWHERE);
        // Always, so that each opening is a life of its own, and a second copy on one anchor is found out.
        latch.advance_fleet(voted, id, chain)?;
        if held.root != base.root {
            latch.advance_root(base.root)?;
        }
        tail.written = last.map(|it| it.id);
        let policy = policy.clone();
        Ok(Log(Arc::new(Shared {
            keys,
            policy,
            member,
            life: latch.held().sequence,
            store,
            latch,
            invitation,
            disk: Mutex::default(),
            tail: Mutex::new(tail),
            settles: Notify::new(),
        })))
    }

    /// Which life this is: how often the anchor had moved when the log was opened.
    pub(super) fn life(&self) -> u64 {
        self.0.life
    }

    /// Whether nobody holds it but the replica, its machine and its way to the others.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 3
    }

    pub(super) fn latch(&self) -> &Latch {
        &self.0.latch
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// From whom this member takes its first rows.
    pub(super) fn invitation(&self) -> &BTreeMap<u64, Address> {
        &self.0.invitation
    }

    /// The row of this index, if it is there.
    pub(super) fn entry(&self, index: u64) -> Result<Option<Entry>, Fault> {
        Ok(self.entries(index, index + 1)?.pop())
    }

    /// The rows of `[from, to)`, all of them.
    pub(super) fn rows(&self, from: u64, to: u64) -> Result<Vec<Entry>, Fault> {
        let rows = self.entries(from, to)?;
        if rows.len() as u64 == to.saturating_sub(from) {
            Ok(rows)
        } else {
            Err(Fault::Unsettled("rows have left the log meanwhile".to_owned()))
        }
    }

    /// The chain at this log id: `None` if no row of this id is there.
    pub(super) fn chain_at(&self, id: &LogId) -> Result<Option<Chain>, Fault> {
        let tail = self.tail()?;
        let place = tail.at(id.index).or(tail.base.filter(|base| base.id.index == id.index));
        Ok(place.filter(|it| it.id == *id).map(|it| it.chain))
    }

    /// The last row that has left, from the disk too. openraft says so earlier: a row may yet wait for a checkpoint that has it.
    pub(super) fn gone(&self) -> Result<Option<LogId>, Fault> {
        Ok(self.tail()?.purged.map(|it| it.id))
    }

    /// The last row.
    #[cfg(test)]
    pub(super) fn end(&self) -> Result<Option<Place>, Fault> {
        Ok(self.tail()?.last())
    }

    /// A member has another row under an id that this log has too: two histories, and no telling which one people were
    /// answered from. This replica stops.
    pub(super) fn forked(&self, member: u64) -> Fault {
        self.0.latch.close(Fault::Fork(format!("member {member} has another history of this fleet")))
    }

    /// Size of the rows since the last checkpoint was begun, in bytes.
    pub(super) fn bytes(&self) -> Result<u64, Fault> {
        Ok(self.tail()?.bytes)
    }

    /// The rows up to now are for the checkpoint that is begun.
    pub(super) fn cut(&self) -> Result<(), Fault> {
        self.tail()?.bytes = 0;
        Ok(())
    }

    /// A checkpoint that stands at `base` is on the disk.
    pub(super) fn checkpointed(&self, base: Place, root: [u8; 32]) -> Result<(), Fault> {
        let _disk = self.disk()?;
        self.0.latch.close_on(self.0.latch.advance_root(root))?;
        self.tail()?.base = Some(base);
        Ok(())
    }

    /// A checkpoint has come from another replica, and is on the disk: from here on the log goes on behind it.
    pub(super) fn installed(&self, base: Place, root: [u8; 32]) -> Result<(), Fault> {
        let leaving = {
            let _disk = self.disk()?;
            let mut tail = self.tail()?;
            let latch = &self.0.latch;
            if tail.last().is_none_or(|last| last.id < base.id) {
                latch.advance_fleet(latch.held().vote, base.id, base.chain)?;
            }
            latch.advance_root(root)?;
            tail.written = tail.written.max(Some(base.id));
            tail.base = Some(base);
            tail.bytes = 0;
            tail.leaving
        };
        if let Some(leaving) = leaving {
            while self.let_go(leaving)? {}
            self.tail()?.leaving = None;
        }
        self.0.settles.notify_waiters();
        Ok(())
    }

    /// Waits while a checkpoint is being installed: what is written next goes on behind it.
    async fn settled(&self) -> Result<(), Fault> {
        loop {
            let settles = self.0.settles.notified();
            if self.tail()?.leaving.is_none() {
                return Ok(());
            }
            // A failure of the installation has closed the log.
            tokio::time::timeout(LOOK, settles).await.ok();
        }
    }

    /// Waits until this row is on the disk and the anchor names it, or one behind it.
    pub(super) async fn written(&self, id: &LogId) -> Result<(), Fault> {
        loop {
            let settles = self.0.settles.notified();
            if self.tail()?.written >= Some(*id) || makes(Mistake::CommitsAhead) {
                return Ok(());
            }
            // A failure of the disk has closed the log.
            tokio::time::timeout(LOOK, settles).await.ok();
        }
    }

    /// Takes the disk and the anchor, once all rows that are in memory are there.
    fn disk(&self) -> Result<MutexGuard<'_, ()>, Fault> {
        let disk = self.0.disk.lock().map_err(|_| Fault::Latched)?;
        let unwritten = std::mem::take(&mut self.tail()?.unwritten);
        if let Some((last, _)) = unwritten.last() {
            self.write_rows(&unwritten)?;
            self.tail()?.written = Some(last.id);
            self.0.settles.notify_waiters();
        }
        Ok(disk)
    }

    fn tail(&self) -> Result<MutexGuard<'_, Tail>, Fault> {
        self.0.latch.check()?;
        self.0.tail.lock().map_err(|_| Fault::Latched)
    }

    /// Adds rows behind the others, in memory; and whether they may leave before they are written: batches of a leader's.
    fn add_rows(&self, entries: Vec<Entry>) -> Result<bool, Fault> {
        let Shared { keys, policy, member, .. } = &*self.0;
        let mut tail = self.tail()?;
        let leads = tail.vote.is_some_and(|vote| vote.committed && vote.leader_id.node_id == *member);
        let batches = entries.iter().all(|entry| matches!(entry.payload, EntryPayload::Normal(_)));
        let mut chain = tail.last().map_or(CHAIN_BEGIN, |it| it.chain);
        for entry in entries {
            let (row, next) = row::seal(keys, policy, &entry, &chain);
            chain = next;
            let place = Place { id: from_raft(&entry.log_id), chain };
            tail.rows.push_back(place);
            tail.bytes += row.len() as u64 + ROW_OVERHEAD;
            tail.keep(entry, row.len());
            tail.unwritten.push((place, row));
        }
        Ok(leads && batches)
    }

    /// Writes rows behind those that are on the disk, and has the anchor name the last.
    fn write_rows(&self, rows: &[(Place, Vec<u8>)]) -> Result<(), Fault> {
        let Shared { store, latch, .. } = &*self.0;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        let begun = Instant::now();
        let write = durable(store.db()?)?;
        {
            let mut table = write.open_table(LOG).map_err(storage)?;
            for (place, row) in rows {
                table.insert(place.id.index, row.as_slice()).map_err(storage)?;
            }
        }
        write.commit().map_err(storage)?;
        let on_disk = Instant::now();
        latch.advance_fleet(latch.held().vote, last.id, last.chain)?;
        metrics::histogram!("strongroom_log_write_seconds").record(on_disk - begun);
        metrics::histogram!("strongroom_anchor_seconds").record(on_disk.elapsed());
        Ok(())
    }

    fn write_vote(&self, vote: &Vote) -> Result<(), Fault> {
        let Shared { keys, member, store, latch, .. } = &*self.0;
        let _disk = self.disk()?;
        write_meta(store, keys, *member, VOTE, |writer| {
            leader_of(&vote.leader_id).write(writer);
            writer.flag(vote.committed);
        })?;
        if !makes(Mistake::VoteNotAnchored) {
            let held = latch.held();
            latch.advance_fleet(leader_of(&vote.leader_id), held.last, held.chain)?;
        }
        self.tail()?.vote = Some(*vote);
        Ok(())
    }

    /// Cuts off the rows from `index` on.
    fn cut_off(&self, index: u64) -> Result<(), Fault> {
        let Shared { store, latch, .. } = &*self.0;
        let _disk = self.disk()?;
        let mut tail = self.tail()?;
        let keep = usize::try_from(index.saturating_sub(tail.first_index())).unwrap_or(usize::MAX);
        if tail.rows.len() <= keep {
            return Ok(());
        }
        let last = keep.checked_sub(1).and_then(|at| tail.rows.get(at).copied()).or(tail.purged);
        let Place { id, chain } = last.unwrap_or(NOWHERE);
        latch.advance_fleet(latch.held().vote, id, chain)?;
        let write = durable(store.db()?)?;
        write.open_table(LOG).map_err(storage)?.retain_in(index.., |_, _| false).map_err(storage)?;
        write.commit().map_err(storage)?;
        tail.rows.truncate(keep);
        tail.written = last.map(|it| it.id);
        while tail.recent.back().is_some_and(|(entry, _)| entry.log_id.index >= index) {
            let gone = tail.recent.pop_back().map_or(0, |(_, size)| size);
            tail.recent_bytes -= gone;
        }
        Ok(())
    }

    /// Lets go of the rows up to `upto`, which a checkpoint has. True while more are left.
    fn let_go(&self, upto: LogId) -> Result<bool, Fault> {
        let Shared { keys, member, store, .. } = &*self.0;
        let _disk = self.disk()?;
        let mut tail = self.tail()?;
        let Some(base) = tail.base.filter(|base| base.id >= upto) else {
            tail.leaving = Some(upto);
            return Ok(false);
        };
        let first = tail.first_index();
        if upto.index < first {
            return Ok(false);
        }
        // Otherwise a checkpoint has come in the place of rows that were never here, or were others.
        let jumps = tail.at(upto.index).is_none_or(|it| it.id != upto);
        let (until, purged) = if jumps {
            if base.id != upto {
                return Err(Fault::Damaged("rows were to leave that are not the log's".to_owned()));
            }
            (u64::MAX, base)
        } else {
            let until = upto.index.min(first.saturating_add(PURGE_MAX - 1));
            match tail.at(until) {
                Some(place) => (until, place),
                None => return Err(Fault::Damaged("the log has a gap".to_owned())),
            }
        };
        write_meta_with(store, keys, *member, PURGED, Some(until), |writer| {
            purged.id.write(writer);
            writer.bytes(&purged.chain);
        })?;
        let gone = if jumps { tail.rows.len() } else { usize::try_from(until - first + 1).unwrap_or(usize::MAX) };
        let gone = gone.min(tail.rows.len());
        tail.rows.drain(..gone);
        while tail.recent.front().is_some_and(|(entry, _)| jumps || entry.log_id.index <= until) {
            let gone = tail.recent.pop_front().map_or(0, |(_, size)| size);
            tail.recent_bytes -= gone;
        }
        tail.purged = Some(purged);
        Ok(!jumps && until < upto.index)
    }

    /// The entries of `[from, to)` that are there.
    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, Fault> {
        let Shared { keys, policy, store, .. } = &*self.0;
        let (from, to, places, read) = loop {
            let tail = self.tail()?;
            let end = tail.last().map_or(0, |it| it.id.index + 1);
            let (from, to) = (from.max(tail.first_index()), to.min(end));
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(entries) = tail.recent(from, to) {
                return Ok(entries);
            }
            if tail.written >= tail.at(to - 1).map(|it| it.id) {
                // What the chain was when each row was written: a disk that was changed since is found out here.
                let places = (from..to).map(|index| (index.checked_sub(1).and_then(|it| tail.at(it)), tail.at(index)));
                // Begun while nothing can leave: what leaves after this is read all the same.
                break (from, to, places.collect::<Vec<_>>(), store.db()?.begin_read().map_err(storage)?);
            }
            // A leader's last batch is in memory before it is on the disk (F11).
            drop(tail);
            drop(self.disk()?);
        };
        let table = read.open_table(LOG).map_err(storage)?;
        let mut entries = Vec::with_capacity(places.len());
        for (index, (before, place)) in (from..to).zip(places) {
            let Some(bytes) = table.get(index).map_err(storage)? else {
                return Err(Fault::Damaged(format!("the fleet's log row {index} is missing")));
            };
            let (entry, chain) =
                row::open(keys, policy, bytes.value(), index, &before.map_or(CHAIN_BEGIN, |it| it.chain))?;
            if Some(chain) != place.map(|it| it.chain) {
                return Err(Fault::Damaged(format!("the fleet's log row {index} is another than was written")));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The result for openraft, whose node stops on a failure. The log is closed by it too.
    fn settle<T>(&self, result: impl FnOnce() -> Result<T, Fault>) -> Result<T, StorageError> {
        self.0.latch.close_on(shielded(result)).map_err(raft_fault)
    }
}

/// Where a log stands that has no row.
const NOWHERE: Place = Place { id: LogId { leader: Leader { term: 0, member: 0 }, index: 0 }, chain: CHAIN_BEGIN };

/// A fault as openraft hears of it.
pub(super) fn raft_fault(fault: Fault) -> StorageError {
    StorageIOError::write(AnyError::new(&fault)).into()
}

impl RaftLogReader<Consensus> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.settle(|| self.entries(from, to))
    }

    /// As many as fit one message, and one at least.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.settle(|| {
            let (mut entries, mut size) = (Vec::new(), 0);
            for index in start..end {
                let Some(entry) = self.entries(index, index + 1)?.pop() else { break };
                size += size_of_entry(&entry);
                if size > ENTRIES_BYTES && !entries.is_empty() {
                    break;
                }
                entries.push(entry);
            }
            Ok(entries)
        })
    }
}

impl RaftLogStorage<Consensus> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Consensus>, StorageError> {
        self.settle(|| {
            let tail = self.tail()?;
            let last_purged_log_id = tail.purged.map(|it| to_raft(it.id));
            Ok(LogState { last_purged_log_id, last_log_id: tail.last().map(|it| to_raft(it.id)) })
        })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.settle(|| self.write_vote(vote))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.settle(|| Ok(self.tail()?.vote))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Consensus>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        self.settled().await.map_err(raft_fault)?;
        // At most one batch is unwritten: what is behind it waits here.
        self.settle(|| self.disk().map(drop))?;
        if self.settle(|| self.add_rows(entries))? {
            let log = self.clone();
            tokio::spawn(async move {
                planted::wait_for_the_disk().await;
                // A failure closes the log, and whoever waits hears of that.
                super::blocking(|| log.settle(|| log.disk().map(drop))).ok();
            });
        } else {
            planted::wait_for_the_disk().await;
            self.settle(|| self.disk().map(drop))?;
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        self.settled().await.map_err(raft_fault)?;
        self.settle(|| self.cut_off(log_id.index))
    }

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        self.settle(|| {
            while self.let_go(from_raft(&log_id))? {}
            Ok(())
        })
    }
}
