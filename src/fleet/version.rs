//! [`Versions`]: what a fleet speaks, so that its members can be brought to a newer build one after the other.
//!
//! A fleet speaks one version at a time, in messages and in the batches of its log, and its log says which: the first. A build
//! reads the version before its own too, and every message tells which its speaker reads. Once every member reads a newer
//! one, whoever leads writes a row in it, and with that row the fleet has turned to it: who applies the row speaks it from
//! then on. So nobody is ever told what it cannot read, and who reads only what was before cannot come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use openraft::EntryPayload;

use super::consensus::Entry;
use crate::error::Fault;
use crate::wire::Invalid;

/// What a batch is called that a member does not read.
pub(super) const ROW: &str = "a batch of the fleet's log";
/// What this build reads and no build before it did.
pub(super) const NEWEST: u8 = 1;
/// The oldest that this build reads, which it speaks until its log says otherwise.
pub(super) const OLDEST: u8 = 1;
/// What a build to come would read: for simulations, which bring members to it.
#[cfg(feature = "planted")]
pub(super) const NEXT: u8 = NEWEST + 1;

/// What stands before every message, in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The version of what follows.
    pub(super) version: u8,
    /// The newest that the speaker reads.
    pub(super) reads: u8,
    /// The speaker's clock, in seconds.
    pub(super) time_s: u64,
}

/// What this member speaks and reads, and what it has heard that others read.
pub(super) struct Versions {
    newest: u8,
    spoken: AtomicU8,
    heard: Mutex<BTreeMap<u64, u8>>,
}

impl Versions {
    /// Of a member that is to read nothing newer than `newest`, with a log that says nothing.
    pub(super) fn new(newest: u8) -> Self {
        Versions { newest, spoken: AtomicU8::new(OLDEST), heard: Mutex::default() }
    }

    /// The newest that it reads.
    pub(super) fn newest(&self) -> u8 {
        self.newest
    }

    /// What the fleet speaks, as far as this member's log says.
    pub(super) fn spoken(&self) -> u8 {
        self.spoken.load(Ordering::Relaxed)
    }

    /// The fleet has turned to this version.
    pub(super) fn turn_to(&self, version: u8) {
        if self.spoken.swap(version, Ordering::Relaxed) < version && version > OLDEST {
            tracing::info!(version, "the fleet speaks a newer version");
        }
    }

    /// What stands before a message to a member that reads so much; to one of which that is not known, [`u8::MAX`].
    pub(super) fn head(&self, reads: u8, time_s: u64) -> Head {
        Head { version: self.spoken().min(reads).max(OLDEST), reads: self.newest, time_s }
    }

    /// A member has told what it reads.
    pub(super) fn hear(&self, member: u64, reads: u8) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(member, reads);
    }

    /// What the fleet may turn to: what all of these read, of whom this member is `own`, if that is newer than what it speaks.
    pub(super) fn next(&self, own: u64, members: impl IntoIterator<Item = u64>) -> Option<u8> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = |member| if member == own { Some(self.newest) } else { heard.get(&member).copied() };
        let all = members.into_iter().map(reads).min().flatten()?;
        (all > self.spoken()).then_some(all)
    }

    /// Whether this member can go on with what is of this version.
    ///
    /// # Errors
    /// [`Fault::Format`] if it cannot.
    pub(super) fn check(&self, what: &'static str, version: u8) -> Result<(), Fault> {
        if (OLDEST..=self.newest).contains(&version) {
            Ok(())
        } else {
            Err(Fault::Format { what, found: version, reads: self.newest })
        }
    }
}

/// A version that this build reads, and is to read none newer.
///
/// # Errors
/// [`Fault::Limit`] if it does not read it.
pub(super) fn readable(version: u8) -> Result<u8, Fault> {
    #[cfg(not(feature = "planted"))]
    const READ: u8 = NEWEST;
    #[cfg(feature = "planted")]
    const READ: u8 = NEXT;
    if (OLDEST..=READ).contains(&version) {
        Ok(version)
    } else {
        Err(Fault::Limit(format!("settings: this build reads versions {OLDEST} to {READ}")))
    }
}

/// A batch's commands as this version writes them, from what [`crate::journal::row::Draft`] makes.
pub(super) fn written_in(version: u8, content: Vec<u8>) -> Vec<u8> {
    match version {
        #[cfg(feature = "planted")]
        NEXT => [&[NEXT], &content[..]].concat(),
        _ => content,
    }
}

/// What [`written_in`] was given.
pub(super) fn read_in(version: u8, content: &[u8]) -> Result<&[u8], Invalid> {
    match version {
        #[cfg(feature = "planted")]
        NEXT => content.strip_prefix(&[NEXT]).ok_or(Invalid),
        OLDEST..=NEWEST => Ok(content),
        _ => Err(Invalid),
    }
}

/// The version in which an entry's batch is written, if it is one.
pub(super) fn version_of(entry: &Entry) -> u8 {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.version,
        EntryPayload::Blank | EntryPayload::Membership(_) => OLDEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleet_turns_to_what_every_member_reads() {
        let versions = Versions::new(3);
        assert_eq!(versions.next(1, [1]), Some(3), "a fleet of one");
        assert_eq!(versions.next(1, [1, 2, 3]), None, "nobody has been heard");
        versions.hear(2, 3);
        assert_eq!(versions.next(1, [1, 2, 3]), None, "one has not");
        versions.hear(3, 2);
        versions.hear(9, 1);
        assert_eq!(versions.next(1, [1, 2, 3]), Some(2), "whatever one says that is no member");
        assert_eq!((versions.head(u8::MAX, 7).version, versions.head(0, 7).version), (1, 1));
        versions.turn_to(2);
        assert_eq!(versions.next(1, [1, 2, 3]), None, "it speaks that already");
        assert_eq!(versions.head(u8::MAX, 7), Head { version: 2, reads: 3, time_s: 7 });
        assert_eq!(versions.head(1, 7).version, 1, "to one that reads less");
        versions.hear(3, 4);
        assert_eq!(versions.next(1, [1, 2, 3]), Some(3), "no more than this member reads");
        versions.hear(2, 1);
        assert_eq!(versions.next(1, [1, 2, 3]), None, "one that was brought back to a build of before");
        assert!(
            versions.check("it", 3).is_ok() && versions.check("it", 4).is_err() && versions.check("it", 0).is_err()
        );
    }
}
