//! RFC 9807 appendix C, in batches, and its client's half written here with dalek, sha2, hmac and hkdf.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::engine::{Backend, Exchanged, sha512::HmacKey};
use crate::error::{Fault, Refusal};
use crate::opaque::keys::{oprf_keys, random_static_secret_with};
use crate::opaque::login::{Login, Randomness, derive_keys, finish, respond_chunk, respond_with};
use crate::opaque::register::{Registration, respond, respond_on};
use crate::opaque::{Ke1, Ke3, RegistrationRecord, RegistrationRequest, ServerKeys};
use crate::oprf::tests::{array, bytes, expand};
use crate::secret::Secret;

const SIZES: [usize; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 64];
/// An odd number, so negative, so the encoding of no element (RFC 9496 section 4.3.1).
const NO_ELEMENT: [u8; 32] = [1; 32];

/// One published vector.
struct Case {
    json: Value,
    keys: ServerKeys,
    ke1: [u8; 96],
    ke2: [u8; 320],
    record: [u8; 192],
}

impl Case {
    fn all() -> Vec<Case> {
        let all: Vec<Value> = serde_json::from_str(include_str!("../../../vectors/rfc9807-ristretto255.json")).unwrap();
        assert_eq!(all.len(), 3, "two real, one fake");
        all.into_iter().map(Case::new).collect()
    }

    fn real() -> Vec<Case> {
        let mut all = Case::all();
        all.retain(|case| !case.fake());
        assert_eq!(all.len(), 2);
        all
    }

    fn new(json: Value) -> Case {
        let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
        let keys = ServerKeys::new(
            &Secret::new(array(&inputs["oprf_seed"])),
            &Secret::new(array(&inputs["server_private_key"])),
        )
        .unwrap();
        assert_eq!(keys.public_key(), &array(&inputs["server_public_key"]));
        let fake = json["config"]["Fake"] == "True";
        let ke1 = array(if fake { &inputs["KE1"] } else { &outputs["KE1"] });
        let record = match fake {
            false => array(&outputs["registration_upload"]),
            true => [bytes(&inputs["client_public_key"]), bytes(&inputs["masking_key"]), vec![0; 96]]
                .concat()
                .try_into()
                .unwrap(),
        };
        let ke2 = array(&outputs["KE2"]);
        Case { keys, ke1, ke2, record, json }
    }

    fn fake(&self) -> bool {
        self.json["config"]["Fake"] == "True"
    }

    fn input(&self, name: &str) -> Vec<u8> {
        bytes(&self.json["inputs"][name])
    }

    fn identity(&self, name: &str) -> Option<Vec<u8>> {
        self.json["inputs"].get(name).map(bytes)
    }

    fn intermediate<const N: usize>(&self, name: &str) -> [u8; N] {
        array(&self.json["intermediates"][name])
    }

    fn output(&self, name: &str) -> Vec<u8> {
        bytes(&self.json["outputs"][name])
    }

    fn randomness(&self) -> Randomness {
        Randomness {
            masking_nonce: array(&self.json["inputs"]["masking_nonce"]),
            server_nonce: array(&self.json["inputs"]["server_nonce"]),
            keyshare_seed: Secret::new(array(&self.json["inputs"]["server_keyshare_seed"])),
        }
    }
}

