//! The doors that secrets go through: one list for every check of what a secret leaves behind, be it in the trace of
//! instructions, in time or in memory.
//!
//! A [`Door`] is made [`Door::ready`] with [`Secrets`], which say what its secret bytes are; everything public about it,
//! sizes and outcomes included, is the same each time. What is ready can then be gone through as often as a check likes,
//! on the backend that `STRONGROOM_BACKEND` names.

#![allow(dead_code, unreachable_pub, clippy::expect_used)] // each check uses some of it; what a door refuses here is a broken check

use std::hint::black_box;
use std::ops::Range;
use std::slice;

use curve25519_dalek::montgomery::MontgomeryPoint;
use derived::{Derived, LoginOf};
use strongroom::account::AccountId;
use strongroom::engine::sha512::Prefix;
use strongroom::engine::{Exchange, Exchanged, Point, Scalar, backend};
use strongroom::error::Fault;
use strongroom::opaque::fake::{self, Chosen, FakeKeys, Lookup};
use strongroom::opaque::login::{self, Login, Randomness, Response};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Credential, Ke1, Ke3, RegistrationRequest, ServerKeys};
use strongroom::oprf;
#[cfg(all(feature = "channel", not(feature = "valgrind")))]
use strongroom::protocol::REQUEST_LEN;
use strongroom::secret::Secret;
#[cfg(all(feature = "channel", not(feature = "valgrind")))]
use strongroom::session::{ChannelKey, ChannelKeys};
use strongroom::wrap::{
    EpochKey, EpochKeys, LoginTicket, MemoryRoot, OpenItem, Record, RootSource, SealItem, Sealed, TicketKeys,
};
use subtle::Choice;

pub mod derived;

/// What the bytes of secrets look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Drawn from a stream of this number.
    Random(u64),
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// One bit in 32 bytes, at a place drawn from a stream of this number.
    LowWeight(u64),
    /// All bits in 32 bytes but one.
    HighWeight(u64),
}

impl Kind {
    /// `count` kinds, the first ones as different as can be.
    pub fn first(count: usize) -> Vec<Kind> {
        let ends = [Kind::Random(0), Kind::Zeros, Kind::Ones];
        let more = (0..).flat_map(|n| [Kind::LowWeight(n), Kind::Random(n + 1), Kind::HighWeight(n)]);
        ends.into_iter().chain(more).take(count).collect()
    }
}

/// Where a door gets its secret bytes from.
pub struct Secrets {
    kind: Kind,
    stream: Stream,
    /// Is shown each piece of secret bytes before it is used.
    seen: fn(Piece, &mut [u8]),
    /// Is told what is derived from them. Without it nobody computes that.
    told: Option<fn(&str, &[u8])>,
}

/// What a piece of secret bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A key, a seed, a scalar, or what is kept under them.
    Secret,
    /// An element, or a number inside a ticket. Doors must not tell it apart from others, but it is no key, and nobody
    /// wipes it.
    Hidden,
}

impl Secrets {
    /// Secret bytes of one kind.
    pub fn new(kind: Kind) -> Self {
        let (Kind::Random(number) | Kind::LowWeight(number) | Kind::HighWeight(number)) = kind else {
            return Secrets { kind, stream: Stream(0), seen: |_, _| {}, told: None };
        };
        Secrets { kind, stream: Stream(number), seen: |_, _| {}, told: None }
    }

    /// The same, and each piece is shown to `seen` before it is used.
    pub fn shown_to(mut self, seen: fn(Piece, &mut [u8])) -> Self {
        self.seen = seen;
        self
    }

    /// The same, and `told` is told what is derived from them on the way through the door, each value with its name.
    pub fn told_to(mut self, told: fn(&str, &[u8])) -> Self {
        self.told = Some(told);
        self
    }

    /// What is derived from these secrets, for who wants to know.
    fn derived(&self, tell: impl FnOnce(&Derived)) {
        if let Some(told) = self.told {
            tell(&Derived::new(told));
        }
    }

