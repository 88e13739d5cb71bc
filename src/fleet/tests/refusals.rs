//! What a replica turns down, whoever says it.

use openraft::EntryPayload;

use super::{Fleet, head};
use crate::error::Fault;
use crate::fleet::consensus::{Entry, Origin, Proposal, Vote, to_raft, vote_for};
use crate::fleet::log::Place;
use crate::fleet::message::{Refused, Reply, Request};
use crate::fleet::version::NEWEST;
use crate::journal::tests::charge;
use crate::journal::{Leader, LogId};

/// Member 1, whose fellows are gone after they have counted together, and the end of its log.
async fn alone() -> (Fleet, Place) {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    fleet.replica(1).commit(vec![charge(1, 1)]).await.unwrap();
    for other in [2, 3] {
        fleet.stop(other).await;
    }
    let place = fleet.replica(1).end_of_log().unwrap();
    (fleet, place)
}

/// What a member answers to somebody.
async fn asked(fleet: &Fleet, member: u64, from: u64, request: &Request) -> Reply {
    let reply = fleet.replica(member).handle(from, &request.encode(head(1_000))).await;
    Reply::decode(&reply, NEWEST).unwrap().what
}

fn vote(member: u64) -> Vote {
    vote_for(Leader { term: 50, member }, true)
}

fn append(vote: Vote, previous: Option<Place>, commit: Option<LogId>, entries: Vec<Entry>) -> Request {
    Request::Append { vote, previous, commit, entries }
}

fn dated(time_s: u64, index: u64) -> Entry {
    let origin = Origin { member: 3, life: 1, sequence: index };
    let proposal = Proposal { origin, time_s, version: 1, count: 0, content: [].as_slice().into() };
    let id = LogId { leader: Leader { term: 50, member: 3 }, index };
    Entry { log_id: to_raft(id), payload: EntryPayload::Normal(proposal) }
}

#[tokio::test(start_paused = true)]
async fn f9_fleet_message_speaks_for_its_sender() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let origin = Origin { member: 2, life: 9, sequence: 1 };
    for request in [
        append(vote(2), None, None, Vec::new()),
        Request::Vote { vote: vote(2), last: None },
        Request::Propose { origin, version: 1, count: 0, content: [].as_slice().into() },
        Request::CheckpointBegins { vote: vote(2), head: Vec::new() },
        Request::CheckpointPart { vote: vote(2), number: 0, part: Vec::new() },
        Request::CheckpointEnds { vote: vote(2) },
    ] {
        assert_eq!(asked(&fleet, 1, 3, &request).await, Reply::Refused(Refused::Foreign), "3 speaks for 2");
        assert_ne!(asked(&fleet, 1, 2, &request).await, Reply::Refused(Refused::Foreign), "2 speaks for itself");
    }
    for (said, why) in
        [(&b"what is this"[..], Refused::Version), (&[&[NEWEST], &b"what is this"[..]].concat(), Refused::Malformed)]
    {
        let reply = fleet.replica(1).handle(2, said).await;
        assert_eq!(Reply::decode(&reply, NEWEST).unwrap().what, Reply::Refused(why));
    }
    fleet.leader(None).await;
    fleet.replica(1).commit(vec![charge(1, 1)]).await.unwrap();
}

/// openraft takes a leader's word for the order of its rows, and there is no term behind the last.
#[tokio::test(start_paused = true)]
async fn fleet_takes_no_rows_out_of_order_and_no_last_term() {
    let (fleet, place) = alone().await;
    let next = place.id.index + 1;
    let later = |term, index| {
        let id = LogId { leader: Leader { term, member: 3 }, index };
        Entry { log_id: to_raft(id), ..dated(1_000, index) }
    };
    for (what, entries) in [
        ("a gap", vec![dated(1_000, next + 1)]),
        ("a row twice", vec![dated(1_000, next), dated(1_000, next)]),
        ("a gap between", vec![dated(1_000, next), dated(1_000, next + 2)]),
        ("an earlier leader behind a later", vec![later(50, next), later(49, next + 1)]),
        ("a leader that is yet to be", vec![later(51, next)]),
        ("the last index", vec![dated(1_000, u64::MAX)]),
    ] {
        let reply = asked(&fleet, 1, 3, &append(vote(3), Some(place), None, entries)).await;
        assert_eq!(reply, Reply::Refused(Refused::Malformed), "{what}");
        assert_eq!(fleet.replica(1).end_of_log(), Some(place), "{what}");
    }
    let last = |term| vote_for(Leader { term, member: 3 }, false);
    let stands = |term| Request::Vote { vote: last(term), last: Some(place.id) };
    assert_eq!(asked(&fleet, 1, 3, &stands(u64::MAX)).await, Reply::Refused(Refused::Malformed));
    let heard = asked(&fleet, 1, 3, &append(vote(3), Some(place), None, vec![dated(1_000, next)])).await;
    assert!(matches!(heard, Reply::Appended { .. }), "{heard:?}");
    assert!(Reply::decode(&Reply::HigherVote(last(u64::MAX)).encode(head(0)), NEWEST).is_err());
}

