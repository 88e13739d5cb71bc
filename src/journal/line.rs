//! [`Line`]: batches that come while another is being written are written together.
//!
//! Whoever finds nobody writing writes. Whoever comes meanwhile lines up; when the write is done, the first in line writes
//! next, its own batch and those behind it as one row. So a quiet journal keeps nobody waiting for company, and a busy one
//! waits for its disk once for all who have come by then.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Committed;
use super::row::Draft;
use crate::error::Fault;
use crate::ledger::Command;

/// What one caller commits, and its encoding.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) draft: Draft,
    pub(super) commands: Vec<Command>,
}

type Receipts = Result<Vec<Committed>, Fault>;

/// Who waits for the disk.
#[derive(Default)]
pub(super) struct Line(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    batches: VecDeque<(Batch, Arc<Place>)>,
    /// Whether somebody writes, or has been told to.
    led: bool,
}

/// Where one caller waits.
#[derive(Default)]
struct Place {
    news: Mutex<Option<News>>,
    told: Condvar,
}

enum News {
    /// The batch is first in line: its caller writes.
    Write,
    /// Another caller has written it.
    Written(Receipts),
}

impl Line {
    /// Has a batch written: by `write` with all that makes one row, in order of arrival, or by another caller's. `write`
    /// must not panic.
    pub(super) fn commit(&self, batch: Batch, write: impl FnOnce(Batch) -> Receipts) -> Receipts {
        let place = Arc::new(Place::default());
        let leads = {
            let mut waiting = self.waiting();
            waiting.batches.push_back((batch, Arc::clone(&place)));
            !std::mem::replace(&mut waiting.led, true)
        };
        if !leads && let News::Written(receipts) = place.wait() {
            return receipts;
        }
        let Group { batch, counts, places } = self.gather();
        let written = write(batch);
        {
            let mut waiting = self.waiting();
            match waiting.batches.front() {
                Some((_, next)) => next.tell(News::Write),
                None => waiting.led = false,
            }
        }
        let mut receipts = written.map(Vec::into_iter);
        let mut parts = counts.into_iter().map(|count| match &mut receipts {
            Ok(receipts) => Ok(receipts.by_ref().take(count).collect()),
            Err(fault) => Err(fault.clone()),
        });
        // The first is the leader's own.
        let own = parts.next().unwrap_or(Err(Fault::Latched));
        for (place, part) in places.iter().skip(1).zip(parts) {
            place.tell(News::Written(part));
        }
        own
    }

    /// What makes one row, from the front of the line.
    fn gather(&self) -> Group {
        let mut waiting = self.waiting();
        let mut group = Group { batch: Batch::default(), counts: Vec::new(), places: Vec::new() };
        while let Some((batch, place)) = waiting.batches.pop_front() {
            if !group.counts.is_empty() && !group.batch.draft.has_room_for(&batch.draft) {
                waiting.batches.push_front((batch, place));
                break;
            }
            group.counts.push(batch.commands.len());
            group.places.push(place);
            group.batch.add(batch);
        }
        group
    }

    /// Whole values only are put into it, so a panic elsewhere leaves it sound.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Batches that become one row: all of them as one, how many commands each has, and who waits for each.
struct Group {
    batch: Batch,
    counts: Vec<usize>,
    places: Vec<Arc<Place>>,
}

impl Batch {
    fn add(&mut self, batch: Batch) {
        if self.commands.is_empty() {
            self.commands = batch.commands;
        } else {
            self.commands.extend(batch.commands);
        }
        self.draft.add(batch.draft);
    }
}

impl Place {
    fn tell(&self, news: News) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        self.told.notify_one();
    }

    fn wait(&self) -> News {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match news.take() {
                Some(news) => return news,
                None => news = self.told.wait(news).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::journal::applied::apply;
    use crate::journal::tests::{Map, charge};
    use crate::ledger::{Policy, State, Verdict};
    use crate::limits::BATCH_MAX;

    fn batch(time_s: u64, commands: Vec<Command>) -> Batch {
        Batch { draft: Draft::batch(time_s, &commands).unwrap(), commands }
    }

    /// Many callers, each with commands of its own: everyone gets the receipts of those and of no others, whoever wrote
    /// them, and a write takes what has come by then.
    #[test]
    fn everyone_gets_the_receipts_of_their_own_commands() {
        let (line, writes) = (Line::default(), AtomicUsize::new(0));
        let state = Mutex::new(State::new(Policy { attempts_max: 64, lifetime_max: 4096, ..Policy::development() }));
        let write = |batch: Batch| {
            let index = 1 + writes.fetch_add(1, Ordering::Relaxed) as u64;
            // Where nobody waits for anything, nobody comes meanwhile.
            thread::sleep(Duration::from_millis(2));
            Ok(apply(&mut state.lock().unwrap(), &mut Map::default(), index, 1, batch.commands))
        };
        thread::scope(|scope| {
            for person in 0..8u8 {
                let (line, write) = (&line, &write);
                scope.spawn(move || {
                    for round in 0..16u8 {
                        let commands = vec![charge(person, 2 * round), charge(person, 2 * round + 1)];
                        let receipts = line.commit(batch(1, commands.clone()), write).unwrap();
                        let answered: Vec<_> = receipts.iter().map(|it| it.command().clone()).collect();
                        assert_eq!(answered, commands);
                        let ordinal = u32::from(2 * round) + 1;
                        assert!(
                            matches!(receipts[0].verdict(), Verdict::Charged { ordinal: it, .. } if *it == ordinal)
                        );
                    }
                });
            }
        });
        let writes = writes.load(Ordering::Relaxed);
        assert!(writes < 8 * 16, "{writes} writes of {} batches: none was shared", 8 * 16);
    }

    #[test]
    fn a_failure_is_told_to_all_who_shared_it_and_the_line_goes_on() {
        let (line, writes) = (Line::default(), AtomicUsize::new(0));
        let fails = |batch: Batch| {
            writes.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
            Err(Fault::Storage(format!("{} commands", batch.commands.len())))
        };
        thread::scope(|scope| {
            for person in 0..8u8 {
                let (line, fails) = (&line, &fails);
                scope.spawn(move || {
                    for round in 0..8 {
                        let told = line.commit(batch(1, vec![charge(person, round)]), fails);
                        assert!(matches!(told, Err(Fault::Storage(_))));
                    }
                });
            }
        });
        assert!(writes.load(Ordering::Relaxed) > 1);
        assert!(!line.waiting().led && line.waiting().batches.is_empty());
    }

    #[test]
    fn a_row_takes_no_more_than_it_holds() {
        let line = Line::default();
        for commands in [BATCH_MAX - 1, 1, 1] {
            let batch = batch(1, vec![charge(1, 1); commands]);
            line.waiting().batches.push_back((batch, Arc::default()));
        }
        assert_eq!(line.gather().counts, [BATCH_MAX - 1, 1]);
        assert_eq!(line.gather().counts, [1]);
    }
}
