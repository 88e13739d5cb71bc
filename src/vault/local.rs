//! A vault whose attempts survive on this machine's disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Clock, FleetSecrets, SystemClock, Vault};
use crate::error::Fault;
use crate::journal::{Anchor, FileAnchor, Local};
use crate::ledger::Policy;
use crate::wrap::{EpochKeys, FileRoot, RootSource};

/// The first epoch of a new vault.
const FIRST_EPOCH: u32 = 1;

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
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(storage)?;
        let root = FileRoot::create(folder.join("root"))?;
        let anchor = folder.join("anchor");
        let anchor = if anchor.exists() { FileAnchor::open(anchor)? } else { FileAnchor::create(anchor)? };
        let clock = Arc::new(SystemClock::new(Policy::development().skew_max_s)?);
        Ok(Config { folder, root: Box::new(root), anchor: Arc::new(anchor), clock })
    }

    fn keys_file(&self) -> PathBuf {
        self.folder.join("keys")
    }

    fn journal_folder(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// A policy that is not for development takes neither a root nor an anchor that is.
    fn check(&self, policy: &Policy) -> Result<(), Fault> {
        policy.check()?;
        if !policy.development && self.root.development() {
            return Err(Fault::Policy(format!("a root key in a {} is for development", self.root.name())));
        }
        Ok(())
    }
}

impl Vault {
    /// Makes a new vault: draws its keys, seals them, and writes the policy as the journal's first entry.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not allowed; [`Fault::Storage`] if the folder holds a vault already or cannot
    /// be written; [`Fault::Key`], [`Fault::Anchor`], [`Fault::Randomness`].
    pub fn create(config: Config, policy: Policy) -> Result<Self, Fault> {
        config.check(&policy)?;
        if config.keys_file().exists() {
            return Err(Fault::Storage(format!("{} holds a vault already", config.folder.display())));
        }
        config.root.create(FIRST_EPOCH)?;
        let epochs = EpochKeys::load(&*config.root, FIRST_EPOCH)?;
        let secrets = FleetSecrets::generate()?;
        write_whole(&config.keys_file(), &secrets.seal(&epochs)?)?;
        let journal = Local::create(config.journal_folder(), policy.clone(), &secrets.journal_key(), config.anchor)?;
        Self::assemble(policy, Box::new(journal), config.clock, &secrets, epochs)
    }

    /// Opens a vault that was made under this very policy (L12), and replays what its journal holds.
    ///
    /// # Errors
    /// [`Fault::PolicyMismatch`] if it was made under another; [`Fault::Anchor`] if the disk is not the one that the
    /// anchor names; [`Fault::Key`], [`Fault::Damaged`], [`Fault::Format`], [`Fault::Storage`].
    pub fn open(config: Config, policy: Policy) -> Result<Self, Fault> {
        config.check(&policy)?;
        let sealed = fs::read(config.keys_file()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Fault::Storage(format!("{} holds no vault", config.folder.display())),
            _ => storage(error),
        })?;
        let newest = config.root.epochs()?.last().copied();
        let newest = newest.ok_or_else(|| Fault::Key("the root key source holds no root key".to_owned()))?;
        let epochs = EpochKeys::load(&*config.root, newest)?;
        let secrets = FleetSecrets::open(&epochs, &sealed)?;
        let journal = Local::open(config.journal_folder(), &policy, &secrets.journal_key(), config.anchor)?;
        Self::assemble(policy, Box::new(journal), config.clock, &secrets, epochs)
    }
}

/// Writes a file so that after a crash it is whole or not there.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial).map_err(storage)?;
    file.write_all(bytes).map_err(storage)?;
    file.sync_all().map_err(storage)?;
    fs::rename(&partial, path).map_err(storage)?;
    match path.parent() {
        Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(storage),
        None => Ok(()),
    }
}

fn storage(error: std::io::Error) -> Fault {
    Fault::Storage(error.to_string())
}
