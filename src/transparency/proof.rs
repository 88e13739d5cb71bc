//! [`Proof`]: that an entry is in a log, for whoever has nothing but keys (C2SP tlog-proof).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{NOTE_MAX, Note};
use super::tree::PROOF_MAX;
use crate::error::Fault;

const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// An entry's place, the hashes from it up to the root, and the checkpoint with that root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The entry's place, from 0.
    pub index: u64,
    /// Hashes of the neighbours on the way to the root (RFC 6962 section 2.1.1), the entry's own neighbour first.
    pub hashes: Vec<[u8; 32]>,
    /// The checkpoint.
    pub checkpoint: Note,
}

impl Proof {
    /// Reads a proof. That says nothing of whether it proves anything.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it has not the form of one. A line of extra data is not taken: nobody signs it.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = || Fault::Damaged("this is not a proof of an entry in a log".to_owned());
        if bytes.len() > 2 * NOTE_MAX {
            return Err(wrong());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(wrong)?;
        let mut lines = head.lines();
        if lines.next() != Some(FORMAT) {
            return Err(wrong());
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or_else(wrong)?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof = Proof {
            index: index.parse().map_err(|_| wrong())?,
            hashes: lines.map(hash).collect::<Option<_>>().ok_or_else(wrong)?,
            checkpoint: Note::read(checkpoint.as_bytes())?,
        };
        if proof.hashes.len() > PROOF_MAX || proof.write() != bytes {
            return Err(wrong());
        }
        Ok(proof)
    }

    /// The proof's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{FORMAT}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text += &STANDARD.encode(hash);
            text.push('\n');
        }
        text.push('\n');
        [text.as_bytes(), &self.checkpoint.write()].concat()
    }
}
