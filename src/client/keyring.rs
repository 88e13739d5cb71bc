//! [`Keyring`]: every way in to a backup, in one file that lies beside it.

use subtle::ConstantTimeEq;
use thiserror::Error;

use super::Failure;
use super::passkey::Passkey;
use super::recovery_key::RecoveryKey;
use super::wrapped::{self, WRAPPED_LEN};
use crate::account::AccountId;
use crate::engine::sha512::{self, HmacKey};
use crate::secret::{Secret, fill_random};
use crate::wire::{Invalid, Reader, Writer};

const VERSION: u8 = 1;
const CODE: u8 = 1;
const RECOVERY_KEY: u8 = 2;
const PASSKEY: u8 = 3;
const RECOVERY_KEY_LABEL: &[u8] = b"strongroom keyring recovery key v1";
const PASSKEY_LABEL: &[u8] = b"strongroom keyring passkey v1";
const SEAL_LABEL: &[u8] = b"strongroom keyring seal v1";
const SALT_LABEL: &[u8] = b"strongroom keyring passkey salt v1";

/// Passkeys of one keyring.
const PASSKEYS_MAX: usize = 64;
/// Bytes of a passkey's label.
const LABEL_MAX: usize = 64;
/// Bytes of a credential id, WebAuthn level 3 section 5.8.3.
const CREDENTIAL_ID_MAX: usize = 1023;

/// The ways in to one backup key: a code that a vault keeps, a recovery key, passkeys. The app keeps it beside the backup
/// and replaces it whole (write, sync, rename).
///
/// What is in it is not secret. Each way in that is not the vault's holds the backup key, wrapped under what the person
/// has; and a seal under the backup key covers the whole, so whoever gets in learns whether the list is the one that was
/// written. Nobody can add a way in without having the backup key.
///
/// A keyring that is written has a code or a recovery key: a passkey goes with its device or account, so it is never the
/// only way in.
///
/// ```
/// use strongroom::client::{Keyring, RecoveryKey};
/// use strongroom::secret::Secret;
/// let backup_key = Secret::<[u8; 32]>::random()?;
/// let paper = RecoveryKey::generate()?;
/// let mut keyring = Keyring::new(&backup_key)?;
/// keyring.set_recovery_key(&backup_key, &paper)?;
/// let file = keyring.write()?;
///
/// let unlocked = Keyring::read(&file)?.unlock(&paper)?;
/// assert_eq!(unlocked.expose(), backup_key.expose());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// Random; what is wrapped for one keyring opens in no other.
    id: [u8; 16],
    code: Option<CodeHeld>,
    recovery_key: Option<Wrapped>,
    passkeys: Vec<PasskeyHeld>,
    seal: [u8; 32],
}

type Wrapped = [u8; WRAPPED_LEN];

/// That a vault keeps the backup key under a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeHeld {
    /// The vault's fleet. Where another one serves, nothing is enrolled again without the person.
    pub fleet: [u8; 32],
    /// The account there.
    pub account: AccountId,
    /// The record's generation, from [`PendingEnrolment::done`](super::PendingEnrolment::done).
    pub generation: u32,
}

/// A passkey that opens the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyHeld {
    /// What the person calls it.
    pub label: String,
    /// The credential's id: for `allowCredentials`.
    pub credential_id: Vec<u8>,
    wrapped: Wrapped,
}

