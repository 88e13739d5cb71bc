//! [`Evaluator`]: the only place where permissions are spent on keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable};

use super::grant::{FreshNonce, Granted};
use super::keys::FleetSecrets;
use super::slots::{Chunks, Outcome, Slots, Slotted, Stop};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::journal::Journal;
use crate::ledger::{Account, Policy, State};
use crate::opaque::fake::{self, FakeKeys, Lookup};
use crate::opaque::login::{self, Login, Response};
use crate::opaque::register::{self, Registration};
use crate::opaque::{Ke1, RegistrationRequest, ServerKeys};
use crate::protocol::Reply;
use crate::secret::Secret;
use crate::wire::Invalid;
use crate::wrap::{EpochKeys, LoginTicket, OpenItem, Record, SealItem, Sealed, TicketKeys};

/// What an enrolment's start comes to.
pub struct Registered {
    /// OPAQUE's registration response.
    pub r2: [u8; 64],
    /// Number of the keys that made it.
    pub key_number: u16,
    /// The nonce that was spent, for the ticket.
    pub nonce: Box<Secret<[u8; 32]>>,
}

/// Holds the keys that evaluate, and spends them on permissions only.
///
/// Without a receipt there is no evaluation. This compiles:
///
/// ```
/// use strongroom::{journal::Journal, opaque::Ke1, vault::{Evaluator, Granted}};
/// fn answer(evaluator: &Evaluator, journal: &dyn Journal, receipt: Granted, ke1: Ke1) {
///     evaluator.recover(journal, vec![(receipt, ke1)]);
/// }
/// ```
///
/// and its twin, which has the command but not the receipt, does not:
///
/// ```compile_fail,E0308
/// use strongroom::{journal::Journal, ledger::Command, opaque::Ke1, vault::Evaluator};
/// fn answer(evaluator: &Evaluator, journal: &dyn Journal, receipt: Command, ke1: Ke1) {
///     evaluator.recover(journal, vec![(receipt, ke1)]);
/// }
/// ```
///
/// A receipt is spent once:
///
/// ```compile_fail,E0382
/// use strongroom::{journal::Journal, opaque::Ke1, vault::{Evaluator, Granted}};
/// fn answer(evaluator: &Evaluator, journal: &dyn Journal, receipt: Granted, first: Ke1, second: Ke1) {
///     evaluator.recover(journal, vec![(receipt, first), (receipt, second)]);
/// }
/// ```
pub struct Evaluator {
    servers: BTreeMap<u16, ServerKeys>,
    /// Number of those that make new records.
    enrols: u16,
    fakes: FakeKeys,
    epochs: Arc<EpochKeys>,
    /// What is opened where there is no record, so that there is always one to open.
    decoy: Sealed,
    tickets: Arc<TicketKeys>,
    policy: Policy,
}

/// The account that the decoy is sealed for. Nobody's id is zeros, since ids are digests.
const NOBODY: AccountId = AccountId([0; 32]);

/// A receipt that holds, with what the state says to its holder.
struct Ready {
    receipt: Granted,
    ke1: Ke1,
    expiry_s: u64,
    remaining: u32,
}

/// A receipt with what was found for it: the sealed record that it names, or the decoy.
struct Found {
    ready: Ready,
    account: AccountId,
    generation: u32,
    sealed: Sealed,
}

/// What was found, opened.
struct Opened {
    ready: Ready,
    record: Record,
    key_number: u16,
}

impl Evaluator {
    /// Prepares every key.
    pub(super) fn new(
        policy: &Policy,
        secrets: &FleetSecrets,
        epochs: Arc<EpochKeys>,
        tickets: Arc<TicketKeys>,
    ) -> Result<Self, Fault> {
        let (servers, enrols) = (secrets.server_keys()?, secrets.enrols);
        // What it holds never shows: where it is opened, everything in it is masked away.
        let decoy =
            Record::new(&[0; 32], policy.default_preset, &[0; 192], &[0]).map_err(Invalid::stored("a decoy"))?;
        let item = SealItem { account: &NOBODY, generation: 0, key_number: enrols, record: &decoy };
        let decoy = only(epochs.seal(&[item]))?;
        Ok(Evaluator { servers, enrols, fakes: secrets.fake_keys()?, epochs, decoy, tickets, policy: policy.clone() })
    }

    /// GenerateKE2 for each receipt and the KE1 that it was made for, with a ticket for the finish.
    ///
    /// The answer is [`Refusal::Stale`] to a receipt for another KE1, and [`Refusal::Busy`] where the record that was
    /// charged has been replaced, removed or destroyed since, or this replica has not applied the receipt's index (L10).
    ///
    /// # Errors
    /// Each item has its own: [`Fault::Damaged`] if the record does not open, [`Fault::Key`] if its keys are not held,
    /// the journal's faults.
    pub fn recover(&self, journal: &dyn Journal, granted: Vec<(Granted, Ke1)>) -> Vec<Result<Reply, Fault>> {
        let mut slots = Slots::new(granted.len());
        let (restores, ready) = self.admit(journal, granted);
        let ready = slots.sift(ready.into_iter().enumerate());
        // A task that waited for a disk would keep a core from evaluating: all is found before the first is answered.
        let found: Chunks<Found> = slots.sift(self.find(journal, ready));
        slots.settle_all(found.each(|chunk| self.answer(restores, chunk)));
        slots.finish()
    }

