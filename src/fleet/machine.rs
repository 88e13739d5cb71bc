//! [`Machine`]: what a replica's rows amount to, and the only place where its receipts come from.
//!
//! A batch is decided by the state of whoever asks, not by what a leader says: the replica that sent it makes its receipts
//! when its own log says that the batch is committed, and has by then applied it (L10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta};
use redb::StorageBackend;
use tokio::sync::{OwnedMutexGuard, oneshot, watch};
use tokio::time::Instant;

use super::consensus::{
    Consensus, Entry, Membership, Origin, Proposal, RaftLogId, StorageError, StoredMembership, from_raft,
    read_membership, to_raft, write_membership,
};
use super::link::Address;
use super::log::{Log, Place, raft_fault};
use super::planted::{Mistake, makes};
use super::roster::Roster;
use super::version::{OLDEST, ROW, Versions, read_in};
use crate::account::AccountId;
use crate::error::Fault;
use crate::journal::carried::{Incoming, Outgoing, Proven};
use crate::journal::changed::Changed;
use crate::journal::checkpoint::{self, Base, Cut};
use crate::journal::kept::Kept;
use crate::journal::pace::Pace;
use crate::journal::row::{Keys, first_half, read_commands};
use crate::journal::store::{Store, shielded};
use crate::journal::{Committed, Leader, LogId};
use crate::ledger::{Command, Policy, State, Verdict};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Sealed;

/// What redb may keep of the checkpoint's file in memory.
const CACHE: usize = 64 << 20;
/// What a checkpoint is called that a member does not read.
const CHECKPOINT: &str = "the fleet's checkpoint";

/// What a fleet keeps beside the state: what it speaks, who its members are and never will be, and how far each of their batches
/// have come.
#[derive(Clone)]
struct Book {
    version: u8,
    membership: StoredMembership,
    /// Numbers that nobody has again.
    gone: BTreeSet<u64>,
    /// The last batch applied of each member: its life, and its number in that life (F2).
    origins: BTreeMap<u64, (u64, u64)>,
}

impl Default for Book {
    fn default() -> Self {
        Book {
            version: OLDEST,
            membership: StoredMembership::default(),
            gone: BTreeSet::new(),
            origins: BTreeMap::new(),
        }
    }
}

impl Book {
    /// Whether this batch is applied: each is, once.
    fn admits(&mut self, origin: &Origin) -> bool {
        let last = self.origins.entry(origin.member).or_default();
        let this = (origin.life, origin.sequence);
        let fresh = *last < this || makes(Mistake::AppliesTwice);
        if fresh {
            *last = this;
        }
        fresh
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(self.version).flag(self.membership.log_id().is_some());
        from_raft(&self.membership.log_id().unwrap_or_default()).write(&mut writer);
        write_membership(&mut writer, self.membership.membership());
        writer.u32(self.gone.len() as u32);
        for number in &self.gone {
            writer.u64(*number);
        }
        writer.u32(self.origins.len() as u32);
        for (member, (life, sequence)) in &self.origins {
            writer.u64(*member).u64(*life).u64(*sequence);
        }
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let parse = || -> Result<Self, Invalid> {
            let mut reader = Reader::new(bytes);
            let (version, known) = (reader.u8()?, reader.flag()?);
            let log_id = LogId::read(&mut reader)?;
            let membership = StoredMembership::new(known.then(|| to_raft(log_id)), read_membership(&mut reader)?);
            let gone = (0..reader.u32()?).map(|_| reader.u64()).collect::<Result<_, Invalid>>()?;
            let origins = (0..reader.u32()?)
                .map(|_| Ok((reader.u64()?, (reader.u64()?, reader.u64()?))))
                .collect::<Result<_, Invalid>>()?;
            reader.finish()?;
            Ok(Book { version, membership, gone, origins })
        };
        parse().map_err(Invalid::stored("what the checkpoint says of the fleet"))
    }
}

/// Who waits for the receipts of which batch.
type Waiting = Option<(Origin, oneshot::Sender<Vec<Committed>>)>;

/// A replica's state machine. Copies of the handle are of one machine.
#[derive(Clone)]
pub(super) struct Machine(Arc<Shared>);

struct Shared {
    log: Log,
    versions: Arc<Versions>,
    kept: Kept,
    book: Mutex<Book>,
    /// Where the last checkpoint stands.
    base: Mutex<Base>,
    /// Held while a checkpoint is written, or one arrives.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Held while one is written, and by a batch that changes every account.
    writing: Arc<tokio::sync::Mutex<()>>,
    waiting: Mutex<Waiting>,
    /// The last row applied.
    applied: watch::Sender<Option<LogId>>,
    closing: AtomicBool,
    pace: Pace,
}

