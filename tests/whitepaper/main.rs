//! The whitepaper says what the code does: its tables of bytes hold for what the code writes, its numbers are the code's, and its
//! labels are all there are. Tables of what members say to each other are held by `src/fleet/tests/messages.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod paper;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hmac::{Hmac, Mac};
use paper::Paper;
use serde_json::Value;
use sha2::Sha512;
use strongroom::account::AccountId;
use strongroom::client::{Keyring, Preset, RecoveryKey};
use strongroom::error::Refusal;
use strongroom::journal::{Anchored, Leader, LogId};
use strongroom::ledger::{Account, Command, Digests, KeyedDigest, Obeyed, Policy, Records, Signers, State};
use strongroom::limits;
use strongroom::protocol::{REPLY_LEN, REQUEST_LEN, Reply, Request};
use strongroom::secret::Secret;
use strongroom::session::{self, ChannelKeys, ENCAPSULATED_LEN, Recipient};
use strongroom::transparency::{Bundle, Note, Statement};
use strongroom::wire::{Reader, Writer};
use strongroom::wrap::Sealed;

const ACCOUNT: AccountId = AccountId([7; 32]);

/// Sealed records are of no interest here.
struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

/// Holds a table of this crate's whitepaper.
fn holds(table: &str, fields: &[(&str, &[u8])], written: &[u8]) {
    Paper::of_this_crate().holds(table, fields, written).unwrap();
}

fn all_of(fields: &[(&str, &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
}

/// A file of `name: hex` lines that this crate once wrote. Numbers are eight bytes there.
fn written(name: &str) -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/format-v1").join(name);
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), hex::decode(value).unwrap()));
    text.lines().skip(1).filter_map(line).collect()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// HKDF-Expand of at most 64 bytes.
fn expand(key: &[u8], info: &[&[u8]], length: usize) -> Vec<u8> {
    mac(key, &[info, &[&[1]]].concat())[..length].to_vec()
}

/// What is sealed under a secret, behind its commitment.
fn open(secret: &[u8], nonce: &[u8], commitment: &[u8], sealed: &[u8], associated: &[u8]) -> Vec<u8> {
    assert_eq!(expand(secret, &[b"commit"], 32), commitment);
    open_siv(&expand(secret, &[b"key"], 32), nonce, sealed, associated)
}

fn open_siv(key: &[u8], nonce: &[u8], sealed: &[u8], associated: &[u8]) -> Vec<u8> {
    let cipher = Aes256GcmSiv::new_from_slice(key).unwrap();
    cipher.decrypt(&Nonce::try_from(nonce).unwrap(), Payload { msg: sealed, aad: associated }).unwrap()
}

/// Bytes that lie one behind the other.
fn split<const N: usize>(mut bytes: &[u8], lengths: [usize; N]) -> [&[u8]; N] {
    let parts = lengths.map(|length| {
        let (part, rest) = bytes.split_at(length);
        bytes = rest;
        part
    });
    assert!(bytes.is_empty(), "{} bytes behind", bytes.len());
    parts
}

