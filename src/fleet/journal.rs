//! [`Fleet`]: a replica as the journal of the vault beside it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::runtime::Handle;

use super::replica::Replica;
use crate::account::AccountId;
use crate::error::Fault;
use crate::journal::{Committed, Journal, Seal};
use crate::ledger::{Command, Policy, State};
use crate::session::PUBLIC_KEY_LEN;
use crate::wrap::Sealed;

/// What a vault's thread waits for.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a vault's thread waits for the fleet. A simulation has a way of its own; everybody else the runtime's [`Handle`].
pub trait Waits: Send + Sync {
    /// Runs the work to its end. Called from threads that are not the runtime's.
    fn wait(&self, work: Work);
}

impl Waits for Handle {
    fn wait(&self, work: Work) {
        self.block_on(work);
    }
}

/// The journal of a fleet, as one of its replicas has it.
///
/// The vault over it evaluates here what was charged on a majority: a receipt comes from this replica's own state, which
/// has by then applied it. Its calls block; they are for threads of the vault, never for those of the runtime. Copies are of
/// one journal.
#[derive(Clone)]
pub struct Fleet {
    replica: Replica,
    waits: Arc<dyn Waits>,
}

impl Fleet {
    /// The journal of this replica.
    pub fn new(replica: Replica, waits: Arc<dyn Waits>) -> Self {
        Fleet { replica, waits }
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Asks the other members, one after the other, for the fleet's keys, sealed to this channel key, until `take` accepts
    /// what one has sent. Whether it did.
    ///
    /// # Errors
    /// [`Fault::Latched`] once the replica has stopped.
    pub fn take_keys(
        &self,
        public_key: &[u8; PUBLIC_KEY_LEN],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        for member in self.replica.others() {
            let (replica, public_key) = (self.replica.clone(), *public_key);
            let sealed = self.wait(async move { Ok(replica.keys_of(member, &public_key).await) })?;
            match sealed.map(|sealed| take(&sealed)) {
                Some(Ok(())) => return Ok(true),
                Some(Err(fault)) => tracing::debug!(%fault, member, "keys of another member are not taken"),
                None => {}
            }
        }
        Ok(false)
    }

    /// The result of work on the replica. Work that is given up on the way has none.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let (told, result) = sync_channel(1);
        self.waits.wait(Box::pin(async move {
            told.send(work.await).ok();
        }));
        result.try_recv().unwrap_or(Err(Fault::Latched))
    }
}

impl Journal for Fleet {
    fn commit(&self, _: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let replica = self.replica.clone();
        self.wait(async move { replica.commit(commands).await })
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        let replica = self.replica.clone();
        self.wait(async move { replica.confirm().await })?;
        self.replica.look(look)
    }

    fn look(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.replica.look(look)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.sealed_each(&[(*account, generation)]).pop().unwrap_or(Ok(None))
    }

    fn sealed_each(&self, asked: &[(AccountId, u32)]) -> Vec<Result<Option<Sealed>, Fault>> {
        self.replica.sealed_each(asked)
    }

    fn checkpoint(&self) -> Result<(), Fault> {
        let replica = self.replica.clone();
        self.wait(async move { replica.forget().await })
    }

    fn keep_elsewhere(&self, seal: &mut Seal<'_>) -> Result<(), Fault> {
        let replica = self.replica.clone();
        let channel_keys = self.wait(async move { Ok(replica.channel_keys().await) })?;
        let mut sealed = Vec::new();
        for (member, channel_key) in channel_keys {
            match seal(member, &channel_key[..]) {
                Ok(it) => sealed.push((member, it)),
                Err(fault) => tracing::warn!(%fault, member, "it is not asked to keep what is about to be named"),
            }
        }
        let replica = self.replica.clone();
        if self.wait(async move { Ok(replica.have_kept(sealed).await) })? {
            return Ok(());
        }
        Err(Fault::Unsettled("fewer than a majority of the members keep the keys that are about to turn".to_owned()))
    }

    fn policy(&self) -> &Policy {
        self.replica.policy()
    }
}
