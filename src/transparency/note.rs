//! [`Note`]: a text and its signatures, in the form of C2SP signed-note.

use sha2::{Digest, Sha256};
use signed_note::Signature;

use super::key::{SigningKey, VerifyingKey};
use crate::error::Fault;

/// Longest note, in bytes.
pub const NOTE_MAX: usize = 64 * 1024;

/// A text with signature lines. Whose signatures are good is for who knows keys to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<(String, u32, Vec<u8>)>,
}

impl Note {
    /// A text that nobody has signed yet: lines, each with its end.
    pub(super) fn unsigned(text: String) -> Self {
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
        let signature = |line| {
            let line = Signature::from_bytes(line).map_err(|error| wrong(&error.to_string()))?;
            Ok((line.name().to_owned(), line.id(), line.signature().to_vec()))
        };
        let note = Note { text, signatures: lines.map(signature).collect::<Result<_, Fault>>()? };
        if note.write() == bytes { Ok(note) } else { Err(wrong("it is written in another way")) }
    }

    /// The note's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.text.clone().into_bytes();
        bytes.push(b'\n');
        for (name, id, signature) in &self.signatures {
            // The name was one when the line was read or made.
            let line = Signature::new(name.clone(), *id, signature.clone());
            bytes.extend(line.map(|line| line.to_bytes()).unwrap_or_default());
        }
        bytes
    }

    /// The signed text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text: what other notes and the channel name it by.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// Adds a signature, in place of one by the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let by = key.verifying_key();
        let (name, id) = (by.name().to_owned(), by.id());
        self.signatures.retain(|(other, other_id, _)| (other, *other_id) != (&name, id));
        self.signatures.push((name, id, key.sign(self.text.as_bytes()).to_vec()));
    }

    /// Whether this key has signed: `None` if there is no line of its own, and whether all that are there are good.
    pub(super) fn signed_by(&self, key: &VerifyingKey) -> Option<bool> {
        let id = key.id();
        let mut theirs = self.signatures.iter().filter(|(name, line, _)| name == key.name() && *line == id).peekable();
        theirs.peek()?;
        Some(theirs.all(|(.., signature)| key.verifies(self.text.as_bytes(), signature)))
    }
}
