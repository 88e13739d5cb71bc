//! The engine's doors and inner steps beside curve25519-dalek 5 and RustCrypto's hashes, in one run, on one thread.
//!
//! The peers are compiled as cargo does by default. Where several ways lead them to the same bytes, each has its row:
//! for a batch of products dalek's best is to multiply halves and to encode their doubles together.
//!
//! The steps of the field stand beside nothing, since dalek lets nobody at its own; a doubling of points stands beside a
//! third of its `mul_by_cofactor`, which is three of them. Batches of steps are vectors of eight lanes: with one vector,
//! each step waits for the one before.
//!
//! Every answer is held against the peer's, or against plain integers, before anything is timed. After criterion's own
//! report a table of ratios is printed from an interleaved measurement: one round of ours, one of each peer, and the
//! first deciles of the rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::ptr_arg)] // what writes answers down is handed on as a value, and takes what the door gives

mod stack;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, RISTRETTO_BASEPOINT_POINT};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use hmac::{KeyInit, Mac};
use sha2::{Digest, Sha512};
use stack::at_place;
use strongroom::engine::meter::{self, Vector};
use strongroom::engine::sha512::{HmacKey, Prefix};
use strongroom::engine::{Backend, Exchange, Point, Scalar, backend};
use strongroom::limits::CHUNK;
use strongroom::oprf;

const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1024];
/// One, two and four vectors.
const VECTORS: [usize; 3] = [8, 16, 32];
/// Steps in a row, a multiple of three.
const STEPS: usize = 999;
/// Passes of an encoding, beside which making the points is little.
const PASSES: usize = 32;
const INFO: &[u8] = b"OPAQUE-DeriveKeyPair";

const ALONE: &str = "dalek, multiplied and not encoded";
const ONE_BY_ONE: &str = "dalek, encoded one by one";
const TOGETHER: &str = "dalek, halves, encoded together";

/// Steps on as many vectors of eight as a size says, which are a constant of the meter.
macro_rules! on_vectors {
    ($size:ident, $k:ident => $steps:expr) => {
        match $size {
            8 => on_vectors!(1, $k => $steps),
            16 => on_vectors!(2, $k => $steps),
            _ => on_vectors!(4, $k => $steps),
        }
    };
    ($number:literal, $k:ident => $steps:expr) => {{
        const $k: usize = $number;
        $steps.unwrap().to_vec()
    }};
}

/// Does the work for so many items, and writes down the answers if it is asked for them.
type Job<'a> = Box<dyn Fn(usize, Option<&mut Vec<u8>>) + 'a>;

fn job<'a, A: 'a>(work: impl Fn(usize) -> A + 'a, bytes: impl Fn(&A) -> Vec<u8> + 'a) -> Job<'a> {
    Box::new(move |size, answers| {
        let answer = black_box(work(black_box(size)));
        if let Some(answers) = answers {
            *answers = bytes(&answer);
        }
    })
}

struct Contest<'a> {
    name: &'static str,
    sizes: &'static [usize],
    /// Steps that each item of a batch takes.
    steps: usize,
    ours: Job<'a>,
    peers: Vec<(&'static str, Job<'a>)>,
    /// Knows the answers, and is not timed.
    judge: Option<Job<'a>>,
}

impl<'a> Contest<'a> {
    fn new(name: &'static str, ours: Job<'a>, peers: Vec<(&'static str, Job<'a>)>) -> Self {
        Contest { name, sizes: &SIZES, steps: 1, ours, peers, judge: None }
    }

    fn steps(name: &'static str, ours: Job<'a>, peers: Vec<(&'static str, Job<'a>)>, judge: Job<'a>) -> Self {
        Contest { name, sizes: &VECTORS, steps: STEPS, ours, peers, judge: Some(judge) }
    }

    fn check(&self) {
        for &size in self.sizes {
            let answers = |job: &Job<'_>| {
                let mut bytes = Vec::new();
                job(size, Some(&mut bytes));
                bytes
            };
            let ours = answers(&self.ours);
            assert!(!ours.is_empty(), "{}: no answers", self.name);
            for job in self.judge.iter().chain(self.peers.iter().map(|(_, job)| job)) {
                assert!(answers(job) == ours, "{}, batch of {size}: other answers", self.name);
            }
        }
    }
}

