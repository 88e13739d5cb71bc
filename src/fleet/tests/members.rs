//! Who becomes a member, and who does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::EntryPayload;

use super::{FLEET, Fleet, Place, address, addresses, founding, head, key, policy, signed, signer, signers, statement};
use crate::error::{Fault, Refusal};
use crate::fleet::consensus::{Entry, Membership, Origin, Proposal, to_raft, vote_for};
use crate::fleet::link::Address;
use crate::fleet::log;
use crate::fleet::message::{Refused, Reply, Request};
use crate::fleet::replica::{found_on, join_on};
use crate::fleet::version::NEWEST;
use crate::journal::row::Draft;
use crate::journal::tests::charge;
use crate::journal::{Leader, LogId};
use crate::ledger::{Command, Obeyed, Policy, Signers, Verdict};
use crate::secret::Secret;
use crate::transparency::{Bundle, Note, Order, SigningKey, Statement};

/// The ordinal of a charge at a member.
async fn charged(fleet: &Fleet, member: u64, ke1: u8) -> u32 {
    let receipts = fleet.replica(member).commit(vec![charge(1, ke1)]).await.unwrap();
    match receipts[0].verdict() {
        Verdict::Charged { ordinal, .. } => *ordinal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn fleet_grows_and_shrinks_by_statement() {
    let mut fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    assert_eq!(charged(&fleet, 1, 1).await, 1);
    let five = fleet.next_statement(1, &addresses(1..=5), &signers());
    assert_eq!(fleet.obey(2, &five).await, Ok(Verdict::Done));
    assert!(matches!(fleet.obey(2, &five).await, Err(Fault::Statement(_)) | Ok(Verdict::Refused(_))), "said again");
    // They learn at once, and vote once they have caught up.
    fleet.join(4, &five).await.unwrap();
    fleet.join(5, &five).await.unwrap();
    fleet.settled_on(&[1, 2, 3, 4, 5]).await;
    assert_eq!(charged(&fleet, 5, 2).await, 2, "who joined answers");

    // Any two may go now.
    let leader = fleet.leader(None).await;
    let other = if leader == 4 { 5 } else { 4 };
    fleet.stop(leader).await;
    fleet.stop(other).await;
    let left: Vec<_> = (1..=5).filter(|it| ![leader, other].contains(it)).collect();
    assert_eq!(charged(&fleet, left[0], 3).await, 3);
    for number in [leader, other] {
        fleet.start(number).await.unwrap();
    }

    // The leader leaves with another: who stays goes on, and nobody hears those who left.
    let leader = fleet.leader(None).await;
    let leaving = [leader, if leader == 2 { 3 } else { 2 }];
    let stays: Vec<_> = (1..=5).filter(|it| !leaving.contains(it)).collect();
    let three = fleet.next_statement(stays[0], &addresses(stays.clone()), &signers());
    assert_eq!(fleet.obey(stays[0], &three).await, Ok(Verdict::Done));
    fleet.settled_on(&stays).await;
    assert_eq!(charged(&fleet, stays[0], 4).await, 4);
    assert!(matches!(fleet.replica(leaving[1]).commit(vec![charge(1, 5)]).await, Err(Fault::Unsettled(_))));
    let reply = fleet.replica(stays[0]).handle(leaving[1], &Request::Confirm.encode(head(1_000))).await;
    assert_eq!(Reply::decode(&reply, NEWEST).unwrap().what, Reply::Refused(Refused::Foreign));
    fleet.stop(leaving[0]).await;
    fleet.stop(leaving[1]).await;
    assert_eq!(charged(&fleet, stays[1], 6).await, 5);
}

#[tokio::test(start_paused = true)]
async fn fleet_member_whose_disk_is_lost_is_rebuilt_under_another_number() {
    let mut fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    for ke1 in 1..=5 {
        assert_eq!(charged(&fleet, 1, ke1).await, u32::from(ke1));
    }
    fleet.stop(3).await;
    let place = fleet.places.get_mut(&3).unwrap();
    (place.log, place.checkpoint) = Default::default();
    found_on(place.log.clone(), &policy(), &key(), &FLEET, &founding(FLEET, 3)).unwrap();
    assert!(matches!(fleet.start(3).await, Err(Fault::Anchor(_))), "under its own number it has forgotten (F3)");
    // Checkpoints travel to who joins late.
    fleet.replica(1).checkpoint().await.unwrap();
    fleet.replica(2).checkpoint().await.unwrap();
    let next = fleet.next_statement(1, &addresses([1, 2, 4]), &signers());
    assert_eq!(fleet.obey(1, &next).await, Ok(Verdict::Done));
    fleet.join(4, &next).await.unwrap();
    fleet.settled_on(&[1, 2, 4]).await;
    fleet.stop(1).await;
    assert_eq!(charged(&fleet, 4, 6).await, 6);
    // The number is used up.
    let again = fleet.next_statement(2, &addresses([1, 2, 3, 4]), &signers());
    assert!(matches!(fleet.obey(2, &again).await, Err(Fault::Statement(_))));
}

/// Its rows would have other chains: to a leader that sent it some, a fork, at which both stop.
#[tokio::test(start_paused = true)]
async fn fleet_does_not_let_in_who_has_another_key() {
    let mut fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let four = fleet.next_statement(1, &addresses(1..=4), &signers());
    assert_eq!(fleet.obey(1, &four).await, Ok(Verdict::Done));
    let (place, other) = (Place::default(), Secret::new([8; 32]));
    join_on(place.log.clone(), &policy(), &other, &FLEET, 4, &four, policy().signers.as_ref()).unwrap();
    fleet.places.insert(4, place);
    fleet.start_with(4, other).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(charged(&fleet, 1, 1).await, 1, "the others go on");
    assert!(fleet.replica(1).status().members.keys().eq(&[1, 2, 3]));
    // With the right key it is let in.
    fleet.stop(4).await;
    fleet.join(4, &four).await.unwrap();
    fleet.settled_on(&[1, 2, 3, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn fleet_member_moves_to_another_name_and_keeps_its_key() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let mut members = addresses(1..=3);
    members.get_mut(&2).unwrap().name = "elsewhere".to_owned();
    let moved = fleet.next_statement(1, &members, &signers());
    assert_eq!(fleet.obey(1, &moved).await, Ok(Verdict::Done));
    for _ in 0..1000 {
        if fleet.replica(3).status().members[&2] == "elsewhere" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fleet.replica(3).status().members[&2], "elsewhere");
    members.get_mut(&2).unwrap().link_key = [77; 32];
    let other = fleet.next_statement(1, &members, &signers());
    assert!(matches!(fleet.obey(1, &other).await, Err(Fault::Statement(_))), "one number, one key");
}

#[tokio::test(start_paused = true)]
async fn f10_fleet_takes_no_statement_that_one_signer_has_not_signed() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let [auditor, operator] = signers();
    let four = addresses(1..=4);
    let twice = {
        let mut four = four.clone();
        four.insert(4, Address { name: "replica-4".to_owned(), ..address(3) });
        four
    };
    let bad = [
        fleet.next_statement(1, &four, &[auditor, signer("operator.example", 8)]),
        fleet.next_statement(1, &four, &[operator]),
        signed(statement([8; 32], [0; 32], &four), &signers()),
        fleet.next_statement(1, &twice, &signers()),
        fleet.next_statement(1, &BTreeMap::new(), &signers()),
    ];
    for note in &bad {
        assert!(matches!(fleet.obey(1, note).await, Err(Fault::Statement(_))), "{}", note.text());
    }
    // What is signed for one place is not said in another.
    let note = signed(statement(FLEET, [5; 32], &four), &signers());
    let mut predecessor = [0; 32];
    fleet.replica(1).look(&mut |state| predecessor = *state.members().0).unwrap();
    let command = Command::Members { predecessor, statement: note.write() };
    assert!(matches!(fleet.replica(1).commit(vec![command]).await, Err(Fault::Statement(_))));
    let good = fleet.next_statement(1, &four, &signers());
    assert_eq!(fleet.obey(1, &good).await, Ok(Verdict::Done));
}

fn entry(index: u64, payload: EntryPayload<crate::fleet::consensus::Consensus>) -> Entry {
    Entry { log_id: to_raft(LogId { leader: Leader { term: 50, member: 3 }, index }), payload }
}

fn membership(configs: &[&[u64]], nodes: BTreeMap<u64, Address>) -> EntryPayload<crate::fleet::consensus::Consensus> {
    let configs = configs.iter().map(|it| it.iter().copied().collect::<BTreeSet<_>>()).collect();
    EntryPayload::Membership(Membership::new(configs, nodes))
}

/// A leader that has gone over to somebody has every key but those of the signers.
#[tokio::test(start_paused = true)]
async fn f10_fleet_takes_no_membership_that_no_statement_allows() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    fleet.replica(1).commit(vec![charge(1, 1)]).await.unwrap();
    let note = fleet.next_statement(1, &addresses([1, 2, 4]), &signers());
    for other in [2, 3] {
        fleet.stop(other).await;
    }
    let place = fleet.replica(1).end_of_log().unwrap();
    let next = place.id.index + 1;
    let send = async |previous: log::Place, entries: Vec<Entry>| {
        let vote = vote_for(Leader { term: 50, member: 3 }, true);
        let request = Request::Append { vote, previous: Some(previous), commit: None, entries };
        let reply = fleet.replica(1).handle(3, &request.encode(head(1_000))).await;
        Reply::decode(&reply, NEWEST).unwrap().what
    };
    let stranger = Address { name: "replica-4".to_owned(), link_key: [66; 32] };
    let with_stranger = || [addresses(1..=3), BTreeMap::from([(4, stranger.clone())])].into_iter().flatten().collect();
    for (what, payload) in [
        ("a learner whom nobody names", membership(&[&[1, 2, 3]], addresses(1..=4))),
        ("votes for whom nobody names", membership(&[&[1, 2, 3], &[1, 2, 3, 4]], addresses(1..=4))),
        ("the same at once", membership(&[&[1, 2, 3, 4]], addresses(1..=4))),
        ("fewer votes without a step between", membership(&[&[3]], addresses(1..=3))),
        ("other votes before", membership(&[&[1, 3], &[1, 2, 3]], addresses(1..=3))),
        (
            "a key for another",
            membership(&[&[1, 2, 3]], BTreeMap::from([(1, address(1)), (2, address(2)), (3, address(9))])),
        ),
    ] {
        assert_eq!(send(place, vec![entry(next, payload)]).await, Reply::Refused(Refused::Members), "{what}");
        assert_eq!(fleet.replica(1).end_of_log(), Some(place), "{what}");
    }
    // The statement comes in the same message, or is in the log and not yet committed.
    let Ok(Statement { order: Order::Members { predecessor, .. }, .. }) = Statement::read(&note) else {
        panic!("a statement");
    };
    let draft = Draft::batch(0, &[Command::Members { predecessor, statement: note.write() }]).unwrap();
    let origin = Origin { member: 3, life: 1, sequence: 1 };
    let proposal = Proposal { origin, time_s: 1_000, version: 1, count: 1, content: draft.into_content().into() };
    let by = entry(next, EntryPayload::Normal(proposal));
    let learns = |nodes| entry(next + 1, membership(&[&[1, 2, 3]], nodes));
    let refused = send(place, vec![by.clone(), learns(with_stranger())]).await;
    assert_eq!(refused, Reply::Refused(Refused::Members), "another key than the statement's");
    assert!(matches!(send(place, vec![by.clone()]).await, Reply::Appended { .. }));
    let said = fleet.replica(1).end_of_log().unwrap();
    assert_eq!(send(said, vec![learns(with_stranger())]).await, Reply::Refused(Refused::Members));
    assert!(
        matches!(send(said, vec![learns(addresses(1..=4))]).await, Reply::Appended { .. }),
        "as the statement says"
    );
    let learnt = fleet.replica(1).end_of_log().unwrap();
    let votes = |configs: &[&[u64]], nodes| entry(next + 2, membership(configs, nodes));
    let kept = votes(&[&[1, 2, 3], &[1, 2, 3]], addresses(1..=4));
    assert_eq!(send(learnt, vec![kept]).await, Reply::Refused(Refused::Members), "3 is to vote no more");
    let joint = votes(&[&[1, 2, 3], &[1, 2, 4]], addresses(1..=4));
    assert!(matches!(send(learnt, vec![joint]).await, Reply::Appended { .. }));
    let last = fleet.replica(1).end_of_log().unwrap();
    let done = entry(next + 3, membership(&[&[1, 2, 4]], addresses([1, 2, 4])));
    assert!(matches!(send(last, vec![done]).await, Reply::Appended { .. }));
}

fn row(index: u64, commands: &[Command]) -> Entry {
    let content = Draft::batch(0, commands).unwrap().into_content().into();
    let origin = Origin { member: 3, life: 1, sequence: index };
    let count = commands.len() as u32;
    entry(index, EntryPayload::Normal(Proposal { origin, time_s: 1_000, version: 1, count, content }))
}

/// Nor any statement that only it has made up.
#[tokio::test(start_paused = true)]
async fn f10_fleet_takes_no_row_that_names_members_or_signers_whom_both_have_not() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let from = Obeyed::first(policy().signers.unwrap());
    let own = [signer("auditor.example", 7), signer("operator.example", 8)];
    let [auditor, operator] = own.each_ref().map(|it| *it.verifying_key().as_bytes());
    let to = Obeyed { signers: Signers { auditor, operator }, epoch: 4 };
    let turns = |bundle: &[u8]| turn(from, to, bundle.to_vec());
    let [auditor, operator] = &signers();
    let own_keys = |epoch| bundle(epoch, [auditor, operator], own.each_ref().map(Some)).write();
    let four = addresses(1..=4);
    let mut predecessor = [0; 32];
    fleet.replica(1).look(&mut |state| predecessor = *state.members().0).unwrap();
    let names = |note: Note| Command::Members { predecessor, statement: note.write() };
    let own_note = fleet.next_statement(1, &four, &own);
    let bad = [
        ("signers by a bundle that is none", turns(b"x")),
        ("signers by a statement", turns(&fleet.next_statement(1, &four, &signers()).write())),
        ("members by one signer", names(fleet.next_statement(1, &four, &signers()[..1]))),
        ("members by others", names(own_note)),
        ("signers by a bundle of another epoch", turns(&own_keys(3))),
        ("signers by a bundle that is not newer", turn(from, Obeyed { epoch: 0, ..to }, own_keys(0))),
    ];
    // A member that does not lead is refused by who does.
    for (what, command) in &bad {
        let told = fleet.replica(1).commit(vec![command.clone()]).await;
        assert!(matches!(told, Err(Fault::Statement(_))), "{what}: {told:?}");
    }
    // One that leads is refused by the others.
    for other in [2, 3] {
        fleet.stop(other).await;
    }
    let place = fleet.replica(1).end_of_log().unwrap();
    let next = place.id.index + 1;
    let send = async |commit, entries: Vec<Entry>| {
        let vote = vote_for(Leader { term: 50, member: 3 }, true);
        let request = Request::Append { vote, previous: Some(place), commit, entries };
        let reply = fleet.replica(1).handle(3, &request.encode(head(1_000))).await;
        Reply::decode(&reply, NEWEST).unwrap().what
    };
    for (what, command) in &bad {
        let refused = send(None, vec![row(next, &[charge(1, 1)]), row(next + 1, std::slice::from_ref(command))]).await;
        assert_eq!(refused, Reply::Refused(Refused::Members), "{what}");
        assert_eq!(fleet.replica(1).end_of_log(), Some(place), "{what}");
    }
    // And where it is hidden among others, whoever applies it stops.
    let hidden = vec![row(next, &[charge(1, 1), bad[2].1.clone()])];
    let committed = LogId { leader: Leader { term: 50, member: 3 }, index: next };
    send(Some(committed), hidden).await;
    for _ in 0..1_000 {
        if !fleet.replica(1).status().running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!fleet.replica(1).status().running);
}

fn turn(from: Obeyed, to: Obeyed, bundle: Vec<u8>) -> Command {
    Command::Signers { from: Box::new(from), to: Box::new(to), bundle }
}

/// A bundle by these two, which names others in their place; those have signed it too.
fn bundle(epoch: u32, keys: [&SigningKey; 2], next: [Option<&SigningKey>; 2]) -> Note {
    let bundle = Bundle {
        namespace: "example.org/backup".to_owned(),
        fleet: FLEET,
        epoch,
        not_before_s: 0,
        not_after_s: 1,
        previous: [0; 32],
        artifact: [0; 32],
        evidence: [0; 32],
        next_auditor: next[0].map(SigningKey::verifying_key),
        next_operator: next[1].map(SigningKey::verifying_key),
    };
    let mut note = bundle.note().unwrap();
    keys.into_iter().chain(next.into_iter().flatten()).for_each(|key| note.sign(key));
    note
}

/// T3: nor by an older bundle, which both have signed once, and one of them again.
#[tokio::test(start_paused = true)]
async fn f10_fleet_goes_back_to_no_signer_by_an_older_bundle() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    let [auditor, operator] = &signers();
    let [two, three] = &[signer("operator.example", 12), signer("operator.example", 13)];
    let obeyed = |operator: &SigningKey, epoch| {
        let [auditor, operator] = [auditor, operator].map(|it| *it.verifying_key().as_bytes());
        Obeyed { signers: Signers { auditor, operator }, epoch }
    };
    let by = |epoch, from: &SigningKey, to| bundle(epoch, [auditor, from], [None, Some(to)]);
    let commit = async |number, from, to, note: &Note| {
        fleet.replica(number).commit(vec![turn(from, to, note.write())]).await.map(|it| *it[0].verdict())
    };
    let (first, second) = (by(2, operator, two), by(4, two, three));
    assert_eq!(commit(1, obeyed(operator, 0), obeyed(two, 2), &first).await, Ok(Verdict::Done));
    assert_eq!(commit(2, obeyed(two, 2), obeyed(three, 4), &second).await, Ok(Verdict::Done));
    let (last, mut again) = (obeyed(three, 4), first.clone());
    again.sign(three);
    for number in 1..=3 {
        for epoch in [2, 5] {
            let told = commit(number, last, obeyed(two, epoch), &again).await;
            assert!(matches!(told, Err(Fault::Statement(_))), "as of epoch {epoch}: {told:?}");
        }
        // As if the second had been followed at no epoch: that is not how things stand.
        let told = commit(number, Obeyed { epoch: 0, ..last }, obeyed(two, 2), &again).await;
        assert_eq!(told, Ok(Verdict::Refused(Refusal::Stale)));
    }
    for number in 1..=3 {
        let (replica, mut seen) = (fleet.replica(number), None);
        replica.confirm().await.unwrap();
        replica.look(&mut |state| seen = state.obeyed().copied()).unwrap();
        assert_eq!(seen, Some(last), "{number}");
    }
    // The next one of both is followed, through whomever it comes.
    let next = by(5, three, two);
    assert_eq!(commit(3, last, obeyed(two, 5), &next).await, Ok(Verdict::Done));
}

