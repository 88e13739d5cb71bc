//! Seal, open and rewrap records, beside aes-gcm-siv one by one with as much plaintext and a key of its own a record.
//!
//! The peer gets its keys for nothing and commits to none of them; ours are derived from the epoch key, with a
//! commitment. First both are held against each other, then timed in turn in the same run and their ratio printed, then
//! measured by criterion.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use criterion::{BenchmarkId, Criterion, Throughput};
use rayon::{ThreadPool, ThreadPoolBuilder};
use strongroom::account::AccountId;
use strongroom::limits::CHUNK;
use strongroom::secret::Secret;
use strongroom::wrap::{EpochKeys, OpenItem, PLAIN_LEN, Record, SealItem, Sealed};

const SIZES: [usize; 3] = [1, 32, 1024];
/// As long as what our records authenticate beside themselves.
const ASSOCIATED: [u8; 49] = [5; 49];

/// As many records as a batch has, in every state that the three jobs need.
struct Ours {
    keys: EpochKeys,
    accounts: Vec<AccountId>,
    records: Vec<Record>,
    sealed: Vec<Sealed>,
}

impl Ours {
    fn new(size: usize) -> Self {
        let accounts: Vec<_> = (0..size).map(|index| AccountId::derive("bench", &index.to_string())).collect();
        let records: Vec<_> = (0..size).map(|index| record(index as u8)).collect();
        let mut ours = Ours { keys: EpochKeys::new(1, &Secret::new([1; 64])), accounts, records, sealed: Vec::new() };
        ours.sealed = ours.seal();
        ours.keys.insert(2, &Secret::new([2; 64])).expect("not held yet");
        ours.keys.name_newest(2).expect("held");
        ours
    }

    fn seal(&self) -> Vec<Sealed> {
        let items: Vec<_> = self
            .accounts
            .iter()
            .zip(&self.records)
            .map(|(account, record)| SealItem { account, generation: 1, key_number: 1, record })
            .collect();
        self.keys.seal(&items).into_iter().map(|sealed| sealed.expect("sealed")).collect()
    }

    fn items(&self) -> Vec<OpenItem<'_>> {
        let item = |(account, sealed)| OpenItem { account, generation: 1, sealed };
        self.accounts.iter().zip(&self.sealed).map(item).collect()
    }

    fn open(&self) -> Vec<Record> {
        self.keys.open(&self.items()).into_iter().map(|record| record.expect("opened")).collect()
    }

    fn rewrap(&self) -> Vec<Sealed> {
        self.keys.rewrap(&self.items()).into_iter().map(|sealed| sealed.expect("rewrapped")).collect()
    }
}

fn record(number: u8) -> Record {
    Record::new(&[number; 32], 1, &[number; 192], &[number; 100]).expect("a short secret")
}

/// The same work by aes-gcm-siv, record by record.
struct Peer {
    keys: Vec<[u8; 32]>,
    plain: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
}

impl Peer {
    fn new(size: usize) -> Self {
        let key = |index: usize| {
            let mut key = [7; 32];
            key[..8].copy_from_slice(&index.to_be_bytes());
            key
        };
        let keys = (0..size).map(key).collect();
        let plain = (0..size).map(|index| record(index as u8).encode().to_vec()).collect();
        let mut peer = Peer { keys, plain, sealed: Vec::new() };
        peer.sealed = peer.seal();
        peer
    }

    fn seal_one(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).expect("randomness");
        let payload = Payload { msg: plain, aad: &ASSOCIATED };
        let ciphertext = Aes256GcmSiv::new(key.into()).encrypt((&nonce).into(), payload).expect("sealed");
        [&nonce[..], &ciphertext].concat()
    }

    fn open_one(key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<12>().expect("a nonce");
        let payload = Payload { msg: ciphertext, aad: &ASSOCIATED };
        Aes256GcmSiv::new(key.into()).decrypt(nonce.into(), payload).expect("opened")
    }

    fn seal(&self) -> Vec<Vec<u8>> {
        self.keys.iter().zip(&self.plain).map(|(key, plain)| Self::seal_one(key, plain)).collect()
    }

    fn open(&self) -> Vec<Vec<u8>> {
        self.keys.iter().zip(&self.sealed).map(|(key, sealed)| Self::open_one(key, sealed)).collect()
    }

    fn rewrap(&self) -> Vec<Vec<u8>> {
        let again = |(key, sealed): (&[u8; 32], &Vec<u8>)| Self::seal_one(key, &Self::open_one(key, sealed));
        self.keys.iter().zip(&self.sealed).map(again).collect()
    }
}

