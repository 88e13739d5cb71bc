//! The compression function of SHA-512 (FIPS 180-4 section 6.4.2) on lanes: eight messages at once, or sixteen.
//!
//! A round needs what the round before gives, so one vector of messages leaves the processor waiting. The rounds of two
//! vectors take turns: in an experiment on Zen 5 that was 19 ns a block instead of 31. On Zen 4, where every 512-bit
//! operation takes two turns of a unit and so waits less, it is 45 instead of 48.

use zeroize::Zeroize;

use super::{BLOCK_LEN, DIGEST_LEN, INITIAL};
use crate::engine::lanes::{HashLanes, LANES, Row, Work};

/// Vectors that are compressed together.
pub(super) const TOGETHER: usize = 2;
/// Messages that are compressed together.
pub(super) const MESSAGES: usize = TOGETHER * LANES;

/// Constants of SHA-512, FIPS 180-4 section 4.2.3.
#[rustfmt::skip]
static CONSTANTS: [u64; 80] = [
    0x428a_2f98_d728_ae22, 0x7137_4491_23ef_65cd, 0xb5c0_fbcf_ec4d_3b2f, 0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538, 0x59f1_11f1_b605_d019, 0x923f_82a4_af19_4f9b, 0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242, 0x1283_5b01_4570_6fbe, 0x2431_85be_4ee4_b28c, 0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f, 0x80de_b1fe_3b16_96b1, 0x9bdc_06a7_25c7_1235, 0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2, 0xefbe_4786_384f_25e3, 0x0fc1_9dc6_8b8c_d5b5, 0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275, 0x4a74_84aa_6ea6_e483, 0x5cb0_a9dc_bd41_fbd4, 0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab, 0xa831_c66d_2db4_3210, 0xb003_27c8_98fb_213f, 0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2, 0xd5a7_9147_930a_a725, 0x06ca_6351_e003_826f, 0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc, 0x2e1b_2138_5c26_c926, 0x4d2c_6dfc_5ac4_2aed, 0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de, 0x766a_0abb_3c77_b2a8, 0x81c2_c92e_47ed_aee6, 0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364, 0xa81a_664b_bc42_3001, 0xc24b_8b70_d0f8_9791, 0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218, 0xd699_0624_5565_a910, 0xf40e_3585_5771_202a, 0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8, 0x1e37_6c08_5141_ab53, 0x2748_774c_df8e_eb99, 0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63, 0x4ed8_aa4a_e341_8acb, 0x5b9c_ca4f_7763_e373, 0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc, 0x78a5_636f_4317_2f60, 0x84c8_7814_a1f0_ab72, 0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28, 0xa450_6ceb_de82_bde9, 0xbef9_a3f7_b2c6_7915, 0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c, 0xd186_b8c7_21c0_c207, 0xeada_7dd6_cde0_eb1e, 0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba, 0x0a63_7dc5_a2c8_98a6, 0x113f_9804_bef9_0dae, 0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84, 0x32ca_ab7b_40c7_2493, 0x3c9e_be0a_15c9_bebc, 0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6, 0x597f_299c_fc65_7e2a, 0x5fcb_6fab_3ad6_faec, 0x6c44_198c_4a47_5817,
];

/// A block, as the two rows of eight words that it is loaded as.
pub(super) type Block = [[u8; BLOCK_LEN / 2]; 2];

/// What becomes of a message's last state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// It is wanted as words.
    State,
    /// It is wanted as bytes.
    Digest,
    /// It is the message of the outer hash of HMAC, and that one's digest is wanted.
    Mac,
}

