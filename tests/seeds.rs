//! The seeds of the fuzz targets: what `fuzz/corpus/` holds is what this file makes, and each is accepted by what it
//! is meant for. After a change of format run it once with `STRONGROOM_WRITE_SEEDS=1` set and commit what it wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "model/corpus.rs"]
mod corpus;
#[path = "model/engine.rs"]
mod engine_model;
#[path = "model/hash.rs"]
mod hash_model;
#[path = "model/judge.rs"]
mod judge;
#[path = "model/login.rs"]
mod login_model;
#[path = "model/open.rs"]
mod open_model;
#[path = "model/wire.rs"]
mod wire_model;

use std::fs;
use std::path::PathBuf;

use corpus::{Seeds, differences, hold};
use judge::{Judge, controlled, few};
use strongroom::account::AccountId;
use strongroom::client::{Keyring, RecoveryKey};
use strongroom::error::Refusal;
use strongroom::ledger::{
    Account, Arrival, Command, Digests, KeyedDigest, Obeyed, Policy, Proof, Records, Signers, State, Verdict,
};
use strongroom::protocol::{KE1_LEN, KE2_LEN, KE3_LEN, R1_LEN, R2_LEN, R3_LEN, Reply, Request};
use strongroom::wire::{Reader, Writer};
use strongroom::wrap::{ENROLMENT_TICKET_LEN, Header, LOGIN_TICKET_LEN, SEALED_LEN, Sealed};

const ACCOUNT: AccountId = AccountId(*b"an account id of thirty-two byte");

#[test]
fn the_corpus_of_wire_is_what_this_file_makes() {
    let seeds = wire();
    hold("wire", &seeds);
    for (name, seed) in &seeds {
        assert!(accepted(seed), "{name} is not accepted, so it is a poor seed");
        assert!(!accepted(&seed[..seed.len() - 1]), "{name} is accepted with a byte missing");
        assert!(controlled(name, |judge| wire_model::drive(seed, judge).unwrap()) > 0, "{name}");
    }
    for kind in *b"wcapgsrqykt" {
        assert!(seeds.values().any(|seed| seed[0] == kind), "no seed for kind {}", char::from(kind));
    }
}

#[test]
fn the_corpus_of_open_is_what_this_file_makes() {
    let seeds = open();
    hold("open", &seeds);
    for (name, seed) in &seeds {
        assert!(controlled(name, |judge| open_model::drive(seed, judge).unwrap()) > 0, "{name}");
    }
    for kind in *b"lerbx" {
        assert!(seeds.values().any(|seed| seed[0] == kind), "no seed for kind {}", char::from(kind));
    }
}

#[test]
fn the_corpus_of_login_is_what_this_file_makes() {
    let seeds = login();
    hold("login", &seeds);
    for (name, seed) in &seeds {
        assert!(controlled(name, |judge| login_model::drive(seed, judge).unwrap()) > 0, "{name}");
    }
}

#[test]
fn the_corpus_of_engine_is_what_this_file_makes() {
    let seeds = engine();
    hold("engine", &seeds);
    for (name, seed) in &seeds {
        let mut judge = Judge::default();
        engine_model::drive(seed, &mut judge).unwrap();
        if name.starts_with("decode-bad") {
            // Sixteen answers of each backend, and what fifteen points are encoded as: just the bad one is refused.
            assert_eq!(judge.held(), 31 * strongroom::engine::Backend::all().len(), "{name}");
        }
        for planted in few(judge.held()) {
            let drive = engine_model::drive(seed, &mut Judge::planted(planted));
            assert!(drive.is_err(), "{name}: a bit flipped in answer {planted} goes unnoticed");
        }
    }
}

#[test]
fn the_corpus_of_hash_is_what_this_file_makes() {
    let seeds = hash();
    hold("hash", &seeds);
    for (name, seed) in &seeds {
        let mut judge = Judge::default();
        hash_model::drive(seed, &mut judge).unwrap();
        for planted in few(judge.held()) {
            let drive = hash_model::drive(seed, &mut Judge::planted(planted));
            assert!(drive.is_err(), "{name}: a bit flipped in answer {planted} goes unnoticed");
        }
    }
}