    fn raw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        match self.kind {
            Kind::Random(_) => bytes = self.stream.bytes(),
            Kind::Zeros => {}
            Kind::Ones => bytes = [0xff; N],
            Kind::LowWeight(_) | Kind::HighWeight(_) => {
                for part in bytes.chunks_mut(32) {
                    let bit = self.stream.next() as usize % (8 * part.len());
                    part[bit / 8] |= 1 << (bit % 8);
                    if matches!(self.kind, Kind::HighWeight(_)) {
                        part.iter_mut().for_each(|byte| *byte = !*byte);
                    }
                }
            }
        }
        bytes
    }

    /// Secret bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = self.raw();
        (self.seen)(Piece::Secret, &mut bytes);
        bytes
    }

    /// Bytes that are hidden and no secret.
    pub fn hidden<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = self.raw();
        (self.seen)(Piece::Hidden, &mut bytes);
        bytes
    }

    /// Secret bytes that are the same for every kind, since something public is computed from them that shows.
    #[cfg(all(feature = "channel", not(feature = "valgrind")))]
    pub fn fixed<const N: usize>(&mut self, mut bytes: [u8; N]) -> Secret<[u8; N]> {
        (self.seen)(Piece::Secret, &mut bytes);
        Secret::new(bytes)
    }

    /// Several pieces of secret bytes in custody.
    pub fn several<const N: usize>(&mut self, count: usize) -> Secret<Vec<[u8; N]>> {
        let mut several = Secret::new(vec![[0; N]; count]);
        for bytes in several.expose_mut() {
            *bytes = self.bytes();
        }
        several
    }

    /// Secret bytes in custody.
    pub fn secret<const N: usize>(&mut self) -> Secret<[u8; N]> {
        let mut secret = Secret::new([0; N]);
        secret.expose_mut().copy_from_slice(&self.raw::<N>());
        (self.seen)(Piece::Secret, secret.expose_mut());
        secret
    }

    /// A secret scalar's encoding: neither zero nor unreduced.
    pub fn scalar_bytes(&mut self) -> Secret<[u8; 32]> {
        let mut secret = Secret::new(self.raw::<32>());
        let bytes = secret.expose_mut();
        bytes[31] &= 0x0f;
        if *bytes == [0; 32] {
            bytes[0] = 1;
        }
        (self.seen)(Piece::Secret, bytes);
        secret
    }

    /// A secret scalar.
    pub fn scalar(&mut self) -> Scalar {
        Scalar::from_bytes(self.scalar_bytes().expose()).expect("below the order and not zero")
    }

    /// Secret scalars.
    pub fn scalars(&mut self, count: usize) -> Vec<Scalar> {
        (0..count).map(|_| self.scalar()).collect()
    }

    /// The encodings of secret elements.
    pub fn encodings(&mut self, count: usize) -> Vec<[u8; 32]> {
        let scalars = self.scalars(count);
        let encodings = backend().multiply_base(&scalars.iter().collect::<Vec<_>>());
        let mut encodings = encodings.expect("a sound machine");
        for encoding in &mut encodings {
            (self.seen)(Piece::Hidden, encoding);
        }
        encodings
    }

    /// Secret elements.
    pub fn points(&mut self, count: usize) -> Vec<Point> {
        points(&self.encodings(count))
    }
}

/// What can be told of a door from outside: nothing of this is secret, so it is the same each time.
struct Public(Stream);

impl Public {
    fn new() -> Self {
        Public(Stream(u64::MAX))
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.0.bytes()
    }

    /// A KE1, whose two elements are valid.
    fn ke1(&mut self) -> Ke1 {
        let elements = backend().map(&[self.bytes(), self.bytes()]);
        let message = [&elements[0][..], &self.bytes::<32>(), &elements[1]].concat();
        Ke1::parse(&[&message]).remove(0).expect("two valid elements")
    }

    fn registration_request(&mut self) -> RegistrationRequest {
        let elements = backend().map(&[self.bytes()]);
        RegistrationRequest::parse(&[&elements[0]]).remove(0).expect("a valid element")
    }

    fn accounts(&mut self, count: usize) -> Vec<AccountId> {
        (0..count).map(|_| AccountId(self.bytes())).collect()
    }
}

/// splitmix64.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        bytes
    }
}

/// One way in which secrets enter the crate.
pub struct Door {
    /// Room, function and number of items.
    pub name: &'static str,
    prepare: fn(&mut Secrets) -> Ready,
}

/// A door with its secrets before it: calling it goes through. It checks what is public of the outcome.
pub type Ready = Box<dyn Fn()>;

/// What becomes of a door's outcome: it is dropped, and by a control it is not.
pub type Then<T> = fn(T);

impl Door {
    /// A door of a check's own: a control.
    pub fn new(name: &'static str, prepare: fn(&mut Secrets) -> Ready) -> Self {
        Door { name, prepare }
    }

    /// Puts secrets before the door.
    pub fn ready(&self, mut secrets: Secrets) -> Ready {
        (self.prepare)(&mut secrets)
    }

    /// The door of that name.
    pub fn named(name: &str) -> Option<Door> {
        doors().into_iter().find(|door| door.name == name)
    }
}

/// Every door.
pub fn doors() -> Vec<Door> {
    let door = Door::new;
    vec![
        door("engine scalar", scalar),
        door("engine decode 1", |secrets| decode(secrets, 1)),
        door("engine decode 8", |secrets| decode(secrets, 8)),
        door("engine map 1", |secrets| map(secrets, 1)),
        door("engine map 8", |secrets| map(secrets, 8)),
        door("engine reduce 8", |secrets| reduce(secrets, 8, drop)),
        door("engine multiply 1", |secrets| multiply(secrets, 1)),
        door("engine multiply 8", |secrets| multiply(secrets, 8)),
        door("engine multiply_base 1", |secrets| multiply_base(secrets, 1)),
        door("engine multiply_base 8", |secrets| multiply_base(secrets, 8)),
        door("engine exchange 1", |secrets| exchange(secrets, 1, drop)),
        door("engine exchange 8", |secrets| exchange(secrets, 8, drop)),
        door("engine x25519 1", |secrets| x25519(secrets, 1, drop)),
        door("engine digests 8", |secrets| digests(secrets, 8, drop)),
        door("engine macs 1", |secrets| macs(secrets, 1, drop)),
        door("engine macs 8", |secrets| macs(secrets, 8, drop)),
        door("oprf derive_keys 1", |secrets| derive_keys(secrets, 1, drop)),
        door("oprf derive_keys 8", |secrets| derive_keys(secrets, 8, drop)),
        door("oprf blind_evaluate 1", |secrets| blind_evaluate(secrets, 1)),
        door("oprf blind_evaluate 8", |secrets| blind_evaluate(secrets, 8)),
        door("opaque server_keys", server_keys),
        door("opaque register 1", |secrets| register(secrets, 1)),
        door("opaque register 8", |secrets| register(secrets, 8)),
        door("opaque fake_keys", fake_keys),
        door("opaque choose 8", |secrets| choose(secrets, 8)),
        door("opaque login 1", |secrets| respond(secrets, 1, drop)),
        door("opaque login 8", |secrets| respond(secrets, 8, drop)),
        door("opaque login 32", |secrets| respond(secrets, 32, drop)),
        door("opaque finish right", |secrets| finish(secrets, true)),
        door("opaque finish wrong", |secrets| finish(secrets, false)),
        door("wrap epoch_key", epoch_key),
        door("wrap record_seal 8", |secrets| record_seal(secrets, 8)),
        door("wrap record_open 8", |secrets| record_open(secrets, 8)),
        door("wrap blob_open", blob_open),
        door("wrap ticket_seal 8", |secrets| ticket_seal(secrets, 8)),
        door("wrap ticket_open 8", |secrets| ticket_open(secrets, 8)),
        // Not for valgrind: ML-KEM's matrix is drawn from a public part of the key, until what is drawn fits.
        #[cfg(all(feature = "channel", not(feature = "valgrind")))]
        door("session open 1", |secrets| open_requests(secrets, 1)),
    ]
}

