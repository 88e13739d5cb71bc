//! How a replica's log begins: [`found`] and [`join`]; with what another has left, [`super::refound`].

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use openraft::EntryPayload;
use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::error::Fault;
use crate::fleet::consensus::{Entry, Membership, Origin, Proposal, to_raft};
use crate::fleet::link::Address;
use crate::fleet::log::{Beginning, Log};
use crate::fleet::roster::members_of;
use crate::fleet::version::OLDEST;
use crate::journal::LogId;
use crate::journal::row::{Draft, Keys};
use crate::journal::store::{CHECKPOINT_FILE, LOG_FILE, Paced, backend, folder_fault};
use crate::ledger::{Command, Policy, Signers};
use crate::secret::Secret;
use crate::transparency::{Note, Statement};

/// Makes the files of a fleet's founding member in a folder that is there. The log's first rows are the policy with the
/// statement that names the members, and these; each founder makes the same. One that is cut short can be repeated.
///
/// # Errors
/// [`Fault::Policy`] if the policy is not allowed; [`Fault::Key`] if the statement is not the first to this fleet, or not
/// signed by both signers, where the policy has some; [`Fault::Storage`] if there is a log already or none can be written.
pub fn found(
    folder: impl AsRef<Path>,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    statement: &Note,
) -> Result<(), Fault> {
    found_on(make_files(folder.as_ref())?, policy, journal_key, fleet, statement)
}

/// [`found`] over a store of bytes that stands for the log's file.
///
/// # Errors
/// As [`found`].
pub fn found_on(
    log: impl StorageBackend,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    statement: &Note,
) -> Result<(), Fault> {
    policy.check()?;
    let (predecessor, nodes) = members_by(statement, fleet, policy.signers.as_ref())?;
    if predecessor != [0; 32] {
        return Err(Fault::Key("the statement follows another, and founds no fleet".to_owned()));
    }
    let voters = nodes.keys().copied().collect();
    let bytes = bytes_of(statement, policy.signers.as_ref());
    let draft = Draft::batch(0, &[Command::Members { predecessor, statement: bytes }])?;
    let origin = Origin { member: 0, life: 0, sequence: 1 };
    let statement = Proposal { origin, time_s: 0, version: OLDEST, count: 1, content: draft.into_content().into() };
    let at = |index| to_raft(LogId { index, ..LogId::default() });
    let rows = [
        Entry { log_id: at(0), payload: EntryPayload::Normal(statement) },
        Entry { log_id: at(1), payload: EntryPayload::Membership(Membership::new(vec![voters], nodes)) },
    ];
    Log::create(log, &Keys::new(journal_key), policy, Beginning::Founds(&rows))
}

/// Makes the files of a member that joins a fleet, in a folder that is there: it takes rows or a checkpoint from those whom this
/// statement names, and whom they know. `signers` are those who signed it, `None` where there are none.
///
/// # Errors
/// [`Fault::Key`] if the statement is to another fleet, does not name `number`, or is not signed by both signers;
/// [`Fault::Storage`] if there is a log already or none can be written.
pub fn join(
    folder: impl AsRef<Path>,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    number: u64,
    statement: &Note,
    signers: Option<&Signers>,
) -> Result<(), Fault> {
    join_on(make_files(folder.as_ref())?, policy, journal_key, fleet, number, statement, signers)
}

/// [`join`] over a store of bytes that stands for the log's file.
///
/// # Errors
/// As [`join`].
pub fn join_on(
    log: impl StorageBackend,
    policy: &Policy,
    journal_key: &Secret<[u8; 32]>,
    fleet: &[u8; 32],
    number: u64,
    statement: &Note,
    signers: Option<&Signers>,
) -> Result<(), Fault> {
    let (_, known) = members_by(statement, fleet, signers)?;
    if !known.contains_key(&number) {
        return Err(Fault::Key(format!("the statement does not name member {number}")));
    }
    Log::create(log, &Keys::new(journal_key), policy, Beginning::Joins(number, &known))
}

/// Makes both files, empty where they are not there, and shows the log's.
pub(super) fn make_files(folder: &Path) -> Result<FileBackend, Fault> {
    let make = |name| File::options().read(true).write(true).create(true).truncate(false).open(folder.join(name));
    backend(make(CHECKPOINT_FILE))?;
    let log = backend(make(LOG_FILE))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(folder_fault)?;
    Ok(log)
}

/// The log's file and the checkpoint's, which are there.
pub(super) fn open_files(folder: &Path) -> Result<(FileBackend, Paced), Fault> {
    let open = |name| File::options().read(true).write(true).open(folder.join(name));
    Ok((backend(open(LOG_FILE))?, Paced::new(backend(open(CHECKPOINT_FILE))?)))
}

pub(super) fn members_by(
    statement: &Note,
    fleet: &[u8; 32],
    signers: Option<&Signers>,
) -> Result<([u8; 32], BTreeMap<u64, Address>), Fault> {
    let statement = match signers {
        Some(signers) => Statement::of(statement, signers).map_err(|why| Fault::Key(why.to_string()))?,
        None => Statement::read(statement)?,
    };
    members_of(&statement, fleet)
}

/// What is kept of a statement: all of it, or where nobody signs, its text.
fn bytes_of(statement: &Note, signers: Option<&Signers>) -> Vec<u8> {
    if signers.is_some() { statement.write() } else { statement.text().as_bytes().to_vec() }
}
