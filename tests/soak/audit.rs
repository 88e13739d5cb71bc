//! The auditor: what clients wrote down, held against what the store says at the end.
//!
//! For each account it keeps every life that the diary allows so far. A request that was asked may be done at any moment
//! between its asking and its answer; one that was not answered may be done, or not. A reply that fits no life is a
//! finding; so is a store whose counters fit none of the lives that are left. So a lost enrolment, a lost success, an
//! attempt that was given back and one that was charged twice all show, whatever crashed when.
//!
//! Apart from that it counts by the diary alone: guesses, against the bound of DESIGN section 3, and what was
//! acknowledged, against what the store has of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use strongroom::account::AccountId;
use strongroom::error::Refusal;
use strongroom::ledger;

use crate::diary::{Asked, Event, Lives, Told};
use crate::life::{Life, Limits, Record};

/// Lives of one account that are followed at once; more would mean a diary in which nothing is ever answered.
const LIVES_MAX: usize = 20_000;

/// What the store says of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) spent: u32,
    pub(crate) cleared: u32,
    pub(crate) generation: u32,
    pub(crate) began: u32,
    pub(crate) owed: u32,
    pub(crate) live: bool,
    pub(crate) destroyed: bool,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { spent, cleared, generation, began, owed, .. } = self;
        let record = match (self.live, self.destroyed) {
            (true, _) => "a live record",
            (_, true) => "a destroyed record",
            _ => "no record",
        };
        write!(f, "{record} of generation {generation}, spent {spent}, cleared {cleared}, began {began}, owed {owed}")
    }
}

impl From<&ledger::Account> for Counters {
    fn from(account: &ledger::Account) -> Self {
        Counters {
            spent: account.spent(),
            cleared: account.cleared(),
            generation: account.generation(),
            began: account.began(),
            owed: account.owed(),
            live: account.is_live(),
            destroyed: *account.record() == ledger::Record::Destroyed,
        }
    }
}

impl From<&Life> for Counters {
    fn from(life: &Life) -> Self {
        Counters {
            spent: life.spent,
            cleared: life.cleared,
            generation: life.generation,
            began: life.began,
            owed: life.owed,
            live: matches!(life.record, Record::Live { .. }),
            destroyed: life.record == Record::Destroyed,
        }
    }
}

/// What the auditor saw.
#[derive(Default)]
pub(crate) struct Audited {
    pub(crate) accounts: usize,
    pub(crate) told: usize,
    pub(crate) unknown: usize,
    /// Guesses that were answered, and those that were not right.
    pub(crate) guesses: usize,
    pub(crate) wrong: usize,
    pub(crate) enrolled: usize,
    pub(crate) recovered: usize,
    pub(crate) removed: usize,
    pub(crate) refused: BTreeMap<u8, usize>,
    /// Accounts whose record is destroyed.
    pub(crate) destroyed: usize,
    pub(crate) most_lives: usize,
    pub(crate) findings: Vec<String>,
    /// Those of them that say that the store has less than was acknowledged.
    pub(crate) lost: Vec<String>,
}

/// Holds diaries against a store's counters.
pub(crate) fn audit(lives: &Lives, store: impl Fn(&AccountId) -> Counters, limits: Limits) -> Audited {
    let mut audited = Audited { accounts: lives.len(), ..Audited::default() };
    for (account, events) in lives {
        audited.count(events);
        let store = store(account);
        audited.destroyed += usize::from(store.destroyed);
        let followed = follow(events, store, limits, &mut audited.most_lives);
        let named = |words: String| format!("account {}: {words}", hex::encode(&account.as_bytes()[..8]));
        let lost = kept(events, store).err().map(named);
        audited.findings.extend([followed, bounded(events, limits)].into_iter().filter_map(Result::err).map(named));
        audited.findings.extend(lost.clone());
        audited.lost.extend(lost);
    }
    audited
}

