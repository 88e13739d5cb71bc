//! Opening of a batch of sealed requests, ours on the engine's lanes and the `hpke` crate one by one, in one run.
//!
//! Both open the same bytes on one thread: X-Wing, key schedule, ChaCha20-Poly1305, and the secret that the reply's key is
//! made of. The peer's private key is parsed before the clock starts. Every request is checked before anything is timed.
//! After criterion's report the target P11 is printed, from an interleaved measurement: one round of ours, one of the
//! peer's, and the first deciles of the rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, setup_receiver};
use strongroom::engine;
use strongroom::protocol::REQUEST_LEN;
use strongroom::secret::Secret;
use strongroom::session::{ChannelKeys, ENCAPSULATED_LEN};

const SIZES: [usize; 4] = [1, 8, 64, 256];
const SEED: [u8; 32] = [7; 32];
const HEADER_LEN: usize = 7;

/// A vault's keys on both sides, and requests.
struct World {
    keys: ChannelKeys,
    peer: <XWing as Kem>::PrivateKey,
    requests: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let keys = ChannelKeys::new((1, &Secret::new(SEED)), &[(4, [4; 32])]).unwrap();
        let request = |index: usize| keys.key().seal(&[index as u8; REQUEST_LEN]).unwrap().bytes().to_vec();
        let requests = (0..SIZES[SIZES.len() - 1]).map(request).collect();
        World { keys, peer: <XWing as Kem>::PrivateKey::from_bytes(&SEED).unwrap(), requests }
    }

    fn ours(&self, size: usize) -> Vec<Secret<Vec<u8>>> {
        let sealed: Vec<_> = self.requests[..size].iter().map(|it| &it[..]).collect();
        let opened = self.keys.open(&sealed, 0).into_iter();
        opened.map(|opened| opened.expect("a request of ours").request).collect()
    }

    fn peers(&self, size: usize) -> Vec<Vec<u8>> {
        let open = |bytes: &Vec<u8>| {
            let (header, rest) = bytes.split_at(HEADER_LEN);
            let (encapsulated, body) = rest.split_at(ENCAPSULATED_LEN);
            let info = [&b"strongroom channel request v1\0"[..], header, &[4; 32]].concat();
            let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).unwrap();
            let mode = OpModeR::Base;
            let mut context =
                setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(&mode, &self.peer, &encapsulated, &info).unwrap();
            let request = context.open(body, b"").unwrap();
            let mut exported = [0; 32];
            context.export(b"strongroom channel response v1", &mut exported).unwrap();
            black_box(exported);
            request
        };
        self.requests[..size].iter().map(open).collect()
    }

    fn check(&self) {
        let (ours, peers) = (self.ours(self.requests.len()), self.peers(self.requests.len()));
        for (index, (ours, peers)) in ours.iter().zip(&peers).enumerate() {
            assert_eq!((ours.expose(), peers), (&vec![index as u8; REQUEST_LEN], &vec![index as u8; REQUEST_LEN]));
        }
    }
}

/// Microseconds a request, ours and the peer's.
fn interleaved(world: &World, size: usize, rounds: usize) -> [f64; 2] {
    fn timed<T>(size: usize, work: impl Fn() -> T) -> f64 {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64() * 1e6 / size as f64
    }
    let times: Vec<[f64; 2]> =
        (0..rounds).map(|_| [timed(size, || world.ours(size)), timed(size, || world.peers(size))]).collect();
    [0, 1].map(|which| {
        let mut times: Vec<f64> = times.iter().map(|times| times[which]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 10]
    })
}

fn main() {
    let test = std::env::args().any(|word| word == "--test");
    let world = World::new();
    world.check();
    // One thread for both.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .configure_from_args();
        let mut group = criterion.benchmark_group("channel, open");
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("strongroom", size), |bencher| {
                bencher.iter(|| black_box(world.ours(size)));
            });
            group.bench_function(BenchmarkId::new("hpke", size), |bencher| {
                bencher.iter(|| black_box(world.peers(size)));
            });
        }
        group.finish();
        criterion.final_summary();
        println!("\nfirst deciles of interleaved rounds, backend {}, microseconds a request", engine::backend().name());
        println!("{:>6}{:>12}{:>10}{:>9}", "batch", "strongroom", "hpke", "ratio");
        for size in SIZES {
            let [ours, peer] = interleaved(&world, size, if test { 1 } else { 4096 / size.max(16) });
            let note = if test { "  (no measurement)" } else { "" };
            println!("{size:>6}{ours:>12.1}{peer:>10.1}{:>8.1}x{note}", peer / ours);
        }
        println!("P11: at least 7x in a batch of 256, where the backend is ifma");
    });
}
