//! Accounts and counters that move to another vault, sealed to its key (feature `channel`).
//!
//! ```text
//! target                                   source
//! Vault::offer   -- Offer -------------->  Vault::export
//! Import::begin  <-- Export::hello ------  server keys, and what authenticates the parcels
//! Import::take   <-- Export::next -------  a range of accounts, which the source answers for no more
//!      ...                                      ...
//! ```
//!
//! Either side may be stopped at any moment and go on: the offer is the same each time, a hello that is said again adds the
//! server keys that have turned since, a range that has left is packed again, a parcel that has been taken is passed over.
//!
//! | id | invariant |
//! |---|---|
//! | V10 | a range leaves the source, durably, and every batch that may still evaluate in it has ended, before its parcel is handed out: no account is answered by both vaults |
//! | V11 | a parcel opens only at the vault that made the offer, in its place, and only if it is from the source that said hello |
//! | V12 | the last parcel is taken only if accounts, records and digest of all that came are those of all that left |
//!
//! What stays behind: KE1s of open windows (a repeated one is charged again), tickets (what is under way begins again), and
//! the fakes' keys: whoever repeats an element at an id before and after the move learns whether it has a record.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::keys::Server;
use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::error::Fault;
use crate::ledger::{Account, Policy, Tally};
use crate::secret::Secret;
use crate::session::{self, PUBLIC_KEY_LEN, Recipient};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::{PLAIN_LEN, Record};

/// Version of offers, hellos and parcels.
const VERSION: u8 = 1;
const HELLO: &[u8] = b"strongroom move hello v1";
const PARCEL: &[u8] = b"strongroom move parcel v1";
const TRANSFER: &[u8] = b"strongroom move transfer key v1";
/// Bytes of what authenticates a parcel.
const MAC_LEN: usize = 32;
/// Accounts of one parcel that are read; far above what one is made of.
const IN_PARCEL_MAX: usize = 1 << 24;

/// What a vault that takes accounts says of itself: its fleet, the key that they are to be sealed to, its policy.
///
/// Who gives an offer to a vault decides where its accounts go. Vaults that are not for development will want it in a
/// statement of both signers; until there are such, they make and take none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub(super) fleet: [u8; 32],
    pub(super) public_key: Box<[u8; PUBLIC_KEY_LEN]>,
    pub(super) policy: Policy,
}

impl Offer {
    /// The offer's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION).bytes(&self.fleet).bytes(&self.public_key[..]).counted(&self.policy.encode());
        writer.finish()
    }

    /// Reads what [`Offer::encode`] wrote.
    ///
    /// # Errors
    /// [`Fault::Format`] on another version, [`Fault::Damaged`] if it is not an offer.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::versioned("an offer", bytes, VERSION)?;
        let mut read = || {
            let (fleet, public_key) = (*reader.array()?, Box::new(*reader.array()?));
            Ok(Offer { fleet, public_key, policy: Policy::read(&mut reader)? })
        };
        let offer = read().map_err(Invalid::stored("an offer"))?;
        reader.finish().map_err(Invalid::stored("an offer"))?;
        Ok(offer)
    }

    /// SHA-256 of the offer: names the move.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }

    /// The fleet that makes it.
    pub fn fleet(&self) -> &[u8; 32] {
        &self.fleet
    }
}

/// Whether two vaults may hand accounts to each other: their clients would not notice.
pub(super) fn may_move(policy: &Policy, other: &Policy) -> Result<(), Fault> {
    if !policy.development || !other.development {
        return Err(Fault::Policy(
            "accounts move between vaults for development only, until both signers can say where to".to_owned(),
        ));
    }
    let same = [
        ("attempts_max", policy.attempts_max == other.attempts_max),
        ("lifetime_max", policy.lifetime_max == other.lifetime_max),
        ("context", policy.context == other.context),
        ("client_identity", policy.client_identity == other.client_identity),
        // What fakes send: records that came with another would be told from them at any login.
        ("default_preset", policy.default_preset == other.default_preset),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Fault::PolicyMismatch(format!("{field} differs between the two vaults"))),
        None => Ok(()),
    }
}

