//! The fleet's keys on their way from one vault to another, over the replicas beside them.
//!
//! A replica carries them sealed, and knows neither what is in them nor to whom they may go: the vault that hands them over
//! does, and the link is sure of who asks.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use tokio::task::JoinSet;

use super::{Replica, Shared};
use crate::error::Fault;
use crate::fleet::message::{Refused, Reply, Request};
use crate::session::PUBLIC_KEY_LEN;

/// What the vault beside a replica does when other members ask.
pub trait KeyHolder: Send + Sync {
    /// What keys are sealed to that are for this member.
    fn channel_key(&self) -> &[u8; PUBLIC_KEY_LEN];

    /// The fleet's keys, sealed to a member, who has shown this channel key.
    ///
    /// # Errors
    /// [`Fault::Key`] if that member is not to have them.
    fn hand_over(&self, member: u64, channel_key: &[u8; PUBLIC_KEY_LEN]) -> Result<Vec<u8>, Fault>;

    /// Keeps what the member `from` is about to turn to, sealed to this one. Durable when it returns.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not to be kept; the faults of where it is.
    fn keep_aside(&self, from: u64, sealed: &[u8]) -> Result<(), Fault>;
}

impl Replica {
    /// Answers members that ask about the fleet's keys by the vault beside it, in the place of whatever answered them before.
    pub fn hold_keys_by(&self, holder: Arc<dyn KeyHolder>) {
        *self.0.holder.lock().unwrap_or_else(PoisonError::into_inner) = Some(holder);
    }

    fn holder(&self) -> Option<Arc<dyn KeyHolder>> {
        self.0.holder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The other members, who may have keys that this one lacks.
    pub(in crate::fleet) fn others(&self) -> Vec<u64> {
        self.addresses().into_keys().filter(|member| *member != self.0.number).collect()
    }

    /// What a member answers, if it does.
    async fn ask(&self, member: u64, request: Request) -> Option<Reply> {
        let Shared { peers, settings, .. } = &*self.0;
        let address = self.addresses().remove(&member)?;
        tokio::time::timeout(settings.patience, peers.ask(member, &address, &request)).await.ok()?.ok()
    }

    /// What each of these answers, all asked at once.
    async fn ask_each(&self, requests: Vec<(u64, Request)>) -> Vec<(u64, Reply)> {
        let mut asked = JoinSet::new();
        for (member, request) in requests {
            let replica = self.clone();
            asked.spawn(async move { replica.ask(member, request).await.map(|reply| (member, reply)) });
        }
        let mut replies = Vec::new();
        // One that has ended with the runtime has told nothing.
        while let Some(told) = asked.join_next().await {
            replies.extend(told.ok().flatten());
        }
        replies
    }

    /// The fleet's keys as this member has them, sealed to this one's channel key; `None` if it hands none over.
    pub(in crate::fleet) async fn keys_of(&self, member: u64, public_key: &[u8; PUBLIC_KEY_LEN]) -> Option<Vec<u8>> {
        match self.ask(member, Request::Keys { public_key: Box::new(*public_key) }).await {
            Some(Reply::Keys(sealed)) => Some(sealed),
            _ => None,
        }
    }

    /// What keys are sealed to that are for the other members, of each that answers.
    pub(in crate::fleet) async fn channel_keys(&self) -> Vec<(u64, Box<[u8; PUBLIC_KEY_LEN]>)> {
        let requests = self.others().into_iter().map(|member| (member, Request::ChannelKey)).collect();
        let key = |(member, reply)| if let Reply::ChannelKey(key) = reply { Some((member, key)) } else { None };
        self.ask_each(requests).await.into_iter().filter_map(key).collect()
    }

    /// Has members keep what was sealed to them; whether as many do as a commit takes, with this one.
    pub(in crate::fleet) async fn have_kept(&self, sealed: Vec<(u64, Vec<u8>)>) -> bool {
        let requests = sealed.into_iter().map(|(member, sealed)| (member, Request::Keep { sealed })).collect();
        let keeps = |(member, reply)| (reply == Reply::Kept).then_some(member);
        let mut keep: BTreeSet<u64> = self.ask_each(requests).await.into_iter().filter_map(keeps).collect();
        keep.insert(self.0.number);
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow();
        // Two sets, each of which must agree, while members change.
        let sets = metrics.membership_config.membership().get_joint_config();
        !sets.is_empty() && sets.iter().all(|voters| voters.intersection(&keep).count() > voters.len() / 2)
    }

    /// Answers by the vault, on a thread where it may wait for the fleet.
    async fn by_holder(
        &self,
        member: u64,
        answer: impl FnOnce(&dyn KeyHolder) -> Result<Reply, Fault> + Send + 'static,
    ) -> Reply {
        let Some(holder) = self.holder() else { return Reply::Refused(Refused::Busy) };
        match tokio::task::spawn_blocking(move || answer(&*holder)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(fault)) => {
                tracing::warn!(%fault, member, "keys are not handed over, or not kept");
                Reply::Refused(Refused::Foreign)
            }
            Err(_) => Reply::Refused(Refused::Busy),
        }
    }

    pub(super) fn tell_channel_key(&self) -> Reply {
        let told = self.holder().map(|holder| Reply::ChannelKey(Box::new(*holder.channel_key())));
        told.unwrap_or(Reply::Refused(Refused::Busy))
    }

    pub(super) async fn hand_keys(&self, to: u64, public_key: &[u8; PUBLIC_KEY_LEN]) -> Reply {
        let public_key = *public_key;
        self.by_holder(to, move |holder| holder.hand_over(to, &public_key).map(Reply::Keys)).await
    }

    pub(super) async fn keep(&self, from: u64, sealed: &[u8]) -> Reply {
        let sealed = sealed.to_vec();
        self.by_holder(from, move |holder| holder.keep_aside(from, &sealed).map(|()| Reply::Kept)).await
    }
}
