//! A disk that forgets: two files of a store and the anchor beside them, under one count of operations.
//!
//! What is written lies in a cache until the file is synced. When the power goes, any part of the cache may have
//! reached the platter, in any order, torn at sectors of 512 bytes. At a chosen operation the disk fails once, and
//! answers nothing from then on.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dice;

use std::io;
use std::sync::{Arc, Mutex};

pub use dice::Dice;

use redb::StorageBackend;
use strongroom::error::Fault;
use strongroom::journal::{Anchor, Anchored, MemoryAnchor};
use strongroom::ledger::AnchorKind;

pub const LOG: usize = 0;
pub const CHECKPOINT: usize = 1;
const SECTOR: usize = 512;

#[derive(Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Write::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
            Write::Length(length) => file.resize(*length, 0),
        }
    }

    /// The pieces of which each survives or not.
    fn sectors(&self) -> Vec<Write> {
        let Write::Bytes { offset, bytes } = self else { return vec![self.clone()] };
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
            pieces.push(Write::Bytes { offset: offset + at, bytes: bytes[at..end].to_vec() });
            at = end;
        }
        pieces
    }
}

/// One file: what is on the platter, what a reader sees, and the difference.
#[derive(Clone, Default)]
pub struct Platter {
    pub durable: Vec<u8>,
    pub seen: Vec<u8>,
    cache: Vec<Write>,
}

/// How much of the cache survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survive {
    /// Nothing that was not synced.
    Nothing,
    /// Everything: the process was killed, the machine stayed up. The cache stays a cache.
    Kill,
    /// Each sector by the toss of a coin, as many heads in eight as given.
    Some(u64),
    /// Everything up to a point, nothing after it.
    Prefix,
}

/// How a disk lies. Each stands for an order of steps that the journal must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lie {
    /// It does not.
    #[default]
    None,
    /// Syncing this file does nothing: what follows is acknowledged before its fsync.
    NoSync(usize),
    /// Syncing this file takes effect at the next operation only: the anchor moves before the fsync.
    LateSync(usize),
}

#[derive(Default)]
struct State {
    files: [Platter; 2],
    operations: u64,
    fail_at: Option<u64>,
    dead: bool,
    lie: Lie,
    late: bool,
    /// Half done when it fails: a write that is torn, a swap that took place but was not answered.
    half: bool,
}

impl State {
    /// Counts an operation; `Err` if this is the one that fails, or one after it.
    fn operation(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the disk is gone"));
        }
        if std::mem::take(&mut self.late)
            && let Lie::LateSync(file) = self.lie
        {
            self.files[file].sync();
        }
        self.operations += 1;
        if self.fail_at == Some(self.operations) {
            self.dead = true;
            return Err(io::Error::other("the disk failed"));
        }
        Ok(())
    }
}

impl Platter {
    fn sync(&mut self) {
        let durable = &mut self.durable;
        self.cache.drain(..).for_each(|write| write.apply(durable));
    }

    fn write(&mut self, write: Write) {
        write.apply(&mut self.seen);
        self.cache.push(write);
    }
}

/// What is to be done at the writes of a file.
type Between = Box<dyn FnMut() + Send>;

/// The disk and the anchor of one store.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    anchor: Arc<MemoryAnchor>,
    /// Done after each write of the checkpoint's file, where something is.
    between: Arc<Mutex<Option<Between>>>,
}

impl Disk {
    pub fn new() -> Self {
        Self::holding(Default::default(), Anchored::default())
    }

    /// A disk with these two files, both durable, and this anchor.
    pub fn holding(files: [Vec<u8>; 2], anchored: Anchored) -> Self {
        let files = files.map(|bytes| Platter { durable: bytes.clone(), seen: bytes, cache: Vec::new() });
        Disk {
            state: Arc::new(Mutex::new(State { files, ..State::default() })),
            anchor: Arc::new(MemoryAnchor::holding(anchored)),
            between: Arc::default(),
        }
    }

    pub fn lying(lie: Lie) -> Self {
        let disk = Disk::new();
        disk.state.lock().unwrap().lie = lie;
        disk
    }

    /// Fails at the `n`-th operation from now on, counted from 1, and is dead from then on.
    pub fn fail_at(&self, n: u64, half: bool) {
        let mut state = self.state.lock().unwrap();
        state.fail_at = Some(state.operations + n);
        state.half = half;
    }

    /// Runs `work` with `between` done after each write of the checkpoint's file, on the thread that writes.
    pub fn with_between<R>(&self, between: impl FnMut() + Send + 'static, work: impl FnOnce() -> R) -> R {
        *self.between.lock().unwrap() = Some(Box::new(between));
        let result = work();
        *self.between.lock().unwrap() = None;
        result
    }

