//! [`Delivery`]: the wrapped secret on its way to the client, sealed under the OPAQUE session key.

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use zeroize::Zeroizing;

use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::engine::{SHALLOW, traceless};
use crate::error::{Fault, Refusal};
use crate::limits::SECRET_MAX;
use crate::secret::{Secret, random_array};

const PLAIN_LEN: usize = 2 + SECRET_MAX;

/// Bytes of a delivery: nonce, ciphertext of the secret's length and the secret filled up with zeros, tag.
pub const DELIVERY_LEN: usize = 12 + PLAIN_LEN + 16;

/// The wrapped secret under the session key that both sides of a successful login share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery(Box<[u8; DELIVERY_LEN]>);

impl Delivery {
    /// Seals `secret`, 1 to [`SECRET_MAX`] bytes, for `account`.
    ///
    /// # Errors
    /// [`Fault::Limit`] for a secret of another length, [`Fault::Randomness`] without a nonce.
    pub fn seal(session_key: &Secret<[u8; 64]>, account: &AccountId, secret: &[u8]) -> Result<Self, Fault> {
        Self::seal_with(session_key, account, secret, &random_array()?)
    }

    /// [`Delivery::seal`] with the nonce as an argument.
    ///
    /// # Errors
    /// [`Fault::Limit`] for a secret of another length.
    pub fn seal_with(
        session_key: &Secret<[u8; 64]>,
        account: &AccountId,
        secret: &[u8],
        nonce: &[u8; 12],
    ) -> Result<Self, Fault> {
        if secret.is_empty() || secret.len() > SECRET_MAX {
            return Err(Fault::Limit(format!("a secret has 1 to {SECRET_MAX} bytes")));
        }
        let mut bytes = Box::new([0; DELIVERY_LEN]);
        bytes[..12].copy_from_slice(nonce);
        let (plain, tag) = bytes[12..].split_at_mut(PLAIN_LEN);
        plain[..2].copy_from_slice(&(secret.len() as u16).to_be_bytes());
        plain[2..2 + secret.len()].copy_from_slice(secret);
        let seal = || cipher(session_key).encrypt_inout_detached(&Nonce::from(*nonce), &account.0, plain.into());
        let made = traceless::<SHALLOW, _>(seal)
            .map_err(|_| Fault::Limit("AES-GCM-SIV refused a short message".to_owned()))?;
        tag.copy_from_slice(&made);
        Ok(Delivery(bytes))
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Refusal::WrongProof`] if it was not sealed under this session key for this account, or was altered.
    pub fn open(&self, session_key: &Secret<[u8; 64]>, account: &AccountId) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let (nonce, rest) = self.0.split_first_chunk::<12>().ok_or(Refusal::Malformed)?;
        let (cipher_text, tag) = rest.split_last_chunk::<16>().ok_or(Refusal::Malformed)?;
        let mut plain = Zeroizing::new(cipher_text.to_vec());
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let open = || cipher(session_key).decrypt_inout_detached(&nonce, &account.0, plain.as_mut_slice().into(), &tag);
        traceless::<SHALLOW, _>(open).map_err(|_| Refusal::WrongProof)?;
        let length = usize::from(u16::from_be_bytes([plain[0], plain[1]]));
        let secret = plain.get(2..2 + length).filter(|secret| !secret.is_empty()).ok_or(Refusal::Malformed)?;
        Ok(Zeroizing::new(secret.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; DELIVERY_LEN] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: &[u8; DELIVERY_LEN]) -> Self {
        Delivery(Box::new(*bytes))
    }
}

fn cipher(session_key: &Secret<[u8; 64]>) -> Aes256GcmSiv {
    let key = Zeroizing::new(HmacKey::new(session_key.expose()).expand_array::<32>(&[b"strongroom delivery v1"]));
    Aes256GcmSiv::new(&(*key).into())
}
