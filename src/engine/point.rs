//! Points of edwards25519, -x^2 + y^2 = 1 + d x^2 y^2, on lanes: in extended coordinates after Hisil, Wong, Carter and
//! Dawson (2008), whose formulas hold for every pair of points on this curve.
//!
//! Doubling and addition both end in a [`Completed`] point, four factors E, F, G, H with X = EF, Y = GH, Z = FG, T = EH.
//! What is multiplied out of them depends on what comes next: a doubling needs X, Y, Z and X + Y, an addition needs
//! Y - X, Y + X, Z and T. Sums and differences are taken while the products are wide, so that each is carried once; what
//! something is subtracted from has a multiple of p in it from the start.

use zeroize::Zeroize;

use super::field::{D2, P_TIMES_512, P_TIMES_1024, Tight, Wide, constant};
use super::lanes::{Lanes, Work};
use super::table::{Choice, Table};

/// The generator of RFC 9496 section 4.1: its coordinates x and y.
pub(super) const GENERATOR: [[u64; 5]; 2] = [
    constant([0xc956_2d60_8f25_d51a, 0x692c_c760_9525_a7b2, 0xc0a4_e231_fdd6_dc5c, 0x2169_36d3_cd6e_53fe]),
    constant([0x6666_6666_6666_6658, 0x6666_6666_6666_6666, 0x6666_6666_6666_6666, 0x6666_6666_6666_6666]),
];

/// A point as it came out of a decoding: x and y.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Affine<L: Lanes> {
    pub(super) x: Tight<L>,
    pub(super) y: Tight<L>,
}

/// A point to be doubled: X, Y, Z and X + Y.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Projective<L: Lanes> {
    pub(super) x: Tight<L>,
    pub(super) y: Tight<L>,
    pub(super) z: Tight<L>,
    pub(super) sum: Tight<L>,
}

/// A point to be added to: Y - X, Y + X, Z and T = XY/Z.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Extended<L: Lanes> {
    pub(super) minus: Tight<L>,
    pub(super) plus: Tight<L>,
    pub(super) z: Tight<L>,
    pub(super) t: Tight<L>,
}

/// A point that is added to others: Y - X, Y + X, 2 Z and 2 d T.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Cached<L: Lanes> {
    pub(super) minus: Tight<L>,
    pub(super) plus: Tight<L>,
    pub(super) z2: Tight<L>,
    pub(super) t2d: Tight<L>,
}

/// A point of Z = 1 that is added to others: y - x, y + x and 2 d x y.
#[derive(Clone, Copy)]
pub(super) struct AffineCached<L: Lanes> {
    pub(super) minus: Tight<L>,
    pub(super) plus: Tight<L>,
    pub(super) t2d: Tight<L>,
}

/// A point in all four coordinates.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Point<L: Lanes> {
    pub(super) x: Tight<L>,
    pub(super) y: Tight<L>,
    pub(super) z: Tight<L>,
    pub(super) t: Tight<L>,
}

/// What a doubling or an addition ends in.
#[derive(Clone, Copy)]
pub(super) struct Completed<L: Lanes> {
    e: Tight<L>,
    f: Tight<L>,
    h: Tight<L>,
    /// F times G, and G times H plus 512 p: whatever comes next needs them, and they can begin while E is on its way.
    fg: Wide<L>,
    gh: Wide<L>,
}

impl<L: Lanes> Affine<L> {
    /// The generator in every lane.
    #[inline(always)]
    pub(super) fn generator(token: L::Token) -> Self {
        let [x, y] = GENERATOR;
        Affine { x: Tight::splat(token, &x), y: Tight::splat(token, &y) }
    }

    /// The point, to be added to.
    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L> {
        Extended {
            minus: self.y.sub(self.x).carry(),
            plus: self.y.add(self.x).carry(),
            z: Tight::one(self.x.token()),
            t: self.x.times(self.y).carry(),
        }
    }

    /// The point, to be doubled.
    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<L> {
        let z = Tight::one(self.x.token());
        Projective { x: self.x, y: self.y, z, sum: self.x.add(self.y).carry() }
    }
}

impl<L: Lanes> Projective<L> {
    /// The neutral element.
    #[inline(always)]
    pub(super) fn identity(token: L::Token) -> Self {
        let (zero, one) = (Tight::zero(token), Tight::one(token));
        Projective { x: zero, y: one, z: one, sum: one }
    }

