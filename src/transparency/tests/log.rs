//! The log: its tree against RFC 6962 written out, its folder, its witnesses, and every way of cheating with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::super::tree::{continues, includes};
use super::*;
use crate::error::Fault;

type Hash = [u8; 32];

fn node(left: Hash, right: Hash) -> Hash {
    Sha256::digest([&[1][..], &left, &right].concat()).into()
}

/// RFC 6962 section 2.1, as it is written there.
fn root_of(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => Sha256::digest([]).into(),
        [one] => Sha256::digest([&[0][..], one].concat()).into(),
        _ => {
            let (left, right) = entries.split_at(split(entries.len()));
            node(root_of(left), root_of(right))
        }
    }
}

/// The largest power of two below.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// Section 2.1.1.
fn path(index: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
    if entries.len() <= 1 {
        return Vec::new();
    }
    let at = split(entries.len());
    let (left, right) = entries.split_at(at);
    let (mut path, root) =
        if index < at { (path(index, left), root_of(right)) } else { (path(index - at, right), root_of(left)) };
    path.push(root);
    path
}

/// Section 2.1.2.
fn subproof(old: usize, entries: &[Vec<u8>], whole: bool) -> Vec<Hash> {
    if old == entries.len() {
        return if whole { Vec::new() } else { vec![root_of(entries)] };
    }
    let at = split(entries.len());
    let (left, right) = entries.split_at(at);
    let (mut proof, root) = if old <= at {
        (subproof(old, left, whole), root_of(right))
    } else {
        (subproof(old - at, right, false), root_of(left))
    };
    proof.push(root);
    proof
}

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("entry {number}").into_bytes()).collect()
}

#[test]
fn the_tree_is_that_of_rfc_6962() {
    let all = entries(300);
    let mut tree = Tree::default();
    for size in 0..=all.len() {
        let some = &all[..size];
        assert_eq!(tree.root(size as u64), Some(root_of(some)), "{size}");
        if size < 40 || [64, 100, 128, 255, 256, 257, 300].contains(&size) {
            for index in (0..size).step_by(1 + size / 40) {
                assert_eq!(tree.inclusion(size as u64, index as u64), Some(path(index, some)), "{index} of {size}");
                let old = index + 1;
                assert_eq!(tree.consistency(size as u64, old as u64), Some(subproof(old, some, true)), "{old}, {size}");
            }
        }
        if let Some(next) = all.get(size) {
            tree.push(leaf_hash(next));
        }
    }
    assert_eq!((tree.root(301), tree.inclusion(300, 300), tree.consistency(300, 301)), (None, None, None));
    assert_eq!(tree.consistency(300, 0), Some(Vec::new()));
}

#[test]
fn proofs_prove_one_thing_each() {
    for (size, index) in [(1, 0), (2, 1), (7, 3), (8, 8 - 1), (13, 12), (100, 64)] {
        let some = entries(size);
        let (root, leaf, proof) = (root_of(&some), leaf_hash(&some[index]), path(index, &some));
        let (size, index) = (size as u64, index as u64);
        assert!(includes(&proof, size, &root, index, leaf));
        assert!(!includes(&proof, size, &root, index, leaf_hash(b"another")));
        assert!(!includes(&proof, size, &root_of(&entries(3)), index, leaf));
        assert!(!includes(&proof, size, &root, index ^ 1, leaf) && !includes(&proof, size, &root, size, leaf));
        assert!(!includes(&[&proof[..], &[[0; 32]]].concat(), size, &root, index, leaf), "a hash too many");
        assert!(
            !includes(&proof, u64::MAX, &root, index, leaf) && !includes(&vec![[0; 32]; 65], 1 << 40, &root, 0, leaf)
        );
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at][31] ^= 1;
            assert!(!includes(&wrong, size, &root, index, leaf), "{at}");
            assert!(!includes(&proof[1..], size, &root, index, leaf), "a hash too few");
        }
        let (old, old_root) = (index + 1, root_of(&some[..=index as usize]));
        let proof = subproof(old as usize, &some, true);
        assert!(continues(&proof, size, &root, old, &old_root));
        assert!(!continues(&proof, size, &root, old, &leaf_hash(b"another")));
        assert!(!continues(&proof, size, &leaf_hash(b"another"), old, &old_root));
        assert!(!continues(&proof, size, &root, size + 1, &old_root), "smaller");
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at][0] ^= 0x80;
            assert!(!continues(&wrong, size, &root, old, &old_root), "{at}");
        }
        assert!(continues(&[], size, &root, 0, &root_of(&[])) && !continues(&[], size, &root, 0, &root));
    }
}

