//! The seeds of the fuzz target `trust`: see `tests/seeds.rs`. The keys are those of the target.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "model/corpus.rs"]
mod corpus;
#[path = "model/enclave.rs"]
mod enclave;
#[path = "model/judge.rs"]
mod judge;
#[path = "model/trust.rs"]
mod trust_model;

use corpus::{Seeds, hold};
use judge::controlled;
use sha2::{Digest, Sha256};
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::transparency::{
    AttestationVerifier, Bundle, Checkpoint, Document, Evidence, FleetKeys, History, Log, LoggedBundle, Measurement,
    Nitro, Note, Order, Origin, Participant, Proof, SigningKey, Statement, Step, Transcript, Trust, Witness,
    WitnessSigningKey,
};
use trust_model::{pins, signed};

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

fn witness() -> WitnessSigningKey {
    WitnessSigningKey::new("witness.example", &Secret::new([6; 32])).unwrap()
}

/// The only bundle that both have signed, of an empty artifact, third of three entries of the log.
fn delivered() -> LoggedBundle {
    let note = signed().signed(&key("auditor.example", 1), &key("operator.example", 2)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path(), key("log.example", 5)).unwrap();
    let entry = History::new(pins()).unwrap().follow(&note).unwrap();
    let index = log.append(&[b"one".to_vec(), b"two".to_vec(), entry]).unwrap()[2];
    let cosigned = Witness::new(witness(), log.key(), None).unwrap().cosign(log.checkpoint(), &[], 7).unwrap();
    log.take_cosignature(&cosigned, &witness().verifying_key()).unwrap();
    LoggedBundle { note, proof: log.prove(index).unwrap() }
}

/// The only statement that both have signed.
fn statement() -> Vec<u8> {
    let mut note = Statement { fleet: [1; 32], order: Order::Restore { number: 1 } }.note().unwrap();
    note.sign(&key("auditor.example", 1));
    note.sign(&key("operator.example", 2));
    note.write()
}

fn fleet_keys() -> Vec<u8> {
    let policy = Policy { pinned: vec![[9; 32]], ..Policy::development() };
    let (server_keys, channel_keys) = (vec![(1, [4; 32])], vec![(1, vec![5; 32])]);
    let keys = FleetKeys { fleet: [1; 32], server_keys, channel_keys, policy };
    let bytes = keys.write().unwrap();
    assert_eq!(FleetKeys::read(&bytes), Ok(keys));
    bytes
}

/// Of the empty artifact, by both.
fn evidence() -> Vec<u8> {
    let evidence = Evidence {
        namespace: "example.org/backup".to_owned(),
        fleet: "01".repeat(32),
        origin: Origin::Ceremony {
            transcript: "06".repeat(32),
            attestations: Vec::new(),
            measurement: Some(Measurement { kind: "nitro-pcr0".to_owned(), digest: "07".repeat(48) }),
            rebuild: "make".to_owned(),
        },
    };
    let artifact = Sha256::digest(b"").into();
    let mut envelope = evidence.envelope(&artifact).unwrap();
    let [auditor, operator] =
        [("evidence.auditor.example", 3), ("evidence.operator.example", 4)].map(|(name, seed)| {
            let key = key(name, seed);
            envelope.sign(&key);
            key.verifying_key()
        });
    assert_eq!(Evidence::of(&envelope, &artifact, &auditor, &operator), Ok(evidence));
    envelope.write()
}

fn transcript() -> Vec<u8> {
    let anna = key("anna", 21);
    let transcript = Transcript {
        namespace: "example.org/backup".to_owned(),
        fleet: "01".repeat(32),
        artifact: "08".repeat(32),
        participants: vec![Participant { role: "auditor".to_owned(), key: anna.verifying_key().to_string() }],
        steps: vec![Step { time_s: 1, what: "began".to_owned() }],
        exceptions: vec!["a card was late".to_owned()],
        destroyed: Vec::new(),
    };
    let mut envelope = transcript.envelope().unwrap();
    envelope.sign(&anna);
    assert_eq!(Transcript::of(&envelope), Ok(transcript));
    envelope.write()
}

/// A root behind its length in two bytes, and a document.
fn attestation() -> Vec<u8> {
    let (root, case) = (enclave::chain()[0].certificate(), enclave::case());
    let document = case.document();
    let named = Document { kind: "aws-nitro".to_owned(), sha256: String::new(), nonce: case.nonce.clone() };
    assert!(Nitro::new(&root).unwrap().verify(&document, &named, &case.born).is_ok());
    [&(root.len() as u16).to_be_bytes()[..], &root, &document].concat()
}

#[test]
fn the_corpus_of_trust_is_what_this_file_makes() {
    let delivered = delivered();
    let (note, proof) = (delivered.note.write(), delivered.proof.write());
    let mut trust = Trust::new(pins()).unwrap();
    trust.accept(std::slice::from_ref(&delivered), b"", u64::MAX).unwrap();
    let memory = trust.memory().unwrap();
    assert_eq!(Trust::with_memory(pins(), &memory), Ok(trust));

    let mut seeds = Seeds::new();
    let mut add = |kind: u8, name: &str, bytes: &[u8]| seeds.insert(name.to_owned(), [&[kind], bytes].concat());
    add(b'n', "bundle", &note);
    add(b'n', "checkpoint", &delivered.proof.checkpoint.write());
    add(b'n', "statement", &statement());
    add(b'p', "proof", &proof);
    add(b'i', "pins", pins().write().as_bytes());
    add(b'm', "memory", &memory);
    add(b'v', "delivered", &[&note[..], &[0], &proof].concat());
    add(b'k', "fleet-keys", &fleet_keys());
    add(b'e', "evidence", &evidence());
    add(b't', "transcript", &transcript());
    add(b'a', "attestation", &attestation());
    assert!(Bundle::read(&Note::read(&note).unwrap()).is_ok());
    assert!(Checkpoint::read(&delivered.proof.checkpoint).is_ok());
    assert_eq!(Proof::read(&proof), Ok(delivered.proof));
    hold("trust", &seeds);
    for (name, seed) in &seeds {
        assert!(controlled(name, |judge| trust_model::drive(seed, judge).unwrap()) > 0, "{name}");
    }
}
