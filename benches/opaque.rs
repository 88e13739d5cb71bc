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
use stack::at_place;
use strongroom::account::AccountId;
use strongroom::engine::{self, Backend};
use strongroom::limits::CHUNK;
use strongroom::opaque::fake::{FakeKeys, Lookup, choose_on};
use strongroom::opaque::login::{self, Login};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Ke1, Ke3, RegistrationRequest, ServerKeys, random_static_secret};
use strongroom::secret::Secret;
use strongroom::wrap::{EpochKeys, OpenItem, Record, SealItem, Sealed};

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
    account: AccountId,
    identifier: [u8; 64],
    /// The record as our vault holds it.
    sealed: Sealed,
    /// The record as the peer's server does.
    record: [u8; 192],
    request: Vec<u8>,
    ke1: Vec<u8>,
    client: ClientLogin<Suite>,
}

impl Person {
    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: Some(self.account.as_bytes()), server: None }
    }
}

struct World {
    keys: ServerKeys,
    fakes: FakeKeys,
    epochs: EpochKeys,
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
        let epochs = EpochKeys::new(1, &Secret::random().unwrap());
        let people = (0..count).map(|index| enrol(&setup, &epochs, index)).collect();
        World { keys, fakes, epochs, setup, people }
    }

    /// Ours: request to response.
    fn registrations(&self, backend: Backend, count: usize) -> Vec<[u8; 64]> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.request[..]).collect();
        let requests = RegistrationRequest::parse_on(backend, &messages);
        let requests: Vec<_> = requests.into_iter().map(|read| read.unwrap()).collect();
        let items: Vec<_> = requests
            .iter()
            .zip(people)
            .map(|(request, person)| Registration {
                keys: &self.keys,
                request,
                credential_identifier: &person.identifier,
            })
            .collect();
        register::respond_on(backend, &items).into_iter().map(Result::unwrap).collect()
    }

    /// The peer's: request to response.
    fn peer_registrations(&self, count: usize) -> Vec<Vec<u8>> {
        spread(&self.people[..count], |person| {
            let request = opaque_ke::RegistrationRequest::<Suite>::deserialize(&person.request).unwrap();
            let started = ServerRegistration::<Suite>::start(&self.setup, request, &person.identifier).unwrap();
            started.message.serialize().to_vec()
        })
    }

    /// Ours: KE1 and sealed record to KE2 and state.
    fn logins(&self, backend: Backend, count: usize) -> Vec<login::Response> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.ke1[..]).collect();
        let ke1s: Vec<_> = Ke1::parse_on(backend, &messages).into_iter().map(|read| read.unwrap()).collect();
        let stored: Vec<_> = people
            .iter()
            .map(|person| OpenItem { account: &person.account, generation: 1, sealed: &person.sealed })
            .collect();
        let records: Vec<_> = self.epochs.open_on(backend, &stored).into_iter().map(Result::unwrap).collect();
        let lookups: Vec<_> = people
            .iter()
            .zip(&records)
            .map(|(person, record)| Lookup {
                known: 1.into(),
                keys: &self.keys,
                account: person.account.as_bytes(),
                nonce: record.nonce(),
                record: record.opaque(),
            })
            .collect();
        let chosen = choose_on(backend, &lookups, &self.fakes);
        let items: Vec<_> = chosen
            .iter()
            .zip(&ke1s)
            .zip(people)
            .map(|((chosen, ke1), person)| Login {
                keys: &self.keys,
                credential: chosen.credential(),
                ke1,
                context: CONTEXT,
                client_identity: Some(person.account.as_bytes()),
                server_identity: None,
            })
            .collect();
        let responses = login::respond_on(backend, &items).unwrap();
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
    fn check(&self, backend: Backend, count: usize) {
        for (ours, theirs) in self.registrations(backend, count).iter().zip(self.peer_registrations(count)) {
            assert_eq!(ours[..], theirs[..], "both servers register alike");
        }
        let answers = self.logins(backend, count).into_iter().zip(self.peer_logins(count));
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

fn enrol(setup: &ServerSetup<Suite>, epochs: &EpochKeys, index: usize) -> Person {
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
    let record = finished.message.serialize().to_vec().try_into().expect("192 bytes");
    let account = AccountId(*identifier.first_chunk().expect("64 bytes"));
    let held = Record::new(identifier.last_chunk().expect("64 bytes"), 1, &record, &[7; 32]).unwrap();
    let item = SealItem { account: &account, generation: 1, key_number: 1, record: &held };
    let sealed = epochs.seal(&[item]).remove(0).unwrap();
    Person {
        account,
        identifier,
        sealed,
        record,
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
        println!("lanes: not on this machine");
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