#[test]
fn checkpoints_and_proofs_are_written_in_one_way() {
    let proof = proofs(&entries(5)).remove(3);
    let bytes = proof.write();
    assert_eq!(Proof::read(&bytes), Ok(proof.clone()));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 3\n"), "{text}");
    for (old, new) in [
        ("proof@v1", "proof@v2"),
        ("index 3", "index 03"),
        ("index 3", "extra AAAA\nindex 3"),
        ("index 3\n", "index 3\nAAAA\n"),
        ("\n\n", "\n"),
    ] {
        assert!(Proof::read(text.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
    }
    let note = &proof.checkpoint;
    let checkpoint = Checkpoint::read(note).unwrap();
    assert_eq!((checkpoint.size, &*checkpoint.origin), (5, "log.example/fleets"));
    let text = String::from_utf8(note.write()).unwrap();
    for (old, new) in
        [("\n5\n", "\n05\n"), ("\n5\n", "\n\n"), ("=\n\n", "=\nmore\n\n"), ("\n5\n", "\n9999999999999999999\n")]
    {
        assert!(text.contains(old), "{old}");
        let note = Note::read(text.replacen(old, new, 1).as_bytes());
        assert!(note.and_then(|note| Checkpoint::read(&note)).is_err(), "{new}");
    }
}

#[test]
fn pins_are_read_as_they_are_written() {
    let text = pins().write();
    assert_eq!(Pins::read(&text), Ok(pins()));
    let app = Pins { compiled_in: true, epoch_min: 7, ..pins() };
    assert_eq!(Pins::read(&app.write()), Ok(app));
    let log = log_key().verifying_key().to_string();
    for (old, new) in [
        ("pins v1", "pins v2"),
        ("quorum 2", "quorum 4"),
        ("quorum 2", "quorum 02"),
        ("quorum 2\n", "quorum 2\nmore\n"),
        ("least-epoch 0", "least-epoch -1"),
        ("witness witness1", "witness witness9"),
        ("operator-evidence ", "operator "),
        (&log, &pins().auditor.to_string()),
        (&format!("log {log}"), &format!("log {}", witness(4).verifying_key())),
    ] {
        assert!(text.contains(old), "{old}");
        assert!(matches!(Pins::read(&text.replacen(old, new, 1)), Err(Fault::Key(_))), "{new}");
    }
    assert_eq!(
        LogPolicy::new(log_key().verifying_key(), Vec::new(), 1),
        Err(Rejection::QuorumTooLarge { needed: 1, known: 0 })
    );
    let twice = vec![witness(1).verifying_key(), witness(1).verifying_key()];
    assert_eq!(LogPolicy::new(log_key().verifying_key(), twice, 1), Err(Rejection::OneKeyTwice));
}

/// A checkpoint of these entries, as somebody signs and somebody cosigns it.
fn checkpoint(entries: &[Vec<u8>], key: &SigningKey, witnesses: &[WitnessSigningKey]) -> Note {
    let origin = key.verifying_key().name().to_owned();
    let mut note = Checkpoint { origin, size: entries.len() as u64, root: root_of(entries) }.signed(key);
    witnesses.iter().for_each(|witness| note.cosign(witness, NOW_S));
    note
}

#[test]
fn t6_a_bundle_that_is_not_in_the_log_as_witnesses_have_seen_it_is_refused() {
    let note = signed(&second());
    let entry = History::new(pins()).unwrap().follow(&note).unwrap();
    let all = [entries(4), vec![entry.clone()], entries(2)].concat();
    let (two, log) = ([witness(1), witness(2)], log_key());
    let with = |checkpoint: Note, index: u64, hashes: Vec<Hash>| {
        said_of_logged(&[LoggedBundle { note: note.clone(), proof: Proof { index, hashes, checkpoint } }])
    };
    let good = checkpoint(&all, &log, &two);
    let mut trust = trust();
    trust.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
    let proof = Proof { index: 4, hashes: path(4, &all), checkpoint: good.clone() };
    let verified = trust.accept(&[LoggedBundle { note: note.clone(), proof }], ARTIFACT, NOW_S).unwrap();
    assert_eq!((verified.index(), verified.checkpoint().size), (4, 7));

    let (right, other) = (path(4, &all), key("log.example/other", 9));
    assert!(matches!(with(checkpoint(&all, &other, &two), 4, right.clone()), Rejection::WrongLog { .. }));
    // By another key of the log's name, and with the signature of another checkpoint.
    let impostor = key("log.example/fleets", 9);
    assert_eq!(with(checkpoint(&all, &impostor, &two), 4, right.clone()), Rejection::LogSignatureMissing);
    let swapped = |text: &Note, lines: &Note| {
        let (text, lines) = (text.text(), String::from_utf8(lines.write()).unwrap());
        Note::read(format!("{text}\n{}", lines.rsplit_once("\n\n").unwrap().1).as_bytes()).unwrap()
    };
    let fewer = checkpoint(&all[..6], &log, &two);
    assert_eq!(with(swapped(&good, &fewer), 4, right.clone()), Rejection::LogSignatureBad);

    let few = Rejection::TooFewWitnesses { found: 1, needed: 2 };
    assert_eq!(with(checkpoint(&all, &log, &two[..1]), 4, right.clone()), few);
    assert_eq!(with(checkpoint(&all, &log, &[witness(1), witness(9)]), 4, right.clone()), few, "one that nobody knows");
    let mut late = checkpoint(&all, &log, &two);
    late.cosign(&witness(3), 1 << 63);
    assert_eq!(with(late, 4, right.clone()), Rejection::WitnessSignatureBad("witness3.example".to_owned()));
    // A witness's signature of a note, without a time, is none of a checkpoint.
    let mut plain = checkpoint(&all, &log, &two[..1]);
    plain.sign(&key("witness2.example", 102));
    assert_eq!(with(plain, 4, right.clone()), few);

    assert_eq!(with(good.clone(), 3, right.clone()), Rejection::NotInLog, "another place");
    assert_eq!(with(good.clone(), 4, path(3, &all)), Rejection::NotInLog, "another's proof");
    assert_eq!(with(good.clone(), 7, right.clone()), Rejection::NotInLog, "beyond the end");
    assert_eq!(with(fewer, 4, right.clone()), Rejection::NotInLog, "wrong tree size");
    let without = [entries(5), entries(2)].concat();
    assert_eq!(with(checkpoint(&without, &log, &two), 4, path(4, &without)), Rejection::NotInLog, "another entry");

    // Each of a chain must be there.
    let mut two_more = logged(&[note.clone(), signed(&bundle(3, Some(&note)))]);
    two_more[0].proof.index = 1;
    assert_eq!(said_of_logged(&two_more), Rejection::NotInLog);
}

#[test]
fn t4_an_entry_is_the_text_and_two_signatures() {
    let note = signed(&second());
    let mut junk = note.clone();
    junk.sign(&key("nobody.example", 77));
    let mut turned = second().note().unwrap();
    turned.sign(&operator());
    turned.sign(&auditor());
    let entry = |note: &Note| History::new(pins()).unwrap().follow(note);
    assert_eq!((entry(&junk), entry(&turned)), (Ok(note.write()), Ok(note.write())));
    let mut alone = second().note().unwrap();
    alone.sign(&auditor());
    assert_eq!(entry(&alone), Err(Rejection::SignatureMissing("operator")), "a log takes no such thing");
}

// ---- the folder

fn log_in(folder: &Path) -> Log {
    Log::create(folder, log_key()).unwrap()
}

fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn lay(folder: &Path, files: &BTreeMap<std::path::PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), bytes).unwrap();
    }
}

