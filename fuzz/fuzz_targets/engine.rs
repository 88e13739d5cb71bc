//! The doors of the engine on every backend against curve25519-dalek: see the model, which `tests/seeds.rs` shares.
//!
//! The input chooses the door, the batch and what each lane holds. The seeds in `corpus/engine` are made by
//! `tests/seeds.rs`, which also flips a bit of each answer and sees the model complain.
#![no_main]

#[path = "../../tests/model/judge.rs"]
mod judge;
#[path = "../../tests/model/engine.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(wrong) = model::drive(bytes, &mut judge::Judge::default()) {
        panic!("{wrong}");
    }
});
