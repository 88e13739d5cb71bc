//! A person with an unmodified opaque-ke client, and the words a front-end passes on for them.

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse, Ristretto255, TripleDh, ksf::Identity,
};
use rand_core_06::OsRng;

use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::protocol::{Reply, Request, enrolment_digest, transcript};
use crate::secret::Secret;
use crate::vault::{Admitted, Vault};

pub(super) struct Suite;

impl opaque_ke::CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = Identity;
}

pub(super) const PRESET: u8 = 7;

/// Who asks, and for which account.
#[derive(Clone, Copy)]
pub(super) struct Person(pub(super) AccountId);

/// An enrolment's finish, ready to be sent, and sent again.
#[derive(Clone)]
pub(super) struct Finish {
    pub(super) ticket: Vec<u8>,
    pub(super) r3: [u8; 192],
    pub(super) secret: Vec<u8>,
    pub(super) transcript: [u8; 32],
}

impl Finish {
    pub(super) fn request(&self) -> Request<'_> {
        let Finish { ticket, r3, secret, transcript } = self;
        Request::EnrolFinish { ticket, r3, preset: PRESET, secret, transcript }
    }
}

/// A login that has its KE2.
pub(super) struct Answered {
    pub(super) state: ClientLogin<Suite>,
    pub(super) ke2: Box<[u8; 320]>,
    pub(super) preset: u8,
    pub(super) remaining: u32,
    pub(super) ticket: Vec<u8>,
}

/// A login that knows its KE3.
pub(super) struct Proof {
    pub(super) ticket: Vec<u8>,
    pub(super) ke3: [u8; 64],
    pub(super) session_key: Secret<[u8; 64]>,
}

impl Person {
    pub(super) fn new(name: &str) -> Self {
        Person(AccountId::derive("tests", name))
    }

    /// One request, one answer.
    pub(super) fn ask(&self, vault: &Vault, request: &Request<'_>) -> Result<Reply, Fault> {
        let bytes = request.encode(&self.0).unwrap();
        let mut answers = vault.process(&[Admitted { account: self.0, request: &bytes }]);
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    pub(super) fn remaining(&self, vault: &Vault) -> u32 {
        match self.ask(vault, &Request::Remaining) {
            Ok(Reply::Remaining { attempts }) => attempts,
            other => panic!("not what was asked: {other:?}"),
        }
    }

    /// Begins an enrolment and prepares its finish.
    pub(super) fn start_enrolment(&self, vault: &Vault, code: &str, secret: &[u8]) -> Result<Finish, Refusal> {
        let start = ClientRegistration::<Suite>::start(&mut OsRng, code.as_bytes()).unwrap();
        let r1: [u8; 32] = start.message.serialize().as_slice().try_into().unwrap();
        let (r2, ticket) = match self.ask(vault, &Request::EnrolStart { r1: &r1 }).unwrap() {
            Reply::EnrolStarted { r2, ticket } => (r2, ticket),
            Reply::Refused(refusal) => return Err(refusal),
            other => panic!("not what was asked: {other:?}"),
        };
        let response = RegistrationResponse::deserialize(&r2).unwrap();
        let parameters = ClientRegistrationFinishParameters::new(self.identifiers(), None);
        let finish = start.state.finish(&mut OsRng, code.as_bytes(), response, parameters).unwrap();
        let said = finish.server_s_pk.serialize();
        let held = vault.keys().unwrap().servers;
        assert!(held.iter().any(|it| it.public_key[..] == said[..]), "a key that the vault tells of");
        let r3: [u8; 192] = finish.message.serialize().as_slice().try_into().unwrap();
        let transcript = transcript(&self.0, &enrolment_digest(&r1, &r2), &ticket, &r3, PRESET, secret);
        Ok(Finish { ticket, r3, secret: secret.to_vec(), transcript })
    }

    pub(super) fn enrol(&self, vault: &Vault, code: &str, secret: &[u8]) -> u32 {
        let finish = self.start_enrolment(vault, code, secret).unwrap();
        match self.ask(vault, &finish.request()) {
            Ok(Reply::Enrolled { generation }) => generation,
            other => panic!("not enrolled: {other:?}"),
        }
    }

    /// A fresh KE1, not yet sent.
    pub(super) fn ke1(&self, code: &str) -> (ClientLogin<Suite>, [u8; 96]) {
        let start = ClientLogin::<Suite>::start(&mut OsRng, code.as_bytes()).unwrap();
        (start.state, start.message.serialize().as_slice().try_into().unwrap())
    }

    pub(super) fn send_ke1(
        &self,
        vault: &Vault,
        state: ClientLogin<Suite>,
        ke1: &[u8; 96],
    ) -> Result<Answered, Refusal> {
        match self.ask(vault, &Request::RecoverStart { ke1 }).unwrap() {
            Reply::RecoverStarted { ke2, preset, remaining, ticket } => {
                Ok(Answered { state, ke2, preset, remaining, ticket })
            }
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("not what was asked: {other:?}"),
        }
    }

    pub(super) fn start(&self, vault: &Vault, code: &str) -> Result<Answered, Refusal> {
        let (state, ke1) = self.ke1(code);
        self.send_ke1(vault, state, &ke1)
    }

    /// KE3, if the code was right.
    pub(super) fn prove(&self, answered: Answered, code: &str) -> Option<Proof> {
        let response = CredentialResponse::deserialize(&answered.ke2[..]).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(b"strongroom-1"), self.identifiers(), None);
        let finish = answered.state.finish(&mut OsRng, code.as_bytes(), response, parameters).ok()?;
        Some(Proof {
            ticket: answered.ticket,
            ke3: finish.message.serialize().as_slice().try_into().unwrap(),
            session_key: Secret::new(finish.session_key.as_slice().try_into().unwrap()),
        })
    }

    pub(super) fn finish(&self, vault: &Vault, proof: &Proof) -> Result<Vec<u8>, Refusal> {
        match self.ask(vault, &Request::RecoverFinish { ticket: &proof.ticket, ke3: &proof.ke3 }).unwrap() {
            Reply::Recovered { delivery } => Ok(delivery.open(&proof.session_key, &self.0).unwrap().to_vec()),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("not what was asked: {other:?}"),
        }
    }

    /// A whole recovery with a code that may be wrong.
    pub(super) fn recover(&self, vault: &Vault, code: &str) -> Result<Vec<u8>, Refusal> {
        let answered = self.start(vault, code)?;
        let proof = self.prove(answered, code).ok_or(Refusal::WrongProof)?;
        self.finish(vault, &proof)
    }

    fn identifiers(&self) -> Identifiers<'_> {
        Identifiers { client: Some(&self.0.0), server: None }
    }
}