#[test]
fn o1_logins_give_the_published_bytes_at_every_size_with_a_bad_record_in_each_place() {
    let cases = Case::all();
    let context = bytes(&cases[0].json["config"]["Context"]);
    let identifiers: Vec<_> = cases.iter().map(|case| case.input("credential_identifier")).collect();
    let identities: Vec<_> =
        cases.iter().map(|case| (case.identity("client_identity"), case.identity("server_identity"))).collect();
    assert!(identities.iter().any(|(client, server)| client.is_some() && server.is_some()));
    assert!(identities.iter().any(|(client, server)| client.is_none() && server.is_none()));
    let damaged: Vec<[u8; 192]> = cases
        .iter()
        .map(|case| {
            let mut record = case.record;
            record[..32].copy_from_slice(&NO_ELEMENT);
            record
        })
        .collect();
    for count in SIZES {
        let messages: Vec<&[u8]> = (0..count).map(|index| &cases[index % 3].ke1[..]).collect();
        let ke1s: Vec<Ke1> = Ke1::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
        for place in (0..count).map(Some).chain([None]) {
            let items: Vec<(Login<'_>, Randomness)> = ke1s
                .iter()
                .enumerate()
                .map(|(index, ke1)| {
                    let case = &cases[index % 3];
                    let record = if place == Some(index) { &damaged[index % 3] } else { &case.record };
                    let login = Login {
                        keys: &case.keys,
                        credential: case.keys.credential(&identifiers[index % 3], record),
                        ke1,
                        context: &context,
                        client_identity: identities[index % 3].0.as_deref(),
                        server_identity: identities[index % 3].1.as_deref(),
                    };
                    (login, case.randomness())
                })
                .collect();
            let mut answers = vec![respond_with(&items)];
            if place.is_none() {
                let lent: Vec<_> = items.iter().map(|(login, randomness)| (*login, randomness)).collect();
                answers.extend(Backend::all().into_iter().map(|backend| respond_chunk(backend, &lent)));
            }
            for responses in answers {
                assert_eq!(responses.len(), count);
                for (index, response) in responses.iter().enumerate() {
                    if place == Some(index) {
                        assert!(matches!(response, Err(Fault::Damaged(_))));
                        continue;
                    }
                    let (response, case) = (response.as_ref().unwrap(), &cases[index % 3]);
                    assert_eq!(response.ke2, case.ke2);
                    if !case.fake() {
                        assert_eq!(response.state.expose()[..64], case.output("KE3"));
                        assert_eq!(response.state.expose()[64..], case.output("session_key"));
                    }
                }
            }
        }
    }
}

#[test]
fn o1_finishes_give_the_published_session_key_and_refuse_each_wrong_bit() {
    for case in Case::real() {
        let state: [u8; 128] = [case.output("KE3"), case.output("session_key")].concat().try_into().unwrap();
        let state = Secret::new(state);
        let right = Ke3::parse(&case.output("KE3")).unwrap();
        let wrong: Vec<Ke3> = (0..512)
            .map(|bit| {
                let mut message = *right.as_bytes();
                message[bit / 8] ^= 1 << (bit % 8);
                Ke3::parse(&message).unwrap()
            })
            .collect();
        let items: Vec<_> = wrong.iter().chain([&right]).map(|ke3| (&state, ke3)).collect();
        let mut keys = finish(&items);
        let session_key = keys.pop().unwrap().expect("the right one");
        assert_eq!(session_key.expose()[..], case.output("session_key"));
        assert!(keys.iter().all(Option::is_none));
    }
    for length in [0, 63, 65] {
        assert_eq!(Ke3::parse(&vec![0; length]).err(), Some(Refusal::Malformed));
    }
}

#[test]
fn o1_registrations_give_the_published_bytes_at_every_size() {
    let cases = Case::real();
    let requests: Vec<_> = cases.iter().map(|case| case.output("registration_request")).collect();
    let identifiers: Vec<_> = cases.iter().map(|case| case.input("credential_identifier")).collect();
    for count in SIZES {
        let messages: Vec<&[u8]> = (0..count).map(|index| &requests[index % 2][..]).collect();
        let read: Vec<_> = RegistrationRequest::parse(&messages).into_iter().map(|read| read.unwrap()).collect();
        let items: Vec<_> = read
            .iter()
            .enumerate()
            .map(|(index, request)| {
                assert_eq!(&request.as_bytes()[..], messages[index]);
                Registration { keys: &cases[index % 2].keys, request, credential_identifier: &identifiers[index % 2] }
            })
            .collect();
        for (index, response) in respond(&items).into_iter().enumerate() {
            assert_eq!(response.unwrap()[..], cases[index % 2].output("registration_response"));
        }
        for backend in Backend::all() {
            for (index, response) in respond_on(backend, &items).into_iter().enumerate() {
                assert_eq!(response.unwrap()[..], cases[index % 2].output("registration_response"));
            }
        }
    }
}

/// Parsing with a bad element in each field and each place, a cut and a longer message.
#[test]
fn a_bad_message_is_malformed_and_harms_no_neighbour() {
    type Parse<T> = fn(&[&[u8]]) -> Vec<Result<T, Refusal>>;
    fn check<T>(good: &[u8], fields: &[usize], parse: Parse<T>) {
        let mut bad: Vec<Vec<u8>> = vec![good[..good.len() - 1].into(), [good, &[0]].concat(), vec![]];
        for &field in fields {
            for element in [NO_ELEMENT, [0; 32], [0xff; 32]] {
                let mut message = good.to_vec();
                message[field..field + 32].copy_from_slice(&element);
                bad.push(message);
            }
        }
        assert!(parse(&[good])[0].is_ok());
        for count in SIZES {
            for place in 0..count {
                let mut messages = vec![good; count];
                messages[place] = &bad[place % bad.len()];
                for (index, read) in parse(&messages).iter().enumerate() {
                    assert_eq!(read.as_ref().err(), (index == place).then_some(&Refusal::Malformed));
                }
            }
        }
        assert!(parse(&bad.iter().map(|message| &message[..]).collect::<Vec<_>>()).iter().all(Result::is_err));
    }
    let case = &Case::real()[0];
    check(&case.output("registration_request"), &[0], RegistrationRequest::parse);
    check(&case.ke1, &[0, 64], Ke1::parse);
    check(&case.record, &[0], RegistrationRecord::parse);
    let record = RegistrationRecord::parse(&[&case.record]).remove(0).unwrap();
    assert_eq!(record.bytes().expose(), &case.record);
}

#[test]
fn a_field_too_long_for_its_length_is_a_fault_of_its_own_item() {
    let case = &Case::real()[0];
    let ke1 = Ke1::parse(&[&case.ke1]).remove(0).unwrap();
    let long = vec![0; 65_536];
    let login = Login {
        keys: &case.keys,
        credential: case.keys.credential(b"1234", &case.record),
        ke1: &ke1,
        context: b"OPAQUE-POC",
        client_identity: None,
        server_identity: None,
    };
    let items = [
        login,
        Login { context: &long, ..login },
        Login { client_identity: Some(&long), ..login },
        Login { server_identity: Some(&long), ..login },
        Login { context: &long[1..], ..login },
        login,
    ];
    let items: Vec<_> = items.into_iter().map(|login| (login, case.randomness())).collect();
    let responses = respond_with(&items);
    for (index, response) in responses.iter().enumerate() {
        match index {
            1..=3 => assert!(matches!(response, Err(Fault::Limit(_)))),
            4 => assert!(response.is_ok(), "65,535 bytes fit"),
            _ => assert_eq!(response.as_ref().unwrap().ke2, case.ke2),
        }
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hkdf_expand<const N: usize>(prk: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha512>::from_prk(prk).unwrap().expand(info, &mut out).unwrap();
    out
}

/// The secret of DeriveDiffieHellmanKeyPair.
fn dh_secret(seed: &[u8]) -> curve25519_dalek::Scalar {
    let info = b"OPAQUE-DeriveDiffieHellmanKeyPair";
    let message = [seed, &[0, info.len() as u8], info, &[0]].concat();
    let wide = expand(&message, b"DeriveKeyPairOPRFV1-\x00-ristretto255-SHA512");
    curve25519_dalek::Scalar::from_bytes_mod_order_wide(&wide)
}

fn decompress(encoding: &[u8]) -> RistrettoPoint {
    CompressedRistretto(encoding.try_into().unwrap()).decompress().unwrap()
}

/// The server's intermediates: OPRF key and key schedule, the latter from the published messages.
#[test]
fn o1_intermediates_of_the_server_are_the_published_ones() {
    for (case, backend) in Case::real().iter().flat_map(|case| Backend::all().into_iter().map(move |b| (case, b))) {
        let (seed, identifier) = (HmacKey::new(&case.input("oprf_seed")), case.input("credential_identifier"));
        let oprf_key = oprf_keys(backend, &[(&seed, &identifier)]).unwrap().remove(0);
        assert_eq!(oprf_key.to_bytes().expose(), &case.intermediate("oprf_key"));

        let ephemeral = dh_secret(&case.input("server_keyshare_seed"));
        let fixed = curve25519_dalek::Scalar::from_bytes_mod_order(array(&case.json["inputs"]["server_private_key"]));
        let (client_keyshare, client_key) = (decompress(&case.ke1[64..]), decompress(&case.record[..32]));
        let shared = [ephemeral * client_keyshare, fixed * client_keyshare, ephemeral * client_key];
        let server_identity = case.identity("server_identity").unwrap_or(case.input("server_public_key"));
        let client_identity = case.identity("client_identity").unwrap_or(case.record[..32].to_vec());
        let mut preamble = b"OPAQUEv1-".to_vec();
        for (field, after) in [
            (&bytes(&case.json["config"]["Context"])[..], &[][..]),
            (&client_identity, &case.ke1),
            (&server_identity, &case.ke2[..256]),
        ] {
            preamble.extend((field.len() as u16).to_be_bytes());
            preamble.extend(field);
            preamble.extend(after);
        }
        let exchanged = Exchanged {
            evaluated: [0; 32],
            server_keyshare: [0; 32],
            shared: Secret::new(shared.map(|point| point.compress().to_bytes())),
        };
        let keys = derive_keys(backend, &[exchanged], &[Sha512::digest(&preamble).into()]);
        assert_eq!(keys.handshake.expose()[0], case.intermediate("handshake_secret"));
        assert_eq!(keys.server_mac.expose()[0], case.intermediate("server_mac_key"));
        assert_eq!(keys.client_mac.expose()[0], case.intermediate("client_mac_key"));
        assert_eq!(keys.session.expose()[0][..], case.output("session_key"));
        assert_eq!(mac(&keys.server_mac.expose()[0], &Sha512::digest(&preamble)), case.ke2[256..]);
    }
}

/// The client's intermediates and outputs, so that the bytes above are known to be good for something: a model of
/// RFC 9807 sections 4.1.2, 5.2.3 and 6.3.2.3 that shares no code with the room.
#[test]
fn o1_intermediates_of_the_client_follow_from_what_the_server_sent() {
    for case in Case::real() {
        let password = case.input("password");
        let element = expand(&password, b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512");
        let element = RistrettoPoint::from_uniform_bytes(&element);
        let randomized = |blind: &str, request: &[u8], evaluated: &[u8]| {
            let blind = curve25519_dalek::Scalar::from_canonical_bytes(array(&case.json["inputs"][blind])).unwrap();
            assert_eq!((blind * element).compress().as_bytes(), request);
            let unblinded = (blind.invert() * decompress(evaluated)).compress();
            let length = (password.len() as u16).to_be_bytes();
            let message = [&length[..], &password, &[0, 32], unblinded.as_bytes(), b"Finalize"].concat();
            let output = Sha512::digest(&message);
            // The key stretching function of the vectors is the identity.
            let (prk, _) = Hkdf::<Sha512>::extract(None, &[output, output].concat());
            prk.to_vec()
        };
        let response = case.output("registration_response");
        let password = randomized("blind_registration", &case.output("registration_request"), &response[..32]);
        assert_eq!(password, case.intermediate::<64>("randomized_password"));
        assert_eq!(password, randomized("blind_login", &case.ke1[..32], &case.ke2[..32]));

        let nonce = case.input("envelope_nonce");
        let with = |label: &[u8]| [&nonce[..], label].concat();
        let masking_key: [u8; 64] = hkdf_expand(&password, b"MaskingKey");
        let auth_key: [u8; 64] = hkdf_expand(&password, &with(b"AuthKey"));
        let export_key: [u8; 64] = hkdf_expand(&password, &with(b"ExportKey"));
        let secret = dh_secret(&hkdf_expand::<32>(&password, &with(b"PrivateKey")));
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        assert_eq!(masking_key, case.intermediate("masking_key"));
        assert_eq!(auth_key, case.intermediate("auth_key"));
        assert_eq!(public, case.intermediate("client_public_key"));
        assert_eq!(export_key[..], case.output("export_key"));
        let server_identity = case.identity("server_identity").unwrap_or(response[32..].to_vec());
        let client_identity = case.identity("client_identity").unwrap_or(public.to_vec());
        let mut authenticated = [&nonce[..], &response[32..]].concat();
        for identity in [&server_identity, &client_identity] {
            authenticated.extend((identity.len() as u16).to_be_bytes());
            authenticated.extend(identity);
        }
        let envelope = [nonce.clone(), mac(&auth_key, &authenticated)].concat();
        assert_eq!(envelope, case.intermediate::<96>("envelope"));
        assert_eq!([&public[..], &masking_key, &envelope].concat(), case.output("registration_upload"));
        // And KE2 unmasks to what was registered.
        let pad: [u8; 128] = hkdf_expand(&masking_key, &[&case.ke2[32..64], b"CredentialResponsePad"].concat());
        let unmasked: Vec<u8> = case.ke2[64..192].iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect();
        assert_eq!(unmasked, [&response[32..], &envelope].concat());
    }
}

#[test]
fn a_fresh_static_secret_is_derived_as_the_rfc_derives_key_pairs() {
    let seed = [9; 32];
    let secret = random_static_secret_with(&Secret::new(seed)).unwrap();
    assert_eq!(secret.expose(), &dh_secret(&seed).to_bytes());
    let keys = ServerKeys::new(&Secret::new([1; 64]), &secret).unwrap();
    assert_eq!(keys.public_key(), RistrettoPoint::mul_base(&dh_secret(&seed)).compress().as_bytes());
    for bad in [[0; 32], [0xff; 32]] {
        assert!(matches!(ServerKeys::new(&Secret::new([1; 64]), &Secret::new(bad)), Err(Fault::Key(_))));
    }
}
