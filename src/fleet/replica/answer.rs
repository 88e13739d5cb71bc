//! What a replica answers to other members: to leaders, candidates, and those who ask a leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::EntryPayload;
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use tokio::time::Instant;

use super::{Replica, Shared};
use crate::error::Fault;
use crate::fleet::blocking;
use crate::fleet::consensus::{Entry, Origin, Proposal, Vote, from_raft, leader_of, to_raft};
use crate::fleet::log::Place;
use crate::fleet::machine::{Arriving, commands_of, names};
use crate::fleet::message::{Refused, Reply, Request, Said, Unheard};
use crate::fleet::planted::{Mistake, makes};
use crate::fleet::roster::members_of;
use crate::fleet::row;
use crate::fleet::version::version_of;
use crate::journal::LogId;
use crate::journal::row::CHAIN_BEGIN;
use crate::ledger::Command;
use crate::transparency::{Note, Order, Statement};

/// A checkpoint that is on its way here.
pub(super) struct Receiving {
    pub(super) from: u64,
    pub(super) next: u32,
    pub(super) touched: Instant,
    pub(super) arriving: Arriving,
}

impl Replica {
    /// Answers what another member has asked; the link is sure that it was `from`.
    pub async fn handle(&self, from: u64, request: &[u8]) -> Vec<u8> {
        let Shared { clocks, versions, .. } = &*self.0;
        let (reads, reply) = match Request::decode(request, versions.newest()) {
            // Whose place another has taken, or nobody, is heard no more.
            Ok(Said { head, .. }) if !self.knows(from) => (head.reads, Reply::Refused(Refused::Foreign)),
            Ok(Said { head, what }) => {
                clocks.heard(from, head.time_s);
                versions.hear(from, head.reads);
                (head.reads, self.answer(from, &what).await)
            }
            Err(Unheard::Version(head)) => {
                let (speaks, reads) = (head.version, versions.newest());
                tracing::warn!(from, speaks, reads, "a member speaks what this build does not read");
                (head.reads, Reply::Refused(Refused::Version))
            }
            Err(Unheard::Malformed) => (u8::MAX, Reply::Refused(Refused::Malformed)),
        };
        // Without a clock nothing is acknowledged either (F7).
        match clocks.now_s() {
            Ok(now_s) => reply.encode(versions.head(reads, now_s)),
            Err(_) => Reply::Refused(Refused::Stopped).encode(versions.head(reads, 0)),
        }
    }

