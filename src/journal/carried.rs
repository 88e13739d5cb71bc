//! A checkpoint on its way to another replica: part by part out of one file, and into another.
//!
//! What arrives is written behind the rows that are there, in one transaction that takes their place only once every
//! account has proved the checkpoint's root. Both ends have the same keys, so the root is the sender's word, and the
//! carrier cannot make one.

use redb::{Database, ReadOnlyTable, ReadableDatabase, TableError, WriteTransaction};
use subtle::ConstantTimeEq;

use super::anchor::LogId;
use super::checkpoint::{ACCOUNTS, Base, Loaded, META, RECORDS, Sum, damaged, split_contents, summand};
use super::row::Keys;
use super::store::{durable, storage};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Account, Record, State};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Sealed;

/// Bytes of a part, about.
const PART: usize = 512 * 1024;
/// Longest row of a part.
const CARRIED_MAX: usize = 64 * 1024;

/// Rows of a checkpoint, one table behind the other.
type Rows = ReadOnlyTable<&'static [u8; 32], &'static [u8]>;

/// A row of a part: whose, and its bytes.
type CarriedRow<'a> = (&'a [u8; 32], &'a [u8]);

/// A checkpoint as of one commit. Later ones may be written beside it.
pub(crate) struct Outgoing {
    head: Vec<u8>,
    tables: [Rows; 2],
    /// Which table comes next, and behind which id.
    at: (usize, Option<[u8; 32]>),
}

impl Outgoing {
    /// The checkpoint that the file has; `None` before the first one.
    pub(crate) fn of(db: &Database) -> Result<Option<Self>, Fault> {
        let read = db.begin_read().map_err(storage)?;
        let table = match read.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(storage(error)),
        };
        let Some(head) = table.get(()).map_err(storage)? else { return Ok(None) };
        let tables = [read.open_table(ACCOUNTS).map_err(storage)?, read.open_table(RECORDS).map_err(storage)?];
        Ok(Some(Outgoing { head: head.value().to_vec(), tables, at: (0, None) }))
    }

    /// What [`Incoming::begin`] wants first.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next part, for [`Incoming::take`]; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let (index, behind) = self.at;
        let Some(table) = self.tables.get(index) else { return Ok(None) };
        let mut writer = Writer::with_capacity(PART + CARRIED_MAX);
        writer.u8(index as u8);
        let mut size = 0;
        let from = behind.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let bounds = (from.as_ref(), std::ops::Bound::Unbounded);
        for entry in table.range::<&[u8; 32]>(bounds).map_err(storage)? {
            let (id, row) = entry.map_err(storage)?;
            writer.bytes(id.value()).counted(row.value());
            size += 32 + row.value().len();
            if size >= PART {
                self.at = (index, Some(*id.value()));
                return Ok(Some(writer.finish()));
            }
        }
        self.at = (index + 1, None);
        Ok(Some(writer.finish()))
    }
}

/// A checkpoint that is arriving. Dropped, it leaves what was there.
pub(crate) struct Incoming {
    write: WriteTransaction,
    base: Base,
    last: LogId,
    contents: Vec<u8>,
    state: State,
    beside: Vec<u8>,
    accounts: u64,
    records: u64,
    sum: Sum,
}

