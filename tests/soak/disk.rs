//! The disk under the vault, and what is wrong with it: files that are slow to sync, that refuse to be written, or that
//! lose what was not synced when the process is killed, as if the power had gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::FileBackend;
use strongroom::error::Fault;
use strongroom::journal::{Anchor, Anchored, FileAnchor};
use strongroom::ledger::AnchorKind;
use strongroom::secret::random_array;

/// Of a write that is not synced each sector reaches the disk or not.
const SECTOR: usize = 512;
/// So many commits the planted bug leaves in memory.
const HASTE: usize = 64;

/// What is wrong with the disk.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    pub(crate) slow_ms: AtomicU64,
    pub(crate) read_only: AtomicBool,
    /// A kill loses what was not synced.
    pub(crate) volatile: bool,
    /// The planted bug: syncs that do nothing, an anchor that moves later. What is acknowledged is not durable.
    pub(crate) hasty: bool,
}

impl Mood {
    fn write(&self) -> io::Result<()> {
        match self.read_only.load(Ordering::Relaxed) {
            true => Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::Relaxed)));
        self.write()
    }
}

/// A file with a mood.
#[derive(Clone, Debug)]
pub(crate) struct Moody {
    file: Arc<FileBackend>,
    mood: Arc<Mood>,
    unsynced: Arc<Mutex<Unsynced>>,
}

/// What the file does not have yet.
#[derive(Debug, Default)]
struct Unsynced {
    length: Option<u64>,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Moody {
    pub(crate) fn new(file: File, mood: Arc<Mood>) -> io::Result<Self> {
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Moody { file: Arc::new(file), mood, unsynced: Arc::default() })
    }

    fn unsynced(&self) -> std::sync::MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the file all that it lacks.
    fn settle(&self) -> io::Result<()> {
        let Unsynced { length, writes } = std::mem::take(&mut *self.unsynced());
        if let Some(length) = length {
            self.file.set_len(length)?;
        }
        writes.iter().try_for_each(|(offset, bytes)| self.file.write(*offset, bytes))?;
        self.file.sync_data()
    }
}

impl StorageBackend for Moody {
    fn len(&self) -> io::Result<u64> {
        match self.unsynced().length {
            Some(length) => Ok(length),
            None => self.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let unsynced = self.unsynced();
        let there = self.file.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        out[there..].fill(0);
        self.file.read(offset, &mut out[..there])?;
        let end = offset + out.len() as u64;
        for (from, bytes) in &unsynced.writes {
            let to = from + bytes.len() as u64;
            let (first, last) = (offset.max(*from), end.min(to));
            if first < last {
                let piece = &bytes[(first - from) as usize..(last - from) as usize];
                out[(first - offset) as usize..(last - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.mood.write()?;
        if !self.mood.volatile {
            return self.file.set_len(length);
        }
        let mut unsynced = self.unsynced();
        unsynced.length = Some(length);
        unsynced.writes.retain_mut(|(offset, bytes)| {
            bytes.truncate(length.saturating_sub(*offset) as usize);
            !bytes.is_empty()
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.mood.sync()?;
        if self.mood.hasty { Ok(()) } else { self.settle() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.mood.write()?;
        if !self.mood.volatile {
            return self.file.write(offset, data);
        }
        let mut unsynced = self.unsynced();
        unsynced.writes.push((offset, data.to_vec()));
        if self.mood.hasty {
            return Ok(());
        }
        // Some of it reaches the disk before anybody asks for that, in whatever order.
        let [choices] = random_array::<1>().map_err(|fault| io::Error::other(fault.to_string()))?;
        for (number, sector) in data.chunks(SECTOR).enumerate() {
            if choices >> (number % 8) & 1 == 1 {
                self.file.write(offset + (number * SECTOR) as u64, sector)?;
            }
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.settle()?;
        self.file.close()
    }
}

/// An anchor with the same mood.
pub(crate) struct MoodyAnchor {
    anchor: FileAnchor,
    mood: Arc<Mood>,
    files: Vec<Moody>,
    /// Advances that the planted bug has not made yet.
    late: Mutex<VecDeque<Anchored>>,
}

impl MoodyAnchor {
    pub(crate) fn new(anchor: FileAnchor, mood: Arc<Mood>, files: Vec<Moody>) -> Self {
        MoodyAnchor { anchor, mood, files, late: Mutex::default() }
    }
}

impl Anchor for MoodyAnchor {
    fn kind(&self) -> AnchorKind {
        self.anchor.kind()
    }

    fn read(&self) -> Result<Anchored, Fault> {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.back().map_or_else(|| self.anchor.read(), |last| Ok(*last))
    }

    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        let storage = |error: io::Error| Fault::Storage(error.to_string());
        self.mood.sync().map_err(storage)?;
        if !self.mood.hasty {
            return self.anchor.advance(expected, next);
        }
        self.read()?.check_swap(expected, next)?;
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.push_back(*next);
        if late.len() >= HASTE {
            self.files.iter().try_for_each(Moody::settle).map_err(storage)?;
            for next in std::mem::take(&mut *late) {
                self.anchor.advance(next.sequence - 1, &next)?;
            }
        }
        Ok(())
    }
}
