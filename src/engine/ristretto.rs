//! ristretto255 on lanes: Decode, Encode and the one-way map of RFC 9496 section 4.3.

use zeroize::Zeroize;

use super::field::{D, P_TIMES_512, Product, SQRT_M1, Tight, constant, invert, sqrt_ratios};
use super::lanes::{Lanes, Row, Work};
use super::point::{Affine, Point};

const SQRT_AD_MINUS_ONE: [u64; 5] =
    constant([0x7e97_f6a0_497b_2e1b, 0xaf9d_8e0c_1b78_54bd, 0x0f3c_fcc9_31f5_d1fd, 0x3769_31bf_2b83_48ac]);
const INVSQRT_A_MINUS_D: [u64; 5] =
    constant([0x99c8_fdaa_805d_40ea, 0x9d2f_1617_5a41_72be, 0x16c2_7b91_fe01_d840, 0x786c_8905_cfaf_fca2]);
const ONE_MINUS_D_SQ: [u64; 5] =
    constant([0xe27c_09c1_945f_c176, 0x2c81_a138_cd5e_350f, 0x9994_abdd_be70_dfe4, 0x0290_72a8_b2b3_e0d7]);
const D_MINUS_ONE_SQ: [u64; 5] =
    constant([0x31ad_5aaa_44ed_4d20, 0xd29e_4a2c_b01e_1999, 0x4cdc_d32f_529b_4eeb, 0x5968_b37a_f66c_2241]);

/// Decode, RFC 9496 section 4.3.1, for `K` times eight encodings: where an encoding is valid, and the point. The
/// identity is valid here. The point of an invalid encoding means nothing.
pub(super) fn decode<L: Lanes, const K: usize>(token: L::Token, words: &[[Row; 4]; K]) -> [(L::Mask, Affine<L>); K] {
    let begun: [Begun<L>; K] = words.each_ref().map(|words| L::call(token, BeginDecode(token, words)));
    let roots = sqrt_ratios(&begun.each_ref().map(|begun| (Tight::one(token), begun.v_u2_squared)));
    std::array::from_fn(|k| L::call(token, FinishDecode { begun: &begun[k], root: &roots[k] }))
}

struct Begun<L: Lanes> {
    canonical: L::Mask,
    s: Tight<L>,
    u1: Tight<L>,
    u2: Tight<L>,
    v: Tight<L>,
    v_u2_squared: Tight<L>,
}

struct BeginDecode<'a, L: Lanes>(L::Token, &'a [Row; 4]);

impl<L: Lanes> Work for BeginDecode<'_, L> {
    type Output = Begun<L>;

    #[inline(always)]
    fn run(self) -> Begun<L> {
        let s = Tight::from_words(self.0, self.1);
        // Canonical: below p, and the highest bit clear, so that it is written back as it came.
        let mut canonical = L::mask(self.0, 0xff);
        for (written, read) in s.to_words().iter().zip(self.1) {
            let same = L::load(self.0, written).equal(L::load(self.0, read));
            canonical = L::both(canonical, same);
        }
        let nonnegative = L::one_of(s.is_negative(), L::mask(self.0, 0xff));
        let one = Tight::one(self.0);
        let ss = s.square().carry();
        let u1 = one.sub(ss).carry();
        let u2 = one.add(ss).carry();
        let u2_squared = u2.square().carry();
        let d = Tight::splat(self.0, &D);
        let v = d.times(u1.square().carry()).add(u2_squared.wide()).carry().negated();
        let v_u2_squared = v.times(u2_squared).carry();
        Begun { canonical: L::both(canonical, nonnegative), s, u1, u2, v, v_u2_squared }
    }
}

struct FinishDecode<'a, L: Lanes> {
    begun: &'a Begun<L>,
    root: &'a (L::Mask, Tight<L>),
}

impl<L: Lanes> Work for FinishDecode<'_, L> {
    type Output = (L::Mask, Affine<L>);

    #[inline(always)]
    fn run(self) -> (L::Mask, Affine<L>) {
        let Begun { canonical, s, u1, u2, v, .. } = *self.begun;
        let (square, root) = *self.root;
        let den_x = root.times(u2).carry();
        let den_y = root.times(den_x).carry().times(v).carry();
        let x = s.add(s).carry().times(den_x).carry().absolute();
        let y = u1.times(den_y).carry();
        let t = x.times(y).carry();
        let invalid = L::either(t.is_negative(), y.is_zero());
        let valid = L::both(L::both(canonical, square), L::one_of(invalid, L::mask(y.token(), 0xff)));
        (valid, Affine { x, y })
    }
}

/// What the encoding of twice a point is made of: 2P = (e h : g f : f h : e g), and the inverse of `e g f h` gives all
/// that is divided by. So the points of a batch share one inversion, where encoding a point itself takes a square root.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Doubled<L: Lanes> {
    e: Tight<L>,
    f: Tight<L>,
    g: Tight<L>,
    h: Tight<L>,
    eg: Tight<L>,
    fh: Tight<L>,
    /// `e g f h`, or one where that is zero.
    product: Tight<L>,
    /// Where it is zero: where 2P is the identity.
    identity: L::Mask,
    /// Where P is a point of the curve whose coordinates agree. It always is, unless the machine miscalculated.
    sound: L::Mask,
}