/// Both open to the same plaintexts, whatever was sealed or rewrapped.
fn check(ours: &mut Ours, peer: &mut Peer) {
    let right = |opened: &[Record], peers: &[Vec<u8>]| {
        assert_eq!(opened.len(), peers.len());
        assert!(opened.iter().zip(peers).all(|(ours, theirs)| ours.encode()[..] == theirs[..]));
    };
    right(&ours.open(), &peer.open());
    let (sealed, theirs) = (ours.rewrap(), peer.rewrap());
    assert!(sealed.iter().all(|sealed| sealed.header().epoch == 2));
    let (before, before_theirs) =
        (std::mem::replace(&mut ours.sealed, sealed), std::mem::replace(&mut peer.sealed, theirs));
    right(&ours.open(), &peer.open());
    (ours.sealed, peer.sealed) = (before, before_theirs);
    assert!(peer.plain.iter().all(|plain| plain.len() == PLAIN_LEN));
}

/// Median time of each, taken in turn and in short samples, so that what disturbs one disturbs the other.
fn medians<const N: usize>(rounds: usize, repeat: usize, jobs: [&dyn Fn(); N]) -> [Duration; N] {
    let mut times = [(); N].map(|()| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (job, times) in jobs.iter().zip(&mut times) {
            let start = Instant::now();
            (0..repeat).for_each(|_| job());
            times.push(start.elapsed() / repeat as u32);
        }
    }
    times.map(|mut times| {
        times.sort();
        times[rounds / 2]
    })
}

/// Runs on the one thread of its pool, so that what is alone is alone; a batch of one task has no use for a second.
fn ratios(two: &ThreadPool, quick: bool) {
    println!("job     records   ours, 1 thread   2 threads   aes-gcm-siv   ratio on 1   on 2");
    for size in SIZES {
        let (mut ours, mut peer) = (Ours::new(size), Peer::new(size));
        check(&mut ours, &mut peer);
        let (rounds, repeat) = if quick { (1, 1) } else { (301, (64 / size).max(1)) };
        let line = |name: &str, ours: &(dyn Fn() + Sync), peer: &dyn Fn()| {
            let pair = || {
                if size > CHUNK {
                    two.install(ours)
                }
            };
            let per_record =
                medians(rounds, repeat, [ours, &pair, peer]).map(|time| time.as_secs_f64() * 1e6 / size as f64);
            let [alone, pair, theirs] = per_record;
            print!("{name:<7} {size:>7}   {alone:>11.2} us");
            if size > CHUNK {
                println!("   {pair:>6.2} us   {theirs:>8.2} us   {:>10.2}   {:>4.2}", theirs / alone, theirs / pair);
            } else {
                println!("   {:>9}   {theirs:>8.2} us   {:>10.2}   {:>4}", "-", theirs / alone, "-");
            }
        };
        line("seal", &|| drop(black_box(ours.seal())), &|| drop(black_box(peer.seal())));
        line("open", &|| drop(black_box(ours.open())), &|| drop(black_box(peer.open())));
        line("rewrap", &|| drop(black_box(ours.rewrap())), &|| drop(black_box(peer.rewrap())));
    }
}

fn measure(criterion: &mut Criterion, one: &ThreadPool, two: &ThreadPool) {
    for name in ["seal", "open", "rewrap"] {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let (mut ours, mut peer) = (Ours::new(size), Peer::new(size));
            check(&mut ours, &mut peer);
            group.throughput(Throughput::Elements(size as u64));
            let run = || match name {
                "seal" => drop(black_box(ours.seal())),
                "open" => drop(black_box(ours.open())),
                _ => drop(black_box(ours.rewrap())),
            };
            for (threads, pool) in [("ours, 1 thread", one), ("ours, 2 threads", two)] {
                group.bench_function(BenchmarkId::new(threads, size), |bench| pool.install(|| bench.iter(run)));
            }
            group.bench_function(BenchmarkId::new("aes-gcm-siv", size), |bench| match name {
                "seal" => bench.iter(|| peer.seal()),
                "open" => bench.iter(|| peer.open()),
                _ => bench.iter(|| peer.rewrap()),
            });
        }
        group.finish();
    }
}

fn main() {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let (one, two) = (pool(1), pool(2));
    // What `cargo test --benches` and `cargo bench -- --test` ask for: that it runs, not how fast.
    let quick = !std::env::args().any(|argument| argument == "--bench")
        || std::env::args().any(|argument| argument == "--test");
    one.install(|| ratios(&two, quick));
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    measure(&mut criterion, &one, &two);
    criterion.final_summary();
}
