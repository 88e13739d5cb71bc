//! Against an unmodified opaque-ke 4.0.1: its client with our server, and its server beside ours.

use opaque_ke::rand::{CryptoRng, Error, RngCore};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientLoginStartResult, ClientRegistration,
    ClientRegistrationFinishParameters, CredentialResponse, Identifiers, RegistrationResponse, ServerRegistration,
    ServerSetup,
};
use subtle::Choice;

use crate::opaque::fake::{Chosen, FakeKeys, Lookup, choose};
use crate::opaque::login::{Login, finish, respond};
use crate::opaque::register::{self, Registration};
use crate::opaque::{Ke1, Ke3, RegistrationRecord, RegistrationRequest, ServerKeys, random_static_secret};
use crate::secret::{Secret, fill_random, random_array};

pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = opaque_ke::Ristretto255;
    type KeyExchange = opaque_ke::TripleDh<opaque_ke::Ristretto255, sha2_010::Sha512>;
    type Ksf = opaque_ke::ksf::Identity;
}

/// The operating system's randomness in the shape that opaque-ke takes.
pub(super) struct Random;

impl CryptoRng for Random {}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes(random_array().unwrap())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        fill_random(bytes).unwrap();
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

const CONTEXT: &[u8] = b"strongroom-1";

/// A person with an account.
struct Person {
    account: [u8; 32],
    nonce: [u8; 32],
    code: Vec<u8>,
    record: [u8; 192],
    export_key: Vec<u8>,
}

impl Person {
    fn identifier(&self) -> [u8; 64] {
        [self.account, self.nonce].concat().try_into().unwrap()
    }

    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: Some(&self.account), server: None }
    }
}

fn server() -> ServerKeys {
    ServerKeys::new(&Secret::random().unwrap(), &random_static_secret().unwrap()).unwrap()
}

/// Registers `count` people in one batch.
fn enrol(keys: &ServerKeys, count: usize) -> Vec<Person> {
    let codes: Vec<Vec<u8>> = (0..count).map(|index| format!("code {index}").into_bytes()).collect();
    let starts: Vec<_> =
        codes.iter().map(|code| ClientRegistration::<Suite>::start(&mut Random, code).unwrap()).collect();
    let messages: Vec<_> = starts.iter().map(|start| start.message.serialize()).collect();
    let messages: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
    let requests: Vec<_> = RegistrationRequest::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
    let ids: Vec<[[u8; 32]; 2]> = (0..count).map(|_| [random_array().unwrap(), random_array().unwrap()]).collect();
    let items: Vec<_> = requests
        .iter()
        .zip(&ids)
        .map(|(request, id)| Registration { keys, request, credential_identifier: id.as_flattened() })
        .collect();
    let responses = register::respond(&items);
    let finished =
        starts.into_iter().zip(responses).zip(codes.iter().zip(&ids)).map(|((start, response), (code, id))| {
            let response = RegistrationResponse::<Suite>::deserialize(&response.unwrap()).unwrap();
            let identifiers = Identifiers { client: Some(&id[0]), server: None };
            let parameters = ClientRegistrationFinishParameters::new(identifiers, None);
            start.state.finish(&mut Random, code, response, parameters).unwrap()
        });
    let finished: Vec<_> = finished.collect();
    let uploads: Vec<_> = finished.iter().map(|finish| finish.message.serialize()).collect();
    let uploads: Vec<&[u8]> = uploads.iter().map(|upload| &upload[..]).collect();
    let records = RegistrationRecord::parse(&uploads);
    (records.into_iter().zip(finished).zip(codes.into_iter().zip(ids)))
        .map(|((record, finish), (code, [account, nonce]))| Person {
            account,
            nonce,
            code,
            record: *record.unwrap().bytes().expose(),
            export_key: finish.export_key.to_vec(),
        })
        .collect()
}

fn begin(codes: &[&[u8]]) -> (Vec<ClientLoginStartResult<Suite>>, Vec<Ke1>) {
    let starts: Vec<_> = codes.iter().map(|code| ClientLogin::<Suite>::start(&mut Random, code).unwrap()).collect();
    let messages: Vec<_> = starts.iter().map(|start| start.message.serialize()).collect();
    let messages: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
    let ke1s = Ke1::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
    (starts, ke1s)
}

/// Batches of people, of whom every third gives a wrong code and every fifth meets a wrong context.
#[test]
fn right_codes_recover_and_wrong_ones_do_not() {
    let keys = server();
    for count in [1, 2, 7, 8, 9, 33] {
        let people = enrol(&keys, count);
        let right = |index: usize| index % 3 != 1;
        let codes: Vec<&[u8]> = people
            .iter()
            .enumerate()
            .map(|(index, person)| if right(index) { &person.code[..] } else { b"no" })
            .collect();
        let (starts, ke1s) = begin(&codes);
        let identifiers: Vec<_> = people.iter().map(Person::identifier).collect();
        let logins: Vec<_> = (0..count)
            .map(|index| Login {
                keys: &keys,
                credential: keys.credential(&identifiers[index], &people[index].record),
                ke1: &ke1s[index],
                context: if index % 5 == 4 { b"another" } else { CONTEXT },
                client_identity: Some(&people[index].account),
                server_identity: None,
            })
            .collect();
        let responses = respond(&logins).unwrap();
        for (index, (start, response)) in starts.into_iter().zip(responses).enumerate() {
            let response = response.unwrap();
            let ke2 = CredentialResponse::<Suite>::deserialize(&response.ke2).unwrap();
            let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), people[index].identifiers(), None);
            let finished = start.state.finish(&mut Random, codes[index], ke2, parameters);
            if !right(index) || index % 5 == 4 {
                assert!(finished.is_err());
                let guess = Ke3::parse(&[0; 64]).unwrap();
                assert!(finish(&[(&response.state, &guess)])[0].is_none());
                continue;
            }
            let finished = finished.unwrap();
            assert_eq!(finished.export_key[..], people[index].export_key);
            assert_eq!(&finished.server_s_pk.serialize()[..], keys.public_key());
            let ke3 = Ke3::parse(&finished.message.serialize()).unwrap();
            let session_key = finish(&[(&response.state, &ke3)]).remove(0).expect("proven");
            assert_eq!(session_key.expose()[..], finished.session_key[..]);
        }
    }
}