#[test]
fn requests_are_as_the_tables_say() {
    let (ticket, secret) = ([3; 141], [4; 90]);
    let fields = |request: &Request<'_>, kind: u8, body: &[(&str, &[u8])]| {
        let (bytes, body_bytes) = (request.encode(&ACCOUNT).unwrap(), all_of(body));
        let zeros = vec![0; REQUEST_LEN - 34 - body_bytes.len()];
        let whole: [(&str, &[u8]); 5] = [
            ("version", &[1]),
            ("kind", &[kind]),
            ("account id", &ACCOUNT.0),
            ("body", &body_bytes),
            ("zeros", &zeros),
        ];
        holds("request", &whole, &bytes);
        let table = if kind == 6 { 4 } else { kind };
        holds(&format!("request {table}"), body, &body_bytes);
    };
    let finish: [(&str, &[u8]); 3] =
        [("length of the ticket", &[0, 0, 0, 141]), ("login ticket", &ticket), ("KE3", &[6; 64])];
    fields(&Request::EnrolStart { r1: &[1; 32] }, 1, &[("R1", &[1; 32])]);
    let enrol =
        Request::EnrolFinish { ticket: &ticket, r3: &[5; 192], preset: 2, secret: &secret, transcript: &[8; 32] };
    fields(
        &enrol,
        2,
        &[
            ("length of the ticket", &[0, 0, 0, 141]),
            ("enrolment ticket", &ticket),
            ("R3", &[5; 192]),
            ("KSF preset", &[2]),
            ("length of the secret", &[0, 0, 0, 90]),
            ("wrapped secret", &secret),
            ("transcript", &[8; 32]),
        ],
    );
    fields(&Request::RecoverStart { ke1: &[9; 96] }, 3, &[("KE1", &[9; 96])]);
    fields(&Request::RecoverFinish { ticket: &ticket, ke3: &[6; 64] }, 4, &finish);
    fields(&Request::Remaining, 5, &[]);
    fields(&Request::Remove { ticket: &ticket, ke3: &[6; 64] }, 6, &finish);
    fields(&Request::RemoveUnproven { generation: 9 }, 7, &[("generation", &[0, 0, 0, 9])]);
}

#[test]
fn replies_and_refusals_are_as_the_tables_say() {
    let ticket = vec![3; 141];
    let fields = |reply: &Reply, refusal: u8, kind: u8, body: &[(&str, &[u8])]| {
        let (bytes, body_bytes) = (reply.encode(), all_of(body));
        let zeros = vec![0; REPLY_LEN - 3 - body_bytes.len()];
        let whole: [(&str, &[u8]); 5] =
            [("version", &[1]), ("refusal", &[refusal]), ("kind", &[kind]), ("body", &body_bytes), ("zeros", &zeros)];
        holds("reply", &whole, &bytes);
        if refusal == 0 {
            holds(&format!("reply {kind}"), body, &body_bytes);
        }
    };
    let length: (&str, &[u8]) = ("length of the ticket", &[0, 0, 0, 141]);
    fields(
        &Reply::EnrolStarted { r2: [2; 64], ticket: ticket.clone() },
        0,
        1,
        &[("R2", &[2; 64]), length, ("enrolment ticket", &ticket)],
    );
    fields(&Reply::Enrolled { generation: 5 }, 0, 2, &[("generation", &[0, 0, 0, 5])]);
    let started = Reply::RecoverStarted { ke2: Box::new([6; 320]), preset: 1, remaining: 9, ticket: ticket.clone() };
    fields(
        &started,
        0,
        3,
        &[
            ("KE2", &[6; 320]),
            ("KSF preset", &[1]),
            ("attempts left", &[0, 0, 0, 9]),
            length,
            ("login ticket", &ticket),
        ],
    );
    fields(&Reply::Remaining { attempts: 7 }, 0, 5, &[("attempts left", &[0, 0, 0, 7])]);
    fields(&Reply::Removed, 0, 6, &[]);

    let it = written("delivery.txt");
    let Ok(Reply::Recovered { delivery }) = Reply::decode(&it["reply"]) else { panic!("a delivery") };
    fields(&Reply::Recovered { delivery: delivery.clone() }, 0, 4, &[("delivery", delivery.as_bytes())]);
    let [nonce, ciphertext, tag] = split(delivery.as_bytes(), [12, 514, 16]);
    holds("delivery", &[("nonce", nonce), ("ciphertext", ciphertext), ("tag", tag)], delivery.as_bytes());
    let key = expand(&it["session_key"], &[b"strongroom delivery v1"], 32);
    let plain = open_siv(&key, nonce, &delivery.as_bytes()[12..], &it["account"]);
    let (secret, zeros) = (&it["secret"], vec![0; 512 - it["secret"].len()]);
    let length = (secret.len() as u16).to_be_bytes();
    holds(
        "delivery plain",
        &[("length of the secret", &length), ("wrapped secret", secret), ("zeros", &zeros)],
        &plain,
    );

    for refusal in Refusal::all() {
        fields(&Reply::Refused(refusal), refusal.code(), 0, &[]);
    }
    let told: Vec<_> = Refusal::all().map(|it| (it.code().to_string(), format!("{it:?}"))).collect();
    assert_eq!(first_two("refusals"), told);
}

