//! [`Anchor`]: what the host cannot roll back.
//!
//! Everything on a disk can be put back to an older copy without a trace. The anchor is the small thing that cannot:
//! it names the last row of the log by its chained MAC, so a disk that lacks that row is seen to be old, and it
//! moves by compare-and-swap, so that of two copies of one disk only one can go on.
//!
//! | kind | what it withstands | rate |
//! |---|---|---|
//! | [`MemoryAnchor`] | nothing: it ends with the process. Tests, and a vault that is meant to forget | millions of swaps a second |
//! | [`FileAnchor`] | a crash, a torn write, two processes; not a host that copies the file back. Development | one fdatasync a swap: about 10,000 a second on flash, 100 on a turning disk |
//! | TPM non-volatile counter or index (to come) | the host | tens a second: group commit must carry the load, and the wear limit of the part must be watched |
//! | HSM memory (to come) | the host | hundreds to thousands a second, by the module's session rate |
//!
//! A journal swaps once a batch, so the rate above bounds batches a second, not attempts.

#[cfg(feature = "local")]
mod file;

use std::sync::{Mutex, PoisonError};

#[cfg(feature = "local")]
pub use file::FileAnchor;

use crate::error::Fault;
use crate::ledger::AnchorKind;
use crate::wire::{Invalid, Reader, Writer};

/// A leader of a fleet, or who would be one: of two members that lead in one term the higher number counts. The default
/// is a local journal's, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Leader {
    /// The term.
    pub term: u64,
    /// The member's number.
    pub member: u64,
}

impl Leader {
    /// Bytes of its encoding.
    const LEN: usize = 16;

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u64(self.term).u64(self.member);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Leader { term: reader.u64()?, member: reader.u64()? })
    }
}

/// Where a row stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogId {
    /// Who proposed the row.
    pub leader: Leader,
    /// Index of the row, without gaps from 0.
    pub index: u64,
}

impl LogId {
    /// Bytes of its encoding.
    pub(crate) const LEN: usize = Leader::LEN + 8;

    pub(crate) fn write(&self, writer: &mut Writer) {
        self.leader.write(writer);
        writer.u64(self.index);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(LogId { leader: Leader::read(reader)?, index: reader.u64()? })
    }
}

/// What an anchor remembers. The default, sequence 0, is an anchor that no journal has used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Anchored {
    /// How often the anchor has moved.
    pub sequence: u64,
    /// For whom the last vote was given.
    pub vote: Leader,
    /// The last row of the log.
    pub last: LogId,
    /// The chained MAC at that row.
    pub chain: [u8; 32],
    /// Root of the last checkpoint, or zeros before the first.
    pub root: [u8; 32],
}

impl Anchored {
    /// Bytes of its encoding.
    pub const LEN: usize = 8 + Leader::LEN + LogId::LEN + 32 + 32;

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(Self::LEN);
        writer.u64(self.sequence);
        self.vote.write(&mut writer);
        self.last.write(&mut writer);
        writer.bytes(&self.chain).bytes(&self.root);
        writer.finish()
    }

    /// Reads what [`Anchored::encode`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not such an encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let anchored = Anchored {
            sequence: reader.u64()?,
            vote: Leader::read(&mut reader)?,
            last: LogId::read(&mut reader)?,
            chain: *reader.array()?,
            root: *reader.array()?,
        };
        reader.finish()?;
        Ok(anchored)
    }

    /// The rule of every kind's swap: `next` follows an anchor found at `found`, by one who expected `expected`.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if the anchor has moved, [`Fault::Limit`] if `next` is not one further.
    pub fn check_swap(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        if self.sequence != expected {
            return Err(Fault::Anchor(format!(
                "another copy is running: the anchor is at {} where this one left it at {expected}",
                self.sequence
            )));
        }
        if expected.checked_add(1) != Some(next.sequence) {
            return Err(Fault::Limit("an anchor moves by one".to_owned()));
        }
        Ok(())
    }
}

/// What the host cannot roll back. It has one owner; [`Anchor::advance`] is how a second one is found out (J7).
pub trait Anchor: Send + Sync {
    /// What kind it is: a policy that was not made for development names the kind that it must run on.
    fn kind(&self) -> AnchorKind;

    /// What it remembers now, never anything older than an advance that has returned.
    ///
    /// # Errors
    /// [`Fault::Storage`] if it cannot be read, [`Fault::Damaged`] if what it holds is not an anchor.
    fn read(&self) -> Result<Anchored, Fault>;

    /// Remembers `next`, durably, if its sequence is still `expected` and `next`'s is one more: at most one of those
    /// who expect the same sequence succeeds.
    ///
    /// # Errors
    /// [`Fault::Anchor`] if the sequence is another; [`Fault::Storage`] where it is not known whether the swap took
    /// place; [`Fault::Limit`] if `next` is not one further.
    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault>;
}

/// An anchor in the memory of this process: shared by an `Arc`, it outlives a journal, but not the process.
#[derive(Default)]
pub struct MemoryAnchor(Mutex<Anchored>);

impl MemoryAnchor {
    /// An anchor that no journal has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An anchor that remembers `anchored`.
    pub fn holding(anchored: Anchored) -> Self {
        MemoryAnchor(Mutex::new(anchored))
    }
}

impl Anchor for MemoryAnchor {
    fn kind(&self) -> AnchorKind {
        AnchorKind::Memory
    }

    fn read(&self) -> Result<Anchored, Fault> {
        // The value is replaced whole, so a panic elsewhere cannot have left half of one.
        Ok(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn advance(&self, expected: u64, next: &Anchored) -> Result<(), Fault> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.check_swap(expected, next)?;
        *held = *next;
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn example(sequence: u64) -> Anchored {
    Anchored {
        sequence,
        vote: Leader { term: 3, member: 1 },
        last: LogId { leader: Leader { term: 2, member: 4 }, index: sequence * 5 },
        chain: [sequence as u8; 32],
        root: [0x77; 32],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn encoding_holds_every_field() {
        let anchored = example(9);
        let bytes = anchored.encode();
        assert_eq!(bytes.len(), Anchored::LEN);
        assert_eq!(Anchored::decode(&bytes), Ok(anchored));
        assert_eq!(Anchored::decode(&bytes[1..]), Err(Invalid));
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 1;
            assert_ne!(Anchored::decode(&other), Ok(anchored), "byte {index} is not read");
        }
    }

    #[test]
    fn j7_only_one_of_two_swaps() {
        let anchor = MemoryAnchor::new();
        anchor.advance(0, &example(1)).unwrap();
        assert!(matches!(
            anchor.advance(0, &Anchored { vote: Leader::default(), ..example(1) }),
            Err(Fault::Anchor(_))
        ));
        assert!(matches!(anchor.advance(1, &example(3)), Err(Fault::Limit(_))));
        assert_eq!(anchor.read(), Ok(example(1)));
    }
}
