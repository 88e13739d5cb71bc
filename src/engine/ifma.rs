//! Eight lanes in the 512-bit registers of processors that have AVX-512 with IFMA: the one file with unsafe code.
//!
//! [`Ifma`] is a token: who holds one knows that the processor was asked and has the instructions. An [`Eight`] is made
//! only with a token, so each of its operations may use them. Every `unsafe` below rests on that and on nothing else.
//!
//! On the way out of [`Ifma::enter`] all 32 vector registers and all 8 mask registers are cleared.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::lanes::{HashLanes, Lanes, Row, Work};

/// That this machine has AVX-512 F, BW, DQ, VL and IFMA, and that the operating system keeps their registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ifma(());

impl Ifma {
    /// Asks the processor.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        has.then_some(Ifma(()))
    }

    /// Does `work` and clears the registers behind it.
    pub(super) fn enter<R>(self, work: impl FnOnce(Self) -> R) -> R {
        let output = work(self);
        // SAFETY: the token says that the processor has these registers.
        unsafe { clear_registers() };
        output
    }
}

/// `work`, with everything it inlines, as one function for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline(never)]
fn compiled<W: Work>(work: W) -> W::Output {
    work.run()
}

/// No instruction, but five values that are in registers here.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
#[inline]
fn settled(numbers: [__m512i; 5]) -> [__m512i; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = numbers;
    // SAFETY: there is no instruction.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} */",
            inout(zmm_reg) a, inout(zmm_reg) b, inout(zmm_reg) c, inout(zmm_reg) d, inout(zmm_reg) e,
            options(nomem, nostack, preserves_flags)
        );
    }
    [a, b, c, d, e]
}

/// Two rows where the second number of each pair in `a` and the first in `b` have changed places.
#[target_feature(enable = "avx512f")]
#[inline]
fn ones(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// The same with pairs of numbers.
#[target_feature(enable = "avx512f")]
#[inline]
fn twos(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    let low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    (_mm512_permutex2var_epi64(a, low, b), _mm512_permutex2var_epi64(a, high, b))
}

/// The same with halves.
#[target_feature(enable = "avx512f")]
#[inline]
fn fours(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    (_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xee>(a, b))
}

/// Clears the vector registers that the processor has, whatever was done with them.
pub(super) fn clear_vectors() {
    // Also without IFMA: a library's copies may go through the upper sixteen.
    let whole = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if whole {
        // SAFETY: the processor has these registers.
        unsafe { clear_registers() }
    } else if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has the instruction.
        unsafe { clear_lower_registers() }
    }
    // Without AVX there are sixteen short ones, which whatever is done next uses.
}

/// Clears the sixteen registers of AVX, whole.
#[target_feature(enable = "avx")]
#[inline(never)]
fn clear_lower_registers() {
    _mm256_zeroall();
}

/// Clears all vector and mask registers, which the calling convention lets a function leave as they are.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)]
fn clear_registers() {
    // SAFETY: it writes to the registers that it names, and to nothing else.
    unsafe {
        asm!(
            "vzeroall",
            "vpxord zmm16, zmm16, zmm16",
            "vpxord zmm17, zmm17, zmm17",
            "vpxord zmm18, zmm18, zmm18",
            "vpxord zmm19, zmm19, zmm19",
            "vpxord zmm20, zmm20, zmm20",
            "vpxord zmm21, zmm21, zmm21",
            "vpxord zmm22, zmm22, zmm22",
            "vpxord zmm23, zmm23, zmm23",
            "vpxord zmm24, zmm24, zmm24",
            "vpxord zmm25, zmm25, zmm25",
            "vpxord zmm26, zmm26, zmm26",
            "vpxord zmm27, zmm27, zmm27",
            "vpxord zmm28, zmm28, zmm28",
            "vpxord zmm29, zmm29, zmm29",
            "vpxord zmm30, zmm30, zmm30",
            "vpxord zmm31, zmm31, zmm31",
            "kxorq k0, k0, k0",
            "kxorq k1, k1, k1",
            "kxorq k2, k2, k2",
            "kxorq k3, k3, k3",
            "kxorq k4, k4, k4",
            "kxorq k5, k5, k5",
            "kxorq k6, k6, k6",
            "kxorq k7, k7, k7",
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _,
            out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _,
            out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _,
            out("zmm19") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _,
            out("zmm31") _, out("k1") _, out("k2") _, out("k3") _, out("k4") _, out("k5") _, out("k6") _,
            out("k7") _, options(nomem, nostack, preserves_flags)
        );
    }
}

/// Eight lanes in one register.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Eight(__m512i);