/// The first two cells of each row.
fn first_two(name: &str) -> Vec<(String, String)> {
    let paper = Paper::of_this_crate();
    let rows = paper.rows(name).unwrap();
    rows.iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

#[test]
fn messages_of_opaque_are_as_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/rfc9807-ristretto255.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut seen = 0;
    for vector in
        vectors.as_array().unwrap().iter().filter(|vector| vector["outputs"]["registration_upload"].is_string())
    {
        let of = |part: &str, name: &str| hex::decode(vector[part][name].as_str().unwrap()).unwrap();
        let (inputs, inner, outputs) =
            (|name: &str| of("inputs", name), |name: &str| of("intermediates", name), |name: &str| of("outputs", name));
        let r1 = outputs("registration_request");
        holds("R1", &[("blinded element", &r1)], &r1);
        let r2 = outputs("registration_response");
        let server = inputs("server_public_key");
        holds("R2", &[("evaluated element", &r2[..32]), ("server public key", &server)], &r2);
        let (client, masking, envelope) = (inner("client_public_key"), inner("masking_key"), inner("envelope"));
        let r3: [(&str, &[u8]); 3] =
            [("client public key", &client), ("masking key", &masking), ("envelope", &envelope)];
        holds("R3", &r3, &outputs("registration_upload"));
        let ke1 = outputs("KE1");
        let [element, _, share] = split(&ke1, [32, 32, 32]);
        let nonce = inputs("client_nonce");
        holds("KE1", &[("blinded element", element), ("client nonce", &nonce), ("client key share", share)], &ke1);
        let ke2 = outputs("KE2");
        let [element, _, masked, _, share, mac] = split(&ke2, [32, 32, 128, 32, 32, 64]);
        let (masking_nonce, server_nonce) = (inputs("masking_nonce"), inputs("server_nonce"));
        holds(
            "KE2",
            &[
                ("evaluated element", element),
                ("masking nonce", &masking_nonce),
                ("masked response", masked),
                ("server nonce", &server_nonce),
                ("server key share", share),
                ("server MAC", mac),
            ],
            &ke2,
        );
        let ke3 = outputs("KE3");
        holds("KE3", &[("client MAC", &ke3)], &ke3);
        seen += 1;
    }
    assert!(seen >= 2, "{seen} vectors");
}

#[test]
fn the_channel_is_as_the_tables_say() {
    let keys = ChannelKeys::new((3, &Secret::new([8; 32])), &[(4, [9; 32])]).unwrap();
    let sealed = keys.key().seal(&[5; REQUEST_LEN]).unwrap();
    let [version, number, epoch, encapsulated, request, tag] =
        split(sealed.bytes(), [1, 2, 4, ENCAPSULATED_LEN, REQUEST_LEN, 16]);
    assert_eq!((version, number, epoch), (&[1][..], &[0, 3][..], &[0, 0, 0, 4][..]));
    holds(
        "channel request",
        &[
            ("version", &[1]),
            ("number of the channel key", &[0, 3]),
            ("epoch of the bundle that names it", &[0, 0, 0, 4]),
            ("X-Wing ciphertext", encapsulated),
            ("sealed request", request),
            ("tag", tag),
        ],
        sealed.bytes(),
    );
    let opened = keys.open(&[sealed.bytes()], 0).remove(0).unwrap();
    let reply = opened.reply_key.seal(&[6; REPLY_LEN]).unwrap();
    let [nonce, body, tag] = split(&reply, [32, REPLY_LEN, 16]);
    holds("channel reply", &[("response nonce", nonce), ("sealed reply", body), ("tag", tag)], &reply);

    let handed =
        [&[1][..], &session::seal(Recipient::new(&Secret::new([1; 32])).public_key(), b"", &[2; 30]).unwrap()].concat();
    let [_, encapsulated, sealed, tag] = split(&handed, [1, ENCAPSULATED_LEN, 30, 16]);
    let fields: [(&str, &[u8]); 4] =
        [("version", &[1]), ("X-Wing ciphertext", encapsulated), ("sealed keys", sealed), ("tag", tag)];
    holds("keys handed over", &fields, &handed);
}

