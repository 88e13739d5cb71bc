//! What the example server and those who speak to it agree on: routes, JSON, and the token that admits a person. Beside
//! it the two halves, which `tests/soak` uses too.

#![allow(dead_code, unreachable_pub)] // Each side uses its half.

pub mod caller;
pub mod server;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use strongroom::account::AccountId;
use strongroom::protocol::Request;

/// A request on its way to the vault, in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub request: String,
}

/// The vault's reply, in base64. A refusal is a reply like any other, and as long.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub reply: String,
}

/// What a front-end says of a request that does not reach the vault.
#[derive(Serialize, Deserialize)]
pub struct Problem {
    pub problem: String,
}

/// Who wants to be admitted, in hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub account: String,
}

/// A token for somebody.
#[derive(Serialize, Deserialize)]
pub struct Token {
    pub token: String,
}

/// The key that requests are sealed to, told by whoever answers: for development, where no bundle says it.
#[derive(Serialize, Deserialize)]
pub struct Channel {
    pub fleet: String,
    pub number: u16,
    pub epoch: u32,
    pub bundle: String,
    pub public_key: String,
}

pub fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

pub fn to_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// The route that a request belongs to.
pub fn route(request: &Request<'_>) -> &'static str {
    match request {
        Request::EnrolStart { .. } | Request::EnrolFinish { .. } => "enrol",
        Request::RecoverStart { .. } | Request::RecoverFinish { .. } => "recover",
        Request::Remove { .. } | Request::RemoveUnproven { .. } => "remove",
        _ => "remaining",
    }
}

/// Names what is signed, so that a signature for another purpose admits nobody.
const PURPOSE: &[u8] = b"strongroom example admission v1";

/// A token: account, last second in which it is good, signature, in base64. Whoever knows who people are signs it; the
/// server holds the public key alone.
pub fn token(key: &SigningKey, account: &AccountId, until_s: u64) -> String {
    let signature = key.sign(&signed(account, until_s));
    to_base64(&[account.as_bytes(), &until_s.to_be_bytes()[..], &signature.to_bytes()].concat())
}

/// The account that a token admits at this second, if it does.
pub fn admitted(key: &VerifyingKey, token: &str, now_s: u64) -> Option<AccountId> {
    let bytes = from_base64(token)?;
    let (account, rest) = bytes.split_first_chunk::<32>()?;
    let (until_s, signature) = rest.split_first_chunk::<8>()?;
    let (account, until_s) = (AccountId(*account), u64::from_be_bytes(*until_s));
    let signature = Signature::from_slice(signature).ok()?;
    key.verify_strict(&signed(&account, until_s), &signature).ok()?;
    (now_s <= until_s).then_some(account)
}

fn signed(account: &AccountId, until_s: u64) -> Vec<u8> {
    [PURPOSE, account.as_bytes(), &until_s.to_be_bytes()].concat()
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
