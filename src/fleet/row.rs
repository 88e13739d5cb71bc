//! One row of a fleet's log: how it is written, chained, and proves its place.
//!
//! A row is `version, log id, kind, payload`, at index 0 the policy too, then the chained MAC at this row. Every replica
//! makes the same row, chain and all, from an entry and the row before it; so two replicas with one chain at one log id
//! have one history up to it, and one with another policy shares no chain with the others (L12).

use std::sync::Arc;

use openraft::EntryPayload;
use subtle::ConstantTimeEq;

use super::consensus::{Entry, Origin, Proposal, from_raft, read_membership, to_raft, write_membership};
use crate::error::Fault;
use crate::journal::LogId;
use crate::journal::row::{Chain, Keys, first_half};
use crate::ledger::Policy;
use crate::limits::ROW_MAX;
use crate::wire::{Invalid, Reader, Writer};

/// Version of the row format.
const ROW_VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
/// Bytes of a row around the commands of a batch: version, log id, kind, origin, date, version, count, length, chain.
pub(super) const FRAME_LEN: usize = 1 + LogId::LEN + 1 + 24 + 8 + 1 + 4 + 4 + 32;

/// Appends an entry's one encoding.
pub(super) fn write_entry(writer: &mut Writer, entry: &Entry) {
    from_raft(&entry.log_id).write(writer);
    match &entry.payload {
        EntryPayload::Blank => {
            writer.u8(KIND_BLANK);
        }
        EntryPayload::Normal(Proposal { origin, time_s, version, count, content }) => {
            origin.write(writer.u8(KIND_BATCH));
            writer.u64(*time_s).u8(*version).u32(*count).counted(content);
        }
        EntryPayload::Membership(membership) => write_membership(writer.u8(KIND_MEMBERSHIP), membership),
    }
}

/// Reads one entry. The commands of a batch are not looked at.
pub(super) fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, Invalid> {
    let log_id = to_raft(LogId::read(reader)?);
    let payload = match reader.u8()? {
        KIND_BLANK => EntryPayload::Blank,
        KIND_BATCH => EntryPayload::Normal(Proposal {
            origin: Origin::read(reader)?,
            time_s: reader.u64()?,
            version: reader.u8()?,
            count: reader.u32()?,
            content: Arc::from(reader.counted(ROW_MAX)?),
        }),
        KIND_MEMBERSHIP => EntryPayload::Membership(read_membership(reader)?),
        _ => return Err(Invalid),
    };
    Ok(Entry { log_id, payload })
}

/// The row of an entry behind one whose chain is `previous`; and the chain at it.
pub(super) fn seal(keys: &Keys, policy: &Policy, entry: &Entry, previous: &Chain) -> (Vec<u8>, Chain) {
    let room = if let EntryPayload::Normal(it) = &entry.payload { it.content.len() } else { 256 };
    let mut writer = Writer::with_capacity(room + FRAME_LEN);
    writer.u8(ROW_VERSION);
    write_entry(&mut writer, entry);
    if entry.log_id.index == 0 {
        writer.counted(&policy.encode());
    }
    let mut row = writer.finish();
    let chain = chain(keys, previous, &row);
    row.extend_from_slice(&chain);
    (row, chain)
}

/// Reads the row found at `index`, behind a row whose chain is `previous`.
///
/// # Errors
/// [`Fault::Format`] on another version, [`Fault::Damaged`] if it does not continue the chain or does not parse,
/// [`Fault::PolicyMismatch`] if the log was begun under another policy.
pub(super) fn open(
    keys: &Keys,
    policy: &Policy,
    bytes: &[u8],
    index: u64,
    previous: &Chain,
) -> Result<(Entry, Chain), Fault> {
    let damaged = |how: &str| Fault::Damaged(format!("the fleet's log row {index} {how}"));
    match bytes.first() {
        Some(&ROW_VERSION) => {}
        Some(&found) => return Err(Fault::Format { what: "a row of the fleet's log", found, reads: ROW_VERSION }),
        None => return Err(damaged("is empty")),
    }
    let (row, stored) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged("is cut short"))?;
    let found = chain(keys, previous, row);
    if !bool::from(found.ct_eq(stored)) {
        return Err(damaged("does not continue the chain of the rows before it"));
    }
    let mut reader = Reader::new(&row[1..]);
    let parse = |reader: &mut Reader<'_>| -> Result<_, Invalid> {
        let entry = read_entry(reader)?;
        let made_under = if entry.log_id.index == 0 { Some(Policy::read(reader)?) } else { None };
        Ok((entry, made_under))
    };
    let (entry, made_under) = parse(&mut reader).map_err(|Invalid| damaged("does not parse"))?;
    reader.finish().map_err(|Invalid| damaged("does not end where it should"))?;
    if entry.log_id.index != index {
        return Err(damaged("stands in another row's place"));
    }
    match made_under.and_then(|made_under| made_under.difference(policy)) {
        Some(field) => Err(Fault::PolicyMismatch(format!("{field} differs"))),
        None => Ok((entry, found)),
    }
}

fn chain(keys: &Keys, previous: &Chain, row: &[u8]) -> Chain {
    first_half(&keys.fleet.mac(&[b"row", previous, row]))
}