type Meta = SnapshotMeta<u64, Address>;

/// A checkpoint as openraft hands it around.
pub(super) enum Carried {
    /// To be sent.
    Outgoing(Box<Outgoing>),
    /// To be installed.
    Arrived(Box<Proven>, Turn),
    /// Written here: nothing is to be done with it.
    Here,
}

/// Held while a checkpoint is written, or one arrives.
pub(super) type Turn = OwnedMutexGuard<()>;

/// A checkpoint that is arriving.
pub(super) struct Arriving {
    incoming: Incoming,
    turn: Turn,
}

/// What is loaded before the log can be.
pub(super) struct Opened {
    store: Store,
    pub(super) base: Base,
    state: State,
    book: Book,
}

impl Opened {
    /// The checkpoint's file: an empty one is a checkpoint of nothing.
    pub(super) fn read(
        backend: impl StorageBackend,
        keys: &Keys,
        policy: &Policy,
        versions: &Versions,
    ) -> Result<Self, Fault> {
        let store = Store::open(backend, CACHE)?;
        checkpoint::settle(store.db()?)?;
        match checkpoint::load(store.db()?, keys)? {
            Some(loaded) => {
                if let Some(field) = loaded.state.policy().difference(policy) {
                    return Err(Fault::PolicyMismatch(format!("{field} differs")));
                }
                let book = Book::decode(&loaded.beside)?;
                versions.check(CHECKPOINT, book.version)?;
                Ok(Opened { store, base: loaded.base, state: loaded.state, book })
            }
            None => {
                Ok(Opened { store, base: Base::default(), state: State::new(policy.clone()), book: Book::default() })
            }
        }
    }
}

impl Machine {
    pub(super) fn new(opened: Opened, log: Log, versions: Arc<Versions>) -> Result<Self, Fault> {
        let Opened { store, base, state, book } = opened;
        let kept = Kept::new(store, state, Changed::default(), base.last.map_or(0, |last| last.index))?;
        let applied = watch::Sender::new(base.last);
        versions.turn_to(book.version);
        Ok(Machine(Arc::new(Shared {
            log,
            versions,
            kept,
            book: Mutex::new(book),
            base: Mutex::new(base),
            turn: Arc::default(),
            writing: Arc::default(),
            waiting: Mutex::new(None),
            applied,
            closing: AtomicBool::new(false),
            pace: Pace::default(),
        })))
    }

    /// From here on a checkpoint that is being written is given up.
    pub(super) fn close(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }

