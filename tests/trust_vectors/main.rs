//! What a verifier must say, case by case: `vectors/trust/`, one readable file a case.
//!
//! The files are what this test makes. After a change of format run it once with `STRONGROOM_WRITE_VECTORS=1` set, look at
//! the difference, and commit it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod file;
mod statements;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, str};

use file::Case;
use strongroom::transparency::{Given, LoggedBundle, Note, Pins, Proof, Trust};

/// Behind it stands the table of cases.
const MARK: &str = "<!-- written by tests/trust_vectors -->";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/trust")
}

/// What our verifier says of a case: nothing, or why it refuses.
fn judge(case: &Case) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let pins = Pins::read(&case.pins).map_err(|it| words(&it))?;
    let mut trust = match &case.memory {
        Some(memory) => Trust::with_memory(pins, memory.as_bytes()).map_err(|it| words(&it))?,
        None => Trust::new(pins).map_err(|it| words(&it))?,
    };
    let read = |(note, proof): &(String, String)| {
        let note = Note::read(note.as_bytes()).map_err(|it| words(&it))?;
        Ok(LoggedBundle { note, proof: Proof::read(proof.as_bytes()).map_err(|it| words(&it))? })
    };
    let bundles = case.bundles.iter().map(read).collect::<Result<Vec<_>, String>>()?;
    let documents: Vec<Vec<u8>> = case.documents.iter().map(|it| it.clone().into_bytes()).collect();
    let given = Given {
        bundles: &bundles,
        artifact: case.artifact.as_bytes(),
        evidence: case.evidence.as_bytes(),
        documents: &documents,
        attestations: &[],
    };
    trust.verify(&given, case.now_s).outcome.map(|_| ())
}

#[test]
fn the_files_are_what_this_test_makes() {
    let made: BTreeMap<_, _> = cases::all().iter().map(|case| (format!("{}.txt", case.name), case.write())).collect();
    let readme = folder().join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (head, _) = text.split_once(MARK).unwrap();
    let whole = format!("{head}{MARK}\n{}", table());
    if std::env::var_os("STRONGROOM_WRITE_VECTORS").is_some() {
        fs::write(&readme, &whole).unwrap();
        made.iter().for_each(|(name, text)| fs::write(folder().join(name), text).unwrap());
    }
    for (name, text) in &made {
        let there = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert_eq!(&there, text, "{name}: see the first lines of this test");
    }
    assert_eq!(fs::read_to_string(readme).unwrap(), whole, "the table of cases");
    assert_eq!(files().len(), made.len(), "a file that nobody made");
}

/// Which verifier says what of which case.
fn table() -> String {
    let row = |case: &Case| {
        let expect = case.expect.as_ref().map_or("accepted", |_| "refused");
        format!("| {} | {} | {expect} | {} |\n", case.name, case.about, case.outside.join(" | "))
    };
    let rows: String = cases::all().iter().map(row).collect();
    format!("| case | about | ours | sumdb/note | sumdb/tlog | dsse |\n|---|---|---|---|---|---|\n{rows}")
}

fn files() -> Vec<PathBuf> {
    let paths = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension() == Some("txt".as_ref())).collect()
}

#[test]
fn every_case_is_judged_as_its_file_says() {
    let (mut good, mut bad) = (0, 0);
    for path in files() {
        let case = Case::read(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|| panic!("{}", path.display()));
        let said = judge(&case);
        match &case.expect {
            None => {
                assert_eq!(said, Ok(()), "{}", case.name);
                good += 1;
            }
            Some(reason) => {
                let said = said.expect_err(&case.name);
                assert!(said.contains(reason), "{}: {said}", case.name);
                bad += 1;
            }
        }
    }
    assert!(good >= 8 && bad >= 35, "{good} and {bad}");
}

/// The control: of a good case not one byte of what was signed can be changed.
#[test]
fn no_mutation_of_a_good_case_is_accepted_as_something_else() {
    let good = cases::all().into_iter().find(|case| case.name == "good_first_bundle").unwrap();
    assert_eq!(judge(&good), Ok(()));
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        str::from_utf8(&bytes).map(str::to_owned).ok()
    };
    let mut refused = 0;
    for at in 0..good.bundles[0].0.len() {
        let Some(note) = flipped(&good.bundles[0].0, at) else { continue };
        let case = Case { bundles: vec![(note, good.bundles[0].1.clone())], ..good.clone() };
        assert!(judge(&case).is_err(), "byte {at} of the bundle");
        refused += 1;
    }
    for at in 0..good.bundles[0].1.len() {
        let Some(proof) = flipped(&good.bundles[0].1, at) else { continue };
        let case = Case { bundles: vec![(good.bundles[0].0.clone(), proof.clone())], ..good.clone() };
        // A third witness's line may be any; two of the three are enough, and one more that is bad is refused anyway.
        assert!(judge(&case).is_err(), "byte {at} of the proof: {proof}");
        refused += 1;
    }
    for at in 0..good.evidence.len() {
        let Some(evidence) = flipped(&good.evidence, at) else { continue };
        assert!(judge(&Case { evidence, ..good.clone() }).is_err(), "byte {at} of the evidence");
        refused += 1;
    }
    assert!(refused > 2000, "{refused}");
}
