//! What replicas say to each other, and the rows that they keep.

#[path = "../../../tests/whitepaper/paper.rs"]
mod paper;

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use super::{head, key, policy};
use crate::error::Fault;
use crate::fleet::consensus::{Entry, Membership, Origin, Proposal, to_raft, vote_for};
use crate::fleet::log::Place;
use crate::fleet::message::{Refused, Reply, Request, Unheard};
use crate::fleet::row;
use crate::fleet::version::{Head, NEWEST};
use crate::journal::row::{CHAIN_BEGIN, Keys};
use crate::journal::{Leader, LogId};
use crate::wire::Writer;

fn id(index: u64) -> LogId {
    LogId { leader: Leader { term: 3, member: 2 }, index }
}

fn batch(content: &[u8]) -> Proposal {
    let origin = Origin { member: 4, life: 5, sequence: 6 };
    Proposal { origin, time_s: 77, version: 1, count: 1, content: content.into() }
}

fn entries() -> Vec<Entry> {
    let voters = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
    let nodes: BTreeMap<_, _> = (1..=5).map(|it| (it, super::address(it))).collect();
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(batch(b"commands")),
        EntryPayload::Membership(Membership::new(voters, nodes)),
    ];
    (7..).zip(payloads).map(|(index, payload)| Entry { log_id: to_raft(id(index)), payload }).collect()
}

fn requests() -> Vec<Request> {
    let vote = vote_for(Leader { term: 3, member: 2 }, true);
    vec![
        Request::Append {
            vote,
            previous: Some(Place { id: id(6), chain: [9; 32] }),
            commit: Some(id(5)),
            entries: entries(),
        },
        Request::Append { vote, previous: None, commit: None, entries: Vec::new() },
        Request::Vote { vote, last: Some(id(6)) },
        Request::Propose { origin: batch(b"").origin, version: 1, count: 2, content: b"commands".as_slice().into() },
        Request::Confirm,
        Request::CheckpointBegins { vote, head: vec![1; 40] },
        Request::CheckpointPart { vote, number: 3, part: vec![2; 50] },
        Request::CheckpointEnds { vote },
        Request::Members,
        Request::Prove,
        Request::Keys { public_key: Box::new([6; 1216]) },
        Request::ChannelKey,
        Request::Keep { sealed: vec![7; 80] },
    ]
}

fn replies() -> Vec<Reply> {
    let vote = vote_for(Leader { term: 3, member: 2 }, false);
    vec![
        Reply::Appended { chain: Some([1; 32]) },
        Reply::Appended { chain: None },
        Reply::Conflict,
        Reply::HigherVote(vote),
        Reply::Voted { vote, granted: true, last: Some(id(1)) },
        Reply::Taken,
        Reply::NotLeader(Some(4)),
        Reply::NotLeader(None),
        Reply::Confirmed(Some(id(9))),
        Reply::Continue,
        Reply::Installed(vote),
        Reply::Refused(Refused::Skew),
        Reply::Members(super::addresses(1..=3)),
        Reply::Proof([5; 32]),
        Reply::Keys(vec![4; 70]),
        Reply::ChannelKey(Box::new([3; 1216])),
        Reply::Kept,
        Reply::Refused(Refused::Members),
    ]
}

/// What is said is heard, in one encoding; cut short, or with a byte too many, it is nothing.
#[test]
fn fleet_messages_are_read_as_they_were_written() {
    let mut seen = BTreeSet::new();
    for request in requests() {
        let bytes = request.encode(head(99));
        let said = Request::decode(&bytes, NEWEST).unwrap();
        assert_eq!((said.head, said.what.encode(head(99))), (head(99), bytes.clone()));
        assert!(seen.insert(bytes.clone()), "two requests in one encoding");
        for cut in 0..bytes.len() {
            assert!(Request::decode(&bytes[..cut], NEWEST).is_err());
        }
        assert!(Request::decode(&[&bytes[..], &[0]].concat(), NEWEST).is_err());
        let later = Request::decode(&[&[NEWEST + 1], &bytes[1..]].concat(), NEWEST).err();
        assert_eq!(later, Some(Unheard::Version(Head { version: NEWEST + 1, ..head(99) })), "another version");
    }
    let mut seen = BTreeSet::new();
    for reply in replies() {
        let bytes = reply.encode(head(7));
        assert!(seen.insert(bytes.clone()), "two replies in one encoding");
        let said = Reply::decode(&bytes, NEWEST).unwrap();
        assert_eq!((said.head, said.what), (head(7), reply));
        for cut in 0..bytes.len() {
            assert!(Reply::decode(&bytes[..cut], NEWEST).is_err());
        }
        assert!(Reply::decode(&[&bytes[..], &[0]].concat(), NEWEST).is_err());
    }
}

#[test]
fn fleet_proposal_names_no_account_in_logs() {
    let printed = format!("{:?}", batch(&[0xab; 32]));
    assert!(!printed.contains("171") && !printed.contains("ab"), "{printed}");
}

fn damaged<T>(result: Result<T, Fault>) -> bool {
    matches!(result, Err(Fault::Damaged(_)))
}

