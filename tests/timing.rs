//! A second opinion on time: dudect's statistics, on the machine as it is.
//!
//! Each door of `tests/doors` is gone through thousands of times, with one fixed secret or with random ones, in random
//! order; Welch's t between the two says whether time tells them apart. Above 4.5 it does. The traces of
//! `tests/constant_time` are the proof; this looks at what a trace cannot see, an instruction whose own time depends on
//! its operands.
//!
//! ```text
//! cargo test --release --test timing                       # thousands of samples a door
//! SAMPLES=1000000 cargo test --release --test timing       # the long run: hours; leave the machine alone
//! cargo test --release --test timing -- login              # doors with a word in their name
//! cargo test --release --test timing -- --shared "engine digests 8"    # where a door is over the bound: see below
//! ```
//!
//! Other programs disturb it, so a door over the bound is measured again on fresh samples, with another fixed secret, and
//! fails if it is over again. A door that leaks must be found each time, on each backend.
//!
//! `--shared` tells more of one door, in less time: many secrets are gone through in random order, and the mean times of each
//! in the first half of the samples are held against those in the second. What the two halves share is the secrets' own.
//! It differs from place to place in memory, so it is asked several times, in environments of different length. Of the leak,
//! `--shared "control: an early exit"`, the halves correlate by 1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "doors/mod.rs"]
mod doors;

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use doors::{Door, Kind, Secrets, doors};
use dudect_bencher::ctbench::{BenchMetadata, BenchName, BenchOpts, BenchRng, Class, CtRunner, run_benches_console};
use dudect_bencher::rand::RngExt;
use strongroom::engine::Backend;

/// Over this |t| time tells secrets apart: the bound of the paper and of its program.
const BOUND: f64 = 4.5;
/// Without a number of samples, a door is measured for about so long.
const A_WHILE: Duration = Duration::from_millis(700);
/// Doors that are a loop over what a smaller one does.
const REPEATED: [&str; 1] = ["opaque login 32"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", name, round] => child(name, round.parse().unwrap()),
        ["--shared-child", name, samples] => shared_child(name, samples.parse().unwrap()),
        ["--shared", name] => shared(name),
        _ => parent(words.iter().copied().find(|word| !word.starts_with("--"))),
    }
}

// ---- in the child, which measures one door

/// What the child measures: dudect takes functions, and these take nothing.
static MEASURED: OnceLock<(Door, u64)> = OnceLock::new();

fn child(name: &str, round: u64) -> ExitCode {
    let door = Door::named(name).or_else(|| Some(leak()).filter(|leak| leak.name == name)).expect("a door");
    assert!(MEASURED.set((door, round)).is_ok());
    let bench = BenchMetadata { name: BenchName("door"), seed: Some(round), benchfn: measure };
    run_benches_console(BenchOpts::default(), vec![bench]).unwrap();
    ExitCode::SUCCESS
}

fn measure(runner: &mut CtRunner, random: &mut BenchRng) {
    let (door, round) = MEASURED.get().unwrap();
    let mut number = 2_000_000 * (1 + round);
    // Made ready anew for each sample, so that both classes lie in the same places: how a piece of memory is aligned
    // shows in the time of a copy, and would tell one class from the other.
    let mut sample = |runner: &mut CtRunner, right: bool| {
        number += 1;
        let (class, secrets) = if right { (Class::Right, number) } else { (Class::Left, 1_000_000 + round) };
        runner.run_one(class, door.ready(Secrets::new(Kind::Random(secrets))));
    };
    let (begun, few) = (Instant::now(), 20);
    (0..few).for_each(|it| sample(&mut CtRunner::default(), it % 2 == 0));
    let samples = match std::env::var("SAMPLES") {
        Ok(samples) => samples.parse().expect("SAMPLES is a number"),
        Err(_) => {
            let one = begun.elapsed().as_secs_f64() / f64::from(few);
            ((A_WHILE.as_secs_f64() / one) as usize).clamp(2_000, 50_000)
        }
    };
    (0..samples).for_each(|_| sample(runner, random.random()));
}

// ---- what the halves of many samples share

/// Secrets that are gone through.
const SECRETS: usize = 32;

