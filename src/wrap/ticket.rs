//! [`TicketKeys`]: what the vault would have to remember between two messages, sealed and carried by the client
//! (DESIGN section 4), so that any replica can finish.
//!
//! A ticket is good in the state that it was made in: after a restore from backup the ordinals and generations of before may
//! come a second time, so the number of restores is among what tickets are bound to.

use super::cipher::{Committing, Nonce, OVERHEAD};
use super::each;
use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::engine::{SHALLOW, traceless};
use crate::error::{Fault, Refusal};
use crate::secret::{Secret, with_nonces};
use crate::wire::{Invalid, Reader, Writer};

/// Version of the ticket format.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 2;
const LOGIN_LEN: usize = 4 + 8 + 2 + 4 + 128;
const ENROLMENT_LEN: usize = 4 + 8 + 2 + 32 + 32;
const ASSOCIATED_LEN: usize = 1 + HEADER_LEN + 32 + 4 + 32;
const LOGIN: u8 = 1;
const ENROLMENT: u8 = 2;

/// Bytes of a sealed login ticket.
pub const LOGIN_TICKET_LEN: usize = HEADER_LEN + OVERHEAD + LOGIN_LEN;

/// Bytes of a sealed enrolment ticket.
pub const ENROLMENT_TICKET_LEN: usize = HEADER_LEN + OVERHEAD + ENROLMENT_LEN;

/// A key that seals tickets of one kind.
pub type TicketKey = Secret<[u8; 32]>;

/// What the vault keeps between KE2 and KE3. All of it is sealed: a generation in clear would tell unknown accounts,
/// whose generation is 0, from known ones.
pub struct LoginTicket {
    /// Generation that was charged.
    pub generation: u32,
    /// Last second of state time in which the ticket is good.
    pub expiry_s: u64,
    /// Number of the OPRF seed and static key that answered.
    pub key_number: u16,
    /// Ordinal of the attempt.
    pub ordinal: u32,
    /// OPAQUE's server state between KE2 and KE3: expected client MAC and session key.
    pub state: Box<Secret<[u8; 128]>>,
}

/// What the vault keeps between a registration's response and its record.
pub struct EnrolmentTicket {
    /// Generation that the enrolment ends; so it works once.
    pub generation: u32,
    /// Last second of state time in which the ticket is good.
    pub expiry_s: u64,
    /// Number of the OPRF seed and static key that answered.
    pub key_number: u16,
    /// SHA-256 of R1 and R2.
    pub transcript: [u8; 32],
    /// The nonce of L7.
    pub nonce: Box<Secret<[u8; 32]>>,
}

/// A kind of ticket: [`LoginTicket`] or [`EnrolmentTicket`], and no other.
///
/// Each kind has keys of its own and is named in what they authenticate: a ticket of one kind opened as another would
/// hand out session keys.
pub trait Ticket: Send + Sync + content::Content {
    /// Bytes of a sealed ticket of this kind.
    const SEALED_LEN: usize;
}

impl Ticket for LoginTicket {
    const SEALED_LEN: usize = LOGIN_TICKET_LEN;
}

impl Ticket for EnrolmentTicket {
    const SEALED_LEN: usize = ENROLMENT_TICKET_LEN;
}

mod content {
    use crate::wire::{Invalid, Reader, Writer};

    /// How a kind of ticket is told and written; in a module of its own, so that there are two kinds and no more.
    pub trait Content: Sized {
        const KIND: u8;
        fn write(&self, writer: &mut Writer);
        fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid>;
    }
}

impl content::Content for LoginTicket {
    const KIND: u8 = LOGIN;

    fn write(&self, writer: &mut Writer) {
        writer
            .u32(self.generation)
            .u64(self.expiry_s)
            .u16(self.key_number)
            .u32(self.ordinal)
            .bytes(self.state.expose());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(LoginTicket {
            generation: reader.u32()?,
            expiry_s: reader.u64()?,
            key_number: reader.u16()?,
            ordinal: reader.u32()?,
            state: boxed(reader)?,
        })
    }
}

impl content::Content for EnrolmentTicket {
    const KIND: u8 = ENROLMENT;

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.generation).u64(self.expiry_s).u16(self.key_number);
        writer.bytes(&self.transcript).bytes(self.nonce.expose());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(EnrolmentTicket {
            generation: reader.u32()?,
            expiry_s: reader.u64()?,
            key_number: reader.u16()?,
            transcript: *reader.array()?,
            nonce: boxed(reader)?,
        })
    }
}

/// Copies a secret straight into its box, so that moving the ticket leaves no copy behind.
fn boxed<const N: usize>(reader: &mut Reader<'_>) -> Result<Box<Secret<[u8; N]>>, Invalid> {
    let mut secret = Box::new(Secret::new([0; N]));
    secret.expose_mut().copy_from_slice(reader.array::<N>()?);
    Ok(secret)
}

