//! The vault against an unmodified opaque-ke client, over the memory journal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attempts;
#[cfg(all(feature = "channel", feature = "transparency", feature = "client"))]
mod bundles;
#[cfg(feature = "channel")]
mod channel;
#[cfg(feature = "fleet")]
mod fleet;
#[cfg(feature = "local")]
mod local;
mod person;
mod queue;
mod refusals;
mod sequences;
#[cfg(all(feature = "transparency", feature = "client"))]
mod statement;
#[cfg(feature = "channel")]
mod transfer;
mod turns;
mod work;

use std::sync::Arc;

use super::{ManualClock, Vault};
use crate::ledger::Policy;

const NOW_S: u64 = 1_800_000_000;

fn vault() -> (Vault, Arc<ManualClock>) {
    vault_with(Policy::development())
}

fn vault_with(policy: Policy) -> (Vault, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW_S));
    (Vault::in_memory(policy, clock.clone()).unwrap(), clock)
}
