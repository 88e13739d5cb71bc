//! From pinned keys to a ceremony: artifact, evidence, transcript, attestations; and every way of cheating with them.

use super::*;
use crate::error::Fault;
use crate::ledger::Policy;

fn evidence_keys() -> [SigningKey; 2] {
    [key("evidence.auditor.example", 4), key("evidence.operator.example", 5)]
}

fn fleet_keys() -> FleetKeys {
    FleetKeys {
        fleet: [7; 32],
        server_keys: vec![(1, [11; 32]), (2, [12; 32])],
        channel_keys: vec![(1, vec![13; 1216])],
        policy: Policy { context: b"\xff\x00context".to_vec(), pinned: vec![[1; 32]], ..Policy::development() },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stand-in for hardware: its document is the digest of the keys that were born in it, and the code it runs.
struct Toy;

impl AttestationVerifier for Toy {
    fn kind(&self) -> &str {
        "toy"
    }

    fn verify(&self, document: &[u8], _: &Document, artifact: &[u8; 32]) -> Result<Attested, Fault> {
        let code = document.strip_prefix(&artifact[..]);
        let code = code.ok_or_else(|| Fault::Key("other keys were born in this toy".to_owned()))?;
        let measurement = Some(Measurement { kind: "toy-code".to_owned(), digest: hex(code) });
        Ok(Attested { proves: "a toy says so".to_owned(), measurement })
    }
}

/// A whole case, each part of which can be changed before it is signed.
#[derive(Clone)]
struct Case {
    artifact: Vec<u8>,
    transcript: Transcript,
    signs_transcript: usize,
    evidence: Evidence,
    signs_evidence: Vec<usize>,
    /// Beside the transcript.
    documents: Vec<Vec<u8>>,
    pins: Pins,
    /// The evidence that the bundle names, where it is another than the one that comes.
    named: Option<[u8; 32]>,
}

fn people() -> Vec<SigningKey> {
    vec![key("anna", 21), key("bert", 22), key("carl", 23)]
}

fn case() -> Case {
    let artifact = fleet_keys().write().unwrap();
    let digest = FleetKeys::hash(&artifact);
    let participants = ["auditor", "operator", "witness"].iter().zip(people());
    let participant = |(role, key): (&&str, SigningKey)| Participant {
        role: (*role).to_owned(),
        key: key.verifying_key().to_string(),
    };
    let transcript = Transcript {
        namespace: NAMESPACE.to_owned(),
        fleet: hex(&[7; 32]),
        artifact: hex(&digest),
        participants: participants.map(participant).collect(),
        steps: vec![Step { time_s: NOW_S, what: "the keys were drawn".to_owned() }],
        exceptions: Vec::new(),
        destroyed: vec!["the administrator's card".to_owned()],
    };
    let attestation = [&digest[..], &[0xc0; 4]].concat();
    let evidence = Evidence {
        namespace: NAMESPACE.to_owned(),
        fleet: hex(&[7; 32]),
        origin: Origin::Ceremony {
            transcript: String::new(),
            attestations: vec![Document {
                kind: "toy".to_owned(),
                sha256: hex(&Sha256::digest(&attestation)),
                nonce: None,
            }],
            measurement: Some(Measurement { kind: "toy-code".to_owned(), digest: "c0c0c0c0".to_owned() }),
            rebuild: "make".to_owned(),
        },
    };
    let measurements = vec![Measurement { kind: "toy-code".to_owned(), digest: "c0c0c0c0".to_owned() }];
    Case {
        artifact,
        transcript,
        signs_transcript: 3,
        evidence,
        signs_evidence: vec![0, 1],
        documents: vec![attestation],
        pins: Pins { measurements, ..pins() },
        named: None,
    }
}

/// The case's transcript, and the evidence that names it, both signed.
fn papers(case: &Case) -> (Vec<u8>, Vec<u8>) {
    let mut envelope = case.transcript.envelope().unwrap();
    people().iter().take(case.signs_transcript).for_each(|person| envelope.sign(person));
    let transcript_bytes = envelope.write();
    let mut evidence = case.evidence.clone();
    if let Origin::Ceremony { transcript, .. } = &mut evidence.origin
        && transcript.is_empty()
    {
        *transcript = hex(&Sha256::digest(&transcript_bytes));
    }
    let mut envelope = evidence.envelope(&FleetKeys::hash(&case.artifact)).unwrap();
    case.signs_evidence.iter().for_each(|at| envelope.sign(&evidence_keys()[*at]));
    (transcript_bytes, envelope.write())
}

fn verify(case: &Case) -> Report {
    let (transcript, evidence) = papers(case);
    verify_papers(case, transcript, &evidence)
}

fn verify_papers(case: &Case, transcript: Vec<u8>, evidence: &[u8]) -> Report {
    let bundle = Bundle {
        artifact: FleetKeys::hash(&case.artifact),
        evidence: case.named.unwrap_or_else(|| Envelope::hash(evidence)),
        ..bundle(1, None)
    };
    let bundles = logged(&[signed(&bundle)]);
    let documents = [&[transcript][..], &case.documents].concat();
    let mut trust = Trust::new(case.pins.clone()).unwrap();
    let given =
        Given { bundles: &bundles, artifact: &case.artifact, evidence, documents: &documents, attestations: &[&Toy] };
    let report = trust.verify(&given, NOW_S);
    assert_eq!(trust.epoch().is_some(), report.outcome.is_ok(), "T5");
    report
}

fn refused(change: impl FnOnce(&mut Case)) -> String {
    let mut case = case();
    change(&mut case);
    verify(&case).outcome.unwrap_err()
}

#[test]
fn t9_the_whole_way_is_walked_and_every_step_is_told() {
    let report = verify(&case());
    let steps: Vec<_> = report.proven.iter().map(|it| it.step).collect();
    let expected = [
        "bundle",
        "epochs",
        "log",
        "witnesses",
        "inclusion",
        "dates",
        "keys",
        "evidence",
        "ceremony",
        "attestation",
        "code",
    ];
    assert_eq!(steps, expected);
    assert_eq!(report.outcome.unwrap().fleet_keys().unwrap(), fleet_keys());
    assert!(report.proven.iter().all(|it| !it.proves.is_empty()));

    // Keys that turned are born of the ceremony before; its evidence and documents come along.
    let born = case();
    let (transcript, ceremony) = papers(&born);
    let mut turned = case();
    let mut keys = fleet_keys();
    keys.server_keys.push((3, [14; 32]));
    turned.artifact = keys.write().unwrap();
    let reason = "the channel key turned".to_owned();
    turned.evidence.origin = Origin::Rotation { ceremony: hex(&Sha256::digest(&ceremony)), reason };
    turned.documents.push(ceremony.clone());
    let report = verify_papers(&turned, transcript.clone(), &papers(&turned).1);
    assert!(report.outcome.is_ok() && report.proven.iter().any(|it| it.step == "rotation"), "{report:?}");
    turned.documents.pop();
    let report = verify_papers(&turned, transcript.clone(), &papers(&turned).1);
    assert!(report.outcome.unwrap_err().contains("evidence of the ceremony is missing"));
    let half = papers(&Case { signs_evidence: vec![1], ..born }).1;
    let named = hex(&Sha256::digest(&half));
    turned.evidence.origin = Origin::Rotation { ceremony: named, reason: "?".to_owned() };
    turned.documents.push(half);
    let report = verify_papers(&turned, transcript, &papers(&turned).1);
    assert!(report.outcome.unwrap_err().contains("the auditor has not signed the evidence"));
}

#[test]
fn t9_whatever_is_missing_altered_or_of_something_else_ends_it() {
    let cases: [(&str, &str, String); 20] = [
        ("not the evidence that the bundle names", "evidence", refused(|it| it.named = Some([1; 32]))),
        ("the operator has not signed the evidence", "half", refused(|it| it.signs_evidence = vec![0])),
        ("the auditor has not signed the evidence", "half", refused(|it| it.signs_evidence = vec![1])),
        ("the witness has not signed the transcript", "a person", refused(|it| it.signs_transcript = 2)),
        ("another service", "namespace", refused(|it| it.evidence.namespace = "example.org/test".to_owned())),
        ("another service or fleet", "fleet", refused(|it| it.evidence.fleet = hex(&[8; 32]))),
        ("another ceremony", "transcript's fleet", refused(|it| it.transcript.fleet = hex(&[8; 32]))),
        ("another ceremony", "transcript's keys", refused(|it| it.transcript.artifact = hex(&[8; 32]))),
        ("an attestation of kind toy is missing", "document", refused(|it| it.documents.clear())),
        ("is missing", "altered document", refused(|it| it.documents[0][40 - 5] ^= 1)),
        ("nobody here can judge", "kind", refused(|it| attested(it, "other", &[0xc0; 4], None))),
        ("other keys were born", "another's", refused(|it| attested(it, "toy", &[0xc0; 4], Some([9; 32])))),
        ("other code runs", "code", refused(|it| attested(it, "toy", &[0xc1; 4], None))),
        ("not among those that the pins allow", "pins", refused(|it| it.pins.measurements[0].digest = "c1".to_owned())),
        ("does not say what code runs", "no code", refused(unmeasured)),
        ("the transcript of the ceremony is missing", "transcript", refused(|it| transcribed(it, hex(&[3; 32])))),
        ("names no ceremony", "no end", {
            let inner = case();
            let mut rotation = inner.clone();
            rotation.evidence.origin = Origin::Rotation { ceremony: hex(&[1; 32]), reason: "?".to_owned() };
            let bytes = papers(&rotation).1;
            refused(|it| {
                let ceremony = hex(&Sha256::digest(&bytes));
                it.documents.push(bytes);
                it.evidence.origin = Origin::Rotation { ceremony, reason: "?".to_owned() };
            })
        }),
        ("these keys are not", "artifact", {
            let (transcript, evidence) = papers(&case());
            let mut other = case();
            let bundles = {
                let names = FleetKeys::hash(&other.artifact);
                logged(&[signed(&Bundle { artifact: names, evidence: Envelope::hash(&evidence), ..bundle(1, None) })])
            };
            other.artifact.push(b' ');
            let (documents, mut trust) = ([transcript], Trust::new(other.pins.clone()).unwrap());
            let given = Given {
                bundles: &bundles,
                artifact: &other.artifact,
                evidence: &evidence,
                documents: &documents,
                attestations: &[],
            };
            trust.verify(&given, NOW_S).outcome.unwrap_err()
        }),
        ("another fleet than its keys", "fleet of the keys", {
            let keys = FleetKeys { fleet: [8; 32], ..fleet_keys() }.write().unwrap();
            refused(|it| it.artifact = keys)
        }),
        ("not the keys of a fleet", "no keys", refused(|it| it.artifact = b"{}".to_vec())),
    ];
    for (reason, what, said) in cases {
        assert!(said.contains(reason), "{what}: {said}");
    }
}

fn attested(case: &mut Case, of: &str, code: &[u8], born: Option<[u8; 32]>) {
    let artifact = born.unwrap_or_else(|| FleetKeys::hash(&case.artifact));
    case.documents[0] = [&artifact[..], code].concat();
    let digest = hex(&Sha256::digest(&case.documents[0]));
    if let Origin::Ceremony { attestations, .. } = &mut case.evidence.origin {
        *attestations = vec![Document { kind: of.to_owned(), sha256: digest, nonce: None }];
    }
}

fn unmeasured(case: &mut Case) {
    if let Origin::Ceremony { measurement, .. } = &mut case.evidence.origin {
        *measurement = None;
    }
}

fn transcribed(case: &mut Case, digest: String) {
    if let Origin::Ceremony { transcript, .. } = &mut case.evidence.origin {
        *transcript = digest;
    }
}

#[test]
fn an_artifact_is_read_as_what_was_written_and_refuses_what_it_does_not_know() {
    let bytes = fleet_keys().write().unwrap();
    assert_eq!(FleetKeys::read(&bytes), Ok(fleet_keys()));
    let text = String::from_utf8(bytes).unwrap();
    for (old, new) in [
        ("keys v1", "keys v2"),
        ("OPAQUE-3DH", "OPAQUE-4DH"),
        ("\"channel\"", "\"tunnel\""),
        ("\"number\": 2", "\"number\": 1"),
        ("\"fleet\": \"07", "\"fleet\": \"7"),
        ("\"fleet\": \"07", "\"fleet\": \"0G"),
        ("\"attempts_max\": 10", "\"attempts_max\": 0"),
        ("\"attempts_max\": 10", "\"attempts_max\": 10, \"attempts_max\": 10"),
        ("\"attempts_max\": 10,", ""),
        ("\"development\": true", "\"development\": false"),
        ("\"development\": true", "\"development\": true, \"more\": 1"),
        ("{\n  \"format\"", "{\n  \"more\": 1, \"format\""),
    ] {
        assert!(text.contains(old), "{old}");
        assert!(FleetKeys::read(text.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
    }
    assert!(FleetKeys { server_keys: Vec::new(), ..fleet_keys() }.write().is_err());
    assert!(FleetKeys { channel_keys: Vec::new(), ..fleet_keys() }.write().is_err());
    assert!(FleetKeys::read(&vec![b' '; 300_000]).is_err());
}

/// Text and encoding of the example in DSSE's specification, under a key of ours.
#[test]
fn an_envelope_signs_the_encoding_of_dsse() {
    let auditor = auditor();
    let mut envelope = Envelope::new("http://example.com/HelloWorld", b"hello world".to_vec());
    envelope.sign(&auditor);
    let read = Envelope::read(&envelope.write()).unwrap();
    assert_eq!(read, envelope);
    let text: serde_json::Value = serde_json::from_slice(&envelope.write()).unwrap();
    assert_eq!(text["payload"], "aGVsbG8gd29ybGQ=");
    // "DSSEv1 29 http://example.com/HelloWorld 11 hello world", as the specification has it.
    let signature = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        text["signatures"][0]["sig"].as_str().unwrap(),
    );
    let message = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert!(auditor.verifying_key().verifies(message, &signature.unwrap()));
    let text = String::from_utf8(envelope.write()).unwrap();
    for (old, new) in [("aGVs", "aGVt"), ("HelloWorld", "HelloWorle")] {
        let changed = Envelope::read(text.replacen(old, new, 1).as_bytes()).unwrap();
        assert_eq!(changed.signed_by(&auditor.verifying_key()), Some(false), "{new}");
    }
    let nameless = Envelope::read(text.replacen("auditor.example+", "", 1).as_bytes()).unwrap();
    assert_eq!(nameless.signed_by(&auditor.verifying_key()), Some(true), "a key's id is a hint");
    assert_eq!(nameless.signed_by(&operator().verifying_key()), None);
    for wrong in ["", "{}", "[]", &text.replacen("aGVs", "a%Vs", 1), &text.replacen("\"sig\"", "\"sog\"", 1)] {
        assert!(Envelope::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