    /// Holds each receipt against its KE1 and against the state; and how often that was restored.
    fn admit(&self, journal: &dyn Journal, granted: Vec<(Granted, Ke1)>) -> (u32, Vec<Result<Ready, Stop>>) {
        let (mut restores, mut told) = (0, Vec::with_capacity(granted.len()));
        // Every receipt's row has been applied here, or the receipt waits: no other replica's state is asked for.
        let index = journal.look(&mut |state| {
            restores = state.restores();
            told = granted.iter().map(|(receipt, _)| self.tell(state, receipt)).collect();
        });
        let index = match index {
            Ok(index) => index,
            Err(fault) => return (0, granted.iter().map(|_| Err(Stop::from(fault.clone()))).collect()),
        };
        let admit_one = |((receipt, ke1), told): ((Granted, Ke1), Result<(u64, u32), Refusal>)| {
            if !receipt.is_for(ke1.as_bytes()) {
                return Err(Stop::from(Refusal::Stale));
            }
            if receipt.index() > index {
                return Err(Stop::from(Refusal::Busy));
            }
            let (expiry_s, remaining) = told?;
            Ok(Ready { receipt, ke1, expiry_s, remaining })
        };
        (restores, granted.into_iter().zip(told).map(admit_one).collect())
    }

    /// When the ticket expires, and what the person is told to have left.
    fn tell(&self, state: &State, receipt: &Granted) -> Result<(u64, u32), Refusal> {
        state.is_here(receipt.account())?;
        let account = state.account(receipt.account());
        if receipt.live() && !account.is_some_and(|it| it.is_live() && it.generation() == receipt.generation()) {
            return Err(Refusal::Busy);
        }
        let expiry_s = state.time_s().saturating_add(self.policy.login_ttl_s);
        let destroyed_s = match account {
            Some(it) if it.remaining(&self.policy) == 0 => {
                it.last_charge_s().saturating_add(self.policy.destroy_after_s)
            }
            _ => u64::MAX,
        };
        Ok((expiry_s.min(destroyed_s), told_remaining(state.policy(), account)))
    }

    /// Finds what each receipt names: its record, or the decoy where there is none. The last step that goes another way
    /// for one kind of account than for another.
    fn find(&self, journal: &dyn Journal, ready: Vec<Slotted<Ready>>) -> Vec<Outcome<Found>> {
        let live = ready.iter().filter(|(_, it)| it.receipt.live());
        let asked: Vec<_> = live.map(|(_, it)| (*it.receipt.account(), it.receipt.generation())).collect();
        let mut found = journal.sealed_each(&asked).into_iter();
        let mut find_one = |ready: Ready| {
            if !ready.receipt.live() {
                return Ok(Found { ready, account: NOBODY, generation: 0, sealed: self.decoy.clone() });
            }
            let (account, generation) = (*ready.receipt.account(), ready.receipt.generation());
            let sealed = found.next().unwrap_or_else(|| Err(missing_result()))?.ok_or(Refusal::Busy)?;
            Ok(Found { ready, account, generation, sealed })
        };
        ready.into_iter().map(|(slot, ready)| (slot, find_one(ready))).collect()
    }

    /// From what was found to the reply, the same steps for every kind of account (V4). A function of its own, so that
    /// the test of traces can step through it.
    #[inline(never)]
    fn answer(&self, restores: u32, found: Vec<Slotted<Found>>) -> Vec<Outcome<Reply>> {
        let (opened, mut outcomes) = self.open(found);
        self.evaluate(restores, opened, &mut outcomes);
        outcomes
    }

    /// Opens what was found; what does not open has its outcome.
    fn open(&self, found: Vec<Slotted<Found>>) -> (Vec<Slotted<Opened>>, Vec<Outcome<Reply>>) {
        let items: Vec<_> = found
            .iter()
            .map(|(_, it)| OpenItem { account: &it.account, generation: it.generation, sealed: &it.sealed })
            .collect();
        let records = self.epochs.open(&items);
        let (mut opened, mut outcomes) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for ((slot, Found { ready, sealed, .. }), record) in found.into_iter().zip(records) {
            match record {
                Ok(record) => {
                    opened.push((slot, Opened { ready, record, key_number: sealed.header().key_number }));
                }
                Err(fault) => outcomes.push((slot, Err(Stop::from(fault)))),
            }
        }
        (opened, outcomes)
    }

