//! [`Queue`]: requests come one by one and are answered in batches, so that lanes fill and commits are shared.
//!
//! While batches are under way a request waits until the next is full or the first of it has waited for
//! [`Gathering::deadline_us`], whichever is sooner; then everything that waits goes together. So a batch grows with the
//! load, and a quiet vault keeps nobody waiting for company. Several batches are under way at once: while one waits for the
//! disk, another has the lanes.
//!
//! | id | invariant |
//! |---|---|
//! | Q1 | every request is answered once: by the vault, or by [`Refusal::Busy`] |
//! | Q2 | no more than [`Gathering::waiting_max`] requests wait, whoever sends them, and of one account no more than [`Gathering::account_max`] |
//! | Q3 | requests for one account that wait together take effect in the order in which they came |
//! | Q4 | what a batch has charged is answered, also when the queue closes |

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Admitted, Vault};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::limits::{CHUNK, REQUESTS_MAX};
use crate::protocol::{REQUEST_LEN, Reply};

/// What a request comes to.
type Outcome = Result<Reply, Fault>;

/// How requests gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// Requests that may wait. Each takes about a kilobyte; one more is told [`Refusal::Busy`].
    pub waiting_max: usize,
    /// Requests of one account that may wait: who floods the vault with requests for one account crowds out that account
    /// alone.
    pub account_max: usize,
    /// Requests that make a batch full: it waits for no more.
    pub full: usize,
    /// How long the first of a batch waits for others while batches are under way, in microseconds.
    pub deadline_us: u64,
    /// Batches under way at once, each on a thread of its own.
    pub batches: usize,
}

impl Default for Gathering {
    /// 8,192 waiting, 16 of one account, batches of a chunk or more, 200 us, and a batch more than there are cores.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Gathering { waiting_max: 8192, account_max: 16, full: CHUNK, deadline_us: 200, batches: cores + 1 }
    }
}

/// Takes requests one by one, from any thread or runtime, and has a vault answer them in batches.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::ledger::Policy;
/// use strongroom::protocol::{Reply, Request};
/// use strongroom::vault::{Gathering, ManualClock, Queue, Vault};
/// use std::sync::Arc;
///
/// let vault = Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(1_800_000_000)))?;
/// let queue = Queue::open(Arc::new(vault), Gathering::default())?;
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let request = Request::Remaining.encode(&account)?;
/// // A future on any runtime: `queue.submit(account, request).await`. On a thread:
/// assert_eq!(queue.submit(account, request).wait(), Ok(Reply::Remaining { attempts: 10 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    vault: Arc<Vault>,
    gathering: Gathering,
    line: Mutex<Line>,
    /// Told when the line has a first request, when it makes a full batch, and when it closes.
    changed: Condvar,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// How many of each account wait; of those that none wait of there is nothing.
    of_account: HashMap<AccountId, usize>,
    /// Batches that have left the line and are not answered.
    under_way: usize,
    closed: bool,
}

impl Line {
    fn has_room_for(&self, account: &AccountId, gathering: &Gathering) -> bool {
        let theirs = self.of_account.get(account).copied().unwrap_or(0);
        !self.closed && self.waiting.len() < gathering.waiting_max && theirs < gathering.account_max
    }

    fn push(&mut self, waiting: Waiting) {
        *self.of_account.entry(waiting.account).or_default() += 1;
        self.waiting.push_back(waiting);
    }

    /// Takes the first so many out of the line.
    fn take(&mut self, count: usize) -> Vec<Waiting> {
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        for Waiting { account, .. } in &taken {
            if let Some(theirs) = self.of_account.get_mut(account) {
                *theirs -= 1;
                if *theirs == 0 {
                    self.of_account.remove(account);
                }
            }
        }
        taken
    }
}

/// A request in line.
struct Waiting {
    account: AccountId,
    request: Vec<u8>,
    since: Instant,
    promise: Promise,
}

impl Queue {
    /// Starts the threads that have `vault` answer.
    ///
    /// # Errors
    /// [`Fault::Limit`] if the gathering has no room, for anybody or for an account, no batch, or a full batch larger than
    /// what waits or than `limits::REQUESTS_MAX`, or if the operating system gives no threads.
    pub fn open(vault: Arc<Vault>, gathering: Gathering) -> Result<Self, Fault> {
        let Gathering { waiting_max, account_max, full, batches, .. } = gathering;
        if batches == 0 || full == 0 || full > waiting_max || full > REQUESTS_MAX || account_max == 0 {
            return Err(Fault::Limit(format!(
                "a queue for {waiting_max} requests, {account_max} of an account, cannot make {batches} batches of {full}"
            )));
        }
        let line = Mutex::new(Line::default());
        let shared = Arc::new(Shared { vault, gathering, line, changed: Condvar::new() });
        let queue = Queue { shared, threads: Mutex::default() };
        for number in 0..batches {
            let shared = Arc::clone(&queue.shared);
            let thread = thread::Builder::new().name(format!("strongroom-{number}"));
            let thread = thread.spawn(move || while shared.answer_batch() {});
            // On failure the drop of the queue ends the threads that were started.
            let thread = thread.map_err(|error| Fault::Limit(format!("no thread for a batch: {error}")))?;
            queue.threads().push(thread);
        }
        Ok(queue)
    }