#[test]
fn a_corpus_that_differs_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = Seeds::from([("one".to_owned(), vec![1]), ("two".to_owned(), vec![2])]);
    let names = |differences: Vec<PathBuf>| -> Vec<String> {
        differences.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(differences(folder.path(), &seeds)), ["one", "two"], "both are missing");
    fs::write(folder.path().join("one"), [1]).unwrap();
    fs::write(folder.path().join("two"), [3]).unwrap();
    assert_eq!(names(differences(folder.path(), &seeds)), ["two"], "another byte");
    fs::write(folder.path().join("two"), [2]).unwrap();
    fs::write(folder.path().join("three"), [3]).unwrap();
    assert_eq!(names(differences(folder.path(), &seeds)), ["three"], "nobody made it");
    // What the fuzzer found by itself bears a digest as its name and is nobody's seed.
    fs::rename(folder.path().join("three"), folder.path().join("0".repeat(40))).unwrap();
    assert!(differences(folder.path(), &seeds).is_empty());
}

/// Whether the parser that the first byte names takes the rest whole.
fn accepted(seed: &[u8]) -> bool {
    let (kind, bytes) = seed.split_first().unwrap();
    let mut reader = Reader::new(bytes);
    match kind {
        // Five reads of 1, 2, 4 and 8 bytes, a flag, and a string of at most 5 bytes.
        b'w' => (|| {
            let steps = reader.u8()?;
            assert_eq!(reader.bytes(usize::from(steps))?, [0, 1, 2, 3, 4, 5]);
            _ = (reader.u8()?, reader.u16()?, reader.u32()?, reader.u64()?, reader.flag()?, reader.counted(5)?);
            reader.finish()
        })()
        .is_ok(),
        b'c' => {
            let mut taken = 0;
            while Command::read(&mut reader).is_ok() {
                taken += 1;
            }
            taken > 0 && reader.finish().is_ok()
        }
        b'a' => strongroom::ledger::Account::read(&mut reader).is_ok() && reader.finish().is_ok(),
        b'p' => Policy::decode(bytes).is_ok(),
        b'g' => State::decode_globals(bytes).is_ok(),
        b's' => State::decode(bytes).is_ok(),
        b'r' => Sealed::from_bytes(bytes).is_ok(),
        b'q' => Request::decode(bytes).is_ok(),
        b'y' => Reply::decode(bytes).is_ok(),
        b'k' => Keyring::read(bytes).is_ok(),
        // A recovery key, whole; a code has no byte that it must have.
        b't' => str::from_utf8(bytes).is_ok_and(|typed| RecoveryKey::read(typed).is_ok()),
        _ => false,
    }
}

fn wire() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |kind: u8, name: &str, bytes: &[u8]| {
        seeds.insert(name.to_owned(), [&[kind], bytes].concat());
    };

    let mut writer = Writer::default();
    writer.u8(6).bytes(&[0, 1, 2, 3, 4, 5]);
    writer.u8(1).u16(2).u32(3).u64(4).flag(true).counted(b"seed!");
    add(b'w', "script", &writer.finish());

    for (name, commands) in commands() {
        let mut writer = Writer::default();
        commands.iter().for_each(|command| command.write(&mut writer));
        add(b'c', &format!("command-{name}"), &writer.finish());
    }
    for (name, policy) in policies() {
        add(b'p', &format!("policy-{name}"), &policy.encode());
    }

    let keyrings: serde_json::Value = serde_json::from_str(include_str!("../vectors/client/keyring-v1.json")).unwrap();
    for (number, case) in keyrings["cases"].as_array().unwrap().iter().enumerate() {
        let text = |name: &str| case[name].as_str().unwrap();
        add(b'k', &format!("keyring-{number}"), &hex::decode(text("keyring")).unwrap());
        add(b't', &format!("recovery-key-{number}"), text("recovery_key").as_bytes());
    }

    let state = lived();
    let mut writer = Writer::default();
    state.account(&ACCOUNT).unwrap().write(&mut writer);
    add(b'a', "account-live", &writer.finish());
    let mut writer = Writer::default();
    strongroom::ledger::Account::default().write(&mut writer);
    add(b'a', "account-unknown", &writer.finish());
    add(b'g', "globals", &state.encode_globals());
    add(b'g', "globals-signers", &turned().encode_globals());
    add(b's', "state", &state.encode());
    add(b's', "state-empty", &State::new(Policy::development()).encode());
    add(b'r', "sealed", sealed(0).as_bytes());

    for (name, request) in requests() {
        add(b'q', &format!("request-{name}"), &request.encode(&ACCOUNT).unwrap());
    }
    for (name, reply) in replies() {
        add(b'y', &format!("reply-{name}"), &reply.encode());
    }
    seeds
}

fn digests(byte: u8, previous: bool) -> Digests {
    let digest = |key_number| KeyedDigest { key_number, digest: [byte; 16] };
    Digests { current: digest(2), previous: previous.then(|| digest(1)) }
}

