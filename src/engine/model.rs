//! Eight lanes as eight plain integers: what the registers are held against, and a machine that every machine has.
//!
//! [`Model`] does what [`Lanes`] says and no more, in code that can be read at a glance. It has the same limbs as the
//! registers, so both are compared limb for limb. Where it is checked (in tests and in builds with debug assertions) it
//! refuses operands that the contract leaves out, where a register would silently drop bits or wrap.
//!
//! It takes constant time like the registers: no branch and no address depends on a lane's number. So a tool that
//! follows secrets through a program, and knows no AVX-512, can follow them through the lanes on it.
//!
//! Its operations are functions out of line. Where each is inlined eight times over into every function of the points,
//! the compiler takes minutes, for code that is no faster.

use std::hint::black_box;

use zeroize::Zeroize;

use super::lanes::{HashLanes, LANES, Lanes, Row, Work};

/// Whether operands are checked. The checks are branches on numbers, so they stay out of what is measured for time.
const CHECKED: bool = cfg!(any(test, debug_assertions));

/// Bits that the multiplier reads of each operand.
const MULTIPLIER: u32 = 52;

/// The token of the model: every machine can add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Always;

/// Eight lanes in eight integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroize)]
pub(super) struct Model([u64; LANES]);

impl Model {
    /// The number of each lane out of those of two values.
    #[inline(always)]
    fn with(self, other: Self, number: impl Fn(u64, u64) -> u64) -> Self {
        Model(std::array::from_fn(|lane| number(self.0[lane], other.0[lane])))
    }

    /// The number of each lane out of its old one.
    #[inline(always)]
    fn map(self, number: impl Fn(u64) -> u64) -> Self {
        Model(self.0.map(number))
    }

    /// The exact product of each lane's low 52 bits.
    #[inline(always)]
    fn product(self, other: Self, lane: usize) -> u128 {
        let (a, b) = (self.0[lane], other.0[lane]);
        contract(a >> MULTIPLIER == 0 && b >> MULTIPLIER == 0, "factors are below 2^52", a, b);
        let low = (1 << MULTIPLIER) - 1;
        u128::from(a & low) * u128::from(b & low)
    }
}

/// Panics where a clause of the contract does not hold.
#[inline(always)]
fn contract(holds: bool, clause: &str, a: u64, b: u64) {
    if CHECKED && !holds {
        broken(clause, a, b);
    }
}

#[cold]
#[inline(never)]
#[allow(clippy::panic)]
fn broken(clause: &str, a: u64, b: u64) {
    panic!("{clause}: {a:#x} and {b:#x}");
}

/// `a + b`, which is below 2^64.
#[inline(always)]
fn sum(a: u64, b: u64) -> u64 {
    let sum = a.wrapping_add(b);
    contract(sum >= a, "a sum is below 2^64", a, b);
    sum
}

/// All ones where both are equal, zero elsewhere. The compiler must not know that it is one of two: it might branch.
#[inline(always)]
fn same(a: u64, b: u64) -> u64 {
    let other = a ^ b;
    black_box(((other | other.wrapping_neg()) >> 63).wrapping_sub(1))
}

impl Lanes for Model {
    type Token = Always;
    /// All ones or zero for each lane.
    type Mask = [u64; LANES];

    #[inline(never)]
    fn call<W: Work>(_: Always, work: W) -> W::Output {
        work.run()
    }

    #[inline(always)]
    fn token(self) -> Always {
        Always
    }

    #[inline(always)]
    fn splat(_: Always, number: u64) -> Self {
        Model([number; LANES])
    }

    #[inline(always)]
    fn load(_: Always, row: &Row) -> Self {
        Model(row.0)
    }

    #[inline(always)]
    fn store(self) -> Row {
        Row(self.0)
    }

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        self.with(other, sum)
    }

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| {
            contract(a >= b, "a difference is not negative", a, b);
            a.wrapping_sub(b)
        })
    }

    #[inline(never)]
    fn times(self, number: u64) -> Self {
        self.map(|a| {
            contract(a.checked_mul(number).is_some(), "a multiple is below 2^64", a, number);
            a.wrapping_mul(number)
        })
    }

    #[inline(never)]
    fn and(self, bits: u64) -> Self {
        self.map(|a| a & bits)
    }

    #[inline(never)]
    fn down(self, bits: u32) -> Self {
        self.map(|a| a >> bits)
    }

    #[inline(never)]
    fn up(self, bits: u32) -> Self {
        self.map(|a| {
            contract(a << bits >> bits == a, "what is shifted up is below 2^64", a, bits.into());
            a << bits
        })
    }

    #[inline(never)]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        Model(std::array::from_fn(|lane| {
            let low = a.product(b, lane) as u64 & ((1 << MULTIPLIER) - 1);
            sum(self.0[lane], low)
        }))
    }

    #[inline(never)]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        Model(std::array::from_fn(|lane| sum(self.0[lane], (a.product(b, lane) >> MULTIPLIER) as u64)))
    }

    #[inline(always)]
    fn exchanged<const DISTANCE: usize>(self) -> Self {
        Model(std::array::from_fn(|lane| self.0[lane ^ DISTANCE]))
    }

    #[inline(always)]
    fn settle(numbers: [Self; 5]) -> [Self; 5] {
        numbers
    }

    #[inline(never)]
    fn equal(self, other: Self) -> Self::Mask {
        self.with(other, same).0
    }

    #[inline(never)]
    fn select(mask: Self::Mask, this: Self, other: Self) -> Self {
        Model(std::array::from_fn(|lane| this.0[lane] & mask[lane] | other.0[lane] & !mask[lane]))
    }

    #[inline(never)]
    fn look_up(self, numbers: &[Row; 4]) -> Self {
        self.map(|index| {
            contract(index < 32, "an index is below 32", index, 32);
            let all = numbers.iter().flat_map(|row| row.0);
            (0..).zip(all).fold(0, |found, (number, entry)| found | entry & same(index, number))
        })
    }

    #[inline(always)]
    fn mask(_: Always, bits: u8) -> Self::Mask {
        std::array::from_fn(|lane| black_box(u64::from(bits >> lane & 1).wrapping_neg()))
    }

    #[inline(always)]
    fn bits(mask: Self::Mask) -> u8 {
        mask.iter().rev().fold(0, |bits, lane| bits << 1 | (lane & 1) as u8)
    }

    #[inline(always)]
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        Model(a).with(Model(b), |a, b| a & b).0
    }

    #[inline(always)]
    fn either(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        Model(a).with(Model(b), |a, b| a | b).0
    }

    #[inline(always)]
    fn one_of(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        Model(a).with(Model(b), |a, b| a ^ b).0
    }
}

impl HashLanes for Model {
    #[inline(always)]
    fn wrapping_add(self, other: Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        self.map(|a| a.rotate_right(N.cast_unsigned()))
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        Model(std::array::from_fn(|lane| self.0[lane] & b.0[lane] | !self.0[lane] & c.0[lane]))
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        let (a, b, c) = (self.0, b.0, c.0);
        Model(std::array::from_fn(|lane| a[lane] & b[lane] | a[lane] & c[lane] | b[lane] & c[lane]))
    }

    #[inline(always)]
    fn parity(self, b: Self, c: Self) -> Self {
        self.with(b.with(c, |b, c| b ^ c), |a, b| a ^ b)
    }
}
