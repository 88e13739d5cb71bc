//! Members that are brought to a newer build, one after the other.

use std::time::Duration;

use super::{Fleet, addresses, signers};
use crate::error::Fault;
use crate::fleet::version::{NEWEST, NEXT};
use crate::journal::tests::charge;
use crate::ledger::Verdict;

/// Brings a member to the build that reads this, and waits until it is there again.
async fn restart(fleet: &mut Fleet, number: u64, newest: u8) {
    fleet.stop(number).await;
    fleet.newest = newest;
    fleet.start(number).await.unwrap();
    fleet.replica(number).confirm().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
}

fn spoken(fleet: &Fleet) -> Vec<u8> {
    fleet.net.replicas.lock().unwrap().values().map(|it| it.status().version).collect()
}

async fn counts(fleet: &Fleet, member: u64, ke1: u8) {
    let receipts = fleet.replica(member).commit(vec![charge(1, ke1)]).await.unwrap();
    assert!(matches!(receipts[0].verdict(), Verdict::Charged { ordinal, .. } if *ordinal == u32::from(ke1)));
}

#[tokio::test(start_paused = true)]
async fn f12_fleet_turns_to_a_newer_version_once_every_member_reads_it() {
    let mut fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    counts(&fleet, 1, 1).await;
    for number in [1, 2] {
        restart(&mut fleet, number, NEXT).await;
        counts(&fleet, number, 2 * number as u8).await;
        counts(&fleet, 3, 2 * number as u8 + 1).await;
        assert_eq!(spoken(&fleet), [NEWEST; 3], "one does not read it");
    }
    restart(&mut fleet, 2, NEWEST).await;
    restart(&mut fleet, 3, NEXT).await;
    assert_eq!(spoken(&fleet), [NEWEST; 3], "one has gone back");
    restart(&mut fleet, 2, NEXT).await;
    assert_eq!(spoken(&fleet), [NEXT; 3]);
    counts(&fleet, 1, 6).await;
    restart(&mut fleet, 1, NEXT).await;
    counts(&fleet, 1, 7).await;
    assert_eq!(spoken(&fleet), [NEXT; 3], "its log says so");
}

#[tokio::test(start_paused = true)]
async fn f12_fleet_member_that_reads_too_little_does_not_go_on() {
    let mut fleet = Fleet::of(3).await;
    fleet.newest = NEXT;
    for number in 1..=3 {
        restart(&mut fleet, number, NEXT).await;
    }
    fleet.newest = NEWEST;
    // With rows that it cannot read it does not open; the others count on.
    fleet.stop(3).await;
    let format = |what| Err(Fault::Format { what, found: NEXT, reads: NEWEST });
    assert_eq!(fleet.start(3).await, format("a batch of the fleet's log"));
    counts(&fleet, 1, 1).await;
    // Nor does it with such a checkpoint.
    fleet.replica(2).checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fleet.stop(2).await;
    assert_eq!(fleet.start(2).await, format("the fleet's checkpoint"));
    fleet.newest = NEXT;
    fleet.start(2).await.unwrap();
    fleet.start(3).await.unwrap();
    fleet.replica(3).confirm().await.unwrap();
    // And nobody joins who reads too little.
    let statement = fleet.next_statement(1, &addresses(1..=4), &signers());
    fleet.newest = NEWEST;
    fleet.join(4, &statement).await.unwrap();
    fleet.obey(1, &statement).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!fleet.replica(1).status().members.contains_key(&4));
    fleet.stop(4).await;
    fleet.newest = NEXT;
    fleet.start(4).await.unwrap();
    fleet.settled_on(&[1, 2, 3, 4]).await;
    assert_eq!(spoken(&fleet), [NEXT; 4]);
}
