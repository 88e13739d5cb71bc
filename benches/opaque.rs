//! Registration (request to response) and login (KE1 to KE2), wire to wire, ours and opaque-ke 4.0.1 in one run.
//!
//! Ours is what a vault does with a batch: parse, choose between record and fake, answer with randomness from the
//! operating system. The peer's is its own server, one message after another, over the same keys, records and bytes; its
//! randomness comes from a counter, which costs nothing, so what it is charged for is its arithmetic. Both are compiled
//! as cargo does by default. With two threads each has its messages spread over the same rayon pool.
//!
//! Every answer is checked with a real client before anything is timed. After criterion's own report a table of ratios
//! is printed from an interleaved measurement: one round of ours, one of the peer's, and the first deciles of the rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use opaque_ke::rand::{CryptoRng, Error, RngCore};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialRequest, CredentialResponse, Identifiers, ServerLogin, ServerLoginParameters, ServerRegistration,
    ServerSetup,
};
use rayon::prelude::*;
use strongroom::limits::CHUNK;
use strongroom::opaque::fake::{FakeKeys, Lookup, choose};
use strongroom::opaque::login::{self, Login};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Ke1, Ke3, RegistrationRequest, ServerKeys, random_static_secret};
use strongroom::{engine, secret::Secret};

const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1024];
const THREADS: [usize; 2] = [1, 2];
const CONTEXT: &[u8] = b"strongroom-1";

struct Suite;

impl CipherSuite for Suite {
    type OprfCs = opaque_ke::Ristretto255;
    type KeyExchange = opaque_ke::TripleDh<opaque_ke::Ristretto255, sha2_010::Sha512>;
    type Ksf = opaque_ke::ksf::Identity;
}

/// A generator that costs next to nothing; fit for a bench and for nothing else.
struct Counter(u64);

impl CryptoRng for Counter {}

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        // SplitMix64's step and mix.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// One person: what the servers hold, and what their app is about to send.
struct Person {
    identifier: [u8; 64],
    record: [u8; 192],
    request: Vec<u8>,
    ke1: Vec<u8>,
    client: ClientLogin<Suite>,
}

impl Person {
    fn account(&self) -> &[u8; 32] {
        self.identifier.first_chunk().expect("64 bytes")
    }

    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: Some(self.account()), server: None }
    }
}

struct World {
    keys: ServerKeys,
    fakes: FakeKeys,
    setup: ServerSetup<Suite>,
    people: Vec<Person>,
}

impl World {
    fn new(count: usize) -> World {
        let (seed, secret) = (Secret::<[u8; 64]>::random().unwrap(), random_static_secret().unwrap());
        let keys = ServerKeys::new(&seed, &secret).unwrap();
        let fakes = FakeKeys::new(&Secret::random().unwrap(), &Secret::random().unwrap()).unwrap();
        let setup = [&seed.expose()[..], secret.expose(), keys.public_key()].concat();
        let setup = ServerSetup::<Suite>::deserialize(&setup).unwrap();
        let people = (0..count).map(|index| enrol(&setup, index)).collect();
        World { keys, fakes, setup, people }
    }

