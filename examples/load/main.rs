//! A crowd before the example server: people who enrol, recover, and mistype their codes.
//!
//! You will see: people enrolling; how many recoveries a second the server answers when as many as can be are on their
//! way; then steps of a share of that, offered at even times whether earlier ones are answered or not, with their
//! latencies; and at the end an HTML report with plots. The exit status is not zero if any reply is not what it must be.
//!
//! ```text
//! cargo run --release --example http_server -- --folder vault-for-a-try
//! cargo run --release --example load -- --folder vault-for-a-try        # in another terminal
//! ```
//!
//! Codes are not stretched and KE1s are made before the clock runs, but proofs are made while it does, on the same
//! machine as the server: the server alone would do better. A latency counts from when a request was due, not from when
//! it was sent, so that a slow server does not hide behind a waiting client.
#![allow(clippy::expect_used)] // An example stops where something is not as told.

#[path = "../front/mod.rs"]
mod front;
mod people;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use ed25519_dalek::SigningKey;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use people::{Crowd, Met, Person, Prepared};
use report::Step;
use tokio::sync::Semaphore;

/// Shares of the peak that are offered, in per cent.
const SHARES: [u32; 8] = [5, 10, 25, 50, 70, 85, 95, 110];

/// A crowd before the example server.
#[derive(Parser)]
struct Arguments {
    /// The server's folder, where the key lies that tokens are signed with.
    #[arg(long)]
    folder: PathBuf,
    /// Where the server listens.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    server: String,
    /// People who enrol first.
    #[arg(long, default_value_t = 500)]
    people: usize,
    /// Seconds of each step.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Codes that are mistyped, in per cent.
    #[arg(long, default_value_t = 10)]
    wrong: u64,
    /// Requests on their way at once, at most.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Where the report goes.
    #[arg(long, default_value = "load.html")]
    report: PathBuf,
    /// Where two of its plots go as a picture, if anywhere.
    #[arg(long)]
    picture: Option<PathBuf>,
}

/// What a step has seen so far. Latencies in microseconds.
struct Seen {
    starts: std::sync::Mutex<Histogram<u64>>,
    finishes: std::sync::Mutex<Histogram<u64>>,
    met: [AtomicU64; Met::ALL.len()],
}

impl Seen {
    fn new() -> Result<Self, Box<dyn Error>> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).map(std::sync::Mutex::new);
        Ok(Seen { starts: histogram()?, finishes: histogram()?, met: Default::default() })
    }

    fn count(&self, met: Met) -> u64 {
        self.met[met as usize].load(Ordering::Relaxed)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let key = std::fs::read(arguments.folder.join("admission.key"))?;
    let key = SigningKey::from_bytes(key.as_slice().try_into()?);
    let crowd = Arc::new(Crowd::new(&arguments.server, key)?);

    let people = enrol(&crowd, &arguments).await?;
    let wrong = arguments.wrong;
    let peak = closed(&crowd, &people, &arguments).await?;
    println!("peak: {peak:.0} recoveries a second, {wrong} in a hundred with a wrong code\n");

    println!(
        "{:>9} {:>9} {:>7} {:>9} {:>9} {:>9}  busy",
        "offered/s", "done/s", "batch", "p50 ms", "p99 ms", "p99.9 ms"
    );
    let mut steps = Vec::new();
    for share in SHARES {
        let step = open(&crowd, &people, peak * f64::from(share) / 100.0, &arguments).await?;
        println!(
            "{:>9.0} {:>9.0} {:>7.1} {:>9.2} {:>9.2} {:>9.2}  {}",
            step.offered, step.done, step.batch, step.start.p50, step.start.p99, step.start.p999, step.busy
        );
        steps.push(step);
    }
    let picture = arguments.picture.as_deref();
    report::write(&arguments.report, picture, peak, wrong, arguments.people, &steps)?;
    println!("\nthe report is in {}", arguments.report.display());
    Ok(())
}

fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<28} {bar:40} {pos}/{len}").expect("a template");
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

async fn enrol(crowd: &Arc<Crowd>, arguments: &Arguments) -> Result<Arc<Vec<Person>>, Box<dyn Error>> {
    let bar = bar(arguments.people as u64, "people enrol");
    let room = Arc::new(Semaphore::new(64));
    let mut tasks = Vec::new();
    for number in 0..arguments.people {
        let (crowd, room, bar) = (crowd.clone(), room.clone(), bar.clone());
        tasks.push(tokio::spawn(async move {
            let _place = room.acquire().await.expect("never closed");
            let person = Person::enrol(&crowd, number).await?;
            bar.inc(1);
            Ok::<_, String>(person)
        }));
    }
    let mut people = Vec::with_capacity(tasks.len());
    for task in tasks {
        people.push(task.await??);
    }
    bar.finish_and_clear();
    println!("{} people enrolled", people.len());
    Ok(Arc::new(people))
}