/// What openraft takes to match, because it is committed, is no way around the statements.
#[tokio::test(start_paused = true)]
async fn f10_fleet_takes_no_membership_behind_rows_that_have_left() {
    let fleet = Fleet::of(3).await;
    fleet.leader(None).await;
    for round in 0..1100u32 {
        fleet.replica(1).commit(vec![charge((round % 100) as u8, 1)]).await.unwrap();
    }
    fleet.replica(1).checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for other in [2, 3] {
        fleet.stop(other).await;
    }
    let last = fleet.replica(1).end_of_log().unwrap();
    let vote = vote_for(Leader { term: 50, member: 3 }, true);
    let old = log::Place { id: LogId { leader: last.id.leader, index: 3 }, chain: [1; 32] };
    let entries = (4..=last.id.index + 1).map(|index| match index {
        it if it > last.id.index => entry(it, membership(&[&[1, 2, 3]], addresses(1..=4))),
        it => Entry { log_id: to_raft(LogId { leader: last.id.leader, index: it }), payload: EntryPayload::Blank },
    });
    let request = Request::Append { vote, previous: Some(old), commit: None, entries: entries.collect() };
    let reply = fleet.replica(1).handle(3, &request.encode(head(1_000))).await;
    assert_eq!(Reply::decode(&reply, NEWEST).unwrap().what, Reply::Refused(Refused::Members));
    assert_eq!(fleet.replica(1).end_of_log(), Some(last));
}

