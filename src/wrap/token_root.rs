//! [`TokenRoot`]: root keys in a PKCS#11 token. They are born there, and only MACs under them come out.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;
use zeroize::Zeroize;

use super::root::{EpochKey, RootSource, missing, present};
use crate::engine::sha512::DIGEST_LEN;
use crate::error::Fault;
use crate::secret::Secret;

/// Bytes of a root key.
const ROOT_LEN: u64 = 64;

/// Which token holds the root keys, and how it is reached.
pub struct TokenConfig {
    /// The vendor's PKCS#11 library, a shared object of this machine.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The token's serial number, where it is known: another token of the same label is refused. Where it is not, the
    /// first token that was found is the only one that is accepted until the source is dropped.
    pub serial: Option<String>,
    /// The user's PIN. It is kept, so that the vault can go on by itself when a token comes back.
    pub pin: Secret<Vec<u8>>,
    /// What the labels of this vault's keys begin with: vaults that share a token have a prefix each.
    pub prefix: String,
    /// Whether the library may be finalized and initialized again when its token is not there. Some see a token that
    /// comes back only then; it ends every session that this process has with the library.
    pub restart: bool,
}

/// Root keys in a token: one secret key object of 64 bytes an epoch, made in the token, sensitive and not extractable,
/// labelled `<prefix> epoch <number>` and destroyed with the epoch. Deriving an epoch's key is one CKM_SHA512_HMAC in the
/// token.
///
/// A session that is lost is opened again by the next call. A PIN that was refused is not tried again, since tokens lock
/// after a few: open the vault anew with the right one.
pub struct TokenRoot {
    config: TokenConfig,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    library: Option<Pkcs11>,
    session: Option<Session>,
    /// Serial number of the token that was found first.
    serial: Option<String>,
    /// What a token said of the PIN.
    refused: Option<Fault>,
}

impl TokenRoot {
    /// Loads the library, finds the token, logs in, and looks whether the token can do what is asked of it.
    ///
    /// # Errors
    /// [`Fault::TokenAbsent`], [`Fault::TokenReplaced`], [`Fault::TokenPin`], [`Fault::TokenUnfit`],
    /// [`Fault::TokenSession`].
    pub fn open(config: TokenConfig) -> Result<Self, Fault> {
        let source = TokenRoot { config, link: Mutex::default() };
        source.with_session(|_| Ok(()))?;
        Ok(source)
    }

