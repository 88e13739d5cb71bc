//! The log of a local journal: one row a batch, in a redb file of its own.

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError};

use super::anchor::{Anchored, LogId};
use super::applied::apply;
use super::changed::Changed;
use super::checkpoint::{self, Base};
use super::latch::Latch;
use super::row::{CHAIN_BEGIN, Chain, Draft, Entry, Keys, Row};
use super::store::{Store, durable, storage};
use crate::error::Fault;
use crate::ledger::{Policy, State};

const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
/// What redb may keep of each file in memory.
const LOG_CACHE: usize = 16 << 20;
const CHECKPOINT_CACHE: usize = 64 << 20;
/// What a row costs at replay beside its bytes, so that many small ones call for a checkpoint too.
const ROW_OVERHEAD: u64 = 128;
/// Rows that leave the log in one transaction, for which batches wait.
const TRIM_MAX: usize = 64;

/// The end of the log, and what stands before it.
pub(super) struct Tail {
    pub(super) last: LogId,
    pub(super) chain: Chain,
    pub(super) base: Base,
    /// Size of the rows since the last checkpoint.
    pub(super) bytes: u64,
}

/// The two files of a journal.
pub(super) fn open(log: impl StorageBackend, checkpoint: impl StorageBackend) -> Result<(Store, Store), Fault> {
    Ok((Store::open(log, LOG_CACHE)?, Store::open(checkpoint, CHECKPOINT_CACHE)?))
}

/// A new log with row 0, and a new checkpoint file without a checkpoint, both on disk.
pub(super) fn begin(
    log: impl StorageBackend,
    checkpoint: impl StorageBackend,
    policy: &Policy,
    keys: &Keys,
) -> Result<(Store, Store, Tail), Fault> {
    let (log, store) = open(log, checkpoint)?;
    checkpoint::settle(store.db()?)?;
    let last = LogId::default();
    let (row, chain) = Draft::policy(policy).seal(keys, last, &CHAIN_BEGIN);
    let write = durable(log.db()?)?;
    {
        let mut table = write.open_table(LOG).map_err(storage)?;
        if table.first().map_err(storage)?.is_some() || checkpoint::load(store.db()?, keys)?.is_some() {
            return Err(already_there());
        }
        table.insert(last.index, row.as_slice()).map_err(storage)?;
    }
    write.commit().map_err(storage)?;
    Ok((log, store, Tail { last, chain, base: Base::default(), bytes: row.len() as u64 }))
}

pub(super) fn already_there() -> Fault {
    Fault::Storage("there is a journal already".to_owned())
}

/// What a row counts for on the way to the next checkpoint, in bytes.
pub(super) fn cost(row: &[u8]) -> u64 {
    row.len() as u64 + ROW_OVERHEAD
}

/// Adds a row behind the others. It is on disk when this returns.
pub(super) fn append(log: &Database, index: u64, row: &[u8]) -> Result<(), Fault> {
    let write = durable(log)?;
    write.open_table(LOG).map_err(storage)?.insert(index, row).map_err(storage)?;
    write.commit().map_err(storage)
}

/// Applies the rows that the checkpoint lacks, each proved by the chain, and holds the end of the log against the
/// anchor (J5).
pub(super) fn replay(
    log: &Database,
    keys: &Keys,
    latch: &Latch,
    tail: &mut Tail,
    found: Option<State>,
) -> Result<(State, Changed), Fault> {
    let held = latch.held();
    let (mut state, mut changed) = (found, Changed::default());
    let mut index = tail.base.next_index();
    if let Some(last) = tail.base.last {
        tail.last = last;
        if last > held.last || held.sequence == 0 {
            // A checkpoint is only ever written at a row that is anchored.
            return Err(Fault::Anchor("the checkpoint is ahead of the anchor: it is another journal's".to_owned()));
        }
        check_against(&held, last, &tail.chain)?;
    }
    let read = log.begin_read().map_err(storage)?;
    let table = match read.open_table(LOG) {
        Ok(table) => Some(table),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(storage(error)),
    };
    if let Some(table) = table {
        for entry in table.range(index..).map_err(storage)? {
            let (key, bytes) = entry.map_err(storage)?;
            if key.value() != index {
                return Err(Fault::Damaged(format!("log row {index} is missing, later ones are there")));
            }
            let bytes = bytes.value();
            let row = Row::open(keys, bytes, index, &tail.chain)?;
            check_against(&held, row.id, &row.chain)?;
            match (row.entry, &mut state) {
                (Entry::Policy(policy), None) => state = Some(State::new(policy)),
                (Entry::Batch { time_s, commands }, Some(state)) => {
                    changed.note(&commands, state);
                    apply(state, &mut changed, index, time_s, commands);
                }
                // Row 0 is never read behind a checkpoint, nor a later one before row 0.
                _ => return Err(Fault::Damaged(format!("log row {index} is out of place"))),
            }
            (tail.last, tail.chain) = (row.id, row.chain);
            tail.bytes += cost(bytes);
            index += 1;
        }
    }
    let Some(state) = state else {
        return Err(match held.sequence {
            0 => Fault::Storage("there is no journal here".to_owned()),
            _ => Fault::Anchor(format!("the log is empty, the anchor names row {}", held.last.index)),
        });
    };
    if held.sequence == 0 && tail.last.index > 0 {
        return Err(Fault::Anchor(format!("the anchor is unused, the log goes up to row {}", tail.last.index)));
    }
    if tail.last < held.last {
        return Err(Fault::Anchor(format!(
            "an older copy of the store, or a truncated log: it ends at row {}, the anchor names row {}",
            tail.last.index, held.last.index
        )));
    }
    Ok((state, changed))
}

/// At the anchored index the log must have the anchored row.
fn check_against(held: &Anchored, id: LogId, chain: &Chain) -> Result<(), Fault> {
    let elsewhere = held.sequence == 0 || id.index != held.last.index;
    if elsewhere || (id == held.last && *chain == held.chain) {
        return Ok(());
    }
    Err(Fault::Anchor(format!(
        "a fork: row {} is not the one that the anchor names; another copy has gone on from an earlier row",
        id.index
    )))
}

/// Removes rows below `next_index`, which the checkpoint has: some of them, and whether more are left.
pub(super) fn trim(log: &Database, next_index: u64) -> Result<bool, Fault> {
    let write = durable(log)?;
    let mut removed = 0;
    {
        let mut table = write.open_table(LOG).map_err(storage)?;
        while removed < TRIM_MAX {
            let first = table.first().map_err(storage)?.map(|(index, _)| index.value());
            let Some(index) = first.filter(|index| *index < next_index) else { break };
            table.remove(index).map_err(storage)?;
            removed += 1;
        }
    }
    write.commit().map_err(storage)?;
    Ok(removed == TRIM_MAX)
}
