//! A fleet that is simulated: the real replicas on a network, clock and disk that do what a seed says.
//!
//! `cargo test --release --features planted --test fleet` runs fifty seeds. `STRONGROOM_SEEDS=1000` runs more, and
//! `STRONGROOM_SEED=77` one, whose log is printed, with the replicas' own where `RUST_LOG` asks for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../disk/mod.rs"]
mod disk;
mod model;
mod owners;
mod signers;
mod site;
mod vaults;
mod world;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use strongroom::fleet::Mistake;
use world::{Outcome, Planted};

/// The one seed that is asked for.
fn one() -> Option<u64> {
    std::env::var("STRONGROOM_SEED").ok().map(|it| it.parse().expect("a seed"))
}

/// A run on a thread of its own: what libraries keep for a thread is new for each.
fn run(seed: u64, planted: Planted) -> Outcome {
    thread::spawn(move || world::run(seed, planted)).join().expect("a run that ends")
}

#[test]
fn fleet_holds_whatever_the_seed() {
    if one().is_some() {
        return;
    }
    let seeds = std::env::var("STRONGROOM_SEEDS").map_or(50, |it| it.parse().expect("a number of seeds"));
    let [next, answered, recovered, undecided, rolled_back] = [(); 5].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = run(seed, Planted::Nothing);
                    answered.fetch_add(outcome.answered as u64, Ordering::Relaxed);
                    recovered.fetch_add(outcome.recovered as u64, Ordering::Relaxed);
                    undecided.fetch_add(outcome.undecided as u64, Ordering::Relaxed);
                    rolled_back.fetch_add(outcome.rolled_back as u64, Ordering::Relaxed);
                    assert!(
                        outcome.wrongs.is_empty(),
                        "STRONGROOM_SEED={seed}\n{}\n{}",
                        outcome.log.join("\n"),
                        outcome.wrongs.join("\n")
                    );
                }
            });
        }
    });
    let [answered, recovered, undecided, rolled_back] =
        [answered, recovered, undecided, rolled_back].map(AtomicU64::into_inner);
    println!("{answered} answers and {recovered} recoveries over {seeds} seeds, {undecided} accounts not decided");
    println!("{rolled_back} times a member was started on a copy older than its anchor");
    assert!(rolled_back * 10 >= seeds, "hosts put back too little to prove anything");
    assert!(recovered > seeds, "the vaults gave back too little to prove anything");
    assert!(undecided * 50 <= seeds, "too many accounts could not be decided");
}

#[test]
fn fleet_of_one_seed_is_shown() {
    let Some(seed) = one() else { return };
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter).init();
    let outcome = world::run(seed, Planted::Nothing);
    println!("{}", outcome.log.join("\n"));
    assert!(outcome.wrongs.is_empty(), "{}", outcome.wrongs.join("\n"));
}

/// One seed in two processes is one history.
#[test]
fn fleet_of_one_seed_has_one_history() {
    if one().is_some() {
        return;
    }
    let shown = |seed: u64| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["fleet_of_one_seed_is_shown", "--exact", "--nocapture"]).env("STRONGROOM_SEED", seed.to_string());
        let output = command.stderr(Stdio::null()).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let history: Vec<_> = text.lines().filter(|line| line.contains("person") || line.starts_with(' ')).collect();
        history.join("\n")
    };
    for seed in [1, 2, 3] {
        let history = shown(seed);
        assert!(history.lines().count() > 100, "{history}");
        assert_eq!(history, shown(seed), "seed {seed}");
    }
    assert_ne!(shown(1), shown(2), "histories are their seeds' own");
}

#[test]
fn fleet_simulation_finds_what_is_planted() {
    if one().is_some() {
        return;
    }
    let all = [
        (Planted::NoSync, 10),
        (Planted::Amnesia, 50),
        (Planted::Mistake(Mistake::SilenceCounts), 50),
        (Planted::Mistake(Mistake::AppliesTwice), 200),
        (Planted::Mistake(Mistake::VoteNotAnchored), 300),
        (Planted::Mistake(Mistake::CommitsAhead), 400),
        (Planted::Mistake(Mistake::LeadsAtOnce), 400),
        (Planted::Mistake(Mistake::ReceiptsAhead), 10),
        (Planted::Mistake(Mistake::ReceiptsFirst), 10),
    ];
    let find = |planted, most, says: &str| {
        let found = (0..most).find(|seed| run(*seed, planted).wrongs.iter().any(|wrong| wrong.contains(says)));
        let found = found.unwrap_or_else(|| panic!("{planted:?} is not found in {most} seeds by {says:?}"));
        let without = run(found, Planted::Nothing).wrongs;
        assert!(without.is_empty(), "seed {found} without {planted:?}: {without:?}");
        println!("{planted:?}: seed {found} {says}");
    };
    for (planted, most) in all {
        find(planted, most, "");
    }
    find(Planted::AnchorToo, 50, "runs on an older copy");
    find(Planted::Mistake(Mistake::OwnClock), 50, "ahead of every right clock");
    // What is evaluated without a charge, or on a record that has been replaced, is seen by those who hold secrets too: rarely,
    // where receipts come ahead by a row alone.
    for mistake in [Mistake::ReceiptsAhead, Mistake::ReceiptsFirst] {
        find(Planted::Mistake(mistake), 400, "owner ");
    }
}
