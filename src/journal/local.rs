//! [`Local`]: the journal on this machine's disk.
//!
//! Two redb files in one folder. `log.redb` has one row a batch and commits with every batch; it stays small, since a
//! checkpoint empties it. `checkpoint.redb` has every account and every sealed record as of the last checkpoint. They
//! are two so that writing a large checkpoint need not share a file, and its lock, with the commits of batches.
//!
//! Counters are all in memory. Sealed bytes are not: those changed since the last checkpoint are, the rest is read from
//! the file. A checkpoint is written, then the anchor takes its root, then the rows in it leave the log; a crash between
//! any two of these is mended at opening.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError,
    WriteTransaction,
};

use super::anchor::{Anchor, Anchored, LogId};
use super::applied::{apply, check_sealed, live_header};
use super::changed::Changed;
use super::checkpoint::{self, Base, Snapshot};
use super::latch::{Latch, check_kind};
use super::row::{CHAIN_BEGIN, Chain, Draft, Entry, Keys, Row};
use super::{Committed, Journal};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, Policy, State};
use crate::limits::CHECKPOINT_BYTES;
use crate::secret::Secret;
use crate::wrap::Sealed;

const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
const LOG_FILE: &str = "log.redb";
const CHECKPOINT_FILE: &str = "checkpoint.redb";
/// What redb may keep of each file in memory.
const LOG_CACHE: usize = 16 << 20;
const CHECKPOINT_CACHE: usize = 64 << 20;
/// What a row costs at replay beside its bytes, so that many small ones call for a checkpoint too.
const ROW_OVERHEAD: u64 = 128;

/// A journal in a folder of this machine.
///
/// ```
/// use std::sync::Arc;
/// use strongroom::journal::{FileAnchor, Journal, Local};
/// use strongroom::ledger::Policy;
/// use strongroom::secret::Secret;
///
/// let folder = tempfile::tempdir().map_err(|error| strongroom::error::Fault::Storage(error.to_string()))?;
/// let key = Secret::<[u8; 32]>::random()?;
/// let policy = Policy::development();
/// let anchor = Arc::new(FileAnchor::create(folder.path().join("anchor"))?);
///
/// let journal = Local::create(folder.path().join("store"), policy.clone(), &key, anchor.clone())?;
/// journal.commit(1_700_000_000, vec![])?;
/// drop(journal);
///
/// let journal = Local::open(folder.path().join("store"), &policy, &key, anchor)?;
/// journal.read(&mut |state| assert_eq!(state.time_s(), 1_700_000_000))?;
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub struct Local {
    keys: Keys,
    policy: Policy,
    latch: Latch,
    /// Held over a whole commit or checkpoint: batches take their turn here.
    tail: Mutex<Tail>,
    /// Written only by who holds `tail`, and never across I/O: readers do not wait for the disk.
    applied: RwLock<Applied>,
    pub(super) log: Store,
    store: Store,
    checkpoint_bytes: AtomicU64,
}

/// One redb file. Closing it writes to it, so that too may fail on altered pages, and must not take the process along.
pub(super) struct Store(Option<Database>);

impl Store {
    fn open(backend: impl StorageBackend, cache: usize) -> Result<Self, Fault> {
        // Every page's checksum is verified, or redb would trust altered pages and panic. Costs one reading of the file.
        Builder::new()
            .set_cache_size(cache)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map(|db| Store(Some(db)))
            .map_err(storage)
    }

    /// The file, which is there until the drop.
    pub(super) fn db(&self) -> Result<&Database, Fault> {
        self.0.as_ref().ok_or(Fault::Latched)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let db = self.0.take();
        shielded(|| {
            drop(db);
            Ok(())
        })
        .ok();
    }
}

/// The end of the log, and what stands before it.
struct Tail {
    last: LogId,
    chain: Chain,
    base: Base,
    /// Size of the rows since the last checkpoint.
    bytes: u64,
}

struct Applied {
    state: State,
    index: u64,
    changed: Changed,
    /// Sealed records that have not changed since the last checkpoint.
    snapshot: Arc<Snapshot>,
}

