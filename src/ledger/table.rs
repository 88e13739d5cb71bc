//! [`Accounts`]: account by id, close-packed, for tens of millions of small accounts.
//!
//! A map of the standard library keeps between an eighth and more than a half of its slots empty, each as large as an
//! account. Here only a table of four-byte slots has room to spare: the accounts themselves lie one behind another, in
//! blocks that never move. The table is cut into shards, so that growing one stalls a commit for milliseconds and not
//! for seconds.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::account::Account;
use crate::account::AccountId;

/// Shards: the top eight bits of a hash.
const SHARDS: usize = 256;
/// Accounts of a block: eight kilobytes. (Vectors that grow instead, by whatever factor, left the allocator's heap a
/// quarter empty.)
const BLOCK: usize = 64;
/// Accounts below which the processor's own caches hold them all.
const CACHED: usize = 1 << 15;
/// Bits of a slot that hold an entry's place plus one; the rest hold bits of its hash, to look at few wrong entries.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;

/// The accounts of a state, in no order. The hash is keyed at random, since ids may be chosen by an attacker; nothing
/// that `apply` answers depends on it.
#[derive(Clone)]
pub(super) struct Accounts {
    shards: Box<[Shard]>,
    keys: RandomState,
    len: usize,
}

#[derive(Clone, Default)]
struct Shard {
    /// Linear probing; 0 is an empty slot. Its length is zero or a power of two.
    slots: Vec<u32>,
    entries: Entries,
}

/// A vector in blocks: all are full but the last, and none is empty.
#[derive(Default)]
struct Entries(Vec<Vec<(AccountId, Account)>>);

impl Accounts {
    pub(super) fn new() -> Self {
        Accounts { shards: vec![Shard::default(); SHARDS].into(), keys: RandomState::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The hash of an id, for the calls that take one: an id that is looked up and then inserted is hashed once.
    pub(super) fn hash(&self, id: &AccountId) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write(&id.0);
        hasher.finish()
    }

    pub(super) fn get(&self, id: &AccountId) -> Option<&Account> {
        let hash = self.hash(id);
        let shard = &self.shards[shard_of(hash)];
        let (_, place) = shard.find(hash, id)?;
        Some(&shard.entries.at(place).1)
    }

    /// Reads the accounts of many ids at once, so that the processor waits for its memory once and not once for each: slot,
    /// account, and what lies behind it. In each pass no read depends on another, and there is little else, so that many are
    /// under way; a place is taken by its slot's bits alone, which are seldom those of somebody else.
    pub(super) fn read_ahead<'a>(&self, ids: impl Iterator<Item = &'a AccountId>) {
        if self.len < CACHED {
            return;
        }
        let hashes: Vec<u64> = ids.map(|id| self.hash(id)).collect();
        let mut seen = 0;
        for &hash in &hashes {
            let slots = &self.shards[shard_of(hash)].slots;
            seen ^= slots.get(hash as usize & slots.len().wrapping_sub(1)).copied().unwrap_or_default();
        }
        let places: Vec<_> = hashes.iter().filter_map(|&hash| self.likely_place(hash)).collect();
        for &(shard, place) in &places {
            let (id, account) = shard.entries.at(place);
            seen ^= u32::from(id.0[0]) ^ account.spent;
        }
        for &(shard, place) in &places {
            seen ^= shard.entries.at(place).1.window.first().map_or(0, |it| it.ordinal);
        }
        std::hint::black_box(seen);
    }

    /// Where the account of this hash is, if it is there and no other has the same bits in its slot.
    fn likely_place(&self, hash: u64) -> Option<(&Shard, usize)> {
        let shard = &self.shards[shard_of(hash)];
        shard.probe(hash).next().map(|(_, place)| (shard, place))
    }

    pub(super) fn get_mut(&mut self, hash: u64, id: &AccountId) -> Option<&mut Account> {
        let shard = &mut self.shards[shard_of(hash)];
        let (_, place) = shard.find(hash, id)?;
        Some(&mut shard.entries.at_mut(place).1)
    }

    /// Puts an id that is not there yet.
    pub(super) fn insert_new(&mut self, hash: u64, id: AccountId, account: Account) {
        let Accounts { shards, keys, len } = self;
        shards[shard_of(hash)].insert_new(hash, id, account, |id| {
            let mut hasher = keys.build_hasher();
            hasher.write(&id.0);
            hasher.finish()
        });
        *len += 1;
    }

    pub(super) fn remove(&mut self, id: &AccountId) -> Option<Account> {
        let hash = self.hash(id);
        let Accounts { shards, keys, len } = self;
        let account = shards[shard_of(hash)].remove(hash, id, |id| {
            let mut hasher = keys.build_hasher();
            hasher.write(&id.0);
            hasher.finish()
        })?;
        *len -= 1;
        Some(account)
    }

