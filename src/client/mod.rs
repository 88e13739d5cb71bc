//! The person's side: enrol, recover, remove and ask, over an unmodified `opaque-ke` 4.0.1. Door two of the crate.
//!
//! State machines without I/O: each step hands out the bytes of one request and takes the bytes of one reply; how they
//! travel is the application's business. Whoever carries them, by repeating or dropping them, gains no guess, and learns no
//! secret from a recovery. **An enrolment is to travel sealed** (feature `channel`, as `Http` does), or by TLS that ends where
//! the vault is: who carries it in clear and answers in the vault's place can try codes offline on what the client sends then.
//! RFC 9807 wants a channel for it that is authenticated and secret.
//!
//! | to | steps |
//! |---|---|
//! | enrol | [`Enrolment::start`] → [`Enrolment::finish`] → [`PendingEnrolment::done`] |
//! | recover | [`Recovery::start`] → [`Recovery::finish`] → [`PendingRecovery::open`] |
//! | change the code | recover with the old one, then enrol what came back under the new one |
//! | remove, proving the code | [`Recovery::start`] → [`Recovery::remove`] → [`PendingRemoval::done`] |
//! | ask what remains | [`remaining_request`] → [`remaining`] |
//!
//! A code is one way in to a backup. [`Keyring`] lists all of them, in a file beside the backup: the code that a vault keeps,
//! a [`RecoveryKey`] on paper, [`Passkey`]s; the last two open it without a vault. With the feature `http`, `Http` carries
//! requests to a server, sealed.
//!
//! **Repeat, never restart.** Whatever is unclear is settled by sending the same bytes again: each machine keeps its
//! request and lends it by `request()`. A repeated [`Recovery`] costs no further attempt, a repeated finish changes
//! nothing. A *new* [`Recovery`] costs an attempt, and one that succeeds is worth nine guesses to a front-end that
//! drops replies; so an application starts one only when the person asks for it.
//!
//! Nothing here takes an account id, a context or a limit from a reply. The one thing taken from it is the KSF preset,
//! and only between [`Terms::minimum`] and [`Terms::maximum`].
//!
//! ```
//! # use opaque_ke::{CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin};
//! # use opaque_ke::{Identifiers, ServerLoginParameters, ServerRegistration, ServerSetup};
//! # use strongroom::protocol::{Delivery, DeliveryItem, Reply, Request};
//! # use strongroom::secret::{fill_random, Secret};
//! # struct Suite;
//! # impl opaque_ke::CipherSuite for Suite {
//! #     type OprfCs = opaque_ke::Ristretto255;
//! #     type KeyExchange = opaque_ke::TripleDh<opaque_ke::Ristretto255, sha2_010::Sha512>;
//! #     type Ksf = opaque_ke::ksf::Identity;
//! # }
//! # struct Os;
//! # impl opaque_ke::rand::CryptoRng for Os {}
//! # impl opaque_ke::rand::RngCore for Os {
//! #     fn next_u32(&mut self) -> u32 { opaque_ke::rand::RngCore::next_u64(self) as u32 }
//! #     fn next_u64(&mut self) -> u64 { let mut b = [0; 8]; self.fill_bytes(&mut b); u64::from_be_bytes(b) }
//! #     fn fill_bytes(&mut self, bytes: &mut [u8]) { fill_random(bytes).expect("randomness") }
//! #     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), opaque_ke::rand::Error> {
//! #         self.fill_bytes(bytes);
//! #         Ok(())
//! #     }
//! # }
//! # #[derive(Default)]
//! # struct Server {
//! #     setup: Option<ServerSetup<Suite>>,
//! #     record: Option<(ServerRegistration<Suite>, u8, Vec<u8>)>,
//! #     login: Option<ServerLogin<Suite>>,
//! # }
//! # impl Server {
//! #     // opaque-ke's own server half, one person, no counting: enough to answer the lines that are shown.
//! #     fn answer(&mut self, request: &[u8]) -> Vec<u8> {
//! #         let (account, request) = Request::decode(request).expect("a request");
//! #         let id = account.as_bytes();
//! #         let setup = self.setup.get_or_insert_with(|| ServerSetup::new(&mut Os));
//! #         let parameters = ServerLoginParameters {
//! #             context: Some(b"strongroom-1"),
//! #             identifiers: Identifiers { client: Some(id), server: None },
//! #         };
//! #         let reply = match request {
//! #             Request::EnrolStart { r1 } => {
//! #                 let r1 = RegistrationRequest::deserialize(r1).expect("R1");
//! #                 let r2 = ServerRegistration::<Suite>::start(setup, r1, id).expect("R2").message.serialize();
//! #                 Reply::EnrolStarted { r2: r2.as_slice().try_into().expect("64 bytes"), ticket: vec![] }
//! #             }
//! #             Request::EnrolFinish { r3, preset, secret, .. } => {
//! #                 let r3 = RegistrationUpload::deserialize(r3).expect("R3");
//! #                 self.record = Some((ServerRegistration::finish(r3), preset, secret.to_vec()));
//! #                 Reply::Enrolled { generation: 1 }
//! #             }
//! #             Request::RecoverStart { ke1 } => {
//! #                 let ke1 = CredentialRequest::deserialize(ke1).expect("KE1");
//! #                 let (record, preset, _) = self.record.as_ref().expect("a record");
//! #                 let file = Some(record.clone());
//! #                 let started = ServerLogin::start(&mut Os, setup, file, ke1, id, parameters).expect("KE2");
//! #                 self.login = Some(started.state);
//! #                 let ke2 = started.message.serialize().as_slice().try_into().expect("320 bytes");
//! #                 Reply::RecoverStarted { ke2: Box::new(ke2), preset: *preset, remaining: 9, ticket: vec![] }
//! #             }
//! #             Request::RecoverFinish { ke3, .. } => {
//! #                 let login = self.login.take().expect("a login");
//! #                 let ke3 = CredentialFinalization::deserialize(ke3).expect("KE3");
//! #                 let finished = login.finish(ke3, parameters).expect("the right code");
//! #                 let key = Secret::new(finished.session_key.as_slice().try_into().expect("64 bytes"));
//! #                 let secret = &self.record.as_ref().expect("a record").2;
//! #                 let item = DeliveryItem { session_key: &key, account: &account, secret };
//! #                 Reply::Recovered { delivery: Delivery::seal(&[item]).remove(0).expect("a delivery") }
//! #             }
//! #             _ => unreachable!(),
//! #         };
//! #         reply.encode()
//! #     }
//! # }
//! # let mut server = Server::default();
//! # let mut vault = |request: &[u8]| server.answer(request);
//! use strongroom::account::AccountId;
//! use strongroom::client::{Code, Enrolment, Recovery, Terms};
//!
//! let terms = Terms::development(); // no key stretching: `Terms::default()` is the one for people
//! let account = AccountId::derive("example.org/backup", "+15550100");
//! let backup_key = Secret::<[u8; 32]>::random()?;
//!
//! // `vault` stands for the way there and back: request bytes in, reply bytes out.
//! let enrolment = Enrolment::start(&terms, account, Code::new("correct horse 4711")?)?;
//! let reply = vault(enrolment.request());
//! let pending = enrolment.finish(&reply, &backup_key)?;
//! let reply = vault(pending.request()); // until there is a reply: the same bytes again
//! let generation = pending.done(&reply)?;
//! assert_eq!(generation, 1);
//!
//! let recovery = Recovery::start(&terms, account, Code::new("correct horse 4711")?)?;
//! let reply = vault(recovery.request());
//! let pending = recovery.finish(&reply)?;
//! let reply = vault(pending.request());
//! let recovered = pending.open(&reply)?;
//! assert!(bool::from(recovered.ct_eq(backup_key.expose())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ask;
mod code;
mod enrol;
mod failure;
#[cfg(feature = "http")]
mod http;
mod keyring;
mod passkey;
mod preset;
mod random;
mod recover;
mod recovery_key;
mod remove;
mod suite;
mod terms;
mod wrapped;

pub use ask::{remaining, remaining_request, unproven_removal_request};
pub use code::{Code, CodeProblem};
pub use enrol::{Enrolment, PendingEnrolment};
pub use failure::Failure;
#[cfg(feature = "http")]
pub use http::{Http, Trouble};
pub use keyring::{CodeHeld, Keyring, KeyringProblem, PasskeyHeld, Unlocks};
pub use passkey::Passkey;
pub use preset::Preset;
pub use recover::{PendingRecovery, Recovery};
pub use recovery_key::{RecoveryKey, RecoveryKeyProblem};
pub use remove::{PendingRemoval, removed};
pub use terms::Terms;
pub use wrapped::WRAPPED_LEN;

#[cfg(test)]
mod tests;
