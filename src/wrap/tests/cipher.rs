//! Commitment and cipher, against published answers and RustCrypto.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use aes::{Aes256, Block};
use aes_gcm_siv::KeyInit;
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use serde_json::Value;

use super::expand;
use crate::engine::sha512::HmacKey;
use crate::wire::Invalid;
use crate::wrap::cipher::{Cipher, Committing, OVERHEAD};

/// Whether our sealing and opening agree with what a case of Wycheproof says.
fn agrees(case: &Value, tag: &[u8]) -> bool {
    let bytes = |field: &str| hex::decode(case[field].as_str().expect("hex")).expect("hex");
    let (key, nonce, tag) = (bytes("key"), bytes("iv"), tag.try_into().expect("16 bytes"));
    let cipher = Cipher::new(&key.try_into().expect("32 bytes"));
    let (nonce, associated, message) = (nonce.try_into().expect("12 bytes"), bytes("aad"), bytes("msg"));
    let mut opened = bytes("ct");
    let right = match cipher.open(&nonce, &associated, &mut opened, tag) {
        Ok(()) => opened == message,
        Err(Invalid) => return case["result"] == "invalid",
    };
    let mut sealed = message;
    let made = cipher.seal(&nonce, &associated, &mut sealed).expect("short enough");
    right && sealed == bytes("ct") && made == *tag && case["result"] == "valid"
}

#[test]
fn aes_256_gcm_siv_agrees_with_wycheproof() {
    let file: Value = serde_json::from_str(include_str!("../../../vectors/wycheproof-aes_gcm_siv_test.json")).unwrap();
    let mut seen = 0;
    for group in file["testGroups"].as_array().expect("groups").iter().filter(|group| group["keySize"] == 256) {
        for case in group["tests"].as_array().expect("tests") {
            let mut tag = hex::decode(case["tag"].as_str().expect("hex")).expect("hex");
            assert!(agrees(case, &tag), "{case}");
            tag[0] ^= 1;
            assert_eq!(agrees(case, &tag), case["result"] == "invalid", "a wrong tag must be seen: {case}");
            seen += 1;
        }
    }
    assert_eq!(seen, 103, "every case with a 256-bit key");
}

#[test]
fn a_failed_opening_leaves_no_plaintext() {
    let cipher = Cipher::new(&[1; 32]);
    let mut buffer = *b"forty bytes that must not be left behind";
    let tag = cipher.seal(&[2; 12], b"", &mut buffer).unwrap();
    let ciphertext = buffer;
    assert_eq!(cipher.open(&[2; 12], b"other", &mut buffer, &tag), Err(Invalid));
    assert_eq!(buffer, ciphertext);
    assert_eq!(cipher.open(&[2; 12], b"", &mut buffer, &tag), Ok(()));
    assert_eq!(&buffer, b"forty bytes that must not be left behind");
}

#[test]
fn bodies_of_a_wrong_length_are_refused() {
    let key = Committing::new(&HmacKey::new(&[1; 64]));
    let mut body = [0; OVERHEAD + 5];
    assert_eq!(key.seal(&[2; 12], b"", b"four", &mut body), Err(Invalid));
    assert_eq!(key.seal(&[2; 12], b"", b"five!", &mut body), Ok(()));
    for length in (0..body.len()).filter(|length| *length != OVERHEAD + 5) {
        let mut plain = vec![0; length.saturating_sub(OVERHEAD)];
        assert_eq!(key.open(&body[..length], b"", &mut plain), Err(Invalid));
        assert_eq!(key.open(&body, b"", &mut plain), Err(Invalid));
    }
    let mut plain = [0; 5];
    assert_eq!(key.open(&body, b"", &mut plain), Ok(()));
    assert_eq!(&plain, b"five!");
}

/// What RFC 8452 section 4 makes of a key and a nonce, and what an attacker who chose both needs of it.
struct Insides {
    polyval: Polyval,
    cipher: Aes256,
}

const NONCE: [u8; 12] = [3; 12];
const ASSOCIATED: [u8; 16] = [4; 16];

impl Insides {
    fn new(key: &[u8; 32]) -> Self {
        let generating = Aes256::new(key.into());
        let mut keys = [0u8; 48];
        for (counter, half) in keys.chunks_exact_mut(8).enumerate() {
            let mut block = Block::default();
            block[..4].copy_from_slice(&(counter as u32).to_le_bytes());
            block[4..].copy_from_slice(&NONCE);
            generating.encrypt_block(&mut block);
            half.copy_from_slice(&block[..8]);
        }
        let (mac_key, cipher_key) = keys.split_at(16);
        Insides {
            polyval: Polyval::new(mac_key.try_into().unwrap()),
            cipher: Aes256::new(cipher_key.try_into().unwrap()),
        }
    }

