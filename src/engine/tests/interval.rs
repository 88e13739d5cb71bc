//! One interval for every lane: over it, the source of the engine proves its own bounds.
//!
//! An [`Interval`] stands for every number from `low` to `high`, in any lane, whatever the others are. Each operation
//! gives the smallest interval that holds all that can come of it, and panics where one of these would leave the
//! contract of [`Lanes`]. So a function that runs through keeps the contract for all inputs within its own intervals.

use zeroize::Zeroize;

use crate::engine::lanes::{Lanes, Row, Work};

/// Every number from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Zeroize)]
pub(super) struct Interval {
    low: u64,
    high: u64,
}

/// A choice of which nothing is known.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Unknown;

/// What the multiplier reads.
const MULTIPLIER: u64 = 1 << 52;

impl Interval {
    /// Bounds that were computed without wrapping, which must fit.
    fn of(low: u128, high: u128, what: &str) -> Self {
        let [low, high] = [low, high]
            .map(|bound| u64::try_from(bound).unwrap_or_else(|_| panic!("{what} may be {high:#x}: 2^64 or more")));
        assert!(low <= high, "an interval has its low end first");
        Interval { low, high }
    }

    /// The least and the greatest product.
    fn product(self, other: Self) -> (u128, u128) {
        let high = self.high.max(other.high);
        assert!(high < MULTIPLIER, "a factor may be {high:#x}: the multiplier drops what is not below 2^52");
        (u128::from(self.low) * u128::from(other.low), u128::from(self.high) * u128::from(other.high))
    }

    fn plus(self, low: u128, high: u128, what: &str) -> Self {
        Interval::of(u128::from(self.low) + low, u128::from(self.high) + high, what)
    }

    fn union(self, other: Self) -> Self {
        Interval { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

impl Lanes for Interval {
    type Token = ();
    type Mask = Unknown;

    fn call<W: Work>((): (), work: W) -> W::Output {
        work.run()
    }

    fn token(self) {}

    #[inline(never)]
    fn splat((): (), number: u64) -> Self {
        Interval { low: number, high: number }
    }

    /// The interval that holds the numbers of the row: one number for each lane becomes any of them in any lane.
    fn load((): (), row: &Row) -> Self {
        row.0.iter().map(|&number| Self::splat((), number)).reduce(Self::union).unwrap()
    }

    /// A row that [`Lanes::load`] makes the same interval of.
    fn store(self) -> Row {
        let Interval { low, high } = self;
        Row([low, high, low, high, low, high, low, high])
    }

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        self.plus(other.low.into(), other.high.into(), "a sum")
    }

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        assert!(self.low >= other.high, "a difference may be negative: {:#x} - {:#x}", self.low, other.high);
        Interval { low: self.low - other.high, high: self.high - other.low }
    }

    #[inline(never)]
    fn times(self, number: u64) -> Self {
        let [low, high] = [self.low, self.high].map(|bound| u128::from(bound) * u128::from(number));
        Interval::of(low, high, "a multiple")
    }

    #[inline(never)]
    fn and(self, bits: u64) -> Self {
        assert_eq!(bits & bits.wrapping_add(1), 0, "a mask of the lowest bits, all that is proved here");
        let same_above = (self.low ^ self.high) & !bits == 0;
        let (low, high) = if same_above { (self.low & bits, self.high & bits) } else { (0, bits) };
        Interval { low, high }
    }

    #[inline(never)]
    fn down(self, bits: u32) -> Self {
        Interval { low: self.low >> bits, high: self.high >> bits }
    }

    #[inline(never)]
    fn up(self, bits: u32) -> Self {
        Interval::of(u128::from(self.low) << bits, u128::from(self.high) << bits, "what is shifted up")
    }

    #[inline(never)]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        let most = u128::from(MULTIPLIER - 1);
        match a.product(b) {
            (low, high) if high <= most => self.plus(low, high, "a sum of low halves"),
            _ => self.plus(0, most, "a sum of low halves"),
        }
    }

    #[inline(never)]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        let (low, high) = a.product(b);
        self.plus(low >> 52, high >> 52, "a sum of high halves")
    }

    /// The same interval, which holds the number of any lane.
    fn exchanged<const DISTANCE: usize>(self) -> Self {
        self
    }

    fn settle(numbers: [Self; 5]) -> [Self; 5] {
        numbers
    }

    fn equal(self, _: Self) -> Unknown {
        Unknown
    }

    #[inline(never)]
    fn select(Unknown: Unknown, this: Self, other: Self) -> Self {
        this.union(other)
    }

    #[inline(never)]
    fn look_up(self, numbers: &[Row; 4]) -> Self {
        assert!(self.high < 32, "an index may be {}: 32 or more", self.high);
        numbers.iter().map(|row| Self::load((), row)).reduce(Self::union).unwrap()
    }

    fn mask((): (), _: u8) -> Unknown {
        Unknown
    }

    /// No bits: nothing in the arithmetic looks at them.
    fn bits(Unknown: Unknown) -> u8 {
        0
    }

    fn both(_: Unknown, _: Unknown) -> Unknown {
        Unknown
    }

    fn either(_: Unknown, _: Unknown) -> Unknown {
        Unknown
    }

    fn one_of(_: Unknown, _: Unknown) -> Unknown {
        Unknown
    }
}

/// Each clause of the contract has a pair of operands that passes it and one that is stopped.
#[test]
fn intervals_are_exact_and_stop_at_each_bound() {
    let of = |low, high| Interval { low, high };
    let one = of(1, 1);
    assert_eq!(of(3, 5).add(of(10, 20)), of(13, 25));
    assert_eq!(of(30, 50).sub(of(10, 20)), of(10, 40));
    assert_eq!(of(3, 5).times(19), of(57, 95));
    assert_eq!(of(0x13, 0x15).and(0xf), of(3, 5));
    assert_eq!(of(0x0f, 0x10).and(0xf), of(0, 0xf));
    assert_eq!(of(0x13, 0x25).down(4), of(1, 2));
    assert_eq!(of(1, 3).up(62), of(1 << 62, 3 << 62));
    assert_eq!(one.add_product_low(of(2, 3), of(5, 7)), of(11, 22));
    assert_eq!(one.add_product_low(of(2, 3), of(0, MULTIPLIER - 1)), of(1, MULTIPLIER));
    assert_eq!(one.add_product_high(of(0, 1 << 51), of(0, 1 << 51)), of(1, 1 + (1 << 50)));
    assert_eq!(Interval::select(Unknown, of(3, 5), of(8, 9)), of(3, 9));
    assert_eq!(Interval::load((), &of(3, 9).store()), of(3, 9));
    assert_eq!(of(0, 31).look_up(&[of(4, 5), of(6, 7), of(1, 1), of(4, 4)].map(Interval::store)), of(1, 7));
    let stopped: [&dyn Fn() -> Interval; 10] = [
        &|| of(0, u64::MAX).add(one),
        &|| of(4, 5).sub(of(0, 5)),
        &|| of(0, 1 << 60).times(16),
        &|| one.and(5),
        &|| of(0, 4).up(62),
        &|| one.add_product_low(of(0, MULTIPLIER), one),
        &|| one.add_product_high(one, of(0, MULTIPLIER)),
        &|| of(0, u64::MAX).add_product_low(of(1, 1), one),
        &|| of(0, u64::MAX).add_product_high(of(0, 1 << 51), of(0, 1 << 51)),
        &|| of(0, 32).look_up(&[one.store(); 4]),
    ];
    for (number, operation) in stopped.into_iter().enumerate() {
        assert!(super::panics(operation), "operation {number} leaves the contract and is not stopped");
    }
}
