//! strongroom: the core of an HSM-based backup key vault.
//!
//! A person leaves a random backup key with a vault under a short recovery code, and gets it back with the code on
//! another device. Nobody, the operator included, can try more codes than a bound that is stated and tested.
//!
//! Two doors lead in. [`vault`] is what a server embeds: requests in, replies out, every attempt durable before
//! anything is evaluated for it. `client` (feature `client`) is what an app embeds: state machines without I/O. Between
//! them go the messages of [`protocol`], each of one size.
//!
//! Below them, ground first, and each usable alone: [`engine`] (ristretto255 and SHA-512 over batches), [`oprf`]
//! (RFC 9497), [`opaque`] (RFC 9807, the server's half), [`wrap`] (secrets at rest), [`ledger`] (the rules of attempts,
//! with their invariants L1 to L12), [`journal`] (where an attempt becomes durable).
//!
//! [`guide`] is what there is to do by hand, [`whitepaper`] the whole design.
//!
//! What is refused to a peer is a [`Refusal`](error::Refusal); what the operator must know is a [`Fault`](error::Fault).
#![deny(missing_docs)]

pub mod account;
#[cfg(feature = "client")]
pub mod client;
pub mod engine;
pub mod error;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod opaque;
pub mod oprf;
pub mod process;
pub mod protocol;
pub mod secret;
#[cfg(feature = "channel")]
pub mod session;
#[cfg(feature = "transparency")]
pub mod transparency;
pub mod vault;
pub mod wire;
pub mod wrap;

#[doc = include_str!("guide.md")]
pub mod guide {}

#[doc = include_str!("whitepaper.md")]
pub mod whitepaper {}

/// The code in README.md, compiled.
#[cfg(all(doctest, feature = "local"))]
#[doc = include_str!("../README.md")]
struct Readme;
