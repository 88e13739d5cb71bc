//! X25519 (RFC 7748 section 5) on lanes: a scalar and a coordinate for each lane.
//!
//! The ladder is the RFC's, a step a bit. What it chooses by a bit it chooses by a mask, so neither time nor addresses
//! depend on scalar or coordinate.

use zeroize::Zeroize;

use super::field::{P_TIMES_512, Tight, bytes_of, invert, words_of};
use super::lanes::{LANES, Lanes, Row, Work};
use super::tally;

/// The highest bit of a clamped scalar. It is always set.
const TOP: u32 = 254;
/// (486662 - 2) / 4, of the curve.
const A24: u64 = 121_665;

/// Each scalar, clamped, times the point of its coordinate.
pub(super) fn x25519<L: Lanes>(token: L::Token, items: &[(&[u8; 32], &[u8; 32])]) -> Vec<[u8; 32]> {
    tally::count(|tally| tally.multiplied += items.len());
    let mut products = Vec::with_capacity(items.len());
    let mut ladder = Ladder::<L>::new(token);
    for items in items.chunks(LANES) {
        let words = ladder.multiply(items);
        products.extend((0..items.len()).map(|lane| bytes_of(&words, lane)));
    }
    products
}

/// What eight lanes climb with. Wiped on drop.
struct Ladder<L: Lanes> {
    token: L::Token,
    /// The scalars, clamped, as words.
    scalars: [Row; 4],
    coordinate: Tight<L>,
    rung: Rung<L>,
}

/// A multiple of the point and the next one, each as a fraction.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Rung<L: Lanes> {
    pub(super) x2: Tight<L>,
    pub(super) z2: Tight<L>,
    pub(super) x3: Tight<L>,
    pub(super) z3: Tight<L>,
}

impl<L: Lanes> Drop for Ladder<L> {
    fn drop(&mut self) {
        self.scalars.iter_mut().zeroize();
        self.coordinate.zeroize();
        self.rung.zeroize();
    }
}

impl<L: Lanes> Ladder<L> {
    fn new(token: L::Token) -> Self {
        let zero = Tight::zero(token);
        let rung = Rung { x2: zero, z2: zero, x3: zero, z3: zero };
        Ladder { token, scalars: [Row([0; LANES]); 4], coordinate: zero, rung }
    }

    /// The products of up to eight items as words for each lane.
    fn multiply(&mut self, items: &[(&[u8; 32], &[u8; 32])]) -> [Row; 4] {
        let mut coordinates = [[0; 32]; LANES];
        let mut scalars = [[0; 32]; LANES];
        for (lane, (scalar, coordinate)) in items.iter().enumerate() {
            coordinates[lane] = **coordinate;
            scalars[lane] = **scalar;
            // RFC 7748 section 5: decodeScalar25519.
            scalars[lane][0] &= 248;
            scalars[lane][31] = scalars[lane][31] & 127 | 64;
        }
        self.scalars = words_of(&scalars);
        scalars.zeroize();
        let (one, zero) = (Tight::one(self.token), Tight::zero(self.token));
        self.coordinate = Tight::from_words(self.token, &words_of(&coordinates));
        self.rung = Rung { x2: one, z2: zero, x3: self.coordinate, z3: one };
        L::call(self.token, Climb(self));
        let [inverse] = invert(&[self.rung.z2]);
        L::call(self.token, Divide { x: &self.rung.x2, inverse: &inverse })
    }

    /// Whether a bit of each lane's scalar differs from the one above it.
    #[inline(always)]
    fn differs(&self, bit: u32) -> L::Mask {
        let of = |bit: u32| L::load(self.token, &self.scalars[bit as usize / 64]).down(bit % 64).and(1);
        L::one_of(self.is_one(of(bit)), self.is_one(of(bit + 1)))
    }

    #[inline(always)]
    fn is_one(&self, bit: L) -> L::Mask {
        bit.equal(L::splat(self.token, 1))
    }
}

/// All steps of the ladder. Two multiples that changed places for one bit stay so until a bit differs.
struct Climb<'a, L: Lanes>(&'a mut Ladder<L>);

impl<L: Lanes> Work for Climb<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let ladder = self.0;
        // Bit 255 of a clamped scalar is zero, and its lowest three bits are, so both ends are as the RFC has them.
        for bit in (0..=TOP).rev() {
            let mask = ladder.differs(bit);
            ladder.rung = ladder.rung.swapped(mask).step(ladder.coordinate);
        }
    }
}

impl<L: Lanes> Rung<L> {
    /// The two multiples change places where the mask says so.
    #[inline(always)]
    pub(super) fn swapped(self, mask: L::Mask) -> Self {
        let Rung { x2, z2, x3, z3 } = self;
        Rung {
            x2: Tight::select(mask, x3, x2),
            z2: Tight::select(mask, z3, z2),
            x3: Tight::select(mask, x2, x3),
            z3: Tight::select(mask, z2, z3),
        }
    }

    /// The first multiple doubled, and the sum of both, which differ by the point of this coordinate.
    #[inline(always)]
    pub(super) fn step(self, coordinate: Tight<L>) -> Self {
        let a = self.x2.add(self.z2).carry();
        let b = self.x2.sub(self.z2).carry();
        let c = self.x3.add(self.z3).carry();
        let d = self.x3.sub(self.z3).carry();
        let (da, cb) = (d.times(a), c.times(b));
        let sum = da.add(cb).carry();
        let difference = da.plus(P_TIMES_512).less(cb).carry();
        let (aa, bb) = (a.square(), b.square());
        let e = aa.plus(P_TIMES_512).less(bb).carry();
        let (aa, bb) = (aa.carry(), bb.carry());
        Rung {
            x2: aa.times(bb).carry(),
            z2: e.times(e.times_small(A24).add(aa.wide()).carry()).carry(),
            x3: sum.square().carry(),
            z3: difference.square().carry().times(coordinate).carry(),
        }
    }
}

/// The quotient whose divisor's inverse is given, as words.
struct Divide<'a, L: Lanes> {
    x: &'a Tight<L>,
    inverse: &'a Tight<L>,
}

impl<L: Lanes> Work for Divide<'_, L> {
    type Output = [Row; 4];

    #[inline(always)]
    fn run(self) -> [Row; 4] {
        self.x.times(*self.inverse).carry().to_words()
    }
}