    /// Ours: request to response.
    fn registrations(&self, count: usize) -> Vec<[u8; 64]> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.request[..]).collect();
        let requests: Vec<_> = RegistrationRequest::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
        let items: Vec<_> = requests
            .iter()
            .zip(people)
            .map(|(request, person)| Registration {
                keys: &self.keys,
                request,
                credential_identifier: &person.identifier,
            })
            .collect();
        register::respond(&items).into_iter().map(Result::unwrap).collect()
    }

    /// The peer's: request to response.
    fn peer_registrations(&self, count: usize) -> Vec<Vec<u8>> {
        spread(&self.people[..count], |person| {
            let request = opaque_ke::RegistrationRequest::<Suite>::deserialize(&person.request).unwrap();
            let started = ServerRegistration::<Suite>::start(&self.setup, request, &person.identifier).unwrap();
            started.message.serialize().to_vec()
        })
    }

    /// Ours: KE1 to KE2 and state.
    fn logins(&self, count: usize) -> Vec<login::Response> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.ke1[..]).collect();
        let ke1s: Vec<_> = Ke1::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
        let lookups: Vec<_> = people
            .iter()
            .map(|person| Lookup {
                known: 1.into(),
                keys: &self.keys,
                account: person.account(),
                nonce: person.identifier.last_chunk().expect("64 bytes"),
                record: &person.record,
            })
            .collect();
        let chosen = choose(&lookups, &self.fakes);
        let items: Vec<_> = chosen
            .iter()
            .zip(&ke1s)
            .zip(people)
            .map(|((chosen, ke1), person)| Login {
                keys: &self.keys,
                credential: chosen.credential(),
                ke1,
                context: CONTEXT,
                client_identity: Some(person.account()),
                server_identity: None,
            })
            .collect();
        let responses = login::respond(&items).unwrap();
        responses.into_iter().map(|response| response.unwrap()).collect()
    }

    /// The peer's: KE1 to KE2 and state.
    fn peer_logins(&self, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        spread(&self.people[..count], |person| {
            let parameters = ServerLoginParameters { context: Some(CONTEXT), identifiers: person.identifiers() };
            let record = ServerRegistration::<Suite>::deserialize(&person.record).unwrap();
            let ke1 = CredentialRequest::<Suite>::deserialize(&person.ke1).unwrap();
            let mut random = Counter(u64::from(person.ke1[40]));
            let (setup, identifier) = (&self.setup, &person.identifier);
            let started = ServerLogin::start(&mut random, setup, Some(record), ke1, identifier, parameters).unwrap();
            (started.message.serialize().to_vec(), started.state.serialize().to_vec())
        })
    }

    /// Asks real clients whether both servers' answers are right.
    fn check(&self, count: usize) {
        for (ours, theirs) in self.registrations(count).iter().zip(self.peer_registrations(count)) {
            assert_eq!(ours[..], theirs[..], "both servers register alike");
        }
        let answers = self.logins(count).into_iter().zip(self.peer_logins(count));
        for (person, (ours, (peer_ke2, peer_state))) in self.people.iter().zip(answers) {
            let (ke3, session_key) = person.finish(&ours.ke2);
            let ke3 = Ke3::parse(&ke3).unwrap();
            let proven = login::finish(&[(&ours.state, &ke3)]).remove(0).expect("our KE2 gives the client's proof");
            assert_eq!(proven.expose()[..], session_key);
            let (ke3, session_key) = person.finish(&peer_ke2);
            assert_eq!(peer_state, [session_key, ke3].concat(), "the peer's KE2 is right too");
        }
    }
}

impl Person {
    /// The client's last step: KE3 and session key.
    fn finish(&self, ke2: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let ke2 = CredentialResponse::<Suite>::deserialize(ke2).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), self.identifiers(), None);
        let finished = self.client.clone().finish(&mut Counter(1), b"code", ke2, parameters).unwrap();
        (finished.message.serialize().to_vec(), finished.session_key.to_vec())
    }
}

fn enrol(setup: &ServerSetup<Suite>, index: usize) -> Person {
    let mut random = Counter(index as u64 * 1_000_003);
    let mut identifier = [0; 64];
    random.fill_bytes(&mut identifier);
    let start = ClientRegistration::<Suite>::start(&mut random, b"code").unwrap();
    let request = start.message.serialize().to_vec();
    let response = ServerRegistration::<Suite>::start(setup, start.message, &identifier).unwrap().message;
    let identifiers = Identifiers { client: Some(&identifier[..32]), server: None };
    let parameters = ClientRegistrationFinishParameters::new(identifiers, None);
    let finished = start.state.finish(&mut random, b"code", response, parameters).unwrap();
    let login = ClientLogin::<Suite>::start(&mut random, b"code").unwrap();
    Person {
        identifier,
        record: finished.message.serialize().to_vec().try_into().expect("192 bytes"),
        request,
        ke1: login.message.serialize().to_vec(),
        client: login.state,
    }
}