    pub(super) async fn answer(&self, from: u64, request: &Request) -> Reply {
        match request {
            Request::Append { vote, .. }
            | Request::Vote { vote, .. }
            | Request::CheckpointBegins { vote, .. }
            | Request::CheckpointPart { vote, .. }
            | Request::CheckpointEnds { vote }
                if vote.leader_id.node_id != from =>
            {
                Reply::Refused(Refused::Foreign)
            }
            Request::Propose { origin, .. } if origin.member != from => Reply::Refused(Refused::Foreign),
            Request::Append { vote, previous, commit, entries } => {
                self.append(*vote, *previous, *commit, entries).await
            }
            Request::Vote { vote, last } => {
                let request = VoteRequest { vote: *vote, last_log_id: last.map(to_raft) };
                match self.0.raft.vote(request).await {
                    Ok(it) => Reply::Voted {
                        vote: it.vote,
                        granted: it.vote_granted,
                        last: it.last_log_id.as_ref().map(from_raft),
                    },
                    Err(_) => Reply::Refused(Refused::Stopped),
                }
            }
            Request::Propose { .. } | Request::Confirm if self.0.drained.load(Ordering::Relaxed) => {
                Reply::NotLeader(None)
            }
            Request::Propose { origin, version, count, content } => {
                self.propose(*origin, *version, *count, content).await
            }
            Request::Confirm => match self.0.raft.get_read_log_id().await {
                Ok((index, _)) => Reply::Confirmed(index.as_ref().map(from_raft)),
                Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(it))) => Reply::NotLeader(it.leader_id),
                Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Reply::Refused(Refused::Busy),
                Err(RaftError::Fatal(_)) => Reply::Refused(Refused::Stopped),
            },
            Request::CheckpointBegins { head, .. } => self.receive(from, head).await,
            Request::CheckpointPart { number, part, .. } => self.receive_part(from, *number, part).await,
            Request::Members => Reply::Members(self.addresses()),
            Request::Prove => Reply::Proof(self.proof_of(self.0.number)),
            Request::Keys { public_key } => self.hand_keys(from, public_key).await,
            Request::ChannelKey => self.tell_channel_key(),
            Request::Keep { sealed } => self.keep(from, sealed).await,
            Request::CheckpointEnds { vote } => self.receive_end(from, *vote).await,
        }
    }

    /// Takes a leader's entries, if they are of this replica's history and not dated too far ahead.
    async fn append(&self, vote: Vote, previous: Option<Place>, commit: Option<LogId>, entries: &[Entry]) -> Reply {
        let Shared { log, policy, clocks, versions, raft, .. } = &*self.0;
        if !in_order(&vote, previous, entries) {
            return Reply::Refused(Refused::Malformed);
        }
        if entries.iter().any(|entry| version_of(entry) > versions.newest()) {
            return Reply::Refused(Refused::Version);
        }
        // What a majority has acknowledged already is not this replica's to refuse.
        let fresh = entries.iter().filter(|entry| Some(from_raft(&entry.log_id)) > commit);
        let latest_s = fresh.filter_map(date_of).max().unwrap_or(0);
        match clocks.now_s() {
            Ok(now_s) if latest_s <= now_s.saturating_add(policy.skew_max_s) || makes(Mistake::OwnClock) => {}
            _ => return Reply::Refused(Refused::Skew),
        }
        match self.follows(previous, entries) {
            Ok(true) => {}
            Ok(false) => {
                log.forked(vote.leader_id.node_id);
                return Reply::Refused(Refused::Fork);
            }
            Err(_) => return Reply::Refused(Refused::Stopped),
        }
        match self.allows(previous, entries) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(leader = vote.leader_id.node_id, "members are refused whom no statement names");
                return Reply::Refused(Refused::Members);
            }
            Err(Fault::Unsettled(_)) => return Reply::Refused(Refused::Busy),
            Err(_) => return Reply::Refused(Refused::Stopped),
        }
        let last = entries.last().map(|entry| from_raft(&entry.log_id)).or(previous.map(|it| it.id));
        let request = AppendEntriesRequest {
            vote,
            prev_log_id: previous.map(|it| to_raft(it.id)),
            entries: entries.to_vec(),
            leader_commit: commit.map(to_raft),
        };
        match raft.append_entries(request).await {
            Ok(AppendEntriesResponse::Success) => {
                self.may_lead(true);
                self.hears();
                Reply::Appended { chain: last.and_then(|last| log.chain_at(&last).ok().flatten()) }
            }
            Ok(AppendEntriesResponse::HigherVote(vote)) => Reply::HigherVote(vote),
            Ok(_) => Reply::Conflict,
            Err(_) => Reply::Refused(Refused::Stopped),
        }
    }

    /// Whether entries behind `previous` are of this replica's history, as far as it has rows of their ids (F5).
    fn follows(&self, previous: Option<Place>, entries: &[Entry]) -> Result<bool, Fault> {
        let Shared { log, policy, .. } = &*self.0;
        if let Some(place) = previous
            && log.chain_at(&place.id)?.is_some_and(|own| own != place.chain)
        {
            return Ok(false);
        }
        let mut chain = previous.map_or(CHAIN_BEGIN, |it| it.chain);
        for entry in entries {
            let Some(own) = log.chain_at(&from_raft(&entry.log_id))? else { break };
            chain = row::seal(log.keys(), policy, entry, &chain).1;
            if chain != own {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether each membership among entries behind `previous` is one that the statements before it allow, and each statement
    /// one of both signers (F10). Statements stand alone in their rows; where one does not, it is met when it is applied.
    fn allows(&self, previous: Option<Place>, entries: &[Entry]) -> Result<bool, Fault> {
        let turns = |entry: &Entry| match &entry.payload {
            EntryPayload::Blank => false,
            EntryPayload::Membership(_) => true,
            EntryPayload::Normal(it) => it.count == 1 && commands_of(it).is_ok_and(|it| it.iter().any(names)),
        };
        if !entries.iter().any(turns) {
            return Ok(true);
        }
        let Shared { log, machine, .. } = &*self.0;
        let (applied, mut roster) = machine.roster()?;
        let first = applied.map_or(0, |it| it.index + 1);
        if let Some(place) = previous
            && place.id.index >= first
            && log.chain_at(&place.id)?.is_none()
        {
            // They do not go on from here, and are not taken for that.
            return Ok(true);
        }
        let next = previous.map_or(0, |it| it.id.index + 1);
        let rows = if first < next { log.rows(first, next)? } else { Vec::new() };
        let beyond = entries.iter().filter(|entry| entry.log_id.index >= first);
        Ok(rows.iter().chain(beyond).all(|entry| roster.pass(entry)))
    }

    /// Whether a statement among a batch's commands is one of both signers that may follow the last.
    fn obeys(&self, commands: &[Command]) -> Result<bool, Fault> {
        let Shared { fleet, machine, .. } = &*self.0;
        if !commands.iter().any(names) {
            return Ok(true);
        }
        let (_, mut roster) = machine.roster()?;
        let mut signers = None;
        machine.look(&mut |state| signers = state.signers().copied())?;
        for command in commands {
            let Command::Members { predecessor, statement } = command else { continue };
            let read = |signers| Statement::of(&Note::read(statement).ok()?, &signers).ok();
            let Some(statement) = signers.and_then(read) else { return Ok(false) };
            // One that has a fleet go on from a backup is for members that begin, and for none that runs.
            if !matches!(statement.order, Order::Members { .. }) {
                return Ok(false);
            }
            match members_of(&statement, fleet) {
                Ok((own, members)) if own == *predecessor && roster.may_be_followed_by(&members) => {}
                _ => return Ok(false),
            }
        }
        Ok(roster.take(commands))
    }

    /// Takes a member's batch to the log, if this replica leads, and answers once it is committed.
    async fn propose(&self, origin: Origin, version: u8, count: u32, content: &Arc<[u8]>) -> Reply {
        let Shared { number, clocks, versions, raft, .. } = &*self.0;
        let (leader, voters) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            (metrics.current_leader, metrics.membership_config.membership().voter_ids().collect::<BTreeSet<_>>())
        };
        if leader != Some(*number) {
            return Reply::NotLeader(leader);
        }
        // What some cannot read yet is not for the log (F12); a leader that was elected just now is yet to apply that all can.
        if version > versions.spoken() {
            return Reply::Refused(Refused::Busy);
        }
        match self.paced(content.len() as u64).await {
            Ok(true) => {}
            Ok(false) => return Reply::Refused(Refused::Busy),
            Err(_) => return Reply::Refused(Refused::Stopped),
        }
        let Ok(Some(time_s)) = clocks.date_s(*number, &voters) else { return Reply::Refused(Refused::Busy) };
        let proposal = Proposal { origin, time_s, version, count, content: Arc::clone(content) };
        // What does not parse would stop every replica that applies it.
        let Ok(commands) = commands_of(&proposal) else { return Reply::Refused(Refused::Malformed) };
        match self.obeys(&commands) {
            Ok(true) => {}
            Ok(false) => return Reply::Refused(Refused::Members),
            Err(_) => return Reply::Refused(Refused::Stopped),
        }
        match raft.client_write(proposal).await {
            Ok(_) => Reply::Taken,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(it))) => Reply::NotLeader(it.leader_id),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => Reply::Refused(Refused::Busy),
            Err(RaftError::Fatal(_)) => Reply::Refused(Refused::Stopped),
        }
    }

    /// Waits until a row of so many bytes may go to the log, which checkpoints here are to keep up with. Whether it may:
    /// who would wait for longer asks again.
    async fn paced(&self, row: u64) -> Result<bool, Fault> {
        let Shared { machine, settings, .. } = &*self.0;
        let begun = Instant::now();
        while let Some(wait) = machine.wait_before(row, settings.checkpoint_bytes)? {
            let left = settings.heartbeat.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(false);
            }
            let wait = wait.min(left);
            metrics::histogram!("strongroom_slowed_seconds").record(wait);
            tokio::time::sleep(wait).await;
        }
        Ok(true)
    }

    async fn receive(&self, from: u64, head: &[u8]) -> Reply {
        let mut receiving = self.0.arriving.lock().await;
        // A leader that begins anew has given up what it sent before.
        *receiving = None;
        match blocking(|| self.0.machine.receive(head)) {
            Ok(Some(arriving)) => {
                *receiving = Some(Receiving { from, next: 0, touched: Instant::now(), arriving });
                Reply::Continue
            }
            Ok(None) => Reply::Refused(Refused::Busy),
            Err(fault) => not_taken(&fault, from),
        }
    }

    async fn receive_part(&self, from: u64, number: u32, part: &[u8]) -> Reply {
        let mut receiving = self.0.arriving.lock().await;
        let Some(it) = receiving.as_mut().filter(|it| it.from == from && it.next == number) else {
            return Reply::Refused(Refused::Busy);
        };
        (it.next, it.touched) = (number.saturating_add(1), Instant::now());
        match blocking(|| self.0.machine.take(&mut it.arriving, part)) {
            Ok(()) => Reply::Continue,
            Err(fault) => {
                *receiving = None;
                not_taken(&fault, from)
            }
        }
    }

    async fn receive_end(&self, from: u64, vote: Vote) -> Reply {
        let Some(it) = self.0.arriving.lock().await.take_if(|it| it.from == from) else {
            return Reply::Refused(Refused::Busy);
        };
        match blocking(|| self.0.machine.prove(it.arriving)) {
            Ok(snapshot) => match self.0.raft.install_full_snapshot(vote, snapshot).await {
                Ok(response) => Reply::Installed(response.vote),
                Err(_) => Reply::Refused(Refused::Stopped),
            },
            Err(fault) => not_taken(&fault, from),
        }
    }
}

/// Whether these are rows that a leader of this vote may have, one behind the other; openraft stops on others.
fn in_order(vote: &Vote, previous: Option<Place>, entries: &[Entry]) -> bool {
    let mut last = previous.map(|it| it.id);
    let follows = entries.iter().all(|entry| {
        let id = from_raft(&entry.log_id);
        let next = last.map_or(Some(0), |last| last.index.checked_add(1));
        let follows = next == Some(id.index) && last.is_none_or(|last| last.leader <= id.leader);
        last = Some(id);
        follows
    });
    follows && last.is_none_or(|last| last.leader <= leader_of(&vote.leader_id) && last.index < u64::MAX)
}

/// A checkpoint that does not come to stand here, because of what came or of this replica's own disk.
fn not_taken(fault: &Fault, from: u64) -> Reply {
    tracing::warn!(%fault, from, "a checkpoint is not taken");
    Reply::Refused(match fault {
        Fault::Latched | Fault::Storage(_) => Refused::Stopped,
        _ => Refused::Malformed,
    })
}

/// The date of an entry, if it has one.
fn date_of(entry: &Entry) -> Option<u64> {
    match &entry.payload {
        EntryPayload::Normal(proposal) => Some(proposal.time_s),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}
