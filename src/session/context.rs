//! HPKE's base mode (RFC 9180 section 5.1) from a shared secret on: what a recipient needs of it, for one message.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// "HPKE", X-Wing, HKDF-SHA256, ChaCha20-Poly1305: RFC 9180 section 5.1, and its registries.
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
const TAG_LEN: usize = 16;

/// What a shared secret and an `info` come to.
pub(super) struct Context {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 12],
    exporter: Zeroizing<[u8; 32]>,
}

impl Context {
    /// The RFC's `KeySchedule`, without a pre-shared key.
    pub(super) fn new(shared: &[u8; 32], info: &[u8]) -> Self {
        let (_, psk_id_hash) = extract(&[], b"psk_id_hash", &[]);
        let (_, info_hash) = extract(&[], b"info_hash", info);
        let context = [&[MODE_BASE][..], &psk_id_hash[..], &info_hash[..]].concat();
        let (secret, _) = extract(shared, b"secret", &[]);
        let mut made = Context { key: Zeroizing::default(), nonce: [0; 12], exporter: Zeroizing::default() };
        expand(&secret, b"key", &context, &mut *made.key);
        expand(&secret, b"base_nonce", &context, &mut made.nonce);
        expand(&secret, b"exp", &context, &mut *made.exporter);
        made
    }

    /// Opens the first message, which has no associated data; `None` if it was not sealed so.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut plain = Secret::new(body.to_vec());
        let opened = ChaCha20Poly1305::new(&Key::from(*self.key)).decrypt_inout_detached(
            &Nonce::from(self.nonce),
            b"",
            plain.expose_mut().as_mut_slice().into(),
            &Tag::from(*tag),
        );
        opened.is_ok().then_some(plain)
    }

    /// The RFC's `Context.Export`, 32 bytes.
    pub(super) fn export(&self, context: &[u8]) -> Box<Secret<[u8; 32]>> {
        let mut exported = Box::new(Secret::new([0; 32]));
        if let Ok(secret) = Hkdf::from_prk(&*self.exporter) {
            expand(&secret, b"sec", context, exported.expose_mut());
        }
        exported
    }
}

/// LabeledExtract, RFC 9180 section 4.
fn extract(salt: &[u8], label: &[u8], key: &[u8]) -> (Hkdf<Sha256>, Zeroizing<[u8; 32]>) {
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in [VERSION, SUITE, label, key] {
        extract.input_ikm(part);
    }
    let (extracted, secret) = extract.finalize();
    (secret, Zeroizing::new(extracted.into()))
}

/// LabeledExpand, RFC 9180 section 4.
fn expand(secret: &Hkdf<Sha256>, label: &[u8], context: &[u8], output: &mut [u8]) {
    let length = (output.len() as u16).to_be_bytes();
    // At most 32 bytes, far below what HKDF expands to.
    let _ = secret.expand_multi_info(&[&length, VERSION, SUITE, label, context], output);
}
