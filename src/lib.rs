//! strongroom: the core of an HSM-based backup key vault.
#![deny(missing_docs)]

pub mod account;
pub mod engine;
pub mod error;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod protocol;
pub mod secret;
pub mod wire;
pub mod wrap;