    /// Twice the point: four squarings. F and H have their signs turned, which leaves the point as it is.
    #[inline(always)]
    pub(super) fn doubled(&self) -> Completed<L> {
        let xx = self.x.square();
        let yy = self.y.square_plus(P_TIMES_512);
        let zz = self.z.square_plus(P_TIMES_512);
        let (gw, hw) = (yy.less(xx), yy.add(xx));
        let (g, h) = (gw.carry(), hw.carry());
        let ss = self.sum.square_plus(P_TIMES_1024);
        let f = zz.add(zz).less(gw).carry();
        let gh = g.times_plus(h, P_TIMES_512);
        let e = ss.less(hw).carry();
        let fg = f.times(g);
        Completed { e, f, h, fg, gh }
    }

    /// The same point, to be added to: X/Z, Y/Z and their product, all times Z squared.
    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L> {
        let (x, y) = (self.x.times(self.z), self.y.times_plus(self.z, P_TIMES_512));
        Extended {
            minus: y.less(x).carry(),
            plus: y.add(x).carry(),
            z: self.z.square().carry(),
            t: self.x.times(self.y).carry(),
        }
    }
}

impl<L: Lanes> Extended<L> {
    /// The neutral element.
    #[inline(always)]
    pub(super) fn identity(token: L::Token) -> Self {
        let (zero, one) = (Tight::zero(token), Tight::one(token));
        Extended { minus: one, plus: one, z: one, t: zero }
    }

    /// `this` where the mask says so, `other` elsewhere.
    #[inline(always)]
    pub(super) fn select(mask: L::Mask, this: Self, other: Self) -> Self {
        Extended {
            minus: Tight::select(mask, this.minus, other.minus),
            plus: Tight::select(mask, this.plus, other.plus),
            z: Tight::select(mask, this.z, other.z),
            t: Tight::select(mask, this.t, other.t),
        }
    }

    /// The sum with `other`.
    #[inline(always)]
    pub(super) fn plus(&self, other: &Cached<L>) -> Completed<L> {
        let c = self.t.times(other.t2d);
        let d = self.z.times_plus(other.z2, P_TIMES_512);
        let (f, g) = (d.less(c).carry(), d.add(c).carry());
        let [a, b] = self.cross(other.minus, other.plus);
        let fg = f.times(g);
        let (e, h) = (b.less(a).carry(), b.add(a).carry());
        Completed { e, f, h, fg, gh: g.times_plus(h, P_TIMES_512) }
    }

    /// The sum with `other` and the difference from it: much of the work serves both.
    #[inline(always)]
    pub(super) fn plus_and_minus(&self, other: &Cached<L>) -> [Completed<L>; 2] {
        let c = self.t.times(other.t2d);
        let d = self.z.times_plus(other.z2, P_TIMES_512);
        let (f, g) = (d.less(c).carry(), d.add(c).carry());
        let [a, b] = self.cross(other.minus, other.plus);
        let fg = f.times(g);
        let (e, h) = (b.less(a).carry(), b.add(a).carry());
        let sum = Completed { e, f, h, fg, gh: g.times_plus(h, P_TIMES_512) };
        let [a, b] = self.cross(other.plus, other.minus);
        let (e, h) = (b.less(a).carry(), b.add(a).carry());
        [sum, Completed { e, f: g, h, fg, gh: f.times_plus(h, P_TIMES_512) }]
    }

    /// The sum with each lane's choice out of a table, or the difference from it. Minus a point is the point with Y - X
    /// and Y + X exchanged and T turned around, and so with F and G exchanged in the end.
    #[inline(always)]
    pub(super) fn plus_chosen(&self, table: &Table<L>, choice: Choice<L>) -> Completed<L> {
        let c = self.t.times(table.select(choice.index, |entry| &entry.t2d));
        let d = self.z.times_plus(table.select(choice.index, |entry| &entry.z2), P_TIMES_512);
        let minus = table.select(choice.index, |entry| &entry.minus);
        let plus = table.select(choice.index, |entry| &entry.plus);
        let [a, b] = self.cross_chosen(minus, plus, choice.negative);
        let (f, g) = (d.less(c).carry(), d.add(c).carry());
        let fg = f.times(g);
        let (e, h) = (b.less(a).carry(), b.add(a).carry());
        let (f, g) = (Tight::select(choice.negative, g, f), Tight::select(choice.negative, f, g));
        Completed { e, f, h, fg, gh: g.times_plus(h, P_TIMES_512) }
    }

