//! A member's folder: the keys it was born with, those it was handed, its log and its anchor.
//!
//! All of it in files is for development, as it is with a vault's folder: in earnest hardware holds the keys and the anchor,
//! and attests the two public keys that a statement names.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use strongroom::error::Fault;
use strongroom::fleet::{self, Backup, Fleet, LinkKey, Links, Replica, Settings, Survey, Tls};
use strongroom::journal::{Anchor, FileAnchor, SystemClock};
use strongroom::ledger::{Obeyed, RootKind, Signers};
use strongroom::secret::Secret;
use strongroom::session::{PUBLIC_KEY_LEN, Recipient};
use strongroom::transparency::{FleetKeys, Member, Note, Order, Statement, next_signers};
use strongroom::vault::{Custody, FileKeyStore, MemberRoot, Receiver, Vault};
use strongroom::wrap::FileRoot;
use zeroize::Zeroizing;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Its number, the seeds of its two keys, and its name.
const BORN: &str = "born";
const ARTIFACT: &str = "fleet-keys.json";
const ANCHOR: &str = "anchor";
/// Where the member takes what it is handed, until all of it is there.
const TAKING: &str = "taking";
const LOG: &str = "log.redb";
/// What it takes, in the order in which that comes to its place: who has a log has all of it.
const TAKEN: [&str; 6] = ["root", "epochs", "keys", ARTIFACT, "checkpoint.redb", LOG];

/// A member's place.
pub(crate) struct Site {
    folder: PathBuf,
    /// Its number, which no other member ever has.
    pub(crate) number: u64,
    /// Where the others find it, as HOST:PORT.
    pub(crate) name: String,
    link_key: LinkKey,
    recipient: Arc<Recipient>,
}

impl Site {
    /// Draws a member's keys in a new folder.
    pub(crate) fn create(folder: &Path, number: u64, name: &str) -> Outcome<Self> {
        fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (link, channel) = (Secret::<[u8; 32]>::random()?, Secret::<[u8; 32]>::random()?);
        let number_bytes = number.to_be_bytes();
        let born = Zeroizing::new([&number_bytes[..], link.expose(), channel.expose(), name.as_bytes()].concat());
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(folder.join(BORN))?;
        file.write_all(&born)?;
        file.sync_all()?;
        // Syncs the folder, too.
        FileAnchor::create(folder.join(ANCHOR))?;
        Self::open(folder)
    }

    /// Whether that is a member's folder.
    pub(crate) fn is_at(folder: &Path) -> bool {
        folder.join(BORN).exists()
    }