#[test]
fn what_is_sealed_is_as_the_tables_say() {
    // Tickets: both kinds, opened by what the tables say of them.
    for (file, kind, table) in
        [("login-ticket.txt", 1, "login ticket"), ("enrolment-ticket.txt", 2, "enrolment ticket")]
    {
        let it = written(file);
        let ticket = &it["ticket"];
        let [version, number, nonce, commitment, ciphertext, tag] =
            split(ticket, [1, 2, 12, 32, ticket.len() - 63, 16]);
        let fields: [(&str, &[u8]); 6] = [
            ("version", &[1]),
            ("number of the ticket key", number),
            ("nonce", nonce),
            ("commitment", commitment),
            ("ciphertext", ciphertext),
            ("tag", tag),
        ];
        holds("ticket", &fields, ticket);
        let associated: [(&str, &[u8]); 6] = [
            ("kind", &[kind]),
            ("version", version),
            ("number of the ticket key", number),
            ("fleet id", &it["fleet"]),
            ("number of restores", &[0; 4]),
            ("account id", &it["account"]),
        ];
        let associated_bytes = all_of(&associated);
        holds("ticket associated", &associated, &associated_bytes);
        let plain = open(&it["key"], nonce, commitment, &ticket[47..], &associated_bytes);
        let [generation, expiry, key_number] = [&it["generation"][4..], &it["expiry_s"], &it["key_number"][6..]];
        if kind == 1 {
            let [mac, session_key] = split(&it["state"], [64, 64]);
            holds(
                table,
                &[
                    ("generation", generation),
                    ("last second", expiry),
                    ("number of the server key", key_number),
                    ("ordinal", &it["ordinal"][4..]),
                    ("client MAC that is expected", mac),
                    ("session key", session_key),
                ],
                &plain,
            );
        } else {
            holds(
                table,
                &[
                    ("generation that it ends", generation),
                    ("last second", expiry),
                    ("number of the server key", key_number),
                    ("SHA-256 of R1 and R2", &it["transcript"]),
                    ("nonce of L7", &it["nonce"]),
                ],
                &plain,
            );
        }
    }

    let it = written("sealed-record.txt");
    let sealed = &it["sealed"];
    let (epoch, generation) = (&it["epoch"][4..], &it["generation"][4..]);
    let [head, nonce, commitment, ciphertext, tag] = split(sealed, [7, 12, 32, sealed.len() - 67, 16]);
    let fields: [(&str, &[u8]); 7] = [
        ("version", &[1]),
        ("epoch", epoch),
        ("number of the server key", &it["key_number"][6..]),
        ("nonce", nonce),
        ("commitment", commitment),
        ("ciphertext", ciphertext),
        ("tag", tag),
    ];
    holds("sealed record", &fields, sealed);
    let associated: [(&str, &[u8]); 4] = [
        ("the first three fields", head),
        ("account id", &it["account"]),
        ("generation", generation),
        ("`record`", b"record"),
    ];
    let associated_bytes = all_of(&associated);
    holds("record associated", &associated, &associated_bytes);
    let epoch_key = expand(&it["root"], &[b"strongroom epoch v1", epoch], 64);
    let secret = expand(&epoch_key, &[b"record", &it["account"], generation], 64);
    let plain = open(&secret, nonce, commitment, &sealed[51..], &associated_bytes);
    assert_eq!(plain, it["plain"]);
    let length = usize::from(u16::from_be_bytes([plain[225], plain[226]]));
    let [nonce, preset, r3, said, secret, zeros] = split(&plain, [32, 1, 192, 2, length, 512 - length]);
    assert!(zeros.iter().all(|byte| *byte == 0) && length > 0);
    holds(
        "record plain",
        &[
            ("nonce of L7", nonce),
            ("KSF preset", preset),
            ("R3", r3),
            ("length of the secret", said),
            ("wrapped secret", secret),
            ("zeros", zeros),
        ],
        &plain,
    );

    let it = written("sealed-blob.txt");
    let (sealed, epoch) = (&it["sealed"], &it["epoch"][4..]);
    let [head, nonce, commitment, ciphertext, tag] = split(sealed, [5, 12, 32, sealed.len() - 65, 16]);
    let fields: [(&str, &[u8]); 6] = [
        ("version", &[1]),
        ("epoch", epoch),
        ("nonce", nonce),
        ("commitment", commitment),
        ("ciphertext", ciphertext),
        ("tag", tag),
    ];
    holds("blob", &fields, sealed);
    let epoch_key = expand(&it["root"], &[b"strongroom epoch v1", epoch], 64);
    let secret = expand(&epoch_key, &[b"blob", b"fleet keys"], 64);
    let associated = [head, b"blob", b"fleet keys"].concat();
    assert_eq!(open(&secret, nonce, commitment, &sealed[49..], &associated), it["plain"]);
}

