//! Opening of tickets, sealed records and blobs: see the model, which `tests/seeds.rs` shares.
//!
//! An input is a script. The seeds in `corpus/open` are made by `tests/seeds.rs`, which also flips a bit of each answer and
//! sees the model complain.
#![no_main]

#[path = "../../tests/model/judge.rs"]
mod judge;
#[path = "../../tests/model/open.rs"]
mod model;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    model::drive(bytes, &mut judge::Judge::default()).map_or(Corpus::Reject, |_| Corpus::Keep)
});