    /// The member whose folder that is.
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let born = fs::read(folder.join(BORN)).map(Zeroizing::new);
        let born = born.map_err(|error| format!("{} is no member's folder: {error}", folder.display()))?;
        let read = || {
            let (number, rest) = born.split_first_chunk()?;
            let (link, rest) = rest.split_first_chunk::<32>()?;
            let (channel, name) = rest.split_first_chunk::<32>()?;
            Some(Site {
                folder: folder.to_owned(),
                number: u64::from_be_bytes(*number),
                name: std::str::from_utf8(name).ok()?.to_owned(),
                link_key: LinkKey::new(&Secret::new(*link)),
                recipient: Arc::new(Recipient::new(&Secret::new(*channel))),
            })
        };
        Ok(read().ok_or_else(|| format!("{}: what it was born with is damaged", folder.display()))?)
    }

    /// What a statement says of it.
    pub(crate) fn named(&self, code: &str) -> Member {
        Member {
            number: self.number,
            name: self.name.clone(),
            link_key: self.link_key.public_key(),
            channel_key: Sha256::digest(self.channel_key()).into(),
            code: code.to_owned(),
        }
    }

    /// What keys are sealed to that are handed to it.
    pub(crate) fn channel_key(&self) -> &[u8; PUBLIC_KEY_LEN] {
        self.recipient.public_key()
    }

    pub(crate) fn recipient(&self) -> &Arc<Recipient> {
        &self.recipient
    }

    /// Takes the fleet's keys that were sealed to it, and begins its log: as a founder, if the statement is the first; from a
    /// backup, if it says so; else as one that joins, by the signers whom these bundles have named since the ceremony. What it
    /// does then. Until it has been done it can be tried again.
    pub(crate) fn take(
        &self,
        artifact: &[u8],
        statement: &Note,
        sealed: &[u8],
        backup: Option<Backup<'_>>,
        bundles: &[Note],
    ) -> Outcome<&'static str> {
        let FleetKeys { fleet, policy, .. } = FleetKeys::read(artifact)?;
        let order = Statement::read(statement)?.order;
        match (&order, backup) {
            (Order::Refound { .. }, None) => return Err("the statement wants a backup".into()),
            (Order::Refound { .. }, Some(_)) | (Order::Members { .. }, None) => {}
            (Order::Members { .. }, Some(_)) => return Err("the statement does not name a backup".into()),
            _ => return Err("the statement names no members".into()),
        }
        let joins = matches!(order, Order::Members { predecessor, .. } if predecessor != [0; 32]);
        if !joins && !bundles.is_empty() {
            return Err(
                "bundles are for a member that joins: who founds a fleet or goes on from a backup needs none".into()
            );
        }
        let signers = signers_since(&fleet, policy.signers, bundles)?;
        if policy.root == RootKind::Pkcs11 {
            return Err("the policy wants root keys in a token, and a member's folder has them in files".into());
        }
        if self.folder.join(LOG).try_exists()? {
            return Err("the member has taken its keys and has a log; neither is replaced".into());
        }
        if FileAnchor::open(self.folder.join(ANCHOR))?.read()?.sequence != 0 {
            return Err("the member has run, and its log is gone: both signers name another in its place".into());
        }
        let taking = Emptied::folder(self.folder.join(TAKING))?;
        let mut file = File::create(taking.0.join(ARTIFACT))?;
        file.write_all(artifact)?;
        file.sync_all()?;
        let (root, store) = places(&taking.0)?;
        let to = Receiver { fleet, member: self.number };
        let key = Custody::receive(sealed, &to, &self.recipient, root, store)?.journal_key();
        let what = match backup {
            Some(backup) => {
                fleet::refound(&taking.0, &policy, &key, &fleet, self.number, statement, backup)?;
                "goes on from the backup"
            }
            None if joins => {
                fleet::join(&taking.0, &policy, &key, &fleet, self.number, statement, signers.as_ref())?;
                "joins the fleet"
            }
            None => {
                fleet::found(&taking.0, &policy, &key, &fleet, statement)?;
                "founds the fleet"
            }
        };
        // Left by one that was cut short.
        if self.folder.join(TAKEN[0]).try_exists()? {
            fs::remove_dir_all(self.folder.join(TAKEN[0]))?;
        }
        for name in TAKEN {
            fs::rename(taking.0.join(name), self.folder.join(name))?;
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(what)
    }

    /// What its files hold, or a copy of another member's, read with its keys; the serial number of these, and whether they are
    /// those that the fleet had turned to, or newer.
    pub(crate) fn survey(&self, copy: Option<Backup<'_>>) -> Outcome<(Survey, u32, bool)> {
        let FleetKeys { policy, .. } = self.fleet_keys()?;
        let mut custody = self.custody()?;
        let key = custody.journal_key();
        let survey = match copy {
            Some(Backup { folder, number }) => fleet::survey(folder, number, &policy, &key, None)?,
            None => {
                let anchor = FileAnchor::open(self.folder.join(ANCHOR))?;
                fleet::survey(&self.folder, self.number, &policy, &key, Some(Arc::new(anchor)))?
            }
        };
        // What it has kept for a turn that the journal names is its own.
        let new = custody.take_kept(survey.keys_serial, &survey.keys_mark)?;
        Ok((survey, custody.serial(), new))
    }

    /// The fleet's keys, sealed to a member that a statement names by which the fleet goes on from what this one has left.
    pub(crate) fn hand_over(&self, statement: &Note, member: u64, to: &[u8; PUBLIC_KEY_LEN]) -> Outcome<Vec<u8>> {
        let Order::Refound { number, predecessor, .. } = Statement::read(statement)?.order else {
            return Err("a fleet that runs hands its keys over by itself: see `fleet take --from`".into());
        };
        let (survey, held, new) = self.survey(None)?;
        let Survey { signers, keys_serial, .. } = survey;
        // By an older statement of that kind whoever has left since would get keys that have turned since.
        if (number, predecessor) != (survey.restores + 1, survey.predecessor) {
            return Err("the statement does not follow what this member's disk says of members and restores".into());
        }
        if !new {
            return Err(format!(
                "the fleet had turned to keys of serial number {keys_serial}, and this member has others, of {held}: take another's"
            )
            .into());
        }
        Ok(self.custody()?.hand_over(statement, signers.as_ref(), member, to)?)
    }

    fn custody(&self) -> Outcome<Custody> {
        let (root, store) = places(&self.folder)?;
        let aside = FileKeyStore::new(self.folder.join("aside"));
        Ok(Custody::open(Box::new(root), store)?.keeping_aside(Box::new(aside)))
    }

    /// The fleet's keys, as they were when it took them.
    pub(crate) fn fleet_keys(&self) -> Outcome<FleetKeys> {
        let path = self.folder.join(ARTIFACT);
        let artifact = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{} has no keys of a fleet yet; \"strongroom fleet take\" takes them", self.folder.display())
            }
            _ => format!("{}: {error}", path.display()),
        })?;
        Ok(FleetKeys::read(&artifact)?)
    }

    /// Its way to speak with the others.
    pub(crate) fn tls(&self) -> Outcome<Tls> {
        Ok(Tls::new(&self.fleet_keys()?.fleet, self.link_key.clone()))
    }

    /// Opens its replica on this runtime.
    pub(crate) async fn replica(&self, links: Arc<dyn Links>, settings: Settings) -> Outcome<Replica> {
        let FleetKeys { fleet, policy, .. } = self.fleet_keys()?;
        let member = fleet::Member {
            number: self.number,
            fleet,
            journal_key: self.custody()?.journal_key(),
            anchor: Arc::new(FileAnchor::open(self.folder.join(ANCHOR))?),
            clock: Arc::new(SystemClock::new(policy.skew_max_s)?),
            policy,
            links,
            settings,
        };
        Ok(Replica::open(&self.folder, member).await?)
    }

    /// The vault over its replica, with keys as new as the fleet's; [`Fault::Unsettled`] while there is no leader.
    pub(crate) fn vault(&self, fleet: Fleet) -> Outcome<Result<Vault, Fault>> {
        match self.vault_with(self.custody()?, fleet.clone())? {
            // Keys may have turned in between.
            Err(Fault::Key(_)) => self.vault_with(self.custody()?, fleet),
            opened => Ok(opened),
        }
    }

    fn vault_with(&self, mut custody: Custody, fleet: Fleet) -> Outcome<Result<Vault, Fault>> {
        let clock = Arc::new(SystemClock::new(fleet.replica().policy().skew_max_s)?);
        let followed = custody.follow_keys(&fleet, &self.recipient);
        Ok(followed.and_then(|_| Vault::over(Box::new(fleet), clock, custody)))
    }
}

