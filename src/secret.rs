//! [`Secret`]: a value that is wiped on drop and cannot be printed, cloned or compared by accident.

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::error::Fault;

/// A secret value. The one way out is [`Secret::expose`], so that a search for the word finds every use.
///
/// There is no `Debug`, `Clone` or `PartialEq`:
///
/// ```compile_fail
/// let key = strongroom::secret::Secret::new([7u8; 32]);
/// println!("{key:?}");
/// ```
#[derive(Zeroize)]
#[zeroize(drop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody. The caller's own copies stay the caller's to wipe.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself, for as long as the borrow lasts.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to be written in place.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<const N: usize> Secret<[u8; N]> {
    /// `N` bytes from the operating system.
    ///
    /// # Errors
    /// [`Fault::Randomness`] if the operating system gives none.
    pub fn random() -> Result<Self, Fault> {
        let mut secret = Secret([0; N]);
        fill_random(&mut secret.0)?;
        Ok(secret)
    }

    /// Compares in time that depends on `N` alone.
    pub fn ct_eq(&self, other: &[u8; N]) -> Choice {
        self.0.ct_eq(other)
    }
}

/// Fills `bytes` from the operating system.
///
/// # Errors
/// [`Fault::Randomness`] if the operating system gives none.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), Fault> {
    getrandom::fill(bytes).map_err(|error| Fault::Randomness(error.to_string()))
}

/// `N` public random bytes: a nonce, not a key.
///
/// # Errors
/// [`Fault::Randomness`] if the operating system gives none.
pub fn random_array<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_sees_every_byte() {
        let secret = Secret::new([5u8; 16]);
        assert!(bool::from(secret.ct_eq(&[5; 16])));
        for index in 0..16 {
            let mut other = [5u8; 16];
            other[index] ^= 1;
            assert!(!bool::from(secret.ct_eq(&other)));
        }
    }

    #[test]
    fn random_secrets_differ() -> Result<(), Fault> {
        let (first, second) = (Secret::<[u8; 32]>::random()?, random_array::<32>()?);
        assert!(!bool::from(first.ct_eq(&second)));
        Ok(())
    }
}