/// The keys of tickets: for each kind a current one, that seals, and retired ones, that still open.
///
/// A retired key opens until the time given with it, one ticket lifetime after it stopped sealing: every honest ticket
/// under it has expired by then, and whoever steals it later can make none. Times are state time, as values.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::error::Refusal;
/// use strongroom::secret::Secret;
/// use strongroom::wrap::{LoginTicket, TicketKey, TicketKeys};
/// let keys = TicketKeys::new([7; 32], (1, &TicketKey::random()?), (1, &TicketKey::random()?));
/// let account = &AccountId::derive("example.org/backup", "+15550100");
/// let state = Box::new(Secret::new([9; 128]));
/// let ticket = &LoginTicket { generation: 1, expiry_s: 1600, key_number: 1, ordinal: 3, state };
/// let sealed = keys.seal(0, &[(account, ticket)]).remove(0)?;
///
/// let opened = keys.open::<LoginTicket>(0, &[(account, &sealed)], 1000).remove(0);
/// assert_eq!(opened.map(|ticket| ticket.ordinal), Ok(3));
/// let stranger = &AccountId::derive("example.org/backup", "+15550101");
/// let refused = keys.open::<LoginTicket>(0, &[(stranger, &sealed)], 1000).remove(0);
/// assert_eq!(refused.map(|ticket| ticket.ordinal), Err(Refusal::TicketInvalid));
/// let after_a_restore = keys.open::<LoginTicket>(1, &[(account, &sealed)], 1000).remove(0);
/// assert_eq!(after_a_restore.map(|ticket| ticket.ordinal), Err(Refusal::TicketInvalid));
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub struct TicketKeys {
    fleet: [u8; 32],
    login: Ring,
    enrolment: Ring,
}

/// The keys of one kind.
struct Ring {
    current: Numbered,
    retired: Vec<(u64, Numbered)>,
}

/// A key and its number; boxed, since rings move their keys about and a move leaves a copy behind.
struct Numbered {
    number: u16,
    key: Box<Committing>,
}

impl Numbered {
    fn new((number, key): (u16, &TicketKey)) -> Self {
        traceless::<SHALLOW, _>(|| Numbered { number, key: Box::new(Committing::new(&HmacKey::new(key.expose()))) })
    }
}

impl TicketKeys {
    /// The keys of a fleet, each with its number.
    pub fn new(fleet: [u8; 32], login: (u16, &TicketKey), enrolment: (u16, &TicketKey)) -> Self {
        let ring = |current| Ring { current: Numbered::new(current), retired: Vec::new() };
        TicketKeys { fleet, login: ring(login), enrolment: ring(enrolment) }
    }

    /// Seals tickets of kind `T` under this key from now on. The one before opens until `until_s`: now and one ticket
    /// lifetime.
    ///
    /// # Errors
    /// [`Fault::Key`] if the number is taken; nothing is changed.
    pub fn rotate<T: Ticket>(&mut self, (number, key): (u16, &TicketKey), until_s: u64) -> Result<(), Fault> {
        let ring = self.free::<T>(number)?;
        let before = std::mem::replace(&mut ring.current, Numbered::new((number, key)));
        ring.retired.push((until_s, before));
        Ok(())
    }

    /// Holds a key that had retired before the vault was opened.
    ///
    /// # Errors
    /// [`Fault::Key`] if the number is taken.
    pub fn retire<T: Ticket>(&mut self, (number, key): (u16, &TicketKey), until_s: u64) -> Result<(), Fault> {
        self.free::<T>(number)?.retired.push((until_s, Numbered::new((number, key))));
        Ok(())
    }

    /// Drops the retired keys whose time is over.
    pub fn forget_retired(&mut self, time_s: u64) {
        for ring in [&mut self.login, &mut self.enrolment] {
            ring.retired.retain(|(until_s, _)| *until_s >= time_s);
        }
    }

    /// Number of the key that seals tickets of kind `T`.
    pub fn current<T: Ticket>(&self) -> u16 {
        self.ring::<T>().current.number
    }

    /// Seals tickets under the current key of their kind, each to its account and with a nonce of its own, in a state that
    /// was restored so often. One result an item, [`Ticket::SEALED_LEN`] bytes.
    ///
    /// # Errors
    /// An item's result is [`Fault::Randomness`] if the operating system gives no nonces.
    pub fn seal<T: Ticket>(&self, restores: u32, items: &[(&AccountId, &T)]) -> Vec<Result<Vec<u8>, Fault>> {
        with_nonces(items, |items| self.seal_with(restores, items))
    }

