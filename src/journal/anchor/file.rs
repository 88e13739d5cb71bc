//! [`FileAnchor`]: an anchor for development, in a file of two slots.
//!
//! Each advance writes the slot that does *not* hold the newest state, so a write that is torn costs the older one. A
//! slot is magic, state and checksum; the newest slot whose checksum holds counts. The checksum is against tearing, not
//! against the host: who can write the file can put an older one back, which is why a policy that was not made for
//! development refuses this kind.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Anchor, Anchored};
use crate::engine::sha512;
use crate::error::Fault;
use crate::ledger::AnchorKind;
use crate::wire::Reader;

/// Begins every slot; its last byte is the format's version.
const MAGIC: &[u8; 8] = b"sranchr\x01";
/// Distance of the slots: no sector, nor page, holds both, so one torn write cannot harm two.
const SLOT_SIZE: usize = 4096;
const CHECKSUM_LEN: usize = 32;
const USED: usize = MAGIC.len() + Anchored::LEN + CHECKSUM_LEN;

/// An anchor in a file of this machine, safe against crashes and against a second process, but not against the host.
pub struct FileAnchor {
    /// One handle each, so that a reader never waits for the disk behind a writer's fsync.
    reader: Mutex<File>,
    writer: Mutex<File>,
}

impl FileAnchor {
    /// Makes a new anchor file, durably. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Fault::Storage`] if there is such a file, or none can be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let path = path.as_ref();
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = Path::new(&draft);
        (|| -> io::Result<()> {
            // Left by a crash; perhaps a second name of an anchor that lives, so it is unlinked and not overwritten.
            match std::fs::remove_file(draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::create_new(draft)?;
            file.write_all(&slot(&Anchored::default()))?;
            file.write_all(&[0; SLOT_SIZE])?;
            file.sync_all()?;
            // A link, unlike a rename, never replaces what is there.
            let linked = std::fs::hard_link(draft, path);
            std::fs::remove_file(draft)?;
            linked?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        })()
        .map_err(storage)?;
        Self::open(path)
    }

    /// Opens an anchor file.
    ///
    /// # Errors
    /// [`Fault::Storage`] if it cannot be opened, [`Fault::Damaged`] if no slot of it is whole, [`Fault::Format`] if
    /// another version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Fault> {
        let reader = File::open(path.as_ref()).map_err(storage)?;
        let writer = OpenOptions::new().read(true).write(true).open(path.as_ref()).map_err(storage)?;
        // What a process left that was killed may be in the page cache alone, and is about to be relied on.
        writer.sync_data().map_err(storage)?;
        let anchor = FileAnchor { reader: Mutex::new(reader), writer: Mutex::new(writer) };
        anchor.read()?;
        Ok(anchor)
    }
}

impl Anchor for FileAnchor {
    fn kind(&self) -> AnchorKind {
        AnchorKind::File
    }

    fn read(&self) -> Result<Anchored, Fault> {
        let mut file = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the lock a slot may be seen half written. Both whole is proof enough: the newest state at the time
        // of the call lay in one of them, and that slot is only ever replaced by a newer.
        if let [Some(first), Some(second)] = read_slots(&mut file)? {
            return Ok(newer(first, second));
        }
        file.lock_shared().map_err(storage)?;
        let found = read_slots(&mut file).and_then(newest);
        file.unlock().map_err(storage)?;
        found
    }

    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        let mut file = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Held over compare and swap, so that two processes cannot both find the sequence they expect.
        file.lock().map_err(storage)?;
        let swapped = swap(&mut file, expected, next);
        file.unlock().map_err(storage)?;
        swapped
    }
}

fn swap(file: &mut File, expected: u64, next: &Anchored) -> Result<(), Fault> {
    let slots = read_slots(file)?;
    let held = newest(slots)?;
    held.check_swap(expected, next)?;
    let older = if slots[0] == Some(held) { 1 } else { 0 };
    file.seek(SeekFrom::Start(older * SLOT_SIZE as u64)).map_err(storage)?;
    file.write_all(&slot(next)).map_err(storage)?;
    file.sync_data().map_err(storage)
}

/// The bytes of one slot, padding included.
fn slot(anchored: &Anchored) -> [u8; SLOT_SIZE] {
    let mut bytes = [0; SLOT_SIZE];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[MAGIC.len()..USED - CHECKSUM_LEN].copy_from_slice(&anchored.encode());
    let checksum = sha512::digest(&[&bytes[..USED - CHECKSUM_LEN]]);
    bytes[USED - CHECKSUM_LEN..USED].copy_from_slice(&checksum[..CHECKSUM_LEN]);
    bytes
}

/// What a slot holds, or `None` if it is not whole.
fn read_slot(bytes: &[u8]) -> Result<Option<Anchored>, Fault> {
    let mut reader = Reader::new(bytes);
    let (Ok(magic), Ok(state), Ok(checksum)) =
        (reader.array::<8>(), reader.bytes(Anchored::LEN), reader.bytes(CHECKSUM_LEN))
    else {
        return Ok(None);
    };
    if sha512::digest(&[magic, state])[..CHECKSUM_LEN] != *checksum {
        return Ok(None);
    }
    if magic != MAGIC {
        return Err(Fault::Format { what: "the anchor file", found: magic[7], reads: MAGIC[7] });
    }
    Ok(Anchored::decode(state).ok())
}

