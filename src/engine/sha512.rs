//! SHA-512 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869) over it, with midstates that can be kept.
//!
//! A [`Midstate`] is what the hash remembers after whole blocks, so a constant prefix or a MAC key is compressed once
//! and reused. Here one message is hashed at a time; `batch.rs` hashes many on lanes, and counts the same blocks.

use sha2::block_api::compress512;
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroize;

use super::tally;
use crate::secret::Secret;

pub(super) mod batch;
mod lanes;

/// Bytes of a block.
pub const BLOCK_LEN: usize = 128;
/// Bytes of a digest.
pub const DIGEST_LEN: usize = 64;
/// The least padding: a byte, and the length.
const PADDING: usize = 17;

/// Initial hash value of SHA-512, FIPS 180-4 section 5.3.5.
static INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The hash after a whole number of blocks. Wiped on drop, since it may stand for a key.
#[derive(Clone)]
pub struct Midstate {
    words: [u64; 8],
    blocks: u64,
}

impl Drop for Midstate {
    fn drop(&mut self) {
        // As a slice, which is wiped in one piece; an array is wiped word by word.
        self.words.as_mut_slice().zeroize();
    }
}

impl Midstate {
    /// Before the first block.
    pub fn new() -> Self {
        Midstate { words: INITIAL, blocks: 0 }
    }

    /// The eight words.
    pub fn words(&self) -> &[u64; 8] {
        &self.words
    }

    /// The same hash one block later.
    pub fn after(&self, block: &[u8; BLOCK_LEN]) -> Self {
        let mut next = self.clone();
        tally::count(|tally| tally.blocks += 1);
        compress512(&mut next.words, std::slice::from_ref(block));
        next.blocks += 1;
        next
    }

    /// The digest of everything so far followed by `parts`.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let mut message = Message::after(self);
        let filled = message.take(0, parts);
        message.digest(filled)
    }

    /// Takes the words of `other` if `choice`, in the same time either way. Both stand after the same number of blocks.
    fn conditional_assign(&mut self, other: &Self, choice: Choice) {
        debug_assert_eq!(self.blocks, other.blocks, "the number of blocks is no secret");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            word.conditional_assign(other, choice);
        }
    }
}

impl Default for Midstate {
    fn default() -> Self {
        Midstate::new()
    }
}

/// The hash after any number of bytes, to go on from in more than one direction. Wiped on drop.
#[derive(Clone)]
pub struct Prefix {
    state: Midstate,
    /// Bytes that do not fill a block yet; those from `filled` on mean nothing.
    tail: [u8; BLOCK_LEN],
    filled: usize,
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // The state sees to itself.
        self.tail.as_mut_slice().zeroize();
    }
}

impl From<Midstate> for Prefix {
    fn from(state: Midstate) -> Self {
        Prefix { state, tail: [0; BLOCK_LEN], filled: 0 }
    }
}

impl Prefix {
    /// The hash after `parts`.
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut message = Message::after(&Midstate::new());
        let filled = message.take(0, parts);
        let whole = filled / BLOCK_LEN;
        message.compress(whole);
        Prefix { state: message.state.clone(), tail: message.blocks[whole], filled: filled % BLOCK_LEN }
    }

    /// The digest of everything so far followed by `parts`.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let mut message = Message::after(&self.state);
        let filled = message.take(0, &[&self.tail[..self.filled]]);
        let filled = message.take(filled, parts);
        message.digest(filled)
    }
}

/// Blocks of a message that are laid out before they are compressed: most messages of OPAQUE have no more.
const LAID_OUT: usize = 4;

/// A message on its way into the hash, wiped on drop. It is laid out in blocks first and compressed afterwards, all of it
/// at once if it is short.
///
/// If a block is compressed as soon as it is full, time depends on digests: how many bytes are in it is then loaded and
/// stored beside words of the hash, and by all signs a processor guesses ahead of the store by what lay in its place before
/// (speculative store bypass). `tests/timing -- --shared "engine digests 8"` saw a few nanoseconds of that.
struct Message {
    state: Midstate,
    /// One block more, since padding may need it.
    blocks: [[u8; BLOCK_LEN]; LAID_OUT + 1],
}