/// Bytes in the shape of a sealed record; nothing here opens them.
fn sealed(epoch: u32) -> Sealed {
    let mut bytes = [0; SEALED_LEN];
    let header = Header { epoch, key_number: 1 }.encode();
    bytes[..header.len()].copy_from_slice(&header);
    Sealed::from_bytes(&bytes).unwrap()
}

fn arrive() -> Command {
    let come = |id| Arrival::new(id, Account::default(), None).expect("no record, no bytes");
    let arrivals = [come(AccountId([1; 32])), come(AccountId([2; 32]))].into();
    Command::Arrive { offer: [4; 32], from: AccountId([0; 32]), upto: Some(AccountId([3; 32])), arrivals }
}

fn commands() -> Vec<(&'static str, Vec<Command>)> {
    let account = ACCOUNT;
    let proof = Proof { ordinal: 1, expiry_s: 600 };
    let charge = Command::Charge { account, digests: digests(1, false) };
    let enrol = Command::Enrol { account, generation: 0, expiry_s: 3600, finish: [3; 32], sealed: sealed(0) };
    vec![
        ("charge", vec![charge.clone()]),
        ("charge-rotating", vec![Command::Charge { account, digests: digests(1, true) }]),
        ("clear", vec![Command::Clear { account, generation: 1, proof }]),
        ("enrol", vec![enrol.clone()]),
        ("remove", vec![Command::Remove { account, generation: 1, proof: Some(proof) }]),
        ("remove-unproven", vec![Command::Remove { account, generation: 1, proof: None }]),
        ("sweep", vec![Command::Sweep { account }]),
        ("forget", vec![Command::Forget { most: 100 }]),
        ("rewrap", vec![Command::Rewrap { account, generation: 1, rewraps: 0, sealed: sealed(1) }]),
        ("raise-epoch-min", vec![Command::RaiseEpochMin { epoch: 1 }]),
        ("raise-key-min", vec![Command::RaiseKeyMin { key_number: 2 }]),
        ("turn-keys", vec![Command::TurnKeys { serial: 1, mark: [1; 32] }]),
        ("leave", vec![Command::Leave { offer: [4; 32] }]),
        ("expect", vec![Command::Expect { offer: [4; 32] }]),
        ("depart", vec![Command::Depart { offer: [4; 32], upto: Some(account) }]),
        ("arrive", vec![arrive()]),
        ("pardon", vec![Command::Pardon { account, pardoned: 10 }]),
        ("restore", vec![Command::Restore { number: 1 }]),
        ("signers", vec![signers()]),
        ("members", vec![Command::Members { predecessor: [0; 32], statement: b"a statement".to_vec() }]),
        ("several", vec![enrol, charge, Command::Clear { account, generation: 1, proof }]),
    ]
}

fn signers() -> Command {
    let from = Signers { auditor: [1; 32], operator: [2; 32] };
    Command::Signers {
        from: Box::new(Obeyed::first(from)),
        to: Box::new(Obeyed { signers: Signers { auditor: [3; 32], ..from }, epoch: 2 }),
        bundle: b"a bundle".to_vec(),
    }
}

fn policies() -> Vec<(&'static str, Policy)> {
    let pinned = Policy { pinned: vec![[1; 32], [2; 32]], context: Vec::new(), ..Policy::development() };
    let signers = Some(Signers { auditor: [1; 32], operator: [2; 32] });
    let signed = Policy { signers, ..Policy::development() };
    vec![("development", Policy::development()), ("pinned", pinned), ("signers", signed)]
}

struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

/// A state whose signers have turned.
fn turned() -> State {
    let policy = policies().into_iter().find(|(name, _)| *name == "signers").unwrap().1;
    let mut state = State::new(policy);
    assert_eq!(state.apply(&signers(), &mut Nowhere), Verdict::Done);
    state
}

/// A state in which things have happened.
fn lived() -> State {
    let mut state = State::new(Policy::development());
    state.advance(1000);
    let enrol = Command::Enrol { account: ACCOUNT, generation: 0, expiry_s: 3600, finish: [3; 32], sealed: sealed(0) };
    let charges = (1..=3).map(|byte| Command::Charge { account: ACCOUNT, digests: digests(byte, false) });
    let unknown = Command::Charge { account: AccountId([9; 32]), digests: digests(9, false) };
    for command in [enrol].into_iter().chain(charges).chain([unknown]) {
        let verdict = state.apply(&command, &mut Nowhere);
        assert!(!matches!(verdict, Verdict::Refused(_)), "{command:?} was refused: {verdict:?}");
    }
    state
}

