//! Multiplication of up to four points by halves of scalars, two lanes to each product: what is left over when lanes are
//! filled, and a lone login.
//!
//! Lanes 0 to 3 are the lower ones, 4 to 7 the upper; product `i` has lanes `i` and `i + 4`. What `point.rs` does one
//! after another with one lane, two lanes do side by side: a doubling is two squares and two products of registers, an
//! addition four products. `(A | B)` says that the lower lanes hold A and the upper ones B. The formulas are those of
//! `point.rs`, and the ladder takes the steps of `ladder.rs`, over points of another form.

use zeroize::Zeroize;

use super::field::{D2, Multiple, P_TIMES_2, P_TIMES_512, P_TIMES_1024, Tight, Wide};
use super::ladder::{DIGITS, WINDOW};
use super::lanes::{LANES, Lanes, Work};
use super::point::Point;
use super::scalar::Signs;
use super::table::{Choice, ENTRIES, chosen};

/// Products of a vector.
pub(super) const SPLIT: usize = LANES / 2;

/// (X | Y) and (Z | X + Y): a point to be doubled.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Projective<L: Lanes> {
    pub(super) xy: Tight<L>,
    pub(super) zs: Tight<L>,
}

/// (Y - X | Y + X) and (Z | T): a point to be added to.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Extended<L: Lanes> {
    pub(super) ends: Tight<L>,
    pub(super) zt: Tight<L>,
}

/// (Y - X | Y + X) and (2 Z | 2 d T): a point that is added to others.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Cached<L: Lanes> {
    pub(super) ends: Tight<L>,
    pub(super) zt: Tight<L>,
}

/// (G | H) and (F | E): what a doubling or an addition ends in.
#[derive(Clone, Copy)]
pub(super) struct Completed<L: Lanes> {
    gh: Tight<L>,
    fe: Tight<L>,
}

/// The lower lanes.
#[inline(always)]
fn lower<L: Lanes>(token: L::Token) -> L::Mask {
    L::mask(token, (1 << SPLIT) - 1)
}

/// `a` in the lower lanes, `b` in the upper ones.
#[inline(always)]
fn tight<L: Lanes>(a: Tight<L>, b: Tight<L>) -> Tight<L> {
    Tight::select(lower::<L>(a.token()), a, b)
}

/// `a` in the lower lanes, `b` in the upper ones.
#[inline(always)]
fn wide<L: Lanes>(a: Wide<L>, b: Wide<L>) -> Wide<L> {
    Wide::select(lower::<L>(a.0[0].token()), a, b)
}

/// (B - A | B + A) of (A | B), where `multiple` is at least A.
#[inline(always)]
fn ends<L: Lanes>(ab: Wide<L>, multiple: Multiple) -> Wide<L> {
    let minus = Wide::nothing(ab.0[0].token(), multiple).less(ab);
    ab.exchanged::<SPLIT>().add(wide(minus, ab))
}

/// (X | Y) of a decoded point, to be added to.
#[inline(always)]
fn extended<L: Lanes>(xy: Tight<L>) -> Extended<L> {
    let t = xy.times(xy.exchanged::<SPLIT>()).carry();
    Extended { ends: ends(xy.wide(), P_TIMES_2).carry(), zt: tight(Tight::one(xy.token()), t) }
}

/// The same, to be doubled.
#[inline(always)]
fn projective<L: Lanes>(xy: Tight<L>) -> Projective<L> {
    let sum = xy.add(xy.exchanged::<SPLIT>()).carry();
    Projective { xy, zs: tight(Tight::one(xy.token()), sum) }
}

impl<L: Lanes> Projective<L> {
    /// Twice the point.
    #[inline(always)]
    pub(super) fn doubled(&self) -> Completed<L> {
        let gh = ends(self.xy.square(), P_TIMES_512);
        let squares = self.zs.square_plus(P_TIMES_1024);
        let fe = wide(squares.add(squares), squares).less(gh);
        Completed { gh: gh.carry(), fe: fe.carry() }
    }
}

impl<L: Lanes> Extended<L> {
    /// The neutral element.
    #[inline(always)]
    pub(super) fn identity(token: L::Token) -> Self {
        let (zero, one) = (Tight::zero(token), Tight::one(token));
        Extended { ends: one, zt: tight(one, zero) }
    }

    /// The sum with `other`.
    #[inline(always)]
    pub(super) fn plus(&self, other: &Cached<L>) -> Completed<L> {
        let dc = self.zt.times(other.zt);
        let ab = self.ends.times(other.ends);
        let (db, ca) = (wide(dc, ab), wide(ab, dc).exchanged::<SPLIT>());
        Completed { gh: db.add(ca).carry(), fe: db.plus(P_TIMES_512).less(ca).carry() }
    }

    /// The sum with each product's choice out of a table, or the difference from it.
    #[inline(always)]
    pub(super) fn plus_chosen(&self, table: &[Cached<L>; ENTRIES], choice: Choice<L>) -> Completed<L> {
        let zt = chosen(table, choice.index, |entry| &entry.zt);
        let ends = chosen(table, choice.index, |entry| &entry.ends);
        let ends = Tight::select(choice.negative, ends.exchanged::<SPLIT>(), ends);
        let Completed { gh, fe } = self.plus(&Cached { ends, zt });
        // F and G, both in lower lanes, change places.
        let exchanged = L::both(choice.negative, lower::<L>(gh.token()));
        Completed { gh: Tight::select(exchanged, fe, gh), fe: Tight::select(exchanged, gh, fe) }
    }

