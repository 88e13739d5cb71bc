//! Ed25519 keys with names, written as C2SP signed-note has them.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use signed_note::{is_key_name_valid, key_id};

use crate::error::Fault;
use crate::secret::Secret;

/// The byte before an Ed25519 key, of which C2SP signed-note makes the key's id.
const ED25519: u8 = 1;

/// A named key that checks signatures, written `<name>+<id>+<key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifyingKey {
    /// The key's name: of whom it is, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    pub(super) fn id(&self) -> u32 {
        key_id(&self.name, &[&[ED25519][..], self.as_bytes()].concat())
    }

    /// Whether a signature is this key's, strictly: no key of small order, one encoding of each signature.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519][..], self.as_bytes()].concat());
        write!(f, "{}+{:08x}+{key}", self.name, self.id())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for VerifyingKey {
    type Err = Fault;

    /// Reads what is displayed.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::Key("this is not a key of the form <name>+<id>+<key>".to_owned());
        let (name, rest) = text.split_once('+').ok_or_else(wrong)?;
        let (_, key) = rest.split_once('+').ok_or_else(wrong)?;
        let bytes = STANDARD.decode(key).map_err(|_| wrong())?;
        let (&ED25519, bytes) = bytes.split_first().ok_or_else(wrong)? else { return Err(wrong()) };
        let bytes = bytes.try_into().map_err(|_| wrong())?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| wrong())?;
        let key = VerifyingKey { name: name.to_owned(), key };
        // The id too: whoever copies a key wrong is told.
        if !is_key_name_valid(name) || key.key.is_weak() || key.to_string() != text {
            return Err(wrong());
        }
        Ok(key)
    }
}

/// A named key that signs. Wiped on drop.
pub struct SigningKey {
    name: String,
    key: Box<ed25519_dalek::SigningKey>,
}

impl SigningKey {
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
        Ok(SigningKey { name: name.to_owned(), key: Box::new(ed25519_dalek::SigningKey::from_bytes(seed.expose())) })
    }

    /// What checks its signatures.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    pub(super) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }
}
