//! What `strongroom bench` measures: ours and the peer's way to the same answers, checked first, then timed in turn.

#[path = "../../../benches/peer/mod.rs"]
mod peer;
#[path = "../../../benches/stack/mod.rs"]
mod stack;

use std::error::Error;
use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialRequest, CredentialResponse, Identifiers, ServerLogin, ServerLoginParameters, ServerRegistration,
    ServerSetup,
};
use peer::{Counter, Suite};
use rayon::ThreadPool;
use stack::at_place;
use strongroom::account::AccountId;
use strongroom::engine::{self, Point, Scalar};
use strongroom::error::Fault;
use strongroom::limits::CHUNK;
use strongroom::opaque::fake::{FakeKeys, Lookup, choose};
use strongroom::opaque::login::{self, Login};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Ke1, Ke3, RegistrationRequest, ServerKeys, random_static_secret};
use strongroom::secret::{Secret, fill_random, random_array};
use strongroom::wrap::{EpochKeys, OpenItem, Record, SealItem, Sealed};

const CONTEXT: &[u8] = b"strongroom-1";
const CODE: &[u8] = b"code";

/// What comes of something, or why nothing does.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How much time a measurement takes.
#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// About three seconds for each, and enough people for many chunks.
    Full,
    /// As little as shows that it runs.
    Quick,
}

impl Effort {
    fn budget(self) -> Duration {
        Duration::from_millis(if matches!(self, Effort::Full) { 3000 } else { 60 })
    }

    fn people(self) -> usize {
        if matches!(self, Effort::Full) { 1024 } else { 2 * CHUNK }
    }
}

/// Microseconds an item.
pub(crate) struct Pair {
    pub(crate) ours_us: f64,
    pub(crate) peer_us: f64,
}

impl Pair {
    /// How many times as fast ours is.
    pub(crate) fn ratio(&self) -> f64 {
        self.peer_us / self.ours_us
    }
}

/// One person: what the servers hold, and what their app is about to send.
struct Person {
    account: AccountId,
    nonce: [u8; 32],
    /// The peer has it in clear; we have it sealed.
    record: [u8; 192],
    sealed: Sealed,
    request: Vec<u8>,
    ke1: Vec<u8>,
    client: ClientLogin<Suite>,
}

impl Person {
    fn enrol(setup: &ServerSetup<Suite>, epochs: &EpochKeys, index: usize) -> Outcome<Self> {
        let mut random = Counter(index as u64 * 1_000_003);
        let (account, nonce) = (AccountId(random_array()?), random_array()?);
        let start = ClientRegistration::<Suite>::start(&mut random, CODE)?;
        let request = start.message.serialize().to_vec();
        let response = ServerRegistration::<Suite>::start(setup, start.message, &identifier(&account, &nonce))?.message;
        let identifiers = Identifiers { client: Some(&account.0), server: None };
        let parameters = ClientRegistrationFinishParameters::new(identifiers, None);
        let finished = start.state.finish(&mut random, CODE, response, parameters)?;
        let record: [u8; 192] = finished.message.serialize().as_slice().try_into()?;
        let plain = &Record::new(&nonce, 0, &record, b"a secret").map_err(|_| "a secret of a wrong length")?;
        let item = SealItem { account: &account, generation: 1, key_number: 1, record: plain };
        let sealed = epochs.seal(&[item]).remove(0)?;
        let login = ClientLogin::<Suite>::start(&mut random, CODE)?;
        let ke1 = login.message.serialize().to_vec();
        Ok(Person { account, nonce, record, sealed, request, ke1, client: login.state })
    }

    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: Some(&self.account.0), server: None }
    }

    /// The client's last step: KE3 and session key.
    fn finish(&self, ke2: &[u8]) -> Outcome<(Vec<u8>, Vec<u8>)> {
        let ke2 = CredentialResponse::<Suite>::deserialize(ke2)?;
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), self.identifiers(), None);
        let finished = self.client.clone().finish(&mut Counter(1), CODE, ke2, parameters)?;
        Ok((finished.message.serialize().to_vec(), finished.session_key.to_vec()))
    }
}

