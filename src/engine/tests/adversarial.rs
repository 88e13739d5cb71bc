//! What somebody would send who wants a lane to go wrong: every door on every backend, byte for byte against dalek.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::ristretto::CompressedRistretto;

use super::integers::Integer;
use super::limbs::Stream;
use super::*;
use crate::engine::field::{D, SQRT_M1, Tight, sqrt_ratios, words_of};
#[cfg(target_arch = "x86_64")]
use crate::engine::ifma::{Eight, Ifma};
use crate::engine::lanes::{LANES, Lanes, Row};
use crate::engine::model::{Always, Model};
use crate::engine::point::Affine;

/// p, the lowest byte first.
pub(super) const P: [u8; 32] = {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (0xed, 0x7f);
    bytes
};

/// `bytes` and a number more, which does not carry out of the first byte.
pub(super) fn plus(mut bytes: [u8; 32], number: u8) -> [u8; 32] {
    bytes[0] += number;
    bytes
}

fn power_of_two(bit: usize) -> [u8; 32] {
    std::array::from_fn(|at| if at == bit / 8 { 1 << (bit % 8) } else { 0 })
}

/// Scalars at the ends, of one bit, and around the half of the order.
fn scalars_at_the_ends() -> Vec<Scalar> {
    let half = curve25519_dalek::Scalar::from(2u64).invert();
    let around = [half, half - curve25519_dalek::Scalar::ONE].map(|scalar| scalar.to_bytes());
    let ends = [small(1), small(2), small(3), small(255), order_less(1), order_less(2), order_less(3)];
    let powers = (0..=252).map(power_of_two);
    ends.into_iter().chain(around).chain(powers).map(|bytes| Scalar::from_bytes(&bytes).unwrap()).collect()
}

#[test]
fn scalars_at_the_ends_multiply_as_dalek_does() {
    let scalars = scalars_at_the_ends();
    let elements: Vec<_> = (0..scalars.len()).map(random_element).collect();
    let encodings: Vec<_> = elements.iter().map(|element| element.compress().to_bytes()).collect();
    let product = |index: usize, by: usize| (dalek(&scalars[by]) * elements[index]).compress().to_bytes();
    let products: Vec<_> = (0..scalars.len()).map(|index| product(index, index)).collect();
    let bases: Vec<_> =
        scalars.iter().map(|scalar| RistrettoPoint::mul_base(&dalek(scalar)).compress().to_bytes()).collect();
    for backend in Backend::all() {
        let points: Vec<_> = backend.decode(&encodings).into_iter().map(Option::unwrap).collect();
        assert_eq!(backend.multiply(&scalars.iter().zip(&points).collect::<Vec<_>>()).unwrap(), products);
        assert_eq!(backend.multiply_base(&scalars.iter().collect::<Vec<_>>()).unwrap(), bases);
        for count in [1, 7, 65] {
            // The ends are first; each is in each role of a login.
            let items: Vec<_> = (0..count)
                .map(|index| Exchange {
                    oprf_key: &scalars[index],
                    blinded: &points[index],
                    server_ephemeral: &scalars[index + 1],
                    server_static: &scalars[index + 2],
                    client_ephemeral: &points[index],
                    client_static: &points[index + 1],
                })
                .collect();
            for (index, answer) in backend.exchange(&items).unwrap().iter().enumerate() {
                assert_eq!(answer.evaluated, products[index]);
                assert_eq!(answer.server_keyshare, bases[index + 1]);
                let shared = [product(index, index + 1), product(index, index + 2), products[index + 1]];
                assert_eq!(answer.shared.expose(), &shared);
            }
        }
    }
}

/// `bytes` times a small number, shifted up by whole bytes.
fn multiple(bytes: [u8; 32], number: u8, shift: usize) -> [u8; 64] {
    let (mut product, mut carry) = ([0; 64], 0);
    for (at, byte) in product[shift..].iter_mut().enumerate() {
        carry += u16::from(bytes.get(at).copied().unwrap_or(0)) * u16::from(number);
        (*byte, carry) = (carry as u8, carry >> 8);
    }
    product
}

