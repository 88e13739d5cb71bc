//! The two permissions to evaluate: [`Granted`], a charged attempt, and [`FreshNonce`], an enrolment's own key.
//!
//! Each can be made in one way only, and neither can be copied, so that an evaluation without a committed charge, or an
//! enrolment under a key that was used before, does not compile. The only place that spends them is
//! [`Evaluator`](super::Evaluator).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::account::AccountId;
use crate::engine::backend;
use crate::engine::sha512::HmacKey;
use crate::error::{Fault, Refusal};
use crate::journal::{Committed, Journal};
use crate::ledger::{Command, Digests, KeyedDigest, State, Verdict};
use crate::protocol::{KE1_LEN, R1_LEN};
use crate::secret::{Secret, random_array};

/// The keys under which a KE1 is recognised when it is repeated (L9), by number.
pub struct DigestKeys {
    current: (u16, HmacKey),
    previous: Option<(u16, HmacKey)>,
}

impl DigestKeys {
    /// The current key with its number and, while it rotates, the one before.
    pub fn new(current: (u16, HmacKey), previous: Option<(u16, HmacKey)>) -> Self {
        DigestKeys { current, previous }
    }

    /// What accounts' KE1s are recognised by, one answer each, in their order. The digests of all are made together.
    pub fn recognise(&self, asked: &[(AccountId, &[u8; KE1_LEN])]) -> Vec<Recognised> {
        let current = under(&self.current, asked);
        let mut previous = self.previous.iter().flat_map(|key| under(key, asked));
        asked
            .iter()
            .zip(current)
            .map(|((account, ke1), current)| Recognised {
                account: *account,
                digests: Digests { current, previous: previous.next() },
                ke1: Sha256::digest(ke1).into(),
            })
            .collect()
    }
}

/// HMAC-SHA-512 over account id and KE1, cut to 16 bytes.
fn under((key_number, key): &(u16, HmacKey), asked: &[(AccountId, &[u8; KE1_LEN])]) -> Vec<KeyedDigest> {
    let items: Vec<_> = asked.iter().map(|(account, ke1)| (key, [&account.0[..], &ke1[..]])).collect();
    let cut = |mac: &[u8; 64]| {
        let mut digest = [0; 16];
        digest.copy_from_slice(&mac[..16]);
        KeyedDigest { key_number: *key_number, digest }
    };
    backend().macs(&items).expose().iter().map(cut).collect()
}

/// An account's KE1, as its digests name it (L9). Only [`DigestKeys`] makes one, so that whoever has it knows that they
/// are that KE1's.
#[derive(Debug)]
pub struct Recognised {
    account: AccountId,
    digests: Digests,
    ke1: [u8; 32],
}

impl Recognised {
    /// Charges an attempt for it.
    pub fn charge(&self) -> Command {
        Command::Charge { account: self.account, digests: self.digests }
    }
}

/// A receipt (L10): this account's attempt of this ordinal is charged, durably, for this KE1 and no other.
#[derive(Debug)]
pub struct Granted {
    account: AccountId,
    generation: u32,
    ordinal: u32,
    index: u64,
    ke1: [u8; 32],
    live: bool,
}

impl Granted {
    /// The receipt that a committed charge amounts to, for the KE1 that was charged.
    ///
    /// With `conceal`, an exhausted account is granted a fake in place of the refusal: it names no record, so there is
    /// no key of a record to evaluate.
    ///
    /// # Errors
    /// The ledger's refusal; [`Refusal::Stale`] if it is not a charge, or the charge of another KE1.
    pub fn charged(committed: Committed, recognised: &Recognised, conceal: bool) -> Result<Self, Refusal> {
        if *committed.command() != recognised.charge() {
            return Err(Refusal::Stale);
        }
        let (generation, ordinal, live) = match *committed.verdict() {
            Verdict::Charged { generation, ordinal, live, .. } => (generation, ordinal, live),
            Verdict::Refused(Refusal::Exhausted) if conceal => (0, 0, false),
            Verdict::Refused(refusal) => return Err(refusal),
            _ => return Err(Refusal::Stale),
        };
        let Recognised { account, ke1, .. } = *recognised;
        Ok(Granted { account, generation, ordinal, index: committed.index(), ke1, live })
    }

    /// Receipts for those of the given KE1s that were charged already in their account's open window (L9), each with its
    /// place among them: read at a confirmed index, without a row of their own.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn charged_before(journal: &dyn Journal, asked: &[&Recognised]) -> Result<Vec<(usize, Self)>, Fault> {
        let find_one = |state: &State, Recognised { account, digests, ke1 }: &Recognised| {
            let (generation, ordinal) = state.charged_before(account, digests)?;
            let live = state.account(account).is_some_and(|it| it.is_live());
            Some(Granted { account: *account, generation, ordinal, index: 0, ke1: *ke1, live })
        };
        let find = |state: &State| -> Vec<_> {
            let found = asked.iter().enumerate();
            found.filter_map(|(place, recognised)| Some((place, find_one(state, recognised)?))).collect()
        };
        let mut found = Vec::new();
        journal.look(&mut |state| found = find(state))?;
        if found.is_empty() {
            // The usual case costs no question to a leader. A repetition that is not seen here is charged, which knows it.
            return Ok(found);
        }
        let index = journal.read(&mut |state| found = find(state))?;
        found.iter_mut().for_each(|(_, granted)| granted.index = index);
        Ok(found)
    }

    /// Whose attempt.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Generation that it is charged to.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The attempt's ordinal.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Log index at which it is durable.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether the generation's record lived when it was charged; else the answer is a fake.
    pub fn live(&self) -> bool {
        self.live
    }

    /// Whether it is a receipt for this KE1.
    pub fn is_for(&self, ke1: &[u8; KE1_LEN]) -> bool {
        self.ke1 == <[u8; 32]>::from(Sha256::digest(ke1))
    }
}

/// The nonce of one enrolment (L7): HMAC under a fleet key of its own, over fresh randomness, account id, generation
/// and R1. With it an enrolment's key is never the key of another record or enrolment.
pub struct FreshNonce {
    account: AccountId,
    r1: [u8; R1_LEN],
    nonce: Box<Secret<[u8; 32]>>,
}

impl FreshNonce {
    /// Draws the nonce of an enrolment that ends `generation`.
    ///
    /// # Errors
    /// [`Fault::Randomness`].
    pub fn draw(key: &HmacKey, account: &AccountId, generation: u32, r1: &[u8; R1_LEN]) -> Result<Self, Fault> {
        let randomness = random_array::<32>()?;
        let mac = Zeroizing::new(key.mac(&[&randomness, &account.0, &generation.to_be_bytes(), r1]));
        let mut nonce = Box::new(Secret::new([0; 32]));
        nonce.expose_mut().copy_from_slice(&mac[..32]);
        Ok(FreshNonce { account: *account, r1: *r1, nonce })
    }

    /// Whose enrolment.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Whether it was drawn for this R1.
    pub fn is_for(&self, r1: &[u8; R1_LEN]) -> bool {
        self.r1 == *r1
    }

    /// Account id, then nonce: what RFC 9807 calls the credential identifier.
    pub(super) fn credential_identifier(&self) -> Zeroizing<[u8; 64]> {
        let mut identifier = Zeroizing::new([0; 64]);
        identifier[..32].copy_from_slice(&self.account.0);
        identifier[32..].copy_from_slice(self.nonce.expose());
        identifier
    }

    pub(super) fn into_nonce(self) -> Box<Secret<[u8; 32]>> {
        self.nonce
    }
}
