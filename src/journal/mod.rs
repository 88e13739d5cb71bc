//! Where a batch of commands becomes durable.
//!
//! A [`Journal`] takes a batch of commands and gives one [`Committed`] each, in order. [`Memory`] keeps its rows in
//! memory; `Local` (feature `local`) keeps them on this machine's disk. Both write the same rows under the same chain,
//! and both wait for an [`Anchor`] before a receipt leaves.
//!
//! | id | invariant |
//! |---|---|
//! | J1 | the row is on disk, then the anchor names it, and only then a receipt leaves or a reader sees it |
//! | J2 | after any crash nothing acknowledged is missing, and nothing is there but acknowledged rows and at most the one in flight |
//! | J3 | replaying the rows gives the live state, byte for byte (L5) |
//! | J4 | after a failure every call says [`Fault::Latched`], until the journal is opened again |
//! | J5 | a disk that contradicts its anchor is never served: an older copy, a fork, a truncated log |
//! | J6 | stored bytes that do not authenticate are a [`Fault`], never a guess and never "no record" |
//! | J7 | of two copies that run on one anchor, at most one acknowledges, and the other latches |

mod anchor;
mod applied;
#[cfg(feature = "fleet")]
pub(crate) mod carried;
#[cfg(feature = "local")]
pub(crate) mod changed;
#[cfg(feature = "local")]
pub(crate) mod checkpoint;
mod clock;
#[cfg(feature = "local")]
pub(crate) mod kept;
pub(crate) mod latch;
#[cfg(feature = "local")]
mod line;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
mod log;
mod memory;
#[cfg(feature = "local")]
pub(crate) mod pace;
pub(crate) mod row;
#[cfg(feature = "local")]
pub(crate) mod store;

#[cfg(feature = "local")]
pub use anchor::FileAnchor;
pub use anchor::{Anchor, Anchored, Leader, LogId, MemoryAnchor};
pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "local")]
pub use local::Local;
pub use memory::Memory;

use std::sync::Arc;

use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, Policy, State, Verdict};
use crate::wrap::Sealed;

/// A command that is durable, applied, and irrevocable. Only a [`Journal`] makes one:
///
/// ```compile_fail
/// # fn forge(command: strongroom::ledger::Command, verdict: strongroom::ledger::Verdict) {
/// strongroom::journal::Committed { index: 1, command, verdict };
/// # }
/// ```
#[derive(Debug)]
pub struct Committed {
    index: u64,
    command: Command,
    verdict: Verdict,
}

impl Committed {
    /// Index of the log row that holds it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What was committed.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// What came of it.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

/// A batch of commands in, durable receipts out, in order.
///
/// Calls may come from several threads at once; batches take their turn or share a row, readers wait for no disk.
pub trait Journal: Send + Sync {
    /// Makes the commands durable in one row dated `time_s` (seconds; a fleet's leader dates it by all members' clocks in
    /// place of that), applies them in order, and returns one receipt each. Batches that others commit at the same time may
    /// share the row, which then has the latest of their dates. State time becomes the later of its own and the row's. An empty batch moves state time and nothing else.
    ///
    /// # Errors
    /// [`Fault::Storage`], [`Fault::Anchor`] when the row could not be made durable: nothing is acknowledged, and the
    /// journal is [`Fault::Latched`] from then on. [`Fault::Unsettled`] if a fleet did not settle it in time.
    /// [`Fault::Limit`] on too large a batch, which changes nothing.
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault>;

    /// Reads the applied state at a confirmed index: nothing acknowledged anywhere before this call is missing from
    /// it. Returns that index. Costs one read of the anchor, in a fleet a question to the leader and by it to a majority;
    /// commits wait while `look` runs.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if another copy has committed since, [`Fault::Storage`] if the anchor cannot be read,
    /// [`Fault::Unsettled`] if no majority of a fleet confirms it in time, and [`Fault::Latched`] after a failure.
    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault>;

    /// Looks at the state as it is applied here, which may lack what others have had acknowledged. Returns the index of the
    /// last row in it. For hints, and for what a receipt of this journal's own has brought into it.
    ///
    /// # Errors
    /// As [`Journal::read`], which is what a journal does that knows no other way.
    fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.read(look)
    }

    /// The sealed bytes of the account's record if `generation` is its live generation, else `None`.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if the record lives and its bytes are missing or are not those that the state names;
    /// [`Fault::Storage`], [`Fault::Latched`].
    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault>;

    /// [`Journal::sealed`] for several, one answer each, in their order. A journal on a disk has many reads under way at
    /// once.
    fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        asked.iter().map(|(account, generation)| self.sealed(account, *generation)).collect()
    }

    /// Forgets what it need not remember: afterwards the journal holds the state as it is, and of the commands that led
    /// to it, with the sealed bytes in them, no more than came meanwhile. A journal that keeps its rows does nothing.
    ///
    /// # Errors
    /// As [`Journal::commit`]; then it may hold more.
    fn checkpoint(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Has others keep, before a command names it, what must not be lost with this copy: as many of them as a commit takes.
    /// `seal` seals it to one of them. A journal that has no other copies does nothing.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if fewer keep it.
    fn keep_elsewhere(&self, seal: &mut Seal<'_>) -> Result<(), Fault> {
        let _ = seal;
        Ok(())
    }

    /// The policy that this journal was made under (L12).
    fn policy(&self) -> &Policy;
}

/// What seals something to a member of this number and channel key.
pub type Seal<'a> = dyn FnMut(u64, &[u8]) -> Result<Vec<u8>, Fault> + 'a;

/// A journal that others hold too, an operator's program that asks for checkpoints for instance.
impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        (**self).commit(time_s, commands)
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        (**self).read(look)
    }

    fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        (**self).look(look)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        (**self).sealed(account, generation)
    }

    fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        (**self).sealed_each(asked)
    }

    fn checkpoint(&self) -> Result<(), Fault> {
        (**self).checkpoint()
    }

    fn keep_elsewhere(&self, seal: &mut Seal<'_>) -> Result<(), Fault> {
        (**self).keep_elsewhere(seal)
    }

    fn policy(&self) -> &Policy {
        (**self).policy()
    }
}

#[cfg(test)]
pub(crate) mod tests;
