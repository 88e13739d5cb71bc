//! [`Enrolment`] and [`PendingEnrolment`]: RFC 9807 section 5, the client's half.

use opaque_ke::rand::{CryptoRng, RngCore};
use opaque_ke::{ClientRegistration, ClientRegistrationFinishParameters, RegistrationResponse};

use super::preset::Stretch;
use super::random::with_os;
use super::suite::{Suite, array, failure, take};
use super::{Code, Failure, Terms, wrapped};
use crate::account::AccountId;
use crate::protocol::{R1_LEN, R3_LEN, Reply, Request, enrolment_digest, transcript};
use crate::secret::Secret;

/// An enrolment that has asked to begin.
///
/// Nothing is stored until [`PendingEnrolment::request`] arrives, so one that goes wrong before is dropped and begun
/// again, at no cost.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::client::{Code, Enrolment, Failure, Terms};
/// use strongroom::error::Refusal;
/// use strongroom::protocol::{REQUEST_LEN, Reply};
/// use strongroom::secret::Secret;
///
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let enrolment = Enrolment::start(&Terms::default(), account, Code::new("correct horse 4711")?)?;
/// assert_eq!(enrolment.request().len(), REQUEST_LEN); // this travels to the vault ...
///
/// let reply = Reply::Refused(Refusal::LifetimeUsed).encode(); // ... and this one came back
/// let backup_key = Secret::<[u8; 32]>::random().unwrap();
/// assert_eq!(enrolment.finish(&reply, &backup_key).err(), Some(Failure::Refused(Refusal::LifetimeUsed)));
/// # Ok::<(), Failure>(())
/// ```
pub struct Enrolment {
    terms: Terms,
    account: AccountId,
    code: Code,
    state: ClientRegistration<Suite>,
    r1: [u8; R1_LEN],
    request: Vec<u8>,
}

impl Enrolment {
    /// Begins to enrol `code` for `account`, replacing whatever record the account has.
    ///
    /// # Errors
    /// [`Failure::Terms`] and the preset failures if the terms cannot be met, [`Failure::Randomness`].
    pub fn start(terms: &Terms, account: AccountId, code: Code) -> Result<Self, Failure> {
        with_os(|random| Self::start_with(terms, account, code, random))
    }

    /// [`Enrolment::start`] with the randomness as an argument.
    ///
    /// # Errors
    /// As [`Enrolment::start`].
    pub fn start_with(
        terms: &Terms,
        account: AccountId,
        code: Code,
        random: &mut (impl RngCore + CryptoRng),
    ) -> Result<Self, Failure> {
        terms.check()?;
        terms.allow(terms.preset)?;
        let started =
            ClientRegistration::<Suite>::start(random, code.as_bytes()).map_err(|error| failure(error, None))?;
        let r1 = array(&started.message.serialize())?;
        let request = Request::EnrolStart { r1: &r1 }.encode(&account)?;
        Ok(Enrolment { terms: terms.clone(), account, code, state: started.state, r1, request })
    }

    /// The bytes to send.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes the reply and wraps `backup_key` for the code. Stretches the code, which takes the memory and time of
    /// [`Terms::preset`]. Consumes the enrolment, as two answers to one beginning must not become two records.
    ///
    /// # Errors
    /// [`Failure::Refused`], [`Failure::UnexpectedReply`], [`Failure::FleetNotTrusted`], [`Failure::Stretching`] or
    /// [`Failure::Randomness`]; nothing is stored then.
    pub fn finish(self, reply: &[u8], backup_key: &Secret<[u8; 32]>) -> Result<PendingEnrolment, Failure> {
        with_os(|random| self.finish_with(reply, backup_key, random))
    }

    /// [`Enrolment::finish`] with the randomness as an argument.
    ///
    /// # Errors
    /// As [`Enrolment::finish`].
    pub fn finish_with(
        self,
        reply: &[u8],
        backup_key: &Secret<[u8; 32]>,
        random: &mut (impl RngCore + CryptoRng),
    ) -> Result<PendingEnrolment, Failure> {
        let (r2, ticket) = match Reply::decode(reply) {
            Ok(Reply::EnrolStarted { r2, ticket }) => (r2, ticket),
            Ok(Reply::Refused(refusal)) => return Err(refusal.into()),
            _ => return Err(Failure::UnexpectedReply),
        };
        // R2 is the evaluated element, then the server's static key in clear: looked at before any work is done.
        self.terms.trust(&r2[32..])?;
        let response = RegistrationResponse::deserialize(&r2).map_err(|error| failure(error, None))?;
        let preset = self.terms.preset;
        let stretch = Stretch(preset);
        let parameters = ClientRegistrationFinishParameters::new(self.terms.identifiers(&self.account), Some(&stretch));
        let mut finished = self
            .state
            .finish(random, self.code.as_bytes(), response, parameters)
            .map_err(|error| failure(error, None))?;
        let export_key = take(finished.export_key.as_mut_slice())?;
        let mut nonce = [0; 12];
        random.fill_bytes(&mut nonce);
        let secret = wrapped::seal_with(&export_key, &self.account, backup_key, &nonce)?;

        let r3: [u8; R3_LEN] = array(&finished.message.serialize())?;
        let started = enrolment_digest(&self.r1, &r2);
        let transcript = transcript(&self.account, &started, &ticket, &r3, preset.byte(), &secret);
        let finish = Request::EnrolFinish {
            ticket: &ticket,
            r3: &r3,
            preset: preset.byte(),
            secret: &secret,
            transcript: &transcript,
        };
        Ok(PendingEnrolment { request: finish.encode(&self.account)? })
    }
}

/// An enrolment whose record is on its way. All that can be done with it is to send the same bytes again, until a
/// reply says how it ended.
///
/// Until [`PendingEnrolment::done`] says so, the new record may or may not be the account's: the application keeps the
/// old code and backup key as well as the new. The request may be kept on disk beside them, to be repeated after a
/// restart by [`PendingEnrolment::resume`]; it holds no secret in clear, but is not for others to see.
pub struct PendingEnrolment {
    request: Vec<u8>,
}

impl PendingEnrolment {
    /// Takes up an enrolment from the bytes of [`PendingEnrolment::request`].
    ///
    /// # Errors
    /// [`Failure::NotAnEnrolment`] if they are not such bytes.
    pub fn resume(request: &[u8]) -> Result<Self, Failure> {
        match Request::decode(request) {
            Ok((_, Request::EnrolFinish { .. })) => Ok(PendingEnrolment { request: request.to_vec() }),
            _ => Err(Failure::NotAnEnrolment),
        }
    }

    /// The bytes to send, and to send again while the outcome is unknown.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Reads how it ended: the new record's generation, from which on only the new code counts.
    ///
    /// # Errors
    /// [`Failure::UnexpectedReply`] and [`Refusal::Busy`](crate::error::Refusal::Busy) leave the outcome open: repeat. So do
    /// `Forbidden` and `Moved`, which are told of another account than the request's, or by a vault that answers for it no more.
    /// Any other [`Failure::Refused`] says that these bytes changed nothing and never will, unless an earlier repeat
    /// of them was already done.
    pub fn done(&self, reply: &[u8]) -> Result<u32, Failure> {
        match Reply::decode(reply) {
            Ok(Reply::Enrolled { generation }) => Ok(generation),
            Ok(Reply::Refused(refusal)) => Err(refusal.into()),
            _ => Err(Failure::UnexpectedReply),
        }
    }
}
