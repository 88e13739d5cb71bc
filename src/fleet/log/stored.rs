//! What a replica's log has on its disk, read back: rows and what is kept beside them, and whether the anchor knows it.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};
use subtle::ConstantTimeEq;

use super::tail::{Place, ROW_OVERHEAD, Tail};
use crate::error::Fault;
use crate::fleet::consensus::{Vote, from_raft, read_addresses, vote_for};
use crate::fleet::link::Address;
use crate::fleet::row;
use crate::fleet::version::{OLDEST, version_of};
use crate::journal::row::{CHAIN_BEGIN, Keys, first_half};
use crate::journal::store::{Store, durable, storage};
use crate::journal::{Leader, LogId};
use crate::ledger::Policy;
use crate::wire::{Invalid, Reader, Writer};

pub(super) const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
pub(super) const INVITATION: &str = "invitation";

/// Reads the rows; and the newest version in which one of them is written.
pub(super) fn read_rows(store: &Store, keys: &Keys, policy: &Policy, tail: &mut Tail) -> Result<u8, Fault> {
    let (mut chain, mut newest) = (tail.purged.map_or(CHAIN_BEGIN, |it| it.chain), OLDEST);
    let read = store.db()?.begin_read().map_err(storage)?;
    let table = match read.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Err(Fault::Storage("there is no log here".to_owned())),
        Err(error) => return Err(storage(error)),
    };
    for (index, entry) in (tail.first_index()..).zip(table.iter().map_err(storage)?) {
        let (key, bytes) = entry.map_err(storage)?;
        if key.value() != index {
            return Err(Fault::Damaged(format!("the fleet's log row {index} is missing, others are there")));
        }
        let bytes = bytes.value();
        let (entry, next) = row::open(keys, policy, bytes, index, &chain)?;
        chain = next;
        newest = newest.max(version_of(&entry));
        tail.rows.push_back(Place { id: from_raft(&entry.log_id), chain });
        // Those that stay behind the checkpoint are not for the next.
        if tail.base.is_none_or(|base| index > base.id.index) {
            tail.bytes += bytes.len() as u64 + ROW_OVERHEAD;
        }
        tail.keep(entry, bytes.len());
    }
    Ok(newest)
}

/// The checkpoint must stand in the log, or beyond its end, where a snapshot has been installed.
pub(super) fn check_base(tail: &Tail) -> Result<(), Fault> {
    let other = || Fault::Damaged("the log and the checkpoint are of two histories".to_owned());
    match (tail.base, tail.purged) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Fault::Anchor("the checkpoint is missing that the log goes on from".to_owned())),
        (Some(base), purged) => {
            if purged.is_some_and(|purged| purged.id > base.id) {
                return Err(Fault::Anchor("the checkpoint is older than the log that goes on from it".to_owned()));
            }
            match tail.at(base.id.index) {
                Some(place) if place == base => Ok(()),
                // Beyond the end, or in the place of rows that a snapshot has replaced: openraft lets go of those.
                Some(place) if place.id < base.id => Ok(()),
                Some(_) => Err(other()),
                None if tail.last().is_none_or(|last| last.id.index < base.id.index) => Ok(()),
                None => Err(other()),
            }
        }
    }
}

/// At the anchored index the log, or the checkpoint, must have the anchored row (F3).
pub(super) fn check_anchored(tail: &Tail, anchored: Place) -> Result<(), Fault> {
    if tail.base == Some(anchored) {
        return Ok(());
    }
    match tail.at(anchored.id.index) {
        Some(place) if place == anchored => Ok(()),
        Some(_) => Err(Fault::Anchor(format!(
            "a fork: row {} is not the one that the anchor names; another copy has gone on from an earlier row",
            anchored.id.index
        ))),
        None => Err(Fault::Anchor(format!(
            "an older copy of the log, or a truncated one: it ends at row {}, the anchor names row {}",
            tail.last().map_or(0, |it| it.id.index),
            anchored.id.index
        ))),
    }
}

