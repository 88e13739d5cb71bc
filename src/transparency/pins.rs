//! [`Pins`]: what a verifier is given before it hears of anything; [`LogPolicy`]: which log, and who must have seen it.

use super::checkpoint::Checkpoint;
use super::evidence::Measurement;
use super::key::{VerifyingKey, WitnessKey};
use super::note::Note;
use super::proof::Proof;
use super::rejection::Rejection;
use super::tree;
use crate::error::Fault;

const FORMAT: &str = "strongroom pins v1";

/// A log, and how many of which witnesses must have seen what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    log: VerifyingKey,
    witnesses: Vec<WitnessKey>,
    quorum: usize,
}

impl LogPolicy {
    /// The log of this key, as so many of these witnesses have seen it.
    ///
    /// # Errors
    /// [`Rejection::QuorumTooLarge`] if there are not so many; [`Rejection::OneKeyTwice`] if two of the keys are one.
    pub fn new(log: VerifyingKey, witnesses: Vec<WitnessKey>, quorum: usize) -> Result<Self, Rejection> {
        if quorum > witnesses.len() {
            return Err(Rejection::QuorumTooLarge { needed: quorum, known: witnesses.len() });
        }
        let policy = LogPolicy { log, witnesses, quorum };
        differ(policy.keys())?;
        Ok(policy)
    }

    /// The log's key.
    pub fn log(&self) -> &VerifyingKey {
        &self.log
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// How many of them must have seen a checkpoint.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// Whether a proof shows that an entry is in the log, and that enough witnesses have seen the log so.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, entry: &[u8], proof: &Proof) -> Result<Checkpoint, Rejection> {
        let checkpoint = self.check_checkpoint(&proof.checkpoint)?;
        self.check_entry(&[entry], proof, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Whether a checkpoint is the log's, and enough witnesses have seen it. Who watches a log asks this too: else a log shows
    /// those who watch it another history than the witnesses and everybody else.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_checkpoint(&self, note: &Note) -> Result<Checkpoint, Rejection> {
        let checkpoint = self.check_log(note)?;
        self.check_witnesses(note)?;
        Ok(checkpoint)
    }

    /// The log's signature.
    pub(super) fn check_log(&self, note: &Note) -> Result<Checkpoint, Rejection> {
        let checkpoint = Checkpoint::read(note).map_err(|fault| Rejection::Malformed(fault.to_string()))?;
        if checkpoint.origin != self.log.name() {
            return Err(Rejection::WrongLog { found: checkpoint.origin, expected: self.log.name().to_owned() });
        }
        match note.signed_by(&self.log) {
            Some(true) => Ok(checkpoint),
            Some(false) => Err(Rejection::LogSignatureBad),
            None => Err(Rejection::LogSignatureMissing),
        }
    }

    /// The witnesses' signatures; how many there are.
    pub(super) fn check_witnesses(&self, note: &Note) -> Result<usize, Rejection> {
        let mut found = 0;
        for witness in &self.witnesses {
            match note.cosigned_by(witness) {
                Some(true) => found += 1,
                Some(false) => return Err(Rejection::WitnessSignatureBad(witness.name().to_owned())),
                None => {}
            }
        }
        if found < self.quorum {
            return Err(Rejection::TooFewWitnesses { found, needed: self.quorum });
        }
        Ok(found)
    }

    /// The way to the root from the entry, which is one of these.
    pub(super) fn check_entry(
        &self,
        entries: &[impl AsRef<[u8]>],
        proof: &Proof,
        checkpoint: &Checkpoint,
    ) -> Result<(), Rejection> {
        let leads = |entry: &[u8]| {
            let leaf = tree::leaf_hash(entry);
            tree::includes(&proof.hashes, checkpoint.size, &checkpoint.root, proof.index, leaf)
        };
        match entries.iter().any(|entry| leads(entry.as_ref())) {
            true => Ok(()),
            false => Err(Rejection::NotInLog),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        [self.log.as_bytes()].into_iter().chain(self.witnesses.iter().map(WitnessKey::as_bytes))
    }
}

/// What a verifier is given before it hears of anything: an app is compiled with it, a person gets it by hand.
///
/// Written as text, a word and a value a line:
///
/// ```text
/// strongroom pins v1
/// namespace example.org/backup
/// least-epoch 1
/// auditor auditor.example+1a2b3c4d+AT...
/// operator operator.example+5e6f7a8b+AX...
/// auditor-evidence evidence.auditor.example+...
/// operator-evidence evidence.operator.example+...
/// log log.example/fleets+...
/// witness witness.example+...                         as many as there are
/// quorum 1
/// measurement nitro-pcr0 51e2...                      as many as there are, if code is to be known
/// compiled-in                                         only where bundles hold whatever their not-after
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The service.
    pub namespace: String,
    /// The least epoch that is accepted. Who raises it has the pins' own keys hold: a memory of an epoch below it is not gone
    /// on from, so after a theft pin another key, and an epoch beyond all that the stolen one has signed.
    pub epoch_min: u32,
    /// The auditor's key for bundles.
    pub auditor: VerifyingKey,
    /// The operator's key for bundles.
    pub operator: VerifyingKey,
    /// The auditor's key for evidence.
    pub auditor_evidence: VerifyingKey,
    /// The operator's key for evidence.
    pub operator_evidence: VerifyingKey,
    /// The log, and who must have seen it.
    pub log: LogPolicy,
    /// Code that may run: the evidence must name one of these, if there are any.
    pub measurements: Vec<Measurement>,
    /// Takes bundles whatever their not-after: for an app that is compiled with keys, and may be old.
    pub compiled_in: bool,
}

impl Pins {
    /// Whether all keys differ, by their bytes: one key under two names is one key.
    ///
    /// # Errors
    /// [`Rejection::OneKeyTwice`].
    pub(super) fn check(&self, auditor: &VerifyingKey, operator: &VerifyingKey) -> Result<(), Rejection> {
        let evidence = [&self.auditor_evidence, &self.operator_evidence];
        differ([auditor, operator].into_iter().chain(evidence).map(VerifyingKey::as_bytes).chain(self.log.keys()))
    }