#[test]
fn the_ledger_is_as_the_tables_say() {
    let signers = Signers { auditor: [1; 32], operator: [2; 32] };
    let policy = Policy { signers: Some(signers), pinned: vec![[3; 32], [4; 32]], ..Policy::development() };
    holds(
        "policy",
        &[
            ("attempts_max", &10_u32.to_be_bytes()),
            ("lifetime_max", &50_u32.to_be_bytes()),
            ("conceal_exhausted", &[0]),
            ("destroy_after_s", &86_400_u64.to_be_bytes()),
            ("login_ttl_s", &600_u64.to_be_bytes()),
            ("enrolment_ttl_s", &3_600_u64.to_be_bytes()),
            ("skew_max_s", &300_u64.to_be_bytes()),
            ("restore_attempts", &1_u32.to_be_bytes()),
            ("unknown_max", &1_000_000_u64.to_be_bytes()),
            ("unproven_removal", &[0]),
            ("root", &[0]),
            ("anchor", &[1]),
            ("length of the context", &[0, 0, 0, 12]),
            ("context", b"strongroom-1"),
            ("client_identity", &[1]),
            ("default_preset", &[1]),
            ("bundles pinned", &[0, 2]),
            ("32 of each", &[[3; 32], [4; 32]].concat()),
            ("signers", &[1]),
            ("auditor's key (32), operator's key (32)", &[[1; 32], [2; 32]].concat()),
            ("development", &[1]),
        ],
        &policy.encode(),
    );
    let numbers = [
        ("attempts_max", u64::from(policy.attempts_max)),
        ("lifetime_max", u64::from(policy.lifetime_max)),
        ("destroy_after_s", policy.destroy_after_s),
        ("login_ttl_s", policy.login_ttl_s),
        ("enrolment_ttl_s", policy.enrolment_ttl_s),
        ("skew_max_s", policy.skew_max_s),
        ("restore_attempts", u64::from(policy.restore_attempts)),
        ("unknown_max", policy.unknown_max),
    ];
    assert_eq!(first_two("numbers: policy"), numbers.map(|(name, it)| (name.to_owned(), it.to_string())));

    let charge = |ordinal: u8| {
        let digest = KeyedDigest { key_number: 5, digest: [ordinal; 16] };
        Command::Charge { account: ACCOUNT, digests: Digests { current: digest, previous: None } }
    };
    let mut writer = Writer::default();
    charge(6).write(&mut writer);
    holds(
        "charge",
        &[
            ("kind", &[1]),
            ("account id", &ACCOUNT.0),
            ("number of the digest key", &[0, 5]),
            ("HMAC-SHA-512 of account id and KE1", &[6; 16]),
            ("1 if a digest under the key before follows", &[0]),
        ],
        &writer.finish(),
    );

    let next = Signers { operator: [5; 32], ..signers };
    let (from, to) = (Obeyed { signers, epoch: 6 }, Obeyed { signers: next, epoch: 8 });
    let turn = Command::Signers { from: Box::new(from), to: Box::new(to), bundle: b"a bundle".to_vec() };
    let mut writer = Writer::default();
    turn.write(&mut writer);
    holds(
        "signers",
        &[
            ("kind", &[18]),
            ("those before", &[[1; 32], [2; 32]].concat()),
            ("epoch of the bundle that named them", &6_u32.to_be_bytes()),
            ("those from here on", &[[1; 32], [5; 32]].concat()),
            ("epoch of the bundle", &8_u32.to_be_bytes()),
            ("length of the bundle", &8_u32.to_be_bytes()),
            ("the bundle", b"a bundle"),
        ],
        &writer.finish(),
    );

    // An account that has been charged twice, and one that has a record.
    let mut state = State::new(policy);
    state.advance(99);
    for ordinal in [1, 2] {
        state.apply(&charge(ordinal), &mut Nowhere);
    }
    let window = [&[0, 0, 0, 1, 0, 5][..], &[1; 16], &[0, 0, 0, 2, 0, 5], &[2; 16]].concat();
    let account =
        |record: u8, live: &[u8], counters: [u32; 6], second: u64, attempts: u16, window: &[u8], written: &Account| {
            let counters = counters.map(u32::to_be_bytes);
            let mut writer = Writer::default();
            written.write(&mut writer);
            holds(
                "account",
                &[
                    ("spent", &counters[0]),
                    ("cleared", &counters[1]),
                    ("generation", &counters[2]),
                    ("began", &counters[3]),
                    ("owed", &counters[4]),
                    ("pardoned", &counters[5]),
                    ("second of the last charge", &second.to_be_bytes()),
                    ("record", &[record]),
                    ("of a live record", live),
                    ("attempts in the window", &attempts.to_be_bytes()),
                    ("of each", window),
                ],
                &writer.finish(),
            );
        };
    account(0, &[], [2, 0, 0, 0, 0, 0], 99, 2, &window, state.account(&ACCOUNT).unwrap());
    let it = written("sealed-record.txt");
    let sealed = Sealed::from_bytes(&it["sealed"]).unwrap();
    state.apply(
        &Command::Enrol { account: ACCOUNT, generation: 0, expiry_s: 200, finish: [8; 32], sealed },
        &mut Nowhere,
    );
    let live = [&it["epoch"][4..], &it["key_number"][6..], &[0; 4], &[8; 32]].concat();
    account(1, &live, [2, 0, 1, 2, 0, 0], 99, 0, &[], state.account(&ACCOUNT).unwrap());

    // Every kind of command, by the file that has one of each.
    let it = written("ledger.txt");
    let mut reader = Reader::new(&it["commands"]);
    let mut kinds = BTreeSet::new();
    while !reader.is_empty() {
        let command = Command::read(&mut reader).unwrap();
        let (mut writer, said) = (Writer::default(), format!("{command:?}"));
        command.write(&mut writer);
        let name = said.split([' ', '{']).next().unwrap().to_owned();
        kinds.insert((writer.finish()[0], name));
    }
    let kinds: Vec<_> = kinds.into_iter().map(|(kind, name)| (kind.to_string(), name)).collect();
    assert_eq!(first_two("commands"), kinds);
}

