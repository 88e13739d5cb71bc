//! Tests of what needs no broken disk; those are in `tests/crash.rs` and `tests/tamper.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod journals;
#[cfg(feature = "local")]
mod local;

use std::collections::HashMap;

use crate::account::AccountId;
use crate::ledger::{Command, Digests, KeyedDigest, Policy, Records, State};
use crate::wrap::{Header, SEALED_LEN, Sealed};

pub(crate) fn id(person: u8) -> AccountId {
    AccountId([person; 32])
}

/// A charge of `person` for the KE1 number `ke1`.
pub(crate) fn charge(person: u8, ke1: u8) -> Command {
    let current = KeyedDigest { key_number: 1, digest: [ke1; 16] };
    Command::Charge { account: id(person), digests: Digests { current, previous: None } }
}

pub(crate) fn sealed(filler: u8) -> Sealed {
    let mut bytes = [filler; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
    Sealed::from_bytes(&bytes).unwrap()
}

/// An enrolment of `person` that ends `generation`, with sealed bytes made of `filler`.
pub(crate) fn enrol(person: u8, generation: u32, filler: u8) -> Command {
    Command::Enrol { account: id(person), generation, expiry_s: u64::MAX, finish: [filler; 32], sealed: sealed(filler) }
}

/// What the journal ought to hold: the rules of the ledger, applied with nothing between.
pub(crate) struct Expected {
    pub(super) state: State,
    pub(super) records: Map,
}

#[derive(Default)]
pub(crate) struct Map(pub(super) HashMap<AccountId, Sealed>);

impl Records for Map {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.0.insert(*account, sealed.clone());
    }
    fn erase(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

impl Expected {
    pub(super) fn new(policy: Policy) -> Self {
        Expected { state: State::new(policy), records: Map::default() }
    }

    pub(super) fn apply(&mut self, time_s: u64, commands: &[Command]) {
        self.state.advance(time_s);
        for command in commands {
            self.state.apply(command, &mut self.records);
        }
    }
}
