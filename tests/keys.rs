//! `strongroom keys` as an operator meets it: keys that turn, a rewrap and a move that are killed again and again, and what
//! is left of an epoch that has ended.
//!
//! Needs the feature `cli`: `cargo test --release --features cli --test keys`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use serde_json::Value;
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Failure, PendingEnrolment, Recovery, Terms, remaining, remaining_request};
use strongroom::error::Refusal;
use strongroom::ledger::{Moving, Policy};
use strongroom::protocol::Request;
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, Config, Vault};
use tempfile::TempDir;

const KEY: [u8; 32] = [3; 32];

fn strongroom(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `strongroom keys`, on a vault's folder.
fn keys(folder: &Path, words: &[&str]) -> Command {
    let mut command = strongroom(&[&["keys"], words].concat());
    command.arg("--folder").arg(folder);
    command
}

fn output(mut command: Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a command says that does what it is told.
fn said(command: Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Why a command does not.
fn refused(command: Command) -> String {
    let output = output(command);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(output.stdout.is_empty());
    text(&output.stderr).to_owned()
}

fn status(folder: &Path) -> Value {
    serde_json::from_str(&said(keys(folder, &["status", "--json"]))).unwrap()
}

fn open(folder: &Path) -> Vault {
    Vault::open(Config::development(folder).unwrap(), Policy::development()).unwrap()
}

fn account(person: usize) -> AccountId {
    AccountId::derive("keys", &person.to_string())
}

/// A vault with people, each with a record.
fn vault_of(people: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::create(Config::development(folder.path()).unwrap(), Policy::development()).unwrap();
    let ids: Vec<_> = (0..people).map(account).collect();
    for ids in ids.chunks(1000) {
        let terms = Terms::development();
        let begun: Vec<_> = ids.iter().map(|id| Enrolment::start(&terms, *id, code()).unwrap()).collect();
        let replies = vault.process_bytes(&admit(ids, begun.iter().map(Enrolment::request)));
        let pending = begun.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply, &Secret::new(KEY)).unwrap());
        let pending: Vec<_> = pending.collect();
        let replies = vault.process_bytes(&admit(ids, pending.iter().map(PendingEnrolment::request)));
        pending.iter().zip(&replies).for_each(|(it, reply)| {
            it.done(reply).unwrap();
        });
    }
    folder
}

fn admit<'a>(ids: &[AccountId], requests: impl Iterator<Item = &'a [u8]>) -> Vec<Admitted<'a>> {
    ids.iter().zip(requests).map(|(account, request)| Admitted { account: *account, request }).collect()
}

fn code() -> Code {
    Code::new("a code").unwrap()
}

fn ask(vault: &Vault, account: AccountId, request: &[u8]) -> Vec<u8> {
    vault.process_bytes(&[Admitted { account, request }]).remove(0)
}

fn recover(vault: &Vault, person: usize, code: &str) -> Result<Secret<[u8; 32]>, Failure> {
    let account = account(person);
    let recovery = Recovery::start(&Terms::development(), account, Code::new(code)?)?;
    let pending = recovery.finish(&ask(vault, account, recovery.request()))?;
    pending.open(&ask(vault, account, pending.request()))
}

fn recovers(vault: &Vault, person: usize) {
    assert!(bool::from(recover(vault, person, "a code").unwrap().ct_eq(&KEY)), "person {person}");
}

/// Starts a command and kills it after so many milliseconds; whether it had not ended by itself.
fn kill(mut command: Command, after: u64) -> bool {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(after));
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

/// Kills a command later and later until that is seen to come amid its work, by how far it has come of how much. Then
/// again and again, after so many milliseconds, which differ, and nobody looks: what looks would tidy up behind the
/// killed. At last it runs to its end. Returns how often it was killed then, and what it said at the end.
fn killed(
    times: usize,
    after: Range<u64>,
    dice: &mut u64,
    command: impl Fn() -> Command,
    come: impl Fn() -> u64,
    all: u64,
) -> (usize, String) {
    let (mut wait, start) = (after.start, come());
    while come() == start {
        assert!(wait < 60_000, "it does nothing");
        kill(command(), wait);
        wait += 1 + wait / 10;
    }
    assert!(come() < all, "no kill came amid the work");
    let (mut kills, length) = (0, after.end.max(wait) - after.start);
    for _ in 0..200 {
        if kills == times {
            break;
        }
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        kills += usize::from(kill(command(), after.start + (*dice >> 33) % length));
    }
    (kills, said(command()))
}

const ALL_IDS: u64 = 1 << 16;

/// How far a move has come, of [`ALL_IDS`].
fn moved(folder: &Path) -> u64 {
    let bound = |moving: Moving| moving.bound.map_or(ALL_IDS, |id| u16::from_be_bytes([id.0[0], id.0[1]]).into());
    open(folder).moving().unwrap().map_or(0, bound)
}