/// Why a keyring does not do what was asked. It has not changed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyringProblem {
    /// The bytes are no keyring, or one of another version.
    #[error("this is no keyring that this version can read")]
    Malformed,
    /// There is no such way in.
    #[error("this keyring has no {0}")]
    NoSuchWay(&'static str),
    /// What was given does not open it.
    #[error("this {0} does not open this keyring")]
    DoesNotOpen(&'static str),
    /// It opened, but the list of ways in is not what somebody with the backup key has written.
    #[error("the keyring has been altered")]
    Altered,
    /// The backup key belongs to another keyring.
    #[error("this backup key is not the one of this keyring")]
    OtherKey,
    /// Without it, nothing or passkeys alone would be left.
    #[error("without it, a code or a recovery key must be left; a passkey is never the only way in")]
    LastWay,
    /// The authenticator has no PRF, so nothing can be wrapped under the passkey.
    #[error("the authenticator of this passkey has no PRF, so it cannot open a backup; take another passkey")]
    NoPrf,
    /// The passkey has a PRF that was not asked at its making: it is added with what it gives when it is used.
    #[error("the passkey was not asked for its PRF yet; use it once, and add it with what it gives")]
    PrfNotAsked,
    /// The passkey is there already.
    #[error("this passkey is in the keyring already")]
    PasskeyTwice,
    /// Too much of something.
    #[error("too long, or too many: {0}")]
    Limit(&'static str),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// What opens a keyring by itself.
pub trait Unlocks: unlocks::Sealed {}

impl Unlocks for RecoveryKey {}
impl Unlocks for Passkey {}

mod unlocks {
    use super::{Keyring, KeyringProblem};
    use crate::secret::Secret;

    /// In a module of its own, so that there are two ways and no more.
    pub trait Sealed {
        fn backup_key(&self, keyring: &Keyring) -> Result<Secret<[u8; 32]>, KeyringProblem>;
    }
}

impl unlocks::Sealed for RecoveryKey {
    fn backup_key(&self, keyring: &Keyring) -> Result<Secret<[u8; 32]>, KeyringProblem> {
        let wrapped = keyring.recovery_key.as_ref().ok_or(KeyringProblem::NoSuchWay("recovery key"))?;
        let opened = wrapped::open_under(&self.wrapping_key(), RECOVERY_KEY_LABEL, &keyring.id, wrapped);
        opened.map_err(|_| KeyringProblem::DoesNotOpen("recovery key"))
    }
}

impl unlocks::Sealed for Passkey {
    fn backup_key(&self, keyring: &Keyring) -> Result<Secret<[u8; 32]>, KeyringProblem> {
        let held = keyring.passkeys.iter().find(|held| held.credential_id == self.credential_id);
        let held = held.ok_or(KeyringProblem::NoSuchWay("such passkey"))?;
        let associated = keyring.of_credential(&self.credential_id);
        let opened = wrapped::open_under(&self.wrapping_key()?, PASSKEY_LABEL, &associated, &held.wrapped);
        opened.map_err(|_| KeyringProblem::DoesNotOpen("passkey"))
    }
}

impl Keyring {
    /// An empty one for a backup key. It can be written when it has a code or a recovery key.
    ///
    /// # Errors
    /// [`KeyringProblem::Randomness`].
    pub fn new(backup_key: &Secret<[u8; 32]>) -> Result<Self, KeyringProblem> {
        let mut id = [0; 16];
        fill_random(&mut id).map_err(|_| KeyringProblem::Randomness)?;
        let mut keyring = Keyring { id, code: None, recovery_key: None, passkeys: Vec::new(), seal: [0; 32] };
        keyring.seal = keyring.sealed_by(backup_key);
        Ok(keyring)
    }

    // ---- ways in

    /// The code that a vault keeps it under.
    pub fn code(&self) -> Option<&CodeHeld> {
        self.code.as_ref()
    }

    /// Whether there is a recovery key.
    pub fn has_recovery_key(&self) -> bool {
        self.recovery_key.is_some()
    }

    /// Its passkeys, in the order in which they were added.
    pub fn passkeys(&self) -> &[PasskeyHeld] {
        &self.passkeys
    }

    /// What passkeys are asked for: the input `first` of WebAuthn's PRF extension, at making and at use, the same for all
    /// of this keyring. Not secret.
    pub fn prf_input(&self) -> [u8; 32] {
        let digest = sha512::digest(&[SALT_LABEL, &self.id]);
        std::array::from_fn(|at| digest[at])
    }

    /// The backup key, by a recovery key or a passkey.
    ///
    /// # Errors
    /// [`KeyringProblem::NoSuchWay`], [`KeyringProblem::DoesNotOpen`], [`KeyringProblem::Altered`], after which
    /// [`unlock_even_altered`](Keyring::unlock_even_altered) has the key.
    pub fn unlock(&self, with: &impl Unlocks) -> Result<Secret<[u8; 32]>, KeyringProblem> {
        match self.unlock_even_altered(with)? {
            (backup_key, false) => Ok(backup_key),
            (_, true) => Err(KeyringProblem::Altered),
        }
    }

    /// The backup key, by a recovery key or a passkey, and whether the keyring was altered: so that who alters it cannot
    /// keep the person out.
    ///
    /// The key is the right one either way: its wrap opened under what the person has, in this keyring. Of an altered
    /// keyring nothing else holds: not which fleet or account a code is of, not the labels, not that the list is whole.
    /// It takes no changes any more. Tell the person, and make a new one ([`Keyring::new`]) with the ways in that they
    /// know of.
    ///
    /// # Errors
    /// [`KeyringProblem::NoSuchWay`], [`KeyringProblem::DoesNotOpen`].
    pub fn unlock_even_altered(&self, with: &impl Unlocks) -> Result<(Secret<[u8; 32]>, bool), KeyringProblem> {
        let backup_key = with.backup_key(self)?;
        let altered = !self.is_of(&backup_key);
        Ok((backup_key, altered))
    }

    /// Checks that this keyring is what somebody with this backup key has written: to be asked when the key came back from
    /// a vault.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`].
    pub fn check(&self, backup_key: &Secret<[u8; 32]>) -> Result<(), KeyringProblem> {
        if self.is_of(backup_key) { Ok(()) } else { Err(KeyringProblem::OtherKey) }
    }

    // ---- changes, each by who has the backup key

    /// Notes that a vault keeps the backup key under a code.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`].
    pub fn set_code(&mut self, backup_key: &Secret<[u8; 32]>, held: CodeHeld) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            keyring.code = Some(held);
            Ok(())
        })
    }

    /// Notes that no vault keeps it any more.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`], [`KeyringProblem::NoSuchWay`], [`KeyringProblem::LastWay`].
    pub fn remove_code(&mut self, backup_key: &Secret<[u8; 32]>) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            keyring.code.take().ok_or(KeyringProblem::NoSuchWay("code"))?;
            keyring.way_left()
        })
    }

    /// Wraps the backup key under a recovery key, in the place of the one before.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`], [`KeyringProblem::Randomness`].
    pub fn set_recovery_key(&mut self, backup_key: &Secret<[u8; 32]>, key: &RecoveryKey) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            keyring.recovery_key = Some(wrap(&key.wrapping_key(), RECOVERY_KEY_LABEL, &keyring.id, backup_key)?);
            Ok(())
        })
    }

    /// Takes the recovery key out.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`], [`KeyringProblem::NoSuchWay`], [`KeyringProblem::LastWay`].
    pub fn remove_recovery_key(&mut self, backup_key: &Secret<[u8; 32]>) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            keyring.recovery_key.take().ok_or(KeyringProblem::NoSuchWay("recovery key"))?;
            keyring.way_left()
        })
    }

    /// Wraps the backup key under a passkey.
    ///
    /// # Errors
    /// [`KeyringProblem::NoPrf`] and [`KeyringProblem::PrfNotAsked`] if nothing can be wrapped under it,
    /// [`KeyringProblem::LastWay`] if it would be the only way in, [`KeyringProblem::PasskeyTwice`],
    /// [`KeyringProblem::Limit`], [`KeyringProblem::OtherKey`], [`KeyringProblem::Randomness`].
    pub fn add_passkey(
        &mut self,
        backup_key: &Secret<[u8; 32]>,
        label: &str,
        passkey: &Passkey,
    ) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            let id = &passkey.credential_id;
            let wrapping_key = passkey.wrapping_key()?;
            match () {
                () if label.len() > LABEL_MAX => return Err(KeyringProblem::Limit("the passkey's label")),
                () if !(1..=CREDENTIAL_ID_MAX).contains(&id.len()) => {
                    return Err(KeyringProblem::Limit("the credential id"));
                }
                () if keyring.passkeys.len() == PASSKEYS_MAX => return Err(KeyringProblem::Limit("passkeys")),
                () if keyring.passkeys.iter().any(|held| held.credential_id == *id) => {
                    return Err(KeyringProblem::PasskeyTwice);
                }
                () => keyring.way_left()?,
            }
            let wrapped = wrap(&wrapping_key, PASSKEY_LABEL, &keyring.of_credential(id), backup_key)?;
            keyring.passkeys.push(PasskeyHeld { label: label.to_owned(), credential_id: id.clone(), wrapped });
            Ok(())
        })
    }

    /// Takes a passkey out. Who has it, and an older copy of this keyring, still gets in; against them there is only a new
    /// backup key.
    ///
    /// # Errors
    /// [`KeyringProblem::OtherKey`], [`KeyringProblem::NoSuchWay`].
    pub fn revoke_passkey(
        &mut self,
        backup_key: &Secret<[u8; 32]>,
        credential_id: &[u8],
    ) -> Result<(), KeyringProblem> {
        self.change(backup_key, |keyring| {
            let before = keyring.passkeys.len();
            keyring.passkeys.retain(|held| held.credential_id != credential_id);
            if keyring.passkeys.len() == before { Err(KeyringProblem::NoSuchWay("such passkey")) } else { Ok(()) }
        })
    }

    /// Changes a copy and puts it in place when all went well, under a new seal.
    fn change(
        &mut self,
        backup_key: &Secret<[u8; 32]>,
        change: impl FnOnce(&mut Self) -> Result<(), KeyringProblem>,
    ) -> Result<(), KeyringProblem> {
        self.check(backup_key)?;
        let mut changed = self.clone();
        change(&mut changed)?;
        changed.seal = changed.sealed_by(backup_key);
        *self = changed;
        Ok(())
    }

    fn way_left(&self) -> Result<(), KeyringProblem> {
        if self.code.is_some() || self.recovery_key.is_some() { Ok(()) } else { Err(KeyringProblem::LastWay) }
    }

    // ---- the file

    /// The file's bytes.
    ///
    /// # Errors
    /// [`KeyringProblem::LastWay`] if it has neither a code nor a recovery key.
    pub fn write(&self) -> Result<Vec<u8>, KeyringProblem> {
        self.way_left()?;
        Ok([&self.body()[..], &self.seal].concat())
    }

    /// Reads a file. Whether it was altered shows when it is unlocked.
    ///
    /// # Errors
    /// [`KeyringProblem::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, KeyringProblem> {
        let read = |reader: &mut Reader<'_>| -> Result<Keyring, Invalid> {
            if reader.u8()? != VERSION {
                return Err(Invalid);
            }
            let mut keyring =
                Keyring { id: *reader.array()?, code: None, recovery_key: None, passkeys: Vec::new(), seal: [0; 32] };
            let ways = reader.u8()?;
            let mut before = 0;
            for _ in 0..ways {
                let kind = reader.u8()?;
                // One form for one keyring: in order, and of the first two kinds at most one.
                if kind < before || (kind == before && kind != PASSKEY) {
                    return Err(Invalid);
                }
                before = kind;
                match kind {
                    CODE => {
                        let (fleet, account) = (*reader.array()?, AccountId(*reader.array()?));
                        keyring.code = Some(CodeHeld { fleet, account, generation: reader.u32()? });
                    }
                    RECOVERY_KEY => keyring.recovery_key = Some(*reader.array()?),
                    PASSKEY => keyring.passkeys.push(PasskeyHeld::read(reader, &keyring.passkeys)?),
                    _ => return Err(Invalid),
                }
            }
            keyring.seal = *reader.array()?;
            keyring.way_left().map_err(|_| Invalid)?;
            Ok(keyring)
        };
        let mut reader = Reader::new(bytes);
        let keyring = read(&mut reader).map_err(|_| KeyringProblem::Malformed)?;
        reader.finish().map_err(|_| KeyringProblem::Malformed)?;
        Ok(keyring)
    }

    /// What the seal covers.
    fn body(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let ways = usize::from(self.code.is_some()) + usize::from(self.recovery_key.is_some()) + self.passkeys.len();
        writer.u8(VERSION).bytes(&self.id).u8(ways as u8);
        if let Some(CodeHeld { fleet, account, generation }) = &self.code {
            writer.u8(CODE).bytes(fleet).bytes(account.as_bytes()).u32(*generation);
        }
        if let Some(wrapped) = &self.recovery_key {
            writer.u8(RECOVERY_KEY).bytes(wrapped);
        }
        for held in &self.passkeys {
            writer.u8(PASSKEY).counted(held.label.as_bytes()).counted(&held.credential_id).bytes(&held.wrapped);
        }
        writer.finish()
    }

    fn sealed_by(&self, backup_key: &Secret<[u8; 32]>) -> [u8; 32] {
        let key = HmacKey::new(backup_key.expose());
        let key = Secret::new(key.expand_array::<64>(&[SEAL_LABEL, &self.id]));
        let mac = HmacKey::new(key.expose()).mac(&[&self.body()]);
        std::array::from_fn(|at| mac[at])
    }

    fn is_of(&self, backup_key: &Secret<[u8; 32]>) -> bool {
        self.sealed_by(backup_key).ct_eq(&self.seal).into()
    }

    /// What a passkey's wrap is bound to: this keyring and this credential.
    fn of_credential(&self, credential_id: &[u8]) -> Vec<u8> {
        [&self.id[..], credential_id].concat()
    }
}