#[test]
fn the_journal_is_as_the_tables_say() {
    let rows = written("rows.txt");
    let row = &rows["row"];
    let [version, term, leader, index, second, kind, count, commands, chain] =
        split(row, [1, 8, 8, 8, 8, 1, 4, row.len() - 70, 32]);
    let mut reader = Reader::new(commands);
    for _ in 0..u32::from_be_bytes(count.try_into().unwrap()) {
        Command::read(&mut reader).unwrap();
    }
    assert!(reader.is_empty() && !commands.is_empty());
    holds(
        "row",
        &[
            ("version", version),
            ("term", &[0; 8]),
            ("leader", &[0; 8]),
            ("index", &3_u64.to_be_bytes()),
            ("second of the batch", second),
            ("kind", &[1]),
            ("commands", count),
            ("the commands", commands),
            ("chain", chain),
        ],
        row,
    );
    assert_eq!((term, leader, index, kind), (&[0; 8][..], &[0; 8][..], &3_u64.to_be_bytes()[..], &[1][..]));
    let leader = |term, member| Leader { term, member };
    let last = LogId { leader: leader(4, 5), index: 6 };
    let anchored = Anchored { sequence: 1, vote: leader(2, 3), last, chain: [7; 32], root: [8; 32] };
    let numbers = [1, 2, 3, 4, 5, 6].map(u64::to_be_bytes);
    holds(
        "anchor",
        &[
            ("sequence", &numbers[0]),
            ("term of the last vote", &numbers[1]),
            ("member that was voted for", &numbers[2]),
            ("term of the last row", &numbers[3]),
            ("leader of the last row", &numbers[4]),
            ("index of the last row", &numbers[5]),
            ("chain at the last row", &[7; 32]),
            ("root of the last checkpoint", &[8; 32]),
        ],
        &anchored.encode(),
    );
}

