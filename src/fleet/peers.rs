//! The way from openraft to other replicas: each of its calls as one of our messages.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, Snapshot};

use super::clocks::Clocks;
use super::consensus::{Consensus, Vote, from_raft, to_raft};
use super::link::{Address, Links};
use super::log::{Log, Place, raft_fault};
use super::machine::Carried;
use super::message::{Refused, Reply, Request, Unheard};
use super::planted::{Mistake, makes};
use super::version::Versions;
use crate::error::Fault;

/// Between two tries to reach a member.
const RETRY: Duration = Duration::from_millis(100);
/// For one part of a checkpoint.
const PART_WAIT: Duration = Duration::from_secs(10);

/// Every member but this one.
#[derive(Clone)]
pub(super) struct Peers {
    pub(super) links: Arc<dyn Links>,
    pub(super) log: Log,
    pub(super) clocks: Arc<Clocks>,
    pub(super) versions: Arc<Versions>,
    /// Whether a member that was asked for its vote has said that this replica is none.
    pub(super) foreign: Arc<AtomicBool>,
}

impl Peers {
    /// Asks a member, and hears its clock along with its answer.
    pub(super) async fn ask(&self, member: u64, address: &Address, request: &Request) -> io::Result<Reply> {
        let now_s = self.clocks.now_s().map_err(io::Error::other)?;
        let head = self.versions.head(u8::MAX, now_s);
        let bytes = match self.links.call(member, address, request.encode(head)).await {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Reply::Refused(Refused::Foreign));
            }
            called => called?,
        };
        let said = match Reply::decode(&bytes, self.versions.newest()) {
            Ok(said) => said,
            Err(Unheard::Version(_)) => return Ok(Reply::Refused(Refused::Version)),
            Err(Unheard::Malformed) => return Err(io::Error::other("what came back is not a reply")),
        };
        self.clocks.heard(member, said.head.time_s);
        self.versions.hear(member, said.head.reads);
        if said.what == Reply::Refused(Refused::Version) {
            let (reads, speaks) = (said.head.reads, head.version);
            tracing::warn!(
                member,
                reads,
                speaks,
                "a member does not read what this fleet speaks: it wants a newer build"
            );
        }
        Ok(said.what)
    }
}

impl RaftNetworkFactory<Consensus> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, member: u64, address: &Address) -> Peer {
        Peer { peers: self.clone(), member, address: address.clone() }
    }
}

/// One other member.
pub(super) struct Peer {
    peers: Peers,
    member: u64,
    address: Address,
}

type Failed<E = RaftError<u64>> = RPCError<u64, Address, E>;

fn unreachable<E: std::error::Error>(error: &io::Error) -> Failed<E> {
    Failed::Unreachable(Unreachable::new(error))
}

/// What a member says that does not fit what it was asked.
fn strange<E: std::error::Error>(reply: &Reply) -> Failed<E> {
    let why = match reply {
        Reply::Refused(why) => format!("the member refuses: {why:?}"),
        other => format!("the member answers another question: {other:?}"),
    };
    unreachable(&io::Error::other(why))
}

