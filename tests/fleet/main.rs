//! A fleet that is simulated: the real replicas on a network, clock and disk that do what a seed says.
//!
//! `cargo test --release --features fleet --test fleet` runs fifty seeds. `STRONGROOM_SEEDS=1000` runs more, and
//! `STRONGROOM_SEED=77` one, whose log is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../disk/mod.rs"]
mod disk;
mod model;
mod site;
mod world;

use world::{Planted, run};

fn seeds() -> u64 {
    std::env::var("STRONGROOM_SEEDS").map_or(50, |it| it.parse().expect("a number of seeds"))
}

#[test]
fn fleet_holds_whatever_the_seed() {
    let one = std::env::var("STRONGROOM_SEED").ok().map(|it| it.parse().expect("a seed"));
    if one.is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter).init();
    }
    let mut answered = 0;
    for seed in one.map_or(0..seeds(), |seed| seed..seed + 1) {
        let outcome = run(seed, Planted::Nothing);
        if one.is_some() || !outcome.wrongs.is_empty() {
            println!("{}", outcome.log.join("\n"));
        }
        assert!(outcome.wrongs.is_empty(), "seed {seed}: {}", outcome.wrongs.join("\n"));
        answered += outcome.answered;
    }
    println!("{answered} answers");
}
