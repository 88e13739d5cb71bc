//! What happened to one account, in order, and what follows from it: read from the start for every question.

use std::rc::Rc;

use strongroom::error::Refusal;
use strongroom::ledger::{Charged, Digests, KeyedDigest, Proof};
use strongroom::wrap::Sealed;

/// Something that happened to an account.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An attempt, of this KE1, or taken by a restore.
    Charged(Option<KeyedDigest>, u64),
    Proved(u32),
    Enrolled([u8; 32], Rc<Sealed>),
    Removed,
    Destroyed,
    Rewrapped(Rc<Sealed>),
    Pardoned(u32),
}

/// What happened to one account, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(pub(crate) Vec<Event>);

impl History {
    /// The same history as another vault takes it over: KE1s are not recognised there, and the record has its keys.
    pub(crate) fn arrived(mut self, sealed: Option<&Sealed>) -> Self {
        let present = self.present();
        self.0.retain(|event| !matches!(event, Event::Rewrapped(_)));
        for event in &mut self.0 {
            if let Event::Charged(ke1, _) = event {
                *ke1 = None;
            }
        }
        // Only past records were rewrapped before the present one began.
        let present = self.present().min(present);
        if let (Some(Event::Enrolled(_, kept)), Some(new)) = (self.0.get_mut(present), sealed) {
            *kept = Rc::new(new.clone());
        }
        self
    }

    /// Where the present generation begins.
    pub(crate) fn present(&self) -> usize {
        let begins = |event: &Event| matches!(event, Event::Enrolled(..) | Event::Removed);
        self.0.iter().rposition(begins).unwrap_or(0)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.0.iter().filter(|event| matches!(event, Event::Enrolled(..) | Event::Removed)).count() as u32
    }

    /// Attempts charged up to a place in the history.
    pub(crate) fn charges(&self, end: usize) -> u32 {
        self.0[..end].iter().filter(|event| matches!(event, Event::Charged(..))).count() as u32
    }

    pub(crate) fn spent(&self) -> u32 {
        self.charges(self.0.len())
    }

    pub(crate) fn began(&self) -> u32 {
        self.charges(self.present())
    }

    /// The highest ordinal proven in a part of the history.
    pub(crate) fn proven(part: &[Event]) -> u32 {
        let ordinals =
            part.iter().filter_map(|event| if let Event::Proved(ordinal) = event { Some(*ordinal) } else { None });
        ordinals.max().unwrap_or(0)
    }

    /// The attempts of a part that stand uncleared: ordinal, and its event.
    pub(crate) fn uncleared(&self, from: usize, end: usize) -> Vec<(u32, &Event)> {
        let part = &self.0[from..end];
        let first = self.charges(from) + 1;
        let attempts = part.iter().filter(|event| matches!(event, Event::Charged(..)));
        let proven = Self::proven(part);
        (first..).zip(attempts).filter(|(ordinal, _)| *ordinal > proven).collect()
    }

    pub(crate) fn open(&self) -> u32 {
        self.uncleared(self.present(), self.0.len()).len() as u32
    }

    /// The record's finish, first bytes, and how often they were replaced; and whether it lives. `None`: no record.
    pub(crate) fn record(&self) -> Option<([u8; 32], &Sealed, u32, bool)> {
        let present = &self.0[self.present()..];
        let Some(Event::Enrolled(finish, sealed)) = present.first() else { return None };
        let rewraps: Vec<_> = present
            .iter()
            .filter_map(|event| if let Event::Rewrapped(new) = event { Some(new) } else { None })
            .collect();
        let lives = !present.iter().any(|event| matches!(event, Event::Destroyed));
        Some((*finish, rewraps.last().copied().unwrap_or(sealed).as_ref(), rewraps.len() as u32, lives))
    }

    pub(crate) fn lives(&self) -> bool {
        self.record().is_some_and(|(.., lives)| lives)
    }

    /// What records left behind that have ended, and with `all` what the present one would.
    pub(crate) fn owed(&self, all: bool) -> u32 {
        let mut owed = 0;
        for (from, event) in self.0.iter().enumerate() {
            if let Event::Enrolled(..) = event {
                let ended = self.0[from + 1..]
                    .iter()
                    .position(|event| matches!(event, Event::Enrolled(..) | Event::Removed))
                    .map(|after| from + 1 + after);
                match ended {
                    Some(end) => owed += self.uncleared(from, end).len() as u32,
                    None if all => owed += self.uncleared(from, self.0.len()).len() as u32,
                    None => {}
                }
            }
        }
        owed
    }

    pub(crate) fn pardoned(&self) -> u32 {
        let values =
            self.0.iter().filter_map(|event| if let Event::Pardoned(value) = event { Some(*value) } else { None });
        values.max().unwrap_or(0)
    }

    pub(crate) fn last_charge_s(&self) -> u64 {
        let times = self.0.iter().filter_map(|event| if let Event::Charged(_, at) = event { Some(*at) } else { None });
        times.max().unwrap_or(0)
    }

    /// KE1s that may be repeated.
    pub(crate) fn window(&self) -> Vec<Charged> {
        if self.record().is_some() && !self.lives() {
            return Vec::new();
        }
        let open = self.uncleared(self.present(), self.0.len());
        let known = open.into_iter().filter_map(|(ordinal, event)| match event {
            Event::Charged(Some(digest), _) => Some(Charged { ordinal, digest: *digest }),
            _ => None,
        });
        known.collect()
    }

    pub(crate) fn repeats(&self, digests: &Digests) -> Option<u32> {
        let is = |kept: &KeyedDigest| *kept == digests.current || Some(*kept) == digests.previous;
        self.window().iter().find(|charged| is(&charged.digest)).map(|charged| charged.ordinal)
    }

    /// Whether a success with this proof would count.
    pub(crate) fn counts(&self, now: u64, generation: u32, proof: &Proof) -> Result<(), Refusal> {
        let of_this_record = (self.began() + 1..=self.spent()).contains(&proof.ordinal);
        match () {
            () if !self.lives() || generation != self.generation() || !of_this_record => Err(Refusal::Stale),
            () if now > proof.expiry_s => Err(Refusal::TicketExpired),
            () => Ok(()),
        }
    }
}