    /// Does `work` in a session, and once more in a new one if the session turns out to be lost.
    fn with_session<R>(&self, work: impl Fn(&Session) -> Result<R, Failure>) -> Result<R, Fault> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let had_one = link.session.is_some();
        let first = self.attempt(&mut link, &work);
        match first {
            Err(Fault::TokenSession(_) | Fault::TokenAbsent(_)) if had_one => self.attempt(&mut link, &work),
            done => done,
        }
    }

    fn attempt<R>(
        &self,
        link: &mut MutexGuard<'_, Link>,
        work: impl Fn(&Session) -> Result<R, Failure>,
    ) -> Result<R, Fault> {
        let session = match link.session.take() {
            Some(session) if is_logged_in(&session) => session,
            _ => self.connect(link)?,
        };
        match work(&session) {
            Ok(done) => {
                link.session = Some(session);
                Ok(done)
            }
            // The session is as good as before: the token answered.
            Err(Failure::Ours(fault)) => {
                link.session = Some(session);
                Err(fault)
            }
            Err(Failure::Token(error)) => {
                let fault = self.fault(&error);
                if !matches!(fault, Fault::TokenSession(_) | Fault::TokenAbsent(_)) {
                    link.session = Some(session);
                }
                Err(fault)
            }
        }
    }

    /// A session with the right token, logged in.
    fn connect(&self, link: &mut Link) -> Result<Session, Fault> {
        if let Some(refused) = &link.refused {
            return Err(refused.clone());
        }
        let told = |error: Error| self.fault(&error);
        let library = self.library(link)?;
        let (library, slot) = match self.find(&library, link)? {
            Some(slot) => (library, slot),
            None if self.config.restart => {
                link.library = None;
                library.finalize().map_err(told)?;
                let library = self.library(link)?;
                let slot = self.find(&library, link)?.ok_or_else(|| self.absent())?;
                (library, slot)
            }
            None => return Err(self.absent()),
        };
        for wanted in [MechanismType::SHA512_HMAC, MechanismType::GENERIC_SECRET_KEY_GEN] {
            if !library.get_mechanism_list(slot).map_err(told)?.contains(&wanted) {
                return Err(Fault::TokenUnfit(format!("token {:?} does not know {wanted}", self.config.token)));
            }
        }
        let session = library.open_rw_session(slot).map_err(told)?;
        let pin = RawAuthPin::new(Box::new(self.config.pin.expose().clone()));
        match session.login_with_raw(UserType::User, &pin) {
            // Another session of this process has logged in already; a login is the whole process's.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                let fault = self.fault(&error);
                if let Fault::TokenPin(_) = fault {
                    link.refused = Some(fault.clone());
                }
                Err(fault)
            }
        }
    }

    /// The library, loaded and initialized.
    fn library(&self, link: &mut Link) -> Result<Pkcs11, Fault> {
        let library = match &link.library {
            Some(library) => library.clone(),
            None => Pkcs11::new(&self.config.module).map_err(|error| self.fault(&error))?,
        };
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Somebody in this process has done it, perhaps we.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(self.fault(&error)),
        }
        link.library = Some(library.clone());
        Ok(library)
    }

    /// The slot of the token, if the token is there.
    fn find(&self, library: &Pkcs11, link: &mut Link) -> Result<Option<Slot>, Fault> {
        let told = |error: Error| self.fault(&error);
        let expected = self.config.serial.clone().or_else(|| link.serial.clone());
        let mut other = None;
        for slot in library.get_slots_with_token().map_err(told)? {
            // A token that is pulled out meanwhile is not the one that is looked for.
            let Ok(token) = library.get_token_info(slot) else { continue };
            if token.label() != self.config.token {
                continue;
            }
            let serial = token.serial_number();
            if expected.as_deref().is_none_or(|expected| expected == serial) {
                link.serial = Some(serial.to_owned());
                return Ok(Some(slot));
            }
            other = Some(serial.to_owned());
        }
        match (other, expected) {
            (Some(found), Some(expected)) => Err(Fault::TokenReplaced(format!(
                "the token {:?} has serial number {found}, the vault's has {expected}",
                self.config.token
            ))),
            _ => Ok(None),
        }
    }

    fn absent(&self) -> Fault {
        Fault::TokenAbsent(format!("no token is labelled {:?}", self.config.token))
    }

    /// What a PKCS#11 error means for the operator.
    fn fault(&self, error: &Error) -> Fault {
        let said = format!("token {:?}: {error}", self.config.token);
        let Error::Pkcs11(value, _) = error else {
            let module = self.config.module.display();
            return match error {
                Error::LibraryLoading(_) => Fault::TokenAbsent(format!("the module {module} does not load: {error}")),
                _ => Fault::TokenUnfit(format!("the module {module}: {error}")),
            };
        };
        match value {
            RvError::TokenNotPresent
            | RvError::DeviceRemoved
            | RvError::SlotIdInvalid
            | RvError::TokenNotRecognized => Fault::TokenAbsent(said),
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized => Fault::TokenPin(said),
            RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::SessionCount
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
            | RvError::OperationActive
            | RvError::OperationNotInitialized
            | RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::FunctionFailed
            | RvError::GeneralError
            | RvError::HostMemory => Fault::TokenSession(said),
            _ => Fault::TokenUnfit(said),
        }
    }

    fn label(&self, epoch: u32) -> Vec<u8> {
        format!("{} epoch {epoch}", self.config.prefix).into_bytes()
    }

    /// The epoch that an object's label names, if it is one of ours.
    fn epoch_of(&self, label: &[u8]) -> Option<u32> {
        let number = std::str::from_utf8(label).ok()?.strip_prefix(&self.config.prefix)?.strip_prefix(" epoch ")?;
        // Not "+1" or "01": only what `label` writes.
        number.parse().ok().filter(|epoch| self.label(*epoch) == label)
    }

    /// The root of an epoch, if there is one, after a look at whether it can be read out.
    fn object(&self, session: &Session, epoch: u32) -> Result<Option<ObjectHandle>, Failure> {
        let objects = session.find_objects(&self.template(epoch))?;
        let [object] = objects[..] else {
            return match objects.len() {
                0 => Ok(None),
                count => Err(Failure::Ours(Fault::TokenUnfit(format!(
                    "epoch {epoch} has {count} objects of one label; remove those that are not the vault's"
                )))),
            };
        };
        let held = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Local];
        let held = session.get_attributes(object, &held)?;
        if !held.contains(&Attribute::Sensitive(true)) || !held.contains(&Attribute::Extractable(false)) {
            return Err(Failure::Ours(Fault::TokenUnfit(format!(
                "the root key of epoch {epoch} can be read out of the token; it is not used"
            ))));
        }
        if !held.contains(&Attribute::Local(true)) {
            tracing::warn!(epoch, "a root key was brought into the token and not made there");
        }
        Ok(Some(object))
    }

    /// What an epoch's root is found by.
    fn template(&self, epoch: u32) -> [Attribute; 3] {
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Label(self.label(epoch)),
        ]
    }

    fn place(&self) -> String {
        format!("the token {:?}", self.config.token)
    }
}

