//! The format corpus: `vectors/format-v1/` holds what version 1 writes, and every later version opens it or says which
//! version it needs.
//!
//! The first test holds the files against what this version writes, from fixed keys and nonces; the others read the
//! files, and only the files. After a change of format run it with `STRONGROOM_WRITE_CORPUS=1` into a *new* folder.
//! Rows of the journal have their own test beside the journal, since only a journal writes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use strongroom::account::AccountId;
use strongroom::error::{Fault, Refusal};
use strongroom::ledger::{
    Arrival, Command, Digests, KeyedDigest, Obeyed, Policy, Proof, Records, Signers, State, Verdict,
};
use strongroom::protocol::{Delivery, DeliveryItem, Reply, Request};
use strongroom::secret::Secret;
use strongroom::wire::{Reader, Writer};
use strongroom::wrap::{
    EnrolmentTicket, EpochKey, EpochKeys, LoginTicket, MemoryRoot, OpenItem, Record, RootSource, SealItem, Sealed,
    TicketKey, TicketKeys,
};

/// A file of the corpus: what it is, then its fields by name.
struct File {
    about: &'static str,
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl File {
    fn text(&self) -> String {
        let mut text = format!("# {}\n", self.about);
        for (name, bytes) in &self.fields {
            text.push_str(&format!("{name}: {}\n", hex::encode(bytes)));
        }
        text
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/format-v1")
}

/// The fields of a stored file.
fn stored(name: &str) -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, bytes) = line.split_once(": ").or(line.strip_suffix(':').map(|name| (name, ""))).unwrap();
            (name.to_owned(), hex::decode(bytes).unwrap())
        })
        .collect()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

const ACCOUNT: [u8; 32] = *b"an account id of thirty-two byte";
const FLEET: [u8; 32] = [0xf1; 32];
const ROOT: [u8; 64] = [0x70; 64];
const EPOCH: u32 = 3;
const GENERATION: u32 = 5;
const KEY_NUMBER: u16 = 2;
const NONCE: [u8; 12] = [0x0a; 12];
const SESSION_KEY: [u8; 64] = [0x5e; 64];
const LOGIN_KEY: [u8; 32] = [0x10; 32];
const ENROLMENT_KEY: [u8; 32] = [0xe0; 32];
const SECRET: &[u8] = b"a wrapped secret";

fn account() -> AccountId {
    AccountId(ACCOUNT)
}

/// Bytes that are all different from their neighbours, so that a field read at the wrong place is seen.
fn pattern<const N: usize>(seed: u8) -> [u8; N] {
    std::array::from_fn(|index| seed.wrapping_add(index as u8))
}

fn epochs(root: &[u8; 64]) -> EpochKeys {
    let source = MemoryRoot::new();
    source.create_with(EPOCH, root).unwrap();
    EpochKeys::load(&source, EPOCH).unwrap()
}

fn tickets(login: [u8; 32], enrolment: [u8; 32], fleet: [u8; 32]) -> TicketKeys {
    TicketKeys::new(fleet, (1, &TicketKey::new(login)), (4, &TicketKey::new(enrolment)))
}

fn sealed() -> Sealed {
    let record = Record::new(&pattern(1), 9, &pattern(2), SECRET).unwrap();
    let item = SealItem { account: &account(), generation: GENERATION, key_number: KEY_NUMBER, record: &record };
    epochs(&ROOT).seal_with(&[(item, NONCE)]).remove(0).unwrap()
}

fn commands() -> Vec<Command> {
    let account = account();
    let digest = |key_number, seed| KeyedDigest { key_number, digest: pattern(seed) };
    let digests = Digests { current: digest(2, 3), previous: Some(digest(1, 4)) };
    let proof = Proof { ordinal: 1, expiry_s: 1_800_000_600 };
    vec![
        Command::Enrol { account, generation: 0, expiry_s: 1_800_000_600, finish: pattern(5), sealed: sealed() },
        Command::Charge { account, digests },
        Command::Charge { account, digests: Digests { current: digest(2, 6), previous: None } },
        Command::Clear { account, generation: 1, proof },
        Command::Rewrap { account, generation: 1, rewraps: 0, sealed: sealed() },
        Command::Charge { account: AccountId(pattern(7)), digests },
        Command::RaiseEpochMin { epoch: 2 },
        Command::RaiseKeyMin { key_number: 2 },
        Command::TurnKeys { serial: 1, mark: [1; 32] },
        Command::Sweep { account },
        Command::Forget { most: 3 },
        Command::Members { predecessor: [0; 32], statement: b"a statement".to_vec() },
        Command::Signers {
            from: Box::new(Obeyed { signers: Signers { auditor: pattern(15), operator: pattern(16) }, epoch: 18 }),
            to: Box::new(Obeyed { signers: Signers { auditor: pattern(17), operator: pattern(16) }, epoch: 20 }),
            bundle: b"a bundle".to_vec(),
        },
        Command::Restore { number: 1 },
        Command::Pardon { account, pardoned: 0 },
        Command::Remove { account, generation: 7, proof: Some(proof) },
        Command::Remove { account, generation: 7, proof: None },
        Command::Leave { offer: pattern(13) },
        Command::Depart { offer: pattern(13), upto: Some(account) },
        Command::Expect { offer: pattern(14) },
        arrive(),
    ]
}