fn identifier(account: &AccountId, nonce: &[u8; 32]) -> Vec<u8> {
    [account.0, *nonce].concat()
}

/// People, and the two servers that hold their records.
pub(crate) struct World {
    effort: Effort,
    one: ThreadPool,
    keys: ServerKeys,
    fakes: FakeKeys,
    epochs: EpochKeys,
    setup: ServerSetup<Suite>,
    people: Vec<Person>,
    factors: Vec<(Scalar, Point)>,
    /// The same, halved, as the peer has it.
    peer_factors: Vec<(curve25519_dalek::Scalar, RistrettoPoint)>,
}

impl World {
    pub(crate) fn new(effort: Effort) -> Outcome<Self> {
        let (seed, secret) = (Secret::<[u8; 64]>::random()?, random_static_secret()?);
        let keys = ServerKeys::new(&seed, &secret)?;
        let fakes = FakeKeys::new(&Secret::random()?, &Secret::random()?)?;
        let setup = [&seed.expose()[..], secret.expose(), keys.public_key()].concat();
        let setup = ServerSetup::<Suite>::deserialize(&setup)?;
        let epochs = EpochKeys::new(1, &Secret::random()?);
        let people: Outcome<Vec<_>> = (0..effort.people()).map(|index| Person::enrol(&setup, &epochs, index)).collect();
        let mut uniform = [[0; 64]; CHUNK];
        fill_random(uniform.as_flattened_mut())?;
        let backend = engine::backend();
        let points = backend.decode(&backend.map(&uniform)).into_iter().flatten();
        let factors: Vec<_> = backend.reduce(&uniform).into_iter().flatten().zip(points).collect();
        let theirs = |(scalar, point): &(Scalar, Point)| {
            let scalar = curve25519_dalek::Scalar::from_bytes_mod_order(*scalar.to_bytes().expose());
            let point = CompressedRistretto(*point.encoding()).decompress().ok_or("a point that dalek refuses")?;
            Ok((scalar.div_by_2(), point))
        };
        let peer_factors = factors.iter().map(theirs).collect::<Outcome<Vec<_>>>()?;
        Ok(World { effort, one: pool(1)?, keys, fakes, epochs, setup, people: people?, factors, peer_factors })
    }

    /// How many people there are: the largest batch.
    pub(crate) fn people(&self) -> usize {
        self.people.len()
    }

    /// What one task evaluates.
    pub(crate) fn chunk(&self) -> usize {
        CHUNK
    }

    /// Whether both servers give every person the right answers, as real clients see it, and all products agree.
    pub(crate) fn check(&self) -> Outcome<()> {
        let registered = self.register(self.people())?.into_iter().zip(self.peer_register(self.people())?);
        for (ours, theirs) in registered {
            same("registration", &ours, &theirs)?;
        }
        let answers = self.log_in(self.people())?.into_iter().zip(self.peer_log_in(self.people())?);
        for (person, (ours, (peer_ke2, peer_state))) in self.people.iter().zip(answers) {
            let (ke3, session_key) = person.finish(&ours.ke2)?;
            let ke3 = Ke3::parse(&ke3).map_err(|_| "a client's KE3 is not one")?;
            let proven = login::finish(&[(&ours.state, &ke3)]).remove(0).ok_or("our KE2 gives the client no proof")?;
            same("session key", proven.expose(), &session_key)?;
            let (ke3, session_key) = person.finish(&peer_ke2)?;
            same("peer's state", &peer_state, &[session_key, ke3].concat())?;
        }
        let theirs: Vec<_> = self.peer_multiply().iter().flat_map(CompressedRistretto::to_bytes).collect();
        same("product", self.multiply()?.as_flattened(), &theirs)
    }

    /// Logins on one thread, KE1 to KE2.
    pub(crate) fn logins(&self, size: usize) -> Outcome<Pair> {
        let (ours, theirs) = (|| self.log_in(size), || self.peer_log_in(size));
        self.one.install(|| interleaved(self.effort.budget(), size, ours, theirs))
    }