impl Local {
    /// Makes a journal under `policy` in `folder`, which is made if it is not there. The anchor must be unused.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not allowed, [`Fault::PolicyMismatch`] if it asks for another kind of
    /// anchor, [`Fault::Anchor`] if the anchor belongs to a journal, [`Fault::Storage`] if the folder has a journal or
    /// cannot be written.
    pub fn create(
        folder: impl AsRef<Path>,
        policy: Policy,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        policy.check()?;
        Latch::unused(anchor.clone(), &policy)?;
        let folder = folder.as_ref();
        let path = |name: &str| folder.join(name);
        let draft = |name: &str| folder.join(format!("{name}.new"));
        std::fs::create_dir_all(folder).map_err(folder_fault)?;
        if path(LOG_FILE).try_exists().map_err(folder_fault)? {
            return Err(already_there());
        }
        // redb does not make a file in one step, so the files get their names only once row 0 is in them. A creation
        // cut short before the log has its name begins anew here, one cut short after it is finished by opening.
        let [log, store] = [LOG_FILE, CHECKPOINT_FILE]
            .map(|name| File::options().read(true).write(true).create(true).truncate(true).open(draft(name)));
        let (log, store) = (backend(log)?, backend(store)?);
        drop(shielded(|| begin(log, store, &policy, &Keys::new(journal_key)))?);
        let named = || {
            std::fs::rename(draft(CHECKPOINT_FILE), path(CHECKPOINT_FILE))?;
            std::fs::rename(draft(LOG_FILE), path(LOG_FILE))?;
            // A file is there after a power cut only once the folder that names it is on disk, and so on upwards.
            let whole = folder.canonicalize()?;
            File::open(&whole)?.sync_all()?;
            // Above it a folder may be another's and not ours to open.
            whole
                .ancestors()
                .skip(1)
                .filter_map(|above| File::open(above).ok())
                .for_each(|above| drop(above.sync_all()));
            Ok(())
        };
        named().map_err(folder_fault)?;
        Self::open(folder, &policy, journal_key, anchor)
    }

    /// Opens the journal in `folder`, which was made under `policy`.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if what the disk holds is not what the anchor names, [`Fault::Damaged`] if stored bytes do
    /// not authenticate, [`Fault::Format`] if another version wrote them, [`Fault::PolicyMismatch`] if the policy is
    /// another or asks for another kind of anchor, [`Fault::Storage`] if the folder cannot be read or is in use.
    pub fn open(
        folder: impl AsRef<Path>,
        policy: &Policy,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        let [log, store] = [LOG_FILE, CHECKPOINT_FILE]
            .map(|name| File::options().read(true).write(true).open(folder.as_ref().join(name)));
        Self::open_on(backend(log)?, backend(store)?, policy, journal_key, anchor)
    }

    /// [`Local::create`] over two stores of bytes that stand for the two files, both empty. One that is cut short
    /// leaves them as they are: open them, or begin anew with empty ones.
    ///
    /// # Errors
    /// As [`Local::create`].
    pub fn create_on(
        log: impl StorageBackend,
        checkpoint: impl StorageBackend,
        policy: Policy,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        policy.check()?;
        let latch = Latch::unused(anchor, &policy)?;
        let keys = Keys::new(journal_key);
        let (log, store, tail) = shielded(|| begin(log, checkpoint, &policy, &keys))?;
        latch.advance(tail.last, tail.chain, tail.base.root)?;
        let state = State::new(policy.clone());
        Self::assemble(keys, policy, latch, tail, (state, Changed::default()), (log, store))
    }

