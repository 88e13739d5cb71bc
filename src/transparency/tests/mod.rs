//! Bundles and the log: the honest ways through, and every way of cheating.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundles;
mod evidence;
mod history;
mod log;
mod plexi;
mod statement;

use sha2::{Digest, Sha256};

use super::tree::{Tree, leaf_hash};
use super::*;
use crate::secret::Secret;

const NOW_S: u64 = 1_800_000_000;
const NAMESPACE: &str = "example.org/backup";
const ARTIFACT: &[u8] = b"{\"fleet\":\"...\"}";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

fn auditor() -> SigningKey {
    key("auditor.example", 1)
}

fn operator() -> SigningKey {
    key("operator.example", 2)
}

fn log_key() -> SigningKey {
    key("log.example/fleets", 3)
}

fn witness(number: u8) -> WitnessSigningKey {
    WitnessSigningKey::new(&format!("witness{number}.example"), &Secret::new([100 + number; 32])).unwrap()
}

/// Two of three witnesses must have seen the log.
fn pins() -> Pins {
    let witnesses = [1, 2, 3].map(|number| witness(number).verifying_key()).to_vec();
    Pins {
        namespace: NAMESPACE.to_owned(),
        epoch_min: 0,
        auditor: auditor().verifying_key(),
        operator: operator().verifying_key(),
        auditor_evidence: key("evidence.auditor.example", 4).verifying_key(),
        operator_evidence: key("evidence.operator.example", 5).verifying_key(),
        log: LogPolicy::new(log_key().verifying_key(), witnesses, 2).unwrap(),
        measurements: Vec::new(),
        compiled_in: false,
    }
}

fn trust() -> Trust {
    Trust::new(pins()).unwrap()
}

fn app() -> Trust {
    Trust::new(Pins { compiled_in: true, ..pins() }).unwrap()
}

/// The bundle of an epoch, after this one.
fn bundle(epoch: u32, previous: Option<&Note>) -> Bundle {
    Bundle {
        namespace: NAMESPACE.to_owned(),
        fleet: [7; 32],
        epoch,
        not_before_s: NOW_S - 100,
        not_after_s: NOW_S + 100,
        previous: previous.map_or([0; 32], Note::hash),
        artifact: Sha256::digest(ARTIFACT).into(),
        evidence: [9; 32],
        next_auditor: None,
        next_operator: None,
    }
}

fn signed(bundle: &Bundle) -> Note {
    bundle.signed(&auditor(), &operator()).unwrap()
}

/// Bundles of so many epochs.
fn chain(epochs: u32) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for epoch in 1..=epochs {
        notes.push(signed(&bundle(epoch, notes.last())));
    }
    notes
}

/// Entries in a log that two witnesses have seen, with their proofs.
fn proofs(entries: &[Vec<u8>]) -> Vec<Proof> {
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.push(leaf_hash(entry)));
    let root = tree.root(tree.size()).unwrap();
    let origin = log_key().verifying_key().name().to_owned();
    let mut checkpoint = Checkpoint { origin, size: tree.size(), root }.signed(&log_key());
    checkpoint.cosign(&witness(1), NOW_S);
    checkpoint.cosign(&witness(3), NOW_S);
    let proof = |index| {
        let hashes = tree.inclusion(tree.size(), index).unwrap();
        Proof { index, hashes, checkpoint: checkpoint.clone() }
    };
    (0..tree.size()).map(proof).collect()
}

/// Notes as they are delivered: whatever they are, a log has taken them, by the keys of the first epoch.
fn logged(notes: &[Note]) -> Vec<LoggedBundle> {
    logged_by(notes, &auditor(), &operator())
}

fn logged_by(notes: &[Note], auditor: &SigningKey, operator: &SigningKey) -> Vec<LoggedBundle> {
    let (auditor, operator) = (auditor.verifying_key(), operator.verifying_key());
    logged_as(notes, |note| note.entry(&auditor, &operator))
}

/// The same, where a log has taken this of each.
fn logged_as(notes: &[Note], entry: impl Fn(&Note) -> Vec<u8>) -> Vec<LoggedBundle> {
    let entries: Vec<_> = notes.iter().map(entry).collect();
    let bundle = |(note, proof): (&Note, Proof)| LoggedBundle { note: note.clone(), proof };
    notes.iter().zip(proofs(&entries)).map(bundle).collect()
}

/// Three bundles, of which the second names another operator's key, which has signed it too and signs the third.
fn turning(new: &SigningKey) -> Vec<Note> {
    let mut notes = chain(1);
    let names = Bundle { next_operator: Some(new.verifying_key()), ..second() };
    notes.push(signed(&names));
    notes[1].sign(new);
    notes.push(bundle(3, notes.last()).signed(&auditor(), new).unwrap());
    notes
}

/// What a log takes for them.
fn entries_of(turning: &[Note], new: &SigningKey) -> Vec<Vec<u8>> {
    let (auditor, operator) = (auditor().verifying_key(), operator().verifying_key());
    let entry = |note: &Note| match Bundle::read(note).unwrap().epoch {
        ..=2 => note.entry(&auditor, &operator),
        _ => note.entry(&auditor, &new.verifying_key()),
    };
    turning.iter().map(entry).collect()
}

/// What a verifier that knows epoch 1 says of a bundle after it; it must not be moved by a refusal.
fn said_of(note: &Note) -> Rejection {
    said_of_logged(&logged(std::slice::from_ref(note)))
}

fn said_of_logged(bundles: &[LoggedBundle]) -> Rejection {
    let mut trust = trust();
    trust.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
    let before = trust.clone();
    let said = trust.accept(bundles, ARTIFACT, NOW_S).unwrap_err();
    assert_eq!(trust, before, "T5");
    said
}

fn second() -> Bundle {
    bundle(2, chain(1).first())
}