#[test]
fn fleet_row_with_a_flipped_bit_or_in_another_place_is_a_fault() {
    let keys = Keys::new(&key());
    for entry in entries() {
        let index = entry.log_id.index;
        let (bytes, chain) = row::seal(&keys, &policy(), &entry, &[3; 32]);
        let (read, found) = row::open(&keys, &policy(), &bytes, index, &[3; 32]).unwrap();
        let encoded = |entry: &Entry| {
            let mut writer = Writer::default();
            row::write_entry(&mut writer, entry);
            writer.finish()
        };
        assert_eq!((encoded(&read), found), (encoded(&entry), chain));
        for at in 1..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            assert!(damaged(row::open(&keys, &policy(), &other, index, &[3; 32])), "byte {at}");
            assert!(damaged(row::open(&keys, &policy(), &bytes[..at], index, &[3; 32])));
        }
        assert!(damaged(row::open(&keys, &policy(), &bytes, index + 1, &[3; 32])), "another place");
        assert!(damaged(row::open(&keys, &policy(), &bytes, index, &CHAIN_BEGIN)), "behind another row");
        let mut later = bytes.clone();
        later[0] += 1;
        assert!(matches!(row::open(&keys, &policy(), &later, index, &[3; 32]), Err(Fault::Format { .. })));
    }
}

/// The first row binds the policy: who has another has no row in common.
#[test]
fn l12_fleet_of_another_policy_shares_no_history() {
    let keys = Keys::new(&key());
    let founding = Entry { log_id: to_raft(LogId::default()), payload: EntryPayload::Blank };
    let other = crate::ledger::Policy { attempts_max: 3, ..policy() };
    let (bytes, chain) = row::seal(&keys, &policy(), &founding, &CHAIN_BEGIN);
    assert_ne!(chain, row::seal(&keys, &other, &founding, &CHAIN_BEGIN).1);
    assert!(matches!(row::open(&keys, &other, &bytes, 0, &CHAIN_BEGIN), Err(Fault::PolicyMismatch(_))));
    assert!(row::open(&keys, &policy(), &bytes, 0, &CHAIN_BEGIN).is_ok());
}

/// The chain, made with RustCrypto's HMAC and HKDF from the words of the design.
#[test]
fn fleet_chain_agrees_with_an_independent_hmac() {
    use hmac::{KeyInit, Mac};
    let (bytes, _) = row::seal(&Keys::new(&key()), &policy(), &entries()[1], &[3; 32]);
    // HKDF-Expand's first and only block, RFC 5869 section 2.3: T(1) = HMAC(PRK, info || 1).
    let mut expand = hmac::Hmac::<sha2::Sha512>::new_from_slice(&[7; 32]).unwrap();
    expand.update(b"strongroom journal v1 fleet\x01");
    let mut mac = hmac::Hmac::<sha2::Sha512>::new_from_slice(&expand.finalize().into_bytes()).unwrap();
    mac.update(b"row");
    mac.update(&[3; 32]);
    mac.update(&bytes[..bytes.len() - 32]);
    assert_eq!(mac.finalize().into_bytes()[..32], bytes[bytes.len() - 32..]);
}

/// The whitepaper's tables of what members say and keep.
#[test]
fn fleet_messages_and_rows_are_as_the_whitepaper_says() {
    let paper = paper::Paper::of_this_crate();
    let kinds = paper.rows("fleet messages").unwrap();
    assert_eq!(kinds.iter().map(|row| row[0].parse().unwrap()).collect::<Vec<u8>>(), (1..=12).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    for request in requests() {
        let bytes = request.encode(head(99));
        let name = match &request {
            Request::Append { .. } => "Append",
            Request::Vote { .. } => "Vote",
            Request::Propose { .. } => "Propose",
            Request::Confirm => "Confirm",
            Request::CheckpointBegins { .. } => "CheckpointBegins",
            Request::CheckpointPart { .. } => "CheckpointPart",
            Request::CheckpointEnds { .. } => "CheckpointEnds",
            Request::Members => "Members",
            Request::Prove => "Prove",
            Request::Keys { .. } => "Keys",
            Request::ChannelKey => "ChannelKey",
            Request::Keep { .. } => "Keep",
        };
        assert_eq!(kinds[usize::from(bytes[10]) - 1][1], name);
        seen.insert(name);
        let fields: [(&str, &[u8]); 5] = [
            ("version that it is written in", &[NEWEST]),
            ("newest version that its speaker reads", &[NEWEST]),
            ("its speaker's clock", &99_u64.to_be_bytes()),
            ("kind", &bytes[10..11]),
            ("what the kind has", &bytes[11..]),
        ];
        paper.holds("fleet message", &fields, &bytes).unwrap();
    }
    assert_eq!(seen.len(), kinds.len());

    let entry = Entry { log_id: to_raft(id(8)), payload: EntryPayload::Normal(batch(b"commands")) };
    let (written, chain) = row::seal(&Keys::new(&key()), &policy(), &entry, &CHAIN_BEGIN);
    let number = u64::to_be_bytes;
    let fields: [(&str, &[u8]); 14] = [
        ("version", &[1]),
        ("term", &number(3)),
        ("leader", &number(2)),
        ("index", &number(8)),
        ("kind", &[1]),
        ("member whose batch it is", &number(4)),
        ("which of its lives", &number(5)),
        ("number of the batch in that life", &number(6)),
        ("second of the batch", &number(77)),
        ("version that the batch is written in", &[1]),
        ("commands", &[0, 0, 0, 1]),
        ("length of the commands", &[0, 0, 0, 8]),
        ("the commands", b"commands"),
        ("chain", &chain),
    ];
    paper.holds("fleet row", &fields, &written).unwrap();
}
