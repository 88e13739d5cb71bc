//! A machine that miscalculates (E5): each bit of one lane's point is flipped between the ladder and the encoding.

use super::limbs::Stream;
use crate::engine::field::Tight;
#[cfg(target_arch = "x86_64")]
use crate::engine::ifma::{Eight, Ifma};
use crate::engine::ladder::Ladder;
use crate::engine::lanes::{LANES, Lanes, Row};
use crate::engine::model::{Always, Model};
use crate::engine::point::{Affine, Point};
use crate::engine::ristretto;
use crate::engine::scalar::SignsOfHalf;

/// Three vectors of multiples of the generator.
fn products<L: Lanes>(token: L::Token) -> [Point<L>; 3] {
    let mut stream = Stream::new(8);
    let mut ladder = Ladder::new(token);
    std::array::from_fn(|_| {
        // The highest bits clear, so that every number is a reduced scalar.
        let words = std::array::from_fn(|word| Row(std::array::from_fn(|_| stream.next() >> (6 * (word / 3)))));
        ladder.multiply(&Affine::generator(token), &L::call(token, SignsOfHalf(token, &words)))
    })
}

/// The point with one bit of one lane's coordinate turned.
fn flipped<L: Lanes>(point: &Point<L>, coordinate: usize, limb: usize, bit: u32, lane: usize) -> Point<L> {
    let mut coordinates = [point.x, point.y, point.z, point.t];
    let Tight(limbs) = &mut coordinates[coordinate];
    let mut row = limbs[limb].store();
    row.0[lane] ^= 1 << bit;
    limbs[limb] = L::load(point.x.token(), &row);
    let [x, y, z, t] = coordinates;
    Point { x, y, z, t }
}

/// Flips below `bits`: how many were found, and how many of those would have been a wrong answer.
fn flip_all<L: Lanes>(token: L::Token, bits: u32) -> (usize, usize) {
    let points = products::<L>(token);
    let mut right = Vec::new();
    assert_eq!(ristretto::encode_doubled(token, &points, &mut right), 0xff, "nothing was flipped");
    let (mut found, mut wrong) = (0, 0);
    for (place, (coordinate, limb)) in (0..4).flat_map(|it| (0..5).map(move |limb| (it, limb))).enumerate() {
        for bit in 0..bits {
            let (vector, lane) = (place % points.len(), (place + bit as usize) % LANES);
            let mut disturbed = points;
            disturbed[vector] = flipped(&points[vector], coordinate, limb, bit, lane);
            let mut words = Vec::new();
            let sound = ristretto::encode_doubled(token, &disturbed, &mut words);
            assert_eq!(sound | 1 << lane, 0xff, "a lane that was not disturbed is accused");
            for (words, right) in words.iter().zip(&right) {
                for (words, right) in words.iter().zip(right) {
                    let others = (0..LANES).filter(|other| *other != lane);
                    assert!(others.into_iter().all(|other| words.0[other] == right.0[other]), "a neighbour is harmed");
                }
            }
            let caught = sound >> lane & 1 == 0;
            assert!(caught || words == right, "coordinate {coordinate}, limb {limb}, bit {bit}: wrong, and not found");
            found += usize::from(caught);
            wrong += usize::from(words != right);
        }
    }
    (found, wrong)
}

/// A lane whose table, say, was never filled: all of its coordinates are zero.
fn zeroed<L: Lanes>(token: L::Token) {
    for lane in 0..LANES {
        let mut points = products::<L>(token);
        let Point { x, y, z, t } = points[1];
        let [x, y, z, t] = [x, y, z, t].map(|Tight(limbs)| {
            Tight(limbs.map(|limb| {
                let mut row = limb.store();
                row.0[lane] = 0;
                L::load(token, &row)
            }))
        });
        points[1] = Point { x, y, z, t };
        let sound = ristretto::encode_doubled(token, &points, &mut Vec::new());
        assert_eq!(sound, !(1 << lane), "the zeroed lane, and no other");
    }
}

#[test]
fn e5_a_point_of_zeros_is_found() {
    zeroed::<Model>(Always);
    #[cfg(target_arch = "x86_64")]
    match Ifma::detect() {
        Some(token) => zeroed::<Eight>(token),
        None => println!("LEFT OUT: lanes: not on this machine"),
    }
}

#[test]
fn e5_a_flipped_bit_is_found_or_changes_nothing() {
    // The model refuses limbs over 52 bits by itself.
    let (found, wrong) = flip_all::<Model>(Always, 52);
    assert_eq!(found, 4 * 5 * 52, "every bit that the multiplier reads");
    // The control: without the check these would have been wrong answers.
    assert!(wrong > found / 2, "{wrong} of {found}");
    #[cfg(target_arch = "x86_64")]
    match Ifma::detect() {
        Some(token) => assert_eq!(flip_all::<Eight>(token, 64), (found, wrong), "higher bits are read by nothing"),
        None => println!("LEFT OUT: lanes: not on this machine"),
    }
}