/// Doors that batches of more than one chunk go through, on several threads: for the search of memory alone.
pub fn larger_doors() -> Vec<Door> {
    let door = Door::new;
    vec![
        door("opaque choose 80", |secrets| choose(secrets, 80)),
        door("opaque login 80", |secrets| respond(secrets, 80, drop)),
        door("wrap record_seal 80", |secrets| record_seal(secrets, 80)),
        door("wrap record_open 80", |secrets| record_open(secrets, 80)),
    ]
}

// ---- engine

fn scalar(secrets: &mut Secrets) -> Ready {
    let bytes = secrets.scalar_bytes();
    Box::new(move || {
        let scalar = Scalar::from_bytes(bytes.expose());
        black_box(scalar.expect("below the order and not zero").to_bytes());
    })
}

fn decode(secrets: &mut Secrets, count: usize) -> Ready {
    let encodings = secrets.encodings(count);
    Box::new(move || {
        assert!(black_box(backend().decode(&encodings)).iter().all(Option::is_some));
    })
}

fn map(secrets: &mut Secrets, count: usize) -> Ready {
    let uniform = secrets.several::<64>(count);
    Box::new(move || {
        black_box(backend().map(uniform.expose()));
    })
}

pub fn reduce(secrets: &mut Secrets, count: usize, then: Then<Vec<Option<Scalar>>>) -> Ready {
    // With a public bit set, none is zero.
    let mut uniform = secrets.several::<64>(count);
    uniform.expose_mut().iter_mut().for_each(|bytes| bytes[32] |= 1);
    secrets.derived(|derived| {
        for (index, (bytes, theirs)) in uniform.expose().iter().zip(backend().reduce(uniform.expose())).enumerate() {
            derived.tell(&format!("uniform bytes {index}"), bytes);
            same_scalar(&derived.reduced(&format!("scalar {index}"), bytes), theirs.as_ref().expect("not zero"));
        }
    });
    Box::new(move || {
        let scalars = black_box(backend().reduce(uniform.expose()));
        assert!(scalars.iter().all(Option::is_some));
        then(scalars);
    })
}

fn multiply(secrets: &mut Secrets, count: usize) -> Ready {
    let (scalars, points) = (secrets.scalars(count), secrets.points(count));
    Box::new(move || {
        black_box(backend().multiply(&scalars.iter().zip(&points).collect::<Vec<_>>()).expect("a sound machine"));
    })
}

fn multiply_base(secrets: &mut Secrets, count: usize) -> Ready {
    let scalars = secrets.scalars(count);
    Box::new(move || {
        black_box(backend().multiply_base(&scalars.iter().collect::<Vec<_>>()).expect("a sound machine"));
    })
}

pub fn exchange(secrets: &mut Secrets, count: usize, then: Then<Vec<Exchanged>>) -> Ready {
    let (scalars, points) = (secrets.scalars(3 * count), secrets.points(3 * count));
    secrets.derived(|derived| {
        let (scalars, _) = scalars.as_chunks::<3>();
        let (points, _) = points.as_chunks::<3>();
        let ours = |scalar: &Scalar, point: &Point| {
            let product = derived::scalar(scalar.to_bytes().expose()) * derived::element(point.encoding());
            product.compress().to_bytes()
        };
        for (index, theirs) in exchanged(scalars.as_flattened(), points.as_flattened()).iter().enumerate() {
            let ([_, ephemeral, fixed], [_, client_ephemeral, client_static]) = (&scalars[index], &points[index]);
            let shared = [(ephemeral, client_ephemeral), (fixed, client_ephemeral), (ephemeral, client_static)]
                .map(|(scalar, point)| ours(scalar, point));
            assert_eq!(shared, *theirs.shared.expose(), "both compute the same");
            shared.iter().for_each(|shared| derived.tell(&format!("shared secret {index}"), shared));
        }
    });
    Box::new(move || then(black_box(exchanged(&scalars, &points))))
}