impl Audited {
    /// Says what the auditor saw; whether it found nothing.
    pub(crate) fn tell(&self) -> bool {
        let Audited { accounts, told, unknown, enrolled, recovered, removed, guesses, wrong, .. } = self;
        println!(
            "audited {accounts} accounts: {told} answers, {unknown} requests of which nobody knows; {enrolled} enrolled, \
             {recovered} recovered, {removed} removed; {guesses} guesses evaluated, {wrong} of them wrong"
        );
        let refused = self.refused.iter().map(|(code, times)| match Refusal::from_code(*code) {
            Some(refusal) => format!("{refusal:?} {times}"),
            None => format!("{code} {times}"),
        });
        let refused = refused.collect::<Vec<_>>().join(", ");
        println!("refused: {refused}; lives of one account followed at once: {}", self.most_lives);
        for finding in self.findings.iter().take(5) {
            println!("FINDING {finding}");
        }
        println!("{} findings, {} of them of what was acknowledged and is lost", self.findings.len(), self.lost.len());
        self.findings.is_empty()
    }

    fn count(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Told(_, told) => {
                    self.told += 1;
                    match told {
                        Told::Answered(_, opens) => {
                            self.guesses += 1;
                            self.wrong += usize::from(!opens);
                        }
                        Told::Enrolled(_) => self.enrolled += 1,
                        Told::Recovered(_) => self.recovered += 1,
                        Told::Removed => self.removed += 1,
                        Told::Refused(code) => *self.refused.entry(*code).or_default() += 1,
                        Told::Started | Told::Remaining(_) => {}
                    }
                }
                Event::Unknown(_) => self.unknown += 1,
                Event::Asked(..) | Event::Undone(_) | Event::Odd(..) => {}
            }
        }
    }
}

/// A life, and which of the requests that are on their way it has: what each came to, or nothing yet.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Possible {
    life: Life,
    pending: BTreeMap<u32, Option<Told>>,
}

/// Follows every life that a diary allows, up to the store's counters.
fn follow(events: &[Event], store: Counters, limits: Limits, most: &mut usize) -> Result<(), String> {
    let mut asked = HashMap::new();
    let mut possible = HashSet::from([Possible { life: Life::default(), pending: BTreeMap::new() }]);
    for event in events {
        match event {
            Event::Asked(number, what) => {
                asked.insert(*number, *what);
                possible = changed(possible, |it| it.pending.insert(*number, None));
                continue;
            }
            Event::Undone(number) => {
                possible.retain(|it| it.pending.get(number) == Some(&None));
                possible = changed(possible, |it| it.pending.remove(number));
            }
            Event::Unknown(number) => {
                possible = with_all_that_may_have_been(possible, &asked, limits)?;
                // Nobody has the ticket of a reply that never came.
                possible = changed(possible, |it| {
                    it.life.tickets.remove(number);
                    it.pending.remove(number)
                });
            }
            Event::Told(number, told) => {
                let before = possible.clone();
                possible = with_all_that_may_have_been(possible, &asked, limits)?;
                possible.retain(|it| it.pending.get(number) == Some(&Some(*told)));
                if possible.is_empty() {
                    return Err(format!("\"{event}\" was told, and nothing allows it; {}", words(&before)));
                }
                possible = changed(possible, |it| it.pending.remove(number));
            }
            Event::Odd(..) => return Err(format!("\"{event}\"")),
        }
        *most = (*most).max(possible.len());
        if possible.is_empty() {
            return Err(format!("\"{event}\" of a request that was not asked, or was answered before"));
        }
    }
    let last = with_all_that_may_have_been(possible, &asked, limits)?;
    if last.iter().any(|it| Counters::from(&it.life) == store) {
        return Ok(());
    }
    Err(format!("the store ends with {store}, and nothing that was told allows it; {}", words(&last)))
}

/// The same lives with a change to each.
fn changed(possible: HashSet<Possible>, change: impl Fn(&mut Possible) -> Option<Option<Told>>) -> HashSet<Possible> {
    let change = |mut it: Possible| {
        change(&mut it);
        it
    };
    possible.into_iter().map(change).collect()
}

