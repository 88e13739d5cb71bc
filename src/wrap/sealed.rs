//! [`Sealed`]: the bytes of a record at rest, all of one size, and the [`Header`] that stands before them in clear.

use super::cipher::OVERHEAD;
use crate::error::Fault;
use crate::limits::SECRET_MAX;
use crate::wire::{Invalid, Reader, Writer};

/// Version of the sealed format.
pub const VERSION: u8 = 1;

/// Bytes of a record before sealing: nonce of L7, KSF preset, OPAQUE record, length of the secret, secret with padding.
pub const PLAIN_LEN: usize = 32 + 1 + 192 + 2 + SECRET_MAX;

/// Bytes of the header: version, epoch, key number.
pub const HEADER_LEN: usize = 1 + 4 + 2;

/// Bytes of a sealed record: header, nonce, commitment, ciphertext, tag.
pub const SEALED_LEN: usize = HEADER_LEN + PLAIN_LEN + OVERHEAD;

/// What may be known of a sealed record without its key; authenticated together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key epoch under which it is sealed.
    pub epoch: u32,
    /// Number of the OPRF seed and static key that made the record.
    pub key_number: u16,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [VERSION; HEADER_LEN];
        bytes[1..5].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[5..].copy_from_slice(&self.key_number.to_be_bytes());
        bytes
    }
}

/// A sealed record: [`SEALED_LEN`] bytes that begin with a header of this version. Whether they authenticate is known
/// only on opening. A clone is a copy: bytes that were shared would be opened where they lie, and that place would tell a
/// known account from an unknown one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Box<[u8; SEALED_LEN]>);

impl Sealed {
    /// Header, and whatever `fill` writes behind it.
    pub(super) fn build(header: Header, fill: impl FnOnce(&mut [u8]) -> Result<(), Invalid>) -> Result<Self, Invalid> {
        let mut bytes = Box::new([0; SEALED_LEN]);
        let (head, body) = bytes.split_at_mut(HEADER_LEN);
        head.copy_from_slice(&header.encode());
        fill(body)?;
        Ok(Sealed(bytes))
    }

    /// What stands behind the header.
    pub(super) fn body(&self) -> &[u8] {
        &self.0[HEADER_LEN..]
    }

    /// Takes bytes of the right length and version.
    ///
    /// # Errors
    /// [`Fault::Damaged`] on another length, [`Fault::Format`] on another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes: [u8; SEALED_LEN] =
            bytes.try_into().map_err(|_| Fault::Damaged(format!("a sealed record has {} bytes", bytes.len())))?;
        if bytes[0] != VERSION {
            return Err(Fault::Format { what: "a sealed record", found: bytes[0], reads: VERSION });
        }
        Ok(Sealed(Box::new(bytes)))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; SEALED_LEN] {
        &self.0
    }

    /// The header in clear.
    pub fn header(&self) -> Header {
        let [_, e0, e1, e2, e3, k0, k1, ..] = *self.0;
        Header { epoch: u32::from_be_bytes([e0, e1, e2, e3]), key_number: u16::from_be_bytes([k0, k1]) }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0[..]);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Self::from_bytes(reader.bytes(SEALED_LEN)?).map_err(|_| Invalid)
    }
}