    pub fn operations(&self) -> u64 {
        self.state.lock().unwrap().operations
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    pub fn file(&self, which: usize) -> File {
        File { disk: self.clone(), which }
    }

    /// The anchor as the journal sees it: its operations are counted, and fail, like the disk's.
    pub fn anchor(&self) -> Arc<dyn Anchor> {
        Arc::new(CountedAnchor(self.clone()))
    }

    pub fn anchored(&self) -> Anchored {
        self.anchor.read().unwrap()
    }

    /// The same anchor beside two empty files.
    pub fn emptied(&self) -> Disk {
        Disk::holding(Default::default(), self.anchored())
    }

    /// The bytes of both files as a reader sees them.
    pub fn bytes(&self) -> [Vec<u8>; 2] {
        let state = self.state.lock().unwrap();
        [state.files[0].seen.clone(), state.files[1].seen.clone()]
    }

    /// A copy of both files that goes on by itself, on the same anchor.
    pub fn copy(&self) -> Disk {
        let state = State { files: self.state.lock().unwrap().files.clone(), ..State::default() };
        Disk { state: Arc::new(Mutex::new(state)), anchor: self.anchor.clone(), between: Arc::default() }
    }

    /// The disk after the power has come back, or the process has started again; the anchor keeps its state. It lies
    /// no more and no less than before.
    pub fn after(&self, survive: Survive, dice: &mut Dice) -> Disk {
        let state = self.state.lock().unwrap();
        let files = state.files.clone().map(|file| {
            if survive == Survive::Kill {
                return file;
            }
            let mut bytes = file.durable;
            let pieces: Vec<Write> = file.cache.iter().flat_map(Write::sectors).collect();
            let kept = dice.below(pieces.len() as u64 + 1) as usize;
            for (at, piece) in pieces.iter().enumerate() {
                let survives = match survive {
                    Survive::Nothing | Survive::Kill => false,
                    Survive::Some(eighths) => dice.below(8) < eighths,
                    Survive::Prefix => at < kept,
                };
                if survives {
                    piece.apply(&mut bytes);
                }
            }
            Platter { durable: bytes.clone(), seen: bytes, cache: Vec::new() }
        });
        let next = State { files, lie: state.lie, ..State::default() };
        let anchor = Arc::new(MemoryAnchor::holding(self.anchored()));
        Disk { state: Arc::new(Mutex::new(next)), anchor, between: Arc::default() }
    }
}

/// One file of a [`Disk`].
#[derive(Clone)]
pub struct File {
    disk: Disk,
    which: usize,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({})", self.which)
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state.lock().unwrap();
        if state.dead {
            return Err(io::Error::other("the disk is gone"));
        }
        Ok(state.files[self.which].seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock().unwrap();
        state.operation()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let found = state.files[self.which].seen.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock().unwrap();
        let result = state.operation();
        if result.is_ok() || state.half_done() {
            let length = usize::try_from(len).map_err(io::Error::other)?;
            state.files[self.which].write(Write::Length(length));
        }
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock().unwrap();
        let result = state.operation();
        if result.is_ok() || state.half_done() {
            match state.lie {
                Lie::NoSync(file) if file == self.which => {}
                Lie::LateSync(file) if file == self.which => state.late = true,
                _ => state.files[self.which].sync(),
            }
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock().unwrap();
        let result = state.operation();
        if result.is_ok() || state.half_done() {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = if result.is_ok() { data.to_vec() } else { data[..data.len() / 2].to_vec() };
            state.files[self.which].write(Write::Bytes { offset, bytes });
        }
        drop(state);
        if self.which == CHECKPOINT {
            let between = self.disk.between.lock().unwrap().take();
            if let Some(mut between) = between {
                between();
                *self.disk.between.lock().unwrap() = Some(between);
            }
        }
        result
    }
}

impl State {
    /// Once: the operation that fails is done by half.
    fn half_done(&mut self) -> bool {
        std::mem::take(&mut self.half) && self.fail_at == Some(self.operations)
    }
}

struct CountedAnchor(Disk);

impl Anchor for CountedAnchor {
    fn kind(&self) -> AnchorKind {
        AnchorKind::Memory
    }

    fn read(&self) -> Result<Anchored, Fault> {
        if self.0.is_dead() {
            return Err(Fault::Storage("the anchor is gone".to_owned()));
        }
        self.0.anchor.read()
    }

    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        let half = {
            let mut state = self.0.state.lock().unwrap();
            // Of the two things that happen here the anchor is first: a late sync of the log must not come before it.
            let late = std::mem::take(&mut state.late);
            let result = state.operation();
            state.late = late;
            match result {
                Ok(()) => None,
                Err(error) => Some((state.half_done(), error)),
            }
        };
        match half {
            None => self.0.anchor.advance(expected, next),
            // The swap took place, its answer was lost.
            Some((true, error)) => {
                self.0.anchor.advance(expected, next)?;
                Err(Fault::Storage(error.to_string()))
            }
            Some((false, error)) => Err(Fault::Storage(error.to_string())),
        }
    }
}
