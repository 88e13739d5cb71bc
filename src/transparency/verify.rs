//! [`Trust::verify`]: the whole way from pinned keys to a fleet's keys and how they came to be, step by step.

use sha2::{Digest, Sha256};

use super::attestation::AttestationVerifier;
use super::bundle::hex;
use super::envelope::Envelope;
use super::evidence::{Document, Evidence, Measurement, Origin, Transcript};
use super::fleet_keys::FleetKeys;
use super::rejection::{ForkProof, Rejection};
use super::trust::{LoggedBundle, Trust, Verified};

/// What there is to be verified.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The bundles since the last one that was accepted; for a verifier without history, what [`Trust::unseen`] begins with.
    pub bundles: &'a [LoggedBundle],
    /// The bytes of `fleet-keys.json`.
    pub artifact: &'a [u8],
    /// The evidence's bytes.
    pub evidence: &'a [u8],
    /// What the evidence names by digest: transcript, attestations, evidence of an earlier ceremony.
    pub documents: &'a [Vec<u8>],
    /// Who judges attestations, by kind.
    pub attestations: &'a [&'a dyn AttestationVerifier],
}

/// A step that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The step's name.
    pub step: &'static str,
    /// What it proves, in plain words.
    pub proves: String,
}

/// How far a verification came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The steps that hold, in order.
    pub proven: Vec<Proven>,
    /// The fleet's keys, if all steps hold; or why the first one that does not does not.
    pub outcome: Result<Verified, String>,
    /// What proves that the two signers said two things, if that is why.
    pub fork: Option<Box<ForkProof>>,
}

impl Trust {
    /// Verifies everything that an outsider can: bundle, epochs, log, witnesses, dates, keys, evidence, ceremony,
    /// attestations and code. Ends at the first step that does not hold; then the verifier has not changed.
    pub fn verify(&mut self, given: &Given, now_s: u64) -> Report {
        let mut proven = Vec::new();
        let mut told = |step, proves| proven.push(Proven { step, proves });
        let mut fork = None;
        let outcome = match self.walk(given.bundles, given.artifact, now_s, &mut told) {
            Ok((next, verified)) => self.born(given, &verified, &mut told).map(|()| {
                *self = next;
                verified
            }),
            Err(why) => {
                let words = why.to_string();
                fork = if let Rejection::Fork(proof) = why { Some(proof) } else { None };
                Err(words)
            }
        };
        Report { proven, outcome, fork }
    }

    /// How the keys came to be.
    fn born(
        &self,
        given: &Given,
        verified: &Verified,
        told: &mut dyn FnMut(&'static str, String),
    ) -> Result<(), String> {
        let pins = self.pins();
        let words = |fault: crate::error::Fault| fault.to_string();
        verified.fleet_keys().map_err(words)?;
        if Envelope::hash(given.evidence) != verified.bundle().evidence {
            return Err("this is not the evidence that the bundle names".to_owned());
        }
        let read = |bytes: &[u8], about: Option<[u8; 32]>| {
            let envelope = Envelope::read(bytes)?;
            let artifact = match about {
                Some(artifact) => artifact,
                None => Evidence::read(&envelope)?.1,
            };
            Evidence::of(&envelope, &artifact, &pins.auditor_evidence, &pins.operator_evidence).map(|it| (it, artifact))
        };
        let (mut evidence, mut artifact) =
            read(given.evidence, Some(FleetKeys::hash(given.artifact))).map_err(words)?;
        self.is_ours(&evidence, verified)?;
        told("evidence", "both have signed how these very keys came to be".to_owned());
        if let Origin::Rotation { ceremony, reason } = &evidence.origin {
            let earlier = document(given, ceremony).ok_or("the evidence of the ceremony is missing")?;
            told("rotation", format!("keys have turned since the ceremony: {reason}"));
            (evidence, artifact) = read(earlier, None).map_err(words)?;
            self.is_ours(&evidence, verified)?;
        }
        let Origin::Ceremony { transcript, attestations, measurement, rebuild } = &evidence.origin else {
            return Err("the evidence of a rotation names no ceremony, but another rotation".to_owned());
        };
        let bytes = document(given, transcript).ok_or("the transcript of the ceremony is missing")?;
        let transcript = Envelope::read(bytes).and_then(|envelope| Transcript::of(&envelope)).map_err(words)?;
        if transcript.artifact != hex(&artifact) || transcript.fleet != hex(&verified.bundle().fleet) {
            return Err("the transcript is of another ceremony: other keys came of it".to_owned());
        }
        let (steps, people) = (transcript.steps.len(), transcript.participants.len());
        let exceptions = match transcript.exceptions.len() {
            0 => "nothing went otherwise than planned".to_owned(),
            some => format!("{some} things went otherwise than planned: read them"),
        };
        told("ceremony", format!("{people} people have signed the {steps} steps of the ceremony; {exceptions}"));
        let mut attested = Vec::new();
        for named in attestations {
            let Document { kind, sha256, .. } = named;
            let bytes = document(given, sha256).ok_or_else(|| format!("an attestation of kind {kind} is missing"))?;
            let verifier = given.attestations.iter().find(|it| it.kind() == kind);
            let verifier = verifier.ok_or_else(|| format!("nobody here can judge attestations of kind {kind}"))?;
            let found = verifier.verify(bytes, named, &artifact).map_err(words)?;
            told("attestation", found.proves);
            attested.extend(found.measurement);
        }
        self.runs(measurement.as_ref(), &attested, rebuild, told)
    }

    fn is_ours(&self, evidence: &Evidence, verified: &Verified) -> Result<(), String> {
        match evidence.namespace == self.pins().namespace && evidence.fleet == hex(&verified.bundle().fleet) {
            true => Ok(()),
            false => Err("the evidence is of another service or fleet".to_owned()),
        }
    }

    /// What code runs: as the evidence says, as hardware says, and as the pins allow.
    fn runs(
        &self,
        measurement: Option<&Measurement>,
        attested: &[Measurement],
        rebuild: &str,
        told: &mut dyn FnMut(&'static str, String),
    ) -> Result<(), String> {
        let Some(named) = measurement else {
            return match self.pins().measurements.is_empty() {
                true => Ok(()),
                false => Err("the evidence does not say what code runs, and the pins ask for it".to_owned()),
            };
        };
        if let Some(other) = attested.iter().find(|it| it.kind == named.kind && it.digest != named.digest) {
            return Err(format!("hardware says that other code runs: {} {}", other.kind, other.digest));
        }
        if !self.pins().measurements.is_empty() && !self.pins().measurements.contains(named) {
            return Err(format!("the code {} {} is not among those that the pins allow", named.kind, named.digest));
        }
        let said = if attested.contains(named) { "hardware and both signers say" } else { "both signers say" };
        told("code", format!("{said} that {} {} runs; to make it again: {rebuild}", named.kind, named.digest));
        Ok(())
    }
}

/// A document by its digest.
fn document<'a>(given: &Given<'a>, sha256: &str) -> Option<&'a [u8]> {
    given.documents.iter().map(Vec::as_slice).find(|bytes| hex(&Sha256::digest(bytes)) == sha256)
}
