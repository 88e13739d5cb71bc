//! What is sealed and was altered, or brought to another place, opens nowhere: `vectors/sealed/negative.json`, judged by this crate,
//! and by `vectors/check.py`, which shares no line with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom::account::AccountId;
use strongroom::protocol::{REPLY_LEN, Reply};
use strongroom::secret::Secret;
use strongroom::session::ChannelKeys;
use strongroom::wrap::{EnrolmentTicket, EpochKeys, LoginTicket, OpenItem, Sealed, Ticket, TicketKeys};

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(case[name].as_str().unwrap()).unwrap()
}

fn array<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    bytes(case, name).try_into().unwrap()
}

fn number(case: &Value, name: &str) -> u64 {
    case[name].as_u64().unwrap()
}

fn account(case: &Value) -> AccountId {
    AccountId(array(case, "account"))
}

fn opens_ticket<T: Ticket>(case: &Value) -> bool {
    let key = Secret::new(array(case, "key"));
    let its_number = number(case, "number") as u16;
    let keys = TicketKeys::new(array(case, "fleet"), (its_number, &key), (its_number, &key));
    let (account, ticket) = (account(case), bytes(case, "ticket"));
    let opened = keys.open::<T>(number(case, "restores") as u32, &[(&account, &ticket)], 0);
    opened.into_iter().all(|opened| opened.is_ok())
}

/// The key of the case's epoch: HKDF-Expand of its root.
fn epoch_keys(case: &Value) -> EpochKeys {
    use hmac::{Hmac, KeyInit, Mac};
    let epoch = number(case, "epoch") as u32;
    let mut mac = Hmac::<sha2::Sha512>::new_from_slice(&bytes(case, "root")).unwrap();
    [&b"strongroom epoch v1"[..], &epoch.to_be_bytes(), &[1]].iter().for_each(|part| mac.update(part));
    EpochKeys::new(epoch, &Secret::new(mac.finalize().into_bytes().into()))
}

fn opens_record(case: &Value) -> bool {
    let Ok(sealed) = Sealed::from_bytes(&bytes(case, "sealed")) else { return false };
    let item = OpenItem { account: &account(case), generation: number(case, "generation") as u32, sealed: &sealed };
    epoch_keys(case).open(&[item]).remove(0).is_ok()
}

fn opens_delivery(case: &Value) -> bool {
    // As it comes: behind version, refusal and kind of a reply.
    let mut reply = [&[1, 0, 4][..], &bytes(case, "delivery")].concat();
    reply.resize(reply.len().max(REPLY_LEN), 0);
    let Ok(Reply::Recovered { delivery }) = Reply::decode(&reply) else { return false };
    delivery.open(&Secret::new(array(case, "session_key")), &account(case)).is_ok()
}

fn opens_request(case: &Value) -> bool {
    let (number_of_key, seed) = (number(case, "number") as u16, Secret::new(array(case, "seed")));
    let bundle = (number(case, "epoch") as u32, array(case, "bundle"));
    let keys = ChannelKeys::new((number_of_key, &seed), &[bundle]).unwrap();
    keys.open(&[&bytes(case, "sealed_request")], 0).remove(0).is_ok()
}

fn opens(case: &Value) -> bool {
    match case["judge"].as_str().unwrap() {
        "login ticket" => opens_ticket::<LoginTicket>(case),
        "enrolment ticket" => opens_ticket::<EnrolmentTicket>(case),
        "record" => opens_record(case),
        "blob" => epoch_keys(case).open_blob(case["purpose"].as_str().unwrap(), &bytes(case, "sealed")).is_ok(),
        "delivery" => opens_delivery(case),
        "channel request" => opens_request(case),
        other => panic!("nobody opens {other:?}"),
    }
}

#[test]
fn what_was_altered_or_is_in_another_place_does_not_open() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/sealed/negative.json")).unwrap();
    let mut seen = BTreeMap::<&str, [usize; 2]>::new();
    // What reads these is not public: the tests beside it judge them.
    let elsewhere = ["channel reply", "journal row"];
    for case in vectors["cases"].as_array().unwrap() {
        if elsewhere.contains(&case["judge"].as_str().unwrap()) {
            continue;
        }
        let accepts = case["accepts"].as_bool().unwrap();
        assert_eq!(opens(case), accepts, "{}, {}", case["judge"], case["name"]);
        seen.entry(case["judge"].as_str().unwrap()).or_default()[usize::from(accepts)] += 1;
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.values().all(|[refused, taken]| *refused >= 10 && *taken == 1), "{seen:?}");
}
