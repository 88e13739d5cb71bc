//! What holds of every journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Expected, charge, enrol, id, sealed};
use crate::error::{Fault, Refusal};
use crate::journal::{Anchor, Anchored, Journal, Memory, MemoryAnchor};
use crate::ledger::{AnchorKind, Command, Policy, Verdict};
use crate::limits::BATCH_MAX;
use crate::secret::Secret;

fn key() -> Secret<[u8; 32]> {
    Secret::new([5; 32])
}

/// Every kind of journal of this build, new, over this anchor.
fn journals(anchor: impl Fn() -> Arc<dyn Anchor>, policy: &Policy) -> Vec<(&'static str, Box<dyn Journal>)> {
    let memory = Memory::create_with(policy.clone(), &key(), anchor()).unwrap();
    let memory: (_, Box<dyn Journal>) = ("memory", Box::new(memory));
    #[cfg(feature = "local")]
    let all = {
        use redb::backends::InMemoryBackend;

        let (log, store) = (InMemoryBackend::new(), InMemoryBackend::new());
        let local = crate::journal::Local::create_on(log, store, policy.clone(), &key(), anchor()).unwrap();
        [memory, ("local", Box::new(local) as Box<dyn Journal>)]
    };
    #[cfg(not(feature = "local"))]
    let all = [memory];
    all.into()
}

fn with_memory_anchor() -> Vec<(&'static str, Box<dyn Journal>)> {
    journals(|| Arc::new(MemoryAnchor::new()), &Policy::development())
}

fn encoded(journal: &dyn Journal) -> (u64, Vec<u8>) {
    let mut bytes = Vec::new();
    let index = journal.read(&mut |state| bytes = state.encode()).unwrap();
    (index, bytes)
}

#[test]
fn receipts_come_in_order_with_index_and_verdict() {
    for (name, journal) in with_memory_anchor() {
        let mut expected = Expected::new(Policy::development());
        let batches = [
            vec![charge(1, 1), enrol(2, 0, 9), charge(2, 1), charge(2, 1), charge(2, 2)],
            vec![],
            vec![Command::Remove { account: id(1), generation: 0, proof: None }, charge(1, 2)],
        ];
        for (at, batch) in (1..).zip(&batches) {
            let receipts = journal.commit(at * 100, batch.clone()).unwrap();
            expected.apply(at * 100, batch);
            let commands: Vec<_> = receipts.iter().map(|receipt| receipt.command().clone()).collect();
            assert_eq!(&commands, batch, "{name}");
            assert!(receipts.iter().all(|receipt| receipt.index() == at), "{name}");
            if at == 1 {
                let verdicts: Vec<_> = receipts.iter().map(|receipt| *receipt.verdict()).collect();
                let charged = |generation, ordinal, remaining, again| Verdict::Charged {
                    generation,
                    ordinal,
                    live: generation == 1,
                    remaining,
                    again,
                };
                let enrolled = Verdict::Enrolled { generation: 1, again: false };
                let same = charged(1, 1, 9, true);
                assert_eq!(
                    verdicts,
                    [charged(0, 1, 9, false), enrolled, charged(1, 1, 9, false), same, charged(1, 2, 8, false)]
                );
            }
            if at == 3 {
                assert_eq!(*receipts[0].verdict(), Verdict::Refused(Refusal::NoRecord), "{name}");
            }
        }
        assert_eq!(encoded(&*journal), (3, expected.state.encode()), "{name}");
        assert_eq!(journal.policy(), &Policy::development());
    }
}

#[test]
fn state_time_never_goes_back() {
    for (name, journal) in with_memory_anchor() {
        journal.commit(500, vec![]).unwrap();
        journal.commit(400, vec![charge(1, 1)]).unwrap();
        journal.read(&mut |state| assert_eq!(state.time_s(), 500, "{name}")).unwrap();
    }
}

#[test]
fn sealed_bytes_are_those_of_the_live_generation() {
    for (name, journal) in with_memory_anchor() {
        assert_eq!(journal.sealed(&id(1), 0), Ok(None), "{name}");
        journal.commit(1, vec![enrol(1, 0, 7)]).unwrap();
        assert_eq!(journal.sealed(&id(1), 1), Ok(Some(sealed(7))), "{name}");
        assert_eq!(journal.sealed(&id(1), 0), Ok(None), "{name}");
        assert_eq!(journal.sealed(&id(2), 1), Ok(None), "{name}");
        journal.commit(2, vec![enrol(1, 1, 8)]).unwrap();
        assert_eq!(journal.sealed(&id(1), 1), Ok(None), "{name}: the old generation has ended");
        assert_eq!(journal.sealed(&id(1), 2), Ok(Some(sealed(8))), "{name}");
    }
}

