//! [`Replica`]: one member of a fleet: its log, its state, what it says to the others, and what it answers them.

mod answer;
mod begin;
mod keys;
mod members;
mod refound;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::StorageBackend;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use answer::Receiving;
pub use begin::{found, found_on, join, join_on};
pub use keys::KeyHolder;
pub use refound::{Backup, Survey, refound, refound_on, survey, survey_on};
pub use settings::Settings;

use super::clocks::Clocks;
use super::consensus::{Raft, leader_of};
use super::link::{Address, Links};
use super::log::Log;
use super::machine::{Machine, Opened};
use super::message::{Refused, Reply, Request};
use super::peers::Peers;
use super::propose::{Asked, Proposer};
use super::version::{Versions, readable};
use crate::account::AccountId;
use crate::error::Fault;
use crate::journal::latch::{Latch, check_kind};
use crate::journal::row::{Draft, Keys};
use crate::journal::store::shielded;
use crate::journal::{Anchor, Clock, Committed, Leader};
use crate::ledger::{Command, Policy, State};
use crate::secret::Secret;
use crate::wrap::Sealed;

/// Between two looks at what is due.
const ROUND: Duration = Duration::from_secs(1);
/// A checkpoint of which no part has come for so long is given up.
const ARRIVING_WAIT: Duration = Duration::from_secs(30);
/// Rounds without a leader after which a replica stands for election that was to lead no more.
const UNLED_MAX: u32 = 3;
/// Looks whether all tasks of a replica that stops are gone, after which it says that they are not.
const STOP_LOOKS: usize = 50;
/// For how long a replica does not lead whose rows are refused because of their date, or who is refused.
const BANNED: Duration = Duration::from_secs(10);
/// Between two tries to find a leader.
const LEADER_RETRY: Duration = Duration::from_millis(20);

/// What a replica is, and what it relies on.
pub struct Member {
    /// Its number, which no other member ever has.
    pub number: u64,
    /// The fleet's id.
    pub fleet: [u8; 32],
    /// The policy that the fleet was made under (L12).
    pub policy: Policy,
    /// The fleet's journal key, the same in every replica.
    pub journal_key: Secret<[u8; 32]>,
    /// What its host cannot roll back: its own.
    pub anchor: Arc<dyn Anchor>,
    /// Its clock. Batches are dated by the median of all members'.
    pub clock: Arc<dyn Clock>,
    /// The way to the others.
    pub links: Arc<dyn Links>,
    /// How long it waits for what, and how much it keeps.
    pub settings: Settings,
}

/// How a replica stands, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub number: u64,
    /// Who leads.
    pub leader: Option<u64>,
    /// For whom it has voted last, or whom it follows.
    pub vote: Leader,
    /// The last row of its log.
    pub last_index: Option<u64>,
    /// The last row in its state: how far it is behind is the difference.
    pub applied_index: Option<u64>,
    /// The last row in its checkpoint.
    pub checkpoint_index: Option<u64>,
    /// Who is a member, and the names at which they are found.
    pub members: BTreeMap<u64, String>,
    /// Those of them whose acknowledgements count.
    pub voters: BTreeSet<u64>,
    /// What the fleet speaks, as far as it has applied.
    pub version: u8,
    /// Whether it goes on: after a failure it does not, until it is opened again.
    pub running: bool,
}

/// A running member of a fleet. Copies of the handle are of one replica, which runs until [`Replica::stop`].
#[derive(Clone)]
pub struct Replica(Arc<Shared>);

