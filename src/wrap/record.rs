//! [`Record`]: what is sealed of one enrolment, in one size whatever it holds.

use subtle::Choice;
use zeroize::Zeroize;

use super::sealed::PLAIN_LEN;
use crate::limits::SECRET_MAX;
use crate::secret::Secret;
use crate::secret::declassified::{Reason, declassified};
use crate::wire::Invalid;

const PRESET: usize = 32;
const OPAQUE: usize = PRESET + 1;
const LENGTH: usize = OPAQUE + 192;
const SECRET: usize = LENGTH + 2;
const _: () = assert!(SECRET + SECRET_MAX == PLAIN_LEN, "the parts fill the record");

/// One enrolment's record before sealing: the nonce of L7 (32 bytes), the KSF preset (1), the OPAQUE record (192), the
/// length of the wrapped secret (2), and the secret padded with zeros to [`SECRET_MAX`].
///
/// The value *is* these bytes, boxed: it is decrypted into place, never copied, and wiped on drop. How long the secret
/// is, is itself a secret here: every record takes the same path and the same time.
pub struct Record(Box<Secret<[u8; PLAIN_LEN]>>);

impl Record {
    /// Puts a record together; `secret` is 1 to [`SECRET_MAX`] bytes.
    ///
    /// # Errors
    /// [`Invalid`] on a secret of another length.
    pub fn new(nonce: &[u8; 32], preset: u8, opaque: &[u8; 192], secret: &[u8]) -> Result<Self, Invalid> {
        if secret.is_empty() || secret.len() > SECRET_MAX {
            return Err(Invalid);
        }
        let mut record = Record::blank();
        let bytes = record.0.expose_mut();
        bytes[..PRESET].copy_from_slice(nonce);
        bytes[PRESET] = preset;
        bytes[OPAQUE..LENGTH].copy_from_slice(opaque);
        bytes[LENGTH..SECRET].copy_from_slice(&(secret.len() as u16).to_be_bytes());
        bytes[SECRET..SECRET + secret.len()].copy_from_slice(secret);
        Ok(record)
    }

    /// Reads what [`Record::encode`] gives.
    ///
    /// # Errors
    /// [`Invalid`] on a length that no secret has, or on padding that is not zero.
    pub fn decode(bytes: &[u8; PLAIN_LEN]) -> Result<Self, Invalid> {
        Record::filled(|plain| {
            plain.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The record's one encoding.
    pub fn encode(&self) -> &[u8; PLAIN_LEN] {
        self.0.expose()
    }

    /// The nonce of L7, from which the credential identifier is made.
    pub fn nonce(&self) -> &[u8; 32] {
        part(self.encode())
    }

    /// The KSF preset that the client stretched its code with.
    pub fn preset(&self) -> u8 {
        self.encode()[PRESET]
    }

    /// The OPAQUE record (RFC 9807 section 5.1): client public key, masking key, envelope.
    pub fn opaque(&self) -> &[u8; 192] {
        part(&self.encode()[OPAQUE..])
    }

    /// The wrapped secret, without its padding. Its length, and the time to copy it, are the reader's to hide.
    pub fn secret(&self) -> &[u8] {
        &self.encode()[SECRET..SECRET + self.secret_len().min(SECRET_MAX)]
    }

    fn secret_len(&self) -> usize {
        usize::from(u16::from_be_bytes(*part(&self.encode()[LENGTH..])))
    }

    fn blank() -> Self {
        Record(Box::new(Secret::new([0; PLAIN_LEN])))
    }

    /// Lets `fill` write the bytes in place, and checks them.
    pub(super) fn filled(fill: impl FnOnce(&mut [u8; PLAIN_LEN]) -> Result<(), Invalid>) -> Result<Self, Invalid> {
        let mut record = Record::blank();
        fill(record.0.expose_mut())?;
        record.check()?;
        Ok(record)
    }

    /// Looks at every byte of the padded secret, whatever its length. Only the one answer for the whole leaves here,
    /// and for bytes that authenticated it is always yes.
    fn check(&self) -> Result<(), Invalid> {
        let length = self.secret_len();
        let mut stray = 0;
        for (index, byte) in self.encode()[SECRET..].iter().enumerate() {
            // All ones at the secret's bytes, zero at the padding: the sign of `index - length`, spread out.
            let inside = ((index as i32 - length as i32) >> 31) as u8;
            stray |= byte & !inside;
        }
        let right = (stray == 0) & (length != 0) & (length <= SECRET_MAX);
        stray.zeroize();
        if declassified(Choice::from(u8::from(right)), Reason::Whole) { Ok(()) } else { Err(Invalid) }
    }
}

/// The first `N` bytes of a longer slice, whose length is a constant of this file.
fn part<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    const { assert!(N <= SECRET_MAX, "every part is followed by the secret") };
    bytes.first_chunk().unwrap_or(&[0; N])
}