/// What both sides work on.
struct World {
    backend: Backend,
    uniform: Vec<[u8; 64]>,
    seeds: Vec<[u8; 32]>,
    scalars: Vec<Scalar>,
    encodings: Vec<[u8; 32]>,
    points: Vec<Point>,
    start: Prefix,
    mac_keys: Vec<HmacKey>,
    peer_scalars: Vec<curve25519_dalek::Scalar>,
    peer_halves: Vec<curve25519_dalek::Scalar>,
    peer_points: Vec<RistrettoPoint>,
    peer_mac_keys: Vec<hmac::Hmac<Sha512>>,
}

impl World {
    fn new(backend: Backend) -> Self {
        let uniform: Vec<[u8; 64]> = (0..1024u16).map(|index| Sha512::digest(index.to_be_bytes()).into()).collect();
        let seeds = uniform.iter().map(|bytes| *bytes.first_chunk().unwrap()).collect();
        let scalars = backend.reduce(&uniform).into_iter().map(Option::unwrap).collect();
        let encodings = backend.map(&uniform);
        let points = backend.decode(&encodings).into_iter().map(Option::unwrap).collect();
        let peer_scalars: Vec<_> = uniform.iter().map(curve25519_dalek::Scalar::from_bytes_mod_order_wide).collect();
        let peer_halves = peer_scalars.iter().map(curve25519_dalek::Scalar::div_by_2).collect();
        let peer_points = uniform.iter().map(RistrettoPoint::from_uniform_bytes).collect();
        let (start, mac_keys) = (Prefix::new(&[]), backend.mac_keys(&uniform));
        let peer_mac_keys = uniform.iter().map(|key| hmac::Hmac::new_from_slice(key).unwrap()).collect();
        World {
            backend,
            uniform,
            seeds,
            scalars,
            encodings,
            points,
            start,
            mac_keys,
            peer_scalars,
            peer_halves,
            peer_points,
            peer_mac_keys,
        }
    }