pub(super) struct Shared {
    number: u64,
    fleet: [u8; 32],
    policy: Policy,
    settings: Settings,
    raft: Raft,
    log: Log,
    machine: Machine,
    peers: Peers,
    clocks: Arc<Clocks>,
    versions: Arc<Versions>,
    proposals: mpsc::UnboundedSender<Asked>,
    confirms: mpsc::UnboundedSender<oneshot::Sender<Result<(), Fault>>>,
    arriving: tokio::sync::Mutex<Option<Receiving>>,
    /// Members that were named to this replica while it heard no leader.
    told: Mutex<BTreeMap<u64, Address>>,
    /// The vault beside it, which may hand keys to members.
    holder: Mutex<Option<Arc<dyn KeyHolder>>>,
    /// Whether it is to lead no more.
    drained: AtomicBool,
    /// When it last heard a leader.
    heard: Mutex<Option<Instant>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Replica {
    /// Opens the replica whose files [`found`] or [`join`] has made in a folder, and runs it on the current tokio runtime.
    ///
    /// # Errors
    /// As [`Replica::open_on`].
    pub async fn open(folder: impl AsRef<Path>, member: Member) -> Result<Self, Fault> {
        let (log, checkpoint) = begin::open_files(folder.as_ref())?;
        Self::open_on(log, checkpoint, member).await
    }

    /// [`Replica::open`] over two stores of bytes that stand for the files: the log's, as it was made, and the checkpoint's,
    /// empty at first.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if what the disk holds is not what the anchor names: such a replica has forgotten what it
    /// acknowledged, and is rebuilt under a new number. [`Fault::Damaged`] if stored bytes do not authenticate,
    /// [`Fault::PolicyMismatch`] if the policy is another or asks for another kind of anchor, [`Fault::Format`] if the fleet speaks
    /// what this build does not read, [`Fault::Storage`].
    pub async fn open_on(
        log: impl StorageBackend,
        checkpoint: impl StorageBackend,
        member: Member,
    ) -> Result<Self, Fault> {
        let Member { number, fleet, policy, journal_key, anchor, clock, links, settings } = member;
        policy.check()?;
        check_kind(anchor.kind(), &policy)?;
        let keys = Arc::new(Keys::new(&journal_key));
        drop(journal_key);
        let versions = Arc::new(Versions::new(readable(settings.newest)?));
        let (log, machine) = super::blocking(|| {
            shielded(|| {
                let held = anchor.read()?;
                let latch = Latch::new(anchor, held);
                let opened = Opened::read(checkpoint, &keys, &policy, &versions)?;
                let log = Log::open(log, keys, &policy, number, latch, &opened.base, &versions)?;
                let machine = Machine::new(opened, log.clone(), Arc::clone(&versions))?;
                Ok((log, machine))
            })
        })?;
        let clocks = Arc::new(Clocks::new(clock));
        let peers = Peers {
            links,
            log: log.clone(),
            clocks: Arc::clone(&clocks),
            versions: Arc::clone(&versions),
            foreign: Arc::default(),
        };
        let config = Arc::new(settings.consensus()?);
        let (life, told) = (log.life(), log.invitation().clone());
        let raft = Raft::new(number, config, peers.clone(), log.clone(), machine.clone()).await;
        let raft = raft.map_err(|error| Fault::Storage(error.to_string()))?;
        let (proposals, asked) = mpsc::unbounded_channel();
        let (confirms, confirm_asked) = mpsc::unbounded_channel();
        let replica = Replica(Arc::new(Shared {
            number,
            fleet,
            policy,
            settings,
            raft,
            log,
            machine,
            peers,
            clocks,
            versions,
            proposals,
            confirms,
            arriving: tokio::sync::Mutex::default(),
            told: Mutex::new(told),
            holder: Mutex::default(),
            drained: AtomicBool::new(false),
            heard: Mutex::default(),
            tasks: Mutex::default(),
        }));
        let proposer = Proposer::new(replica.clone(), life);
        replica.run(proposer.run(asked));
        replica.run(replica.clone().confirm_all(confirm_asked));
        replica.run(replica.clone().tend());
        tracing::info!(number, life, "a replica runs");
        Ok(replica)
    }

    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(tokio::spawn(task));
    }

