//! [`Clock`]: where the date of a batch comes from. Rules never ask it; they see the date inside the batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Fault;

/// Tells the time by which the next batch is dated.
pub trait Clock: Send + Sync {
    /// Seconds since 1970.
    ///
    /// # Errors
    /// [`Fault::Clock`] if the clock cannot be believed; nothing is acknowledged then.
    fn now_s(&self) -> Result<u64, Fault>;
}

/// The machine's clock, held against the time that has passed since it was made: state time never goes back, so one
/// leap forward would expire every ticket at once.
pub struct SystemClock {
    started: Instant,
    started_s: u64,
    skew_max: Duration,
}

impl SystemClock {
    /// A clock that is believed while it is at most `skew_max_s` seconds ahead of the time that has passed.
    ///
    /// # Errors
    /// [`Fault::Clock`] if the machine's clock stands before 1970.
    pub fn new(skew_max_s: u64) -> Result<Self, Fault> {
        Ok(SystemClock {
            started: Instant::now(),
            started_s: since_1970()?.as_secs(),
            skew_max: Duration::from_secs(skew_max_s),
        })
    }
}

impl Clock for SystemClock {
    fn now_s(&self) -> Result<u64, Fault> {
        let now_s = since_1970()?.as_secs();
        let expected = Duration::from_secs(self.started_s).saturating_add(self.started.elapsed());
        if now_s > expected.saturating_add(self.skew_max).as_secs() {
            return Err(Fault::Clock(format!(
                "it is {} s ahead of the time that has passed since the vault was opened; set it right, or open again",
                now_s - expected.as_secs()
            )));
        }
        Ok(now_s)
    }
}

fn since_1970() -> Result<Duration, Fault> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Fault::Clock("it stands before 1970".to_owned()))
}

/// A clock that stands until it is moved: for examples, tests, and replays.
#[derive(Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now_s`.
    pub fn new(now_s: u64) -> Self {
        ManualClock(AtomicU64::new(now_s))
    }

    /// Moves it, forward or back, to `now_s`.
    pub fn set(&self, now_s: u64) {
        self.0.store(now_s, Ordering::SeqCst);
    }

    /// Moves it forward by `seconds`.
    pub fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_s(&self) -> Result<u64, Fault> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_forward_is_not_believed() {
        let mut clock = SystemClock::new(300).expect("after 1970");
        assert!(clock.now_s().is_ok());
        clock.started_s -= 299;
        assert!(clock.now_s().is_ok(), "within the skew");
        clock.started_s -= 10;
        assert!(matches!(clock.now_s(), Err(Fault::Clock(_))), "a leap of more than the skew");
    }
}