    /// Whether this is the only handle.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Tells of each row that is applied.
    pub(super) fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.0.applied.subscribe()
    }

    /// The receipts of a batch that is about to be proposed. One batch waits at a time.
    pub(super) fn await_receipts(&self, origin: Origin) -> Result<oneshot::Receiver<Vec<Committed>>, Fault> {
        let (told, receipts) = oneshot::channel();
        *lock(&self.0.waiting)? = Some((origin, told));
        Ok(receipts)
    }

    /// Shows the state as applied here, and tells the index of the last row in it.
    pub(super) fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.0.log.latch().check()?;
        self.0.kept.look(look)
    }

    /// What the state says of the members, and the last row in it.
    pub(super) fn roster(&self) -> Result<(Option<LogId>, Roster), Fault> {
        let book = lock(&self.0.book)?;
        Ok((*self.0.applied.borrow(), self.roster_of(&book)?))
    }

    fn roster_of(&self, book: &Book) -> Result<Roster, Fault> {
        let mut roster = None;
        let (gone, membership) = (book.gone.clone(), book.membership.membership().clone());
        self.look(&mut |state| roster = Some(Roster::of(state, gone.clone(), membership.clone())))?;
        roster.ok_or(Fault::Latched)
    }

    /// Receipts for a batch of which nothing is known here but that the leader has it committed: a mistake, for checks.
    #[cfg(feature = "planted")]
    pub(super) fn guess(&self, proposal: &Proposal) -> Result<Vec<Committed>, Fault> {
        self.0.kept.guess(commands_of(proposal).map_err(Invalid::stored("a batch"))?)
    }

    /// The sealed records that are asked for, as applied here.
    pub(super) fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        self.0.kept.sealed_each(self.0.log.latch(), asked)
    }

    /// Begins to take a checkpoint from another replica; `None` while one is written here or another arrives.
    pub(super) fn receive(&self, head: &[u8]) -> Result<Option<Arriving>, Fault> {
        let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() else { return Ok(None) };
        let root = lock(&self.0.base)?.root;
        let incoming = self.arrives(|| self.0.kept.receive(self.0.log.keys(), root, head))?;
        Ok(Some(Arriving { incoming, turn }))
    }

    /// Takes a part of what arrives.
    pub(super) fn take(&self, arriving: &mut Arriving, part: &[u8]) -> Result<(), Fault> {
        self.arrives(|| arriving.incoming.take(self.0.log.keys(), part))
    }

    /// What arrives wrong is the sender's; a disk of ours that fails beneath it closes the journal.
    fn arrives<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        match shielded(work) {
            Err(fault @ Fault::Storage(_)) => Err(self.0.log.latch().close(fault)),
            done => done,
        }
    }

    /// All of it is here: a snapshot for openraft, if it is what its root says.
    pub(super) fn prove(&self, arriving: Arriving) -> Result<Snapshot<Consensus>, Fault> {
        let Arriving { incoming, turn } = arriving;
        let proven = self.arrives(|| incoming.prove(self.0.log.keys()))?;
        let loaded = proven.loaded();
        let book = Book::decode(&loaded.beside)?;
        self.0.versions.check(CHECKPOINT, book.version)?;
        let meta = meta_of(&loaded.base, &book);
        if !Roster::of(&loaded.state, book.gone, book.membership.membership().clone()).stands() {
            return Err(Fault::Damaged("a checkpoint has members that no statement names".to_owned()));
        }
        Ok(Snapshot { meta, snapshot: Box::new(Carried::Arrived(Box::new(proven), turn)) })
    }

    /// The checkpoint takes the place of the state: on disk, then anchored, then the rows in it leave the log.
    fn install(&self, proven: Proven) -> Result<(), Fault> {
        let Shared { log, kept, book, base, applied, .. } = &*self.0;
        let Some(last) = proven.loaded().base.last else {
            return Err(Fault::Damaged("a checkpoint of nothing".to_owned()));
        };
        let loaded = proven.commit(log.keys())?;
        let next = Book::decode(&loaded.beside)?;
        log.installed(Place { id: last, chain: loaded.base.chain }, loaded.base.root)?;
        // Not before: whoever asks who the members are waits for it.
        let mut book = lock(book)?;
        kept.install(loaded.state, last.index)?;
        *lock(base)? = loaded.base;
        self.0.versions.turn_to(next.version);
        *book = next;
        applied.send_replace(Some(last));
        Ok(())
    }

    /// The commands of an entry of the log, if it is a batch.
    fn commands_in(&self, entry: &Entry) -> Result<Vec<Command>, Fault> {
        match &entry.payload {
            EntryPayload::Normal(it) => {
                self.0.versions.check(ROW, it.version)?;
                commands_of(it).map_err(Invalid::stored(ROW))
            }
            EntryPayload::Blank | EntryPayload::Membership(_) => Ok(Vec::new()),
        }
    }

    fn apply_entry(&self, entry: Entry, mut commands: Vec<Command>) -> Result<(), Fault> {
        let Shared { versions, book, kept, waiting, applied, .. } = &*self.0;
        let id = from_raft(&entry.log_id);
        let mut book = lock(book)?;
        if *applied.borrow() >= Some(id) {
            return Err(Fault::Damaged("a row was to be applied a second time".to_owned()));
        }
        let (mut time_s, mut origin) = (0, None);
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                book.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(it) => {
                book.version = book.version.max(it.version);
                versions.turn_to(book.version);
                if book.admits(&it.origin) {
                    (time_s, origin) = (it.time_s, Some(it.origin));
                } else {
                    commands.clear();
                    tracing::debug!(index = id.index, "a batch had come before, and does nothing");
                }
            }
        }
        if commands.iter().any(names) {
            let mut roster = self.roster_of(&book)?;
            if !roster.take(&commands) && id.index > 0 {
                return Err(Fault::Damaged(
                    "a row names members or signers whom both signers have not named".to_owned(),
                ));
            }
            book.gone = roster.gone().clone();
        }
        let receipts = kept.apply(id.index, time_s, commands)?;
        applied.send_replace(Some(id));
        if let Some((_, told)) = lock(waiting)?.take_if(|(awaited, _)| Some(*awaited) == origin) {
            // Who no longer waits has been told that it is not known.
            told.send(receipts).ok();
        }
        Ok(())
    }

    /// Applies all rows of the log, whoever has acknowledged them; and where the last stands, if anything is there.
    pub(super) fn replay(&self) -> Result<Option<Place>, Fault> {
        let Shared { log, applied, .. } = &*self.0;
        loop {
            let last = *applied.borrow();
            let next = last.map_or(0, |it| it.index + 1);
            let Some(entry) = log.entry(next)? else {
                let chain = last.map(|last| log.chain_at(&last)).transpose()?.flatten();
                return Ok(last.zip(chain).map(|(id, chain)| Place { id, chain }));
            };
            let commands = self.commands_in(&entry)?;
            self.apply_entry(entry, commands)?;
        }
    }

    /// Has the state go on from here with other members: one row more, which is nobody's, and a checkpoint at it.
    pub(super) fn refound(
        &self,
        keys: &Keys,
        at: Place,
        refounding: Refounding,
        members: BTreeMap<u64, Address>,
    ) -> Result<Place, Fault> {
        let Shared { kept, book, base, closing, .. } = &*self.0;
        let Refounding { number, predecessor, statement } = refounding;
        let mut book = lock(book)?;
        let before = self.roster_of(&book)?.all();
        if let Some(number) = members.keys().find(|number| before.contains(number)) {
            return Err(Fault::Key(format!("member {number} was one before: whoever goes on has a number of its own")));
        }
        let leader = Leader { term: at.id.leader.term + 1, member: 0 };
        let id = LogId { leader, index: at.id.index + 1 };
        let chain = first_half(&keys.fleet.mac(&[b"refound", &at.chain, &statement]));
        let commands = vec![Command::Restore { number }, Command::Members { predecessor, statement }];
        let receipts = kept.apply(id.index, 0, commands)?;
        if receipts.iter().any(|receipt| *receipt.verdict() != Verdict::Done) {
            let why = "the backup was restored more or less often than it says, or its members were others";
            return Err(Fault::Statement(why.to_owned()));
        }
        let voters = members.keys().copied().collect();
        book.membership = StoredMembership::new(Some(to_raft(id)), Membership::new(vec![voters], members));
        book.gone = before;
        book.origins.clear();
        let cut = kept.cut(id, chain, book.encode())?;
        // A checkpoint that follows none: so the anchor of who begins with it expects it.
        let before = Base { root: [0; 32], ..lock(base)?.clone() };
        kept.write(keys, &before, cut, closing, |_| ())?;
        Ok(Place { id, chain })
    }

    /// How long a row of so many bytes waits before it goes to the log, where `most` call for a checkpoint ([`Pace`]).
    pub(super) fn wait_before(&self, row: u64, most: u64) -> Result<Option<Duration>, Fault> {
        Ok(self.0.pace.before(Instant::now().into_std(), row, self.0.log.bytes()?, most))
    }

    /// The checkpoint in the file.
    fn last_checkpoint(&self) -> Result<Option<(Meta, Outgoing)>, Fault> {
        let Some(outgoing) = self.0.kept.outgoing()? else { return Ok(None) };
        let (base, _, contents) = Base::decode(self.0.log.keys(), outgoing.head())?;
        let (_, beside) = checkpoint::split_contents(&contents)?;
        Ok(Some((meta_of(&base, &Book::decode(&beside)?), outgoing)))
    }

    /// The checkpoint's head and parts, as they travel.
    #[cfg(test)]
    pub(super) fn carried(&self) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        let (_, mut outgoing) = self.last_checkpoint().ok()??;
        let mut parts = Vec::new();
        while let Some(part) = outgoing.next().ok()? {
            parts.push(part);
        }
        Some((outgoing.head().to_vec(), parts))
    }

    /// Where the next checkpoint is to stand, if one can be written now, and rows have been applied since the last.
    fn cut(&self) -> Result<Option<Begun>, Fault> {
        let Shared { log, kept, book, base, turn, writing, applied, closing, pace, .. } = &*self.0;
        let Ok(turn) = Arc::clone(turn).try_lock_owned() else { return Ok(None) };
        let Ok(writing) = Arc::clone(writing).try_lock_owned() else { return Ok(None) };
        // It would be given up, and a second cut loses what the first had: readers go on until the end.
        if closing.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let book = lock(book)?;
        let Some(last) = *applied.borrow() else { return Ok(None) };
        let base = lock(base)?.clone();
        // It would have no row more, and count those of the log as taken that are yet to be applied.
        if base.last == Some(last) {
            return Ok(None);
        }
        let Some(chain) = log.chain_at(&last)? else {
            return Err(Fault::Damaged("the last row applied is not in the log".to_owned()));
        };
        let cut = kept.cut(last, chain, book.encode())?;
        log.cut()?;
        pace.begin(Instant::now().into_std());
        Ok(Some(Begun { cut, place: Place { id: last, chain }, base, turns: [turn, writing] }))
    }

    fn settle<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, StorageError> {
        self.0.log.latch().close_on(shielded(work)).map_err(raft_fault)
    }
}

