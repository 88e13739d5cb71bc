//! [`Log`]: an append-only log in a folder of plain files, as C2SP tlog-tiles lays them out; [`LogView`]: what anybody
//! reads of it.
//!
//! A folder can be served by any server of files as it is:
//!
//! ```text
//! checkpoint              size and root, signed by the log, cosigned by witnesses
//! checkpoint.next         the same of a moment later, while it is being published
//! tile/entries/000        256 entries, each behind its length in two bytes; 000.p/7 the first 7 of them
//! tile/0/000              hashes of 256 entries; tile/1/000 of 256 such tiles, and so on
//! lock                    held by the one process that appends
//! ```

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, grown};
use super::key::{SigningKey, VerifyingKey, WitnessKey};
use super::note::Note;
use super::proof::Proof;
use super::tree::{self, Tree};
use crate::error::Fault;

/// Longest entry, in bytes: its length is written in two.
pub const ENTRY_MAX: usize = u16::MAX as usize;

const CHECKPOINT: &str = "checkpoint";
const NEXT: &str = "checkpoint.next";

/// A log as it was at a checkpoint: every entry read, every hash computed anew, and the root the one that was signed.
pub struct LogView {
    folder: PathBuf,
    key: VerifyingKey,
    note: Note,
    entries: Vec<Vec<u8>>,
    tree: Tree,
}

impl LogView {
    /// Reads a log from its folder.
    ///
    /// # Errors
    /// As [`Checkpoint::of`]; [`Fault::Storage`] if a file cannot be read; [`Fault::Damaged`] if the entries are not those
    /// that the checkpoint stands for.
    pub fn open(folder: impl AsRef<Path>, key: VerifyingKey) -> Result<Self, Fault> {
        let folder = folder.as_ref().to_owned();
        let note = Note::read(&fs::read(folder.join(CHECKPOINT)).map_err(storage)?)?;
        LogView::at(folder, key, note)
    }

    /// The size of the published log; 0 if there is none yet.
    fn shown_size(folder: &Path, key: &VerifyingKey) -> Result<u64, Fault> {
        match fs::read(folder.join(CHECKPOINT)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(storage(error)),
            Ok(bytes) => Ok(Checkpoint::of(key, &Note::read(&bytes)?)?.size),
        }
    }

    fn at(folder: PathBuf, key: VerifyingKey, note: Note) -> Result<Self, Fault> {
        let checkpoint = Checkpoint::of(&key, &note)?;
        let mut view = LogView { folder, key, note, entries: Vec::new(), tree: Tree::default() };
        for (path, range) in tree::entry_bundles(0, checkpoint.size) {
            let bundle = fs::read(view.folder.join(&path)).map_err(storage)?;
            let entries = unbundled(&bundle).filter(|entries| entries.len() as u64 == range.end - range.start);
            view.entries.extend(entries.ok_or_else(|| Fault::Damaged(format!("{path} does not hold its entries")))?);
        }
        view.entries.iter().for_each(|entry| view.tree.push(tree::leaf_hash(entry)));
        if view.tree.root(checkpoint.size) != Some(checkpoint.root) {
            return Err(Fault::Damaged("the log's entries are not those that its checkpoint stands for".to_owned()));
        }
        Ok(view)
    }

