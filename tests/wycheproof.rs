//! HMAC-SHA-512 (RFC 2104) and HKDF-SHA-512 (RFC 5869), which every key hangs from, against Wycheproof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use strongroom::engine::Backend;
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

/// All cases in one batch on each backend, keys of every length and messages of every number of blocks together.
#[test]
fn hmac_sha512_in_batches() {
    let cases = cases(include_str!("../vectors/wycheproof-hmac_sha512_test.json"));
    let keys: Vec<_> = cases.iter().map(|(_, case)| HmacKey::new(&bytes(case, "key"))).collect();
    let messages: Vec<_> = cases.iter().map(|(_, case)| bytes(case, "msg")).collect();
    for backend in Backend::all() {
        println!("backend {}", backend.name());
        let items: Vec<_> = keys.iter().zip(&messages).map(|(key, message)| (key, [&message[..]])).collect();
        let macs = backend.macs(&items);
        assert_eq!(macs.expose().len(), cases.len());
        for (mac, (_, case)) in macs.expose().iter().zip(&cases) {
            let tag = bytes(case, "tag");
            assert_eq!(mac[..tag.len()] == tag, case["result"] == "valid", "{case}");
        }
    }
}

/// HKDF as the vault does it: extract and make keys ready for all cases at once, then one block of every output at a
/// time.
#[test]
fn hkdf_sha512_in_batches() {
    let mut cases = cases(include_str!("../vectors/wycheproof-hkdf_sha512_test.json"));
    cases.retain(|(_, case)| case["result"] == "valid");
    let field = |name| cases.iter().map(|(_, case)| bytes(case, name)).collect::<Vec<_>>();
    let [salts, materials, infos, okms] = ["salt", "ikm", "info", "okm"].map(field);
    let salts: Vec<_> = salts.iter().map(|salt| HmacKey::new(salt)).collect();
    for backend in Backend::all() {
        println!("backend {}", backend.name());
        let items: Vec<_> = salts.iter().zip(&materials).map(|(salt, material)| (salt, [&material[..]])).collect();
        let keys = backend.mac_keys(backend.macs(&items).expose());
        let mut outputs = vec![Vec::new(); cases.len()];
        for counter in 1..=255 {
            let unfinished = |index: &usize| outputs[*index].len() < okms[*index].len();
            let unfinished: Vec<usize> = (0..cases.len()).filter(unfinished).collect();
            let parts = |&index: &usize| {
                let output: &[u8] = &outputs[index];
                let previous = &output[output.len().saturating_sub(DIGEST_LEN)..];
                (&keys[index], [previous, &infos[index], std::slice::from_ref(&counter)])
            };
            let blocks = backend.macs(&unfinished.iter().map(parts).collect::<Vec<_>>());
            for (block, index) in blocks.expose().iter().zip(unfinished) {
                outputs[index].extend_from_slice(block);
            }
        }
        for (output, okm) in outputs.iter().zip(&okms) {
            assert_eq!(&output[..okm.len()], okm);
        }
    }
}