#[test]
fn t7_a_log_is_what_was_appended_and_its_tiles_are_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    let all = entries(600);
    let mut taken = 0;
    for step in [1, 2, 5, 240, 7, 1, 1, 0, 300, 43] {
        let some = &all[taken..taken + step];
        let expected: Vec<_> = (taken as u64..(taken + step) as u64).collect();
        assert_eq!(log.append(some), Ok(expected));
        taken += step;
        assert_eq!(Checkpoint::read(log.checkpoint()).unwrap().root, root_of(&all[..taken]));
    }
    assert_eq!(
        log.append(&[all[5].clone(), b"new".to_vec(), b"new".to_vec()]),
        Ok(vec![5, 600, 600]),
        "no entry twice"
    );
    assert_eq!(log.append(&[vec![0; ENTRY_MAX + 1]]).err().map(|it| it.to_string().contains("65535")), Some(true));
    assert!(matches!(Log::open(folder.path(), log_key()), Err(Fault::Storage(_))), "one process appends");
    drop(log);
    let log = Log::open(folder.path(), log_key()).unwrap();
    let view = LogView::open(folder.path(), log_key().verifying_key()).unwrap();
    assert_eq!((view.size(), view.entry(599), view.find(b"new")), (601, Some(&all[599][..]), Some(600)));
    assert_eq!((log.checkpoint(), log.prove(601).is_err()), (view.checkpoint(), true));
    let proof = view.prove(300).unwrap();
    let root = Checkpoint::read(&proof.checkpoint).unwrap().root;
    assert!(includes(&proof.hashes, 601, &root, 300, leaf_hash(&all[300])));

    let files = files(folder.path());
    let tile = |path: &str| &files[Path::new(path)];
    assert_eq!(tile("tile/0/001")[..32], leaf_hash(&all[256]));
    assert_eq!(tile("tile/0/000").len(), 256 * 32);
    assert_eq!(tile("tile/1/000.p/2"), &[root_of(&all[..256]), root_of(&all[256..512])].concat());
    assert_eq!(tile("tile/0/002.p/89").len(), 89 * 32);
    assert_eq!(tile("tile/entries/002.p/89")[..11], [&[0, 9][..], b"entry 512"].concat());
    assert!(!files.contains_key(Path::new("checkpoint.next")), "{:?}", files.keys());
    // What it stands for is looked at whenever it is opened.
    for path in ["checkpoint", "tile/entries/000", "tile/entries/002.p/89"] {
        for at in [0, files[Path::new(path)].len() / 2] {
            let mut bytes = files[Path::new(path)].clone();
            bytes[at] ^= 1;
            fs::write(folder.path().join(path), &bytes).unwrap();
            assert!(LogView::open(folder.path(), log_key().verifying_key()).is_err(), "{path} {at}");
        }
        fs::write(folder.path().join(path), &files[Path::new(path)]).unwrap();
    }
    assert!(matches!(LogView::open(folder.path(), auditor().verifying_key()), Err(Fault::Key(_))), "another log's key");
    assert!(matches!(Log::create(folder.path(), log_key()), Err(Fault::Storage(_))), "a log is begun once");
}