    /// Puts a request in line, as the front-end admitted it for `account`. Never blocks: where the line is full, for all or
    /// for this account, or closed, or where the bytes cannot be a request, the answer is there at once.
    ///
    /// A request whose answer is dropped is left out of the next batch; one that is in a batch is answered to nobody.
    pub fn submit(&self, account: AccountId, request: Vec<u8>) -> Answer {
        let (promise, answer) = promise();
        let refusal = if request.len() == REQUEST_LEN {
            let since = Instant::now();
            self.shared.line_up(Waiting { account, request, since, promise })
        } else {
            Some((promise, Refusal::Malformed))
        };
        if let Some((promise, refusal)) = refusal {
            promise.keep(Ok(Reply::Refused(refusal)));
        }
        answer
    }

    /// Requests that wait at the moment.
    pub fn waiting(&self) -> usize {
        self.shared.line().waiting.len()
    }

    /// Closes the queue: batches under way are answered, requests that wait are told [`Refusal::Busy`], and so is
    /// every later one. Returns when all is done. Dropping the queue does the same.
    pub fn close(&self) {
        let turned_away = {
            let mut line = self.shared.line();
            line.closed = true;
            let all = line.waiting.len();
            line.take(all)
        };
        self.shared.changed.notify_all();
        // A promise that is dropped is kept with `Busy`.
        drop(turned_away);
        for thread in std::mem::take(&mut *self.threads()) {
            // It ends by itself; what a batch panics with is caught.
            thread.join().ok();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Takes in a request, or gives it back with the reason.
    fn line_up(&self, waiting: Waiting) -> Option<(Promise, Refusal)> {
        let mut line = self.line();
        if !line.has_room_for(&waiting.account, &self.gathering) {
            metrics::counter!("strongroom_turned_away_total").increment(1);
            return Some((waiting.promise, Refusal::Busy));
        }
        line.push(waiting);
        let length = line.waiting.len();
        drop(line);
        if length == 1 || length == self.gathering.full {
            self.changed.notify_one();
        }
        None
    }

    /// Waits for a batch and answers it; `false` when the line is closed.
    fn answer_batch(&self) -> bool {
        let Some(batch) = self.next_batch() else { return false };
        let requests: Vec<_> = batch.iter().map(|it| Admitted { account: it.account, request: &it.request }).collect();
        // A panic is a bug and ends its batch, whose promises are kept as they are dropped, but not this thread.
        match catch_unwind(AssertUnwindSafe(|| self.vault.process(&requests))) {
            Ok(answers) => {
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    waiting.promise.keep(answer);
                }
            }
            Err(_) => tracing::error!(requests = batch.len(), "a batch panicked; its requests are told to come again"),
        }
        self.line().under_way -= 1;
        true
    }

    /// The next batch, once it is full or due; `None` when the line is closed.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let deadline = Duration::from_micros(self.gathering.deadline_us);
        let mut line = self.line();
        loop {
            if line.closed {
                return None;
            }
            let Some(first) = line.waiting.front() else {
                line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = first.since.elapsed();
            if line.under_way == 0 || line.waiting.len() >= self.gathering.full || waited >= deadline {
                let count = line.waiting.len().min(REQUESTS_MAX);
                let mut batch = line.take(count);
                batch.retain(|it| it.promise.is_wanted());
                if !line.waiting.is_empty() {
                    self.changed.notify_one();
                }
                let left = line.waiting.len();
                if batch.is_empty() {
                    continue;
                }
                line.under_way += 1;
                drop(line);
                metrics::gauge!("strongroom_requests_waiting").set(left as f64);
                metrics::histogram!("strongroom_batch_requests").record(batch.len() as f64);
                return Some(batch);
            }
            let timed = self.changed.wait_timeout(line, deadline - waited);
            line = timed.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whole values only are put into the line, so a panic elsewhere leaves it sound.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---- answers

/// A reply that is on its way: a future for any runtime, or [`Answer::wait`] for plain threads.
///
/// What it gives is what [`Vault::process`] would: a reply, which may be a refusal, or a fault, which is the operator's
/// to hear and the peer's to be told as [`Refusal::Busy`].
#[must_use = "dropping an answer withdraws its request"]
pub struct Answer(Arc<Exchange>);

/// The vault's end of an [`Answer`]. Kept once: dropping it keeps it with [`Refusal::Busy`].
struct Promise(Option<Arc<Exchange>>);

struct Exchange {
    place: Mutex<Place>,
    kept: Condvar,
    /// Whether somebody still wants it.
    wanted: AtomicBool,
}

/// Where the answer is left.
#[derive(Default)]
struct Place {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

fn promise() -> (Promise, Answer) {
    let exchange = Arc::new(Exchange { place: Mutex::default(), kept: Condvar::new(), wanted: AtomicBool::new(true) });
    (Promise(Some(Arc::clone(&exchange))), Answer(exchange))
}

impl Exchange {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, outcome: Outcome) {
        let waker = {
            let mut place = self.place();
            place.outcome = Some(outcome);
            place.waker.take()
        };
        self.kept.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Promise {
    fn keep(mut self, outcome: Outcome) {
        if let Some(exchange) = self.0.take() {
            exchange.leave(outcome);
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|exchange| exchange.wanted.load(Ordering::Relaxed))
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.leave(Ok(Reply::Refused(Refusal::Busy)));
        }
    }
}

impl Answer {
    /// Blocks this thread until the answer is there. Not for a thread that drives a runtime.
    ///
    /// # Errors
    /// The vault's fault.
    pub fn wait(self) -> Result<Reply, Fault> {
        let mut place = self.0.place();
        loop {
            match place.outcome.take() {
                Some(outcome) => return outcome,
                None => place = self.0.kept.wait(place).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Future for Answer {
    type Output = Result<Reply, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut place = self.0.place();
        match place.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                // A future may move to another task between polls.
                place.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.wanted.store(false, Ordering::Relaxed);
    }
}