#[test]
fn what_is_signed_and_what_a_person_keeps_are_as_the_tables_say() {
    let paper = Paper::of_this_crate();
    let bundle = paper.code("text: bundle").unwrap();
    assert_eq!(Bundle::parse(bundle.as_bytes()).unwrap().note().unwrap().text(), bundle);
    let statement = paper.code("text: statement").unwrap();
    let read = Statement::read(&Note::read_unsigned(statement.as_bytes()).unwrap()).unwrap();
    assert_eq!(read.note().unwrap().text(), statement);

    let vectors: Value = serde_json::from_str(include_str!("../../vectors/client/wrapped-v1.json")).unwrap();
    let wrapped = hex::decode(vectors["cases"][0]["wrapped"].as_str().unwrap()).unwrap();
    let [_, commitment, nonce, ciphertext, tag] = split(&wrapped, [1, 32, 12, 32, 16]);
    let fields: [(&str, &[u8]); 5] =
        [("version", &[1]), ("commitment", commitment), ("nonce", nonce), ("ciphertext", ciphertext), ("tag", tag)];
    holds("wrapped", &fields, &wrapped);
    let backup_key = Secret::new([5; 32]);
    let mut keyring = Keyring::new(&backup_key).unwrap();
    keyring.set_recovery_key(&backup_key, &RecoveryKey::generate().unwrap()).unwrap();
    let keyring = keyring.write().unwrap();
    // A recovery key's way is its kind and a wrapped key.
    let [_, id, _, way, seal] = split(&keyring, [1, 16, 1, 1 + wrapped.len(), 32]);
    assert_eq!(way[0], 2);
    let fields: [(&str, &[u8]); 5] =
        [("version", &[1]), ("id of the keyring", id), ("ways in", &[1]), ("of each", way), ("seal", seal)];
    holds("keyring", &fields, &keyring);

    let presets: Vec<_> = (0..=u8::MAX).map_while(Preset::from_byte).collect();
    let numbers =
        |it: &Preset| [u32::from(it.byte()), it.memory_kib(), it.passes(), it.lanes()].map(|it| it.to_string());
    let told: Vec<Vec<_>> = presets.iter().map(|it| numbers(it).to_vec()).collect();
    assert_eq!(paper.rows("presets").unwrap(), told);
}

