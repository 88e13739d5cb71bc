//! The backup key as it is kept: sealed under another key.
//!
//! Version, commitment, nonce, ciphertext, tag. Key and commitment are HKDF-Expand (SHA-512) of the wrapping key, and the
//! commitment is checked first: AES-GCM-SIV does not commit to its key, and one ciphertext that opens under many keys would
//! answer many guesses at once. The vault keeps one under the export key of RFC 9807, with version and account id as
//! associated data ([`seal_with`], [`open`]); a keyring keeps those under other keys.

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Failure;
use crate::account::AccountId;
use crate::engine::sha512::HmacKey;
use crate::secret::Secret;
use crate::wire::{Reader, Writer};

const VERSION: u8 = 1;
/// Names what the vault keeps.
const LABEL: &[u8] = b"strongroom wrapped key v1";

/// Bytes of a wrapped backup key.
pub const WRAPPED_LEN: usize = 1 + 32 + 12 + 32 + 16;

const _: () = assert!(WRAPPED_LEN <= crate::limits::SECRET_MAX, "a vault takes it");

struct Keys {
    cipher: Aes256GcmSiv,
    commitment: [u8; 32],
}

impl Keys {
    fn new(wrapping_key: &Secret<[u8; 64]>, label: &[u8]) -> Self {
        let bytes = Zeroizing::new(HmacKey::new(wrapping_key.expose()).expand_array::<64>(&[label]));
        let (mut key, mut commitment) = (Zeroizing::new([0; 32]), [0; 32]);
        key.copy_from_slice(&bytes[..32]);
        commitment.copy_from_slice(&bytes[32..]);
        Keys { cipher: Aes256GcmSiv::new(&(*key).into()), commitment }
    }
}

fn associated(account: &AccountId) -> [u8; 33] {
    let mut bytes = [VERSION; 33];
    bytes[1..].copy_from_slice(&account.0);
    bytes
}

/// Wraps `backup_key` for `account`. Export keys are fresh with each enrolment, and the nonce is random besides.
pub(super) fn seal_with(
    export_key: &Secret<[u8; 64]>,
    account: &AccountId,
    backup_key: &Secret<[u8; 32]>,
    nonce: &[u8; 12],
) -> Result<Vec<u8>, Failure> {
    seal_under(export_key, LABEL, &associated(account), backup_key, nonce)
}

/// Opens what [`seal_with`] made.
pub(super) fn open(
    export_key: &Secret<[u8; 64]>,
    account: &AccountId,
    wrapped: &[u8],
) -> Result<Secret<[u8; 32]>, Failure> {
    open_under(export_key, LABEL, &associated(account), wrapped)
}

/// Wraps `backup_key` under a key that the label names the use of.
pub(super) fn seal_under(
    wrapping_key: &Secret<[u8; 64]>,
    label: &[u8],
    associated: &[u8],
    backup_key: &Secret<[u8; 32]>,
    nonce: &[u8; 12],
) -> Result<Vec<u8>, Failure> {
    let keys = Keys::new(wrapping_key, label);
    let mut text = Zeroizing::new(*backup_key.expose());
    let tag = keys
        .cipher
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, text.as_mut_slice().into())
        .map_err(|_| Failure::SecretDamaged)?;
    let mut writer = Writer::with_capacity(WRAPPED_LEN);
    writer.u8(VERSION).bytes(&keys.commitment).bytes(nonce).bytes(&text[..]).bytes(&tag);
    Ok(writer.finish())
}

/// Opens what [`seal_under`] made.
pub(super) fn open_under(
    wrapping_key: &Secret<[u8; 64]>,
    label: &[u8],
    associated: &[u8],
    wrapped: &[u8],
) -> Result<Secret<[u8; 32]>, Failure> {
    let mut reader = Reader::new(wrapped);
    let damaged = |_| Failure::SecretDamaged;
    match reader.u8().map_err(damaged)? {
        VERSION => {}
        other => return Err(Failure::SecretFormat(other)),
    }
    let commitment = reader.array::<32>().map_err(damaged)?;
    let nonce = reader.array::<12>().map_err(damaged)?;
    let text = reader.array::<32>().map_err(damaged)?;
    let tag = reader.array::<16>().map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    let keys = Keys::new(wrapping_key, label);
    if !bool::from(keys.commitment.ct_eq(commitment)) {
        return Err(Failure::SecretDamaged);
    }
    let mut backup_key = Secret::new(*text);
    keys.cipher
        .decrypt_inout_detached(
            &Nonce::from(*nonce),
            associated,
            backup_key.expose_mut().as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| Failure::SecretDamaged)?;
    Ok(backup_key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const ACCOUNT: AccountId = AccountId([7; 32]);

    fn sealed() -> (Secret<[u8; 64]>, Vec<u8>) {
        let export_key = Secret::new([1; 64]);
        let wrapped = seal_with(&export_key, &ACCOUNT, &Secret::new([2; 32]), &[3; 12]).expect("sealed");
        (export_key, wrapped)
    }

    #[test]
    fn it_opens_under_its_key_and_account_alone() {
        let (export_key, wrapped) = sealed();
        assert_eq!(wrapped.len(), WRAPPED_LEN);
        assert_eq!(open(&export_key, &ACCOUNT, &wrapped).expect("opens").expose(), &[2; 32]);
        assert_eq!(open(&Secret::new([9; 64]), &ACCOUNT, &wrapped).err(), Some(Failure::SecretDamaged));
        assert_eq!(open(&export_key, &AccountId([8; 32]), &wrapped).err(), Some(Failure::SecretDamaged));
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        let (export_key, wrapped) = sealed();
        for bit in 0..wrapped.len() * 8 {
            let mut other = wrapped.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 8 { Failure::SecretFormat(other[0]) } else { Failure::SecretDamaged };
            assert_eq!(open(&export_key, &ACCOUNT, &other).err(), Some(expected), "bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert_eq!(open(&export_key, &ACCOUNT, &wrapped[..length]).err(), Some(Failure::SecretDamaged));
        }
        let longer = [&wrapped[..], &[0]].concat();
        assert_eq!(open(&export_key, &ACCOUNT, &longer).err(), Some(Failure::SecretDamaged));
    }

    #[test]
    fn it_is_what_another_implementation_makes() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/client/wrapped-v1.json")).expect("JSON");
        let cases = file["cases"].as_array().expect("cases");
        assert!(cases.len() >= 2);
        for case in cases {
            let bytes = |name: &str| hex::decode(case[name].as_str().expect("hex")).expect("hex");
            let export_key = Secret::new(bytes("export_key").try_into().expect("64 bytes"));
            let account = AccountId(bytes("account").try_into().expect("32 bytes"));
            let backup_key = Secret::new(bytes("backup_key").try_into().expect("32 bytes"));
            let nonce = bytes("nonce").try_into().expect("12 bytes");
            let wrapped = seal_with(&export_key, &account, &backup_key, &nonce).expect("sealed");
            assert_eq!(wrapped, bytes("wrapped"));
            assert_eq!(open(&export_key, &account, &wrapped).expect("opens").expose(), backup_key.expose());
        }
    }
}
