//! [`Changed`]: what the next checkpoint has to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::row_of;
use crate::account::AccountId;
use crate::ledger::{Account, Command, Records, State};
use crate::wrap::Sealed;

/// Sealed bytes that were put, or `None` where they were erased. A tree: a hash table of a million entries stalls a batch
/// for a tenth of a second when it grows.
pub(crate) type Sealings = BTreeMap<AccountId, Option<Sealed>>;

/// What has changed since the last cut, and how it was at the cut while that is being written.
#[derive(Default)]
pub(crate) struct Changed {
    records: Sealings,
    /// Accounts that may have changed, batch by batch, with repetitions: a copy each, where a set would cost a search on
    /// every attempt, and one long vector a stall when it grows.
    accounts: Vec<Vec<AccountId>>,
    /// Every account may have changed.
    all: bool,
    /// There while a checkpoint is being written.
    frozen: Option<Frozen>,
}

/// The state at a cut, as far as it is not to be had from the state itself any more.
pub(crate) struct Frozen {
    records: Arc<Sealings>,
    /// Rows that changed before they were written; `None` of an account that was not there.
    rows: BTreeMap<AccountId, Option<Vec<u8>>>,
    /// Up to here, in order of ids, all is written.
    written: Option<AccountId>,
}

impl Frozen {
    /// Keeps an account's row before it changes for the first time.
    fn keep(&mut self, id: &AccountId, row: impl FnOnce() -> Option<Vec<u8>>) {
        if self.written.is_none_or(|written| *id > written) {
            self.rows.entry(*id).or_insert_with(row);
        }
    }
}

impl Changed {
    /// Notes whose accounts a batch may change, before it does. What [`Command::Forget`] forgets is told by
    /// [`Records::forget`]; nothing may be frozen where a [`Command::Restore`] changes every account.
    pub(crate) fn note(&mut self, commands: &[Command], state: &State) {
        self.accounts.push(commands.iter().flat_map(Command::accounts).copied().collect());
        self.all |= commands.iter().any(|command| matches!(command, Command::Restore { .. }));
        if let Some(frozen) = &mut self.frozen {
            for id in commands.iter().flat_map(Command::accounts) {
                frozen.keep(id, || state.account(id).map(row_of));
            }
        }
    }

    /// Sealed bytes that changed since the last checkpoint that is written.
    pub(crate) fn record(&self, id: &AccountId) -> Option<&Option<Sealed>> {
        self.records.get(id).or_else(|| self.frozen.as_ref()?.records.get(id))
    }

    /// Cuts here: what has changed up to now is to be written, and from now on what changes is kept as it was.
    pub(crate) fn cut(&mut self, state: &State) -> (Vec<Vec<AccountId>>, Arc<Sealings>) {
        let mut cut = std::mem::take(self);
        if cut.all {
            cut.accounts.push(state.accounts().map(|(id, _)| *id).collect());
        }
        let records = Arc::new(cut.records);
        self.frozen = Some(Frozen { records: Arc::clone(&records), rows: BTreeMap::new(), written: None });
        (cut.accounts, records)
    }

    /// The rows of these accounts at the cut. Called with ascending ids, they are not kept any longer.
    pub(crate) fn take_rows(&mut self, ids: &[AccountId], state: &State) -> Vec<Option<Vec<u8>>> {
        let Some(frozen) = &mut self.frozen else { return Vec::new() };
        frozen.written = ids.last().copied().or(frozen.written);
        ids.iter().map(|id| frozen.rows.remove(id).unwrap_or_else(|| state.account(id).map(row_of))).collect()
    }

    /// The cut is written. What was kept is given back, to be dropped where nobody waits.
    pub(crate) fn thaw(&mut self) -> Option<Frozen> {
        self.frozen.take()
    }
}

impl Records for Changed {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.records.insert(*account, Some(sealed.clone()));
    }

    fn erase(&mut self, account: &AccountId) {
        self.records.insert(*account, None);
    }

    fn forget(&mut self, id: &AccountId, was: &Account) {
        // Behind those of the batch that is being applied.
        match self.accounts.last_mut() {
            Some(batch) => batch.push(*id),
            None => self.accounts.push(vec![*id]),
        }
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(id, || Some(row_of(was)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::applied::apply;
    use crate::journal::tests::{charge, enrol, id};
    use crate::ledger::Policy;

    /// What may come between: a batch, or the next few rows being written.
    #[derive(Debug, Clone)]
    enum Between {
        Batch(u64, Vec<Command>),
        Rows(usize),
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            6 => (0..12u8, any::<u8>()).prop_map(|(person, ke1)| charge(person, ke1)),
            2 => (0..12u8, 0..3u32, any::<u8>()).prop_map(|(person, generation, it)| enrol(person, generation, it)),
            1 => (0..4u16).prop_map(|most| Command::Forget { most }),
            1 => (0..12u8).prop_map(|person| Command::Sweep { account: id(person) }),
        ]
    }

    fn batch() -> impl Strategy<Value = (u64, Vec<Command>)> {
        (0..4_000_000u64, prop::collection::vec(command(), 1..5))
    }

    fn between() -> impl Strategy<Value = Between> {
        prop_oneof![
            batch().prop_map(|(time_s, commands)| Between::Batch(time_s, commands)),
            (1..4usize).prop_map(Between::Rows),
        ]
    }

    proptest! {
        /// Whatever comes between the cut and the writing of a row, it is the row at the cut; and every account that
        /// changed since the cut before it is among those written.
        #[test]
        fn rows_are_those_of_the_cut(
            first in prop::collection::vec(batch(), 0..4),
            second in prop::collection::vec(batch(), 0..4),
            then in prop::collection::vec(between(), 0..12),
        ) {
            let mut state = State::new(Policy { unknown_max: 3, ..Policy::development() });
            let mut changed = Changed::default();
            let run = |state: &mut State, changed: &mut Changed, time_s, commands: Vec<Command>| {
                changed.note(&commands, state);
                apply(state, changed, 1, time_s, commands);
            };
            let rows_of = |state: &State| -> BTreeMap<AccountId, Vec<u8>> {
                state.accounts().map(|(id, account)| (*id, row_of(account))).collect()
            };
            first.into_iter().for_each(|(time_s, commands)| run(&mut state, &mut changed, time_s, commands));
            let before = rows_of(&state);
            changed.cut(&state);
            drop(changed.thaw());
            second.into_iter().for_each(|(time_s, commands)| run(&mut state, &mut changed, time_s, commands));

            let expected = rows_of(&state);
            let mut ids = changed.cut(&state).0.concat();
            ids.sort_unstable();
            ids.dedup();
            let mut written = before;
            let mut at = 0;
            for step in then.into_iter().chain([Between::Rows(ids.len())]) {
                match step {
                    Between::Batch(time_s, commands) => run(&mut state, &mut changed, time_s, commands),
                    Between::Rows(count) => {
                        let slice = &ids[at..ids.len().min(at + count)];
                        for (id, row) in slice.iter().zip(changed.take_rows(slice, &state)) {
                            match row {
                                Some(row) => written.insert(*id, row),
                                None => written.remove(id),
                            };
                        }
                        at += slice.len();
                    }
                }
            }
            prop_assert_eq!(written, expected);
        }
    }
}
