//! [`Lanes`]: eight numbers of 64 bits that are worked on at once, and the contract that every kind of them meets.
//!
//! Field, scalars, points, ladders and hash are written once, over this trait. `ifma.rs` runs them on the registers of
//! the processor, `model.rs` on plain integers, and in tests on intervals, which prove the bounds of the same source.
//!
//! Eight independent requests need no shuffles: lane `i` of every value belongs to request `i`, and no operation moves
//! anything from one lane to another, but those that turn requests into lanes, and [`Lanes::exchanged`], for few requests
//! that have several lanes each.

use zeroize::Zeroize;

use crate::secret::{Wipe, with_spare_room};

/// Requests that share a value.
pub(crate) const LANES: usize = 8;

/// One number for each lane, as it is loaded and stored: on a boundary of 64 bytes, which a register wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Row(pub(crate) [u64; LANES]);

impl Zeroize for Row {
    /// As a slice, which is wiped in one piece; an array is wiped number by number.
    #[inline]
    fn zeroize(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl<const N: usize> Wipe for Vec<[Row; N]> {
    fn wipe(&mut self) {
        with_spare_room(self, [Row([0; LANES]); N]).as_flattened_mut().iter_mut().zeroize();
    }
}

/// Eight lanes of 64 bits.
///
/// A value of this type is also the proof that the machine can do these operations: the first ones are made with a
/// [`Lanes::Token`], all others from them. Arithmetic is modulo 2^64; callers keep below it, and the interval kind
/// refuses to go over it.
pub(crate) trait Lanes: Copy + Zeroize {
    /// Proof that this machine can do what the lanes need.
    type Token: Copy;
    /// A choice for each lane.
    type Mask: Copy + Zeroize;

    /// Runs `work` as a function of its own, compiled for the lanes. Work that is called often and inlines what it
    /// calls should be a few kilobytes of code, so that a loop over it stays in the instruction cache.
    fn call<W: Work>(token: Self::Token, work: W) -> W::Output;

    /// The token that this value was made with.
    fn token(self) -> Self::Token;

    /// The same number in every lane.
    fn splat(token: Self::Token, number: u64) -> Self;
    /// A number for each lane.
    fn load(token: Self::Token, row: &Row) -> Self;
    /// The number of each lane.
    fn store(self) -> Row;

    /// `self + other`, which is below 2^64.
    fn add(self, other: Self) -> Self;
    /// `self - other`, which is not negative.
    fn sub(self, other: Self) -> Self;
    /// `self * number`, which is below 2^64.
    fn times(self, number: u64) -> Self;
    /// The bits of `self` that are also in `bits`.
    fn and(self, bits: u64) -> Self;
    /// `self` shifted down by a public number of bits.
    fn down(self, bits: u32) -> Self;
    /// `self` shifted up by a public number of bits, which is below 2^64.
    fn up(self, bits: u32) -> Self;
    /// `self` plus the low 52 bits of `a * b`, where `a` and `b` are below 2^52: higher bits of them are dropped.
    fn add_product_low(self, a: Self, b: Self) -> Self;
    /// `self` plus `a * b` shifted down by 52 bits, where `a` and `b` are below 2^52: higher bits of them are dropped.
    fn add_product_high(self, a: Self, b: Self) -> Self;

    /// The numbers of lanes that are `DISTANCE` apart, 1, 2 or 4, change places: each lane has that of the lane whose
    /// number differs in that bit.
    fn exchanged<const DISTANCE: usize>(self) -> Self;

    /// The same numbers. For the compiler it is a point that work before and after does not cross.
    fn settle(numbers: [Self; 5]) -> [Self; 5];

    /// Where both are equal.
    fn equal(self, other: Self) -> Self::Mask;
    /// `self` where the mask says so, `other` elsewhere.
    fn select(mask: Self::Mask, this: Self, other: Self) -> Self;
    /// A number for each lane out of 32 that all share; indices are below 32. Neither time nor addresses depend on them.
    fn look_up(self, numbers: &[Row; 4]) -> Self;

    /// The choice whose lowest bit is that of the first lane.
    fn mask(token: Self::Token, bits: u8) -> Self::Mask;
    /// The choices as bits: from here on they are public.
    fn bits(mask: Self::Mask) -> u8;
    /// Where both say so.
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Where one of them says so.
    fn either(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Where exactly one of them says so.
    fn one_of(a: Self::Mask, b: Self::Mask) -> Self::Mask;
}

/// What SHA-512 needs beyond [`Lanes`]. Here additions wrap, as FIPS 180-4 wants.
///
/// The last three operations are for the way in and out, where each request has its numbers in a row. What they mean is
/// written here; a register has better ways.
pub(crate) trait HashLanes: Lanes {
    /// `self + other` modulo 2^64.
    fn wrapping_add(self, other: Self) -> Self;
    /// `self` rotated down by `N` bits.
    fn rotate<const N: i32>(self) -> Self;
    /// The bits of `b` where `self` is one, of `c` where it is zero: Ch of FIPS 180-4 section 4.1.3.
    fn choose(self, b: Self, c: Self) -> Self;
    /// The bits that two of three have: Maj of the same section.
    fn majority(self, b: Self, c: Self) -> Self;
    /// The bits that one or three of three have.
    fn parity(self, b: Self, c: Self) -> Self;

    /// Eight numbers, each from eight bytes, the highest first.
    #[inline(always)]
    fn load_bytes(token: Self::Token, bytes: &[u8; 8 * LANES]) -> Self {
        let mut row = Row([0; LANES]);
        for (number, bytes) in row.0.iter_mut().zip(bytes.as_chunks().0) {
            *number = u64::from_be_bytes(*bytes);
        }
        Self::load(token, &row)
    }

    /// The bytes of each number in the opposite order.
    #[inline(always)]
    fn swap_bytes(self) -> Self {
        let mut row = self.store();
        for number in &mut row.0 {
            *number = number.swap_bytes();
        }
        Self::load(self.token(), &row)
    }

    /// Rows and lanes change places: number `j` of row `i` becomes number `i` of row `j`.
    #[inline(always)]
    fn transposed(rows: [Self; LANES]) -> [Self; LANES] {
        let mut turned = [Row([0; LANES]); LANES];
        for (i, row) in rows.iter().enumerate() {
            for (j, number) in row.store().0.iter().enumerate() {
                turned[j].0[i] = *number;
            }
        }
        let mut columns = rows;
        for (column, row) in columns.iter_mut().zip(&turned) {
            *column = Self::load(column.token(), row);
        }
        columns
    }
}

/// Work that [`Lanes::call`] compiles as one function for the lanes. Its `run` is `#[inline(always)]`, and so is all
/// that it calls, except what goes through `call` again: a function that is not inlined, be it a closure or an adapter of
/// iterators, is compiled without the processor's features, and silently costs up to ten times as much.
pub(crate) trait Work {
    /// What comes of it.
    type Output;
    /// Does it.
    fn run(self) -> Self::Output;
}