fn requests() -> Vec<(&'static str, Request<'static>)> {
    vec![
        ("enrol-start", Request::EnrolStart { r1: &[1; R1_LEN] }),
        (
            "enrol-finish",
            Request::EnrolFinish {
                ticket: b"a ticket",
                r3: &[2; R3_LEN],
                preset: 1,
                secret: b"a secret",
                transcript: &[3; 32],
            },
        ),
        ("recover-start", Request::RecoverStart { ke1: &[4; KE1_LEN] }),
        ("recover-finish", Request::RecoverFinish { ticket: b"a ticket", ke3: &[5; KE3_LEN] }),
        ("remaining", Request::Remaining),
        ("remove", Request::Remove { ticket: b"a ticket", ke3: &[6; KE3_LEN] }),
        ("remove-unproven", Request::RemoveUnproven { generation: 1 }),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("enrol-started", Reply::EnrolStarted { r2: [1; R2_LEN], ticket: b"a ticket".to_vec() }),
        ("enrolled", Reply::Enrolled { generation: 1 }),
        (
            "recover-started",
            Reply::RecoverStarted {
                ke2: Box::new([2; KE2_LEN]),
                preset: 1,
                remaining: 9,
                ticket: b"a ticket".to_vec(),
            },
        ),
        ("remaining", Reply::Remaining { attempts: 9 }),
        ("removed", Reply::Removed),
        ("refused", Reply::Refused(Refusal::Exhausted)),
    ]
}

