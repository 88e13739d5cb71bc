//! One account by the rules of DESIGN section 3, from outside: what each request may come to. It shares nothing with
//! the ledger but the words.

use std::collections::BTreeMap;

use strongroom::error::Refusal;
use strongroom::ledger::Policy;

use crate::diary::{Asked, Told};

/// What the present generation has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Record {
    #[default]
    None,
    /// A record, the start of its enrolment, its code and its backup key.
    Live {
        started: u32,
        code: u32,
        key: u32,
    },
    Destroyed,
}

/// What an account may be by now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) spent: u32,
    pub(crate) cleared: u32,
    pub(crate) generation: u32,
    pub(crate) began: u32,
    pub(crate) owed: u32,
    pub(crate) record: Record,
    /// Ordinals of the open window, and what was first sent for each.
    window: Vec<(u32, u32)>,
    /// What the ticket says that came with a reply: generation, and a login's ordinal.
    pub(crate) tickets: BTreeMap<u32, (u32, u32)>,
}

/// The limits that matter to an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) attempts_max: u32,
    pub(crate) lifetime_max: u32,
}

impl From<&Policy> for Limits {
    fn from(policy: &Policy) -> Self {
        Limits { attempts_max: policy.attempts_max, lifetime_max: policy.lifetime_max }
    }
}

fn refused(refusal: Refusal) -> Told {
    Told::Refused(refusal.code())
}

impl Life {
    fn open(&self) -> u32 {
        self.spent - self.cleared.max(self.began)
    }

    pub(crate) fn remaining(&self, limits: Limits) -> u32 {
        limits.attempts_max.saturating_sub(self.open())
    }

    /// What it owes once the present generation has ended.
    fn owed_then(&self) -> u32 {
        if self.record == Record::None { self.owed } else { self.owed + self.open() }
    }

    fn may_enrol(&self, limits: Limits) -> bool {
        self.owed_then() + limits.attempts_max <= limits.lifetime_max
    }

    fn is_live(&self) -> bool {
        matches!(self.record, Record::Live { .. })
    }

    /// A sweep may come at any time, and destroys a record whose window is full.
    pub(crate) fn swept(&self, limits: Limits) -> Option<Life> {
        let due = self.is_live() && self.open() >= limits.attempts_max;
        due.then(|| Life { record: Record::Destroyed, window: Vec::new(), ..self.clone() })
    }

    /// What a request may come to now. The reply of `number` is what later requests refer to.
    pub(crate) fn happen(&self, number: u32, asked: Asked, limits: Limits) -> Vec<(Life, Told)> {
        let mut next = self.clone();
        let told = match asked {
            Asked::Start if !self.may_enrol(limits) => refused(Refusal::LifetimeUsed),
            Asked::Start => {
                next.tickets.insert(number, (self.generation, 0));
                Told::Started
            }
            Asked::Enrol { started, code, key } => next.enrol(started, code, key, limits),
            Asked::Guess { first, code } => next.guess(number, first, code, limits),
            Asked::Prove { guess } => next.prove(guess),
            Asked::Remove { guess } => next.remove(guess),
            Asked::Remaining => Told::Remaining(self.remaining(limits)),
        };
        let mut outcomes = vec![(next, told)];
        // State time is the vault's: from outside a ticket may expire at any moment. Nothing has happened then.
        if matches!(asked, Asked::Enrol { .. } | Asked::Prove { .. } | Asked::Remove { .. }) {
            outcomes.push((self.clone(), refused(Refusal::TicketExpired)));
        }
        outcomes
    }

    /// What a request that has been done is told if its answer is made now, some time after.
    pub(crate) fn told_later(&self, asked: Asked, told: Told, limits: Limits) -> Option<Told> {
        match (asked, told) {
            (_, Told::Answered(_, opens)) => Some(Told::Answered(self.remaining(limits), opens)),
            // A success that counted, and whose record has been replaced before it was read.
            (Asked::Prove { guess }, Told::Recovered(_)) => {
                let there = self.is_live() && self.tickets.get(&guess).is_some_and(|it| it.0 == self.generation);
                (!there).then_some(refused(Refusal::Stale))
            }
            _ => None,
        }
    }

    fn enrol(&mut self, started: u32, code: u32, key: u32, limits: Limits) -> Told {
        if matches!(self.record, Record::Live { started: made_by, .. } if made_by == started) {
            return Told::Enrolled(self.generation);
        }
        match self.tickets.get(&started) {
            Some((generation, _)) if *generation != self.generation => return refused(Refusal::Stale),
            Some(_) if !self.may_enrol(limits) => return refused(Refusal::LifetimeUsed),
            Some(_) => {}
            None => return refused(Refusal::TicketInvalid),
        }
        self.begin(Record::Live { started, code, key });
        Told::Enrolled(self.generation)
    }

    fn guess(&mut self, number: u32, first: u32, code: u32, limits: Limits) -> Told {
        let before = self.window.iter().find(|(_, known)| *known == first).map(|(ordinal, _)| *ordinal);
        let ordinal = match before {
            Some(ordinal) => ordinal,
            None if self.open() >= limits.attempts_max => return refused(Refusal::Exhausted),
            None => {
                self.spent += 1;
                // A destroyed record is full, so nothing is charged to it.
                self.window.push((self.spent, first));
                self.spent
            }
        };
        self.tickets.insert(number, (self.generation, ordinal));
        let opens = matches!(self.record, Record::Live { code: right, .. } if right == code);
        Told::Answered(self.remaining(limits), opens)
    }

    fn prove(&mut self, guess: u32) -> Told {
        match (self.success(guess), self.record) {
            (Ok(ordinal), Record::Live { key, .. }) => {
                self.clear(ordinal);
                Told::Recovered(key)
            }
            (Ok(_), _) => refused(Refusal::Stale),
            (Err(refusal), _) => refused(refusal),
        }
    }

    fn remove(&mut self, guess: u32) -> Told {
        if self.record == Record::None {
            return refused(Refusal::NoRecord);
        }
        match self.success(guess) {
            Ok(ordinal) => {
                self.clear(ordinal);
                self.begin(Record::None);
                Told::Removed
            }
            Err(refusal) => refused(refusal),
        }
    }

    /// The ordinal that a success with this ticket clears.
    fn success(&self, guess: u32) -> Result<u32, Refusal> {
        let (generation, ordinal) = *self.tickets.get(&guess).ok_or(Refusal::TicketInvalid)?;
        let here = ordinal > self.began && ordinal <= self.spent;
        if self.is_live() && generation == self.generation && here { Ok(ordinal) } else { Err(Refusal::Stale) }
    }

    fn clear(&mut self, ordinal: u32) {
        self.cleared = self.cleared.max(ordinal);
        self.window.retain(|(charged, _)| *charged > ordinal);
    }

    fn begin(&mut self, record: Record) {
        self.owed = self.owed_then();
        self.generation += 1;
        self.began = self.spent;
        self.window.clear();
        self.record = record;
    }
}
