//! The queue: who waits, who goes together, and that everyone is answered once.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::NOW_S;
use super::person::Person;
use crate::error::{Fault, Refusal};
use crate::ledger::Policy;
use crate::protocol::{REQUEST_LEN, Reply, Request};
use crate::vault::{Answer, Clock, Gathering, ManualClock, Queue, Vault};

const HOUR_US: u64 = 3_600_000_000;

/// A clock that a batch waits at: every batch asks for the time.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    /// Batches that stand at the gate.
    standing: usize,
    /// Whether the next to ask is answered with a panic.
    breaks: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn open(&self) {
        self.change(|state| state.shut = false);
    }

    fn wait_for(&self, standing: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.standing < standing).unwrap());
    }
}

impl Clock for Gate {
    fn now_s(&self) -> Result<u64, Fault> {
        let mut state = self.state.lock().unwrap();
        if std::mem::take(&mut state.breaks) {
            drop(state);
            panic!("the clock breaks, as the test wants");
        }
        state.standing += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.shut).unwrap();
        state.standing -= 1;
        Ok(NOW_S)
    }
}

/// A queue of one thread before a vault whose batches stop at a gate, which is open.
fn gated(gathering: Gathering) -> (Queue, Arc<Vault>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let vault = Arc::new(Vault::in_memory(Policy::development(), gate.clone()).unwrap());
    (Queue::open(vault.clone(), gathering).unwrap(), vault, gate)
}

/// One batch at a time, which is never due.
fn patient(waiting_max: usize, full: usize) -> Gathering {
    Gathering { waiting_max, account_max: waiting_max, full, deadline_us: HOUR_US, batches: 1 }
}

fn submit(queue: &Queue, person: Person, request: &Request<'_>) -> Answer {
    queue.submit(person.0, request.encode(&person.0).unwrap())
}

fn start(queue: &Queue, person: Person) -> Answer {
    submit(queue, person, &Request::RecoverStart { ke1: &person.ke1("wrong").1 })
}

fn is_busy(answer: Answer) -> bool {
    answer.wait() == Ok(Reply::Refused(Refusal::Busy))
}

/// What the answer has come to so far.
fn peek(answer: &mut Answer) -> Poll<Result<Reply, Fault>> {
    std::pin::Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()))
}

/// Wakes a thread, and counts how often it was asked to.
struct Unpark(thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// The smallest of runtimes.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current(), AtomicUsize::new(0))));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn people_on_many_threads_and_tasks_are_all_answered() {
    let vault = Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(NOW_S))).unwrap();
    let vault = Arc::new(vault);
    let queue = Queue::open(vault.clone(), Gathering { batches: 3, ..Gathering::default() }).unwrap();
    let people: Vec<_> = (0..16).map(|number| Person::new(&number.to_string())).collect();
    people.iter().for_each(|person| assert_eq!(person.enrol(&vault, "code", person.0.as_bytes()), 1));
    thread::scope(|scope| {
        for (number, person) in people.iter().enumerate() {
            let queue = &queue;
            scope.spawn(move || {
                let recover = async {
                    for left in (7..10).rev() {
                        match start(queue, *person).await {
                            Ok(Reply::RecoverStarted { remaining, .. }) => assert_eq!(remaining, left),
                            other => panic!("not what was asked: {other:?}"),
                        }
                    }
                };
                match number % 2 {
                    0 => block_on(recover),
                    _ => (7..10).for_each(|_| assert!(start(queue, *person).wait().is_ok())),
                }
            });
        }
    });
    people.iter().for_each(|person| assert_eq!(person.remaining(&vault), 7));
    assert_eq!(people[0].recover(&vault, "code").unwrap(), people[0].0.as_bytes());
}

/// Has a batch stand at the gate, which is shut: what is submitted from now on waits for company.
fn occupied(queue: &Queue, gate: &Gate) -> Answer {
    gate.change(|state| state.shut = true);
    let answer = submit(queue, Person::new("first"), &Request::Remaining);
    gate.wait_for(1);
    answer
}

#[test]
fn a_quiet_queue_keeps_nobody_waiting() {
    let (queue, _, _) = gated(patient(8, 4));
    for name in ["ada", "bob"] {
        let answer = submit(&queue, Person::new(name), &Request::Remaining);
        assert_eq!(answer.wait(), Ok(Reply::Remaining { attempts: 10 }), "neither full nor due");
    }
}

