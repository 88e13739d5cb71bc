//! A replica's log by itself.

use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, RaftLogReader};

use super::{Kept, addresses, key, policy};
use crate::fleet::consensus::{Entry, Origin, Proposal, to_raft, vote_for};
use crate::fleet::log::{Beginning, Log};
use crate::fleet::version::{NEWEST, Versions};
use crate::journal::checkpoint::Base;
use crate::journal::latch::Latch;
use crate::journal::row::Keys;
use crate::journal::{Anchor, Leader, LogId, MemoryAnchor};

/// Whose log it is.
const MEMBER: u64 = 1;
const LEADER: Leader = Leader { term: 1, member: MEMBER };

/// The file of a log without rows.
fn created() -> Kept {
    let file = Kept::default();
    Log::create(file.clone(), &Keys::new(&key()), &policy(), Beginning::Joins(MEMBER, &addresses(1..=3))).unwrap();
    file
}

/// A log without rows.
fn begun() -> Log {
    opened(&created(), &Arc::default(), &Base::default())
}

/// The log in this file, beside this checkpoint.
fn opened(file: &Kept, anchor: &Arc<MemoryAnchor>, base: &Base) -> Log {
    let (keys, held) = (Arc::new(Keys::new(&key())), anchor.read().unwrap());
    let latch = Latch::new(Arc::clone(anchor) as Arc<dyn Anchor>, held);
    Log::open(file.clone(), keys, &policy(), MEMBER, latch, base, &Versions::new(NEWEST)).unwrap()
}

/// A batch of so many bytes.
fn row(index: u64, bytes: usize) -> Entry {
    let origin = Origin { member: MEMBER, life: 1, sequence: index };
    let batch = Proposal { origin, time_s: 0, version: NEWEST, count: 0, content: vec![0; bytes].into() };
    Entry { log_id: to_raft(LogId { leader: LEADER, index }), payload: EntryPayload::Normal(batch) }
}

/// What memory does not have whole is read from the disk, where a leader's last batch is not at once.
#[tokio::test]
async fn f11_log_has_rows_read_of_which_the_last_is_yet_to_be_written() {
    let mut log = begun();
    // 33 MiB: more than is kept in memory, so that the first is on the disk alone.
    for index in 0..3 {
        log.blocking_append([row(index, 11 << 20)]).await.unwrap();
    }
    log.save_vote(&vote_for(LEADER, true)).await.unwrap();
    log.blocking_append([row(3, 1)]).await.unwrap();
    assert_eq!(log.latch().held().last.index, 2, "the control: the last is yet to be written");
    let rows = log.try_get_log_entries(0..4).await.unwrap();
    assert!(rows.iter().map(|it| it.log_id.index).eq(0..4));
    assert_eq!(log.latch().held().last.index, 3);
    assert_eq!(log.latch().check(), Ok(()));
}

/// openraft lets go of rows before the checkpoint is installed that has them (V8).
#[tokio::test]
async fn log_says_that_rows_are_gone_once_they_are() {
    let mut log = begun();
    log.blocking_append((0..10).map(|index| row(index, 1)).collect::<Vec<_>>()).await.unwrap();
    let last = log.end().unwrap().unwrap();
    log.purge(to_raft(last.id)).await.unwrap();
    assert_eq!(log.gone(), Ok(None), "they wait for the checkpoint");
    assert!(log.entry(0).unwrap().is_some(), "the control: they are there");
    log.installed(last, [1; 32]).unwrap();
    assert_eq!(log.gone(), Ok(Some(last.id)));
    assert!(log.entry(0).unwrap().is_none());
}

/// A leader that has just started takes as many rows as any other, however many it keeps for members that lag (`Pace`).
#[tokio::test]
async fn opened_log_counts_the_rows_behind_its_checkpoint_alone() {
    let (file, anchor) = (created(), Arc::default());
    let mut log = opened(&file, &anchor, &Base::default());
    log.blocking_append((0..7).map(|index| row(index, 1000)).collect::<Vec<_>>()).await.unwrap();
    let (before, end) = (log.bytes().unwrap(), log.end().unwrap().unwrap());
    let base = Base { last: Some(end.id), chain: end.chain, ..Base::default() };
    log.blocking_append((7..10).map(|index| row(index, 1000)).collect::<Vec<_>>()).await.unwrap();
    let all = log.bytes().unwrap();
    drop(log);
    assert_eq!(
        opened(&file, &anchor, &Base::default()).bytes(),
        Ok(all),
        "the control: without a checkpoint all count"
    );
    let log = opened(&file, &anchor, &base);
    assert_eq!(log.bytes(), Ok(all - before));
    assert!(log.entry(0).unwrap().is_some(), "and those before are there");
}
