//! How a log begins: as a founder's, as one that joins, or behind a checkpoint that a fleet goes on from.

use std::collections::BTreeMap;

use redb::{ReadableTable, StorageBackend};

use super::stored::{INVITATION, LOG, META, PURGED, VOTE, write_meta};
use super::tail::{Place, Tail};
use super::{CACHE, Log};
use crate::error::Fault;
use crate::fleet::consensus::{Entry, write_addresses};
use crate::fleet::link::Address;
use crate::fleet::row;
use crate::journal::row::{CHAIN_BEGIN, Keys};
use crate::journal::store::{Store, durable, shielded, storage};
use crate::ledger::Policy;

/// Rows of a log that founds a fleet: the statement, and the membership.
const FOUNDING_ROWS: usize = 2;

/// What a log begins with.
pub(in crate::fleet) enum Beginning<'a> {
    /// The rows that found a fleet.
    Founds(&'a [Entry]),
    /// Nothing: this member takes its first rows from these.
    Joins(u64, &'a BTreeMap<u64, Address>),
    /// Nothing: this member has a checkpoint that stands here, and goes on behind it.
    Refounds(u64, Place),
}

impl Log {
    /// A new log in an empty file.
    pub(in crate::fleet) fn create(
        backend: impl StorageBackend,
        keys: &Keys,
        policy: &Policy,
        beginning: Beginning<'_>,
    ) -> Result<(), Fault> {
        shielded(|| {
            let store = Store::open(backend, CACHE)?;
            let write = durable(store.db()?)?;
            {
                let mut table = write.open_table(LOG).map_err(storage)?;
                write.open_table(META).map_err(storage)?;
                if table.first().map_err(storage)?.is_some() {
                    return Err(Fault::Storage("there is a log already".to_owned()));
                }
                let (rows, mut chain): (&[Entry], _) =
                    (if let Beginning::Founds(rows) = beginning { rows } else { &[] }, CHAIN_BEGIN);
                for entry in rows {
                    let (row, next) = row::seal(keys, policy, entry, &chain);
                    table.insert(entry.log_id.index, row.as_slice()).map_err(storage)?;
                    chain = next;
                }
            }
            write.commit().map_err(storage)?;
            match beginning {
                Beginning::Founds(_) => Ok(()),
                Beginning::Joins(member, known) => write_meta(&store, keys, member, INVITATION, |writer| {
                    write_addresses(writer, known.iter());
                }),
                Beginning::Refounds(member, Place { id, chain }) => {
                    // As if it had followed whoever wrote the checkpoint's last row: elections are of later terms.
                    write_meta(&store, keys, member, VOTE, |writer| {
                        id.leader.write(writer);
                        writer.flag(false);
                    })?;
                    write_meta(&store, keys, member, PURGED, |writer| {
                        id.write(writer);
                        writer.bytes(&chain);
                    })
                }
            }
        })
    }
}

/// Whether a log may be one that its anchor has not heard of: as [`Log::create`] makes it. The row behind which a fleet goes on
/// from a backup is nobody's, so no other log stands there.
pub(super) fn begins_well(tail: &Tail) -> bool {
    match (tail.purged, tail.base) {
        (None, None) => tail.rows.len() <= FOUNDING_ROWS,
        (Some(purged), Some(base)) => tail.rows.is_empty() && purged == base && base.id.leader.member == 0,
        _ => false,
    }
}