/// Encodings of twice each point, as words; and of each lane a bit whether all its points were sound. What comes of one
/// that was not must not leave.
#[must_use = "an encoding in a lane that is not sound may be of anything"]
pub(super) fn encode_doubled<L: Lanes>(token: L::Token, points: &[Point<L>], out: &mut Vec<[Row; 4]>) -> u8 {
    let mut sound = L::mask(token, 0xff);
    let mut doubled: Vec<Doubled<L>> = Vec::with_capacity(points.len());
    for point in points {
        let item = L::call(token, ToDouble(point));
        sound = L::both(sound, item.sound);
        doubled.push(item);
    }
    // Montgomery's trick: the products of all up to each, one inversion, and back.
    let mut products = Vec::with_capacity(points.len());
    let mut product = Tight::one(token);
    for item in &doubled {
        products.push(product);
        product = L::call(token, Product(&product, &item.product));
    }
    let [mut inverse] = invert(&[product]);
    let begin = out.len();
    out.resize(begin + points.len(), [Row([0; 8]); 4]);
    for ((item, before), out) in doubled.iter().zip(&products).zip(&mut out[begin..]).rev() {
        *out = L::call(token, Encode { item, inverse: &Product(&inverse, before) });
        inverse = L::call(token, Product(&inverse, &item.product));
    }
    doubled.zeroize();
    products.zeroize();
    L::bits(sound)
}

struct ToDouble<'a, L: Lanes>(&'a Point<L>);

impl<L: Lanes> Work for ToDouble<'_, L> {
    type Output = Doubled<L>;

    #[inline(always)]
    fn run(self) -> Doubled<L> {
        let Point { x, y, z, t } = *self.0;
        let token = x.token();
        let xy = x.times(y).carry();
        let e = xy.add(xy).carry();
        let zz = z.square_plus(P_TIMES_512);
        let dtt = t.square().carry().times(Tight::splat(token, &D));
        let f = zz.add(dtt).carry();
        let h = zz.less(dtt).carry();
        let (xx, yy) = (x.square().carry(), y.square().carry());
        let g = yy.add(xx).carry();
        // On the curve Y^2 - X^2 = Z^2 + d T^2, and X Y = Z T. Of the four coordinates any three leave the fourth no
        // choice that is not the same element, so one that was disturbed since it was computed is seen here.
        let agree = xy.equal(z.times(t).carry());
        let agree = L::both(agree, yy.sub(xx).carry().equal(f));
        // Four zeros agree too, and are no point: Z is never zero.
        let sound = L::both(agree, L::one_of(z.is_zero(), L::mask(token, 0xff)));
        let eg = e.times(g).carry();
        let fh = f.times(h).carry();
        let product = eg.times(fh).carry();
        let identity = product.is_zero();
        let product = Tight::select(identity, Tight::one(token), product);
        Doubled { e, f, g, h, eg, fh, product, identity, sound }
    }
}

struct Encode<'a, L: Lanes> {
    item: &'a Doubled<L>,
    /// Its factors.
    inverse: &'a Product<'a, L>,
}

impl<L: Lanes> Work for Encode<'_, L> {
    type Output = [Row; 4];

    #[inline(always)]
    fn run(self) -> [Row; 4] {
        let Doubled { e, f, g, h, eg, fh, identity, .. } = *self.item;
        let token = e.token();
        let inverse = self.inverse.0.times(*self.inverse.1).carry();
        // Zero has no inverse; zero in its place makes the identity's encoding, zero.
        let inverse = Tight::select(identity, Tight::zero(token), inverse);
        let z_inverse = eg.times(inverse).carry();
        let t_inverse = fh.times(inverse).carry();
        let sqrt_m1 = Tight::splat(token, &SQRT_M1);
        // Of the four points that are one element, the one whose XY is not negative, then the one whose X is not.
        let rotate = eg.times(z_inverse).carry().is_negative();
        let magic = Tight::select(rotate, sqrt_m1, Tight::splat(token, &INVSQRT_A_MINUS_D));
        let [e, g] = [Tight::select(rotate, g, e), Tight::select(rotate, e.negated(), g)];
        let h = Tight::select(rotate, f.times(sqrt_m1).carry(), h);
        let turn = h.times(e).carry().times(z_inverse).carry().is_negative();
        let g = g.negated_where(turn);
        let s = h.sub(g).carry().times(magic).carry().times(g.times(t_inverse).carry()).carry();
        s.absolute().to_words()
    }
}

/// Encode, RFC 9496 section 4.3.2.
pub(super) fn encode<L: Lanes>(token: L::Token, point: &Point<L>) -> [Row; 4] {
    let (u1, u2, square) = L::call(token, BeginEncode(point));
    let [(_, root)] = sqrt_ratios(&[(Tight::one(token), square)]);
    L::call(token, FinishEncode { point, u1: &u1, u2: &u2, root: &root })
}

