//! The field of 2^255 - 19 on lanes: five limbs of radix 2^51, each 64 bits wide.
//!
//! The multiplier reads 52 bits of each limb and silently drops what is above. So there are two types. [`Tight`] limbs
//! are below [`TIGHT`] and may be multiplied. [`Wide`] limbs are sums of products, below [`WIDE`], and must be carried
//! first. The bounds at each line below are proved by `tests/bounds.rs`, which runs this source over intervals.
//!
//! A product's limb `k` collects the low halves of `a_i * b_j` with `i + j = k` and the high halves with
//! `i + j = k - 1`. A high half starts at bit 52, one above the radix, so it counts twice: the high halves are summed
//! first, doubled once, and the low ones summed on top of them. Limbs 5 to 9 stand for 2^255 = 19 times limbs 0 to 4.

use zeroize::Zeroize;

use super::lanes::{LANES, Lanes, Row, Work};

/// Tight limbs are below this: a carried limb is 51 bits and a carry of at most 19 * 2^12.
pub(super) const TIGHT: u64 = (1 << 51) + (1 << 17);
/// Wide limbs are below this, so that a carry is at most 12 bits.
pub(super) const WIDE: u64 = 1 << 63;
/// Bits of a limb.
const RADIX: u32 = 51;
/// A whole limb.
const LIMB: u64 = (1 << RADIX) - 1;

const _: () = assert!(TIGHT <= 1 << 52, "a tight limb goes into the multiplier whole");
const _: () = assert!(LIMB + 19 * ((WIDE - 1) >> RADIX) < TIGHT, "a carried wide limb is tight");

/// A multiple of p, limb by limb: it is in what something is subtracted from, and must be at least as much in each limb.
#[derive(Clone, Copy)]
pub(super) struct Multiple(u64);

/// At least any tight limb.
pub(super) const P_TIMES_2: Multiple = Multiple(2);
/// A little below 2^60 a limb: at least the sum of two products, whose limbs are below 124.5 * 2^52.
pub(super) const P_TIMES_512: Multiple = Multiple(512);
/// A little below 2^61 a limb: at least the sum of two products and [`P_TIMES_512`].
pub(super) const P_TIMES_1024: Multiple = Multiple(1024);
/// Nothing.
const NONE: Multiple = Multiple(0);

impl Multiple {
    /// The limbs of a part of it.
    const fn over(self, parts: u64) -> [u64; 5] {
        let times = self.0 / parts;
        [times * (LIMB - 18), times * LIMB, times * LIMB, times * LIMB, times * LIMB]
    }
}

/// A constant of the field, from its four words of 64 bits, the lowest first.
pub(super) const fn constant(words: [u64; 4]) -> [u64; 5] {
    let [a, b, c, d] = words;
    [a & LIMB, (a >> 51 | b << 13) & LIMB, (b >> 38 | c << 26) & LIMB, (c >> 25 | d << 39) & LIMB, d >> 12]
}

/// The edwards25519 d, RFC 9496 section 4.1.
pub(super) const D: [u64; 5] =
    constant([0x75eb_4dca_1359_78a3, 0x0070_0a4d_4141_d8ab, 0x8cc7_4079_7779_e898, 0x5203_6cee_2b6f_fe73]);
/// 2 d.
pub(super) const D2: [u64; 5] =
    constant([0xebd6_9b94_26b2_f159, 0x00e0_149a_8283_b156, 0x198e_80f2_eef3_d130, 0x2406_d9dc_56df_fce7]);
/// SQRT_M1 of RFC 9496 section 4.1.
pub(super) const SQRT_M1: [u64; 5] =
    constant([0xc4ee_1b27_4a0e_a0b0, 0x2f43_1806_ad2f_e478, 0x2b4d_0099_3dfb_d7a7, 0x2b83_2480_4fc1_df0b]);

/// A field element whose limbs are below [`TIGHT`].
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Tight<L: Lanes>(pub(super) [L; 5]);

/// A field element whose limbs are below [`WIDE`].
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Wide<L: Lanes>(pub(super) [L; 5]);

impl<L: Lanes> Tight<L> {
    /// The token that it was made with.
    #[inline(always)]
    pub(super) fn token(self) -> L::Token {
        self.0[0].token()
    }

    /// The same element in every lane.
    #[inline(always)]
    pub(super) fn splat(token: L::Token, limbs: &[u64; 5]) -> Self {
        let [a, b, c, d, e] = *limbs;
        Tight([L::splat(token, a), L::splat(token, b), L::splat(token, c), L::splat(token, d), L::splat(token, e)])
    }

