//! [`Checkpoint`]: what a log says of itself (C2SP tlog-checkpoint); [`Witness`]: who has seen it only grow.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{SigningKey, VerifyingKey, WitnessKey, WitnessSigningKey};
use super::note::Note;
use super::tree;
use crate::error::Fault;

/// Size and root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is its key's name.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree over them (RFC 6962 section 2.1).
    pub root: [u8; 32],
}

impl Checkpoint {
    /// Reads the text of a note. That says nothing of who signed it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not a checkpoint's, or has lines of its log's own, which nobody can audit.
    pub fn read(note: &Note) -> Result<Self, Fault> {
        let wrong = || Fault::Damaged("this note is not a checkpoint".to_owned());
        let lines: Vec<_> = note.text().lines().collect();
        let [origin, size, root] = lines[..] else { return Err(wrong()) };
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or_else(wrong)?;
        let read = Checkpoint { origin: origin.to_owned(), size: size.parse().map_err(|_| wrong())?, root };
        if origin.is_empty() || read.size > tree::SIZE_MAX || read.text() != note.text() {
            return Err(wrong());
        }
        Ok(read)
    }

    /// Reads a checkpoint that this log has signed.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; [`Fault::Key`] if it is another log's, or the log's signature is missing or not good.
    pub fn of(log: &VerifyingKey, note: &Note) -> Result<Self, Fault> {
        let checkpoint = Checkpoint::read(note)?;
        if checkpoint.origin != log.name() {
            return Err(Fault::Key(format!("this is a checkpoint of {}, not of {}", checkpoint.origin, log.name())));
        }
        match note.signed_by(log) {
            Some(true) => Ok(checkpoint),
            Some(false) => Err(Fault::Key(format!("the signature of the log {} is not good", log.name()))),
            None => Err(Fault::Key(format!("the log {} has not signed this checkpoint", log.name()))),
        }
    }

    pub(super) fn signed(&self, key: &SigningKey) -> Note {
        let mut note = Note::unsigned(self.text());
        note.sign(key);
        note
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// What a witness knows of a log: it cosigns a checkpoint only if that continues the last one it has cosigned.
///
/// Its memory must outlive it: keep [`Witness::last`] before the cosigned note leaves the house, and never go back.
pub struct Witness {
    key: WitnessSigningKey,
    log: VerifyingKey,
    last: Option<Note>,
}

impl Witness {
    /// A witness of a log, with the checkpoint that it cosigned last, if it has.
    ///
    /// # Errors
    /// As [`Checkpoint::of`], of the last one; [`Fault::Key`] if it did not cosign that.
    pub fn new(key: WitnessSigningKey, log: VerifyingKey, last: Option<Note>) -> Result<Self, Fault> {
        if let Some(last) = &last {
            Checkpoint::of(&log, last)?;
            if last.cosigned_by(&key.verifying_key()) != Some(true) {
                return Err(Fault::Key("the checkpoint that was kept is not cosigned by this witness".to_owned()));
            }
        }
        Ok(Witness { key, log, last })
    }

    /// Its key.
    pub fn key(&self) -> WitnessKey {
        self.key.verifying_key()
    }

    /// The checkpoint that it cosigned last.
    pub fn last(&self) -> Option<&Note> {
        self.last.as_ref()
    }

    /// The size up to which it has seen the log: a proof of consistency begins there.
    pub fn seen(&self) -> u64 {
        let last = self.last.as_ref().and_then(|last| Checkpoint::read(last).ok());
        last.map_or(0, |last| last.size)
    }

    /// Cosigns a checkpoint, given the proof that it continues the one before.
    ///
    /// ```
    /// use strongroom::secret::Secret;
    /// use strongroom::transparency::{Log, SigningKey, Witness, WitnessSigningKey};
    /// # let folder = tempfile::tempdir()?;
    /// let key = SigningKey::new("log.example/fleets", &Secret::random()?)?;
    /// let mut log = Log::create(folder.path().join("log"), key)?;
    /// let witness = WitnessSigningKey::new("witness.example", &Secret::random()?)?;
    /// let mut witness = Witness::new(witness, log.key(), None)?;
    ///
    /// log.append(&[b"an entry".to_vec()])?;
    /// let cosigned = witness.cosign(log.checkpoint(), &log.consistency(witness.seen())?, 1_800_000_000)?;
    /// log.take_cosignature(&cosigned, &witness.key())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Checkpoint::of`]; [`Fault::Fork`] if the log's history has changed or gone back. Nothing is cosigned then.
    pub fn cosign(&mut self, checkpoint: &Note, proof: &[[u8; 32]], now_s: u64) -> Result<Note, Fault> {
        let new = Checkpoint::of(&self.log, checkpoint)?;
        if let Some(last) = &self.last {
            let old = Checkpoint::of(&self.log, last)?;
            grown(&old, &new, proof)?;
        }
        let mut note = checkpoint.clone();
        note.cosign(&self.key, now_s);
        self.last = Some(note.clone());
        Ok(note)
    }
}

/// Whether a log has only grown from one checkpoint to the next.
///
/// # Errors
/// [`Fault::Fork`] if it has not: both notes together prove that to everybody.
pub(super) fn grown(old: &Checkpoint, new: &Checkpoint, proof: &[[u8; 32]]) -> Result<(), Fault> {
    if new.size < old.size {
        return Err(Fault::Fork(format!("the log had {} entries and shows {} now", old.size, new.size)));
    }
    if !tree::continues(proof, new.size, &new.root, old.size, &old.root) {
        return Err(Fault::Fork(format!(
            "nothing shows that the log's {} entries begin with the {} that it had",
            new.size, old.size
        )));
    }
    Ok(())
}