fn read_slots(file: &mut File) -> Result<[Option<Anchored>; 2], Fault> {
    let mut bytes = [0u8; 2 * SLOT_SIZE];
    file.seek(SeekFrom::Start(0)).map_err(storage)?;
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Damaged("the anchor file is too short".to_owned()),
        _ => storage(error),
    })?;
    Ok([read_slot(&bytes[..SLOT_SIZE])?, read_slot(&bytes[SLOT_SIZE..])?])
}

fn newer(first: Anchored, second: Anchored) -> Anchored {
    if first.sequence >= second.sequence { first } else { second }
}

fn newest(slots: [Option<Anchored>; 2]) -> Result<Anchored, Fault> {
    let [first, second] = slots;
    first
        .into_iter()
        .chain(second)
        .reduce(newer)
        .ok_or_else(|| Fault::Damaged("no slot of the anchor file is whole".to_owned()))
}

fn storage(error: io::Error) -> Fault {
    Fault::Storage(format!("anchor file: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::fs;

    use super::super::{Leader, example};
    use super::*;

    #[test]
    fn state_survives_reopening_and_is_never_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        let anchor = FileAnchor::create(&path).unwrap();
        assert_eq!(anchor.read(), Ok(Anchored::default()));
        for sequence in 0..5 {
            anchor.advance(sequence, &example(sequence + 1)).unwrap();
            assert_eq!(anchor.read(), Ok(example(sequence + 1)));
        }
        assert_eq!(FileAnchor::open(&path).unwrap().read(), Ok(example(5)));
        assert!(matches!(FileAnchor::create(&path), Err(Fault::Storage(_))));
        assert_eq!(FileAnchor::open(&path).unwrap().read(), Ok(example(5)), "a refused creation changes nothing");
        // Nor one beside what a crash left between the two steps of a creation: a second name of the anchor.
        fs::hard_link(&path, folder.path().join("anchor.new")).unwrap();
        assert!(matches!(FileAnchor::create(&path), Err(Fault::Storage(_))));
        assert_eq!(FileAnchor::open(&path).unwrap().read(), Ok(example(5)));
    }

    #[test]
    fn a_torn_slot_costs_one_step_and_never_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        let anchor = FileAnchor::create(&path).unwrap();
        for sequence in 0..4 {
            let before = fs::read(&path).unwrap();
            anchor.advance(sequence, &example(sequence + 1)).unwrap();
            let after = fs::read(&path).unwrap();
            let mut outcomes = [0; 2];
            for cut in 0..=USED + 1 {
                // The write got as far as `cut` bytes into its slot, or only from there on.
                for reverse in [false, true] {
                    let torn: Vec<u8> = (0..before.len())
                        .map(|at| if ((at % SLOT_SIZE) < cut) != reverse { after[at] } else { before[at] })
                        .collect();
                    let slots = [&torn[..SLOT_SIZE], &torn[SLOT_SIZE..]].map(|bytes| read_slot(bytes).unwrap());
                    let found = newest(slots).unwrap().sequence;
                    assert!(found == sequence || found == sequence + 1, "cut {cut}: {found}");
                    outcomes[usize::from(found == sequence + 1)] += 1;
                }
            }
            assert!(outcomes.iter().all(|count| *count > 0), "both outcomes of a torn write were seen");
        }
        // And through the file: the newest slot is torn, the one before it counts, and the swap goes on from there.
        let mut bytes = fs::read(&path).unwrap();
        bytes[USED - 1] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let anchor = FileAnchor::open(&path).unwrap();
        let found = anchor.read().unwrap();
        assert!(found == example(3) || found == example(4));
        anchor.advance(found.sequence, &example(found.sequence + 1)).unwrap();
        assert_eq!(anchor.read(), Ok(example(found.sequence + 1)));
    }

    #[test]
    fn two_torn_slots_a_short_file_and_another_version_are_faults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        FileAnchor::create(&path).unwrap().advance(0, &example(1)).unwrap();
        let good = fs::read(&path).unwrap();
        let fault = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            FileAnchor::open(&path).err()
        };
        let mut torn = good.clone();
        torn[20] ^= 1;
        torn[SLOT_SIZE + 20] ^= 1;
        assert!(matches!(fault(&torn), Some(Fault::Damaged(_))));
        assert!(matches!(fault(&good[..SLOT_SIZE + 10]), Some(Fault::Damaged(_))));
        assert!(matches!(fault(&[]), Some(Fault::Damaged(_))));
        let mut other = good.clone();
        other[7] = 2;
        let checksum = sha512::digest(&[&other[..USED - CHECKSUM_LEN]]);
        other[USED - CHECKSUM_LEN..USED].copy_from_slice(&checksum[..CHECKSUM_LEN]);
        assert!(matches!(fault(&other), Some(Fault::Format { found: 2, reads: 1, .. })));
        assert!(fault(&good).is_none());
    }

    #[test]
    fn j7_of_many_who_expect_the_same_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor");
        drop(FileAnchor::create(&path).unwrap());
        for sequence in 0..20 {
            // Handles of their own, as processes of their own would have.
            let won: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|vote| {
                        let path = &path;
                        scope.spawn(move || {
                            let next = Anchored { vote: Leader { term: vote, member: 0 }, ..example(sequence + 1) };
                            FileAnchor::open(path).unwrap().advance(sequence, &next)
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| match thread.join().unwrap() {
                        Ok(()) => 1,
                        Err(Fault::Anchor(_)) => 0,
                        Err(other) => panic!("{other}"),
                    })
                    .sum()
            });
            assert_eq!(won, 1);
        }
    }
}
