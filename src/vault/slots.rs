//! [`Slots`]: one answer for each request of a batch, in order, settled at whichever step it is settled.

use crate::error::{Fault, Refusal};
use crate::protocol::Reply;

/// Why a request goes no further: the peer's doing, or the vault's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Refusal),
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Failed(fault)
    }
}

/// Something that belongs to the request in this slot.
pub(super) type Slotted<T> = (usize, T);

/// What a step made of the request in this slot.
pub(super) type Outcome<T> = Slotted<Result<T, Stop>>;

/// What a step makes of the requests that come to it. Where none come it is not taken: each reads the anchor.
pub(super) fn step<T, R>(requests: Vec<T>, take: impl FnOnce(Vec<T>) -> Vec<R>) -> Vec<R> {
    if requests.is_empty() { Vec::new() } else { take(requests) }
}

/// The answers of a batch.
pub(super) struct Slots(Vec<Option<Result<Reply, Fault>>>);

impl Slots {
    pub(super) fn new(length: usize) -> Self {
        Slots(vec![None; length])
    }

    /// Gives the request in `slot` its answer.
    pub(super) fn settle(&mut self, slot: usize, answer: Result<Reply, Stop>) {
        debug_assert!(self.0[slot].is_none(), "one answer each");
        self.0[slot] = Some(match answer {
            Ok(reply) => Ok(reply),
            Err(Stop::Refused(refusal)) => Ok(Reply::Refused(refusal)),
            Err(Stop::Failed(fault)) => Err(fault),
        });
    }

    /// Gives each request its answer.
    pub(super) fn settle_all(&mut self, answers: impl IntoIterator<Item = Outcome<Reply>>) {
        answers.into_iter().for_each(|(slot, answer)| self.settle(slot, answer));
    }

    /// Settles those that stop here and hands on the rest.
    pub(super) fn sift<T>(&mut self, items: impl IntoIterator<Item = Outcome<T>>) -> Vec<Slotted<T>> {
        let mut rest = Vec::new();
        for (slot, item) in items {
            match item {
                Ok(item) => rest.push((slot, item)),
                Err(stop) => self.settle(slot, Err(stop)),
            }
        }
        rest
    }

    /// All answers, in order. A request that no step settled is told to come again; a test holds that there is none.
    pub(super) fn finish(self) -> Vec<Result<Reply, Fault>> {
        debug_assert!(self.0.iter().all(Option::is_some), "every request is answered");
        self.0.into_iter().map(|answer| answer.unwrap_or(Ok(Reply::Refused(Refusal::Busy)))).collect()
    }
}