/// Two accounts as they come from another vault, one with a record.
fn arrive() -> Command {
    let mut other = State::new(Policy::development());
    let (known, unknown) = (account(), AccountId(pattern(7)));
    let digests = Digests { current: KeyedDigest { key_number: 1, digest: pattern(3) }, previous: None };
    let finish = pattern(5);
    for command in [
        Command::Enrol { account: known, generation: 0, expiry_s: 1_800_000_600, finish, sealed: sealed() },
        Command::Charge { account: known, digests },
        Command::Charge { account: unknown, digests },
    ] {
        other.apply(&command, &mut Nowhere);
    }
    let come = |id: AccountId, sealed| Arrival::new(id, other.account(&id).unwrap().clone(), sealed).unwrap();
    let arrivals = [come(unknown, None), come(known, Some(sealed()))].into();
    Command::Arrive { offer: pattern(14), from: AccountId([0; 32]), upto: None, arrivals }
}

struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

/// The state that takes accounts from another vault.
fn taken() -> State {
    let mut state = State::new(Policy::development());
    state.advance(1_800_000_000);
    assert_eq!(state.apply(&Command::Expect { offer: pattern(14) }, &mut Nowhere), Verdict::Done);
    assert_eq!(state.apply(&arrive(), &mut Nowhere), Verdict::Done);
    state
}

fn state() -> State {
    let mut state = State::new(Policy::development());
    state.advance(1_800_000_000);
    for command in commands() {
        state.apply(&command, &mut Nowhere);
    }
    state
}

fn written(command: &Command) -> Vec<u8> {
    let mut writer = Writer::default();
    command.write(&mut writer);
    writer.finish()
}

/// Everything that this version writes, by file.
fn corpus() -> BTreeMap<&'static str, File> {
    let be = |number: u64| number.to_be_bytes().to_vec();
    let record = Record::new(&pattern(1), 9, &pattern(2), SECRET).unwrap();
    let login = LoginTicket {
        generation: GENERATION,
        expiry_s: 1_800_000_600,
        key_number: KEY_NUMBER,
        ordinal: 6,
        state: Box::new(Secret::new(pattern(8))),
    };
    let enrolment = EnrolmentTicket {
        generation: GENERATION,
        expiry_s: 1_800_003_600,
        key_number: KEY_NUMBER,
        transcript: pattern(9),
        nonce: Box::new(Secret::new(pattern(10))),
    };
    let keys = tickets(LOGIN_KEY, ENROLMENT_KEY, FLEET);
    let seal_login = keys.seal_with(0, &[((&account(), &login), NONCE)]).remove(0).unwrap();
    let seal_enrolment = keys.seal_with(0, &[((&account(), &enrolment), NONCE)]).remove(0).unwrap();
    let blob = epochs(&ROOT).seal_blob_with("fleet keys", b"a blob", &NONCE).unwrap();
    let item = DeliveryItem { session_key: &Secret::new(SESSION_KEY), account: &account(), secret: SECRET };
    let delivery = Delivery::seal_with(&[(item, NONCE)]).remove(0).unwrap();
    let finish = Request::EnrolFinish {
        ticket: &seal_enrolment,
        r3: &pattern(11),
        preset: 1,
        secret: SECRET,
        transcript: &pattern(12),
    };
    let reply =
        Reply::RecoverStarted { ke2: Box::new(pattern(13)), preset: 1, remaining: 9, ticket: seal_login.clone() };
    let common = |more: Vec<(&'static str, Vec<u8>)>| {
        let mut fields = vec![("account", ACCOUNT.to_vec())];
        fields.extend(more);
        fields
    };
    BTreeMap::from([
        (
            "sealed-record.txt",
            File {
                about: "A sealed record, the root key of its epoch, and what it holds.",
                fields: common(vec![
                    ("root", ROOT.to_vec()),
                    ("epoch", be(u64::from(EPOCH))),
                    ("generation", be(u64::from(GENERATION))),
                    ("key_number", be(u64::from(KEY_NUMBER))),
                    ("plain", record.encode().to_vec()),
                    ("sealed", sealed().as_bytes().to_vec()),
                ]),
            },
        ),
        (
            "sealed-blob.txt",
            File {
                about: "A blob sealed for the purpose `fleet keys`, and the root key of its epoch.",
                fields: vec![
                    ("root", ROOT.to_vec()),
                    ("epoch", be(u64::from(EPOCH))),
                    ("plain", b"a blob".to_vec()),
                    ("sealed", blob),
                ],
            },
        ),
        (
            "login-ticket.txt",
            File {
                about: "A login ticket under key number 1, and what it says.",
                fields: common(vec![
                    ("fleet", FLEET.to_vec()),
                    ("key", LOGIN_KEY.to_vec()),
                    ("generation", be(u64::from(login.generation))),
                    ("expiry_s", be(login.expiry_s)),
                    ("key_number", be(u64::from(login.key_number))),
                    ("ordinal", be(u64::from(login.ordinal))),
                    ("state", login.state.expose().to_vec()),
                    ("ticket", seal_login),
                ]),
            },
        ),
        (
            "enrolment-ticket.txt",
            File {
                about: "An enrolment ticket under key number 4, and what it says.",
                fields: common(vec![
                    ("fleet", FLEET.to_vec()),
                    ("key", ENROLMENT_KEY.to_vec()),
                    ("generation", be(u64::from(enrolment.generation))),
                    ("expiry_s", be(enrolment.expiry_s)),
                    ("key_number", be(u64::from(enrolment.key_number))),
                    ("transcript", enrolment.transcript.to_vec()),
                    ("nonce", enrolment.nonce.expose().to_vec()),
                    ("ticket", seal_enrolment.clone()),
                ]),
            },
        ),
        (
            "delivery.txt",
            File {
                about: "A wrapped secret under a session key, as it is handed to the client.",
                fields: common(vec![
                    ("session_key", SESSION_KEY.to_vec()),
                    ("secret", SECRET.to_vec()),
                    ("reply", Reply::Recovered { delivery }.encode()),
                ]),
            },
        ),
        (
            "messages.txt",
            File {
                about: "The finish of an enrolment, and the reply to a KE1.",
                fields: common(vec![("request", finish.encode(&account()).unwrap()), ("reply", reply.encode())]),
            },
        ),
        (
            "ledger.txt",
            File {
                about: "The development policy, every kind of command, the state that they lead to, and one that takes accounts.",
                fields: vec![
                    ("policy", Policy::development().encode()),
                    ("commands", commands().iter().flat_map(written).collect()),
                    ("state", state().encode()),
                    ("taken", taken().encode()),
                ],
            },
        ),
    ])
}

