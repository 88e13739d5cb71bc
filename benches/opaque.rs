//! Registration (request to response) and login (KE1 to KE2), wire to wire, ours and opaque-ke 4.0.1 in one run.
//!
//! Ours is what a vault does with a batch: open the sealed records, parse, choose between record and fake, answer with
//! randomness from the operating system. The peer's is its own server, one message after another, over the same keys,
//! records and bytes; its records are not sealed and its randomness comes from a counter, which costs nothing, so what
//! it is charged for is its arithmetic. Both are compiled as cargo does by default. With two threads each has its
//! messages spread over the same rayon pool.
//!
//! Every answer is checked with a real client before anything is timed, on every backend of the machine. After
//! criterion's own report the targets are printed, each from an interleaved measurement: one round of ours, one of the
//! peer's, and the first deciles of the rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stack;
mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use stack::at_place;
use strongroom::engine::{self, Backend};
use strongroom::limits::CHUNK;
use world::{World, pool};

const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1024];
const THREADS: [usize; 2] = [1, 2];
fn criterion_groups(criterion: &mut Criterion, world: &World) {
    let backend = engine::backend();
    for threads in THREADS {
        let pool = pool(threads);
        let plural = if threads == 1 { "thread" } else { "threads" };
        let mut group = criterion.benchmark_group(format!("registration, {threads} {plural}"));
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("strongroom", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.registrations(backend, size))));
            });
            group.bench_function(BenchmarkId::new("opaque-ke", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.peer_registrations(size))));
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group(format!("login, {threads} {plural}"));
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("strongroom", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.logins(backend, size))));
            });
            group.bench_function(BenchmarkId::new("opaque-ke", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.peer_logins(size))));
            });
        }
        group.finish();
    }
}

/// How long each of two works takes on a batch, in microseconds an item.
struct Pair {
    ours: f64,
    peer: f64,
}

impl Pair {
    /// The two take turns, round by round; of each the first decile of the rounds counts, since what other programs take
    /// away from a round is not ours to measure, and a busy machine interrupts the longer rounds of the two more often.
    fn interleaved<A, B>(milliseconds: usize, size: usize, ours: impl Fn() -> A, peer: impl Fn() -> B) -> Pair {
        fn timed<T>(round: usize, size: usize, work: impl Fn() -> T) -> f64 {
            // Small batches are repeated, so that a clock tick or an interrupt is no large part of a round.
            let repeats = (16 / size).max(1);
            let start = Instant::now();
            at_place(round, &mut || {
                for _ in 0..repeats {
                    black_box(work());
                }
            });
            start.elapsed().as_secs_f64() * 1e6 / (repeats * size) as f64
        }
        fn decile(times: impl Iterator<Item = f64>) -> f64 {
            let mut times: Vec<f64> = times.collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 10]
        }
        black_box((ours(), peer()));
        // About half a millisecond for both works on an item, on any machine that this is run on.
        let rounds = (2 * milliseconds / size.max(16)).max(1);
        let times: Vec<[f64; 2]> =
            (0..rounds).map(|round| [timed(round, size, &ours), timed(round, size, &peer)]).collect();
        let [ours, peer] = [0, 1].map(|which| decile(times.iter().map(|times| times[which])));
        Pair { ours, peer }
    }

    /// How many times as fast ours is.
    fn ratio(&self) -> f64 {
        self.peer / self.ours
    }
}

impl World {
    /// Registrations on this pool, beside the peer's.
    fn registration_pair(&self, backend: Backend, size: usize, milliseconds: usize) -> Pair {
        let (ours, peer) = (|| self.registrations(backend, size), || self.peer_registrations(size));
        Pair::interleaved(milliseconds, size, ours, peer)
    }

    /// Logins on this pool, beside the peer's.
    fn login_pair(&self, backend: Backend, size: usize, milliseconds: usize) -> Pair {
        let (ours, peer) = (|| self.logins(backend, size), || self.peer_logins(size));
        Pair::interleaved(milliseconds, size, ours, peer)
    }

    /// Logins on two threads, beside the same on one.
    fn cores_pair(&self, backend: Backend, size: usize, milliseconds: usize) -> Pair {
        let [one, two] = [1, 2].map(pool);
        let on = |pool: &rayon::ThreadPool| pool.install(|| self.logins(backend, size));
        Pair::interleaved(milliseconds, size, || on(&two), || on(&one))
    }
}

fn print_table(world: &World, milliseconds: usize) {
    let backend = engine::backend();
    println!("\nfirst deciles of interleaved rounds, backend {}, microseconds an item", backend.name());
    println!("{:<14}{:>8}{:>8}{:>12}{:>12}{:>8}", "", "threads", "batch", "strongroom", "opaque-ke", "ratio");
    for threads in THREADS {
        let pool = pool(threads);
        for size in [1, 8, 32, 256, 1024] {
            let registration = pool.install(|| world.registration_pair(backend, size, milliseconds));
            let login = pool.install(|| world.login_pair(backend, size, milliseconds));
            for (name, pair) in [("registration", registration), ("login", login)] {
                let Pair { ours, peer } = pair;
                println!("{name:<14}{threads:>8}{size:>8}{ours:>12.1}{peer:>12.1}{:>7.2}x", pair.ratio());
            }
        }
    }
}

/// The targets that PERFORMANCE.md names. Sealed records are opened in every login of ours.
fn print_targets(world: &World, milliseconds: usize) {
    let all = Backend::all();
    let (chosen, fallback) = (engine::backend(), *all.last().expect("the fallback runs everywhere"));
    let line = |id, what, pair: Pair, against, least: f64, backend: Backend| {
        println!("{id:<3} {what}: {:.2}x {against} (at least {least}x), {}", pair.ratio(), backend.name());
    };
    let one = pool(1);
    println!();
    if all.len() == 1 {
        println!("LEFT OUT: lanes: not on this machine");
    } else if chosen == fallback {
        println!("lanes: not chosen");
    } else {
        let login = one.install(|| world.login_pair(chosen, CHUNK, milliseconds));
        let registration = one.install(|| world.registration_pair(chosen, CHUNK, milliseconds));
        let lone = one.install(|| world.login_pair(chosen, 1, milliseconds));
        line("P1", format!("login, batch of {CHUNK}, one thread"), login, "opaque-ke", 12.0, chosen);
        line("P2", format!("registration, batch of {CHUNK}, one thread"), registration, "opaque-ke", 9.5, chosen);
        line("P4", "one lone login".to_owned(), lone, "opaque-ke", 5.0, chosen);
    }
    let login = one.install(|| world.login_pair(fallback, CHUNK, milliseconds));
    line("P5", format!("login, batch of {CHUNK}, one thread"), login, "opaque-ke", 1.25, fallback);
    let cores = world.cores_pair(chosen, SIZES[8], milliseconds);
    line("P10", format!("login, batch of {}, two threads", SIZES[8]), cores, "one thread", 1.85, chosen);
}

fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let world = World::new(1024);
    for backend in Backend::all() {
        world.check(backend, if testing { 33 } else { 100 });
        println!("checked with real clients: {}", backend.name());
    }
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .nresamples(1000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    criterion_groups(&mut criterion, &world);
    criterion.final_summary();
    let milliseconds = if testing { 1 } else { 1500 };
    print_table(&world, milliseconds);
    print_targets(&world, milliseconds);
    if testing {
        println!("one round each, to see that it runs: no measurement");
    }
}