    /// Stops it. What it has acknowledged is on its disk; its files are closed once this and every handle are gone.
    pub async fn stop(&self) {
        self.0.machine.close();
        *self.0.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let tasks = || self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks().iter().for_each(JoinHandle::abort);
        *self.0.arriving.lock().await = None;
        self.0.raft.shutdown().await.ok();
        // When this returns they are gone, and what they held with them. openraft does not wait for the last of its own, nor
        // for a row that is being written.
        let mut looks = 0;
        while !(tasks().iter().all(JoinHandle::is_finished) && self.0.machine.is_alone() && self.0.log.is_alone()) {
            looks += 1;
            if looks == STOP_LOOKS {
                tracing::warn!(number = self.0.number, "a replica that stops waits for its disk");
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The fleet's id.
    pub fn fleet(&self) -> &[u8; 32] {
        &self.0.fleet
    }

    /// The policy that the fleet was made under (L12).
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> Option<u64> {
        self.0.raft.metrics().borrow().current_leader
    }

    /// What the fleet speaks, as far as this replica has applied.
    pub(super) fn version(&self) -> u8 {
        self.0.versions.spoken()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        Status {
            number: self.0.number,
            leader: metrics.current_leader,
            vote: leader_of(&metrics.vote.leader_id),
            last_index: metrics.last_log_index,
            applied_index: metrics.last_applied.map(|it| it.index),
            checkpoint_index: metrics.snapshot.map(|it| it.index),
            members: membership.nodes().map(|(number, at)| (*number, at.name.clone())).collect(),
            voters: membership.voter_ids().collect(),
            version: self.version(),
            running: self.0.log.latch().check().is_ok() && metrics.running_state.is_ok(),
        }
    }

    /// Makes the commands durable on a majority in one row, and applies them in order; one receipt each, from this replica's
    /// own state. The leader dates the row. Batches that are asked for at the same time may share it.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if that is not known to have happened in time: it may still happen, once. [`Fault::Limit`] on
    /// too large a batch, [`Fault::Latched`] once the replica has stopped.
    pub async fn commit(&self, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        self.0.log.latch().check()?;
        let draft = Draft::batch(0, &commands)?;
        let (told, receipts) = oneshot::channel();
        self.0.proposals.send(Asked { draft, told }).map_err(|_| Fault::Latched)?;
        receipts.await.map_err(|_| Fault::Latched)?
    }

    /// Waits until this replica has applied all that any replica had acknowledged before the call.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if no leader could confirm it in time, [`Fault::Latched`] once the replica has stopped.
    pub async fn confirm(&self) -> Result<(), Fault> {
        self.0.log.latch().check()?;
        let (told, confirmed) = oneshot::channel();
        self.0.confirms.send(told).map_err(|_| Fault::Latched)?;
        confirmed.await.map_err(|_| Fault::Latched)?
    }

    /// Shows the state as this replica has applied it, which may be behind others'; and tells the index of the last row in
    /// it.
    ///
    /// # Errors
    /// [`Fault::Latched`] after a failure.
    pub fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.0.machine.look(look)
    }

    /// The sealed records that are asked for, as this replica has applied them: [`crate::journal::Journal::sealed_each`].
    pub fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        self.0.machine.sealed_each(asked)
    }

    /// Has a checkpoint written, and the log let go of what is in it. Returns before that is done; while another is being written
    /// it does nothing.
    ///
    /// # Errors
    /// [`Fault::Latched`] once the replica has stopped.
    pub async fn checkpoint(&self) -> Result<(), Fault> {
        self.0.raft.trigger().snapshot().await.map_err(|_| Fault::Latched)
    }

    /// [`Replica::checkpoint`], and waits until it stands and the rows in it have left the log: all that were applied here before
    /// the call. A member that is far behind then takes the checkpoint.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if that takes longer than [`Settings::patience`]; [`Fault::Latched`] once the replica has stopped.
    pub async fn forget(&self) -> Result<(), Fault> {
        let Shared { raft, machine, settings, log, .. } = &*self.0;
        let Some(upto) = *machine.applied().borrow() else { return Ok(()) };
        let (deadline, mut metrics) = (Instant::now() + settings.patience, raft.metrics());
        loop {
            log.latch().check()?;
            raft.trigger().snapshot().await.map_err(|_| Fault::Latched)?;
            raft.trigger().purge_log(upto.index).await.map_err(|_| Fault::Latched)?;
            let purged = metrics.wait_for(|it| it.purged.is_some_and(|purged| purged.index >= upto.index));
            match tokio::time::timeout(ROUND, async { purged.await.map(drop) }).await {
                Ok(Ok(())) if log.gone()? >= Some(upto) => return Ok(()),
                // They wait for a checkpoint that is being installed.
                Ok(Ok(())) => tokio::time::sleep(ROUND).await,
                Ok(Err(_)) => return Err(Fault::Latched),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(Fault::Unsettled("rows that are in a checkpoint have not left the log in time".to_owned()));
            }
        }
    }

    /// What the leader says, whoever that is, tried until `deadline`.
    pub(super) async fn ask_leader(&self, request: &Request, deadline: Instant) -> Result<Reply, Fault> {
        let Shared { number, raft, peers, settings, log, .. } = &*self.0;
        loop {
            log.latch().check()?;
            let leader = {
                let metrics = raft.metrics();
                let metrics = metrics.borrow();
                let leader = metrics.current_leader;
                leader.map(|it| (it, metrics.membership_config.membership().get_node(&it).cloned()))
            };
            // A leader that has been cut off does not say so.
            let attempt = Instant::now() + settings.election * 2;
            let answer = match leader {
                Some((leader, _)) if leader == *number => {
                    tokio::time::timeout_at(attempt.min(deadline), self.answer(*number, request)).await.ok()
                }
                Some((leader, Some(address))) => {
                    let asked = peers.ask(leader, &address, request);
                    tokio::time::timeout_at(attempt.min(deadline), asked).await.ok().and_then(Result::ok)
                }
                _ => None,
            };
            match answer {
                Some(reply @ (Reply::Taken | Reply::Confirmed(_))) => return Ok(reply),
                Some(Reply::Refused(Refused::Members)) => {
                    let why = "both signers have not signed it, or in it a number comes back or changes its key";
                    return Err(Fault::Statement(why.to_owned()));
                }
                Some(Reply::Refused(
                    why @ (Refused::Malformed | Refused::Foreign | Refused::Fork | Refused::Version),
                )) => {
                    return Err(Fault::Unsettled(format!("the leader refuses: {why:?}")));
                }
                _ => {}
            }
            if Instant::now() + LEADER_RETRY >= deadline {
                return Err(Fault::Unsettled("no leader has confirmed it in time".to_owned()));
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    /// How many handles of it there are.
    #[cfg(test)]
    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    #[cfg(test)]
    pub(super) fn log(&self) -> &Log {
        &self.0.log
    }

    /// The last row of its log.
    #[cfg(test)]
    pub(super) fn end_of_log(&self) -> Option<super::log::Place> {
        self.0.log.end().unwrap_or(None)
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Answers those who wait for a confirmed state, all who have come by then with one question to the leader.
    async fn confirm_all(self, mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Result<(), Fault>>>) {
        let mut applied = self.0.machine.applied();
        while let Some(first) = asked.recv().await {
            let mut waiting = vec![first];
            while let Ok(next) = asked.try_recv() {
                waiting.push(next);
            }
            let deadline = Instant::now() + self.0.settings.patience;
            let confirmed = match self.ask_leader(&Request::Confirm, deadline).await {
                Ok(Reply::Confirmed(index)) => {
                    let reached = applied.wait_for(|applied| *applied >= index);
                    match tokio::time::timeout_at(deadline, reached).await {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(_)) => Err(Fault::Latched),
                        Err(_) => Err(Fault::Unsettled("this replica is behind the leader".to_owned())),
                    }
                }
                Ok(_) => Err(Fault::Unsettled("the leader answers another question".to_owned())),
                Err(fault) => Err(fault),
            };
            for told in waiting {
                // Who no longer waits needs no answer.
                told.send(confirmed.clone()).ok();
            }
        }
    }

    /// Has it lead no more, before it is stopped for a while or for good: others lead then, without waiting for it. It goes
    /// on to vote, to acknowledge and to answer, until it is stopped; opened again it may lead. Where nobody else can be elected,
    /// since it alone has rows that a majority needs, it leads until another has them.
    pub fn drain(&self) {
        self.0.drained.store(true, Ordering::Relaxed);
        self.may_lead(false);
        tracing::info!(number = self.0.number, "a replica leads no more");
    }

    /// As one that is to lead no more: stands for election all the same where nobody leads for long, and once it has led so
    /// far that another has all of its rows, leads no more.
    fn lead_if_nobody_can(&self, stands: bool) {
        let running = self.0.raft.runtime_config();
        if stands {
            tracing::warn!("nobody else can lead: a replica that was to lead no more stands for election");
            running.heartbeat(true);
            running.elect(true);
            return;
        }
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters = membership.voter_ids().filter(|member| *member != self.0.number);
        let matched = |member| metrics.replication.as_ref()?.get(&member)?.as_ref().map(|it| it.index);
        let caught_up = voters.filter_map(matched).any(|index| Some(index) >= metrics.last_log_index);
        if metrics.current_leader == Some(self.0.number) && caught_up {
            running.heartbeat(false);
            running.elect(false);
        }
    }

    /// Lets this replica lead, or stand for election, or not.
    fn may_lead(&self, may: bool) {
        let may = may && !self.0.drained.load(Ordering::Relaxed);
        let running = self.0.raft.runtime_config();
        running.heartbeat(may);
        running.elect(may);
    }

    /// Tells the metrics how this replica stands, and, where it leads, how far each member is behind.
    fn measure(&self) {
        let status = self.status();
        let number = |index: Option<u64>| index.map_or(0.0, |index| index as f64);
        metrics::gauge!("strongroom_fleet_running").set(f64::from(u8::from(status.running)));
        metrics::gauge!("strongroom_fleet_led").set(f64::from(u8::from(self.is_led())));
        metrics::gauge!("strongroom_fleet_leads").set(f64::from(u8::from(status.leader == Some(status.number))));
        metrics::gauge!("strongroom_fleet_version").set(f64::from(status.version));
        metrics::gauge!("strongroom_fleet_term").set(status.vote.term as f64);
        metrics::gauge!("strongroom_fleet_voters").set(status.voters.len() as f64);
        metrics::gauge!("strongroom_fleet_last_row").set(number(status.last_index));
        metrics::gauge!("strongroom_fleet_applied_row").set(number(status.applied_index));
        metrics::gauge!("strongroom_fleet_checkpoint_row").set(number(status.checkpoint_index));
        let metrics = self.0.raft.metrics();
        for (member, matched) in metrics.borrow().replication.iter().flatten() {
            let behind = number(status.last_index) - number(matched.map(|it| it.index));
            metrics::gauge!("strongroom_fleet_rows_behind", "member" => member.to_string()).set(behind);
        }
    }

    /// What is due now and then.
    async fn tend(self) {
        let (mut banned_until, mut unled) = (None, 0);
        loop {
            tokio::time::sleep(ROUND).await;
            if self.0.clocks.take_refused(&self.status().voters) && banned_until.is_none() {
                // The fleet would wait for ever for a row that the others do not take: let one of them lead who lacks it.
                tracing::warn!("rows of this replica are refused because of their date: it lets another lead");
                self.may_lead(false);
                banned_until = Some(Instant::now() + BANNED);
            }
            let foreign = self.0.peers.foreign.swap(false, Ordering::Relaxed);
            if foreign && banned_until.is_none() && self.leader() != Some(self.0.number) {
                // It has been removed, or whoever says so has not heard that it was added. Were it to stand again at once, it
                // would keep those busy who have not heard of either, and the others from being elected.
                tracing::warn!(
                    "another member says that this replica is none: it does not stand for election for a while"
                );
                self.may_lead(false);
                banned_until = Some(Instant::now() + BANNED);
            }
            if banned_until.take_if(|until| *until <= Instant::now()).is_some() {
                self.may_lead(true);
            }
            if self.0.log.bytes().is_ok_and(|bytes| bytes >= self.0.settings.checkpoint_bytes) {
                self.checkpoint().await.ok();
            }
            if self.0.drained.load(Ordering::Relaxed) {
                unled = if self.is_led() { 0 } else { unled + 1 };
                self.lead_if_nobody_can(unled >= UNLED_MAX);
            }
            self.ask_for_members().await;
            self.change_members().await.ok();
            self.turn_to_newer().await;
            self.measure();
            let mut receiving = self.0.arriving.lock().await;
            receiving.take_if(|it| it.touched.elapsed() > ARRIVING_WAIT);
        }
    }
}
