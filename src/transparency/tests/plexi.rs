//! Epoch signatures, against plexi's published vector.

use super::*;

#[test]
fn the_message_is_that_of_plexi() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/plexi-signature.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let of_suite = |suite: u64| vectors.as_array().unwrap().iter().find(|it| it["ciphersuite"] == suite).unwrap();
    let vector = of_suite(1);
    let bytes = |field: &str| <[u8; 32]>::try_from(hex::decode(vector[field].as_str().unwrap()).unwrap()).unwrap();
    let auditor = SigningKey::new("auditor", &Secret::new(bytes("signing_key"))).unwrap();
    assert_eq!(auditor.verifying_key().as_bytes(), &bytes("verifying_key"));
    let read = EpochSignature::read(vector.to_string().as_bytes()).unwrap();
    assert!(read.verify(&auditor.verifying_key()));
    assert!(!read.verify(&operator().verifying_key()));
    assert!(EpochSignature::read(of_suite(2).to_string().as_bytes()).is_err(), "the older suite is not read");
    for change in [
        |it: &mut EpochSignature| it.namespace.push('x'),
        |it: &mut EpochSignature| it.timestamp_ms += 1,
        |it: &mut EpochSignature| it.epoch = 128,
        |it: &mut EpochSignature| it.digest[0] ^= 1,
        |it: &mut EpochSignature| it.signature[63] ^= 1,
    ] {
        let mut changed = read.clone();
        change(&mut changed);
        assert!(!changed.verify(&auditor.verifying_key()), "{changed:?}");
    }
}

#[test]
fn an_operator_signs_only_what_it_has_rebuilt() {
    let (field, counter) = (key("field.auditor.example", 30), key("field.operator.example", 31));
    let note = signed(&bundle(300, None));
    let signature = EpochSignature::sign(&note, NOW_S * 1000, &field).unwrap();
    assert_eq!((signature.epoch, signature.digest), (300, note.hash()));
    assert_eq!(EpochSignature::read(&signature.write()), Ok(signature.clone()));
    let countersigned = signature.countersign(&note, &field.verifying_key(), &counter).unwrap();
    assert!(signature.is_countersigned(&countersigned, &counter.verifying_key()));
    assert!(!signature.is_countersigned(&countersigned, &field.verifying_key()));
    let other = signed(&bundle(301, Some(&note)));
    assert!(signature.countersign(&other, &field.verifying_key(), &counter).is_err(), "another bundle");
    assert!(signature.countersign(&note, &auditor().verifying_key(), &counter).is_err(), "another auditor");
    let forged = EpochSignature { signature: [0; 64], ..signature };
    assert!(forged.countersign(&note, &field.verifying_key(), &counter).is_err());
}
