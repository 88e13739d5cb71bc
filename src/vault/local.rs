//! A vault whose attempts survive on this machine's disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::custody::check_root;
use super::{Clock, Custody, FileKeyStore, SystemClock, Vault};
use crate::error::Fault;
use crate::journal::{Anchor, FileAnchor, Local};
use crate::ledger::Policy;
use crate::secret::Secret;
use crate::wrap::{FileRoot, RootSource};

/// Where a vault keeps what it keeps, and what it trusts.
pub struct Config {
    /// The vault's folder: sealed keys, journal, checkpoint.
    pub folder: PathBuf,
    /// Where root keys live.
    pub root: Box<dyn RootSource>,
    /// What the host cannot roll back.
    pub anchor: Arc<dyn Anchor>,
    /// What batches are dated by.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// Everything in one folder, root key and anchor too: for development only, since whoever can copy the folder can
    /// roll it back. The folder and its parts are made where they are missing. Dated by the machine's clock.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the folder cannot be made, [`Fault::Key`] if the root key's permissions are loose,
    /// [`Fault::Clock`].
    pub fn development(folder: impl AsRef<Path>) -> Result<Self, Fault> {
        fs::create_dir_all(&folder).map_err(storage)?;
        let root = FileRoot::create(folder.as_ref().join("root"))?;
        Self::development_with(folder, Box::new(root))
    }

    /// [`Config::development`] with the root keys elsewhere, in a token for instance.
    ///
    /// # Errors
    /// As [`Config::development`].
    pub fn development_with(folder: impl AsRef<Path>, root: Box<dyn RootSource>) -> Result<Self, Fault> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(storage)?;
        let anchor = folder.join("anchor");
        let anchor = if anchor.exists() { FileAnchor::open(anchor)? } else { FileAnchor::create(anchor)? };
        let clock = Arc::new(SystemClock::new(Policy::development().skew_max_s)?);
        Ok(Config { folder, root, anchor: Arc::new(anchor), clock })
    }

    fn keys(&self) -> FileKeyStore {
        FileKeyStore::new(self.folder.join("keys"))
    }

    fn journal_folder(&self) -> PathBuf {
        self.folder.join("journal")
    }

    fn check(&self, policy: &Policy) -> Result<(), Fault> {
        policy.check()?;
        check_root(policy, &*self.root)
    }
}

impl Vault {
    /// Makes a new vault: draws its keys, seals them, and writes the policy as the journal's first entry.
    ///
    /// One that is cut short is finished by [`Vault::open`] if its journal has its name. Before that it has answered
    /// nobody, and neither is it finished nor its keys used for another: its folder and the root of epoch 1 are removed
    /// by hand, and it is created anew.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not allowed; [`Fault::Storage`] if the folder holds a vault already or cannot
    /// be written; [`Fault::Key`], [`Fault::Anchor`], [`Fault::Randomness`].
    pub fn create(config: Config, policy: Policy) -> Result<Self, Fault> {
        config.check(&policy)?;
        let (folder, keys) = (config.journal_folder(), config.keys());
        let Config { root, anchor, clock, .. } = config;
        let custody = Custody::create(root, Box::new(keys))?;
        let journal = Local::create(folder, policy, &custody.journal_key(), anchor)?;
        Self::over(Box::new(journal), clock, custody)
    }

    /// Opens a vault that was made under this very policy (L12), and replays what its journal holds.
    ///
    /// # Errors
    /// [`Fault::PolicyMismatch`] if it was made under another; [`Fault::Anchor`] if the disk is not the one that the
    /// anchor names; [`Fault::Key`], [`Fault::Damaged`], [`Fault::Format`], [`Fault::Storage`].
    pub fn open(config: Config, policy: Policy) -> Result<Self, Fault> {
        config.check(&policy)?;
        Self::open_with(config, |folder, key, anchor| Local::open(folder, &policy, key, anchor))
    }

    /// Opens a vault under the policy that it was made under, whatever that is: for tools, which do not decide it. A
    /// server names the policy that it expects and uses [`Vault::open`].
    ///
    /// # Errors
    /// As [`Vault::open`], but that no policy is a wrong one.
    pub fn open_as_made(config: Config) -> Result<Self, Fault> {
        Self::open_with(config, Local::open_as_made)
    }

    fn open_with(
        config: Config,
        open: impl FnOnce(PathBuf, &Secret<[u8; 32]>, Arc<dyn Anchor>) -> Result<Local, Fault>,
    ) -> Result<Self, Fault> {
        let (folder, keys) = (config.journal_folder(), config.keys());
        let Config { root, anchor, clock, .. } = config;
        let custody = Custody::open(root, Box::new(keys))?;
        let journal = open(folder, &custody.journal_key(), anchor)?;
        Self::over(Box::new(journal), clock, custody)
    }
}

fn storage(error: std::io::Error) -> Fault {
    Fault::Storage(error.to_string())
}
