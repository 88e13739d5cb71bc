//! [`Trust`]: what a verifier pins and has seen; the only way to a [`Verified`] bundle.

use super::bundle::Bundle;
use super::checkpoint::Checkpoint;
use super::fleet_keys::FleetKeys;
use super::key::VerifyingKey;
use super::note::Note;
use super::pins::Pins;
use super::proof::Proof;
use super::rejection::{ForkProof, Rejection, new_keys, read, signed_by_both};
use crate::error::Fault;

const MEMORY: &str = "strongroom memory v1";

/// A bundle as it is delivered: the note, and the proof that it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBundle {
    /// The bundle, signed by both.
    pub note: Note,
    /// Where it is in the log.
    pub proof: Proof,
}

/// A bundle that a [`Trust`] has verified, with the artifact that it names: nothing less gives a client a fleet's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    bundle: Bundle,
    hash: [u8; 32],
    artifact: Vec<u8>,
    index: u64,
    checkpoint: Checkpoint,
}

impl Verified {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// SHA-256 of the bundle's text: what the channel binds.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What the artifact says.
    ///
    /// # Errors
    /// As [`FleetKeys::read`]; [`Fault::Damaged`] if it is of another fleet than the bundle says.
    pub fn fleet_keys(&self) -> Result<FleetKeys, Fault> {
        let keys = FleetKeys::read(&self.artifact)?;
        match keys.fleet == self.bundle.fleet {
            true => Ok(keys),
            false => Err(Fault::Damaged("the bundle is of another fleet than its keys".to_owned())),
        }
    }

    /// What requests to this fleet are sealed to: its newest channel key, bound to this bundle.
    ///
    /// # Errors
    /// As [`Verified::fleet_keys`]; [`Fault::Damaged`] if it names no such key.
    #[cfg(feature = "channel")]
    pub fn channel_key(&self) -> Result<crate::session::ChannelKey, Fault> {
        let keys = self.fleet_keys()?.channel_keys;
        let newest =
            keys.last().and_then(|(number, key)| Some((*number, Box::new(<[u8; _]>::try_from(&key[..]).ok()?))));
        let (number, public_key) =
            newest.ok_or_else(|| Fault::Damaged("the fleet has no channel key of the right length".to_owned()))?;
        Ok(crate::session::ChannelKey { number, epoch: self.bundle.epoch, bundle: self.hash, public_key })
    }

    /// The artifact's bytes.
    pub fn artifact(&self) -> &[u8] {
        &self.artifact
    }

    /// Its place in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint under which it was shown to be there.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// A verifier: its pins, and what it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    pins: Pins,
    /// The keys of the next bundle.
    auditor: VerifyingKey,
    operator: VerifyingKey,
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
    /// A verifier without history: it takes any epoch from the least on.
    ///
    /// # Errors
    /// [`Rejection::OneKeyTwice`] if two of the keys are one.
    pub fn new(pins: Pins) -> Result<Self, Rejection> {
        pins.check(&pins.auditor, &pins.operator)?;
        let (auditor, operator) = (pins.auditor.clone(), pins.operator.clone());
        Ok(Trust { pins, auditor, operator, seen: None })
    }

    /// A verifier with the history of [`Trust::memory`]. Of an epoch below [`Pins::epoch_min`] it is read, and not gone on
    /// from: the pins' own keys hold then, and not those that have followed them since.
    ///
    /// # Errors
    /// As [`Trust::new`]; [`Rejection::Malformed`] and the like if this is no memory of a bundle of this service.
    pub fn with_memory(pins: Pins, memory: &[u8]) -> Result<Self, Rejection> {
        let wrong = || Rejection::Malformed("this is not a verifier's memory".to_owned());
        let mut trust = Trust::new(pins)?;
        let text = std::str::from_utf8(memory).map_err(|_| wrong())?;
        let (head, note) = text.split_once("\n\n").ok_or_else(wrong)?;
        let mut lines = head.lines();
        if lines.next() != Some(MEMORY) {
            return Err(wrong());
        }
        let mut key = |word: &str| lines.next()?.strip_prefix(word)?.parse().ok();
        let (auditor, operator) = (key("auditor "), key("operator "));
        (trust.auditor, trust.operator) = auditor.zip(operator).ok_or_else(wrong)?;
        let bundle = trust.follow(&Note::read(note.as_bytes()).map_err(|_| wrong())?)?;
        if bundle.epoch < trust.pins.epoch_min { Trust::new(trust.pins) } else { Ok(trust) }
    }