#[test]
fn the_corpus_is_what_this_version_writes() {
    let corpus = corpus();
    if std::env::var_os("STRONGROOM_WRITE_CORPUS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for (name, file) in &corpus {
            fs::write(folder().join(name), file.text()).unwrap();
        }
    }
    for (name, file) in &corpus {
        assert_eq!(fs::read_to_string(folder().join(name)).unwrap_or_default(), file.text(), "{name}");
    }
}

#[test]
fn sealed_records_open() {
    let it = stored("sealed-record.txt");
    let keys = epochs(&array(&it["root"]));
    let account = AccountId(array(&it["account"]));
    let generation = number(&it["generation"]) as u32;
    let open = |sealed: &Sealed, generation| keys.open(&[OpenItem { account: &account, generation, sealed }]).remove(0);
    let sealed = Sealed::from_bytes(&it["sealed"]).unwrap();
    assert_eq!(u64::from(sealed.header().epoch), number(&it["epoch"]));
    assert_eq!(u64::from(sealed.header().key_number), number(&it["key_number"]));
    let record = open(&sealed, generation).unwrap();
    assert_eq!(record.encode()[..], it["plain"]);
    assert_eq!(record.secret(), SECRET);
    assert!(open(&sealed, generation + 1).is_err(), "the control: another generation");
    let mut later = it["sealed"].clone();
    later[0] = 2;
    let said = Sealed::from_bytes(&later).unwrap_err();
    assert_eq!(said, Fault::Format { what: "a sealed record", found: 2, reads: 1 }, "a later version is named");
}

#[test]
fn sealed_blobs_open() {
    let it = stored("sealed-blob.txt");
    let keys = epochs(&array(&it["root"]));
    assert_eq!(keys.open_blob("fleet keys", &it["sealed"]).unwrap().expose()[..], it["plain"]);
    assert!(keys.open_blob("other keys", &it["sealed"]).is_err(), "the control: another purpose");
    let mut later = it["sealed"].clone();
    later[0] = 2;
    assert!(matches!(keys.open_blob("fleet keys", &later), Err(Fault::Format { found: 2, reads: 1, .. })));
}

