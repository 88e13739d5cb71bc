//! [`Bundle`]: what two organisations say of a fleet's keys.

use super::key::{SigningKey, VerifyingKey};
use super::note::Note;
use crate::error::Fault;

const FORMAT: &str = "strongroom bundle v1";
/// Longest namespace, in bytes.
const NAMESPACE_MAX: usize = 255;

/// One bundle of a fleet's keys: lines of text, each a word and a value, in one order.
///
/// ```text
/// strongroom bundle v1
/// namespace example.org/backup
/// fleet 6f1c...
/// epoch 7
/// not-before 1800000000
/// not-after 1810000000
/// previous 9a0d...
/// artifact 51e2...
/// evidence c47b...
/// next-auditor auditor.example+1a2b3c4d+AT...    only where the auditor's key changes
/// next-operator operator.example+5e6f7a8b+AX...  only where the operator's key changes
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What service it is for: printable, without spaces, 1 to 255 bytes.
    pub namespace: String,
    /// The fleet's id.
    pub fleet: [u8; 32],
    /// One more with every bundle.
    pub epoch: u32,
    /// When it begins to hold, in seconds since 1970.
    pub not_before_s: u64,
    /// When it ends to hold, in seconds since 1970.
    pub not_after_s: u64,
    /// SHA-256 of the text of the bundle before it; zeros of the first.
    pub previous: [u8; 32],
    /// SHA-256 of the artifact, `fleet-keys.json`.
    pub artifact: [u8; 32],
    /// SHA-256 of the evidence for it.
    pub evidence: [u8; 32],
    /// The auditor's key from the next bundle on, where it changes.
    pub next_auditor: Option<VerifyingKey>,
    /// The operator's key from the next bundle on, where it changes.
    pub next_operator: Option<VerifyingKey>,
}

impl Bundle {
    /// The bundle as a note to be signed.
    ///
    /// ```
    /// use strongroom::secret::Secret;
    /// use strongroom::transparency::{Bundle, SigningKey};
    /// let bundle = Bundle {
    ///     namespace: "example.org/backup".to_owned(),
    ///     fleet: [1; 32],
    ///     epoch: 1,
    ///     not_before_s: 1_800_000_000,
    ///     not_after_s: 1_810_000_000,
    ///     previous: [0; 32],
    ///     artifact: [2; 32],
    ///     evidence: [3; 32],
    ///     next_auditor: None,
    ///     next_operator: None,
    /// };
    /// let mut note = bundle.note()?;
    /// note.sign(&SigningKey::new("auditor.example", &Secret::random()?)?);
    /// note.sign(&SigningKey::new("operator.example", &Secret::random()?)?);
    /// assert_eq!(Bundle::read(&note)?, bundle);
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Limit`] if the namespace is none, or it ends before it begins.
    pub fn note(&self) -> Result<Note, Fault> {
        let printable = self.namespace.bytes().all(|byte| byte.is_ascii_graphic());
        if self.namespace.is_empty() || self.namespace.len() > NAMESPACE_MAX || !printable {
            return Err(Fault::Limit(format!("a namespace must be 1 to {NAMESPACE_MAX} printable characters")));
        }
        if self.not_after_s < self.not_before_s {
            return Err(Fault::Limit("a bundle must end after it begins".to_owned()));
        }
        let mut lines = vec![
            FORMAT.to_owned(),
            format!("namespace {}", self.namespace),
            format!("fleet {}", hex(&self.fleet)),
            format!("epoch {}", self.epoch),
            format!("not-before {}", self.not_before_s),
            format!("not-after {}", self.not_after_s),
            format!("previous {}", hex(&self.previous)),
            format!("artifact {}", hex(&self.artifact)),
            format!("evidence {}", hex(&self.evidence)),
        ];
        lines.extend(self.next_auditor.iter().map(|key| format!("next-auditor {key}")));
        lines.extend(self.next_operator.iter().map(|key| format!("next-operator {key}")));
        Ok(Note::unsigned(lines.iter().map(|line| format!("{line}\n")).collect()))
    }

    /// Reads the text alone, as it is before anybody has signed it.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn parse(text: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(text).map_err(|_| Fault::Damaged("this text is not a bundle".to_owned()))?;
        Bundle::read(&Note::unsigned(text.to_owned()))
    }

    /// Reads the text of a note. That says nothing of who signed it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not a bundle's, or is written in another way than [`Bundle::note`] writes it;
    /// [`Fault::Format`] if it is one of a later version.
    pub fn read(note: &Note) -> Result<Self, Fault> {
        let mut lines = note.text().lines().peekable();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT {
            let later = format.strip_prefix("strongroom bundle v").and_then(|number| number.parse().ok());
            let damaged = || Fault::Damaged("this note is not a bundle".to_owned());
            return Err(later.map_or_else(damaged, |found| Fault::Format { what: "the bundle", found, reads: 1 }));
        }
        let mut value = |word: &str| {
            let line = lines.next_if(|line| line.split_once(' ').is_some_and(|(first, _)| first == word))?;
            line.split_once(' ').map(|(_, value)| value.to_owned())
        };
        let read = |value: &mut dyn FnMut(&str) -> Option<String>| {
            Some(Bundle {
                namespace: value("namespace")?,
                fleet: unhex(&value("fleet")?)?,
                epoch: value("epoch")?.parse().ok()?,
                not_before_s: value("not-before")?.parse().ok()?,
                not_after_s: value("not-after")?.parse().ok()?,
                previous: unhex(&value("previous")?)?,
                artifact: unhex(&value("artifact")?)?,
                evidence: unhex(&value("evidence")?)?,
                next_auditor: value("next-auditor").map(|key| key.parse()).transpose().ok()?,
                next_operator: value("next-operator").map(|key| key.parse()).transpose().ok()?,
            })
        };
        let bundle =
            read(&mut value).ok_or_else(|| Fault::Damaged("a line of the bundle is not as it must be".into()))?;
        // One encoding: no line more, no number with zeros before it.
        match bundle.note() {
            Ok(again) if again.text() == note.text() => Ok(bundle),
            _ => Err(Fault::Damaged("the bundle is not written as bundles are".to_owned())),
        }
    }

    /// The bundle, signed by both: the auditor first, then, over the same text, the operator.
    ///
    /// # Errors
    /// As [`Bundle::note`].
    pub fn signed(&self, auditor: &SigningKey, operator: &SigningKey) -> Result<Note, Fault> {
        let mut note = self.note()?;
        note.sign(auditor);
        note.sign(operator);
        Ok(note)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes of hex, in one way.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    unhex_bytes(text)?.try_into().ok()
}

/// Bytes of hex, in one way.
pub(super) fn unhex_bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}
