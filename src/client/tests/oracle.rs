//! A vault of one account around opaque-ke's server half: enough to answer a client, and to see what it sent.

use opaque_ke::rand::{CryptoRng, Error, RngCore};
use opaque_ke::{
    CredentialFinalization, CredentialRequest, Identifiers, Ristretto255, ServerLogin, ServerLoginParameters,
    ServerRegistration, ServerSetup, TripleDh,
};
use opaque_ke::{RegistrationRequest, RegistrationUpload};

use crate::account::AccountId;
use crate::error::Refusal;
use crate::protocol::{Delivery, DeliveryItem, Reply, Request, enrolment_digest, transcript};
use crate::secret::Secret;

pub(super) struct Suite;

impl opaque_ke::CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = opaque_ke::ksf::Identity; // a server never stretches
}

/// Bytes that follow from a seed: good enough to be told apart, and the same in every run.
pub(super) struct Counted(pub(super) u64);

impl RngCore for Counted {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(64) {
            self.0 += 1;
            chunk.copy_from_slice(&crate::engine::sha512::digest(&[&self.0.to_be_bytes()])[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Counted {}

pub(super) struct Stored {
    pub(super) file: ServerRegistration<Suite>,
    pub(super) preset: u8,
    pub(super) secret: Vec<u8>,
    finish: Vec<u8>,
}

pub(super) struct Oracle {
    pub(super) setup: ServerSetup<Suite>,
    pub(super) context: Vec<u8>,
    pub(super) identity: bool,
    pub(super) stored: Option<Stored>,
    pub(super) remaining: u32,
    started: Option<[u8; 32]>,
    login: Option<ServerLogin<Suite>>,
    /// What was proven last, and what its repetition is told.
    proven: Option<(Vec<u8>, Result<Reply, Refusal>)>,
    charged: Vec<Vec<u8>>,
    random: Counted,
}

impl Oracle {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Counted(seed << 32);
        Oracle {
            setup: ServerSetup::new(&mut random),
            context: b"strongroom-1".to_vec(),
            identity: true,
            stored: None,
            remaining: 10,
            started: None,
            login: None,
            proven: None,
            charged: Vec::new(),
            random,
        }
    }

    pub(super) fn server_key(&self) -> [u8; 32] {
        self.setup.keypair().public().serialize().as_slice().try_into().expect("32 bytes")
    }

    pub(super) fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let (account, parsed) = Request::decode(request).expect("a client sends requests");
        self.reply(request, &account, parsed).unwrap_or_else(Reply::Refused).encode()
    }

    fn reply(&mut self, bytes: &[u8], account: &AccountId, request: Request<'_>) -> Result<Reply, Refusal> {
        let context = self.context.clone();
        let parameters = ServerLoginParameters {
            context: Some(&context),
            identifiers: Identifiers { client: self.identity.then_some(&account.0[..]), server: None },
        };
        match request {
            Request::EnrolStart { r1 } => {
                let message = RegistrationRequest::deserialize(r1).expect("R1");
                let answer = ServerRegistration::<Suite>::start(&self.setup, message, &account.0).expect("R2");
                let r2 = answer.message.serialize().as_slice().try_into().expect("64 bytes");
                self.started = Some(enrolment_digest(r1, &r2));
                Ok(Reply::EnrolStarted { r2, ticket: b"enrolment ticket".to_vec() })
            }
            Request::EnrolFinish { ticket, r3, preset, secret, transcript: said } => {
                if self.stored.as_ref().is_some_and(|stored| stored.finish == bytes) {
                    return Ok(Reply::Enrolled { generation: 1 });
                }
                let started = self.started.take().ok_or(Refusal::TicketInvalid)?;
                assert_eq!(ticket, b"enrolment ticket");
                if *said != transcript(account, &started, ticket, r3, preset, secret) {
                    return Err(Refusal::WrongTranscript);
                }
                let file = ServerRegistration::finish(RegistrationUpload::deserialize(r3).expect("R3"));
                self.stored = Some(Stored { file, preset, secret: secret.to_vec(), finish: bytes.to_vec() });
                Ok(Reply::Enrolled { generation: 1 })
            }
            Request::RecoverStart { ke1 } => {
                if !self.charged.contains(&ke1.to_vec()) {
                    self.remaining = self.remaining.checked_sub(1).ok_or(Refusal::Exhausted)?;
                    self.charged.push(ke1.to_vec());
                }
                let message = CredentialRequest::deserialize(ke1).expect("KE1");
                let file = self.stored.as_ref().map(|stored| stored.file.clone());
                let preset = self.stored.as_ref().map_or(0, |stored| stored.preset);
                let answer = ServerLogin::start(&mut self.random, &self.setup, file, message, &account.0, parameters)
                    .expect("KE2");
                self.login = Some(answer.state);
                let ke2 = Box::new(answer.message.serialize().as_slice().try_into().expect("320 bytes"));
                Ok(Reply::RecoverStarted { ke2, preset, remaining: self.remaining, ticket: b"login ticket".to_vec() })
            }
            Request::RecoverFinish { ticket, ke3 } | Request::Remove { ticket, ke3 } => {
                assert_eq!(ticket, b"login ticket");
                if let Some((_, reply)) = self.proven.as_ref().filter(|(proven, _)| proven == bytes) {
                    return reply.clone();
                }
                let login = self.login.take().ok_or(Refusal::TicketExpired)?;
                let message = CredentialFinalization::deserialize(ke3).expect("KE3");
                let key = login.finish(message, parameters).map_err(|_| Refusal::WrongProof)?.session_key;
                let (reply, again) = if let Request::Remove { .. } = request {
                    self.stored.take().ok_or(Refusal::NoRecord)?;
                    // As the ledger, which keeps nothing of a removal.
                    (Reply::Removed, Err(Refusal::NoRecord))
                } else {
                    let key = Secret::new(key.as_slice().try_into().expect("64 bytes"));
                    let secret = &self.stored.as_ref().ok_or(Refusal::NoRecord)?.secret;
                    let item = DeliveryItem { session_key: &key, account, secret };
                    let reply = Reply::Recovered { delivery: Delivery::seal(&[item]).remove(0).expect("a delivery") };
                    (reply.clone(), Ok(reply))
                };
                self.proven = Some((bytes.to_vec(), again));
                Ok(reply)
            }
            Request::Remaining => Ok(Reply::Remaining { attempts: self.remaining }),
            Request::RemoveUnproven { generation: 1 } => {
                self.stored.take().map(|_| Reply::Removed).ok_or(Refusal::NoRecord)
            }
            Request::RemoveUnproven { .. } => Err(Refusal::Stale),
        }
    }
}