/// One by one on this thread, or the same chunks that we use over this pool.
fn spread<R: Send>(people: &[Person], answer: impl Fn(&Person) -> R + Send + Sync) -> Vec<R> {
    if people.len() <= CHUNK {
        return people.iter().map(answer).collect();
    }
    people.par_chunks(CHUNK).flat_map_iter(|chunk| chunk.iter().map(&answer)).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn criterion_groups(criterion: &mut Criterion, world: &World) {
    for threads in THREADS {
        let pool = pool(threads);
        let plural = if threads == 1 { "thread" } else { "threads" };
        let mut group = criterion.benchmark_group(format!("registration, {threads} {plural}"));
        for size in SIZES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("strongroom", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.registrations(size))));
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
                pool.install(|| bencher.iter(|| black_box(world.logins(size))));
            });
            group.bench_function(BenchmarkId::new("opaque-ke", size), |bencher| {
                pool.install(|| bencher.iter(|| black_box(world.peer_logins(size))));
            });
        }
        group.finish();
    }
}

/// Microseconds an item, ours and the peer's, and the peer's over ours. The two take turns, round by round; of each the
/// first decile of the rounds counts, since what other programs take away from a round is not ours to measure, and a busy
/// machine interrupts the longer rounds of the two more often.
fn interleaved<A, B>(rounds: usize, size: usize, ours: impl Fn(usize) -> A, peer: impl Fn(usize) -> B) -> [f64; 3] {
    fn timed<T>(size: usize, work: impl Fn(usize) -> T) -> f64 {
        // Small batches are repeated, so that a clock tick or an interrupt is no large part of a round.
        let repeats = (16 / size).max(1);
        let start = Instant::now();
        for _ in 0..repeats {
            black_box(work(size));
        }
        start.elapsed().as_secs_f64() * 1e6 / (repeats * size) as f64
    }
    fn decile(times: impl Iterator<Item = f64>) -> f64 {
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 10]
    }
    black_box((ours(size), peer(size)));
    let times: Vec<[f64; 2]> = (0..rounds).map(|_| [timed(size, &ours), timed(size, &peer)]).collect();
    let (ours, peer) = (decile(times.iter().map(|[ours, _]| *ours)), decile(times.iter().map(|[_, peer]| *peer)));
    [ours, peer, peer / ours]
}

fn print_ratios(world: &World, milliseconds: usize) {
    let backend = engine::backend().name();
    println!("\nfirst deciles of interleaved rounds, backend {backend}, microseconds an item");
    println!("{:<14}{:>8}{:>8}{:>12}{:>12}{:>8}", "", "threads", "batch", "strongroom", "opaque-ke", "ratio");
    let (mut login_us, mut ratios) = ([0.0; 2], [[0.0; 2]; 2]);
    for (slot, threads) in THREADS.into_iter().enumerate() {
        pool(threads).install(|| {
            for size in [1, 8, 32, 256, 1024] {
                // About half a millisecond for both logins of an item, on any machine that this is run on.
                let rounds = (2 * milliseconds / size.max(16)).max(1);
                let registration =
                    interleaved(rounds, size, |size| world.registrations(size), |size| world.peer_registrations(size));
                let login = interleaved(rounds, size, |size| world.logins(size), |size| world.peer_logins(size));
                for (kind, (name, measured)) in
                    [("registration", registration), ("login", login)].into_iter().enumerate()
                {
                    let [ours, peer, ratio] = measured;
                    println!("{name:<14}{threads:>8}{size:>8}{ours:>12.1}{peer:>12.1}{ratio:>7.2}x");
                    if threads == 1 && (size == 1 || size == CHUNK) {
                        ratios[kind][usize::from(size == CHUNK)] = ratio;
                    }
                }
                login_us[slot] = login[0];
            }
        });
    }
    let [[_, registration], [lone, login]] = ratios;
    println!("P5 {backend} login {login:.2}x opaque-ke, a batch of {CHUNK}, one thread (at least 1.25x)");
    println!("   {backend} registration {registration:.2}x; one lone login {lone:.2}x");
    println!("   two threads over one, logins in the largest batch: {:.2}x", login_us[0] / login_us[1]);
}

fn main() {
    let testing = std::env::args().any(|argument| argument == "--test");
    let world = World::new(1024);
    world.check(if testing { 33 } else { 100 });
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .nresamples(1000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    criterion_groups(&mut criterion, &world);
    criterion.final_summary();
    print_ratios(&world, if testing { 1 } else { 1500 });
    if testing {
        println!("one round each, to see that it runs: no measurement");
    }
}
