//! Rows of the format corpus: `vectors/format-v1/rows.txt` holds a short log as version 1 writes it.

use std::fs;
use std::path::PathBuf;

use super::{charge, enrol};
use crate::error::Fault;
use crate::journal::LogId;
use crate::journal::row::{CHAIN_BEGIN, Draft, Entry, Keys, Row};
use crate::ledger::{Command, Policy};
use crate::secret::Secret;

const KEY: [u8; 32] = [0x4b; 32];
const TIME_S: u64 = 1_800_000_000;

fn batches() -> [Vec<Command>; 3] {
    [vec![enrol(1, 0, 7), charge(1, 1), charge(2, 1)], vec![], vec![charge(1, 2), Command::Forget { most: 5 }]]
}

/// The log's rows: the policy, then the batches, each a minute after the one before.
fn rows() -> Vec<Vec<u8>> {
    let keys = Keys::new(&Secret::new(KEY));
    let batches = batches().into_iter().enumerate();
    let drafts = batches.map(|(minute, commands)| Draft::batch(TIME_S + 60 * minute as u64, &commands).unwrap());
    let mut chain = CHAIN_BEGIN;
    let mut rows = Vec::new();
    for (index, draft) in std::iter::once(Draft::policy(&Policy::development())).chain(drafts).enumerate() {
        let (row, next) = draft.seal(&keys, LogId { index: index as u64, ..LogId::default() }, &chain);
        rows.push(row);
        chain = next;
    }
    rows
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/format-v1/rows.txt")
}

fn text() -> String {
    let mut text = "# A journal's first rows, each behind the one before it, and the key of their chain.\n".to_owned();
    text.push_str(&format!("journal_key: {}\n", hex::encode(KEY)));
    for row in rows() {
        text.push_str(&format!("row: {}\n", hex::encode(row)));
    }
    text
}

#[test]
fn the_corpus_of_rows_is_what_this_version_writes() {
    if std::env::var_os("STRONGROOM_WRITE_CORPUS").is_some() {
        fs::write(path(), text()).unwrap();
    }
    assert_eq!(fs::read_to_string(path()).unwrap_or_default(), text());
}

/// `vectors/sealed/negative.json`: a row that was altered, or stands in another's place; some whose chain holds.
#[test]
fn what_is_no_row_of_this_place_is_not_read() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../vectors/sealed/negative.json")).unwrap();
    let mut seen = [0; 2];
    for case in file["cases"].as_array().unwrap().iter().filter(|case| case["judge"] == "journal row") {
        let bytes = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
        let array = |name: &str| <[u8; 32]>::try_from(bytes(name)).unwrap();
        let keys = Keys::new(&Secret::new(array("journal_key")));
        let read = Row::open(&keys, &bytes("row"), case["index"].as_u64().unwrap(), &array("chain"));
        let accepts = case["accepts"].as_bool().unwrap();
        assert_eq!(read.is_ok(), accepts, "{}", case["name"]);
        // Of these the chain says nothing.
        let chained = case["name"].as_str().unwrap().starts_with("chained");
        let said = read.err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(!(chained && said.contains("does not continue the chain")), "{}: {said}", case["name"]);
        seen[usize::from(accepts)] += 1;
    }
    assert_eq!(seen, [32, 1]);
}

#[test]
fn the_corpus_of_rows_is_read() {
    let text = fs::read_to_string(path()).unwrap();
    let mut fields = text.lines().skip(1).map(|line| hex::decode(line.split_once(": ").unwrap().1).unwrap());
    let keys = Keys::new(&Secret::new(fields.next().unwrap().try_into().unwrap()));
    let mut chain = CHAIN_BEGIN;
    for (index, bytes) in fields.enumerate() {
        let row = Row::open(&keys, &bytes, index as u64, &chain).unwrap();
        match row.entry {
            Entry::Policy(policy) => assert_eq!((index, policy), (0, Policy::development())),
            Entry::Batch { time_s, commands } => {
                assert_eq!(time_s, TIME_S + 60 * (index as u64 - 1));
                assert_eq!(commands, batches()[index - 1]);
            }
        }
        let mut later = bytes.clone();
        later[0] = 2;
        let said = Row::open(&keys, &later, index as u64, &chain).err();
        assert_eq!(said, Some(Fault::Format { what: "a log row", found: 2, reads: 1 }), "a later version is named");
        assert!(Row::open(&keys, &bytes, index as u64, &[1; 32]).is_err(), "the control: behind another row");
        chain = row.chain;
    }
}
