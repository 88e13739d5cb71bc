//! People with records, in our engine's hands and in the peer's, for benches of the arithmetic.

#[path = "../peer/mod.rs"]
mod peer;

use opaque_ke::rand::RngCore;
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialRequest, CredentialResponse, Identifiers, ServerLogin, ServerLoginParameters, ServerRegistration,
    ServerSetup,
};
use peer::{Counter, Suite};
use rayon::prelude::*;
use strongroom::account::AccountId;
use strongroom::engine::Backend;
use strongroom::limits::CHUNK;
use strongroom::opaque::fake::{FakeKeys, Lookup, choose_on};
use strongroom::opaque::login::{self, Login};
use strongroom::opaque::register::{self, Registration};
use strongroom::opaque::{Ke1, Ke3, RegistrationRequest, ServerKeys, random_static_secret};
use strongroom::secret::Secret;
use strongroom::wrap::{EpochKeys, OpenItem, Record, SealItem, Sealed};

const CONTEXT: &[u8] = b"strongroom-1";

/// One person: what the servers hold, and what their app is about to send.
pub(crate) struct Person {
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

pub(crate) struct World {
    keys: ServerKeys,
    fakes: FakeKeys,
    epochs: EpochKeys,
    setup: ServerSetup<Suite>,
    pub(crate) people: Vec<Person>,
}

impl World {
    pub(crate) fn new(count: usize) -> World {
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
    pub(crate) fn registrations(&self, backend: Backend, count: usize) -> Vec<[u8; 64]> {
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
    pub(crate) fn peer_registrations(&self, count: usize) -> Vec<Vec<u8>> {
        spread(&self.people[..count], |person| {
            let request = opaque_ke::RegistrationRequest::<Suite>::deserialize(&person.request).unwrap();
            let started = ServerRegistration::<Suite>::start(&self.setup, request, &person.identifier).unwrap();
            started.message.serialize().to_vec()
        })
    }

    /// Ours: KE1 and sealed record to KE2 and state.
    pub(crate) fn logins(&self, backend: Backend, count: usize) -> Vec<login::Response> {
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
    pub(crate) fn peer_logins(&self, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
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
    pub(crate) fn check(&self, backend: Backend, count: usize) {
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
    pub(crate) fn finish(&self, ke2: &[u8]) -> (Vec<u8>, Vec<u8>) {
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

pub(crate) fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}
