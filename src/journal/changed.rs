//! [`Changed`]: what the next checkpoint has to write.

use std::collections::HashMap;

use crate::account::AccountId;
use crate::ledger::{Command, Records};
use crate::wrap::Sealed;

/// What has changed since the last checkpoint.
#[derive(Default)]
pub(super) struct Changed {
    /// Sealed bytes that were put, or `None` where they were erased.
    pub(super) records: HashMap<AccountId, Option<Sealed>>,
    /// Accounts that may have changed, with repetitions: pushing one costs a copy where a set would cost a hash on
    /// every attempt.
    pub(super) accounts: Vec<AccountId>,
    /// Every account may have changed.
    pub(super) all: bool,
}

impl Changed {
    /// Notes whose account a command may change. What [`Command::Forget`] forgets is told by [`Records::erase`].
    pub(super) fn note(&mut self, command: &Command) {
        self.accounts.extend(command.account());
        self.all |= matches!(command, Command::Restore { .. });
    }
}

impl Records for Changed {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.records.insert(*account, Some(sealed.clone()));
    }

    fn erase(&mut self, account: &AccountId) {
        self.accounts.push(*account);
        self.records.insert(*account, None);
    }
}