#[test]
fn a_batch_goes_when_it_is_full() {
    let (queue, _, gate) = gated(Gathering { batches: 2, ..patient(8, 4) });
    let first = occupied(&queue, &gate);
    let person = Person::new("ada");
    let mut answers: Vec<_> = (0..3).map(|_| submit(&queue, person, &Request::Remaining)).collect();
    // Long enough that a batch would have gone; that none has is what is held.
    thread::sleep(Duration::from_millis(20));
    assert!(answers.iter_mut().all(|answer| peek(answer).is_pending()));
    assert_eq!(queue.waiting(), 3);
    answers.push(submit(&queue, person, &Request::Remaining));
    gate.wait_for(2);
    gate.open();
    answers.push(first);
    for answer in answers {
        assert_eq!(answer.wait(), Ok(Reply::Remaining { attempts: 10 }));
    }
}

#[test]
fn a_batch_goes_when_it_is_due() {
    let (queue, _, gate) = gated(Gathering { deadline_us: 1000, batches: 2, ..patient(8, 4) });
    let first = occupied(&queue, &gate);
    let answer = submit(&queue, Person::new("ada"), &Request::Remaining);
    gate.wait_for(2);
    gate.open();
    assert!([first, answer].into_iter().all(|it| it.wait() == Ok(Reply::Remaining { attempts: 10 })));
}

#[test]
fn q2_more_than_may_wait_are_turned_away_at_once() {
    let (queue, vault, gate) = gated(Gathering { deadline_us: 0, ..patient(4, 4) });
    gate.change(|state| state.shut = true);
    let first = start(&queue, Person::new("first"));
    gate.wait_for(1);
    let mut answers: Vec<_> = (0..4).map(|number| start(&queue, Person::new(&number.to_string()))).collect();
    let mut too_many = start(&queue, Person::new("late"));
    assert_eq!(peek(&mut too_many), Poll::Ready(Ok(Reply::Refused(Refusal::Busy))), "at once, behind a shut gate");
    assert!(answers.iter_mut().all(|answer| peek(answer).is_pending()));
    gate.open();
    answers.push(first);
    assert!(answers.into_iter().all(|answer| matches!(answer.wait(), Ok(Reply::RecoverStarted { .. }))));
    assert_eq!(Person::new("late").remaining(&vault), 10, "who was turned away was not charged");
}

#[test]
fn q2_a_flood_for_one_account_leaves_room_for_others() {
    let (queue, vault, gate) = gated(Gathering { account_max: 2, deadline_us: 0, ..patient(8, 8) });
    let [ada, bob] = ["ada", "bob"].map(Person::new);
    gate.change(|state| state.shut = true);
    let mut waiting = vec![start(&queue, bob)];
    gate.wait_for(1);
    for _ in 0..2 {
        waiting.extend([(); 2].map(|()| start(&queue, ada)));
        let mut too_many = start(&queue, ada);
        assert_eq!(peek(&mut too_many), Poll::Ready(Ok(Reply::Refused(Refusal::Busy))), "at once, behind a shut gate");
        waiting.push(start(&queue, bob));
        gate.open();
        // Those who have been taken out of the line make room for others of the account.
        assert!(waiting.drain(..).all(|answer| matches!(answer.wait(), Ok(Reply::RecoverStarted { .. }))));
        gate.change(|state| state.shut = true);
        waiting.push(start(&queue, bob));
        gate.wait_for(1);
    }
    gate.open();
    assert!(waiting.into_iter().all(|answer| answer.wait().is_ok()));
    assert_eq!(ada.remaining(&vault), 6, "who was turned away was not charged");
}

#[test]
fn q3_requests_for_one_account_keep_their_order() {
    let (queue, vault, _) = gated(patient(16, 12));
    let ada = Person::new("ada");
    let answers: Vec<_> = (0..12).map(|_| start(&queue, ada)).collect();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer.wait().unwrap() {
            Reply::RecoverStarted { .. } => assert!(number < 10),
            Reply::Refused(Refusal::Exhausted) => assert!(number >= 10),
            other => panic!("not what was asked: {other:?}"),
        }
    }
    assert_eq!(ada.remaining(&vault), 0);
}

#[test]
fn q4_closing_answers_what_is_charged_and_turns_away_the_rest() {
    let (queue, vault, gate) = gated(Gathering { deadline_us: 0, ..patient(4, 1) });
    gate.change(|state| state.shut = true);
    let [charged, waits, late] = ["charged", "waits", "late"].map(Person::new);
    let (charged_answer, mut waiting_answer) = (start(&queue, charged), None);
    gate.wait_for(1);
    waiting_answer.replace(start(&queue, waits));
    thread::scope(|scope| {
        scope.spawn(|| queue.close());
        assert!(waiting_answer.is_some_and(is_busy), "behind a shut gate");
        assert!(is_busy(start(&queue, late)));
        gate.open();
    });
    assert!(matches!(charged_answer.wait(), Ok(Reply::RecoverStarted { .. })));
    assert_eq!([charged, waits, late].map(|person| person.remaining(&vault)), [9, 10, 10]);
}