impl Drop for Message {
    fn drop(&mut self) {
        // The state sees to itself.
        self.blocks.as_flattened_mut().zeroize();
    }
}

impl Message {
    /// Nothing yet, after `state`.
    fn after(state: &Midstate) -> Self {
        Message { state: state.clone(), blocks: [[0; BLOCK_LEN]; LAID_OUT + 1] }
    }

    /// Lays out `parts` behind `filled` bytes, and compresses what is laid out whenever it is full. Gives how many bytes
    /// are laid out then, and not compressed.
    fn take(&mut self, mut filled: usize, parts: &[&[u8]]) -> usize {
        for part in parts {
            let mut part = *part;
            while !part.is_empty() {
                let (head, rest) = part.split_at(part.len().min(LAID_OUT * BLOCK_LEN - filled));
                self.blocks.as_flattened_mut()[filled..filled + head.len()].copy_from_slice(head);
                filled += head.len();
                part = rest;
                if filled == LAID_OUT * BLOCK_LEN {
                    self.compress(LAID_OUT);
                    filled = 0;
                }
            }
        }
        filled
    }

    /// Compresses the first blocks.
    fn compress(&mut self, blocks: usize) {
        tally::count(|tally| tally.blocks += blocks);
        compress512(&mut self.state.words, &self.blocks[..blocks]);
        self.state.blocks += blocks as u64;
    }

    /// The digest, where `filled` bytes are laid out and not compressed.
    fn digest(&mut self, filled: usize) -> [u8; DIGEST_LEN] {
        let bits = (u128::from(self.state.blocks) * BLOCK_LEN as u128 + filled as u128) * 8;
        let blocks = (filled + PADDING).div_ceil(BLOCK_LEN);
        let padding = &mut self.blocks[..blocks].as_flattened_mut()[filled..];
        padding.fill(0);
        padding[0] = 0x80;
        let length = padding.len() - 16;
        padding[length..].copy_from_slice(&bits.to_be_bytes());
        self.compress(blocks);
        let mut digest = [0; DIGEST_LEN];
        for (bytes, word) in digest.chunks_exact_mut(8).zip(&self.state.words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

/// SHA-512 over the concatenation of `parts`.
pub fn digest(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    Midstate::new().digest(parts)
}

/// A key of HMAC-SHA-512, as the two midstates it amounts to. Wiped on drop, as they are.
#[derive(Clone)]
pub struct HmacKey {
    inner: Midstate,
    outer: Midstate,
}

impl HmacKey {
    /// Takes a key of any length; one longer than a block is hashed first, as RFC 2104 says.
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0u8; BLOCK_LEN];
        if key.len() > BLOCK_LEN {
            block[..DIGEST_LEN].copy_from_slice(&digest(&[key]));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let pad = |block: &[u8; BLOCK_LEN], with: u8| {
            let mut padded = block.map(|byte| byte ^ with);
            let state = Midstate::new().after(&padded);
            padded.as_mut_slice().zeroize();
            state
        };
        let mac_key = HmacKey { inner: pad(&block, 0x36), outer: pad(&block, 0x5c) };
        block.as_mut_slice().zeroize();
        mac_key
    }

    /// Takes the key that `other` is if `choice`, in the same time either way.
    pub fn conditional_assign(&mut self, other: &Self, choice: Choice) {
        self.inner.conditional_assign(&other.inner, choice);
        self.outer.conditional_assign(&other.outer, choice);
    }

    /// HMAC-SHA-512 over the concatenation of `parts`.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let inner = Secret::new(self.inner.digest(parts));
        self.outer.digest(&[inner.expose()])
    }

    /// HKDF-Expand (RFC 5869 section 2.3) with this key as PRK: fills `out`, at most 255 digests long, from the
    /// concatenation of `info`.
    ///
    /// # Panics
    /// If `out` is longer: its bytes would repeat.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        assert!(out.len() <= 255 * DIGEST_LEN, "RFC 5869 section 2.3: at most 255 digests");
        let mut previous = Secret::new([0u8; DIGEST_LEN]);
        let mut counter = 0u8;
        for chunk in out.chunks_mut(DIGEST_LEN) {
            let first = counter == 0;
            counter = counter.wrapping_add(1);
            let mut parts: Vec<&[u8]> = Vec::with_capacity(info.len() + 2);
            if !first {
                parts.push(previous.expose());
            }
            parts.extend_from_slice(info);
            let number = [counter];
            parts.push(&number);
            *previous.expose_mut() = self.mac(&parts);
            chunk.copy_from_slice(&previous.expose()[..chunk.len()]);
        }
    }

