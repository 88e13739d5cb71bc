//! Multiplication of points by halves of scalars, each lane its own.
//!
//! Both ladders take as much time and read the same addresses whatever scalars and points are: a digit is never zero,
//! and a choice reads the whole table.

use zeroize::Zeroize;

use super::lanes::{Lanes, Work};
use super::point::{Affine, Begin, Completed, Extended, Point, Projective, Raise};
use super::scalar::Signs;
use super::table::{FillForComb, FillWithOddMultiples, Table};

/// Digits of a scalar.
pub(super) const DIGITS: u32 = 256;
/// Digits that one addition of [`Ladder::multiply`] takes in, and one of the ladder with two lanes a product.
pub(super) const WINDOW: u32 = 4;
/// Digits between the teeth of the comb of [`Ladder::multiply_pair`].
const SPACING: u32 = DIGITS / 4;

/// What eight lanes are multiplied with. Wiped on drop.
pub(super) struct Ladder<L: Lanes> {
    token: L::Token,
    table: Table<L>,
    point: Projective<L>,
    sum: Extended<L>,
    teeth: [Extended<L>; 4],
    sums: [Extended<L>; 8],
}

impl<L: Lanes> Drop for Ladder<L> {
    fn drop(&mut self) {
        self.table.zeroize();
        self.point.zeroize();
        self.sum.zeroize();
        self.teeth.zeroize();
        self.sums.zeroize();
    }
}

impl<L: Lanes> Ladder<L> {
    /// Room to work in.
    pub(super) fn new(token: L::Token) -> Self {
        let identity = Extended::identity(token);
        Ladder {
            token,
            table: Table::blank(token),
            point: Projective::identity(token),
            sum: identity,
            teeth: [identity; 4],
            sums: [identity; 8],
        }
    }

    /// Half of a scalar times a point: 63 times an addition and four doublings, and an addition.
    pub(super) fn multiply(&mut self, point: &Affine<L>, half: &Signs<L>) -> Point<L> {
        L::call(self.token, FillWithOddMultiples { table: &mut self.table, point });
        self.sum = Extended::identity(self.token);
        for window in (1..DIGITS / WINDOW).rev() {
            L::call(self.token, Add(self, half, Digits::Window(window)));
            L::call(self.token, Double(self, WINDOW - 1));
            L::call(self.token, DoubleToAdd(self));
        }
        L::call(self.token, AddLast(self, half, Digits::Window(0)))
    }

    /// Half of each of two scalars times one point. A comb takes digits that are far apart in one addition; the
    /// doublings that reach its teeth serve both scalars.
    pub(super) fn multiply_pair(&mut self, point: &Affine<L>, halves: [&Signs<L>; 2]) -> [Point<L>; 2] {
        self.point = L::call(self.token, Begin(point));
        for tooth in 0..4 {
            if tooth > 0 {
                L::call(self.token, Double(self, SPACING));
            }
            self.teeth[tooth] = L::call(self.token, Raise(&self.point));
        }
        let Ladder { table, teeth, sums, .. } = self;
        L::call(self.token, FillForComb { table, teeth, sums });
        halves.map(|half| {
            self.sum = Extended::identity(self.token);
            for column in (1..SPACING).rev() {
                L::call(self.token, Add(self, half, Digits::Column(column)));
                L::call(self.token, DoubleToAdd(self));
            }
            L::call(self.token, AddLast(self, half, Digits::Column(0)))
        })
    }
}

/// Which digits of a scalar choose.
#[derive(Clone, Copy)]
enum Digits {
    Window(u32),
    Column(u32),
}

impl<L: Lanes> Ladder<L> {
    /// The sum with what each lane chooses.
    #[inline(always)]
    fn with_chosen(&self, half: &Signs<L>, digits: Digits) -> Completed<L> {
        let choice = match digits {
            Digits::Window(number) => half.window(number, WINDOW, DIGITS),
            Digits::Column(number) => half.column(number, SPACING),
        };
        self.sum.plus_chosen(&self.table, choice)
    }
}

/// The sum, with what each lane chooses added, becomes the point.
struct Add<'a, L: Lanes>(&'a mut Ladder<L>, &'a Signs<L>, Digits);

impl<L: Lanes> Work for Add<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.point = self.0.with_chosen(self.1, self.2).projective();
    }
}

/// The sum, with what each lane chooses added, at last.
struct AddLast<'a, L: Lanes>(&'a Ladder<L>, &'a Signs<L>, Digits);

impl<L: Lanes> Work for AddLast<'_, L> {
    type Output = Point<L>;

    #[inline(always)]
    fn run(self) -> Point<L> {
        self.0.with_chosen(self.1, self.2).point()
    }
}

/// The point doubled a number of times.
struct Double<'a, L: Lanes>(&'a mut Ladder<L>, u32);

impl<L: Lanes> Work for Double<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for _ in 0..self.1 {
            self.0.point = self.0.point.doubled().projective();
        }
    }
}

/// The point doubled becomes the sum.
struct DoubleToAdd<'a, L: Lanes>(&'a mut Ladder<L>);

impl<L: Lanes> Work for DoubleToAdd<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.sum = self.0.point.doubled().extended();
    }
}
