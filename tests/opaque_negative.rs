//! Messages of OPAQUE that must not be taken, `vectors/opaque/negative.json`: those to a vault are judged by this crate, those to a
//! client by opaque-ke, and all of them by `vectors/check.py`, which made them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, CredentialResponse, Identifiers, Ristretto255, TripleDh, ksf::Identity,
};
use rand_core_06::OsRng;
use serde_json::Value;
use strongroom::opaque::{Ke1, Ke3, RegistrationRecord, RegistrationRequest, login};
use strongroom::secret::Secret;

struct Suite;

impl opaque_ke::CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = Identity;
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(value[name].as_str().unwrap()).unwrap()
}

/// Whether the client that has sent KE1 takes this answer.
fn proves(login: &Value, message: &[u8], password: &[u8]) -> bool {
    // The client's state as opaque-ke keeps it: blind, KE1, the secret of its keyshare, its nonce.
    let state = ["blind", "KE1", "client_keyshare_secret", "client_nonce"].map(|name| bytes(login, name)).concat();
    let client = ClientLogin::<Suite>::deserialize(&state).unwrap();
    let context = bytes(login, "context");
    let parameters = ClientLoginFinishParameters::new(Some(&context), Identifiers { client: None, server: None }, None);
    // opaque-ke passes over bytes behind a message; a client of this crate has KE2 in a field of its length.
    let Ok(message) = <&[u8; 320]>::try_from(message) else { return false };
    let response = CredentialResponse::deserialize(message);
    response.is_ok_and(|response| client.finish(&mut OsRng, password, response, parameters).is_ok())
}

/// Whether whoever is to judge a case takes its message.
fn takes(login: &Value, case: &Value) -> bool {
    let message = bytes(case, "message");
    match case["judge"].as_str().unwrap() {
        "vault: registration request" => RegistrationRequest::parse(&[&message]).remove(0).is_ok(),
        "vault: registration record" => RegistrationRecord::parse(&[&message]).remove(0).is_ok(),
        "vault: KE1" => Ke1::parse(&[&message]).remove(0).is_ok(),
        "vault: KE3" => {
            let state = [bytes(login, "expected_KE3"), bytes(login, "session_key")].concat();
            let state = Secret::<[u8; 128]>::new(state.try_into().unwrap());
            Ke3::parse(&message).is_ok_and(|ke3| login::finish(&[(&state, &ke3)]).remove(0).is_some())
        }
        "client: KE2" => {
            let password = if case["password"].is_null() { bytes(login, "password") } else { bytes(case, "password") };
            proves(login, &message, &password)
        }
        other => panic!("nobody judges {other:?}"),
    }
}

#[test]
fn messages_that_must_not_be_taken_are_not() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/opaque/negative.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut judged = BTreeMap::<_, [usize; 2]>::new();
    for case in all["cases"].as_array().unwrap() {
        let accepts = case["accepts"].as_bool().unwrap();
        assert_eq!(takes(&all["login"], case), accepts, "{}, {}", case["judge"], case["name"]);
        judged.entry(case["judge"].to_string()).or_default()[usize::from(accepts)] += 1;
    }
    assert_eq!(judged.len(), 5, "{judged:?}");
    assert!(judged.values().all(|[refused, taken]| *refused > 4 && *taken > 0), "{judged:?}");
}