impl Incoming {
    /// Begins to take the place of the checkpoint in the file, whose root is `previous`.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if `head` is not the head of a checkpoint of this fleet, [`Fault::Storage`].
    pub(crate) fn begin(db: &Database, keys: &Keys, previous: [u8; 32], head: &[u8]) -> Result<Self, Fault> {
        let (mut base, last, contents) = Base::decode(keys, head)?;
        // Where the anchor still is if the power goes between this checkpoint and the anchor's move.
        base.previous = previous;
        let (state, beside) = split_contents(&contents)?;
        let write = durable(db)?;
        write.delete_table(ACCOUNTS).map_err(storage)?;
        write.delete_table(RECORDS).map_err(storage)?;
        write.open_table(RECORDS).map_err(storage)?;
        write.open_table(ACCOUNTS).map_err(storage)?;
        let sum = Sum::default();
        Ok(Incoming { write, base, last, contents, state, beside, accounts: 0, records: 0, sum })
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not one; [`Fault::Storage`].
    pub(crate) fn take(&mut self, keys: &Keys, part: &[u8]) -> Result<(), Fault> {
        let parse = || -> Result<(u8, Vec<CarriedRow<'_>>), Invalid> {
            let mut reader = Reader::new(part);
            let table = reader.u8()?;
            let mut rows = Vec::new();
            while !reader.is_empty() {
                rows.push((reader.array()?, reader.counted(CARRIED_MAX)?));
            }
            Ok((table, rows))
        };
        let (table, rows) = parse().map_err(Invalid::stored("a part of a checkpoint"))?;
        match table {
            0 => self.take_accounts(keys, &rows),
            1 => self.take_records(&rows),
            _ => Err(damaged("part is of no table")),
        }
    }

    fn take_accounts(&mut self, keys: &Keys, rows: &[CarriedRow<'_>]) -> Result<(), Fault> {
        let mut table = self.write.open_table(ACCOUNTS).map_err(storage)?;
        for (id, row) in rows {
            if table.insert(*id, *row).map_err(storage)?.is_some() {
                return Err(damaged("account has come twice"));
            }
            self.sum.add(&summand(keys, id, row));
            self.accounts += 1;
            let mut reader = Reader::new(row);
            let account = Account::read(&mut reader).and_then(|account| reader.finish().map(|()| account));
            self.state.restore_account(AccountId(**id), account.map_err(Invalid::stored("an account"))?);
        }
        Ok(())
    }

    /// Each record must be one that its account names. Their bytes authenticate themselves when they are opened.
    fn take_records(&mut self, rows: &[CarriedRow<'_>]) -> Result<(), Fault> {
        let mut table = self.write.open_table(RECORDS).map_err(storage)?;
        for (id, bytes) in rows {
            let header = Sealed::from_bytes(bytes)?.header();
            let named = self.state.account(&AccountId(**id)).map(Account::record);
            if !matches!(named, Some(Record::Live { header: named, .. }) if *named == header) {
                return Err(damaged("sealed record is not the one that its account names"));
            }
            if table.insert(*id, *bytes).map_err(storage)?.is_some() {
                return Err(damaged("sealed record has come twice"));
            }
            self.records += 1;
        }
        Ok(())
    }

    /// Proves the whole. Nothing has taken its place yet.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not what its root says.
    pub(crate) fn prove(self, keys: &Keys) -> Result<Proven, Fault> {
        let Incoming { write, mut base, last, contents, state, beside, accounts, records, sum } = self;
        if accounts != base.accounts || records != state.records_by_key().values().sum::<u64>() {
            return Err(damaged("accounts or records have not all come"));
        }
        base.sum = sum;
        if !bool::from(base.root_of(keys, last, &contents).ct_eq(&base.root)) {
            return Err(damaged("accounts are not those of its root"));
        }
        Ok(Proven { write, loaded: Loaded { base, state, beside }, last, contents })
    }
}

/// A checkpoint that has arrived and is what its root says. Dropped, it leaves what was there.
pub(crate) struct Proven {
    write: WriteTransaction,
    loaded: Loaded,
    last: LogId,
    contents: Vec<u8>,
}

impl Proven {
    /// The checkpoint.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Puts it in the place of what was there: on disk when this returns, and not yet anchored.
    ///
    /// # Errors
    /// [`Fault::Storage`].
    pub(crate) fn commit(self, keys: &Keys) -> Result<Loaded, Fault> {
        let Proven { write, loaded, last, contents } = self;
        {
            let mut head = write.open_table(META).map_err(storage)?;
            head.insert((), loaded.base.encode(keys, last, &contents).as_slice()).map_err(storage)?;
        }
        write.commit().map_err(storage)?;
        Ok(loaded)
    }
}
