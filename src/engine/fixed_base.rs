//! Multiples of the generator, from a table of its multiples that all lanes share.
//!
//! A row of the table holds the 32 odd multiples of 64^i times the generator. Their limbs are laid out so that four
//! registers hold one limb of all 32, and a permutation of registers gives each lane the one it wants: no address
//! depends on a digit.

use std::sync::OnceLock;

use super::field::{D2, Product, Tight, invert};
use super::lanes::{LANES, Lanes, Row, Work};
use super::point::{Affine, AffineCached, Begin, Cached, Extended, Point, Projective, Raise};
use super::scalar::Signs;

/// Digits that one addition takes in.
const WINDOW: u32 = 6;
/// Rows, which cover all digits of a scalar.
const ROWS: usize = 43;
/// Digits that the rows cover.
const DIGITS: u32 = ROWS as u32 * WINDOW;
/// Odd multiples in a row.
const ENTRIES: usize = 1 << (WINDOW - 1);

/// 32 numbers for each of the five limbs of the three coordinates of an [`AffineCached`].
type TableRow = [[[Row; 4]; 5]; 3];

/// The table. It is public.
pub(super) struct Table(pub(super) Vec<TableRow>);

/// The one table of the process, made at the first call.
fn table<L: Lanes>(token: L::Token) -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| make::<L>(token))
}

/// Half of each lane's scalar times the generator: 43 additions.
pub(super) fn multiply_base<L: Lanes>(token: L::Token, half: &Signs<L>) -> Point<L> {
    let mut sum = Extended::identity(token);
    for (number, row) in (0u32..).zip(&table::<L>(token).0) {
        L::call(token, AddRow { sum: &mut sum, row, half, number });
    }
    L::call(token, Lower(&sum, u8::MAX))
}

/// Half of one scalar, which every lane has, times the generator, in the first lane: each lane sums up every eighth row,
/// then the lanes are summed up. The other lanes hold the identity.
pub(super) fn multiply_base_alone<L: Lanes>(token: L::Token, half: &Signs<L>) -> Point<L> {
    let mut sum = Extended::identity(token);
    for (group, rows) in (0u32..).zip(table::<L>(token).0.chunks(LANES)) {
        L::call(token, AddRows { sum: &mut sum, rows, half, first: group * LANES as u32 });
    }
    L::call(token, AddUp::<L, 4>(&mut sum));
    L::call(token, AddUp::<L, 2>(&mut sum));
    L::call(token, AddUp::<L, 1>(&mut sum));
    L::call(token, Lower(&sum, 1))
}

/// Each lane adds the entry that it chooses from its own one of up to eight rows.
struct AddRows<'a, L: Lanes> {
    sum: &'a mut Extended<L>,
    rows: &'a [TableRow],
    half: &'a Signs<L>,
    first: u32,
}

impl<L: Lanes> Work for AddRows<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let token = self.sum.z.token();
        let one = Tight::one(token);
        let mut entry = AffineCached { minus: one, plus: one, t2d: Tight::zero(token) };
        let mut negative = L::mask(token, 0);
        for (lane, row) in self.rows.iter().enumerate() {
            let choice = self.half.window(self.first + lane as u32, WINDOW, DIGITS);
            let (here, chosen) = (L::mask(token, 1 << lane), look_up(row, choice.index));
            entry = AffineCached {
                minus: Tight::select(here, chosen.minus, entry.minus),
                plus: Tight::select(here, chosen.plus, entry.plus),
                t2d: Tight::select(here, chosen.t2d, entry.t2d),
            };
            negative = L::either(negative, L::both(here, choice.negative));
        }
        *self.sum = self.sum.plus_or_minus_affine(&entry, negative).extended();
    }
}

/// Adds to each lane the lane that is so far from it.
struct AddUp<'a, L: Lanes, const DISTANCE: usize>(&'a mut Extended<L>);

impl<L: Lanes, const DISTANCE: usize> Work for AddUp<'_, L, DISTANCE> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Cached { minus, plus, z2, t2d } = self.0.cached();
        let other = Cached {
            minus: minus.exchanged::<DISTANCE>(),
            plus: plus.exchanged::<DISTANCE>(),
            z2: z2.exchanged::<DISTANCE>(),
            t2d: t2d.exchanged::<DISTANCE>(),
        };
        *self.0 = self.0.plus(&other).extended();
    }
}

struct AddRow<'a, L: Lanes> {
    sum: &'a mut Extended<L>,
    row: &'a TableRow,
    half: &'a Signs<L>,
    number: u32,
}

