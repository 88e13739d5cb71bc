//! [`Indexes`]: which accounts a sweep has to look at, and how many records each key still has.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, Record};
use super::policy::Policy;
use crate::account::AccountId;
use crate::wrap::Header;

/// What the accounts say, sorted by what is asked of them. A function of the accounts alone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Indexes {
    /// Ids never enrolled, oldest charge first.
    pub(super) unknown: BTreeSet<(u64, AccountId)>,
    /// Live records whose window is full, oldest charge first.
    pub(super) full: BTreeSet<(u64, AccountId)>,
    /// Live records by epoch.
    pub(super) by_epoch: BTreeMap<u32, u64>,
    /// Live records by key number.
    pub(super) by_key: BTreeMap<u16, u64>,
}

/// Where one account stands in the indexes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    unknown: Option<u64>,
    full: Option<u64>,
    live: Option<Header>,
}

impl Marks {
    pub(super) fn of(policy: &Policy, account: &Account) -> Self {
        Marks {
            unknown: (account.generation == 0).then_some(account.last_charge_s),
            full: account.is_full(policy).then_some(account.last_charge_s),
            live: match account.record {
                Record::Live { header, .. } => Some(header),
                Record::None | Record::Destroyed => None,
            },
        }
    }
}

impl Indexes {
    /// Moves an account from where it stood to where it stands. Most charges move nothing.
    pub(super) fn update(&mut self, id: &AccountId, before: Marks, after: Marks) {
        if before == after {
            return;
        }
        for (set, old, new) in
            [(&mut self.unknown, before.unknown, after.unknown), (&mut self.full, before.full, after.full)]
        {
            if old != new {
                if let Some(charged_s) = old {
                    set.remove(&(charged_s, *id));
                }
                if let Some(charged_s) = new {
                    set.insert((charged_s, *id));
                }
            }
        }
        if before.live != after.live {
            if let Some(header) = before.live {
                decrement(&mut self.by_epoch, header.epoch);
                decrement(&mut self.by_key, header.key_number);
            }
            if let Some(header) = after.live {
                *self.by_epoch.entry(header.epoch).or_default() += 1;
                *self.by_key.entry(header.key_number).or_default() += 1;
            }
        }
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if let std::collections::btree_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}
