//! Whole fleets, on stopped time.

use std::time::Duration;

use super::Fleet;
use crate::error::Fault;
use crate::fleet::MESSAGE_MAX;
use crate::journal::tests::{charge, enrol, id};
use crate::ledger::{Command, Obeyed, Signers, State, Verdict};
use crate::limits::STATEMENT_MAX;

fn encoded(replica: &crate::fleet::Replica) -> Vec<u8> {
    let mut bytes = Vec::new();
    replica.look(&mut |state: &State| bytes = state.encode()).unwrap();
    bytes
}

/// The last row that has left its log.
fn gone(replica: &crate::fleet::Replica) -> Option<u64> {
    replica.log().gone().unwrap().map(|it| it.index)
}

/// A long command that is refused, and in the log all the same.
fn refused() -> Command {
    let nobody = Box::new(Obeyed::first(Signers { auditor: [7; 32], operator: [8; 32] }));
    Command::Signers { from: nobody.clone(), to: nobody, bundle: vec![0; STATEMENT_MAX] }
}

#[tokio::test(start_paused = true)]
async fn fleet_of_three_counts_and_agrees() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    for number in 1..=3 {
        let receipts =
            fleet.replica(number).commit(vec![charge(9, number as u8), charge(number as u8, 1)]).await.unwrap();
        assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal, .. } if u64::from(*ordinal) == number));
        assert!(matches!(receipts[1].verdict(), Verdict::Charged { ordinal: 1, .. }), "leader {leader}");
    }
    for number in 1..=3 {
        fleet.replica(number).confirm().await.unwrap();
        assert_eq!(encoded(&fleet.replica(number)), encoded(&fleet.replica(1)));
    }
}

/// V8: what an epoch's end rests on.
#[tokio::test(start_paused = true)]
async fn fleet_member_forgets_the_rows_of_what_it_has_applied() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    for attempt in 0..30 {
        fleet.replica(leader).commit(vec![enrol(1, attempt, attempt as u8)]).await.unwrap();
    }
    for number in 1..=3 {
        let replica = fleet.replica(number);
        replica.confirm().await.unwrap();
        let (applied, before) = (replica.status().applied_index.unwrap(), encoded(&replica));
        assert!(gone(&replica) < Some(applied), "the control: rows are kept for who is behind");
        replica.forget().await.unwrap();
        assert!(gone(&replica) >= Some(applied));
        assert_eq!(encoded(&replica), before);
        drop(replica);
        fleet.stop(number).await;
        fleet.start(number).await.unwrap();
    }
    let receipts = fleet.replica(1).commit(vec![charge(1, 1)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 1, .. }));
}

#[tokio::test(start_paused = true)]
async fn fleet_checkpoint_after_one_that_was_given_up_lacks_nothing() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    fleet.replica(leader).commit(vec![charge(1, 1), enrol(2, 0, 1)]).await.unwrap();
    let member = if leader == 1 { 2 } else { 1 };
    fleet.replica(member).confirm().await.unwrap();
    // As when it stops: what was cut for the first is nowhere else than in memory.
    fleet.replica(member).machine().close();
    for _ in 0..2 {
        fleet.replica(member).checkpoint().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let sealed = fleet.replica(member).sealed_each(&[(id(2), 1)]);
    assert!(matches!(sealed[0], Ok(Some(_))), "who reads until it has stopped finds all: {sealed:?}");
    fleet.stop(member).await;
    fleet.start(member).await.unwrap();
    fleet.replica(member).confirm().await.unwrap();
    assert_eq!(encoded(&fleet.replica(member)), encoded(&fleet.replica(leader)));
}

/// Rows that are yet to be applied go on calling for a checkpoint.
#[tokio::test(start_paused = true)]
async fn fleet_checkpoint_that_takes_nothing_leaves_the_size_of_the_log() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    let member = if leader == 1 { 2 } else { 1 };
    fleet.replica(leader).commit(vec![charge(1, 1)]).await.unwrap();
    fleet.replica(member).confirm().await.unwrap();
    fleet.replica(member).checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fleet.replica(leader).commit(vec![charge(1, 2)]).await.unwrap();
    fleet.replica(member).confirm().await.unwrap();
    for number in 1..=3 {
        fleet.stop(number).await;
    }
    fleet.start(member).await.unwrap();
    let replica = fleet.replica(member);
    let before = replica.log().bytes().unwrap();
    assert_ne!(before, 0);
    replica.checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = replica.status();
    assert_eq!(status.applied_index, status.checkpoint_index, "the control: alone it applies nothing");
    assert!(status.applied_index < status.last_index, "the control: it has rows to apply");
    assert_eq!(replica.log().bytes(), Ok(before));
}

