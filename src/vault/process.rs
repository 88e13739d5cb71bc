//! The path of a batch, top to bottom: parse, decode, prove, commit, evaluate, reply.
//!
//! Each step works on the requests of a kind together, so that lanes fill; a request that stops at a step leaves nothing
//! but its own slot. Recoveries, which are most of what a vault does, go through what lies between two waits (for the
//! commit, for what is read) in chunks, a task each; tasks themselves wait for nothing.

use super::enrol::Finished;
use super::grant::Granted;
use super::recover::{Attempt, Proven};
use super::ring::Batch;
use super::slots::{Chunks, Outcome, Slots, Slotted, Stop, step};
use super::{Admitted, Vault};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::journal::Committed;
use crate::ledger::{Command, Verdict};
use crate::limits::SWEEP_MAX;
use crate::opaque::{Ke1, RegistrationRequest};
use crate::protocol::{Reply, Request};

/// The requests of a batch by kind, each with its slot.
#[derive(Default)]
struct Sorted<'a> {
    enrol_starts: Vec<Slotted<(AccountId, &'a [u8; 32])>>,
    enrol_finishes: Vec<Slotted<(AccountId, Request<'a>)>>,
    recover_starts: Chunks<(AccountId, &'a [u8; 96])>,
    /// Finishes of recoveries and of removals: both prove a code.
    proofs: Chunks<(AccountId, Request<'a>)>,
    unproven: Vec<Slotted<(AccountId, u32)>>,
    remaining: Vec<Slotted<AccountId>>,
}

impl<'a> FromIterator<Slotted<(AccountId, Request<'a>)>> for Sorted<'a> {
    fn from_iter<I: IntoIterator<Item = Slotted<(AccountId, Request<'a>)>>>(requests: I) -> Self {
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
    let sorted: Sorted<'_> = slots.sift(requests.iter().map(Admitted::parse).enumerate());

    // Points first: what does not decode costs nothing.
    let enrol_starts: Vec<_> = slots.sift(decode(sorted.enrol_starts, RegistrationRequest::parse));
    let mut attempts: Chunks<Attempt> = slots.sift(sorted.recover_starts.each(|chunk| batch.attempts(chunk)));
    let known = batch.charged_before(&mut attempts);
    let attempts = slots.unless(&known, attempts);
    let opening = batch.opening_of(&sorted.proofs);
    let proofs: Chunks<Proven> = slots.sift(sorted.proofs.each(|chunk| batch.prove(&opening, chunk)));
    let finished: Vec<_> = slots.sift(step(sorted.enrol_finishes, |it| batch.finish_enrolments(it)));

    // What changes state becomes a command, in the order of arrival.
    let mut commands: Vec<Slotted<Command>> = Vec::with_capacity(requests.len());
    commands.extend(attempts.iter().filter_map(|(slot, it)| Some((*slot, it.charge()?))));
    commands.extend(proofs.iter().map(|(slot, it)| (*slot, it.command())));
    for (slot, finished) in finished {
        match finished {
            Finished::Already { generation } => slots.settle(slot, Ok(Reply::Enrolled { generation })),
            Finished::New(command) => commands.push((slot, command)),
        }
    }
    for (slot, (account, generation)) in sorted.unproven {
        if vault.policy.unproven_removal {
            commands.push((slot, Command::Remove { account, generation, proof: None }));
        } else {
            // The ledger would look at the account first, and tell who has a record (V4).
            slots.settle(slot, Err(Stop::from(Refusal::Forbidden)));
        }
    }
    commands.sort_by_key(|(slot, _)| *slot);
    // Tickets expire by state time, which only a commit moves.
    let kept = vault.keep_time(commands.is_empty());
    let (attempts, enrol_starts) = (slots.unless(&kept, attempts), slots.unless(&kept, enrol_starts));

    // Irrevocable from here on. What has no receipt by now is settled: its commit failed.
    let mut receipts = Receipts::of(requests.len(), slots.sift(step(commands, |it| commit(vault, it))));
    let conceals = vault.conceals();
    let granted = attempts.into_iter();
    let granted = granted.filter_map(|(slot, it)| Some((slot, it.granted(receipts.take(slot), conceals)?)));
    let granted: Vec<Slotted<(Granted, Ke1)>> = slots.sift(granted);
    let recoveries = proofs.into_iter().filter(|(_, it)| !it.removes());
    let counted = recoveries.filter_map(|(slot, it)| Some((slot, it.counted(&receipts.take(slot)?))));
    let counted: Vec<Slotted<Proven>> = slots.sift(counted);
    slots.settle_all(receipts.left().map(|(slot, committed)| (slot, say(committed.verdict()))));

    slots.settle_all(step(granted, |it| batch.evaluate(it)));
    slots.settle_all(step(enrol_starts, |it| batch.start_enrolments(it)));
    slots.settle_all(step(counted, |it| batch.deliver(it)));
    slots.settle_all(step(sorted.remaining, |it| batch.remaining(it)));
    slots.finish()
}

/// The receipts of a batch, by the slots of their requests. Each is taken once.
struct Receipts(Vec<Option<Committed>>);

impl Receipts {
    fn of(length: usize, committed: Vec<Slotted<Committed>>) -> Self {
        let mut receipts = Vec::new();
        receipts.resize_with(length, || None);
        committed.into_iter().for_each(|(slot, it)| receipts[slot] = Some(it));
        Receipts(receipts)
    }

    fn take(&mut self, slot: usize) -> Option<Committed> {
        self.0[slot].take()
    }

    /// Those that nobody took: of requests that are told no more than what came of them.
    fn left(self) -> impl Iterator<Item = Slotted<Committed>> {
        self.0.into_iter().enumerate().filter_map(|(slot, it)| Some((slot, it?)))
    }
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
fn commit(vault: &Vault, commands: Vec<Slotted<Command>>) -> Vec<Outcome<Committed>> {
    let (slots, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    match vault.commit(commands) {
        Ok(receipts) => slots.into_iter().zip(receipts.into_iter().map(Ok)).collect(),
        Err(fault) => slots.into_iter().map(|slot| (slot, Err(Stop::from(fault.clone())))).collect(),
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
