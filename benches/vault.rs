//! P7 and P8: a whole vault behind its queue, on this machine's disk.
//!
//! P7 holds recoveries through [`Queue::submit`] against the engine alone on as many cores: KE1s are made before the
//! clock starts, the halves of a recovery are timed apart, KE3s are made between. The engine does what a login and its
//! finish need, sealed records opened, over people of its own; the vault besides admits, charges, waits for the disk,
//! seals tickets and delivers secrets.
//!
//! P8 offers a tenth of that peak, at even times, and holds the latency of the first half against one durable commit of
//! as many charges as such a batch has, on the same journal, in turns.
//!
//! `cargo bench --bench vault` prints both; nothing else should be running. Every secret that comes back is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod world;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, PendingRecovery, Recovery, Terms};
use strongroom::engine;
use strongroom::journal::{Anchor, FileAnchor, Journal, Local};
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy};
use strongroom::opaque::{Ke3, login};
use strongroom::protocol::Reply;
use strongroom::secret::Secret;
use strongroom::vault::{Answer, Custody, Gathering, MemoryKeyStore, Queue, SystemClock, Vault};
use strongroom::wrap::MemoryRoot;
use world::World;

const KEY: [u8; 32] = [9; 32];

fn policy() -> Policy {
    // Windows that do not fill up.
    Policy { attempts_max: 64, lifetime_max: 4096, ..Policy::development() }
}

fn account(person: usize) -> AccountId {
    AccountId::derive("bench", &person.to_string())
}

fn code() -> Code {
    Code::new("1234 5678").unwrap()
}

fn reply(answer: Answer) -> Reply {
    answer.wait().unwrap()
}

/// A vault with people, behind its queue.
struct Served {
    journal: Arc<Local>,
    queue: Queue,
    people: usize,
}

impl Served {
    fn new(folder: &std::path::Path, people: usize) -> Self {
        let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.join("anchor")).unwrap());
        let journal = Local::create(folder.join("store"), policy(), &Secret::new([7; 32]), anchor).unwrap();
        let journal = Arc::new(journal);
        let custody = Custody::create(Box::new(MemoryRoot::new()), Box::new(MemoryKeyStore::new())).unwrap();
        let clock = Arc::new(SystemClock::new(policy().skew_max_s).unwrap());
        let vault = Vault::over(Box::new(Arc::clone(&journal)), clock, custody).unwrap();
        let queue = Queue::open(Arc::new(vault), Gathering::default()).unwrap();
        let served = Served { journal, queue, people };
        let begun = served.each(|person| Enrolment::start(&Terms::development(), account(person), code()).unwrap());
        let answers = served.ask(begun.iter().map(Enrolment::request)).0;
        let pending = begun.into_iter().zip(answers);
        let pending: Vec<_> =
            pending.map(|(it, answer)| it.finish(&answer.encode(), &Secret::new(KEY)).unwrap()).collect();
        let answers = served.ask(pending.iter().map(|it| it.request())).0;
        for (it, answer) in pending.iter().zip(answers) {
            it.done(&answer.encode()).unwrap();
        }
        served
    }

    fn each<T>(&self, make: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.people).map(make).collect()
    }

    /// Submits one request a person, all at once, and waits for all.
    fn ask<'a>(&self, requests: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Duration) {
        let requests: Vec<_> = requests.map(<[u8]>::to_vec).collect();
        let begun = Instant::now();
        let answers: Vec<_> = requests
            .into_iter()
            .enumerate()
            .map(|(person, request)| self.queue.submit(account(person), request))
            .collect();
        let replies = answers.into_iter().map(reply).collect();
        (replies, begun.elapsed())
    }

    fn start(&self) -> Vec<Recovery> {
        self.each(|person| Recovery::start(&Terms::development(), account(person), code()).unwrap())
    }

    /// A recovery of everyone: the time of both halves.
    fn recover(&self) -> Duration {
        let begun = self.start();
        let (replies, starts) = self.ask(begun.iter().map(Recovery::request));
        let pending = begun.into_iter().zip(replies);
        let pending: Vec<PendingRecovery> = pending.map(|(it, reply)| it.finish(&reply.encode()).unwrap()).collect();
        let (replies, finishes) = self.ask(pending.iter().map(PendingRecovery::request));
        for (it, reply) in pending.into_iter().zip(replies) {
            let key = it.open(&reply.encode()).unwrap();
            assert!(bool::from(key.ct_eq(&KEY)), "the key that was enrolled comes back");
        }
        starts + finishes
    }

    /// First halves at even times, so many a second: latencies from when each was due.
    fn trickle(&self, rate: f64) -> Vec<Duration> {
        let begun: Vec<_> = self.start().into_iter().map(|it| it.request().to_vec()).collect();
        let (sender, receiver) = channel::<(Instant, Answer)>();
        // A thread that sleeps is otherwise woken up to 50 us late, and what is due would be late before it is sent.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_timerslack(1).unwrap();
        std::thread::scope(|scope| {
            // Answers come in the order of the requests, near enough.
            let waiting = scope.spawn(move || {
                let latency = |(due, answer): (Instant, Answer)| {
                    assert!(matches!(reply(answer), Reply::RecoverStarted { .. }));
                    due.elapsed()
                };
                receiver.into_iter().map(latency).collect()
            });
            let first = Instant::now() + Duration::from_millis(5);
            for (person, request) in begun.into_iter().enumerate() {
                let due = first + Duration::from_secs_f64(person as f64 / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                sender.send((due, self.queue.submit(account(person), request))).unwrap();
            }
            drop(sender);
            waiting.join().unwrap()
        })
    }

    /// Durable commits of so many charges each.
    fn commits(&self, count: usize, charges: usize, from: u64) -> Vec<Duration> {
        let mut ke1 = from;
        let mut commit = || {
            let commands = (0..charges).map(|_| {
                ke1 += 1;
                let mut digest = [0xff; 16];
                digest[..8].copy_from_slice(&ke1.to_be_bytes());
                let current = KeyedDigest { key_number: 1, digest };
                Command::Charge {
                    account: account(ke1 as usize % self.people),
                    digests: Digests { current, previous: None },
                }
            });
            let commands = commands.collect();
            let begun = Instant::now();
            self.journal.commit(1, commands).unwrap();
            begun.elapsed()
        };
        (0..count).map(|_| commit()).collect()
    }

    /// Rows of the log.
    fn rows(&self) -> u64 {
        self.journal.read(&mut |_| ()).unwrap()
    }
}