/// Prints the mean time of a door, the standard deviation of what each secret adds to it, and the correlation of the halves.
fn shared_child(name: &str, samples: usize) -> ExitCode {
    let door = Door::named(name).or_else(|| Some(leak()).filter(|leak| leak.name == name)).expect("a door");
    let mut numbers = Secrets::new(Kind::Random(7));
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let secret = usize::from(numbers.bytes::<1>()[0]) % SECRETS;
        let ready = door.ready(Secrets::new(Kind::Random(1_000_000 + secret as u64)));
        let begun = Instant::now();
        ready();
        times.push((secret, begun.elapsed().as_nanos() as f64));
    }
    // What takes longest was interrupted: of each secret its own, or one that is always slow would be left out.
    let means = |half: &[(usize, f64)]| -> Vec<f64> {
        let mean = |secret| {
            let mut of: Vec<f64> = half.iter().filter(|(it, _)| *it == secret).map(|(_, time)| *time).collect();
            of.sort_unstable_by(f64::total_cmp);
            of.truncate((of.len() * 85 / 100).max(1));
            of.iter().sum::<f64>() / of.len() as f64
        };
        (0..SECRETS).map(mean).collect()
    };
    let (first, second) = times.split_at(samples / 2);
    let (first, second) = (means(first), means(second));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let both = |a: &[f64], b: &[f64]| {
        let (mean_a, mean_b) = (mean(a), mean(b));
        mean(&a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).collect::<Vec<_>>())
    };
    let covariance = both(&first, &second);
    let correlation = covariance / (both(&first, &first) * both(&second, &second)).sqrt();
    let own = covariance.max(0.0).sqrt();
    println!("{:.0} ns, of which secrets make {own:.2} ns; the halves correlate by {correlation:.2}", mean(&first));
    ExitCode::SUCCESS
}

fn shared(name: &str) -> ExitCode {
    let samples = std::env::var("SAMPLES").unwrap_or_else(|_| "40000".to_owned());
    for backend in Backend::all().iter().map(|backend| backend.name()) {
        for longer in (0..3000).step_by(250) {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--shared-child", name, &samples])
                .env("STRONGROOM_BACKEND", backend)
                .env("PLACE", "x".repeat(longer))
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            assert!(output.status.success());
            print!("{backend:<9} {name}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
    ExitCode::SUCCESS
}

/// A comparison that stops at the first byte that differs: of the fixed secret with itself, it sees all.
fn leak() -> Door {
    Door::new("control: an early exit", |secrets| {
        let fixed = Secrets::new(Kind::Random(1_000_000)).bytes::<256>();
        let again = Secrets::new(Kind::Random(1_000_001)).bytes::<256>();
        let secret = secrets.bytes::<256>();
        Box::new(move || {
            for one in [&fixed, &again] {
                for _ in 0..4 {
                    black_box(one.iter().zip(black_box(&secret)).all(|(a, b)| black_box(a) == b));
                }
            }
        })
    })
}

// ---- the parent

fn parent(word: Option<&str>) -> ExitCode {
    if cfg!(debug_assertions) {
        println!("time: only of the release build, since it is what ships: cargo test --release --test timing");
        return ExitCode::SUCCESS;
    }
    let (begun, mut failed, mut count) = (Instant::now(), 0, 0);
    for backend in Backend::all().iter().map(|backend| backend.name()) {
        for (door, leaks) in doors().into_iter().map(|door| (door, false)).chain([(leak(), true)]) {
            if REPEATED.contains(&door.name) || word.is_some_and(|word| !door.name.contains(word)) {
                continue;
            }
            let verdict = judge(backend, door.name, leaks);
            count += 1;
            failed += usize::from(verdict.is_err());
            let verdict = verdict.unwrap_or_else(|why| format!("FAILED: {why}"));
            println!("{backend:<9} {:<32} {verdict}", door.name);
        }
    }
    println!("\n{count} doors, {failed} failed, in {:.0} s", begun.elapsed().as_secs_f64());
    if failed == 0 && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures a door, and once more if time told its secrets apart.
fn judge(backend: &str, name: &str, leaks: bool) -> Result<String, String> {
    let first = t_of(backend, name, 0)?;
    if first.abs() <= BOUND {
        return if leaks { Err(format!("a leak is not found, |t| is {:.1}", first.abs())) } else { Ok(said(first)) };
    }
    let second = t_of(backend, name, 1)?;
    match (second.abs() <= BOUND, leaks) {
        (true, true) => Err(format!("a leak is not found twice, |t| is {:.1}", second.abs())),
        (true, false) => Ok(format!("{}, on fresh samples; before {:.1}", said(second), first.abs())),
        (false, true) => Ok(format!("found: |t| is {:.0} and {:.0}", first.abs(), second.abs())),
        (false, false) => Err(format!("|t| is {:.1}, and on fresh samples {:.1}", first.abs(), second.abs())),
    }
}

fn said(t: f64) -> String {
    format!("|t| is {:.1}", t.abs())
}

/// dudect's largest t over its cropped samples, out of what it prints.
fn t_of(backend: &str, name: &str, round: u64) -> Result<f64, String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--child", name, &round.to_string()])
        .env("STRONGROOM_BACKEND", backend)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let t = said.split("max t = ").nth(1).and_then(|rest| rest.split(',').next()?.trim().parse().ok());
    t.ok_or_else(|| format!("nothing was measured: {said}"))
}
