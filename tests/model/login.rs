//! Our server's half of OPAQUE against opaque-ke 4.0.1: its parsers, its server, and its client as the other side.
//!
//! An input is a script: who enrols and logs in with which codes, and which message is altered on its way. Whether the
//! login must succeed is known from the script alone. For the fuzzer and its seeds.

use std::sync::LazyLock;

use opaque_ke::rand::{CryptoRng, Error, RngCore};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialRequest, CredentialResponse, Identifiers, RegistrationResponse, ServerRegistration, ServerSetup,
};
use strongroom::opaque::fake::{Chosen, FakeKeys, Lookup, choose};
use strongroom::opaque::login::{Login, Randomness, Response, finish, respond_with};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{
    KE1_LEN, Ke1, Ke3, RECORD_LEN, REGISTRATION_REQUEST_LEN, RegistrationRecord, RegistrationRequest, ServerKeys,
    random_static_secret_with,
};
use strongroom::secret::Secret;
use strongroom::wire::{Invalid, Reader};
use subtle::Choice;

use crate::judge::Judge;

struct Suite;

impl CipherSuite for Suite {
    type OprfCs = opaque_ke::Ristretto255;
    type KeyExchange = opaque_ke::TripleDh<opaque_ke::Ristretto255, sha2_010::Sha512>;
    type Ksf = opaque_ke::ksf::Identity;
}

type PeersRequest = opaque_ke::RegistrationRequest<Suite>;
type PeersRecord = opaque_ke::RegistrationUpload<Suite>;

/// The same numbers for the same script, so that a finding can be repeated.
struct Numbers(u64);

impl CryptoRng for Numbers {}

impl RngCore for Numbers {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        // Any sequence without zeros will do: a linear congruence, its low half stirred by its high.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 ^ (self.0 >> 32)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next_u64().to_be_bytes()[..part.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl Numbers {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill_bytes(&mut bytes);
        bytes
    }

    fn randomness(&mut self) -> Randomness {
        Randomness { masking_nonce: self.array(), server_nonce: self.array(), keyshare_seed: Secret::new(self.array()) }
    }
}

struct Server {
    keys: ServerKeys,
    fakes: FakeKeys,
    peer: ServerSetup<Suite>,
    /// Somebody whose login stands beside the one in question in every batch, and must succeed.
    neighbour: Person,
    ke1: Ke1,
    client: ClientLogin<Suite>,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let (seed, secret) = (Secret::new([1; 64]), random_static_secret_with(&Secret::new([2; 32])).expect("a key"));
    let keys = ServerKeys::new(&seed, &secret).expect("a valid key");
    let fakes = FakeKeys::new(&Secret::new([3; 64]), &Secret::new([4; 64])).expect("a valid key");
    let peer = [&seed.expose()[..], secret.expose(), keys.public_key()].concat();
    let peer = ServerSetup::deserialize(&peer).expect("the same keys");
    let mut numbers = Numbers(1);
    let judge = &mut Judge::default();
    let neighbour = enrol(judge, (&keys, &peer), &mut numbers, [5; 32], true, b"neighbour");
    let start = ClientLogin::start(&mut numbers, b"neighbour").expect("a short code");
    let ke1 = only(Ke1::parse(&[&start.message.serialize()])).expect("a client's message");
    Server { keys, fakes, peer, neighbour, ke1, client: start.state }
});

struct Person {
    account: [u8; 32],
    nonce: [u8; 32],
    /// Whether the account id is the client's identity; else its public key stands in.
    identified: bool,
    record: [u8; 192],
    export_key: Vec<u8>,
}

impl Person {
    fn identity(&self) -> Option<&[u8]> {
        self.identified.then_some(&self.account)
    }

    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: self.identity(), server: None }
    }
}

