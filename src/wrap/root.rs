//! [`RootSource`]: where root keys live. One root key object an epoch, destroyed with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::sha512::{DIGEST_LEN, HmacKey};
use crate::engine::{SHALLOW, traceless};
use crate::error::Fault;
use crate::secret::{Secret, fill_random};

/// The key of one epoch: what a root key derives, and what members of a fleet hand to one another, never the root.
pub type EpochKey = Secret<[u8; DIGEST_LEN]>;

/// A place that holds root keys and lets none of them out: a file for development, memory for tests, a token.
///
/// Each epoch has a root of its own. From one lasting root the key of a destroyed epoch could be derived again, and
/// with it every old copy of its records would open.
///
/// ```
/// use strongroom::wrap::{MemoryRoot, RootSource};
/// let source = MemoryRoot::new();
/// source.create(1)?;
/// assert_eq!(source.epochs()?, [1]);
/// let key = source.derive(1)?;
/// assert!(bool::from(source.derive(1)?.ct_eq(key.expose())), "the same key each time");
/// source.destroy(1)?;
/// assert!(source.derive(1).is_err(), "and never again");
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub trait RootSource: Send + Sync {
    /// What kind of place this is, in a word for logs and status.
    fn name(&self) -> &'static str;

    /// Whether a policy that is not marked `development` must refuse this kind.
    fn development(&self) -> bool;

    /// The epochs that have a root here, in order.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the place cannot be read.
    fn epochs(&self) -> Result<Vec<u32>, Fault>;

    /// Makes the root of an epoch, random and durable before this returns.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch has a root already, [`Fault::Storage`] or [`Fault::Randomness`] if none can be made.
    fn create(&self, epoch: u32) -> Result<(), Fault>;

    /// Keeps the key of an epoch that another member of the fleet has handed over. Those up to `used` have been in use here, and
    /// stay; a later one that is held already was only begun.
    ///
    /// # Errors
    /// [`Fault::Key`] if another key of an epoch up to `used` is held, or this is a source of roots, which takes none from
    /// elsewhere; [`Fault::Storage`].
    fn take(&self, epoch: u32, key: &EpochKey, _used: u32) -> Result<(), Fault> {
        if self.epochs()?.contains(&epoch) && bool::from(self.derive(epoch)?.ct_eq(key.expose())) {
            return Ok(());
        }
        Err(Fault::Key(format!("a source of root keys takes no key of epoch {epoch} from elsewhere")))
    }

    /// Destroys the root of an epoch. Destroying what is not there is done already, so that a destruction that a crash
    /// cut short can be repeated.
    ///
    /// # Errors
    /// [`Fault::Storage`] if it may still be there.
    fn destroy(&self, epoch: u32) -> Result<(), Fault>;

    /// HMAC-SHA-512 of `message` under the root of an epoch, computed where the root lives.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch has no root here, [`Fault::Damaged`] if it is not one, [`Fault::Storage`] if the
    /// place cannot be read.
    fn mac(&self, epoch: u32, message: &[u8]) -> Result<EpochKey, Fault>;

    /// The key of an epoch: HKDF-Expand (RFC 5869 section 2.3) with the root as PRK, one digest long, so that it is one
    /// HMAC and a token can do it.
    ///
    /// # Errors
    /// As [`RootSource::mac`].
    fn derive(&self, epoch: u32) -> Result<EpochKey, Fault> {
        self.mac(epoch, &[b"strongroom epoch v1", &epoch.to_be_bytes()[..], &[1]].concat())
    }
}

/// A place that others hold too.
impl<S: RootSource + ?Sized> RootSource for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn development(&self) -> bool {
        (**self).development()
    }

    fn epochs(&self) -> Result<Vec<u32>, Fault> {
        (**self).epochs()
    }

    fn create(&self, epoch: u32) -> Result<(), Fault> {
        (**self).create(epoch)
    }

    fn take(&self, epoch: u32, key: &EpochKey, used: u32) -> Result<(), Fault> {
        (**self).take(epoch, key, used)
    }

    fn destroy(&self, epoch: u32) -> Result<(), Fault> {
        (**self).destroy(epoch)
    }

    fn derive(&self, epoch: u32) -> Result<EpochKey, Fault> {
        (**self).derive(epoch)
    }

    fn mac(&self, epoch: u32, message: &[u8]) -> Result<EpochKey, Fault> {
        (**self).mac(epoch, message)
    }
}

/// The one way in which a source that holds the root's bytes computes [`RootSource::mac`].
pub(super) fn mac_under(root: &Secret<[u8; 64]>, message: &[u8]) -> EpochKey {
    traceless::<SHALLOW, _>(|| EpochKey::new(HmacKey::new(root.expose()).mac(&[message])))
}

/// What every source says of an epoch without a root.
pub(super) fn missing(epoch: u32, place: &str) -> Fault {
    Fault::Key(format!(
        "epoch {epoch} has no root key in {place}; put back the key source that this vault was made with, \
         or restore onto one that has it"
    ))
}

/// What every source says of an epoch that has one already.
pub(super) fn present(epoch: u32, place: &str) -> Fault {
    Fault::Key(format!("epoch {epoch} has a root key in {place} already; it is not replaced"))
}

/// Root keys in the memory of the process: tests, and vaults that are gone with it.
#[derive(Default)]
pub struct MemoryRoot(Mutex<BTreeMap<u32, Box<Secret<[u8; 64]>>>>);

impl MemoryRoot {
    const PLACE: &'static str = "this process's memory";

    /// A place without roots.
    pub fn new() -> Self {
        MemoryRoot::default()
    }

    /// [`RootSource::create`] with the root's 64 bytes given.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch has a root already.
    pub fn create_with(&self, epoch: u32, root: &[u8; 64]) -> Result<(), Fault> {
        let mut roots = self.roots();
        if roots.contains_key(&epoch) {
            return Err(present(epoch, Self::PLACE));
        }
        // Boxed and filled in place: a map moves its values about, and a move leaves a copy behind.
        let mut boxed = Box::new(Secret::new([0; 64]));
        boxed.expose_mut().copy_from_slice(root);
        roots.insert(epoch, boxed);
        Ok(())
    }

    /// A panic elsewhere while the lock was held cannot have left the map half changed.
    fn roots(&self) -> MutexGuard<'_, BTreeMap<u32, Box<Secret<[u8; 64]>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RootSource for MemoryRoot {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn development(&self) -> bool {
        true
    }

    fn epochs(&self) -> Result<Vec<u32>, Fault> {
        Ok(self.roots().keys().copied().collect())
    }

    fn create(&self, epoch: u32) -> Result<(), Fault> {
        let mut root = Secret::new([0; 64]);
        fill_random(root.expose_mut())?;
        self.create_with(epoch, root.expose())
    }

    fn destroy(&self, epoch: u32) -> Result<(), Fault> {
        self.roots().remove(&epoch);
        Ok(())
    }

    fn mac(&self, epoch: u32, message: &[u8]) -> Result<EpochKey, Fault> {
        let roots = self.roots();
        let root = roots.get(&epoch).ok_or_else(|| missing(epoch, Self::PLACE))?;
        Ok(mac_under(root, message))
    }
}