/// Three scalars and three points make an exchange.
fn exchanged(scalars: &[Scalar], points: &[Point]) -> Vec<Exchanged> {
    let (scalars, _) = scalars.as_chunks::<3>();
    let (points, _) = points.as_chunks::<3>();
    let items: Vec<_> = scalars
        .iter()
        .zip(points)
        .map(|([oprf_key, server_ephemeral, server_static], [blinded, client_ephemeral, client_static])| Exchange {
            oprf_key,
            blinded,
            server_ephemeral,
            server_static,
            client_ephemeral,
            client_static,
        })
        .collect();
    backend().exchange(&items).expect("a sound machine")
}

pub fn x25519(secrets: &mut Secrets, count: usize, then: Then<Secret<Vec<[u8; 32]>>>) -> Ready {
    let (scalars, coordinates) = (secrets.several::<32>(count), secrets.several::<32>(count));
    let multiply = |scalars: &Secret<Vec<_>>, coordinates: &Secret<Vec<_>>| {
        backend().x25519(&scalars.expose().iter().zip(coordinates.expose()).collect::<Vec<_>>())
    };
    secrets.derived(|derived| {
        let theirs = multiply(&scalars, &coordinates);
        for (index, (scalar, coordinate)) in scalars.expose().iter().zip(coordinates.expose()).enumerate() {
            let shared = MontgomeryPoint(*coordinate).mul_clamped(*scalar).to_bytes();
            assert_eq!(shared, theirs.expose()[index], "both compute the same");
            derived.tell(&format!("shared secret {index}"), &shared);
        }
    });
    Box::new(move || then(black_box(multiply(&scalars, &coordinates))))
}

pub fn digests(secrets: &mut Secrets, count: usize, then: Then<Secret<Vec<[u8; 64]>>>) -> Ready {
    let start = secrets.secret::<150>();
    let messages = secrets.several::<300>(count);
    let prefix = Prefix::new(&[start.expose()]);
    secrets.derived(|derived| {
        for (index, (message, theirs)) in
            messages.expose().iter().zip(digested(&prefix, &messages).expose()).enumerate()
        {
            assert_eq!(derived.digest(&format!("digest {index}"), &[start.expose(), message], 0), *theirs);
        }
    });
    Box::new(move || then(black_box(digested(&prefix, &messages))))
}

fn digested(prefix: &Prefix, messages: &Secret<Vec<[u8; 300]>>) -> Secret<Vec<[u8; 64]>> {
    let messages = messages.expose();
    backend().digests(&messages.iter().map(|message| (prefix, [&message[..]])).collect::<Vec<_>>())
}

pub fn macs(secrets: &mut Secrets, count: usize, then: Then<Secret<Vec<[u8; 64]>>>) -> Ready {
    let (keys, messages) = (secrets.several::<64>(count), secrets.several::<100>(count));
    secrets.derived(|derived| {
        let theirs = maced(&keys, &messages);
        for (index, (key, message)) in keys.expose().iter().zip(messages.expose()).enumerate() {
            assert_eq!(derived.mac(&format!("MAC {index}"), key, &[message]), theirs.expose()[index]);
        }
    });
    Box::new(move || then(black_box(maced(&keys, &messages))))
}

fn maced(keys: &Secret<Vec<[u8; 64]>>, messages: &Secret<Vec<[u8; 100]>>) -> Secret<Vec<[u8; 64]>> {
    let keys = backend().mac_keys(keys.expose());
    let items: Vec<_> = keys.iter().zip(messages.expose()).map(|(key, message)| (key, [&message[..]])).collect();
    backend().macs(&items)
}

// ---- oprf

pub fn derive_keys(secrets: &mut Secrets, count: usize, then: Then<Vec<Scalar>>) -> Ready {
    const INFO: &[u8] = b"a public info";
    let seeds = secrets.several::<32>(count);
    let derive = |seeds: &Secret<Vec<[u8; 32]>>| {
        oprf::derive_keys(&seeds.expose().iter().collect::<Vec<_>>(), INFO).expect("a short info")
    };
    secrets.derived(|derived| {
        for (index, (seed, theirs)) in seeds.expose().iter().zip(derive(&seeds)).enumerate() {
            same_scalar(&derived.key_pair(&format!("OPRF key {index}"), seed, INFO), &theirs);
        }
    });
    Box::new(move || then(black_box(derive(&seeds))))
}

fn blind_evaluate(secrets: &mut Secrets, count: usize) -> Ready {
    let keys = secrets.scalars(count);
    let mut public = Public::new();
    let blinded = points(&backend().map(&(0..count).map(|_| public.bytes()).collect::<Vec<_>>()));
    Box::new(move || {
        black_box(oprf::blind_evaluate(&keys.iter().zip(&blinded).collect::<Vec<_>>()).expect("a sound machine"));
    })
}

// ---- opaque

fn server_keys(secrets: &mut Secrets) -> Ready {
    let (seed, static_secret) = (secrets.secret(), secrets.scalar_bytes());
    Box::new(move || {
        black_box(ServerKeys::new(&seed, &static_secret).expect("a reduced scalar"));
    })
}

/// A server's keys, and what they are made from.
struct Server {
    keys: ServerKeys,
    seed: Secret<[u8; 64]>,
    static_secret: Secret<[u8; 32]>,
}

impl Server {
    fn new(secrets: &mut Secrets) -> Self {
        let (seed, static_secret) = (secrets.secret(), secrets.scalar_bytes());
        let keys = ServerKeys::new(&seed, &static_secret).expect("a reduced scalar");
        Server { keys, seed, static_secret }
    }
}

