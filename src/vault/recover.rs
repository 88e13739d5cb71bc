//! Recovery: from a charged attempt to KE2, from KE3 to the secret.

use super::evaluate::told_remaining;
use super::grant::{Granted, Recognised};
use super::ring::Batch;
use super::slots::{Outcome, Slotted, Stop};
use crate::account::AccountId;
use crate::error::Refusal;
use crate::journal::Committed;
use crate::ledger::{Command, Proof, Verdict};
use crate::opaque::{Ke1, Ke3, login};
use crate::protocol::{Delivery, DeliveryItem, Reply, Request};
use crate::secret::Secret;
use crate::wrap::LoginTicket;

/// A KE1 that decoded, with the receipt of an earlier charge if there was one.
pub(super) struct Attempt {
    pub(super) receipt: Option<Granted>,
    pub(super) recognised: Recognised,
    pub(super) ke1: Ke1,
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
}

impl Batch<'_> {
    /// Finds which KE1s were charged already: those have their receipt, and cost nothing (L9).
    pub(super) fn charged_before(&self, starts: Vec<Slotted<(AccountId, Ke1)>>) -> Vec<Outcome<Attempt>> {
        let asked: Vec<_> = starts.iter().map(|(_, (account, ke1))| (*account, ke1.as_bytes())).collect();
        let recognised = self.ring.digests.recognise(&asked);
        match Granted::charged_before(&*self.vault.journal, &recognised) {
            Ok(receipts) => starts
                .into_iter()
                .zip(recognised.into_iter().zip(receipts))
                .map(|((slot, (_, ke1)), (recognised, receipt))| (slot, Ok(Attempt { receipt, recognised, ke1 })))
                .collect(),
            Err(fault) => starts.into_iter().map(|(slot, _)| (slot, Err(Stop::from(fault.clone())))).collect(),
        }
    }

    /// Opens the login tickets of finishes and checks their KE3, in constant time.
    pub(super) fn prove(&self, finishes: Vec<Slotted<(AccountId, Request<'_>)>>) -> Vec<Outcome<Proven>> {
        let tickets: Vec<_> =
            finishes.iter().map(|(_, (account, request))| (account, ticket_and_ke3(request).0)).collect();
        let opened = self.open_tickets::<LoginTicket>(&tickets);
        let mut outcomes = Vec::with_capacity(finishes.len());
        let mut items = Vec::with_capacity(finishes.len());
        for ((slot, (account, request)), ticket) in finishes.into_iter().zip(opened) {
            match ticket.and_then(|ticket| Ok((ticket, Ke3::parse(ticket_and_ke3(&request).1)?))) {
                Ok((ticket, ke3)) => items.push((slot, account, request, ticket, ke3)),
                Err(stop) => outcomes.push((slot, Err(stop))),
            }
        }
        let checked: Vec<_> = items.iter().map(|(_, _, _, ticket, ke3)| (&*ticket.state, ke3)).collect();
        let session_keys = login::finish(&checked);
        outcomes.extend(items.iter().zip(session_keys).map(|((slot, account, request, ticket, _), session_key)| {
            let proven = session_key.map(|session_key| Proven {
                account: *account,
                generation: ticket.generation,
                proof: Proof { ordinal: ticket.ordinal, expiry_s: ticket.expiry_s },
                session_key,
                removes: matches!(request, Request::Remove { .. }),
            });
            (*slot, proven.ok_or(Stop::from(Refusal::WrongProof)))
        }));
        outcomes
    }

    /// Reads the secrets of proven logins and seals each under its session key.
    pub(super) fn deliver(&self, proven: Vec<Slotted<(Proven, Committed)>>) -> Vec<Outcome<Reply>> {
        let mut answers = Vec::with_capacity(proven.len());
        let mut ready = Vec::with_capacity(proven.len());
        for (slot, (proven, committed)) in proven {
            match *committed.verdict() {
                Verdict::Cleared { .. } => ready.push((slot, proven)),
                Verdict::Refused(refusal) => answers.push((slot, Err(Stop::from(refusal)))),
                _ => answers.push((slot, Err(Stop::from(Refusal::Stale)))),
            }
        }
        let asked: Vec<_> = ready.iter().map(|(_, it)| (it.account, it.generation)).collect();
        let records = self.ring.evaluator.records(&*self.vault.journal, &asked);
        let mut found = Vec::with_capacity(ready.len());
        for ((slot, it), record) in ready.iter().zip(records) {
            match record {
                Ok(record) => found.push((*slot, it, record)),
                Err(stop) => answers.push((*slot, Err(stop))),
            }
        }
        let items = found.iter().map(|(_, it, record)| DeliveryItem {
            session_key: &it.session_key,
            account: &it.account,
            secret: record.secret(),
        });
        let sealed = Delivery::seal(&items.collect::<Vec<_>>());
        answers.extend(found.iter().zip(sealed).map(|((slot, ..), delivery)| {
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
                    let attempts = state.is_here(account).map(|()| told_remaining(state, account));
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