    /// The judge of field steps is plain integers, that of points their scalars. There are none without lanes.
    fn steps(&self) -> Vec<Contest<'_>> {
        let backend = self.backend;
        if meter::encode(backend, 1, 1).is_none() {
            return Vec::new();
        }
        let factor = || self.vectors::<1>()[0];
        let power = |base: u8, exponent: usize| {
            let base = curve25519_dalek::Scalar::from(base);
            (0..exponent).fold(curve25519_dalek::Scalar::ONE, |power, _| power * base)
        };
        vec![
            Contest::steps(
                "field multiply",
                job(
                    move |size| on_vectors!(size, K => meter::multiply(backend, &self.vectors::<K>(), &factor(), STEPS)),
                    vectors,
                ),
                Vec::new(),
                job(
                    move |size| {
                        let factors = factor().into_iter().cycle();
                        let values = self.seeds[..size].iter().zip(factors);
                        values.map(|(value, factor)| integers::times_often(*value, factor, STEPS)).collect()
                    },
                    elements,
                ),
            ),
            Contest::steps(
                "field square",
                job(move |size| on_vectors!(size, K => meter::square(backend, &self.vectors::<K>(), STEPS)), vectors),
                Vec::new(),
                job(
                    move |size| self.seeds[..size].iter().map(|value| integers::square_often(*value, STEPS)).collect(),
                    elements,
                ),
            ),
            Contest::steps(
                "point double",
                job(move |size| on_vectors!(size, K => meter::double::<K>(backend, STEPS)), vectors),
                vec![(
                    "dalek, a third of mul_by_cofactor",
                    // Its points are no ristretto255: a right one is written as the element that ours should be.
                    job(doubled, move |points: &Vec<EdwardsPoint>| {
                        let (right, element) = (EdwardsPoint::mul_base(&power(2, STEPS)), base(power(2, STEPS + 2)));
                        points.iter().flat_map(|point| if *point == right { element } else { [0; 32] }).collect()
                    }),
                )],
                job(move |size| vec![base(power(2, STEPS + 2)); size], elements),
            ),
            Contest::steps(
                "point add",
                job(move |size| on_vectors!(size, K => meter::add::<K>(backend, STEPS)), vectors),
                // Ours adds once more, and encodes the double.
                vec![(
                    "dalek",
                    job(added, |sums: &Vec<RistrettoPoint>| {
                        let last = |sum: &RistrettoPoint| sum + RISTRETTO_BASEPOINT_POINT;
                        sums.iter().flat_map(|sum| (last(sum) + last(sum)).compress().to_bytes()).collect()
                    }),
                )],
                job(move |size| vec![base(curve25519_dalek::Scalar::from(2 * STEPS as u64 + 4)); size], elements),
            ),
        ]
    }

    /// The first seeds, as vectors of eight.
    fn vectors<const K: usize>(&self) -> [Vector; K] {
        *self.seeds.as_chunks().0.first_chunk().unwrap()
    }

    fn group(&self) -> Vec<Contest<'_>> {
        let backend = self.backend;
        let items: Vec<_> = self.scalars.iter().zip(&self.points).collect();
        let scalars: Vec<_> = self.scalars.iter().collect();
        let peers = move |size: usize| self.peer_scalars[..size].iter().zip(&self.peer_points);
        let halves = move |size: usize| self.peer_halves[..size].iter().zip(&self.peer_points);
        let mut contests = vec![
            Contest::new(
                "decode",
                job(
                    move |size| backend.decode(&self.encodings[..size]),
                    |points| points.iter().flatten().flat_map(|point| *point.encoding()).collect(),
                ),
                vec![(
                    "dalek",
                    job(
                        move |size| -> Vec<_> {
                            self.encodings[..size]
                                .iter()
                                .map(|bytes| CompressedRistretto(*bytes).decompress())
                                .collect()
                        },
                        |points| points.iter().flatten().flat_map(|point| point.compress().to_bytes()).collect(),
                    ),
                )],
            ),
            Contest::new(
                "variable base",
                job(move |size| backend.multiply(&items[..size]).unwrap(), elements),
                vec![
                    (ALONE, job(move |size| peers(size).map(|(s, p)| s * p).collect(), encoded)),
                    (
                        ONE_BY_ONE,
                        job(move |size| peers(size).map(|(s, p)| (s * p).compress().to_bytes()).collect(), elements),
                    ),
                    (TOGETHER, job(move |size| together(halves(size).map(|(s, p)| s * p)), compressed)),
                ],
            ),
            Contest::new(
                "fixed base",
                job(move |size| backend.multiply_base(&scalars[..size]).unwrap(), elements),
                vec![(
                    TOGETHER,
                    job(
                        move |size| together(self.peer_halves[..size].iter().map(RistrettoPoint::mul_base)),
                        compressed,
                    ),
                )],
            ),
        ];
        if meter::encode(backend, 1, 1).is_some() {
            // The generator times 2, 3, 4 and so on, in eight lanes each, which are encoded doubled.
            let points: Vec<_> = (0..1024 / 8)
                .flat_map(|index| [RistrettoPoint::mul_base(&curve25519_dalek::Scalar::from(index + 2u64)); 8])
                .collect();
            contests.push(Contest {
                sizes: &SIZES[3..],
                steps: PASSES,
                ..Contest::new(
                    "encode, doubled",
                    job(move |size| meter::encode(backend, size / 8, PASSES).unwrap(), vectors),
                    vec![(
                        "dalek, together",
                        job(
                            move |size| {
                                (1..PASSES).for_each(|_| drop(black_box(together(points[..size].iter().copied()))));
                                together(points[..size].iter().copied())
                            },
                            compressed,
                        ),
                    )],
                )
            });
        }
        contests
    }

    /// The multiplications of logins: a pair (two scalars, one point), two products, and one of the generator.
    fn exchange(&self) -> Contest<'_> {
        let backend = self.backend;
        let turned = |index: usize, by: usize| (index + by) % 1024;
        let items: Vec<_> = (0..1024)
            .map(|index| Exchange {
                oprf_key: &self.scalars[index],
                blinded: &self.points[index],
                server_ephemeral: &self.scalars[turned(index, 1)],
                server_static: &self.scalars[turned(index, 2)],
                client_ephemeral: &self.points[turned(index, 1)],
                client_static: &self.points[turned(index, 2)],
            })
            .collect();
        let theirs = move |index: usize| {
            let scalars = [0, 1, 2].map(|by| &self.peer_halves[turned(index, by)]);
            let points = [0, 1, 2].map(|by| &self.peer_points[turned(index, by)]);
            [
                scalars[0] * points[0],
                RistrettoPoint::mul_base(scalars[1]),
                scalars[1] * points[1],
                scalars[2] * points[1],
                scalars[1] * points[2],
            ]
        };
        Contest::new(
            "exchange",
            job(
                move |size| backend.exchange(&items[..size]).unwrap(),
                |answers| {
                    let each = |answer: &strongroom::engine::Exchanged| {
                        [&answer.evaluated[..], &answer.server_keyshare, answer.shared.expose().as_flattened()].concat()
                    };
                    answers.iter().flat_map(each).collect()
                },
            ),
            vec![(TOGETHER, job(move |size| together((0..size).flat_map(theirs)), compressed))],
        )
    }

    fn hashes(&self) -> Vec<Contest<'_>> {
        let backend = self.backend;
        let whole = |digests: &Vec<[u8; 64]>| digests.as_flattened().to_vec();
        let mut contests = Vec::new();
        for (name, length) in [("SHA-512, 1 block", 96), ("SHA-512, 2 blocks", 192), ("SHA-512, 8 blocks", 1000)] {
            let messages: Vec<Vec<u8>> = self.uniform.iter().map(|bytes| bytes.repeat(16)[..length].to_vec()).collect();
            let theirs = messages.clone();
            contests.push(Contest::new(
                name,
                job(
                    move |size| {
                        let items: Vec<_> = messages[..size].iter().map(|bytes| (&self.start, [&bytes[..]])).collect();
                        backend.digests(&items)
                    },
                    move |digests| whole(digests.expose()),
                ),
                vec![(
                    "sha2",
                    job(
                        move |size| -> Vec<[u8; 64]> {
                            theirs[..size].iter().map(|m| Sha512::digest(m).into()).collect()
                        },
                        whole,
                    ),
                )],
            ));
        }
        contests.push(Contest::new(
            "HMAC-SHA-512",
            job(
                move |size| {
                    let items = self.mac_keys[..size].iter().zip(&self.uniform);
                    backend.macs(&items.map(|(key, bytes)| (key, [&bytes[..]])).collect::<Vec<_>>())
                },
                move |macs| whole(macs.expose()),
            ),
            vec![(
                "hmac",
                job(
                    move |size| -> Vec<[u8; 64]> {
                        let items = self.peer_mac_keys[..size].iter().zip(&self.uniform);
                        items
                            .map(|(key, bytes)| key.clone().chain_update(bytes).finalize().into_bytes().into())
                            .collect()
                    },
                    whole,
                ),
            )],
        ));
        contests
    }

    /// A key from each seed, and BlindEvaluate with it: RFC 9497 sections 3.2.1 and 3.3.1.
    fn oprf(&self) -> Contest<'_> {
        Contest::new(
            "OPRF, with its keys",
            job(
                move |size| {
                    let seeds: Vec<_> = self.seeds[..size].iter().collect();
                    let keys = oprf::derive_keys(&seeds, INFO).unwrap();
                    oprf::blind_evaluate(&keys.iter().zip(&self.points).collect::<Vec<_>>()).unwrap()
                },
                elements,
            ),
            vec![(
                TOGETHER,
                job(
                    move |size| {
                        let tag = b"DeriveKeyPairOPRFV1-\x00-ristretto255-SHA512\x29";
                        let length = (INFO.len() as u16).to_be_bytes();
                        let zeros = Sha512::new_with_prefix([0; 128]);
                        together(self.seeds[..size].iter().zip(&self.peer_points).map(|(seed, point)| {
                            let first = [&seed[..], &length, INFO, b"\x00\x00\x40\x00", tag].concat();
                            let first = zeros.clone().chain_update(first).finalize();
                            let second = Sha512::digest([&first[..], b"\x01", tag].concat()).into();
                            curve25519_dalek::Scalar::from_bytes_mod_order_wide(&second).div_by_2() * point
                        }))
                    },
                    compressed,
                ),
            )],
        )
    }
}

