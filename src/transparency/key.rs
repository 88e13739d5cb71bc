//! Ed25519 keys with names, written as C2SP signed-note has them; a type of its own for each algorithm byte.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use signed_note::{is_key_name_valid, key_id};
use zeroize::Zeroizing;

use crate::error::Fault;
use crate::secret::Secret;

/// Ed25519 over a note's text.
const NOTE: u8 = 1;
/// Ed25519 over a checkpoint and the time at which it was seen (C2SP tlog-cosignature).
const COSIGNATURE: u8 = 4;
/// What a private key's text begins with, as Go's `sumdb/note` writes it.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Checks signatures of notes.
pub type VerifyingKey = PublicKey<NOTE>;
/// Signs notes.
pub type SigningKey = PrivateKey<NOTE>;
/// Checks cosignatures of a witness.
pub type WitnessKey = PublicKey<COSIGNATURE>;
/// Cosigns checkpoints.
pub type WitnessSigningKey = PrivateKey<COSIGNATURE>;

/// A named key that checks signatures, written `<name>+<id>+<key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey<const ALGORITHM: u8> {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

impl<const ALGORITHM: u8> PublicKey<ALGORITHM> {
    /// The key's name: of whom it is, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key of these bytes, under this name; `None` if they are no key, or the name none.
    pub(super) fn named(name: &str, bytes: &[u8; 32]) -> Option<Self> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak())?;
        is_key_name_valid(name).then(|| PublicKey { name: name.to_owned(), key })
    }

    pub(super) fn id(&self) -> u32 {
        key_id(&self.name, &self.tagged())
    }

    /// Whether a signature is this key's, strictly: no key of small order, one encoding of each signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    fn tagged(&self) -> Vec<u8> {
        [&[ALGORITHM][..], self.as_bytes()].concat()
    }
}

impl<const ALGORITHM: u8> fmt::Display for PublicKey<ALGORITHM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id(), STANDARD.encode(self.tagged()))
    }
}

impl<const ALGORITHM: u8> fmt::Debug for PublicKey<ALGORITHM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<const ALGORITHM: u8> FromStr for PublicKey<ALGORITHM> {
    type Err = Fault;

    /// Reads what is displayed.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::Key("this is not a key of the form <name>+<id>+<key>".to_owned());
        let (name, rest) = text.split_once('+').ok_or_else(wrong)?;
        let (_, key) = rest.split_once('+').ok_or_else(wrong)?;
        let bytes = STANDARD.decode(key).map_err(|_| wrong())?;
        let (algorithm, bytes) = bytes.split_first().ok_or_else(wrong)?;
        if *algorithm != ALGORITHM {
            return Err(other_algorithm(*algorithm));
        }
        let bytes = bytes.try_into().map_err(|_| wrong())?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| wrong())?;
        let key = PublicKey { name: name.to_owned(), key };
        // The id too: whoever copies a key wrong is told.
        if !is_key_name_valid(name) || key.key.is_weak() || key.to_string() != text {
            return Err(wrong());
        }
        Ok(key)
    }
}

/// A named key that signs. Wiped on drop.
pub struct PrivateKey<const ALGORITHM: u8> {
    name: String,
    key: Box<ed25519_dalek::SigningKey>,
}

impl<const ALGORITHM: u8> PrivateKey<ALGORITHM> {
    /// The key of a seed of 32 random bytes, under a name without spaces and pluses.
    ///
    /// ```
    /// use strongroom::secret::Secret;
    /// use strongroom::transparency::{SigningKey, VerifyingKey};
    /// let key = SigningKey::new("auditor.example", &Secret::random()?)?;
    /// let read: VerifyingKey = key.verifying_key().to_string().parse()?;
    /// assert_eq!(read, key.verifying_key());
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Key`] on another name.
    pub fn new(name: &str, seed: &Secret<[u8; 32]>) -> Result<Self, Fault> {
        if !is_key_name_valid(name) {
            return Err(Fault::Key("a key's name has no spaces and no pluses, and is not empty".to_owned()));
        }
        Ok(PrivateKey { name: name.to_owned(), key: Box::new(ed25519_dalek::SigningKey::from_bytes(seed.expose())) })
    }

    /// Reads the text of [`PrivateKey::write`].
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not one, or one of another purpose.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::Key("this is not a private key of the form PRIVATE+KEY+<name>+<id>+<key>".to_owned());
        let mut parts = text.strip_prefix(PRIVATE).ok_or_else(wrong)?.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong()) };
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| wrong())?);
        let (algorithm, seed) = bytes.split_first().ok_or_else(wrong)?;
        if *algorithm != ALGORITHM {
            return Err(other_algorithm(*algorithm));
        }
        let mut own = Secret::new([0; 32]);
        if seed.len() != own.expose().len() {
            return Err(wrong());
        }
        own.expose_mut().copy_from_slice(seed);
        let key = PrivateKey::new(name, &own)?;
        if key.write().expose() == text.as_bytes() { Ok(key) } else { Err(wrong()) }
    }

    /// The key as text, as Go's `sumdb/note` writes it.
    pub fn write(&self) -> Secret<Vec<u8>> {
        let tagged = Zeroizing::new([&[ALGORITHM][..], self.key.as_bytes()].concat());
        let key = Zeroizing::new(STANDARD.encode(&*tagged));
        let id = self.verifying_key().id();
        Secret::new(
            [PRIVATE.as_bytes(), self.name.as_bytes(), format!("+{id:08x}+").as_bytes(), key.as_bytes()].concat(),
        )
    }

    /// What checks its signatures.
    pub fn verifying_key(&self) -> PublicKey<ALGORITHM> {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

fn other_algorithm(byte: u8) -> Fault {
    let what = match byte {
        NOTE => "one that signs notes",
        COSIGNATURE => "a witness's, which cosigns checkpoints",
        _ => "of a kind that is not known here",
    };
    Fault::Key(format!("this key is {what}; every purpose has a key of its own"))
}
