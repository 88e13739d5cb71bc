//! Recovery: from a charged attempt to KE2, from KE3 to the secret.

use super::evaluate::told_remaining;
use super::grant::{Granted, Recognised};
use super::ring::{Batch, Opening};
use super::slots::{Chunks, Outcome, Slotted, Stop};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::journal::Committed;
use crate::ledger::{Command, Proof, Verdict};
use crate::opaque::{Ke1, Ke3, login};
use crate::protocol::{Delivery, DeliveryItem, KE1_LEN, Reply, Request};
use crate::secret::Secret;
use crate::wrap::{LoginTicket, OpenItem, Sealed};

/// A KE1 that decoded, with the receipt of an earlier charge if there was one.
pub(super) struct Attempt {
    recognised: Recognised,
    ke1: Ke1,
    before: Option<Granted>,
}

impl Attempt {
    /// What it does to the state: nothing, where it was charged already.
    pub(super) fn charge(&self) -> Option<Command> {
        self.before.is_none().then(|| self.recognised.charge())
    }

    /// What it may be evaluated for: its earlier charge, or the one that is committed now.
    pub(super) fn granted(self, committed: Option<Committed>, conceal: bool) -> Option<Result<(Granted, Ke1), Stop>> {
        let granted = match self.before {
            Some(before) => Ok(before),
            None => Granted::charged(committed?, &self.recognised, conceal),
        };
        Some(granted.map(|granted| (granted, self.ke1)).map_err(Stop::from))
    }
}

/// A login whose KE3 verified: the code was right.
pub(super) struct Proven {
    account: AccountId,
    generation: u32,
    proof: Proof,
    session_key: Box<Secret<[u8; 64]>>,
    removes: bool,
}

impl Proven {
    /// Whether it proves a removal, not a recovery.
    pub(super) fn removes(&self) -> bool {
        self.removes
    }

    /// What it does to the state.
    pub(super) fn command(&self) -> Command {
        let Proven { account, generation, proof, .. } = *self;
        if self.removes {
            Command::Remove { account, generation, proof: Some(proof) }
        } else {
            Command::Clear { account, generation, proof }
        }
    }

    /// It again, if its success is counted.
    pub(super) fn counted(self, committed: &Committed) -> Result<Self, Stop> {
        match *committed.verdict() {
            Verdict::Cleared { .. } => Ok(self),
            Verdict::Refused(refusal) => Err(Stop::from(refusal)),
            _ => Err(Stop::from(Refusal::Stale)),
        }
    }
}