/// A record of OPAQUE. Boxed: where this moves to, it leaves a pointer behind.
type KeptRecord = Box<Secret<[u8; 192]>>;

/// A record in which all is secret.
fn record(secrets: &mut Secrets) -> KeptRecord {
    let mut record = Box::new(secrets.secret());
    record.expose_mut()[..32].copy_from_slice(&secrets.encodings(1)[0]);
    record
}

fn register(secrets: &mut Secrets, count: usize) -> Ready {
    let server = Server::new(secrets);
    let identifiers = secrets.several::<64>(count);
    let mut public = Public::new();
    let requests: Vec<_> = (0..count).map(|_| public.registration_request()).collect();
    let respond = move |keys: &ServerKeys, identifiers: &Secret<Vec<[u8; 64]>>, requests: &[RegistrationRequest]| {
        let items: Vec<_> = requests
            .iter()
            .zip(identifiers.expose())
            .map(|(request, identifier)| Registration { keys, request, credential_identifier: identifier })
            .collect();
        register::respond(&items)
    };
    secrets.derived(|derived| {
        let theirs = respond(&server.keys, &identifiers, &requests);
        for (index, (identifier, request)) in identifiers.expose().iter().zip(&requests).enumerate() {
            let key = derived.oprf_key(index, &server.seed, identifier);
            let evaluated = (key * derived::element(request.as_bytes())).compress().to_bytes();
            assert_eq!(evaluated, theirs[index].as_ref().expect("a response")[..32], "it is this key");
        }
    });
    let keys = server.keys;
    Box::new(move || assert!(black_box(respond(&keys, &identifiers, &requests)).iter().all(Result::is_ok)))
}

fn fake_keys(secrets: &mut Secrets) -> Ready {
    let (seed, masking) = (secrets.secret(), secrets.secret());
    // That these are the bytes, `choose` finds.
    secrets.derived(|derived| {
        derived.fake_client(&masking);
    });
    Box::new(move || {
        black_box(FakeKeys::new(&seed, &masking).expect("not the identity"));
    })
}

/// Accounts to look up.
struct Lookups {
    keys: ServerKeys,
    fakes: FakeKeys,
    known: Vec<[u8; 1]>,
    nonces: Secret<Vec<[u8; 32]>>,
    records: Vec<KeptRecord>,
    accounts: Vec<AccountId>,
}

impl Lookups {
    fn is_known(&self, index: usize) -> bool {
        self.known[index][0] & 1 == 1
    }

    fn choose(&self) -> Vec<Chosen> {
        let items: Vec<_> = (0..self.accounts.len())
            .map(|index| Lookup {
                known: Choice::from(self.known[index][0] & 1),
                keys: &self.keys,
                account: self.accounts[index].as_bytes(),
                nonce: &self.nonces.expose()[index],
                record: self.records[index].expose(),
            })
            .collect();
        fake::choose(&items, &self.fakes)
    }
}

fn choose(secrets: &mut Secrets, count: usize) -> Ready {
    let Server { keys, seed, static_secret } = Server::new(secrets);
    let (fake_seed, masking) = (secrets.secret(), secrets.secret());
    let lookups = Lookups {
        keys,
        fakes: FakeKeys::new(&fake_seed, &masking).expect("not the identity"),
        known: (0..count).map(|_| secrets.bytes()).collect(),
        nonces: secrets.several::<32>(count),
        records: (0..count).map(|_| record(secrets)).collect(),
        accounts: Public::new().accounts(count),
    };
    secrets.derived(|derived| {
        derived.fake_client(&masking);
        // What is chosen shows in a login.
        let ke1 = Public::new().ke1();
        let theirs = lookups.choose();
        assert!((0..count).any(|index| !lookups.is_known(index)), "there is a fake to check");
        for (index, chosen) in theirs.iter().enumerate() {
            let account = lookups.accounts[index].as_bytes();
            let fake = derived.fake_record(index, &masking, account);
            let (seed, nonce, record) = match lookups.is_known(index) {
                true => (&seed, &lookups.nonces.expose()[index], lookups.records[index].expose()),
                false => (&fake_seed, &[0; 32], &fake),
            };
            let of = LoginOf {
                seed,
                static_secret: &static_secret,
                identifier: &[&account[..], nonce].concat(),
                record,
                ke1: ke1.as_bytes(),
                masking_nonce: &[1; 32],
                server_nonce: &[2; 32],
                keyshare_seed: &[3; 32],
                context: CONTEXT,
                client_identity: account,
            };
            let theirs = login_of(&lookups.keys, chosen.credential(), &ke1, account);
            let randomness = randomness([[1; 32], [2; 32]], &[3; 32]);
            let answer = login::respond_with(&[(theirs, randomness)]).remove(0).expect("a login");
            let silent = Derived::new(|_, _| {});
            assert_eq!(silent.login(index, &of), (answer.ke2, *answer.state.expose()), "account {index} of {count}");
        }
    });
    Box::new(move || drop(black_box(lookups.choose())))
}

const CONTEXT: &[u8] = b"strongroom-1";

fn login_of<'a>(keys: &'a ServerKeys, credential: Credential<'a>, ke1: &'a Ke1, identity: &'a [u8; 32]) -> Login<'a> {
    Login { keys, credential, ke1, context: CONTEXT, client_identity: Some(identity), server_identity: None }
}

