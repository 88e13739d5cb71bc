//! The local journal in a real folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Expected, charge, enrol, id, sealed};
use crate::error::Fault;
use crate::journal::{Anchor, FileAnchor, Journal, Local, MemoryAnchor};
use crate::ledger::{Command, Policy};
use crate::secret::Secret;

fn key() -> Secret<[u8; 32]> {
    Secret::new([5; 32])
}

fn policy() -> Policy {
    Policy { unknown_max: 3, ..Policy::development() }
}

fn open(folder: &Path, anchor: &Arc<dyn Anchor>) -> Result<Local, Fault> {
    Local::open(folder, &policy(), &key(), anchor.clone())
}

/// The journal holds what the rules say, the sealed bytes of every account included.
fn check(journal: &Local, expected: &Expected) {
    journal.read(&mut |state| assert_eq!(state.encode(), expected.state.encode())).unwrap();
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    for (id, account) in expected.state.accounts() {
        let expected = expected.records.0.get(id).cloned().filter(|_| account.is_live());
        assert_eq!(journal.sealed(id, account.generation()).unwrap(), expected);
        asked.push((*id, account.generation()));
        answers.push(Ok(expected));
    }
    assert_eq!(journal.sealed_each(&asked), answers, "many at once, in their order");
}

/// One batch of everything that can happen.
fn batch(round: u64) -> Vec<Command> {
    let person = (round % 5) as u8;
    let byte = round as u8;
    vec![
        charge(person, byte),
        charge(100 + byte % 50, byte),
        enrol(person, (round / 5) as u32, byte),
        Command::Rewrap { account: id(person), generation: (round / 5) as u32 + 1, rewraps: 0, sealed: sealed(!byte) },
        Command::Forget { most: 2 },
        Command::Sweep { account: id(person) },
        Command::Members { predecessor: [0; 32], statement: vec![byte; 10] },
        Command::Restore { number: if round == 17 { 1 } else { 0 } },
        Command::Pardon { account: id(person), pardoned: 1 },
    ]
}

#[test]
fn l5_j3_reopening_gives_the_live_state_at_every_point() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.path().join("anchor")).unwrap());
    let store = folder.path().join("a/b/store");
    let mut journal = Local::create(&store, policy(), &key(), anchor.clone()).unwrap();
    let mut expected = Expected::new(policy());
    for round in 0..60 {
        journal.commit(round * 10_000, batch(round)).unwrap();
        expected.apply(round * 10_000, &batch(round));
        if round % 7 == 3 {
            journal.checkpoint().unwrap();
        }
        if round % 3 == 0 {
            check(&journal, &expected);
            drop(journal);
            journal = open(&store, &anchor).unwrap();
        }
        check(&journal, &expected);
    }
    assert_eq!(expected.state.restores(), 1);
    assert!(expected.state.unknown_len() <= 3 + 2, "ids were forgotten");
    // Twice in a row, with nothing new, is a checkpoint as well.
    journal.checkpoint().unwrap();
    journal.checkpoint().unwrap();
    drop(journal);
    check(&open(&store, &anchor).unwrap(), &expected);
}

#[test]
fn a_checkpoint_is_written_by_itself_and_empties_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(MemoryAnchor::new());
    let journal = Local::create(folder.path(), policy(), &key(), anchor.clone()).unwrap();
    journal.set_checkpoint_bytes(10_000);
    let rows = || {
        use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
        const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
        journal.shared.log.db().unwrap().begin_read().unwrap().open_table(LOG).unwrap().len().unwrap()
    };
    let mut most = 0;
    for round in 0..60 {
        journal.commit(round * 10, batch(round)).unwrap();
        most = most.max(rows());
    }
    assert!(most > 1 && anchor.read().unwrap().last.index == 60);
    // It is written by a thread of its own, some time after.
    for _ in 0..3000 {
        if anchor.read().unwrap().root != [0; 32] && rows() < 20 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} rows are left of some 120,000 bytes", rows());
}

#[test]
fn batches_wait_where_checkpoints_do_not_keep_up() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(MemoryAnchor::new());
    let journal = Local::create(folder.path(), policy(), &key(), anchor).unwrap();
    journal.set_checkpoint_bytes(3_000);
    let mut most = 0;
    for round in 0..60 {
        journal.commit(round, batch(round)).unwrap();
        most = most.max(journal.shared.tail.lock().unwrap().bytes);
    }
    // Some 120,000 bytes came as fast as they could; a batch has some 2,000.
    assert!((3_000..12_000).contains(&most), "the log grew to {most} bytes");
}

#[test]
fn batches_go_on_while_checkpoints_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(MemoryAnchor::new());
    let mut expected = Expected::new(policy());
    for part in 0..6 {
        let journal = match part {
            0 => Local::create(folder.path(), policy(), &key(), anchor.clone()).unwrap(),
            _ => open(folder.path(), &anchor).unwrap(),
        };
        check(&journal, &expected);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    journal.checkpoint().unwrap();
                }
            });
            for round in part * 40..part * 40 + 40 {
                journal.commit(round * 1000, batch(round)).unwrap();
                expected.apply(round * 1000, &batch(round));
                check(&journal, &expected);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
    check(&open(folder.path(), &anchor).unwrap(), &expected);
}

