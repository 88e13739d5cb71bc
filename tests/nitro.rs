//! Attestation documents of AWS Nitro enclaves, made here with a root of our own: what holds, and everything that can be
//! wrong with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "model/enclave.rs"]
mod enclave;

use coset::cbor::value::Value;
use coset::iana;
use enclave::{Case, TIME_S, case, chain};
use strongroom::error::Fault;
use strongroom::transparency::{AttestationVerifier, Attested, Document, Measurement, Nitro};
use x509_cert::ext::pkix::KeyUsages;

fn judged(change: impl FnOnce(&mut Case)) -> Result<Attested, Fault> {
    let mut case = case();
    change(&mut case);
    let named = Document { kind: "aws-nitro".to_owned(), sha256: String::new(), nonce: case.nonce.clone() };
    Nitro::new(&chain()[0].certificate()).unwrap().verify(&case.document(), &named, &case.born)
}

fn field<'a>(case: &'a mut Case, name: &str) -> &'a mut Value {
    case.fields.iter_mut().find(|(other, _)| *other == name).map(|(_, value)| value).unwrap()
}

#[test]
fn a_document_of_the_enclave_in_which_the_keys_were_born_holds() {
    for tagged in [false, true] {
        let attested = judged(|case| case.tagged = tagged).unwrap();
        let measurement = Measurement { kind: "nitro-pcr0".to_owned(), digest: "aa".repeat(48) };
        assert_eq!(attested.measurement, Some(measurement));
        assert!(attested.proves.contains("i-0123-enc0456"), "{}", attested.proves);
    }
    // An authority less.
    judged(|case| {
        case.chain.remove(2);
        (case.chain[2].issuer, case.chain[2].issuer_seed) = ("zone".to_owned(), 2);
    })
    .unwrap();
}

type Change = fn(&mut Case);

/// Everything that can be wrong with a document: a name, words of the reason, and what makes it so.
fn wrong() -> [(&'static str, &'static str, Change); 33] {
    [
        ("born_elsewhere", "about other keys", |it| it.born = [1; 32]),
        ("no_user_data", "about other keys", |it| *field(it, "user_data") = Value::Null),
        ("nonce_of_before", "its nonce is not the one", |it| it.nonce = Some("43".repeat(20))),
        ("no_nonce", "its nonce is not the one", |it| *field(it, "nonce") = Value::Null),
        ("nonce_not_asked_for", "does not say what nonce", |it| it.nonce = None),
        ("nonce_not_hex", "nonce is not hex", |it| it.nonce = Some("4".to_owned())),
        ("debug_mode", "debug mode", |it| *field(it, "pcrs") = Value::Map(vec![(0.into(), Value::Bytes(vec![0; 48]))])),
        ("pcr0_missing", "pcrs is not", |it| {
            *field(it, "pcrs") = Value::Map(vec![(1.into(), Value::Bytes(vec![1; 48]))])
        }),
        ("pcr0_too_short", "pcrs is not", |it| {
            *field(it, "pcrs") = Value::Map(vec![(0.into(), Value::Bytes(vec![1; 32]))])
        }),
        ("digest_sha256", "digest is not", |it| *field(it, "digest") = Value::from("SHA256")),
        ("module_missing", "does not say module_id", |it| drop(it.fields.remove(0))),
        ("nonce_twice", "says nonce twice", |it| it.fields.push(("nonce", Value::Null))),
        ("timestamp_negative", "timestamp is not", |it| *field(it, "timestamp") = Value::from(-1)),
        ("signed_by_another_key", "signature is not good", |it| it.signer = 3),
        ("algorithm_es256", "not signed with ES384", |it| it.algorithm = iana::Algorithm::ES256),
        ("document_cut_short", "not a COSE_Sign1", |it| it.spoil = |bytes| bytes.truncate(bytes.len() - 1)),
        ("signature_altered", "signature is not good", |it| {
            it.spoil = |bytes| {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }
        }),
        ("document_too_long", "too long", |it| it.spoil = |bytes| bytes.resize(70_000, 0)),
        ("root_not_pinned", "another root", |it| {
            it.chain[0].seed = 9;
            it.chain[0].issuer_seed = 9;
            it.chain[1].issuer_seed = 9;
        }),
        ("no_certificates", "comes without certificates", |it| drop(it.chain.drain(..3))),
        ("issuer_of_another_name", "not by the one above", |it| it.chain[2].issuer = "root".to_owned()),
        ("certificate_by_another_key", "signature is not good", |it| it.chain[2].issuer_seed = 1),
        ("intermediate_missing", "not by the one above", |it| drop(it.chain.remove(1))),
        ("authority_without_constraints", "may not issue", |it| it.chain[1].constraints = None),
        ("authority_that_is_none", "may not issue", |it| it.chain[2].constraints.as_mut().unwrap().ca = false),
        ("path_too_long", "may not issue", |it| {
            it.chain[1].constraints.as_mut().unwrap().path_len_constraint = Some(0)
        }),
        ("authority_that_may_not_sign_certificates", "may not issue", |it| {
            it.chain[2].usage = Some(KeyUsages::DigitalSignature)
        }),
        ("authority_without_usage", "may not issue", |it| it.chain[2].usage = None),
        ("leaf_that_may_not_sign", "not one that signs documents", |it| {
            it.chain[3].usage = Some(KeyUsages::KeyAgreement)
        }),
        ("leaf_that_is_an_authority", "not one that signs documents", |it| {
            it.chain[3].constraints = chain()[0].constraints.clone()
        }),
        ("leaf_expired", "did not hold", |it| it.chain[3].to_s = TIME_S - 1),
        ("authority_not_yet_valid", "did not hold", |it| it.chain[1].from_s = TIME_S + 1),
        ("critical_extension_unknown", "critical extension", |it| it.chain[2].strange = true),
    ]
}