    /// [`Local::open`] over two stores of bytes that stand for the two files.
    ///
    /// # Errors
    /// As [`Local::open`].
    pub fn open_on(
        log: impl StorageBackend,
        checkpoint: impl StorageBackend,
        policy: &Policy,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        shielded(|| {
            let kind = anchor.kind();
            let latch = {
                let held = anchor.read()?;
                Latch::new(anchor, held)
            };
            let held = latch.held();
            let (log, store) = (Store::open(log, LOG_CACHE)?, Store::open(checkpoint, CHECKPOINT_CACHE)?);
            let keys = Keys::new(journal_key);
            let (base, found) = checkpoint::load(store.db()?, &keys)?
                .map_or((Base::default(), None), |(base, state)| (base, Some(state)));
            if held.root != base.root && held.root != base.previous {
                return Err(Fault::Anchor("the checkpoint is an older copy, or of another journal".to_owned()));
            }
            let mut tail = Tail { last: LogId::default(), chain: checkpoint::chain_before(&base), base, bytes: 0 };
            let (state, changed) = replay(log.db()?, &keys, &latch, &mut tail, found)?;
            if let Some(field) = state.policy().difference(policy) {
                return Err(Fault::PolicyMismatch(format!("{field} differs")));
            }
            check_kind(kind, policy)?;
            if (held.last, held.root) != (tail.last, tail.base.root) || held.sequence == 0 {
                // What the files show may be in the page cache alone, after a kill: the anchor must not name it yet.
                truncate(log.db()?, tail.base.next_index())?;
                checkpoint::settle(store.db()?)?;
                latch.advance(tail.last, tail.chain, tail.base.root)?;
                tracing::info!(from = held.last.index, to = tail.last.index, "rows beyond the anchor are kept");
            }
            Self::assemble(keys, policy.clone(), latch, tail, (state, changed), (log, store))
        })
    }

    fn assemble(
        keys: Keys,
        policy: Policy,
        latch: Latch,
        tail: Tail,
        (state, changed): (State, Changed),
        (log, store): (Store, Store),
    ) -> Result<Self, Fault> {
        let snapshot = Arc::new(checkpoint::snapshot(store.db()?)?);
        let applied = RwLock::new(Applied { state, index: tail.last.index, changed, snapshot });
        let checkpoint_bytes = AtomicU64::new(CHECKPOINT_BYTES);
        Ok(Local { keys, policy, latch, tail: Mutex::new(tail), applied, log, store, checkpoint_bytes })
    }

    /// Writes a checkpoint now, and empties the log. Batches wait for it, readers do not.
    ///
    /// # Errors
    /// [`Fault::Storage`] and [`Fault::Anchor`], after which the journal is [`Fault::Latched`].
    pub fn checkpoint(&self) -> Result<(), Fault> {
        let mut tail = self.tail.lock().map_err(|_| Fault::Latched)?;
        self.latch.check()?;
        self.latch.close_on(shielded(|| self.write_checkpoint(&mut tail)))
    }

    /// From now on a checkpoint is written when the log since the last one has grown to so many bytes, in place of
    /// [`CHECKPOINT_BYTES`]. A smaller log is sooner replayed, a larger one writes an account that changes often once.
    pub fn set_checkpoint_bytes(&self, bytes: u64) {
        self.checkpoint_bytes.store(bytes, Ordering::Relaxed);
    }

    /// J1: the row is on disk, then the anchor names it, then the state shows it, then the receipts leave.
    fn append(
        &self,
        tail: &mut Tail,
        draft: Draft,
        time_s: u64,
        commands: Vec<Command>,
    ) -> Result<Vec<Committed>, Fault> {
        let last = LogId { index: tail.last.index + 1, ..tail.last };
        let (row, chain) = draft.seal(&self.keys, last, &tail.chain);
        let begun = Instant::now();
        let write = durable(self.log.db()?)?;
        write.open_table(LOG).map_err(storage)?.insert(last.index, row.as_slice()).map_err(storage)?;
        write.commit().map_err(storage)?;
        let on_disk = Instant::now();
        self.latch.advance(last, chain, tail.base.root)?;
        metrics::histogram!("strongroom_log_write_seconds").record(on_disk - begun);
        metrics::histogram!("strongroom_anchor_seconds").record(on_disk.elapsed());
        metrics::histogram!("strongroom_commit_commands").record(commands.len() as f64);
        tail.last = last;
        tail.chain = chain;
        tail.bytes += row.len() as u64 + ROW_OVERHEAD;
        let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
        let Applied { state, changed, index, .. } = &mut *applied;
        commands.iter().for_each(|command| changed.note(command));
        *index = last.index;
        Ok(apply(state, changed, last.index, time_s, commands))
    }