/// Registers with our server, and holds its response against the peer's.
fn enrol(
    judge: &mut Judge,
    (keys, peer): (&ServerKeys, &ServerSetup<Suite>),
    numbers: &mut Numbers,
    account: [u8; 32],
    identified: bool,
    code: &[u8],
) -> Person {
    let start = ClientRegistration::<Suite>::start(numbers, code).expect("a short code");
    let request = only(RegistrationRequest::parse(&[&start.message.serialize()])).expect("a client's message");
    let nonce = numbers.array();
    let credential_identifier = &[account, nonce].concat();
    let response = only(register::respond(&[Registration { keys, request: &request, credential_identifier }]));
    let response = response.expect("no identifier derives zero");
    let theirs = ServerRegistration::<Suite>::start(peer, start.message, credential_identifier).expect("the same");
    judge.demand("the registration response", &response[..], &theirs.message.serialize()[..]);

    let mut person = Person { account, nonce, identified, record: [0; 192], export_key: Vec::new() };
    let response = RegistrationResponse::deserialize(&response).expect("a valid response");
    let parameters = ClientRegistrationFinishParameters::new(person.identifiers(), None);
    let finished = start.state.finish(numbers, code, response, parameters).expect("nothing was altered");
    let record = only(RegistrationRecord::parse(&[&finished.message.serialize()])).expect("a client's record");
    person.record = *record.bytes().expose();
    person.export_key = finished.export_key.to_vec();
    person
}

pub(crate) fn drive(data: &[u8], judge: &mut Judge) -> Result<(), Invalid> {
    let mut script = Reader::new(data);
    match script.u8() {
        Ok(b'm') => messages(judge, script.rest()),
        Ok(b'l') => login(judge, &mut script),
        _ => Err(Invalid),
    }
}

/// Our parsers take what the peer's take, beside a good message and alone.
fn messages(judge: &mut Judge, bytes: &[u8]) -> Result<(), Invalid> {
    let good = SERVER.ke1.as_bytes();
    let parsed = Ke1::parse(&[good, bytes, good]);
    assert!(parsed[0].is_ok() && parsed[2].is_ok(), "a bad message harmed its neighbours");
    let ours = parsed[1].as_ref().ok().map(|ke1| &ke1.as_bytes()[..]);
    agree(judge, ours, KE1_LEN, bytes, CredentialRequest::<Suite>::deserialize(bytes));
    let parsed = only(RegistrationRequest::parse(&[bytes]));
    let ours = parsed.as_ref().ok().map(|request| &request.as_bytes()[..]);
    agree(judge, ours, REGISTRATION_REQUEST_LEN, bytes, PeersRequest::deserialize(bytes));
    let parsed = only(RegistrationRecord::parse(&[bytes]));
    let ours = parsed.as_ref().ok().map(|record| &record.bytes().expose()[..]);
    agree(judge, ours, RECORD_LEN, bytes, PeersRecord::deserialize(bytes));
    judge.agree("a KE3, which has 64 bytes", Ke3::parse(bytes).is_ok(), bytes.len() == 64);
    Ok(())
}

/// Both take the bytes or neither does; but opaque-ke overlooks bytes that follow a message, and we do not.
fn agree<T, E>(judge: &mut Judge, ours: Option<&[u8]>, length: usize, bytes: &[u8], theirs: Result<T, E>) {
    judge.agree("whether bytes are taken", ours.is_some(), bytes.len() == length && theirs.is_ok());
    if let Some(ours) = ours {
        judge.demand("what was read, which is kept as it was", ours, bytes);
    }
}

/// Alters one byte of a message if the script says so.
fn altered(alteration: Option<(u16, u8)>, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    if let Some((at, bits)) = alteration {
        bytes[usize::from(at) % message.len()] ^= bits;
    }
    bytes
}

