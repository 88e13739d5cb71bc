//! Owners: people who keep a secret in the vaults of a simulated fleet, by an unmodified opaque-ke client, and those who guess at
//! their codes.
//!
//! What an owner was told must hold at every member from then on: the code of the last enrolment that was acknowledged proves
//! itself and brings its secret, no code of before does, and nobody sees more evaluations than the fleet has charged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse, Ristretto255, TripleDh, ksf::Identity,
};
use rand_core_06::OsRng;
use strongroom::account::AccountId;
use strongroom::error::Refusal;
use strongroom::protocol::{Reply, Request, enrolment_digest, transcript};
use strongroom::secret::Secret;
use turmoil::net::TcpStream;

use crate::disk::Dice;
use crate::signers::Signers;
use crate::site::{VAULTS, name};
use crate::vaults;

/// Deeds of each.
const DEEDS: u64 = 10;
const PRESET: u8 = 7;
/// Tries to have one request answered.
const TRIES: u32 = 4;
/// By when an owner must be answered once all is well.
const PATIENCE: Duration = Duration::from_secs(40);

struct Suite;

impl opaque_ke::CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = Identity;
}

/// A code and the secret behind it.
#[derive(Clone, PartialEq, Eq)]
struct Kept {
    code: String,
    secret: Vec<u8>,
}

/// What an owner and the guessers have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// KE1s that were evaluated, once each.
    pub evaluated: BTreeSet<[u8; 96]>,
    pub recovered: usize,
}

pub(crate) struct Owner {
    pub account: AccountId,
    pub dice: Dice,
    pub signers: Arc<Signers>,
    pub wrongs: Arc<Mutex<Vec<String>>>,
    pub seen: Arc<Mutex<Seen>>,
    /// Writes a line of what happens.
    pub note: Box<dyn Fn(String) + Send>,
    /// When things stop to go wrong.
    pub trouble: Duration,
}

/// What an owner knows of its record.
#[derive(Default)]
struct Known {
    /// The last that was acknowledged.
    last: Option<Kept>,
    /// Later ones that may have been taken.
    perhaps: Vec<Kept>,
    /// Codes of before, which no record has any more.
    past: Vec<String>,
    made: u32,
}