    fn write_checkpoint(&self, tail: &mut Tail) -> Result<(), Fault> {
        let base = {
            // Shared with readers; the only writer is whoever holds the tail.
            let applied = self.applied.read().map_err(|_| Fault::Latched)?;
            checkpoint::write(
                self.store.db()?,
                &self.keys,
                &tail.base,
                (tail.last, tail.chain),
                &applied.state,
                &applied.changed,
            )?
        };
        self.latch.advance(tail.last, tail.chain, base.root)?;
        truncate(self.log.db()?, base.next_index())?;
        tail.base = base;
        tail.bytes = 0;
        let snapshot = Arc::new(checkpoint::snapshot(self.store.db()?)?);
        let done = {
            let mut applied = self.applied.write().map_err(|_| Fault::Latched)?;
            applied.snapshot = snapshot;
            std::mem::take(&mut applied.changed)
        };
        tracing::debug!(index = tail.last.index, records = done.records.len(), "checkpoint");
        Ok(())
    }

    fn find_sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        let (header, snapshot) = {
            let applied = self.applied.read().map_err(|_| Fault::Latched)?;
            let Some(header) = live_header(&applied.state, account, generation) else { return Ok(None) };
            if let Some(change) = applied.changed.records.get(account) {
                return check_sealed(change.clone(), header);
            }
            // Taken under the lock: the next checkpoint may hold the bytes of a later generation.
            (header, Arc::clone(&applied.snapshot))
        };
        let found = snapshot.get(&account.0).map_err(storage)?;
        check_sealed(found.map(|bytes| Sealed::from_bytes(bytes.value())).transpose()?, header)
    }
}

