//! Verifiers from outside over `vectors/trust/`: Go's `sumdb/note` and `sumdb/tlog`, and Python's securesystemslib.
//!
//! Each must say of every case what its header says, and refuse the tampered twin of every good one. It needs `go` with
//! `golang.org/x/mod` in GOPATH (Debian: golang-go, golang-golang-x-mod-dev), and a Python with `requirements.txt` in it,
//! named by STRONGROOM_PYTHON. `.ci/run outside` brings both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../trust_vectors/file.rs"]
mod file;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use file::Case;
use strongroom::secret::Secret;
use strongroom::transparency::{EpochSignature, Note, SigningKey};

const JUDGES: [&str; 3] = ["sumdb/note", "sumdb/tlog", "dsse"];

/// Verdicts by case: of the three judges.
type Verdicts = BTreeMap<String, [String; 3]>;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = read(&root.join("vectors/trust"));
    let verdicts = judged(&root.join("vectors/trust"));
    let expected: Verdicts = cases.iter().map(|case| (case.name.clone(), case.outside.clone())).collect();
    let found = differences(&expected, &verdicts);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(expected.len(), verdicts.len());

    // The control: where a header says another thing, it is found.
    let mut wrong = expected.clone();
    for place in wrong.get_mut("good_first_bundle").unwrap() {
        *place = "refuses".to_owned();
    }
    assert_eq!(differences(&wrong, &verdicts).len(), JUDGES.len(), "a difference goes unnoticed");

    let folder = tempfile::tempdir().unwrap();
    let mut twins = Verdicts::new();
    for case in cases.iter().filter(|case| case.expect.is_none()) {
        for (number, judge) in JUDGES.iter().enumerate().filter(|(number, _)| case.outside[*number] != "-") {
            let mut twin = Case { name: format!("{}_{}", case.name, judge.replace('/', "_")), ..case.clone() };
            match number {
                0 => twin.bundles[0].0 = altered(&twin.bundles[0].0, "not-after "),
                1 => twin.bundles[0].1 = altered(&twin.bundles[0].1, "log.example/fleets\n"),
                _ => twin.evidence = altered(&twin.evidence, "\"payload\": \""),
            }
            assert_ne!((&twin.bundles, &twin.evidence), (&case.bundles, &case.evidence), "{}", twin.name);
            let mut expected = ["-", "-", "-"].map(str::to_owned);
            expected[number] = "refuses".to_owned();
            twins.insert(twin.name.clone(), expected);
            fs::write(folder.path().join(format!("{}.txt", twin.name)), twin.write()).unwrap();
        }
    }
    plexi(folder.path());
    let found = differences(&twins, &judged(folder.path()));
    assert!(found.is_empty(), "tampered twins: {found:#?}");
    let judgements = expected.values().flatten().filter(|it| *it != "-").count();
    println!("{} cases, {judgements} judgements, {} tampered twins refused", expected.len(), twins.len());
}

/// Cloudflare's command, if STRONGROOM_PLEXI names it (`cargo install --locked plexi`): it accepts our signature of an
/// epoch, and not its tampered twin.
fn plexi(folder: &Path) {
    let Some(command) = std::env::var_os("STRONGROOM_PLEXI") else {
        println!("LEFT OUT: plexi: see STRONGROOM_PLEXI in .ci/README");
        return;
    };
    let key = SigningKey::new("field.auditor.example", &Secret::new([7; 32])).unwrap();
    let case = Case::read(include_str!("../../vectors/trust/good_first_bundle.txt")).unwrap();
    let note = Note::read(case.bundles[0].0.as_bytes()).unwrap();
    let good = EpochSignature::sign(&note, 1_800_000_000_000, &key).unwrap();
    let mut twin = good.clone();
    twin.digest[0] ^= 1;
    for (signature, expected) in [(good, "success"), (twin, "failed")] {
        let path = folder.join("epoch.json");
        fs::write(&path, signature.write()).unwrap();
        let mut audit = Command::new(&command);
        audit.args(["local-audit", "--verifying-key", &hex::encode(key.verifying_key().as_bytes())]).arg(path);
        let said = told(audit);
        assert!(said.starts_with(expected), "plexi: {said}");
    }
    println!("plexi accepts our signature of an epoch, and refuses its tampered twin");
}

/// The character behind a place becomes the next one.
fn altered(text: &str, after: &str) -> String {
    let (head, tail) = text.split_once(after).unwrap();
    let first = tail.as_bytes()[0];
    format!("{head}{after}{}{}", char::from(first + 1), &tail[1..])
}

fn read(folder: &Path) -> Vec<Case> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension() == Some("txt".as_ref()))
        .map(|path| Case::read(&fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

/// What is said otherwise than expected.
fn differences(expected: &Verdicts, verdicts: &Verdicts) -> Vec<String> {
    let mut found = Vec::new();
    for (name, expected) in expected {
        let said = &verdicts[name];
        for (number, judge) in JUDGES.iter().enumerate() {
            if expected[number] != "-" && expected[number] != said[number] {
                found.push(format!("{name}: {judge} {}, expected was {}", said[number], expected[number]));
            }
        }
    }
    found
}

fn judged(folder: &Path) -> Verdicts {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside");
    let mut go = Command::new("go");
    go.arg("run").arg(here.join("judge.go")).arg(folder);
    go.env("GO111MODULE", "off").env("GOFLAGS", "");
    if std::env::var_os("GOPATH").is_none() {
        go.env("GOPATH", "/usr/share/gocode");
    }
    let mut python = Command::new(std::env::var_os("STRONGROOM_PYTHON").unwrap_or_else(|| "python3".into()));
    python.arg(here.join("judge.py")).arg(folder);
    let mut verdicts = Verdicts::new();
    for line in told(go).lines() {
        let [name, note, log] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        verdicts.insert(name.to_owned(), [note.to_owned(), log.to_owned(), String::new()]);
    }
    for line in told(python).lines() {
        let (name, verdict) = line.split_once(' ').unwrap();
        verdicts.get_mut(name).unwrap()[2] = verdict.to_owned();
    }
    verdicts
}

fn told(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; see `.ci/run outside`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
