//! Parsing with re-encoding: see the model, which `tests/seeds.rs` shares.
//!
//! The first byte of an input says what the rest is read as; the seeds in `corpus/wire` show one of each and are made by
//! `tests/seeds.rs`, which also flips a bit of each answer and sees the model complain.
#![no_main]

#[path = "../../tests/model/judge.rs"]
mod judge;
#[path = "../../tests/model/wire.rs"]
mod model;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    model::drive(bytes, &mut judge::Judge::default()).map_or(Corpus::Reject, |_| Corpus::Keep)
});
