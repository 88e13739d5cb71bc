//! Single messages: [`seal`] and [`Recipient`]. Whoever has the public key can seal: who sent a message is for what is in it to
//! say.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeS, Serializable, single_shot_seal};

use super::context::Context;
use super::xwing::{DecapsulationKey, decapsulate};
use crate::engine::{DEEP, traceless};
use crate::error::{Fault, Refusal};
use crate::secret::{Secret, fill_random};

/// Bytes of a recipient's public key.
pub const PUBLIC_KEY_LEN: usize = 1216;
/// Bytes of the encapsulated key that a sealed message begins with.
pub const ENCAPSULATED_LEN: usize = 1120;
/// By how many bytes a sealed message is longer than what it holds.
pub const OVERHEAD: usize = ENCAPSULATED_LEN + 16;

/// A key pair that messages are sealed to. Wiped on drop.
pub struct Recipient(DecapsulationKey);

impl Recipient {
    /// The key pair of a seed of 32 random bytes, which is X-Wing's decapsulation key.
    pub fn new(seed: &Secret<[u8; 32]>) -> Self {
        Recipient(DecapsulationKey::new(seed))
    }

    /// What others seal with.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_LEN] {
        self.0.public_key()
    }

    pub(super) fn key(&self) -> &DecapsulationKey {
        &self.0
    }

    /// Opens a message that was sealed to this key and this `info`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], without saying where, if it was not.
    pub fn open(&self, info: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, Refusal> {
        let (encapsulated, body) = sealed.split_first_chunk().ok_or(Refusal::Malformed)?;
        traceless::<DEEP, _>(|| {
            let shared = decapsulate(&[(&self.0, encapsulated)]);
            Context::new(&shared.expose()[0], info).open(body)
        })
        .ok_or(Refusal::Malformed)
    }
}

/// Seals a message to a public key; only its recipient opens it, and only with the same `info`. Its length shows.
///
/// ```
/// use strongroom::secret::Secret;
/// use strongroom::session::{Recipient, seal};
/// let recipient = Recipient::new(&Secret::random()?);
/// let sealed = seal(recipient.public_key(), b"what it is about", b"a message")?;
/// let opened = recipient.open(b"what it is about", &sealed).expect("sealed to this key");
/// assert_eq!(opened.expose(), b"a message");
/// assert!(recipient.open(b"something else", &sealed).is_err());
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
///
/// # Errors
/// [`Fault::Key`] if the public key is not one, [`Fault::Randomness`].
pub fn seal(public_key: &[u8; PUBLIC_KEY_LEN], info: &[u8], message: &[u8]) -> Result<Vec<u8>, Fault> {
    let wrong = |_| Fault::Key("this is not a public key that messages can be sealed to".to_owned());
    // The next call takes it for granted.
    fill_random(&mut [0])?;
    traceless::<DEEP, _>(|| {
        let public_key = <XWing as Kem>::PublicKey::from_bytes(public_key).map_err(wrong)?;
        let (encapsulated, body) =
            single_shot_seal::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeS::Base, &public_key, info, message, b"")
                .map_err(wrong)?;
        Ok([&encapsulated.to_bytes()[..], &body].concat())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_message_opens_for_its_recipient_its_info_and_whole() {
        let (one, other) = (Recipient::new(&Secret::new([1; 32])), Recipient::new(&Secret::new([2; 32])));
        for length in [0, 1, 100_000] {
            let message = vec![7; length];
            let sealed = seal(one.public_key(), b"info", &message).unwrap();
            assert_eq!(sealed.len(), length + OVERHEAD);
            assert_eq!(*one.open(b"info", &sealed).unwrap().expose(), message);
            assert_eq!(one.open(b"inf", &sealed).err(), Some(Refusal::Malformed));
            assert_eq!(other.open(b"info", &sealed).err(), Some(Refusal::Malformed));
            assert_eq!(one.open(b"info", &sealed[..sealed.len() - 1]).err(), Some(Refusal::Malformed));
        }
        let sealed = seal(one.public_key(), b"info", b"message").unwrap();
        assert_ne!(sealed, seal(one.public_key(), b"info", b"message").unwrap(), "never twice the same");
        for byte in (0..sealed.len()).step_by(31).chain(ENCAPSULATED_LEN..sealed.len()) {
            let mut altered = sealed.clone();
            altered[byte] ^= 1;
            assert_eq!(one.open(b"info", &altered).err(), Some(Refusal::Malformed), "byte {byte}");
        }
        for length in [0, 1, ENCAPSULATED_LEN, ENCAPSULATED_LEN + 15] {
            assert_eq!(one.open(b"info", &sealed[..length]).err(), Some(Refusal::Malformed));
        }
        assert!(seal(&[0xff; PUBLIC_KEY_LEN], b"", b"").is_err(), "coefficients of ML-KEM are below 3329");
    }
}
