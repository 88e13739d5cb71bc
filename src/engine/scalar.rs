//! Integers modulo the order l of the group on lanes: five limbs of radix 2^52.

use zeroize::Zeroize;

use super::lanes::{Lanes, Row, Work};
use super::table::Choice;

/// Bits of a limb.
const RADIX: u32 = 52;
/// A whole limb.
const LIMB: u64 = (1 << RADIX) - 1;

/// The order of the group, l = 2^252 + 27742317777372353535851937790883648493 (RFC 9496 section 4.4).
const ORDER: [u64; 5] = [0x2_631a_5cf5_d3ed, 0xd_ea2f_79cd_6581, 0x14_def9, 0, 0x1000_0000_0000];

/// l - 2^252, so that 2^252 = -EXCESS modulo l.
const EXCESS: [u64; 3] = [ORDER[0], ORDER[1], ORDER[2]];
/// 256 times that: 2^260, which is where limb 5 begins, is -FOLD modulo l.
const FOLD: [u64; 3] = [0x3_1a5c_f5d3_ed00, 0xa_2f79_cd65_8126, 0x14de_f9de];

/// Multiples of l, limb by limb: what the products are subtracted from in the first, second and third fold, each limb at
/// least what its column can hold.
const FIRST: [u64; 8] = [
    0x102_2c19_5d0d_457d,
    0x105_bba5_96a7_bdb8,
    0x10b_095b_c9cd_64bc,
    0x104_9d6d_8186_7e89,
    0x100_079e_2447_b03d,
    1 << 56,
    1 << 56,
    1 << 56,
];
const SECOND: [u64; 6] = [
    0x10f_48e9_ba34_a3ed,
    0x101_2b58_b999_4f23,
    0x10e_77aa_0beb_b26a,
    0x100_0000_0000_536b,
    0x100_0fff_ffff_fff0,
    1 << 38,
];
const THIRD: [u64; 5] =
    [0x42_631a_5cf5_d3ed, 0x4d_ea2f_79cd_657d, 0x40_0000_0014_def5, 0x4f_ffff_ffff_fffc, 0xfff_ffff_fffb];
/// l itself, with what each limb has borrowed from the next.
const LAST: [u64; 5] =
    [0x42_631a_5cf5_d3ed, 0x4d_ea2f_79cd_657d, 0x40_0000_0014_def5, 0x3f_ffff_ffff_fffc, 0xfff_ffff_fffc];
/// 2^260 - l: added to an integer below 2 l, it carries out of limb 4 just where that is l or more.
const COMPLEMENT: [u64; 5] =
    [0xd_9ce5_a30a_2c13, 0x2_15d0_8632_9a7e, 0xf_ffff_ffeb_2106, 0xf_ffff_ffff_ffff, 0xf_efff_ffff_ffff];

/// An integer with limbs below 2^52.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Scalar<L: Lanes>([L; 5]);

impl<L: Lanes> Scalar<L> {
    /// An integer below 2^256 for each lane, from words of 64 bits, the lowest first.
    #[inline(always)]
    pub(super) fn from_words(token: L::Token, words: &[Row; 4]) -> Self {
        let [a, b, c, d] = [
            L::load(token, &words[0]),
            L::load(token, &words[1]),
            L::load(token, &words[2]),
            L::load(token, &words[3]),
        ];
        Scalar([
            a.and(LIMB),
            a.down(52).add(b.and((1 << 40) - 1).up(12)),
            b.down(40).add(c.and((1 << 28) - 1).up(24)),
            c.down(28).add(d.and((1 << 16) - 1).up(36)),
            d.down(16),
        ])
    }

