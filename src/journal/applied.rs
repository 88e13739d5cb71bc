//! What the rows amount to: applying one, and reading what became of a record.

use super::Committed;
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, Record, Records, State};
use crate::wrap::{Header, Sealed};

/// Commands whose accounts are read ahead of them: what that brings stays in the nearer caches, and is many times what
/// can be under way at once.
const AHEAD: usize = 128;

/// Applies one row and makes the receipts. The only place where a [`Committed`] is made.
pub(crate) fn apply(
    state: &mut State,
    records: &mut impl Records,
    index: u64,
    time_s: u64,
    commands: Vec<Command>,
) -> Vec<Committed> {
    state.advance(time_s);
    let mut receipts = Vec::with_capacity(commands.len());
    let mut left = commands.into_iter();
    while !left.as_slice().is_empty() {
        let ahead = left.len().min(AHEAD);
        state.read_ahead(&left.as_slice()[..ahead]);
        receipts.extend(left.by_ref().take(ahead).map(|command| {
            let verdict = state.apply(&command, records);
            Committed { index, command, verdict }
        }));
    }
    receipts
}

/// The header of the record if it lives and `generation` is its own.
pub(crate) fn live_header(state: &State, account: &AccountId, generation: u32) -> Option<Header> {
    let account = state.account(account).filter(|account| account.generation() == generation)?;
    match account.record() {
        Record::Live { header, .. } => Some(*header),
        Record::None | Record::Destroyed => None,
    }
}

/// Sealed bytes of a live record, held against what the state says of them.
pub(crate) fn check_sealed(found: Option<Sealed>, header: Header) -> Result<Option<Sealed>, Fault> {
    match found {
        Some(sealed) if sealed.header() == header => Ok(Some(sealed)),
        Some(_) => Err(Fault::Damaged("a live record's sealed bytes are of another epoch or key".to_owned())),
        None => Err(Fault::Damaged("a live record has no sealed bytes".to_owned())),
    }
}
