//! The doors of the hash on every backend, in batches that mix lengths, against the sha2, hmac and hkdf crates.

use hmac::{KeyInit, Mac};
use sha2::Digest;

use super::*;
use crate::engine::sha512::{BLOCK_LEN, Midstate};

/// Lengths around every edge that a block has, and some of many blocks.
fn lengths() -> Vec<usize> {
    (0..300).chain([1000, 4096]).collect()
}

/// A message of that length which no other index has.
fn message(index: usize, length: usize) -> Vec<u8> {
    (0..length.div_ceil(64)).flat_map(|part| wide(index * 1000 + part)).take(length).collect()
}

fn sha512_of(message: &[u8]) -> [u8; 64] {
    sha2::Sha512::digest(message).into()
}

fn hmac_of(key: &[u8], message: &[u8]) -> [u8; 64] {
    let mut oracle = hmac::Hmac::<sha2::Sha512>::new_from_slice(key).unwrap();
    oracle.update(message);
    oracle.finalize().into_bytes().into()
}

/// Batches of messages: all lengths; every size, with lengths from all over; and groups of each size up to 17 that share
/// a number of blocks, taken apart.
fn batches() -> Vec<Vec<Vec<u8>>> {
    let lengths = lengths();
    let mut batches = vec![lengths.iter().enumerate().map(|(index, length)| message(index, *length)).collect()];
    for count in SIZES.into_iter().chain([1000]) {
        for step in [0, 1, 37] {
            let length = |index| lengths[(count + index * step) % lengths.len()];
            batches.push((0..count).map(|index| message(index, length(index))).collect());
        }
    }
    let groups: Vec<_> = (1..18).flat_map(|size| std::iter::repeat_n(BLOCK_LEN * (size - 1) + size, size)).collect();
    let turned = (0..groups.len()).map(|index| message(index, groups[index * 64 % groups.len()]));
    batches.push(turned.collect());
    batches
}

#[test]
fn digests_agree_with_sha2() {
    let start = Prefix::from(Midstate::new());
    for batch in batches() {
        let expected: Vec<_> = batch.iter().map(|message| sha512_of(message)).collect();
        let items: Vec<_> = batch.iter().map(|message| (&start, [&message[..]])).collect();
        for backend in Backend::all() {
            assert_eq!(backend.digests(&items).expose(), &expected);
            // E3: in the other order, the same answers in the other order.
            let turned: Vec<_> = items.iter().rev().copied().collect();
            let expected: Vec<_> = expected.iter().rev().copied().collect();
            assert_eq!(backend.digests(&turned).expose(), &expected);
        }
    }
}

#[test]
fn prefixes_agree_with_sha2_at_every_cut() {
    for length in [0, 1, 111, 112, 127, 128, 129, 239, 240, 300, 2500] {
        let message = message(7, length);
        let expected = vec![sha512_of(&message); length + 1];
        for backend in Backend::all() {
            let heads: Vec<_> = (0..=length).map(|cut| [&message[..cut / 2], &message[cut / 2..cut]]).collect();
            let prefixes = backend.prefixes(&heads);
            let items: Vec<_> = prefixes
                .iter()
                .enumerate()
                .map(|(cut, prefix)| {
                    let (one, rest) = message[cut..].split_at((length - cut).min(1));
                    let (two, rest) = rest.split_at(rest.len() / 3);
                    (prefix, [one, two, rest])
                })
                .collect();
            assert_eq!(backend.digests(&items).expose(), &expected);
            assert_eq!(backend.digests(&items).expose(), &expected, "a prefix is not used up");
        }
    }
}

#[test]
fn prefixes_keep_their_order() {
    for batch in batches() {
        let expected: Vec<_> = batch.iter().map(|message| sha512_of(&[message, &b"end"[..]].concat())).collect();
        let items: Vec<_> = batch.iter().map(|message| [&message[..]]).collect();
        for backend in Backend::all() {
            let prefixes = backend.prefixes(&items);
            assert!(prefixes.iter().map(|prefix| prefix.digest(&[b"end"])).eq(expected.iter().copied()));
            let ends: Vec<_> = prefixes.iter().map(|prefix| (prefix, [&b"end"[..]])).collect();
            assert_eq!(backend.digests(&ends).expose(), &expected);
        }
    }
}

#[test]
fn macs_agree_with_hmac() {
    for batch in batches() {
        let keys: Vec<_> = (0..batch.len()).map(wide).collect();
        let expected: Vec<_> = keys.iter().zip(&batch).map(|(key, message)| hmac_of(key, message)).collect();
        for backend in Backend::all() {
            let ready = backend.mac_keys(&keys);
            let cut = |message: &'_ [u8]| message.len() / 2;
            let items: Vec<_> = ready
                .iter()
                .zip(&batch)
                .map(|(key, message)| (key, [&message[..cut(message)], &message[cut(message)..]]))
                .collect();
            assert_eq!(backend.macs(&items).expose(), &expected);
            let turned: Vec<_> = items.iter().rev().copied().collect();
            let expected: Vec<_> = expected.iter().rev().copied().collect();
            assert_eq!(backend.macs(&turned).expose(), &expected);
        }
    }
}