    /// The integer below l that eight words stand for, the lowest first: 64 uniform bytes of RFC 9497 section 4.1.
    ///
    /// What is above 2^260 is folded down three times, from 512 bits to 421, 299 and 261; then what is above 2^252 once,
    /// which leaves less than 2 l.
    #[inline(always)]
    fn reduced(token: L::Token, words: &[Row; 8]) -> Self {
        let mut limbs = [L::splat(token, 0); 10];
        for (index, limb) in limbs.iter_mut().enumerate() {
            let (word, bit) = (index * 52 / 64, (index * 52 % 64) as u32);
            *limb = L::load(token, &words[word]).down(bit);
            if bit > 12 && word < 7 {
                let taken = 64 - bit;
                let rest = L::load(token, &words[word + 1]).and((1 << (RADIX - taken)) - 1);
                *limb = limb.add(rest.up(taken));
            }
            *limb = limb.and(LIMB);
        }
        let [a, b, c, d, e, f, g, h, i, j] = limbs;
        let [a, b, c, d, e, f, g, h] = folded([a, b, c, d, e], [f, g, h, i, j], FOLD, FIRST);
        let [a, b, c, d, e, f] = folded([a, b, c, d, e], [f, g, h.and(LIMB), h.down(RADIX)], FOLD, SECOND);
        let [a, b, c, d, e] = folded([a, b, c, d, e], [f], FOLD, THIRD);
        let top = RADIX - 8;
        let limbs = folded([a, b, c, d, e.and((1 << top) - 1)], [e.down(top)], EXCESS, LAST);
        let mut less = limbs;
        for (limb, number) in less.iter_mut().zip(COMPLEMENT) {
            *limb = limb.add(L::splat(token, number));
        }
        let [a, b, c, d, e] = Self::carried(less).0;
        let fits = e.down(RADIX).equal(L::splat(token, 0));
        let mut reduced = [a, b, c, d, e.and(LIMB)];
        for (limb, unchanged) in reduced.iter_mut().zip(limbs) {
            *limb = L::select(fits, unchanged, *limb);
        }
        Scalar(reduced)
    }

    /// Four words of 64 bits for each lane, the lowest first, of an integer below 2^256.
    #[inline(always)]
    fn to_words(self) -> [Row; 4] {
        let [a, b, c, d, e] = self.0;
        [
            a.add(b.and((1 << 12) - 1).up(52)).store(),
            b.down(12).add(c.and((1 << 24) - 1).up(40)).store(),
            c.down(24).add(d.and((1 << 36) - 1).up(28)).store(),
            d.down(36).add(e.and((1 << 48) - 1).up(16)).store(),
        ]
    }

    /// The same integer, from limbs that may be larger than 52 bits.
    #[inline(always)]
    fn carried(limbs: [L; 5]) -> Self {
        let [a, b, c, d, e] = limbs;
        let b = b.add(a.down(RADIX));
        let c = c.add(b.down(RADIX));
        let d = d.add(c.down(RADIX));
        let e = e.add(d.down(RADIX));
        Scalar([a.and(LIMB), b.and(LIMB), c.and(LIMB), d.and(LIMB), e])
    }

    /// Half of it modulo l, in the range that it and l span: what is odd becomes even by adding l.
    #[inline(always)]
    fn halved(self) -> Self {
        let token = self.0[0].token();
        let odd = self.0[0].and(1).equal(L::splat(token, 1));
        let mut limbs = self.0;
        for (limb, order) in limbs.iter_mut().zip(ORDER) {
            let added = limb.add(L::splat(token, order));
            *limb = L::select(odd, added, *limb);
        }
        let [a, b, c, d, e] = Self::carried(limbs).0;
        let half = |low: L, high: L| low.down(1).add(high.and(1).up(RADIX - 1));
        Scalar([half(a, b), half(b, c), half(c, d), half(d, e), e.down(1)])
    }
}

/// `low` plus a multiple of l minus `high` times `factor`: five limbs and up to five, folded to `N`. All but the last are
/// below 2^52.
#[inline(always)]
fn folded<L: Lanes, const H: usize, const N: usize>(
    low: [L; 5],
    high: [L; H],
    factor: [u64; 3],
    multiple: [u64; N],
) -> [L; N] {
    let token = low[0].token();
    let mut columns = [L::splat(token, 0); N];
    for (i, limb) in high.iter().enumerate() {
        for (j, factor) in factor.iter().enumerate() {
            let factor = L::splat(token, *factor);
            if i + j < N {
                columns[i + j] = columns[i + j].add_product_low(*limb, factor);
            }
            // In the last column the high half is zero: its product is below 2^52.
            if i + j + 1 < N {
                columns[i + j + 1] = columns[i + j + 1].add_product_high(*limb, factor);
            }
        }
    }
    for (index, (column, multiple)) in columns.iter_mut().zip(multiple).enumerate() {
        *column = L::splat(token, multiple).sub(*column);
        if index < 5 {
            *column = column.add(low[index]);
        }
    }
    for index in 1..N {
        columns[index] = columns[index].add(columns[index - 1].down(RADIX));
        columns[index - 1] = columns[index - 1].and(LIMB);
    }
    columns
}

