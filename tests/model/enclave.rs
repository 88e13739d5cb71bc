//! Attestation documents of a made-up Nitro: its own root, its own enclaves.

use std::str::FromStr;
use std::time::Duration;

use coset::cbor::value::Value;
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use p384::ecdsa::signature::Signer;
use p384::ecdsa::{DerSignature, Signature, SigningKey as EcdsaKey};
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::der::{DateTime, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

pub(crate) const TIME_S: u64 = 1_800_000_000;
pub(crate) const BORN: [u8; 32] = [0x5e; 32];
pub(crate) const NONCE: [u8; 20] = [0x42; 20];

pub(crate) fn ecdsa(seed: u8) -> EcdsaKey {
    EcdsaKey::from_slice(&[seed; 48]).unwrap()
}

/// What a certificate is to be.
#[derive(Clone)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) issuer: String,
    pub(crate) seed: u8,
    pub(crate) issuer_seed: u8,
    pub(crate) constraints: Option<BasicConstraints>,
    pub(crate) usage: Option<KeyUsages>,
    pub(crate) from_s: u64,
    pub(crate) to_s: u64,
    pub(crate) strange: bool,
}

impl BuilderProfile for Kind {
    fn get_issuer(&self, _: &Name) -> Name {
        Name::from_str(&format!("CN={}", self.issuer)).unwrap()
    }

    fn get_subject(&self) -> Name {
        Name::from_str(&format!("CN={}", self.name)).unwrap()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        if let Some(constraints) = &self.constraints {
            extensions.push(constraints.to_extension(tbs.subject(), &[])?);
        }
        if let Some(usage) = self.usage {
            extensions.push((&KeyUsage(usage.into())).to_extension(tbs.subject(), &[])?);
        }
        if self.strange {
            let extn_value = OctetString::new(vec![5, 0])?;
            extensions.push(Extension { extn_id: ObjectIdentifier::new_unwrap("1.2.3.4"), critical: true, extn_value });
        }
        Ok(extensions)
    }
}

impl Kind {
    pub(crate) fn certificate(&self) -> Vec<u8> {
        let time = |s| Time::GeneralTime(DateTime::from_unix_duration(Duration::from_secs(s)).unwrap().into());
        let validity = Validity::new(time(self.from_s), time(self.to_s));
        let key = SubjectPublicKeyInfo::from_key(ecdsa(self.seed).verifying_key()).unwrap();
        let builder = CertificateBuilder::new(self.clone(), SerialNumber::from(7u32), validity, key).unwrap();
        let certificate: Certificate = builder.build::<_, DerSignature>(&ecdsa(self.issuer_seed)).unwrap();
        certificate.to_der().unwrap()
    }
}

/// A root, two authorities below it, and the enclave's certificate.
pub(crate) fn chain() -> Vec<Kind> {
    let names = ["root", "zone", "host", "enclave"];
    let kind = |place: usize| {
        let above = place.saturating_sub(1);
        let last = place + 1 == names.len();
        let path_len_constraint = Some(2u8.saturating_sub(place as u8));
        Kind {
            name: names[place].to_owned(),
            issuer: names[above].to_owned(),
            seed: place as u8 + 1,
            issuer_seed: above as u8 + 1,
            constraints: (!last).then_some(BasicConstraints { ca: true, path_len_constraint }),
            usage: Some(if last { KeyUsages::DigitalSignature } else { KeyUsages::KeyCertSign }),
            from_s: TIME_S - 3600,
            to_s: TIME_S + 3600,
            strange: false,
        }
    };
    (0..names.len()).map(kind).collect()
}

/// A whole document, each part of which can be changed before it is signed.
pub(crate) struct Case {
    pub(crate) chain: Vec<Kind>,
    pub(crate) fields: Vec<(&'static str, Value)>,
    pub(crate) algorithm: iana::Algorithm,
    pub(crate) signer: u8,
    pub(crate) tagged: bool,
    pub(crate) nonce: Option<String>,
    pub(crate) born: [u8; 32],
    pub(crate) spoil: fn(&mut Vec<u8>),
}

pub(crate) fn case() -> Case {
    let pcr = |index: u64, byte: u8| (Value::from(index), Value::Bytes(vec![byte; 48]));
    Case {
        chain: chain(),
        fields: vec![
            ("module_id", Value::from("i-0123-enc0456")),
            ("digest", Value::from("SHA384")),
            ("timestamp", Value::from(TIME_S * 1000 + 123)),
            ("pcrs", Value::Map(vec![pcr(0, 0xaa), pcr(1, 0xbb), pcr(4, 0)])),
            ("public_key", Value::Null),
            ("user_data", Value::Bytes(BORN.to_vec())),
            ("nonce", Value::Bytes(NONCE.to_vec())),
        ],
        algorithm: iana::Algorithm::ES384,
        signer: 4,
        tagged: false,
        nonce: Some("42".repeat(20)),
        born: BORN,
        spoil: |_| {},
    }
}

impl Case {
    /// The document, as it is signed.
    pub(crate) fn document(&self) -> Vec<u8> {
        let mut certificates: Vec<Vec<u8>> = self.chain.iter().map(Kind::certificate).collect();
        let leaf = certificates.pop().unwrap();
        let mut fields: Vec<_> = self.fields.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect();
        fields.push((Value::from("certificate"), Value::Bytes(leaf)));
        fields.push((Value::from("cabundle"), Value::Array(certificates.into_iter().map(Value::Bytes).collect())));
        let key = ecdsa(self.signer);
        let signed = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(self.algorithm).build())
            .payload(Value::Map(fields).to_vec().unwrap())
            .create_signature(b"", |message| {
                let signature: Signature = key.sign(message);
                signature.to_bytes().to_vec()
            })
            .build();
        let mut document = if self.tagged { signed.to_tagged_vec() } else { signed.to_vec() }.unwrap();
        (self.spoil)(&mut document);
        document
    }
}
