//! Limb for limb: every flow on every kind of lanes of this machine gives what the model gives, and the model gives
//! what integers give.

use super::flows::{self, Flow, Input, Numbers, row};
use super::integers::Integer;
use crate::engine::field::{P_TIMES_512, P_TIMES_1024, SQRT_M1, TIGHT, Tight, WIDE, Wide, invert, sqrt_ratios};
use crate::engine::fixed_base;
#[cfg(target_arch = "x86_64")]
use crate::engine::ifma::{Eight, Ifma};
use crate::engine::lanes::{LANES, Lanes, Row};
use crate::engine::model::{Always, Model};

/// Numbers that look random and are the same in every run.
pub(super) struct Stream(u64);

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        Stream(seed)
    }

    /// The next one: SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

const LIMB: u64 = (1 << 51) - 1;

/// Limbs of elements at the ends of what there is: zero, one, p - 1, p, p + 1, 2^255 - 1, the most that tight limbs
/// stand for, and each limb at its most alone.
const EDGES: [[u64; 5]; 13] = [
    [0; 5],
    [1, 0, 0, 0, 0],
    [LIMB - 19, LIMB, LIMB, LIMB, LIMB],
    [LIMB - 18, LIMB, LIMB, LIMB, LIMB],
    [LIMB - 17, LIMB, LIMB, LIMB, LIMB],
    [LIMB; 5],
    [TIGHT - 1; 5],
    [TIGHT - 1, 0, 0, 0, 0],
    [0, TIGHT - 1, 0, 0, 0],
    [0, 0, TIGHT - 1, 0, 0],
    [0, 0, 0, TIGHT - 1, 0],
    [0, 0, 0, 0, TIGHT - 1],
    SQRT_M1,
];

/// Inputs of a round: edges and random limbs, other ones in each lane and each element. Half of them are
/// edges in one round out of four, fewer in the others.
pub(super) fn numbers(round: u64) -> Numbers {
    let mut stream = Stream::new(round);
    let mut elements = [[Row([0; LANES]); 5]; 16];
    for limbs in &mut elements {
        for lane in 0..LANES {
            let edge = stream.next() as usize;
            let random: [u64; 5] = std::array::from_fn(|_| stream.next() % TIGHT);
            let chosen = if edge as u64 >> 60 < 8 >> (round % 4) { EDGES[edge % EDGES.len()] } else { random };
            for (limb, number) in limbs.iter_mut().zip(chosen) {
                limb.0[lane] = number;
            }
        }
    }
    let mut word = |_| match stream.next() % 16 {
        0 => 0,
        1 => u64::MAX,
        _ => stream.next(),
    };
    let words = std::array::from_fn(|_| std::array::from_fn(|_| row(&mut word)));
    let wide = std::array::from_fn(|_| row(|lane| word(lane).min(WIDE - 1)));
    let index = row(|_| stream.next() % 8);
    Numbers { elements, wide, words, index, mask: stream.next() as u8 }
}

fn compare_with_the_model<L: Lanes>(kind: &str, token: L::Token) {
    println!("lanes: {kind}");
    for round in 0..24 {
        let numbers = numbers(round);
        let (ours, models) = (Input::<L>::load(token, &numbers), Input::<Model>::load(Always, &numbers));
        for ((name, flow), (_, model)) in flows::all::<L>().into_iter().zip(flows::all::<Model>()) {
            let (flow, model): (Flow<L>, Flow<Model>) = (flow, model);
            let expected = model(&models);
            assert_eq!(expected.over(), None, "{name}, round {round}: a number is over its bound");
            assert_eq!(flow(&ours), expected, "{name} on {kind}, round {round}");
        }
    }
    assert_eq!(fixed_base::make::<L>(token).0, fixed_base::make::<Model>(Always).0);
}

#[test]
fn every_flow_gives_the_limbs_of_the_model() {
    compare_with_the_model::<Model>("model", Always);
    #[cfg(target_arch = "x86_64")]
    match Ifma::detect() {
        Some(token) => compare_with_the_model::<Eight>("ifma", token),
        None => println!("LEFT OUT: lanes: not on this machine"),
    }
}

/// A lane's limbs.
fn of(limbs: &[Model; 5], lane: usize) -> Integer {
    Integer::of_limbs(limbs.map(|limb| limb.store().0[lane]))
}

/// Four words of a lane.
fn words(words: &[Row; 4], lane: usize) -> [u64; 4] {
    words.map(|word| word.0[lane])
}