fn vectors(vectors: &Vec<Vector>) -> Vec<u8> {
    vectors.as_flattened().as_flattened().to_vec()
}

fn elements(elements: &Vec<[u8; 32]>) -> Vec<u8> {
    elements.as_flattened().to_vec()
}

fn compressed(elements: &Vec<CompressedRistretto>) -> Vec<u8> {
    elements.iter().flat_map(CompressedRistretto::to_bytes).collect()
}

/// For the check alone: whoever is timed without encoding hands out points.
fn encoded(points: &Vec<RistrettoPoint>) -> Vec<u8> {
    points.iter().flat_map(|point| point.compress().to_bytes()).collect()
}

fn together(halves: impl Iterator<Item = RistrettoPoint>) -> Vec<CompressedRistretto> {
    RistrettoPoint::double_and_compress_batch(&halves.collect::<Vec<_>>())
}

fn base(scalar: curve25519_dalek::Scalar) -> [u8; 32] {
    RistrettoPoint::mul_base(&scalar).compress().to_bytes()
}

fn doubled(size: usize) -> Vec<EdwardsPoint> {
    let mut points = vec![ED25519_BASEPOINT_POINT; size];
    for _ in 0..STEPS / 3 {
        points.iter_mut().for_each(|point| *point = point.mul_by_cofactor());
    }
    points
}