    /// Zero in every lane.
    #[inline(always)]
    pub(super) fn zero(token: L::Token) -> Self {
        Tight([L::splat(token, 0); 5])
    }

    /// One in every lane.
    #[inline(always)]
    pub(super) fn one(token: L::Token) -> Self {
        Self::splat(token, &[1, 0, 0, 0, 0])
    }

    /// An integer below 2^255 for each lane, from words of 64 bits, the lowest first; the highest bit is dropped.
    #[inline(always)]
    pub(super) fn from_words(token: L::Token, words: &[Row; 4]) -> Self {
        let [a, b, c, d] = [
            L::load(token, &words[0]),
            L::load(token, &words[1]),
            L::load(token, &words[2]),
            L::load(token, &words[3]),
        ];
        Tight([
            a.and(LIMB),
            a.down(51).add(b.and((1 << 38) - 1).up(13)),
            b.down(38).add(c.and((1 << 25) - 1).up(26)),
            c.down(25).add(d.and((1 << 12) - 1).up(39)),
            d.and((1 << 63) - 1).down(12),
        ])
    }

    /// The one integer below p that it stands for, as four words of 64 bits for each lane, the lowest first.
    #[inline(always)]
    pub(super) fn to_words(self) -> [Row; 4] {
        let [a, b, c, d, e] = self.canonical();
        [
            a.add(b.and((1 << 13) - 1).up(51)).store(),
            b.down(13).add(c.and((1 << 26) - 1).up(38)).store(),
            c.down(26).add(d.and((1 << 39) - 1).up(25)).store(),
            d.down(39).add(e.up(12)).store(),
        ]
    }

    /// The limbs of the one integer below p that it stands for.
    #[inline(always)]
    pub(super) fn canonical(self) -> [L; 5] {
        let [mut a, mut b, mut c, mut d, mut e] = self.0;
        // Tight limbs stand for less than 2 p. It is p or more just where adding 19 carries out of 2^255.
        let carry = a.add(L::splat(a.token(), 19)).down(RADIX);
        let carry = b.add(carry).down(RADIX);
        let carry = c.add(carry).down(RADIX);
        let carry = d.add(carry).down(RADIX);
        let over = e.add(carry).down(RADIX);
        // Then adding 19 and dropping 2^255 takes p away.
        a = a.add(over.times(19));
        b = b.add(a.down(RADIX));
        c = c.add(b.down(RADIX));
        d = d.add(c.down(RADIX));
        e = e.add(d.down(RADIX));
        [a.and(LIMB), b.and(LIMB), c.and(LIMB), d.and(LIMB), e.and(LIMB)]
    }

    /// Where it is negative: odd, RFC 9496 section 3.1.
    #[inline(always)]
    pub(super) fn is_negative(self) -> L::Mask {
        let [a, ..] = self.canonical();
        a.and(1).equal(L::splat(a.token(), 1))
    }

    /// Where it is zero.
    #[inline(always)]
    pub(super) fn is_zero(self) -> L::Mask {
        let [a, b, c, d, e] = self.canonical();
        // 51 bits each, so the sum is zero only where all are.
        a.add(b).add(c).add(d).add(e).equal(L::splat(a.token(), 0))
    }

    /// Where both are the same element.
    #[inline(always)]
    pub(super) fn equal(self, other: Self) -> L::Mask {
        self.sub(other).carry().is_zero()
    }

    /// `this` where the mask says so, `other` elsewhere.
    #[inline(always)]
    pub(super) fn select(mask: L::Mask, this: Self, other: Self) -> Self {
        Tight(select(mask, this.0, other.0))
    }

    /// [`Lanes::exchanged`], limb by limb.
    #[inline(always)]
    pub(super) fn exchanged<const DISTANCE: usize>(self) -> Self {
        Tight(exchanged::<L, DISTANCE>(self.0))
    }

    /// It, where a wide one is wanted.
    #[inline(always)]
    pub(super) fn wide(self) -> Wide<L> {
        Wide(self.0)
    }

    /// The sum.
    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Wide<L> {
        Wide(self.0).add(Wide(other.0))
    }

    /// The difference.
    #[inline(always)]
    pub(super) fn sub(self, other: Self) -> Wide<L> {
        self.wide().plus(P_TIMES_2).less(other.wide())
    }

    /// Minus it.
    #[inline(always)]
    pub(super) fn negated(self) -> Self {
        Self::zero(self.token()).sub(self).carry()
    }

    /// Minus it where the mask says so.
    #[inline(always)]
    pub(super) fn negated_where(self, mask: L::Mask) -> Self {
        Self::select(mask, self.negated(), self)
    }

