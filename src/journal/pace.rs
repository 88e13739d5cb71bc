//! [`Pace`]: batches that come faster than checkpoints are written wait a little each, in place of one for all.
//!
//! What has changed since the last checkpoint is kept in memory and in the log, so neither may outgrow the writing of
//! checkpoints for long. Once the log is [`SLOW`] times as large as calls for a checkpoint, each row is followed by a
//! wait in proportion to its size, such that the log is full no sooner than the checkpoint that is being written is done.
//! A journal of its own has its writers wait after their row, the leader of a fleet has members wait before theirs.
//!
//! How long a checkpoint will take is guessed from what it has done, and early guesses are wild. So no wait outlasts the
//! checkpoint that it is for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many times the size that calls for a checkpoint the log may grow to before rows are followed by waits.
const SLOW: u64 = 2;
/// So many times that size it may grow to while one is written; then rows wait until it is.
const BACKLOG: u64 = 4;
/// The part of its rows that is taken to be written at the beginning of a checkpoint, where none is.
const FIRST: f64 = 0.001;
/// The part of a checkpoint's time that its commit is taken to need, where none was written before.
const COMMIT: f64 = 0.5;
/// How much longer a checkpoint is taken to need that is late already, as a part of the time that it has had.
const LATE: f64 = 0.2;

/// How far the checkpoint that is being written has come.
#[derive(Default)]
pub(crate) struct Pace {
    course: Mutex<Course>,
    /// Told when a checkpoint ends.
    ended: Condvar,
}

#[derive(Default)]
struct Course {
    written: Option<Written>,
    /// How many have ended.
    ended: u64,
    /// The part of its time that the commit of the last one took.
    commit: Option<f64>,
    /// When the waits that were told are over.
    until: Option<Instant>,
}

/// One that is being written.
struct Written {
    begun: Instant,
    /// Which part of its rows is written.
    part: f64,
    /// How long that took, once it is all of them.
    rows: Option<Duration>,
}

impl Pace {
    /// A checkpoint is begun.
    pub(crate) fn begin(&self, now: Instant) {
        self.course().written = Some(Written { begun: now, part: 0.0, rows: None });
    }

    /// So large a part of its rows is written; after all of them comes the commit.
    pub(crate) fn reach(&self, now: Instant, part: f64) {
        if let Some(written) = &mut self.course().written {
            written.part = part;
            written.rows = (part >= 1.0).then(|| now - written.begun);
        }
    }

    /// It is there, or is given up. Whoever waits on its account goes on.
    pub(crate) fn end(&self, now: Instant) {
        let mut course = self.course();
        if let Some(Written { begun, rows: Some(rows), .. }) = course.written.take() {
            course.commit = Some(1.0 - rows.as_secs_f64() / (now - begun).as_secs_f64().max(f64::MIN_POSITIVE));
        }
        course.until = None;
        course.ended += 1;
        drop(course);
        self.ended.notify_all();
    }

    /// What who has written a row of so many bytes waits for, where so many are in the log and `most` call for a
    /// checkpoint; `None` if it is the checkpoint itself.
    pub(super) fn after(&self, now: Instant, row: u64, bytes: u64, most: u64) -> Option<Rest> {
        let full = most.saturating_mul(BACKLOG);
        if bytes >= full {
            return None;
        }
        if bytes < most.saturating_mul(SLOW) {
            return Some(Rest::default());
        }
        let mut course = self.course();
        Some(Rest { length: course.wait(now, row, full - bytes), ended: course.ended })
    }

    /// Waits on this thread, until it is over or the checkpoint is.
    pub(super) fn rest(&self, rest: &Rest) {
        if !rest.is_none() {
            let waits = |course: &mut Course| course.ended == rest.ended;
            drop(self.ended.wait_timeout_while(self.course(), rest.length, waits));
        }
    }

    /// How long a row of so many bytes waits before it is written; `None` if it may be now, and the next ones wait for it.
    /// Whoever waits asks again.
    #[cfg(feature = "fleet")]
    pub(crate) fn before(&self, now: Instant, row: u64, bytes: u64, most: u64) -> Option<Duration> {
        let full = most.saturating_mul(BACKLOG);
        if bytes >= full {
            return Some(Duration::MAX);
        }
        let mut course = self.course();
        if let Some(until) = course.until.filter(|until| *until > now) {
            return Some(until - now);
        }
        if bytes >= most.saturating_mul(SLOW) {
            course.wait(now, row, full - bytes);
        }
        None
    }

