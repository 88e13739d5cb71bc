//! [`Local`]: the journal on this machine's disk.
//!
//! Two redb files in one folder. `log.redb` has one row a batch and commits with every batch; it stays small, since a
//! checkpoint empties it. `checkpoint.redb` has every account and every sealed record as of the last checkpoint. They
//! are two so that writing a large checkpoint need not share a file, and its lock, with the commits of batches.
//!
//! Counters are all in memory. Sealed bytes are not: those changed since the last checkpoint are, the rest is read from
//! the file. A checkpoint is written, then the anchor takes its root, then the rows in it leave the log; a crash between
//! any two of these is mended at opening.
//!
//! Batches that come while a row is being written make the next row together ([`Line`]), so the disk is waited for once
//! for all of them.
//!
//! Batches do not wait for a checkpoint. It stands at one row, the *cut*, and takes its accounts from the live state a
//! few hundred at a time; a batch that comes between keeps the rows it is about to change as they were ([`Changed`]).

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redb::StorageBackend;

use super::anchor::{Anchor, LogId};
use super::changed::Changed;
use super::checkpoint::{self, Base, Cut};
use super::kept::Kept;
use super::latch::{Latch, check_kind};
use super::line::{Batch, Line};
use super::log::{self, Tail};
use super::pace::Pace;
use super::row::{Draft, Keys};
use super::store::{CHECKPOINT_FILE, LOG_FILE, Paced, Store, backend, folder_fault, shielded};
use super::{Committed, Journal};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, Policy, State};
use crate::limits::CHECKPOINT_BYTES;
use crate::secret::Secret;
use crate::wrap::Sealed;

/// Between two transactions that take rows out of the log, so that batches get their turn.
const BREATH: Duration = Duration::from_millis(2);

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
    pub(super) shared: Arc<Shared>,
    /// Asks for a checkpoint; the writer ends when this is dropped.
    ask: Option<SyncSender<()>>,
    writer: Option<JoinHandle<()>>,
}

