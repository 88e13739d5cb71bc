//! What outsiders check: whatever is accepted has exactly one encoding, nothing panics, and of everything that this
//! target tries, a verifier accepts what both signers and the log have signed, and nothing else.
//!
//! The first byte of an input says what the rest is read as. For the fuzzer and its seeds.

use sha2::{Digest, Sha256};
use strongroom::ledger::Signers;
use strongroom::secret::Secret;
use strongroom::transparency::{
    AttestationVerifier, Bundle, Checkpoint, Document, Envelope, Evidence, FleetKeys, LogPolicy, LoggedBundle,
    Measurement, Nitro, Note, Order, Pins, Proof, SigningKey, Statement, Transcript, Trust, VerifyingKey,
    WitnessSigningKey,
};
use strongroom::wire::Invalid;

use crate::judge::Judge;

pub(crate) fn drive(data: &[u8], judge: &mut Judge) -> Result<(), Invalid> {
    let (kind, bytes) = data.split_first().ok_or(Invalid)?;
    match kind {
        b'n' => noted(judge, bytes),
        b'p' => whole(judge, bytes, |bytes| Proof::read(bytes).ok(), Proof::write),
        b'i' => whole(judge, bytes, pinned, |pins| pins.write().into_bytes()),
        b'm' => remembered(judge, bytes),
        b'v' => verified(judge, bytes),
        b'k' => again(judge, bytes, |bytes| FleetKeys::read(bytes).ok(), |keys| keys.write().expect("what was read")),
        b'e' => evident(judge, bytes),
        b't' => transcribed(judge, bytes),
        b'a' => attested(judge, bytes),
        _ => return Err(Invalid),
    }
    Ok(())
}

/// What is accepted is written as it was read.
fn whole<T>(judge: &mut Judge, bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>, write: impl Fn(&T) -> Vec<u8>) {
    if let Some(value) = read(bytes) {
        judge.demand("the one encoding of a value", write(&value), bytes);
    }
}

/// JSON has many texts; what is accepted is understood again as what it was.
fn again<T: PartialEq + std::fmt::Debug>(
    judge: &mut Judge,
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    if let Some(value) = read(bytes) {
        let again = read(&write(&value)).expect("what was written");
        assert_eq!(again, value);
        judge.demand("what is read again", write(&again), write(&value));
    }
}

/// Evidence for the empty artifact: both have signed that of one namespace and fleet.
fn evident(judge: &mut Judge, bytes: &[u8]) {
    again(judge, bytes, |bytes| Envelope::read(bytes).ok(), Envelope::write);
    let Ok(envelope) = Envelope::read(bytes) else { return };
    let pins = pins();
    let artifact = Sha256::digest(b"").into();
    if let Ok(evidence) = Evidence::of(&envelope, &artifact, &pins.auditor_evidence, &pins.operator_evidence) {
        let told = |namespace: &str, fleet: &str| format!("{namespace} {fleet}");
        let expected = told("example.org/backup", &"01".repeat(32));
        judge.demand("what both have signed", told(&evidence.namespace, &evidence.fleet), expected);
    }
}

fn transcribed(judge: &mut Judge, bytes: &[u8]) {
    let Ok(envelope) = Envelope::read(bytes) else { return };
    if let Ok(transcript) = Transcript::of(&envelope) {
        let again = transcript.envelope().expect("what was read");
        judge.demand("the type of a transcript", again.payload_type(), envelope.payload_type());
    }
}

