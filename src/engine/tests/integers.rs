//! Integers modulo 2^255 - 19 in four words, by long multiplication: what the field on lanes is held against.
//! None of it is fast or secret, and nothing of it is shared with the engine.

/// An integer below p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer([u64; 4]);

/// p, the lowest word first.
const P: [u64; 4] = [0xffff_ffff_ffff_ffed, u64::MAX, u64::MAX, 0x7fff_ffff_ffff_ffff];

/// `a - b`, and whether that is negative.
fn difference(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
    let mut borrowed = false;
    let words = std::array::from_fn(|at| {
        let (less, first) = a[at].overflowing_sub(b[at]);
        let (less, second) = less.overflowing_sub(borrowed.into());
        borrowed = first | second;
        less
    });
    (words, borrowed)
}

impl Integer {
    pub(super) const ZERO: Integer = Integer([0; 4]);
    pub(super) const ONE: Integer = Integer([1, 0, 0, 0]);

    /// Of any four words.
    pub(super) fn of_words(mut words: [u64; 4]) -> Self {
        while let (less, false) = difference(words, P) {
            words = less;
        }
        Integer(words)
    }

    /// Of limbs of radix 2^51, each of any size.
    pub(super) fn of_limbs(limbs: [u64; 5]) -> Self {
        let radix = Integer([1 << 51, 0, 0, 0]);
        limbs.iter().rev().fold(Integer::ZERO, |sum, &limb| sum.times(radix).plus(Integer([limb, 0, 0, 0])))
    }

    pub(super) fn words(self) -> [u64; 4] {
        self.0
    }

    /// The lowest byte first.
    pub(super) fn bytes(self) -> [u8; 32] {
        std::array::from_fn(|at| (self.0[at / 8] >> (at % 8 * 8)) as u8)
    }

    pub(super) fn is_odd(self) -> bool {
        self.0[0] & 1 == 1
    }

    pub(super) fn plus(self, other: Self) -> Self {
        // Both are below 2^255, so the sum fits.
        let mut carry = 0;
        Integer::of_words(std::array::from_fn(|at| {
            let sum = u128::from(self.0[at]) + u128::from(other.0[at]) + carry;
            carry = sum >> 64;
            sum as u64
        }))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(Integer::of_words(difference(P, other.0).0))
    }

    pub(super) fn times(self, other: Self) -> Self {
        let mut product = [0u64; 8];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.0.iter().enumerate() {
                let sum = u128::from(a) * u128::from(b) + u128::from(product[i + j]) + carry;
                (product[i + j], carry) = (sum as u64, sum >> 64);
            }
            product[i + 4] = carry as u64;
        }
        // 2^256 is 38. What comes over once more is below 39.
        let [a, b, c, d, e, f, g, h] = product;
        let mut over = 0;
        let mut words: [u64; 4] = std::array::from_fn(|at| {
            let sum = u128::from([a, b, c, d][at]) + 38 * u128::from([e, f, g, h][at]) + over;
            over = sum >> 64;
            sum as u64
        });
        while over != 0 {
            let mut add = over * 38;
            over = 0;
            for word in &mut words {
                let sum = u128::from(*word) + add;
                (*word, add) = (sum as u64, sum >> 64);
            }
            over += add;
        }
        Integer::of_words(words)
    }

    /// To the power of (p - 1)/2: whether it is a square, or `None` for zero, which is one in its own way.
    pub(super) fn euler(self) -> Option<bool> {
        // (p - 1)/2 = 2^254 - 10.
        let exponent = [0xffff_ffff_ffff_fff6, u64::MAX, u64::MAX, 0x3fff_ffff_ffff_ffff];
        let mut power = Integer::ONE;
        for bit in (0..256).rev() {
            power = power.times(power);
            if exponent[bit / 64] >> (bit % 64) & 1 == 1 {
                power = power.times(self);
            }
        }
        match power {
            Integer::ZERO => None,
            Integer::ONE => Some(true),
            other => {
                assert_eq!(other, Integer::ZERO.minus(Integer::ONE), "a power of (p - 1)/2 is 0, 1 or -1");
                Some(false)
            }
        }
    }
}

#[test]
fn integers_wrap_where_p_does() {
    let minus_one = Integer::ZERO.minus(Integer::ONE);
    assert_eq!(minus_one.0, [P[0] - 1, P[1], P[2], P[3]]);
    assert_eq!(minus_one.times(minus_one), Integer::ONE);
    assert_eq!(minus_one.plus(Integer::ONE), Integer::ZERO);
    assert_eq!(Integer::of_words(P), Integer::ZERO);
    assert_eq!(Integer::of_words([u64::MAX; 4]).0, [37, 0, 0, 0]);
    assert_eq!(Integer::of_limbs([0, 0, 0, 0, 1 << 51]).0, [19, 0, 0, 0]);
    assert_eq!(Integer([2, 0, 0, 0]).euler(), Some(false), "2 is no square, as p is 5 modulo 8");
    assert_eq!(minus_one.euler(), Some(true));
}