/// Logins and their finishes by the engine alone, on every core: the time of both.
fn engine_alone(world: &World) -> Duration {
    let backend = engine::backend();
    let begun = Instant::now();
    let responses = world.logins(backend, world.people.len());
    let starts = begun.elapsed();
    let proofs = world.people.iter().zip(&responses).map(|(person, it)| Ke3::parse(&person.finish(&it.ke2).0).unwrap());
    let proofs: Vec<_> = proofs.collect();
    let items: Vec<_> = responses.iter().zip(&proofs).map(|(it, ke3)| (&*it.state, ke3)).collect();
    let begun = Instant::now();
    let keys = login::finish(&items);
    let finishes = begun.elapsed();
    assert!(keys.iter().all(Option::is_some), "every proof is right");
    starts + finishes
}

fn at(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3
}

fn main() {
    let testing = !std::env::args().any(|it| it == "--bench") || std::env::args().any(|it| it == "--test");
    let (people, rounds) = if testing { (256, 2) } else { (8192, 5) };
    if testing {
        println!("a short run, to see that all answers are right; its figures mean nothing");
    }
    let folder = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let (world, served) = (World::new(people), Served::new(folder.path(), people));

    let (mut ratios, mut peak) = (Vec::new(), 0.0_f64);
    for _ in 0..rounds {
        let (engine, vault) = (engine_alone(&world), served.recover());
        let rate = |time: Duration| people as f64 / time.as_secs_f64();
        println!("recoveries a second: engine alone {:.0}, vault {:.0}", rate(engine), rate(vault));
        ratios.push(rate(vault) / rate(engine));
        peak = peak.max(rate(vault));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "P7 {:.2} of the engine alone, on {} cores (at least 0.8)",
        ratios[ratios.len() / 2],
        rayon::current_num_threads()
    );

    let (mut latencies, mut commits) = (Vec::new(), Vec::new());
    for round in 0..rounds as u64 {
        let before = served.rows();
        latencies.extend(served.trickle(peak / 10.0));
        let batch = (people as u64).div_ceil((served.rows() - before).max(1)) as usize;
        let count = if testing { 20 } else { 500 };
        commits.extend(served.commits(count, batch, round << 32));
        println!("offered {:.0} a second: {batch} charges a commit", peak / 10.0);
    }
    for (name, share, most) in [("p50", 0.5, 0.5), ("p99", 0.99, 2.0)] {
        let (latency, commit) = (at(&mut latencies, share), at(&mut commits, share));
        let more = latency - commit;
        println!("P8 {name}: {latency:.2} ms, one commit {commit:.2} ms: {more:+.2} ms (at most +{most} ms)");
    }
    if testing {
        println!("Success");
    }
}
