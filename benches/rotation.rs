//! What an epoch's turn costs the people who come meanwhile: recoveries a second through the queue, before, while every
//! record is sealed anew at the default pace, and after.
//!
//! `cargo bench --bench rotation -- --records 1000000` takes a quarter of an hour and some four gigabytes of disk; nothing
//! else should be running. Every key that comes back is checked, and a request that is refused ends the run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, PendingEnrolment, PendingRecovery, Recovery, Terms};
use strongroom::journal::{FileAnchor, Journal, Local};
use strongroom::ledger::{Command, Policy, Verdict};
use strongroom::secret::Secret;
use strongroom::vault::{Custody, Gathering, MemoryKeyStore, Pace, Queue, SystemClock, Turn, Vault};
use strongroom::wrap::{EpochKeys, MemoryRoot, Record, SealItem};

const KEY: [u8; 32] = [9; 32];
/// People who recover at once, a thread each so many.
const CROWD: usize = 128;
const THREADS: usize = 2;
const BATCH: usize = 4000;

fn policy() -> Policy {
    Policy { attempts_max: 64, lifetime_max: 4096, ..Policy::development() }
}

fn person(number: usize) -> AccountId {
    AccountId::derive("people", &number.to_string())
}

fn code() -> Code {
    Code::new("1234 5678").unwrap()
}

fn main() {
    let words: Vec<_> = std::env::args().collect();
    let test = words.iter().any(|word| word == "--test");
    let after = words.iter().skip_while(|word| *word != "--records").nth(1);
    let records = after.map_or(if test { 4000 } else { 1_000_000 }, |word| word.parse().expect("a number of records"));
    let rest = if test { Duration::from_millis(300) } else { Duration::from_secs(60) };

    let folder = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let (vault, queue) = open(folder.path(), records);
    println!("{records} records, {} people who recover all the time", THREADS * CROWD);
    let load = Load::default();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (load, queue) = (&load, &queue);
            scope.spawn(move || load.run(queue, thread * CROWD..(thread + 1) * CROWD));
        }
        let before = load.during(|| thread::sleep(rest));
        let epoch = vault.rotate(Turn::Epoch).unwrap();
        let mut moved = 0;
        let begun = Instant::now();
        let meanwhile = load.during(|| {
            moved = vault.rewrap(Pace::default()).run(|_| {}).unwrap().done;
            assert_eq!(vault.retire_epochs().unwrap(), epoch);
        });
        let took = begun.elapsed();
        let after = load.during(|| thread::sleep(rest));
        load.over.store(true, Ordering::Relaxed);
        assert!(moved as usize >= records, "every record is moved");
        vault.read(&mut |state| assert_eq!(state.records_by_epoch().len(), 1)).unwrap();
        println!(
            "{moved} records moved in {:.1} s, {:.0} a second",
            took.as_secs_f64(),
            moved as f64 / took.as_secs_f64()
        );
        println!("recoveries a second: {before:.0} before, {meanwhile:.0} meanwhile, {after:.0} after");
        let ratio = meanwhile / ((before + after) / 2.0);
        println!("meanwhile / mean of before and after: {ratio:.3}{}", if test { " (no measurement)" } else { "" });
    });
    println!("no request was refused");
    println!("Success");
}

/// A vault with people of its own among many records, and its queue.
fn open(folder: &Path, records: usize) -> (Arc<Vault>, Queue) {
    let root = Arc::new(MemoryRoot::new());
    let custody = Custody::create(Box::new(root.clone()), Box::new(MemoryKeyStore::new())).unwrap();
    let anchor = Arc::new(FileAnchor::create(folder.join("anchor")).unwrap());
    let journal = Local::create(folder.join("journal"), policy(), &custody.journal_key(), anchor).unwrap();
    let journal = Arc::new(journal);
    // Records that nobody asks for, sealed as the vault seals them.
    let epochs = EpochKeys::load(&root, 1).unwrap();
    let record = Record::new(&[1; 32], 1, &[2; 192], &[3; 72]).unwrap();
    let ids: Vec<_> = (0..records).map(|number| AccountId::derive("records", &number.to_string())).collect();
    for ids in ids.chunks(BATCH) {
        let items: Vec<_> =
            ids.iter().map(|account| SealItem { account, generation: 1, key_number: 1, record: &record }).collect();
        let enrol = |(id, sealed): (&AccountId, Result<_, _>)| Command::Enrol {
            account: *id,
            generation: 0,
            expiry_s: u64::MAX,
            finish: [4; 32],
            sealed: Result::unwrap(sealed),
        };
        let commands = ids.iter().zip(epochs.seal(&items)).map(enrol).collect();
        let receipts = journal.commit(1, commands).unwrap();
        assert!(receipts.iter().all(|receipt| matches!(receipt.verdict(), Verdict::Enrolled { .. })));
    }
    journal.checkpoint().unwrap();
    let clock = Arc::new(SystemClock::new(policy().skew_max_s).unwrap());
    let vault = Arc::new(Vault::over(Box::new(journal), clock, custody).unwrap());
    let queue = Queue::open(Arc::clone(&vault), Gathering::default()).unwrap();
    let people = 0..THREADS * CROWD;
    let begun: Vec<_> =
        people.map(|number| Enrolment::start(&Terms::development(), person(number), code()).unwrap()).collect();
    let replies = ask(&queue, 0, begun.iter().map(Enrolment::request));
    let pending: Vec<_> =
        begun.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply, &Secret::new(KEY)).unwrap()).collect();
    let replies = ask(&queue, 0, pending.iter().map(PendingEnrolment::request));
    for (it, reply) in pending.iter().zip(&replies) {
        it.done(reply).unwrap();
    }
    (vault, queue)
}

/// Requests of people from a number on, and the replies' bytes.
fn ask<'a>(queue: &Queue, first: usize, requests: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let answers: Vec<_> =
        (first..).zip(requests).map(|(number, it)| queue.submit(person(number), it.to_vec())).collect();
    answers.into_iter().map(|answer| answer.wait().unwrap().encode()).collect()
}

/// What a crowd does, and how often.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    recovered: AtomicU64,
}

impl Load {
    fn run(&self, queue: &Queue, people: std::ops::Range<usize>) {
        let first = people.start;
        while !self.over.load(Ordering::Relaxed) {
            let begun: Vec<_> = people
                .clone()
                .map(|number| Recovery::start(&Terms::development(), person(number), code()).unwrap())
                .collect();
            let replies = ask(queue, first, begun.iter().map(Recovery::request));
            let pending: Vec<_> = begun.iter().zip(&replies).map(|(it, reply)| it.finish(reply).unwrap()).collect();
            let replies = ask(queue, first, pending.iter().map(PendingRecovery::request));
            for (it, reply) in pending.iter().zip(&replies) {
                assert!(bool::from(it.open(reply).unwrap().ct_eq(&KEY)), "another key");
            }
            self.recovered.fetch_add(people.len() as u64, Ordering::Relaxed);
        }
    }

    /// Recoveries a second while something happens.
    fn during(&self, happens: impl FnOnce()) -> f64 {
        let (before, begun) = (self.recovered.load(Ordering::Relaxed), Instant::now());
        happens();
        (self.recovered.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
    }
}
