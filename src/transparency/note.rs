//! [`Note`]: a text and its signatures, in the form of C2SP signed-note.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use signed_note::Signature;

use super::key::{SigningKey, VerifyingKey, WitnessKey, WitnessSigningKey};
use crate::error::Fault;

/// Longest note, in bytes.
pub const NOTE_MAX: usize = 64 * 1024;
// A journal keeps notes.
const _: () = assert!(NOTE_MAX <= crate::limits::STATEMENT_MAX);

/// A text with signature lines. Whose signatures are good is for who knows keys to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Line>,
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    id: u32,
    signature: Vec<u8>,
}

impl Line {
    fn is_of(&self, name: &str, id: u32) -> bool {
        self.name == name && self.id == id
    }

    fn write(&self) -> Vec<u8> {
        // The name was one when the line was read or made.
        let line = Signature::new(self.name.clone(), self.id, self.signature.clone());
        line.map(|line| line.to_bytes()).unwrap_or_default()
    }
}

impl Note {
    /// A text that nobody has signed yet: lines, each with its end. What can be read again has a signature.
    pub fn unsigned(text: String) -> Self {
        Note { text, signatures: Vec::new() }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it has not the form of one, or is longer than [`NOTE_MAX`].
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::Damaged(format!("this is not a signed note: {why}"));
        if bytes.len() > NOTE_MAX {
            return Err(wrong("it is too long"));
        }
        let parsed = signed_note::Note::from_bytes(bytes).map_err(|error| wrong(&error.to_string()))?;
        let text = String::from_utf8(parsed.text().to_vec()).map_err(|_| wrong("it is not UTF-8"))?;
        // The crate keeps its signatures to itself; they are the lines after the last empty one.
        let lines = bytes.get(text.len() + 1..).unwrap_or_default();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let line = |line| {
            let line = Signature::from_bytes(line).map_err(|error| wrong(&error.to_string()))?;
            Ok(Line { name: line.name().to_owned(), id: line.id(), signature: line.signature().to_vec() })
        };
        let note = Note { text, signatures: lines.map(line).collect::<Result<_, Fault>>()? };
        if note.write() == bytes { Ok(note) } else { Err(wrong("it is written in another way")) }
    }

    /// Reads a note, or a text that nobody has signed yet.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is neither.
    pub fn read_unsigned(bytes: &[u8]) -> Result<Self, Fault> {
        Note::read(bytes).or_else(|fault| {
            if bytes.len() > NOTE_MAX {
                return Err(fault);
            }
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| fault)?;
            Ok(Note::unsigned(text))
        })
    }

    /// The note's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.text.clone().into_bytes();
        bytes.push(b'\n');
        bytes.extend(self.signatures.iter().flat_map(Line::write));
        bytes
    }

    /// The signed text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its signature lines, which prove nothing.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|line| &*line.name)
    }

    /// SHA-256 of the text: what other notes and the channel name it by.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// Adds a signature, in place of one by the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let by = key.verifying_key();
        self.add(by.name(), by.id(), key.sign(self.text.as_bytes()).to_vec());
    }

    /// Whether this key has signed: `None` if there is no line of its own, and whether all that are there are good.
    pub(super) fn signed_by(&self, key: &VerifyingKey) -> Option<bool> {
        let mut theirs = self.of(key.name(), key.id()).peekable();
        theirs.peek()?;
        Some(theirs.all(|line| key.verifies(self.text.as_bytes(), &line.signature)))
    }

    /// [`Note::signed_by`] for a key whose name is not known, only its bytes.
    pub(super) fn signed_by_bytes(&self, key: &[u8; 32]) -> Option<bool> {
        let names: BTreeSet<&str> = self.signatures.iter().map(|line| &*line.name).collect();
        let keys = names.into_iter().filter_map(|name| VerifyingKey::named(name, key));
        keys.filter_map(|key| self.signed_by(&key)).reduce(|one, other| one && other)
    }

    /// Adds a witness's signature of this time, in seconds, in place of one by the same key (C2SP tlog-cosignature).
    pub(super) fn cosign(&mut self, key: &WitnessSigningKey, time_s: u64) {
        let by = key.verifying_key();
        let signature = [&time_s.to_be_bytes()[..], &key.sign(cosigned(time_s, &self.text).as_bytes())].concat();
        self.add(by.name(), by.id(), signature);
    }

    /// Whether this witness has signed, as [`Note::signed_by`].
    pub(super) fn cosigned_by(&self, key: &WitnessKey) -> Option<bool> {
        let mut theirs = self.of(key.name(), key.id()).peekable();
        theirs.peek()?;
        Some(theirs.all(|line| {
            line.signature.split_first_chunk().is_some_and(|(time, signature)| {
                let time_s = u64::from_be_bytes(*time);
                i64::try_from(time_s).is_ok() && key.verifies(cosigned(time_s, &self.text).as_bytes(), signature)
            })
        }))
    }

    /// The text and one line of each of these two keys, in this order: what a log takes of a bundle. Whether the lines are
    /// there, and good, is for [`History::follow`](super::History::follow) to say.
    pub fn entry(&self, first: &VerifyingKey, second: &VerifyingKey) -> Vec<u8> {
        let mut bytes = format!("{}\n", self.text).into_bytes();
        for key in [first, second] {
            bytes.extend(self.of(key.name(), key.id()).next().map(Line::write).unwrap_or_default());
        }
        bytes
    }

    /// Every [`Note::entry`] that this may be, where in the place of a key's line there may be that of one before it, whichever
    /// line of neither key that is.
    pub(super) fn entries(&self, keys: [&VerifyingKey; 2], turned: [bool; 2]) -> Vec<Vec<u8>> {
        let of = |key: &VerifyingKey, line: &Line| line.is_of(key.name(), key.id());
        let lines = |key, turned| -> Vec<Vec<u8>> {
            let before = self.signatures.iter().filter(|line| turned && !keys.into_iter().any(|key| of(key, line)));
            self.signatures.iter().find(|line| of(key, line)).into_iter().chain(before).map(Line::write).collect()
        };
        let (first, second) = (lines(keys[0], turned[0]), lines(keys[1], turned[1]));
        let entry = |one, other: &Vec<u8>| [self.text.as_bytes(), b"\n", one, other].concat();
        first.iter().flat_map(|one| second.iter().map(move |other| entry(one, other))).collect()
    }

    /// Takes over what a witness has added to a copy of this note; whether there was anything.
    pub(super) fn take_cosignature(&mut self, copy: &Note, witness: &WitnessKey) -> bool {
        let line = copy.of(witness.name(), witness.id()).next();
        if let Some(line) = line {
            self.add(&line.name, line.id, line.signature.clone());
        }
        line.is_some()
    }

    fn of<'a>(&'a self, name: &'a str, id: u32) -> impl Iterator<Item = &'a Line> {
        self.signatures.iter().filter(move |line| line.is_of(name, id))
    }

    fn add(&mut self, name: &str, id: u32, signature: Vec<u8>) {
        self.signatures.retain(|line| !line.is_of(name, id));
        self.signatures.push(Line { name: name.to_owned(), id, signature });
    }
}

/// What a witness signs.
fn cosigned(time_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}
