//! [`Moving`]: all accounts of a vault on their way to another, in order of id, each at one of the two.
//!
//! The vault that they leave stops a range of ids ([`Command::Depart`](super::Command::Depart)) before the vault that they
//! come to begins with it ([`Command::Arrive`](super::Command::Arrive)), so that no account is ever evaluated by both
//! (L2, L3 over the two together).

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::account::{Account, Record};
use super::command::read_account;
use crate::account::AccountId;
use crate::error::Refusal;
use crate::limits::ARRIVE_MAX;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Sealed;

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Names the move: SHA-256 of what the vault that takes the accounts offered.
    pub offer: [u8; 32],
    /// Ids below it have moved; `None` once all have.
    pub bound: Option<AccountId>,
    /// Which of the two vaults this is.
    pub side: Side,
}

/// Which of two vaults this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that they leave.
    Leaving,
    /// The one that they come to, and what has come.
    Arriving(Tally),
}

/// Accounts counted and digested, in order of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many.
    pub accounts: u64,
    /// How many of them with a live record.
    pub records: u64,
    /// SHA-256 over the digest of those before it, the id and the account as it travels, account by account.
    pub digest: [u8; 32],
}

impl Tally {
    /// Counts one more, whose id is above all before it.
    pub fn add(&mut self, id: &AccountId, account: &Account) {
        let mut row = Writer::default();
        account.as_travels().write(&mut row);
        self.accounts += 1;
        self.records += u64::from(account.is_live());
        self.digest =
            Sha256::new().chain_update(self.digest).chain_update(id.0).chain_update(row.finish()).finalize().into();
    }
}

impl Moving {
    pub(super) fn begun(offer: [u8; 32], side: Side) -> Self {
        Moving { offer, bound: Some(AccountId([0; 32])), side }
    }

    /// Whether nothing has moved yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.bound == Some(AccountId([0; 32]))
    }

    /// Whether all accounts have come: from here on the vault is like any other.
    pub(super) fn has_arrived(&self) -> bool {
        self.bound.is_none() && self.side != Side::Leaving
    }

    /// Whether an id has moved.
    pub fn has_moved(&self, id: &AccountId) -> bool {
        self.bound.is_none_or(|bound| *id < bound)
    }

    /// Whether this vault answers for an id.
    ///
    /// # Errors
    /// [`Refusal::Moved`] if it has left, [`Refusal::Busy`] if it has not come yet.
    pub(super) fn is_here(&self, id: &AccountId) -> Result<(), Refusal> {
        match (self.side, self.has_moved(id)) {
            (Side::Leaving, true) => Err(Refusal::Moved),
            (Side::Arriving(_), false) => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    /// Whether `upto` is further than the move has come.
    pub(super) fn goes_on_to(&self, upto: Option<AccountId>) -> bool {
        match (self.bound, upto) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(bound), Some(upto)) => bound < upto,
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.offer);
        write_bound(writer, self.bound);
        match self.side {
            Side::Leaving => writer.u8(1),
            Side::Arriving(Tally { accounts, records, digest }) => {
                writer.u8(2).u64(accounts).u64(records).bytes(&digest)
            }
        };
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Moving {
            offer: *reader.array()?,
            bound: read_bound(reader)?,
            side: match reader.u8()? {
                1 => Side::Leaving,
                2 => {
                    Side::Arriving(Tally { accounts: reader.u64()?, records: reader.u64()?, digest: *reader.array()? })
                }
                _ => return Err(Invalid),
            },
        })
    }
}

/// An account that has come, and its sealed bytes if its record lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose.
    pub id: AccountId,
    /// Its counters.
    pub account: Account,
    /// Its record under this vault's keys.
    pub sealed: Option<Sealed>,
}

impl Arrival {
    /// An account as it left the other vault, its record sealed under this one's keys.
    ///
    /// # Errors
    /// [`Invalid`] if there are sealed bytes without a live record, or the other way round.
    pub fn new(id: AccountId, account: Account, sealed: Option<Sealed>) -> Result<Self, Invalid> {
        let mut account = account.as_travels();
        match (&mut account.record, &sealed) {
            (Record::Live { header, .. }, Some(sealed)) => *header = sealed.header(),
            (Record::None | Record::Destroyed, None) => {}
            _ => return Err(Invalid),
        }
        Ok(Arrival { id, account, sealed })
    }

    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.id.0);
        self.account.write(writer);
        if let Some(sealed) = &self.sealed {
            sealed.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let (id, account) = (read_account(reader)?, Account::read(reader)?);
        let sealed = if account.is_live() { Some(Sealed::read(reader)?) } else { None };
        let arrival = Arrival::new(id, account.clone(), sealed)?;
        if arrival.account == account { Ok(arrival) } else { Err(Invalid) }
    }
}

pub(super) fn write_arrivals(writer: &mut Writer, arrivals: &[Arrival]) {
    writer.u16(arrivals.len() as u16);
    arrivals.iter().for_each(|arrival| arrival.write(writer));
}

pub(super) fn read_arrivals(reader: &mut Reader<'_>) -> Result<Arc<[Arrival]>, Invalid> {
    let count = usize::from(reader.u16()?);
    if count > ARRIVE_MAX {
        return Err(Invalid);
    }
    (0..count).map(|_| Arrival::read(reader)).collect()
}

pub(super) fn write_bound(writer: &mut Writer, bound: Option<AccountId>) {
    writer.flag(bound.is_some());
    if let Some(bound) = bound {
        writer.bytes(&bound.0);
    }
}

pub(super) fn read_bound(reader: &mut Reader<'_>) -> Result<Option<AccountId>, Invalid> {
    Ok(if reader.flag()? { Some(read_account(reader)?) } else { None })
}
