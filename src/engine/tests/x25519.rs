//! X25519 on every backend: RFC 7748's own numbers, and curve25519-dalek's ladder at every size and end.

use curve25519_dalek::montgomery::MontgomeryPoint;

use super::adversarial::{P, plus};
use super::*;

fn of(backend: Backend, scalar: &[u8; 32], coordinate: &[u8; 32]) -> [u8; 32] {
    backend.x25519(&[(scalar, coordinate)]).expose()[0]
}

#[test]
fn rfc_7748_section_5_2() {
    let bytes = |text: &str| -> [u8; 32] { hex::decode(text).unwrap().try_into().unwrap() };
    for (scalar, coordinate, product) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        for backend in Backend::all() {
            assert_eq!(hex::encode(of(backend, &bytes(scalar), &bytes(coordinate))), product, "{}", backend.name());
        }
    }
    for backend in Backend::all() {
        let (mut scalar, mut coordinate) = (small(9), small(9));
        for round in 1..=1000 {
            (scalar, coordinate) = (of(backend, &scalar, &coordinate), scalar);
            if round == 1 {
                assert_eq!(scalar, bytes("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
            }
        }
        assert_eq!(scalar, bytes("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    }
}

/// Coordinates at the ends, those of low order among them, and such as are not reduced.
fn coordinates() -> Vec<[u8; 32]> {
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let order_8 = order_8.map(|text| hex::decode(text).unwrap().try_into().unwrap());
    let less = |number: u8| std::array::from_fn(|at| if at == 0 { P[0] - number } else { P[at] });
    let mut high = small(9);
    high[31] = 0x80;
    let ends = [small(0), small(1), small(2), small(9), less(1), less(2), P, plus(P, 1), plus(P, 18), [0xff; 32], high];
    let random = (0..40).map(|index| *wide(index).first_chunk().unwrap());
    ends.into_iter().chain(order_8).chain(random).collect()
}

#[test]
fn products_are_dalek_s_at_every_size_and_end() {
    let coordinates = coordinates();
    let ends = [[0; 32], [0xff; 32], small(1), small(8), plus(P, 0)];
    let scalar =
        |index: usize| ends.get(index % 9).copied().unwrap_or_else(|| *wide(500 + index).first_chunk().unwrap());
    for backend in Backend::all() {
        for count in SIZES {
            let scalars: Vec<_> = (0..count).map(scalar).collect();
            let items: Vec<_> = (0..count).map(|at| (&scalars[at], &coordinates[at % coordinates.len()])).collect();
            let expected: Vec<_> =
                items.iter().map(|(scalar, it)| MontgomeryPoint(**it).mul_clamped(**scalar).to_bytes()).collect();
            assert_eq!(*backend.x25519(&items).expose(), expected, "{} of {count}", backend.name());
            // E3: in the other order, the same answers in the other order.
            let turned: Vec<_> = items.iter().rev().copied().collect();
            assert_eq!(*backend.x25519(&turned).expose(), expected.into_iter().rev().collect::<Vec<_>>());
        }
        for coordinate in &coordinates {
            let expected = MontgomeryPoint(*coordinate).mul_clamped([7; 32]).to_bytes();
            assert_eq!(of(backend, &[7; 32], coordinate), expected, "{}", hex::encode(coordinate));
        }
    }
}