    /// The last bundle that was accepted, to be kept for [`Trust::with_memory`]: nothing, or one that has been read before
    /// and not lost. A verifier that forgets it can be shown older keys again.
    pub fn memory(&self) -> Option<Vec<u8>> {
        let seen = self.seen.as_ref()?;
        let head = format!("{MEMORY}\nauditor {}\noperator {}\n\n", seen.auditor, seen.operator);
        Some([head.as_bytes(), &seen.note.write()].concat())
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The auditor's and the operator's key of the next bundle.
    pub(super) fn keys(&self) -> [&VerifyingKey; 2] {
        [&self.auditor, &self.operator]
    }

    /// The last epoch that was accepted.
    pub fn epoch(&self) -> Option<u32> {
        self.seen.as_ref().map(|seen| seen.epoch)
    }

    /// Of all bundles that are published, in order, those that [`Trust::accept`] is to be given: the ones after the last that
    /// was accepted, or, where that is the last, the last alone. Where there was none, the last that both pinned keys have
    /// signed and those after it, which carry the turns of these keys since; or, where there is no such bundle, the last
    /// alone. What turns to a pinned key that key has signed (T3), so pins may be newer than the newest bundle.
    pub fn unseen<'a>(&self, bundles: &'a [LoggedBundle]) -> &'a [LoggedBundle] {
        let epoch = |it: &LoggedBundle| Bundle::read(&it.note).map_or(u32::MAX, |bundle| bundle.epoch);
        let last = bundles.len().saturating_sub(1);
        let first = match self.epoch() {
            Some(seen) => bundles.partition_point(|it| epoch(it) <= seen).min(last),
            None => {
                let by_both = |it: &LoggedBundle| signed_by_both(&it.note, &self.auditor, &self.operator).is_ok();
                bundles.iter().rposition(by_both).unwrap_or(last)
            }
        };
        &bundles[first..]
    }

    /// Accepts the last of these bundles, which follow each other: from the one after the last that was accepted, if there
    /// was one. Of those in between all is held but the dates. The last may be the one that was accepted last.
    ///
    /// # Errors
    /// Why it is not; nothing has changed then.
    pub fn accept(&mut self, bundles: &[LoggedBundle], artifact: &[u8], now_s: u64) -> Result<Verified, Rejection> {
        let (next, verified) = self.walk(bundles, artifact, now_s, &mut |_, _| {})?;
        *self = next;
        Ok(verified)
    }

    /// What [`Trust::accept`] comes to, step by step: each is told when it holds.
    pub(super) fn walk(
        &self,
        bundles: &[LoggedBundle],
        artifact: &[u8],
        now_s: u64,
        told: &mut dyn FnMut(&'static str, String),
    ) -> Result<(Self, Verified), Rejection> {
        let (mut next, mut followed) = (self.clone(), Vec::new());
        for LoggedBundle { note, proof } in bundles {
            let bundle = next.follow(note)?;
            let entries = next.entries(&bundle);
            followed.push((bundle, entries, note, proof));
        }
        let Some((bundle, _, note, proof)) = followed.last() else {
            return Err(Rejection::Malformed("there is none".to_owned()));
        };
        not_below(bundle.epoch, self.pins.epoch_min)?;
        let (auditor, operator) = (next.auditor.name(), next.operator.name());
        told("bundle", format!("{auditor} and {operator} have both signed the bundle of epoch {}", bundle.epoch));
        told(
            "epochs",
            match self.seen.as_ref().map(|seen| seen.epoch) {
                Some(seen) => format!("its epochs follow epoch {seen}, the last one seen, without a gap"),
                None => format!("no bundle was seen before; {} is the least epoch allowed", self.pins.epoch_min),
            },
        );
        let log = &self.pins.log;
        let checkpoints: Vec<_> =
            followed.iter().map(|(.., proof)| log.check_log(&proof.checkpoint)).collect::<Result<_, _>>()?;
        told("log", format!("the checkpoints are signed by the log {}", log.log().name()));
        let seen_by =
            followed.iter().map(|(.., proof)| log.check_witnesses(&proof.checkpoint)).collect::<Result<Vec<_>, _>>()?;
        let fewest = seen_by.iter().min().copied().unwrap_or(0);
        told("witnesses", format!("{fewest} known witnesses have seen the log so; {} must have", log.quorum()));
        for ((_, entries, _, proof), checkpoint) in followed.iter().zip(&checkpoints) {
            log.check_entry(entries, proof, checkpoint)?;
        }
        let place = proof.index;
        told("inclusion", format!("the bundle is entry {place} of the log, so everybody is shown the same keys"));
        if now_s < bundle.not_before_s {
            return Err(Rejection::NotYetValid { not_before_s: bundle.not_before_s });
        }
        if now_s > bundle.not_after_s && !self.pins.compiled_in {
            return Err(Rejection::Expired { not_after_s: bundle.not_after_s });
        }
        told(
            "dates",
            match self.pins.compiled_in {
                true => "the bundle has begun to hold; with keys compiled in its end does not count".to_owned(),
                false => format!("the bundle holds now, until {} s", bundle.not_after_s),
            },
        );
        if bundle.artifact != FleetKeys::hash(artifact) {
            return Err(Rejection::WrongArtifact);
        }
        told("keys", "fleet-keys.json is, byte for byte, what the bundle names".to_owned());
        let checkpoint = checkpoints.into_iter().next_back().ok_or(Rejection::NotInLog)?;
        let hash = note.hash();
        let verified = Verified { bundle: bundle.clone(), hash, artifact: artifact.to_vec(), index: place, checkpoint };
        Ok((next, verified))
    }

    /// One step with a bundle as it is delivered: everything but log, dates and artifact. A refusal changes nothing (T5).
    pub(super) fn follow(&mut self, note: &Note) -> Result<Bundle, Rejection> {
        let bundle = self.ours(note)?;
        if !self.is_last(note, &bundle)? {
            self.check_next(note, &bundle)?;
            new_keys(note, &bundle)?;
            self.go_on(note, &bundle)?;
        }
        Ok(bundle)
    }

    /// The same with what a log has taken of a bundle, where the keys that it names have no line: whether they have signed it,
    /// too, was asked before the log took it (T3).
    pub(super) fn follow_entry(&mut self, entry: &Note) -> Result<Bundle, Rejection> {
        let bundle = self.ours(entry)?;
        if !self.is_last(entry, &bundle)? {
            self.check_next(entry, &bundle)?;
            self.go_on(entry, &bundle)?;
        }
        Ok(bundle)
    }

    /// The bundle that a note is, if it is this service's.
    fn ours(&self, note: &Note) -> Result<Bundle, Rejection> {
        let bundle = read(note)?;
        match bundle.namespace == self.pins.namespace {
            true => Ok(bundle),
            false => Err(Rejection::WrongNamespace { found: bundle.namespace, expected: self.pins.namespace.clone() }),
        }
    }

    /// Whether it is the last that was accepted; another one of that epoch is refused.
    fn is_last(&self, note: &Note, bundle: &Bundle) -> Result<bool, Rejection> {
        let Some(seen) = self.seen.as_ref().filter(|seen| seen.epoch == bundle.epoch) else { return Ok(false) };
        signed_by_both(note, &seen.auditor, &seen.operator)?;
        if note.hash() == seen.note.hash() {
            return Ok(true);
        }
        let (first, second) = (seen.note.clone(), note.clone());
        Err(Rejection::Fork(Box::new(ForkProof { epoch: bundle.epoch, first, second })))
    }

    /// Whether the present keys have signed it, and it follows the last that was accepted.
    fn check_next(&self, note: &Note, bundle: &Bundle) -> Result<(), Rejection> {
        let least = self.seen.as_ref().map_or(0, |seen| seen.epoch.saturating_add(1));
        not_below(bundle.epoch, least)?;
        signed_by_both(note, &self.auditor, &self.operator)?;
        let Some(seen) = &self.seen else { return Ok(()) };
        if seen.epoch.checked_add(1) != Some(bundle.epoch) || bundle.previous != seen.note.hash() {
            return Err(Rejection::ChainBroken(bundle.epoch));
        }
        if bundle.fleet != seen.fleet {
            return Err(Rejection::WrongFleet);
        }
        Ok(())
    }

    /// Has it be the last, and the keys that it names hold from then on.
    fn go_on(&mut self, note: &Note, bundle: &Bundle) -> Result<(), Rejection> {
        let next_auditor = bundle.next_auditor.as_ref().unwrap_or(&self.auditor).clone();
        let next_operator = bundle.next_operator.as_ref().unwrap_or(&self.operator).clone();
        self.pins.check(&next_auditor, &next_operator)?;
        let auditor = std::mem::replace(&mut self.auditor, next_auditor);
        let operator = std::mem::replace(&mut self.operator, next_operator);
        self.seen = Some(Seen { epoch: bundle.epoch, fleet: bundle.fleet, note: note.clone(), auditor, operator });
        Ok(())
    }

    /// What a log may have taken for the last bundle: its text, and the lines of the two keys that held at its epoch.
    ///
    /// Where that bundle turns to a pinned key, the key before has signed for the log, and nobody has told this verifier which
    /// that was: so any line may be that one's. Nothing is given away by it. Both pinned keys have signed this very text (T1; the
    /// new one by T3), a thief of the key before has neither, and whatever the line is, the text is in the log, where monitors
    /// see it (T6).
    fn entries(&self, bundle: &Bundle) -> Vec<Vec<u8>> {
        let Some(Seen { note, auditor, operator, .. }) = &self.seen else { return Vec::new() };
        note.entries([auditor, operator], self.turned(bundle))
    }

    /// Whether the last bundle turns to the very key, of the auditor and of the operator, by which it was followed: then this
    /// verifier has begun with it, and its pins are newer than the turn.
    pub(super) fn turned(&self, last: &Bundle) -> [bool; 2] {
        let turned = |next: &Option<VerifyingKey>, held| next.as_ref() == Some(held);
        let seen = self.seen.as_ref();
        seen.map_or([false; 2], |it| {
            [turned(&last.next_auditor, &it.auditor), turned(&last.next_operator, &it.operator)]
        })
    }
}

fn not_below(found: u32, least: u32) -> Result<(), Rejection> {
    if found < least { Err(Rejection::RolledBack { found, least }) } else { Ok(()) }
}
