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
    /// Why it does not follow; nothing has changed then. [`Rejection::TurnedToPins`] where it would begin with the bundle that
    /// turns to a pinned key: the key before, which signs that one for a log, is not known here.
    pub fn follow(&mut self, note: &Note) -> Result<Vec<u8>, Rejection> {
        let bundle = read(note)?;
        if let Some(entry) = self.known(note, &bundle)? {
            new_keys(note, &bundle)?;
            return Ok(entry);
        }
        let [auditor, operator] = self.trust.keys().map(Clone::clone);
        let mut next = self.trust.clone();
        next.follow(note)?;
        match next.turned(&bundle) {
            [true, _] if self.followed.is_empty() => return Err(Rejection::TurnedToPins("auditor")),
            [_, true] if self.followed.is_empty() => return Err(Rejection::TurnedToPins("operator")),
            _ => {}
        }
        self.trust = next;
        let entry = note.entry(&auditor, &operator);
        self.followed.insert(bundle.epoch, Followed { hash: note.hash(), auditor, operator });
        Ok(entry)
    }

    /// Follows what a log has taken of the namespace, in its order. What does not follow is passed over: why, by its place.
    ///
    /// That the keys which a bundle names have signed it, too, an entry does not show: [`History::follow`] has asked for it
    /// before the log took it.
    pub fn follow_log(&mut self, log: &LogView) -> BTreeMap<u64, Rejection> {
        let mut refused = BTreeMap::new();
        for index in 0..log.size() {
            let Some(note) = log.entry(index).and_then(|entry| Note::read(entry).ok()) else { continue };
            let Ok(bundle) = Bundle::read(&note) else { continue };
            if bundle.namespace != self.trust.pins().namespace {
                continue;
            }
            if let Err(why) = self.follow_entry(&note, &bundle) {
                refused.insert(index, why);
            }
        }
        refused
    }

    fn follow_entry(&mut self, note: &Note, bundle: &Bundle) -> Result<(), Rejection> {
        if self.known(note, bundle)?.is_some() {
            return Ok(());
        }
        let [auditor, operator] = self.trust.keys().map(Clone::clone);
        self.trust.follow_entry(note)?;
        self.followed.insert(bundle.epoch, Followed { hash: note.hash(), auditor, operator });
        Ok(())
    }

    /// The entry of a bundle that was followed before, if this is one.
    fn known(&self, note: &Note, bundle: &Bundle) -> Result<Option<Vec<u8>>, Rejection> {
        let Some(known) = self.followed.get(&bundle.epoch).filter(|known| known.hash == note.hash()) else {
            return Ok(None);
        };
        signed_by_both(note, &known.auditor, &known.operator)?;
        Ok(Some(note.entry(&known.auditor, &known.operator)))
    }
}