/// The lives, and those in which more of what is on its way has been done, in every order.
fn with_all_that_may_have_been(
    possible: HashSet<Possible>,
    asked: &HashMap<u32, Asked>,
    limits: Limits,
) -> Result<HashSet<Possible>, String> {
    let mut all = possible.clone();
    let mut new: Vec<_> = possible.into_iter().collect();
    while let Some(it) = new.pop() {
        let swept = it.life.swept(limits).map(|life| Possible { life, pending: it.pending.clone() });
        let told = it.pending.iter().filter_map(|(number, told)| {
            let told = it.life.told_later(*asked.get(number)?, (*told)?, limits)?;
            Some((*number, it.life.clone(), told))
        });
        let waiting = it.pending.iter().filter(|(_, told)| told.is_none()).map(|(number, _)| *number);
        let done = waiting.flat_map(|number| {
            let outcomes = asked.get(&number).map(|what| it.life.happen(number, *what, limits)).unwrap_or_default();
            outcomes.into_iter().map(move |(life, told)| (number, life, told))
        });
        let done = done.chain(told).map(|(number, life, told)| {
            let mut pending = it.pending.clone();
            pending.insert(number, Some(told));
            Possible { life, pending }
        });
        for next in done.chain(swept).collect::<Vec<_>>() {
            if all.insert(next.clone()) {
                new.push(next);
            }
        }
        if all.len() > LIVES_MAX {
            return Err(format!("more than {LIVES_MAX} lives are possible; too little was answered"));
        }
    }
    Ok(all)
}

fn words(possible: &HashSet<Possible>) -> String {
    let all: BTreeSet<_> = possible.iter().map(|it| Counters::from(&it.life).to_string()).collect();
    let shown: Vec<_> = all.iter().take(3).cloned().collect();
    format!("{} possible: {}{}", all.len(), shown.join("; "), if all.len() > 3 { "; ..." } else { "" })
}

/// What was acknowledged, against what the store has: counters only grow, so what it has less of is lost. An enrolment is
/// a generation of its own, and a KE1 that was answered an attempt, with a record or without.
fn kept(events: &[Event], store: Counters) -> Result<(), String> {
    let mut asked = HashMap::new();
    let (mut enrolled, mut answered) = (HashSet::<u32>::new(), HashSet::<u32>::new());
    for event in events {
        match event {
            Event::Asked(number, Asked::Enrol { started, .. }) => drop(asked.insert(*number, *started)),
            Event::Asked(number, Asked::Guess { first, .. }) => drop(asked.insert(*number, *first)),
            Event::Told(number, Told::Enrolled(_)) => enrolled.extend(asked.get(number)),
            Event::Told(number, Told::Answered(..)) => answered.extend(asked.get(number)),
            _ => {}
        }
    }
    let (enrolled, answered) = (enrolled.len(), answered.len());
    if store.generation as usize >= enrolled && store.spent as usize >= answered {
        return Ok(());
    }
    Err(format!("{enrolled} enrolments and {answered} attempts were acknowledged, and the store ends with {store}"))
}

/// Distinct wrong guesses that were answered while there may have been a record, against the bound of a lifetime: it
/// grows by a window less one with each success of the person's own.
fn bounded(events: &[Event], limits: Limits) -> Result<(), String> {
    let (mut record, mut successes) = (false, 0);
    let (mut asked, mut wrong) = (HashMap::new(), HashSet::<u32>::new());
    for event in events {
        match event {
            Event::Asked(number, what) => match what {
                Asked::Enrol { .. } => record = true,
                Asked::Guess { first, .. } if record => drop(asked.insert(*number, *first)),
                Asked::Prove { .. } | Asked::Remove { .. } => successes += 1,
                _ => {}
            },
            Event::Told(number, Told::Answered(_, false)) => wrong.extend(asked.get(number)),
            Event::Told(_, Told::Removed) => record = false,
            Event::Told(_, Told::Refused(code)) if *code == Refusal::NoRecord.code() => record = false,
            _ => {}
        }
    }
    let most = limits.lifetime_max + (limits.attempts_max - 1) * successes;
    if wrong.len() <= most as usize {
        return Ok(());
    }
    Err(format!("{} guesses were evaluated, of {most} that are allowed after {successes} successes", wrong.len()))
}