#[test]
fn fleet_is_founded_and_joined_by_statement_alone() {
    let three = addresses(1..=3);
    let good = founding(FLEET, 3);
    let [auditor, _] = signers();
    let nobodys = Policy { signers: None, ..policy() };
    let log = super::Kept::default;
    let founds = |policy: &Policy, note: &Note| found_on(log(), policy, &key(), &FLEET, note);
    assert_eq!(founds(&policy(), &good), Ok(()));
    assert_eq!(founds(&nobodys, &statement(FLEET, [0; 32], &three)), Ok(()), "where nobody has to sign");
    for (what, note) in [
        ("signed by one", signed(statement(FLEET, [0; 32], &three), &[auditor])),
        ("another fleet's", signed(statement([8; 32], [0; 32], &three), &signers())),
        ("a later one", signed(statement(FLEET, [1; 32], &three), &signers())),
        ("of nobody", signed(statement(FLEET, [0; 32], &BTreeMap::new()), &signers())),
    ] {
        assert!(matches!(founds(&policy(), &note), Err(Fault::Key(_))), "{what}");
    }
    let joins =
        |number, note: &Note| join_on(log(), &policy(), &key(), &FLEET, number, note, policy().signers.as_ref());
    assert_eq!(joins(3, &good), Ok(()));
    assert!(matches!(joins(4, &good), Err(Fault::Key(_))), "it does not name 4");
    assert!(matches!(joins(3, &statement(FLEET, [0; 32], &three)), Err(Fault::Key(_))), "nobody has signed it");
    let used = log();
    found_on(used.clone(), &policy(), &key(), &FLEET, &good).unwrap();
    let again = join_on(used, &policy(), &key(), &FLEET, 3, &good, policy().signers.as_ref());
    assert!(matches!(again, Err(Fault::Storage(_))));
}