#[test]
fn t7_wherever_an_append_is_cut_short_nothing_that_was_signed_is_contradicted() {
    let (work, all) = (tempfile::tempdir().unwrap(), entries(6));
    let mut log = log_in(work.path());
    log.append(&all[..3]).unwrap();
    let (before, first) = (files(work.path()), log.checkpoint().clone());
    log.append(&all[3..]).unwrap();
    let (after, second) = (files(work.path()), log.checkpoint().clone());
    drop(log);
    let published = |state: &BTreeMap<_, _>, next: Option<&[u8]>| {
        let mut state = state.clone();
        state.insert("checkpoint".into(), before[Path::new("checkpoint")].clone());
        state.extend(next.map(|bytes| ("checkpoint.next".into(), bytes.to_vec())));
        state
    };
    let signed = second.write();
    // Some of the new tiles, all of them, part of the signed checkpoint, all of it, and the published one.
    let mut states = Vec::new();
    for more in 0..=after.len() {
        let mut some = before.clone();
        some.extend(after.iter().take(more).map(|(path, bytes)| (path.clone(), bytes.clone())));
        states.push((published(&some, None), false));
    }
    states.extend((0..signed.len()).map(|cut| (published(&after, Some(&signed[..cut])), false)));
    states.push((published(&after, Some(&signed)), true));
    states.push((after.clone(), true));
    let count = states.len();
    for (number, (state, holds)) in states.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        lay(folder.path(), &state);
        let mut log = Log::open(folder.path(), log_key()).unwrap();
        assert_eq!(log.size(), if holds { 6 } else { 3 }, "state {number} of {count}");
        // Somebody appends something else than what was begun.
        log.append(&[b"another".to_vec()]).unwrap();
        for told in if holds { vec![&first, &second] } else { vec![&first] } {
            log.since(told).unwrap().count();
        }
        drop(log);
        let view = LogView::open(folder.path(), log_key().verifying_key()).unwrap();
        assert_eq!(view.find(b"another"), Some(if holds { 6 } else { 3 }));
        // The control: had the signed one not been kept, it would be contradicted now.
        assert_eq!(view.since(&second).is_ok(), holds, "state {number}");
    }
}

