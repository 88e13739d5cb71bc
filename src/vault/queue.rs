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

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[cfg(feature = "channel")]
use super::channel::{SealedOutcome, seal};
use super::{Admitted, Vault};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::limits::{CHUNK, REQUESTS_MAX};
use crate::protocol::{REQUEST_LEN, Reply};
use crate::secret::Secret;
#[cfg(feature = "channel")]
use crate::session::{ChannelProblem, Opened, ReplyKey, SEALED_REQUEST_LEN};

/// What a request comes to.
type Outcome = Result<Reply, Fault>;

/// How requests gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// Requests that may wait. Each takes about a kilobyte, a sealed one two; one more is told [`Refusal::Busy`].
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
    /// 8,192 waiting, 16 of one account, batches of a chunk or more, 50 us, and a batch more than there are cores.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Gathering { waiting_max: 8192, account_max: 16, full: CHUNK, deadline_us: 50, batches: cores + 1 }
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
    /// Puts a request in line, or gives it back if there is no room, for anybody or for its account.
    fn push(&mut self, waiting: Waiting, gathering: &Gathering) -> Result<(), Waiting> {
        if self.closed || self.waiting.len() >= gathering.waiting_max {
            return Err(waiting);
        }
        let theirs = self.of_account.entry(waiting.account).or_default();
        if *theirs >= gathering.account_max {
            return Err(waiting);
        }
        *theirs += 1;
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Takes the first so many out of the line.
    fn take(&mut self, count: usize) -> Vec<Waiting> {
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        for Waiting { account, .. } in &taken {
            if let Entry::Occupied(mut theirs) = self.of_account.entry(*account) {
                match theirs.get_mut() {
                    ..=1 => drop(theirs.remove()),
                    more => *more -= 1,
                }
            }
        }
        taken
    }
}

/// A request in line.
struct Waiting {
    account: AccountId,
    since: Instant,
    asked: Asked,
}

/// A request's bytes, and whom its answer was promised.
enum Asked {
    Plain(Secret<Vec<u8>>, Promise<Outcome>),
    #[cfg(feature = "channel")]
    Sealed(Vec<u8>, Promise<SealedOutcome>),
}

/// A request in clear, and whom its answer was promised.
struct Ready {
    account: AccountId,
    request: Secret<Vec<u8>>,
    promised: Promised,
}

enum Promised {
    Plain(Promise<Outcome>),
    #[cfg(feature = "channel")]
    Sealed(ReplyKey, Promise<SealedOutcome>),
}

impl Promised {
    fn keep(self, outcome: Outcome) {
        match self {
            Promised::Plain(promise) => promise.keep(outcome),
            #[cfg(feature = "channel")]
            Promised::Sealed(reply_key, promise) => promise.keep(seal(&reply_key, outcome)),
        }
    }
}

impl Asked {
    fn is_wanted(&self) -> bool {
        match self {
            Asked::Plain(_, promise) => promise.is_wanted(),
            #[cfg(feature = "channel")]
            Asked::Sealed(_, promise) => promise.is_wanted(),
        }
    }

