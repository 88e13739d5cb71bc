//! HMAC-SHA-512 (RFC 2104) and HKDF-SHA-512 (RFC 5869), which every key hangs from, against Wycheproof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use strongroom::engine::sha512::{DIGEST_LEN, HmacKey, extract};

fn cases(file: &str) -> Vec<(Value, Value)> {
    let file: Value = serde_json::from_str(file).expect("the file is JSON");
    let groups = file["testGroups"].as_array().expect("groups").clone();
    let tests = |group: Value| {
        group["tests"].as_array().expect("tests").clone().into_iter().map(move |test| (group.clone(), test))
    };
    let cases: Vec<_> = groups.into_iter().flat_map(tests).collect();
    assert_eq!(Some(cases.len() as u64), file["numberOfTests"].as_u64());
    cases
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    hex::decode(case[field].as_str().expect("a field in hex")).expect("hex")
}

/// Whether our MAC agrees with what the case says of its tag.
fn mac_agrees(case: &Value, tag: &[u8]) -> bool {
    let mac = HmacKey::new(&bytes(case, "key")).mac(&[&bytes(case, "msg")]);
    (mac[..tag.len()] == *tag) == (case["result"] == "valid")
}

/// Whether our output agrees; a case that asks for more than RFC 5869 allows has none.
fn okm_agrees(case: &Value, okm: &[u8]) -> bool {
    let size = case["size"].as_u64().expect("a size") as usize;
    if size > 255 * DIGEST_LEN {
        return case["result"] == "invalid" && okm.is_empty();
    }
    let mut out = vec![0; size];
    let prk = extract(&HmacKey::new(&bytes(case, "salt")), &[&bytes(case, "ikm")]);
    HmacKey::new(&prk).expand(&[&bytes(case, "info")], &mut out);
    case["result"] == "valid" && out == okm
}

#[test]
fn hmac_sha512() {
    for (group, case) in cases(include_str!("../vectors/wycheproof-hmac_sha512_test.json")) {
        let mut tag = bytes(&case, "tag");
        let whole = tag.len() * 8 == group["tagSize"].as_u64().expect("bits") as usize;
        assert!(whole || case["result"] == "invalid", "a tag of another size is never valid");
        assert!(mac_agrees(&case, &tag), "{case}");
        if case["result"] == "valid" {
            tag[0] ^= 1;
            assert!(!mac_agrees(&case, &tag), "the comparison must see a wrong tag: {case}");
        }
    }
}

#[test]
fn hkdf_sha512() {
    for (_, case) in cases(include_str!("../vectors/wycheproof-hkdf_sha512_test.json")) {
        let mut okm = bytes(&case, "okm");
        assert!(okm_agrees(&case, &okm), "{case}");
        if let Some(last) = okm.last_mut() {
            *last ^= 1;
            assert!(!okm_agrees(&case, &okm), "the comparison must see a wrong output: {case}");
        }
    }
}
