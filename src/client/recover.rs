//! [`Recovery`] and [`PendingRecovery`]: RFC 9807 section 6, the client's half.

use opaque_ke::rand::{CryptoRng, RngCore};
use opaque_ke::{ClientLogin, ClientLoginFinishParameters, CredentialResponse};

use super::preset::Stretch;
use super::random::with_os;
use super::remove::PendingRemoval;
use super::suite::{Suite, array, failure, take};
use super::{Code, Failure, Terms, wrapped};
use crate::account::AccountId;
use crate::protocol::{KE1_LEN, KE3_LEN, Reply, Request};
use crate::secret::Secret;

/// A recovery, or a removal, that has asked to begin: the one request that can cost an attempt.
///
/// Its request is charged once. Sent again, byte for byte, it costs nothing more and is answered anew, so a lost reply,
/// a ticket that expired in the meantime, or [`Refusal::Busy`](crate::error::Refusal::Busy) are no reason to start
/// another. A code of another spelling is: it needs a new `Recovery`, and an attempt of its own.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::client::{Code, Failure, Recovery, Terms};
/// use strongroom::error::Refusal;
/// use strongroom::protocol::{REQUEST_LEN, Reply};
///
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let recovery = Recovery::start(&Terms::default(), account, Code::new("correct horse 4711")?)?;
/// assert_eq!(recovery.request().len(), REQUEST_LEN);
///
/// let busy = Reply::Refused(Refusal::Busy).encode();
/// assert_eq!(recovery.finish(&busy).err(), Some(Failure::Refused(Refusal::Busy)));
/// let exhausted = Reply::Refused(Refusal::Exhausted).encode(); // the same request, a second later
/// assert_eq!(recovery.finish(&exhausted).err(), Some(Failure::Refused(Refusal::Exhausted)));
/// # Ok::<(), Failure>(())
/// ```
pub struct Recovery {
    terms: Terms,
    account: AccountId,
    code: Code,
    state: ClientLogin<Suite>,
    request: Vec<u8>,
}

/// A login that OPAQUE accepted: both sides have the same record, code and transcript.
struct Proof {
    ticket: Vec<u8>,
    ke3: [u8; KE3_LEN],
    session_key: Secret<[u8; 64]>,
    export_key: Secret<[u8; 64]>,
}

impl Recovery {
    /// Begins to recover what `code` unlocks for `account`.
    ///
    /// # Errors
    /// [`Failure::Terms`] or [`Failure::Randomness`].
    pub fn start(terms: &Terms, account: AccountId, code: Code) -> Result<Self, Failure> {
        with_os(|random| Self::start_with(terms, account, code, random))
    }

    /// [`Recovery::start`] with the randomness as an argument.
    ///
    /// # Errors
    /// As [`Recovery::start`].
    pub fn start_with(
        terms: &Terms,
        account: AccountId,
        code: Code,
        random: &mut (impl RngCore + CryptoRng),
    ) -> Result<Self, Failure> {
        terms.check()?;
        let started = ClientLogin::<Suite>::start(random, code.as_bytes()).map_err(|error| failure(error, None))?;
        let ke1: [u8; KE1_LEN] = array(&started.message.serialize())?;
        let request = Request::RecoverStart { ke1: &ke1 }.encode(&account)?;
        Ok(Recovery { terms: terms.clone(), account, code, state: started.state, request })
    }

    /// The bytes to send, and to send again at no cost.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes the reply and proves the code. Stretches the code, which takes the memory and time of the record's preset.
    /// No randomness is drawn.
    ///
    /// # Errors
    /// [`Failure::WrongCode`]; [`Failure::Refused`]; [`Failure::UnexpectedReply`]; [`Failure::UnknownPreset`],
    /// [`Failure::PresetTooWeak`], [`Failure::PresetTooHeavy`] and [`Failure::DevelopmentRefused`] before anything is
    /// stretched; [`Failure::FleetNotTrusted`]; [`Failure::Stretching`]. Nothing has left the client then, so the same
    /// request may be sent again.
    pub fn finish(&self, reply: &[u8]) -> Result<PendingRecovery, Failure> {
        let Proof { ticket, ke3, session_key, export_key } = self.prove(reply)?;
        let request = Request::RecoverFinish { ticket: &ticket, ke3: &ke3 }.encode(&self.account)?;
        Ok(PendingRecovery { account: self.account, request, session_key, export_key })
    }

    /// Takes the reply and proves the code, to have the record removed instead of opened.
    ///
    /// # Errors
    /// As [`Recovery::finish`].
    pub fn remove(&self, reply: &[u8]) -> Result<PendingRemoval, Failure> {
        let Proof { ticket, ke3, .. } = self.prove(reply)?;
        Ok(PendingRemoval::new(Request::Remove { ticket: &ticket, ke3: &ke3 }.encode(&self.account)?))
    }

    fn prove(&self, reply: &[u8]) -> Result<Proof, Failure> {
        let (ke2, preset, remaining, ticket) = match Reply::decode(reply) {
            Ok(Reply::RecoverStarted { ke2, preset, remaining, ticket }) => (ke2, preset, remaining, ticket),
            Ok(Reply::Refused(refusal)) => return Err(refusal.into()),
            _ => return Err(Failure::UnexpectedReply),
        };
        let preset = self.terms.accept(preset)?;
        let failed = |error| failure(error, Some(remaining));
        let response = CredentialResponse::deserialize(&ke2[..]).map_err(failed)?;
        let stretch = Stretch(preset);
        let parameters = ClientLoginFinishParameters::new(
            Some(&self.terms.context),
            self.terms.identifiers(&self.account),
            Some(&stretch),
        );
        // opaque-ke asks for randomness that 3DH has no use for; the operating system's is what it gets.
        let mut finished = with_os(|random| {
            self.state.clone().finish(random, self.code.as_bytes(), response, parameters).map_err(failed)
        })?;
        let session_key = take(finished.session_key.as_mut_slice())?;
        let export_key = take(finished.export_key.as_mut_slice())?;
        // Known only now, since KE2 carries it masked; KE3 has not been sent.
        self.terms.trust(&finished.server_s_pk.serialize())?;
        Ok(Proof { ticket, ke3: array(&finished.message.serialize())?, session_key, export_key })
    }
}

/// A recovery whose proof is on its way. All that can be done with it is to send the same bytes again, until the
/// answer opens.
pub struct PendingRecovery {
    account: AccountId,
    request: Vec<u8>,
    session_key: Secret<[u8; 64]>,
    export_key: Secret<[u8; 64]>,
}

impl PendingRecovery {
    /// The bytes to send, and to send again at no cost.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Opens the reply: the backup key.
    ///
    /// # Errors
    /// [`Failure::Refused`]; [`Failure::UnexpectedReply`] or [`Failure::DeliveryDamaged`] if the reply was altered or
    /// is another's; [`Failure::SecretDamaged`] or [`Failure::SecretFormat`] if what the vault kept does not open.
    pub fn open(&self, reply: &[u8]) -> Result<Secret<[u8; 32]>, Failure> {
        let delivery = match Reply::decode(reply) {
            Ok(Reply::Recovered { delivery }) => delivery,
            Ok(Reply::Refused(refusal)) => return Err(refusal.into()),
            _ => return Err(Failure::UnexpectedReply),
        };
        let secret = delivery.open(&self.session_key, &self.account).map_err(|_| Failure::DeliveryDamaged)?;
        wrapped::open(&self.export_key, &self.account, &secret)
    }
}
