//! [`Evidence`]: what two organisations say of how a fleet's keys came to be: an in-toto statement; [`Transcript`]: what
//! happened at the ceremony, signed by everybody who was there.

use serde::{Deserialize, Serialize};

use super::bundle::{hex, unhex};
use super::envelope::Envelope;
use super::key::VerifyingKey;
use crate::error::Fault;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:strongroom:evidence:v1";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const TRANSCRIPT: &str = "application/vnd.strongroom.ceremony+json";
const ARTIFACT_NAME: &str = "fleet-keys.json";

/// What evidence says. Documents are named by their SHA-256, and come beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The service.
    pub namespace: String,
    /// The fleet's id, in hex.
    pub fleet: String,
    /// How the keys came to be.
    pub origin: Origin,
}

/// How keys came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Origin {
    /// They were born at a ceremony.
    Ceremony {
        /// SHA-256 of the transcript, in hex.
        transcript: String,
        /// What hardware says of itself.
        attestations: Vec<Document>,
        /// What code runs.
        measurement: Option<Measurement>,
        /// How anybody makes that code again from its source.
        rebuild: String,
    },
    /// Keys that turn: born inside the fleet of an earlier ceremony.
    Rotation {
        /// SHA-256 of the evidence of that ceremony, in hex.
        ceremony: String,
        /// What has turned, and why.
        reason: String,
    },
}

/// The digest of an image of code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// What kind of digest it is, `nitro-pcr0` for instance.
    pub kind: String,
    /// The digest, in hex.
    pub digest: String,
}

/// A document that comes beside the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What kind of document it is, `aws-nitro` for instance.
    pub kind: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// What the auditor asked the hardware to say again, in hex, so that it is no document of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Evidence,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
}

impl Evidence {
    /// The evidence for an artifact of this SHA-256, to be signed by both.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if a digest in it is not one.
    pub fn envelope(&self, artifact: &[u8; 32]) -> Result<Envelope, Fault> {
        self.check()?;
        let statement = Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: ARTIFACT_NAME.to_owned(), digest: SubjectDigest { sha256: hex(artifact) } }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: self.clone(),
        };
        let payload = serde_json::to_vec_pretty(&statement).map_err(|error| Fault::Damaged(error.to_string()))?;
        Ok(Envelope::new(IN_TOTO, payload))
    }

    /// What an envelope says of an artifact of this SHA-256, if both have signed it.
    ///
    /// # Errors
    /// [`Fault::Key`] if a signature is missing or not good; [`Fault::Damaged`] if it is no evidence, or for another artifact.
    pub fn of(
        envelope: &Envelope,
        artifact: &[u8; 32],
        auditor: &VerifyingKey,
        operator: &VerifyingKey,
    ) -> Result<Self, Fault> {
        Evidence::signed_by_both(envelope, auditor, operator)?;
        let (evidence, about) = Evidence::read(envelope)?;
        match about == *artifact {
            true => Ok(evidence),
            false => Err(Fault::Damaged("the evidence is about other keys".to_owned())),
        }
    }

    /// Reads what an envelope says, whoever has signed it, and the SHA-256 of the artifact that it says it of.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is no evidence.
    pub fn read(envelope: &Envelope) -> Result<(Self, [u8; 32]), Fault> {
        let wrong = |why: &str| Fault::Damaged(format!("this is not evidence for a fleet's keys: {why}"));
        if envelope.payload_type() != IN_TOTO {
            return Err(wrong("it is another kind of document"));
        }
        let statement: Statement =
            serde_json::from_slice(envelope.payload()).map_err(|error| wrong(&error.to_string()))?;
        if statement.statement_type != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
            return Err(wrong("it is a statement of another type"));
        }
        let about = match &statement.subject[..] {
            [Subject { name, digest }] if name == ARTIFACT_NAME => unhex(&digest.sha256),
            _ => None,
        };
        statement.predicate.check()?;
        Ok((statement.predicate, about.ok_or_else(|| wrong("it is about something else"))?))
    }

    pub(super) fn signed_by_both(
        envelope: &Envelope,
        auditor: &VerifyingKey,
        operator: &VerifyingKey,
    ) -> Result<(), Fault> {
        signed(envelope, auditor, "the auditor", "the evidence")?;
        signed(envelope, operator, "the operator", "the evidence")
    }

    fn check(&self) -> Result<(), Fault> {
        let digests: Vec<&String> = match &self.origin {
            Origin::Ceremony { transcript, attestations, .. } => {
                [transcript].into_iter().chain(attestations.iter().map(|it| &it.sha256)).collect()
            }
            Origin::Rotation { ceremony, .. } => vec![ceremony],
        };
        match digests.iter().chain([&&self.fleet]).find(|text| unhex(text).is_none()) {
            Some(text) => Err(Fault::Damaged(format!("in the evidence, {text} is not 32 bytes of hex"))),
            None => Ok(()),
        }
    }
}

/// What happened at a ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The service.
    pub namespace: String,
    /// The fleet's id, in hex.
    pub fleet: String,
    /// SHA-256 of the artifact that came of it, in hex.
    pub artifact: String,
    /// Who was there, each with the key by which they sign this.
    pub participants: Vec<Participant>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What went otherwise than planned.
    pub exceptions: Vec<String>,
    /// Credentials that were destroyed, so that nobody can do it again.
    pub destroyed: Vec<String>,
}

/// Somebody who was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Their part: `auditor`, `operator`, `witness`.
    pub role: String,
    /// Their key, as text.
    pub key: String,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// What.
    pub what: String,
}

impl Transcript {
    /// The transcript, to be signed by everybody who was there.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if nobody was.
    pub fn envelope(&self) -> Result<Envelope, Fault> {
        if self.participants.is_empty() {
            return Err(Fault::Damaged("nobody was at this ceremony".to_owned()));
        }
        let payload = serde_json::to_vec_pretty(self).map_err(|error| Fault::Damaged(error.to_string()))?;
        Ok(Envelope::new(TRANSCRIPT, payload))
    }

    /// What an envelope says, if everybody whom it names has signed it.
    ///
    /// # Errors
    /// [`Fault::Key`] if a signature is missing or not good; [`Fault::Damaged`] if it is no transcript.
    pub fn of(envelope: &Envelope) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::Damaged(format!("this is not the transcript of a ceremony: {why}"));
        if envelope.payload_type() != TRANSCRIPT {
            return Err(wrong("it is another kind of document".to_owned()));
        }
        let read: Transcript = serde_json::from_slice(envelope.payload()).map_err(|error| wrong(error.to_string()))?;
        if read.participants.is_empty() {
            return Err(wrong("nobody was there".to_owned()));
        }
        for participant in &read.participants {
            let key = participant.key.parse()?;
            signed(envelope, &key, &format!("the {}", participant.role), "the transcript of the ceremony")?;
        }
        Ok(read)
    }
}

fn signed(envelope: &Envelope, key: &VerifyingKey, who: &str, what: &str) -> Result<(), Fault> {
    match envelope.signed_by(key) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::Key(format!("{who} has a signature under {what} that is not good"))),
        None => Err(Fault::Key(format!("{who} has not signed {what}"))),
    }
}
