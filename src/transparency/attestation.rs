//! What hardware says of itself: documents by kind, and who judges them.

use super::evidence::{Document, Measurement};
use crate::error::Fault;

/// What an attestation shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// In plain words.
    pub proves: String,
    /// What code the hardware says it runs.
    pub measurement: Option<Measurement>,
}

/// Judges attestations of one kind.
pub trait AttestationVerifier {
    /// The kind, as evidence names it.
    fn kind(&self) -> &str;

    /// What a document, as the evidence names it, shows of the hardware in which the keys of this artifact, by its SHA-256,
    /// were born.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not a document of this kind; [`Fault::Key`] if it shows nothing of that hardware.
    fn verify(&self, document: &[u8], named: &Document, artifact: &[u8; 32]) -> Result<Attested, Fault>;
}
