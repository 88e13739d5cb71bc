//! [`Clocks`]: what time it is for the fleet, so that no few of its members decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::planted::{Mistake, makes};
use crate::error::Fault;
use crate::journal::Clock;

/// For how long after it was told a member's time counts.
const FRESH: Duration = Duration::from_secs(3);

/// The members' clocks, as they were last heard.
pub(super) struct Clocks {
    own: Arc<dyn Clock>,
    /// What each said, in seconds, and when that was heard.
    heard: Mutex<BTreeMap<u64, (u64, Instant)>>,
    /// Members that have refused this replica's rows because of their date.
    refused: Mutex<BTreeSet<u64>>,
}

impl Clocks {
    pub(super) fn new(own: Arc<dyn Clock>) -> Self {
        Clocks { own, heard: Mutex::default(), refused: Mutex::default() }
    }

    /// This replica's clock.
    pub(super) fn now_s(&self) -> Result<u64, Fault> {
        self.own.now_s()
    }

    /// A member has told its time.
    pub(super) fn heard(&self, member: u64, time_s: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(member, (time_s, Instant::now()));
    }

    /// A member has refused rows of this replica's because of their date.
    pub(super) fn refused(&self, member: u64) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(member);
    }

    /// Whether so many of these members have, since this was asked last, that the others are no majority.
    pub(super) fn take_refused(&self, voters: &BTreeSet<u64>) -> bool {
        let refused = std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        let others = voters.difference(&refused).count();
        others * 2 <= voters.len()
    }

    /// The date of a batch, in seconds, by the clocks of these members, of whom this replica is `own`: their median, where
    /// those that have not been heard of late count as the earliest. So while less than half of all clocks are wrong, the
    /// date is never ahead of every right one, and no ticket expires before its time; and it is `None` until more than half
    /// have been heard.
    pub(super) fn date_s(&self, own: u64, voters: &BTreeSet<u64>) -> Result<Option<u64>, Fault> {
        let now_s = self.now_s()?;
        if makes(Mistake::OwnClock) {
            return Ok(Some(now_s));
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |member: &u64| {
            if *member == own {
                return Some(now_s);
            }
            let (time_s, at) = heard.get(member)?;
            let elapsed = at.elapsed();
            (elapsed <= FRESH).then(|| time_s.saturating_add(elapsed.as_secs()))
        };
        let mut times: Vec<_> = voters.iter().filter_map(told).collect();
        times.sort_unstable();
        let silent = voters.len() - times.len();
        let middle = voters.len().saturating_sub(1) / 2;
        Ok(middle.checked_sub(silent).and_then(|at| times.get(at).copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ManualClock;

    #[test]
    fn fleet_goes_on_while_a_majority_takes_its_dates() {
        let clocks = Clocks::new(Arc::new(ManualClock::new(1_000)));
        let five = BTreeSet::from([1, 2, 3, 4, 5]);
        for (refusing, gives_way) in [(vec![], false), (vec![2, 3, 2], false), (vec![2, 3, 4], true), (vec![9], false)]
        {
            refusing.iter().for_each(|member| clocks.refused(*member));
            assert_eq!(clocks.take_refused(&five), gives_way, "{refusing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn f7_fleet_dates_by_the_median_of_clocks() {
        let own = Arc::new(ManualClock::new(1_000));
        let clocks = Clocks::new(Arc::clone(&own) as Arc<dyn Clock>);
        let five = BTreeSet::from([1, 2, 3, 4, 5]);
        assert_eq!(clocks.date_s(1, &five), Ok(None), "nobody has been heard");
        clocks.heard(2, 9_000);
        assert_eq!(clocks.date_s(1, &five), Ok(None), "two of five have");
        clocks.heard(3, 9_000);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_000)), "two that are far ahead move nothing");
        clocks.heard(4, 1_003);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_003)));
        clocks.heard(5, 1_002);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_003)));
        own.set(90_000);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(9_000)), "three of five are wrong");
        own.set(1_001);
        clocks.heard(3, 10);
        clocks.heard(2, 10);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_001)));
        tokio::time::advance(Duration::from_secs(2)).await;
        clocks.heard(2, 1_000);
        clocks.heard(3, 1_001);
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_001)), "what was heard goes on by itself: 1005 and 1004");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clocks.date_s(1, &five), Ok(Some(1_001)), "the two that are silent count as the earliest");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clocks.date_s(1, &five), Ok(None));
        assert_eq!(clocks.date_s(1, &BTreeSet::from([1])), Ok(Some(1_001)));
        assert_eq!(clocks.date_s(1, &BTreeSet::new()), Ok(None));
    }
}
