//! [`Proposer`]: a replica's batches on their way to the leader, one row at a time.
//!
//! Batches that come while a row is on its way make the next row together. A row that may have been lost is sent again,
//! to whoever leads by then, under its own number: it is applied once however often it arrives (F2).

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::consensus::Origin;
use super::message::Request;
use super::replica::Replica;
use super::version::written_in;
use crate::error::Fault;
use crate::journal::Committed;
use crate::journal::row::Draft;

/// A batch, and who waits for its receipts.
pub(super) struct Asked {
    pub(super) draft: Draft,
    pub(super) told: oneshot::Sender<Result<Vec<Committed>, Fault>>,
}

pub(super) struct Proposer {
    replica: Replica,
    life: u64,
    sequence: u64,
}

impl Proposer {
    pub(super) fn new(replica: Replica, life: u64) -> Self {
        Proposer { replica, life, sequence: 0 }
    }

    pub(super) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(first) => first,
                None => match asked.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let (mut draft, mut parts) = (Draft::default(), Vec::new());
            let mut more = Some(first);
            while let Some(Asked { draft: other, told }) = more {
                if !parts.is_empty() && !draft.has_room_for(&other) {
                    next = Some(Asked { draft: other, told });
                    break;
                }
                parts.push((other.count(), told));
                draft.add(other);
                more = asked.try_recv().ok();
            }
            let (begun, commands) = (Instant::now(), draft.count() as u64);
            let receipts = self.propose(draft).await;
            match &receipts {
                Ok(receipts) => {
                    metrics::histogram!("strongroom_fleet_commit_seconds").record(begun.elapsed());
                    metrics::counter!("strongroom_fleet_receipts_total").increment(receipts.len() as u64);
                }
                Err(_) => metrics::counter!("strongroom_fleet_unsettled_total").increment(commands),
            }
            let mut receipts = receipts.map(Vec::into_iter);
            for (count, told) in parts {
                let part = match &mut receipts {
                    Ok(receipts) => Ok(receipts.by_ref().take(count).collect()),
                    Err(fault) => Err(fault.clone()),
                };
                // Who no longer waits repeats what it asked for.
                told.send(part).ok();
            }
        }
    }

    /// One row's way.
    async fn propose(&mut self, draft: Draft) -> Result<Vec<Committed>, Fault> {
        let deadline = Instant::now() + self.replica.settings().patience;
        self.sequence += 1;
        let origin = Origin { member: self.replica.number(), life: self.life, sequence: self.sequence };
        let mut receipts = self.replica.machine().await_receipts(origin)?;
        let (version, count) = (self.replica.version(), draft.count() as u32);
        let content: Arc<[u8]> = written_in(version, draft.into_content()).into();
        let request = Request::Propose { origin, version, count, content: Arc::clone(&content) };
        // What this member would say of the batch by itself.
        #[cfg(feature = "planted")]
        let guessed = super::consensus::Proposal { origin, time_s: 0, version, count, content };
        #[cfg(feature = "planted")]
        if super::planted::makes(super::planted::Mistake::ReceiptsFirst) {
            let replica = self.replica.clone();
            tokio::spawn(async move { replica.ask_leader(&request, deadline).await.ok() });
            return self.replica.machine().guess(&guessed);
        }
        let unsettled = || Fault::Unsettled("the batch is not known to be committed".to_owned());
        tokio::select! {
            biased;
            receipts = &mut receipts => return receipts.map_err(|_| Fault::Latched),
            taken = self.replica.ask_leader(&request, deadline) => taken?,
        };
        #[cfg(feature = "planted")]
        if super::planted::makes(super::planted::Mistake::ReceiptsAhead) {
            return self.replica.machine().guess(&guessed);
        }
        // The leader has it committed; the row is on its way here.
        match tokio::time::timeout_at(deadline, receipts).await {
            Ok(receipts) => receipts.map_err(|_| Fault::Latched),
            Err(_) => Err(unsettled()),
        }
    }
}
