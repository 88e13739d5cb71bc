//! `cargo test --release --features fleet fleet` runs every test of the fleet. Two of them want more than that feature: the
//! simulation, in which mistakes are planted, and the processes, which the command line makes. Without those features this has
//! cargo run them; with them cargo does so by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

#[test]
fn fleet_tests_run_that_want_more_features() {
    if cfg!(all(feature = "cli", feature = "planted")) {
        return;
    }
    let cargo = std::env::var_os("CARGO").expect("cargo runs this");
    let mut tests = Command::new(cargo);
    tests.args(["test", "--features", "cli,planted", "--test", "fleet", "--test", "processes"]);
    if !cfg!(debug_assertions) {
        tests.arg("--release");
    }
    let status = tests.arg("fleet").current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "the simulation or the processes: see above");
}
