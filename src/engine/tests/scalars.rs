//! Scalars on lanes: digits that are summed up again, windows and columns, on every kind of lanes.

use curve25519_dalek::Scalar;

use super::limbs::Stream;
use super::{ORDER, order_less, small};
use crate::engine::field::words_of;
#[cfg(target_arch = "x86_64")]
use crate::engine::ifma::{Eight, Ifma};
use crate::engine::lanes::{LANES, Lanes};
use crate::engine::model::{Always, Model};
use crate::engine::scalar::{Signs, SignsOfHalf};
use crate::engine::table::Choice;

/// Scalars below the order, at its ends and in between, of few and of many bits.
fn scalars() -> Vec<[u8; 32]> {
    let mut scalars =
        vec![small(0), small(1), small(2), small(3), small(4), order_less(1), order_less(2), order_less(3)];
    // (l - 1)/2 and (l + 1)/2.
    let half = Scalar::from_bytes_mod_order(small(2)).invert();
    scalars.extend([half, half - Scalar::ONE].map(|scalar| scalar.to_bytes()));
    scalars.extend((0..252).map(|bit| std::array::from_fn(|at| if at == bit / 8 { 1 << (bit % 8) } else { 0 })));
    // 2^252 - 1, all ones; and all ones above and below some bit.
    scalars.extend((0..=252).step_by(9).map(|bits| (power_of_two(bits) - Scalar::ONE).to_bytes()));
    scalars.extend((0..252).step_by(9).map(|bits| (power_of_two(252) - power_of_two(bits)).to_bytes()));
    let mut stream = Stream::new(5);
    for _ in 0..500 {
        let wide: [u8; 64] = std::array::from_fn(|_| stream.next() as u8);
        scalars.push(Scalar::from_bytes_mod_order_wide(&wide).to_bytes());
    }
    scalars
}

fn power_of_two(bits: u32) -> Scalar {
    (0..bits).fold(Scalar::ONE, |power, _| power + power)
}

/// Index and sign of a lane's choice.
fn of<L: Lanes>(choice: &Choice<L>, lane: usize, entries: u64) -> (u64, bool) {
    let index = choice.index.store().0[lane];
    assert!(index < entries, "the index {index} is below {entries}");
    (index, L::bits(choice.negative) >> lane & 1 == 1)
}

fn signed(number: u64, negative: bool) -> Scalar {
    if negative { -Scalar::from(number) } else { Scalar::from(number) }
}

/// The windows of a lane, summed up: window `number` counts 2^(width * number) times, and entry `i` is 2 i + 1.
fn summed_windows<L: Lanes>(signs: &Signs<L>, lane: usize, width: u32, all: u32) -> Scalar {
    let shift = Scalar::from(1u64 << width);
    (0..all / width).rev().fold(Scalar::ZERO, |sum, number| {
        let (index, negative) = of(&signs.window(number, width, all), lane, 1 << (width - 1));
        sum * shift + signed(2 * index + 1, negative)
    })
}

/// The columns of a lane, summed up: column `number` counts 2^number times, its four teeth 1, 2^64, 2^128 and 2^192.
fn summed_columns<L: Lanes>(signs: &Signs<L>, lane: usize, spacing: u32) -> Scalar {
    let teeth: [Scalar; 4] = std::array::from_fn(|tooth| power_of_two(tooth as u32 * spacing));
    (0..spacing).rev().fold(Scalar::ZERO, |sum, number| {
        let (index, negative) = of(&signs.column(number, spacing), lane, 8);
        let column = teeth.iter().enumerate().fold(Scalar::ZERO, |column, (tooth, weight)| {
            let turned = tooth < 3 && index >> tooth & 1 == 1;
            column + weight * signed(1, negative != turned)
        });
        sum + sum + column
    })
}

fn check<L: Lanes>(kind: &str, token: L::Token) {
    println!("lanes: {kind}");
    let scalars = scalars();
    for scalars in scalars.chunks(LANES) {
        let words = words_of(scalars);
        let signs: Signs<L> = L::call(token, SignsOfHalf(token, &words));
        for (lane, scalar) in scalars.iter().enumerate() {
            let half = Scalar::from_canonical_bytes(*scalar).unwrap().div_by_2();
            assert_eq!(summed_windows(&signs, lane, 4, 256), half, "windows of 4 of {scalar:x?}");
            assert_eq!(summed_windows(&signs, lane, 6, 258), half, "windows of 6 of {scalar:x?}");
            assert_eq!(summed_columns(&signs, lane, 64), half, "columns of {scalar:x?}");
        }
    }
}

#[test]
fn digits_of_a_half_sum_up_to_it() {
    assert_eq!(Scalar::from_bytes_mod_order(ORDER), Scalar::ZERO);
    check::<Model>("model", Always);
    #[cfg(target_arch = "x86_64")]
    match Ifma::detect() {
        Some(token) => check::<Eight>("ifma", token),
        None => println!("LEFT OUT: lanes: not on this machine"),
    }
}
