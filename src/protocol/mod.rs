//! What a client and a vault say to each other: one request, one reply, each of one size.
//!
//! | step | request | reply |
//! |---|---|---|
//! | enrol | [`Request::EnrolStart`]: R1 | [`Reply::EnrolStarted`]: R2, ticket |
//! | | [`Request::EnrolFinish`]: ticket, R3, preset, secret, transcript | [`Reply::Enrolled`] |
//! | recover | [`Request::RecoverStart`]: KE1 | [`Reply::RecoverStarted`]: KE2, preset, remaining, ticket |
//! | | [`Request::RecoverFinish`]: ticket, KE3 | [`Reply::Recovered`]: the secret under the session key |
//! | ask | [`Request::Remaining`] | [`Reply::Remaining`] |
//! | remove | [`Request::Remove`] or [`Request::RemoveUnproven`] | [`Reply::Removed`] |
//!
//! Every request is [`REQUEST_LEN`] bytes and every reply [`REPLY_LEN`], filled up with zeros, so that sizes tell
//! nothing. OPAQUE messages and tickets are byte strings here; the rooms that understand them decode them.

mod delivery;
mod reply;
mod request;
mod transcript;

pub use delivery::{DELIVERY_LEN, Delivery, DeliveryItem};
pub use reply::{REPLY_LEN, Reply};
pub use request::{REQUEST_LEN, Request};
pub use transcript::{enrolment_digest, transcript};

/// Version of requests and replies.
pub const VERSION: u8 = 1;

/// Bytes of OPAQUE's registration request (R1), RFC 9807 section 5.1.
pub const R1_LEN: usize = 32;
/// Bytes of OPAQUE's registration response (R2).
pub const R2_LEN: usize = 64;
/// Bytes of OPAQUE's registration record (R3).
pub const R3_LEN: usize = 192;
/// Bytes of KE1, RFC 9807 section 6.1.
pub const KE1_LEN: usize = 96;
/// Bytes of KE2.
pub const KE2_LEN: usize = 320;
/// Bytes of KE3.
pub const KE3_LEN: usize = 64;
/// Longest ticket, in bytes.
pub const TICKET_MAX: usize = 224;

#[cfg(test)]
mod tests;
