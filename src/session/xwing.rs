//! X-Wing (draft-connolly-cfrg-xwing-kem): the recipient's half, for many at once. X25519 goes eight to a register,
//! ML-KEM-768 one by one.

use std::hint::black_box;

use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PrivateKey};
use zeroize::Zeroizing;

use super::sealed::{ENCAPSULATED_LEN, PUBLIC_KEY_LEN};
use crate::engine::{DEEP, backend, traceless};
use crate::secret::Secret;

const ML_KEM_PUBLIC_KEY_LEN: usize = 1184;
const ML_KEM_CIPHERTEXT_LEN: usize = 1088;
/// The coordinate of X25519's generator.
const GENERATOR: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 9;
    bytes
};
/// The draft's XWingLabel.
const LABEL: &[u8] = br"\.//^\";

const _: () = assert!(ML_KEM_PUBLIC_KEY_LEN + 32 == PUBLIC_KEY_LEN && ML_KEM_CIPHERTEXT_LEN + 32 == ENCAPSULATED_LEN);

/// A decapsulation key, expanded. In boxes, which a move leaves where they are; wiped on drop.
pub(super) struct DecapsulationKey {
    ml_kem: Box<MlKem768PrivateKey>,
    x25519: Box<Secret<[u8; 32]>>,
    public_key: Box<[u8; PUBLIC_KEY_LEN]>,
}

impl Drop for DecapsulationKey {
    fn drop(&mut self) {
        // The library's key does not wipe itself. Somebody might look, so the compiler may not leave it out.
        *self.ml_kem = MlKem768PrivateKey::default();
        black_box(&mut *self.ml_kem);
    }
}

impl DecapsulationKey {
    /// The draft's `expandDecapsulationKey`.
    pub(super) fn new(seed: &Secret<[u8; 32]>) -> Self {
        traceless::<DEEP, _>(|| {
            let expanded: Zeroizing<[u8; 96]> = Zeroizing::new(libcrux_sha3::shake256(seed.expose()));
            let (mut for_ml_kem, mut x25519) = (Zeroizing::new([0; 64]), Box::new(Secret::new([0; 32])));
            for_ml_kem.copy_from_slice(&expanded[..64]);
            x25519.expose_mut().copy_from_slice(&expanded[64..]);
            let pair = mlkem768::generate_key_pair(*for_ml_kem);
            let mut public_key = Box::new([0; PUBLIC_KEY_LEN]);
            let (of_ml_kem, of_x25519) = public_key.split_at_mut(ML_KEM_PUBLIC_KEY_LEN);
            of_ml_kem.copy_from_slice(pair.pk());
            of_x25519.copy_from_slice(&backend().x25519(&[(x25519.expose(), &GENERATOR)]).expose()[0]);
            DecapsulationKey { ml_kem: Box::new(MlKem768PrivateKey::from(pair.sk())), x25519, public_key }
        })
    }

    /// What others encapsulate to.
    pub(super) fn public_key(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.public_key
    }
}

/// The draft's `Decapsulate` for each item. It has an answer for any bytes: where nobody encapsulated, one that nobody
/// knows.
pub(super) fn decapsulate(items: &[(&DecapsulationKey, &[u8; ENCAPSULATED_LEN])]) -> Secret<Vec<[u8; 32]>> {
    let parts: Vec<_> = items.iter().map(|(key, encapsulated)| (key, halves(encapsulated))).collect();
    let exchanges: Vec<_> = parts.iter().map(|(key, (_, for_x25519))| (key.x25519.expose(), *for_x25519)).collect();
    let of_x25519 = backend().x25519(&exchanges);
    let mut shared = Secret::new(vec![[0; 32]; items.len()]);
    traceless::<DEEP, _>(|| {
        let places = shared.expose_mut().iter_mut().zip(parts.iter().zip(of_x25519.expose()));
        for (place, ((key, (for_ml_kem, for_x25519)), of_x25519)) in places {
            let of_ml_kem = mlkem768::decapsulate(&key.ml_kem, &MlKem768Ciphertext::from(*for_ml_kem));
            let mut combined = Zeroizing::new([0; 4 * 32 + LABEL.len()]);
            let public_key = &key.public_key[ML_KEM_PUBLIC_KEY_LEN..];
            let mut rest = &mut combined[..];
            for part in [&of_ml_kem[..], of_x25519, &for_x25519[..], public_key, LABEL] {
                let (here, after) = rest.split_at_mut(part.len());
                here.copy_from_slice(part);
                rest = after;
            }
            *place = libcrux_sha3::sha256(&combined[..]);
        }
    });
    shared
}

/// ML-KEM's ciphertext and X25519's coordinate.
fn halves(encapsulated: &[u8; ENCAPSULATED_LEN]) -> (&[u8; ML_KEM_CIPHERTEXT_LEN], &[u8; 32]) {
    // Parts of a longer array, whose places are constants.
    let of_ml_kem = encapsulated.first_chunk().unwrap_or(&[0; ML_KEM_CIPHERTEXT_LEN]);
    (of_ml_kem, encapsulated.last_chunk().unwrap_or(&[0; 32]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use hpke::kem::XWing;
    use hpke::{Deserializable, Kem, Serializable};

    use super::*;

    /// draft-connolly-cfrg-xwing-kem appendix C, the first vector: the seed, and the head of its public key.
    #[test]
    fn a_seed_is_a_decapsulation_key_of_the_draft() {
        let seed = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26";
        let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
        let public_key = hex::encode(DecapsulationKey::new(&Secret::new(seed)).public_key());
        let head = "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5";
        assert!(public_key.starts_with(head), "{public_key}");
    }

    #[test]
    fn keys_are_those_of_hpke() {
        for byte in 0..20 {
            let theirs = <XWing as Kem>::PrivateKey::from_bytes(&[byte; 32]).unwrap();
            let ours = DecapsulationKey::new(&Secret::new([byte; 32]));
            assert_eq!(ours.public_key()[..], XWing::sk_to_pk(&theirs).to_bytes()[..]);
        }
    }
}