impl Zeroize for Eight {
    #[inline(always)]
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Lanes for Eight {
    type Token = Ifma;
    type Mask = __mmask8;

    #[inline(always)]
    fn call<W: Work>(_: Ifma, work: W) -> W::Output {
        // SAFETY: the token says that the processor has the instructions.
        unsafe { compiled(work) }
    }

    #[inline(always)]
    fn token(self) -> Ifma {
        Ifma(())
    }

    #[inline(always)]
    fn splat(_: Ifma, number: u64) -> Self {
        // SAFETY: the token says that the processor has the instruction.
        Eight(unsafe { _mm512_set1_epi64(number.cast_signed()) })
    }

    #[inline(always)]
    fn load(_: Ifma, row: &Row) -> Self {
        // SAFETY: the token says that the processor has the instruction; a row is 64 readable bytes.
        Eight(unsafe { _mm512_load_si512(row.0.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self) -> Row {
        let mut row = Row([0; 8]);
        // SAFETY: an `Eight` needs a token, so the processor has the instruction; a row is 64 writable bytes.
        unsafe { _mm512_store_si512(row.0.as_mut_ptr().cast(), self.0) };
        row
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn times(self, number: u64) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_mullo_epi64(self.0, _mm512_set1_epi64(number.cast_signed())) })
    }

    #[inline(always)]
    fn and(self, bits: u64) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_and_si512(self.0, _mm512_set1_epi64(bits.cast_signed())) })
    }

    #[inline(always)]
    fn down(self, bits: u32) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_srl_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    #[inline(always)]
    fn up(self, bits: u32) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_sll_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    #[inline(always)]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_madd52lo_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_madd52hi_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn exchanged<const DISTANCE: usize>(self) -> Self {
        const { assert!(DISTANCE == 1 || DISTANCE == 2 || DISTANCE == 4, "a bit of a lane's number") };
        // SAFETY: an `Eight` needs a token, so the processor has the instructions.
        Eight(unsafe {
            match DISTANCE {
                1 => _mm512_permutex_epi64::<0xb1>(self.0),
                2 => _mm512_shuffle_i64x2::<0xb1>(self.0, self.0),
                _ => _mm512_shuffle_i64x2::<0x4e>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    fn settle(numbers: [Self; 5]) -> [Self; 5] {
        let [Eight(a), Eight(b), Eight(c), Eight(d), Eight(e)] = numbers;
        // SAFETY: an `Eight` needs a token, so the processor has the registers.
        unsafe { settled([a, b, c, d, e]) }.map(Eight)
    }

    #[inline(always)]
    fn equal(self, other: Self) -> __mmask8 {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        unsafe { _mm512_cmpeq_epu64_mask(self.0, other.0) }
    }

    #[inline(always)]
    fn select(mask: __mmask8, this: Self, other: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_mask_mov_epi64(other.0, mask, this.0) })
    }

    #[inline(always)]
    fn look_up(self, numbers: &[Row; 4]) -> Self {
        let [a, b, c, d] = numbers.each_ref().map(|row| Self::load(self.token(), row).0);
        // SAFETY: an `Eight` needs a token, so the processor has the instructions.
        Eight(unsafe {
            let upper = _mm512_test_epi64_mask(self.0, _mm512_set1_epi64(16));
            let low = _mm512_permutex2var_epi64(a, self.0, b);
            _mm512_mask_mov_epi64(low, upper, _mm512_permutex2var_epi64(c, self.0, d))
        })
    }

    #[inline(always)]
    fn mask(_: Ifma, bits: u8) -> __mmask8 {
        bits
    }

    #[inline(always)]
    fn bits(mask: __mmask8) -> u8 {
        mask
    }

    #[inline(always)]
    fn both(a: __mmask8, b: __mmask8) -> __mmask8 {
        a & b
    }

    #[inline(always)]
    fn either(a: __mmask8, b: __mmask8) -> __mmask8 {
        a | b
    }

    #[inline(always)]
    fn one_of(a: __mmask8, b: __mmask8) -> __mmask8 {
        a ^ b
    }
}

impl HashLanes for Eight {
    #[inline(always)]
    fn wrapping_add(self, other: Self) -> Self {
        self.add(other)
    }

    #[inline(always)]
    fn rotate<const N: i32>(self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_ror_epi64::<N>(self.0) })
    }

    #[inline(always)]
    fn choose(self, b: Self, c: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_ternarylogic_epi64::<0xca>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn majority(self, b: Self, c: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_ternarylogic_epi64::<0xe8>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn parity(self, b: Self, c: Self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instruction.
        Eight(unsafe { _mm512_ternarylogic_epi64::<0x96>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn load_bytes(_: Ifma, bytes: &[u8; 64]) -> Self {
        // SAFETY: the token says that the processor has the instruction; there are 64 readable bytes.
        Eight(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }).swap_bytes()
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        // SAFETY: an `Eight` needs a token, so the processor has the instructions.
        Eight(unsafe {
            let order = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
            _mm512_shuffle_epi8(self.0, order)
        })
    }

    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        let [Eight(a), Eight(b), Eight(c), Eight(d), Eight(e), Eight(f), Eight(g), Eight(h)] = rows;
        // SAFETY: an `Eight` needs a token, so the processor has the instructions.
        unsafe {
            // Blocks of one number change places, then blocks of two, then of four.
            let [(a, b), (c, d), (e, f), (g, h)] = [ones(a, b), ones(c, d), ones(e, f), ones(g, h)];
            let [(a, c), (b, d), (e, g), (f, h)] = [twos(a, c), twos(b, d), twos(e, g), twos(f, h)];
            let [(a, e), (b, f), (c, g), (d, h)] = [fours(a, e), fours(b, f), fours(c, g), fours(d, h)];
            [Eight(a), Eight(b), Eight(c), Eight(d), Eight(e), Eight(f), Eight(g), Eight(h)]
        }
    }
}
