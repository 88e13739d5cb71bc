//! The doors of the engine's hash on every backend against sha2 and hmac, for the fuzzer and its seeds.
//!
//! An input chooses the door, the number of items, into how many parts each message is cut, and the length of every
//! part; so it chooses which lanes have how many blocks, and where in a block they end.

use hmac::{KeyInit, Mac};
use sha2::{Digest, Sha512};
use strongroom::engine::Backend;
use strongroom::engine::sha512::{HmacKey, Prefix};

use crate::judge::{Judge, Script};

/// Does what the script says on every backend.
pub(crate) fn drive(bytes: &[u8], judge: &mut Judge) -> Result<(), String> {
    let mut script = Script::new(bytes);
    let (door, parts, count, bits) = (script.byte() % 4, script.byte() % 4, script.count(), script.byte());
    match parts {
        0 => cut::<1>(&mut script, door, count, bits, judge),
        1 => cut::<2>(&mut script, door, count, bits, judge),
        2 => cut::<3>(&mut script, door, count, bits, judge),
        _ => cut::<6>(&mut script, door, count, bits, judge),
    }
}

/// Messages of `P` parts.
fn cut<const P: usize>(
    script: &mut Script<'_>,
    door: u8,
    count: usize,
    bits: u8,
    judge: &mut Judge,
) -> Result<(), String> {
    // Lengths that differ from lane to lane, or one for all, as in a login.
    let alike: Option<[usize; P]> = (bits & 1 == 1).then(|| std::array::from_fn(|_| length(script)));
    let messages: Vec<[Vec<u8>; P]> = (0..count)
        .map(|_| {
            let lengths = alike.unwrap_or_else(|| std::array::from_fn(|_| length(script)));
            lengths.map(|length| content(script, length))
        })
        .collect();
    let messages: Vec<[&[u8]; P]> = messages.iter().map(|parts| parts.each_ref().map(Vec::as_slice)).collect();
    match door {
        0 => digests(script, &messages, bits, judge),
        1 => macs(script, &messages, bits, judge),
        2 => prefixes(script, &messages, judge),
        _ => mac_keys(script, &messages, judge),
    }
}

fn digests<const P: usize>(
    script: &mut Script<'_>,
    messages: &[[&[u8]; P]],
    bits: u8,
    judge: &mut Judge,
) -> Result<(), String> {
    // One prefix for all, or each its own.
    let first = text(script);
    let starts: Vec<_> = messages.iter().map(|_| if bits & 2 == 0 { first.clone() } else { text(script) }).collect();
    let expected: Vec<_> = starts.iter().zip(messages).map(|(start, parts)| sha512(start, parts)).collect();
    let starts: Vec<_> = starts.iter().map(|start| Prefix::new(&[start])).collect();
    let items: Vec<_> = starts.iter().zip(messages).map(|(start, parts)| (start, *parts)).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        judge.all(&format!("digests on {}", backend.name()), backend.digests(&items).expose(), &expected)
    })
}

fn macs<const P: usize>(
    script: &mut Script<'_>,
    messages: &[[&[u8]; P]],
    bits: u8,
    judge: &mut Judge,
) -> Result<(), String> {
    let first = text(script);
    let keys: Vec<_> = messages.iter().map(|_| if bits & 2 == 0 { first.clone() } else { text(script) }).collect();
    let expected: Vec<_> = keys.iter().zip(messages).map(|(key, parts)| hmac_sha512(key, parts)).collect();
    let keys: Vec<_> = keys.iter().map(|key| HmacKey::new(key)).collect();
    let items: Vec<_> = keys.iter().zip(messages).map(|(key, parts)| (key, *parts)).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        judge.all(&format!("macs on {}", backend.name()), backend.macs(&items).expose(), &expected)
    })
}

fn prefixes<const P: usize>(script: &mut Script<'_>, messages: &[[&[u8]; P]], judge: &mut Judge) -> Result<(), String> {
    let tails: Vec<_> = messages.iter().map(|_| text(script)).collect();
    let whole = |(parts, tail): (&[&[u8]; P], &Vec<u8>)| sha512(&parts.concat(), &[tail]);
    let expected: Vec<_> = messages.iter().zip(&tails).map(whole).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        let prefixes = backend.prefixes(messages);
        let ours: Vec<_> = prefixes.iter().zip(&tails).map(|(prefix, tail)| prefix.digest(&[tail])).collect();
        judge.all(&format!("prefixes on {}", backend.name()), &ours, &expected)
    })
}

fn mac_keys<const P: usize>(script: &mut Script<'_>, messages: &[[&[u8]; P]], judge: &mut Judge) -> Result<(), String> {
    let key = |_| -> [u8; 64] {
        let seed: [u8; 4] = script.array();
        std::array::from_fn(|index| seed[index % 4].wrapping_add(index as u8))
    };
    let keys: Vec<_> = (0..messages.len()).map(key).collect();
    let expected: Vec<_> = keys.iter().zip(messages).map(|(key, parts)| hmac_sha512(key, parts)).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        let ready = backend.mac_keys(&keys);
        let ours: Vec<_> = ready.iter().zip(messages).map(|(key, parts)| key.mac(parts)).collect();
        judge.all(&format!("mac_keys on {}", backend.name()), &ours, &expected)
    })
}

fn sha512(start: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    Sha512::new_with_prefix(start).chain_update(parts.concat()).finalize().into()
}

fn hmac_sha512(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    let oracle = hmac::Hmac::<Sha512>::new_from_slice(key).expect("any length");
    oracle.chain_update(parts.concat()).finalize().into_bytes().into()
}

/// Short, or around the places where a block or its padding ends, or any up to five blocks.
fn length(script: &mut Script<'_>) -> usize {
    const EDGES: [usize; 8] = [0, 1, 110, 111, 112, 113, 126, 127];
    match script.byte() {
        kind @ ..128 => kind.into(),
        kind @ 128..192 => 128 * usize::from(kind % 4) + EDGES[usize::from(kind / 4 % 8)],
        kind => (usize::from(kind % 4) << 8 | usize::from(script.byte())) % 641,
    }
}

/// Bytes that differ from place to place and from one to the next.
fn content(script: &mut Script<'_>, length: usize) -> Vec<u8> {
    let first = script.byte();
    (0..length).map(|index| first.wrapping_add((index * 7) as u8)).collect()
}

fn text(script: &mut Script<'_>) -> Vec<u8> {
    let length = length(script);
    content(script, length)
}
