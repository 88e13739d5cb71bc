//! Scenarios of the ledger, for who writes another: `vectors/ledger-scenarios.txt` says in words what is asked of accounts and what
//! comes of it, and ends each with the state's bytes. Made by this file with `STRONGROOM_WRITE_VECTORS=1`; `vectors/check.py`
//! comes to the same by rules of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "disk/dice.rs"]
mod dice;

use std::collections::BTreeSet;
use std::path::Path;

use dice::Dice;
use strongroom::account::AccountId;
use strongroom::ledger::{Command, Digests, KeyedDigest, Obeyed, Policy, Proof, Records, Signers, State, Verdict};
use strongroom::wrap::{Header, SEALED_LEN, Sealed};

const SCENARIOS: u64 = 16;
const STEPS: u64 = 80;
const BEGAN_S: u64 = 1_800_000_000;
const ACCOUNTS: [char; 4] = ['a', 'b', 'c', 'd'];

struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

fn account(letter: char) -> AccountId {
    AccountId([letter as u8; 32])
}

fn sealed(epoch: u32, key_number: u16) -> Sealed {
    let mut bytes = [0; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch, key_number }.encode());
    Sealed::from_bytes(&bytes).unwrap()
}

fn digest(key_number: u16, byte: u8) -> KeyedDigest {
    KeyedDigest { key_number, digest: [byte; 16] }
}

/// Small enough that everything fills up, is destroyed, forgotten and refused within a scenario.
fn policy(dice: &mut Dice) -> Policy {
    Policy {
        attempts_max: 2 + dice.below(2) as u32,
        lifetime_max: 6 + dice.below(4) as u32,
        destroy_after_s: 100,
        unknown_max: 1,
        unproven_removal: dice.below(2) == 0,
        ..Policy::development()
    }
}

/// A command that means something to the state more often than not, in words.
fn asked(dice: &mut Dice, state: &State) -> (String, Command) {
    let letter = ACCOUNTS[dice.below(4) as usize];
    let account = account(letter);
    let known = state.account(&account).cloned().unwrap_or_default();
    let generation = known.generation().saturating_sub(u32::from(dice.below(8) == 0));
    let ordinal = known.spent().saturating_sub(dice.below(3) as u32) + u32::from(dice.below(10) == 0);
    let expiry_s = state.time_s() + 30 - 60 * u64::from(dice.below(10) == 0);
    let proof = Proof { ordinal, expiry_s };
    let (epoch, key_number) = (1 + dice.below(3) as u32, 1 + dice.below(2) as u16);
    match dice.below(100) {
        0..40 => {
            let (key, byte) = (1 + dice.below(2) as u16, dice.below(5) as u8);
            let previous = (dice.below(4) == 0).then(|| digest(3 - key, dice.below(5) as u8));
            let older = previous.map_or(String::new(), |it| format!(" {}:{}", it.key_number, it.digest[0]));
            let digests = Digests { current: digest(key, byte), previous };
            (format!("charge {letter} {key}:{byte}{older}"), Command::Charge { account, digests })
        }
        40..50 => {
            let words = format!("clear {letter} {generation} {ordinal} {expiry_s}");
            (words, Command::Clear { account, generation, proof })
        }
        50..66 => {
            let finish = dice.below(6) as u8;
            let words = format!("enrol {letter} {generation} {expiry_s} {finish} {epoch} {key_number}");
            let (finish, sealed) = ([finish; 32], sealed(epoch, key_number));
            (words, Command::Enrol { account, generation, expiry_s, finish, sealed })
        }
        66..72 => match dice.below(2) {
            0 => (format!("remove {letter} {generation}"), Command::Remove { account, generation, proof: None }),
            _ => {
                let words = format!("remove {letter} {generation} {ordinal} {expiry_s}");
                (words, Command::Remove { account, generation, proof: Some(proof) })
            }
        },
        72..78 => (format!("sweep {letter}"), Command::Sweep { account }),
        78..82 => {
            let most = 1 + dice.below(3) as u16;
            (format!("forget {most}"), Command::Forget { most })
        }
        82..85 => {
            let rewraps = dice.below(2) as u32;
            let words = format!("rewrap {letter} {generation} {rewraps} {epoch} {key_number}");
            (words, Command::Rewrap { account, generation, rewraps, sealed: sealed(epoch, key_number) })
        }
        85..89 => (format!("raise-epoch {epoch}"), Command::RaiseEpochMin { epoch }),
        89..90 => (format!("raise-key {key_number}"), Command::RaiseKeyMin { key_number }),
        90..96 => {
            let pardoned = known.owed() + u32::from(dice.below(3) == 0);
            (format!("pardon {letter} {pardoned}"), Command::Pardon { account, pardoned })
        }
        _ => {
            let number = state.restores() + 1 - u32::from(dice.below(4) == 0);
            (format!("restore {number}"), Command::Restore { number })
        }
    }
}

