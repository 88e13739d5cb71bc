//! One account's counters as the design tells them, and whether a history of answers has an order that explains it.
//!
//! Two searches for that order, by others: stateright's tester and porcupine's. They must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

pub(crate) const ATTEMPTS_MAX: u32 = 10;
pub(crate) const LIFETIME_MAX: u32 = 50;
/// Unanswered calls of an account that stateright's tester is asked about.
const PENDING_MAX: usize = 2;

/// What somebody asks of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Charge { ke1: u32 },
    Clear { generation: u32, ordinal: u32 },
    Enrol { generation: u32, finish: u32 },
    Read,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Charged { generation: u32, ordinal: u32, live: bool, remaining: u32, again: bool },
    Cleared { again: bool },
    Enrolled { generation: u32, again: bool },
    Counters { spent: u32, generation: u32, remaining: u32 },
    Exhausted,
    Stale,
    LifetimeUsed,
}

/// An account, in the words of section 3 of the design.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Counters {
    spent: u32,
    cleared: u32,
    began: u32,
    owed: u32,
    generation: u32,
    /// The finish that made the record that lives.
    record: Option<u32>,
    /// KE1s of the open window, with their ordinals.
    window: Vec<(u32, u32)>,
}

impl Counters {
    fn open(&self) -> u32 {
        self.spent - self.cleared.max(self.began)
    }

    fn charged(&self, ordinal: u32, again: bool) -> Told {
        Told::Charged {
            generation: self.generation,
            ordinal,
            live: self.record.is_some(),
            remaining: ATTEMPTS_MAX - self.open(),
            again,
        }
    }

    fn answer(&mut self, ask: &Ask) -> Told {
        match *ask {
            Ask::Read => {
                Told::Counters { spent: self.spent, generation: self.generation, remaining: ATTEMPTS_MAX - self.open() }
            }
            Ask::Charge { ke1 } => {
                if let Some((_, ordinal)) = self.window.iter().find(|(it, _)| *it == ke1) {
                    return self.charged(*ordinal, true);
                }
                if self.open() >= ATTEMPTS_MAX {
                    return Told::Exhausted;
                }
                self.spent += 1;
                self.window.push((ke1, self.spent));
                self.charged(self.spent, false)
            }
            Ask::Clear { generation, ordinal } => {
                if self.record.is_none() || generation != self.generation || ordinal > self.spent {
                    return Told::Stale;
                }
                if ordinal <= self.cleared {
                    return Told::Cleared { again: true };
                }
                self.cleared = ordinal;
                self.window.retain(|(_, it)| *it > ordinal);
                Told::Cleared { again: false }
            }
            Ask::Enrol { generation, finish } => {
                if self.record == Some(finish) {
                    return Told::Enrolled { generation: self.generation, again: true };
                }
                if generation != self.generation {
                    return Told::Stale;
                }
                let owed = self.owed + if self.record.is_some() { self.open() } else { 0 };
                if owed + ATTEMPTS_MAX > LIFETIME_MAX {
                    return Told::LifetimeUsed;
                }
                *self = Counters {
                    owed,
                    generation: self.generation + 1,
                    began: self.spent,
                    record: Some(finish),
                    window: Vec::new(),
                    ..self.clone()
                };
                Told::Enrolled { generation: self.generation, again: false }
            }
        }
    }
}

impl SequentialSpec for Counters {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        self.answer(ask)
    }
}

/// The same for porcupine. What was never answered may have been answered in any way.
#[derive(Clone, Debug)]
struct OneAccount;

impl Model for OneAccount {
    type State = Counters;
    type Op = (Ask, Option<Told>);
    type Metadata = ();

    fn init() -> Counters {
        Counters::default()
    }

    fn step(state: &Counters, (ask, told): &(Ask, Option<Told>)) -> (bool, Counters) {
        let mut next = state.clone();
        let answer = next.answer(ask);
        (told.as_ref().is_none_or(|told| *told == answer), next)
    }
}

/// One call: when it was made, when answered, and how.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub account: u8,
    pub ask: Ask,
    pub asked_at: u64,
    pub told: Option<(u64, Told)>,
}