fn randomness([masking_nonce, server_nonce]: [[u8; 32]; 2], seed: &[u8; 32]) -> Randomness {
    let mut randomness = Randomness { masking_nonce, server_nonce, keyshare_seed: Secret::new([0; 32]) };
    randomness.keyshare_seed.expose_mut().copy_from_slice(seed);
    randomness
}

/// Logins to answer.
struct Logins {
    keys: ServerKeys,
    identifiers: Secret<Vec<[u8; 64]>>,
    records: Vec<KeptRecord>,
    seeds: Secret<Vec<[u8; 32]>>,
    ke1s: Vec<Ke1>,
    nonces: Vec<[[u8; 32]; 2]>,
    accounts: Vec<AccountId>,
}

impl Logins {
    fn respond(&self) -> Vec<Result<Response, Fault>> {
        let mut items: Vec<_> = (0..self.accounts.len())
            .map(|index| {
                let credential = self.keys.credential(&self.identifiers.expose()[index], self.records[index].expose());
                let login = login_of(&self.keys, credential, &self.ke1s[index], self.accounts[index].as_bytes());
                let [masking_nonce, server_nonce] = self.nonces[index];
                (login, Randomness { masking_nonce, server_nonce, keyshare_seed: Secret::new([0; 32]) })
            })
            .collect();
        for ((_, randomness), seed) in items.iter_mut().zip(self.seeds.expose()) {
            randomness.keyshare_seed.expose_mut().copy_from_slice(seed);
        }
        login::respond_with(&items)
    }
}

pub fn respond(secrets: &mut Secrets, count: usize, then: Then<Vec<Result<Response, Fault>>>) -> Ready {
    let mut public = Public::new();
    let Server { keys, seed, static_secret } = Server::new(secrets);
    let logins = Logins {
        keys,
        identifiers: secrets.several::<64>(count),
        records: (0..count).map(|_| record(secrets)).collect(),
        seeds: secrets.several::<32>(count),
        ke1s: (0..count).map(|_| public.ke1()).collect(),
        nonces: (0..count).map(|_| [public.bytes(), public.bytes()]).collect(),
        accounts: public.accounts(count),
    };
    secrets.derived(|derived| {
        for (index, theirs) in logins.respond().into_iter().enumerate() {
            let theirs = theirs.expect("a response");
            let ours = derived.login(
                index,
                &LoginOf {
                    seed: &seed,
                    static_secret: &static_secret,
                    identifier: &logins.identifiers.expose()[index],
                    record: logins.records[index].expose(),
                    ke1: logins.ke1s[index].as_bytes(),
                    masking_nonce: &logins.nonces[index][0],
                    server_nonce: &logins.nonces[index][1],
                    keyshare_seed: &logins.seeds.expose()[index],
                    context: CONTEXT,
                    client_identity: logins.accounts[index].as_bytes(),
                },
            );
            assert_eq!(ours, (theirs.ke2, *theirs.state.expose()), "login {index} of {count}");
        }
    });
    Box::new(move || {
        let responses = black_box(logins.respond());
        assert!(responses.iter().all(Result::is_ok));
        then(responses);
    })
}

fn finish(secrets: &mut Secrets, right: bool) -> Ready {
    let mut state = Box::new(secrets.secret::<128>());
    let mut ke3 = Public::new().bytes::<64>();
    if right {
        // Which KE3 comes is the client's to say; whether it is the expected one is public.
        state.expose_mut()[..64].copy_from_slice(&ke3);
    } else {
        // Never the expected one, wherever they may agree.
        ke3[0] = !state.expose()[0];
    }
    let ke3 = Ke3::parse(&ke3).expect("64 bytes");
    Box::new(move || {
        let keys = black_box(login::finish(&[(&state, &ke3)]));
        assert_eq!(keys[0].is_some(), right);
    })
}

// ---- wrap

/// A root of epoch 1, and its bytes.
fn root(secrets: &mut Secrets) -> (MemoryRoot, Secret<[u8; 64]>) {
    let (source, root) = (MemoryRoot::new(), secrets.secret());
    source.create_with(1, root.expose()).expect("the first root");
    (source, root)
}

fn epoch_key(secrets: &mut Secrets) -> Ready {
    let (source, root) = root(secrets);
    tell_epoch_key(secrets, &source, &root);
    Box::new(move || {
        black_box(EpochKeys::load(&source, 1).expect("epoch 1"));
    })
}

/// No door of its own, but the one way in which the key of an epoch comes out.
pub fn handed_over_epoch_key(secrets: &mut Secrets, then: Then<EpochKey>) -> Ready {
    let (source, root) = root(secrets);
    tell_epoch_key(secrets, &source, &root);
    Box::new(move || then(black_box(source.derive(1).expect("epoch 1"))))
}

fn tell_epoch_key(secrets: &Secrets, source: &MemoryRoot, root: &Secret<[u8; 64]>) {
    secrets.derived(|derived| {
        assert_eq!(derived.epoch_key(root), *source.derive(1).expect("epoch 1").expose(), "both derive the same");
    });
}

/// Records in which all is secret but the length of what they hold.
fn records(secrets: &mut Secrets, count: usize) -> Vec<Record> {
    let mut one = || {
        let (nonce, opaque) = (secrets.secret(), record(secrets));
        let (preset, secret) = (secrets.bytes::<1>(), secrets.secret::<40>());
        Record::new(nonce.expose(), preset[0], opaque.expose(), secret.expose()).expect("40 bytes")
    };
    (0..count).map(|_| one()).collect()
}