    /// HKDF-Expand to an array.
    pub fn expand_array<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        let mut out = [0; N];
        self.expand(info, &mut out);
        out
    }
}

/// HKDF-Extract (RFC 5869 section 2.2) over the concatenation of `material`.
pub fn extract(salt: &HmacKey, material: &[&[u8]]) -> [u8; DIGEST_LEN] {
    salt.mac(material)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use hmac::{KeyInit, Mac};
    use sha2::Digest;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 7 + length) as u8).collect()
    }

    #[test]
    fn sha512_agrees_with_sha2_at_every_length_and_cut() {
        for length in (0..300).chain([1000, 4096]) {
            let message = bytes(length);
            let expected: [u8; 64] = sha2::Sha512::digest(&message).into();
            assert_eq!(digest(&[&message]), expected);
            let (head, tail) = message.split_at(length / 3);
            assert_eq!(digest(&[head, tail]), expected);
            let prefix = Prefix::new(&[head]);
            assert_eq!(prefix.digest(&[tail]), expected);
            assert_eq!(prefix.digest(&[tail]), expected, "a prefix is not used up");
            if length >= BLOCK_LEN {
                let (block, rest) = message.split_first_chunk().expect("a block");
                assert_eq!(Midstate::new().after(block).digest(&[rest]), expected);
            }
        }
    }

    #[test]
    fn hmac_agrees_with_hmac_at_every_key_length() {
        for length in 0..260 {
            let (key, message) = (bytes(length), bytes(length * 3));
            let mut oracle = hmac::Hmac::<sha2::Sha512>::new_from_slice(&key).expect("any length");
            oracle.update(&message);
            let expected: [u8; 64] = oracle.finalize().into_bytes().into();
            assert_eq!(HmacKey::new(&key).mac(&[&message]), expected);
        }
    }

    #[test]
    fn a_choice_takes_one_key_or_the_other_whole() {
        let (real, fake) = (HmacKey::new(b"real"), HmacKey::new(b"fake"));
        for (choice, expected) in [(0, &fake), (1, &real)] {
            let mut chosen = fake.clone();
            chosen.conditional_assign(&real, Choice::from(choice));
            assert_eq!(chosen.mac(&[b"message"]), expected.mac(&[b"message"]));
        }
    }

    #[test]
    fn hkdf_agrees_with_hkdf() {
        for length in [0, 1, 63, 64, 65, 128, 300, 1000] {
            let (salt, material, info) = (bytes(13), bytes(length), bytes(length / 2));
            let (prk, oracle) = hkdf::Hkdf::<sha2::Sha512>::extract(Some(&salt), &material);
            let ours = extract(&HmacKey::new(&salt), &[&material]);
            assert_eq!(ours[..], prk[..]);
            let (mut expected, mut out) = (vec![0; length], vec![0; length]);
            oracle.expand(&info, &mut expected).expect("short enough");
            HmacKey::new(&ours).expand(&[&info], &mut out);
            assert_eq!(out, expected);
        }
    }
}
