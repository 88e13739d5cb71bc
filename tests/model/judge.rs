//! Holds answers against an oracle's, for the models of engine and hash; and shows on demand that it would notice.

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
    #[allow(dead_code)] // The fuzz targets plant nothing.
    pub(crate) fn planted(at: usize) -> Self {
        Judge { planted: Some(at), held: 0 }
    }

    /// How many answers it has seen.
    #[allow(dead_code)] // Nobody asks in the fuzz targets.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// One answer.
    pub(crate) fn hold(&mut self, what: &str, ours: &[u8], expected: &[u8]) -> Result<(), String> {
        let mut ours = ours.to_vec();
        if self.planted == Some(self.held) {
            let at = 29 * self.held % ours.len();
            ours[at] ^= 1 << (self.held % 8);
        }
        self.held += 1;
        if ours == expected {
            return Ok(());
        }
        Err(format!("answer {} of {what}: {ours:02x?} and not {expected:02x?}", self.held - 1))
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