/// Keys made in batches are the keys made one by one, for both of their halves.
#[test]
fn keys_agree_with_keys_made_one_by_one() {
    let edges = [[0; 64], [0xff; 64], [0x36; 64], [0x5c; 64]];
    for count in SIZES.into_iter().chain([1000]) {
        let keys: Vec<[u8; 64]> = (0..count).map(|index| *edges.get(index % 7).unwrap_or(&wide(index))).collect();
        for backend in Backend::all() {
            let ready = backend.mac_keys(&keys);
            assert_eq!(ready.len(), count);
            for (ready, key) in ready.iter().zip(&keys) {
                assert_eq!(ready.mac(&[b"message"]), hmac_of(key, b"message"));
            }
        }
    }
}

#[test]
fn expansions_agree_with_hkdf() {
    for count in SIZES {
        let prks: Vec<_> = (0..count).map(wide).collect();
        let infos: Vec<_> = (0..count).map(|index| message(index, index * 5)).collect();
        for backend in Backend::all() {
            let keys = backend.mac_keys(&prks);
            let first: Vec<_> = keys.iter().zip(&infos).map(|(key, info)| (key, [&info[..], &[1]])).collect();
            let first = backend.macs(&first);
            let second = keys.iter().zip(&infos).zip(first.expose());
            let second: Vec<_> = second.map(|((key, info), block)| (key, [&block[..], info, &[2]])).collect();
            let second = backend.macs(&second);
            for index in 0..count {
                let mut expected = [0; 128];
                let oracle = hkdf::Hkdf::<sha2::Sha512>::from_prk(&prks[index]).unwrap();
                oracle.expand(&infos[index], &mut expected).unwrap();
                assert_eq!([first.expose()[index], second.expose()[index]].as_flattened(), expected);
            }
        }
    }
}

/// Control of all comparisons above: one bit of one message changes the answer in that place and in no other.
#[test]
fn e3_one_bit_changes_one_answer_in_each_place() {
    let start = Prefix::from(Midstate::new());
    for count in SIZES {
        let messages: Vec<_> = (0..count).map(|index| message(index, 100)).collect();
        for backend in Backend::all() {
            let answers = |messages: &[Vec<u8>]| {
                let keys: Vec<[u8; 64]> = messages.iter().map(|message| *message.first_chunk().unwrap()).collect();
                let keys = backend.mac_keys(&keys);
                let macs: Vec<_> = keys.iter().map(|key| (key, [&b"message"[..]])).collect();
                let bytes: Vec<_> = messages.iter().map(|message| (&start, [&message[..]])).collect();
                let both = [backend.digests(&bytes), backend.macs(&macs)];
                both.map(|answers| answers.expose().clone())
            };
            let before = answers(&messages);
            for place in 0..count {
                let mut changed = messages.clone();
                changed[place][place % 64] ^= 1 << (place % 8);
                for (before, after) in before.iter().zip(answers(&changed)) {
                    for index in 0..count {
                        assert_eq!(before[index] == after[index], index != place);
                    }
                }
            }
        }
    }
}

#[test]
fn the_tally_counts_blocks_of_messages_and_no_others() {
    let start = Prefix::from(Midstate::new());
    for batch in batches() {
        let whole: usize = batch.iter().map(|message| message.len() / BLOCK_LEN).sum();
        let padded: usize = batch.iter().map(|message| (message.len() + 17).div_ceil(BLOCK_LEN)).sum();
        let keys = vec![[7; 64]; batch.len()];
        for backend in Backend::all() {
            let ready = backend.mac_keys(&keys);
            let blocks = |work: &dyn Fn()| tally::of(work).blocks;
            let messages: Vec<_> = batch.iter().map(|message| [&message[..]]).collect();
            let digests: Vec<_> = messages.iter().map(|parts| (&start, *parts)).collect();
            let macs: Vec<_> = ready.iter().zip(&messages).map(|(key, parts)| (key, *parts)).collect();
            assert_eq!(blocks(&|| drop(backend.prefixes(&messages))), whole);
            assert_eq!(blocks(&|| drop(backend.digests(&digests))), padded);
            assert_eq!(blocks(&|| drop(backend.macs(&macs))), padded + batch.len());
            assert_eq!(blocks(&|| drop(backend.mac_keys(&keys))), 2 * batch.len());
        }
    }
}
