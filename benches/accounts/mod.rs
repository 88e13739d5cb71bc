//! Accounts that are only counted, for benches of the journal: ids spread like hashes, and records that nobody opens.
#![allow(clippy::unwrap_used)]

use strongroom::account::AccountId;
use strongroom::wrap::{Header, SEALED_LEN, Sealed};

/// Splitmix64: choices that repeat.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(crate) fn id(person: u64) -> AccountId {
    let mut dice = Dice(person);
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&dice.roll().to_be_bytes()));
    AccountId(bytes)
}

/// A sealed record in shape, another one for each number.
pub(crate) fn sealed(number: u64) -> Sealed {
    let mut bytes = [0; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    Sealed::from_bytes(&bytes).unwrap()
}
