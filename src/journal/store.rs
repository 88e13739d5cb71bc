//! [`Store`]: one redb file, and what may go wrong with it.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, StorageBackend, WriteTransaction};

use crate::error::Fault;

/// The file of a journal's rows, and of a member's log.
pub(crate) const LOG_FILE: &str = "log.redb";
/// The file of its checkpoint.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint.redb";

/// What may be written to a file before it is told to reach the disk, in bytes.
const PACE: u64 = 4 << 20;

/// One redb file. Closing it writes to it, so that too may fail on altered pages, and must not take the process along.
pub(crate) struct Store(Option<Database>);

impl Store {
    pub(crate) fn open(backend: impl StorageBackend, cache: usize) -> Result<Self, Fault> {
        // Every page's checksum is verified, or redb would trust altered pages and panic. Costs one reading of the file.
        Builder::new()
            .set_cache_size(cache)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map(|db| Store(Some(db)))
            .map_err(storage)
    }

    /// The file, which is there until the drop.
    pub(crate) fn db(&self) -> Result<&Database, Fault> {
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

/// A transaction that is on disk when its commit returns.
pub(crate) fn durable(db: &Database) -> Result<WriteTransaction, Fault> {
    let mut write = db.begin_write().map_err(storage)?;
    write.set_durability(Durability::Immediate).map_err(storage)?;
    // One phase would trust a checksum that is no MAC to tell a torn commit from a whole one.
    write.set_two_phase_commit(true);
    Ok(write)
}

/// A file whose writes reach the disk as they come, and not all of them at its next commit. The file system keeps order
/// between files: a commit of the log would have to wait for all that a large checkpoint has left lying.
#[derive(Debug)]
pub(crate) struct Paced {
    file: FileBackend,
    written: AtomicU64,
}

impl Paced {
    pub(crate) fn new(file: FileBackend) -> Self {
        Paced { file, written: AtomicU64::new(0) }
    }
}

impl StorageBackend for Paced {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.written.store(0, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)?;
        let written = self.written.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
        if written >= PACE { self.sync_data() } else { Ok(()) }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// A file as redb takes it.
pub(crate) fn backend(file: io::Result<File>) -> Result<FileBackend, Fault> {
    FileBackend::new(file.map_err(folder_fault)?).map_err(storage)
}

/// What the operating system says of the folder, as a fault.
pub(crate) fn folder_fault(error: io::Error) -> Fault {
    Fault::Storage(format!("the journal's folder: {error}"))
}

/// The result of what touches redb. On a file whose pages were altered it panics in places, where we owe a fault; and
/// what it leaves behind then is never used again, since the fault closes the journal or is one of opening it.
pub(crate) fn shielded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Damaged("the store could not make sense of its own pages".to_owned())))
}

/// What redb says, as a fault.
pub(crate) fn storage(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Corrupted(what) => Fault::Damaged(what),
        redb::Error::DatabaseAlreadyOpen => {
            Fault::Storage("another process has this store open; stop it first, or have it do this".to_owned())
        }
        error => Fault::Storage(error.to_string()),
    }
}