/// What callers and the writer of checkpoints share.
pub(super) struct Shared {
    keys: Keys,
    policy: Policy,
    latch: Latch,
    /// Held over a whole checkpoint, and before `tail`.
    turn: Mutex<()>,
    /// Where batches meet.
    line: Line,
    /// Held over the writing of a row.
    pub(super) tail: Mutex<Tail>,
    kept: Kept,
    pub(super) log: Store,
    checkpoint_bytes: AtomicU64,
    pace: Pace,
    /// Whether a checkpoint that is being written is to be given up.
    closing: AtomicBool,
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
            return Err(log::already_there());
        }
        // redb does not make a file in one step, so the files get their names only once row 0 is in them. A creation
        // cut short before the log has its name begins anew here, one cut short after it is finished by opening.
        let [log, store] = [LOG_FILE, CHECKPOINT_FILE]
            .map(|name| File::options().read(true).write(true).create(true).truncate(true).open(draft(name)));
        let (log, store) = (backend(log)?, backend(store)?);
        drop(shielded(|| log::begin(log, store, &policy, &Keys::new(journal_key)))?);
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
        Self::open_files(folder.as_ref(), Some(policy), journal_key, anchor)
    }

    /// [`Local::open`] under the policy that the journal was made under, whatever that is: for tools, which do not decide
    /// it.
    ///
    /// # Errors
    /// As [`Local::open`].
    pub fn open_as_made(
        folder: impl AsRef<Path>,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        Self::open_files(folder.as_ref(), None, journal_key, anchor)
    }

    fn open_files(
        folder: &Path,
        policy: Option<&Policy>,
        journal_key: &Secret<[u8; 32]>,
        anchor: Arc<dyn Anchor>,
    ) -> Result<Self, Fault> {
        let [log, store] =
            [LOG_FILE, CHECKPOINT_FILE].map(|name| File::options().read(true).write(true).open(folder.join(name)));
        Self::open_stores(backend(log)?, Paced::new(backend(store)?), policy, journal_key, anchor)
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
        let (log, store, tail) = shielded(|| log::begin(log, checkpoint, &policy, &keys))?;
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
        Self::open_stores(log, checkpoint, Some(policy), journal_key, anchor)
    }

    fn open_stores(
        log: impl StorageBackend,
        checkpoint: impl StorageBackend,
        policy: Option<&Policy>,
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
            let (log, store) = log::open(log, checkpoint)?;
            let keys = Keys::new(journal_key);
            let (base, found) =
                checkpoint::load(store.db()?, &keys)?.map_or((Base::default(), None), |it| (it.base, Some(it.state)));
            if held.root != base.root && held.root != base.previous {
                return Err(Fault::Anchor("the checkpoint is an older copy, or of another journal".to_owned()));
            }
            let mut tail = Tail { last: LogId::default(), chain: checkpoint::chain_before(&base), base, bytes: 0 };
            let (state, changed) = log::replay(log.db()?, &keys, &latch, &mut tail, found)?;
            if let Some(field) = policy.and_then(|policy| state.policy().difference(policy)) {
                return Err(Fault::PolicyMismatch(format!("{field} differs")));
            }
            let policy = state.policy().clone();
            check_kind(kind, &policy)?;
            if (held.last, held.root) != (tail.last, tail.base.root) || held.sequence == 0 {
                // What the files show may be in the page cache alone, after a kill: the anchor must not name it yet.
                while log::trim(log.db()?, tail.base.next_index())? {}
                checkpoint::settle(store.db()?)?;
                latch.advance(tail.last, tail.chain, tail.base.root)?;
                tracing::info!(from = held.last.index, to = tail.last.index, "rows beyond the anchor are kept");
            }
            Self::assemble(keys, policy, latch, tail, (state, changed), (log, store))
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
        let kept = Kept::new(store, state, changed, tail.last.index)?;
        let shared = Arc::new(Shared {
            keys,
            policy,
            latch,
            turn: Mutex::default(),
            line: Line::default(),
            tail: Mutex::new(tail),
            kept,
            log,
            checkpoint_bytes: AtomicU64::new(CHECKPOINT_BYTES),
            pace: Pace::default(),
            closing: AtomicBool::new(false),
        });
        let (ask, asked) = sync_channel(1);
        let writes = Arc::clone(&shared);
        let writer = thread::Builder::new().name("strongroom-checkpoint".to_owned());
        let writer = writer.spawn(move || writes.write_when_asked(&asked));
        let writer = writer.map_err(|error| Fault::Limit(format!("the operating system gives no thread: {error}")))?;
        Ok(Local { shared, ask: Some(ask), writer: Some(writer) })
    }

    /// Writes a checkpoint now, and empties the log up to it. Batches and readers go on meanwhile. If one is being
    /// written already, waits for it and then writes another.
    ///
    /// # Errors
    /// [`Fault::Storage`] and [`Fault::Anchor`], after which the journal is [`Fault::Latched`].
    pub fn checkpoint(&self) -> Result<(), Fault> {
        self.shared.checkpoint(0)
    }

    /// From now on a checkpoint is written when the log since the last one has grown to so many bytes, in place of
    /// [`CHECKPOINT_BYTES`]. A smaller log is sooner replayed, a larger one writes an account that changes often once.
    /// Batches that come faster than checkpoints are written wait a little each once the log is twice as large.
    pub fn set_checkpoint_bytes(&self, bytes: u64) {
        self.shared.checkpoint_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        drop(self.ask.take());
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

impl Shared {
    /// The writer's thread.
    fn write_when_asked(&self, asked: &Receiver<()>) {
        while asked.recv().is_ok() && !self.closing.load(Ordering::Relaxed) {
            // A failure has closed the journal; the next call hears of it.
            self.checkpoint(self.checkpoint_bytes()).ok();
        }
    }

    /// A checkpoint, if the log has grown to so many bytes by the time it is its turn.
    fn checkpoint(&self, from_bytes: u64) -> Result<(), Fault> {
        let _turn = self.turn.lock().map_err(|_| Fault::Latched)?;
        self.latch.check()?;
        if self.tail.lock().map_err(|_| Fault::Latched)?.bytes < from_bytes {
            return Ok(());
        }
        let written = shielded(|| self.write_checkpoint());
        if written.is_err() {
            self.pace.end(Instant::now());
        }
        match written {
            // Nothing failed, and what was written of it is as if it had never been begun.
            Err(_) if self.closing.load(Ordering::Relaxed) => Err(Fault::Latched),
            done => self.latch.close_on(done),
        }
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint_bytes.load(Ordering::Relaxed)
    }

    /// J1: the row is on disk, then the anchor names it, then the state shows it, then the receipts leave.
    fn append(&self, tail: &mut Tail, batch: Batch) -> Result<Vec<Committed>, Fault> {
        let Batch { draft, commands } = batch;
        let time_s = draft.time_s();
        let last = LogId { index: tail.last.index + 1, ..tail.last };
        let (row, chain) = draft.seal(&self.keys, last, &tail.chain);
        let begun = Instant::now();
        log::append(self.log.db()?, last.index, &row)?;
        let on_disk = Instant::now();
        self.latch.advance(last, chain, tail.base.root)?;
        metrics::histogram!("strongroom_log_write_seconds").record(on_disk - begun);
        metrics::histogram!("strongroom_anchor_seconds").record(on_disk.elapsed());
        metrics::histogram!("strongroom_commit_commands").record(commands.len() as f64);
        tail.last = last;
        tail.chain = chain;
        tail.bytes += log::cost(&row);
        self.kept.apply(last.index, time_s, commands)
    }

    /// Called by who holds the turn.
    fn write_checkpoint(&self) -> Result<(), Fault> {
        let begun = Instant::now();
        let (cut, base) = self.cut()?;
        let index = cut.last.index;
        let (base, snapshot) =
            self.kept.write(&self.keys, &base, cut, &self.closing, |part| self.pace.reach(Instant::now(), part))?;
        let next_index = base.next_index();
        {
            let mut tail = self.tail.lock().map_err(|_| Fault::Latched)?;
            self.latch.advance(tail.last, tail.chain, base.root)?;
            tail.base = base;
        }
        self.kept.turn_to(snapshot)?;
        self.pace.end(Instant::now());
        while {
            let _tail = self.tail.lock().map_err(|_| Fault::Latched)?;
            log::trim(self.log.db()?, next_index)?
        } {
            thread::sleep(BREATH);
        }
        metrics::histogram!("strongroom_checkpoint_seconds").record(begun.elapsed());
        tracing::debug!(index, "checkpoint");
        Ok(())
    }

    /// Where the log ends now is where the checkpoint is to stand.
    fn cut(&self) -> Result<(Cut, Base), Fault> {
        let mut tail = self.tail.lock().map_err(|_| Fault::Latched)?;
        self.latch.check()?;
        // It would be given up, and a second cut loses what the first had.
        if self.closing.load(Ordering::Relaxed) {
            return Err(Fault::Latched);
        }
        let cut = self.kept.cut(tail.last, tail.chain, Vec::new())?;
        self.pace.begin(Instant::now());
        tail.bytes = 0;
        Ok((cut, tail.base.clone()))
    }
}

impl Journal for Local {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let Shared { latch, turn, line, tail, .. } = &*self.shared;
        latch.check()?;
        let draft = Draft::batch(time_s, &commands)?;
        // It changes every account, so what is being written is finished before.
        let restores = commands.iter().any(|command| matches!(command, Command::Restore { .. }));
        let turn = if restores { Some(turn.lock().map_err(|_| Fault::Latched)?) } else { None };
        // Who shares another's row knows of neither, and that other waits for both.
        let (mut bytes, mut row) = (0, 0);
        let receipts = line.commit(Batch { draft, commands }, |batch| {
            let mut tail = tail.lock().map_err(|_| Fault::Latched)?;
            latch.check()?;
            let before = tail.bytes;
            let receipts = latch.close_on(shielded(|| self.shared.append(&mut tail, batch)));
            (bytes, row) = (tail.bytes, tail.bytes - before);
            receipts
        })?;
        drop(turn);
        let most = self.shared.checkpoint_bytes();
        // The row is durable whatever becomes of the checkpoint; the next call hears of a failure.
        match self.shared.pace.after(Instant::now(), row, bytes, most) {
            None => {
                self.shared.checkpoint(bytes).ok();
            }
            Some(rest) => {
                if bytes >= most
                    && let Some(ask) = &self.ask
                {
                    // Where one is asked for already, that one will do.
                    ask.try_send(()).ok();
                }
                if !rest.is_none() {
                    let begun = Instant::now();
                    self.shared.pace.rest(&rest);
                    metrics::histogram!("strongroom_slowed_seconds").record(begun.elapsed());
                }
            }
        }
        Ok(receipts)
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        let Shared { latch, kept, .. } = &*self.shared;
        latch.check()?;
        latch.close_on(latch.confirm())?;
        kept.look(look)
    }

    fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.shared.latch.check()?;
        self.shared.kept.look(look)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.sealed_each(&[(*account, generation)]).pop().unwrap_or(Ok(None))
    }

    fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        self.shared.kept.sealed_each(&self.shared.latch, asked)
    }

    fn checkpoint(&self) -> Result<(), Fault> {
        self.shared.checkpoint(0)
    }

    fn policy(&self) -> &Policy {
        &self.shared.policy
    }
}
