//! [`Export`]: the side that accounts leave.

use std::sync::Arc;

use super::Vault;
use super::ring::Ring;
use super::transfer::{Content, Contents, Hello, Offer, Parcel, may_move, transfer_key};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Account, Command, Cursor, Record, Side, State, Tally};
use crate::wrap::OpenItem;

/// Accounts of a range, about: small enough that nobody waits long for those between two vaults.
const RANGE: u64 = 4096;
/// Most ranges.
const RANGES_MAX: u64 = 1 << 16;
/// Accounts looked at while commits wait.
const LOOK: usize = 4096;

/// How far a move has come, in its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Accounts of this vault, with those that have left.
    pub accounts: u64,
    /// The part of all ids that has left, in thousandths.
    pub per_mille: u32,
}

/// Accounts on their way out: [`Export::hello`], then parcels until there are no more.
pub struct Export<'a> {
    vault: &'a Vault,
    offer: Offer,
}

impl Vault {
    /// Begins to hand all accounts over to the vault that made this offer, or goes on. What has left is answered
    /// [`Refusal::Moved`](crate::error::Refusal::Moved) from then on, for good.
    ///
    /// # Errors
    /// [`Fault::Policy`] and [`Fault::PolicyMismatch`] if accounts may not move between the two; [`Fault::Key`] if some
    /// have left for another vault; the journal's faults.
    pub fn export(&self, offer: Offer) -> Result<Export<'_>, Fault> {
        may_move(&self.policy, &offer.policy)?;
        if offer.fleet == self.fleet {
            return Err(Fault::Key("this vault made the offer itself".to_owned()));
        }
        self.commit_move(Command::Leave { offer: offer.hash() })?;
        Ok(Export { vault: self, offer })
    }
}

impl Export<'_> {
    /// What the other vault must hear first: the keys that the records were made by, sealed to it. Where server keys turn
    /// before all have left, it must hear it again.
    ///
    /// # Errors
    /// [`Fault::Key`] if the offer's key is none.
    pub fn hello(&self) -> Result<Vec<u8>, Fault> {
        let ring = self.vault.ring();
        let transfer_key = transfer_key(&ring.nonce_key, &self.offer.hash());
        Hello { fleet: self.vault.fleet, transfer_key, servers: ring.secrets.servers.clone() }.seal(&self.offer)
    }

    /// The next parcel behind those that are kept, which end at `kept`: the zero id before the first, `None` once the
    /// last is there. A parcel must be kept, durably, before the next is asked for.
    ///
    /// # Errors
    /// The journal's faults; [`Fault::Damaged`] if a record does not open: nothing is handed out without it.
    pub fn next(&self, kept: Option<AccountId>) -> Result<Option<Parcel>, Fault> {
        let Some(from) = kept else { return Ok(None) };
        let mut bound = self.bound()?;
        if bound == Some(from) {
            let upto = self.range_after(from)?;
            self.vault.commit_move(Command::Depart { offer: self.offer.hash(), upto })?;
            bound = upto;
        }
        // Also where it left before: batches of then may be under way still.
        self.wait_for_batches()?;
        self.pack((from, bound)).map(Some)
    }

    /// How far it has come.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn departed(&self) -> Result<Departed, Fault> {
        let mut accounts = 0;
        self.vault.journal.read(&mut |state| accounts = state.len() as u64)?;
        let per_mille = self.bound()?.map_or(1000, |bound| (u32::from(place_of(&bound)) * 1000) >> 16);
        Ok(Departed { accounts, per_mille })
    }

    /// Accounts, records and digest of all that has left, once all has.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn total(&self) -> Result<Tally, Fault> {
        let mut tally = Tally::default();
        for (id, account) in self.accounts((AccountId([0; 32]), None))? {
            tally.add(&id, &account);
        }
        Ok(tally)
    }

    fn bound(&self) -> Result<Option<AccountId>, Fault> {
        match self.vault.moving()? {
            Some(moving) if moving.offer == self.offer.hash() && moving.side == Side::Leaving => Ok(moving.bound),
            _ => Err(Fault::Key("accounts leave in another move".to_owned())),
        }
    }

    /// Where the next range ends: at one of so many places that about [`RANGE`] accounts lie between two.
    fn range_after(&self, from: AccountId) -> Result<Option<AccountId>, Fault> {
        let mut accounts = 0;
        self.vault.journal.read(&mut |state| accounts = state.len() as u64)?;
        let ranges = (accounts / RANGE + 1).next_power_of_two().min(RANGES_MAX);
        let width = RANGES_MAX / ranges;
        let next = (u64::from(place_of(&from)) / width + 1) * width;
        Ok(u16::try_from(next).ok().map(|place| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&place.to_be_bytes());
            AccountId(id)
        }))
    }

    /// V10: from here on no batch is under way that began before the last commit.
    fn wait_for_batches(&self) -> Result<(), Fault> {
        let _keeper = self.vault.keeper();
        let (secrets, epochs, bundles) = {
            let ring = self.vault.ring();
            (ring.secrets.same(), Arc::clone(&ring.epochs), Arc::clone(&ring.bundles))
        };
        self.vault.put(Ring::new(&self.vault.policy, secrets, epochs, bundles)?);
        Ok(())
    }

    fn pack(&self, range: (AccountId, Option<AccountId>)) -> Result<Parcel, Fault> {
        let ring = self.vault.ring();
        let left = self.accounts(range)?;
        let live = left.iter().filter(|(_, account)| account.is_live());
        let asked: Vec<_> = live.map(|(id, account)| (*id, account.generation())).collect();
        let gone = || Fault::Damaged("a record that has left is not there".to_owned());
        let sealed = self.vault.journal.sealed_each(&asked).into_iter();
        let sealed = sealed.map(|sealed| sealed?.ok_or_else(gone)).collect::<Result<Vec<_>, Fault>>()?;
        let items: Vec<_> = asked
            .iter()
            .zip(&sealed)
            .map(|((account, generation), sealed)| OpenItem { account, generation: *generation, sealed })
            .collect();
        let mut records = ring.epochs.open(&items).into_iter();
        let mut accounts = Vec::with_capacity(left.len());
        for (id, account) in left {
            let record = match *account.record() {
                Record::Live { header, .. } => {
                    Some((header.key_number, records.next().unwrap_or_else(|| Err(gone()))?))
                }
                _ => None,
            };
            accounts.push(Content { id, account, record });
        }
        let total = if range.1.is_none() { Some(self.total()?) } else { None };
        let mut time_s = 0;
        self.vault.journal.read(&mut |state| time_s = state.time_s())?;
        let key = transfer_key(&ring.nonce_key, &self.offer.hash());
        Parcel::pack(&self.offer, &key, range, &Contents { time_s, accounts, total })
    }

    /// The accounts of a range that has left, in order of id. They change no more, and none comes or goes.
    fn accounts(&self, (from, upto): (AccountId, Option<AccountId>)) -> Result<Vec<(AccountId, Account)>, Fault> {
        let mut found = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(at) = cursor {
            self.vault.journal.read(&mut |state: &State| {
                cursor = state.scan(at, LOOK, |id, account| {
                    if *id >= from && upto.is_none_or(|upto| *id < upto) {
                        found.push((*id, account.clone()));
                    }
                });
            })?;
        }
        found.sort_unstable_by_key(|(id, _)| *id);
        Ok(found)
    }
}

/// The first two bytes of an id.
fn place_of(id: &AccountId) -> u16 {
    u16::from_be_bytes([id.0[0], id.0[1]])
}