/// Reduces 64 bytes of each lane, as words, to a scalar's words.
pub(super) struct Reduce<'a, L: Lanes>(pub(super) L::Token, pub(super) &'a [Row; 8]);

impl<L: Lanes> Work for Reduce<'_, L> {
    type Output = [Row; 4];

    #[inline(always)]
    fn run(self) -> [Row; 4] {
        Scalar::<L>::reduced(self.0, self.1).to_words()
    }
}

/// Half of a scalar modulo l, written with the digits 1 and -1 alone: digit `i` is that of 2^i, and positive where bit
/// `i` is set.
///
/// An odd integer s has just one such form of n digits: the n bits of (s - 1)/2 + 2^(n - 1). Here 2 s = k modulo l for a
/// scalar k, so the (s - 1)/2 that is kept is (k - 2)/4 modulo l. No digit is zero, so nothing is ever skipped, and a
/// group of digits is a choice between as many points and their negatives.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct Signs<L: Lanes>([L; 5]);

/// Makes the signs of half of each lane's scalar, which is below l, from its words.
pub(super) struct SignsOfHalf<'a, L: Lanes>(pub(super) L::Token, pub(super) &'a [Row; 4]);

impl<L: Lanes> Work for SignsOfHalf<'_, L> {
    type Output = Signs<L>;

    #[inline(always)]
    fn run(self) -> Signs<L> {
        let [mut a, mut b, mut c, mut d, mut e] = Scalar::<L>::from_words(self.0, self.1).0;
        // k + l - 2 is not negative; halved twice it is below 5/4 l, which is below 2^253.
        a = a.add(L::splat(self.0, ORDER[0] - 2));
        b = b.add(L::splat(self.0, ORDER[1]));
        c = c.add(L::splat(self.0, ORDER[2]));
        d = d.add(L::splat(self.0, ORDER[3]));
        e = e.add(L::splat(self.0, ORDER[4]));
        Signs(Scalar::carried([a, b, c, d, e]).halved().halved().0)
    }
}

/// Bits that the (s - 1)/2 of [`Signs`] has at most.
const SIGNS: u32 = 253;

impl<L: Lanes> Signs<L> {
    /// Digits `at` to `at + width - 1` out of `all`, as bits.
    #[inline(always)]
    fn digits(&self, at: u32, width: u32, all: u32) -> L {
        let (limb, bit) = ((at / RADIX) as usize, at % RADIX);
        let mut digits = self.0[limb].down(bit);
        if bit + width > RADIX && limb < 4 {
            digits = digits.add(self.0[limb + 1].and((1 << (bit + width - RADIX)) - 1).up(RADIX - bit));
        }
        let digits = digits.and((1 << width) - 1);
        // The last of all digits is positive.
        if at + width == all { digits.add(L::splat(digits.token(), 1 << (width - 1))) } else { digits }
    }

    /// The choice that a window of digits is among the odd multiples of a point: window `number` of as many as cover
    /// `all` digits, each `width` digits wide.
    #[inline(always)]
    pub(super) fn window(&self, number: u32, width: u32, all: u32) -> Choice<L> {
        debug_assert!(all > SIGNS && all.is_multiple_of(width));
        let digits = self.digits(number * width, width, all);
        let low = digits.and((1 << (width - 1)) - 1);
        let turned = L::splat(low.token(), (1 << (width - 1)) - 1).sub(low);
        let negative = digits.down(width - 1).equal(L::splat(low.token(), 0));
        Choice { index: L::select(negative, turned, low), negative }
    }

    /// The choice that a column of a comb with four teeth is: digits `number`, `number + spacing` and so on. The last
    /// tooth leads; each other one has its bit of the index set where its digit is another than the last one's.
    #[inline(always)]
    pub(super) fn column(&self, number: u32, spacing: u32) -> Choice<L> {
        debug_assert!(4 * spacing > SIGNS);
        let bit = |tooth: u32| self.digits(number + tooth * spacing, 1, 4 * spacing);
        let low = bit(0).add(bit(1).up(1)).add(bit(2).up(2));
        let negative = bit(3).equal(L::splat(low.token(), 0));
        Choice { index: L::select(negative, low, L::splat(low.token(), 7).sub(low)), negative }
    }
}
