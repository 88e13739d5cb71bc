//! [`Tail`]: what of a log is in memory: where each row stands, and the newest rows whole.

use std::collections::VecDeque;

use crate::fleet::consensus::{Entry, Vote};
use crate::journal::LogId;
use crate::journal::row::Chain;

/// Bytes of the newest rows that are kept in memory, for replicas that are a little behind and for applying.
const RECENT_BYTES: usize = 32 << 20;
/// What a row costs at replay beside its bytes, so that many small ones call for a checkpoint too.
pub(super) const ROW_OVERHEAD: u64 = 128;

/// A place in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: LogId,
    pub(crate) chain: Chain,
}

pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    /// The last row that has left.
    pub(super) purged: Option<Place>,
    /// The rows that are there, without gaps, behind `purged`.
    pub(super) rows: VecDeque<Place>,
    /// The newest of them, as openraft takes them, with their sizes.
    pub(super) recent: VecDeque<(Entry, usize)>,
    pub(super) recent_bytes: usize,
    /// Where the last checkpoint stands.
    pub(super) base: Option<Place>,
    /// Size of the rows since then.
    pub(super) bytes: u64,
    /// Up to here rows leave once the checkpoint that has them is installed: openraft lets go of them before.
    pub(super) leaving: Option<LogId>,
    /// Rows, the last of `rows`, that are yet to be written.
    pub(super) unwritten: Vec<(Place, Vec<u8>)>,
    /// The last row on the disk that the anchor names.
    pub(super) written: Option<LogId>,
}

impl Tail {
    pub(super) fn last(&self) -> Option<Place> {
        self.rows.back().copied().or(self.purged)
    }

    /// Index of the first row that is there, or would be.
    pub(super) fn first_index(&self) -> u64 {
        self.purged.map_or(0, |it| it.id.index + 1)
    }

    pub(super) fn at(&self, index: u64) -> Option<Place> {
        match index.checked_sub(self.first_index()) {
            Some(offset) => self.rows.get(usize::try_from(offset).ok()?).copied(),
            None => self.purged.filter(|it| it.id.index == index),
        }
    }

    pub(super) fn keep(&mut self, entry: Entry, size: usize) {
        self.recent.push_back((entry, size));
        self.recent_bytes += size;
        while self.recent_bytes > RECENT_BYTES && self.recent.len() > 1 {
            let gone = self.recent.pop_front().map_or(0, |(_, size)| size);
            self.recent_bytes -= gone;
        }
    }

    /// The entries of `[from, to)` if all of them are in memory.
    pub(super) fn recent(&self, from: u64, to: u64) -> Option<Vec<Entry>> {
        let first = self.recent.front()?.0.log_id.index;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let take = usize::try_from(to.checked_sub(from)?).ok()?;
        Some(self.recent.iter().skip(skip).take(take).map(|(entry, _)| entry.clone()).collect())
    }
}
