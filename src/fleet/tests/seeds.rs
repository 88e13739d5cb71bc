//! The seeds of the fuzz target `member`: what `fuzz/corpus/member/` holds is what this file makes, and each does what it is meant
//! for. After a change of format run it once with `STRONGROOM_WRITE_SEEDS=1` set and commit what it wrote.

#[path = "../../../tests/model/corpus.rs"]
mod corpus;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use openraft::EntryPayload;

use super::{FLEET, Kept, addresses, head, key, link_key};
use crate::fleet::consensus::{Entry, Membership, Origin, Proposal, Vote, to_raft, vote_for};
use crate::fleet::link::{Address, Call, Links};
use crate::fleet::log::Place;
use crate::fleet::message::{Refused, Reply, Request};
use crate::fleet::replica::{Member, Replica, Settings, found_on};
use crate::fleet::row;
use crate::fleet::version::NEWEST;
use crate::journal::row::{Draft, Keys};
use crate::journal::tests::{charge, enrol};
use crate::journal::{Leader, LogId, ManualClock, MemoryAnchor};
use crate::ledger::Policy;
use crate::session::PUBLIC_KEY_LEN;
use crate::transparency::{self, Order, Statement};
use crate::wire::Writer;
use corpus::{Seeds, hold};

struct Nobody;

impl Links for Nobody {
    fn call<'a>(&'a self, _: u64, _: &'a Address, _: Vec<u8>) -> Call<'a> {
        Box::pin(async { Err(ErrorKind::ConnectionRefused.into()) })
    }
}

/// The replica of the fuzz target.
async fn begun() -> Replica {
    let member = |number: u64| transparency::Member {
        number,
        name: format!("replica-{number}"),
        link_key: link_key(number).public_key(),
        channel_key: [0; 32],
        code: "code".to_owned(),
    };
    let order = Order::Members { predecessor: [0; 32], members: (1..=3).map(member).collect() };
    let statement = Statement { fleet: FLEET, order }.note().unwrap();
    let log = Kept::default();
    found_on(log.clone(), &Policy::development(), &key(), &FLEET, &statement).unwrap();
    let member = Member {
        number: 1,
        fleet: FLEET,
        policy: Policy::development(),
        journal_key: key(),
        anchor: Arc::new(MemoryAnchor::new()),
        clock: Arc::new(ManualClock::new(1_000)),
        links: Arc::new(Nobody),
        settings: Settings::default(),
    };
    let replica = Replica::open_on(log, Kept::default(), member).await.unwrap();
    while replica.status().members.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    replica
}

fn vote(committed: bool) -> Vote {
    vote_for(Leader { term: 5, member: 2 }, committed)
}

fn entry(index: u64, payload: EntryPayload<crate::fleet::consensus::Consensus>) -> Entry {
    Entry { log_id: to_raft(LogId { leader: Leader { term: 5, member: 2 }, index }), payload }
}

fn batch(index: u64, commands: &[crate::ledger::Command]) -> Entry {
    let content = Draft::batch(0, commands).unwrap().into_content().into();
    let origin = Origin { member: 2, life: 1, sequence: index };
    let count = commands.len() as u32;
    entry(index, EntryPayload::Normal(Proposal { origin, time_s: 1_000, version: NEWEST, count, content }))
}

/// Where a log goes on behind these.
fn behind(place: Place, entries: &[Entry]) -> Place {
    let keys = Keys::new(&key());
    entries.iter().fold(place, |before, entry| Place {
        id: crate::fleet::consensus::from_raft(&entry.log_id),
        chain: row::seal(&keys, &Policy::development(), entry, &before.chain).1,
    })
}

fn append(previous: Place, entries: &[Entry], commit: Option<LogId>) -> Request {
    Request::Append { vote: vote(true), previous: Some(previous), commit, entries: entries.to_vec() }
}

/// Messages of members, and what the last of them is answered.
type Said = (Vec<(u8, Request)>, Reply);

