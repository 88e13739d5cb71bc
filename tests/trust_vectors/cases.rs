//! The cases: what a fleet publishes, and one thing wrong with it.

use sha2::{Digest, Sha256};
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::transparency::{
    Bundle, Envelope, Evidence, FleetKeys, Log, LogPolicy, LoggedBundle, Measurement, Note, Origin, Participant, Pins,
    Proof, SigningKey, Step, Transcript, Trust, Witness, WitnessSigningKey,
};

use crate::file::Case;

const NOW_S: u64 = 1_800_000_000;
const NAMESPACE: &str = "example.org/backup";
const FLEET: [u8; 32] = [7; 32];

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

fn auditor() -> SigningKey {
    key("auditor.example", 1)
}

fn operator() -> SigningKey {
    key("operator.example", 2)
}

fn evidence_auditor() -> SigningKey {
    key("evidence.auditor.example", 3)
}

fn evidence_operator() -> SigningKey {
    key("evidence.operator.example", 4)
}

fn log_key() -> SigningKey {
    key("log.example/fleets", 5)
}

fn witness(number: u8) -> WitnessSigningKey {
    WitnessSigningKey::new(&format!("witness{number}.example"), &Secret::new([10 + number; 32])).unwrap()
}

fn pins() -> Pins {
    let witnesses = [1, 2, 3].map(|number| witness(number).verifying_key()).to_vec();
    Pins {
        namespace: NAMESPACE.to_owned(),
        epoch_min: 1,
        auditor: auditor().verifying_key(),
        operator: operator().verifying_key(),
        auditor_evidence: evidence_auditor().verifying_key(),
        operator_evidence: evidence_operator().verifying_key(),
        log: LogPolicy::new(log_key().verifying_key(), witnesses, 2).unwrap(),
        measurements: Vec::new(),
        compiled_in: false,
    }
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn artifact() -> String {
    let keys = FleetKeys {
        fleet: FLEET,
        server_keys: vec![(1, [21; 32])],
        channel_keys: vec![(1, vec![22; 32])],
        policy: Policy::development(),
    };
    text(keys.write().unwrap())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The transcript, as this change makes it, signed by so many of the two who were there.
fn transcript(change: impl FnOnce(&mut Transcript), signers: usize) -> String {
    let people = [key("anna", 31), key("bert", 32)];
    let participant =
        |(role, key): (&str, &SigningKey)| Participant { role: role.to_owned(), key: key.verifying_key().to_string() };
    let mut transcript = Transcript {
        namespace: NAMESPACE.to_owned(),
        fleet: hex(&FLEET),
        artifact: hex(&digest(&artifact())),
        participants: ["auditor", "operator"].into_iter().zip(&people).map(participant).collect(),
        steps: vec![Step { time_s: NOW_S - 500, what: "the keys were drawn".to_owned() }],
        exceptions: vec!["a card was late".to_owned()],
        destroyed: vec!["the administrator's card".to_owned()],
    };
    change(&mut transcript);
    let mut envelope = transcript.envelope().unwrap();
    people.iter().take(signers).for_each(|person| envelope.sign(person));
    text(envelope.write())
}

fn measured() -> Measurement {
    Measurement { kind: "sha256".to_owned(), digest: "51e2".to_owned() }
}

fn origin(transcript: &str) -> Origin {
    Origin::Ceremony {
        transcript: hex(&digest(transcript)),
        attestations: Vec::new(),
        measurement: Some(measured()),
        rebuild: "cargo build --locked".to_owned(),
    }
}

/// Evidence for keys, signed by these.
fn evidence(origin: Origin, artifact: &str, signers: &[SigningKey]) -> String {
    let evidence = Evidence { namespace: NAMESPACE.to_owned(), fleet: hex(&FLEET), origin };
    let mut envelope = evidence.envelope(&digest(artifact)).unwrap();
    signers.iter().for_each(|signer| envelope.sign(signer));
    text(envelope.write())
}

fn both() -> [SigningKey; 2] {
    [evidence_auditor(), evidence_operator()]
}

/// What is published first: everything in order.
fn bundle(epoch: u32, previous: Option<&Note>, evidence: &str) -> Bundle {
    Bundle {
        namespace: NAMESPACE.to_owned(),
        fleet: FLEET,
        epoch,
        not_before_s: NOW_S - 100,
        not_after_s: NOW_S + 100,
        previous: previous.map_or([0; 32], Note::hash),
        artifact: digest(&artifact()),
        evidence: digest(evidence),
        next_auditor: None,
        next_operator: None,
    }
}

fn signed(bundle: &Bundle) -> Note {
    bundle.signed(&auditor(), &operator()).unwrap()
}

/// Notes in a log between other entries, with their proofs; whatever they are, it has taken them. Two witnesses have seen
/// it.
fn logged(notes: &[Note]) -> Vec<(String, String)> {
    let entries: Vec<Vec<u8>> =
        notes.iter().map(|note| note.entry(&auditor().verifying_key(), &operator().verifying_key())).collect();
    logged_as(notes, &entries, &log_key(), &[1, 2])
}

fn logged_as(notes: &[Note], entries: &[Vec<u8>], key: &SigningKey, witnesses: &[u8]) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let again = SigningKey::read(str::from_utf8(key.write().expose()).unwrap()).unwrap();
    let mut log = Log::create(folder.path(), again).unwrap();
    log.append(&[b"an entry of somebody else".to_vec(), b"and another".to_vec()]).unwrap();
    let indexes = log.append(entries).unwrap();
    log.append(&[b"one more".to_vec()]).unwrap();
    for number in witnesses {
        let mut seen = Witness::new(witness(*number), log.key(), None).unwrap();
        let cosigned = seen.cosign(log.checkpoint(), &[], NOW_S - 50).unwrap();
        log.take_cosignature(&cosigned, &seen.key()).unwrap();
    }
    let proof = |index: &u64| text(log.prove(*index).unwrap().write());
    notes.iter().zip(&indexes).map(|(note, index)| (text(note.write()), proof(index))).collect()
}

/// What somebody remembers who has accepted these.
fn memory(notes: &[Note]) -> String {
    let mut trust = Trust::new(pins()).unwrap();
    let read = |(note, proof): (String, String)| LoggedBundle {
        note: Note::read(note.as_bytes()).unwrap(),
        proof: Proof::read(proof.as_bytes()).unwrap(),
    };
    let bundles: Vec<_> = logged(notes).into_iter().map(read).collect();
    trust.accept(&bundles, artifact().as_bytes(), NOW_S).unwrap();
    text(trust.memory().unwrap())
}

/// All that is published, good.
fn good() -> Case {
    let transcript = transcript(|_| {}, 2);
    let evidence = evidence(origin(&transcript), &artifact(), &both());
    Case {
        name: "good_first_bundle".to_owned(),
        about: "Somebody without history verifies the first bundle.".to_owned(),
        expect: None,
        outside: ["accepts", "accepts", "accepts"].map(str::to_owned),
        now_s: NOW_S,
        pins: pins().write(),
        memory: None,
        bundles: logged(&[signed(&bundle(1, None, &evidence))]),
        artifact: artifact(),
        evidence,
        documents: vec![transcript],
    }
}

/// Bundles of so many epochs.
fn chain(epochs: u32) -> Vec<Note> {
    let evidence = good().evidence;
    let mut notes: Vec<Note> = Vec::new();
    for epoch in 1..=epochs {
        notes.push(signed(&bundle(epoch, notes.last(), &evidence)));
    }
    notes
}

struct List(Vec<Case>);

impl List {
    /// A case that is accepted.
    fn good(&mut self, name: &str, about: &str, change: impl FnOnce(&mut Case)) {
        let mut case = Case { name: format!("good_{name}"), about: about.to_owned(), ..good() };
        change(&mut case);
        self.0.push(case);
    }

    /// One that is refused for this reason; of notes, log and evidence the outside verifiers say so.
    fn bad(&mut self, name: &str, about: &str, reason: &str, outside: &str, change: impl FnOnce(&mut Case)) {
        let said = |sign: char| if sign == '+' { "accepts" } else { "refuses" }.to_owned();
        let signs: Vec<char> = outside.chars().collect();
        let mut case = Case {
            name: name.to_owned(),
            about: about.to_owned(),
            expect: Some(reason.to_owned()),
            outside: [said(signs[0]), said(signs[1]), said(signs[2])],
            ..good()
        };
        change(&mut case);
        self.0.push(case);
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut list = List(Vec::new());
    honest(&mut list);
    bundles(&mut list);
    log(&mut list);
    papers(&mut list);
    list.0
}

fn honest(list: &mut List) {
    list.good("first_bundle", "Somebody without history verifies the first bundle.", |_| {});
    list.good("same_bundle_again", "Somebody verifies again what they have accepted.", |case| {
        case.memory = Some(memory(&chain(1)));
    });
    list.good("off_for_two_epochs", "Somebody who knows epoch 1 is shown 2 and 3.", |case| {
        case.memory = Some(memory(&chain(1)));
        case.bundles = logged(&chain(3)[1..]);
    });
    list.good("new_at_epoch_three", "Somebody without history begins at epoch 3.", |case| {
        case.bundles = logged(&chain(3)[2..]);
    });
    list.good("in_between_expired", "Dates count for the last bundle only.", |case| {
        let notes = chain(1);
        let old = signed(&Bundle { not_before_s: 1, not_after_s: 2, ..bundle(2, notes.last(), &case.evidence) });
        let now = signed(&bundle(3, Some(&old), &case.evidence));
        case.memory = Some(memory(&notes));
        case.bundles = logged(&[old, now]);
    });
    list.good("old_app_with_pinned_keys", "An app that keys are compiled into passes over the end.", |case| {
        case.pins = Pins { compiled_in: true, ..pins() }.write();
        case.now_s = NOW_S + 1_000_000;
    });
    list.good("junk_signature_line", "A line of somebody whom nobody knows changes nothing.", |case| {
        let mut note = signed(&bundle(1, None, &case.evidence));
        let logged = logged(std::slice::from_ref(&note)).remove(0).1;
        note.sign(&key("nobody.example", 99));
        case.bundles = vec![(text(note.write()), logged)];
    });
    list.good("lines_in_another_order", "The operator's line comes before the auditor's.", |case| {
        let mut note = bundle(1, None, &case.evidence).signed(&operator(), &auditor()).unwrap();
        let logged = logged(std::slice::from_ref(&note)).remove(0).1;
        note.sign(&auditor());
        case.bundles = vec![(text(note.write()), logged)];
    });
    list.good("auditor_replaced", "Epoch 2 names the auditor's next key, and both of its keys have signed.", |case| {
        let notes = chain(1);
        let next = key("auditor.example", 41);
        let replaces = Bundle { next_auditor: Some(next.verifying_key()), ..bundle(2, notes.last(), &case.evidence) };
        let mut second = signed(&replaces);
        second.sign(&next);
        let third = bundle(3, Some(&second), &case.evidence).signed(&next, &operator()).unwrap();
        case.memory = Some(memory(&notes));
        let entries = [
            second.entry(&auditor().verifying_key(), &operator().verifying_key()),
            third.entry(&next.verifying_key(), &operator().verifying_key()),
        ];
        case.bundles = logged_as(&[second, third], &entries, &log_key(), &[1, 3]);
        // The pins do not know the new key, and verifiers from outside know nothing but the pins.
        case.outside[0] = "-".to_owned();
        case.outside[1] = "-".to_owned();
    });
    list.good("least_epoch_raised", "Newer pins raise the least epoch, and have another auditor's key.", |case| {
        let next = key("auditor.example", 41);
        let notes = chain(1);
        let second = bundle(2, notes.last(), &case.evidence).signed(&next, &operator()).unwrap();
        let entry = second.entry(&next.verifying_key(), &operator().verifying_key());
        // By the keys in the memory it would be refused.
        case.memory = Some(memory(&notes));
        case.pins = Pins { epoch_min: 2, auditor: next.verifying_key(), ..pins() }.write();
        case.bundles = logged_as(&[second], &[entry], &log_key(), &[1, 3]);
    });
    list.good("keys_that_turned", "Evidence of a rotation refers to the ceremony's.", |case| {
        let ceremony = case.evidence.clone();
        let reason = "the channel's key turns every year".to_owned();
        let origin = Origin::Rotation { ceremony: hex(&digest(&ceremony)), reason };
        case.evidence = evidence(origin, &case.artifact, &both());
        case.documents.push(ceremony);
        case.bundles = logged(&[signed(&bundle(1, None, &case.evidence))]);
    });
    list.good("code_that_is_allowed", "The pins name the code that the evidence names.", |case| {
        case.pins = Pins { measurements: vec![measured()], ..pins() }.write();
    });
}

fn bundles(list: &mut List) {
    for (which, who, signer) in [("first", "auditor", operator()), ("second", "operator", auditor())] {
        let name = format!("bundle_{which}_signature_missing");
        let about = format!("The {who} has not signed.");
        list.bad(&name, &about, &format!("the signature of the {who} is missing"), "--+", |case| {
            let mut note = bundle(1, None, &case.evidence).note().unwrap();
            note.sign(&signer);
            case.bundles = logged(&[note]);
        });
    }
    list.bad(
        "bundle_signed_by_a_namesake",
        "A key of the operator's name is another key.",
        "the signature of the operator is missing",
        "--+",
        |case| {
            let note = bundle(1, None, &case.evidence).signed(&auditor(), &key("operator.example", 66)).unwrap();
            case.bundles = logged(&[note]);
        },
    );
    list.bad(
        "bundle_signatures_of_another",
        "The lines are those of another bundle.",
        "the signature of the auditor is not good",
        "--+",
        |case| {
            let other = text(signed(&Bundle { epoch: 9, ..bundle(1, None, &case.evidence) }).write());
            let (_, lines) = other.split_once("\n\n").unwrap();
            let (note, proof) = case.bundles.remove(0);
            let (head, _) = note.split_once("\n\n").unwrap();
            case.bundles.push((format!("{head}\n\n{lines}"), proof));
        },
    );
    list.bad(
        "bundle_bad_line_beside_a_good_one",
        "A line by a known key is not good, and another is.",
        "the signature of the auditor is not good",
        "-++",
        |case| {
            let other = text(signed(&Bundle { epoch: 9, ..bundle(1, None, &case.evidence) }).write());
            let bad = other.split_once("\n\n").unwrap().1.lines().next().unwrap().to_owned();
            let (note, proof) = case.bundles.remove(0);
            case.bundles.push((format!("{note}{bad}\n"), proof));
            // Go takes the first line of a key and passes over the next.
            case.outside[0] = "accepts".to_owned();
        },
    );
    list.bad(
        "bundle_epoch_rolled_back",
        "Somebody who knows epoch 3 is shown epoch 1.",
        "epoch 1 is rolled back",
        "+++",
        |case| {
            case.memory = Some(memory(&chain(3)));
        },
    );
    list.bad(
        "bundle_below_least_epoch",
        "The pins ask for epoch 2 at least.",
        "epoch 1 is rolled back",
        "+++",
        |case| {
            case.pins = Pins { epoch_min: 2, ..pins() }.write();
        },
    );
    list.bad(
        "bundle_epoch_skipped",
        "Somebody who knows epoch 1 is shown epoch 3.",
        "does not follow the one before",
        "+++",
        |case| {
            case.memory = Some(memory(&chain(1)));
            case.bundles = logged(&chain(3)[2..]);
        },
    );
    list.bad(
        "bundle_history_changed",
        "Epoch 2 follows another epoch 1 than was seen.",
        "does not follow the one before",
        "+++",
        |case| {
            let other = signed(&Bundle { not_after_s: NOW_S + 7, ..bundle(1, None, &case.evidence) });
            case.memory = Some(memory(&chain(1)));
            case.bundles = logged(&[signed(&bundle(2, Some(&other), &case.evidence))]);
        },
    );
    list.bad(
        "bundle_fork",
        "Both have signed two bundles of epoch 1.",
        "there are two bundles of epoch 1",
        "+++",
        |case| {
            case.memory = Some(memory(&chain(1)));
            case.bundles = logged(&[signed(&Bundle { not_after_s: NOW_S + 7, ..bundle(1, None, &case.evidence) })]);
        },
    );
    list.bad(
        "bundle_of_another_fleet",
        "Epoch 2 is of another fleet.",
        "of another fleet than the ones before",
        "+++",
        |case| {
            let notes = chain(1);
            case.memory = Some(memory(&notes));
            case.bundles = logged(&[signed(&Bundle { fleet: [8; 32], ..bundle(2, notes.last(), &case.evidence) })]);
        },
    );
    list.bad(
        "bundle_of_test_namespace",
        "A bundle for tests, signed by both.",
        "is for example.org/test",
        "+++",
        |case| {
            let test = Bundle { namespace: "example.org/test".to_owned(), ..bundle(1, None, &case.evidence) };
            case.bundles = logged(&[signed(&test)]);
        },
    );
    list.bad("bundle_expired", "A second after its end.", "has expired", "+++", |case| case.now_s = NOW_S + 101);
    list.bad("bundle_not_yet_valid", "A second before its beginning.", "holds only from", "+++", |case| {
        case.now_s = NOW_S - 101
    });
    list.bad(
        "bundle_compiled_in_not_yet_valid",
        "Compiled in or not, it has not begun.",
        "holds only from",
        "+++",
        |case| {
            case.pins = Pins { compiled_in: true, ..pins() }.write();
            case.now_s = NOW_S - 101;
        },
    );
    list.bad(
        "bundle_new_key_unsigned",
        "The auditor's next key has not signed the bundle that names it.",
        "new key has not signed",
        "+++",
        |case| {
            let notes = chain(1);
            let next_auditor = Some(key("auditor.example", 41).verifying_key());
            case.memory = Some(memory(&notes));
            case.bundles = logged(&[signed(&Bundle { next_auditor, ..bundle(2, notes.last(), &case.evidence) })]);
        },
    );
    list.bad(
        "bundle_old_key_after_replacement",
        "Epoch 3 is signed by the auditor's key that epoch 2 replaced.",
        "the signature of the auditor is missing",
        "+++",
        |case| {
            let notes = chain(1);
            let next = key("auditor.example", 41);
            let replaces =
                Bundle { next_auditor: Some(next.verifying_key()), ..bundle(2, notes.last(), &case.evidence) };
            let mut second = signed(&replaces);
            second.sign(&next);
            let third = signed(&bundle(3, Some(&second), &case.evidence));
            case.memory = Some(memory(&notes));
            case.bundles = logged(&[second, third]);
        },
    );
    list.bad(
        "bundle_written_otherwise",
        "Its epoch has a zero before it, and both have signed that.",
        "not a bundle",
        "+++",
        |case| {
            let wrong = bundle(1, None, &case.evidence).note().unwrap().text().replace("epoch 1\n", "epoch 01\n");
            case.bundles = logged(&[resigned(&wrong)]);
        },
    );
    list.bad("bundle_unknown_line", "A line more than there may be, signed by both.", "not a bundle", "+++", |case| {
        let wrong = format!("{}comment hello\n", bundle(1, None, &case.evidence).note().unwrap().text());
        case.bundles = logged(&[resigned(&wrong)]);
    });
    list.bad(
        "artifact_swapped",
        "fleet-keys.json is another than the bundle names.",
        "these keys are not the ones",
        "+++",
        |case| {
            case.artifact = case.artifact.replace("\"attempts_max\": 10", "\"attempts_max\": 40");
        },
    );
    list.bad(
        "pins_with_one_key_twice",
        "One key stands for auditor and operator.",
        "one key stands for two",
        "+++",
        |case| {
            let pins = pins();
            let twice = key("operator.example", 1).verifying_key();
            case.pins = pins.write().replace(&pins.operator.to_string(), &twice.to_string());
            case.outside = ["-", "-", "-"].map(str::to_owned);
        },
    );
}

/// A text that no bundle has, under both signatures.
fn resigned(text: &str) -> Note {
    let mut note = Note::unsigned(text.to_owned());
    note.sign(&auditor());
    note.sign(&operator());
    note
}

fn log(list: &mut List) {
    let note = |case: &Case| signed(&bundle(1, None, &case.evidence));
    let entry = |note: &Note| note.entry(&auditor().verifying_key(), &operator().verifying_key());
    list.bad(
        "proof_wrong_tree_size",
        "The checkpoint is of a larger log than the proof.",
        "not in the log",
        "+-+",
        |case| {
            let larger =
                logged_as(&[note(case)], &[entry(&note(case)), b"more".to_vec()], &log_key(), &[1, 2]).remove(0).1;
            let (head, _) = case.bundles[0].1.split_once("\n\n").unwrap();
            let (_, checkpoint) = larger.split_once("\n\n").unwrap();
            case.bundles[0].1 = format!("{head}\n\n{checkpoint}");
        },
    );
    list.bad("proof_wrong_index", "The proof is of another place.", "not in the log", "+-+", |case| {
        case.bundles[0].1 = case.bundles[0].1.replacen("index 2", "index 3", 1);
    });
    list.bad("proof_index_beyond_the_end", "The log has no such entry.", "not in the log", "+-+", |case| {
        case.bundles[0].1 = case.bundles[0].1.replacen("index 2", "index 4", 1);
    });
    list.bad("proof_hash_missing", "A hash of the proof is left out.", "not in the log", "+-+", |case| {
        let mut lines: Vec<_> = case.bundles[0].1.lines().map(str::to_owned).collect();
        lines.remove(2);
        case.bundles[0].1 = lines.iter().map(|line| format!("{line}\n")).collect();
    });
    list.bad(
        "proof_of_another_entry",
        "The log has taken another bundle at this place.",
        "not in the log",
        "+-+",
        |case| {
            let other = entry(&signed(&bundle(2, None, &case.evidence)));
            case.bundles = logged_as(&[note(case)], &[other], &log_key(), &[1, 2]);
        },
    );
    list.bad("proof_of_another_log", "The log has another name and key.", "and the log here is", "+-+", |case| {
        case.bundles = logged_as(&[note(case)], &[entry(&note(case))], &key("log.example/other", 77), &[1, 2]);
    });
    list.bad(
        "checkpoint_by_a_namesake",
        "A key of the log's name is another key.",
        "the log has not signed",
        "+-+",
        |case| {
            case.bundles = logged_as(&[note(case)], &[entry(&note(case))], &key("log.example/fleets", 77), &[1, 2]);
        },
    );
    list.bad(
        "checkpoint_signature_bad",
        "The log's line is that of another checkpoint.",
        "signature of the checkpoint is not good",
        "+-+",
        |case| {
            let other = logged_as(&[note(case)], &[b"other".to_vec()], &log_key(), &[1, 2]).remove(0).1;
            let line =
                |proof: &str| proof.lines().find(|line| line.contains("log.example/fleets ")).unwrap().to_owned();
            case.bundles[0].1 = case.bundles[0].1.replace(&line(&case.bundles[0].1), &line(&other));
        },
    );
    list.bad(
        "witnesses_too_few",
        "One of three has seen it, and two must have.",
        "1 known witnesses have seen",
        "+-+",
        |case| {
            case.bundles = logged_as(&[note(case)], &[entry(&note(case))], &log_key(), &[3]);
        },
    );
    list.bad(
        "witness_unknown",
        "The second witness is one whom nobody knows.",
        "1 known witnesses have seen",
        "+-+",
        |case| {
            case.bundles = logged_as(&[note(case)], &[entry(&note(case))], &log_key(), &[1, 9]);
        },
    );
    list.bad(
        "witness_signature_bad",
        "A witness's line is that of another checkpoint.",
        "signature of the witness witness2.example is not good",
        "+-+",
        |case| {
            let other = logged_as(&[note(case)], &[b"other".to_vec()], &log_key(), &[1, 2]).remove(0).1;
            let line = |proof: &str| proof.lines().find(|line| line.contains("witness2.example ")).unwrap().to_owned();
            case.bundles[0].1 = case.bundles[0].1.replace(&line(&case.bundles[0].1), &line(&other));
        },
    );
    list.bad(
        "proof_with_extra_data",
        "Nobody signs a proof's extra data, so none is taken.",
        "not a proof",
        "+++",
        |case| {
            case.bundles[0].1 = case.bundles[0].1.replacen("index 2", "extra aGVsbG8=\nindex 2", 1);
        },
    );
}

fn papers(list: &mut List) {
    /// New evidence, and a bundle that names it.
    fn name(case: &mut Case, evidence: String) {
        case.bundles = logged(&[signed(&bundle(1, None, &evidence))]);
        case.evidence = evidence;
    }
    for (who, signer) in [("auditor", evidence_operator()), ("operator", evidence_auditor())] {
        let reason = format!("the {who} has not signed the evidence");
        list.bad(&format!("evidence_unsigned_by_{who}"), "One of two has signed.", &reason, "++-", |case| {
            name(case, evidence(origin(&case.documents[0]), &case.artifact, &[signer]));
        });
    }
    list.bad(
        "evidence_signed_by_bundle_keys",
        "Every purpose has a key of its own.",
        "has not signed the evidence",
        "++-",
        |case| {
            name(case, evidence(origin(&case.documents[0]), &case.artifact, &[auditor(), operator()]));
        },
    );
    list.bad(
        "evidence_altered",
        "The document was changed after it was signed.",
        "a signature under the evidence that is not good",
        "++-",
        |case| {
            let signed = Envelope::read(case.evidence.as_bytes()).unwrap();
            let altered = text(signed.payload().to_vec()).replace("cargo build --locked", "cargo build --lax!!!");
            let mut value: serde_json::Value = serde_json::from_str(&case.evidence).unwrap();
            value["payload"] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, altered).into();
            name(case, format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
        },
    );
    list.bad(
        "evidence_not_named",
        "The bundle names other evidence.",
        "not the evidence that the bundle names",
        "+++",
        |case| {
            let transcript = transcript(|it| it.exceptions.clear(), 2);
            case.evidence = evidence(origin(&transcript), &case.artifact, &both());
            case.documents = vec![transcript];
        },
    );
    list.bad("evidence_of_other_keys", "It is about another artifact.", "about other keys", "+++", |case| {
        name(case, evidence(origin(&case.documents[0]), "another artifact", &both()));
    });
    list.bad("evidence_of_another_fleet", "It says so itself.", "of another service or fleet", "+++", |case| {
        let evidence =
            Evidence { namespace: NAMESPACE.to_owned(), fleet: hex(&[8; 32]), origin: origin(&case.documents[0]) };
        let mut envelope = evidence.envelope(&digest(&case.artifact)).unwrap();
        both().iter().for_each(|signer| envelope.sign(signer));
        name(case, text(envelope.write()));
    });
    list.bad(
        "transcript_missing",
        "The evidence names a transcript that is not here.",
        "the transcript of the ceremony is missing",
        "+++",
        |case| {
            case.documents.clear();
        },
    );
    list.bad(
        "transcript_unsigned",
        "Somebody who was there has not signed.",
        "the operator has not signed the transcript",
        "+++",
        |case| {
            case.documents = vec![transcript(|_| {}, 1)];
            name(case, evidence(origin(&case.documents[0]), &case.artifact, &both()));
        },
    );
    list.bad("transcript_of_another_ceremony", "Other keys came of it.", "of another ceremony", "+++", |case| {
        case.documents = vec![transcript(|it| it.artifact = hex(&[3; 32]), 2)];
        name(case, evidence(origin(&case.documents[0]), &case.artifact, &both()));
    });
    list.bad(
        "rotation_without_its_ceremony",
        "The evidence of the ceremony is not here.",
        "the evidence of the ceremony is missing",
        "+++",
        |case| {
            let origin = Origin::Rotation { ceremony: hex(&[4; 32]), reason: "they turned".to_owned() };
            name(case, evidence(origin, &case.artifact, &both()));
        },
    );
    list.bad(
        "code_not_allowed",
        "The pins name other code.",
        "is not among those that the pins allow",
        "+++",
        |case| {
            let other = Measurement { digest: "ffff".to_owned(), ..measured() };
            case.pins = Pins { measurements: vec![other], ..pins() }.write();
        },
    );
}
