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
/// Accounts of a range of ids, about. Records of one range are moved in order of id: a page of the store holds a few that
/// are neighbours, and is read and written once for them.
const RANGE: usize = 8192;
/// Most ranges: the first two bytes of an id tell them apart.
const RANGES_MAX: usize = 1 << 16;

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
    /// Records to move, of the range of ids before `next`, the first of them last.
    found: Vec<Found>,
    /// Where the next range begins, by the first two bytes of its ids.
    next: usize,
    done: u64,
    /// Records moved, and records that do not open, since the first range.
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
        Rewrap { vault: self, pace, found: Vec::new(), next: 0, done: 0, moved: 0, damaged: 0 }
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

    /// Moves the next few records.
    ///
    /// # Errors
    /// The journal's faults; [`Fault::Damaged`] once all others are moved, if records are left that do not open.
    pub fn step(&mut self) -> Result<Progress, Fault> {
        let epoch = self.vault.ring().epochs.newest();
        let mut left = 0;
        self.vault.journal.read(&mut |state| left = records_before(state, epoch))?;
        if left == 0 {
            return Ok(Progress { epoch, done: self.done, left });
        }
        while self.found.is_empty() && self.next < RANGES_MAX {
            self.look(epoch)?;
        }
        let some = self.found.split_off(self.found.len().saturating_sub(self.pace.step));
        let moved = self.rewrap(&some)?;
        self.done += moved;
        self.moved += moved;
        left -= moved.min(left);
        if self.found.is_empty() && self.next >= RANGES_MAX {
            // Through all ids. Those that changed meanwhile have another turn.
            if left > 0 && self.moved == 0 && self.damaged > 0 {
                return Err(Fault::Damaged(format!(
                    "{} records of older epochs do not open; they cannot be moved to epoch {epoch}",
                    self.damaged
                )));
            }
            (self.next, self.moved, self.damaged) = (0, 0, 0);
        }
        Ok(Progress { epoch, done: self.done, left })
    }

    /// Looks through all accounts for those of the next range whose record is to be moved, a few thousand at a time.
    fn look(&mut self, epoch: u32) -> Result<(), Fault> {
        let (mut range, mut cursor) = (0..RANGES_MAX, Some(Cursor::default()));
        self.vault.journal.read(&mut |state| {
            let ranges = (state.len() / RANGE + 1).next_power_of_two().min(RANGES_MAX);
            range = self.next..self.next + RANGES_MAX / ranges;
        })?;
        while let Some(from) = cursor {
            self.vault.journal.read(&mut |state| {
                cursor = state.scan(from, LOOK, |id, account| {
                    let [first, second, ..] = id.0;
                    if range.contains(&usize::from(u16::from_be_bytes([first, second]))) {
                        self.found.extend(old(id, account, epoch));
                    }
                });
            })?;
        }
        self.found.sort_unstable_by_key(|it| std::cmp::Reverse(it.account));
        self.next = range.end;
        Ok(())
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

/// The record of an account, if it is sealed under an older epoch.
fn old(id: &AccountId, account: &Account, epoch: u32) -> Option<Found> {
    match *account.record() {
        Record::Live { header, rewraps, .. } if header.epoch < epoch => {
            Some(Found { account: *id, generation: account.generation(), rewraps })
        }
        _ => None,
    }
}
