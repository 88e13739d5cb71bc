//! [`Delivery`]: the wrapped secret on its way to the client, sealed under the OPAQUE session key.

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use zeroize::Zeroizing;

use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::engine::{SHALLOW, backend, in_chunks, traceless};
use crate::error::{Fault, Refusal};
use crate::limits::SECRET_MAX;
use crate::secret::{Secret, with_nonces};

const PLAIN_LEN: usize = 2 + SECRET_MAX;

/// Bytes of a delivery: nonce, ciphertext of the secret's length and the secret filled up with zeros, tag.
pub const DELIVERY_LEN: usize = 12 + PLAIN_LEN + 16;

/// Info of the key that a session key gives.
const LABEL: &[u8] = b"strongroom delivery v1";

/// A secret to be sealed.
#[derive(Clone, Copy)]
pub struct DeliveryItem<'a> {
    /// What both sides of the login share.
    pub session_key: &'a Secret<[u8; 64]>,
    /// Whose login.
    pub account: &'a AccountId,
    /// 1 to [`SECRET_MAX`] bytes.
    pub secret: &'a [u8],
}

/// The wrapped secret under the session key that both sides of a successful login share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery(Box<[u8; DELIVERY_LEN]>);

impl Delivery {
    /// Seals each secret, with a nonce of its own.
    ///
    /// # Errors
    /// An item's result is [`Fault::Randomness`] if the operating system gives no nonces, else as
    /// [`Delivery::seal_with`].
    pub fn seal(items: &[DeliveryItem<'_>]) -> Vec<Result<Self, Fault>> {
        with_nonces(items, Self::seal_with)
    }

    /// [`Delivery::seal`] with the nonces given.
    ///
    /// # Errors
    /// An item's result is [`Fault::Limit`] if its secret has no byte or more than [`SECRET_MAX`].
    pub fn seal_with(items: &[(DeliveryItem<'_>, [u8; 12])]) -> Vec<Result<Self, Fault>> {
        in_chunks::<SHALLOW, _, _>(items, |chunk| {
            let mut keys = Secret::new(vec![[0; 64]; chunk.len()]);
            for (key, (item, _)) in keys.expose_mut().iter_mut().zip(chunk) {
                key.copy_from_slice(item.session_key.expose());
            }
            let keys = backend().mac_keys(keys.expose());
            // HKDF-Expand to 32 bytes is the head of its first block.
            let blocks = backend().macs(&keys.iter().map(|key| (key, [LABEL, &[1]])).collect::<Vec<_>>());
            let sealed = chunk.iter().zip(blocks.expose().iter().map(|block| &block.as_chunks().0[0]));
            sealed.map(|((item, nonce), key)| Self::seal_one(key, item, nonce)).collect()
        })
    }

    fn seal_one(key: &[u8; 32], item: &DeliveryItem<'_>, nonce: &[u8; 12]) -> Result<Self, Fault> {
        let DeliveryItem { account, secret, .. } = *item;
        if secret.is_empty() || secret.len() > SECRET_MAX {
            return Err(Fault::Limit(format!("a secret has 1 to {SECRET_MAX} bytes")));
        }
        let mut bytes = Box::new([0; DELIVERY_LEN]);
        bytes[..12].copy_from_slice(nonce);
        let (plain, tag) = bytes[12..].split_at_mut(PLAIN_LEN);
        plain[..2].copy_from_slice(&(secret.len() as u16).to_be_bytes());
        plain[2..2 + secret.len()].copy_from_slice(secret);
        let made = Aes256GcmSiv::new(key.into()).encrypt_inout_detached(&Nonce::from(*nonce), &account.0, plain.into());
        tag.copy_from_slice(&made.map_err(|_| Fault::Limit("AES-GCM-SIV refused a short message".to_owned()))?);
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
        let key = || Zeroizing::new(HmacKey::new(session_key.expose()).expand_array::<32>(&[LABEL]));
        let cipher = || Aes256GcmSiv::new(&(*key()).into());
        let open = || cipher().decrypt_inout_detached(&nonce, &account.0, plain.as_mut_slice().into(), &tag);
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
