//! Tests of the room; the oracle is RustCrypto's `hkdf` and `aes-gcm-siv`, put together here a second time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blobs;
mod cipher;
mod records;
mod roots;
mod tickets;

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit};

use crate::account::AccountId;

fn account(number: u8) -> AccountId {
    AccountId::derive("tests", &number.to_string())
}

/// HKDF-Expand of RFC 5869, by RustCrypto.
fn expand<const N: usize>(prk: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let hkdf = hkdf::SimpleHkdf::<sha2::Sha512>::from_prk(prk).expect("a long enough key");
    hkdf.expand(&info.concat(), &mut out).expect("a short output");
    out
}

/// A sealed body as DESIGN section 5 describes it: nonce, commitment, ciphertext, tag.
fn body(secret: &[u8], nonce: &[u8; 12], associated: &[&[u8]], plain: &[u8]) -> Vec<u8> {
    let cipher = Aes256GcmSiv::new(&expand::<32>(secret, &[b"key"]).into());
    let payload = Payload { msg: plain, aad: &associated.concat() };
    let ciphertext = cipher.encrypt(nonce.into(), payload).expect("a short plaintext");
    [&nonce[..], &expand::<32>(secret, &[b"commit"]), &ciphertext].concat()
}