    /// The log's key.
    pub fn key(&self) -> VerifyingKey {
        self.key.clone()
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The checkpoint: signed by the log, and by the witnesses who have cosigned it so far.
    pub fn checkpoint(&self) -> &Note {
        &self.note
    }

    /// An entry by its place.
    pub fn entry(&self, index: u64) -> Option<&[u8]> {
        self.entries.get(usize::try_from(index).ok()?).map(Vec::as_slice)
    }

    /// The place of an entry, the first of those that are the same.
    pub fn find(&self, entry: &[u8]) -> Option<u64> {
        self.entries.iter().position(|it| it == entry).map(|index| index as u64)
    }

    /// The proof that an entry is in the log, for whoever has nothing but keys.
    ///
    /// # Errors
    /// [`Fault::Limit`] if there is no such entry.
    pub fn prove(&self, index: u64) -> Result<Proof, Fault> {
        let hashes = self.tree.inclusion(self.size(), index).ok_or_else(|| no_entry(index, self.size()))?;
        Ok(Proof { index, hashes, checkpoint: self.note.clone() })
    }

    /// The proof that the log continues what it was at a smaller size (RFC 6962 section 2.1.2).
    ///
    /// # Errors
    /// [`Fault::Limit`] if it never was so large.
    pub fn consistency(&self, old_size: u64) -> Result<Vec<[u8; 32]>, Fault> {
        self.tree.consistency(self.size(), old_size).ok_or_else(|| no_entry(old_size, self.size()))
    }

    /// What has come since an earlier checkpoint of this log, for monitors: places and entries.
    ///
    /// # Errors
    /// As [`Checkpoint::of`]; [`Fault::Fork`] if the log does not begin with what it had then.
    pub fn since(&self, earlier: &Note) -> Result<impl Iterator<Item = (u64, &[u8])>, Fault> {
        let old = Checkpoint::of(&self.key, earlier)?;
        let new = Checkpoint::read(&self.note)?;
        grown(&old, &new, &self.tree.consistency(new.size, old.size).unwrap_or_default())?;
        let entries = (0..).zip(self.entries.iter().map(Vec::as_slice));
        Ok(entries.skip(usize::try_from(old.size).unwrap_or(usize::MAX)))
    }
}

/// A log that this process appends to, and no other.
///
/// | what it does | and if it is killed there |
/// |---|---|
/// | writes the new tiles, durably | nobody has seen them; the next append writes others in their place |
/// | signs the new checkpoint, and writes it as `checkpoint.next`, durably | it is synced and published when the log is opened |
/// | publishes it as `checkpoint` | it is there |
///
/// So no two checkpoints that were ever signed contradict each other.
pub struct Log {
    view: LogView,
    key: SigningKey,
    places: HashMap<[u8; 32], u64>,
    /// Set while files may be behind what is in memory.
    latched: bool,
    _lock: File,
}

impl std::ops::Deref for Log {
    type Target = LogView;

    fn deref(&self) -> &LogView {
        &self.view
    }
}

impl Log {
    /// Begins a log: its name is its key's.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the folder cannot be written, or holds a log or what is left of one.
    pub fn create(folder: impl AsRef<Path>, key: SigningKey) -> Result<Self, Fault> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(storage)?;
        let lock = locked(&folder)?;
        if [CHECKPOINT, NEXT, "tile"].iter().any(|name| folder.join(name).exists()) {
            return Err(Fault::Storage("the folder has a log in it, or what is left of one".to_owned()));
        }
        let root = Tree::default().root(0).ok_or_else(not_whole)?;
        let checkpoint = Checkpoint { origin: key.verifying_key().name().to_owned(), size: 0, root };
        publish(&folder, &checkpoint.signed(&key))?;
        Log::at(folder, key, lock)
    }

    /// Opens a log, and finishes publishing what was signed before a crash. Every entry is read and hashed again.
    ///
    /// # Errors
    /// As [`LogView::open`]; [`Fault::Storage`] if another process appends to it, [`Fault::Key`] if it is another key's.
    pub fn open(folder: impl AsRef<Path>, key: SigningKey) -> Result<Self, Fault> {
        let folder = folder.as_ref().to_owned();
        let lock = locked(&folder)?;
        match fs::read(folder.join(NEXT)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(storage(error)),
            // Cut short while it was written, it was never a checkpoint; whole, it was signed, and holds: somebody may have
            // seen it, so another key does not take it away.
            Ok(bytes) => match Note::read(&bytes).and_then(|note| Checkpoint::of(&key.verifying_key(), &note)) {
                Ok(next) => {
                    let shown_size = LogView::shown_size(&folder, &key.verifying_key())?;
                    if next.size < shown_size {
                        return Err(Fault::Fork(format!(
                            "{NEXT} has {} entries, {CHECKPOINT} {shown_size}",
                            next.size
                        )));
                    }
                    // It may be whole in memory alone: shown then, a power cut could take away what somebody has seen.
                    sync(&folder.join(NEXT)).and_then(|()| sync(&folder)).map_err(storage)?;
                    shown(&folder)?;
                }
                Err(Fault::Damaged(_)) => fs::remove_file(folder.join(NEXT)).map_err(storage)?,
                Err(fault) => return Err(fault),
            },
        }
        Log::at(folder, key, lock)
    }

    fn at(folder: PathBuf, key: SigningKey, lock: File) -> Result<Self, Fault> {
        let view = LogView::open(folder, key.verifying_key())?;
        let mut places = HashMap::new();
        for (index, entry) in (0..).zip(&view.entries) {
            places.entry(tree::leaf_hash(entry)).or_insert(index);
        }
        Ok(Log { view, key, places, latched: false, _lock: lock })
    }

