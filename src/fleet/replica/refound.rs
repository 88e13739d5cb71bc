//! A fleet that goes on from a backup, once a majority's disks are lost for good: [`survey`] and [`refound`].
//!
//! A backup is the two files of one member: a survivor's, or a copy that was made while it was stopped. What was acknowledged
//! since, and was on none but the lost disks, is lost; so this takes both signers, who name the backup, and every account keeps
//! one attempt of its window and no more. Whoever could do it alone could bring attempts back, by the same backup again and
//! again; a member begins so once, since its anchor remembers that it has begun.
//!
//! All who are named begin by themselves, from the same backup, and come to the same row: a majority of them goes on from there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use redb::StorageBackend;

use super::begin::{make_files, open_files};
use crate::error::Fault;
use crate::fleet::link::Address;
use crate::fleet::log::{Beginning, Log, Place};
use crate::fleet::machine::{Machine, Opened, Refounding};
use crate::fleet::roster::addresses;
use crate::fleet::version::{NEWEST, Versions};
use crate::journal::latch::Latch;
use crate::journal::row::Keys;
use crate::journal::store::{CHECKPOINT_FILE, LOG_FILE, backend, folder_fault, shielded};
use crate::journal::{Anchor, Anchored, LogId, MemoryAnchor};
use crate::ledger::{Policy, Signers};
use crate::secret::Secret;
use crate::transparency::{Note, Order, Statement};

/// What a backup's log is called while a member is made from it.
const BACKUP_FILE: &str = "backup.redb";

/// What a member's files hold, as both signers want to know it before they name a backup: of several, the one whose last
/// row is the greatest has everything that the others have acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The last row, greater where a history goes further.
    pub last: LogId,
    /// The chain at that row, which names the backup.
    pub backup: [u8; 32],
    /// How often the state was restored.
    pub restores: u32,
    /// The hash of the last statement that named members.
    pub predecessor: [u8; 32],
    /// Accounts in it.
    pub accounts: u64,
    /// State time, in seconds.
    pub time_s: u64,
    /// Whose statements are obeyed.
    pub signers: Option<Signers>,
    /// Serial number of the keys that the fleet had turned to: who hands keys to the members must have these.
    pub keys_serial: u32,
    /// What tells them from others of that number.
    pub keys_mark: [u8; 32],
}

/// Tells what the files of a stopped member hold, or a copy of them: of the member that was `number`. A survivor's own anchor
/// says whether the disk is as new as it should be, and moves as when the member opens; for a copy there is none. Opening the files
/// settles what a crash left in them, so give it a copy of an only backup.
///
/// # Errors
/// [`Fault::Anchor`] if the disk lacks what the anchor names, [`Fault::Damaged`], [`Fault::Format`],
/// [`Fault::PolicyMismatch`], [`Fault::Storage`].
pub fn survey(
    folder: impl AsRef<Path>,
    number: u64,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    anchor: Option<Arc<dyn Anchor>>,
) -> Result<Survey, Fault> {
    survey_on(open_files(folder.as_ref())?, number, policy, journal_key, anchor)
}

/// [`survey`] over two stores of bytes that stand for the log's file and the checkpoint's.
///
/// # Errors
/// As [`survey`].
pub fn survey_on(
    (log, checkpoint): (impl StorageBackend, impl StorageBackend),
    number: u64,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    anchor: Option<Arc<dyn Anchor>>,
) -> Result<Survey, Fault> {
    shielded(|| {
        let (machine, place) = replay(log, checkpoint, number, policy, &Arc::new(Keys::new(journal_key)), anchor)?;
        let mut survey = Survey {
            last: place.id,
            backup: place.chain,
            restores: 0,
            predecessor: [0; 32],
            accounts: 0,
            time_s: 0,
            signers: None,
            keys_serial: 0,
            keys_mark: [0; 32],
        };
        machine.look(&mut |state| {
            survey.restores = state.restores();
            survey.predecessor = *state.members().0;
            survey.accounts = state.accounts().count() as u64;
            survey.time_s = state.time_s();
            survey.signers = state.signers().copied();
            (survey.keys_serial, survey.keys_mark) = (state.keys_serial(), *state.keys_mark());
        })?;
        Ok(survey)
    })
}

/// A backup, and whose files it is.
#[derive(Clone, Copy)]
pub struct Backup<'a> {
    /// The folder with the two files.
    pub folder: &'a Path,
    /// The number of the member whose they were.
    pub number: u64,
}