#[test]
fn too_large_a_batch_changes_nothing_and_does_not_latch() {
    for (name, journal) in with_memory_anchor() {
        let before = encoded(&*journal);
        assert!(matches!(journal.commit(1, vec![charge(1, 1); BATCH_MAX + 1]), Err(Fault::Limit(_))), "{name}");
        assert_eq!(encoded(&*journal), before);
        assert_eq!(journal.commit(1, vec![charge(1, 1); BATCH_MAX]).unwrap().len(), BATCH_MAX);
    }
}

#[test]
fn l5_j3_replaying_the_rows_gives_the_live_state() {
    let journal = Memory::create(Policy::development()).unwrap();
    for round in 0..30u8 {
        let commands = vec![charge(round % 4, round), enrol(round % 3, u32::from(round / 3), round), charge(9, round)];
        journal.commit(u64::from(round) * 3600, commands).unwrap();
    }
    assert_eq!(journal.replay().unwrap().encode(), encoded(&journal).1);
}

#[test]
fn j7_of_two_copies_on_one_anchor_the_second_latches() {
    // Both begin with an unused anchor: stand in for two copies of one store.
    let anchor = Arc::new(MemoryAnchor::new());
    let behind: Arc<dyn Anchor> = anchor.clone();
    let first = Memory::create_with(Policy::development(), &key(), behind).unwrap();
    // Someone else moves the anchor.
    let held = anchor.read().unwrap();
    anchor.advance(held.sequence, &Anchored { sequence: held.sequence + 1, chain: [1; 32], ..held }).unwrap();
    assert!(matches!(first.read(&mut |_| panic!("nothing is shown")), Err(Fault::Anchor(_))));
    assert_eq!(first.commit(1, vec![charge(1, 1)]).err(), Some(Fault::Latched));
}

#[test]
fn an_anchor_is_taken_once_and_must_be_of_the_policys_kind() {
    let anchor = Arc::new(MemoryAnchor::new());
    Memory::create_with(Policy::development(), &key(), anchor.clone()).unwrap();
    assert!(matches!(Memory::create_with(Policy::development(), &key(), anchor), Err(Fault::Anchor(_))));
    let signers = Some(crate::ledger::Signers { auditor: [1; 32], operator: [2; 32] });
    let real = Policy {
        signers,
        development: false,
        root: crate::ledger::RootKind::Pkcs11,
        anchor: AnchorKind::Hardware,
        ..Policy::development()
    };
    assert!(matches!(Memory::create(real), Err(Fault::PolicyMismatch(_))));
    assert!(matches!(Memory::create(Policy { attempts_max: 0, ..Policy::development() }), Err(Fault::Policy(_))));
}

/// Memory whose swaps or reads fail on demand; `lost` swaps take place all the same.
#[derive(Default)]
struct Failing {
    inner: MemoryAnchor,
    fails: AtomicBool,
    lost: AtomicBool,
}

impl Anchor for Failing {
    fn kind(&self) -> AnchorKind {
        AnchorKind::Memory
    }
    fn read(&self) -> Result<Anchored, Fault> {
        if self.fails.load(Ordering::SeqCst) { Err(Fault::Storage("read".into())) } else { self.inner.read() }
    }
    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        if self.lost.load(Ordering::SeqCst) {
            self.inner.advance(expected, next)?;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(Fault::Storage("swap".into()));
        }
        self.inner.advance(expected, next)
    }
}

#[test]
fn j4_after_a_failed_anchor_every_call_says_so() {
    for lost in [false, true] {
        let anchors = std::cell::RefCell::new(Vec::new());
        let new_anchor = || -> Arc<dyn Anchor> {
            let anchor = Arc::new(Failing::default());
            anchors.borrow_mut().push(anchor.clone());
            anchor
        };
        let journals = journals(new_anchor, &Policy::development());
        for ((name, journal), anchor) in journals.iter().zip(anchors.take()) {
            journal.commit(1, vec![enrol(1, 0, 7)]).unwrap();
            anchor.lost.store(lost, Ordering::SeqCst);
            anchor.fails.store(true, Ordering::SeqCst);
            assert!(matches!(journal.commit(2, vec![charge(1, 1)]), Err(Fault::Storage(_))), "{name}");
            anchor.fails.store(false, Ordering::SeqCst);
            assert_eq!(journal.commit(3, vec![charge(1, 2)]).err(), Some(Fault::Latched), "{name}");
            assert_eq!(journal.read(&mut |_| panic!("nothing is shown")), Err(Fault::Latched), "{name}");
            assert_eq!(journal.sealed(&id(1), 1), Err(Fault::Latched), "{name}");
        }
    }
}