struct BeginEncode<'a, L: Lanes>(&'a Point<L>);

impl<L: Lanes> Work for BeginEncode<'_, L> {
    type Output = (Tight<L>, Tight<L>, Tight<L>);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Point { x, y, z, .. } = *self.0;
        let u1 = z.add(y).carry().times(z.sub(y).carry()).carry();
        let u2 = x.times(y).carry();
        (u1, u2, u1.times(u2.square().carry()).carry())
    }
}

struct FinishEncode<'a, L: Lanes> {
    point: &'a Point<L>,
    u1: &'a Tight<L>,
    u2: &'a Tight<L>,
    root: &'a Tight<L>,
}

impl<L: Lanes> Work for FinishEncode<'_, L> {
    type Output = [Row; 4];

    #[inline(always)]
    fn run(self) -> [Row; 4] {
        let Point { x, y, z, t } = *self.point;
        let token = x.token();
        let sqrt_m1 = Tight::splat(token, &SQRT_M1);
        let den1 = self.root.times(*self.u1).carry();
        let den2 = self.root.times(*self.u2).carry();
        let z_inverse = den1.times(den2).carry().times(t).carry();
        let rotate = t.times(z_inverse).carry().is_negative();
        let enchanted = den1.times(Tight::splat(token, &INVSQRT_A_MINUS_D)).carry();
        let (ix, iy) = (x.times(sqrt_m1).carry(), y.times(sqrt_m1).carry());
        let (x, y) = (Tight::select(rotate, iy, x), Tight::select(rotate, ix, y));
        let den = Tight::select(rotate, enchanted, den2);
        let y = y.negated_where(x.times(z_inverse).carry().is_negative());
        den.times(z.sub(y).carry()).carry().absolute().to_words()
    }
}

/// The one-way map, RFC 9496 section 4.3.4, of eight times 64 bytes: the sum of two points.
pub(super) fn map<L: Lanes>(token: L::Token, words: &[[Row; 4]; 2]) -> Point<L> {
    let begun: [MapBegun<L>; 2] = words.each_ref().map(|words| L::call(token, BeginMap(token, words)));
    let roots = sqrt_ratios(&begun.each_ref().map(|begun| (begun.u, begun.v)));
    let points: [Point<L>; 2] =
        std::array::from_fn(|half| L::call(token, FinishMap { begun: &begun[half], root: &roots[half] }));
    L::call(token, Sum(&points))
}

struct MapBegun<L: Lanes> {
    r0: Tight<L>,
    r: Tight<L>,
    u: Tight<L>,
    v: Tight<L>,
}

struct BeginMap<'a, L: Lanes>(L::Token, &'a [Row; 4]);

impl<L: Lanes> Work for BeginMap<'_, L> {
    type Output = MapBegun<L>;

    #[inline(always)]
    fn run(self) -> MapBegun<L> {
        let r0 = Tight::from_words(self.0, self.1);
        let (one, d) = (Tight::one(self.0), Tight::splat(self.0, &D));
        let r = r0.square().carry().times(Tight::splat(self.0, &SQRT_M1)).carry();
        let u = r.add(one).carry().times(Tight::splat(self.0, &ONE_MINUS_D_SQ)).carry();
        // (-1 - r d) (r + d)
        let v = one.wide().add(r.times(d)).carry().negated().times(r.add(d).carry()).carry();
        MapBegun { r0, r, u, v }
    }
}

struct FinishMap<'a, L: Lanes> {
    begun: &'a MapBegun<L>,
    root: &'a (L::Mask, Tight<L>),
}

impl<L: Lanes> Work for FinishMap<'_, L> {
    type Output = Point<L>;

    #[inline(always)]
    fn run(self) -> Point<L> {
        let MapBegun { r0, r, v, .. } = *self.begun;
        let (square, s) = *self.root;
        let token = v.token();
        let one = Tight::one(token);
        let other = s.times(r0).carry().absolute().negated();
        let s = Tight::select(square, s, other);
        let c = Tight::select(square, one.negated(), r);
        let n = c.times(r.sub(one).carry()).carry();
        let n = n.times_plus(Tight::splat(token, &D_MINUS_ONE_SQ), P_TIMES_512).less(v.wide()).carry();
        let ss = s.square().carry();
        let w0 = s.add(s).carry().times(v).carry();
        let w1 = n.times(Tight::splat(token, &SQRT_AD_MINUS_ONE)).carry();
        let w2 = one.sub(ss).carry();
        let w3 = one.add(ss).carry();
        Point { x: w0.times(w3).carry(), y: w2.times(w1).carry(), z: w1.times(w3).carry(), t: w0.times(w2).carry() }
    }
}

struct Sum<'a, L: Lanes>(&'a [Point<L>; 2]);

impl<L: Lanes> Work for Sum<'_, L> {
    type Output = Point<L>;

    #[inline(always)]
    fn run(self) -> Point<L> {
        let [first, second] = self.0;
        first.extended().plus(&second.extended().cached()).point()
    }
}