    /// Whole values only are put into it, so a panic elsewhere leaves it sound.
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait after a row, which ends with the checkpoint that it is for.
#[derive(Default)]
pub(super) struct Rest {
    length: Duration,
    /// Checkpoints that had ended when it began.
    ended: u64,
}

impl Rest {
    pub(super) fn is_none(&self) -> bool {
        self.length.is_zero()
    }
}

impl Course {
    /// How long who has written a row of so many bytes waits, where `room` bytes more fit the log.
    fn wait(&mut self, now: Instant, row: u64, room: u64) -> Duration {
        // Where one is asked for and not begun, it will be in a moment.
        let Some(written) = &self.written else { return Duration::ZERO };
        let left = written.left(now, self.commit.unwrap_or(COMMIT));
        let until = self.until.filter(|until| *until > now).unwrap_or(now);
        let until = until + left.mul_f64((row as f64 / room.max(1) as f64).min(1.0));
        self.until = Some(until);
        until - now
    }
}

impl Written {
    /// How long it goes on to be written.
    fn left(&self, now: Instant, commit: f64) -> Duration {
        let elapsed = now - self.begun;
        let rows = self.rows.unwrap_or_else(|| elapsed.div_f64(self.part.clamp(FIRST, 1.0)));
        // A commit of all the time and more would leave none for the rows.
        let all = rows.div_f64(1.0 - commit.clamp(0.0, 0.95));
        all.saturating_sub(elapsed).max(elapsed.mul_f64(LATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 256 << 20;
    const ROW: u64 = 1 << 20;
    /// Where batches wait for the checkpoint itself.
    const FULL: u64 = 4 * MOST;

    /// A log in a time of its own: rows come as fast as the disk takes them, `each` apart, and checkpoints are written
    /// at so many nanoseconds a byte, of which the commit takes a part. The longest times between two rows, while the
    /// first checkpoint is written and after, and the largest log.
    fn flood(each: Duration, write_ns: u64, commit: f64) -> ([Duration; 2], u64) {
        let (pace, mut now) = (Pace::default(), Instant::now());
        let mut being_written: Option<(Instant, Instant)> = None;
        let (mut log, mut done, mut largest) = (0, 0, 0);
        let mut longest = [Duration::ZERO; 2];
        while done < 20 {
            let mut took = each;
            log += ROW;
            largest = largest.max(log);
            if let Some((begun, end)) = being_written {
                let rows = (now - begun).div_duration_f64(end - begun) / (1.0 - commit);
                if rows < 1.0 {
                    pace.reach(now, rows);
                } else {
                    pace.reach(begun + (end - begun).mul_f64(1.0 - commit), 1.0);
                }
                match pace.after(now, ROW, log, MOST) {
                    None => took = took.max(end - now),
                    Some(rest) => took += rest.length,
                }
            }
            now += took;
            longest[usize::from(done > 0)] = longest[usize::from(done > 0)].max(took);
            if being_written.is_some_and(|(_, end)| end <= now) {
                pace.end(now);
                (being_written, done) = (None, done + 1);
            }
            if being_written.is_none() && log >= MOST {
                pace.begin(now);
                being_written = Some((now, now + Duration::from_nanos(log * write_ns)));
                log = 0;
            }
        }
        (longest, largest)
    }

    #[test]
    fn rows_that_outrun_checkpoints_wait_a_little_each() {
        // Ten and a hundred times as fast as checkpoints are written.
        for (write_ns, commit) in [(20, 0.0), (200, 0.0), (20, 0.5), (200, 0.5), (200, 0.7)] {
            let ([first, later], largest) = flood(Duration::from_nanos(2 * ROW), write_ns, commit);
            let fair = Duration::from_nanos(write_ns * ROW);
            println!(
                "{write_ns} ns a byte, {commit} of it the commit: {first:?}, {later:?} where {fair:?} are fair; {largest}"
            );
            assert!(later <= 6 * fair, "a row waited for {later:?}, where its own part is {fair:?}");
            assert!(first <= 60 * fair, "a row waited for {first:?}, where its own part is {fair:?}");
            assert!(largest < FULL, "the log grew to {largest} bytes");
        }
    }

    #[test]
    fn rows_that_checkpoints_keep_up_with_do_not_wait() {
        let each = Duration::from_nanos(40 * ROW);
        assert_eq!(flood(each, 20, 0.5).0, [each; 2]);
    }

    #[test]
    fn several_who_write_share_one_pace() {
        let (pace, begun) = (Pace::default(), Instant::now());
        pace.begin(begun);
        pace.reach(begun + Duration::from_secs(5), 0.5);
        // All rows will have taken twenty seconds, and so will the commit; a tenth of the room is taken.
        let (now, wait) = (begun + Duration::from_secs(10), Duration::from_secs(3));
        let told = |now, behind: u32| pace.course().wait(now, ROW, 10 * ROW).abs_diff(behind * wait) < wait / 1000;
        assert!(told(now, 1) && told(now, 2), "the second waits behind the first");
        pace.end(now);
        assert_eq!(pace.course().wait(now, ROW, 10 * ROW), Duration::ZERO, "it is written");
    }

    #[test]
    fn a_wait_ends_with_its_checkpoint_however_long_it_was_to_be() {
        let pace = Pace::default();
        let early = || pace.after(Instant::now(), ROW, FULL - ROW, MOST).expect("room in the log");
        // One that has taken ten seconds over none of its rows: by the guess it takes hours, and a row that fills the log
        // waits for all of them.
        let begin = || pace.begin(Instant::now() - Duration::from_secs(10));
        let hour = Duration::from_secs(3600);
        begin();
        let rest = early();
        assert!(rest.length > hour, "{:?}", rest.length);
        std::thread::scope(|scope| {
            let rests = scope.spawn(|| pace.rest(&rest));
            // Time to fall asleep; one that has not yet is told all the same.
            std::thread::sleep(Duration::from_millis(20));
            assert!(!rests.is_finished(), "it waits");
            pace.end(Instant::now());
        });
        // It may have ended between the guess and the wait, and the next may be under way.
        begin();
        pace.rest(&rest);
        assert!(early().length > hour, "the next has waits of its own");
    }
}