#[test]
fn wide_integers_at_the_ends_are_reduced_as_dalek_does() {
    let low = |bytes: [u8; 32]| multiple(bytes, 1, 0);
    let mut inputs = vec![[0xff; 64], low(small(0)), low(small(1)), low(small(2)), low(P), low(plus(P, 18))];
    inputs.extend([order_less(2), order_less(1), ORDER, plus(ORDER, 1), plus(ORDER, 2)].map(low));
    inputs.extend(
        [
            {
                let mut bytes = P;
                bytes[0] -= 1;
                bytes
            },
            [0xff; 32],
        ]
        .map(low),
    );
    for shift in 0..32 {
        // Multiples of the order, and one less and more than they are; and one bit, or all from one on.
        for number in [1, 2, 3, 8, 15, 16, 255] {
            let mut input = multiple(ORDER, number, shift);
            inputs.push(input);
            input[63] ^= 1;
            inputs.push(input);
            input[0] ^= 1;
            inputs.push(input);
            inputs.push(multiple(order_less(1), number, shift));
            inputs.push(multiple(plus(ORDER, 1), number, shift));
            inputs.push(multiple([0xff; 32], number, shift));
        }
    }
    let wide = |input: &[u8; 64]| curve25519_dalek::Scalar::from_bytes_mod_order_wide(input);
    for backend in Backend::all() {
        // Each in each lane.
        for turn in 0..LANES {
            inputs.rotate_left(1);
            for count in [inputs.len(), 1, 2, 7] {
                let reduced = backend.reduce(&inputs[..count]);
                assert_eq!(reduced.len(), count);
                for (input, scalar) in inputs.iter().zip(&reduced) {
                    let expected = Some(wide(input)).filter(|scalar| *scalar != curve25519_dalek::Scalar::ZERO);
                    assert_eq!(scalar.as_ref().map(dalek), expected, "turn {turn}: {input:x?}");
                }
            }
        }
    }
}

/// Encodings that are none: those of RFC 9496, p and more, and good ones with the highest bit set.
fn bad_encodings() -> Vec<[u8; 32]> {
    let vectors = vectors();
    let classes = vectors["invalid"].as_object().unwrap();
    let mut bad: Vec<[u8; 32]> = classes.values().flat_map(|class| class.as_array().unwrap()).map(array).collect();
    bad.extend((0..19).map(|more| plus(P, more)));
    for index in 0..8 {
        let mut encoding = random_element(index).compress().to_bytes();
        encoding[31] |= 0x80;
        bad.push(encoding);
    }
    bad.extend([power_of_two(255), [0xff; 32], [0; 32]]);
    bad
}

#[test]
fn every_bad_encoding_is_refused_in_every_lane_and_harms_no_neighbour() {
    let bad = bad_encodings();
    for encoding in &bad[..bad.len() - 1] {
        assert!(CompressedRistretto(*encoding).decompress().is_none(), "dalek takes {encoding:x?}");
    }
    let good: Vec<_> = (0..LANES).map(|index| random_element(index).compress().to_bytes()).collect();
    for backend in Backend::all() {
        assert!(backend.decode(&bad).iter().all(Option::is_none), "all bad at once");
        for encoding in &bad {
            for place in 0..LANES {
                let mut encodings = good.clone();
                encodings[place] = *encoding;
                for (index, point) in backend.decode(&encodings).iter().enumerate() {
                    let expected = (index != place).then_some(&good[index]);
                    assert_eq!(point.as_ref().map(Point::encoding), expected, "{encoding:x?} in lane {place}");
                }
            }
        }
    }
}

#[test]
fn random_bytes_decode_just_where_dalek_takes_them() {
    let mut stream = Stream::new(1);
    let encodings: Vec<[u8; 32]> = (0..400)
        .map(|number| {
            let mut bytes: [u8; 32] = std::array::from_fn(|_| stream.next() as u8);
            // Three out of four without what refuses most: even, and below 2^255.
            if number % 4 != 0 {
                (bytes[0], bytes[31]) = (bytes[0] & 0xfe, bytes[31] & 0x7f);
            }
            bytes
        })
        .collect();
    let expected: Vec<_> = encodings.iter().map(|bytes| CompressedRistretto(*bytes).decompress()).collect();
    let good = expected.iter().flatten().count();
    assert!((30..200).contains(&good), "some are good and some are not: {good}");
    let scalar = Scalar::from_bytes(&order_less(7)).unwrap();
    for backend in Backend::all() {
        for (point, expected) in backend.decode(&encodings).iter().zip(&expected) {
            assert_eq!(point.is_some(), expected.is_some());
            if let (Some(point), Some(expected)) = (point, expected) {
                assert_eq!(
                    backend.multiply(&[(&scalar, point)]).unwrap(),
                    [(dalek(&scalar) * expected).compress().to_bytes()]
                );
            }
        }
    }
}