fn said(verdict: Verdict) -> String {
    let mark = |said: bool| if said { " again" } else { "" };
    match verdict {
        Verdict::Charged { generation, ordinal, live, remaining, again } => {
            let live = if live { "live" } else { "none" };
            format!("charged {generation} {ordinal} {live} {remaining}{}", mark(again))
        }
        Verdict::Cleared { again } => format!("cleared{}", mark(again)),
        Verdict::Enrolled { generation, again } => format!("enrolled {generation}{}", mark(again)),
        Verdict::Done => "done".to_owned(),
        Verdict::Refused(refusal) => format!("refused {refusal:?}"),
        other => panic!("no scenario has {other:?}"),
    }
}

fn text() -> String {
    let mut text = "# Scenarios of the ledger: a policy, then what is asked and what comes of it, then the state; see README.md.\n".to_owned();
    for scenario in 0..SCENARIOS {
        let mut dice = Dice(scenario);
        let mut state = State::new(policy(&mut dice));
        state.advance(BEGAN_S);
        text += &format!("\npolicy {}\ntime {BEGAN_S}\n", hex::encode(state.policy().encode()));
        for _ in 0..STEPS {
            if dice.below(6) == 0 {
                let time_s = state.time_s() + [1, 40, 200, 40 * 24 * 3600][dice.below(4) as usize];
                state.advance(time_s);
                text += &format!("time {time_s}\n");
            }
            let (words, command) = asked(&mut dice, &state);
            text += &format!("{words} -> {}\n", said(state.apply(&command, &mut Nowhere)));
        }
        text += &format!("state {}\n", hex::encode(state.encode()));
    }
    text + &signers()
}

/// The signers turn: to whom those before have named, by bundles whose epochs rise, and back by none that is older.
fn signers() -> String {
    let of = |(auditor, operator, epoch): (u8, u8, u32)| {
        Box::new(Obeyed { signers: Signers { auditor: [auditor; 32], operator: [operator; 32] }, epoch })
    };
    let first = of((1, 2, 0));
    let mut state = State::new(Policy { signers: Some(first.signers), ..Policy::development() });
    let mut text = format!("\npolicy {}\n", hex::encode(state.policy().encode()));
    for (from, to) in [
        ((1, 2, 0), (1, 3, 0)),
        ((1, 2, 1), (1, 3, 2)),
        ((1, 2, 0), (1, 1, 2)),
        ((1, 2, 0), (1, 3, 2)),
        ((1, 2, 0), (1, 3, 2)),
        ((1, 3, 2), (4, 3, 5)),
        // Back to a key of before, by the bundle that had named it and by another of the last one's epoch.
        ((4, 3, 5), (4, 2, 2)),
        ((4, 3, 5), (1, 3, 5)),
        ((4, 3, 0), (4, 2, 2)),
        ((1, 3, 2), (4, 3, 5)),
        ((4, 3, 5), (1, 3, 6)),
        ((1, 3, 6), (1, 2, u32::MAX)),
        ((1, 2, u32::MAX), (1, 3, u32::MAX)),
    ] {
        let words = [from, to].map(|(auditor, operator, epoch)| format!("{auditor}:{operator}:{epoch}")).join(" ");
        let command = Command::Signers { from: of(from), to: of(to), bundle: Vec::new() };
        text += &format!("signers {words} -> {}\n", said(state.apply(&command, &mut Nowhere)));
    }
    text + &format!("state {}\n", hex::encode(state.encode()))
}

#[test]
fn the_scenarios_of_the_ledger_are_what_this_file_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ledger-scenarios.txt");
    if std::env::var_os("STRONGROOM_WRITE_VECTORS").is_some() {
        std::fs::write(&path, text()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text());
}

/// A scenario in which nothing of a kind ever happens shows nothing of it.
#[test]
fn the_scenarios_show_every_answer() {
    let text = text();
    let answers: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(asked, answer)| {
            let word = |it: &str| it.split(' ').next().unwrap_or_default().to_owned();
            let shown: Vec<_> = answer.split(' ').filter(|it| it.parse::<u32>().is_err()).collect();
            format!("{} {}", word(asked), shown.join(" "))
        })
        .collect();
    for wanted in [
        "charge charged live",
        "charge charged none",
        "charge charged live again",
        "charge refused Exhausted",
        "clear cleared",
        "clear cleared again",
        "clear refused Stale",
        "clear refused TicketExpired",
        "enrol enrolled",
        "enrol enrolled again",
        "enrol refused LifetimeUsed",
        "enrol refused Stale",
        "enrol refused TicketExpired",
        "enrol refused Busy",
        "remove done",
        "remove refused Forbidden",
        "remove refused NoRecord",
        "sweep done",
        "sweep refused Stale",
        "rewrap done",
        "rewrap refused Stale",
        "raise-epoch done",
        "raise-epoch refused Forbidden",
        "pardon done",
        "pardon refused Forbidden",
        "pardon refused NoRecord",
        "restore done",
        "restore refused Stale",
        "signers done",
        "signers refused Malformed",
        "signers refused Stale",
    ] {
        assert!(answers.contains(wanted), "no scenario shows {wanted:?}; they show {answers:#?}");
    }
}