/// What authenticates the parcels of a move: the same each time, from a secret of the source.
pub(super) fn transfer_key(nonce_key: &HmacKey, offer: &[u8; 32]) -> Secret<[u8; 32]> {
    let mac = Zeroizing::new(nonce_key.mac(&[TRANSFER, offer]));
    let mut key = Secret::new([0; 32]);
    key.expose_mut().copy_from_slice(&mac[..32]);
    key
}

/// What the source says first.
pub(super) struct Hello {
    pub(super) fleet: [u8; 32],
    pub(super) transfer_key: Secret<[u8; 32]>,
    pub(super) servers: Vec<Server>,
}

impl Hello {
    pub(super) fn seal(&self, offer: &Offer) -> Result<Vec<u8>, Fault> {
        let mut writer = Writer::with_capacity(16 * 1024);
        writer.bytes(&self.fleet).bytes(self.transfer_key.expose()).u16(self.servers.len() as u16);
        for it in &self.servers {
            writer.u16(it.number).bytes(&it.oprf_seed).bytes(&it.static_secret);
        }
        let plain = Zeroizing::new(writer.finish());
        let sealed = session::seal(&offer.public_key, &[HELLO, &offer.hash()].concat(), &plain)?;
        Ok([&[VERSION][..], &sealed].concat())
    }

    pub(super) fn open(recipient: &Recipient, offer: &[u8; 32], bytes: &[u8]) -> Result<Self, Fault> {
        let sealed = Reader::versioned("a hello", bytes, VERSION)?.rest();
        let plain = recipient.open(&[HELLO, offer].concat(), sealed).map_err(|_| not_for_us("hello"))?;
        let mut reader = Reader::new(plain.expose());
        let mut read = || {
            let (fleet, transfer_key) = (*reader.array()?, Secret::new(*reader.array()?));
            let count = usize::from(reader.u16()?);
            let mut servers = Vec::with_capacity(count);
            for _ in 0..count {
                let number = reader.u16()?;
                servers.push(Server { number, oprf_seed: *reader.array()?, static_secret: *reader.array()? });
            }
            Ok(Hello { fleet, transfer_key, servers })
        };
        read().map_err(Invalid::stored("a hello"))
    }
}

/// The accounts of a range that has left, sealed to the vault that takes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Ids from here on.
    pub from: AccountId,
    /// Up to here, or to the end.
    pub upto: Option<AccountId>,
    /// The move that it belongs to.
    pub offer: [u8; 32],
    sealed: Vec<u8>,
}

/// What a parcel holds.
pub(super) struct Contents {
    /// State time of the source.
    pub(super) time_s: u64,
    /// In order of id.
    pub(super) accounts: Vec<Content>,
    /// In the last parcel, all that has left.
    pub(super) total: Option<Tally>,
}

/// An account in a parcel.
pub(super) struct Content {
    pub(super) id: AccountId,
    pub(super) account: Account,
    /// Of a live record: the number of the keys that made it, and what is in it.
    pub(super) record: Option<(u16, Record)>,
}

impl Parcel {
    pub(super) fn pack(
        offer: &Offer,
        key: &Secret<[u8; 32]>,
        (from, upto): (AccountId, Option<AccountId>),
        contents: &Contents,
    ) -> Result<Self, Fault> {
        let mut parcel = Parcel { from, upto, offer: offer.hash(), sealed: Vec::new() };
        // Room for everything, so that no copy is left behind by a growing vector.
        let mut writer = Writer::with_capacity(256 + contents.accounts.len() * (512 + 64 * 20 + PLAIN_LEN));
        writer.u64(contents.time_s).u32(contents.accounts.len() as u32);
        for Content { id, account, record } in &contents.accounts {
            writer.bytes(&id.0);
            account.as_travels().write(&mut writer);
            if let Some((key_number, record)) = record {
                writer.u16(*key_number).bytes(record.encode());
            }
        }
        writer.flag(contents.total.is_some());
        if let Some(Tally { accounts, records, digest }) = &contents.total {
            writer.u64(*accounts).u64(*records).bytes(digest);
        }
        let body = Zeroizing::new(writer.finish());
        let mac = parcel.mac(key, &body);
        let plain = Zeroizing::new([&mac[..], &body].concat());
        parcel.sealed = session::seal(&offer.public_key, &parcel.info(), &plain)?;
        Ok(parcel)
    }

