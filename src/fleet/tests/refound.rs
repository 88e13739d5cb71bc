//! A fleet that goes on from what one of its members has left.

use std::sync::Arc;
use std::time::Duration;

use redb::StorageBackend;

use super::{FLEET, Fleet, Kept, Place, addresses, key, named, policy, signed, signer, signers};
use crate::error::{Fault, Refusal};
use crate::fleet::replica::{Survey, refound_on, survey_on};
use crate::journal::tests::{charge, enrol, id};
use crate::ledger::{Command, Verdict};
use crate::transparency::{Note, Order, SigningKey, Statement};

/// The bytes of a store, in another.
fn copy(kept: &Kept) -> Kept {
    let mut bytes = vec![0; kept.len().unwrap() as usize];
    kept.read(0, &mut bytes).unwrap();
    let copy = Kept::default();
    copy.set_len(bytes.len() as u64).unwrap();
    copy.write(0, &bytes).unwrap();
    copy
}

/// What is left of a fleet of three whose two others are lost, and has charged `id(1)` so often.
async fn left(charges: u8) -> (Fleet, Place, Survey) {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let one = fleet.replica(1);
    one.commit(vec![enrol(1, 0, 1), enrol(2, 0, 2)]).await.unwrap();
    one.checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for ke1 in 1..=charges {
        one.commit(vec![charge(1, ke1)]).await.unwrap();
    }
    drop(one);
    for number in 1..=3 {
        fleet.stop(number).await;
    }
    let place = &fleet.places[&1];
    let backup = Place { log: copy(&place.log), checkpoint: copy(&place.checkpoint), ..Place::default() };
    let seen = survey_on((copy(&backup.log), copy(&backup.checkpoint)), 1, &policy(), &key(), None).unwrap();
    (fleet, backup, seen)
}

fn order(seen: &Survey, members: impl IntoIterator<Item = u64>) -> Order {
    let Survey { backup, predecessor, restores, .. } = *seen;
    Order::Refound { number: restores + 1, backup, predecessor, members: named(&addresses(members)) }
}

fn by(order: Order, keys: &[SigningKey]) -> Note {
    signed(Statement { fleet: FLEET, order }.note().unwrap(), keys)
}

/// Begins a member's files from a backup of member 1.
fn begin(backup: &Place, number: u64, statement: &Note) -> Result<Place, Fault> {
    let place = Place { checkpoint: copy(&backup.checkpoint), ..Place::default() };
    let files = (copy(&backup.log), place.checkpoint.clone());
    let log = place.log.clone();
    refound_on(files, 1, &policy(), &key(), &FLEET, number, statement, || Ok(log)).map(|()| place)
}

#[tokio::test(start_paused = true)]
async fn f13_fleet_goes_on_from_what_one_member_has_left() {
    let (mut fleet, backup, seen) = left(3).await;
    assert_eq!((seen.restores, seen.accounts), (0, 2));
    fleet.places.clear();
    let note = by(order(&seen, 4..=6), &signers());
    for number in 4..=6 {
        fleet.places.insert(number, begin(&backup, number, &note).unwrap());
        fleet.start(number).await.unwrap();
    }
    fleet.leader(None).await;
    fleet.settled_on(&[4, 5, 6]).await;
    let mut ordinals = Vec::new();
    for (account, number, ke1) in [(1, 4, 9), (1, 5, 10), (2, 6, 9), (2, 4, 10)] {
        ordinals.push(*fleet.replica(number).commit(vec![charge(account, ke1)]).await.unwrap()[0].verdict());
    }
    let attempts = policy().attempts_max;
    for (account, first) in [(0, attempts), (2, attempts)] {
        assert!(
            matches!(ordinals[account], Verdict::Charged { ordinal, remaining: 0, live: true, .. } if ordinal == first),
            "one attempt is left of {attempts}: {ordinals:?}"
        );
        assert_eq!(ordinals[account + 1], Verdict::Refused(Refusal::Exhausted));
    }
    let mut state = Vec::new();
    fleet.replica(4).look(&mut |it| state = vec![it.restores(), it.account(&id(1)).unwrap().spent()]).unwrap();
    assert_eq!(state, [1, attempts]);
    // They are members as any: one stops and comes back, another joins by the next statement.
    fleet.stop(5).await;
    fleet.start(5).await.unwrap();
    let next = fleet.next_statement(4, &addresses(4..=7), &signers());
    fleet.join(7, &next).await.unwrap();
    assert_eq!(fleet.obey(4, &next).await, Ok(Verdict::Done));
    fleet.settled_on(&[4, 5, 6, 7]).await;
    // Whoever was a member before is none, and an anchor begins but once.
    let back = fleet.next_statement(4, &addresses(3..=6), &signers());
    assert!(matches!(fleet.obey(4, &back).await, Err(Fault::Statement(_))), "3 was one before");
    fleet.stop(6).await;
    let again = begin(&backup, 6, &note).unwrap();
    let used = Arc::clone(&fleet.places[&6].anchor);
    fleet.places.insert(6, Place { anchor: used, ..again });
    assert!(matches!(fleet.start(6).await, Err(Fault::Anchor(_))));
}