    /// Evaluates. The fake is derived for everyone, and which one is taken shows in no branch and no address.
    fn evaluate(&self, restores: u32, opened: Vec<Slotted<Opened>>, outcomes: &mut Vec<Outcome<Reply>>) {
        let mut items = Vec::with_capacity(opened.len());
        for (slot, Opened { ready, record, key_number }) in opened {
            match self.servers.get(&key_number) {
                Some(keys) => items.push((slot, ready, record, key_number, keys)),
                None => outcomes.push((slot, Err(Stop::from(missing(key_number))))),
            }
        }
        let lookups: Vec<_> = items
            .iter()
            .map(|(_, ready, record, _, keys)| Lookup {
                known: Choice::from(u8::from(ready.receipt.live())),
                keys,
                account: ready.receipt.account().as_bytes(),
                nonce: record.nonce(),
                record: record.opaque(),
            })
            .collect();
        let chosen = fake::choose(&lookups, &self.fakes);
        let logins: Vec<_> = items
            .iter()
            .zip(&chosen)
            .map(|((_, ready, _, _, keys), chosen)| Login {
                keys,
                credential: chosen.credential(),
                ke1: &ready.ke1,
                context: &self.policy.context,
                client_identity: self.policy.client_identity.then_some(&ready.receipt.account().as_bytes()[..]),
                server_identity: None,
            })
            .collect();
        let responses = match login::respond(&logins) {
            Ok(responses) => responses,
            Err(fault) => {
                outcomes.extend(items.iter().map(|(slot, ..)| (*slot, Err(Stop::from(fault.clone())))));
                return;
            }
        };
        let mut answered = Vec::with_capacity(items.len());
        for ((slot, ready, record, key_number, _), response) in items.into_iter().zip(responses) {
            match response {
                Ok(Response { ke2, state }) => {
                    let ticket = LoginTicket {
                        generation: ready.receipt.generation(),
                        expiry_s: ready.expiry_s,
                        key_number,
                        ordinal: ready.receipt.ordinal(),
                        state,
                    };
                    let known = Choice::from(u8::from(ready.receipt.live()));
                    let preset = u8::conditional_select(&self.policy.default_preset, &record.preset(), known);
                    answered.push((slot, ready, ke2, preset, ticket));
                }
                Err(fault) => outcomes.push((slot, Err(Stop::from(fault)))),
            }
        }
        let items: Vec<_> = answered.iter().map(|(_, ready, _, _, ticket)| (ready.receipt.account(), ticket)).collect();
        let tickets = self.tickets.seal(restores, &items);
        outcomes.extend(answered.iter().zip(tickets).map(|((slot, ready, ke2, preset, _), ticket)| {
            let remaining = ready.remaining;
            let reply =
                ticket.map(|ticket| Reply::RecoverStarted { ke2: Box::new(*ke2), preset: *preset, remaining, ticket });
            (*slot, reply.map_err(Stop::from))
        }));
    }

    /// CreateRegistrationResponse (RFC 9807 section 5.2.2) for each fresh nonce and the R1 that it was drawn for.
    ///
    /// # Errors
    /// Each item has its own; [`Fault::Limit`] if a nonce was drawn for another R1.
    pub fn enrol(&self, fresh: Vec<(FreshNonce, RegistrationRequest)>) -> Vec<Result<Registered, Fault>> {
        let Some(keys) = self.servers.get(&self.enrols) else {
            return fresh.iter().map(|_| Err(missing(self.enrols))).collect();
        };
        let identifiers: Vec<_> = fresh.iter().map(|(nonce, _)| nonce.credential_identifier()).collect();
        let items: Vec<_> = fresh
            .iter()
            .zip(&identifiers)
            .map(|((_, request), identifier)| Registration { keys, request, credential_identifier: &identifier[..] })
            .collect();
        let responses = register::respond(&items);
        fresh
            .into_iter()
            .zip(responses)
            .map(|((nonce, request), response)| {
                if !nonce.is_for(request.as_bytes()) {
                    return Err(Fault::Limit("a nonce is for the R1 that it was drawn for".to_owned()));
                }
                Ok(Registered { r2: response?, key_number: self.enrols, nonce: nonce.into_nonce() })
            })
            .collect()
    }

    /// Seals records under the newest epoch.
    pub(super) fn seal(&self, records: &[SealItem<'_>]) -> Vec<Result<Sealed, Fault>> {
        self.epochs.seal(records)
    }

    /// The static public keys, by number, and the number of the one of new enrolments.
    pub(super) fn public_keys(&self) -> (impl Iterator<Item = (u16, &[u8; 32])>, u16) {
        (self.servers.iter().map(|(number, keys)| (*number, keys.public_key())), self.enrols)
    }
}

/// What a person is told to have left; under a policy that conceals, always the same number.
pub(super) fn told_remaining(policy: &Policy, account: Option<&Account>) -> u32 {
    match account {
        Some(it) if !policy.conceal_exhausted => it.remaining(policy),
        _ => policy.attempts_max,
    }
}

fn missing(key_number: u16) -> Fault {
    Fault::Key(format!("a record names key number {key_number}, which this vault does not hold"))
}

fn missing_result() -> Fault {
    Fault::Limit("a batch gave fewer results than it had items".to_owned())
}

/// The one result of a batch of one.
fn only<T>(mut results: Vec<Result<T, Fault>>) -> Result<T, Fault> {
    results.pop().unwrap_or_else(|| Err(missing_result()))
}