/// What is secret of a record: nonce, OPAQUE record, secret.
const IN_A_RECORD: [Range<usize>; 3] = [0..32, 33..225, 227..267];

fn seal_records(keys: &EpochKeys, accounts: &[AccountId], records: &[Record]) -> Vec<Result<Sealed, Fault>> {
    let items: Vec<_> = accounts
        .iter()
        .zip(records)
        .map(|(account, record)| (SealItem { account, generation: 1, key_number: 1, record }, [7; 12]))
        .collect();
    keys.seal_with(&items)
}

/// What the keys of those records are derived from the root by.
fn tell_records(secrets: &Secrets, root: &Secret<[u8; 64]>, accounts: &[AccountId], records: &[Record]) {
    secrets.derived(|derived| {
        let source = MemoryRoot::new();
        source.create_with(1, root.expose()).expect("the first root");
        let keys = EpochKeys::load(&source, 1).expect("epoch 1");
        let epoch = derived.epoch_key(root);
        for (index, sealed) in seal_records(&keys, accounts, records).into_iter().enumerate() {
            let (account, generation) = (accounts[index].as_bytes(), 1u32.to_be_bytes());
            let what = format!("record {index}");
            let secret = derived.mac(&format!("secret of {what}"), &epoch, &[b"record", account, &generation, &[1]]);
            let sealed = sealed.expect("a record");
            let (header, body) = sealed.as_bytes().split_at(7);
            let associated = [header, account, &generation, b"record"].concat();
            let plain = derived.opened(&what, &secret, body, &associated, &IN_A_RECORD);
            assert_eq!(plain[..], records[index].encode()[..], "it is this record");
        }
    });
}

fn record_seal(secrets: &mut Secrets, count: usize) -> Ready {
    let (source, root) = root(secrets);
    let keys = EpochKeys::load(&source, 1).expect("epoch 1");
    let records = records(secrets, count);
    let accounts = Public::new().accounts(count);
    tell_records(secrets, &root, &accounts, &records);
    Box::new(move || assert!(black_box(seal_records(&keys, &accounts, &records)).iter().all(Result::is_ok)))
}

fn record_open(secrets: &mut Secrets, count: usize) -> Ready {
    let (source, root) = root(secrets);
    let keys = EpochKeys::load(&source, 1).expect("epoch 1");
    let records = records(secrets, count);
    let accounts = Public::new().accounts(count);
    tell_records(secrets, &root, &accounts, &records);
    // On this thread alone, whose stack is wiped before the door.
    let sealed: Vec<_> = accounts
        .chunks(8)
        .zip(records.chunks(8))
        .flat_map(|(accounts, records)| seal_records(&keys, accounts, records))
        .map(|it| it.expect("a record"))
        .collect();
    Box::new(move || {
        let items: Vec<_> =
            accounts.iter().zip(&sealed).map(|(account, sealed)| OpenItem { account, generation: 1, sealed }).collect();
        assert!(black_box(keys.open(&items)).iter().all(Result::is_ok));
    })
}

fn blob_open(secrets: &mut Secrets) -> Ready {
    const PURPOSE: &str = "a purpose";
    let (source, root) = root(secrets);
    let keys = EpochKeys::load(&source, 1).expect("epoch 1");
    let plain = secrets.secret::<200>();
    let sealed = keys.seal_blob_with(PURPOSE, plain.expose(), &[7; 12]).expect("a short blob");
    secrets.derived(|derived| {
        let epoch = derived.epoch_key(&root);
        let secret = derived.mac("secret of the blob", &epoch, &[b"blob", PURPOSE.as_bytes(), &[1]]);
        let (header, body) = sealed.split_at(5);
        let associated = [header, b"blob", PURPOSE.as_bytes()].concat();
        let opened = derived.opened("the blob", &secret, body, &associated, slice::from_ref(&(0..200)));
        assert_eq!(opened, plain.expose(), "it is this blob");
    });
    Box::new(move || {
        black_box(keys.open_blob(PURPOSE, &sealed).expect("its own blob"));
    })
}

fn ticket_keys(secrets: &mut Secrets) -> (TicketKeys, Secret<[u8; 32]>) {
    let (login, enrolment) = (secrets.secret(), secrets.secret());
    (TicketKeys::new([7; 32], (1, &login), (1, &enrolment)), login)
}

/// Tickets in which all is secret.
fn tickets(secrets: &mut Secrets, count: usize) -> Vec<LoginTicket> {
    let mut one = || LoginTicket {
        generation: u32::from_le_bytes(secrets.hidden()),
        expiry_s: u64::from_le_bytes(secrets.hidden()),
        key_number: u16::from_le_bytes(secrets.hidden()),
        ordinal: u32::from_le_bytes(secrets.hidden()),
        state: Box::new(secrets.secret()),
    };
    (0..count).map(|_| one()).collect()
}

fn seal_tickets(keys: &TicketKeys, accounts: &[AccountId], tickets: &[LoginTicket]) -> Vec<Result<Vec<u8>, Fault>> {
    let items: Vec<_> = accounts.iter().zip(tickets).map(|item| (item, [7; 12])).collect();
    keys.seal_with(0, &items)
}