    pub(super) fn unpack(&self, recipient: &Recipient, key: &Secret<[u8; 32]>) -> Result<Contents, Fault> {
        let plain = recipient.open(&self.info(), &self.sealed).map_err(|_| not_for_us("parcel"))?;
        let (mac, body) = plain.expose().split_at_checked(MAC_LEN).ok_or_else(|| not_for_us("parcel"))?;
        if !bool::from(self.mac(key, body).ct_eq(mac)) {
            return Err(Fault::Key("a parcel is not from the vault that said hello".to_owned()));
        }
        let mut reader = Reader::new(body);
        let mut read = || {
            let (time_s, count) = (reader.u64()?, reader.u32()? as usize);
            if count > IN_PARCEL_MAX {
                return Err(Invalid);
            }
            let mut accounts = Vec::with_capacity(count);
            for _ in 0..count {
                let (id, account) = (AccountId(*reader.array()?), Account::read(&mut reader)?);
                let record = if account.is_live() {
                    Some((reader.u16()?, Record::decode(reader.array::<PLAIN_LEN>()?)?))
                } else {
                    None
                };
                accounts.push(Content { id, account, record });
            }
            let total = if reader.flag()? {
                Some(Tally { accounts: reader.u64()?, records: reader.u64()?, digest: *reader.array()? })
            } else {
                None
            };
            Ok(Contents { time_s, accounts, total })
        };
        let contents = read().map_err(Invalid::stored("a parcel"))?;
        reader.finish().map_err(Invalid::stored("a parcel"))?;
        Ok(contents)
    }

    /// The parcel's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128 + self.sealed.len());
        writer.u8(VERSION);
        self.write_place(&mut writer);
        writer.bytes(&self.sealed);
        writer.finish()
    }

    /// Reads what [`Parcel::encode`] wrote: where it belongs; whether that is true shows when it is taken.
    ///
    /// # Errors
    /// [`Fault::Format`] on another version, [`Fault::Damaged`] if it is not a parcel.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::versioned("a parcel", bytes, VERSION)?;
        let mut read = || {
            let (offer, from) = (*reader.array()?, AccountId(*reader.array()?));
            let upto = if reader.flag()? { Some(AccountId(*reader.array()?)) } else { None };
            Ok((offer, from, upto))
        };
        let (offer, from, upto) = read().map_err(Invalid::stored("a parcel"))?;
        Ok(Parcel { from, upto, offer, sealed: reader.rest().to_vec() })
    }

    fn write_place(&self, writer: &mut Writer) {
        writer.bytes(&self.offer).bytes(&self.from.0).flag(self.upto.is_some());
        if let Some(upto) = &self.upto {
            writer.bytes(&upto.0);
        }
    }

    fn info(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(PARCEL);
        self.write_place(&mut writer);
        writer.finish()
    }

    fn mac(&self, key: &Secret<[u8; 32]>, body: &[u8]) -> [u8; MAC_LEN] {
        let mac = HmacKey::new(key.expose()).mac(&[&self.info(), body]);
        let mut cut = [0; MAC_LEN];
        cut.copy_from_slice(&mac[..MAC_LEN]);
        cut
    }
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parcel").field("from", &self.from).field("upto", &self.upto).finish_non_exhaustive()
    }
}

fn not_for_us(what: &str) -> Fault {
    Fault::Key(format!("this {what} was not sealed to this vault's offer, or is damaged"))
}