    /// The sum with `other`, or the difference where `negative` says so, with one multiplication less.
    #[inline(always)]
    pub(super) fn plus_or_minus_affine(&self, other: &AffineCached<L>, negative: L::Mask) -> Completed<L> {
        let c = self.t.times(other.t2d);
        let d = self.z.add(self.z).plus(P_TIMES_512);
        let (f, g) = (d.less(c).carry(), d.add(c).carry());
        let [a, b] = self.cross_chosen(other.minus, other.plus, negative);
        let fg = f.times(g);
        let (e, h) = (b.less(a).carry(), b.add(a).carry());
        let (f, g) = (Tight::select(negative, g, f), Tight::select(negative, f, g));
        Completed { e, f, h, fg, gh: g.times_plus(h, P_TIMES_512) }
    }

    /// The two products that E and H are made of, for a point of this Y - X and Y + X.
    #[inline(always)]
    fn cross(&self, minus: Tight<L>, plus: Tight<L>) -> [Wide<L>; 2] {
        [self.minus.times(minus), self.plus.times_plus(plus, P_TIMES_512)]
    }

    /// [`Extended::cross`], with the point's negative where the mask says so.
    #[inline(always)]
    fn cross_chosen(&self, minus: Tight<L>, plus: Tight<L>, negative: L::Mask) -> [Wide<L>; 2] {
        self.cross(Tight::select(negative, plus, minus), Tight::select(negative, minus, plus))
    }

    /// The same point, to be added to others.
    #[inline(always)]
    pub(super) fn cached(&self) -> Cached<L> {
        let d2 = Tight::splat(self.z.token(), &D2);
        Cached { minus: self.minus, plus: self.plus, z2: self.z.add(self.z).carry(), t2d: self.t.times(d2).carry() }
    }

    /// The same point in all coordinates, each of them twice.
    #[inline(always)]
    pub(super) fn point(&self) -> Point<L> {
        Point {
            x: self.plus.sub(self.minus).carry(),
            y: self.plus.add(self.minus).carry(),
            z: self.z.add(self.z).carry(),
            t: self.t.add(self.t).carry(),
        }
    }
}

impl<L: Lanes> Point<L> {
    /// The same point, to be added to.
    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L> {
        Extended { minus: self.y.sub(self.x).carry(), plus: self.y.add(self.x).carry(), z: self.z, t: self.t }
    }
}

impl<L: Lanes> Completed<L> {
    /// For a doubling.
    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<L> {
        let x = self.e.times(self.f);
        let (y, z) = (self.gh.carry(), self.fg.carry());
        Projective { x: x.carry(), y, z, sum: self.gh.add(x).carry() }
    }

    /// For an addition.
    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L> {
        let x = self.e.times(self.f);
        let z = self.fg.carry();
        let t = self.e.times(self.h);
        Extended { minus: self.gh.less(x).carry(), plus: self.gh.add(x).carry(), z, t: t.carry() }
    }

    /// All coordinates.
    #[inline(always)]
    pub(super) fn point(&self) -> Point<L> {
        let (x, t) = (self.e.times(self.f).carry(), self.e.times(self.h).carry());
        Point { x, y: self.gh.carry(), z: self.fg.carry(), t }
    }
}

/// A decoded point as one to be doubled.
pub(super) struct Begin<'a, L: Lanes>(pub(super) &'a Affine<L>);

impl<L: Lanes> Work for Begin<'_, L> {
    type Output = Projective<L>;

    #[inline(always)]
    fn run(self) -> Projective<L> {
        self.0.projective()
    }
}

/// A point to be doubled as one to be added to.
pub(super) struct Raise<'a, L: Lanes>(pub(super) &'a Projective<L>);

impl<L: Lanes> Work for Raise<'_, L> {
    type Output = Extended<L>;

    #[inline(always)]
    fn run(self) -> Extended<L> {
        self.0.extended()
    }
}