#[test]
fn every_kind_of_key_turns_and_status_tells_of_it() {
    let folder = vault_of(3);
    let folder = folder.path();
    let words = said(keys(folder, &["status"]));
    assert!(
        words.contains("epoch 1: 3 records, seals") && words.contains("server keys 1: 3 records, makes new"),
        "{words}"
    );
    assert!(said(keys(folder, &["rotate", "epoch"])).contains("epoch 2 has begun"));
    assert!(refused(keys(folder, &["retire", "epochs"])).contains("3 records are still sealed under epochs before 2"));
    assert!(said(keys(folder, &["rewrap"])).starts_with("3 records moved to epoch 2"));
    assert!(said(keys(folder, &["rewrap"])).contains("under epoch 2 already"));
    assert!(said(keys(folder, &["retire", "epochs"])).contains("their keys are destroyed"));
    assert!(said(keys(folder, &["rotate", "tickets"])).contains("key 2"));
    assert!(said(keys(folder, &["rotate", "digests"])).contains("key 2"));
    assert_eq!(output(keys(folder, &["rotate", "channel"])).status.code(), Some(2), "until when is not said");
    assert!(said(keys(folder, &["rotate", "channel", "--bundle-not-after", "9000000000"])).contains("sealed to key 2"));
    assert!(said(keys(folder, &["rotate", "server"])).contains("server keys 2 are ready"));
    assert!(refused(keys(folder, &["retire", "server", "1"])).contains("new records are made by"));
    assert!(refused(keys(folder, &["enrol-under", "7"])).contains("not held"));
    assert!(said(keys(folder, &["enrol-under", "2"])).contains("made by server keys 2"));
    assert!(said(keys(folder, &["retire", "server", "1"])).contains("up to 1"));
    let status = status(folder);
    assert_eq!(status["epochs"], serde_json::json!([{ "epoch": 2, "records": 3 }]));
    let servers = status["servers"].as_array().unwrap();
    assert_eq!((&servers[0]["retired"], &servers[0]["records"]), (&Value::from(true), &Value::from(3)));
    assert_eq!((&servers[1]["enrols"], &servers[1]["records"]), (&Value::from(true), &Value::from(0)));
    assert_eq!(status["channel"].as_array().unwrap().len(), 2);
    assert_eq!((&status["digests"], &status["epoch_min"]), (&serde_json::json!([1, 2]), &Value::from(2)));
    (0..3).for_each(|person| recovers(&open(folder), person));

    let nowhere = folder.join("nowhere");
    assert!(refused(keys(&nowhere, &["status"])).contains("holds no vault"));
    assert!(!nowhere.exists(), "looking makes nothing");
    let held = open(folder);
    assert!(!refused(keys(folder, &["status"])).is_empty(), "it is open elsewhere");
    drop(held);
    let help = said(strongroom(&["keys", "--help"]));
    for word in ["status", "rotate", "enrol-under", "rewrap", "retire", "offer", "export", "import"] {
        assert!(help.contains(word), "{word}");
    }
    for wrong in
        [&["keys"][..], &["keys", "status"], &["keys", "rotate", "--folder", "x"], &["keys", "rewrap", "--rate", "0"]]
    {
        assert_eq!(output(strongroom(wrong)).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_rewrap_that_is_killed_again_and_again_finishes_and_leaves_nothing_of_the_old_epoch() {
    const PEOPLE: usize = 3000;
    let folder = vault_of(PEOPLE);
    let folder = folder.path();
    let root = fs::read(folder.join("root/epoch-1.root")).unwrap();
    let old = nonces(folder, 1);
    assert_eq!(old.len(), PEOPLE, "every record is seen");
    said(keys(folder, &["rotate", "epoch"]));
    let mut dice = 7;
    let come = || open(folder).keys().unwrap().epochs.last().map_or(0, |newest| newest.records);
    let rewrap = || keys(folder, &["rewrap", "--rate", "4000"]);
    let (kills, words) = killed(20, 20..120, &mut dice, rewrap, come, PEOPLE as u64);
    println!("killed {kills} times; then: {words}");
    assert_eq!(kills, 20);
    let status = status(folder);
    assert_eq!(status["epochs"], serde_json::json!([{ "epoch": 1, "records": 0 }, { "epoch": 2, "records": PEOPLE }]));
    said(keys(folder, &["retire", "epochs"]));

    assert_eq!(nonces(folder, 2).len(), PEOPLE, "no record is lost");
    let left = nonces(folder, 1);
    assert!(left.is_empty(), "{} records of the old epoch", left.len());
    let stored = stored_values(folder);
    assert!(stored.iter().all(|bytes| !bytes.windows(12).any(|window| old.contains(window))), "in no table and no row");
    assert_eq!(fs::read_dir(folder.join("root")).unwrap().count(), 1, "the old root's file is gone");
    for bytes in files(folder) {
        assert!(!bytes.windows(8).any(|window| root.chunks_exact(8).any(|part| part == window)), "and its bytes");
    }
    let vault = open(folder);
    (0..PEOPLE).step_by(331).for_each(|person| recovers(&vault, person));
}

#[test]
fn a_move_that_is_killed_again_and_again_ends_complete_and_nobody_has_more_guesses() {
    const PEOPLE: usize = 600;
    const STRANGERS: usize = 20_000;
    let (source, target) = (vault_of(PEOPLE), tempfile::tempdir().unwrap());
    drop(Vault::create(Config::development(target.path()).unwrap(), Policy::development()).unwrap());
    let parcels = tempfile::tempdir().unwrap();
    let (source, target, parcels) = (source.path(), target.path(), parcels.path());
    let spent = [4, 10, 0];
    {
        let vault = open(source);
        for (person, guesses) in spent.into_iter().enumerate() {
            for _ in 0..guesses {
                assert!(matches!(recover(&vault, person, "wrong"), Err(Failure::WrongCode { .. })));
            }
        }
        // Ids that nobody enrolled are counted and move like all.
        for ids in (PEOPLE..PEOPLE + STRANGERS).map(account).collect::<Vec<_>>().chunks(2000) {
            let begun: Vec<_> =
                ids.iter().map(|id| Recovery::start(&Terms::development(), *id, code()).unwrap()).collect();
            vault.process_bytes(&admit(ids, begun.iter().map(Recovery::request)));
        }
    }
    let (offer, here) = (parcels.join("offer"), parcels.join("here"));
    let [offer, here] = [&offer, &here].map(|path| path.to_str().unwrap());
    said(keys(target, &["offer", offer]));
    let mut dice = 11;
    let export = || keys(source, &["export", "--offer", offer, here]);
    let import = || keys(target, &["import", here]);
    let (first, left) = killed(12, 2..30, &mut dice, export, || moved(source), ALL_IDS);
    let (second, come) = killed(12, 2..30, &mut dice, import, || moved(target), ALL_IDS);
    println!("killed {first} and {second} times\n{left}{come}");
    assert!(first + second >= 20, "{first} + {second}");
    let counted = |words: &str| words.split_once(": ").unwrap().1.trim().to_owned();
    assert_eq!(counted(&left), counted(&come), "count and digest on both sides");
    assert!(come.contains(&format!("{} accounts, {PEOPLE} with a record", PEOPLE + STRANGERS)), "{come}");
    assert_eq!(counted(&said(keys(target, &["import", here]))), counted(&come), "and again");
    assert_eq!(counted(&said(export())), counted(&left));

    let (source, target) = (open(source), open(target));
    for (person, guesses) in spent.into_iter().enumerate() {
        assert!(
            matches!(recover(&source, person, "wrong"), Err(Failure::Refused(Refusal::Moved))),
            "not here any more"
        );
        let mut more = 0;
        while let Err(Failure::WrongCode { .. }) = recover(&target, person, "wrong") {
            more += 1;
        }
        assert_eq!(guesses + more, 10, "guesses at both vaults together");
    }
    recovers(&target, 5);
    let stranger = account(PEOPLE + 1);
    assert_eq!(remaining(&ask(&target, stranger, &remaining_request(&stranger).unwrap())).unwrap(), 9);
    let request = Request::Remaining.encode(&stranger).unwrap();
    assert!(matches!(remaining(&ask(&source, stranger, &request)), Err(Failure::Refused(Refusal::Moved))));
}

/// Every value in every table of the two files of a closed journal.
fn stored_values(folder: &Path) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for file in ["log.redb", "checkpoint.redb"] {
        let database = Database::open(folder.join("journal").join(file)).unwrap();
        let read = database.begin_read().unwrap();
        for table in read.list_tables().unwrap() {
            let name = table.name().to_owned();
            let by_id: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new(&name);
            let by_index: TableDefinition<'_, u64, &[u8]> = TableDefinition::new(&name);
            let alone: TableDefinition<'_, (), &[u8]> = TableDefinition::new(&name);
            let mut push = |bytes: &[u8]| values.push(bytes.to_vec());
            if let Ok(table) = read.open_table(by_id) {
                table.iter().unwrap().for_each(|entry| push(entry.unwrap().1.value()));
            } else if let Ok(table) = read.open_table(by_index) {
                table.iter().unwrap().for_each(|entry| push(entry.unwrap().1.value()));
            } else {
                let table =
                    read.open_table(alone).unwrap_or_else(|error| panic!("a table of another kind: {name}: {error}"));
                table.iter().unwrap().for_each(|entry| push(entry.unwrap().1.value()));
            }
        }
    }
    values
}

/// Nonces of the sealed records of an epoch, wherever they stand in tables or rows.
fn nonces(folder: &Path, epoch: u32) -> HashSet<Vec<u8>> {
    let header = [&[1][..], &epoch.to_be_bytes(), &[0, 1]].concat();
    let mut nonces = HashSet::new();
    for value in stored_values(folder) {
        let sealed = strongroom::wrap::SEALED_LEN;
        for at in 0..value.len().saturating_sub(sealed - 1) {
            // A record in a row of the log, or alone in a table; headers that are none are followed by zeros.
            if value[at..].starts_with(&header) && value[at + 7..at + 15] != [0; 8] {
                nonces.insert(value[at + 7..at + 19].to_vec());
            }
        }
    }
    nonces
}

/// All files of a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(fs::read(&path).unwrap()) }
    }
    all
}
