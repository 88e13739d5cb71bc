//! SHA-512 and HMAC on every backend against sha2 and hmac: see the model, which `tests/seeds.rs` shares.
//!
//! The input chooses the door, the batch, the lengths and the cuts. The seeds in `corpus/hash` are made by
//! `tests/seeds.rs`, which also flips a bit of each answer and sees the model complain.
#![no_main]

#[path = "../../tests/model/judge.rs"]
mod judge;
#[path = "../../tests/model/hash.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(wrong) = model::drive(bytes, &mut judge::Judge::default()) {
        panic!("{wrong}");
    }
});
