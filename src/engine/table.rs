//! Tables of eight points, of which each lane takes its own without showing which.

use zeroize::Zeroize;

use super::field::Tight;
use super::lanes::{Lanes, Work};
use super::point::{Affine, Cached, Extended};

/// Points of a table.
pub(super) const ENTRIES: usize = 8;

/// Eight points of each lane.
#[derive(Clone, Zeroize)]
pub(super) struct Table<L: Lanes>([Cached<L>; ENTRIES]);

/// The point of a table that each lane wants, and whether it wants its negative.
#[derive(Clone, Copy)]
pub(super) struct Choice<L: Lanes> {
    /// Below the number of entries.
    pub(super) index: L,
    pub(super) negative: L::Mask,
}

impl<L: Lanes> Table<L> {
    /// A table to be filled.
    pub(super) fn blank(token: L::Token) -> Self {
        let zero = Tight::zero(token);
        Table([Cached { minus: zero, plus: zero, z2: zero, t2d: zero }; ENTRIES])
    }

    /// A coordinate of the point of each lane's index.
    #[inline(always)]
    pub(super) fn select(&self, index: L, coordinate: impl Fn(&Cached<L>) -> &Tight<L>) -> Tight<L> {
        chosen(&self.0, index, coordinate)
    }
}

/// A coordinate of the entry of each lane's index: every entry is read, for every lane.
#[inline(always)]
pub(super) fn chosen<L: Lanes, E>(entries: &[E; ENTRIES], index: L, coordinate: impl Fn(&E) -> &Tight<L>) -> Tight<L> {
    let [first, others @ ..] = entries;
    let mut chosen = *coordinate(first);
    for (number, entry) in others.iter().enumerate() {
        let here = index.equal(L::splat(index.token(), number as u64 + 1));
        chosen = Tight::select(here, *coordinate(entry), chosen);
    }
    chosen
}

/// Fills a table with the odd multiples of a point: 1, 3, … 15 times.
pub(super) struct FillWithOddMultiples<'a, L: Lanes> {
    pub(super) table: &'a mut Table<L>,
    pub(super) point: &'a Affine<L>,
}

impl<L: Lanes> Work for FillWithOddMultiples<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut sum = self.point.extended();
        let twice = self.point.projective().doubled().extended().cached();
        self.table.0[0] = sum.cached();
        for entry in &mut self.table.0[1..] {
            sum = sum.plus(&twice).extended();
            *entry = sum.cached();
        }
    }
}

/// Fills a table for a comb: entry `i` is the last tooth plus the other three, each with its sign turned where its bit
/// of `i` is set.
pub(super) struct FillForComb<'a, L: Lanes> {
    pub(super) table: &'a mut Table<L>,
    pub(super) teeth: &'a [Extended<L>; 4],
    /// Scratch for the points while they are added up.
    pub(super) sums: &'a mut [Extended<L>; ENTRIES],
}

impl<L: Lanes> Work for FillForComb<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [first, second, third, last] = self.teeth;
        self.sums[0] = *last;
        // After each round twice as many sums are there, the new ones with the tooth's sign turned.
        for (round, tooth) in [first, second, third].into_iter().enumerate() {
            let tooth = tooth.cached();
            for index in 0..1 << round {
                let [sum, difference] = self.sums[index].plus_and_minus(&tooth);
                self.sums[index] = sum.extended();
                self.sums[index + (1 << round)] = difference.extended();
            }
        }
        for (entry, sum) in self.table.0.iter_mut().zip(&*self.sums) {
            *entry = sum.cached();
        }
    }
}