    /// The one of it and its negative that is not negative: CT_ABS of RFC 9496 section 3.1.
    #[inline(always)]
    pub(super) fn absolute(self) -> Self {
        self.negated_where(self.is_negative())
    }

    /// The product: 50 multiplications.
    #[inline(always)]
    pub(super) fn times(self, other: Self) -> Wide<L> {
        self.times_plus(other, NONE)
    }

    /// The product plus an even multiple of p, from which something may be subtracted. The multiple costs nothing: it
    /// is what the columns begin with.
    #[inline(always)]
    pub(super) fn times_plus(self, other: Self, multiple: Multiple) -> Wide<L> {
        let (a, b) = (self.0, other.0);
        let zero = L::splat(self.token(), 0);
        // Doubled below, with their column.
        let [_, m1, m2, m3, m4] = multiple.over(2);
        let mut columns = [zero; 10];
        columns[1] = L::splat(self.token(), m1);
        columns[2] = L::splat(self.token(), m2);
        columns[3] = L::splat(self.token(), m3);
        columns[4] = L::splat(self.token(), m4);
        for i in 0..5 {
            for j in 0..5 {
                columns[i + j + 1] = columns[i + j + 1].add_product_high(a[i], b[j]);
            }
        }
        // Below 5 * 2 * (2^50 + 2^17); then at most five low halves below 2^52 come on top: below 7.6 * 2^52.
        for column in &mut columns[1..] {
            *column = column.add(*column);
        }
        columns[0] = L::splat(self.token(), multiple.over(1)[0]);
        for i in 0..5 {
            for j in 0..5 {
                columns[i + j] = columns[i + j].add_product_low(a[i], b[j]);
            }
        }
        Self::folded(columns)
    }

    /// The square: 30 multiplications, since the products of different limbs come twice.
    #[inline(always)]
    pub(super) fn square(self) -> Wide<L> {
        self.square_plus(NONE)
    }

    /// The square plus a multiple of 4 p, as [`Tight::times_plus`].
    #[inline(always)]
    pub(super) fn square_plus(self, multiple: Multiple) -> Wide<L> {
        let a = self.0;
        let zero = L::splat(self.token(), 0);
        // Doubled twice below, with their column.
        let [_, _, m2, m3, m4] = multiple.over(4);
        let mut columns = [zero; 10];
        columns[2] = L::splat(self.token(), m2);
        columns[3] = L::splat(self.token(), m3);
        columns[4] = L::splat(self.token(), m4);
        for i in 0..5 {
            for j in i + 1..5 {
                columns[i + j + 1] = columns[i + j + 1].add_product_high(a[i], a[j]);
            }
        }
        for column in &mut columns[2..9] {
            *column = column.add(*column);
        }
        columns[1] = L::splat(self.token(), multiple.over(2)[1]);
        for i in 0..5 {
            columns[2 * i + 1] = columns[2 * i + 1].add_product_high(a[i], a[i]);
            for j in i + 1..5 {
                columns[i + j] = columns[i + j].add_product_low(a[i], a[j]);
            }
        }
        for column in &mut columns[1..] {
            *column = column.add(*column);
        }
        columns[0] = L::splat(self.token(), multiple.over(1)[0]);
        for i in 0..5 {
            columns[2 * i] = columns[2 * i].add_product_low(a[i], a[i]);
        }
        Self::folded(columns)
    }

    /// The product with a public number below 2^20: 10 multiplications.
    #[inline(always)]
    pub(super) fn times_small(self, number: u64) -> Wide<L> {
        let zero = L::splat(self.token(), 0);
        let number = L::splat(self.token(), number);
        let [a, b, c, d, e] = self.0;
        // High halves are below 2^20, and count twice, one limb up, as in a product of two elements.
        let mut limbs = [zero; 5];
        for (limb, high) in limbs.iter_mut().zip([e, a, b, c, d]) {
            *limb = zero.add_product_high(high, number);
            *limb = limb.add(*limb);
        }
        limbs[0] = limbs[0].times(19);
        for (limb, low) in limbs.iter_mut().zip(self.0) {
            *limb = limb.add_product_low(low, number);
        }
        Wide(limbs)
    }

    /// Ten columns as five limbs, each column from the fifth on 19 times as much lower down. Of a product without a
    /// multiple each limb is below 124.5 * 2^52: where one of the two columns has many terms the other has few.
    #[inline(always)]
    fn folded(columns: [L; 10]) -> Wide<L> {
        let [a, b, c, d, e, f, g, h, i, j] = columns;
        Wide(L::settle([
            a.add(f.times(19)),
            b.add(g.times(19)),
            c.add(h.times(19)),
            d.add(i.times(19)),
            e.add(j.times(19)),
        ]))
    }
}

