//! [`Trust`]: what a verifier pins and has seen; the only way to an [`Accepted`] bundle.

use sha2::{Digest, Sha256};
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
    /// The two pinned keys are the same key.
    #[error("auditor and operator must have keys of their own")]
    OneKeyTwice,
    /// A signature that must be there is not.
    #[error("the signature of the {0} is missing; nobody but the other has seen these keys")]
    SignatureMissing(&'static str),
    /// A signature by a known key is not good.
    #[error("the signature of the {0} is not good; the bundle was altered, or the key is not theirs")]
    SignatureBad(&'static str),
    /// A bundle that replaces a key is not signed by the new one.
    #[error("the {0}'s new key has not signed the bundle that names it")]
    NewKeyUnsigned(&'static str),
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
    /// It is older than one that was seen, or than the oldest that may be.
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
    #[error("the bundle holds only from {not_before_s} s on")]
    NotYetValid {
        /// Its not-before.
        not_before_s: u64,
    },
    /// Its time is over.
    #[error("the bundle has expired at {not_after_s} s; fetch a newer one")]
    Expired {
        /// Its not-after.
        not_after_s: u64,
    },
    /// The artifact is not the one that it names.
    #[error("these keys are not the ones that the bundle names")]
    WrongArtifact,
}

/// What proves to everybody that the two signers said two things: two bundles of one epoch, both signed by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    epoch: u32,
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

/// A bundle that a [`Trust`] has accepted, with the artifact that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    bundle: Bundle,
    hash: [u8; 32],
    artifact: Vec<u8>,
}

impl Accepted {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// SHA-256 of the bundle's text: what the channel binds.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The artifact's bytes.
    pub fn artifact(&self) -> &[u8] {
        &self.artifact
    }
}

/// What a verifier pins: namespace, two keys, the least epoch; and what it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    namespace: String,
    auditor: VerifyingKey,
    operator: VerifyingKey,
    epoch_min: u32,
    pinned: bool,
    seen: Option<Seen>,
}

/// The last bundle that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    epoch: u32,
    fleet: [u8; 32],
    note: Note,
    /// The keys that held at its epoch.
    auditor: VerifyingKey,
    operator: VerifyingKey,
}

impl Trust {
    /// A verifier without history, which takes any epoch.
    ///
    /// # Errors
    /// [`Rejection::OneKeyTwice`] if the two keys are one.
    pub fn new(namespace: &str, auditor: VerifyingKey, operator: VerifyingKey) -> Result<Self, Rejection> {
        differ(&auditor, &operator)?;
        Ok(Trust { namespace: namespace.to_owned(), auditor, operator, epoch_min: 0, pinned: false, seen: None })
    }

    /// Takes no epoch below this one.
    pub fn from_epoch(mut self, epoch_min: u32) -> Self {
        self.epoch_min = epoch_min;
        self
    }

    /// Takes bundles whatever their not-after: for an application that is compiled with keys, and may be old.
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    /// The last epoch that was accepted.
    pub fn epoch(&self) -> Option<u32> {
        self.seen.as_ref().map(|seen| seen.epoch)
    }

    /// Accepts the last of these bundles, which follow each other: from the one after the last that was accepted, if there
    /// was one. Of those in between all is held but the dates. The last may be the one that was accepted last.
    ///
    /// # Errors
    /// Why it is not; nothing has changed then.
    pub fn accept(&mut self, notes: &[Note], artifact: &[u8], now_s: u64) -> Result<Accepted, Rejection> {
        let mut next = self.clone();
        let mut last = None;
        for note in notes {
            last = Some((next.follow(note)?, note));
        }
        let (bundle, note) = last.ok_or_else(|| Rejection::Malformed("there is none".to_owned()))?;
        if now_s < bundle.not_before_s {
            return Err(Rejection::NotYetValid { not_before_s: bundle.not_before_s });
        }
        if now_s > bundle.not_after_s && !self.pinned {
            return Err(Rejection::Expired { not_after_s: bundle.not_after_s });
        }
        if bundle.artifact != <[u8; 32]>::from(Sha256::digest(artifact)) {
            return Err(Rejection::WrongArtifact);
        }
        *self = next;
        Ok(Accepted { bundle, hash: note.hash(), artifact: artifact.to_vec() })
    }

    /// One step: everything but dates and artifact.
    fn follow(&mut self, note: &Note) -> Result<Bundle, Rejection> {
        let bundle = read(note)?;
        if bundle.namespace != self.namespace {
            return Err(Rejection::WrongNamespace { found: bundle.namespace, expected: self.namespace.clone() });
        }
        if let Some(seen) = &self.seen
            && bundle.epoch == seen.epoch
        {
            signed_by_both(note, &seen.auditor, &seen.operator)?;
            if note.hash() == seen.note.hash() {
                return Ok(bundle);
            }
            let (first, second) = (seen.note.clone(), note.clone());
            return Err(Rejection::Fork(Box::new(ForkProof { epoch: bundle.epoch, first, second })));
        }
        let least = self.seen.as_ref().map_or(0, |seen| seen.epoch.saturating_add(1)).max(self.epoch_min);
        if bundle.epoch < least {
            return Err(Rejection::RolledBack { found: bundle.epoch, least });
        }
        signed_by_both(note, &self.auditor, &self.operator)?;
        if let Some(seen) = &self.seen {
            if seen.epoch.checked_add(1) != Some(bundle.epoch) || bundle.previous != seen.note.hash() {
                return Err(Rejection::ChainBroken(bundle.epoch));
            }
            if bundle.fleet != seen.fleet {
                return Err(Rejection::WrongFleet);
            }
        }
        let (auditor, operator) = (self.auditor.clone(), self.operator.clone());
        for (whose, new, held) in [
            ("auditor", &bundle.next_auditor, &mut self.auditor),
            ("operator", &bundle.next_operator, &mut self.operator),
        ] {
            if let Some(new) = new {
                match note.signed_by(new) {
                    Some(true) => *held = new.clone(),
                    Some(false) => return Err(Rejection::SignatureBad(whose)),
                    None => return Err(Rejection::NewKeyUnsigned(whose)),
                }
            }
        }
        differ(&self.auditor, &self.operator)?;
        self.seen = Some(Seen { epoch: bundle.epoch, fleet: bundle.fleet, note: note.clone(), auditor, operator });
        Ok(bundle)
    }
}

fn read(note: &Note) -> Result<Bundle, Rejection> {
    Bundle::read(note).map_err(|fault| match fault {
        Fault::Damaged(why) => Rejection::Malformed(why),
        other => Rejection::Malformed(other.to_string()),
    })
}

fn differ(auditor: &VerifyingKey, operator: &VerifyingKey) -> Result<(), Rejection> {
    // By their bytes: one key under two names is one key.
    if auditor.as_bytes() == operator.as_bytes() { Err(Rejection::OneKeyTwice) } else { Ok(()) }
}

fn signed_by_both(note: &Note, auditor: &VerifyingKey, operator: &VerifyingKey) -> Result<(), Rejection> {
    for (whose, key) in [("auditor", auditor), ("operator", operator)] {
        match note.signed_by(key) {
            Some(true) => {}
            Some(false) => return Err(Rejection::SignatureBad(whose)),
            None => return Err(Rejection::SignatureMissing(whose)),
        }
    }
    Ok(())
}