fn added(size: usize) -> Vec<RistrettoPoint> {
    let mut points = vec![RISTRETTO_BASEPOINT_POINT; size];
    for _ in 0..STEPS {
        points.iter_mut().for_each(|point| *point += RISTRETTO_BASEPOINT_POINT);
    }
    points
}

/// The field once more, on integers of four words, slow and plain.
mod integers {
    use std::array::from_fn;

    pub(super) fn times_often(value: [u8; 32], factor: [u8; 32], n: usize) -> [u8; 32] {
        let factor = words(factor);
        bytes((0..n).fold(words(value), |product, _| times(product, factor)))
    }

    pub(super) fn square_often(value: [u8; 32], n: usize) -> [u8; 32] {
        bytes((0..n).fold(words(value), |square, _| times(square, square)))
    }

    /// Without the highest bit.
    fn words(mut bytes: [u8; 32]) -> [u64; 4] {
        bytes[31] &= 0x7f;
        from_fn(|index| u64::from_le_bytes(*bytes.as_chunks().0.get(index).unwrap()))
    }

    /// Below 2^256, the product modulo p.
    fn times(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        let mut product = [0u64; 8];
        for (i, a) in a.into_iter().enumerate() {
            let mut carry = 0;
            for (j, b) in b.into_iter().enumerate() {
                let sum = u128::from(a) * u128::from(b) + u128::from(product[i + j]) + carry;
                product[i + j] = sum as u64;
                carry = sum >> 64;
            }
            product[i + 4] = carry as u64;
        }
        // 2^256 is 38, twice over; what is left over the second time is at most one, over a small number.
        let mut words: [u64; 4] = *product.first_chunk().unwrap();
        let mut over: [u64; 4] = *product.last_chunk().unwrap();
        while over != [0; 4] {
            let mut carry = 0;
            for (word, over) in words.iter_mut().zip(over) {
                let sum = u128::from(*word) + 38 * u128::from(over) + carry;
                *word = sum as u64;
                carry = sum >> 64;
            }
            over = [carry as u64, 0, 0, 0];
        }
        words
    }

    fn bytes(mut words: [u64; 4]) -> [u8; 32] {
        let p = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];
        while words.iter().rev().ge(p.iter().rev()) {
            let mut borrow = false;
            for (word, p) in words.iter_mut().zip(p) {
                let (first, one) = word.overflowing_sub(p);
                let (second, two) = first.overflowing_sub(u64::from(borrow));
                (*word, borrow) = (second, one || two);
            }
        }
        from_fn(|index| words[index / 8].to_le_bytes()[index % 8])
    }
}

