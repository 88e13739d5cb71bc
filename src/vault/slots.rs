//! [`Slots`]: one answer for each request of a batch, in order, settled at whichever step it is settled; [`Chunks`]:
//! those of a kind, as tasks take them.

use std::iter::Flatten;
use std::vec::IntoIter;

use rayon::prelude::*;

use crate::error::{Fault, Refusal};
use crate::limits::CHUNK;
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

/// Requests of a kind, in their order, [`CHUNK`] to a task. What a task reads and makes stays in the caches of one core.
/// However many are refused in between, those that go on fill their chunks again, and so the lanes.
pub(super) struct Chunks<T>(Vec<Vec<Slotted<T>>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks(Vec::new())
    }
}

impl<T> Chunks<T> {
    pub(super) fn push(&mut self, request: Slotted<T>) {
        match self.0.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(request),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(request);
                self.0.push(chunk);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slotted<T>> {
        self.0.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slotted<T>> {
        self.0.iter_mut().flatten()
    }

    /// Has each chunk taken by a task; a single one stays on the caller's thread.
    pub(super) fn each<R: Send>(
        self,
        take: impl Fn(Vec<Slotted<T>>) -> Vec<R> + Send + Sync,
    ) -> Flatten<IntoIter<Vec<R>>>
    where
        T: Send,
    {
        let taken: Vec<_> = match self.0.len() {
            ..=1 => self.0.into_iter().map(take).collect(),
            // One by one: the last to begin would otherwise have several left while other cores have none.
            _ => self.0.into_par_iter().with_max_len(1).map(take).collect(),
        };
        taken.into_iter().flatten()
    }
}

impl<T> IntoIterator for Chunks<T> {
    type Item = Slotted<T>;
    type IntoIter = Flatten<IntoIter<Vec<Slotted<T>>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

impl<T> FromIterator<Slotted<T>> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = Slotted<T>>>(requests: I) -> Self {
        let mut chunks = Chunks::default();
        requests.into_iter().for_each(|request| chunks.push(request));
        chunks
    }
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
    pub(super) fn sift<T, C: FromIterator<Slotted<T>>>(&mut self, items: impl IntoIterator<Item = Outcome<T>>) -> C {
        let keep = |(slot, item)| match item {
            Ok(item) => Some((slot, item)),
            Err(stop) => {
                self.settle(slot, Err(stop));
                None
            }
        };
        items.into_iter().filter_map(keep).collect()
    }

    /// Hands requests on, unless there is a fault that stops them all.
    pub(super) fn unless<T, C>(&mut self, fault: &Result<(), Fault>, requests: C) -> C
    where
        C: IntoIterator<Item = Slotted<T>> + FromIterator<Slotted<T>>,
    {
        match fault {
            Ok(()) => requests,
            Err(fault) => self.sift(requests.into_iter().map(|(slot, _)| (slot, Err(Stop::from(fault.clone()))))),
        }
    }

    /// All answers, in order. A request that no step settled is told to come again; a test holds that there is none.
    pub(super) fn finish(self) -> Vec<Result<Reply, Fault>> {
        debug_assert!(self.0.iter().all(Option::is_some), "every request is answered");
        self.0.into_iter().map(|answer| answer.unwrap_or(Ok(Reply::Refused(Refusal::Busy)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_and_are_full_again_after_refusals() {
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK] {
            let lengths = |chunks: &Chunks<usize>| chunks.0.iter().map(Vec::len).collect::<Vec<_>>();
            let all: Chunks<usize> = (0..count).map(|slot| (slot, 7 * slot)).collect();
            let full = |length: usize| {
                let chunks = (0..length).step_by(CHUNK);
                chunks.map(|begin| (length - begin).min(CHUNK)).collect::<Vec<_>>()
            };
            assert_eq!(lengths(&all), full(count));

            let mut slots = Slots::new(count);
            let refuse = |(slot, it)| match slot % 3 {
                0 => (slot, Err(Stop::from(Refusal::Malformed))),
                _ => (slot, Ok(it)),
            };
            let left: Chunks<usize> = slots.sift(all.each(|chunk| chunk.into_iter().map(refuse).collect()));
            assert_eq!(lengths(&left), full(count - count.div_ceil(3)));
            let expected: Vec<_> = (0..count).filter(|slot| slot % 3 != 0).map(|slot| (slot, 7 * slot)).collect();
            assert_eq!(left.iter().copied().collect::<Vec<_>>(), expected);

            let fault = Fault::Latched;
            let left = slots.unless(&Ok(()), left);
            assert_eq!(left.iter().count(), expected.len());
            let none = slots.unless(&Err(fault.clone()), left);
            assert!(none.0.is_empty());
            for (slot, answer) in slots.finish().into_iter().enumerate() {
                let told = if slot % 3 == 0 { Ok(Reply::Refused(Refusal::Malformed)) } else { Err(fault.clone()) };
                assert_eq!(answer, told);
            }
        }
    }
}
