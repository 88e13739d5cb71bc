//! The path of a batch, top to bottom: parse, decode, prove, commit, evaluate, reply.
//!
//! Each step works on all requests of a kind at once, so that lanes fill; a request that stops at a step leaves nothing
//! but its own slot.

use super::enrol::Finished;
use super::grant::{Granted, Recognised};
use super::recover::{Attempt, Proven};
use super::ring::Batch;
use super::slots::{Outcome, Slots, Slotted, Stop, step};
use super::{Admitted, Vault};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::journal::Committed;
use crate::ledger::{Command, Verdict};
use crate::limits::SWEEP_MAX;
use crate::opaque::{Ke1, RegistrationRequest};
use crate::protocol::{Reply, Request};

/// What the receipt of a command is for.
enum Then {
    Grant(Box<(Recognised, Ke1)>),
    Deliver(Box<Proven>),
    Say,
}

/// The requests of a batch by kind, each with its slot.
#[derive(Default)]
struct Sorted<'a> {
    enrol_starts: Vec<Slotted<(AccountId, &'a [u8; 32])>>,
    enrol_finishes: Vec<Slotted<(AccountId, Request<'a>)>>,
    recover_starts: Vec<Slotted<(AccountId, &'a [u8; 96])>>,
    /// Finishes of recoveries and of removals: both prove a code.
    proofs: Vec<Slotted<(AccountId, Request<'a>)>>,
    unproven: Vec<Slotted<(AccountId, u32)>>,
    remaining: Vec<Slotted<AccountId>>,
}

impl<'a> Sorted<'a> {
    fn of(requests: impl IntoIterator<Item = Slotted<(AccountId, Request<'a>)>>) -> Self {
        let mut sorted = Sorted::default();
        for (slot, (account, request)) in requests {
            match request {
                Request::EnrolStart { r1 } => sorted.enrol_starts.push((slot, (account, r1))),
                Request::EnrolFinish { .. } => sorted.enrol_finishes.push((slot, (account, request))),
                Request::RecoverStart { ke1 } => sorted.recover_starts.push((slot, (account, ke1))),
                Request::RecoverFinish { .. } | Request::Remove { .. } => {
                    sorted.proofs.push((slot, (account, request)));
                }
                Request::RemoveUnproven { generation } => sorted.unproven.push((slot, (account, generation))),
                Request::Remaining => sorted.remaining.push((slot, account)),
            }
        }
        sorted
    }
}

/// Answers a batch of at most `limits::REQUESTS_MAX` requests, in their order.
pub(super) fn process(vault: &Vault, requests: &[Admitted<'_>]) -> Vec<Result<Reply, Fault>> {
    let batch = Batch { vault, ring: vault.ring() };
    let mut slots = Slots::new(requests.len());
    let parsed = requests.iter().map(Admitted::parse).enumerate();
    let sorted = Sorted::of(slots.sift(parsed));

    // Points first: what does not decode costs nothing.
    let enrol_starts = slots.sift(decode(sorted.enrol_starts, RegistrationRequest::parse));
    let recover_starts = slots.sift(decode(sorted.recover_starts, Ke1::parse));

    // What changes state becomes a command, in the order of arrival.
    let mut commands: Vec<Slotted<(Command, Then)>> = Vec::new();
    let mut granted: Vec<Slotted<(Granted, Ke1)>> = Vec::new();
    for (slot, Attempt { receipt, recognised, ke1 }) in slots.sift(step(recover_starts, |it| batch.charged_before(it)))
    {
        match receipt {
            Some(receipt) => granted.push((slot, (receipt, ke1))),
            None => commands.push((slot, (recognised.charge(), Then::Grant(Box::new((recognised, ke1)))))),
        }
    }
    for (slot, proven) in slots.sift(step(sorted.proofs, |it| batch.prove(it))) {
        let command = proven.command();
        let then = if proven.removes() { Then::Say } else { Then::Deliver(Box::new(proven)) };
        commands.push((slot, (command, then)));
    }
    for (slot, finished) in slots.sift(step(sorted.enrol_finishes, |it| batch.finish_enrolments(it))) {
        match finished {
            Finished::Already { generation } => slots.settle(slot, Ok(Reply::Enrolled { generation })),
            Finished::New(command) => commands.push((slot, (command, Then::Say))),
        }
    }
    for (slot, (account, generation)) in sorted.unproven {
        if vault.policy.unproven_removal {
            commands.push((slot, (Command::Remove { account, generation, proof: None }, Then::Say)));
        } else {
            // The ledger would look at the account first, and tell who has a record (V4).
            slots.settle(slot, Err(Stop::from(Refusal::Forbidden)));
        }
    }
    commands.sort_by_key(|(slot, _)| *slot);
    // Tickets expire by state time, which only a commit moves.
    let kept = vault.keep_time(commands.is_empty()).map_err(Stop::from);
    let mut granted = slots.sift(granted.into_iter().map(|(slot, it)| (slot, kept.clone().map(|()| it))));
    let enrol_starts = slots.sift(enrol_starts.into_iter().map(|(slot, it)| (slot, kept.clone().map(|()| it))));

    // Irrevocable from here on.
    let mut proven: Vec<Slotted<(Proven, Committed)>> = Vec::new();
    for (slot, (committed, then)) in slots.sift(step(commands, |it| commit(vault, it))) {
        match then {
            Then::Grant(it) => {
                let (recognised, ke1) = *it;
                let receipt = Granted::charged(committed, &recognised, vault.conceals());
                let receipt = receipt.map(|receipt| (receipt, ke1)).map_err(Stop::from);
                granted.extend(slots.sift([(slot, receipt)]));
            }
            Then::Deliver(it) => proven.push((slot, (*it, committed))),
            Then::Say => slots.settle(slot, say(committed.verdict())),
        }
    }

    let (places, granted): (Vec<_>, Vec<_>) = granted.into_iter().unzip();
    let answers = step(granted, |it| batch.ring.evaluator.recover(&*vault.journal, it));
    slots.settle_all(places.into_iter().zip(answers).map(|(slot, answer)| (slot, answer.map_err(Stop::from))));
    slots.settle_all(step(enrol_starts, |it| batch.start_enrolments(it)));
    slots.settle_all(step(proven, |it| batch.deliver(it)));
    slots.settle_all(step(sorted.remaining, |it| batch.remaining(it)));
    slots.finish()
}

/// Decodes the elements of all requests of a kind together.
fn decode<T, const N: usize>(
    requests: Vec<Slotted<(AccountId, &[u8; N])>>,
    parse: impl Fn(&[&[u8]]) -> Vec<Result<T, Refusal>>,
) -> Vec<Outcome<(AccountId, T)>> {
    let bytes: Vec<_> = requests.iter().map(|(_, (_, bytes))| &bytes[..]).collect();
    let decoded = parse(&bytes).into_iter();
    requests
        .into_iter()
        .zip(decoded)
        .map(|((slot, (account, _)), decoded)| (slot, decoded.map(|decoded| (account, decoded)).map_err(Stop::from)))
        .collect()
}

/// Makes the commands durable together; the receipts come back in order.
fn commit(vault: &Vault, commands: Vec<Slotted<(Command, Then)>>) -> Vec<Outcome<(Committed, Then)>> {
    let (batch, thens): (Vec<_>, Vec<_>) =
        commands.into_iter().map(|(slot, (command, then))| (command, (slot, then))).unzip();
    match vault.commit(batch) {
        Ok(receipts) => receipts.into_iter().zip(thens).map(|(it, (slot, then))| (slot, Ok((it, then)))).collect(),
        Err(fault) => thens.into_iter().map(|(slot, _)| (slot, Err(Stop::from(fault.clone())))).collect(),
    }
}

/// What an enrolment or removal is told.
fn say(verdict: &Verdict) -> Result<Reply, Stop> {
    match verdict {
        Verdict::Enrolled { generation, .. } => Ok(Reply::Enrolled { generation: *generation }),
        Verdict::Done => Ok(Reply::Removed),
        Verdict::Refused(refusal) => Err(Stop::from(*refusal)),
        _ => Err(Stop::from(Refusal::Stale)),
    }
}

impl Vault {
    /// Moves state time up to the clock, if nothing else is about to: at most one row a second, however many ask.
    fn keep_time(&self, idle: bool) -> Result<(), Fault> {
        if idle {
            let (now_s, mut time_s) = (self.clock.now_s()?, 0);
            self.journal.look(&mut |state| time_s = state.time_s())?;
            if now_s > time_s {
                self.journal.commit(now_s, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Commits commands dated by the vault's clock; where ids never enrolled may be forgotten, that rides along.
    fn commit(&self, mut commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let asked = commands.len();
        let time_s = self.clock.now_s()?;
        let mut forget = false;
        self.journal.look(&mut |state| forget = state.has_forgettable())?;
        if forget {
            // As many as this batch may add, and some more: a flood of strangers does not outgrow `unknown_max`.
            let most = u16::try_from(asked).unwrap_or(u16::MAX).saturating_add(SWEEP_MAX);
            commands.push(Command::Forget { most });
        }
        let mut receipts = self.journal.commit(time_s, commands)?;
        receipts.truncate(asked);
        Ok(receipts)
    }
}
