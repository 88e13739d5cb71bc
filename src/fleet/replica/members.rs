//! Who a replica takes for a member, and how the members change.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use openraft::ChangeMembers;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::begin::members_by;
use super::{Replica, Shared};
use crate::error::Fault;
use crate::fleet::consensus::{Origin, Proposal};
use crate::fleet::link::Address;
use crate::fleet::message::{Reply, Request};
use crate::fleet::version::written_in;
use crate::journal::row::first_half;
use crate::transparency::Note;

/// By so many rows a learner may be behind who is to vote.
const ROWS_BEHIND: u64 = 100;

impl Replica {
    /// Whether this one may speak here.
    pub(super) fn knows(&self, number: u64) -> bool {
        let metrics = self.0.raft.metrics();
        let is_member = metrics.borrow().membership_config.membership().get_node(&number).is_some();
        is_member || self.addresses().contains_key(&number)
    }

    /// Who is known by this key, and may speak here.
    pub fn member_of(&self, link_key: &[u8; 32]) -> Option<u64> {
        self.addresses().into_iter().find(|(_, at)| at.link_key == *link_key).map(|(number, _)| number)
    }

    /// Who may speak here: the members, by this replica's log; those whom the last statement names, who are to be; and those
    /// who were named to it while it heard no leader.
    pub(super) fn addresses(&self) -> BTreeMap<u64, Address> {
        let mut addresses = self.0.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        addresses.extend(self.0.machine.roster().map(|(_, roster)| roster.into_named()).unwrap_or_default());
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        addresses.extend(metrics.membership_config.membership().nodes().map(|(number, at)| (*number, at.clone())));
        addresses
    }

    /// Whether this replica leads, or has heard a leader of late.
    pub fn is_led(&self) -> bool {
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.leader() == Some(self.0.number) || heard.is_some_and(|it| it.elapsed() < self.0.settings.election * 2)
    }

    /// A leader has been heard.
    pub(super) fn hears(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Without a leader, asks members who the others are: one who became a member while this replica was away may lead, and
    /// could not tell it so, since it would not be heard. What it then brings is held against the statements all the same.
    pub(super) async fn ask_for_members(&self) {
        let Shared { number, raft, peers, settings, told, .. } = &*self.0;
        if self.is_led() {
            // A member knows from its log who the others are.
            if raft.metrics().borrow().membership_config.membership().get_node(number).is_some() {
                told.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            return;
        }
        for (member, address) in self.addresses().into_iter().filter(|(member, _)| member != number) {
            let asked = peers.ask(member, &address, &Request::Members);
            if let Ok(Ok(Reply::Members(members))) = tokio::time::timeout(settings.heartbeat * 2, asked).await {
                self.hear_of(members).ok();
            }
        }
    }

    /// Tells this replica of members that it has not heard of: for one that was away until all whom it knew had left. The
    /// statement must be signed by both whom this replica knows as signers; what its members bring is held against the log's
    /// statements all the same.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not a statement of both that names members of this fleet; [`Fault::Policy`] if nobody's are
    /// obeyed, [`Fault::Latched`] after a failure.
    pub fn introduce(&self, statement: &Note) -> Result<(), Fault> {
        let mut signers = None;
        self.look(&mut |state| signers = state.signers().copied())?;
        let signers = signers.ok_or_else(|| Fault::Policy("this fleet was made without signers".to_owned()))?;
        let (_, members) = members_by(statement, &self.0.fleet, Some(&signers))?;
        self.hear_of(members)
    }

    /// Members of whom one was told may speak here, but for those who have left.
    fn hear_of(&self, mut members: BTreeMap<u64, Address>) -> Result<(), Fault> {
        let (_, roster) = self.0.machine.roster()?;
        members.retain(|number, at| roster.may_have(*number, at));
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).extend(members);
        Ok(())
    }

    /// Whether these have the fleet's key and policy: the rows of one that has not would be another history to everybody.
    async fn can_join(&self, joining: &BTreeMap<u64, Address>) -> bool {
        let Shared { peers, settings, .. } = &*self.0;
        for (number, address) in joining {
            let asked = tokio::time::timeout(settings.heartbeat * 2, peers.ask(*number, address, &Request::Prove));
            let proof = match asked.await {
                Ok(Ok(Reply::Proof(proof))) => proof,
                _ => return false,
            };
            if !bool::from(proof.ct_eq(&self.proof_of(*number))) {
                tracing::error!(number, "who is to join has another key or policy than this fleet");
                return false;
            }
        }
        true
    }

    /// As the leader, has the fleet turn to a newer version that every member reads, by a row in it (F12).
    pub(super) async fn turn_to_newer(&self) {
        let Shared { number, raft, clocks, versions, settings, .. } = &*self.0;
        let (voters, members) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            if metrics.current_leader != Some(*number) {
                return;
            }
            let membership = metrics.membership_config.membership();
            let members: Vec<_> = membership.nodes().map(|(member, _)| *member).collect();
            (membership.voter_ids().collect(), members)
        };
        let Some(version) = versions.next(*number, members) else { return };
        let Ok(Some(time_s)) = clocks.date_s(*number, &voters) else { return };
        // The fleet's own: as the founding row is its first.
        let origin = Origin { member: 0, life: 0, sequence: u64::from(version) };
        let content = written_in(version, Vec::new()).into();
        let row = raft.client_write(Proposal { origin, time_s, version, count: 0, content });
        tokio::time::timeout(settings.patience, row).await.ok();
    }

    /// What a replica of this number proves itself by that has this one's keys and policy.
    pub(super) fn proof_of(&self, number: u64) -> [u8; 32] {
        first_half(&self.0.log.keys().fleet.mac(&[b"joins", &number.to_be_bytes(), &self.0.policy.encode()]))
    }

    /// As the leader, goes the next step from the members that there are to those that the last statement names.
    pub(super) async fn change_members(&self) -> Result<(), Fault> {
        let Shared { number, raft, machine, settings, .. } = &*self.0;
        let (_, roster) = machine.roster()?;
        let change = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            // What is under way is waited for.
            if metrics.current_leader != Some(*number) || roster.membership != *metrics.membership_config.membership() {
                return Ok(());
            }
            let last = metrics.last_log_index.unwrap_or_default();
            roster.next_change(|member| {
                let matched = metrics.replication.as_ref().and_then(|it| it.get(&member).copied().flatten());
                matched.is_some_and(|it| it.index + ROWS_BEHIND >= last)
            })
        };
        if let Some((change, retain)) = change {
            if let ChangeMembers::AddNodes(joining) = &change
                && !self.can_join(joining).await
            {
                return Ok(());
            }
            tracing::info!(?change, "the members change");
            // What is not done by then, or by whoever leads next, is looked at again.
            tokio::time::timeout(settings.patience, raft.change_membership(change, retain)).await.ok();
        }
        Ok(())
    }
}
