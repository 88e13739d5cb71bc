//! P6: durable charges a second through the local journal, beside redb row updates on the same disk in the same run.
//!
//! Both make 1,024 charges durable a commit over the same accounts. Ours writes one log row, moves a file anchor and
//! applies; the peer updates 1,024 account rows of the same size with the same durability, which is what a journal
//! without a log would do. The peer is spared reading the rows, sealing them and anchoring them. Rounds are interleaved;
//! the counters are checked at the end, on the live journal and on one opened anew.
//!
//! Measure on a machine that has nothing else to do. A commit waits three times for the disk, some 150 us each; where
//! every core is busy, each of these wakes at the scheduler's next tick instead, 4 ms later, and both sides measure that.
//! `chrt -f 10` on the bench's program shows whether this is so.
//!
//! `cargo bench --bench journal` prints P6; test mode (`cargo test --benches`) runs everything small.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Dice, id, sealed};
use criterion::{Criterion, Throughput};
use redb::{Builder, Database, Durability, ReadableDatabase, TableDefinition};
use strongroom::journal::{Anchor, FileAnchor, Journal, Local};
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Verdict};
use strongroom::secret::Secret;
use strongroom::wire::Writer;

const BATCH: usize = 1024;
const ROWS: TableDefinition<'static, &'static [u8; 32], &'static [u8]> = TableDefinition::new("accounts");

fn policy() -> Policy {
    // Windows that do not fill up, so that every charge of the run changes a counter.
    Policy { attempts_max: 64, lifetime_max: 4096, ..Policy::development() }
}

/// Our journal, and what it must hold.
struct Ours {
    journal: Local,
    accounts: u64,
    dice: Dice,
    charged: HashMap<u64, u32>,
    ke1: u128,
}

impl Ours {
    fn new(folder: &Path, accounts: u64, anchor: Arc<dyn Anchor>) -> Self {
        let journal = Local::create(folder, policy(), &Secret::new([7; 32]), anchor).unwrap();
        let people: Vec<u64> = (0..accounts).collect();
        for people in people.chunks(BATCH) {
            let enrolments = people.iter().map(|person| Command::Enrol {
                account: id(*person),
                generation: 0,
                expiry_s: u64::MAX,
                finish: [1; 32],
                sealed: sealed(*person),
            });
            journal.commit(1, enrolments.collect()).unwrap();
        }
        journal.checkpoint().unwrap();
        Ours { journal, accounts, dice: Dice(1), charged: HashMap::new(), ke1: 0 }
    }

    fn batch(&mut self) -> Vec<Command> {
        (0..BATCH)
            .map(|_| {
                let person = self.dice.roll() % self.accounts;
                *self.charged.entry(person).or_default() += 1;
                self.ke1 += 1;
                let current = KeyedDigest { key_number: 1, digest: self.ke1.to_be_bytes() };
                Command::Charge { account: id(person), digests: Digests { current, previous: None } }
            })
            .collect()
    }

    /// One commit; the commands are made before the clock starts.
    fn round(&mut self) -> Duration {
        let commands = self.batch();
        let start = Instant::now();
        let receipts = self.journal.commit(2, commands).unwrap();
        let took = start.elapsed();
        assert!(receipts.iter().all(|receipt| matches!(receipt.verdict(), Verdict::Charged { again: false, .. })));
        took
    }

    fn check(&self, journal: &Local) {
        let looked = journal.read(&mut |state| {
            assert_eq!(state.len() as u64, self.accounts);
            for person in 0..self.accounts {
                let expected = self.charged.get(&person).copied().unwrap_or(0);
                assert_eq!(state.account(&id(person)).unwrap().spent(), expected, "a counter is wrong");
            }
        });
        looked.unwrap();
    }
}

/// Rows of accounts in redb, updated in place.
struct Peer {
    db: Database,
    accounts: u64,
    dice: Dice,
    charged: HashMap<u64, u32>,
    row: Vec<u8>,
}

impl Peer {
    /// `row` is the encoding of an account with a charge in its window.
    fn new(file: &Path, accounts: u64, row: Vec<u8>) -> Self {
        let db = Builder::new().create(file).unwrap();
        let mut peer = Peer { db, accounts, dice: Dice(1), charged: HashMap::new(), row };
        let people: Vec<u64> = (0..accounts).collect();
        people.chunks(100_000).for_each(|people| peer.update(people, |_| 0));
        peer
    }