/// Makes the files of a member of a fleet that goes on from a backup, in a folder that is there: `number`, which the statement
/// names. Where it is cut short, begin again in an empty folder. The statement is [`Order::Refound`]'s, by the two whom the backup's state knows as signers.
///
/// # Errors
/// [`Fault::Key`] if it is not a statement of both to this fleet, names another backup, does not name `number`, or names one that
/// was a member before; [`Fault::Statement`] if the backup was restored more or less often than it says, or its members were
/// others; [`Fault::Storage`] if there is a log already or none can be written; else as [`survey`].
pub fn refound(
    folder: impl AsRef<Path>,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    number: u64,
    statement: &Note,
    backup: Backup<'_>,
) -> Result<(), Fault> {
    let folder = folder.as_ref();
    if folder.join(LOG_FILE).try_exists().map_err(folder_fault)? {
        return Err(Fault::Storage("there is a log already".to_owned()));
    }
    let scratch = folder.join(BACKUP_FILE);
    let copy = || {
        fs::copy(backup.folder.join(CHECKPOINT_FILE), folder.join(CHECKPOINT_FILE))?;
        fs::copy(backup.folder.join(LOG_FILE), &scratch)
    };
    copy().map_err(folder_fault)?;
    let open = |path: &Path| backend(File::options().read(true).write(true).open(path));
    let files = (open(&scratch)?, open(&folder.join(CHECKPOINT_FILE))?);
    let log = || make_files(folder);
    let made = refound_on(files, backup.number, policy, journal_key, fleet, number, statement, log);
    // The checkpoint has the rows by now, or nothing comes of either.
    fs::remove_file(&scratch).map_err(folder_fault)?;
    if made.is_err() {
        fs::remove_file(folder.join(CHECKPOINT_FILE)).map_err(folder_fault)?;
    }
    made
}

/// [`refound`] over stores of bytes: a copy of the backup's log, which is not needed afterwards, and of its checkpoint, which
/// becomes this member's; `log` makes an empty one for its log, once all else is done.
///
/// # Errors
/// As [`refound`].
#[allow(clippy::too_many_arguments, reason = "a member's makings, and a backup's")]
pub fn refound_on<Backend: StorageBackend>(
    (backup_log, checkpoint): (impl StorageBackend, impl StorageBackend),
    backup_number: u64,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    number: u64,
    statement: &Note,
    log: impl FnOnce() -> Result<Backend, Fault>,
) -> Result<(), Fault> {
    let keys = Arc::new(Keys::new(journal_key));
    let place = shielded(|| {
        let (machine, backup) = replay(backup_log, checkpoint, backup_number, policy, &keys, None)?;
        let mut signers = None;
        machine.look(&mut |state| signers = state.signers().copied())?;
        let (refounding, members) = read(statement, fleet, &backup, signers.as_ref())?;
        if !members.contains_key(&number) {
            return Err(Fault::Key(format!("the statement does not name member {number}")));
        }
        machine.refound(&keys, backup, refounding, members)
    })?;
    Log::create(log()?, &keys, policy, Beginning::Refounds(number, place))
}

/// What both say of the backup that goes so far.
fn read(
    note: &Note,
    fleet: &[u8; 32],
    backup: &Place,
    signers: Option<&Signers>,
) -> Result<(Refounding, BTreeMap<u64, Address>), Fault> {
    let signers = signers.ok_or_else(|| Fault::Policy("this fleet was made without signers".to_owned()))?;
    let statement = Statement::of(note, signers).map_err(|why| Fault::Key(why.to_string()))?;
    let wrong = |why: &str| Fault::Key(format!("the statement {why}"));
    let Order::Refound { number, backup: named, predecessor, members } = statement.order else {
        return Err(wrong("does not have a fleet go on from a backup"));
    };
    match (statement.fleet == *fleet, named == backup.chain) {
        (true, true) => {}
        (false, _) => return Err(wrong("is to another fleet")),
        (_, false) => return Err(wrong("names another backup")),
    }
    Ok((Refounding { number, predecessor, statement: note.write() }, addresses(&members)?))
}

/// Opens a member's files, and comes to the state that all of its rows amount to; and where the last one stands.
fn replay(
    log: impl StorageBackend,
    checkpoint: impl StorageBackend,
    number: u64,
    policy: &Policy,
    keys: &Arc<Keys>,
    anchor: Option<Arc<dyn Anchor>>,
) -> Result<(Machine, Place), Fault> {
    policy.check()?;
    let versions = Arc::new(Versions::new(NEWEST));
    let opened = Opened::read(checkpoint, keys, policy, &versions)?;
    // A copy is all that there is: it is taken for what it says.
    let trusting = || -> Arc<dyn Anchor> {
        let root = opened.base.root;
        Arc::new(MemoryAnchor::holding(Anchored { sequence: 1, root, ..Anchored::default() }))
    };
    let anchor = anchor.unwrap_or_else(trusting);
    let held = anchor.read()?;
    let log = Log::open(log, Arc::clone(keys), policy, number, Latch::new(anchor, held), &opened.base, &versions)?;
    let machine = Machine::new(opened, log, versions)?;
    let place = machine.replay()?.ok_or_else(|| Fault::Storage("there is nothing in this log yet".to_owned()))?;
    Ok((machine, place))
}