#[inline(always)]
fn select<L: Lanes>(mask: L::Mask, this: [L; 5], other: [L; 5]) -> [L; 5] {
    let mut limbs = other;
    for (limb, this) in limbs.iter_mut().zip(this) {
        *limb = L::select(mask, this, *limb);
    }
    limbs
}

#[inline(always)]
fn exchanged<L: Lanes, const DISTANCE: usize>(limbs: [L; 5]) -> [L; 5] {
    let [a, b, c, d, e] = limbs;
    [
        a.exchanged::<DISTANCE>(),
        b.exchanged::<DISTANCE>(),
        c.exchanged::<DISTANCE>(),
        d.exchanged::<DISTANCE>(),
        e.exchanged::<DISTANCE>(),
    ]
}

impl<L: Lanes> Wide<L> {
    /// [`Lanes::exchanged`], limb by limb.
    #[inline(always)]
    pub(super) fn exchanged<const DISTANCE: usize>(self) -> Self {
        Wide(exchanged::<L, DISTANCE>(self.0))
    }

    /// `this` where the mask says so, `other` elsewhere.
    #[inline(always)]
    pub(super) fn select(mask: L::Mask, this: Self, other: Self) -> Self {
        Wide(select(mask, this.0, other.0))
    }

    /// Zero, from which something may be subtracted.
    #[inline(always)]
    pub(super) fn nothing(token: L::Token, multiple: Multiple) -> Self {
        Tight::splat(token, &multiple.over(1)).wide()
    }

    /// The difference, where no limb of `other` is over that of the multiple of p that `self` was made with.
    #[inline(always)]
    pub(super) fn less(self, other: Self) -> Self {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.0, other.0);
        Wide([a.sub(f), b.sub(g), c.sub(h), d.sub(i), e.sub(j)])
    }

    /// The sum.
    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Self {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.0, other.0);
        Wide([a.add(f), b.add(g), c.add(h), d.add(i), e.add(j)])
    }

    /// It plus a multiple of p.
    #[inline(always)]
    pub(super) fn plus(self, multiple: Multiple) -> Self {
        self.add(Wide::nothing(self.0[0].token(), multiple))
    }

    /// The same element with tight limbs: every limb hands what is above 51 bits to the next, all at once, the last one
    /// to the first with its factor of 19.
    #[inline(always)]
    pub(super) fn carry(self) -> Tight<L> {
        let [a, b, c, d, e] = self.0;
        Tight([
            a.and(LIMB).add_product_low(e.down(RADIX), L::splat(e.token(), 19)),
            b.and(LIMB).add(a.down(RADIX)),
            c.and(LIMB).add(b.down(RADIX)),
            d.and(LIMB).add(c.down(RADIX)),
            e.and(LIMB).add(d.down(RADIX)),
        ])
    }
}

/// Two elements multiplied.
pub(super) struct Product<'a, L: Lanes>(pub(super) &'a Tight<L>, pub(super) &'a Tight<L>);

impl<L: Lanes> Work for Product<'_, L> {
    type Output = Tight<L>;

    #[inline(always)]
    fn run(self) -> Tight<L> {
        self.0.times(*self.1).carry()
    }
}

/// Squares each of `K` elements `count` times in a row. Squarings in a row wait for one another, so two or three
/// elements at once take little longer than one.
struct Squarings<'a, L: Lanes, const K: usize> {
    elements: &'a mut [Tight<L>; K],
    count: usize,
}

impl<L: Lanes, const K: usize> Work for Squarings<'_, L, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut elements = *self.elements;
        for _ in 0..self.count {
            for element in &mut elements {
                *element = element.square().carry();
            }
        }
        *self.elements = elements;
    }
}

/// Multiplies each of `K` elements by its factor.
struct Products<'a, L: Lanes, const K: usize> {
    elements: &'a mut [Tight<L>; K],
    factors: &'a [Tight<L>; K],
}

impl<L: Lanes, const K: usize> Work for Products<'_, L, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (element, factor) in self.elements.iter_mut().zip(self.factors) {
            *element = element.times(*factor).carry();
        }
    }
}

/// `elements` squared `count` times, times `factors`.
fn step<L: Lanes, const K: usize>(elements: &[Tight<L>; K], count: usize, factors: &[Tight<L>; K]) -> [Tight<L>; K] {
    let token = elements[0].0[0].token();
    let mut elements = *elements;
    L::call(token, Squarings { elements: &mut elements, count });
    L::call(token, Products { elements: &mut elements, factors });
    elements
}

