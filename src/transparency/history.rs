//! [`History`]: bundles as they follow each other by their signers alone.

use std::collections::BTreeMap;

use super::bundle::Bundle;
use super::key::VerifyingKey;
use super::log::LogView;
use super::note::Note;
use super::pins::Pins;
use super::rejection::{Rejection, new_keys, read, signed_by_both};
use super::trust::Trust;

/// Bundles as they follow each other by their signers alone, for logs and who watches them. It begins with the first that
/// both pinned keys have signed, and knows the keys that have followed these. It has seen no proof that a log has them, and
/// gives nobody keys: that is for [`Trust`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    trust: Trust,
    /// By epoch.
    followed: BTreeMap<u32, Followed>,
}

/// A bundle that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Followed {
    hash: [u8; 32],
    /// The keys that held at its epoch.
    auditor: VerifyingKey,
    operator: VerifyingKey,
}

impl History {
    /// Without a bundle yet.
    ///
    /// # Errors
    /// [`Rejection::OneKeyTwice`] if two of the keys are one.
    pub fn new(pins: Pins) -> Result<Self, Rejection> {
        Ok(History { trust: Trust::new(pins)?, followed: BTreeMap::new() })
    }

    /// Follows a bundle, which may be one of those before. Returns what a log is to take for it: the text and the two
    /// signatures that hold at its epoch, so that nobody's line changes it.
    ///
    /// # Errors
    /// Why it does not follow; nothing has changed then.
    pub fn follow(&mut self, note: &Note) -> Result<Vec<u8>, Rejection> {
        self.step(note, true)
    }

    /// Follows what a log has taken of the namespace, in its order. What does not follow is passed over: why, by its place.
    ///
    /// That the keys which a bundle names have signed it, too, an entry does not show: [`History::follow`] has asked for it
    /// before the log took it.
    pub fn follow_log(&mut self, log: &LogView) -> BTreeMap<u64, Rejection> {
        let mut refused = BTreeMap::new();
        for index in 0..log.size() {
            let Some(note) = log.entry(index).and_then(|entry| Note::read(entry).ok()) else { continue };
            if !Bundle::read(&note).is_ok_and(|bundle| bundle.namespace == self.trust.pins().namespace) {
                continue;
            }
            if let Err(why) = self.step(&note, false) {
                refused.insert(index, why);
            }
        }
        refused
    }

    fn step(&mut self, note: &Note, by_new: bool) -> Result<Vec<u8>, Rejection> {
        let bundle = read(note)?;
        if let Some(known) = self.followed.get(&bundle.epoch).filter(|known| known.hash == note.hash()) {
            signed_by_both(note, &known.auditor, &known.operator)?;
            if by_new {
                new_keys(note, &bundle)?;
            }
            return Ok(note.entry(&known.auditor, &known.operator));
        }
        let [auditor, operator] = self.trust.keys().map(Clone::clone);
        let (_, entry) = self.trust.follow(note, by_new)?;
        self.followed.insert(bundle.epoch, Followed { hash: note.hash(), auditor, operator });
        Ok(entry)
    }
}
