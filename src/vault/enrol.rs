//! Enrolment: from R1 to R2 and a ticket, from R3 to a record.

use super::grant::FreshNonce;
use super::ring::Batch;
use super::slots::{Outcome, Slotted, Stop};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::ledger::Command;
use crate::opaque::{RegistrationRecord, RegistrationRequest};
use crate::protocol::{Reply, Request, enrolment_digest, transcript};
use crate::wrap::{EnrolmentTicket, Record, SealItem};

/// What a finish comes to before anything is committed.
pub(super) enum Finished {
    /// This very finish made the record that lives (L6).
    Already { generation: u32 },
    /// A record to enrol.
    New(Command),
}

/// What the state says to an enrolment that begins.
struct Outlook {
    generation: u32,
    time_s: u64,
    restores: u32,
    allowed: Result<(), Refusal>,
}

impl Batch<'_> {
    /// Draws each enrolment's nonce, evaluates, and hands out tickets. Nothing is written.
    pub(super) fn start_enrolments(
        &self,
        starts: Vec<Slotted<(AccountId, RegistrationRequest)>>,
    ) -> Vec<Outcome<Reply>> {
        let mut answers = Vec::with_capacity(starts.len());
        let mut fresh = Vec::with_capacity(starts.len());
        let outlooks = self.outlooks(starts.iter().map(|(_, (account, _))| *account));
        for ((slot, (account, request)), outlook) in starts.into_iter().zip(outlooks) {
            let drawn = outlook.and_then(|outlook| {
                outlook.allowed?;
                let nonce = FreshNonce::draw(&self.ring.nonce_key, &account, outlook.generation, request.as_bytes())?;
                Ok((nonce, outlook))
            });
            match drawn {
                Ok((nonce, outlook)) => fresh.push((slot, nonce, request, outlook)),
                Err(stop) => answers.push((slot, Err(stop))),
            }
        }
        let (context, permits): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .map(|(slot, nonce, request, outlook)| {
                ((slot, *nonce.account(), *request.as_bytes(), outlook), (nonce, request))
            })
            .unzip();
        let ttl_s = self.vault.policy.enrolment_ttl_s;
        // One look at the state has told all of them.
        let restores = context.first().map_or(0, |(.., outlook)| outlook.restores);
        let mut told = Vec::with_capacity(context.len());
        let mut tickets = Vec::with_capacity(context.len());
        for ((slot, account, r1, outlook), evaluated) in context.into_iter().zip(self.ring.evaluator.enrol(permits)) {
            match evaluated {
                Ok(evaluated) => {
                    told.push((slot, evaluated.r2));
                    let ticket = EnrolmentTicket {
                        generation: outlook.generation,
                        expiry_s: outlook.time_s.saturating_add(ttl_s),
                        key_number: evaluated.key_number,
                        transcript: enrolment_digest(&r1, &evaluated.r2),
                        nonce: evaluated.nonce,
                    };
                    tickets.push((account, ticket));
                }
                Err(fault) => answers.push((slot, Err(Stop::from(fault)))),
            }
        }
        let items: Vec<_> = tickets.iter().map(|(account, ticket)| (account, ticket)).collect();
        let sealed = self.ring.tickets.seal(restores, &items);
        answers.extend(told.into_iter().zip(sealed).map(|((slot, r2), ticket)| {
            (slot, ticket.map(|ticket| Reply::EnrolStarted { r2, ticket }).map_err(Stop::from))
        }));
        answers
    }

    /// What the state says now, to each account; a fault says the same to all.
    fn outlooks(&self, accounts: impl Iterator<Item = AccountId>) -> Vec<Result<Outlook, Stop>> {
        let accounts: Vec<_> = accounts.collect();
        let mut outlooks = Vec::with_capacity(accounts.len());
        let read = self.vault.journal.read(&mut |state| {
            outlooks = accounts
                .iter()
                .map(|account| {
                    state.is_here(account)?;
                    let it = state.account(account);
                    Ok(Outlook {
                        generation: it.map_or(0, |it| it.generation()),
                        time_s: state.time_s(),
                        restores: state.restores(),
                        allowed: it.map_or(Ok(()), |it| it.may_enrol(state.policy())),
                    })
                })
                .collect();
        });
        match read {
            Ok(_) => outlooks,
            Err(fault) => accounts.iter().map(|_| Err(Stop::from(fault.clone()))).collect(),
        }
    }

    /// Checks finishes and seals their records. The comparison of L6 comes before the ticket is opened, so that it
    /// outlives the ticket.
    pub(super) fn finish_enrolments(&self, finishes: Vec<Slotted<(AccountId, Request<'_>)>>) -> Vec<Outcome<Finished>> {
        let already = match self.already_enrolled(&finishes) {
            Ok(known) => known,
            Err(fault) => return finishes.iter().map(|(slot, _)| (*slot, Err(Stop::from(fault.clone())))).collect(),
        };
        let mut outcomes = Vec::with_capacity(finishes.len());
        let mut open = Vec::with_capacity(finishes.len());
        for ((slot, (account, request)), already) in finishes.into_iter().zip(already) {
            match (already, request) {
                (Some(generation), _) => outcomes.push((slot, Ok(Finished::Already { generation }))),
                (None, Request::EnrolFinish { ticket, r3, preset, secret, transcript }) => {
                    open.push((slot, Finish { account, request, ticket, r3, preset, secret, transcript }));
                }
                (None, _) => outcomes.push((slot, Err(Stop::from(Refusal::Malformed)))),
            }
        }
        let opening = self.opening::<EnrolmentTicket>(open.iter().map(|(_, it)| it.ticket));
        let tickets: Vec<_> = open.iter().map(|(_, it)| (&it.account, it.ticket)).collect();
        let tickets = self.open_tickets::<EnrolmentTicket>(&opening, &tickets);
        let decoded = RegistrationRecord::parse(&open.iter().map(|(_, it)| &it.r3[..]).collect::<Vec<_>>());
        let mut sealable = Vec::with_capacity(open.len());
        for (((slot, finish), ticket), decoded) in open.into_iter().zip(tickets).zip(decoded) {
            match finish.check(ticket, decoded) {
                Ok((digest, ticket, record)) => sealable.push((slot, finish.account, digest, ticket, record)),
                Err(stop) => outcomes.push((slot, Err(stop))),
            }
        }
        let records: Vec<_> = sealable
            .iter()
            .map(|(_, account, _, ticket, record)| SealItem {
                account,
                generation: ticket.generation.saturating_add(1),
                key_number: ticket.key_number,
                record,
            })
            .collect();
        let sealed = self.ring.evaluator.seal(&records);
        outcomes.extend(sealable.iter().zip(sealed).map(|((slot, account, finish, ticket, _), sealed)| {
            let command = sealed.map(|sealed| {
                Finished::New(Command::Enrol {
                    account: *account,
                    generation: ticket.generation,
                    expiry_s: ticket.expiry_s,
                    finish: *finish,
                    sealed,
                })
            });
            (*slot, command.map_err(Stop::from))
        }));
        outcomes
    }

    /// Of each finish the generation of the live record that it made already, if it did.
    fn already_enrolled(&self, finishes: &[Slotted<(AccountId, Request<'_>)>]) -> Result<Vec<Option<u32>>, Fault> {
        let digests: Vec<_> = finishes.iter().map(|(_, (account, request))| request.digest(account).ok()).collect();
        let mut already = Vec::with_capacity(finishes.len());
        self.vault.journal.read(&mut |state| {
            already = finishes
                .iter()
                .zip(&digests)
                .map(|((_, (account, _)), digest)| {
                    state.is_here(account).ok()?;
                    let it = state.account(account)?;
                    it.enrolled_by(digest.as_ref()?).then(|| it.generation())
                })
                .collect();
        })?;
        Ok(already)
    }
}

/// A finish that is not a repetition.
struct Finish<'a> {
    account: AccountId,
    request: Request<'a>,
    ticket: &'a [u8],
    r3: &'a [u8; 192],
    preset: u8,
    secret: &'a [u8],
    transcript: &'a [u8; 32],
}

impl Finish<'_> {
    /// The finish's digest, its ticket and the record to be sealed, if all of it fits together.
    fn check(
        &self,
        ticket: Result<EnrolmentTicket, Stop>,
        decoded: Result<RegistrationRecord, Refusal>,
    ) -> Result<([u8; 32], EnrolmentTicket, Record), Stop> {
        let ticket = ticket?;
        let said = transcript(&self.account, &ticket.transcript, self.ticket, self.r3, self.preset, self.secret);
        if said != *self.transcript {
            return Err(Stop::from(Refusal::WrongTranscript));
        }
        let decoded = decoded?;
        let record = Record::new(ticket.nonce.expose(), self.preset, decoded.bytes().expose(), self.secret)
            .map_err(Refusal::from)?;
        Ok((self.request.digest(&self.account)?, ticket, record))
    }
}
