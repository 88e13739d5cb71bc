//! Every door on every backend, against RFC 9496, curve25519-dalek and RustCrypto.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;

use super::*;

mod adversarial;
mod bounds;
mod faults;
mod flows;
mod hash;
mod integers;
mod interval;
mod limbs;
mod registers;
mod scalars;
mod x25519;

/// Order of the group, RFC 9496 section 4.4, lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Sizes that fill lanes, overflow them and leave them short.
const SIZES: [usize; 22] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 64, 65, 100];

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/rfc9496-ristretto255.json")).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn small(number: u8) -> [u8; 32] {
    std::array::from_fn(|index| if index == 0 { number } else { 0 })
}

fn order_less(number: u8) -> [u8; 32] {
    let mut bytes = ORDER;
    bytes[0] -= number;
    bytes
}

/// A test vector of our own for the index: SHA-512 of it.
fn wide(index: usize) -> [u8; 64] {
    sha512::digest(&[b"engine test", &index.to_be_bytes()])
}

fn scalars(count: usize) -> Vec<Scalar> {
    let edges = [small(1), small(2), small(3), order_less(1), order_less(2)];
    (0..count)
        .map(|index| match edges.get(index % 7) {
            Some(edge) => Scalar::from_bytes(edge).unwrap(),
            None => Backend::all()[0].reduce(&[wide(index)]).remove(0).unwrap(),
        })
        .collect()
}

/// The oracle's scalar.
fn dalek(scalar: &Scalar) -> curve25519_dalek::Scalar {
    curve25519_dalek::Scalar::from_canonical_bytes(*scalar.to_bytes().expose()).unwrap()
}

fn random_element(index: usize) -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&wide(1000 + index))
}

fn points(backend: Backend, count: usize) -> Vec<Point> {
    let encodings: Vec<_> = (0..count).map(|index| random_element(index).compress().to_bytes()).collect();
    backend.decode(&encodings).into_iter().map(|point| point.expect("valid")).collect()
}