impl Owner {
    pub(crate) async fn live(mut self, done: &AtomicI64) {
        let mut known = Known::default();
        for _ in 0..DEEDS {
            let pause = self.dice.below(3000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match self.dice.below(10) {
                0..3 => self.enrol(&mut known).await,
                3..7 => {
                    let code = known.last.clone().map_or_else(|| "no code yet".to_owned(), |it| it.code);
                    self.recover(&known, code, TRIES).await;
                }
                7 if !known.past.is_empty() => {
                    let code = known.past[self.dice.below(known.past.len() as u64) as usize].clone();
                    self.recover(&known, code, TRIES).await;
                }
                _ => {
                    let guess = format!("guess {}", self.dice.below(1_000_000));
                    self.recover(&known, guess, TRIES).await;
                }
            }
        }
        while turmoil::sim_elapsed().unwrap_or_default() < self.trouble {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // Whatever happened, the secret comes back now, or its attempts are used up.
        if let (Some(Kept { code, .. }), true) = (known.last.clone(), known.perhaps.is_empty()) {
            match tokio::time::timeout(PATIENCE, self.recover(&known, code, u32::MAX)).await {
                Ok(true) => {}
                Ok(false) => self.wrong("its secret does not come back"),
                Err(_) => self.wrong("it is not answered although all is well"),
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }

    fn wrong(&self, what: &str) {
        self.wrongs.lock().unwrap().push(format!("owner {}: {what}", self.account.0[0]));
    }

    fn say(&self, what: &str) {
        (self.note)(format!("owner {} {what}", self.account.0[0]));
    }

    /// The answer to a request, repeated byte for byte at one member after another.
    async fn ask(&mut self, request: &Request<'_>, tries: u32) -> Option<Reply> {
        let bytes = request.encode(&self.account).unwrap();
        for _ in 0..tries {
            let members: Vec<_> = self.signers.members().into_iter().collect();
            let member = members[self.dice.below(members.len() as u64) as usize];
            let asking = async {
                let mut stream = TcpStream::connect((name(member), VAULTS)).await?;
                vaults::ask(&mut stream, &self.account, &bytes).await
            };
            let reply = tokio::time::timeout(Duration::from_secs(8), asking).await.ok().and_then(Result::ok).flatten();
            match reply.map(|reply| Reply::decode(&reply).unwrap()) {
                None | Some(Reply::Refused(Refusal::Busy)) => tokio::time::sleep(Duration::from_millis(200)).await,
                told => return told,
            }
        }
        None
    }

    async fn enrol(&mut self, known: &mut Known) {
        known.made += 1;
        let kept = Kept { code: format!("code {}", known.made), secret: format!("secret {}", known.made).into_bytes() };
        let start = ClientRegistration::<Suite>::start(&mut OsRng, kept.code.as_bytes()).unwrap();
        let r1: [u8; 32] = start.message.serialize().as_slice().try_into().unwrap();
        let Some(Reply::EnrolStarted { r2, ticket }) = self.ask(&Request::EnrolStart { r1: &r1 }, TRIES).await else {
            return self.say("does not begin to enrol");
        };
        let account = self.account;
        let parameters =
            ClientRegistrationFinishParameters::new(Identifiers { client: Some(&account.0), server: None }, None);
        let response = RegistrationResponse::deserialize(&r2).unwrap();
        let finish = start.state.finish(&mut OsRng, kept.code.as_bytes(), response, parameters).unwrap();
        let r3: [u8; 192] = finish.message.serialize().as_slice().try_into().unwrap();
        let transcript = transcript(&account, &enrolment_digest(&r1, &r2), &ticket, &r3, PRESET, &kept.secret);
        let request = Request::EnrolFinish {
            ticket: &ticket,
            r3: &r3,
            preset: PRESET,
            secret: &kept.secret,
            transcript: &transcript,
        };
        match self.ask(&request, TRIES).await {
            Some(Reply::Enrolled { generation }) => {
                self.say(&format!("has enrolled {}, generation {generation}", kept.code));
                let before = known.last.replace(kept).into_iter().chain(known.perhaps.drain(..));
                known.past.extend(before.map(|it| it.code));
            }
            // It may be taken yet, however often it was refused: it may have been answered, and the answer lost.
            told => {
                self.say(&format!("does not know whether {} is enrolled: {}", kept.code, told.is_some()));
                known.perhaps.push(kept);
            }
        }
    }

    /// Recovers with a code; whether all was as it must be.
    async fn recover(&mut self, known: &Known, code: String, tries: u32) -> bool {
        let start = ClientLogin::<Suite>::start(&mut OsRng, code.as_bytes()).unwrap();
        let ke1: [u8; 96] = start.message.serialize().as_slice().try_into().unwrap();
        let (ke2, ticket) = match self.ask(&Request::RecoverStart { ke1: &ke1 }, tries).await {
            Some(Reply::RecoverStarted { ke2, ticket, .. }) => (ke2, ticket),
            Some(Reply::Refused(Refusal::Exhausted)) => {
                self.say("has no attempts left");
                return true;
            }
            told => {
                self.say(&format!("is not evaluated: {}", told.is_some()));
                return false;
            }
        };
        self.seen.lock().unwrap().evaluated.insert(ke1);
        let account = self.account;
        let identifiers = Identifiers { client: Some(&account.0), server: None };
        let parameters = ClientLoginFinishParameters::new(Some(b"strongroom-1"), identifiers, None);
        let response = CredentialResponse::deserialize(&ke2[..]).unwrap();
        let proven = start.state.finish(&mut OsRng, code.as_bytes(), response, parameters).ok();
        let expected = known.last.iter().chain(&known.perhaps).find(|kept| kept.code == code);
        let Some(proven) = proven else {
            let was_right = known.perhaps.is_empty() && expected.is_some();
            if was_right {
                self.wrong(&format!("{code}, the last that was acknowledged, does not prove itself"));
            }
            self.say(&format!("tries {code} in vain"));
            return !was_right;
        };
        let Some(expected) = expected.cloned() else {
            self.wrong(&format!("{code} proves itself, which no record has"));
            return false;
        };
        let ke3: [u8; 64] = proven.message.serialize().as_slice().try_into().unwrap();
        let session_key = Secret::<[u8; 64]>::new(proven.session_key.as_slice().try_into().unwrap());
        match self.ask(&Request::RecoverFinish { ticket: &ticket, ke3: &ke3 }, tries).await {
            Some(Reply::Recovered { delivery }) => {
                let opened = delivery.open(&session_key, &account);
                if opened.is_ok_and(|secret| secret.to_vec() == expected.secret) {
                    self.seen.lock().unwrap().recovered += 1;
                    self.say(&format!("has back what {code} keeps"));
                    return true;
                }
                self.wrong(&format!("{code} brings another secret than it keeps"));
                false
            }
            told => {
                self.say(&format!("proves {code} and is not told: {}", told.is_some()));
                false
            }
        }
    }
}