/// What both signers have said to have a fleet go on from a backup.
pub(super) struct Refounding {
    /// Of the restore.
    pub(super) number: u32,
    pub(super) predecessor: [u8; 32],
    /// The statement, as the state keeps it.
    pub(super) statement: Vec<u8>,
}

/// Whether a command names members, or signers.
pub(super) fn names(command: &Command) -> bool {
    matches!(command, Command::Members { .. } | Command::Signers { .. })
}

/// The commands of a proposal.
pub(super) fn commands_of(proposal: &Proposal) -> Result<Vec<Command>, Invalid> {
    let mut reader = Reader::new(read_in(proposal.version, &proposal.content)?);
    let commands = read_commands(&mut reader, proposal.count as usize)?;
    reader.finish().map(|()| commands)
}

fn meta_of(base: &Base, book: &Book) -> Meta {
    let snapshot_id = base.root.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    SnapshotMeta { last_log_id: base.last.map(to_raft), last_membership: book.membership.clone(), snapshot_id }
}

fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, Fault> {
    mutex.lock().map_err(|_| Fault::Latched)
}

/// A checkpoint that is to be written.
struct Begun {
    cut: Cut,
    place: Place,
    /// The one before it.
    base: Base,
    turns: [Turn; 2],
}

/// Writes a checkpoint beside the machine.
pub(super) struct Builder {
    machine: Machine,
    begun: Result<Option<Begun>, Fault>,
}

