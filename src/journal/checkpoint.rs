//! The checkpoint: every account and every sealed record as of one row, in a redb file of their own.
//!
//! A checkpoint is named by its *root*: a MAC over the row it stands at, the chain there, the globals, and a keyed
//! incremental multiset hash of the account rows, so that changing a thousand of ten million accounts costs two
//! thousand MACs.
//!
//! Why that hash is sound. It is the sum, modulo 2^512, of HMAC-SHA-512(key, id || row) over all accounts (MSet-Add-Hash
//! of Clarke, Devadas, van Dijk, Gassend and Suh, Asiacrypt 2003). Ids are unique, so the multiset is a set and no
//! summand occurs 2^512 times. A forger needs other rows with the same sum. Generalised birthday search (Wagner 2002)
//! finds such sets far below 2^256 if it can compute summands or learn sums, so it is given neither: the key never
//! leaves the vault, and the sum is kept in memory only. What is stored and anchored is a MAC *of* the sum under
//! another key, which tells nothing but equality. Opening recomputes the sum from every row. Sealed records are not
//! summed: they authenticate themselves (account, generation and epoch are their associated data), and the account's
//! row names their epoch and how often they were replaced.

use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::anchor::LogId;
use super::changed::Sealings;
use super::row::{CHAIN_BEGIN, Chain, Keys, first_half};
use super::store::{durable, storage};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Account, State};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Sealed;

/// Version of the checkpoint's format: its tables and their rows.
const CHECKPOINT_VERSION: u8 = 1;
const GLOBALS_MAX: usize = 1024 * 1024;
const BESIDE_MAX: usize = 1024 * 1024;
/// Accounts whose rows are taken from the state at once, while batches and readers wait.
const SLICE: usize = 512;

pub(crate) type Table = TableDefinition<'static, &'static [u8; 32], &'static [u8]>;
pub(crate) const ACCOUNTS: Table = Table::new("accounts");
pub(crate) const RECORDS: Table = Table::new("records");
pub(crate) const META: TableDefinition<'static, (), &'static [u8]> = TableDefinition::new("meta");

/// Sealed records as of one checkpoint.
pub(crate) type Snapshot = ReadOnlyTable<&'static [u8; 32], &'static [u8]>;

/// Sum of 512-bit numbers modulo 2^512, least significant limb first. A secret: see above.
#[derive(Clone, Default, PartialEq, Eq, Zeroize)]
#[zeroize(drop)]
pub(crate) struct Sum([u64; 8]);

impl Sum {
    fn limbs(summand: &[u8; 64]) -> impl Iterator<Item = u64> {
        let (limbs, _) = summand.as_chunks::<8>();
        limbs.iter().map(|limb| u64::from_le_bytes(*limb))
    }

    pub(crate) fn add(&mut self, summand: &[u8; 64]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(Self::limbs(summand)) {
            let (low, first) = limb.overflowing_add(other);
            let (low, second) = low.overflowing_add(u64::from(carry));
            *limb = low;
            carry = first || second;
        }
    }

    fn subtract(&mut self, summand: &[u8; 64]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(Self::limbs(summand)) {
            let (low, first) = limb.overflowing_sub(other);
            let (low, second) = low.overflowing_sub(u64::from(borrow));
            *limb = low;
            borrow = first || second;
        }
    }
}

/// Where the last checkpoint stands. The default is a journal that has none: it begins before row 0.
#[derive(Clone, Default)]
pub(crate) struct Base {
    /// The last row in it; `None` before the first checkpoint.
    pub(crate) last: Option<LogId>,
    pub(crate) chain: Chain,
    pub(crate) root: [u8; 32],
    /// Root of the checkpoint before it: where the anchor may still be after a crash.
    pub(crate) previous: [u8; 32],
    pub(crate) sum: Sum,
    pub(crate) accounts: u64,
}

impl Base {
    /// Index of the first row that is not in it.
    pub(crate) fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    pub(crate) fn root_of(&self, keys: &Keys, last: LogId, contents: &[u8]) -> [u8; 32] {
        let mut place = Writer::default();
        last.write(&mut place);
        place.bytes(&self.chain).u64(self.accounts);
        for limb in self.sum.0 {
            place.u64(limb);
        }
        let mut place = place.finish();
        let root = first_half(&keys.checkpoint.mac(&[b"root", &place, contents]));
        place.zeroize();
        root
    }

    pub(crate) fn encode(&self, keys: &Keys, last: LogId, contents: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(CHECKPOINT_VERSION);
        last.write(&mut writer);
        writer.bytes(&self.chain).u64(self.accounts).counted(contents).bytes(&self.root).bytes(&self.previous);
        let mut meta = writer.finish();
        let mac = keys.checkpoint.mac(&[b"meta", &meta]);
        meta.extend_from_slice(&mac[..32]);
        meta
    }

