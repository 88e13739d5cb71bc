//! What is sealed to a vault's key, so that who carries it learns nothing: HPKE (RFC 9180) with X-Wing
//! (draft-connolly-cfrg-xwing-kem), HKDF-SHA256 and ChaCha20-Poly1305. Neither a break of X25519 nor one of ML-KEM-768
//! alone opens it.
//!
//! Who seals uses the `hpke` crate; who opens, opens many at once on the engine's lanes, and its tests have `hpke` judge.
//!
//! [`seal`] and [`Recipient`] are single messages; [`ChannelKey`] and [`ChannelKeys`] are the channel between a client and
//! a vault, requests and replies in the shape of RFC 9458 (Oblivious HTTP).

mod channel;
mod context;
mod sealed;
mod xwing;

pub use channel::{
    ChannelKey, ChannelKeys, ChannelProblem, Opened, ReplyKey, SEALED_REPLY_LEN, SEALED_REQUEST_LEN, SealedRequest,
};
pub use sealed::{ENCAPSULATED_LEN, OVERHEAD, PUBLIC_KEY_LEN, Recipient, seal};