async fn said() -> Vec<(&'static str, Said)> {
    let replica = begun().await;
    let place = replica.end_of_log().unwrap();
    let entries = [entry(2, EntryPayload::Blank), batch(3, &[enrol(1, 0, 1), charge(1, 1)])];
    let end = behind(place, &entries);
    let appended = |at: &Place| Reply::Appended { chain: Some(at.chain) };
    let candidate = || (2_u8, Request::Vote { vote: vote(false), last: Some(place.id) });
    let takes = || vec![candidate(), (2, append(place, &entries, None))];
    let commits = || (2, append(end, &[], Some(end.id)));
    let and = |mut first: Vec<_>, more: Vec<_>| {
        first.extend(more);
        first
    };
    // A checkpoint of one that has taken these.
    for (from, request) in and(takes(), vec![commits()]) {
        replica.handle(u64::from(from), &request.encode(head(1_000))).await;
    }
    replica.checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (checkpoint, parts) = replica.machine().carried().unwrap();
    replica.stop().await;
    let mut carries = vec![(2, Request::CheckpointBegins { vote: vote(true), head: checkpoint })];
    let part = |(number, part)| (2, Request::CheckpointPart { vote: vote(true), number, part });
    carries.extend((0..).zip(parts).map(part));
    carries.push((2, Request::CheckpointEnds { vote: vote(true) }));
    let stranger = EntryPayload::Membership(Membership::new(vec![[1, 2, 3].into()], addresses(1..=4)));
    let origin = Origin { member: 3, life: 1, sequence: 1 };
    let content: Arc<[u8]> = Draft::batch(0, &[charge(2, 1)]).unwrap().into_content().into();
    let fork = Place { chain: [1; 32], ..place };
    let voted = Reply::Voted { vote: vote(false), granted: true, last: Some(place.id) };
    vec![
        ("vote", (vec![candidate()], voted)),
        ("append", (takes(), appended(&end))),
        ("append-commits", (and(takes(), vec![commits()]), appended(&end))),
        ("append-twice", (and(takes(), takes()), appended(&end))),
        ("append-stranger", (vec![(2, append(place, &[entry(2, stranger)], None))], Reply::Refused(Refused::Members))),
        ("append-gap", (vec![(2, append(end, &[], None))], Reply::Conflict)),
        ("append-fork", (vec![(2, append(fork, &entries, None))], Reply::Refused(Refused::Fork))),
        ("for-another", (vec![(3, append(place, &[], None))], Reply::Refused(Refused::Foreign))),
        (
            "propose",
            (vec![(3, Request::Propose { origin, version: NEWEST, count: 1, content })], Reply::NotLeader(None)),
        ),
        ("members", (vec![(3, Request::Members)], Reply::Members(addresses(1..=3)))),
        (
            "keys",
            (vec![(2, Request::Keys { public_key: Box::new([5; PUBLIC_KEY_LEN]) })], Reply::Refused(Refused::Busy)),
        ),
        ("channel-key", (vec![(2, Request::ChannelKey)], Reply::Refused(Refused::Busy))),
        ("keep", (vec![(2, Request::Keep { sealed: vec![1; 100] })], Reply::Refused(Refused::Busy))),
        ("stranger", (vec![(9, Request::Members)], Reply::Refused(Refused::Foreign))),
        ("checkpoint", (carries, Reply::Installed(vote(true)))),
    ]
}

#[tokio::test(start_paused = true)]
async fn fleet_corpus_of_member_is_what_this_file_makes() {
    let mut seeds = Seeds::new();
    for (name, (messages, answer)) in said().await {
        let replica = begun().await;
        let (mut script, mut last) = (Writer::default(), Vec::new());
        for (from, request) in messages {
            let bytes = request.encode(head(1_000));
            script.u8(from).counted(&bytes);
            last = replica.handle(from.into(), &bytes).await;
        }
        assert_eq!(Reply::decode(&last, NEWEST).unwrap().what, answer, "{name}");
        replica.stop().await;
        seeds.insert(name.to_owned(), script.finish());
    }
    hold("member", &seeds);
}