/// What the key of login tickets becomes, and all that they are sealed with.
fn tell_tickets(
    secrets: &Secrets,
    login: &Secret<[u8; 32]>,
    keys: &TicketKeys,
    accounts: &[AccountId],
    tickets: &[LoginTicket],
) {
    secrets.derived(|derived| {
        for (index, sealed) in seal_tickets(keys, accounts, tickets).into_iter().enumerate() {
            let sealed = sealed.expect("a ticket");
            // Version and key number; kind, then these, fleet, restores and account.
            let (header, body) = sealed.split_at(3);
            let associated = [&[1][..], header, &[7; 32], &[0; 4], accounts[index].as_bytes()].concat();
            let what = format!("ticket {index}");
            let plain = derived.opened(&what, login.expose(), body, &associated, slice::from_ref(&(0..146)));
            assert_eq!(plain[18..], tickets[index].state.expose()[..], "it is this ticket");
        }
    });
}

fn ticket_seal(secrets: &mut Secrets, count: usize) -> Ready {
    let ((keys, login), tickets) = (ticket_keys(secrets), tickets(secrets, count));
    let accounts = Public::new().accounts(count);
    tell_tickets(secrets, &login, &keys, &accounts, &tickets);
    Box::new(move || assert!(black_box(seal_tickets(&keys, &accounts, &tickets)).iter().all(Result::is_ok)))
}

fn ticket_open(secrets: &mut Secrets, count: usize) -> Ready {
    let ((keys, login), tickets) = (ticket_keys(secrets), tickets(secrets, count));
    let accounts = Public::new().accounts(count);
    tell_tickets(secrets, &login, &keys, &accounts, &tickets);
    let sealed: Vec<_> =
        seal_tickets(&keys, &accounts, &tickets).into_iter().map(|sealed| sealed.expect("a ticket")).collect();
    Box::new(move || {
        let items: Vec<_> = accounts.iter().zip(&sealed).map(|(account, sealed)| (account, &sealed[..])).collect();
        assert!(black_box(keys.open::<LoginTicket>(0, &items, 0)).iter().all(Result::is_ok));
    })
}

// ---- session

/// What is in the requests is secret, and the key; but the key is always the same, for its public part shows.
#[cfg(all(feature = "channel", not(feature = "valgrind")))]
fn open_requests(secrets: &mut Secrets, count: usize) -> Ready {
    let seed = secrets.fixed(Stream(7).bytes::<32>());
    let expanded: Secret<[u8; 96]> = Secret::new(libcrux_sha3::shake256(seed.expose()));
    // ML-KEM's seed and its implicit rejection, and X25519's scalar.
    for part in expanded.expose().as_chunks::<32>().0 {
        secrets.fixed(*part);
    }
    let keys = ChannelKeys::new((1, &seed), &[(1, [1; 32])]).expect("one bundle");
    let key = keys.key();
    let mut sealed = Vec::with_capacity(count);
    for _ in 0..count {
        // What a client draws is as secret as what it asks.
        let (request, drawn) = (secrets.secret::<REQUEST_LEN>(), secrets.secret::<64>());
        let (header, info, body) = sealed_request(&key, &request, &drawn);
        secrets.derived(|derived| {
            let opened = derived.request(expanded.expose(), drawn.expose(), &info, &body);
            assert_eq!(opened, request.expose(), "it is this request");
        });
        sealed.push([header, body].concat());
    }
    Box::new(move || {
        let bytes: Vec<_> = sealed.iter().map(|it| &it[..]).collect();
        assert!(black_box(keys.open(&bytes, 0)).iter().all(Result::is_ok));
    })
}

/// A request sealed by HPKE with what was drawn: its header, `info`, and what follows the header.
#[cfg(all(feature = "channel", not(feature = "valgrind")))]
fn sealed_request(
    key: &ChannelKey,
    request: &Secret<[u8; REQUEST_LEN]>,
    drawn: &Secret<[u8; 64]>,
) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    use hpke::rand_core::{TryCryptoRng, TryRng};
    use hpke::{Deserializable, Kem, OpModeS, Serializable, aead, kdf, kem::XWing, setup_sender_with_rng};

    /// Gives what was drawn.
    struct Drawn<'a>(&'a [u8; 64]);
    impl TryRng for Drawn<'_> {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("X-Wing draws bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("X-Wing draws bytes")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.copy_from_slice(self.0);
            Ok(())
        }
    }
    impl TryCryptoRng for Drawn<'_> {}

    let header = [&[1][..], &key.number.to_be_bytes(), &key.epoch.to_be_bytes()].concat();
    let info = [&b"strongroom channel request v1\0"[..], &header, &key.bundle].concat();
    let public_key = <XWing as Kem>::PublicKey::from_bytes(&key.public_key[..]).expect("a public key");
    let (encapsulated, mut context) = setup_sender_with_rng::<aead::ChaCha20Poly1305, kdf::HkdfSha256, XWing>(
        &OpModeS::Base,
        &public_key,
        &info,
        &mut Drawn(drawn.expose()),
    )
    .expect("an encapsulated key");
    let sealed = context.seal(request.expose(), b"").expect("a short request");
    (header, info, [&encapsulated.to_bytes()[..], &sealed].concat())
}

// ---- between them

fn same_scalar(ours: &curve25519_dalek::Scalar, theirs: &Scalar) {
    assert_eq!(ours.as_bytes(), theirs.to_bytes().expose(), "both derive the same");
}

fn points(encodings: &[[u8; 32]]) -> Vec<Point> {
    backend().decode(encodings).into_iter().map(|point| point.expect("a valid encoding")).collect()
}