/// Scripts of the target `open`: a kind, bits that say where it is opened, a nonce, what is sealed, alterations.
fn open() -> Seeds {
    let login = |writer: &mut Writer| _ = writer.bytes(&[1; 128]).u32(1).u64(600).u16(1).u32(3);
    let enrolment = |writer: &mut Writer| _ = writer.bytes(&[2; 32]).u32(1).u64(3600).u16(1).bytes(&[3; 32]);
    let record =
        |writer: &mut Writer| _ = writer.bytes(&[4; 32]).u8(1).bytes(&[5; 192]).u32(1).u16(1).counted(b"a secret");
    let blob = |writer: &mut Writer| _ = writer.counted(b"a blob");
    type Content<'a> = &'a dyn Fn(&mut Writer);
    let kinds: [(u8, &str, Content<'_>); 4] =
        [(b'l', "login", &login), (b'e', "enrolment", &enrolment), (b'r', "record", &record), (b'b', "blob", &blob)];
    let places =
        [("here", 0), ("other-account", 1), ("other-kind", 2), ("old-key", 4), ("lost-key", 4 + 8), ("everywhere", 15)];
    let alterations: [(&str, &[u8]); 4] =
        [("cut", &[0, 0, 20]), ("longer", &[32, 0, 1]), ("turned", &[64, 0, 1]), ("flipped", &[96, 0, 50])];

    let mut seeds = Seeds::new();
    for (kind, name, content) in kinds {
        let mut add = |what: &str, bits: u8, altered: &[u8]| {
            let mut writer = Writer::default();
            writer.u8(kind).u8(bits).bytes(&[6; 12]);
            content(&mut writer);
            writer.bytes(altered);
            seeds.insert(format!("{name}-{what}"), writer.finish());
        };
        for (what, bits) in places {
            add(what, bits, &[]);
        }
        for (what, altered) in alterations {
            add(what, 0, altered);
        }
        // As long as the other kind, and under a key that is retired for good.
        add("lengthened", 2 + 4 + 8, &[32, 0, 1].repeat(LOGIN_TICKET_LEN - ENROLMENT_TICKET_LEN));
    }
    seeds.insert("forged-record".to_owned(), [b"x\0", &sealed(1).as_bytes()[..]].concat());
    seeds.insert("forged-short".to_owned(), b"x\0\x01\0\x01".to_vec());
    seeds
}

/// Scripts of the target `login`: messages to parse, and logins with right and wrong codes and altered messages.
fn login() -> Seeds {
    // RFC 9496 appendix A.1: the generator.
    let generator = hex::decode("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76").unwrap();
    let (generator, identity, junk) = (&generator[..], &[0; 32][..], &[255; 32][..]);
    let mut seeds = Seeds::new();
    for (name, parts) in [
        ("ke1", &[generator, junk, generator][..]),
        ("ke1-identity", &[identity, junk, generator]),
        ("ke1-identity-keyshare", &[generator, junk, identity]),
        ("ke1-no-element", &[junk, junk, generator]),
        ("r1", &[generator]),
        ("r1-identity", &[identity]),
        ("r3", &[generator, junk, junk, junk, junk, junk]),
        ("r3-identity", &[identity, junk, junk, junk, junk, junk]),
        ("ke3", &[junk, junk]),
        ("nothing", &[]),
    ] {
        seeds.insert(format!("message-{name}"), [b"m", &parts.concat()[..]].concat());
    }
    for (name, bits, typed, step, change) in [
        ("right", 0, "code", 0, 0),
        ("wrong", 0, "cod\u{eb}", 0, 0),
        ("unknown", 1, "code", 0, 0),
        ("unidentified", 2, "code", 0, 0),
        ("other-context", 4, "code", 0, 0),
        ("altered-ke1", 0, "code", 1, 1),
        ("altered-ke2", 0, "code", 2, 1),
        ("altered-ke3", 0, "code", 3, 1),
        ("altered-by-nothing", 0, "code", 2, 0),
        ("empty", 0, "", 0, 0),
    ] {
        let mut writer = Writer::default();
        writer.u8(b'l').u8(bits).u16(7).counted(b"code").counted(typed.as_bytes()).counted(b"strongroom-1");
        writer.u8(step).u16(40).u8(change);
        seeds.insert(format!("login-{name}"), writer.finish());
    }
    seeds
}

/// Scripts of the target `engine`: a door, a number of items, bits, then what chooses each item.
fn engine() -> Seeds {
    let doors = ["decode", "multiply", "multiply-base", "exchange", "map", "reduce", "x25519"];
    let mut seeds = Seeds::new();
    for (door, name) in (0..).zip(doors) {
        for count in [0, 1, 2, 7, 8, 9, 20] {
            // Points of both backends in one batch, from the sizes at which there is more than one vector.
            let bits = if count > 8 { 0b0101_0011 } else { 0 };
            let length = if door == 3 { 90 } else { 30 };
            seeds
                .insert(format!("{name}-{count}"), [&[door, count, bits], &numbers(count + door, length)[..]].concat());
        }
    }
    // One encoding of each bad kind among good ones, in each lane of two vectors.
    for lane in 0..16 {
        let mut script = vec![0, 16, 0];
        for item in 0..16 {
            let bad = [&[96, 33][..], &[128, 0, 31, 128], &[160, 0], &[192, 1, 2, 3, 4]];
            // 32 bytes of an arbitrary encoding follow its kind.
            let mut chosen = if item == lane { bad[usize::from(lane % 4)].to_vec() } else { vec![0, item] };
            chosen.resize(if chosen[0] == 192 { 33 } else { chosen.len() }, 0x5a);
            script.extend(chosen);
        }
        seeds.insert(format!("decode-bad-{lane}"), script);
    }
    // The edges of scalars: 1, l - 1, half of that, powers of two; times small and unknown points.
    let edges = [[0, 0], [32, 1], [80, 2], [79, 127], [96, 252], [96, 251], [31, 200], [63, 255]];
    let script = |door: u8| [&[door, 8, 0], edges.as_flattened()].concat();
    seeds.insert("multiply-edges".to_owned(), script(1));
    seeds.insert("multiply-base-edges".to_owned(), script(2));
    seeds
}

/// Scripts of the target `hash`: a door, a number of parts, a number of items, bits, then what chooses each item.
fn hash() -> Seeds {
    let mut seeds = Seeds::new();
    for (door, name) in (0..).zip(["digests", "macs", "prefixes", "mac-keys"]) {
        for (parts, count, bits) in [(0, 0, 0), (0, 1, 0), (1, 7, 1), (2, 8, 2), (3, 9, 3), (0, 16, 2), (3, 20, 2)] {
            let script = [&[door, parts, count, bits], &numbers(door + 4 * count, 60)[..]].concat();
            seeds.insert(format!("{name}-{parts}-{count}-{bits}"), script);
        }
        // Every edge of a block in one batch: kinds 128 to 159 are their lengths, each followed by a content.
        let edges = (128..148).flat_map(|kind| [kind, kind]);
        seeds.insert(format!("{name}-edges"), [door, 0, 20, 0].into_iter().chain(edges).collect());
    }
    seeds
}

/// Numbers that look like nothing, the same for the same start.
fn numbers(start: u8, length: usize) -> Vec<u8> {
    let next = |number: &u32| Some(number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(u32::from(start)), next)
        .skip(1)
        .take(length)
        .map(|number| (number >> 24) as u8)
        .collect()
}