/// Whether a session is the user's still: to a session that somebody has logged out, private objects are not there.
fn is_logged_in(session: &Session) -> bool {
    session.get_session_info().is_ok_and(|info| info.session_state() == SessionState::RwUser)
}

/// What went wrong in a session: the token said it, or we.
enum Failure {
    Token(Error),
    Ours(Fault),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Token(error)
    }
}

impl RootSource for TokenRoot {
    fn name(&self) -> &'static str {
        "PKCS#11 token"
    }

    fn development(&self) -> bool {
        false
    }

    fn epochs(&self) -> Result<Vec<u32>, Fault> {
        self.with_session(|session| {
            let ours = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::Token(true),
            ];
            let mut epochs = Vec::new();
            for object in session.find_objects(&ours)? {
                for attribute in session.get_attributes(object, &[AttributeType::Label])? {
                    if let Attribute::Label(label) = attribute {
                        epochs.extend(self.epoch_of(&label));
                    }
                }
            }
            epochs.sort_unstable();
            epochs.dedup();
            Ok(epochs)
        })
    }

    fn create(&self, epoch: u32) -> Result<(), Fault> {
        self.with_session(|session| {
            if !session.find_objects(&self.template(epoch))?.is_empty() {
                return Err(Failure::Ours(present(epoch, &self.place())));
            }
            let [class, key_type, label] = self.template(epoch);
            let template = [
                class,
                key_type,
                label,
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::Verify(false),
                Attribute::ValueLen(ROOT_LEN.into()),
            ];
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template)?;
            Ok(())
        })
    }

    fn destroy(&self, epoch: u32) -> Result<(), Fault> {
        self.with_session(|session| {
            for object in session.find_objects(&self.template(epoch))? {
                session.destroy_object(object)?;
            }
            Ok(())
        })
    }

    fn mac(&self, epoch: u32, message: &[u8]) -> Result<EpochKey, Fault> {
        self.with_session(|session| {
            let object = self.object(session, epoch)?.ok_or_else(|| Failure::Ours(missing(epoch, &self.place())))?;
            let mut mac = session.sign(&Mechanism::Sha512Hmac, object, message)?;
            let key = <&[u8; DIGEST_LEN]>::try_from(&mac[..]).map(|mac| EpochKey::new(*mac));
            mac.zeroize();
            key.map_err(|_| Failure::Ours(Fault::TokenUnfit("its HMAC-SHA-512 has another length".to_owned())))
        })
    }
}
