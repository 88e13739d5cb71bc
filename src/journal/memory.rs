//! [`Memory`]: the journal without a disk. The same rows, chain, anchor and latch; it ends with the process.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::anchor::{Anchor, LogId, MemoryAnchor};
use super::applied::{apply, check_sealed, live_header};
use super::latch::Latch;
use super::row::{CHAIN_BEGIN, Chain, Draft, Entry, Keys, Row};
use super::{Committed, Journal};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Command, Policy, Records, State};
use crate::secret::Secret;
use crate::wrap::Sealed;

/// A journal in memory, for tests, for pipelines that drive the crate directly, and for `--no-default-features`. It
/// keeps every row, so its memory grows with every batch.
///
/// ```
/// use strongroom::journal::{Journal, Memory};
/// use strongroom::ledger::Policy;
///
/// let journal = Memory::create(Policy::development())?;
/// assert!(journal.commit(1_700_000_000, vec![])?.is_empty());
/// let index = journal.read(&mut |state| assert_eq!(state.time_s(), 1_700_000_000))?;
/// assert_eq!(index, 1, "the policy is row 0");
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub struct Memory {
    keys: Keys,
    policy: Policy,
    latch: Latch,
    inner: RwLock<Inner>,
}

struct Inner {
    state: State,
    records: Kept,
    rows: Vec<Vec<u8>>,
    last: LogId,
    chain: Chain,
}

/// Every record's sealed bytes.
#[derive(Default)]
struct Kept(HashMap<AccountId, Sealed>);

impl Records for Kept {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.0.insert(*account, sealed.clone());
    }

    fn erase(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

impl Memory {
    /// A new journal under `policy`, with a random key and an anchor of its own.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not allowed, [`Fault::PolicyMismatch`] if it asks for another kind of
    /// anchor, [`Fault::Randomness`].
    pub fn create(policy: Policy) -> Result<Self, Fault> {
        Self::create_with(policy, &Secret::random()?, Arc::new(MemoryAnchor::new()))
    }

    /// A new journal under `policy`, with this key and this anchor, which must be unused.
    ///
    /// # Errors
    /// As [`Memory::create`]; [`Fault::Anchor`] if the anchor has been used.
    pub fn create_with(policy: Policy, journal_key: &Secret<[u8; 32]>, anchor: Arc<dyn Anchor>) -> Result<Self, Fault> {
        policy.check()?;
        let latch = Latch::unused(anchor, &policy)?;
        let keys = Keys::new(journal_key);
        let last = LogId::default();
        let (row, chain) = Draft::policy(&policy).seal(&keys, last, &CHAIN_BEGIN);
        latch.advance(last, chain, [0; 32])?;
        let state = State::new(policy.clone());
        let inner = RwLock::new(Inner { state, records: Kept::default(), rows: vec![row], last, chain });
        Ok(Memory { keys, policy, latch, inner })
    }

    /// The state that the rows amount to, from the first row on: the live state, byte for byte (L5).
    ///
    /// # Errors
    /// [`Fault::Damaged`] if a row does not prove its place, [`Fault::Latched`] after a failure.
    pub fn replay(&self) -> Result<State, Fault> {
        let inner = self.inner.read().map_err(|_| Fault::Latched)?;
        let (mut last, mut chain) = (LogId::default(), CHAIN_BEGIN);
        let mut state = None;
        for (index, bytes) in (0..).zip(&inner.rows) {
            let row = Row::open(&self.keys, bytes, index, &chain)?;
            (last, chain) = (row.id, row.chain);
            match (row.entry, &mut state) {
                (Entry::Policy(policy), None) => state = Some(State::new(policy)),
                (Entry::Batch { time_s, commands }, Some(state)) => {
                    apply(state, &mut Kept::default(), index, time_s, commands);
                }
                _ => return Err(Fault::Damaged(format!("log row {index} is out of place"))),
            }
        }
        if (last, chain) != (inner.last, inner.chain) {
            return Err(Fault::Damaged("the log does not end where the journal does".to_owned()));
        }
        state.ok_or_else(|| Fault::Damaged("the log is empty".to_owned()))
    }
}

impl Journal for Memory {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        self.latch.check()?;
        let draft = Draft::batch(time_s, &commands)?;
        let mut inner = self.inner.write().map_err(|_| Fault::Latched)?;
        self.latch.check()?;
        let last = LogId { index: inner.last.index + 1, ..inner.last };
        let (row, chain) = draft.seal(&self.keys, last, &inner.chain);
        inner.rows.push(row);
        self.latch.close_on(self.latch.advance(last, chain, [0; 32]))?;
        inner.last = last;
        inner.chain = chain;
        let Inner { state, records, .. } = &mut *inner;
        Ok(apply(state, records, last.index, time_s, commands))
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.latch.check()?;
        self.latch.close_on(self.latch.confirm())?;
        let inner = self.inner.read().map_err(|_| Fault::Latched)?;
        look(&inner.state);
        Ok(inner.last.index)
    }

    fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.latch.check()?;
        let inner = self.inner.read().map_err(|_| Fault::Latched)?;
        look(&inner.state);
        Ok(inner.last.index)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.latch.check()?;
        let inner = self.inner.read().map_err(|_| Fault::Latched)?;
        match live_header(&inner.state, account, generation) {
            Some(header) => check_sealed(inner.records.0.get(account).cloned(), header),
            None => Ok(None),
        }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }
}