    /// The same point, to be added to others.
    #[inline(always)]
    pub(super) fn cached(&self) -> Cached<L> {
        let token = self.zt.token();
        let factors = tight(Tight::splat(token, &[2, 0, 0, 0, 0]), Tight::splat(token, &D2));
        Cached { ends: self.ends, zt: self.zt.times(factors).carry() }
    }
}

impl<L: Lanes> Completed<L> {
    /// (X | Y) and (Z | T), which are (FE | HG) and (GF | HE).
    #[inline(always)]
    fn multiplied_out(&self) -> [Wide<L>; 2] {
        let (fh, eg) = (tight(self.fe, self.gh), tight(self.gh, self.fe).exchanged::<SPLIT>());
        [fh.times(eg), self.gh.times(self.fe)]
    }

    /// For a doubling.
    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<L> {
        let [xy, zt] = self.multiplied_out();
        let sum = xy.add(xy.exchanged::<SPLIT>());
        Projective { xy: xy.carry(), zs: wide(zt, sum).carry() }
    }

    /// For an addition.
    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L> {
        let [xy, zt] = self.multiplied_out();
        Extended { ends: ends(xy, P_TIMES_512).carry(), zt: zt.carry() }
    }

    /// The products in the lower lanes, each in one lane; the upper lanes hold the identity.
    #[inline(always)]
    pub(super) fn point(&self) -> Point<L> {
        let [xy, zt] = self.multiplied_out();
        let (xy, zt) = (xy.carry(), zt.carry());
        let (zero, one) = (Tight::zero(xy.token()), Tight::one(xy.token()));
        Point {
            x: tight(xy, zero),
            y: tight(xy.exchanged::<SPLIT>(), one),
            z: tight(zt, one),
            t: tight(zt.exchanged::<SPLIT>(), zero),
        }
    }
}

/// What four products are multiplied with. Wiped on drop.
pub(super) struct Ladder<L: Lanes> {
    token: L::Token,
    table: [Cached<L>; ENTRIES],
    point: Projective<L>,
    sum: Extended<L>,
}

impl<L: Lanes> Drop for Ladder<L> {
    fn drop(&mut self) {
        self.table.zeroize();
        self.point.zeroize();
        self.sum.zeroize();
    }
}

impl<L: Lanes> Ladder<L> {
    /// Room to work in.
    pub(super) fn new(token: L::Token) -> Self {
        let zero = Tight::zero(token);
        Ladder {
            token,
            table: [Cached { ends: zero, zt: zero }; ENTRIES],
            point: Projective { xy: zero, zs: zero },
            sum: Extended::identity(token),
        }
    }

    /// Half of a scalar, which both lanes of a product have, times a decoded point, (X | Y): 63 times an addition and
    /// four doublings, and an addition.
    pub(super) fn multiply(&mut self, xy: &Tight<L>, half: &Signs<L>) -> Point<L> {
        L::call(self.token, FillWithOddMultiples { table: &mut self.table, xy });
        self.sum = Extended::identity(self.token);
        for window in (1..DIGITS / WINDOW).rev() {
            L::call(self.token, Add(self, half, window));
            L::call(self.token, Double(self, WINDOW - 1));
            L::call(self.token, DoubleToAdd(self));
        }
        L::call(self.token, AddLast(self, half))
    }

    /// The sum with what each product chooses.
    #[inline(always)]
    fn with_chosen(&self, half: &Signs<L>, window: u32) -> Completed<L> {
        self.sum.plus_chosen(&self.table, half.window(window, WINDOW, DIGITS))
    }
}

/// Fills a table with the odd multiples of a decoded point: 1, 3, … 15 times.
pub(super) struct FillWithOddMultiples<'a, L: Lanes> {
    pub(super) table: &'a mut [Cached<L>; ENTRIES],
    pub(super) xy: &'a Tight<L>,
}

impl<L: Lanes> Work for FillWithOddMultiples<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut sum = extended(*self.xy);
        let twice = projective(*self.xy).doubled().extended().cached();
        self.table[0] = sum.cached();
        for entry in &mut self.table[1..] {
            sum = sum.plus(&twice).extended();
            *entry = sum.cached();
        }
    }
}

/// The sum, with what each product chooses added, becomes the point.
struct Add<'a, L: Lanes>(&'a mut Ladder<L>, &'a Signs<L>, u32);

impl<L: Lanes> Work for Add<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.0.point = self.0.with_chosen(self.1, self.2).projective();
    }
}

/// The sum, with what each product chooses added, at last.
struct AddLast<'a, L: Lanes>(&'a Ladder<L>, &'a Signs<L>);

impl<L: Lanes> Work for AddLast<'_, L> {
    type Output = Point<L>;

    #[inline(always)]
    fn run(self) -> Point<L> {
        self.0.with_chosen(self.1, 0).point()
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
