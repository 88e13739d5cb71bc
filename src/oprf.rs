//! The oblivious pseudorandom function of RFC 9497 with ristretto255 and SHA-512, base mode, server side, batched.
//!
//! A client blinds its input and sends one element; the server multiplies it by a key and learns nothing. OPAQUE derives
//! a key for every record, so keys come in batches too.

use std::sync::LazyLock;

use crate::engine::sha512::{BLOCK_LEN, Midstate, Prefix};
use crate::engine::{Backend, DEEP, ELEMENT_LEN, Point, Scalar, backend, in_chunks, traceless};
use crate::error::Fault;
use crate::secret::Secret;

#[cfg(test)]
pub(crate) mod tests;

/// `"DeriveKeyPair" || contextString` of RFC 9497 section 3.2.1 with mode 0x00 (section 3.1), followed by its length, as
/// RFC 9380 section 5.3.1 wants a tag.
const DERIVE_KEY_PAIR: &[u8] = b"DeriveKeyPairOPRFV1-\x00-ristretto255-SHA512\x29";

const _: () = assert!(DERIVE_KEY_PAIR.len() == DERIVE_KEY_PAIR[DERIVE_KEY_PAIR.len() - 1] as usize + 1);

/// Bytes of a seed that a key is derived from.
pub const SEED_LEN: usize = 32;

/// BlindEvaluate, RFC 9497 section 3.3.1: each key times its own blinded element, encoded.
///
/// ```
/// use strongroom::{engine, oprf};
/// let generator = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";
/// let encoding = <[u8; 32]>::try_from(hex::decode(generator)?).unwrap();
/// let blinded = engine::backend().decode(&[encoding]).remove(0).expect("a valid encoding");
/// let one = std::array::from_fn(|index| u8::from(index == 0));
/// let key = engine::Scalar::from_bytes(&one).expect("not zero");
/// assert_eq!(oprf::blind_evaluate(&[(&key, &blinded)])?, [encoding]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Fault::Miscalculated`] if the machine miscalculated.
pub fn blind_evaluate(items: &[(&Scalar, &Point)]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    let evaluated = in_chunks::<DEEP, _, _>(items, |chunk| match backend().multiply(chunk) {
        Ok(evaluated) => evaluated.into_iter().map(Ok).collect(),
        Err(fault) => vec![Err(fault); chunk.len()],
    });
    evaluated.into_iter().collect()
}

/// The secret half of DeriveKeyPair, RFC 9497 section 3.2.1: a key from each seed and one `info` for all.
///
/// # Errors
/// [`Fault::Limit`] if `info` is longer than 65,535 bytes. [`Fault::Key`] if a seed gives zero under all 256 counters,
/// which nobody will see.
pub fn derive_keys(seeds: &[&[u8; SEED_LEN]], info: &[u8]) -> Result<Vec<Scalar>, Fault> {
    traceless::<DEEP, _>(|| derive_keys_on(backend(), seeds, info))
}

/// [`derive_keys`] on one backend and the caller's thread.
pub(crate) fn derive_keys_on(backend: Backend, seeds: &[&[u8; SEED_LEN]], info: &[u8]) -> Result<Vec<Scalar>, Fault> {
    let length = u16::try_from(info.len()).map_err(|_| Fault::Limit("info of a key derivation".into()))?.to_be_bytes();
    first_not_zero(backend, seeds.len(), |indices, counter| {
        let counter = [counter];
        let messages: Vec<_> = indices.iter().map(|&index| [&seeds[index][..], &length, info, &counter]).collect();
        expand_messages(backend, &messages, DERIVE_KEY_PAIR)
    })
    .ok_or_else(|| Fault::Key("a seed derives no key".into()))
}

/// For each index below `count` the scalar of the lowest counter that does not give zero; `None` if one has none.
///
/// A second counter is tried where the first gave zero, once in 2^252 seeds: that the time shows it is no concern.
fn first_not_zero(
    backend: Backend,
    count: usize,
    uniform: impl Fn(&[usize], u8) -> Secret<Vec<[u8; 64]>>,
) -> Option<Vec<Scalar>> {
    let all: Vec<usize> = (0..count).collect();
    let mut scalars = backend.reduce(uniform(&all, 0).expose());
    for counter in 1..=u8::MAX {
        let missing: Vec<usize> = all.iter().copied().filter(|&index| scalars[index].is_none()).collect();
        if missing.is_empty() {
            break;
        }
        for (index, scalar) in missing.iter().zip(backend.reduce(uniform(&missing, counter).expose())) {
            scalars[*index] = scalar;
        }
    }
    // Copied out of a vector that is then wiped, into one that does not grow: what moves out of a vector leaves its bytes there.
    let mut all_there = Vec::with_capacity(count);
    for scalar in &scalars {
        all_there.push(scalar.as_ref()?.same());
    }
    Some(all_there)
}

/// expand_message_xmd, RFC 9380 section 5.3.1, with SHA-512 and 64 bytes of output, over the concatenation of each
/// message's parts. `tag` carries its own length at its end.
fn expand_messages(backend: Backend, messages: &[[&[u8]; 4]], tag: &[u8]) -> Secret<Vec<[u8; 64]>> {
    // Every message starts with a block of zeros, compressed here once for all.
    static ZERO_BLOCK: LazyLock<Prefix> = LazyLock::new(|| Midstate::new().after(&[0; BLOCK_LEN]).into());
    static START: LazyLock<Prefix> = LazyLock::new(|| Midstate::new().into());
    let first: Vec<_> =
        messages.iter().map(|&[a, b, c, d]| (&*ZERO_BLOCK, [a, b, c, d, &b"\x00\x40\x00"[..], tag])).collect();
    let first = backend.digests(&first);
    let second: Vec<_> = first.expose().iter().map(|digest| (&*START, [&digest[..], &b"\x01"[..], tag])).collect();
    backend.digests(&second)
}
