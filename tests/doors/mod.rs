//! The doors that secrets go through: one list for every check of what a secret leaves behind, be it in the trace of
//! instructions, in time or in memory.
//!
//! A [`Door`] is made [`Door::ready`] with [`Secrets`], which say what its secret bytes are; everything public about it,
//! sizes and outcomes included, is the same each time. What is ready can then be gone through as often as a check likes,
//! on the backend that `STRONGROOM_BACKEND` names.

#![allow(dead_code, unreachable_pub, clippy::expect_used)] // each check uses some of it; what a door refuses here is a broken check

use std::hint::black_box;

use strongroom::account::AccountId;
use strongroom::engine::sha512::Prefix;
use strongroom::engine::{Exchange, Point, Scalar, backend};
use strongroom::opaque::fake::{self, FakeKeys, Lookup};
use strongroom::opaque::login::{self, Login, Randomness};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Ke1, Ke3, RegistrationRequest, ServerKeys};
use strongroom::oprf;
use strongroom::secret::Secret;
#[cfg(all(feature = "channel", not(feature = "valgrind")))]
use strongroom::session::ChannelKeys;
use strongroom::wrap::{EpochKeys, LoginTicket, MemoryRoot, OpenItem, Record, SealItem, TicketKeys};
use subtle::Choice;

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
            return Secrets { kind, stream: Stream(0), seen: |_, _| {} };
        };
        Secrets { kind, stream: Stream(number), seen: |_, _| {} }
    }

    /// The same, and each piece is shown to `seen` before it is used.
    pub fn shown_to(mut self, seen: fn(Piece, &mut [u8])) -> Self {
        self.seen = seen;
        self
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
        door("engine reduce 8", |secrets| reduce(secrets, 8)),
        door("engine multiply 1", |secrets| multiply(secrets, 1)),
        door("engine multiply 8", |secrets| multiply(secrets, 8)),
        door("engine multiply_base 1", |secrets| multiply_base(secrets, 1)),
        door("engine multiply_base 8", |secrets| multiply_base(secrets, 8)),
        door("engine exchange 1", |secrets| exchange(secrets, 1)),
        door("engine exchange 8", |secrets| exchange(secrets, 8)),
        door("engine x25519 1", |secrets| x25519(secrets, 1)),
        door("engine digests 8", |secrets| digests(secrets, 8)),
        door("engine macs 1", |secrets| macs(secrets, 1)),
        door("engine macs 8", |secrets| macs(secrets, 8)),
        door("oprf derive_keys 1", |secrets| derive_keys(secrets, 1)),
        door("oprf derive_keys 8", |secrets| derive_keys(secrets, 8)),
        door("oprf blind_evaluate 1", |secrets| blind_evaluate(secrets, 1)),
        door("oprf blind_evaluate 8", |secrets| blind_evaluate(secrets, 8)),
        door("opaque server_keys", server_keys),
        door("opaque register 1", |secrets| register(secrets, 1)),
        door("opaque register 8", |secrets| register(secrets, 8)),
        door("opaque fake_keys", fake_keys),
        door("opaque choose 8", |secrets| choose(secrets, 8)),
        door("opaque login 1", |secrets| respond(secrets, 1)),
        door("opaque login 8", |secrets| respond(secrets, 8)),
        door("opaque login 32", |secrets| respond(secrets, 32)),
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
        door("opaque login 80", |secrets| respond(secrets, 80)),
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

fn reduce(secrets: &mut Secrets, count: usize) -> Ready {
    // With a public bit set, none is zero.
    let mut uniform = secrets.several::<64>(count);
    uniform.expose_mut().iter_mut().for_each(|bytes| bytes[32] |= 1);
    Box::new(move || {
        assert!(black_box(backend().reduce(uniform.expose())).iter().all(Option::is_some));
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

fn exchange(secrets: &mut Secrets, count: usize) -> Ready {
    let (scalars, points) = (secrets.scalars(3 * count), secrets.points(3 * count));
    Box::new(move || {
        let (scalars, _) = scalars.as_chunks::<3>();
        let (points, _) = points.as_chunks::<3>();
        let items: Vec<_> =
            scalars
                .iter()
                .zip(points)
                .map(|([oprf_key, server_ephemeral, server_static], [blinded, client_ephemeral, client_static])| {
                    Exchange { oprf_key, blinded, server_ephemeral, server_static, client_ephemeral, client_static }
                })
                .collect();
        black_box(backend().exchange(&items).expect("a sound machine"));
    })
}

fn x25519(secrets: &mut Secrets, count: usize) -> Ready {
    let (scalars, coordinates) = (secrets.several::<32>(count), secrets.several::<32>(count));
    Box::new(move || {
        black_box(backend().x25519(&scalars.expose().iter().zip(coordinates.expose()).collect::<Vec<_>>()));
    })
}

fn digests(secrets: &mut Secrets, count: usize) -> Ready {
    let prefix = Prefix::new(&[&secrets.bytes::<150>()]);
    let messages = secrets.several::<300>(count);
    Box::new(move || {
        let messages = messages.expose();
        black_box(backend().digests(&messages.iter().map(|message| (&prefix, [&message[..]])).collect::<Vec<_>>()));
    })
}

fn macs(secrets: &mut Secrets, count: usize) -> Ready {
    let (keys, messages) = (secrets.several::<64>(count), secrets.several::<100>(count));
    Box::new(move || {
        let keys = backend().mac_keys(keys.expose());
        let items: Vec<_> = keys.iter().zip(messages.expose()).map(|(key, message)| (key, [&message[..]])).collect();
        black_box(backend().macs(&items));
    })
}

// ---- oprf

fn derive_keys(secrets: &mut Secrets, count: usize) -> Ready {
    let seeds = secrets.several::<32>(count);
    Box::new(move || {
        let seeds = seeds.expose();
        black_box(oprf::derive_keys(&seeds.iter().collect::<Vec<_>>(), b"a public info").expect("a short info"));
    })
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

fn a_servers_keys(secrets: &mut Secrets) -> ServerKeys {
    ServerKeys::new(&secrets.secret(), &secrets.scalar_bytes()).expect("a reduced scalar")
}

fn fakes(secrets: &mut Secrets) -> FakeKeys {
    FakeKeys::new(&secrets.secret(), &secrets.secret()).expect("not the identity")
}

/// A record in which all is secret.
fn record(secrets: &mut Secrets) -> Box<Secret<[u8; 192]>> {
    let mut record = Box::new(secrets.secret());
    record.expose_mut()[..32].copy_from_slice(&secrets.encodings(1)[0]);
    record
}

fn register(secrets: &mut Secrets, count: usize) -> Ready {
    let keys = a_servers_keys(secrets);
    let identifiers = secrets.several::<64>(count);
    let mut public = Public::new();
    let requests: Vec<_> = (0..count).map(|_| public.registration_request()).collect();
    Box::new(move || {
        let items: Vec<_> = requests
            .iter()
            .zip(identifiers.expose())
            .map(|(request, identifier)| Registration { keys: &keys, request, credential_identifier: identifier })
            .collect();
        assert!(black_box(register::respond(&items)).iter().all(Result::is_ok));
    })
}

fn fake_keys(secrets: &mut Secrets) -> Ready {
    let (seed, masking) = (secrets.secret(), secrets.secret());
    Box::new(move || {
        black_box(FakeKeys::new(&seed, &masking).expect("not the identity"));
    })
}

fn choose(secrets: &mut Secrets, count: usize) -> Ready {
    let (keys, fakes) = (a_servers_keys(secrets), fakes(secrets));
    let known: Vec<[u8; 1]> = (0..count).map(|_| secrets.bytes()).collect();
    let nonces = secrets.several::<32>(count);
    let records: Vec<_> = (0..count).map(|_| record(secrets)).collect();
    let accounts = Public::new().accounts(count);
    Box::new(move || {
        let items: Vec<_> = (0..count)
            .map(|index| Lookup {
                known: Choice::from(known[index][0] & 1),
                keys: &keys,
                account: accounts[index].as_bytes(),
                nonce: &nonces.expose()[index],
                record: records[index].expose(),
            })
            .collect();
        black_box(fake::choose(&items, &fakes));
    })
}

fn respond(secrets: &mut Secrets, count: usize) -> Ready {
    let mut public = Public::new();
    let keys = a_servers_keys(secrets);
    let identifiers = secrets.several::<64>(count);
    let records: Vec<_> = (0..count).map(|_| record(secrets)).collect();
    let seeds = secrets.several::<32>(count);
    let ke1s: Vec<_> = (0..count).map(|_| public.ke1()).collect();
    let nonces: Vec<[[u8; 32]; 2]> = (0..count).map(|_| [public.bytes(), public.bytes()]).collect();
    let accounts = public.accounts(count);
    Box::new(move || {
        let mut items: Vec<_> = (0..count)
            .map(|index| {
                let login = Login {
                    keys: &keys,
                    credential: keys.credential(&identifiers.expose()[index], records[index].expose()),
                    ke1: &ke1s[index],
                    context: b"strongroom-1",
                    client_identity: Some(accounts[index].as_bytes()),
                    server_identity: None,
                };
                let [masking_nonce, server_nonce] = nonces[index];
                (login, Randomness { masking_nonce, server_nonce, keyshare_seed: Secret::new([0; 32]) })
            })
            .collect();
        for ((_, randomness), seed) in items.iter_mut().zip(seeds.expose()) {
            randomness.keyshare_seed.expose_mut().copy_from_slice(seed);
        }
        assert!(black_box(login::respond_with(&items)).iter().all(Result::is_ok));
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

fn root(secrets: &mut Secrets) -> MemoryRoot {
    let source = MemoryRoot::new();
    source.create_with(1, secrets.secret().expose()).expect("the first root");
    source
}

fn epoch_key(secrets: &mut Secrets) -> Ready {
    let source = root(secrets);
    Box::new(move || {
        black_box(EpochKeys::load(&source, 1).expect("epoch 1"));
    })
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

fn record_seal(secrets: &mut Secrets, count: usize) -> Ready {
    let keys = EpochKeys::load(&root(secrets), 1).expect("epoch 1");
    let records = records(secrets, count);
    let accounts = Public::new().accounts(count);
    Box::new(move || {
        let items: Vec<_> = accounts
            .iter()
            .zip(&records)
            .map(|(account, record)| (SealItem { account, generation: 1, key_number: 1, record }, [7; 12]))
            .collect();
        assert!(black_box(keys.seal_with(&items)).iter().all(Result::is_ok));
    })
}

fn record_open(secrets: &mut Secrets, count: usize) -> Ready {
    let keys = EpochKeys::load(&root(secrets), 1).expect("epoch 1");
    let records = records(secrets, count);
    let accounts = Public::new().accounts(count);
    let items: Vec<_> = accounts
        .iter()
        .zip(&records)
        .map(|(account, record)| (SealItem { account, generation: 1, key_number: 1, record }, [7; 12]))
        .collect();
    // On this thread alone, whose stack is wiped before the door.
    let sealed: Vec<_> =
        items.chunks(8).flat_map(|items| keys.seal_with(items)).map(|it| it.expect("a record")).collect();
    drop(items);
    Box::new(move || {
        let items: Vec<_> =
            accounts.iter().zip(&sealed).map(|(account, sealed)| OpenItem { account, generation: 1, sealed }).collect();
        assert!(black_box(keys.open(&items)).iter().all(Result::is_ok));
    })
}

fn blob_open(secrets: &mut Secrets) -> Ready {
    let keys = EpochKeys::load(&root(secrets), 1).expect("epoch 1");
    let sealed = keys.seal_blob_with("a purpose", secrets.secret::<200>().expose(), &[7; 12]).expect("a short blob");
    Box::new(move || {
        black_box(keys.open_blob("a purpose", &sealed).expect("its own blob"));
    })
}

fn ticket_keys(secrets: &mut Secrets) -> TicketKeys {
    TicketKeys::new([7; 32], (1, &secrets.secret()), (1, &secrets.secret()))
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

fn ticket_seal(secrets: &mut Secrets, count: usize) -> Ready {
    let (keys, tickets) = (ticket_keys(secrets), tickets(secrets, count));
    let accounts = Public::new().accounts(count);
    Box::new(move || {
        let items: Vec<_> = accounts.iter().zip(&tickets).map(|item| (item, [7; 12])).collect();
        assert!(black_box(keys.seal_with(0, &items)).iter().all(Result::is_ok));
    })
}

fn ticket_open(secrets: &mut Secrets, count: usize) -> Ready {
    let (keys, tickets) = (ticket_keys(secrets), tickets(secrets, count));
    let accounts = Public::new().accounts(count);
    let items: Vec<_> = accounts.iter().zip(&tickets).map(|item| (item, [7; 12])).collect();
    let sealed: Vec<_> = keys.seal_with(0, &items).into_iter().map(|sealed| sealed.expect("a ticket")).collect();
    drop(items);
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
    let expanded: [u8; 96] = libcrux_sha3::shake256(seed.expose());
    // ML-KEM's seed and its implicit rejection, and X25519's scalar.
    for part in expanded.as_chunks::<32>().0 {
        secrets.fixed(*part);
    }
    let keys = ChannelKeys::new((1, &seed), &[(1, [1; 32])]).expect("one bundle");
    let key = keys.key();
    let sealed: Vec<_> = (0..count).map(|_| key.seal(secrets.secret().expose()).expect("randomness")).collect();
    Box::new(move || {
        let bytes: Vec<_> = sealed.iter().map(|it| it.bytes()).collect();
        assert!(black_box(keys.open(&bytes, 0)).iter().all(Result::is_ok));
    })
}

// ---- between them

fn points(encodings: &[[u8; 32]]) -> Vec<Point> {
    backend().decode(encodings).into_iter().map(|point| point.expect("a valid encoding")).collect()
}
