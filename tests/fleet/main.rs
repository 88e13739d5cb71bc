//! A fleet that is simulated: the real replicas on a network, clock and disk that do what a seed says.
//!
//! `cargo test --release --features planted --test fleet` runs fifty seeds. `STRONGROOM_SEEDS=1000` runs more, and
//! `STRONGROOM_SEED=77` one, whose log is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../disk/mod.rs"]
mod disk;
mod model;
mod site;
mod world;

use strongroom::fleet::Mistake;
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
        eprintln!("seed {seed}");
        let outcome = run(seed, Planted::Nothing);
        if one.is_some() || !outcome.wrongs.is_empty() {
            println!("{}", outcome.log.join("\n"));
        }
        assert!(outcome.wrongs.is_empty(), "seed {seed}: {}", outcome.wrongs.join("\n"));
        answered += outcome.answered;
    }
    println!("{answered} answers");
}

/// Seeds until the first of them that finds what is planted.
fn found_after(planted: Planted, most: u64) -> u64 {
    let found = (0..most).find(|seed| !run(*seed, planted).wrongs.is_empty());
    found.unwrap_or_else(|| panic!("{planted:?} is not found in {most} seeds")) + 1
}

#[test]
fn fleet_simulation_finds_what_is_planted() {
    for (planted, most) in [
        (Planted::NoSync, 10),
        (Planted::Amnesia, 50),
        (Planted::Mistake(Mistake::SilenceCounts), 50),
        (Planted::Mistake(Mistake::AppliesTwice), 200),
        (Planted::Mistake(Mistake::VoteNotAnchored), 100),
    ] {
        println!("{planted:?}: found after {} seeds", found_after(planted, most));
    }
}
