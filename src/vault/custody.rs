//! [`Custody`]: where a vault's keys are kept: the root in its source, everything else sealed in a [`KeyStore`].

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "fleet")]
use super::aside::Aside;
use super::keys::FleetSecrets;
use crate::error::Fault;
use crate::ledger::{Policy, RootKind};
use crate::secret::Secret;
use crate::wrap::{EpochKeys, RootSource, blob_epoch};

/// The first epoch of a new vault.
const FIRST_EPOCH: u32 = 1;

/// Where the fleet's sealed keys are kept. Whoever can read it has nothing without the root; whoever puts an older copy
/// back is told by the journal.
pub trait KeyStore: Send + Sync {
    /// The sealed keys, if any are kept.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the place cannot be read.
    fn read(&self) -> Result<Option<Vec<u8>>, Fault>;

    /// Keeps these in place of those before: durable when it returns, and whole, the old or the new, after a crash.
    ///
    /// # Errors
    /// [`Fault::Storage`] if they may not be kept.
    fn write(&self, sealed: &[u8]) -> Result<(), Fault>;
}

/// Sealed keys in a file.
pub struct FileKeyStore(PathBuf);

impl FileKeyStore {
    /// In the file of this name, whether it is there yet or not.
    pub fn new(path: impl AsRef<Path>) -> Self {
        FileKeyStore(path.as_ref().to_owned())
    }
}

impl KeyStore for FileKeyStore {
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        match fs::read(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(storage),
        }
    }

    fn write(&self, sealed: &[u8]) -> Result<(), Fault> {
        let mut partial = self.0.as_os_str().to_owned();
        partial.push(".partial");
        let mut file = File::create(&partial).map_err(storage)?;
        file.write_all(sealed).and_then(|()| file.sync_all()).map_err(storage)?;
        fs::rename(&partial, &self.0).map_err(storage)?;
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(storage)
    }
}

/// Whether root keys may be where they are: a policy that is not for development takes no root that is, nor one that wants a token.
pub(super) fn check_root(policy: &Policy, root: &dyn RootSource) -> Result<(), Fault> {
    let place = root.name();
    match root.development() {
        true if policy.root == RootKind::Pkcs11 => {
            Err(Fault::Policy(format!("the root keys are to be in a token, not in a {place}")))
        }
        true if !policy.development => Err(Fault::Policy(format!("a root key in a {place} is for development"))),
        _ => Ok(()),
    }
}

fn storage(error: std::io::Error) -> Fault {
    Fault::Storage(format!("the file of the fleet's keys: {error}"))
}

/// Sealed keys in the memory of the process: tests, and vaults that are gone with it.
#[derive(Default)]
pub struct MemoryKeyStore(Mutex<Option<Vec<u8>>>);

impl MemoryKeyStore {
    /// A place without keys.
    pub fn new() -> Self {
        MemoryKeyStore::default()
    }
}

impl KeyStore for MemoryKeyStore {
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn write(&self, sealed: &[u8]) -> Result<(), Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealed.to_vec());
        Ok(())
    }
}

/// A place that others hold too.
impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        (**self).read()
    }

    fn write(&self, sealed: &[u8]) -> Result<(), Fault> {
        (**self).write(sealed)
    }
}

/// The places of a vault's keys, and the keys in them: what a vault is opened with.
///
/// ```
/// use strongroom::vault::{Custody, MemoryKeyStore};
/// use strongroom::wrap::MemoryRoot;
/// use std::sync::Arc;
///
/// let (root, store) = (Arc::new(MemoryRoot::new()), Arc::new(MemoryKeyStore::new()));
/// let made = Custody::create(Box::new(root.clone()), Box::new(store.clone()))?;
/// let opened = Custody::open(Box::new(root), Box::new(store))?;
/// assert_eq!(made.fleet(), opened.fleet());
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub struct Custody {
    pub(super) keeper: Keeper,
    pub(super) epochs: Arc<EpochKeys>,
    pub(super) secrets: Box<FleetSecrets>,
    #[cfg(feature = "fleet")]
    pub(super) aside: Aside,
}

/// The places alone.
pub(super) struct Keeper {
    pub(super) root: Box<dyn RootSource>,
    pub(super) store: Box<dyn KeyStore>,
}

impl Keeper {
    /// What is in them.
    pub(super) fn held(&self) -> Result<(Arc<EpochKeys>, Box<FleetSecrets>), Fault> {
        let sealed =
            self.store.read()?.ok_or_else(|| Fault::Storage("there are no keys of a vault here".to_owned()))?;
        // A later epoch is one whose turn was cut short: nothing is sealed under it before the keys are.
        let epochs = EpochKeys::load(&*self.root, blob_epoch(&sealed)?)?;
        let secrets = FleetSecrets::open(&epochs, &sealed)?;
        Ok((Arc::new(epochs), secrets))
    }
}

impl Custody {
    /// Draws the keys of a new fleet and keeps them: a root of the first epoch in its source, the rest in the store.
    /// Both must be empty.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the store has keys, [`Fault::Key`] if the source has roots; else the faults of either, and
    /// [`Fault::Randomness`].
    pub fn create(root: Box<dyn RootSource>, store: Box<dyn KeyStore>) -> Result<Self, Fault> {
        if store.read()?.is_some() {
            return Err(Fault::Storage("there are a fleet's keys already; they are not replaced".to_owned()));
        }
        root.create(FIRST_EPOCH)?;
        let epochs = Arc::new(EpochKeys::load(&*root, FIRST_EPOCH)?);
        let secrets = FleetSecrets::generate()?;
        store.write(&secrets.seal(&epochs)?)?;
        Ok(Self::over(Keeper { root, store }, epochs, secrets))
    }

    /// Opens what [`Custody::create`] made.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the store has no keys, [`Fault::Key`] if the root that they need is not there; else the
    /// faults of either, [`Fault::Damaged`] and [`Fault::Format`].
    pub fn open(root: Box<dyn RootSource>, store: Box<dyn KeyStore>) -> Result<Self, Fault> {
        let keeper = Keeper { root, store };
        let (epochs, secrets) = keeper.held()?;
        Ok(Self::over(keeper, epochs, secrets))
    }

    pub(super) fn over(keeper: Keeper, epochs: Arc<EpochKeys>, secrets: Box<FleetSecrets>) -> Self {
        Custody {
            keeper,
            epochs,
            secrets,
            #[cfg(feature = "fleet")]
            aside: Aside::nowhere(),
        }
    }

    /// The fleet's id: 32 random bytes that bind tickets and statements to it.
    pub fn fleet(&self) -> &[u8; 32] {
        &self.secrets.fleet
    }

    /// Serial number of the keys, one more with every turn: [`crate::ledger::State::keys_serial`] knows the fleet's.
    pub fn serial(&self) -> u32 {
        self.secrets.serial
    }

    /// The key of the journal's chain and checkpoints, for who opens the vault's journal.
    pub fn journal_key(&self) -> Secret<[u8; 32]> {
        self.secrets.journal_key()
    }
}
