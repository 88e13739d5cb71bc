//! [`Ring`]: the keys of one moment, made ready; [`Batch`]: requests at work under them.

use std::sync::Arc;

use super::Vault;
use super::evaluate::Evaluator;
use super::grant::DigestKeys;
use super::keys::FleetSecrets;
use super::slots::Stop;
use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::error::{Fault, Refusal};
use crate::ledger::Policy;
#[cfg(feature = "channel")]
use crate::session::ChannelKeys;
use crate::wrap::{EpochKeys, Ticket, TicketKeys};

/// Epochs and hashes of the bundles that name the keys.
pub(super) type Bundles = Arc<[(u32, [u8; 32])]>;

/// What stands for a bundle where there is none, in development.
#[cfg(feature = "channel")]
const NO_BUNDLE: [(u32, [u8; 32]); 1] = [(0, [0; 32])];

/// The keys of one moment. A batch begins and ends under one ring; a turn of a key puts another in its place, and the
/// old one is wiped when the last batch under it has ended.
pub(super) struct Ring {
    pub(super) secrets: Box<FleetSecrets>,
    pub(super) epochs: Arc<EpochKeys>,
    pub(super) evaluator: Evaluator,
    pub(super) tickets: Arc<TicketKeys>,
    pub(super) digests: DigestKeys,
    pub(super) nonce_key: HmacKey,
    /// Those that clients may have verified.
    pub(super) bundles: Bundles,
    /// None where the policy wants a bundle and there is none.
    #[cfg(feature = "channel")]
    pub(super) channel: Option<ChannelKeys>,
}

impl Ring {
    /// Makes every key ready.
    pub(super) fn new(
        policy: &Policy,
        secrets: Box<FleetSecrets>,
        epochs: Arc<EpochKeys>,
        bundles: Bundles,
    ) -> Result<Self, Fault> {
        let tickets = Arc::new(secrets.ticket_keys()?);
        let evaluator = Evaluator::new(policy, &secrets, Arc::clone(&epochs), Arc::clone(&tickets))?;
        let (digests, nonce_key) = (secrets.digest_keys()?, secrets.nonce_key());
        Ok(Ring {
            #[cfg(feature = "channel")]
            channel: match &bundles[..] {
                [] if !policy.development => None,
                [] => Some(secrets.channel_keys(&NO_BUNDLE)?),
                some => Some(secrets.channel_keys(some)?),
            },
            bundles,
            secrets,
            epochs,
            evaluator,
            tickets,
            digests,
            nonce_key,
        })
    }
}

/// A batch of requests at work: the vault, and the keys that it began under.
pub(super) struct Batch<'a> {
    pub(super) vault: &'a Vault,
    pub(super) ring: Arc<Ring>,
}

/// What the state says to tickets that are to be opened.
pub(super) struct Opening {
    /// How often it was restored, and its time.
    looked: Result<(u32, u64), Fault>,
    /// Whether a ticket under a newer key may be one: not if all keys are here.
    behind: Result<(), Fault>,
}

impl Batch<'_> {
    /// Asks what is to be known before tickets are opened. One under a key that this vault has yet to take from another of
    /// the fleet (V15) is no bad ticket: who brings it comes again. Whether there are such keys is asked only where a ticket
    /// names one.
    pub(super) fn opening<'a, T: Ticket>(&self, tickets: impl Iterator<Item = &'a [u8]>) -> Opening {
        let Batch { vault, ring } = self;
        let (mut restores, mut time_s) = (0, 0);
        let mut tickets = tickets.peekable();
        if tickets.peek().is_none() {
            return Opening { looked: Ok((restores, time_s)), behind: Ok(()) };
        }
        let looked = vault.journal.look(&mut |state| (restores, time_s) = (state.restores(), state.time_s()));
        let mut behind = Ok(());
        if looked.is_ok() && tickets.any(|sealed| ring.tickets.is_newer::<T>(sealed)) {
            let mut known = 0;
            let read = vault.journal.read(&mut |state| known = state.keys_serial());
            behind = match read {
                Ok(_) if known > ring.secrets.serial => {
                    Err(Fault::Unsettled("the fleet has turned to keys that this vault is yet to take".to_owned()))
                }
                read => read.map(drop),
            };
        }
        Opening { looked: looked.map(|_| (restores, time_s)), behind }
    }

    /// Opens tickets, one answer each.
    pub(super) fn open_tickets<T: Ticket>(
        &self,
        opening: &Opening,
        items: &[(&AccountId, &[u8])],
    ) -> Vec<Result<T, Stop>> {
        let (restores, time_s) = match &opening.looked {
            Ok(looked) => *looked,
            Err(fault) => return items.iter().map(|_| Err(Stop::from(fault.clone()))).collect(),
        };
        let opened = self.ring.tickets.open(restores, items, time_s).into_iter().zip(items);
        let outcome = |(opened, (_, sealed)): (Result<T, Refusal>, &(&AccountId, &[u8]))| {
            if self.ring.tickets.is_newer::<T>(sealed) {
                opening.behind.clone()?;
            }
            Ok(opened?)
        };
        opened.map(outcome).collect()
    }
}