#[test]
fn whatever_is_wrong_with_a_document_it_does_not_hold() {
    for (name, reason, change) in wrong() {
        let said = judged(change).unwrap_err().to_string();
        assert!(said.contains(reason), "{name}, {reason}: {said}");
    }
}

/// `vectors/trust/attestations/`: a file a case, for verifiers in other languages. After a change of format run this once
/// with `STRONGROOM_WRITE_VECTORS=1` set.
#[test]
fn the_vectors_are_what_this_file_makes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/trust/attestations");
    let good: [(&str, &str, Change); 2] = [("good", "", |_| {}), ("good_tagged", "", |it| it.tagged = true)];
    let mut made = Vec::new();
    // A document of any length says nothing to who reads it in hex.
    for (name, reason, change) in good.into_iter().chain(wrong()).filter(|(name, ..)| *name != "document_too_long") {
        let mut case = case();
        change(&mut case);
        let expect = if reason.is_empty() { "accepted".to_owned() } else { format!("refused: {reason}") };
        let text = format!(
            "# {name}\n# expect: {expect}\n-- root\n{}\n-- artifact\n{}\n-- nonce\n{}\n-- document\n{}\n",
            hex::encode(chain()[0].certificate()),
            hex::encode(case.born),
            case.nonce.as_deref().unwrap_or("-"),
            hex::encode(case.document()),
        );
        made.push((folder.join(format!("{name}.txt")), text));
    }
    if std::env::var_os("STRONGROOM_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        made.iter().for_each(|(path, text)| std::fs::write(path, text).unwrap());
    }
    for (path, text) in &made {
        assert_eq!(&std::fs::read_to_string(path).unwrap(), text, "{}", path.display());
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), made.len(), "a file that nobody made");
    assert_eq!(made.len(), 34);
}

#[test]
fn a_root_is_one_that_signs_itself() {
    assert!(Nitro::new(&chain()[1].certificate()).is_err());
    assert!(Nitro::new(b"no certificate").is_err());
    let mut spoiled = chain()[0].certificate();
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    assert!(Nitro::new(&spoiled).is_err());
}

#[test]
fn no_byte_of_a_document_can_be_changed() {
    // For `spoil`, which is no closure: the place that is changed, and the document's length.
    thread_local!(static PLACE: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((0, 1)) });
    let mut flipped = 0;
    while PLACE.get().0 < PLACE.get().1 {
        let judged = judged(|case| {
            case.spoil = |bytes| {
                let (at, _) = PLACE.get();
                bytes[at] ^= 1;
                PLACE.set((at, bytes.len()));
            }
        });
        let (at, length) = PLACE.get();
        assert!(judged.is_err(), "byte {at}");
        flipped += 1;
        PLACE.set((at + 23, length));
    }
    assert!(flipped > 80, "{flipped}");
}