#[test]
fn t7_another_key_takes_no_checkpoint_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    log.append(&entries(2)).unwrap();
    let signed = log.checkpoint().write();
    drop(log);
    // As if it had been cut short between the two steps of publishing.
    let next = folder.path().join("checkpoint.next");
    fs::rename(folder.path().join("checkpoint"), &next).unwrap();
    let other = SigningKey::new("another.example", &Secret::new([9; 32])).unwrap();
    let namesake = SigningKey::new(log_key().verifying_key().name(), &Secret::new([9; 32])).unwrap();
    for wrong in [other, namesake] {
        assert!(matches!(Log::open(folder.path(), wrong), Err(Fault::Key(_))));
        assert_eq!(fs::read(&next).unwrap(), signed);
    }
    assert_eq!(Log::open(folder.path(), log_key()).unwrap().size(), 2);
}

#[test]
fn t7_after_a_failed_write_a_log_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    fs::write(folder.path().join("tile"), b"in the way").unwrap();
    assert!(matches!(log.append(&entries(1)), Err(Fault::Storage(_))));
    fs::remove_file(folder.path().join("tile")).unwrap();
    assert_eq!(log.append(&entries(1)), Err(Fault::Latched));
    drop(log);
    let mut log = Log::open(folder.path(), log_key()).unwrap();
    assert_eq!((log.size(), log.append(&entries(1))), (0, Ok(vec![0])));
}

#[test]
fn t7_a_checkpoint_that_could_not_be_kept_is_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    log.append(&entries(2)).unwrap();
    let shown = log.checkpoint().clone();
    fs::create_dir(folder.path().join("checkpoint.next")).unwrap();
    assert!(matches!(log.append(&entries(3)), Err(Fault::Storage(_))));
    assert_eq!(log.checkpoint(), &shown);
    assert_eq!(log.append(&entries(3)), Err(Fault::Latched));
    drop(log);
    fs::remove_dir(folder.path().join("checkpoint.next")).unwrap();
    let mut log = Log::open(folder.path(), log_key()).unwrap();
    assert_eq!(log.append(&[b"another".to_vec()]), Ok(vec![2]));
    assert_eq!(log.since(&shown).unwrap().count(), 1);
}

