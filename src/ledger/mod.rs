//! The rules of attempts: pure, deterministic, no I/O, no clock, no randomness.
//!
//! Everything that changes is a [`Command`]; [`State::apply`] is the only thing that changes it, live and in replay.
//!
//! | id | invariant |
//! |---|---|
//! | L1 | no key of a record is evaluated without a committed charge with its own ordinal |
//! | L2 | no counter decreases, except that an id never enrolled may be forgotten (L11) |
//! | L3 | under one record at most `attempts_max` distinct elements are charged between two proven successes; under all records of an account that ended unproven, at most `lifetime_max + pardoned` |
//! | L4 | a success clears once, and only a live record, a valid ticket, its own generation |
//! | L5 | replaying the journal gives the live state, byte for byte |
//! | L6 | enrolment replaces the old record in the same commit; its ticket works once; the identical finish is answered again |
//! | L7 | an enrolment's key is never another enrolment's (held by the vault, which draws the nonce) |
//! | L8 | a refused charge only refuses; a sweep, and nothing else, destroys an exhausted record |
//! | L9 | repeating a KE1 charged in the open window costs nothing |
//! | L10 | a receipt is evaluated only for its own KE1 and while its generation lives (held by the vault) |
//! | L11 | an id never enrolled is an account of generation 0, which a sweep may forget |
//! | L12 | the policy is fixed at the beginning, and a store is opened under no other |
//!
//! With these, distinct guesses at one person's code, over all generations that share it, are at most
//! `lifetime_max + pardoned + (attempts_max - 1) x` that person's own proven successes.

mod account;
mod command;
mod index;
mod moving;
mod policy;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use account::{Account, Charged, Record};
pub use command::{Command, Digests, KeyedDigest, Proof, Verdict};
pub use moving::{Arrival, Moving, Side, Tally};
pub use policy::{AnchorKind, Obeyed, Policy, RootKind, Signers};
#[cfg(feature = "fleet")]
pub(crate) use state::statement_hash;
pub use state::{Cursor, Records, State};