#[test]
fn tickets_open() {
    let it = stored("login-ticket.txt");
    let account = AccountId(array(&it["account"]));
    let keys = tickets(array(&it["key"]), [0; 32], array(&it["fleet"]));
    let ticket = keys.open::<LoginTicket>(0, &[(&account, &it["ticket"])], 0).remove(0).unwrap();
    assert_eq!(u64::from(ticket.generation), number(&it["generation"]));
    assert_eq!(ticket.expiry_s, number(&it["expiry_s"]));
    assert_eq!(u64::from(ticket.key_number), number(&it["key_number"]));
    assert_eq!(u64::from(ticket.ordinal), number(&it["ordinal"]));
    assert_eq!(ticket.state.expose()[..], it["state"]);
    let stranger = keys.open::<LoginTicket>(0, &[(&AccountId([0; 32]), &it["ticket"])], 0).remove(0);
    assert_eq!(stranger.err(), Some(Refusal::TicketInvalid), "the control: another account");

    let it = stored("enrolment-ticket.txt");
    let keys = tickets([0; 32], array(&it["key"]), array(&it["fleet"]));
    let ticket = keys.open::<EnrolmentTicket>(0, &[(&account, &it["ticket"])], 0).remove(0).unwrap();
    assert_eq!(u64::from(ticket.generation), number(&it["generation"]));
    assert_eq!(ticket.expiry_s, number(&it["expiry_s"]));
    assert_eq!(u64::from(ticket.key_number), number(&it["key_number"]));
    assert_eq!(ticket.transcript[..], it["transcript"]);
    assert_eq!(ticket.nonce.expose()[..], it["nonce"]);
}

#[test]
fn messages_and_deliveries_are_read() {
    let it = stored("messages.txt");
    let (account, request) = Request::decode(&it["request"]).unwrap();
    assert_eq!(account.0[..], it["account"]);
    assert!(matches!(request, Request::EnrolFinish { preset: 1, secret: SECRET, .. }));
    assert_eq!(request.encode(&account).unwrap(), it["request"]);
    let reply = Reply::decode(&it["reply"]).unwrap();
    assert!(matches!(reply, Reply::RecoverStarted { preset: 1, remaining: 9, .. }));
    assert_eq!(reply.encode(), it["reply"]);

    let it = stored("delivery.txt");
    let Ok(Reply::Recovered { delivery }) = Reply::decode(&it["reply"]) else { panic!("a delivery") };
    let session_key = Secret::new(array(&it["session_key"]));
    assert_eq!(delivery.open(&session_key, &account).unwrap()[..], it["secret"]);
    assert!(delivery.open(&Secret::new([0; 64]), &account).is_err(), "the control: another session key");
}

#[test]
fn ledgers_are_read() {
    let it = stored("ledger.txt");
    let policy = Policy::decode(&it["policy"]).unwrap();
    assert_eq!(policy, Policy::development());
    let mut reader = Reader::new(&it["commands"]);
    let mut read = Vec::new();
    while reader.finish().is_err() {
        read.push(Command::read(&mut reader).unwrap());
    }
    assert_eq!(read, commands());
    let state = State::decode(&it["state"]).unwrap();
    assert_eq!(state.encode(), it["state"]);
    assert_eq!(state.len(), 2);
    assert_eq!(State::decode(&it["taken"]).unwrap().encode(), it["taken"]);
    assert_eq!(state.account(&account()).unwrap().spent(), 10, "two charges, and what the restore took away");
}

/// Epoch keys handed over directly open what a source's epoch key does: the corpus names the root, members do not.
#[test]
fn an_epoch_key_is_what_its_root_derives() {
    let it = stored("sealed-blob.txt");
    let source = MemoryRoot::new();
    source.create_with(EPOCH, &array(&it["root"])).unwrap();
    let derived: EpochKey = source.derive(EPOCH).unwrap();
    let keys = EpochKeys::new(EPOCH, &derived);
    assert_eq!(keys.open_blob("fleet keys", &it["sealed"]).unwrap().expose()[..], it["plain"]);
    // The whole of it again, from RFC 5869 and FIPS 198-1, by another library.
    let prk = hkdf::Hkdf::<sha2::Sha512>::from_prk(&it["root"]).unwrap();
    let mut expected = [0; 64];
    prk.expand(&[b"strongroom epoch v1", &EPOCH.to_be_bytes()[..]].concat(), &mut expected).unwrap();
    assert!(bool::from(derived.ct_eq(&expected)));
}

#[test]
fn every_kind_of_command_is_in_the_corpus() {
    let kinds: Vec<u8> = commands().iter().map(|command| written(command)[0]).collect();
    assert!((1..=18).all(|kind| kinds.contains(&kind)), "a command without a case: {kinds:?}");
    let mut next = written(&Command::Forget { most: 1 });
    next[0] = 18;
    assert!(Command::read(&mut Reader::new(&next)).is_err(), "an eighteenth kind wants a case here");
    assert!(matches!(state().account(&account()).map(|it| it.generation()), Some(1)), "{:?}", Verdict::Done);
}