    /// The base that a meta row speaks of, its sum still empty, and what [`contents`] wrote.
    pub(crate) fn decode(keys: &Keys, bytes: &[u8]) -> Result<(Self, LogId, Vec<u8>), Fault> {
        match bytes.first() {
            Some(&CHECKPOINT_VERSION) => {}
            Some(&found) => {
                return Err(Fault::Format { what: "the checkpoint", found, reads: CHECKPOINT_VERSION });
            }
            None => return Err(Fault::Damaged("the checkpoint's head is empty".to_owned())),
        }
        let (meta, mac) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged("head is cut short"))?;
        if !bool::from(first_half(&keys.checkpoint.mac(&[b"meta", meta])).ct_eq(mac)) {
            return Err(damaged("head does not authenticate"));
        }
        let parse = || -> Result<_, Invalid> {
            let mut reader = Reader::new(meta);
            reader.u8()?;
            let last = LogId::read(&mut reader)?;
            let (chain, accounts) = (*reader.array()?, reader.u64()?);
            let contents = reader.counted(GLOBALS_MAX + BESIDE_MAX)?.to_vec();
            let (root, previous) = (*reader.array()?, *reader.array()?);
            reader.finish()?;
            Ok((Base { last: Some(last), chain, root, previous, sum: Sum::default(), accounts }, last, contents))
        };
        parse().map_err(|Invalid| damaged("head does not parse"))
    }
}

/// What a checkpoint holds beside the accounts, in one encoding: the globals, and what its writer wants kept with them.
fn contents(globals: &[u8], beside: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.counted(globals).counted(beside);
    writer.finish()
}

/// What [`contents`] wrote: a state without accounts, and what stands beside it.
pub(crate) fn split_contents(bytes: &[u8]) -> Result<(State, Vec<u8>), Fault> {
    let split = || -> Result<_, Invalid> {
        let mut reader = Reader::new(bytes);
        let state = State::decode_globals(reader.counted(GLOBALS_MAX)?)?;
        let beside = reader.counted(BESIDE_MAX)?.to_vec();
        reader.finish()?;
        Ok((state, beside))
    };
    split().map_err(Invalid::stored("the checkpoint's globals"))
}

/// A checkpoint that has proved itself.
pub(crate) struct Loaded {
    pub(crate) base: Base,
    pub(crate) state: State,
    /// What its writer wanted kept with the state.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "a local journal keeps nothing beside its state"))]
    pub(crate) beside: Vec<u8>,
}

pub(crate) fn damaged(how: &str) -> Fault {
    Fault::Damaged(format!("the checkpoint's {how}"))
}

/// The summand of one account.
pub(crate) fn summand(keys: &Keys, id: &[u8; 32], row: &[u8]) -> [u8; 64] {
    keys.account.mac(&[id, row])
}

/// Reads a checkpoint and proves it against its own root, every account. `None` before the first one.
pub(crate) fn load(db: &Database, keys: &Keys) -> Result<Option<Loaded>, Fault> {
    let read = db.begin_read().map_err(storage)?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(storage(error)),
    };
    let Some(meta) = table.get(()).map_err(storage)? else { return Ok(None) };
    let (mut base, last, contents) = Base::decode(keys, meta.value())?;
    let (mut state, beside) = split_contents(&contents)?;
    let accounts = read.open_table(ACCOUNTS).map_err(storage)?;
    let mut found = 0;
    for entry in accounts.iter().map_err(storage)? {
        let (id, row) = entry.map_err(storage)?;
        let (id, row) = (id.value(), row.value());
        base.sum.add(&summand(keys, id, row));
        found += 1;
        let mut reader = Reader::new(row);
        let account = Account::read(&mut reader).and_then(|account| reader.finish().map(|()| account));
        state.restore_account(AccountId(*id), account.map_err(Invalid::stored("an account of the checkpoint"))?);
    }
    if found != base.accounts {
        return Err(damaged(&format!("accounts are {found} in number where it says {}", base.accounts)));
    }
    if !bool::from(base.root_of(keys, last, &contents).ct_eq(&base.root)) {
        return Err(damaged("accounts are not those of its root"));
    }
    Ok(Some(Loaded { base, state, beside }))
}

/// What a checkpoint is to hold, as of one row.
pub(crate) struct Cut {
    pub(crate) last: LogId,
    pub(crate) chain: Chain,
    /// [`State::encode_globals`] at that row.
    pub(crate) globals: Vec<u8>,
    /// What its writer wants kept with the state.
    pub(crate) beside: Vec<u8>,
    /// Accounts that may have changed since the last checkpoint, batch by batch, with repetitions.
    pub(crate) accounts: Vec<Vec<AccountId>>,
    /// Sealed records that have.
    pub(crate) records: Arc<Sealings>,
}

