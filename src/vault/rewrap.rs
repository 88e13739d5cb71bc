//! [`Rewrap`]: records moved to the newest epoch, a few at a time, while requests go on.

use std::thread;
use std::time::{Duration, Instant};

use super::Vault;
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Account, Command, Cursor, Record, State, Verdict};
use crate::limits::BATCH_MAX;
use crate::wrap::OpenItem;

/// Accounts looked at while commits wait.
const LOOK: usize = 4096;

/// How fast records are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Records a second, at most; at least one.
    pub records_per_s: u32,
    /// Records of one commit, 1 to [`BATCH_MAX`].
    pub step: usize,
}

impl Default for Pace {
    /// 2,000 records a second in commits of 64: a tenth of what a vault of two cores does beside it.
    fn default() -> Self {
        Pace { records_per_s: 2000, step: 64 }
    }
}

impl Pace {
    /// As fast as it goes.
    pub fn unbounded() -> Self {
        Pace { records_per_s: u32::MAX, step: 1024 }
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The epoch that records are moved to.
    pub epoch: u32,
    /// Records moved by this [`Rewrap`].
    pub done: u64,
    /// Records that are still under older epochs.
    pub left: u64,
}

/// Moves records to the newest epoch. It remembers nothing that matters: dropped and begun again, in this process or
/// after a crash, it goes on with the records that are left.
pub struct Rewrap<'a> {
    vault: &'a Vault,
    pace: Pace,
    cursor: Cursor,
    done: u64,
    /// Records moved, and records that do not open, since the cursor was at the beginning.
    moved: u64,
    damaged: u64,
}

/// A record to be moved.
struct Found {
    account: AccountId,
    generation: u32,
    rewraps: u32,
}

impl Vault {
    /// Moves records that are sealed under older epochs to the newest: see [`Rewrap::run`] and [`Rewrap::step`].
    pub fn rewrap(&self, pace: Pace) -> Rewrap<'_> {
        let pace = Pace { records_per_s: pace.records_per_s.max(1), step: pace.step.clamp(1, BATCH_MAX) };
        Rewrap { vault: self, pace, cursor: Cursor::default(), done: 0, moved: 0, damaged: 0 }
    }
}

impl Rewrap<'_> {
    /// Moves records until none is left, at the pace, and tells of each step. To pause, sleep in `tell`; to stop, drop it
    /// between two calls of [`Rewrap::step`].
    ///
    /// # Errors
    /// As [`Rewrap::step`].
    pub fn run(mut self, mut tell: impl FnMut(&Progress)) -> Result<Progress, Fault> {
        let begun = Instant::now();
        loop {
            let progress = self.step()?;
            tell(&progress);
            if progress.left == 0 {
                return Ok(progress);
            }
            let due = Duration::from_secs_f64(progress.done as f64 / f64::from(self.pace.records_per_s));
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }

    /// Moves the next few records, or looks at the next few thousand accounts.
    ///
    /// # Errors
    /// The journal's faults; [`Fault::Damaged`] once all others are moved, if records are left that do not open.
    pub fn step(&mut self) -> Result<Progress, Fault> {
        let ring = self.vault.ring();
        let epoch = ring.epochs.newest();
        let mut found = Vec::new();
        let (mut next, mut left) = (None, 0);
        self.vault.journal.read(&mut |state| {
            left = records_before(state, epoch);
            if left > 0 {
                next = look(state, self.cursor, epoch, self.pace.step, &mut found);
            }
        })?;
        let moved = self.rewrap(&found)?;
        self.done += moved;
        self.moved += moved;
        left -= moved.min(left);
        self.cursor = next.unwrap_or_default();
        if next.is_none() && left > 0 {
            // Through all accounts. Those that came behind the cursor, or changed meanwhile, have another turn.
            if self.moved == 0 && self.damaged > 0 {
                return Err(Fault::Damaged(format!(
                    "{} records of older epochs do not open; they cannot be moved to epoch {epoch}",
                    self.damaged
                )));
            }
            (self.moved, self.damaged) = (0, 0);
        }
        Ok(Progress { epoch, done: self.done, left })
    }

    /// Opens and seals, and commits; returns how many records have moved.
    fn rewrap(&mut self, found: &[Found]) -> Result<u64, Fault> {
        if found.is_empty() {
            return Ok(0);
        }
        let (vault, ring) = (self.vault, self.vault.ring());
        let asked: Vec<_> = found.iter().map(|it| (it.account, it.generation)).collect();
        let mut read = Vec::with_capacity(found.len());
        for (it, sealed) in found.iter().zip(vault.journal.sealed_each(&asked)) {
            match sealed {
                Ok(Some(sealed)) => read.push((it, sealed)),
                // It has changed meanwhile.
                Ok(None) => {}
                Err(Fault::Damaged(_)) => self.damaged += 1,
                Err(fault) => return Err(fault),
            }
        }
        let items: Vec<_> = read
            .iter()
            .map(|(it, sealed)| OpenItem { account: &it.account, generation: it.generation, sealed })
            .collect();
        let mut commands = Vec::with_capacity(items.len());
        for ((it, _), sealed) in read.iter().zip(ring.epochs.rewrap(&items)) {
            match sealed {
                Ok(sealed) => {
                    let Found { account, generation, rewraps } = **it;
                    commands.push(Command::Rewrap { account, generation, rewraps, sealed });
                }
                Err(Fault::Damaged(_)) => self.damaged += 1,
                Err(fault) => return Err(fault),
            }
        }
        let receipts = vault.journal.commit(vault.clock.now_s()?, commands)?;
        Ok(receipts.iter().filter(|receipt| *receipt.verdict() == Verdict::Done).count() as u64)
    }
}

fn records_before(state: &State, epoch: u32) -> u64 {
    state.records_by_epoch().range(..epoch).map(|(_, count)| count).sum()
}

/// Looks for records to move from a cursor on, until there are so many or thousands of accounts were looked at.
fn look(state: &State, cursor: Cursor, epoch: u32, most: usize, found: &mut Vec<Found>) -> Option<Cursor> {
    let mut cursor = Some(cursor);
    let mut looked = 0;
    while let Some(from) = cursor
        && found.len() < most
        && looked < LOOK
    {
        // No more at once than may be found.
        let chunk = most - found.len();
        cursor = state.scan(from, chunk, |id, account| found.extend(old(id, account, epoch)));
        looked += chunk;
    }
    cursor
}

/// The record of an account, if it is sealed under an older epoch.
fn old(id: &AccountId, account: &Account, epoch: u32) -> Option<Found> {
    match *account.record() {
        Record::Live { header, rewraps, .. } if header.epoch < epoch => {
            Some(Found { account: *id, generation: account.generation(), rewraps })
        }
        _ => None,
    }
}