#[test]
fn l12_another_policy_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(MemoryAnchor::new());
    drop(Local::create(folder.path(), policy(), &key(), anchor.clone()).unwrap());
    for checkpointed in [false, true] {
        for (name, other) in [
            ("attempts_max", Policy { attempts_max: 9, ..policy() }),
            ("unknown_max", Policy { unknown_max: 4, ..policy() }),
            ("context", Policy { context: b"strongroom-2".to_vec(), ..policy() }),
            ("pinned", Policy { pinned: vec![[0; 32]], ..policy() }),
            ("development", Policy { development: false, ..policy() }),
        ] {
            match Local::open(folder.path(), &other, &key(), anchor.clone()).err() {
                Some(Fault::PolicyMismatch(words)) => assert!(words.contains(name), "{words}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        open(folder.path(), &anchor).unwrap().checkpoint().unwrap();
        assert!(checkpointed || anchor.read().unwrap().root != [0; 32]);
    }
}

#[test]
fn a_folder_with_a_journal_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(MemoryAnchor::new());
    let journal = Local::create(folder.path(), policy(), &key(), anchor.clone()).unwrap();
    journal.commit(1, batch(1)).unwrap();
    let again = |anchor: Arc<dyn Anchor>| Local::create(folder.path(), policy(), &key(), anchor).err();
    assert!(matches!(again(Arc::new(MemoryAnchor::new())), Some(Fault::Storage(_))), "it is open");
    assert!(matches!(open(folder.path(), &anchor).err(), Some(Fault::Storage(_))), "it is open");
    drop(journal);
    assert!(matches!(again(Arc::new(MemoryAnchor::new())), Some(Fault::Storage(_))));
    assert!(matches!(again(anchor.clone()), Some(Fault::Anchor(_))), "the anchor is taken");
    let journal = open(folder.path(), &anchor).unwrap();
    journal.checkpoint().unwrap();
    drop(journal);
    assert!(matches!(again(Arc::new(MemoryAnchor::new())), Some(Fault::Storage(_))));
    assert_eq!(open(folder.path(), &anchor).unwrap().read(&mut |_| ()), Ok(1));
    assert!(matches!(open(&folder.path().join("none"), &anchor).err(), Some(Fault::Storage(_))));
}

#[test]
fn readers_and_writers_in_many_threads_agree() {
    let folder = tempfile::tempdir().unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.path().join("anchor")).unwrap());
    let journal = Local::create(folder.path().join("store"), Policy::development(), &key(), anchor.clone()).unwrap();
    journal.set_checkpoint_bytes(20_000);
    std::thread::scope(|scope| {
        for person in 0..4u8 {
            let journal = &journal;
            scope.spawn(move || {
                for generation in 0..40u32 {
                    let filler = generation as u8;
                    let receipts = journal.commit(5, vec![enrol(person, generation, filler)]).unwrap();
                    // What is acknowledged is seen at once, through every checkpoint.
                    let found = journal.sealed(&id(person), generation + 1).unwrap();
                    assert_eq!(found, Some(sealed(filler)));
                    let index = journal
                        .read(&mut |state| assert_eq!(state.account(&id(person)).unwrap().generation(), generation + 1))
                        .unwrap();
                    assert!(index >= receipts[0].index());
                }
            });
        }
    });
    let live = |journal: &Local| {
        let mut bytes = Vec::new();
        let index = journal.read(&mut |state| bytes = state.encode()).unwrap();
        (index, bytes)
    };
    let before = live(&journal);
    assert!((40..=160).contains(&before.0), "160 batches in {} rows, of which four at most share one", before.0);
    drop(journal);
    let journal = Local::open(folder.path().join("store"), &Policy::development(), &key(), anchor).unwrap();
    assert_eq!(live(&journal), before);
}

#[test]
fn a_creation_cut_short_can_be_repeated_or_opened() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let unused = || -> Arc<dyn Anchor> { Arc::new(MemoryAnchor::new()) };
    drop(Local::create(&whole, policy(), &key(), unused()).unwrap());
    // Cut short before the files had their names, between the two, and after both.
    for checkpoint in ["checkpoint.redb.new", "checkpoint.redb"] {
        let half = folder.path().join(format!("half of {checkpoint}"));
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("log.redb.new"), [9; 5000]).unwrap();
        std::fs::copy(whole.join("checkpoint.redb"), half.join(checkpoint)).unwrap();
        let anchor = unused();
        assert!(matches!(open(&half, &anchor).err(), Some(Fault::Storage(_))));
        let journal = Local::create(&half, policy(), &key(), anchor).unwrap();
        assert_eq!(journal.commit(1, vec![charge(1, 1)]).unwrap().len(), 1);
    }
    let anchor = unused();
    drop(open(&whole, &anchor).unwrap());
    assert_eq!(anchor.read().unwrap().sequence, 1, "the anchor is taken now");
    assert!(matches!(open(&whole, &unused()).unwrap().read(&mut |_| ()), Ok(0)));
}
