//! [`Nitro`]: attestation documents of AWS Nitro enclaves: a COSE_Sign1 by a key whose certificate leads to a pinned root.

use coset::cbor::value::Value;
use coset::iana::Algorithm;
use coset::{CborSerializable, CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{DerSignature, Signature, VerifyingKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::attestation::{AttestationVerifier, Attested};
use super::bundle::{hex, unhex_bytes};
use super::evidence::{Document, Measurement};
use crate::error::Fault;

/// Longest document, in bytes.
const DOCUMENT_MAX: usize = 64 * 1024;
/// Most certificates between the root and the one that signs.
const INTERMEDIATES_MAX: usize = 8;
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Judges attestation documents of AWS Nitro enclaves (kind `aws-nitro`).
///
/// A document holds if it is signed with ES384 by a key whose certificate leads to the pinned root, each certificate valid
/// at the document's own time; if its `user_data` is the SHA-256 of the artifact, so that these keys were born there; if
/// its nonce is the one that the evidence says the auditor asked for; and if the enclave is not in debug mode. It shows
/// `nitro-pcr0`, the measurement of the image that runs.
pub struct Nitro {
    root: Certificate,
}

impl Nitro {
    /// With this certificate, in DER, as the root. Amazon publishes its own, `aws.nitro-enclaves`; hold it against the
    /// fingerprint that they publish with it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is no certificate, or not one that signs itself.
    pub fn new(root: &[u8]) -> Result<Self, Fault> {
        let root = certificate(root)?;
        signs(&root, &root)?;
        Ok(Nitro { root })
    }
}

/// What a document says.
struct Claims {
    module: String,
    time_s: u64,
    pcr0: Vec<u8>,
    certificate: Vec<u8>,
    bundle: Vec<Vec<u8>>,
    user_data: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
}

impl AttestationVerifier for Nitro {
    fn kind(&self) -> &str {
        "aws-nitro"
    }

    fn verify(&self, document: &[u8], named: &Document, artifact: &[u8; 32]) -> Result<Attested, Fault> {
        if document.len() > DOCUMENT_MAX {
            return Err(damaged("it is too long"));
        }
        let signed = CoseSign1::from_slice(document).or_else(|_| CoseSign1::from_tagged_slice(document));
        let signed = signed.map_err(|_| damaged("it is not a COSE_Sign1"))?;
        if signed.protected.header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::ES384)) {
            return Err(damaged("it is not signed with ES384"));
        }
        let claims = Claims::read(signed.payload.as_deref().ok_or_else(|| damaged("it says nothing"))?)?;
        let key = self.walk(&claims)?;
        let verify = |signature: &[u8], message: &[u8]| {
            let signature = Signature::from_slice(signature).map_err(|_| untrue("its signature is none"))?;
            key.verify(message, &signature).map_err(|_| untrue("its signature is not good"))
        };
        signed.verify_signature(b"", verify)?;
        if claims.user_data.as_deref() != Some(artifact) {
            return Err(untrue("it is about other keys than these"));
        }
        let asked =
            named.nonce.as_deref().map(|nonce| unhex_bytes(nonce).ok_or_else(|| damaged("its nonce is not hex")));
        let asked = asked.ok_or_else(|| untrue("the evidence does not say what nonce was asked for"))??;
        if claims.nonce.as_ref() != Some(&asked) {
            return Err(untrue("its nonce is not the one that was asked for: it may be of before"));
        }
        if claims.pcr0.iter().all(|byte| *byte == 0) {
            return Err(untrue("the enclave was in debug mode, in which others see its memory"));
        }
        let digest = hex(&claims.pcr0);
        Ok(Attested {
            proves: format!(
                "the enclave {} held these keys at {} s, and its image measures {digest}",
                claims.module, claims.time_s
            ),
            measurement: Some(Measurement { kind: "nitro-pcr0".to_owned(), digest }),
        })
    }
}

impl Nitro {
    /// From the pinned root to the key that signs.
    fn walk(&self, claims: &Claims) -> Result<VerifyingKey, Fault> {
        let [root, intermediates @ ..] = &claims.bundle[..] else {
            return Err(damaged("it comes without certificates"));
        };
        if certificate(root)? != self.root {
            return Err(untrue("its certificates lead to another root than the pinned one"));
        }
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(damaged("there are too many certificates"));
        }
        let mut issuer = self.root.clone();
        holds_at(&issuer, claims.time_s)?;
        let chain: Vec<_> =
            intermediates.iter().chain([&claims.certificate]).map(|it| certificate(it)).collect::<Result<_, _>>()?;
        for (place, subject) in chain.iter().enumerate() {
            // Certificates below the issuer, other than the last.
            issues(&issuer, chain.len() - 1 - place)?;
            signs(&issuer, subject)?;
            holds_at(subject, claims.time_s)?;
            issuer = subject.clone();
        }
        if constraints(&issuer)?.is_some_and(|it| it.ca) || !usage(&issuer)?.is_none_or(|it| it.digital_signature()) {
            return Err(untrue("its certificate is not one that signs documents"));
        }
        public_key(&issuer)
    }
}