#[test]
fn t8_a_witness_cosigns_nothing_that_contradicts_what_it_has_cosigned() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, all) = (log_in(folder.path()), entries(9));
    let mut seen = Witness::new(witness(1), log.key(), None).unwrap();
    log.append(&all[..4]).unwrap();
    let first = seen.cosign(log.checkpoint(), &[], NOW_S).unwrap();
    log.take_cosignature(&first, &seen.key()).unwrap();
    assert_eq!(LogView::open(folder.path(), log.key()).unwrap().checkpoint(), &first, "published");
    log.append(&all[4..]).unwrap();
    let proof = log.consistency(seen.seen()).unwrap();
    let refused = |witness: &mut Witness, note: &Note, proof: &[Hash]| {
        let (fault, last) = (witness.cosign(note, proof, NOW_S), witness.last().cloned());
        assert!(matches!(fault, Err(Fault::Fork(_))), "{fault:?}");
        assert_eq!(last.as_ref(), Some(&first), "it remembers what it has signed");
    };
    refused(&mut seen, log.checkpoint(), &proof[1..]);
    refused(&mut seen, log.checkpoint(), &[]);
    let fork = [&all[..3], &[b"another".to_vec()], &all[4..]].concat();
    refused(&mut seen, &checkpoint(&fork, &log_key(), &[]), &subproof(4, &fork, true));
    refused(&mut seen, &checkpoint(&all[..3], &log_key(), &[]), &[]);
    refused(&mut seen, &checkpoint(&fork[..4], &log_key(), &[]), &[]);
    // Put away and taken up again, it knows.
    let mut seen = Witness::new(witness(1), log.key(), Some(first.clone())).unwrap();
    assert_eq!(seen.seen(), 4);
    let second = seen.cosign(log.checkpoint(), &proof, NOW_S + 1).unwrap();
    assert_eq!(seen.cosign(log.checkpoint(), &[], NOW_S + 1), Ok(second.clone()), "the same again");
    assert!(matches!(log.take_cosignature(&first, &seen.key()), Err(Fault::Key(_))), "of an older checkpoint");
    assert!(matches!(log.take_cosignature(&second, &witness(2).verifying_key()), Err(Fault::Key(_))), "by another");
    log.take_cosignature(&second, &seen.key()).unwrap();
    assert!(Witness::new(witness(2), log.key(), Some(second.clone())).is_err(), "another's memory");
    assert!(Witness::new(witness(1), auditor().verifying_key(), Some(second)).is_err(), "of another log");
    let mut other = Witness::new(witness(2), auditor().verifying_key(), None).unwrap();
    assert!(matches!(other.cosign(log.checkpoint(), &[], NOW_S), Err(Fault::Key(_))));
}

#[test]
fn monitors_are_told_what_is_new_and_of_a_changed_history() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, all) = (log_in(folder.path()), entries(5));
    let empty = log.checkpoint().clone();
    log.append(&all[..2]).unwrap();
    let then = log.checkpoint().clone();
    log.append(&all[2..]).unwrap();
    let view = LogView::open(folder.path(), log.key()).unwrap();
    let new: Vec<_> = view.since(&then).unwrap().map(|(index, entry)| (index, entry.to_vec())).collect();
    assert_eq!(new, [(2, all[2].clone()), (3, all[3].clone()), (4, all[4].clone())]);
    assert_eq!((view.since(&empty).unwrap().count(), view.since(view.checkpoint()).unwrap().count()), (5, 0));
    let fork = checkpoint(&entries(7)[3..5], &log_key(), &[]);
    assert!(matches!(view.since(&fork).map(|_| ()), Err(Fault::Fork(_))));
    let larger = checkpoint(&entries(7), &log_key(), &[]);
    assert!(matches!(view.since(&larger).map(|_| ()), Err(Fault::Fork(_))), "it has shrunk");
    assert!(matches!(view.since(&checkpoint(&all, &auditor(), &[])).map(|_| ()), Err(Fault::Key(_))));
}

#[test]
fn private_keys_are_text_and_of_one_purpose() {
    let key = log_key();
    let text = String::from_utf8(key.write().expose().clone()).unwrap();
    assert!(text.starts_with("PRIVATE+KEY+log.example/fleets+"), "as Go's sumdb/note writes them");
    assert_eq!(SigningKey::read(&text).unwrap().verifying_key(), key.verifying_key());
    assert!(WitnessSigningKey::read(&text).is_err(), "a log's key is no witness's");
    assert!(key.verifying_key().to_string().parse::<WitnessKey>().is_err());
    for wrong in ["", "PRIVATE+KEY+", &text[1..], &text[..text.len() - 4], &text.replace("log.", "lag.")] {
        assert!(SigningKey::read(wrong).is_err(), "{wrong}");
    }
}