#[test]
fn a_dropped_answer_withdraws_its_request() {
    let (queue, vault, gate) = gated(patient(8, 3));
    let [ada, bob] = ["ada", "bob"].map(Person::new);
    let first = occupied(&queue, &gate);
    drop(start(&queue, ada));
    let answers = [start(&queue, bob), start(&queue, bob)];
    gate.open();
    assert!(answers.into_iter().all(|answer| matches!(answer.wait(), Ok(Reply::RecoverStarted { .. }))));
    assert!(first.wait().is_ok());
    assert_eq!([ada, bob].map(|person| person.remaining(&vault)), [10, 8]);
    // All of a batch may be withdrawn: when its turn comes, nothing is left of it.
    let first = occupied(&queue, &gate);
    (0..3).for_each(|_| drop(start(&queue, ada)));
    gate.open();
    assert!(first.wait().is_ok());
    while queue.waiting() > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(start(&queue, bob).wait().is_ok());
    assert_eq!([ada, bob].map(|person| person.remaining(&vault)), [10, 7]);
}

#[test]
fn q1_a_batch_that_panics_is_answered_and_harms_no_other() {
    let (queue, vault, gate) = gated(Gathering { deadline_us: 0, ..patient(4, 1) });
    let ada = Person::new("ada");
    gate.change(|state| state.breaks = true);
    assert!(is_busy(start(&queue, ada)));
    assert_eq!(ada.remaining(&vault), 10);
    assert!(matches!(start(&queue, ada).wait(), Ok(Reply::RecoverStarted { .. })));
}

#[test]
fn a_fault_reaches_whoever_waits() {
    struct Stopped;
    impl Clock for Stopped {
        fn now_s(&self) -> Result<u64, Fault> {
            Err(Fault::Clock("it stands".to_owned()))
        }
    }
    let vault = Vault::in_memory(Policy::development(), Arc::new(Stopped)).unwrap();
    let queue = Queue::open(Arc::new(vault), Gathering::default()).unwrap();
    assert_eq!(start(&queue, Person::new("ada")).wait(), Err(Fault::Clock("it stands".to_owned())));
}

#[test]
fn the_last_task_to_poll_is_woken() {
    let (queue, _, gate) = gated(patient(4, 2));
    gate.change(|state| state.shut = true);
    let wakers = [(); 2].map(|()| Arc::new(Unpark(thread::current(), AtomicUsize::new(0))));
    let mut answer = start(&queue, Person::new("ada"));
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        assert!(std::pin::Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    gate.open();
    while wakers[1].1.load(Ordering::SeqCst) == 0 {
        thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(wakers[0].1.load(Ordering::SeqCst), 0, "a task that the future has left");
    assert!(peek(&mut answer).is_ready());
}

#[test]
fn what_is_no_request_is_refused_without_waiting() {
    let (queue, _, _) = gated(patient(4, 4));
    let ada = Person::new("ada");
    for length in [0, 1, REQUEST_LEN - 1, REQUEST_LEN + 1, 1 << 20] {
        let mut answer = queue.submit(ada.0, vec![1; length]);
        assert_eq!(peek(&mut answer), Poll::Ready(Ok(Reply::Refused(Refusal::Malformed))));
    }
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_queue_without_room_is_not_opened() {
    let vault = Arc::new(Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(NOW_S))).unwrap());
    let rooms = [(0, 1, 0, 1), (4, 1, 0, 1), (4, 1, 5, 1), (4, 1, 4, 0), (9000, 1, 5000, 1), (4, 0, 4, 1)];
    for (waiting_max, account_max, full, batches) in rooms {
        let gathering = Gathering { waiting_max, account_max, full, batches, deadline_us: 1 };
        assert!(matches!(Queue::open(vault.clone(), gathering), Err(Fault::Limit(_))), "{gathering:?}");
    }
}

#[test]
fn a_flood_from_many_threads_is_answered_or_turned_away() {
    let vault = Arc::new(Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(NOW_S))).unwrap());
    let queue = Queue::open(vault, Gathering { deadline_us: 50, batches: 2, ..patient(8, 8) }).unwrap();
    let (begin, told) = (Barrier::new(4), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                begin.wait();
                let answers: Vec<_> =
                    (0..500).map(|_| submit(&queue, Person::new("ada"), &Request::Remaining)).collect();
                for answer in answers {
                    let reply = answer.wait().unwrap();
                    assert!(matches!(reply, Reply::Remaining { .. } | Reply::Refused(Refusal::Busy)), "{reply:?}");
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(told.load(Ordering::SeqCst), 2000);
}