    /// [`TicketKeys::seal`] with the nonces given.
    ///
    /// # Errors
    /// None is known: all lengths are constants.
    pub fn seal_with<T: Ticket>(
        &self,
        restores: u32,
        items: &[((&AccountId, &T), Nonce)],
    ) -> Vec<Result<Vec<u8>, Fault>> {
        let current = &self.ring::<T>().current;
        each(items, |((account, ticket), nonce)| {
            let mut writer = Writer::with_capacity(T::SEALED_LEN);
            ticket.write(&mut writer);
            let plain = Secret::new(writer.finish());
            let mut sealed = vec![VERSION; HEADER_LEN + OVERHEAD + plain.expose().len()];
            let (header, body) = sealed.split_at_mut(HEADER_LEN);
            header[1..].copy_from_slice(&current.number.to_be_bytes());
            let associated = self.associated::<T>(current.number, restores, account);
            let written = current.key.seal(nonce, &associated, plain.expose(), body);
            written.map_err(|Invalid| Fault::Limit("a ticket has one length".to_owned()))?;
            Ok(sealed)
        })
    }

    /// Opens tickets of kind `T` in a state that was restored so often, at a state time. One result an item; a bad ticket never harms its neighbours. Whether
    /// the ticket itself has expired (`expiry_s` before state time) is for the caller to judge.
    ///
    /// # Errors
    /// An item's result is [`Refusal::TicketInvalid`] if it was not sealed by this fleet for that account and kind since the
    /// last restore, was altered, or names a key that is unknown; [`Refusal::TicketExpired`] if it names one that is retired for good.
    pub fn open<T: Ticket>(
        &self,
        restores: u32,
        items: &[(&AccountId, &[u8])],
        time_s: u64,
    ) -> Vec<Result<T, Refusal>> {
        each(items, |(account, sealed)| self.open_one(restores, account, sealed, time_s))
    }

    /// Whether this would be a ticket of kind `T` under a key that is newer than all of these: one that another holder of a
    /// fleet's keys has turned to. Whether it is one, only that key can tell.
    pub fn is_newer<T: Ticket>(&self, sealed: &[u8]) -> bool {
        match (sealed.len() == T::SEALED_LEN, sealed) {
            (true, [VERSION, high, low, ..]) => u16::from_be_bytes([*high, *low]) > self.ring::<T>().current.number,
            _ => false,
        }
    }

    fn open_one<T: Ticket>(
        &self,
        restores: u32,
        account: &AccountId,
        sealed: &[u8],
        time_s: u64,
    ) -> Result<T, Refusal> {
        if sealed.len() != T::SEALED_LEN {
            return Err(Refusal::TicketInvalid);
        }
        let mut reader = Reader::new(sealed);
        let invalid = |Invalid| Refusal::TicketInvalid;
        let (version, number) = (reader.u8().map_err(invalid)?, reader.u16().map_err(invalid)?);
        if version != VERSION {
            return Err(Refusal::TicketInvalid);
        }
        let ring = self.ring::<T>();
        let key = ring.opening(number, time_s).ok_or(match number < ring.current.number {
            true => Refusal::TicketExpired,
            false => Refusal::TicketInvalid,
        })?;
        let mut plain = Secret::new(vec![0; T::SEALED_LEN - HEADER_LEN - OVERHEAD]);
        key.open(&sealed[HEADER_LEN..], &self.associated::<T>(number, restores, account), plain.expose_mut())
            .map_err(invalid)?;
        let mut reader = Reader::new(plain.expose());
        let ticket = T::read(&mut reader).map_err(invalid)?;
        reader.finish().map_err(invalid)?;
        Ok(ticket)
    }

    /// What a ticket binds beside its key: kind, version and key number, fleet, restores, account.
    fn associated<T: Ticket>(&self, number: u16, restores: u32, account: &AccountId) -> [u8; ASSOCIATED_LEN] {
        let mut bytes = [VERSION; ASSOCIATED_LEN];
        bytes[0] = T::KIND;
        bytes[2..4].copy_from_slice(&number.to_be_bytes());
        bytes[4..36].copy_from_slice(&self.fleet);
        bytes[36..40].copy_from_slice(&restores.to_be_bytes());
        bytes[40..].copy_from_slice(account.as_bytes());
        bytes
    }

    fn ring<T: Ticket>(&self) -> &Ring {
        if T::KIND == LOGIN { &self.login } else { &self.enrolment }
    }

    /// The ring of a kind, if no key of it has this number.
    fn free<T: Ticket>(&mut self, number: u16) -> Result<&mut Ring, Fault> {
        let ring = if T::KIND == LOGIN { &mut self.login } else { &mut self.enrolment };
        if ring.opening(number, 0).is_some() {
            return Err(Fault::Key(format!("a ticket key has number {number} already")));
        }
        Ok(ring)
    }
}

impl Ring {
    /// The key of this number, if it still opens at this time.
    fn opening(&self, number: u16, time_s: u64) -> Option<&Committing> {
        let retired = self.retired.iter().filter(|(until_s, _)| *until_s >= time_s).map(|(_, numbered)| numbered);
        let found = std::iter::once(&self.current).chain(retired).find(|numbered| numbered.number == number);
        found.map(|numbered| &*numbered.key)
    }
}
