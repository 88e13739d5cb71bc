//! Keys that outsiders can check: bundles of a fleet's keys, signed by two organisations, in a log (DESIGN section 9).
//!
//! A [`Bundle`] names a fleet's artifact (the bytes of `fleet-keys.json`) and its evidence by their SHA-256, and the bundle
//! before it by the hash of its text. It travels as a C2SP signed note with two signatures by two different keys, the
//! auditor's and the operator's. The auditor's [`Log`] takes it if it follows the [`History`] of those before, [`Witness`]es see
//! that the log only grows, and a [`Proof`] travels beside it. A [`Trust`] is what a verifier pins ([`Pins`]) and what it has seen; [`Trust::accept`] is the only
//! way to a [`Verified`] bundle.
//!
//! | id | invariant |
//! |---|---|
//! | T1 | a bundle is accepted only with a valid signature by each of the two keys that hold at its epoch, and those differ |
//! | T2 | epochs only grow, one by one, each bundle naming the hash of the one before; a lower one, or another of the same epoch, is refused |
//! | T3 | a bundle that replaces a signer's key is signed by the old key and by the new; who pins the new one already goes by that; a vault follows its signers by a bundle of a higher epoch than the last one alone ([`next_signers`]) |
//! | T4 | hashes are over the note's text: signature lines that nobody knows change nothing |
//! | T5 | a refused bundle leaves the verifier as it was, but for what proves a fork |
//! | T6 | a bundle is verified only with a proof that it is in the pinned log as a quorum of witnesses has seen that |
//! | T7 | a log never signs a checkpoint that contradicts one it has signed, wherever it is cut short |
//! | T8 | a witness cosigns only what continues the last checkpoint that it has cosigned |
//! | T9 | a verification names the first step that does not hold, and every step before it holds |
//! | T10 | a statement is obeyed only if both signers of the fleet have signed it, and only by the fleet that it names |

mod attestation;
mod bundle;
mod checkpoint;
mod envelope;
mod evidence;
mod fleet_keys;
mod history;
mod key;
mod log;
#[cfg(feature = "nitro")]
mod nitro;
mod note;
mod pins;
mod plexi;
mod proof;
mod published;
mod rejection;
mod statement;
mod tree;
mod trust;
mod verify;

#[cfg(test)]
mod tests;

pub use attestation::{AttestationVerifier, Attested};
pub use bundle::Bundle;
pub use checkpoint::{Checkpoint, Witness};
pub use envelope::Envelope;
pub use evidence::{Document, Evidence, Measurement, Origin, Participant, Step, Transcript};
pub use fleet_keys::FleetKeys;
pub use history::History;
pub use key::{PrivateKey, PublicKey, SigningKey, VerifyingKey, WitnessKey, WitnessSigningKey};
pub use log::{ENTRY_MAX, Log, LogView};
#[cfg(feature = "nitro")]
pub use nitro::Nitro;
pub use note::{NOTE_MAX, Note};
pub use pins::{LogPolicy, Pins};
pub use plexi::EpochSignature;
pub use proof::Proof;
pub use published::Published;
pub use rejection::{ForkProof, Rejection};
pub use statement::{Member, Order, Statement, next_signers};
pub use trust::{LoggedBundle, Trust, Verified};
pub use verify::{Given, Proven, Report};