/// The accounts whose calls have no order that explains them, with those calls; and how many could not be decided.
pub(crate) fn unexplained(calls: &[Call]) -> (Vec<String>, usize) {
    let mut by_account: BTreeMap<u8, Vec<&Call>> = BTreeMap::new();
    // A reader who was told nothing has changed nothing.
    for call in calls.iter().filter(|call| call.ask != Ask::Read || call.told.is_some()) {
        by_account.entry(call.account).or_default().push(call);
    }
    let (mut found, mut undecided) = (Vec::new(), 0);
    for (account, calls) in by_account {
        let Some(explained) = by_porcupine(&calls) else {
            undecided += 1;
            continue;
        };
        // stateright's tester tries a call that was never answered in every place.
        if calls.iter().filter(|call| call.told.is_none()).count() <= PENDING_MAX {
            let other = by_stateright(&calls);
            assert_eq!(explained, other, "two checkers are of two opinions on account {account}: {calls:#?}");
        }
        if !explained {
            found.push(format!("account {account}: {calls:#?}"));
        }
    }
    (found, undecided)
}

/// `None` if the search takes too long: it grows with what was never answered.
fn by_porcupine(calls: &[&Call]) -> Option<bool> {
    let operations: Vec<_> = calls
        .iter()
        .map(|call| Operation::<OneAccount> {
            client_id: None,
            call_time: call.asked_at as i64,
            return_time: call.told.as_ref().map_or(i64::MAX, |(at, _)| *at as i64),
            op: (call.ask.clone(), call.told.as_ref().map(|(_, told)| told.clone())),
            metadata: None,
        })
        .collect();
    match porcupine_rs::check_operations_timeout(&operations, Duration::from_secs(10)) {
        CheckResult::Ok => Some(true),
        CheckResult::Illegal => Some(false),
        CheckResult::Unknown => None,
    }
}

fn by_stateright(calls: &[&Call]) -> bool {
    enum Moment<'a> {
        Asked(&'a Ask),
        Told(&'a Told),
    }
    let mut moments = Vec::new();
    for (thread, call) in calls.iter().enumerate() {
        moments.push((call.asked_at, thread, Moment::Asked(&call.ask)));
        if let Some((at, told)) = &call.told {
            moments.push((*at, thread, Moment::Told(told)));
        }
    }
    moments.sort_by_key(|(at, ..)| *at);
    // As few threads as there were calls at once: a search for each call's own would be a search over all orders.
    let (mut tester, mut free, mut of_call, mut threads) =
        (LinearizabilityTester::new(Counters::default()), Vec::new(), BTreeMap::new(), 0);
    for (_, call, moment) in moments {
        match moment {
            Moment::Asked(ask) => {
                let thread = free.pop().unwrap_or_else(|| {
                    threads += 1;
                    threads
                });
                of_call.insert(call, thread);
                tester.on_invoke(thread, ask.clone()).expect("a thread that is free");
            }
            Moment::Told(told) => {
                let thread = of_call[&call];
                tester.on_return(thread, told.clone()).expect("a thread that has asked");
                free.push(thread);
            }
        }
    }
    tester.is_consistent()
}

#[test]
fn fleet_checkers_see_what_has_no_order() {
    let call = |asked_at, ask, told: Option<(u64, Told)>| Call { account: 1, ask, asked_at, told };
    let charged =
        |ordinal| Told::Charged { generation: 0, ordinal, live: false, remaining: 10 - ordinal, again: false };
    let read = |spent| Told::Counters { spent, generation: 0, remaining: 10 - spent };
    let charge = |ke1| Ask::Charge { ke1 };
    let lost = call(1, charge(1), None);
    let fine = [
        lost.clone(),
        call(2, charge(2), Some((5, charged(2)))),
        call(3, Ask::Read, Some((6, read(1)))),
        call(7, Ask::Read, Some((8, read(2)))),
    ];
    assert_eq!(unexplained(&fine), (Vec::new(), 0));
    let stale = [call(1, charge(1), Some((2, charged(1)))), call(3, Ask::Read, Some((4, read(0))))];
    assert_eq!(unexplained(&stale).0.len(), 1, "an acknowledged charge is not seen by a later reader");
    let twice = [call(1, charge(1), Some((2, charged(1)))), call(3, Ask::Read, Some((4, read(2))))];
    assert_eq!(unexplained(&twice).0.len(), 1, "one charge counts for two");
    let same = [call(1, charge(1), Some((2, charged(1)))), call(1, charge(2), Some((2, charged(1))))];
    assert_eq!(unexplained(&same).0.len(), 1, "two elements under one ordinal");
}