#[test]
fn uniform_bytes_at_the_ends_map_as_dalek_does() {
    let i = Integer::of_limbs(SQRT_M1).bytes();
    let minus_one = {
        let mut bytes = P;
        bytes[0] -= 1;
        bytes
    };
    let halves = [[0; 32], small(1), small(2), minus_one, P, plus(P, 1), plus(P, 18), [0xff; 32], power_of_two(255), i];
    let mut inputs: Vec<[u8; 64]> = Vec::new();
    for first in halves {
        for second in halves {
            inputs.push([first, second].concat().try_into().unwrap());
        }
    }
    let expected: Vec<_> =
        inputs.iter().map(|input| RistrettoPoint::from_uniform_bytes(input).compress().to_bytes()).collect();
    assert!(expected.contains(&[0; 32]), "some map to the identity");
    for backend in Backend::all() {
        assert_eq!(backend.map(&inputs), expected);
        for (input, expected) in inputs.iter().zip(&expected).step_by(9) {
            assert_eq!(backend.map(&[*input]), [*expected]);
        }
    }
}

#[test]
fn a_thousand_items_are_answered_as_one_by_one() {
    let (scalars, elements): (Vec<_>, Vec<_>) = (scalars(1000), (0..1000).map(random_element).collect());
    let encodings: Vec<_> = elements.iter().map(|element| element.compress().to_bytes()).collect();
    let uniform: Vec<_> = (0..1000).map(wide).collect();
    let products: Vec<_> = scalars
        .iter()
        .zip(&elements)
        .map(|(scalar, element)| (dalek(scalar) * element).compress().to_bytes())
        .collect();
    let mapped: Vec<_> =
        uniform.iter().map(|bytes| RistrettoPoint::from_uniform_bytes(bytes).compress().to_bytes()).collect();
    for backend in Backend::all() {
        let points: Vec<_> = backend.decode(&encodings).into_iter().map(Option::unwrap).collect();
        assert!(points.iter().map(Point::encoding).eq(&encodings));
        let items: Vec<_> = scalars.iter().zip(&points).collect();
        assert_eq!(backend.multiply(&items).unwrap(), products);
        assert_eq!(backend.map(&uniform), mapped);
        let bases = backend.multiply_base(&scalars.iter().collect::<Vec<_>>()).unwrap();
        for (scalar, base) in scalars.iter().zip(&bases) {
            assert_eq!(*base, RistrettoPoint::mul_base(&dalek(scalar)).compress().to_bytes());
        }
        // E3: with the items in another order, the same answers in that order.
        let order: Vec<usize> = (0..1000).map(|index| index * 7 % 1000).collect();
        let permuted: Vec<_> = order.iter().map(|&index| items[index]).collect();
        let expected: Vec<_> = order.iter().map(|&index| products[index]).collect();
        assert_eq!(backend.multiply(&permuted).unwrap(), expected);
    }
}

#[test]
fn e3_permuting_lanes_permutes_the_answers() {
    let (scalars, elements): (Vec<_>, Vec<_>) = (scalars(LANES), (0..LANES).map(random_element).collect());
    let encodings: Vec<_> = elements.iter().map(|element| element.compress().to_bytes()).collect();
    for backend in Backend::all() {
        let points: Vec<_> = backend.decode(&encodings).into_iter().map(Option::unwrap).collect();
        let items: Vec<_> = scalars.iter().zip(&points).collect();
        let products = backend.multiply(&items).unwrap();
        let mut stream = Stream::new(11);
        for _ in 0..20 {
            let mut order: Vec<usize> = (0..LANES).collect();
            order.sort_by_key(|_| stream.next());
            let permuted: Vec<_> = order.iter().map(|&index| items[index]).collect();
            let expected: Vec<_> = order.iter().map(|&index| products[index]).collect();
            assert_eq!(backend.multiply(&permuted).unwrap(), expected);
            let permuted: Vec<_> = order.iter().map(|&index| encodings[index]).collect();
            let decoded = backend.decode(&permuted);
            assert!(decoded.iter().flatten().map(Point::encoding).eq(&permuted));
        }
    }
}