    /// Looks at entries from a place on, about so many; the place to go on from, or `None` at the end. Whatever is there
    /// throughout is seen, unless an account that is taken out makes another move into its place.
    pub(super) fn scan(
        &self,
        (shard, place): (usize, usize),
        most: usize,
        mut look: impl FnMut(&AccountId, &Account),
    ) -> Option<(usize, usize)> {
        let mut left = most;
        let mut place = place;
        for (number, shard) in self.shards.iter().enumerate().skip(shard) {
            while place < shard.entries.len() {
                if left == 0 {
                    return Some((number, place));
                }
                let (id, account) = shard.entries.at(place);
                look(id, account);
                place += 1;
                left -= 1;
            }
            place = 0;
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AccountId, &Account)> {
        self.shards.iter().flat_map(|shard| shard.entries.iter().map(|(id, account)| (id, account)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&AccountId, &mut Account)> {
        self.shards.iter_mut().flat_map(|shard| shard.entries.iter_mut().map(|(id, account)| (&*id, account)))
    }
}

impl PartialEq for Accounts {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|(id, account)| other.get(id) == Some(account))
    }
}

impl Eq for Accounts {}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// What a slot holds for the entry of this hash at this place.
fn slot_of(hash: u64, place: usize) -> u32 {
    ((hash >> PLACE_BITS) as u32 & !PLACE_MASK) | (place as u32 + 1)
}

impl Entries {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * BLOCK + last.len())
    }

    fn at(&self, place: usize) -> &(AccountId, Account) {
        &self.0[place / BLOCK][place % BLOCK]
    }

    fn at_mut(&mut self, place: usize) -> &mut (AccountId, Account) {
        &mut self.0[place / BLOCK][place % BLOCK]
    }

    fn push(&mut self, entry: (AccountId, Account)) {
        match self.0.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => last.push(entry),
            None => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(entry);
                self.0.push(block);
            }
        }
    }

    /// Takes an entry out, and puts the last into its place.
    fn swap_remove(&mut self, place: usize) -> Option<(AccountId, Account)> {
        let last = self.0.last_mut()?;
        let moved = last.pop()?;
        if last.is_empty() {
            self.0.pop();
        }
        if place == self.len() { Some(moved) } else { Some(std::mem::replace(self.at_mut(place), moved)) }
    }

    fn iter(&self) -> impl Iterator<Item = &(AccountId, Account)> {
        self.0.iter().flatten()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (AccountId, Account)> {
        self.0.iter_mut().flatten()
    }
}

impl Clone for Entries {
    fn clone(&self) -> Self {
        // A vector's own clone would leave the last block no room, and its next push would move it.
        let mut clone = Entries(Vec::with_capacity(self.0.len()));
        self.iter().for_each(|entry| clone.push(entry.clone()));
        clone
    }
}

impl Shard {
    /// Slot and place of an id.
    fn find(&self, hash: u64, id: &AccountId) -> Option<(usize, usize)> {
        self.probe(hash).find(|(_, place)| self.entries.at(*place).0 == *id)
    }

    /// Slots and places where the entry of this hash may be.
    fn probe(&self, hash: u64) -> impl Iterator<Item = (usize, usize)> {
        let mask = self.slots.len().wrapping_sub(1);
        let tag = slot_of(hash, 0) & !PLACE_MASK;
        let mut next = hash as usize;
        std::iter::from_fn(move || {
            loop {
                let at = next & mask;
                let slot = self.slots.get(at).copied().filter(|slot| *slot != 0)?;
                next = at + 1;
                if slot & !PLACE_MASK == tag {
                    return Some((at, (slot & PLACE_MASK) as usize - 1));
                }
            }
        })
    }

    fn insert_new(&mut self, hash: u64, id: AccountId, account: Account, rehash: impl Fn(&AccountId) -> u64) {
        // At most seven eighths of the slots are used, so that a search always ends at an empty one.
        if (self.entries.len() + 1) * 8 > self.slots.len() * 7 {
            self.slots = vec![0; (self.slots.len() * 2).max(8)];
            for place in 0..self.entries.len() {
                self.link(rehash(&self.entries.at(place).0), place);
            }
        }
        // The four thousand million accounts that would overflow a shard do not fit a machine's memory.
        debug_assert!(self.entries.len() < PLACE_MASK as usize, "a shard's place fits its bits");
        self.link(hash, self.entries.len());
        self.entries.push((id, account));
    }

