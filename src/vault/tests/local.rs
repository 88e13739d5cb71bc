//! A vault of its own folder: what a creation that is cut short leaves.

use std::fs;
use std::path::Path;

use super::person::Person;
use crate::error::Fault;
use crate::journal::{FileAnchor, Local};
use crate::ledger::Policy;
use crate::vault::{Config, Custody, FileKeyStore, Vault};
use crate::wrap::{FileRoot, RootSource};

fn create(folder: &Path) -> Result<Vault, Fault> {
    Vault::create(Config::development(folder).unwrap(), Policy::development())
}

fn open(folder: &Path) -> Result<Vault, Fault> {
    Vault::open(Config::development(folder).unwrap(), Policy::development())
}

fn root(folder: &Path) -> FileRoot {
    FileRoot::create(folder.join("root")).unwrap()
}

fn custody(folder: &Path) -> Custody {
    Custody::create(Box::new(root(folder)), Box::new(FileKeyStore::new(folder.join("keys")))).unwrap()
}

#[test]
fn a_creation_cut_short_before_its_journal_has_its_name_is_neither_repeated_nor_opened() {
    let cuts: [fn(&Path); 2] = [|folder| root(folder).create(1).unwrap(), |folder| drop(custody(folder))];
    for (number, cut) in cuts.into_iter().enumerate() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("vault");
        fs::create_dir(&folder).unwrap();
        cut(&folder);
        assert!(
            matches!(create(&folder), Err(Fault::Key(_) | Fault::Storage(_))),
            "{number}: created with keys of before"
        );
        assert!(matches!(open(&folder), Err(Fault::Storage(_))), "{number}: opened");
        // What it left is removed, and it is created anew.
        fs::remove_dir_all(&folder).unwrap();
        let vault = create(&folder).unwrap();
        assert_eq!(Person::new("ada").enrol(&vault, "code", b"wrapped"), 1);
    }
}

#[test]
fn a_creation_cut_short_after_its_journal_has_its_name_is_finished_by_opening() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = custody(folder).journal_key();
    let elsewhere = std::sync::Arc::new(FileAnchor::create(folder.join("elsewhere")).unwrap());
    drop(Local::create(folder.join("journal"), Policy::development(), &key, elsewhere).unwrap());
    // The vault's own anchor names nothing yet.
    let vault = open(folder).unwrap();
    assert_eq!(Person::new("ada").enrol(&vault, "code", b"wrapped"), 1);
}