impl Claims {
    fn read(payload: &[u8]) -> Result<Self, Fault> {
        let Ok(Value::Map(fields)) = Value::from_slice(payload) else {
            return Err(damaged("what it says is not a map"));
        };
        let field = |name: &str| {
            let mut found = fields.iter().filter(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
            // Two of one name would be read one way here and another way elsewhere.
            match (found.next(), found.next()) {
                (value, None) => Ok(value),
                _ => Err(damaged(&format!("it says {name} twice"))),
            }
        };
        let wants = |name: &str| field(name)?.ok_or_else(|| damaged(&format!("it does not say {name}")));
        let wrong = |name: &str| damaged(&format!("{name} is not what it must be"));
        let bytes = |value: &Value, name: &str, most: usize| {
            let bytes = value.as_bytes().filter(|bytes| !bytes.is_empty() && bytes.len() <= most);
            bytes.cloned().ok_or_else(|| wrong(name))
        };
        let optional = |name: &str| match field(name)? {
            None | Some(Value::Null) => Ok(None),
            Some(value) => bytes(value, name, 1024).map(Some),
        };
        if wants("digest")?.as_text() != Some("SHA384") {
            return Err(wrong("digest"));
        }
        let pcrs = wants("pcrs")?.as_map().ok_or_else(|| wrong("pcrs"))?;
        let mut pcr0 = pcrs.iter().filter(|(index, _)| index.as_integer() == Some(0.into())).map(|(_, pcr)| pcr);
        let (Some(pcr0), None) = (pcr0.next(), pcr0.next()) else { return Err(wrong("pcrs")) };
        let bundle = wants("cabundle")?.as_array().ok_or_else(|| wrong("cabundle"))?;
        let time_ms = wants("timestamp")?.as_integer().and_then(|it| u64::try_from(it).ok());
        Ok(Claims {
            module: wants("module_id")?.as_text().ok_or_else(|| wrong("module_id"))?.to_owned(),
            time_s: time_ms.ok_or_else(|| wrong("timestamp"))? / 1000,
            pcr0: bytes(pcr0, "pcrs", 48).and_then(|it| if it.len() == 48 { Ok(it) } else { Err(wrong("pcrs")) })?,
            certificate: bytes(wants("certificate")?, "certificate", 4096)?,
            bundle: bundle.iter().map(|it| bytes(it, "cabundle", 4096)).collect::<Result<_, _>>()?,
            user_data: optional("user_data")?,
            nonce: optional("nonce")?,
        })
    }
}

fn certificate(bytes: &[u8]) -> Result<Certificate, Fault> {
    Certificate::from_der(bytes).map_err(|_| damaged("a certificate is none"))
}

/// Whether the one has signed the other, by name and key.
fn signs(issuer: &Certificate, subject: &Certificate) -> Result<(), Fault> {
    let tbs = subject.tbs_certificate();
    let algorithms = [subject.signature_algorithm(), tbs.signature()];
    if algorithms.iter().any(|it| it.oid != ECDSA_WITH_SHA384) || tbs.issuer() != issuer.tbs_certificate().subject() {
        return Err(untrue("a certificate is not by the one above it"));
    }
    let message = tbs.to_der().map_err(|_| damaged("a certificate is none"))?;
    let signature = subject.signature().as_bytes().and_then(|bytes| DerSignature::from_bytes(bytes).ok());
    let signature = signature.ok_or_else(|| damaged("a certificate has no signature"))?;
    public_key(issuer)?.verify(&message, &signature).map_err(|_| untrue("a certificate's signature is not good"))
}

/// Whether it may issue certificates with so many between it and the last.
fn issues(issuer: &Certificate, between: usize) -> Result<(), Fault> {
    let allowed = constraints(issuer)?
        .is_some_and(|it| it.ca && it.path_len_constraint.is_none_or(|most| between <= usize::from(most)));
    match allowed && usage(issuer)?.is_some_and(|it| it.key_cert_sign()) {
        true => Ok(()),
        false => Err(untrue("a certificate above it may not issue others")),
    }
}

fn holds_at(certificate: &Certificate, time_s: u64) -> Result<(), Fault> {
    let validity = certificate.tbs_certificate().validity();
    let (from, to) =
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs());
    match (from..=to).contains(&time_s) {
        true => Ok(()),
        false => Err(untrue("a certificate did not hold at the document's time")),
    }
}

fn public_key(certificate: &Certificate) -> Result<VerifyingKey, Fault> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    VerifyingKey::try_from(info.owned_to_ref()).map_err(|_| damaged("a certificate's key is not one of P-384"))
}

fn constraints(certificate: &Certificate) -> Result<Option<BasicConstraints>, Fault> {
    known_extensions(certificate)?;
    let found = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    Ok(found.map_err(|_| damaged("a certificate's extensions"))?.map(|(_, it)| it))
}

fn usage(certificate: &Certificate) -> Result<Option<KeyUsage>, Fault> {
    let found = certificate.tbs_certificate().get_extension::<KeyUsage>();
    Ok(found.map_err(|_| damaged("a certificate's extensions"))?.map(|(_, it)| it))
}

/// An extension that is critical, and that nobody here knows, is no reason to believe.
fn known_extensions(certificate: &Certificate) -> Result<(), Fault> {
    let known = [BasicConstraints::OID, KeyUsage::OID];
    let mut all = certificate.tbs_certificate().extensions().into_iter().flatten();
    match all.all(|it| !it.critical || known.contains(&it.extn_id)) {
        true => Ok(()),
        false => Err(untrue("a certificate has a critical extension that is not known")),
    }
}

fn damaged(why: &str) -> Fault {
    Fault::Damaged(format!("this is not an attestation document: {why}"))
}

fn untrue(why: &str) -> Fault {
    Fault::Key(format!("the attestation document does not hold: {why}"))
}