/// Whether `work` panics. What it says is not printed: it is meant to.
fn panics<R>(work: impl FnOnce() -> R) -> bool {
    thread_local!(static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    QUIET.set(false);
    result.is_err()
}

#[test]
fn every_backend_is_named_and_can_be_asked_for() {
    let all = Backend::all();
    println!("backends of this machine: {:?}", all.iter().map(|backend| backend.name()).collect::<Vec<_>>());
    for backend in &all {
        assert_eq!(choose(Some(backend.name()), &all), (*backend, true));
    }
    assert_eq!(choose(None, &all), (all[0], false));
    assert_eq!(choose(Some("abacus"), &all), (all[0], false));
    assert_eq!(all.last().unwrap().name(), "fallback");
    assert!(all.contains(&super::backend()));
}

#[test]
fn rfc9496_multiples_of_the_generator() {
    let vectors = vectors();
    let multiples: Vec<[u8; 32]> = vectors["multiples"].as_array().unwrap().iter().map(array).collect();
    assert_eq!(multiples.len(), 16);
    for backend in Backend::all() {
        let scalars: Vec<_> = (1..16).map(|k| Scalar::from_bytes(&small(k)).unwrap()).collect();
        assert_eq!(backend.multiply_base(&scalars.iter().collect::<Vec<_>>()).unwrap(), multiples[1..]);
        let points = backend.decode(&multiples);
        assert!(points[0].is_none(), "E1: the identity decodes to no Point");
        let generator = points[1].as_ref().expect("the generator decodes");
        let items: Vec<_> = scalars.iter().map(|scalar| (scalar, generator)).collect();
        assert_eq!(backend.multiply(&items).unwrap(), multiples[1..]);
        for (point, encoding) in points[1..].iter().zip(&multiples[1..]) {
            assert_eq!(point.as_ref().map(Point::encoding), Some(encoding));
        }
    }
}

#[test]
fn rfc9496_invalid_encodings_in_each_place() {
    let vectors = vectors();
    let invalid: Vec<[u8; 32]> = vectors["invalid"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|class| class.as_array().unwrap())
        .map(array)
        .collect();
    assert_eq!(invalid.len(), 29);
    for backend in Backend::all() {
        assert!(backend.decode(&invalid).iter().all(Option::is_none));
        for count in SIZES {
            let good: Vec<_> = (0..count).map(|index| random_element(index).compress().to_bytes()).collect();
            assert!(backend.decode(&good).iter().all(Option::is_some));
            for place in 0..count {
                let mut encodings = good.clone();
                encodings[place] = invalid[place % invalid.len()];
                let decoded = backend.decode(&encodings);
                assert_eq!(decoded.len(), count);
                for (index, point) in decoded.iter().enumerate() {
                    // E3: only the bad one fails.
                    let expected = (index != place).then_some(&good[index]);
                    assert_eq!(point.as_ref().map(Point::encoding), expected);
                }
            }
        }
    }
}

#[test]
fn rfc9496_one_way_map() {
    let vectors = vectors();
    let cases = vectors["uniform"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    let inputs: Vec<[u8; 64]> = cases.iter().map(|case| array(&case["input"])).collect();
    let elements: Vec<[u8; 32]> = cases.iter().map(|case| array(&case["element"])).collect();
    for backend in Backend::all() {
        assert_eq!(backend.map(&inputs), elements);
        for (input, element) in inputs.iter().zip(&elements) {
            assert_eq!(backend.map(&[*input]), [*element]);
        }
    }
}

#[test]
fn e2_scalars_are_reduced_and_not_zero() {
    assert!(Scalar::from_bytes(&small(0)).is_none());
    assert!(Scalar::from_bytes(&ORDER).is_none());
    assert!(Scalar::from_bytes(&[0xff; 32]).is_none());
    assert_eq!(Scalar::from_bytes(&order_less(1)).unwrap().to_bytes().expose(), &order_less(1));
    let low = |bytes: [u8; 32]| -> [u8; 64] { std::array::from_fn(|index| *bytes.get(index).unwrap_or(&0)) };
    for backend in Backend::all() {
        let mut inputs = vec![[0; 64], low(ORDER), low(order_less(1)), low(small(1)), [0xff; 64]];
        inputs.extend((0..40).map(wide));
        let reduced = backend.reduce(&inputs);
        assert!(reduced[0].is_none() && reduced[1].is_none(), "zero is no Scalar");
        for (input, scalar) in inputs.iter().zip(&reduced).skip(2) {
            let expected = curve25519_dalek::Scalar::from_bytes_mod_order_wide(input);
            assert_eq!(dalek(scalar.as_ref().unwrap()), expected);
        }
    }
}

#[test]
fn products_agree_with_dalek_one_by_one_at_every_size() {
    for backend in Backend::all() {
        for count in SIZES {
            let (scalars, points) = (scalars(count), points(backend, count));
            let items: Vec<_> = scalars.iter().zip(&points).collect();
            let expected: Vec<_> = (0..count)
                .map(|index| (dalek(&scalars[index]) * random_element(index)).compress().to_bytes())
                .collect();
            assert_eq!(backend.multiply(&items).unwrap(), expected);
            let base: Vec<_> =
                scalars.iter().map(|scalar| RistrettoPoint::mul_base(&dalek(scalar)).compress().to_bytes()).collect();
            assert_eq!(backend.multiply_base(&scalars.iter().collect::<Vec<_>>()).unwrap(), base);
            // E3: in the other order, the same answers in the other order.
            let turned: Vec<_> = items.iter().rev().copied().collect();
            assert_eq!(backend.multiply(&turned).unwrap(), expected.iter().rev().copied().collect::<Vec<_>>());
        }
    }
}

#[test]
fn exchanges_agree_with_dalek_one_by_one_at_every_size() {
    for backend in Backend::all() {
        for count in SIZES {
            let (scalars, points) = (scalars(3 * count), points(backend, 3 * count));
            let items: Vec<_> = (0..count)
                .map(|index| Exchange {
                    oprf_key: &scalars[3 * index],
                    blinded: &points[3 * index],
                    server_ephemeral: &scalars[3 * index + 1],
                    server_static: &scalars[3 * index + 2],
                    client_ephemeral: &points[3 * index + 1],
                    client_static: &points[3 * index + 2],
                })
                .collect();
            let answers = backend.exchange(&items).unwrap();
            assert_eq!(answers.len(), count);
            for (index, answer) in answers.iter().enumerate() {
                let [key, ephemeral, fixed] = [0, 1, 2].map(|number| dalek(&scalars[3 * index + number]));
                let [blinded, client, statik] = [0, 1, 2].map(|number| random_element(3 * index + number));
                assert_eq!(answer.evaluated, (key * blinded).compress().to_bytes());
                assert_eq!(answer.server_keyshare, RistrettoPoint::mul_base(&ephemeral).compress().to_bytes());
                let shared = [ephemeral * client, fixed * client, ephemeral * statik];
                assert_eq!(answer.shared.expose(), &shared.map(|point| point.compress().to_bytes()));
            }
        }
    }
}

#[test]
fn chunks_keep_the_order_and_lose_nobody() {
    for count in SIZES.into_iter().chain([CHUNK, CHUNK + 1, 1000]) {
        let items: Vec<usize> = (0..count).collect();
        let answers = in_chunks::<DEEP, _, _>(&items, |chunk| {
            assert!(chunk.len() <= CHUNK);
            chunk.iter().map(|item| item * 3).collect()
        });
        assert_eq!(answers, items.iter().map(|item| item * 3).collect::<Vec<_>>());
    }
}

#[test]
fn the_tally_counts_what_was_done() {
    let backend = Backend::all()[0];
    let scalars = scalars(2);
    let points = points(backend, 2);
    let items: Vec<_> = scalars.iter().zip(&points).collect();
    let tally = tally::of(|| {
        backend.multiply(&items).unwrap();
        backend.multiply_base(&[&scalars[0]]).unwrap();
        backend.decode(&[[0; 32]]);
        sha512::digest(&[&[0; 112]]);
    });
    let expected =
        tally::Tally { decoded: 1, multiplied: 2, multiplied_base: 1, encoded: 3, blocks: 2, ..Default::default() };
    assert_eq!(tally, expected);
}