impl PasskeyHeld {
    fn read(reader: &mut Reader<'_>, before: &[PasskeyHeld]) -> Result<Self, Invalid> {
        let label = std::str::from_utf8(reader.counted(LABEL_MAX)?).map_err(|_| Invalid)?.to_owned();
        let credential_id = reader.counted(CREDENTIAL_ID_MAX)?.to_vec();
        let twice = before.iter().any(|held| held.credential_id == credential_id);
        if credential_id.is_empty() || twice || before.len() == PASSKEYS_MAX {
            return Err(Invalid);
        }
        Ok(PasskeyHeld { label, credential_id, wrapped: *reader.array()? })
    }
}

fn wrap(
    key: &Secret<[u8; 64]>,
    label: &[u8],
    associated: &[u8],
    backup_key: &Secret<[u8; 32]>,
) -> Result<Wrapped, KeyringProblem> {
    let mut nonce = [0; 12];
    fill_random(&mut nonce).map_err(|_| KeyringProblem::Randomness)?;
    let wrapped = wrapped::seal_under(key, label, associated, backup_key, &nonce);
    // Neither is known to fail: both lengths are constants.
    let wrapped = wrapped.map_err(|_: Failure| KeyringProblem::Malformed)?;
    wrapped.try_into().map_err(|_| KeyringProblem::Malformed)
}