/// opaque-ke's own server, given the same keys, sends the same registration response and takes the same record.
#[test]
fn its_server_and_ours_give_the_same_registration() {
    let (seed, secret) = (Secret::<[u8; 64]>::random().unwrap(), random_static_secret().unwrap());
    let keys = ServerKeys::new(&seed, &secret).unwrap();
    let setup = [&seed.expose()[..], secret.expose(), keys.public_key()].concat();
    let setup = ServerSetup::<Suite>::deserialize(&setup).unwrap();
    for length in [0, 1, 4, 39, 40, 64, 104, 105, 300] {
        let identifier = vec![5; length];
        let start = ClientRegistration::<Suite>::start(&mut Random, b"code").unwrap();
        let message = start.message.serialize();
        let request = RegistrationRequest::parse(&[&message]).remove(0).unwrap();
        let ours =
            register::respond(&[Registration { keys: &keys, request: &request, credential_identifier: &identifier }]);
        let theirs = ServerRegistration::<Suite>::start(&setup, start.message, &identifier).unwrap();
        assert_eq!(ours[0].as_ref().unwrap()[..], theirs.message.serialize()[..]);
    }
}

fn fakes() -> FakeKeys {
    FakeKeys::new(&Secret::random().unwrap(), &Secret::random().unwrap()).unwrap()
}

fn lookup<'a>(keys: &'a ServerKeys, person: &'a Person, known: bool) -> Lookup<'a> {
    Lookup {
        known: Choice::from(u8::from(known)),
        keys,
        account: &person.account,
        nonce: &person.nonce,
        record: &person.record,
    }
}

/// In one batch the known recover and the fake do not; and a fake is the same again, whatever stands in its place.
#[test]
fn fakes_ride_along_and_repeat_themselves() {
    let (keys, fakes) = (server(), fakes());
    let mut people = enrol(&keys, 9);
    let known = |index: usize| index.is_multiple_of(2);
    let codes: Vec<Vec<u8>> = people.iter().map(|person| person.code.clone()).collect();
    let codes: Vec<&[u8]> = codes.iter().map(|code| &code[..]).collect();
    let (starts, ke1s) = begin(&codes);
    let answer = |people: &[Person]| {
        let lookups: Vec<_> =
            people.iter().enumerate().map(|(index, person)| lookup(&keys, person, known(index))).collect();
        let chosen = choose(&lookups, &fakes);
        let login = |(chosen, ke1): (&Chosen, &Ke1), person: &Person| {
            let login = Login {
                keys: &keys,
                credential: chosen.credential(),
                ke1,
                context: CONTEXT,
                client_identity: Some(&person.account),
                server_identity: None,
            };
            respond(&[login]).unwrap().remove(0).unwrap()
        };
        chosen.iter().zip(&ke1s).zip(people).map(|(item, person)| login(item, person)).collect::<Vec<_>>()
    };
    let first = answer(&people);
    for (index, (start, response)) in starts.into_iter().zip(&first).enumerate() {
        let ke2 = CredentialResponse::<Suite>::deserialize(&response.ke2).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), people[index].identifiers(), None);
        let finished = start.state.finish(&mut Random, codes[index], ke2, parameters);
        assert_eq!(finished.is_ok(), known(index));
    }
    for (index, person) in people.iter_mut().enumerate().filter(|(index, _)| !known(*index)) {
        person.record = [index as u8; 192];
        person.nonce = [0; 32];
    }
    let again = answer(&people);
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first.ke2[..32], again.ke2[..32], "the same element is evaluated to the same");
        assert_ne!(first.ke2[32..], again.ke2[32..], "all else is fresh");
    }
}

/// A choice takes every byte of one side and none of the other.
#[test]
fn a_choice_is_whole() {
    let (keys, fakes) = (server(), fakes());
    let person = &enrol(&keys, 1)[0];
    let chosen = choose(&[lookup(&keys, person, true), lookup(&keys, person, false)], &fakes);
    let [real, fake] = &chosen[..] else { panic!("two") };
    assert_eq!(real.credential().identifier, person.identifier());
    assert_eq!(real.credential().record, &person.record);
    assert_eq!(real.credential().oprf_seed.mac(&[b"x"]), keys.oprf_seed.mac(&[b"x"]));
    assert_eq!(fake.credential().identifier, [person.account, [0; 32]].as_flattened());
    assert!(fake.credential().record[96..].iter().all(|&byte| byte == 0), "an envelope of zeros");
    assert!(fake.credential().record.iter().zip(&person.record).filter(|(fake, real)| fake == real).count() < 20);
    assert_ne!(fake.credential().oprf_seed.mac(&[b"x"]), keys.oprf_seed.mac(&[b"x"]));
    let other = [7; 32];
    let another = choose(&[Lookup { account: &other, ..lookup(&keys, person, false) }], &fakes);
    assert_eq!(another[0].credential().record[..32], fake.credential().record[..32], "one public key for all fakes");
    assert_ne!(another[0].credential().record[32..96], fake.credential().record[32..96]);
}