impl Batch<'_> {
    /// Decodes KE1s, and recognises those that do.
    pub(super) fn attempts(&self, starts: Vec<Slotted<(AccountId, &[u8; KE1_LEN])>>) -> Vec<Outcome<Attempt>> {
        let bytes: Vec<_> = starts.iter().map(|(_, (_, ke1))| &ke1[..]).collect();
        let mut outcomes = Vec::with_capacity(starts.len());
        let mut decoded = Vec::with_capacity(starts.len());
        for ((slot, (account, _)), ke1) in starts.iter().zip(Ke1::parse(&bytes)) {
            match ke1 {
                Ok(ke1) => decoded.push((*slot, *account, ke1)),
                Err(refusal) => outcomes.push((*slot, Err(Stop::from(refusal)))),
            }
        }
        let asked: Vec<_> = decoded.iter().map(|(_, account, ke1)| (*account, ke1.as_bytes())).collect();
        let recognised = self.ring.digests.recognise(&asked);
        let attempts = decoded.into_iter().zip(recognised);
        outcomes.extend(attempts.map(|((slot, _, ke1), recognised)| {
            let attempt = Attempt { recognised, ke1, before: None };
            (slot, Ok(attempt))
        }));
        outcomes
    }

    /// Finds which KE1s were charged already: those have their receipt, and cost nothing (L9).
    pub(super) fn charged_before(&self, attempts: &mut Chunks<Attempt>) -> Result<(), Fault> {
        let asked: Vec<_> = attempts.iter().map(|(_, it)| &it.recognised).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let mut found = Granted::charged_before(&*self.vault.journal, &asked)?.into_iter().peekable();
        for (place, (_, attempt)) in attempts.iter_mut().enumerate() {
            attempt.before = found.next_if(|(of, _)| *of == place).map(|(_, granted)| granted);
        }
        Ok(())
    }

    /// Answers attempts that are charged.
    pub(super) fn evaluate(&self, granted: Vec<Slotted<(Granted, Ke1)>>) -> Vec<Outcome<Reply>> {
        let (slots, granted): (Vec<_>, Vec<_>) = granted.into_iter().unzip();
        let answers = self.ring.evaluator.recover(&*self.vault.journal, granted);
        slots.into_iter().zip(answers).map(|(slot, answer)| (slot, answer.map_err(Stop::from))).collect()
    }

    /// What is to be known before the tickets of finishes are opened.
    pub(super) fn opening_of(&self, finishes: &Chunks<(AccountId, Request<'_>)>) -> Opening {
        self.opening::<LoginTicket>(finishes.iter().map(|(_, (_, request))| ticket_and_ke3(request).0))
    }

    /// Opens the login tickets of finishes and checks their KE3, in constant time.
    pub(super) fn prove(
        &self,
        opening: &Opening,
        finishes: Vec<Slotted<(AccountId, Request<'_>)>>,
    ) -> Vec<Outcome<Proven>> {
        let tickets: Vec<_> =
            finishes.iter().map(|(_, (account, request))| (account, ticket_and_ke3(request).0)).collect();
        let opened = self.open_tickets::<LoginTicket>(opening, &tickets);
        let mut outcomes = Vec::with_capacity(finishes.len());
        let mut items = Vec::with_capacity(finishes.len());
        for ((slot, (account, request)), ticket) in finishes.iter().zip(opened) {
            match ticket.and_then(|ticket| Ok((ticket, Ke3::parse(ticket_and_ke3(request).1)?))) {
                Ok((ticket, ke3)) => items.push((slot, account, request, ticket, ke3)),
                Err(stop) => outcomes.push((*slot, Err(stop))),
            }
        }
        let checked: Vec<_> = items.iter().map(|(_, _, _, ticket, ke3)| (&*ticket.state, ke3)).collect();
        let session_keys = login::finish(&checked);
        outcomes.extend(items.iter().zip(session_keys).map(|((slot, account, request, ticket, _), session_key)| {
            let proven = session_key.map(|session_key| Proven {
                account: **account,
                generation: ticket.generation,
                proof: Proof { ordinal: ticket.ordinal, expiry_s: ticket.expiry_s },
                session_key,
                removes: matches!(request, Request::Remove { .. }),
            });
            (**slot, proven.ok_or(Stop::from(Refusal::WrongProof)))
        }));
        outcomes
    }

    /// Reads the secrets of proven logins and seals each under its session key.
    pub(super) fn deliver(&self, proven: Vec<Slotted<Proven>>) -> Vec<Outcome<Reply>> {
        let asked: Vec<_> = proven.iter().map(|(_, it)| (it.account, it.generation)).collect();
        let mut answers = Vec::with_capacity(proven.len());
        let mut found = Chunks::default();
        for ((slot, it), sealed) in proven.into_iter().zip(self.vault.journal.sealed_each(&asked)) {
            match sealed {
                Ok(Some(sealed)) => found.push((slot, (it, sealed))),
                Ok(None) => answers.push((slot, Err(Stop::from(Refusal::Stale)))),
                Err(fault) => answers.push((slot, Err(Stop::from(fault)))),
            }
        }
        answers.extend(found.each(|chunk| self.seal_deliveries(chunk)));
        answers
    }

    fn seal_deliveries(&self, found: Vec<Slotted<(Proven, Sealed)>>) -> Vec<Outcome<Reply>> {
        let items = found.iter().map(|(_, (it, sealed))| {
            let Proven { account, generation, .. } = it;
            OpenItem { account, generation: *generation, sealed }
        });
        let records = self.ring.epochs.open(&items.collect::<Vec<_>>());
        let mut answers = Vec::with_capacity(found.len());
        let mut opened = Vec::with_capacity(found.len());
        for ((slot, (it, _)), record) in found.iter().zip(records) {
            match record {
                Ok(record) => opened.push((*slot, it, record)),
                Err(fault) => answers.push((*slot, Err(Stop::from(fault)))),
            }
        }
        let items = opened.iter().map(|(_, it, record)| DeliveryItem {
            session_key: &it.session_key,
            account: &it.account,
            secret: record.secret(),
        });
        let sealed = Delivery::seal(&items.collect::<Vec<_>>());
        answers.extend(opened.iter().zip(sealed).map(|((slot, ..), delivery)| {
            (*slot, delivery.map(|delivery| Reply::Recovered { delivery }).map_err(Stop::from))
        }));
        answers
    }

    /// How many attempts are left; under a policy that conceals, always the same number.
    pub(super) fn remaining(&self, asked: Vec<Slotted<AccountId>>) -> Vec<Outcome<Reply>> {
        let mut replies = Vec::with_capacity(asked.len());
        let read = self.vault.journal.read(&mut |state| {
            replies = asked
                .iter()
                .map(|(slot, account)| {
                    let attempts =
                        state.is_here(account).map(|()| told_remaining(state.policy(), state.account(account)));
                    (*slot, attempts.map(|attempts| Reply::Remaining { attempts }).map_err(Stop::from))
                })
                .collect();
        });
        match read {
            Ok(_) => replies,
            Err(fault) => asked.into_iter().map(|(slot, _)| (slot, Err(Stop::from(fault.clone())))).collect(),
        }
    }
}

/// The two parts of a request that proves a code; other requests never come here and prove nothing.
fn ticket_and_ke3<'a>(request: &Request<'a>) -> (&'a [u8], &'a [u8; 64]) {
    match request {
        Request::RecoverFinish { ticket, ke3 } | Request::Remove { ticket, ke3 } => (ticket, ke3),
        _ => (&[], &[0; 64]),
    }
}