/// Messages on their way through the compression function; each has its place in every field. Wiped on drop.
pub(super) struct Messages<'a, L: HashLanes> {
    token: L::Token,
    /// States before the first block.
    pub(super) before: [&'a [u64; 8]; MESSAGES],
    /// For [`Goal::Mac`], states before the block of the outer hash.
    pub(super) outer: [&'a [u64; 8]; MESSAGES],
    /// Blocks, those of a message one after another.
    pub(super) blocks: Vec<Block>,
    /// What comes of it: states or digests.
    pub(super) after: [Row; MESSAGES],
}

impl<L: HashLanes> Drop for Messages<'_, L> {
    fn drop(&mut self) {
        // One slice, which is wiped in one piece; arrays are wiped byte by byte.
        self.blocks.as_flattened_mut().as_flattened_mut().zeroize();
        self.after.zeroize();
    }
}

impl<'a, L: HashLanes> Messages<'a, L> {
    /// Room for so many messages, at most [`MESSAGES`], of so many blocks.
    pub(super) fn new(token: L::Token, messages: usize, blocks: usize) -> Self {
        let lanes = messages.min(MESSAGES).next_multiple_of(LANES);
        Messages {
            token,
            before: [&INITIAL; MESSAGES],
            outer: [&INITIAL; MESSAGES],
            blocks: vec![[[0; BLOCK_LEN / 2]; 2]; lanes * blocks],
            after: [Row([0; LANES]); MESSAGES],
        }
    }

    /// Takes in the first `count` blocks of every message in one or two vectors, where a message has room for `room`.
    pub(super) fn compress(&mut self, vectors: usize, room: usize, count: usize, goal: Goal) {
        let token = self.token;
        if vectors == 1 {
            L::call(token, Hash::<L, 1> { messages: self, room, count, goal });
        } else {
            L::call(token, Hash::<L, TOGETHER> { messages: self, room, count, goal });
        }
    }

    /// The digest of a message, after [`Goal::Digest`] or [`Goal::Mac`].
    pub(super) fn digest(&self, message: usize) -> [u8; DIGEST_LEN] {
        let mut digest = [0; DIGEST_LEN];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(&self.after[message].0) {
            *bytes = word.to_ne_bytes();
        }
        digest
    }
}

/// All blocks of the first `K` vectors.
struct Hash<'a, 'b, L: HashLanes, const K: usize> {
    messages: &'a mut Messages<'b, L>,
    room: usize,
    count: usize,
    goal: Goal,
}

impl<L: HashLanes, const K: usize> Work for Hash<'_, '_, L, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Messages { token, before, outer, blocks, after } = self.messages;
        let (token, outer_hash) = (*token, self.goal == Goal::Mac);
        let mut states = load_states::<L, K>(token, before);
        let mut window = [[L::splat(token, 0); 16]; K];
        for index in 0..self.count + usize::from(outer_hash) {
            if index < self.count {
                for k in 0..K {
                    for half in 0..2 {
                        let mut words = [L::splat(token, 0); LANES];
                        for lane in 0..LANES {
                            let block = &blocks[(k * LANES + lane) * self.room + index];
                            words[lane] = L::load_bytes(token, &block[half]);
                        }
                        let words = L::transposed(words);
                        for word in 0..LANES {
                            window[k][half * LANES + word] = words[word];
                        }
                    }
                }
            } else {
                // The inner digest and the padding of a message of a block and a digest, out of one register into
                // another.
                for k in 0..K {
                    for word in 0..LANES {
                        window[k][word] = states[k][word];
                        window[k][LANES + word] = L::splat(token, 0);
                    }
                    window[k][LANES] = L::splat(token, 1 << 63);
                    window[k][2 * LANES - 1] = L::splat(token, (BLOCK_LEN + DIGEST_LEN) as u64 * 8);
                }
                states = load_states(token, outer);
            }
            compress(token, &mut states, &mut window);
        }
        window.zeroize();
        for k in 0..K {
            let mut state = states[k];
            if self.goal != Goal::State {
                for word in &mut state {
                    *word = word.swap_bytes();
                }
            }
            let state = L::transposed(state);
            for lane in 0..LANES {
                after[k * LANES + lane] = state[lane].store();
            }
        }
    }
}

