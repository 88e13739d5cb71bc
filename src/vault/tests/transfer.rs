//! Accounts that move to another vault: V10 to V12, and the bound over both vaults together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::person::Person;
use super::{NOW_S, vault, vault_with};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::ledger::{Command, Policy, Side, Tally, Verdict};
use crate::protocol::{Reply, Request};
use crate::vault::{ManualClock, Offer, Parcel, Turn, Vault};

const BEGIN: Option<AccountId> = Some(AccountId([0; 32]));

/// A vault with people in every state, and one that is to take them.
struct Scene {
    source: Vault,
    target: Vault,
    people: Vec<Person>,
}

fn scene() -> Scene {
    let ((source, _), (target, _)) = (vault(), vault());
    let people: Vec<_> = (0..40).map(|number| Person::new(&format!("person {number}"))).collect();
    for (number, person) in people.iter().enumerate() {
        if number == 20 {
            // The later ones have records of another seed.
            let server = source.rotate(Turn::Server).unwrap();
            source.enrol_under(server as u16).unwrap();
        }
        person.enrol(&source, "one", format!("secret {number}").as_bytes());
        for _ in 0..number % 4 {
            person.start(&source, "wrong").unwrap();
        }
    }
    Person::new("stranger").start(&source, "anything").unwrap();
    Scene { source, target, people }
}

fn secret(number: usize) -> Vec<u8> {
    format!("secret {number}").into_bytes()
}

/// Hands everything over, every step once.
fn hand_over(source: &Vault, target: &Vault) -> Tally {
    let export = source.export(target.offer().unwrap()).unwrap();
    let import = target.import().unwrap();
    import.begin(&export.hello().unwrap()).unwrap();
    let mut kept = BEGIN;
    let mut tally = Tally::default();
    while let Some(parcel) = export.next(kept).unwrap() {
        let parcel = Parcel::decode(&parcel.encode()).unwrap();
        tally = import.take(&parcel).unwrap();
        kept = parcel.upto;
    }
    assert_eq!(tally, export.total().unwrap(), "what came is what left");
    tally
}

#[test]
fn everybody_recovers_at_the_other_vault_with_the_attempts_that_were_left() {
    let Scene { source, target, people } = scene();
    let before: Vec<_> = people.iter().map(|person| person.remaining(&source)).collect();
    let key = source.server_public_key();
    let tally = hand_over(&source, &target);
    assert_eq!((tally.accounts, tally.records), (41, 40));
    for (number, person) in people.iter().enumerate() {
        assert_eq!(person.ask(&source, &Request::Remaining), Ok(Reply::Refused(Refusal::Moved)));
        assert_eq!(person.start(&source, "one").err(), Some(Refusal::Moved));
        assert_eq!(person.start_enrolment(&source, "two", b"x").err(), Some(Refusal::Moved));
        assert_eq!(person.remaining(&target), before[number]);
        assert_eq!(person.recover(&target, "one").unwrap(), secret(number));
    }
    assert_eq!(Person::new("stranger").remaining(&target), 9, "ids without a record too");
    assert!(target.keys().unwrap().servers.iter().any(|it| it.public_key == key), "clients trust the old key still");
    people[0].enrol(&target, "two", b"new");
    assert_eq!(people[0].recover(&target, "two").unwrap(), b"new");
    assert!(matches!(target.import(), Err(Fault::Key(_))), "the keys of the move are gone");
    assert!(matches!(target.offer(), Err(Fault::Key(_))), "it has accounts of its own now");
    assert!(source.sweep().is_ok() && target.sweep().is_ok());
    assert!(matches!(source.export(vault().0.offer().unwrap()), Err(Fault::Key(_))), "nor do they leave twice");
}