    /// The text.
    pub fn write(&self) -> String {
        let mut lines = vec![
            FORMAT.to_owned(),
            format!("namespace {}", self.namespace),
            format!("least-epoch {}", self.epoch_min),
            format!("auditor {}", self.auditor),
            format!("operator {}", self.operator),
            format!("auditor-evidence {}", self.auditor_evidence),
            format!("operator-evidence {}", self.operator_evidence),
            format!("log {}", self.log.log),
        ];
        lines.extend(self.log.witnesses.iter().map(|witness| format!("witness {witness}")));
        lines.push(format!("quorum {}", self.log.quorum));
        lines.extend(self.measurements.iter().map(|it| format!("measurement {} {}", it.kind, it.digest)));
        lines.extend(self.compiled_in.then(|| "compiled-in".to_owned()));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Reads the text.
    ///
    /// # Errors
    /// [`Fault::Key`] with the line that is not as it must be.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let wrong = |what: &str| Fault::Key(format!("the pins: {what}"));
        let mut lines = text.lines().peekable();
        if lines.next() != Some(FORMAT) {
            return Err(wrong(&format!("they do not begin with \"{FORMAT}\"")));
        }
        let mut optional = |word: &str| {
            let line = lines.next_if(|line| line.split(' ').next() == Some(word))?;
            Some(line.strip_prefix(word)?.strip_prefix(' ').unwrap_or_default().to_owned())
        };
        let mut value = |word: &str| optional(word).ok_or_else(|| wrong(&format!("the line \"{word}\" is missing")));
        let key = |word: &str, text: String| text.parse().map_err(|fault| wrong(&format!("{word}: {fault}")));
        let namespace = value("namespace")?;
        let epoch_min = value("least-epoch")?.parse().map_err(|_| wrong("least-epoch must be a number"))?;
        let mut keyed = |word: &str| key(word, value(word)?);
        let (auditor, operator) = (keyed("auditor")?, keyed("operator")?);
        let (auditor_evidence, operator_evidence) = (keyed("auditor-evidence")?, keyed("operator-evidence")?);
        let log = keyed("log")?;
        let mut witnesses = Vec::new();
        while let Some(text) = optional("witness") {
            witnesses.push(text.parse().map_err(|fault| wrong(&format!("witness: {fault}")))?);
        }
        let quorum =
            optional("quorum").and_then(|it| it.parse().ok()).ok_or_else(|| wrong("quorum must be a number"))?;
        let log = LogPolicy::new(log, witnesses, quorum).map_err(|why| wrong(&why.to_string()))?;
        let mut measurements = Vec::new();
        while let Some(text) = optional("measurement") {
            let (kind, digest) =
                text.split_once(' ').ok_or_else(|| wrong("a measurement must be a kind and a digest"))?;
            measurements.push(Measurement { kind: kind.to_owned(), digest: digest.to_owned() });
        }
        let compiled_in = optional("compiled-in").is_some();
        let pins = Pins {
            namespace,
            epoch_min,
            auditor,
            operator,
            auditor_evidence,
            operator_evidence,
            log,
            measurements,
            compiled_in,
        };
        pins.check(&pins.auditor, &pins.operator).map_err(|why| wrong(&why.to_string()))?;
        if pins.write() != text {
            return Err(wrong("a line is not known, or not written as it must be"));
        }
        Ok(pins)
    }
}

fn differ<'a>(keys: impl Iterator<Item = &'a [u8; 32]>) -> Result<(), Rejection> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(Rejection::OneKeyTwice) } else { Ok(()) }
}
