//! AES-256-GCM-SIV (RFC 8452) that commits to its key, and the one body that records, blobs and tickets share:
//! nonce, commitment, ciphertext, tag.
//!
//! GCM-SIV authenticates a message under a key, but one ciphertext can be made that opens under two keys of the
//! maker's choice (a test makes one). So each key is a pair: 32 bytes that stand in clear beside the ciphertext, and
//! the cipher's own key, both expanded from one secret. Two secrets with the same commitment are a collision of
//! HMAC-SHA-512 cut to 256 bits.

use aes::Aes256Enc;
use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{AesGcmSiv, KeyInit};
use subtle::Choice;

use crate::engine::Backend;
use crate::engine::sha512::{DIGEST_LEN, HmacKey};
use crate::secret::declassified::{Reason, declassified};
use crate::secret::{Secret, same};
use crate::wire::Invalid;

/// Random bytes of one sealing. GCM-SIV derives its keys from them and forgives a repeat.
pub type Nonce = [u8; 12];

/// Bytes of a commitment.
const COMMITMENT_LEN: usize = 32;
/// Bytes of a tag.
const TAG_LEN: usize = 16;
/// By how much a body is longer than what is sealed in it.
pub(super) const OVERHEAD: usize = size_of::<Nonce>() + COMMITMENT_LEN + TAG_LEN;

/// AES-256-GCM-SIV under one key. It encrypts blocks only, so no round keys for decrypting them are made.
pub(super) struct Cipher(AesGcmSiv<Aes256Enc>);

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Cipher(AesGcmSiv::new(key.into()))
    }

    /// Encrypts `buffer` in place and returns the tag (RFC 8452 section 4).
    pub(super) fn seal(&self, nonce: &Nonce, associated: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG_LEN], Invalid> {
        let sealed = self.0.encrypt_inout_detached(nonce.into(), associated, buffer.into());
        sealed.map(Into::into).map_err(|_| Invalid)
    }

    /// Decrypts `buffer` in place; on failure it holds nothing of the plaintext.
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Invalid> {
        let opened = self.0.decrypt_inout_detached(nonce.into(), associated, buffer.into(), tag.into());
        let authentic = Choice::from(u8::from(opened.is_ok()));
        if declassified(authentic, Reason::Authentic) { Ok(()) } else { Err(Invalid) }
    }
}

/// A cipher and the commitment to its key.
pub(super) struct Committing {
    commitment: [u8; COMMITMENT_LEN],
    cipher: Cipher,
}

/// A block of HKDF-Expand for the commitment and one for the cipher's key. Each is 32 bytes: the head of its block.
pub(super) type Blocks = [[u8; DIGEST_LEN]; 2];

/// Info of each of the [`Blocks`], and the counter behind it.
const INFO: [[&[u8]; 2]; 2] = [[b"commit", &[1]], [b"key", &[1]]];

/// The [`Blocks`] of several secrets, one after another, derived in one step.
pub(super) struct ManyBlocks(Secret<Vec<[u8; DIGEST_LEN]>>);

impl ManyBlocks {
    pub(super) fn derive(backend: Backend, secrets: &[HmacKey]) -> Self {
        let expand: Vec<_> = secrets.iter().flat_map(|secret| INFO.map(|info| (secret, info))).collect();
        ManyBlocks(backend.macs(&expand))
    }

    /// Those of each secret.
    pub(super) fn each(&self) -> &[Blocks] {
        self.0.expose().as_chunks().0
    }
}

impl Committing {
    /// The pair that a secret amounts to: HKDF-Expand with the secret as PRK, `commit` and `key` as info.
    pub(super) fn new(secret: &HmacKey) -> Self {
        Committing::from_blocks(Secret::new(INFO.map(|info| secret.mac(&info))).expose())
    }

    /// The same from the blocks. A pair holds a key schedule, which moves along with it: make it where it is used.
    pub(super) fn from_blocks([commitment, key]: &Blocks) -> Self {
        Committing { commitment: commitment.as_chunks().0[0], cipher: Cipher::new(&key.as_chunks().0[0]) }
    }

    /// Fills `body`, [`OVERHEAD`] bytes longer than `plain`.
    pub(super) fn seal(&self, nonce: &Nonce, associated: &[u8], plain: &[u8], body: &mut [u8]) -> Result<(), Invalid> {
        let (to_nonce, rest) = body.split_first_chunk_mut().ok_or(Invalid)?;
        let (to_commitment, rest) = rest.split_first_chunk_mut().ok_or(Invalid)?;
        let (ciphertext, to_tag) = rest.split_last_chunk_mut().ok_or(Invalid)?;
        if ciphertext.len() != plain.len() {
            return Err(Invalid);
        }
        *to_nonce = *nonce;
        *to_commitment = self.commitment;
        ciphertext.copy_from_slice(plain);
        *to_tag = self.cipher.seal(nonce, associated, ciphertext)?;
        Ok(())
    }

    /// Fills `plain`, [`OVERHEAD`] bytes shorter than `body`. The commitment is compared first: before it matches, no
    /// byte is decrypted under a key that the ciphertext was not made for.
    pub(super) fn open(&self, body: &[u8], associated: &[u8], plain: &mut [u8]) -> Result<(), Invalid> {
        let (nonce, rest) = body.split_first_chunk().ok_or(Invalid)?;
        let (commitment, rest) = rest.split_first_chunk::<COMMITMENT_LEN>().ok_or(Invalid)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(Invalid)?;
        let committed = same(&self.commitment, commitment);
        if ciphertext.len() != plain.len() || !declassified(committed, Reason::Committed) {
            return Err(Invalid);
        }
        plain.copy_from_slice(ciphertext);
        self.cipher.open(nonce, associated, plain, tag)
    }
}