impl RaftSnapshotBuilder<Consensus> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Consensus>, StorageError> {
        let Shared { log, kept, base, closing, pace, .. } = &*self.machine.0;
        let reach = |part| pace.reach(Instant::now().into_std(), part);
        let begun = std::mem::replace(&mut self.begun, Ok(None));
        let written = super::blocking(|| {
            self.machine.settle(|| {
                let Some(Begun { cut, place, base: before, turns }) = begun? else { return Ok(None) };
                let book = Book::decode(&cut.beside)?;
                let (next, snapshot) = match kept.write(log.keys(), &before, cut, closing, reach) {
                    // Nothing failed, and what was written of it is as if it had never been begun.
                    Err(_) if closing.load(Ordering::Relaxed) => return Ok(None),
                    done => done?,
                };
                log.checkpointed(place, next.root)?;
                pace.end(Instant::now().into_std());
                kept.turn_to(snapshot)?;
                let meta = meta_of(&next, &book);
                *lock(base)? = next;
                drop(turns);
                tracing::debug!(index = place.id.index, "checkpoint");
                Ok(Some(meta))
            })
        })?;
        // Where none could be begun, openraft hears of a snapshot of nothing, and goes on with the one that it has.
        Ok(Snapshot { meta: written.unwrap_or_default(), snapshot: Box::new(Carried::Here) })
    }
}

impl RaftStateMachine<Consensus> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), StorageError> {
        self.settle(|| Ok((self.0.applied.borrow().map(to_raft), lock(&self.0.book)?.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = Vec::new();
        for entry in entries {
            // openraft counts this replica before its disk has the row (F11).
            self.0.log.written(&from_raft(&entry.log_id)).await.map_err(raft_fault)?;
            // It changes every account, so what is being written is finished before.
            let commands = self.settle(|| self.commands_in(&entry))?;
            let restores = commands.iter().any(|command| matches!(command, Command::Restore { .. }));
            let written = if restores { Some(self.0.writing.lock().await) } else { None };
            applied.push(self.settle(|| self.apply_entry(entry, commands))?);
            drop(written);
        }
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { machine: self.clone(), begun: self.cut() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Carried>, StorageError> {
        Ok(Box::new(Carried::Here))
    }

    async fn install_snapshot(&mut self, _: &Meta, snapshot: Box<Carried>) -> Result<(), StorageError> {
        let Carried::Arrived(proven, turn) = *snapshot else { return Ok(()) };
        let installed = super::blocking(|| self.settle(|| self.install(*proven)));
        drop(turn);
        installed
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Consensus>>, StorageError> {
        self.settle(|| {
            let checkpoint = self.last_checkpoint()?;
            Ok(checkpoint
                .map(|(meta, outgoing)| Snapshot { meta, snapshot: Box::new(Carried::Outgoing(Box::new(outgoing))) }))
        })
    }
}