    fn refuse(self, refusal: Refusal) {
        match self {
            Asked::Plain(_, promise) => promise.keep(Ok(Reply::Refused(refusal))),
            // What is refused before it is opened is told in clear.
            #[cfg(feature = "channel")]
            Asked::Sealed(_, promise) => promise.keep(Err(match refusal {
                Refusal::Malformed => ChannelProblem::Malformed,
                _ => ChannelProblem::Busy,
            })),
        }
    }
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
            let thread =
                thread.map_err(|error| Fault::Limit(format!("the operating system gives no thread: {error}")))?;
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
        let whole = request.len() == REQUEST_LEN;
        self.shared.submit(account, whole, Asked::Plain(Secret::new(request), promise));
        answer
    }

    /// [`Queue::submit`] for a request that is sealed to the vault's channel key. Those of a batch are opened together; what
    /// the answer gives is the reply's bytes, sealed to who asked, or [`ChannelProblem`].
    #[cfg(feature = "channel")]
    pub fn submit_sealed(&self, account: AccountId, request: Vec<u8>) -> Answer<SealedOutcome> {
        let (promise, answer) = promise();
        let whole = request.len() == SEALED_REQUEST_LEN;
        self.shared.submit(account, whole, Asked::Sealed(request, promise));
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
        // Whoever closes it meanwhile waits for the same.
        let mut threads = self.threads();
        for thread in threads.drain(..) {
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
    /// Takes in a request, or refuses it.
    fn submit(&self, account: AccountId, whole: bool, asked: Asked) {
        let refused = match whole {
            true => self.line_up(Waiting { account, since: Instant::now(), asked }),
            false => Some((asked, Refusal::Malformed)),
        };
        if let Some((asked, refusal)) = refused {
            asked.refuse(refusal);
        }
    }

    /// Puts a request in line, or gives it back with the reason.
    fn line_up(&self, waiting: Waiting) -> Option<(Asked, Refusal)> {
        let mut line = self.line();
        let pushed = line.push(waiting, &self.gathering);
        let length = line.waiting.len();
        drop(line);
        if let Err(waiting) = pushed {
            metrics::counter!("strongroom_turned_away_total").increment(1);
            return Some((waiting.asked, Refusal::Busy));
        }
        if length == 1 || length == self.gathering.full {
            self.changed.notify_one();
        }
        None
    }

    /// Waits for a batch and answers it; `false` when the line is closed.
    fn answer_batch(&self) -> bool {
        let Some(batch) = self.next_batch() else { return false };
        let count = batch.len();
        // A panic is a bug and ends its batch, whose promises are kept as they are dropped, but not this thread.
        if catch_unwind(AssertUnwindSafe(|| self.answer(batch))).is_err() {
            tracing::error!(requests = count, "a batch panicked; its requests are told to come again");
        }
        self.line().under_way -= 1;
        true
    }

    fn answer(&self, batch: Vec<Waiting>) {
        let batch = self.opened(batch);
        let requests: Vec<_> =
            batch.iter().map(|it| Admitted { account: it.account, request: it.request.expose() }).collect();
        let answers = self.vault.process(&requests);
        for (ready, answer) in batch.into_iter().zip(answers) {
            ready.promised.keep(answer);
        }
    }

    /// The batch in clear. Who sent what does not open is told so, and left out.
    fn opened(&self, batch: Vec<Waiting>) -> Vec<Ready> {
        #[cfg(feature = "channel")]
        let mut opened = {
            let sealed = batch.iter().filter_map(|it| match &it.asked {
                Asked::Plain(..) => None,
                Asked::Sealed(request, _) => Some(&request[..]),
            });
            self.vault.open_or_busy(&sealed.collect::<Vec<_>>()).into_iter()
        };
        let ready = |Waiting { account, asked, .. }: Waiting| match asked {
            Asked::Plain(request, promise) => Some(Ready { account, request, promised: Promised::Plain(promise) }),
            #[cfg(feature = "channel")]
            Asked::Sealed(_, promise) => match opened.next() {
                Some(Ok(Opened { request, reply_key })) => {
                    Some(Ready { account, request, promised: Promised::Sealed(reply_key, promise) })
                }
                Some(Err(problem)) => {
                    promise.keep(Err(problem));
                    None
                }
                None => None,
            },
        };
        batch.into_iter().filter_map(ready).collect()
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
                batch.retain(|it| it.asked.is_wanted());
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
/// to hear and the peer's to be told as [`Refusal::Busy`]. To a sealed request it is the sealed reply's bytes.
#[must_use = "dropping an answer withdraws its request"]
pub struct Answer<T = Result<Reply, Fault>>(Arc<Exchange<T>>);

/// The vault's end of an [`Answer`]. Kept once: dropping it keeps it with "busy".
struct Promise<T: Busy>(Option<Arc<Exchange<T>>>);

/// An outcome that can be "come again later".
trait Busy {
    fn busy() -> Self;
}

impl Busy for Outcome {
    fn busy() -> Self {
        Ok(Reply::Refused(Refusal::Busy))
    }
}

#[cfg(feature = "channel")]
impl Busy for SealedOutcome {
    fn busy() -> Self {
        Err(ChannelProblem::Busy)
    }
}

struct Exchange<T> {
    place: Mutex<Place<T>>,
    kept: Condvar,
    /// Whether somebody still wants it.
    wanted: AtomicBool,
}

/// Where the answer is left.
struct Place<T> {
    outcome: Option<T>,
    waker: Option<Waker>,
    /// Whether a thread sleeps until it is there. Waking nobody costs a system call too.
    awaited: bool,
}

fn promise<T: Busy>() -> (Promise<T>, Answer<T>) {
    let place = Mutex::new(Place { outcome: None, waker: None, awaited: false });
    let exchange = Arc::new(Exchange { place, kept: Condvar::new(), wanted: AtomicBool::new(true) });
    (Promise(Some(Arc::clone(&exchange))), Answer(exchange))
}

impl<T> Exchange<T> {
    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, outcome: T) {
        let (waker, awaited) = {
            let mut place = self.place();
            place.outcome = Some(outcome);
            (place.waker.take(), place.awaited)
        };
        if awaited {
            self.kept.notify_one();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Busy> Promise<T> {
    fn keep(mut self, outcome: T) {
        if let Some(exchange) = self.0.take() {
            exchange.leave(outcome);
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|exchange| exchange.wanted.load(Ordering::Relaxed))
    }
}

impl<T: Busy> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.leave(T::busy());
        }
    }
}

impl<T> Answer<T> {
    /// Blocks this thread until the answer is there. Not for a thread that drives a runtime.
    ///
    /// # Errors
    /// The vault's fault, or what is the matter with the request's seal.
    pub fn wait(self) -> T {
        let mut place = self.0.place();
        loop {
            match place.outcome.take() {
                Some(outcome) => return outcome,
                None => {
                    place.awaited = true;
                    place = self.0.kept.wait(place).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
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

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.0.wanted.store(false, Ordering::Relaxed);
    }
}
