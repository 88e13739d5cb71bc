//! The files of a person: backup key, keyring, and an enrolment whose outcome is not known.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;
use strongroom::client::{CodeHeld, Failure, Keyring, PendingEnrolment, Trouble};
use strongroom::error::Refusal;
use strongroom::protocol::{REQUEST_LEN, Request};
use strongroom::secret::Secret;
use zeroize::Zeroizing;

use super::Vault;
use crate::bundle::{hex, unhex};
use crate::file::{hold, read_if_there, write_private, write_secret, write_whole};
use crate::measure::Outcome;

/// Where a device keeps its own, and what lies beside the backup.
#[derive(Args)]
pub(crate) struct Files {
    /// The backup key, on this device alone
    #[arg(long, default_value = "backup.key")]
    pub(super) key: PathBuf,
    /// The ways in to the backup; kept beside it, wherever that is
    #[arg(long, default_value = "backup.keyring")]
    pub(super) keyring: PathBuf,
}

impl Files {
    /// Held to the end of a command that changes them, or two at once would lose what one of them wrote.
    pub(super) fn hold(&self) -> Outcome<[File; 2]> {
        Ok([hold(&self.key)?, hold(&self.keyring)?])
    }

    pub(super) fn read_key(&self) -> Outcome<Option<Secret<[u8; 32]>>> {
        read_key(&self.key)
    }

    pub(super) fn write_key(&self, key: &Secret<[u8; 32]>) -> Outcome<()> {
        let mut text = Zeroizing::new(String::with_capacity(65));
        // No piece of it is left behind: the text never grows.
        for &byte in key.expose() {
            text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
        }
        text.push('\n');
        write_secret(&self.key, text.as_bytes())
    }

    pub(super) fn read_keyring(&self) -> Outcome<Option<Keyring>> {
        let read = read_if_there(&self.keyring)?.map(|bytes| Keyring::read(&bytes)).transpose();
        Ok(read.map_err(|problem| format!("{}: {problem}", self.keyring.display()))?)
    }

    /// The keyring of a backup key, which may be there.
    pub(super) fn keyring_of(&self, key: &Secret<[u8; 32]>) -> Outcome<Keyring> {
        match self.read_keyring()? {
            Some(keyring) => {
                keyring.check(key).map_err(|problem| format!("{}: {problem}", self.keyring.display()))?;
                Ok(keyring)
            }
            None => Ok(Keyring::new(key)?),
        }
    }

    pub(super) fn write_keyring(&self, keyring: &Keyring) -> Outcome<()> {
        write_whole(&self.keyring, &keyring.write()?)
    }

    /// Where an enrolment is kept whose outcome is not known.
    pub(super) fn unsettled(&self) -> PathBuf {
        let mut path = self.keyring.clone().into_os_string();
        path.push(".unsettled");
        path.into()
    }

    /// Keeps an enrolment before it is sent. Before its bytes stands a keyring of its own, which says of what fleet, account
    /// and backup key it is, under that key's seal: bytes that are sent to whomever else would mean something else.
    pub(super) fn begin(&self, vault: &Vault, key: &Secret<[u8; 32]>, pending: &PendingEnrolment) -> Outcome<()> {
        let mut label = Keyring::new(key)?;
        // Which generation it makes is not known yet.
        label.set_code(key, CodeHeld { fleet: vault.fleet, account: vault.account, generation: 0 })?;
        write_private(&self.unsettled(), &[&label.write()?[..], pending.request()].concat())
    }

    /// Finishes an enrolment that was begun, now or before this device was last switched off: the same bytes again, to the
    /// fleet and for the account and backup key that they were made for. If they do not fit, nothing is sent, and they are kept.
    pub(super) fn settle(&self, vault: &Vault) -> Outcome<()> {
        let path = self.unsettled();
        let Some(bytes) = read_if_there(&path)? else { return Ok(()) };
        let unfit =
            |why: &str| format!("{} is an enrolment that is not settled, {why}; nothing was sent", path.display());
        let (label, held, pending) = read_unsettled(&bytes).ok_or_else(|| {
            unfit(
                "but does not say of which fleet and backup key, as an older version kept it, or it is damaged: move it away, \
                 see by \"recover\" which code counts, and enrol again",
            )
        })?;
        if held.account != vault.account {
            return Err(unfit("of another account: settle that first, with its --person and --service").into());
        }
        if held.fleet != vault.fleet {
            let fleet = hex(&held.fleet);
            return Err(
                unfit(&format!("at another fleet ({}...): settle that first, with its --server", &fleet[..8])).into()
            );
        }
        // One whose key is not here is sent all the same: that key may be nowhere but in it.
        let key = self.read_key()?;
        if key.as_ref().is_some_and(|key| label.check(key).is_err()) {
            return Err(unfit(&format!("of another backup key than {}, or it was altered", self.key.display())).into());
        }
        match vault.wait(vault.http.settle(&pending)) {
            Ok(generation) => {
                let missing = || {
                    format!(
                        "the new code counts, but there is no backup key in {}: recover it first",
                        self.key.display()
                    )
                };
                let key = key.ok_or_else(missing)?;
                let mut keyring = self.keyring_of(&key)?;
                keyring.set_code(&key, CodeHeld { generation, ..held })?;
                self.write_keyring(&keyring)?;
            }
            // Where somebody else answers, or another vault, what these bytes did is not told; they go on to mean what they say.
            Err(Trouble::Failure(Failure::Refused(refusal)))
                if !matches!(refusal, Refusal::Forbidden | Refusal::Moved) =>
            {
                // These bytes change nothing any more; whether they have, when an answer was lost, the vault does not say.
                fs::remove_file(&path)?;
                return Err(format!(
                    "the new code was not enrolled now ({refusal}); if an earlier try was cut off, it may count already: \
                     recover with it to see, or enrol again"
                )
                .into());
            }
            Err(trouble) => {
                eprintln!("the new code may count already, or not yet; the next command asks again");
                return Err(trouble.into());
            }
        }
        Ok(fs::remove_file(&path)?)
    }
}

/// What [`Files::begin`] wrote: the keyring that says what it belongs to, what that says, and the enrolment.
fn read_unsettled(bytes: &[u8]) -> Option<(Keyring, CodeHeld, PendingEnrolment)> {
    let (label, request) = bytes.split_at_checked(bytes.len().checked_sub(REQUEST_LEN)?)?;
    let label = Keyring::read(label).ok()?;
    let held = *label.code()?;
    let (account, _) = Request::decode(request).ok()?;
    let pending = PendingEnrolment::resume(request).ok()?;
    (account == held.account).then_some((label, held, pending))
}

/// The backup key in a file: 64 hexadecimal digits.
pub(crate) fn read_key(path: &Path) -> Outcome<Option<Secret<[u8; 32]>>> {
    let Some(bytes) = read_if_there(path)?.map(Zeroizing::new) else { return Ok(None) };
    match std::str::from_utf8(&bytes).ok().and_then(|text| unhex(text.trim())) {
        Some(key) => Ok(Some(Secret::new(key))),
        None => Err(format!("{} is no backup key", path.display()).into()),
    }
}
