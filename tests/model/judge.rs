//! Holds answers against an oracle's, for the models of the fuzz targets; and shows on demand that it would notice.
#![allow(dead_code)] // The fuzz targets plant nothing, and no model uses all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use strongroom::wire::Reader;

/// Compares answers. Told to, it flips one bit of one of them first: then it must complain.
#[derive(Default)]
pub(crate) struct Judge {
    /// The answer, counted from zero, of which a bit is flipped.
    planted: Option<usize>,
    held: usize,
}

impl Judge {
    /// With a bit flipped in the answer of that number.
    pub(crate) fn planted(at: usize) -> Self {
        Judge { planted: Some(at), held: 0 }
    }

    /// How many answers it has seen.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// One answer.
    pub(crate) fn hold(&mut self, what: &str, ours: &[u8], expected: &[u8]) -> Result<(), String> {
        let mut ours = ours.to_vec();
        if self.planted == Some(self.held) {
            // Where there is no bit to flip, a byte too many is as wrong.
            match ours.len() {
                0 => ours.push(0),
                length => ours[29 * self.held % length] ^= 1 << (self.held % 8),
            }
        }
        self.held += 1;
        if ours == expected {
            return Ok(());
        }
        Err(format!("answer {} of {what}: {ours:02x?} and not {expected:02x?}", self.held - 1))
    }

    /// One answer, for models that panic.
    pub(crate) fn demand(&mut self, what: &str, ours: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
        if let Err(wrong) = self.hold(what, ours.as_ref(), expected.as_ref()) {
            panic!("{wrong}");
        }
    }

    /// One answer that is yes or no.
    pub(crate) fn agree(&mut self, what: &str, ours: bool, expected: bool) {
        self.demand(what, [u8::from(ours)], [u8::from(expected)]);
    }

    /// As many answers as items, each as expected.
    pub(crate) fn all<A: AsRef<[u8]>, B: AsRef<[u8]>>(
        &mut self,
        what: &str,
        ours: &[A],
        expected: &[B],
    ) -> Result<(), String> {
        if ours.len() != expected.len() {
            return Err(format!("{what}: {} answers for {} items", ours.len(), expected.len()));
        }
        ours.iter().zip(expected).try_for_each(|(ours, expected)| self.hold(what, ours.as_ref(), expected.as_ref()))
    }
}

/// Of that many answers the first, the last, and some between.
pub(crate) fn few(held: usize) -> impl Iterator<Item = usize> {
    (0..held).filter(move |at| at % 7 == 0 || at + 1 == held)
}

/// Drives a model that panics: as it is, then with a bit flipped in one answer, which it must notice, and so for a few of
/// them. Returns how many answers it holds.
pub(crate) fn controlled(name: &str, drive: impl Fn(&mut Judge)) -> usize {
    let mut judge = Judge::default();
    drive(&mut judge);
    for planted in few(judge.held()) {
        let drive = catch_unwind(AssertUnwindSafe(|| drive(&mut Judge::planted(planted))));
        assert!(drive.is_err(), "{name}: a bit flipped in answer {planted} goes unnoticed");
    }
    judge.held()
}

/// Bytes that choose. After their end come zeros, so that every input is a whole script.
pub(crate) struct Script<'a>(Reader<'a>);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Script(Reader::new(bytes))
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.u8().unwrap_or(0)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Sizes that leave lanes empty, fill them, and overflow them twice.
    pub(crate) fn count(&mut self) -> usize {
        usize::from(self.byte() % 21)
    }
}
