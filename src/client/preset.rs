//! [`Preset`]: how hard a code is stretched (the KSF of RFC 9807 section 7), as one byte that travels with the record.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::ksf::Ksf;
use zeroize::Zeroize;

/// A named setting of Argon2id (version 0x13, salt of 16 zero bytes, tag as long as the input, as RFC 9807 section 7
/// has it). Ordered by how much a guess costs. The numbers of a byte never change; other numbers get another byte.
///
/// | preset | byte | memory | passes | lanes | time | source |
/// |---|---|---|---|---|---|---|
/// | [`Development`](Preset::Development) | 0 | none | none | none | none | the identity, for tests and load |
/// | [`Light`](Preset::Light) | 1 | 19 MiB | 2 | 1 | 20 ms | OWASP's minimum for password storage |
/// | [`Medium`](Preset::Medium) | 2 | 64 MiB | 3 | 1 | 144 ms | RFC 9106's second recommendation, but one lane |
/// | [`Heavy`](Preset::Heavy) | 3 | 2 GiB | 1 | 4 | 2.8 s | RFC 9106's first recommendation, and RFC 9807's own |
///
/// Times are a client's whole recovery on one core of an EPYC (Zen 3), by `cargo bench --bench client`; a telephone takes
/// some times as long.
///
/// RFC 9106's second recommendation has four lanes. Here lanes are computed one after another, as in a browser or on a
/// slow telephone, so four would cost the person as much as one, and let an attacker with four cores hold the memory
/// for a quarter of the time. `Heavy` keeps its four, so that it is exactly the setting that both RFCs name.
///
/// The salt may be constant: the input is an OPRF output, different for every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Preset {
    /// No stretching at all. Only for development and load tests; refused by every client not told so.
    Development = 0,
    /// 19 MiB, 2 passes, 1 lane.
    Light = 1,
    /// 64 MiB, 3 passes, 1 lane.
    Medium = 2,
    /// 2 GiB, 1 pass, 4 lanes.
    Heavy = 3,
}

impl Preset {
    const ALL: [Preset; 4] = [Preset::Development, Preset::Light, Preset::Medium, Preset::Heavy];

    /// The byte that stands for this preset beside a record.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The preset that a byte stands for. There is no default: a code stretched otherwise just looks wrong.
    pub fn from_byte(byte: u8) -> Option<Preset> {
        Self::ALL.into_iter().find(|preset| preset.byte() == byte)
    }

    /// Memory in KiB.
    pub fn memory_kib(self) -> u32 {
        self.numbers().0
    }

    /// Passes over the memory.
    pub fn passes(self) -> u32 {
        self.numbers().1
    }

    /// Lanes.
    pub fn lanes(self) -> u32 {
        self.numbers().2
    }

    const fn numbers(self) -> (u32, u32, u32) {
        match self {
            Preset::Development => (0, 0, 0),
            Preset::Light => (19 * 1024, 2, 1),
            Preset::Medium => (64 * 1024, 3, 1),
            Preset::Heavy => (2 * 1024 * 1024, 1, 4),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Preset::Development => f.write_str("none"),
            _ => write!(f, "Argon2id, {} MiB, t={}", self.memory_kib() / 1024, self.passes()),
        }
    }
}

/// A preset as opaque-ke takes it.
pub(super) struct Stretch(pub(super) Preset);

impl Default for Stretch {
    /// opaque-ke asks for a default and uses it where it is given none; it is always given one here.
    fn default() -> Self {
        Stretch(Preset::Heavy)
    }
}