/// An account's row, as a checkpoint holds it.
pub(crate) fn row_of(account: &Account) -> Vec<u8> {
    let mut writer = Writer::default();
    account.write(&mut writer);
    writer.finish()
}

/// Writes a cut, in one commit that is on disk when this returns. `rows` is asked for the rows of a few accounts at a
/// time, each as of the cut, in ascending order of their ids, and told which part of all is written before.
pub(crate) fn write(
    db: &Database,
    keys: &Keys,
    base: &Base,
    cut: Cut,
    mut rows: impl FnMut(&[AccountId], f64) -> Result<Vec<Option<Vec<u8>>>, Fault>,
) -> Result<Base, Fault> {
    // In order of key, neighbouring rows are written together.
    let mut ids = cut.accounts.concat();
    drop(cut.accounts);
    ids.sort_unstable();
    ids.dedup();
    let mut next = Base { last: Some(cut.last), chain: cut.chain, previous: base.root, ..base.clone() };
    let write = durable(db)?;
    {
        let mut accounts = write.open_table(ACCOUNTS).map_err(storage)?;
        let mut records = write.open_table(RECORDS).map_err(storage)?;
        let mut sealings = cut.records.iter().peekable();
        let slices = ids.len().div_ceil(SLICE);
        for (slice, ids) in ids.chunks(SLICE).enumerate() {
            for (id, row) in ids.iter().zip(rows(ids, slice as f64 / slices as f64)?) {
                let before = match &row {
                    Some(row) => accounts.insert(&id.0, row.as_slice()),
                    None => accounts.remove(&id.0),
                };
                if let Some(before) = before.map_err(storage)? {
                    next.sum.subtract(&summand(keys, &id.0, before.value()));
                    next.accounts -= 1;
                }
                if let Some(row) = &row {
                    next.sum.add(&summand(keys, &id.0, row));
                    next.accounts += 1;
                }
            }
            while let Some((id, sealed)) = sealings.next_if(|(id, _)| ids.last().is_some_and(|last| *id <= last)) {
                write_record(&mut records, id, sealed.as_ref())?;
            }
        }
        // None is left, since an account whose record changes may have changed; a record must not depend on that.
        for (id, sealed) in sealings {
            write_record(&mut records, id, sealed.as_ref())?;
        }
        // Nothing more is asked for: what is left is the commit.
        rows(&[], 1.0)?;
        let contents = contents(&cut.globals, &cut.beside);
        next.root = next.root_of(keys, cut.last, &contents);
        let mut meta = write.open_table(META).map_err(storage)?;
        meta.insert((), next.encode(keys, cut.last, &contents).as_slice()).map_err(storage)?;
    }
    write.commit().map_err(storage)?;
    Ok(next)
}

fn write_record(
    records: &mut redb::Table<'_, &'static [u8; 32], &'static [u8]>,
    id: &AccountId,
    sealed: Option<&Sealed>,
) -> Result<(), Fault> {
    match sealed {
        Some(sealed) => records.insert(&id.0, &sealed.as_bytes()[..]).map(drop),
        None => records.remove(&id.0).map(drop),
    }
    .map_err(storage)
}

/// Makes what the file shows durable: after a kill it may show a commit that only the page cache has. Also makes the
/// tables of a new file.
pub(crate) fn settle(db: &Database) -> Result<(), Fault> {
    let write = durable(db)?;
    write.open_table(ACCOUNTS).map_err(storage)?;
    write.open_table(RECORDS).map_err(storage)?;
    write.open_table(META).map_err(storage)?;
    write.commit().map_err(storage)
}

/// Sealed records as of the last commit.
pub(crate) fn snapshot(db: &Database) -> Result<Snapshot, Fault> {
    db.begin_read().map_err(storage)?.open_table(RECORDS).map_err(storage)
}

/// The chain from which the log goes on.
pub(crate) fn chain_before(base: &Base) -> Chain {
    if base.last.is_some() { base.chain } else { CHAIN_BEGIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_order_and_undo() {
        // Summands with every carry: all ones, one, and mixed.
        let summands = [[0xff; 64], [1; 64], [0x80; 64], std::array::from_fn(|at| if at == 0 { 1 } else { 0 })];
        let mut forward = Sum::default();
        let mut backward = Sum::default();
        summands.iter().for_each(|summand| forward.add(summand));
        summands.iter().rev().for_each(|summand| backward.add(summand));
        assert!(forward == backward);
        summands.iter().for_each(|summand| forward.subtract(summand));
        assert!(forward == Sum::default());
        // 2^512 - 1 and 1 make 0; 0 less 1 makes 2^512 - 1.
        let mut sum = Sum::default();
        sum.add(&summands[0]);
        sum.add(&summands[3]);
        assert!(sum == Sum::default());
        sum.subtract(&summands[3]);
        assert!(sum.0 == [u64::MAX; 8]);
    }
}