/// Whom a fleet obeys after these bundles, which have named others since the ceremony.
fn signers_since(fleet: &[u8; 32], ceremony: Option<Signers>, bundles: &[Note]) -> Outcome<Option<Signers>> {
    let last = bundles.iter().try_fold(ceremony.map(Obeyed::first), |obeyed, bundle| {
        let obeyed = obeyed.ok_or("the policy names no signers, whom a bundle could replace")?;
        let next = next_signers(bundle, fleet, &obeyed)?;
        Outcome::Ok(Some(next.ok_or("a bundle names no other signers; give those alone that do")?))
    })?;
    Ok(last.map(|it| it.signers))
}

fn places(folder: &Path) -> Outcome<(MemberRoot, Box<FileKeyStore>)> {
    let own = FileRoot::create(folder.join("root"))?;
    let epochs = FileKeyStore::new(folder.join("epochs"));
    let store = FileKeyStore::new(folder.join("keys"));
    Ok((MemberRoot::new(Box::new(own), Box::new(epochs)), Box::new(store)))
}

/// An empty folder, which is gone in the end with all that is still in it.
struct Emptied(PathBuf);

impl Emptied {
    fn folder(path: PathBuf) -> Outcome<Self> {
        if path.try_exists()? {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Emptied(path))
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