fn login(judge: &mut Judge, script: &mut Reader<'_>) -> Result<(), Invalid> {
    let Server { keys, fakes, peer, neighbour, ke1: neighbours_ke1, client } = &*SERVER;
    let bits = script.u8()?;
    let (known, identified, other_context) = (bits & 1 == 0, bits & 2 == 0, bits & 4 != 0);
    let mut numbers = Numbers(u64::from(script.u16()?));
    let (enrolled, typed, context) = (script.counted(64)?, script.counted(64)?, script.counted(64)?);
    // Which message is altered: none, KE1, KE2 or KE3.
    let step = script.u8()? % 4;
    let change = (script.u16()?, script.u8()?);
    let at = |wanted: u8| Some(change).filter(|_| step == wanted);

    let person = enrol(judge, (keys, peer), &mut numbers, [6; 32], identified, enrolled);
    let start = ClientLogin::<Suite>::start(&mut numbers, typed).expect("a short code");
    let ke1 = altered(at(1), &start.message.serialize());
    let parsed = only(Ke1::parse(&[&ke1]));
    agree(
        judge,
        parsed.as_ref().ok().map(|ke1| &ke1.as_bytes()[..]),
        KE1_LEN,
        &ke1,
        CredentialRequest::<Suite>::deserialize(&ke1),
    );
    let Ok(ke1) = &parsed else { return Ok(()) };

    let chosen = choose(&[lookup(keys, &person, known), lookup(keys, neighbour, true)], fakes);
    let theirs: &[u8] = if other_context { b"another context" } else { context };
    let logins = [
        answer(keys, &chosen[0], ke1, theirs, person.identity()),
        answer(keys, &chosen[1], neighbours_ke1, context, neighbour.identity()),
    ];
    let logins = logins.map(|login| (login, numbers.randomness()));
    let [response, beside] = respond_with(&logins).try_into().unwrap_or_else(|_| panic!("one answer an item"));
    let (response, beside) = (response.expect("a valid record"), beside.expect("a valid record"));

    let parameters = ClientLoginFinishParameters::new(Some(context), neighbour.identifiers(), None);
    let ke2 = CredentialResponse::deserialize(&beside.ke2).expect("a valid KE2");
    let finished = client.clone().finish(&mut numbers, b"neighbour", ke2, parameters).expect("a right code");
    judge.agree("a bad login's neighbour", proven(&beside, &finished.message.serialize()).is_some(), true);

    let unaltered = |wanted: u8| step != wanted || change.1 == 0;
    let right = known && enrolled == typed && theirs == context && unaltered(1) && unaltered(2);
    let ke2 = altered(at(2), &response.ke2);
    let parameters = ClientLoginFinishParameters::new(Some(context), person.identifiers(), None);
    let finished = CredentialResponse::<Suite>::deserialize(&ke2)
        .and_then(|ke2| start.state.finish(&mut numbers, typed, ke2, parameters));
    judge.agree("whether the client takes the answer", finished.is_ok(), right);
    let Ok(finished) = finished else {
        judge.agree("a proof of nothing", proven(&response, &[0; 64]).is_some(), false);
        return Ok(());
    };
    judge.demand("the export key", &finished.export_key[..], &person.export_key);
    judge.demand("the server's key", &finished.server_s_pk.serialize()[..], keys.public_key());
    let session_key = proven(&response, &altered(at(3), &finished.message.serialize()));
    judge.agree("whether the server takes the proof", session_key.is_some(), unaltered(3));
    if let Some(key) = session_key {
        judge.demand("the one session key", key.expose(), &finished.session_key[..]);
    }
    Ok(())
}

fn lookup<'a>(keys: &'a ServerKeys, person: &'a Person, known: bool) -> Lookup<'a> {
    let known = Choice::from(u8::from(known));
    Lookup { known, keys, account: &person.account, nonce: &person.nonce, record: &person.record }
}

fn answer<'a>(
    keys: &'a ServerKeys,
    chosen: &'a Chosen,
    ke1: &'a Ke1,
    context: &'a [u8],
    client_identity: Option<&'a [u8]>,
) -> Login<'a> {
    Login { keys, credential: chosen.credential(), ke1, context, client_identity, server_identity: None }
}

fn proven(response: &Response, ke3: &[u8]) -> Option<Box<Secret<[u8; 64]>>> {
    only(finish(&[(&response.state, &Ke3::parse(ke3).expect("64 bytes"))]))
}

fn only<T>(results: Vec<T>) -> T {
    let [result] = results.try_into().unwrap_or_else(|_| panic!("one result an item"));
    result
}
