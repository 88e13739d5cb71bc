//! The fleet's keys on their way from one vault to another, over the replicas beside them.
//!
//! A replica carries them sealed, and knows neither what is in them nor to whom they may go: the vault that hands them over
//! does, and the link is sure of who asks.

use std::sync::{Arc, PoisonError};

use super::{Replica, Shared};
use crate::error::Fault;
use crate::fleet::message::{Refused, Reply, Request};
use crate::session::PUBLIC_KEY_LEN;

/// Seals the fleet's keys to a member, who has shown this channel key.
pub type Hands = Arc<dyn Fn(u64, &[u8; PUBLIC_KEY_LEN]) -> Result<Vec<u8>, Fault> + Send + Sync>;

impl Replica {
    /// Answers members that ask for the fleet's keys by these, in the place of whatever answered them before: what the vault
    /// beside it hands over.
    pub fn hand_keys_by(&self, hands: Hands) {
        *self.0.hands.lock().unwrap_or_else(PoisonError::into_inner) = Some(hands);
    }

    /// The other members, who may have keys that this one lacks.
    pub(in crate::fleet) fn others(&self) -> Vec<u64> {
        self.addresses().into_keys().filter(|member| *member != self.0.number).collect()
    }

    /// The fleet's keys as this member has them, sealed to this one's channel key; `None` if it hands none over.
    pub(in crate::fleet) async fn keys_of(&self, member: u64, public_key: &[u8; PUBLIC_KEY_LEN]) -> Option<Vec<u8>> {
        let Shared { peers, settings, .. } = &*self.0;
        let address = self.addresses().remove(&member)?;
        let request = Request::Keys { public_key: Box::new(*public_key) };
        match tokio::time::timeout(settings.patience, peers.ask(member, &address, &request)).await {
            Ok(Ok(Reply::Keys(sealed))) => Some(sealed),
            _ => None,
        }
    }

    pub(super) async fn hand_keys(&self, to: u64, public_key: &[u8; PUBLIC_KEY_LEN]) -> Reply {
        let hands = self.0.hands.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(hands), public_key) = (hands, *public_key) else { return Reply::Refused(Refused::Busy) };
        // The vault waits for the fleet meanwhile.
        match tokio::task::spawn_blocking(move || hands(to, &public_key)).await {
            Ok(Ok(sealed)) => Reply::Keys(sealed),
            Ok(Err(fault)) => {
                tracing::warn!(%fault, to, "keys are not handed over");
                Reply::Refused(Refused::Foreign)
            }
            Err(_) => Reply::Refused(Refused::Busy),
        }
    }
}