#[test]
fn the_model_computes_in_the_field() {
    for round in 0..100 {
        let numbers = numbers(round);
        let element = |index: usize| Tight(numbers.elements[index].map(|row| Model::load(Always, &row)));
        let (x, y, z) = (element(0), element(1), element(2));
        let wide = Wide(numbers.wide.map(|row| Model::load(Always, &row)));
        let [inverse] = invert(&[x]);
        for lane in 0..LANES {
            let [a, b, c] = [x, y, z].map(|element| of(&element.0, lane));
            let bit = |mask| Model::bits(mask) >> lane & 1 == 1;
            assert_eq!(of(&x.add(y).0, lane), a.plus(b));
            assert_eq!(of(&x.sub(y).0, lane), a.minus(b));
            assert_eq!(of(&x.times(y).0, lane), a.times(b));
            assert_eq!(of(&x.square().0, lane), a.times(a));
            assert_eq!(of(&x.times(y).add(z.square()).0, lane), a.times(b).plus(c.times(c)));
            let less = x.times_plus(y, P_TIMES_512).less(y.times(z));
            assert_eq!(of(&less.0, lane), a.minus(c).times(b));
            let less = x.square_plus(P_TIMES_1024).less(y.square_plus(P_TIMES_512).add(z.square()));
            assert_eq!(of(&less.0, lane), a.times(a).minus(b.times(b)).minus(c.times(c)));
            assert_eq!(of(&wide.carry().0, lane), of(&wide.0, lane));
            assert_eq!(of(&x.negated().0, lane), Integer::ZERO.minus(a));
            assert_eq!(
                of(&x.negated_where(Model::mask(Always, 0x5a)).0, lane),
                match 0x5a >> lane & 1 {
                    1 => Integer::ZERO.minus(a),
                    _ => a,
                }
            );
            let absolute = if a.is_odd() { Integer::ZERO.minus(a) } else { a };
            assert_eq!(of(&x.absolute().0, lane), absolute);
            // The canonical form: of all limbs that stand for an integer, those of the one below p.
            assert_eq!(words(&x.to_words(), lane), a.words());
            assert_eq!(of(&x.canonical(), lane), a);
            assert_eq!(of(&Tight::<Model>::from_words(Always, &x.to_words()).0, lane), a);
            assert_eq!(bit(x.is_negative()), a.is_odd());
            assert_eq!(bit(x.is_zero()), a == Integer::ZERO);
            assert_eq!(bit(x.equal(y)), a == b);
            assert!(bit(x.equal(x.wide().carry())));
            // x / x is one, and zero for zero.
            let expected = if a == Integer::ZERO { Integer::ZERO } else { Integer::ONE };
            assert_eq!(of(&inverse.0, lane).times(a), expected);
            assert_eq!(a == Integer::ZERO, of(&inverse.0, lane) == Integer::ZERO);
            // Words at their most: the highest bit is dropped, and nothing else.
            let [mut given, all] = [words(&numbers.words[0], lane), [u64::MAX; 4]];
            let read = Tight::<Model>::from_words(Always, &numbers.words[0]);
            given[3] &= all[3] >> 1;
            assert_eq!(of(&read.0, lane), Integer::of_words(given));
        }
    }
}

/// RFC 9496 section 4.2, its four cases told apart by the criterion of Euler instead of by what comes out.
#[test]
fn roots_of_fractions_are_those_of_the_rfc() {
    let (i, mut seen) = (Integer::of_limbs(SQRT_M1), [0; 3]);
    assert_eq!(i.times(i), Integer::ZERO.minus(Integer::ONE));
    for round in 0..60 {
        let numbers = numbers(round);
        let element = |index: usize| Tight(numbers.elements[index].map(|row| Model::load(Always, &row)));
        for (u, v) in [(element(0), element(1)), (element(2), element(2)), (element(3), Tight::one(Always))] {
            let [(square, root)] = sqrt_ratios(&[(u, v)]);
            for lane in 0..LANES {
                let [a, b, r] = [u, v, root].map(|element| of(&element.0, lane));
                let square = Model::bits(square) >> lane & 1 == 1;
                assert!(!r.is_odd(), "a root is not negative");
                // u v is a square just where u/v is.
                match a.times(b).euler() {
                    None => {
                        assert_eq!((square, r), (a == Integer::ZERO, Integer::ZERO), "zero over or under the line");
                        seen[0] += 1;
                    }
                    Some(true) => {
                        assert!(square && b.times(r).times(r) == a, "the root of u/v");
                        seen[1] += 1;
                    }
                    Some(false) => {
                        assert!(!square && b.times(r).times(r) == i.times(a), "the root of SQRT_M1 u/v");
                        seen[2] += 1;
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "each case came: {seen:?}");
}