impl Peer {
    async fn ask<E: std::error::Error>(&self, request: &Request, option: &RPCOption) -> Result<Reply, Failed<E>> {
        match tokio::time::timeout(option.hard_ttl(), self.peers.ask(self.member, &self.address, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(elapsed) => Err(Failed::Network(NetworkError::new(&elapsed))),
        }
    }

    /// A step of a checkpoint's way.
    async fn carry(&self, request: Request) -> Result<Reply, StreamingError<Consensus, Fatal<u64>>> {
        let failed = |error: io::Error| StreamingError::Unreachable(Unreachable::new(&error));
        let asked = tokio::time::timeout(PART_WAIT, self.peers.ask(self.member, &self.address, &request));
        asked.await.map_err(|elapsed| failed(io::Error::other(elapsed)))?.map_err(failed)
    }

    async fn carry_all(
        &self,
        vote: Vote,
        carried: Carried,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Consensus, Fatal<u64>>> {
        let Carried::Outgoing(mut outgoing) = carried else {
            return Err(StreamingError::StorageError(raft_fault(Fault::Damaged("a checkpoint of nothing".to_owned()))));
        };
        let goes_on = |reply: Reply| match reply {
            Reply::Continue => Ok(None),
            Reply::HigherVote(vote) | Reply::Installed(vote) => Ok(Some(SnapshotResponse::new(vote))),
            other => Err(StreamingError::Unreachable(Unreachable::new(&io::Error::other(format!(
                "the member does not take the checkpoint: {other:?}"
            ))))),
        };
        let head = outgoing.head().to_vec();
        if let Some(done) = goes_on(self.carry(Request::CheckpointBegins { vote, head }).await?)? {
            return Ok(done);
        }
        for number in 0.. {
            let Some(part) = outgoing.next().map_err(|fault| StreamingError::StorageError(raft_fault(fault)))? else {
                break;
            };
            if let Some(done) = goes_on(self.carry(Request::CheckpointPart { vote, number, part }).await?)? {
                return Ok(done);
            }
        }
        match goes_on(self.carry(Request::CheckpointEnds { vote }).await?)? {
            Some(done) => Ok(done),
            None => Err(StreamingError::Unreachable(Unreachable::new(&io::Error::other("the checkpoint did not end")))),
        }
    }
}

impl RaftNetwork<Consensus> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Consensus>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        let log = &self.peers.log;
        let fault = |fault: Fault| unreachable(&io::Error::other(fault));
        let previous = match &rpc.prev_log_id {
            Some(id) => {
                let id = from_raft(id);
                let chain = log.chain_at(&id).map_err(fault)?;
                // What has left the log meanwhile is asked for again.
                let chain = chain.ok_or_else(|| unreachable(&io::Error::other("the row before has left the log")))?;
                Some(Place { id, chain })
            }
            None => None,
        };
        let last = rpc.entries.last().map(|entry| from_raft(&entry.log_id)).or(previous.map(|it| it.id));
        let commit = rpc.leader_commit.as_ref().map(from_raft);
        if let Some(commit) = &commit {
            // Nobody hears that a row is committed before it is on this disk too (F11).
            let written = tokio::time::timeout(option.hard_ttl(), log.written(commit)).await;
            written.map_err(|elapsed| Failed::Network(NetworkError::new(&elapsed)))?.map_err(fault)?;
        }
        let request = Request::Append { vote: rpc.vote, previous, commit, entries: rpc.entries };
        let reply = match self.ask(&request, &option).await {
            Err(_) if makes(Mistake::SilenceCounts) => return Ok(AppendEntriesResponse::Success),
            reply => reply?,
        };
        match reply {
            Reply::Appended { chain } => {
                // The member's history must be this one's, up to the last row it has taken (F5).
                let own = last.map(|last| log.chain_at(&last)).transpose().map_err(fault)?.flatten();
                if let (Some(own), Some(theirs)) = (own, chain)
                    && own != theirs
                {
                    return Err(fault(log.forked(self.member)));
                }
                Ok(AppendEntriesResponse::Success)
            }
            Reply::Conflict => Ok(AppendEntriesResponse::Conflict),
            Reply::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote)),
            Reply::Refused(Refused::Fork) => Err(fault(log.forked(self.member))),
            reply @ Reply::Refused(Refused::Skew) => {
                self.peers.clocks.refused(self.member);
                Err(strange(&reply))
            }
            other => Err(strange(&other)),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, Failed> {
        let request = Request::Vote { vote: rpc.vote, last: rpc.last_log_id.as_ref().map(from_raft) };
        match self.ask(&request, &option).await? {
            Reply::Voted { vote, granted, last } => {
                Ok(VoteResponse { vote, vote_granted: granted, last_log_id: last.map(to_raft) })
            }
            reply => {
                if reply == Reply::Refused(Refused::Foreign) {
                    self.peers.foreign.store(true, Ordering::Relaxed);
                }
                Err(strange(&reply))
            }
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Consensus>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Consensus, Fatal<u64>>> {
        let mut cancel = pin!(cancel);
        tokio::select! {
            biased;
            closed = &mut cancel => Err(StreamingError::Closed(closed)),
            done = self.carry_all(vote, *snapshot.snapshot) => done,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(RETRY))
    }
}