/// Recoveries a second with as many as may be on their way.
async fn closed(crowd: &Arc<Crowd>, people: &Arc<Vec<Person>>, arguments: &Arguments) -> Result<f64, Box<dyn Error>> {
    let seen = Arc::new(Seen::new()?);
    let workers = arguments.connections.min(128);
    let bar = bar(arguments.seconds, "as many as can be");
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let (crowd, people, seen, wrong) = (crowd.clone(), people.clone(), seen.clone(), arguments.wrong);
            tokio::spawn(async move {
                let mut number = worker;
                while Instant::now() < until {
                    let person = &people[number % people.len()];
                    let prepared = person.prepare(is_wrong(number, wrong))?;
                    one(&crowd, person, prepared, Instant::now(), &seen).await?;
                    number += workers;
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    for second in 0..arguments.seconds {
        tokio::time::sleep_until((begun + Duration::from_secs(second + 1)).into()).await;
        bar.inc(1);
    }
    for task in tasks {
        task.await??;
    }
    bar.finish_and_clear();
    Ok((seen.count(Met::Recovered) + seen.count(Met::WrongCode)) as f64 / begun.elapsed().as_secs_f64())
}

/// A step at an even rate, whether the server keeps up or not.
async fn open(
    crowd: &Arc<Crowd>,
    people: &Arc<Vec<Person>>,
    rate: f64,
    arguments: &Arguments,
) -> Result<Step, Box<dyn Error>> {
    let count = ((rate * arguments.seconds as f64) as usize).max(1);
    let prepared: Result<Vec<_>, _> =
        (0..count).map(|number| people[number % people.len()].prepare(is_wrong(number, arguments.wrong))).collect();
    let seen = Arc::new(Seen::new()?);
    let bar = bar(count as u64, &format!("{rate:.0} a second"));
    let before = crowd.batches().await?;
    let begun = Instant::now();
    // The runtime's timers tick once a millisecond; a thread that sleeps is on time within some 60 us.
    let (crowd_too, people, seen_too, prepared) = (crowd.clone(), people.clone(), seen.clone(), prepared?);
    let (runtime, room, bar_too) =
        (tokio::runtime::Handle::current(), Arc::new(Semaphore::new(arguments.connections)), bar.clone());
    let send_all = move || {
        let send = |(number, prepared)| {
            let due = begun + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (crowd, people, seen) = (crowd_too.clone(), people.clone(), seen_too.clone());
            let (room, bar) = (room.clone(), bar_too.clone());
            runtime.spawn(async move {
                let _place = room.acquire().await.expect("never closed");
                one(&crowd, &people[number % people.len()], prepared, due, &seen).await?;
                bar.inc(1);
                Ok::<_, String>(())
            })
        };
        prepared.into_iter().enumerate().map(send).collect::<Vec<_>>()
    };
    for task in tokio::task::spawn_blocking(send_all).await? {
        task.await??;
    }
    let took = begun.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let (batches, requests) = crowd.batches().await?;
    let met = |met| seen.count(met);
    let starts = seen.starts.lock().expect("no panic holds it");
    let finishes = seen.finishes.lock().expect("no panic holds it");
    Ok(Step {
        offered: rate,
        done: (met(Met::Recovered) + met(Met::WrongCode)) as f64 / took,
        batch: (requests - before.1) / (batches - before.0).max(1.0),
        start: report::Latency::of(&starts),
        finish: report::Latency::of(&finishes),
        recovered: met(Met::Recovered),
        wrong: met(Met::WrongCode),
        busy: met(Met::Busy),
    })
}

/// Whether the code of this recovery is mistyped: evenly among all, by the finish of splitmix64.
fn is_wrong(number: usize, wrong: u64) -> bool {
    let mut mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % 100 < wrong
}

/// One recovery, and what came of it.
async fn one(crowd: &Crowd, person: &Person, prepared: Prepared, due: Instant, seen: &Seen) -> Result<(), String> {
    let recovery = person.recover(crowd, prepared, due).await?;
    let micros = |latency: Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
    seen.starts.lock().expect("no panic holds it").saturating_record(micros(recovery.start));
    if let Some(finish) = recovery.finish {
        seen.finishes.lock().expect("no panic holds it").saturating_record(micros(finish));
    }
    seen.met[recovery.met as usize].fetch_add(1, Ordering::Relaxed);
    Ok(())
}