/// Each element to the power of 2^250 - 1, and of 11: what the two exponents below begin with.
fn powers<L: Lanes, const K: usize>(x: &[Tight<L>; K]) -> ([Tight<L>; K], [Tight<L>; K]) {
    let token = x[0].0[0].token();
    let x2 = &mut x.clone();
    L::call(token, Squarings { elements: x2, count: 1 });
    let x9 = &step(x2, 2, x);
    let x11 = &mut x9.clone();
    L::call(token, Products { elements: x11, factors: x2 });
    // From here on the exponent is 2^n - 1, with n in the name.
    let n5 = &step(x11, 1, x9);
    let n10 = &step(n5, 5, n5);
    let n20 = &step(n10, 10, n10);
    let n40 = &step(n20, 20, n20);
    let n50 = &step(n40, 10, n10);
    let n100 = &step(n50, 50, n50);
    let n200 = &step(n100, 100, n100);
    (step(n200, 50, n50), *x11)
}

/// 1/x for each element: x to the power of p - 2 = 2^255 - 21. Zero gives zero.
pub(super) fn invert<L: Lanes, const K: usize>(x: &[Tight<L>; K]) -> [Tight<L>; K] {
    let (n250, x11) = powers(x);
    step(&n250, 5, &x11)
}

/// Each element to the power of (p - 5) / 8 = 2^252 - 3.
fn power_for_roots<L: Lanes, const K: usize>(x: &[Tight<L>; K]) -> [Tight<L>; K] {
    let (n250, _) = powers(x);
    step(&n250, 2, x)
}

/// SQRT_RATIO_M1(u, v) of RFC 9496 section 4.2, for `K` fractions: whether u/v is a square, and the root of u/v or of
/// SQRT_M1 * u/v that is not negative.
pub(super) fn sqrt_ratios<L: Lanes, const K: usize>(fractions: &[(Tight<L>, Tight<L>); K]) -> [(L::Mask, Tight<L>); K] {
    struct Before<'a, L: Lanes, const K: usize>(&'a [(Tight<L>, Tight<L>); K]);

    impl<L: Lanes, const K: usize> Work for Before<'_, L, K> {
        /// `u * v^3` and `u * v^7`.
        type Output = [[Tight<L>; K]; 2];

        #[inline(always)]
        fn run(self) -> [[Tight<L>; K]; 2] {
            let mut bases = [[self.0[0].0; K]; 2];
            for (k, (u, v)) in self.0.iter().enumerate() {
                let v3 = v.square().carry().times(*v).carry();
                let v7 = v3.square().carry().times(*v).carry();
                bases[0][k] = u.times(v3).carry();
                bases[1][k] = u.times(v7).carry();
            }
            bases
        }
    }

    struct After<'a, L: Lanes> {
        fraction: &'a (Tight<L>, Tight<L>),
        base: &'a Tight<L>,
        power: &'a Tight<L>,
    }

    impl<L: Lanes> Work for After<'_, L> {
        type Output = (L::Mask, Tight<L>);

        #[inline(always)]
        fn run(self) -> (L::Mask, Tight<L>) {
            let (u, v) = *self.fraction;
            let root = self.base.times(*self.power).carry();
            let check = v.times(root.square().carry()).carry();
            let i = Tight::splat(u.0[0].token(), &SQRT_M1);
            let minus_u = u.negated();
            let right = check.equal(u);
            let flipped = check.equal(minus_u);
            let flipped_by_i = check.equal(minus_u.times(i).carry());
            let turned = root.times(i).carry();
            let root = Tight::select(L::either(flipped, flipped_by_i), turned, root);
            (L::either(right, flipped), root.absolute())
        }
    }

    let token = fractions[0].0.0[0].token();
    let [bases, powers] = L::call(token, Before(fractions));
    let powers = power_for_roots(&powers);
    std::array::from_fn(|k| L::call(token, After { fraction: &fractions[k], base: &bases[k], power: &powers[k] }))
}

/// The encodings of up to eight requests as words for each lane, the lowest first; lanes without one stay zero.
pub(super) fn words_of<const WORDS: usize>(bytes: &[impl AsRef<[u8]>]) -> [Row; WORDS] {
    let mut words = [Row([0; LANES]); WORDS];
    for (lane, bytes) in bytes.iter().take(LANES).enumerate() {
        for (word, bytes) in words.iter_mut().zip(bytes.as_ref().as_chunks().0) {
            word.0[lane] = u64::from_le_bytes(*bytes);
        }
    }
    words
}

/// The bytes of one lane.
pub(super) fn bytes_of(words: &[Row; 4], lane: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.0[lane].to_le_bytes();
    }
    bytes
}
