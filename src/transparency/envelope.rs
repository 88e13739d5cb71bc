//! [`Envelope`]: a document and its signatures, as DSSE has them; for evidence and transcripts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::{SigningKey, VerifyingKey};
use crate::error::Fault;

/// Longest envelope, in bytes.
const ENVELOPE_MAX: usize = 1024 * 1024;

/// A document under the signatures of DSSE v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    /// Key ids, which are hints, and signatures.
    signatures: Vec<(String, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Text {
    payload: String,
    payload_type: String,
    signatures: Vec<SignatureText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    #[serde(default)]
    keyid: String,
    sig: String,
}

impl Envelope {
    pub(super) fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Envelope { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Reads an envelope. That says nothing of who signed it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it has not the form of one.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::Damaged(format!("this is not an envelope of DSSE: {why}"));
        if bytes.len() > ENVELOPE_MAX {
            return Err(wrong("it is too long".to_owned()));
        }
        let text: Text = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let decoded = |text: &str| STANDARD.decode(text).map_err(|error| wrong(error.to_string()));
        let signature = |it: &SignatureText| Ok((it.keyid.clone(), decoded(&it.sig)?));
        Ok(Envelope {
            payload: decoded(&text.payload)?,
            payload_type: text.payload_type,
            signatures: text.signatures.iter().map(signature).collect::<Result<_, Fault>>()?,
        })
    }

    /// The envelope's bytes.
    pub fn write(&self) -> Vec<u8> {
        let signature =
            |(keyid, sig): &(String, Vec<u8>)| SignatureText { keyid: keyid.clone(), sig: STANDARD.encode(sig) };
        let text = Text {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self.signatures.iter().map(signature).collect(),
        };
        // Strings always have a JSON.
        let mut bytes = serde_json::to_vec_pretty(&text).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// SHA-256 of an envelope's bytes: what a bundle names it by.
    pub fn hash(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// The key ids of its signatures, which prove nothing.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(keyid, _)| &**keyid)
    }

    /// What kind of document it is.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The document, whoever has signed it or not.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Adds a signature, in place of one by the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let keyid = key_id(&key.verifying_key());
        let signature = key.sign(&self.encoding()).to_vec();
        self.signatures.retain(|(other, _)| *other != keyid);
        self.signatures.push((keyid, signature));
    }

    /// Whether this key has signed: `None` if no signature is its own, and `Some(false)` if one that says so is not.
    pub(super) fn signed_by(&self, key: &VerifyingKey) -> Option<bool> {
        let (keyid, message) = (key_id(key), self.encoding());
        // The id is a hint: a signature without it counts, and one with it that is not good does harm.
        let good = |signature: &[u8]| key.verifies(&message, signature);
        if self.signatures.iter().any(|(other, signature)| *other == keyid && !good(signature)) {
            return Some(false);
        }
        self.signatures.iter().any(|(_, signature)| good(signature)).then_some(true)
    }

    /// DSSE's pre-authentication encoding.
    fn encoding(&self) -> Vec<u8> {
        let head = format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, self.payload.len());
        [head.as_bytes(), &self.payload].concat()
    }
}

/// A key's name and the number that C2SP signed-note makes of it.
fn key_id(key: &VerifyingKey) -> String {
    format!("{}+{:08x}", key.name(), key.id())
}
