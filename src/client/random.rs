//! The operating system's randomness in the shape that opaque-ke takes it.

use opaque_ke::rand::{CryptoRng, Error, RngCore};

use super::Failure;
use crate::error::Fault;
use crate::secret::fill_random;

/// Calls `make` with the operating system's randomness.
///
/// # Errors
/// What `make` says, or [`Failure::Randomness`] if any draw failed: then whatever was made is dropped.
pub(super) fn with_os<T>(make: impl FnOnce(&mut Source) -> Result<T, Failure>) -> Result<T, Failure> {
    with_source(fill_random, make)
}

fn with_source<T>(
    fill: fn(&mut [u8]) -> Result<(), Fault>,
    make: impl FnOnce(&mut Source) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut source = Source { fill, failed: false };
    let made = make(&mut source);
    if source.failed { Err(Failure::Randomness) } else { made }
}

/// A generator whose failures are remembered. [`RngCore`] cannot say that a draw failed other than by a panic; so it
/// is told afterwards, and [`with_os`] is the only way to have one.
pub(super) struct Source {
    fill: fn(&mut [u8]) -> Result<(), Fault>,
    failed: bool,
}

impl RngCore for Source {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if (self.fill)(bytes).is_err() {
            self.failed = true;
            // Not zeros: a caller that draws until a scalar is not zero would draw for ever.
            bytes.fill(1);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Source {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_without_randomness() {
        let fails = |_: &mut [u8]| Err(Fault::Randomness("none today".to_owned()));
        let draw = |source: &mut Source| Ok((source.next_u32(), source.next_u64()));
        assert_eq!(with_source(fails, draw), Err(Failure::Randomness));
        assert_eq!(with_source(fails, |_| Ok(5)), Ok(5), "nothing was drawn");
        assert_ne!(with_os(draw), with_os(draw));
    }
}
