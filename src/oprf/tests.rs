//! Against the vectors of RFC 9497, and against dalek put together a second time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use curve25519_dalek::RistrettoPoint;
use serde_json::Value;
use sha2::{Digest, Sha512};

use super::*;

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// expand_message_xmd of RFC 9380 section 5.3.1, 64 bytes, written for the test with sha2.
pub(crate) fn expand(message: &[u8], tag: &[u8]) -> [u8; 64] {
    let tag = [tag, &[tag.len() as u8]].concat();
    let first = Sha512::new().chain_update([0; 128]).chain_update(message).chain_update([0, 64, 0]).chain_update(&tag);
    Sha512::new().chain_update(first.finalize()).chain_update([1]).chain_update(&tag).finalize().into()
}

#[test]
fn rfc9497_vectors_at_every_batch_size() {
    let suites: Value = serde_json::from_str(include_str!("../../vectors/rfc9497-ristretto255-oprf.json")).unwrap();
    let suite = &suites[0];
    assert_eq!((suite["mode"].as_u64(), suite["identifier"].as_str()), (Some(0), Some("ristretto255-SHA512")));
    let cases = suite["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for backend in Backend::all() {
        for count in (1..=17).chain([31, 64, 65]) {
            let seed: [u8; 32] = array(&suite["seed"]);
            let keys = derive_keys_on(backend, &vec![&seed; count], &bytes(&suite["keyInfo"])).unwrap();
            assert!(keys.iter().all(|key| key.to_bytes().expose() == &array(&suite["skSm"])));
            let blinded: Vec<[u8; 32]> = (0..count).map(|index| array(&cases[index % 2]["BlindedElement"])).collect();
            let points: Vec<_> = backend.decode(&blinded).into_iter().map(Option::unwrap).collect();
            let items: Vec<_> = keys.iter().zip(&points).collect();
            let expected: Vec<[u8; 32]> =
                (0..count).map(|index| array(&cases[index % 2]["EvaluationElement"])).collect();
            assert_eq!(backend.multiply(&items).unwrap(), expected);
            assert_eq!(blind_evaluate(&items).unwrap(), expected);
        }
    }
}

/// The client's half over the same vectors, with dalek and sha2 alone: what the server's element is good for.
#[test]
fn rfc9497_vectors_on_the_clients_side() {
    let suites: Value = serde_json::from_str(include_str!("../../vectors/rfc9497-ristretto255-oprf.json")).unwrap();
    let suite = &suites[0];
    for case in suite["vectors"].as_array().unwrap() {
        let input = bytes(&case["Input"]);
        let blind = curve25519_dalek::Scalar::from_canonical_bytes(array(&case["Blind"])).unwrap();
        let element = RistrettoPoint::from_uniform_bytes(&expand(&input, &bytes(&suite["groupDST"])));
        assert_eq!((blind * element).compress().to_bytes(), array(&case["BlindedElement"]));
        let point = backend().decode(&[array(&case["BlindedElement"])]).remove(0).unwrap();
        let key = Scalar::from_bytes(&array(&suite["skSm"])).unwrap();
        let evaluated = blind_evaluate(&[(&key, &point)]).unwrap()[0];
        let evaluated = curve25519_dalek::ristretto::CompressedRistretto(evaluated).decompress().unwrap();
        let unblinded = (blind.invert() * evaluated).compress().to_bytes();
        let length = (input.len() as u16).to_be_bytes();
        let output = Sha512::new()
            .chain_update(length)
            .chain_update(&input)
            .chain_update([0, 32])
            .chain_update(unblinded)
            .chain_update(b"Finalize")
            .finalize();
        assert_eq!(output[..], bytes(&case["Output"])[..]);
    }
}

#[test]
fn keys_agree_with_the_rfc_through_every_length_of_info() {
    for length in [0, 1, 20, 33, 90, 300] {
        let (seed, info) = ([length as u8; 32], vec![7; length]);
        let message = [&seed[..], &(length as u16).to_be_bytes(), &info, &[0]].concat();
        let wide = expand(&message, b"DeriveKeyPairOPRFV1-\x00-ristretto255-SHA512");
        let expected = curve25519_dalek::Scalar::from_bytes_mod_order_wide(&wide).to_bytes();
        let keys = derive_keys(&[&seed], &info).unwrap();
        assert_eq!(keys[0].to_bytes().expose(), &expected);
    }
    assert!(matches!(derive_keys(&[&[0; 32]], &vec![0; 65_536]), Err(Fault::Limit(_))));
}

#[test]
fn a_seed_that_gives_zero_is_tried_again_and_harms_no_neighbour() {
    for backend in Backend::all() {
        // Index i gives zero under the counters below i.
        let uniform = |indices: &[usize], counter: u8| {
            let wide = |&index: &usize| match index > usize::from(counter) {
                true => [0; 64],
                false => [counter.wrapping_add(1); 64],
            };
            Secret::new(indices.iter().map(wide).collect())
        };
        let scalars = first_not_zero(backend, 5, uniform).expect("each has one");
        for (index, scalar) in scalars.iter().enumerate() {
            let expected = curve25519_dalek::Scalar::from_bytes_mod_order_wide(&[index as u8 + 1; 64]).to_bytes();
            assert_eq!(scalar.to_bytes().expose(), &expected);
        }
        assert!(first_not_zero(backend, 257, uniform).is_none(), "all 256 counters give zero for the last");
    }
}