/// Whoever proposes waits, at whichever member, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn fleet_log_grows_no_further_than_checkpoints_are_written() {
    const MOST: u64 = 4 * STATEMENT_MAX as u64;
    const ROWS: u64 = 40;
    let mut fleet = Fleet::of(3).await;
    fleet.checkpoint_bytes = MOST;
    for number in 1..=3 {
        fleet.stop(number).await;
        fleet.start(number).await.unwrap();
    }
    let leader = fleet.leader(None).await;
    let begun = tokio::time::Instant::now();
    let floods: Vec<_> = (1..=3)
        .map(|number| {
            let (replica, leading) = (fleet.replica(number), fleet.replica(leader));
            tokio::spawn(async move {
                let mut largest = 0;
                for ordinal in 1..=ROWS {
                    replica.commit(vec![charge(number as u8, ordinal as u8), refused()]).await.unwrap();
                    largest = largest.max(leading.log().bytes().unwrap());
                }
                largest
            })
        })
        .collect();
    let mut largest = 0;
    for flood in floods {
        largest = largest.max(flood.await.unwrap());
    }
    let rows = 3 * ROWS * STATEMENT_MAX as u64;
    assert!(rows > 6 * 4 * MOST, "the control: unchecked, the log would be larger");
    // Each member may have a row on its way that was admitted before.
    assert!(largest < 4 * MOST + 4 * STATEMENT_MAX as u64, "the log grew to {largest} bytes");
    assert!(largest >= MOST, "the control: it came to be checked, {largest}");
    println!("{rows} bytes in {:?}, the log at most {largest} bytes", begun.elapsed());
    assert_eq!(fleet.leader(None).await, leader, "it led all the time");
}

/// What is told of rows that are gone is never told of rows that are there (V8).
#[tokio::test(start_paused = true)]
async fn fleet_member_that_stops_while_it_forgets_does_not_say_that_it_has() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    fleet.replica(leader).commit(vec![charge(1, 1)]).await.unwrap();
    let replica = fleet.replica(leader);
    let applied = replica.status().applied_index;
    let (forgotten, ()) = tokio::join!(replica.forget(), replica.stop());
    assert!(gone(&replica) < applied, "the control: it stopped before");
    assert_eq!(forgotten, Err(Fault::Latched));
}

/// Whoever stops waiting for the end has asked for it all the same.
#[tokio::test(start_paused = true)]
async fn fleet_member_stops_although_nobody_waits_for_it() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    fleet.replica(leader).commit(vec![charge(1, 1)]).await.unwrap();
    let replica = fleet.net.replicas.lock().unwrap().remove(&leader).unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, replica.stop()).await.is_err(), "the control: it takes a moment");
    replica.stop().await;
    assert_eq!(replica.handles(), 1, "nothing of it runs");
    drop(replica);
    fleet.start(leader).await.unwrap();
    fleet.replica(leader).confirm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fleet_goes_on_without_its_leader_and_takes_it_back() {
    let fleet = Fleet::of(3).await;
    let first = fleet.leader(None).await;
    let other = if first == 1 { 2 } else { 1 };
    fleet.replica(other).commit(vec![charge(1, 1)]).await.unwrap();
    fleet.stop(first).await;
    let receipts = fleet.replica(other).commit(vec![charge(1, 2)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 2, .. }));
    fleet.start(first).await.unwrap();
    fleet.replica(first).confirm().await.unwrap();
    assert_eq!(encoded(&fleet.replica(first)), encoded(&fleet.replica(other)));
}

/// Stops a leader and starts it before anybody misses it, where it reaches only the member that lacks its last row. Whether
/// it confirms in the term that it led, and what it says has been spent of an account once it has.
async fn restarted_at_once() -> (bool, u32) {
    let fleet = Fleet::of(3).await;
    let first = fleet.leader(None).await;
    let [has, lacks] = [first % 3 + 1, (first + 1) % 3 + 1];
    fleet.cut_off(lacks);
    // More than one message holds: what it lacks comes to it piece by piece.
    for _ in 0..4 {
        fleet.replica(first).commit(vec![refused(); 200]).await.unwrap();
    }
    fleet.replica(first).commit(vec![charge(1, 1)]).await.unwrap();
    let term = fleet.replica(first).status().vote.term;
    fleet.stop(first).await;
    fleet.heal();
    fleet.cut_off(has);
    fleet.start(first).await.unwrap();
    let replica = fleet.replica(first);
    replica.confirm().await.unwrap();
    let unelected = replica.status().vote.term == term;
    let mut spent = 0;
    replica.look(&mut |state| spent = state.account(&id(1)).map_or(0, |it| it.spent())).unwrap();
    (unelected, spent)
}

#[tokio::test(start_paused = true)]
async fn f8_fleet_leader_that_starts_again_confirms_nothing_before_it_is_elected() {
    assert_eq!(restarted_at_once().await, (false, 1));
}

/// The control: who leads on confirms what it had applied before the charge.
#[cfg(feature = "planted")]
#[tokio::test(start_paused = true)]
async fn f8_fleet_leader_that_leads_on_is_seen() {
    crate::fleet::plant(Some(crate::fleet::Mistake::LeadsAtOnce));
    let seen = restarted_at_once().await;
    crate::fleet::plant(None);
    assert_eq!(seen, (true, 0));
}