    /// Appends entries, those that are not in the log yet, and returns the place of each. When it returns they are
    /// published, under a checkpoint that nobody has cosigned yet.
    ///
    /// # Errors
    /// [`Fault::Limit`] if one is longer than [`ENTRY_MAX`], and nothing is appended; [`Fault::Storage`] if the folder
    /// cannot be written, and then [`Fault::Latched`] until the log is opened again.
    pub fn append(&mut self, entries: &[Vec<u8>]) -> Result<Vec<u64>, Fault> {
        self.ready()?;
        if let Some(entry) = entries.iter().find(|entry| entry.len() > ENTRY_MAX) {
            return Err(Fault::Limit(format!("an entry of {} bytes; {ENTRY_MAX} are the most", entry.len())));
        }
        let (old, mut indexes) = (self.view.size(), Vec::with_capacity(entries.len()));
        self.latched = true;
        for entry in entries {
            let leaf = tree::leaf_hash(entry);
            let next = self.view.size();
            let index = *self.places.entry(leaf).or_insert(next);
            if index == next {
                self.view.tree.push(leaf);
                self.view.entries.push(entry.clone());
            }
            indexes.push(index);
        }
        let size = self.view.size();
        if size > old {
            for (path, range) in tree::entry_bundles(old, size) {
                let entries = &self.view.entries[range.start as usize..range.end as usize];
                let bundle: Vec<u8> = entries.iter().flat_map(|it| bundled(it)).collect();
                replace(&self.view.folder.join(path), &bundle)?;
            }
            for (path, hashes) in self.view.tree.tiles(old).ok_or_else(not_whole)? {
                replace(&self.view.folder.join(path), &hashes)?;
            }
            let root = self.view.tree.root(size).ok_or_else(not_whole)?;
            let checkpoint = Checkpoint { origin: self.view.key.name().to_owned(), size, root };
            let note = checkpoint.signed(&self.key);
            publish(&self.view.folder, &note)?;
            // Nobody has been able to ask for it before: one that is not kept must not be shown.
            self.view.note = note;
        }
        self.latched = false;
        Ok(indexes)
    }

    /// Takes what a witness has added to a copy of the checkpoint, and publishes it.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is a copy of another checkpoint, or this witness has not signed it; else as [`Log::append`].
    pub fn take_cosignature(&mut self, copy: &Note, witness: &WitnessKey) -> Result<(), Fault> {
        self.ready()?;
        if copy.text() != self.view.note.text() {
            return Err(Fault::Key("this is not a copy of the log's newest checkpoint".to_owned()));
        }
        if copy.cosigned_by(witness) != Some(true) || !self.view.note.take_cosignature(copy, witness) {
            return Err(Fault::Key(format!("the witness {} has not signed this, or not well", witness.name())));
        }
        self.latched = true;
        publish(&self.view.folder, &self.view.note)?;
        self.latched = false;
        Ok(())
    }

    fn ready(&self) -> Result<(), Fault> {
        if self.latched { Err(Fault::Latched) } else { Ok(()) }
    }
}

/// Makes a signed checkpoint the published one: from the first of the two steps on it stays.
fn publish(folder: &Path, note: &Note) -> Result<(), Fault> {
    let mut file = File::create(folder.join(NEXT)).map_err(storage)?;
    file.write_all(&note.write()).and_then(|()| file.sync_all()).map_err(storage)?;
    sync(folder).map_err(storage)?;
    shown(folder)
}

fn shown(folder: &Path) -> Result<(), Fault> {
    fs::rename(folder.join(NEXT), folder.join(CHECKPOINT)).and_then(|()| sync(folder)).map_err(storage)
}

/// Writes a file whole, and durably; its folders are made.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut made: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(folder)?;
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        // A new folder is durable in the one above it.
        made.push(folder);
        made.iter().try_for_each(|folder| {
            sync(folder)?;
            folder.parent().map_or(Ok(()), sync)
        })
    };
    write().map_err(storage)
}

/// Syncs a file, or the names in a folder.
fn sync(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

fn locked(folder: &Path) -> Result<File, Fault> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(storage)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Storage("another process appends to this log".to_owned())),
        Err(TryLockError::Error(error)) => Err(storage(error)),
    }
}

/// An entry as a bundle of entries has it (C2SP tlog-tiles).
fn bundled(entry: &[u8]) -> impl Iterator<Item = u8> {
    (entry.len() as u16).to_be_bytes().into_iter().chain(entry.iter().copied())
}

fn unbundled(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    Some(entries)
}

fn not_whole() -> Fault {
    Fault::Damaged("the log's tree is not whole; open it again".to_owned())
}

fn no_entry(asked: u64, size: u64) -> Fault {
    Fault::Limit(format!("the log has {size} entries, and {asked} was asked for"))
}

fn storage(error: io::Error) -> Fault {
    Fault::Storage(format!("the log's folder: {error}"))
}
