//! The doors of the hash on lanes: messages into lanes, states and digests out of them.
//!
//! Messages with the same number of blocks share vectors; how many blocks a message has is public. Where few are left,
//! each is hashed by itself, which takes less time than a vector with few in it. Lanes without a message hash what they
//! hold, and nobody looks at that.

use super::lanes::{Block, Goal, MESSAGES, Messages, TOGETHER};
use super::{BLOCK_LEN, DIGEST_LEN, HmacKey, INITIAL, Midstate, PADDING, Prefix};
use crate::engine::lanes::{HashLanes, LANES};
use crate::engine::tally;

/// Messages up to which hashing one by one is faster than a vector of them. A vector takes as long as 1.8 messages on
/// Zen 4 and 1.9 on Zen 5, and filling it takes the rest.
const FEW: usize = 2;
/// Longest message that lanes take, in blocks. Longer ones are as rare as contexts of some kilobytes, and sixteen of
/// them would need more room than the nearest cache has.
const BLOCKS_MAX: usize = 16;

pub(in crate::engine) fn prefixes<L: HashLanes, const P: usize>(token: L::Token, items: &[[&[u8]; P]]) -> Vec<Prefix> {
    if items.len() <= FEW {
        return items.iter().map(|parts| Prefix::new(parts)).collect();
    }
    let mut prefixes = vec![Prefix::from(Midstate::new()); items.len()];
    let order = Order::new(items.iter().map(|parts| length(parts) / BLOCK_LEN));
    // Room for what does not fill a block, too.
    let mut messages = Messages::<L>::new(token, items.len(), order.most_blocks() + 1);
    for (blocks, group) in order.groups(MESSAGES) {
        if blocks == 0 || !is_for_lanes(blocks, group.len()) {
            for &(_, index) in group {
                prefixes[index] = Prefix::new(&items[index]);
            }
            continue;
        }
        let room = blocks + 1;
        for (lane, &(_, index)) in group.iter().enumerate() {
            write(&[], &items[index], &mut messages.blocks[lane * room..][..room]);
        }
        messages.compress(group.len().div_ceil(LANES), room, blocks, Goal::State);
        tally::count(|tally| tally.blocks += group.len() * blocks);
        for (lane, &(_, index)) in group.iter().enumerate() {
            let filled = length(&items[index]) % BLOCK_LEN;
            let prefix = &mut prefixes[index];
            prefix.state.words = messages.after[lane].0;
            prefix.state.blocks = blocks as u64;
            prefix.tail[..filled].copy_from_slice(&messages.blocks[lane * room + blocks].as_flattened()[..filled]);
            prefix.filled = filled;
        }
    }
    prefixes
}

pub(in crate::engine) fn digests<L: HashLanes, const P: usize>(
    token: L::Token,
    items: &[(&Prefix, [&[u8]; P])],
) -> Vec<[u8; DIGEST_LEN]> {
    if items.len() <= FEW {
        return items.iter().map(|(prefix, parts)| prefix.digest(parts)).collect();
    }
    let mut digests = vec![[0; DIGEST_LEN]; items.len()];
    let order = Order::new(items.iter().map(|(prefix, parts)| padded(prefix.filled + length(parts))));
    let mut messages = Messages::<L>::new(token, items.len(), order.most_blocks());
    for (blocks, group) in order.groups(MESSAGES) {
        if !is_for_lanes(blocks, group.len()) {
            for &(_, index) in group {
                let (prefix, parts) = &items[index];
                digests[index] = prefix.digest(parts);
            }
            continue;
        }
        for (lane, &(_, index)) in group.iter().enumerate() {
            let (prefix, parts) = &items[index];
            messages.before[lane] = &prefix.state.words;
            let room = &mut messages.blocks[lane * blocks..][..blocks];
            write_padded(prefix.state.blocks, &prefix.tail[..prefix.filled], parts, room);
        }
        messages.compress(group.len().div_ceil(LANES), blocks, blocks, Goal::Digest);
        tally::count(|tally| tally.blocks += group.len() * blocks);
        for (lane, &(_, index)) in group.iter().enumerate() {
            digests[index] = messages.digest(lane);
        }
    }
    digests
}

pub(in crate::engine) fn macs<L: HashLanes, const P: usize>(
    token: L::Token,
    items: &[(&HmacKey, [&[u8]; P])],
) -> Vec<[u8; DIGEST_LEN]> {
    if items.len() <= FEW {
        return items.iter().map(|(key, parts)| key.mac(parts)).collect();
    }
    let mut macs = vec![[0; DIGEST_LEN]; items.len()];
    let order = Order::new(items.iter().map(|(_, parts)| padded(length(parts))));
    let mut messages = Messages::<L>::new(token, items.len(), order.most_blocks());
    for (blocks, group) in order.groups(MESSAGES) {
        if !is_for_lanes(blocks, group.len()) {
            for &(_, index) in group {
                let (key, parts) = &items[index];
                macs[index] = key.mac(parts);
            }
            continue;
        }
        for (lane, &(_, index)) in group.iter().enumerate() {
            let (key, parts) = &items[index];
            messages.before[lane] = &key.inner.words;
            messages.outer[lane] = &key.outer.words;
            write_padded(key.inner.blocks, &[], parts, &mut messages.blocks[lane * blocks..][..blocks]);
        }
        messages.compress(group.len().div_ceil(LANES), blocks, blocks, Goal::Mac);
        tally::count(|tally| tally.blocks += group.len() * (blocks + 1));
        for (lane, &(_, index)) in group.iter().enumerate() {
            macs[index] = messages.digest(lane);
        }
    }
    macs
}