fn criterion_groups(criterion: &mut Criterion, contests: &[Contest<'_>]) {
    for contest in contests {
        let mut group = criterion.benchmark_group(contest.name);
        for &size in contest.sizes {
            group.throughput(Throughput::Elements((size * contest.steps) as u64));
            let jobs = std::iter::once(("strongroom", &contest.ours));
            for (name, job) in jobs.chain(contest.peers.iter().map(|(name, job)| (*name, job))) {
                group.bench_function(BenchmarkId::new(name, size), |bencher| bencher.iter(|| job(size, None)));
            }
        }
        group.finish();
    }
}

/// Nanoseconds a call of each job, taken in turn, round by round; of each the first decile of its rounds counts, since
/// what other programs take away from a round is not ours to measure.
fn interleaved(jobs: &[&Job<'_>], size: usize, budget: Duration) -> Vec<f64> {
    let timed = |round: usize, job: &Job<'_>, repeats: u32| {
        let start = Instant::now();
        at_place(round, &mut || (0..repeats).for_each(|_| job(size, None)));
        start.elapsed().as_secs_f64() / f64::from(repeats)
    };
    // Short jobs are repeated, so that a clock tick or an interrupt is no large part of a round.
    let once: Vec<f64> = jobs.iter().map(|job| timed(0, job, 1).min(timed(0, job, 1))).collect();
    let repeats: Vec<u32> = once.iter().map(|seconds| (50e-6 / seconds) as u32 + 1).collect();
    let round: f64 = once.iter().zip(&repeats).map(|(seconds, repeats)| seconds * f64::from(*repeats)).sum();
    let rounds = ((budget.as_secs_f64() / round) as usize).clamp(1, 1000);
    let mut times = vec![Vec::with_capacity(rounds); jobs.len()];
    for round in 0..rounds {
        for ((job, repeats), times) in jobs.iter().zip(&repeats).zip(&mut times) {
            times.push(timed(round, job, *repeats));
        }
    }
    let decile = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 10] * 1e9
    };
    times.into_iter().map(decile).collect()
}

fn print_ratios(contests: &[Contest<'_>], budget: Duration) {
    println!("\nfirst deciles of interleaved rounds, one thread, nanoseconds an item");
    println!("{:<20}{:>7}{:>12}{:>12}{:>9}  beside", "", "batch", "strongroom", "peer", "ratio");
    let (mut p3, mut ours_of_a_chunk) = (Vec::new(), Vec::new());
    for contest in contests {
        let jobs: Vec<_> = std::iter::once(&contest.ours).chain(contest.peers.iter().map(|(_, job)| job)).collect();
        for &size in contest.sizes {
            let times: Vec<_> = interleaved(&jobs, size, budget)
                .into_iter()
                .map(|nanoseconds| nanoseconds / (size * contest.steps) as f64)
                .collect();
            if contest.peers.is_empty() {
                println!("{:<20}{size:>7}{:>12.2}{:>12}{:>9}  nothing", contest.name, times[0], "-", "-");
            }
            for ((peer, _), theirs) in contest.peers.iter().zip(&times[1..]) {
                let ratio = theirs / times[0];
                println!("{:<20}{size:>7}{:>12.2}{theirs:>12.2}{ratio:>8.2}x  {peer}", contest.name, times[0]);
                if contest.name == "variable base" && [8, CHUNK].contains(&size) {
                    p3.push((size, *peer, ratio));
                }
            }
            if size == CHUNK {
                ours_of_a_chunk.push((contest.name, times[0]));
            }
        }
    }
    let ours = |name: &str| ours_of_a_chunk.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, time)| *time);
    println!(
        "pair (two scalars, one point) in a batch of {CHUNK}: {:.0} ns, an exchange less two products and a fixed base",
        ours("exchange") - 2.0 * ours("variable base") - ours("fixed base")
    );
    println!("P3 variable-base multiplication, eight lanes, against dalek 5 as cargo builds it (at least 7.5x):");
    for (size, peer, ratio) in p3 {
        println!("P3   batch of {size:>2}: {ratio:.2}x {peer}");
    }
}

fn cpu() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or("unknown", |(_, model)| model).to_owned()
}

fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let backend = backend();
    println!("{}, backend {}", cpu(), backend.name());
    if !Backend::all().iter().any(|backend| backend.name() == "ifma") {
        println!("LEFT OUT: lanes: not on this machine");
    }
    // One thread, so that what is alone is alone.
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
        let world = World::new(backend);
        let contests: Vec<_> = world
            .steps()
            .into_iter()
            .chain(world.group())
            .chain([world.exchange()])
            .chain(world.hashes())
            .chain([world.oprf()])
            .collect();
        contests.iter().for_each(Contest::check);
        let mut criterion = Criterion::default()
            .without_plots()
            .sample_size(10)
            .nresamples(1000)
            .warm_up_time(Duration::from_millis(50))
            .measurement_time(Duration::from_millis(150))
            .configure_from_args();
        criterion_groups(&mut criterion, &contests);
        criterion.final_summary();
        print_ratios(&contests, Duration::from_millis(if testing { 0 } else { 200 }));
    });
    if testing {
        println!("one round each, to see that it runs: no measurement");
    }
}