/// A root behind its length, and a document: that of the only enclave whose keys anybody has.
fn attested(judge: &mut Judge, bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let Some((root, document)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else { return };
    let named = Document { kind: "aws-nitro".to_owned(), sha256: String::new(), nonce: Some("42".repeat(20)) };
    let attested = Nitro::new(root).and_then(|nitro| nitro.verify(document, &named, &[0x5e; 32]));
    let measurement = Some(Measurement { kind: "nitro-pcr0".to_owned(), digest: "aa".repeat(48) });
    if let Ok(attested) = attested {
        let told = |measurement: Option<Measurement>| format!("{measurement:?}");
        judge.demand("the only measurement that was signed", told(attested.measurement), told(measurement));
    }
}

fn pinned(bytes: &[u8]) -> Option<Pins> {
    Pins::read(std::str::from_utf8(bytes).ok()?).ok()
}

fn noted(judge: &mut Judge, bytes: &[u8]) {
    whole(judge, bytes, |bytes| Note::read(bytes).ok(), Note::write);
    let Ok(note) = Note::read(bytes) else { return };
    if let Ok(bundle) = Bundle::read(&note) {
        judge.demand("the one text of a bundle", bundle.note().expect("what was read").text(), note.text());
        assert!(Checkpoint::read(&note).is_err(), "a bundle that is a checkpoint");
        assert!(Statement::read(&note).is_err(), "a bundle that is a statement");
    }
    if let Ok(statement) = Statement::read(&note) {
        judge.demand("the one text of a statement", statement.note().expect("what was read").text(), note.text());
        let key = |pinned: &VerifyingKey| *pinned.as_bytes();
        let signers = Signers { auditor: key(&pins().auditor), operator: key(&pins().operator) };
        if Statement::of(&note, &signers).is_ok() {
            let signed = Order::Restore { number: 1 };
            judge.demand("the only order signed", format!("{:?}", statement.order), format!("{signed:?}"));
        }
    }
}

fn remembered(judge: &mut Judge, bytes: &[u8]) {
    if let Ok(trust) = Trust::with_memory(pins(), bytes) {
        let Some(memory) = trust.memory() else {
            // Of an epoch below the least, whoever has signed it: nothing of it is left.
            assert_eq!(Ok(trust), Trust::new(pins()));
            return;
        };
        judge.agree("whether what is gone on from is too old", trust.epoch() < Some(pins().epoch_min), false);
        let again = Trust::with_memory(pins(), &memory).expect("its own memory");
        assert_eq!(again, trust);
        judge.demand("what is remembered", again.memory().expect("what was read"), memory);
    }
}

/// A note, a zero, and a proof.
fn verified(judge: &mut Judge, bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == 0) else { return };
    let (Ok(note), Ok(proof)) = (Note::read(&bytes[..at]), Proof::read(&bytes[at + 1..])) else { return };
    let mut trust = Trust::new(pins()).expect("keys that differ");
    if let Ok(verified) = trust.accept(&[LoggedBundle { note, proof }], b"", u64::MAX) {
        let told = |bundle: &Bundle| bundle.note().expect("within bounds").write();
        judge.demand("the only bundle that was signed", told(verified.bundle()), told(&signed()));
    }
}

/// The only bundle that was signed.
pub(crate) fn signed() -> Bundle {
    Bundle {
        namespace: "example.org/backup".to_owned(),
        fleet: [1; 32],
        epoch: 7,
        not_before_s: 1,
        not_after_s: 2,
        previous: [2; 32],
        artifact: Sha256::digest(b"").into(),
        evidence: [3; 32],
        next_auditor: None,
        next_operator: None,
    }
}

/// What is pinned, here and in `tests/trust_seeds.rs`.
pub(crate) fn pins() -> Pins {
    let key = |name, seed| SigningKey::new(name, &Secret::new([seed; 32])).expect("a name").verifying_key();
    let witness = WitnessSigningKey::new("witness.example", &Secret::new([6; 32])).expect("a name").verifying_key();
    Pins {
        namespace: "example.org/backup".to_owned(),
        epoch_min: 1,
        auditor: key("auditor.example", 1),
        operator: key("operator.example", 2),
        auditor_evidence: key("evidence.auditor.example", 3),
        operator_evidence: key("evidence.operator.example", 4),
        log: LogPolicy::new(key("log.example", 5), vec![witness], 1).expect("a quorum"),
        measurements: Vec::new(),
        compiled_in: true,
    }
}