    fn link(&mut self, hash: u64, place: usize) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot_of(hash, place);
    }

    fn remove(&mut self, hash: u64, id: &AccountId, rehash: impl Fn(&AccountId) -> u64) -> Option<Account> {
        let (mut hole, place) = self.find(hash, id)?;
        let mask = self.slots.len() - 1;
        // Whoever stands behind the hole moves into it, unless their search begins after it.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = rehash(&self.entries.at((slot & PLACE_MASK) as usize - 1).0) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        // The last account moves into the gap, and its slot is told so.
        let last = self.entries.len() - 1;
        if place != last {
            let moved = self.entries.at(last).0;
            let hash = rehash(&moved);
            if let Some((at, _)) = self.find(hash, &moved) {
                self.slots[at] = slot_of(hash, place);
            }
        }
        self.entries.swap_remove(place).map(|(_, account)| account)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Ids that all fall into one shard and few slots, whatever the key: the hash is chosen here.
    fn crowded(id: &AccountId) -> u64 {
        u64::from(id.0[0] % 3) | (u64::from(id.0[1] % 2) << 50)
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u8..40), 0..200)) {
            let mut accounts = Accounts::new();
            let mut model = BTreeMap::new();
            for (number, (insert, name)) in steps.into_iter().enumerate() {
                let id = AccountId([name; 32]);
                let account = Account { spent: number as u32, ..Account::default() };
                if insert {
                    let hash = accounts.hash(&id);
                    match accounts.get_mut(hash, &id) {
                        Some(there) => *there = account.clone(),
                        None => accounts.insert_new(hash, id, account.clone()),
                    }
                    model.insert(id, account);
                } else {
                    prop_assert_eq!(accounts.remove(&id), model.remove(&id));
                }
                prop_assert_eq!(accounts.len(), model.len());
                for name in 0..40 {
                    let id = AccountId([name; 32]);
                    prop_assert_eq!(accounts.get(&id), model.get(&id));
                }
            }
            let mut listed: Vec<_> = accounts.iter().map(|(id, account)| (*id, account.clone())).collect();
            listed.sort_by_key(|(id, _)| *id);
            prop_assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        }

        /// One shard, three homes, two tags: every removal has others standing behind the hole.
        #[test]
        fn a_crowded_shard_is_a_map(steps in prop::collection::vec((any::<bool>(), 0u8..40), 0..200)) {
            let mut shard = Shard::default();
            let mut model = BTreeMap::new();
            for (insert, name) in steps {
                let id = AccountId([name; 32]);
                let hash = crowded(&id);
                if insert && !model.contains_key(&id) {
                    shard.insert_new(hash, id, Account::default(), crowded);
                    model.insert(id, ());
                } else if !insert {
                    prop_assert_eq!(shard.remove(hash, &id, crowded).is_some(), model.remove(&id).is_some());
                }
                for name in 0..40 {
                    let id = AccountId([name; 32]);
                    let found = shard.find(crowded(&id), &id).map(|(_, place)| shard.entries.at(place).0);
                    prop_assert_eq!(found, model.get_key_value(&id).map(|(id, ())| *id));
                }
            }
        }
    }

    #[test]
    fn two_tables_of_the_same_accounts_are_equal_in_any_order() {
        let (mut first, mut second) = (Accounts::new(), Accounts::new());
        for name in 0..100u8 {
            for (table, name) in [(&mut first, name), (&mut second, 99 - name)] {
                let id = AccountId([name; 32]);
                let hash = table.hash(&id);
                table.insert_new(hash, id, Account { spent: name.into(), ..Account::default() });
            }
        }
        assert_eq!(first, second);
        let id = AccountId([7; 32]);
        let hash = second.hash(&id);
        second.get_mut(hash, &id).unwrap().spent += 1;
        assert_ne!(first, second);
        assert!(second.remove(&id).is_some());
        assert_ne!(first, second);
    }

    #[test]
    fn reading_ahead_takes_ids_that_are_there_and_ids_that_are_not() {
        let mut accounts = Accounts::new();
        let id = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            AccountId(bytes)
        };
        for number in 0..=CACHED {
            let id = id(number);
            let hash = accounts.hash(&id);
            accounts.insert_new(hash, id, Account { spent: number as u32, ..Account::default() });
        }
        let ids: Vec<_> = (CACHED - 100..CACHED + 100).map(id).collect();
        accounts.read_ahead(ids.iter());
        assert_eq!(accounts.len(), CACHED + 1);
        // What it reads is theirs, but for one in a hundred or so whose bits somebody else has too.
        let all: Vec<_> = (0..=CACHED).map(id).collect();
        let theirs = |it: &&AccountId| {
            accounts.likely_place(accounts.hash(it)).is_some_and(|(shard, place)| shard.entries.at(place).0 == **it)
        };
        let found = all.iter().filter(theirs).count();
        assert!(found * 10 > all.len() * 9, "{found} of {}", all.len());
        for (id, number) in ids.iter().zip(CACHED - 100..) {
            assert_eq!(accounts.get(id).map(|it| it.spent as usize), (number <= CACHED).then_some(number));
        }
    }
}
