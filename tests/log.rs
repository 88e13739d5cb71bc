//! A log whose process is killed, again and again: nothing that it ever signed is contradicted.
//!
//! The process that appends is this test once more, told by its environment. What its log has shown in between is what
//! the parent has read, over and over, of `checkpoint` and of `checkpoint.next`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom::secret::{Secret, random_array};
use strongroom::transparency::{Checkpoint, Log, LogView, Note, SigningKey};

const FOLDER: &str = "STRONGROOM_TEST_LOG";
const KILLS: usize = 60;

fn key() -> SigningKey {
    SigningKey::new("log.example/killed", &Secret::new([7; 32])).unwrap()
}

/// The child: entries of its own, until it is killed.
#[test]
fn appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut log = Log::open(folder, key()).unwrap();
    loop {
        let [some] = random_array().unwrap();
        let entry = |_| random_array::<40>().unwrap().to_vec();
        log.append(&(0..1 + some % 9).map(entry).collect::<Vec<_>>()).unwrap();
    }
}

fn child(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "appends_until_it_is_killed"]).env(FOLDER, folder).stdout(Stdio::null());
    child.spawn().unwrap()
}

/// The checkpoints that the log has signed, by what can be read of it now.
fn look(folder: &Path, signed: &mut BTreeMap<String, Note>) {
    for name in ["checkpoint", "checkpoint.next"] {
        let note = fs::read(folder.join(name)).ok().and_then(|bytes| Note::read(&bytes).ok());
        if let Some(note) = note.filter(|note| Checkpoint::of(&key().verifying_key(), note).is_ok()) {
            signed.insert(note.text().to_owned(), note);
        }
    }
}

fn contradicted(view: &LogView, signed: &BTreeMap<String, Note>) -> usize {
    signed.values().filter(|note| view.since(note).is_err()).count()
}

#[test]
fn a_killed_log_contradicts_nothing_that_it_has_signed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("log");
    drop(Log::create(&folder, key()).unwrap());
    let mut signed = BTreeMap::new();
    look(&folder, &mut signed);
    let (mut kills, mut pending) = (0, 0);
    // Until one has come amid a publication, which the clock alone does not promise.
    while kills < KILLS || (pending == 0 && kills < 10 * KILLS) {
        kills += 1;
        let mut child = child(&folder);
        let [wait] = random_array().unwrap();
        let length = Duration::from_millis(u64::from(wait) / 4);
        // The time counts from the first checkpoint that this one has signed: before, it is not at work.
        let (begun, known, mut at_work) = (Instant::now(), signed.len(), None);
        while at_work.is_none_or(|since: Instant| since.elapsed() < length) {
            look(&folder, &mut signed);
            at_work = at_work.or((signed.len() > known).then(Instant::now));
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(at_work.is_some() || begun.elapsed() < Duration::from_secs(60), "it signs nothing");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        look(&folder, &mut signed);
        pending += usize::from(folder.join("checkpoint.next").exists());
        let log = Log::open(&folder, key()).unwrap();
        assert_eq!(contradicted(&log, &signed), 0);
    }
    let view = LogView::open(&folder, key().verifying_key()).unwrap();
    println!("{} entries, {} checkpoints read, {pending} kills amid a publication", view.size(), signed.len());
    assert!(view.size() > 100 && signed.len() > KILLS, "it was hardly at work");
    assert!(pending > 0, "no kill came amid a publication");

    // The control: the same checkpoints against a log that began anew with the same key.
    let other = folder.with_extension("other");
    let mut log = Log::create(&other, key()).unwrap();
    log.append(&[b"another history".to_vec()]).unwrap();
    assert_eq!(contradicted(&log, &signed), signed.len() - 1, "all but the empty one");
}