    /// Registrations on one thread, request to response.
    pub(crate) fn registrations(&self) -> Outcome<Pair> {
        let (ours, theirs) = (|| self.register(CHUNK), || self.peer_register(CHUNK));
        self.one.install(|| interleaved(self.effort.budget(), CHUNK, ours, theirs))
    }

    /// Variable-base multiplications, encoded, each side by its fastest way to the same bytes.
    pub(crate) fn multiplications(&self) -> Outcome<Pair> {
        interleaved(self.effort.budget(), CHUNK, || Ok(self.multiply()?), || Ok(self.peer_multiply()))
    }

    /// Our logins in the largest batch, on two threads and, as the peer, on one. `None` on one processor.
    pub(crate) fn threads(&self) -> Outcome<Option<Pair>> {
        if available_parallelism()?.get() < 2 {
            return Ok(None);
        }
        let two = pool(2)?;
        let ours = || two.install(|| self.log_in(self.people()));
        let alone = || self.one.install(|| self.log_in(self.people()));
        interleaved(self.effort.budget(), self.people(), ours, alone).map(Some)
    }

    fn register(&self, count: usize) -> Outcome<Vec<[u8; 64]>> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.request[..]).collect();
        let requests = RegistrationRequest::parse(&messages).into_iter().collect::<Result<Vec<_>, _>>();
        let requests = requests.map_err(|_| "a client's request is not one")?;
        let identifiers: Vec<_> = people.iter().map(|person| identifier(&person.account, &person.nonce)).collect();
        let items = requests.iter().zip(&identifiers);
        let items = items.map(|(request, identifier)| Registration {
            keys: &self.keys,
            request,
            credential_identifier: identifier,
        });
        Ok(register::respond(&items.collect::<Vec<_>>()).into_iter().collect::<Result<_, _>>()?)
    }

    fn peer_register(&self, count: usize) -> Outcome<Vec<Vec<u8>>> {
        let people = self.people[..count].iter();
        people
            .map(|person| {
                let request = opaque_ke::RegistrationRequest::<Suite>::deserialize(&person.request)?;
                let identifier = identifier(&person.account, &person.nonce);
                let started = ServerRegistration::<Suite>::start(&self.setup, request, &identifier)?;
                Ok(started.message.serialize().to_vec())
            })
            .collect()
    }

    /// Ours: what a vault does with a batch, from bytes to bytes, record opened.
    fn log_in(&self, count: usize) -> Outcome<Vec<login::Response>> {
        let people = &self.people[..count];
        let messages: Vec<&[u8]> = people.iter().map(|person| &person.ke1[..]).collect();
        let ke1s = Ke1::parse(&messages).into_iter().collect::<Result<Vec<_>, _>>();
        let ke1s = ke1s.map_err(|_| "a client's KE1 is not one")?;
        let sealed = people.iter();
        let sealed = sealed.map(|person| OpenItem { account: &person.account, generation: 1, sealed: &person.sealed });
        let records = self.epochs.open(&sealed.collect::<Vec<_>>()).into_iter().collect::<Result<Vec<_>, _>>()?;
        let lookups = people.iter().zip(&records).map(|(person, record)| Lookup {
            known: 1.into(),
            keys: &self.keys,
            account: &person.account.0,
            nonce: record.nonce(),
            record: record.opaque(),
        });
        let chosen = choose(&lookups.collect::<Vec<_>>(), &self.fakes);
        let logins = chosen.iter().zip(&ke1s).zip(people).map(|((chosen, ke1), person)| Login {
            keys: &self.keys,
            credential: chosen.credential(),
            ke1,
            context: CONTEXT,
            client_identity: Some(&person.account.0),
            server_identity: None,
        });
        Ok(login::respond(&logins.collect::<Vec<_>>())?.into_iter().collect::<Result<_, _>>()?)
    }

    /// The peer's: one message after another, over records in clear.
    fn peer_log_in(&self, count: usize) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
        let people = self.people[..count].iter();
        people
            .map(|person| {
                let parameters = ServerLoginParameters { context: Some(CONTEXT), identifiers: person.identifiers() };
                let record = ServerRegistration::<Suite>::deserialize(&person.record)?;
                let ke1 = CredentialRequest::<Suite>::deserialize(&person.ke1)?;
                let identifier = identifier(&person.account, &person.nonce);
                let mut random = Counter(u64::from(person.ke1[40]));
                let started = ServerLogin::start(&mut random, &self.setup, Some(record), ke1, &identifier, parameters)?;
                Ok((started.message.serialize().to_vec(), started.state.serialize().to_vec()))
            })
            .collect()
    }

    fn multiply(&self) -> Result<Vec<[u8; 32]>, Fault> {
        let items: Vec<_> = self.factors.iter().map(|(scalar, point)| (scalar, point)).collect();
        engine::backend().multiply(&items)
    }

    /// The peer encodes a batch fastest if it multiplies halves and encodes their doubles together.
    fn peer_multiply(&self) -> Vec<CompressedRistretto> {
        let halves: Vec<_> = self.peer_factors.iter().map(|(half, point)| half * point).collect();
        RistrettoPoint::double_and_compress_batch(&halves)
    }
}