/// What is kept beside the rows.
#[derive(Default)]
pub(super) struct Meta {
    pub(super) vote: Option<Vote>,
    /// The last row that has left.
    pub(super) purged: Option<Place>,
    /// From whom the member takes its first rows, if it did not found the fleet.
    pub(super) invitation: BTreeMap<u64, Address>,
}

pub(super) fn read_meta(store: &Store, keys: &Keys, member: u64) -> Result<Meta, Fault> {
    let read = store.db()?.begin_read().map_err(storage)?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Meta::default()),
        Err(error) => return Err(storage(error)),
    };
    let find = |name: &'static str| -> Result<Option<Vec<u8>>, Fault> {
        let Some(stored) = table.get(name).map_err(storage)? else { return Ok(None) };
        let damaged = || Fault::Damaged(format!("the {name} of the fleet's log does not authenticate"));
        let (bytes, mac) = stored.value().split_last_chunk::<32>().ok_or_else(damaged)?;
        if bool::from(meta_mac(keys, member, name, bytes).ct_eq(mac)) {
            Ok(Some(bytes.to_vec()))
        } else {
            Err(damaged())
        }
    };
    let read_vote = |bytes: Vec<u8>| {
        let mut reader = Reader::new(&bytes);
        let vote = vote_for(Leader::read(&mut reader)?, reader.flag()?);
        reader.finish().map(|()| vote)
    };
    let read_place = |bytes: Vec<u8>| {
        let mut reader = Reader::new(&bytes);
        let place = Place { id: LogId::read(&mut reader)?, chain: *reader.array()? };
        reader.finish().map(|()| place)
    };
    let vote = find(VOTE)?.map(read_vote).transpose().map_err(Invalid::stored("the vote"))?;
    let purged = find(PURGED)?.map(read_place).transpose().map_err(Invalid::stored("the log's beginning"))?;
    let read_known = |bytes: Vec<u8>| {
        let mut reader = Reader::new(&bytes);
        let known = read_addresses(&mut reader)?;
        reader.finish().map(|()| known)
    };
    let invitation = find(INVITATION)?.map(read_known).transpose().map_err(Invalid::stored("whom it joins"))?;
    Ok(Meta { vote, purged, invitation: invitation.unwrap_or_default() })
}

pub(super) fn write_meta(
    store: &Store,
    keys: &Keys,
    member: u64,
    name: &'static str,
    write: impl FnOnce(&mut Writer),
) -> Result<(), Fault> {
    write_meta_with(store, keys, member, name, None, write)
}

/// Writes what is kept beside the rows, and in the same commit removes those up to `until`.
pub(super) fn write_meta_with(
    store: &Store,
    keys: &Keys,
    member: u64,
    name: &'static str,
    until: Option<u64>,
    write: impl FnOnce(&mut Writer),
) -> Result<(), Fault> {
    let mut writer = Writer::default();
    write(&mut writer);
    let mut bytes = writer.finish();
    let mac = meta_mac(keys, member, name, &bytes);
    bytes.extend_from_slice(&mac);
    let transaction = durable(store.db()?)?;
    transaction.open_table(META).map_err(storage)?.insert(name, bytes.as_slice()).map_err(storage)?;
    if let Some(until) = until {
        let mut table = transaction.open_table(LOG).map_err(storage)?;
        table.retain_in(..=until, |_, _| false).map_err(storage)?;
    }
    transaction.commit().map_err(storage)
}

/// Another replica's vote must not pass for this one's, although all have the same keys.
pub(super) fn meta_mac(keys: &Keys, member: u64, name: &str, bytes: &[u8]) -> [u8; 32] {
    first_half(&keys.fleet.mac(&[b"meta", &member.to_be_bytes(), &[name.len() as u8], name.as_bytes(), bytes]))
}
