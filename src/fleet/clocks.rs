//! [`Clocks`]: what time it is for the fleet: the median of its members' clocks, so that no one of them decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Fault;
use crate::journal::Clock;

/// How far each member's clock is ahead of this one's, as it was last heard, in seconds.
pub(super) struct Clocks {
    own: Arc<dyn Clock>,
    ahead_s: Mutex<BTreeMap<u64, i128>>,
}

impl Clocks {
    pub(super) fn new(own: Arc<dyn Clock>) -> Self {
        Clocks { own, ahead_s: Mutex::default() }
    }

    /// This replica's clock.
    pub(super) fn now_s(&self) -> Result<u64, Fault> {
        self.own.now_s()
    }

    /// A member has told its time.
    pub(super) fn heard(&self, member: u64, time_s: u64) {
        // A clock that cannot be believed tells nothing of another.
        if let Ok(now_s) = self.own.now_s() {
            let mut ahead_s = self.ahead_s.lock().unwrap_or_else(PoisonError::into_inner);
            ahead_s.insert(member, i128::from(time_s) - i128::from(now_s));
        }
    }

    /// How far the median of these members' clocks is ahead of this one's, which is `own`'s, as far as they were heard;
    /// `None` while less than a majority was. Of an even number the earlier of the two in the middle counts.
    pub(super) fn median_ahead_s(&self, own: u64, voters: &BTreeSet<u64>) -> Option<i128> {
        let ahead_s = self.ahead_s.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |member: &u64| if *member == own { Some(0) } else { ahead_s.get(member).copied() };
        let mut heard: Vec<_> = voters.iter().filter_map(told).collect();
        heard.sort_unstable();
        if heard.len() * 2 > voters.len() { heard.get((heard.len() - 1) / 2).copied() } else { None }
    }

    /// The date of a batch, in seconds; `None` before a majority has told its time.
    pub(super) fn date_s(&self, own: u64, voters: &BTreeSet<u64>) -> Result<Option<u64>, Fault> {
        let now_s = i128::from(self.now_s()?);
        let date = self.median_ahead_s(own, voters).map(|ahead_s| u64::try_from(now_s + ahead_s));
        date.transpose().map_err(|_| Fault::Clock("the members' clocks have no median".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ManualClock;

    #[test]
    fn fleet_dates_by_the_median_of_clocks() {
        let clocks = Clocks::new(Arc::new(ManualClock::new(1_000)));
        let five = BTreeSet::from([1, 2, 3, 4, 5]);
        assert_eq!(clocks.date_s(1, &five), Ok(None), "nobody has been heard");
        clocks.heard(2, 9_000);
        assert_eq!(clocks.date_s(1, &five), Ok(None), "two of five have");
        clocks.heard(3, 1_002);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_002)), "one that is far ahead moves nothing");
        clocks.heard(4, 1_003);
        clocks.heard(5, 1_004);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_003)), "this one is behind");
        clocks.heard(3, 10);
        clocks.heard(4, 10);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_000)));
        assert_eq!(clocks.date_s(1, &BTreeSet::from([1, 2])), Ok(Some(1_000)), "the earlier of two");
        assert_eq!(clocks.date_s(1, &BTreeSet::from([1])), Ok(Some(1_000)));
        assert_eq!(clocks.date_s(1, &BTreeSet::new()), Ok(None));
    }
}
