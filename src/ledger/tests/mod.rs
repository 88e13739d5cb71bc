//! The rules of attempts, held against their invariants.
//!
//! Every property is a function over *an* apply and answers whether it holds, so that the same function is run over the
//! rules and over mutants of them: it must pass on the former and fail on each of the latter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

mod attacks;
mod charges;
mod life;
mod moves;
mod records;
mod search;
mod search_mutants;

use std::collections::BTreeMap;

use super::account::{Account, Record};
use super::command::{Command, Digests, KeyedDigest, Proof, Verdict};
use super::policy::Policy;
use super::state::{Records, State};
use crate::account::AccountId;
use crate::error::Refusal;
use crate::wrap::{Header, SEALED_LEN, Sealed};

/// Sealed bytes by account, as a journal keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept(BTreeMap<AccountId, Sealed>);

impl Records for Kept {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.0.insert(*account, sealed.clone());
    }

    fn erase(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

/// An apply: the real one, or a mutant around it.
type Apply<'a> = dyn Fn(&mut State, &mut Kept, &Command) -> Verdict + 'a;

/// What a property answers: that it holds, or what does not.
type Held = Result<(), String>;

fn real(state: &mut State, kept: &mut Kept, command: &Command) -> Verdict {
    state.apply(command, kept)
}

/// Ends a property that does not hold.
macro_rules! hold {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}
use hold;

/// The property holds for the rules, and fails for every mutant.
fn prove(property: fn(&Apply<'_>) -> Held, mutants: &[(&str, &Apply<'_>)]) {
    assert_eq!(property(&real), Ok(()), "the rules");
    assert!(!mutants.is_empty(), "a property that was never seen to fail proves nothing");
    for (name, mutant) in mutants {
        let caught = property(*mutant);
        println!("mutant {name}: {caught:?}");
        assert!(caught.is_err(), "not caught: {name}");
    }
}

const PERSON: AccountId = AccountId([1; 32]);
const OTHER: AccountId = AccountId([2; 32]);
const DAY_S: u64 = 24 * 3600;

fn policy(attempts_max: u32, lifetime_max: u32) -> Policy {
    let policy = Policy { attempts_max, lifetime_max, ..Policy::development() };
    policy.check().expect("a policy that a vault may have");
    policy
}

/// The digest of KE1 number `ke1`, under fleet key 1.
fn ke1(ke1: u32) -> Digests {
    Digests { current: keyed(1, ke1), previous: None }
}

fn keyed(key_number: u16, ke1: u32) -> KeyedDigest {
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&ke1.to_be_bytes());
    digest[4..6].copy_from_slice(&key_number.to_be_bytes());
    KeyedDigest { key_number, digest }
}

fn sealed(epoch: u32, fill: u8) -> Sealed {
    let mut bytes = [fill; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch, key_number: 1 }.encode());
    Sealed::from_bytes(&bytes).expect("a sealed record's bytes")
}

/// One vault under some apply, and words for what happens in it.
struct World<'a> {
    apply: &'a Apply<'a>,
    state: State,
    kept: Kept,
}

impl<'a> World<'a> {
    fn new(apply: &'a Apply<'a>, policy: Policy) -> Self {
        let mut state = State::new(policy);
        state.advance(1_000_000);
        World { apply, state, kept: Kept::default() }
    }

    fn apply(&mut self, command: &Command) -> Verdict {
        (self.apply)(&mut self.state, &mut self.kept, command)
    }

    /// Everything there is, as bytes: what a refusal must leave alone.
    fn bytes(&self) -> (Vec<u8>, Kept) {
        (self.state.encode(), self.kept.clone())
    }

    fn now(&self) -> u64 {
        self.state.time_s()
    }

    fn wait(&mut self, seconds: u64) {
        self.state.advance(self.now().saturating_add(seconds));
    }

    /// PERSON's account, or an untouched one.
    fn account(&self) -> Account {
        self.state.account(&PERSON).cloned().unwrap_or_default()
    }

    fn charge(&mut self, number: u32) -> Verdict {
        self.apply(&Command::Charge { account: PERSON, digests: ke1(number) })
    }

    fn clear(&mut self, ordinal: u32) -> Verdict {
        let (generation, expiry_s) = (self.account().generation, self.now());
        self.apply(&Command::Clear { account: PERSON, generation, proof: Proof { ordinal, expiry_s } })
    }

    /// A finish of its own for the present generation, with a ticket that is good for another hour.
    fn finish(&self, name: u8) -> Command {
        Command::Enrol {
            account: PERSON,
            generation: self.account().generation,
            expiry_s: self.now().saturating_add(3600),
            finish: [name; 32],
            sealed: sealed(1, name),
        }
    }

    fn enrol(&mut self, name: u8) -> Verdict {
        let finish = self.finish(name);
        self.apply(&finish)
    }

    fn remove(&mut self, proof: Option<Proof>) -> Verdict {
        let generation = self.account().generation;
        self.apply(&Command::Remove { account: PERSON, generation, proof })
    }

    fn sweep(&mut self) -> Verdict {
        self.apply(&Command::Sweep { account: PERSON })
    }

    /// Charges `number` attempts with KE1s of their own, beginning at `from`; answers how many were newly charged.
    fn guess(&mut self, from: u32, number: u32) -> u32 {
        let charged = |verdict| matches!(verdict, Verdict::Charged { again: false, .. });
        (from..from + number).filter(|number| charged(self.charge(*number))).count() as u32
    }

    /// Whether a command is refused so, and leaves every byte alone.
    fn refuses(&mut self, command: &Command, refusal: Refusal) -> bool {
        let before = self.bytes();
        self.apply(command) == Verdict::Refused(refusal) && self.bytes() == before
    }
}

/// For mutants: the account that a command changes, to be edited before or after.
fn edit(state: &mut State, command: &Command, change: impl FnOnce(&mut Account)) {
    if let Some(id) = command.account()
        && let Some(mut account) = state.account(id).cloned()
    {
        change(&mut account);
        state.restore_account(*id, account);
    }
}

/// For mutants: the account of a command as it stands.
fn look(state: &State, command: &Command) -> Account {
    command.account().and_then(|id| state.account(id)).cloned().unwrap_or_default()
}

/// For mutants: applies under a policy that differs.
fn under(change: impl FnOnce(&mut Policy), state: &mut State, kept: &mut Kept, command: &Command) -> Verdict {
    let policy = state.globals.policy.clone();
    change(&mut state.globals.policy);
    let verdict = state.apply(command, kept);
    state.globals.policy = policy;
    verdict
}

const COUNTERS: [(&str, fn(&mut Account) -> &mut u32); 6] = [
    ("spent", |it| &mut it.spent),
    ("cleared", |it| &mut it.cleared),
    ("generation", |it| &mut it.generation),
    ("began", |it| &mut it.began),
    ("owed", |it| &mut it.owed),
    ("pardoned", |it| &mut it.pardoned),
];