    /// What POLYVAL must come to for this tag, unless no message can have it.
    fn wanted(&self, tag: [u8; 16]) -> Option<u128> {
        let mut block = Block::from(tag);
        self.cipher.decrypt_block(&mut block);
        if block[15] & 0x80 != 0 {
            return None;
        }
        block.iter_mut().zip(NONCE).for_each(|(byte, nonce)| *byte ^= nonce);
        Some(u128::from_le_bytes(block.into()))
    }

    /// POLYVAL over the associated data, the plaintext of a two-block ciphertext under this tag, and the lengths.
    fn hash(&self, tag: [u8; 16], ciphertext: [u128; 2]) -> u128 {
        let mut polyval = self.polyval.clone();
        polyval.update(&[ASSOCIATED.into()]);
        for (index, block) in ciphertext.into_iter().enumerate() {
            let mut counter = Block::from(tag);
            counter[15] |= 0x80;
            let number = u32::from_le_bytes(counter[..4].try_into().unwrap()).wrapping_add(index as u32);
            counter[..4].copy_from_slice(&number.to_le_bytes());
            self.cipher.encrypt_block(&mut counter);
            polyval.update(&[(block ^ u128::from_le_bytes(counter.into())).to_le_bytes().into()]);
        }
        let lengths = (128u128 | 256 << 64).to_le_bytes();
        polyval.update(&[lengths.into()]);
        u128::from_le_bytes(polyval.finalize().into())
    }
}

/// A tag and two blocks of ciphertext that open under both keys. POLYVAL is linear in the ciphertext, so two keys give
/// 256 linear equations for 256 bits.
fn made_for_both(keys: [&[u8; 32]; 2]) -> ([u8; 16], [u128; 2]) {
    let [first, second] = keys.map(Insides::new);
    let tags = (0u8..).map(|byte| [byte; 16]);
    let (tag, wanted) =
        tags.into_iter().find_map(|tag| Some((tag, [first.wanted(tag)?, second.wanted(tag)?]))).expect("one in four");
    let hash = |ciphertext| [first.hash(tag, ciphertext), second.hash(tag, ciphertext)];
    let xor = |a: [u128; 2], b: [u128; 2]| [a[0] ^ b[0], a[1] ^ b[1]];
    let bit = |index: usize| if index < 128 { [1u128 << index, 0] } else { [0, 1u128 << (index - 128)] };
    let meets = |value: [u128; 2], bit: [u128; 2]| (value[0] & bit[0]) | (value[1] & bit[1]) != 0;
    let zero = hash([0; 2]);
    // Gauss: rows of (what the hash changes by, which bits of ciphertext do it).
    let mut rows: Vec<_> = (0..256).map(|index| (xor(hash(bit(index)), zero), bit(index))).collect();
    let (mut left, mut solution) = (xor(wanted, zero), [0; 2]);
    for index in 0..256 {
        let place = rows.iter().position(|(change, _)| meets(*change, bit(index))).expect("a regular system");
        let pivot = rows.swap_remove(place);
        for row in rows.iter_mut().filter(|(change, _)| meets(*change, bit(index))) {
            *row = (xor(row.0, pivot.0), xor(row.1, pivot.1));
        }
        if meets(left, bit(index)) {
            (left, solution) = (xor(left, pivot.0), xor(solution, pivot.1));
        }
    }
    (tag, solution)
}

#[test]
fn the_commitment_refuses_what_gcm_siv_opens_under_two_keys() {
    let secrets = [[5u8; 64], [6; 64]];
    let keys = secrets.map(|secret| expand::<32>(&secret, &[b"key"]));
    let (tag, blocks) = made_for_both([&keys[0], &keys[1]]);
    let ciphertext = blocks.map(u128::to_le_bytes).concat();
    let plains = keys.map(|key| {
        let mut buffer = ciphertext.clone();
        Cipher::new(&key).open(&NONCE, &ASSOCIATED, &mut buffer, &tag).expect("GCM-SIV does not commit to its key");
        buffer
    });
    assert_ne!(plains[0], plains[1], "one ciphertext, two meanings");

    for (maker, secret) in secrets.iter().enumerate() {
        let commitment: [u8; 32] = expand(secret, &[b"commit"]);
        let body = [&NONCE[..], &commitment, &ciphertext, &tag].concat();
        for (reader, plain) in plains.iter().enumerate() {
            let mut opened = [0; 32];
            let result = Committing::new(&HmacKey::new(&secrets[reader])).open(&body, &ASSOCIATED, &mut opened);
            if reader == maker {
                assert_eq!((result, &opened[..]), (Ok(()), &plain[..]));
            } else {
                assert_eq!((result, opened), (Err(Invalid), [0; 32]), "refused before anything is decrypted");
            }
        }
    }
}