    fn update(&mut self, people: &[u64], mut spent: impl FnMut(u64) -> u32) {
        let mut write = self.db.begin_write().unwrap();
        write.set_durability(Durability::Immediate).unwrap();
        write.set_two_phase_commit(true);
        {
            let mut table = write.open_table(ROWS).unwrap();
            for person in people {
                self.row[..4].copy_from_slice(&spent(*person).to_be_bytes());
                table.insert(&id(*person).0, self.row.as_slice()).unwrap();
            }
        }
        write.commit().unwrap();
    }

    fn round(&mut self) -> Duration {
        let people: Vec<u64> = (0..BATCH).map(|_| self.dice.roll() % self.accounts).collect();
        let mut charged = std::mem::take(&mut self.charged);
        let start = Instant::now();
        self.update(&people, |person| {
            let spent = charged.entry(person).or_default();
            *spent += 1;
            *spent
        });
        let took = start.elapsed();
        self.charged = charged;
        took
    }

    fn check(&self) {
        let table = self.db.begin_read().unwrap().open_table(ROWS).unwrap();
        for person in 0..self.accounts {
            let row = table.get(&id(person).0).unwrap().unwrap();
            let spent = self.charged.get(&person).copied().unwrap_or(0);
            assert_eq!(row.value()[..4], spent.to_be_bytes(), "a counter of the peer is wrong");
        }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn per_second(time: Duration) -> f64 {
    BATCH as f64 / time.as_secs_f64()
}

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (accounts, rounds) = if measuring { (100_000, 400) } else { (5_000, 10) };
    // Where cargo builds, which is a disk; a temporary folder may be memory.
    let target = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let folder = tempfile::tempdir_in(target).unwrap();
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.path().join("anchor")).unwrap());
    let store = folder.path().join("store");
    let mut ours = Ours::new(&store, accounts, anchor.clone());
    let row = {
        ours.round();
        let mut writer = Writer::default();
        let person = *ours.charged.keys().next().unwrap();
        ours.journal.read(&mut |state| state.account(&id(person)).unwrap().write(&mut writer)).unwrap();
        writer.finish()
    };
    let mut peer = Peer::new(&folder.path().join("rows.redb"), accounts, row);

    // Interleaved, one commit each; then the checkpoint that this many charges cost.
    let (mut our_times, mut peer_times): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (ours.round(), peer.round())).unzip();
    let log_time: Duration = our_times.iter().sum();
    let start = Instant::now();
    ours.journal.checkpoint().unwrap();
    let checkpoint = start.elapsed();
    ours.check(&ours.journal);
    peer.check();

    // Short, so that no window fills up and every charge changes a counter.
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_millis(1500));
    let mut criterion =
        Criterion::default().configure_from_args().sample_size(20).warm_up_time(warm_up).measurement_time(measurement);
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("charge 1024, durable", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| ours.round()).sum());
    });
    group.bench_function("redb rows 1024, durable", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| peer.round()).sum());
    });
    group.finish();
    criterion.final_summary();

    ours.check(&ours.journal);
    peer.check();
    // The counters once more, as the disk has them.
    let other: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.path().join("other")).unwrap());
    let empty = Local::create(folder.path().join("empty"), policy(), &Secret::new([7; 32]), other).unwrap();
    drop(std::mem::replace(&mut ours.journal, empty));
    let start = Instant::now();
    let reopened = Local::open(&store, &policy(), &Secret::new([7; 32]), anchor).unwrap();
    let opened = start.elapsed();
    ours.check(&reopened);
    if measuring {
        let (ours, peer) = (median(&mut our_times), median(&mut peer_times));
        let with_checkpoint = (log_time + checkpoint) / rounds;
        println!(
            "charges a second: journal {:.0}, {:.0} with the checkpoint of {:.0} ms spread over {rounds} commits; redb rows {:.0}",
            per_second(ours),
            per_second(with_checkpoint),
            checkpoint.as_secs_f64() * 1e3,
            per_second(peer),
        );
        println!("opened again, every account and row proved, in {:.0} ms", opened.as_secs_f64() * 1e3);
        println!("one commit of {BATCH}: journal {:.0} us, redb rows {:.0} us", micros(ours), micros(peer));
        println!("P6 {:.1}x (at least 5x)", peer.as_secs_f64() / ours.as_secs_f64());
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