#[test]
fn every_step_may_be_repeated() {
    let Scene { source, target, people } = scene();
    assert_eq!(target.offer().unwrap(), target.offer().unwrap());
    let offer = Offer::decode(&target.offer().unwrap().encode()).unwrap();
    let open = || source.export(offer.clone()).unwrap();
    let (mut kept, mut parcels) = (BEGIN, Vec::new());
    target.import().unwrap().begin(&open().hello().unwrap()).unwrap();
    while let Some(first) = open().next(kept).unwrap() {
        // Lost before it was kept: packed again, the same range, and the last one's total is the same.
        let again = open().next(kept).unwrap().unwrap();
        assert_eq!((first.from, first.upto), (again.from, again.upto));
        let import = target.import().unwrap();
        import.begin(&open().hello().unwrap()).unwrap();
        import.take(&first).unwrap();
        if again.upto.is_some() {
            let tally = import.take(&again).unwrap();
            assert_eq!(tally, import.take(&first).unwrap(), "taken once");
        }
        kept = again.upto;
        parcels.push(again);
    }
    assert_eq!(people[7].recover(&target, "one").unwrap(), secret(7));
    assert!(open().next(None).unwrap().is_none());
}

#[test]
fn server_keys_that_turn_in_the_middle_come_with_a_hello_that_is_said_again() {
    let Scene { source, target, people } = scene();
    let export = source.export(target.offer().unwrap()).unwrap();
    let import = target.import().unwrap();
    let first = export.hello().unwrap();
    import.begin(&first).unwrap();
    let server = source.rotate(Turn::Server).unwrap();
    source.enrol_under(server as u16).unwrap();
    people[3].enrol(&source, "two", b"made by the new keys");

    let last = export.next(BEGIN).unwrap().unwrap();
    assert_eq!(last.upto, None);
    let Err(Fault::Key(said)) = import.take(&last) else { panic!("a record of keys that have not come") };
    assert!(said.contains("did not come"), "{said}");
    let serial = || target.keys().unwrap().serial;
    let before = serial();
    import.begin(&first).unwrap();
    assert_eq!(serial(), before, "nothing new in it");
    for hello in [export.hello().unwrap(), export.hello().unwrap(), first] {
        import.begin(&hello).unwrap();
        assert_eq!(serial(), before + 1, "the new keys, once");
    }
    assert_eq!(import.take(&last).unwrap(), export.total().unwrap());
    assert!(target.ring().secrets.arriving.is_none(), "it has ended");
    assert_eq!(people[3].recover(&target, "two").unwrap(), b"made by the new keys");
    for number in [2, 30] {
        assert_eq!(people[number].recover(&target, "one").unwrap(), secret(number), "made by those of before");
    }
    // None of them twice: the target's own, and three of the source.
    let held: Vec<_> = target.keys().unwrap().servers.iter().map(|it| it.public_key).collect();
    let theirs = source.keys().unwrap().servers;
    assert_eq!((held.len(), theirs.len()), (4, 3));
    assert!(theirs.iter().all(|it| held.contains(&it.public_key)));
}

#[test]
fn v8_a_move_that_is_cut_short_behind_its_last_account_ends_all_the_same() {
    let ways: [fn(&Vault); 3] = [
        |target| assert!(target.sweep().is_ok()),
        |target| assert!(matches!(target.import(), Err(Fault::Key(_))), "all have come"),
        |target| assert!(matches!(target.offer(), Err(Fault::Key(_))), "another would lose its accounts to it"),
    ];
    for (way, end) in ways.into_iter().enumerate() {
        let ((source, _), (target, _)) = (vault(), vault());
        let offer = target.offer().unwrap();
        let hello = source.export(offer.clone()).unwrap().hello().unwrap();
        target.import().unwrap().begin(&hello).unwrap();
        let server = target.rotate(Turn::Server).unwrap() as u16;
        target.enrol_under(server).unwrap();
        target.retire_server_keys(server - 1).unwrap();
        target.sweep().unwrap();
        let numbers = || target.keys().unwrap().servers.iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(numbers(), [1, 2, 3], "while accounts may come, keys wait for them");
        assert_eq!(target.offer().unwrap(), offer, "and the offer stands");

        // A kill: the last accounts are in the journal, and the keys of the move still in the store.
        let last = Command::Arrive { offer: offer.hash(), from: AccountId([0; 32]), upto: None, arrivals: [].into() };
        let receipts = target.journal.commit(NOW_S, vec![last]).unwrap();
        assert_eq!(*receipts[0].verdict(), Verdict::Done);
        let kept = || target.keeper().held().unwrap().1;
        assert!(kept().arriving.is_some(), "nothing has ended it yet");
        end(&target);
        assert!(kept().arriving.is_none(), "way {way}: parcels open no more");
        assert_eq!(numbers(), [3], "way {way}: nothing waits any more");
        assert!(matches!(target.offer(), Err(Fault::Key(_))), "way {way}: the offer is spent");
        assert!(matches!(target.import(), Err(Fault::Key(_))));
        let serial = target.keys().unwrap().serial;
        target.sweep().unwrap();
        assert_eq!(target.keys().unwrap().serial, serial, "it ends once");
    }
}