#[tokio::test(start_paused = true)]
async fn fleet_member_that_is_cut_off_settles_nothing() {
    let fleet = Fleet::of(3).await;
    let first = fleet.leader(None).await;
    fleet.cut_off(first);
    let lonely = fleet.replica(first);
    assert!(matches!(lonely.commit(vec![charge(1, 1)]).await, Err(Fault::Unsettled(_))));
    assert!(matches!(lonely.confirm().await, Err(Fault::Unsettled(_))));
    let other = if first == 1 { 2 } else { 1 };
    let receipts = fleet.replica(other).commit(vec![charge(1, 2)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 1, .. }));
    fleet.heal();
    lonely.confirm().await.unwrap();
    assert_eq!(encoded(&lonely), encoded(&fleet.replica(other)), "what it had alone is gone");
}

#[tokio::test(start_paused = true)]
async fn fleet_is_restarted_member_by_member_while_it_answers() {
    let fleet = Fleet::of(3).await;
    let mut ke1 = 0;
    for round in 0..6 {
        // Whoever leads is drained first, so that nobody waits for it.
        let leaving = if round % 2 == 0 { fleet.leader(None).await } else { 1 + round / 2 };
        fleet.replica(leaving).drain();
        for number in 1..=3 {
            ke1 += 1;
            let receipts = fleet.replica(number).commit(vec![charge(round as u8, ke1)]).await.unwrap();
            assert!(matches!(receipts[0].verdict(), Verdict::Charged { .. }));
        }
        assert_ne!(fleet.leader(None).await, leaving);
        fleet.stop(leaving).await;
        fleet.start(leaving).await.unwrap();
        fleet.replica(leaving).confirm().await.unwrap();
    }
}

/// More than one message holds.
#[tokio::test(start_paused = true)]
async fn fleet_member_that_is_far_behind_gets_rows_in_messages_that_are_bounded() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    let behind = if leader == 1 { 2 } else { 1 };
    fleet.stop(behind).await;
    for _ in 0..4 {
        fleet.replica(leader).commit(vec![refused(); 200]).await.unwrap();
    }
    const { assert!(4 * 200 * STATEMENT_MAX > MESSAGE_MAX) };
    fleet.start(behind).await.unwrap();
    fleet.replica(behind).confirm().await.unwrap();
    assert_eq!(encoded(&fleet.replica(behind)), encoded(&fleet.replica(leader)));
}

#[tokio::test(start_paused = true)]
async fn fleet_carries_a_checkpoint_to_who_is_far_behind() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    let (behind, other) = match leader {
        1 => (2, 3),
        2 => (1, 3),
        _ => (1, 2),
    };
    fleet.stop(behind).await;
    for round in 0..1200u32 {
        let person = (round % 200) as u8;
        let commands = vec![enrol(person, round / 200, (round / 200) as u8), charge(person, round as u8)];
        fleet.replica(leader).commit(commands).await.unwrap();
    }
    for number in [leader, other] {
        fleet.replica(number).confirm().await.unwrap();
        fleet.replica(number).checkpoint().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    fleet.start(behind).await.unwrap();
    fleet.replica(behind).confirm().await.unwrap();
    assert_eq!(encoded(&fleet.replica(behind)), encoded(&fleet.replica(leader)));
    let asked: Vec<_> = (0..200).map(|person| (id(person), 6)).collect();
    let sealed = fleet.replica(behind).sealed_each(&asked);
    assert_eq!(sealed, fleet.replica(leader).sealed_each(&asked));
    assert!(sealed.iter().all(|it| matches!(it, Ok(Some(_)))));
    // All of them open again where they are, and go on.
    for number in 1..=3 {
        fleet.stop(number).await;
    }
    for number in 1..=3 {
        fleet.start(number).await.unwrap();
    }
    let receipts = fleet.replica(behind).commit(vec![charge(201, 1)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 1, .. }));
}

/// The last leader is gone, and of the two that are left the one that has its rows was told to lead no more.
#[tokio::test(start_paused = true)]
async fn fleet_drained_member_brings_what_it_alone_has() {
    let fleet = Fleet::of(3).await;
    let first = fleet.leader(None).await;
    let others: Vec<_> = (1..=3).filter(|it| *it != first).collect();
    let (drained, behind) = (others[0], others[1]);
    fleet.replica(drained).drain();
    fleet.cut_off(behind);
    let receipts = fleet.replica(drained).commit(vec![charge(1, 1)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 1, .. }));
    fleet.stop(first).await;
    fleet.heal();
    for _ in 0..10_000 {
        if [drained, behind].iter().all(|it| fleet.replica(*it).leader() == Some(behind)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fleet.replica(behind).leader(), Some(behind), "it leads no longer than it must");
    let receipts = fleet.replica(behind).commit(vec![charge(1, 2)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal: 2, .. }));
}
