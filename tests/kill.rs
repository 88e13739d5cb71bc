//! A real process, killed with SIGKILL in the middle of load, again and again: what it acknowledged is there afterwards.
//!
//! The child enrols people and charges attempts, saying on its standard output what it is about to send and what was
//! answered. The parent kills it at a random moment, opens the store, and holds the counters against what was said:
//! no answered attempt is missing, none is counted that was not sent, and every acknowledged enrolment recovers.
#![cfg(all(unix, feature = "local", feature = "client"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, PendingEnrolment, Recovery, Terms};
use strongroom::ledger::Policy;
use strongroom::protocol::Reply;
use strongroom::secret::{Secret, random_array};
use strongroom::vault::{Admitted, Config, Vault};

const KILLS: usize = 60;
/// People whose codes are guessed at once.
const PEOPLE: usize = 8;
const CHILD: &str = "STRONGROOM_KILL_TEST_FOLDER";
const ROUND: &str = "STRONGROOM_KILL_TEST_ROUND";

/// What was said of one account.
#[derive(Default, Debug)]
struct Said {
    sent: u32,
    answered: u32,
    enrolled: bool,
}

fn policy() -> Policy {
    Policy { attempts_max: 64, lifetime_max: 4096, ..Policy::development() }
}

fn terms() -> Terms {
    Terms::development()
}

fn account(name: &str) -> AccountId {
    AccountId::derive("kill", name)
}

/// The key that everyone enrols: what it is does not matter, that it comes back does.
fn key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

fn code(code: &str) -> Code {
    Code::new(code).unwrap()
}

fn ask<'a>(vault: &Vault, names: &[String], requests: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let admitted = names.iter().zip(requests).map(|(name, request)| Admitted { account: account(name), request });
    vault.process_bytes(&admitted.collect::<Vec<_>>())
}

/// The child: load until it is killed.
fn load(folder: &Path, round: usize) {
    let vault = Vault::open(Config::development(folder).unwrap(), policy()).unwrap();
    let mut out = std::io::stdout().lock();
    for turn in 0.. {
        let names: Vec<_> = (0..PEOPLE).map(|person| format!("{round}.{turn}.{person}")).collect();
        let started = names.iter().map(|name| Enrolment::start(&terms(), account(name), code("code")).unwrap());
        let started: Vec<_> = started.collect();
        let replies = ask(&vault, &names, started.iter().map(Enrolment::request));
        let pending = started.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply, &key()).unwrap());
        let pending: Vec<_> = pending.collect();
        let replies = ask(&vault, &names, pending.iter().map(PendingEnrolment::request));
        for ((name, pending), reply) in names.iter().zip(&pending).zip(&replies) {
            pending.done(reply).unwrap();
            writeln!(out, "enrolled {name} .").unwrap();
        }
        for _ in 0..4 {
            let started = names.iter().map(|name| Recovery::start(&terms(), account(name), code("wrong")).unwrap());
            let started: Vec<_> = started.collect();
            for name in &names {
                writeln!(out, "sent {name} .").unwrap();
            }
            out.flush().unwrap();
            for (name, reply) in names.iter().zip(ask(&vault, &names, started.iter().map(Recovery::request))) {
                assert!(matches!(Reply::decode(&reply), Ok(Reply::RecoverStarted { .. })));
                writeln!(out, "answered {name} .").unwrap();
            }
            out.flush().unwrap();
        }
    }
}

/// Runs the child, kills it after `delay`, and returns what it said.
fn run_and_kill(folder: &Path, round: usize, delay: Duration) -> HashMap<String, Said> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_survives_sigkill", "--nocapture"])
        .env(CHILD, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said: HashMap<String, Said> = HashMap::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A line ends with a full stop, so one that the kill cut short says nothing.
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["sent", name, "."] => said.entry(name.to_owned()).or_default().sent += 1,
                ["answered", name, "."] => said.entry(name.to_owned()).or_default().answered += 1,
                ["enrolled", name, "."] => said.entry(name.to_owned()).or_default().enrolled = true,
                _ => {}
            }
        }
        said
    });
    std::thread::sleep(delay);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the child was killed and did not end by itself: {status}");
    reader.join().unwrap()
}

/// Holds what was said against the store; returns the first contradiction.
fn audit(vault: &Vault, said: &HashMap<String, Said>) -> Result<(), String> {
    let mut spent = HashMap::new();
    vault
        .read(&mut |state| {
            spent = said.keys().map(|name| (name, state.account(&account(name)).map(|it| it.spent()))).collect();
        })
        .unwrap();
    for (name, said) in said {
        let spent = spent[name];
        if said.enrolled && spent.is_none() {
            return Err(format!("{name}: an acknowledged enrolment is lost"));
        }
        let spent = spent.unwrap_or(0);
        if spent < said.answered {
            return Err(format!("{name}: {} attempts were answered and {spent} are counted", said.answered));
        }
        if spent > said.sent {
            return Err(format!("{name}: {} attempts were sent and {spent} are counted", said.sent));
        }
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    if let (Ok(folder), Ok(round)) = (std::env::var(CHILD), std::env::var(ROUND)) {
        return load(Path::new(&folder), round.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    drop(Vault::create(Config::development(folder.path()).unwrap(), policy()).unwrap());
    let mut everything: HashMap<String, Said> = HashMap::new();
    let (mut answered, mut unanswered) = (0, 0);
    for round in 0..KILLS {
        let [random, more] = random_array::<2>().unwrap();
        let delay = Duration::from_millis(30 + u64::from(random) / 2);
        let said = run_and_kill(folder.path(), round, delay);
        everything.extend(said);
        let vault = Vault::open(Config::development(folder.path()).unwrap(), policy()).unwrap();
        audit(&vault, &everything).unwrap();
        // One person of this round, if any was enrolled, gets the key back.
        let enrolled: Vec<_> = everything
            .iter()
            .filter(|(name, it)| it.enrolled && name.starts_with(&format!("{round}.")))
            .map(|(name, _)| name.clone())
            .collect();
        if let Some(name) = enrolled.get(usize::from(more) % enrolled.len().max(1)) {
            recover(&vault, name);
            let said = everything.get_mut(name).unwrap();
            said.sent += 1;
            said.answered += 1;
        }
    }
    for said in everything.values() {
        answered += said.answered;
        unanswered += said.sent - said.answered;
    }
    println!("{KILLS} kills: {answered} attempts answered, {unanswered} cut off, {} people", everything.len());
    assert!(answered > 1000, "the load was a load");

    // The control: an auditor that is told of one attempt more than there was, says so.
    let vault = Vault::open(Config::development(folder.path()).unwrap(), policy()).unwrap();
    let (name, said) = everything.iter_mut().find(|(_, said)| said.enrolled).unwrap();
    let name = name.clone();
    said.answered = 1000;
    assert!(audit(&vault, &everything).unwrap_err().starts_with(&format!("{name}: 1000 attempts were answered")));
}

fn recover(vault: &Vault, name: &str) {
    let names = [name.to_owned()];
    let recovery = Recovery::start(&terms(), account(name), code("code")).unwrap();
    let pending = recovery.finish(&ask(vault, &names, [recovery.request()].into_iter())[0]).unwrap();
    let recovered = pending.open(&ask(vault, &names, [pending.request()].into_iter())[0]).unwrap();
    assert!(bool::from(recovered.ct_eq(key().expose())));
}