/// The states of the first `K` vectors.
#[inline(always)]
fn load_states<L: HashLanes, const K: usize>(token: L::Token, rows: &[&[u64; 8]; MESSAGES]) -> [[L; 8]; K] {
    let mut states = [[L::splat(token, 0); 8]; K];
    for k in 0..K {
        for lane in 0..LANES {
            states[k][lane] = L::load(token, &Row(*rows[k * LANES + lane]));
        }
        states[k] = L::transposed(states[k]);
    }
    states
}

/// The compression function: 80 rounds, with the words of a block in `window`.
#[inline(always)]
fn compress<L: HashLanes, const K: usize>(token: L::Token, states: &mut [[L; 8]; K], window: &mut [[L; 16]; K]) {
    let before = *states;
    for first in (0..64).step_by(8) {
        eight_rounds::<L, K, true>(token, states, window, first);
    }
    // Nobody needs the words after the last round.
    for first in (64..80).step_by(8) {
        eight_rounds::<L, K, false>(token, states, window, first);
    }
    for k in 0..K {
        for word in 0..8 {
            states[k][word] = states[k][word].wrapping_add(before[k][word]);
        }
    }
}

/// Rounds `first` to `first + 7`. The variables turn by one place a round, so after eight they are where they were.
#[inline(always)]
fn eight_rounds<L: HashLanes, const K: usize, const SCHEDULE: bool>(
    token: L::Token,
    states: &mut [[L; 8]; K],
    window: &mut [[L; 16]; K],
    first: usize,
) {
    round::<L, K, 0, SCHEDULE>(token, states, window, first);
    round::<L, K, 1, SCHEDULE>(token, states, window, first);
    round::<L, K, 2, SCHEDULE>(token, states, window, first);
    round::<L, K, 3, SCHEDULE>(token, states, window, first);
    round::<L, K, 4, SCHEDULE>(token, states, window, first);
    round::<L, K, 5, SCHEDULE>(token, states, window, first);
    round::<L, K, 6, SCHEDULE>(token, states, window, first);
    round::<L, K, 7, SCHEDULE>(token, states, window, first);
}

/// Round `first + TURN`: FIPS 180-4 section 6.4.2 step 3; and with `SCHEDULE`, for the sixteenth round after it, step 1.
#[inline(always)]
fn round<L: HashLanes, const K: usize, const TURN: usize, const SCHEDULE: bool>(
    token: L::Token,
    states: &mut [[L; 8]; K],
    window: &mut [[L; 16]; K],
    first: usize,
) {
    let number = first + TURN;
    let constant = L::splat(token, CONSTANTS[number]);
    for k in 0..K {
        let words = &mut window[k];
        let word = words[number % 16];
        let state = &mut states[k];
        let [a, b, c, d] =
            [state[(8 - TURN) % 8], state[(9 - TURN) % 8], state[(10 - TURN) % 8], state[(11 - TURN) % 8]];
        let [e, f, g, h] =
            [state[(12 - TURN) % 8], state[(13 - TURN) % 8], state[(14 - TURN) % 8], state[(15 - TURN) % 8]];
        let first = h.wrapping_add(constant.wrapping_add(word)).wrapping_add(e.choose(f, g)).wrapping_add(L::parity(
            e.rotate::<14>(),
            e.rotate::<18>(),
            e.rotate::<41>(),
        ));
        let second = a.majority(b, c).wrapping_add(L::parity(a.rotate::<28>(), a.rotate::<34>(), a.rotate::<39>()));
        state[(11 - TURN) % 8] = d.wrapping_add(first);
        state[(15 - TURN) % 8] = first.wrapping_add(second);
        if SCHEDULE {
            let [low, high] = [words[(number + 1) % 16], words[(number + 14) % 16]];
            words[number % 16] = word
                .wrapping_add(words[(number + 9) % 16])
                .wrapping_add(L::parity(low.rotate::<1>(), low.rotate::<8>(), low.down(7)))
                .wrapping_add(L::parity(high.rotate::<19>(), high.rotate::<61>(), high.down(6)));
        }
    }
}
