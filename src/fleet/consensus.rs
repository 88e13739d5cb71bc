//! How openraft is used: its types filled in, its runtime, and its log ids as ours.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, TokioRuntime};
use rand_core_06::{Error, RngCore, impls};

use super::link::Address;
use super::machine::Carried;
use crate::journal::{Leader, LogId};
use crate::wire::{Invalid, Reader, Writer};

openraft::declare_raft_types!(
    /// What openraft is made of here. A response is empty: receipts come from each replica's own state.
    pub(super) Consensus:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = Address,
        Entry = openraft::Entry<Consensus>,
        SnapshotData = Carried,
        AsyncRuntime = Runtime,
);

pub(super) type Raft = openraft::Raft<Consensus>;
pub(super) type Entry = openraft::Entry<Consensus>;
pub(super) type Membership = openraft::Membership<u64, Address>;
pub(super) type StoredMembership = openraft::StoredMembership<u64, Address>;
pub(super) type RaftLogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type StorageError = openraft::StorageError<u64>;

/// Which batch of which member. A member numbers its batches upwards, so that each is applied at most once (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The member's number.
    pub(super) member: u64,
    /// Which of its lives: the sequence its anchor had when it was opened.
    pub(super) life: u64,
    /// The batch's number in that life.
    pub(super) sequence: u64,
}

impl Origin {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.member).u64(self.life).u64(self.sequence);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Origin { member: reader.u64()?, life: reader.u64()?, sequence: reader.u64()? })
    }
}

/// A batch on its way through the log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) origin: Origin,
    /// The leader's date, in seconds.
    pub(super) time_s: u64,
    /// The version in which its commands are written; the fleet has turned to it by this row, if not before (F12).
    pub(super) version: u8,
    /// How many commands it has.
    pub(super) count: u32,
    /// The commands, one behind another.
    pub(super) content: Arc<[u8]>,
}

/// openraft writes proposals to its log: no account is to be in there.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {:?} of {} commands", self.origin, self.count)
    }
}

pub(super) fn to_raft(id: LogId) -> RaftLogId {
    RaftLogId::new(openraft::CommittedLeaderId::new(id.leader.term, id.leader.member), id.index)
}

pub(super) fn from_raft(id: &RaftLogId) -> LogId {
    LogId { leader: leader_of(&id.leader_id), index: id.index }
}

pub(super) fn leader_of(id: &openraft::LeaderId<u64>) -> Leader {
    Leader { term: id.term, member: id.node_id }
}

pub(super) fn vote_for(leader: Leader, committed: bool) -> Vote {
    Vote { leader_id: openraft::LeaderId::new(leader.term, leader.member), committed }
}

pub(super) fn write_membership(writer: &mut Writer, membership: &Membership) {
    let configs = membership.get_joint_config();
    writer.u8(configs.len() as u8);
    for voters in configs {
        writer.u16(voters.len() as u16);
        for member in voters {
            writer.u64(*member);
        }
    }
    write_addresses(writer, membership.nodes());
}

pub(super) fn read_membership(reader: &mut Reader<'_>) -> Result<Membership, Invalid> {
    let configs = (0..reader.u8()?)
        .map(|_| (0..reader.u16()?).map(|_| reader.u64()).collect::<Result<_, _>>())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Membership::new(configs, read_addresses(reader)?))
}

pub(super) fn write_addresses<'a>(writer: &mut Writer, addresses: impl Iterator<Item = (&'a u64, &'a Address)>) {
    let addresses: Vec<_> = addresses.collect();
    writer.u16(addresses.len() as u16);
    for (member, Address { name, link_key }) in addresses {
        writer.u64(*member).counted(name.as_bytes()).bytes(link_key);
    }
}

pub(super) fn read_addresses(reader: &mut Reader<'_>) -> Result<BTreeMap<u64, Address>, Invalid> {
    (0..reader.u16()?)
        .map(|_| {
            let member = reader.u64()?;
            let name = std::str::from_utf8(reader.counted(NAME_MAX)?).map_err(|_| Invalid)?.to_owned();
            Ok((member, Address { name, link_key: *reader.array()? }))
        })
        .collect()
}

/// Longest name of a member, in bytes.
pub(super) const NAME_MAX: usize = 255;

thread_local! {
    /// Where the chance of this thread's timers stands, once something has been drawn.
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on the chance by which replicas on this thread spread their timers repeats: for simulations. It decides when a
/// replica stands for election, and nothing that must be secret.
pub fn seed_timers(seed: u64) {
    CHANCE.set(Some(seed));
}

/// The chance of timers (splitmix64).
#[derive(Debug)]
pub(super) struct Chance;

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        // Without randomness of the system every thread begins alike, and elections take a few rounds more.
        let state = CHANCE.get().unwrap_or_else(|| getrandom::u64().unwrap_or_default());
        let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        CHANCE.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        impls::fill_bytes_via_next(self, dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// Tokio, with a chance of timers that a simulation can repeat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Runtime;

type Tokio = TokioRuntime;

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Chance;
    type OneshotSender<T: Send> = <Tokio as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiver<T: Send> = <Tokio as AsyncRuntime>::OneshotReceiver<T>;
    type OneshotReceiverError = <Tokio as AsyncRuntime>::OneshotReceiverError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Chance
    }

    fn oneshot<T: Send>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        Tokio::oneshot()
    }
}