/// The inner and the outer hash of eight keys are the two vectors.
pub(in crate::engine) fn mac_keys<L: HashLanes>(token: L::Token, keys: &[[u8; DIGEST_LEN]]) -> Vec<HmacKey> {
    if 2 * keys.len() <= FEW {
        return keys.iter().map(|key| HmacKey::new(key)).collect();
    }
    let after_pad = Midstate { words: INITIAL, blocks: 1 };
    let mut mac_keys = vec![HmacKey { inner: after_pad.clone(), outer: after_pad }; keys.len()];
    let mut messages = Messages::<L>::new(token, MESSAGES, 1);
    for (keys, mac_keys) in keys.chunks(LANES).zip(mac_keys.chunks_mut(LANES)) {
        let (inner, outer) = messages.blocks.split_at_mut(LANES);
        for (key, (inner, outer)) in keys.iter().zip(inner.iter_mut().zip(outer)) {
            *inner = [key.map(|byte| byte ^ 0x36), [0x36; BLOCK_LEN / 2]];
            *outer = [key.map(|byte| byte ^ 0x5c), [0x5c; BLOCK_LEN / 2]];
        }
        messages.compress(TOGETHER, 1, 1, Goal::State);
        tally::count(|tally| tally.blocks += keys.len() * 2);
        let (inner, outer) = messages.after.split_at(LANES);
        for (mac_key, (inner, outer)) in mac_keys.iter_mut().zip(inner.iter().zip(outer)) {
            mac_key.inner.words = inner.0;
            mac_key.outer.words = outer.0;
        }
    }
    mac_keys
}

/// Items in the order in which lanes take them: how many blocks an item has, and its index.
struct Order(Vec<(usize, usize)>);

impl Order {
    fn new(blocks: impl Iterator<Item = usize>) -> Self {
        let mut order: Vec<_> = blocks.enumerate().map(|(index, blocks)| (blocks, index)).collect();
        order.sort_unstable();
        Order(order)
    }

    /// At most `most` items with the same number of blocks, after that number.
    fn groups(&self, most: usize) -> impl Iterator<Item = (usize, &[(usize, usize)])> {
        let same = self.0.chunk_by(|(blocks, _), (next, _)| blocks == next);
        same.flat_map(move |group| group.chunks(most)).map(|group| (group[0].0, group))
    }

    /// The most blocks that an item for lanes can have.
    fn most_blocks(&self) -> usize {
        self.0.last().map_or(0, |(blocks, _)| *blocks).min(BLOCKS_MAX)
    }
}

/// Whether lanes are faster for that many messages of that many blocks.
fn is_for_lanes(blocks: usize, messages: usize) -> bool {
    messages > FEW && blocks <= BLOCKS_MAX
}

/// Bytes of the concatenation of `parts`.
fn length(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Blocks of so many bytes and their padding, FIPS 180-4 section 5.1.2.
fn padded(length: usize) -> usize {
    (length + PADDING).div_ceil(BLOCK_LEN)
}

/// Writes `tail` and the concatenation of `parts` to `blocks`; gives their length.
fn write<const P: usize>(tail: &[u8], parts: &[&[u8]; P], blocks: &mut [Block]) -> usize {
    let bytes = blocks.as_flattened_mut().as_flattened_mut();
    copy(tail, &mut bytes[..tail.len()]);
    let mut written = tail.len();
    for part in parts {
        copy(part, &mut bytes[written..written + part.len()]);
        written += part.len();
    }
    written
}

/// Copies between slices of one length. Most are short: a key, a label, a counter. A call for each of them would take a
/// tenth of the time that hashing them takes.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        0 => {}
        1 => copy_ends::<1>(from, to),
        2..=4 => copy_ends::<2>(from, to),
        5..=8 => copy_ends::<4>(from, to),
        9..=16 => copy_ends::<8>(from, to),
        17..=32 => copy_ends::<16>(from, to),
        33..=64 => copy_ends::<32>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// The first `N` and the last `N` bytes, which is all if there are from `N` to `2 * N`.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *to = *from;
    }
}

/// The same with padding, FIPS 180-4 section 5.1.2, for a message that had `before` blocks already.
fn write_padded<const P: usize>(before: u64, tail: &[u8], parts: &[&[u8]; P], blocks: &mut [Block]) {
    // Padding is in the last block, and may begin in the one before.
    for block in blocks.iter_mut().rev().take(2) {
        *block = [[0; BLOCK_LEN / 2]; 2];
    }
    let written = write(tail, parts, blocks);
    let bytes = blocks.as_flattened_mut().as_flattened_mut();
    bytes[written] = 0x80;
    if let Some(length) = bytes.last_chunk_mut() {
        *length = ((before * BLOCK_LEN as u64 + written as u64) * 8).to_be_bytes();
    }
}
