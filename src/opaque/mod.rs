//! OPAQUE-3DH of RFC 9807 with ristretto255 and SHA-512: the server's half, for whole batches.
//!
//! Every door takes a slice and gives one answer an item, in order; a bad item harms no neighbour. Messages are parsed
//! in batches too, since parsing decodes their elements, and carry the decoded elements from there on. Batches larger
//! than a chunk are spread over the rayon pool of the caller.
//!
//! - registration: [`RegistrationRequest::parse`], then [`register::respond`];
//! - login: [`Ke1::parse`], then [`fake::choose`] where accounts may be unknown, then [`login::respond`] and, when the
//!   client has answered, [`login::finish`].
//!
//! Invariants: **O1** bytes equal those of RFC 9807, for every batch size; **O2** known, unknown and destroyed accounts
//! cost the same group operations and hash blocks; **O3** nothing secret can be printed.

pub mod fake;
mod keys;
pub mod login;
mod message;
pub mod register;
#[cfg(test)]
mod tests;

pub use keys::{Credential, ServerKeys, random_static_secret, random_static_secret_with};
pub use message::{
    KE1_LEN, KE2_LEN, KE3_LEN, Ke1, Ke3, RECORD_LEN, REGISTRATION_REQUEST_LEN, REGISTRATION_RESPONSE_LEN,
    RegistrationRecord, RegistrationRequest, STATE_LEN,
};