#[test]
fn bounds_are_the_codes() {
    let numbers: Vec<_> =
        first_two("numbers: limits").into_iter().map(|(_, number)| number.parse::<u64>().unwrap()).collect();
    let limits = [
        limits::BATCH_MAX as u64,
        limits::ATTEMPTS_LIMIT.into(),
        limits::LIFETIME_LIMIT.into(),
        limits::ACCOUNTS_MAX as u64,
        limits::SECRET_MAX as u64,
        limits::CONTEXT_MAX as u64,
        limits::CODE_MAX as u64,
        limits::STATEMENT_MAX as u64,
        limits::PINNED_MAX as u64,
        limits::SWEEP_MAX.into(),
        limits::UNKNOWN_KEEP_S,
        limits::KEYS_MAX as u64,
        limits::HANDED_MAX as u64,
        limits::ASIDE_MAX as u64,
        limits::ROW_MAX as u64,
    ];
    assert_eq!(numbers, limits);
}

/// Labels in the source of the crate, its tests aside.
fn labels(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if entry.is_dir() && name != "tests" {
            labels(&entry, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&entry).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let behind = product.split("b\"strongroom ").skip(1);
            found.extend(behind.filter_map(|it| Some(format!("strongroom {}", it.split_once('"')?.0))));
        }
    }
}

#[test]
fn there_are_no_other_labels() {
    let mut found = BTreeSet::new();
    labels(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let told = first_two("labels").into_iter().map(|(label, _)| label.trim_matches('`').to_owned());
    assert_eq!(told.collect::<BTreeSet<_>>(), found);
}

#[test]
fn every_table_is_held_against_something() {
    let paper = Paper::of_this_crate();
    let (here, fleet) = (include_str!("main.rs"), include_str!("../../src/fleet/tests/messages.rs"));
    for name in paper.names() {
        let asked = name.strip_prefix("bytes: ").unwrap_or(name);
        let by_number = ["request ", "reply "].iter().any(|it| asked.starts_with(it));
        let quoted = format!("\"{asked}\"");
        assert!(by_number || here.contains(&quoted) || fleet.contains(&quoted), "nobody holds {name}");
    }
    assert!(paper.names().len() > 45);
}

/// The control: a table that is wrong anywhere is told.
#[test]
fn a_table_that_is_wrong_is_seen() {
    let table = "<!-- bytes: thing -->\n| bytes | field |\n|---|---|\n| 1 | version, 1 |\n| 2 | number |\n| z | zeros, up to 8 bytes in all |\n\n";
    let fields: [(&str, &[u8]); 3] = [("version", &[1]), ("number", &[2, 3]), ("zeros", &[0; 5])];
    let written = [1, 2, 3, 0, 0, 0, 0, 0];
    assert_eq!(Paper::of(table).holds("thing", &fields, &written), Ok(()));
    for (from, to) in [
        ("| 2 | number", "| 3 | number"),
        ("| 2 | number", "| 2 | epoch"),
        ("| 1 | version, 1 |\n", ""),
        ("| 2 | number |\n", "| 2 | number |\n| 2 | number |\n"),
        ("| 1 | version, 1 |\n| 2 | number |", "| 2 | number |\n| 1 | version, 1 |"),
        ("up to 8", "up to 9"),
        ("bytes: thing", "bytes: nothing"),
    ] {
        let wrong = table.replace(from, to);
        assert_ne!(wrong, table);
        assert!(Paper::of(&wrong).holds("thing", &fields, &written).is_err(), "{to}");
    }
    assert!(Paper::of(table).holds("thing", &fields, &[1, 2, 4, 0, 0, 0, 0, 0]).is_err(), "other bytes");
    assert!(Paper::of(table).holds("thing", &fields, &[1, 2, 3, 0, 0, 0, 0, 0, 0]).is_err(), "a byte more");
    assert!(Paper::of(table).holds("thing", &fields[..2], &written).is_err(), "a field less");
}
