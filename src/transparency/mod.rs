//! Keys that outsiders can check: bundles of a fleet's keys, signed by two organisations (DESIGN section 9).
//!
//! A [`Bundle`] names a fleet's artifact (the bytes of `fleet-keys.json`) and its evidence by their SHA-256, and the bundle
//! before it by the hash of its text. It travels as a C2SP signed note with two signatures by two different keys, the
//! auditor's and the operator's. A [`Trust`] is what a verifier pins and what it has seen; [`Trust::accept`] is the only way
//! from a note to an [`Accepted`] bundle.
//!
//! | id | invariant |
//! |---|---|
//! | T1 | a bundle is accepted only with a valid signature by each of the two keys that hold at its epoch, and those differ |
//! | T2 | epochs only grow, one by one, each bundle naming the hash of the one before; a lower one, or another of the same epoch, is refused |
//! | T3 | a bundle that replaces a signer's key is signed by the old key and by the new |
//! | T4 | hashes are over the note's text: signature lines that nobody knows change nothing |
//! | T5 | a refused bundle leaves the verifier as it was, but for what proves a fork |

mod bundle;
mod key;
mod note;
mod trust;

#[cfg(test)]
mod tests;

pub use bundle::Bundle;
pub use key::{SigningKey, VerifyingKey};
pub use note::{NOTE_MAX, Note};
pub use trust::{Accepted, ForkProof, Rejection, Trust};
