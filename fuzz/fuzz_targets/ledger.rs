//! Ledger operations against the model of the property test.
#![no_main]

#[path = "../../tests/model/ledger.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(wrong) = model::drive(&model::real, bytes, None) {
        panic!("{wrong}");
    }
});