#[tokio::test(start_paused = true)]
async fn f13_fleet_goes_on_from_nothing_that_both_have_not_named() {
    let (fleet, backup, seen) = left(2).await;
    let good = by(order(&seen, 4..=6), &signers());
    assert!(begin(&backup, 4, &good).is_ok());
    let [auditor, operator] = signers();
    let stranger = signer("operator.example", 9);
    let other_row = Survey { backup: [5; 32], ..seen };
    for (what, note) in [
        ("signed by one", by(order(&seen, 4..=6), &[operator])),
        ("by a stranger", by(order(&seen, 4..=6), &[auditor, stranger])),
        ("another backup", by(order(&other_row, 4..=6), &signers())),
        ("a number of before", by(order(&seen, 3..=5), &signers())),
        ("nobody of this number", by(order(&seen, 5..=7), &signers())),
        ("another fleet", signed(Statement { fleet: [1; 32], order: order(&seen, 4..=6) }.note().unwrap(), &signers())),
        ("no such order", fleet_statement(&seen)),
    ] {
        let refused = begin(&backup, 4, &note).err();
        assert!(matches!(refused, Some(Fault::Key(_))), "{what}: {refused:?}");
    }
    for seen in [Survey { restores: 1, ..seen }, Survey { predecessor: [3; 32], ..seen }] {
        let refused = begin(&backup, 4, &by(order(&seen, 4..=6), &signers())).err();
        assert!(matches!(refused, Some(Fault::Statement(_))), "{refused:?}");
    }
    // A backup that was altered is none, or the bytes say nothing.
    let mut refused = 0;
    for at in (0..backup.log.len().unwrap()).step_by(511) {
        let log = copy(&backup.log);
        let mut byte = [0];
        log.read(at, &mut byte).unwrap();
        log.write(at, &[byte[0] ^ 1]).unwrap();
        match survey_on((log, copy(&backup.checkpoint)), 1, &policy(), &key(), None) {
            Ok(found) => assert_eq!(found, seen, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 3, "{refused}");
    // And a fleet that runs does not take such a statement.
    fleet.start(1).await.unwrap();
    fleet.start(2).await.unwrap();
    fleet.leader(None).await;
    let Order::Refound { predecessor, .. } = order(&seen, 4..=6) else { unreachable!() };
    let command = Command::Members { predecessor, statement: good.write() };
    assert!(matches!(fleet.replica(1).commit(vec![command]).await, Err(Fault::Statement(_))));
}

/// A statement that names members to a fleet that runs.
fn fleet_statement(seen: &Survey) -> Note {
    signed(super::statement(FLEET, seen.predecessor, &addresses(4..=6)), &signers())
}
