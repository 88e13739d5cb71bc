//! Where a batch of commands becomes durable.

use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, State, Verdict};
use crate::wrap::Sealed;

/// A command that is durable, applied, and irrevocable. Only a [`Journal`] makes one.
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
pub trait Journal: Send + Sync {
    /// Makes the commands durable as one row dated `time_s` (seconds), applies them in order, and returns one receipt
    /// each.
    ///
    /// # Errors
    /// [`Fault::Storage`], [`Fault::Anchor`] when the row could not be made durable: nothing is acknowledged, and the
    /// journal is [`Fault::Latched`] from then on. [`Fault::Limit`] on too large a batch, which changes nothing.
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault>;

    /// Reads the applied state at a confirmed index: nothing acknowledged anywhere before this call is missing from
    /// it. Returns that index.
    ///
    /// # Errors
    /// [`Fault::Latched`] after a failure.
    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault>;

    /// The sealed bytes of the account's record if `generation` is its live generation, else `None`.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if the record lives and its bytes are missing; [`Fault::Storage`], [`Fault::Latched`].
    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault>;
}
