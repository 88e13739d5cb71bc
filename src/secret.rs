//! [`Secret`]: a value that is wiped on drop and cannot be printed, cloned or compared by accident.

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::error::Fault;

pub mod declassified;

/// A secret value. The one way out is [`Secret::expose`], so that a search for the word finds every use.
///
/// There is no `Debug`, `Clone` or `PartialEq`:
///
/// ```compile_fail
/// let key = strongroom::secret::Secret::new([7u8; 32]);
/// println!("{key:?}");
/// ```
pub struct Secret<T: Wipe>(T);

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> Secret<T> {
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
        same(&self.0, other)
    }
}

/// Whether two are the same, in time that depends on `N` alone. `subtle` compares slices byte by byte, and hands each
/// result on through memory; here it is asked once of all differences, which stay in registers.
pub(crate) fn same<const N: usize>(one: &[u8; N], other: &[u8; N]) -> Choice {
    one.iter().zip(other).fold(0, |any, (one, other)| any | (one ^ other)).ct_eq(&0)
}

/// The shapes that a [`Secret`] can have. Each is wiped as one slice: `zeroize` wipes an array byte by byte, which for a
/// digest takes a fifth of the time that a block of it takes on lanes.
pub trait Wipe {
    /// Overwrites all of it with zeros, in a way that the compiler may not remove.
    fn wipe(&mut self);
}

impl<const N: usize> Wipe for [u8; N] {
    fn wipe(&mut self) {
        self.as_mut_slice().zeroize();
    }
}

impl<const N: usize, const M: usize> Wipe for [[u8; N]; M] {
    fn wipe(&mut self) {
        self.as_flattened_mut().zeroize();
    }
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        with_spare_room(self, 0).zeroize();
    }
}

impl<const N: usize> Wipe for Vec<[u8; N]> {
    fn wipe(&mut self) {
        with_spare_room(self, [0; N]).as_flattened_mut().zeroize();
    }
}

impl<const N: usize, const M: usize> Wipe for Vec<[[u8; N]; M]> {
    fn wipe(&mut self) {
        with_spare_room(self, [[0; N]; M]).as_flattened_mut().as_flattened_mut().zeroize();
    }
}

/// All that was allocated for `items`: what once was beyond their end may be there still.
pub(crate) fn with_spare_room<T: Clone>(items: &mut Vec<T>, blank: T) -> &mut [T] {
    items.resize(items.capacity(), blank);
    items
}

/// Fills `bytes` from the operating system.
///
/// # Errors
/// [`Fault::Randomness`] if the operating system gives none.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), Fault> {
    getrandom::fill(bytes).map_err(|error| Fault::Randomness(error.to_string()))
}

/// Gives each item a nonce of AES-GCM-SIV, 96 random bits, drawn for all at once.
pub(crate) fn with_nonces<T: Copy, R>(
    items: &[T],
    seal: impl FnOnce(&[(T, [u8; 12])]) -> Vec<Result<R, Fault>>,
) -> Vec<Result<R, Fault>> {
    let mut nonces = vec![[0; 12]; items.len()];
    match fill_random(nonces.as_flattened_mut()) {
        Ok(()) => seal(&items.iter().copied().zip(nonces).collect::<Vec<_>>()),
        Err(fault) => items.iter().map(|_| Err(fault.clone())).collect(),
    }
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
    fn every_shape_is_wiped_with_its_spare_room() {
        let (mut key, mut keys) = ([7u8; 5], [[7u8; 5]; 3]);
        key.wipe();
        keys.wipe();
        assert_eq!((key, keys), ([0; 5], [[0; 5]; 3]));
        let (mut bytes, mut digests, mut lists) = (vec![7u8; 9], vec![[7u8; 4]; 9], vec![[[7u8; 4]; 2]; 9]);
        bytes.truncate(1);
        digests.truncate(1);
        lists.truncate(1);
        bytes.wipe();
        digests.wipe();
        lists.wipe();
        assert_eq!((bytes, digests, lists), (vec![0; 9], vec![[0; 4]; 9], vec![[[0; 4]; 2]; 9]));
    }

    #[test]
    fn random_secrets_differ() -> Result<(), Fault> {
        let (first, second) = (Secret::<[u8; 32]>::random()?, random_array::<32>()?);
        assert!(!bool::from(first.ct_eq(&second)));
        Ok(())
    }
}