#[test]
fn v10_an_account_is_answered_by_one_vault_and_its_attempts_are_counted_once() {
    // Guessers at both vaults while the accounts move: all of them together have no more guesses than at one.
    let ((source, _), (target, _)) = (vault(), vault());
    let people: Vec<_> = (0..8).map(|number| Person::new(&format!("target {number}"))).collect();
    for person in &people {
        person.enrol(&source, "one", b"secret");
    }
    target.offer().unwrap();
    let (over, evaluated) = (AtomicBool::new(false), people.iter().map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    thread::scope(|scope| {
        for vault in [&source, &target] {
            let (people, over, evaluated) = (&people, &over, &evaluated);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    for (person, count) in people.iter().zip(evaluated) {
                        match person.start(vault, "wrong") {
                            Ok(_) => {
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(Refusal::Moved | Refusal::Busy | Refusal::Exhausted) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
        thread::sleep(std::time::Duration::from_millis(5));
        hand_over(&source, &target);
        // Until nobody can guess any more, and then a while longer.
        while people.iter().any(|person| person.remaining(&target) > 0) {
            thread::sleep(std::time::Duration::from_millis(10));
        }
        thread::sleep(std::time::Duration::from_millis(50));
        over.store(true, Ordering::Relaxed);
    });
    for (person, count) in people.iter().zip(&evaluated) {
        assert_eq!(count.load(Ordering::Relaxed), 10, "guesses at both vaults together");
        assert_eq!(person.remaining(&target), 0);
    }
}

#[test]
fn v11_parcels_open_in_their_place_at_the_vault_they_are_for_and_from_the_one_that_said_hello() {
    let Scene { source, target, .. } = scene();
    let offer = target.offer().unwrap();
    let export = source.export(offer.clone()).unwrap();
    let import = target.import().unwrap();
    let first = export.next(BEGIN).unwrap().unwrap();
    assert!(matches!(import.take(&first), Err(Fault::Key(_))), "nobody has said hello");
    import.begin(&export.hello().unwrap()).unwrap();

    // Another vault that has the offer: anybody may.
    let (forger, _) = vault();
    Person::new("person 1").enrol(&forger, "known to the forger", b"x");
    let forged = forger.export(offer.clone()).unwrap();
    assert!(matches!(import.begin(&forged.hello().unwrap()), Err(Fault::Key(_))), "a second hello");
    let parcel = forged.next(BEGIN).unwrap().unwrap();
    let Err(Fault::Key(said)) = import.take(&parcel) else { panic!("a forged parcel") };
    assert!(said.contains("not from the vault"), "{said}");

    let (other, _) = vault();
    let theirs = other.offer().unwrap();
    assert!(matches!(other.import().unwrap().begin(&export.hello().unwrap()), Err(Fault::Key(_))), "for another vault");
    assert_ne!(theirs.hash(), offer.hash());
    assert!(matches!(other.import().unwrap().take(&first), Err(Fault::Key(_))));
    // Moved to another place: every bit of what stands in clear is bound.
    let bytes = first.encode();
    for bit in (8..bytes.len().min(140) * 8).step_by(3) {
        let mut moved = bytes.clone();
        moved[bit / 8] ^= 1 << (bit % 8);
        let taken = Parcel::decode(&moved).and_then(|parcel| import.take(&parcel));
        assert!(taken.is_err() || taken == Ok(Tally::default()), "bit {bit}: {taken:?}");
    }
    import.take(&first).unwrap();
}

#[test]
fn v12_the_last_parcel_is_taken_only_if_nothing_is_missing() {
    let ((source, _), (target, _)) = (vault(), vault());
    // More accounts than one parcel holds.
    let strangers: Vec<_> = (0..9000u32).map(|number| Person::new(&number.to_string()).0).collect();
    let digests = crate::ledger::Digests {
        current: crate::ledger::KeyedDigest { key_number: 1, digest: [1; 16] },
        previous: None,
    };
    for accounts in strangers.chunks(4000) {
        let charges = accounts.iter().map(|account| Command::Charge { account: *account, digests });
        source.journal.commit(NOW_S, charges.collect()).unwrap();
    }
    let export = source.export(target.offer().unwrap()).unwrap();
    let import = target.import().unwrap();
    import.begin(&export.hello().unwrap()).unwrap();
    let mut parcels = Vec::new();
    let mut kept = BEGIN;
    while let Some(parcel) = export.next(kept).unwrap() {
        kept = parcel.upto;
        parcels.push(parcel);
    }
    assert!(parcels.len() >= 3, "{}", parcels.len());
    import.take(&parcels[0]).unwrap();
    assert!(matches!(import.take(&parcels[2]), Err(Fault::Limit(_))), "one is missing");
    assert_eq!(target.process(&[]).len(), 0);
    let later = Person(*strangers.iter().max().unwrap());
    assert_eq!(later.ask(&target, &Request::Remaining), Ok(Reply::Refused(Refusal::Busy)), "not here yet");
    for parcel in &parcels {
        import.take(parcel).unwrap();
    }
    assert_eq!(later.remaining(&target), 9);
    let mut moving = None;
    target.read(&mut |state| moving = state.moving().copied()).unwrap();
    let Side::Arriving(tally) = moving.unwrap().side else { panic!("the target") };
    assert_eq!(tally.accounts, 9000);
    assert_eq!(tally, export.total().unwrap());
}

#[test]
fn accounts_move_only_where_their_people_would_not_notice() {
    let (source, _) = vault();
    for other in [
        Policy { attempts_max: 9, ..Policy::development() },
        Policy { lifetime_max: 51, ..Policy::development() },
        Policy { context: b"another".to_vec(), ..Policy::development() },
        Policy { client_identity: false, ..Policy::development() },
        Policy { default_preset: 2, ..Policy::development() },
    ] {
        let offer = vault_with(other).0.offer().unwrap();
        assert!(matches!(source.export(offer), Err(Fault::PolicyMismatch(_))));
    }
    assert!(matches!(source.export(source.offer().unwrap()), Err(Fault::Key(_))), "to itself");
    let mut ceremony = vault().0.offer().unwrap();
    ceremony.policy.development = false;
    assert!(matches!(vault().0.export(ceremony), Err(Fault::Policy(_))), "without a statement of both signers");
    assert!(matches!(Offer::decode(&[2, 0]), Err(Fault::Format { found: 2, .. })));
    assert!(matches!(Offer::decode(&[1, 0]), Err(Fault::Damaged(_))));
    let clock = Arc::new(ManualClock::new(NOW_S + 4000));
    let ahead = Vault::in_memory(Policy::development(), clock).unwrap();
    Person::new("ada").enrol(&ahead, "one", b"secret");
    ahead.sweep().unwrap();
    let (behind, _) = vault();
    let export = ahead.export(behind.offer().unwrap()).unwrap();
    let import = behind.import().unwrap();
    import.begin(&export.hello().unwrap()).unwrap();
    assert!(matches!(import.take(&export.next(BEGIN).unwrap().unwrap()), Err(Fault::Clock(_))), "an hour ahead");
}