#[tokio::test(start_paused = true)]
async fn f7_fleet_row_dated_far_ahead_is_not_acknowledged() {
    let (fleet, place) = alone().await;
    let next = place.id.index + 1;
    let ahead = |commit| append(vote(3), Some(place), commit, vec![dated(1_301, next)]);
    assert_eq!(asked(&fleet, 1, 3, &ahead(None)).await, Reply::Refused(Refused::Skew));
    assert_eq!(fleet.replica(1).end_of_log(), Some(place), "nothing was written");
    let committed = Some(LogId { leader: Leader { term: 50, member: 3 }, index: next });
    assert!(
        matches!(asked(&fleet, 1, 3, &ahead(committed)).await, Reply::Appended { .. }),
        "a majority has it already"
    );
    let place = fleet.replica(1).end_of_log().unwrap();
    let near = append(vote(3), Some(place), None, vec![dated(1_300, next + 1)]);
    assert!(matches!(asked(&fleet, 1, 3, &near).await, Reply::Appended { .. }));
}

#[tokio::test(start_paused = true)]
async fn f5_fleet_with_two_histories_stops() {
    let (fleet, place) = alone().await;
    let other = Place { chain: [1; 32], ..place };
    assert_eq!(
        asked(&fleet, 1, 3, &append(vote(3), Some(other), None, Vec::new())).await,
        Reply::Refused(Refused::Fork)
    );
    assert_eq!(fleet.replica(1).look(&mut |_| {}), Err(Fault::Latched));
    assert_eq!(fleet.replica(1).commit(vec![charge(1, 2)]).await.err(), Some(Fault::Latched));
    assert!(!fleet.replica(1).status().running);
    // Opened again it has what it had, and goes on with the others.
    fleet.stop(1).await;
    for number in 1..=3 {
        fleet.start(number).await.unwrap();
    }
    fleet.replica(1).commit(vec![charge(1, 2)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f6_fleet_checkpoint_that_is_not_what_its_root_says_is_not_taken() {
    let fleet = Fleet::of(3).await;
    let leader = fleet.leader(None).await;
    for person in 0..50 {
        fleet.replica(leader).commit(vec![charge(person, 1)]).await.unwrap();
    }
    fleet.replica(leader).checkpoint().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let (head, parts) = fleet.replica(leader).machine().carried().unwrap();
    let member = if leader == 1 { 2 } else { 1 };
    // Somebody else leads from here on, and sends what it has been given.
    let sender = 6 - leader - member;
    for other in [leader, sender] {
        fleet.stop(other).await;
    }
    let send = async |head: &[u8], parts: &[Vec<u8>]| {
        let vote = vote(sender);
        let begun = asked(&fleet, member, sender, &Request::CheckpointBegins { vote, head: head.to_vec() }).await;
        if begun != Reply::Continue {
            return begun;
        }
        for (number, part) in (0..).zip(parts) {
            let part = Request::CheckpointPart { vote, number, part: part.clone() };
            let taken = asked(&fleet, member, sender, &part).await;
            if taken != Reply::Continue {
                return taken;
            }
        }
        asked(&fleet, member, sender, &Request::CheckpointEnds { vote }).await
    };
    let flip = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let refused = Reply::Refused(Refused::Malformed);
    assert_eq!(send(&flip(&head, 40), &parts).await, refused, "another head");
    for at in [5, 40, parts[0].len() - 1] {
        let others = [&[flip(&parts[0], at)], &parts[1..]].concat();
        assert_eq!(send(&head, &others).await, refused, "byte {at} of an account");
    }
    assert_eq!(send(&head, &parts[1..]).await, refused, "an account is missing");
    assert_eq!(send(&head, &[&parts[..1], &parts[..1], &parts[1..]].concat()).await, refused, "an account twice");
    assert!(matches!(send(&head, &parts).await, Reply::Installed(_)));
    assert!(fleet.replica(member).status().running);
}