fn pool(threads: usize) -> Outcome<ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

fn same(what: &str, ours: &[u8], theirs: &[u8]) -> Outcome<()> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours and the peer's differ, so nothing is timed").into()) }
}

/// Microseconds an item of both, taken in turn, round by round; of each the first decile of its rounds counts, since
/// what other programs take away from a round is not ours to measure.
fn interleaved<A, B>(
    budget: Duration,
    size: usize,
    ours: impl Fn() -> Outcome<A>,
    peer: impl Fn() -> Outcome<B>,
) -> Outcome<Pair> {
    fn timed<T>(round: usize, work: impl Fn() -> Outcome<T>, size: usize) -> Outcome<f64> {
        // Small batches are repeated, so that a clock tick or an interrupt is no large part of a round.
        let repeats = (16 / size).max(1);
        let start = Instant::now();
        let mut done = Ok(());
        at_place(round, &mut || done = (0..repeats).try_for_each(|_| work().map(|it| drop(black_box(it)))));
        done?;
        Ok(start.elapsed().as_secs_f64() * 1e6 / (repeats * size) as f64)
    }
    black_box((ours()?, peer()?));
    let start = Instant::now();
    let (mut times, mut peer_times) = (Vec::new(), Vec::new());
    while times.is_empty() || start.elapsed() < budget {
        let round = times.len();
        times.push(timed(round, &ours, size)?);
        peer_times.push(timed(round, &peer, size)?);
    }
    Ok(Pair { ours_us: first_decile(times), peer_us: first_decile(peer_times) })
}

/// Of at least one time.
fn first_decile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_not_timed() -> Outcome<()> {
        let mut world = World::new(Effort::Quick)?;
        world.check()?;
        let (mine, next) = (world.people[1].nonce, world.people[2].nonce);
        // The peer evaluates under another key than the client enrolled with.
        world.people[1].nonce = next;
        assert!(world.check().is_err());
        world.people[1].nonce = mine;
        world.check()?;
        world.peer_factors.swap(0, CHUNK - 1);
        assert!(world.check().is_err());
        Ok(())
    }

    #[test]
    fn the_first_decile_is_near_the_fastest() {
        assert_eq!(first_decile((1..=100).rev().map(f64::from).collect()), 11.0);
        assert_eq!(first_decile(vec![7.0]), 7.0);
    }

    #[test]
    fn a_failure_ends_a_measurement() {
        let fails = || -> Outcome<()> { Err("no".into()) };
        assert!(interleaved(Duration::ZERO, 1, fails, || Ok(())).is_err());
        assert!(interleaved(Duration::ZERO, 1, || Ok(()), fails).is_err());
        assert!(interleaved(Duration::ZERO, 1, || Ok(()), || Ok(())).is_ok());
    }
}