#[test]
fn points_that_one_backend_decoded_are_good_for_all() {
    let scalars = scalars(17);
    let encodings: Vec<_> = (0..17).map(|index| random_element(index).compress().to_bytes()).collect();
    let expected: Vec<_> =
        (0..17).map(|index| (dalek(&scalars[index]) * random_element(index)).compress().to_bytes()).collect();
    for decoder in Backend::all() {
        let points: Vec<_> = decoder.decode(&encodings).into_iter().map(Option::unwrap).collect();
        for backend in Backend::all() {
            assert_eq!(backend.multiply(&scalars.iter().zip(&points).collect::<Vec<_>>()).unwrap(), expected);
        }
    }
}

/// A point of order eight: y out of dalek's, x from the equation of the curve.
fn of_order_eight<L: Lanes>(token: L::Token) -> Affine<L> {
    let bytes = EIGHT_TORSION[1].compress().to_bytes();
    let y = Tight::from_words(token, &words_of(&[bytes; LANES]));
    let yy = y.square().carry();
    let below = yy.times(Tight::splat(token, &D)).add(Tight::one(token).wide()).carry();
    let [(square, x)] = sqrt_ratios(&[(yy.sub(Tight::one(token)).carry(), below)]);
    assert_eq!(L::bits(square), 0xff, "y is that of a point");
    Affine { x, y }
}

/// An element is a coset of points. A product may come out as any of them; what is written is the same.
fn cosets_have_one_encoding<L: Lanes>(kind: &str, token: L::Token) {
    println!("lanes: {kind}");
    let encodings: Vec<_> = (0..LANES).map(|index| random_element(index).compress().to_bytes()).collect();
    let identity: Row = Row([0; LANES]);
    let words: [Row; 4] = words_of(&encodings);
    let [(valid, affine)] = ristretto::decode::<L, 1>(token, &[words]);
    assert_eq!(L::bits(valid), 0xff);
    let doubled: Vec<_> =
        (0..LANES).map(|index| (random_element(index) + random_element(index)).compress().to_bytes()).collect();
    let eighth = of_order_eight::<L>(token);
    let identity_point = Affine { x: Tight::zero(token), y: Tight::one(token) };
    for start in [affine, identity_point] {
        let neutral = L::bits(start.x.is_zero()) == 0xff;
        let mut point = start.extended().point();
        for turn in 0..8 {
            // Two of the points of order eight make one of order four: those leave an element as it is.
            if turn % 2 == 0 {
                let expected = if neutral { [identity; 4] } else { words };
                assert_eq!(ristretto::encode(token, &point), expected, "plus {turn} eighths");
            }
            // Doubled, they all do.
            let mut written = Vec::new();
            assert_eq!(ristretto::encode_doubled(token, &[point, point], &mut written), 0xff, "points of the curve");
            let expected: [Row; 4] = if neutral { [identity; 4] } else { words_of(&doubled) };
            assert_eq!(written, [expected; 2], "twice the point plus {turn} eighths");
            point = point.extended().plus(&eighth.extended().cached()).point();
        }
        let back = [(point.x, start.x), (point.y, start.y)];
        for (ours, theirs) in back {
            assert_eq!(L::bits(ours.equal(theirs.times(point.z).carry())), 0xff, "eight eighths are nothing");
        }
    }
    // The four points of order four by name: (0, 1), (i, 0), (0, -1), (-i, 0).
    let (i, minus_one) = (Tight::splat(token, &SQRT_M1), Tight::one(token).negated());
    let zero = Tight::zero(token);
    let quarters =
        [(zero, Tight::one(token)), (i, zero), (zero, minus_one), (i.negated(), zero)].map(|(x, y)| Affine { x, y });
    for quarter in quarters {
        let sum = affine.extended().plus(&quarter.extended().cached()).point();
        assert_eq!(ristretto::encode(token, &sum), words);
        assert_eq!(ristretto::encode(token, &quarter.extended().point()), [identity; 4]);
    }
}

#[test]
fn cosets_have_one_encoding_on_every_kind_of_lanes() {
    cosets_have_one_encoding::<Model>("model", Always);
    #[cfg(target_arch = "x86_64")]
    match Ifma::detect() {
        Some(token) => cosets_have_one_encoding::<Eight>("ifma", token),
        None => println!("LEFT OUT: lanes: not on this machine"),
    }
}
