//! [`EpochSignature`]: a bundle as tools in the field see it: the auditor's signature of an epoch in the form of Cloudflare's
//! plexi, and the operator's signature over its bytes.

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, hex, unhex, unhex_bytes};
use super::key::{SigningKey, VerifyingKey};
use super::note::Note;
use crate::error::Fault;

/// Ed25519 over a message of Protocol Buffers; the only suite that is made here.
const SUITE: u32 = 1;

/// What an auditor says of an epoch: that this digest is the one, at this time.
///
/// The signed message is that of plexi's `SignatureMessage`: suite, namespace, time, epoch, digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSignature {
    /// The service.
    pub namespace: String,
    /// When it was signed, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The epoch.
    pub epoch: u64,
    /// Of a bundle, the SHA-256 of its text.
    pub digest: [u8; 32],
    /// The auditor's signature.
    pub signature: [u8; 64],
}

#[derive(Serialize, Deserialize)]
struct Text {
    ciphersuite: u32,
    namespace: String,
    timestamp: u64,
    epoch: u64,
    digest: String,
    signature: String,
}

impl EpochSignature {
    /// Signs a bundle for tools in the field, by a key that the auditor has for this alone.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn sign(note: &Note, timestamp_ms: u64, key: &SigningKey) -> Result<Self, Fault> {
        let Bundle { namespace, epoch, .. } = Bundle::read(note)?;
        let unsigned =
            EpochSignature { namespace, timestamp_ms, epoch: epoch.into(), digest: note.hash(), signature: [0; 64] };
        Ok(EpochSignature { signature: key.sign(&unsigned.message()), ..unsigned })
    }

    /// The operator's signature over the auditor's 64 bytes: only if those sign this very bundle.
    ///
    /// # Errors
    /// [`Fault::Key`] if they do not; as [`Bundle::read`].
    pub fn countersign(&self, note: &Note, auditor: &VerifyingKey, key: &SigningKey) -> Result<[u8; 64], Fault> {
        let bundle = Bundle::read(note)?;
        let same =
            self.namespace == bundle.namespace && self.epoch == u64::from(bundle.epoch) && self.digest == note.hash();
        match same && self.verify(auditor) {
            true => Ok(key.sign(&self.signature)),
            false => Err(Fault::Key("the auditor has not signed this epoch, or another bundle of it".to_owned())),
        }
    }

    /// Whether the auditor has signed it.
    pub fn verify(&self, auditor: &VerifyingKey) -> bool {
        auditor.verifies(&self.message(), &self.signature)
    }

    /// Whether the operator has signed the auditor's signature.
    pub fn is_countersigned(&self, countersignature: &[u8; 64], operator: &VerifyingKey) -> bool {
        operator.verifies(&self.signature, countersignature)
    }

    /// As JSON, with plexi's names.
    pub fn write(&self) -> Vec<u8> {
        let text = Text {
            ciphersuite: SUITE,
            namespace: self.namespace.clone(),
            timestamp: self.timestamp_ms,
            epoch: self.epoch,
            digest: hex(&self.digest),
            signature: hex(&self.signature),
        };
        // Strings and numbers always have a JSON.
        serde_json::to_vec_pretty(&text).unwrap_or_default()
    }

    /// Reads the JSON; fields that are not known are passed over, since tools add some.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not one, or of another suite.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::Damaged(format!("this is not the signature of an epoch: {why}"));
        let text: Text = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if text.ciphersuite != SUITE {
            return Err(wrong(format!("suite {} is not one that is read here", text.ciphersuite)));
        }
        let signature = unhex_bytes(&text.signature).and_then(|bytes| bytes.try_into().ok());
        Ok(EpochSignature {
            namespace: text.namespace,
            timestamp_ms: text.timestamp,
            epoch: text.epoch,
            digest: unhex(&text.digest).ok_or_else(|| wrong("the digest is not 32 bytes of hex".to_owned()))?,
            signature: signature.ok_or_else(|| wrong("the signature is not 64 bytes of hex".to_owned()))?,
        })
    }

    /// `SignatureMessage` of plexi, in Protocol Buffers: five required fields, the epoch in a message of its own.
    fn message(&self) -> Vec<u8> {
        let mut epoch = Vec::new();
        number(&mut epoch, 1, self.epoch);
        let mut message = Vec::new();
        number(&mut message, 1, SUITE.into());
        bytes(&mut message, 2, self.namespace.as_bytes());
        number(&mut message, 3, self.timestamp_ms);
        bytes(&mut message, 4, &epoch);
        bytes(&mut message, 5, &self.digest);
        message
    }
}

/// A field that is a number.
fn number(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3);
    varint(message, value);
}

/// A field that is bytes.
fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