impl<L: Lanes> Work for AddRow<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let choice = self.half.window(self.number, WINDOW, DIGITS);
        *self.sum = self.sum.plus_or_minus_affine(&look_up(self.row, choice.index), choice.negative).extended();
    }
}

#[inline(always)]
fn look_up<L: Lanes>(row: &TableRow, index: L) -> AffineCached<L> {
    let [minus, plus, t2d] = [look_up_one(&row[0], index), look_up_one(&row[1], index), look_up_one(&row[2], index)];
    AffineCached { minus, plus, t2d }
}

#[inline(always)]
fn look_up_one<L: Lanes>(limbs: &[[Row; 4]; 5], index: L) -> Tight<L> {
    let [a, b, c, d, e] = limbs;
    Tight([index.look_up(a), index.look_up(b), index.look_up(c), index.look_up(d), index.look_up(e)])
}

/// Makes the table: the rows side by side in lanes, all entries of a row over one inversion.
pub(super) fn make<L: Lanes>(token: L::Token) -> Table {
    let generator = Affine::<L>::generator(token);
    let mut base = L::call(token, Begin(&generator));
    let mut rows = vec![[[[Row([0; LANES]); 4]; 5]; 3]; ROWS];
    for rows in rows.chunks_mut(LANES) {
        // Lane i holds 64^i times the base; the last doublings lead to the next chunk.
        let mut starts = L::call(token, Raise(&base));
        for lane in 0..LANES {
            let later = L::mask(token, u8::MAX << lane);
            starts = Extended::select(later, L::call(token, Raise(&base)), starts);
            L::call(token, NextRow(&mut base));
        }
        let entries = L::call(token, OddMultiples(&starts));
        let mut products = vec![Tight::one(token)];
        for (index, entry) in entries.iter().enumerate() {
            products.push(L::call(token, Product(&products[index], &entry.z)));
        }
        let [mut inverse] = invert(&[products[ENTRIES]]);
        for (index, entry) in entries.iter().enumerate().rev() {
            let z_inverse = L::call(token, Product(&inverse, &products[index]));
            inverse = L::call(token, Product(&inverse, &entry.z));
            let normal = L::call(token, Normalise { entry, z_inverse: &z_inverse });
            for (coordinate, limbs) in normal.iter().enumerate() {
                for (limb, numbers) in limbs.iter().enumerate() {
                    for (row, number) in rows.iter_mut().zip(numbers.0) {
                        row[coordinate][limb][index / LANES].0[index % LANES] = number;
                    }
                }
            }
        }
    }
    Table(rows)
}

struct NextRow<'a, L: Lanes>(&'a mut Projective<L>);

impl<L: Lanes> Work for NextRow<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for _ in 0..WINDOW {
            *self.0 = self.0.doubled().projective();
        }
    }
}

/// The point in all coordinates in some of the lanes, and the identity in the others.
struct Lower<'a, L: Lanes>(&'a Extended<L>, u8);

impl<L: Lanes> Work for Lower<'_, L> {
    type Output = Point<L>;

    #[inline(always)]
    fn run(self) -> Point<L> {
        let token = self.0.z.token();
        Extended::select(L::mask(token, self.1), *self.0, Extended::identity(token)).point()
    }
}

struct OddMultiples<'a, L: Lanes>(&'a Extended<L>);

impl<L: Lanes> Work for OddMultiples<'_, L> {
    type Output = Vec<Extended<L>>;

    #[inline(always)]
    fn run(self) -> Vec<Extended<L>> {
        let once = *self.0;
        let twice: Cached<L> = once.plus(&once.cached()).extended().cached();
        let mut entries = vec![once; ENTRIES];
        for index in 1..ENTRIES {
            entries[index] = entries[index - 1].plus(&twice).extended();
        }
        entries
    }
}

struct Normalise<'a, L: Lanes> {
    entry: &'a Extended<L>,
    z_inverse: &'a Tight<L>,
}

impl<L: Lanes> Work for Normalise<'_, L> {
    /// The canonical limbs of Y - X, Y + X and 2 d T, where Z is one.
    type Output = [[Row; 5]; 3];

    #[inline(always)]
    fn run(self) -> Self::Output {
        let z_inverse = *self.z_inverse;
        let d2 = Tight::splat(z_inverse.token(), &D2);
        let stored = |element: Tight<L>| element.times(z_inverse).carry().canonical().map(L::store);
        [stored(self.entry.minus), stored(self.entry.plus), stored(self.entry.t.times(d2).carry())]
    }
}
