//! [`Rejection`]: why a bundle is not accepted; [`ForkProof`]: what proves to everybody that its signers said two things.

use thiserror::Error;

use super::bundle::Bundle;
use super::key::VerifyingKey;
use super::note::Note;
use crate::error::Fault;

/// Why a bundle is not accepted, in words for whoever must decide what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is not a bundle.
    #[error("this is not a bundle: {0}")]
    Malformed(String),
    /// Two keys that must differ are the same key.
    #[error("one key stands for two: everybody, and every purpose, has a key of its own")]
    OneKeyTwice,
    /// More witnesses are asked for than there are.
    #[error("a quorum of {needed} of {known} witnesses can never be met")]
    QuorumTooLarge {
        /// The quorum.
        needed: usize,
        /// Witnesses whose keys are known.
        known: usize,
    },
    /// A signature that must be there is not.
    #[error("the signature of the {0} is missing; nobody but the other has seen these keys")]
    SignatureMissing(&'static str),
    /// A signature by a known key is not good.
    #[error("the signature of the {0} is not good; the bundle was altered, or the key is not theirs")]
    SignatureBad(&'static str),
    /// A bundle that replaces a key is not signed by the new one.
    #[error("the {0}'s new key has not signed the bundle that names it")]
    NewKeyUnsigned(&'static str),
    /// A log, or who watches it, would begin with the bundle that turns to a pinned key.
    #[error(
        "this bundle turns to the {0}'s key that is pinned here, so the key before has signed it for the log; take pins that \
         name that one, or begin with the next bundle"
    )]
    TurnedToPins(&'static str),
    /// It is for another service.
    #[error("the bundle is for {found}, and this is {expected}")]
    WrongNamespace {
        /// The bundle's.
        found: String,
        /// The verifier's.
        expected: String,
    },
    /// It is of another fleet.
    #[error("the bundle is of another fleet than the ones before")]
    WrongFleet,
    /// It is older than one that was seen or followed, or than the oldest that may be.
    #[error("the bundle's epoch {found} is rolled back: {least} is the least")]
    RolledBack {
        /// The bundle's epoch.
        found: u32,
        /// The least that is accepted.
        least: u32,
    },
    /// It does not follow the one before it.
    #[error(
        "the bundle of epoch {0} does not follow the one before it; one in between is missing, or history was changed"
    )]
    ChainBroken(u32),
    /// Two bundles of one epoch, both signed by both: the two signers have shown different keys to different people.
    #[error("there are two bundles of epoch {}, both signed by both; show the proof to everybody", .0.epoch())]
    Fork(Box<ForkProof>),
    /// Its time has not come.
    #[error("the bundle holds only from {not_before_s} (in seconds since 1970) on")]
    NotYetValid {
        /// Its not-before.
        not_before_s: u64,
    },
    /// Its time is over.
    #[error("the bundle has expired at {not_after_s} (in seconds since 1970); fetch a newer one")]
    Expired {
        /// Its not-after.
        not_after_s: u64,
    },
    /// The proof is of another log.
    #[error("the proof is of the log {found}, and the log here is {expected}")]
    WrongLog {
        /// The proof's.
        found: String,
        /// The verifier's.
        expected: String,
    },
    /// The log has not signed the checkpoint.
    #[error("the log has not signed the checkpoint of the proof")]
    LogSignatureMissing,
    /// The log's signature is not good.
    #[error("the log's signature of the checkpoint is not good; it was altered, or the key is not the log's")]
    LogSignatureBad,
    /// A known witness's signature is not good.
    #[error("the signature of the witness {0} is not good")]
    WitnessSignatureBad(String),
    /// Too few known witnesses have seen the checkpoint: others may be shown another log.
    #[error(
        "{found} known witnesses have seen this checkpoint, and {needed} must have; others may be shown another log"
    )]
    TooFewWitnesses {
        /// Good signatures of known witnesses.
        found: usize,
        /// The quorum.
        needed: usize,
    },
    /// The proof does not lead from the bundle to the checkpoint's root.
    #[error("the bundle is not in the log: its proof does not lead to the checkpoint's root")]
    NotInLog,
    /// The artifact is not the one that it names.
    #[error("these keys are not the ones that the bundle names")]
    WrongArtifact,
}

/// What proves to everybody that the two signers said two things: two bundles of one epoch, both signed by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    pub(super) epoch: u32,
    /// The one that was seen first.
    pub first: Note,
    /// The other.
    pub second: Note,
}

impl ForkProof {
    /// The epoch that there are two bundles of.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Checks a proof, with nothing but the keys that held at its epoch.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn check(
        first: Note,
        second: Note,
        auditor: &VerifyingKey,
        operator: &VerifyingKey,
    ) -> Result<Self, Rejection> {
        let [one, other] = [&first, &second].map(|note| {
            signed_by_both(note, auditor, operator)?;
            read(note)
        });
        let (one, other) = (one?, other?);
        if one.namespace != other.namespace {
            return Err(Rejection::WrongNamespace { found: other.namespace, expected: one.namespace });
        }
        if one.epoch != other.epoch || first.hash() == second.hash() {
            return Err(Rejection::Malformed("two different bundles of one epoch make a fork".to_owned()));
        }
        Ok(ForkProof { epoch: one.epoch, first, second })
    }
}

pub(super) fn read(note: &Note) -> Result<Bundle, Rejection> {
    Bundle::read(note).map_err(|fault| match fault {
        Fault::Damaged(why) => Rejection::Malformed(why),
        other => Rejection::Malformed(other.to_string()),
    })
}

/// Whether both signers have signed, of whose signatures this is what was found.
pub(super) fn by_both(auditor: Option<bool>, operator: Option<bool>) -> Result<(), Rejection> {
    for (whose, signature) in [("auditor", auditor), ("operator", operator)] {
        match signature {
            Some(true) => {}
            Some(false) => return Err(Rejection::SignatureBad(whose)),
            None => return Err(Rejection::SignatureMissing(whose)),
        }
    }
    Ok(())
}

pub(super) fn signed_by_both(note: &Note, auditor: &VerifyingKey, operator: &VerifyingKey) -> Result<(), Rejection> {
    by_both(note.signed_by(auditor), note.signed_by(operator))
}

/// The keys that a bundle names in place of its auditor's and operator's: each has signed it too (T3).
pub(super) fn new_keys<'a>(note: &Note, bundle: &'a Bundle) -> Result<[Option<&'a VerifyingKey>; 2], Rejection> {
    for (whose, new) in [("auditor", &bundle.next_auditor), ("operator", &bundle.next_operator)] {
        match new.as_ref().map(|new| note.signed_by(new)) {
            None | Some(Some(true)) => {}
            Some(Some(false)) => return Err(Rejection::SignatureBad(whose)),
            Some(None) => return Err(Rejection::NewKeyUnsigned(whose)),
        }
    }
    Ok([bundle.next_auditor.as_ref(), bundle.next_operator.as_ref()])
}