impl Journal for Local {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        self.latch.check()?;
        let draft = Draft::batch(time_s, &commands)?;
        let mut tail = self.tail.lock().map_err(|_| Fault::Latched)?;
        self.latch.check()?;
        let receipts = self.latch.close_on(shielded(|| self.append(&mut tail, draft, time_s, commands)))?;
        if tail.bytes >= self.checkpoint_bytes.load(Ordering::Relaxed) {
            // The batch itself is durable whatever becomes of the checkpoint; the next call hears of the failure.
            self.latch.close_on(shielded(|| self.write_checkpoint(&mut tail))).ok();
        }
        Ok(receipts)
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.latch.check()?;
        self.latch.close_on(self.latch.confirm())?;
        let applied = self.applied.read().map_err(|_| Fault::Latched)?;
        look(&applied.state);
        Ok(applied.index)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.latch.check()?;
        match shielded(|| self.find_sealed(account, generation)) {
            // One account's bytes say nothing of the others'; a disk that fails does.
            Err(fault @ Fault::Storage(_)) => Err(self.latch.close(fault)),
            found => found,
        }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// A new log with row 0, and a new checkpoint file without a checkpoint, both on disk.
fn begin(
    log: impl StorageBackend,
    checkpoint: impl StorageBackend,
    policy: &Policy,
    keys: &Keys,
) -> Result<(Store, Store, Tail), Fault> {
    let (log, store) = (Store::open(log, LOG_CACHE)?, Store::open(checkpoint, CHECKPOINT_CACHE)?);
    checkpoint::settle(store.db()?)?;
    let last = LogId::default();
    let (row, chain) = Draft::policy(policy).seal(keys, last, &CHAIN_BEGIN);
    let write = durable(log.db()?)?;
    {
        let mut table = write.open_table(LOG).map_err(storage)?;
        if table.first().map_err(storage)?.is_some() || checkpoint::load(store.db()?, keys)?.is_some() {
            return Err(already_there());
        }
        table.insert(last.index, row.as_slice()).map_err(storage)?;
    }
    write.commit().map_err(storage)?;
    Ok((log, store, Tail { last, chain, base: Base::default(), bytes: row.len() as u64 }))
}

fn already_there() -> Fault {
    Fault::Storage("there is a journal already".to_owned())
}

/// Applies the rows that the checkpoint lacks, each proved by the chain, and holds the end of the log against the
/// anchor (J5).
fn replay(
    log: &Database,
    keys: &Keys,
    latch: &Latch,
    tail: &mut Tail,
    found: Option<State>,
) -> Result<(State, Changed), Fault> {
    let held = latch.held();
    let (mut state, mut changed) = (found, Changed::default());
    let mut index = tail.base.next_index();
    if let Some(last) = tail.base.last {
        tail.last = last;
        if last > held.last || held.sequence == 0 {
            // A checkpoint is only ever written at a row that is anchored.
            return Err(Fault::Anchor("the checkpoint is ahead of the anchor: it is another journal's".to_owned()));
        }
        check_against(&held, last, &tail.chain)?;
    }
    let read = log.begin_read().map_err(storage)?;
    let table = match read.open_table(LOG) {
        Ok(table) => Some(table),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(storage(error)),
    };
    if let Some(table) = table {
        for entry in table.range(index..).map_err(storage)? {
            let (key, bytes) = entry.map_err(storage)?;
            if key.value() != index {
                return Err(Fault::Damaged(format!("log row {index} is missing, later ones are there")));
            }
            let bytes = bytes.value();
            let row = Row::open(keys, bytes, index, &tail.chain)?;
            check_against(&held, row.id, &row.chain)?;
            match (row.entry, &mut state) {
                (Entry::Policy(policy), None) => state = Some(State::new(policy)),
                (Entry::Batch { time_s, commands }, Some(state)) => {
                    commands.iter().for_each(|command| changed.note(command));
                    apply(state, &mut changed, index, time_s, commands);
                }
                // Row 0 is never read behind a checkpoint, nor a later one before row 0.
                _ => return Err(Fault::Damaged(format!("log row {index} is out of place"))),
            }
            (tail.last, tail.chain) = (row.id, row.chain);
            tail.bytes += bytes.len() as u64 + ROW_OVERHEAD;
            index += 1;
        }
    }
    let Some(state) = state else {
        return Err(match held.sequence {
            0 => Fault::Storage("there is no journal here".to_owned()),
            _ => Fault::Anchor(format!("the log is empty, the anchor names row {}", held.last.index)),
        });
    };
    if held.sequence == 0 && tail.last.index > 0 {
        return Err(Fault::Anchor(format!("the anchor is unused, the log goes up to row {}", tail.last.index)));
    }
    if tail.last < held.last {
        return Err(Fault::Anchor(format!(
            "an older copy of the store, or a truncated log: it ends at row {}, the anchor names row {}",
            tail.last.index, held.last.index
        )));
    }
    Ok((state, changed))
}

/// At the anchored index the log must have the anchored row.
fn check_against(held: &Anchored, id: LogId, chain: &Chain) -> Result<(), Fault> {
    let elsewhere = held.sequence == 0 || id.index != held.last.index;
    if elsewhere || (id == held.last && *chain == held.chain) {
        return Ok(());
    }
    Err(Fault::Anchor(format!(
        "a fork: row {} is not the one that the anchor names; another copy has gone on from an earlier row",
        id.index
    )))
}

/// Removes the rows below `next_index`, which the checkpoint has.
fn truncate(log: &Database, next_index: u64) -> Result<(), Fault> {
    let write = durable(log)?;
    write.open_table(LOG).map_err(storage)?.retain_in(..next_index, |_, _| false).map_err(storage)?;
    write.commit().map_err(storage)
}

/// A transaction that is on disk when its commit returns.
pub(super) fn durable(db: &Database) -> Result<WriteTransaction, Fault> {
    let mut write = db.begin_write().map_err(storage)?;
    write.set_durability(Durability::Immediate).map_err(storage)?;
    // One phase would trust a checksum that is no MAC to tell a torn commit from a whole one.
    write.set_two_phase_commit(true);
    Ok(write)
}

fn backend(file: io::Result<File>) -> Result<FileBackend, Fault> {
    FileBackend::new(file.map_err(folder_fault)?).map_err(storage)
}

fn folder_fault(error: io::Error) -> Fault {
    Fault::Storage(format!("the journal's folder: {error}"))
}

/// The result of what touches redb. On a file whose pages were altered it panics in places, where we owe a fault; and
/// what it leaves behind then is never used again, since the fault closes the journal or is one of opening it.
fn shielded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Damaged("the store could not make sense of its own pages".to_owned())))
}

/// What redb says, as a fault.
pub(super) fn storage(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Corrupted(what) => Fault::Damaged(what),
        error => Fault::Storage(error.to_string()),
    }
}
