//! Where root keys live, and what a damaged or foreign place says.

use std::fs;

use super::expand;
use crate::error::Fault;
use crate::wrap::{FileRoot, MemoryRoot, RootSource};

fn check_source(source: &dyn RootSource) {
    assert!(source.development());
    assert_eq!(source.epochs(), Ok(vec![]));
    assert!(matches!(source.derive(1), Err(Fault::Key(_))), "no root yet");
    for epoch in [7, 1, 10] {
        assert_eq!(source.create(epoch), Ok(()));
    }
    assert_eq!(source.epochs(), Ok(vec![1, 7, 10]), "in order of number");
    let keys = [1, 7, 10].map(|epoch| source.derive(epoch).expect("a root"));
    assert!(bool::from(keys[0].ct_eq(source.derive(1).expect("a root").expose())), "the same each time");
    assert!(!bool::from(keys[0].ct_eq(keys[1].expose())), "each its own");
    assert!(matches!(source.create(7), Err(Fault::Key(_))), "never replaced");
    assert!(bool::from(keys[1].ct_eq(source.derive(7).expect("a root").expose())), "nor touched");

    assert_eq!(source.destroy(7), Ok(()));
    assert_eq!(source.epochs(), Ok(vec![1, 10]));
    assert!(matches!(source.derive(7), Err(Fault::Key(_))), "a destroyed root derives nothing");
    assert_eq!(source.destroy(7), Ok(()), "done already");
    assert_eq!(source.create(7), Ok(()));
    assert!(!bool::from(keys[1].ct_eq(source.derive(7).expect("a root").expose())), "and never the same again");
}

/// The derivation of DESIGN section 5, by RustCrypto.
fn derived(root: &[u8; 64], epoch: u32) -> [u8; 64] {
    expand(root, &[b"strongroom epoch v1", &epoch.to_be_bytes()])
}

#[test]
fn memory() {
    let source = MemoryRoot::new();
    check_source(&source);
    assert_eq!(source.create_with(3, &[9; 64]), Ok(()));
    assert_eq!(source.derive(3).expect("a root").expose(), &derived(&[9; 64], 3));
    assert_ne!(source.derive(3).expect("a root").expose(), &derived(&[9; 64], 4), "the epoch is in it");
}

#[test]
fn files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a").join("roots");
    assert!(matches!(FileRoot::open(&path), Err(Fault::Key(words)) if words.contains("put it back")));
    check_source(&FileRoot::create(&path).expect("a source"));
    let source = FileRoot::open(&path).expect("a source");
    assert_eq!(source.epochs(), Ok(vec![1, 7, 10]), "they outlive the process");
    let other = FileRoot::create(&path).expect("creating opens what is there");
    assert!(bool::from(source.derive(1).expect("a root").ct_eq(other.derive(1).expect("a root").expose())));

    source.create_with(3, &[9; 64]).expect("a root");
    assert_eq!(fs::read(path.join("epoch-3.root")).expect("a file"), [9; 64]);
    assert_eq!(source.derive(3).expect("a root").expose(), &derived(&[9; 64], 3));
    let mut names: Vec<_> =
        fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["epoch-1.root", "epoch-10.root", "epoch-3.root", "epoch-7.root"], "and nothing is left over");
}

#[test]
fn a_root_of_another_size_or_of_zeros_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = FileRoot::create(folder.path()).expect("a source");
    let path = folder.path().join("epoch-1.root");
    source.create(1).expect("a root");
    for (bytes, good) in [(&[1; 64][..], true), (&[1; 63], false), (&[1; 65], false), (&[], false), (&[0; 64], false)] {
        fs::write(&path, bytes).expect("written");
        assert_eq!(source.derive(1).is_ok(), good);
        assert!(good || matches!(source.derive(1), Err(Fault::Damaged(_))), "and said to be damaged");
    }
}

#[test]
fn names_that_are_not_ours_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = FileRoot::create(folder.path()).expect("a source");
    source.create(1).expect("a root");
    for name in ["epoch-01.root", "epoch-+2.root", "epoch-3.txt", "epoch-4294967296.root", "epoch-.root", "notes"] {
        fs::write(folder.path().join(name), [1; 64]).expect("written");
    }
    assert_eq!(FileRoot::open(folder.path()).expect("a source").epochs(), Ok(vec![1]));
}

#[test]
fn what_a_crash_left_is_finished_or_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let source = FileRoot::create(folder.path()).expect("a source");
    // While being made: half the bytes, under a name that is no root's.
    fs::write(file("epoch-1.fresh"), [1; 32]).expect("written");
    assert_eq!(source.epochs(), Ok(vec![]));
    source.create(1).expect("a root");
    // After its link, before its first name went: making it again must not harm the root that lives.
    let key = source.derive(1).expect("a root");
    fs::hard_link(file("epoch-1.root"), file("epoch-1.fresh")).expect("linked");
    assert!(matches!(source.create(1), Err(Fault::Key(_))));
    assert!(bool::from(key.ct_eq(source.derive(1).expect("a root").expose())));
    // A second name must not outlive a destruction either.
    fs::hard_link(file("epoch-1.root"), file("epoch-1.fresh")).expect("linked");
    source.destroy(1).expect("destroyed");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    // While being destroyed: the name is gone, the bytes are not.
    source.create(2).expect("a root");
    fs::rename(file("epoch-2.root"), file("epoch-2.dying")).expect("renamed");
    assert!(matches!(source.derive(2), Err(Fault::Key(_))));
    FileRoot::open(folder.path()).expect("a source");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

/// A second name shows what became of the bytes themselves.
#[test]
fn a_destroyed_root_is_overwritten() {
    let (folder, witness) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let source = FileRoot::create(folder.path()).expect("a source");
    source.create_with(1, &[9; 64]).expect("a root");
    let witness = witness.path().join("bytes");
    fs::hard_link(folder.path().join("epoch-1.root"), &witness).expect("linked");
    assert_eq!(fs::read(&witness).expect("a file"), [9; 64]);
    source.destroy(1).expect("destroyed");
    let left = fs::read(&witness).expect("a file");
    assert_eq!(left.len(), 64);
    assert!(left.windows(4).all(|bytes| bytes != [9; 4]), "nothing of the root is left");
}

#[cfg(unix)]
#[test]
fn a_root_that_others_may_use_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let source = FileRoot::create(folder.path().join("roots")).expect("a source");
    source.create(1).expect("a root");
    let path = folder.path().join("roots").join("epoch-1.root");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("roots")), 0o700);
    for bit in 0..6 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 | 1 << bit)).expect("set");
        assert!(matches!(source.derive(1), Err(Fault::Key(words)) if words.contains("chmod 600")), "bit {bit}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    assert!(source.derive(1).is_ok());
    for (bits, good) in [(0o755, true), (0o720, false), (0o702, false), (0o700, true)] {
        fs::set_permissions(folder.path().join("roots"), fs::Permissions::from_mode(bits)).expect("set");
        assert_eq!(FileRoot::open(folder.path().join("roots")).is_ok(), good, "{bits:o}");
    }
}