impl Ksf for Stretch {
    fn hash<L: ArrayLength<u8>>(&self, input: GenericArray<u8, L>) -> Result<GenericArray<u8, L>, InternalError> {
        if self.0 == Preset::Development {
            return Ok(input);
        }
        let mut output = GenericArray::default();
        stretch(self.0.numbers(), &input, &mut output).map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

/// Argon2id of `input` into `output`. Argon2's own entry allocates or aborts; on a small device 2 GiB is likely to be
/// missing, so memory is asked for here, where the answer may be no.
fn stretch((memory_kib, passes, lanes): (u32, u32, u32), input: &[u8], output: &mut [u8]) -> Result<(), argon2::Error> {
    let params = Params::new(memory_kib, passes, lanes, None)?;
    let mut memory = Memory::try_new(params.block_count()).ok_or(argon2::Error::MemoryTooMuch)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into_with_memory(input, &[0; 16], output, &mut memory.0[..])
}

/// Argon2's blocks, wiped on drop: the last ones determine the stretched code.
struct Memory(Vec<Block>);

impl Memory {
    fn try_new(blocks: usize) -> Option<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(blocks).ok()?;
        memory.resize(blocks, Block::new());
        Some(Memory(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for block in &mut self.0 {
            block.as_mut().zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use opaque_ke::generic_array::typenum::U64;

    use super::*;

    #[test]
    fn the_numbers_are_those_that_argon2_is_given() {
        for (preset, byte, memory, passes, lanes) in
            [(Preset::Light, 1, 19_456, 2, 1), (Preset::Medium, 2, 65_536, 3, 1), (Preset::Heavy, 3, 2_097_152, 1, 4)]
        {
            assert_eq!((preset.memory_kib(), preset.passes(), preset.lanes()), (memory, passes, lanes));
            let params = Params::new(memory, passes, lanes, None).expect("parameters that Argon2 allows");
            assert_eq!(params.block_count() as u32, memory, "whole blocks of 1 KiB, four to a lane at least");
            assert_eq!((preset.byte(), Preset::from_byte(byte)), (byte, Some(preset)));
        }
        assert_eq!((Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST), (19_456, 2, 1));
        assert_eq!(Preset::from_byte(0), Some(Preset::Development));
        assert!((4..=255).all(|byte| Preset::from_byte(byte).is_none()), "no byte falls back to a default");
        assert!(Preset::ALL.is_sorted());
    }

    #[test]
    fn stretched_codes_are_those_of_the_reference_implementation() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/client/argon2id-presets.json")).expect("JSON");
        let cases = file["cases"].as_array().expect("cases");
        let number = |case: &serde_json::Value, name: &str| case[name].as_u64().expect("a number") as u32;
        let mut seen = Vec::new();
        for case in cases {
            let numbers = (number(case, "memory_kib"), number(case, "passes"), number(case, "lanes"));
            let input = hex::decode(case["input"].as_str().expect("hex")).expect("hex");
            let mut output = [0; 64];
            match case["preset"].as_u64() {
                Some(byte) => {
                    let preset = Preset::from_byte(byte as u8).expect("a preset");
                    assert_eq!(preset.numbers(), numbers);
                    let input = *GenericArray::<u8, U64>::from_slice(&input);
                    output.copy_from_slice(&Stretch(preset).hash(input).expect("enough memory"));
                    seen.push(preset);
                }
                // Heavy's shape with a thousandth of its memory, so that tests run anywhere.
                None => {
                    assert_eq!((numbers.1, numbers.2), (Preset::Heavy.passes(), Preset::Heavy.lanes()));
                    stretch(numbers, &input, &mut output).expect("2 MiB");
                    seen.push(Preset::Heavy);
                }
            }
            assert_eq!(hex::encode(output), case["output"].as_str().expect("hex"), "{numbers:?}");
        }
        seen.dedup();
        assert_eq!(seen, [Preset::Light, Preset::Medium, Preset::Heavy]);
    }

    #[test]
    fn only_development_leaves_the_input_as_it_is() {
        let input = GenericArray::<u8, U64>::default();
        assert_eq!(Stretch(Preset::Development).hash(input).expect("nothing to fail"), input);
        assert_ne!(Stretch(Preset::Light).hash(input).expect("19 MiB"), input);
    }

    #[test]
    fn missing_memory_is_an_answer_and_not_an_abort() {
        assert!(Memory::try_new(usize::MAX / size_of::<Block>()).is_none());
        assert_eq!(Memory::try_new(3).expect("3 KiB").0.len(), 3);
    }
}
