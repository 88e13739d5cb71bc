//! The keyring: what opens it, who may change it, and what is noticed when somebody else did.

use super::*;
use crate::secret::Secret;

fn paper() -> RecoveryKey {
    RecoveryKey::generate().unwrap()
}

fn passkey(byte: u8) -> Passkey {
    Passkey { credential_id: vec![byte; 20], prf_enabled: None, prf_output: Some(Secret::new([byte; 32])) }
}

const HELD: CodeHeld = CodeHeld { fleet: [3; 32], account: ACCOUNT, generation: 4 };

/// With every way in.
fn full() -> (Secret<[u8; 32]>, RecoveryKey, Keyring) {
    let (key, paper) = (backup_key(), paper());
    let mut keyring = Keyring::new(&key).unwrap();
    keyring.set_recovery_key(&key, &paper).unwrap();
    keyring.set_code(&key, HELD).unwrap();
    for byte in [1, 2] {
        keyring.add_passkey(&key, &format!("device {byte}"), &passkey(byte)).unwrap();
    }
    (key, paper, keyring)
}

#[test]
fn each_way_in_opens_and_no_other() {
    let (key, paper, keyring) = full();
    let keyring = Keyring::read(&keyring.write().unwrap()).unwrap();
    assert_eq!(keyring.code(), Some(&HELD));
    assert!(keyring.has_recovery_key());
    for unlocked in [keyring.unlock(&paper), keyring.unlock(&passkey(1)), keyring.unlock(&passkey(2))] {
        assert_eq!(unlocked.unwrap().expose(), key.expose());
    }
    assert_eq!(keyring.unlock(&self::paper()).err(), Some(KeyringProblem::DoesNotOpen("recovery key")));
    assert_eq!(keyring.unlock(&passkey(3)).err(), Some(KeyringProblem::NoSuchWay("such passkey")));
    let mut other = passkey(1);
    other.prf_output = Some(Secret::new([9; 32]));
    assert_eq!(keyring.unlock(&other).err(), Some(KeyringProblem::DoesNotOpen("passkey")));
    keyring.check(&key).unwrap();
    assert_eq!(keyring.check(&Secret::new([1; 32])), Err(KeyringProblem::OtherKey));
    // The same recovery key for another keyring is another wrap.
    let mut second = Keyring::new(&key).unwrap();
    second.set_recovery_key(&key, &paper).unwrap();
    assert_ne!(second.prf_input(), keyring.prf_input());
}

#[test]
fn every_bit_and_every_length_counts() {
    let (key, paper, keyring) = full();
    let file = keyring.write().unwrap();
    for bit in 0..file.len() * 8 {
        let mut altered = file.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(altered) = Keyring::read(&altered) else { continue };
        // What still reads opens nothing, or says that it was altered.
        let by_paper = altered.unlock(&paper).err();
        assert!(
            matches!(by_paper, Some(KeyringProblem::Altered | KeyringProblem::DoesNotOpen(_))),
            "bit {bit}: {by_paper:?}"
        );
        assert_eq!(altered.check(&key), Err(KeyringProblem::OtherKey), "bit {bit}");
    }
    for length in 0..file.len() {
        assert_eq!(Keyring::read(&file[..length]), Err(KeyringProblem::Malformed));
    }
    assert_eq!(Keyring::read(&[&file[..], &[0]].concat()), Err(KeyringProblem::Malformed));
}

#[test]
fn an_altered_keyring_still_gives_its_key_and_takes_no_changes() {
    let (key, paper, keyring) = full();
    let mut file = keyring.write().unwrap();
    let label = file.windows(8).position(|it| it == b"device 1").unwrap();
    file[label] ^= 1;
    let mut altered = Keyring::read(&file).unwrap();
    assert_eq!(altered.passkeys()[0].label, "eevice 1");
    let by_each = [
        altered.unlock_even_altered(&paper),
        altered.unlock_even_altered(&passkey(1)),
        altered.unlock_even_altered(&passkey(2)),
    ];
    for by in by_each {
        let (unlocked, was_altered) = by.unwrap();
        assert_eq!((unlocked.expose(), was_altered), (key.expose(), true));
    }
    assert_eq!(altered.unlock(&paper).err(), Some(KeyringProblem::Altered));
    let before = altered.clone();
    for refused in [
        altered.set_recovery_key(&key, &self::paper()),
        altered.set_code(&key, HELD),
        altered.add_passkey(&key, "mine", &passkey(9)),
        altered.revoke_passkey(&key, &[1; 20]),
        altered.remove_code(&key),
        altered.remove_recovery_key(&key),
    ] {
        assert_eq!(refused, Err(KeyringProblem::OtherKey));
    }
    assert_eq!(altered, before);
    // Of the one that was written it tells no such thing, and a way in that is wrong opens neither.
    assert!(keyring.unlock_even_altered(&paper).is_ok_and(|(_, was_altered)| !was_altered));
    assert_eq!(altered.unlock_even_altered(&self::paper()).err(), Some(KeyringProblem::DoesNotOpen("recovery key")));
}

#[test]
fn who_has_not_the_backup_key_changes_nothing() {
    let (_, _, mut keyring) = full();
    let (before, stranger) = (keyring.clone(), Secret::new([9; 32]));
    for refused in [
        keyring.set_recovery_key(&stranger, &paper()),
        keyring.set_code(&stranger, HELD),
        keyring.add_passkey(&stranger, "mine", &passkey(9)),
        keyring.revoke_passkey(&stranger, &[1; 20]),
        keyring.remove_code(&stranger),
        keyring.remove_recovery_key(&stranger),
    ] {
        assert_eq!(refused, Err(KeyringProblem::OtherKey));
    }
    assert_eq!(keyring, before);
}

#[test]
fn a_code_or_a_recovery_key_is_always_left() {
    let (key, _, mut keyring) = full();
    keyring.remove_recovery_key(&key).unwrap();
    assert_eq!(keyring.remove_code(&key), Err(KeyringProblem::LastWay));
    assert_eq!(keyring.code(), Some(&HELD), "nothing has changed");
    keyring.set_recovery_key(&key, &paper()).unwrap();
    keyring.remove_code(&key).unwrap();
    assert_eq!(keyring.remove_code(&key), Err(KeyringProblem::NoSuchWay("code")));
    assert_eq!(keyring.remove_recovery_key(&key), Err(KeyringProblem::LastWay));
    assert!(Keyring::read(&keyring.write().unwrap()).is_ok());
}

#[test]
fn a_wrap_moved_from_one_place_to_another_does_not_open() {
    let (key, _, mut keyring) = full();
    // Two devices that happen to have one output: the wrap is bound to its credential.
    let mut twin = passkey(8);
    twin.prf_output = Some(Secret::new([1; 32]));
    keyring.add_passkey(&key, "twin", &twin).unwrap();
    let file = keyring.write().unwrap();
    let (first, third) = (at(&file, &[1; 20]), at(&file, &[8; 20]));
    let mut moved = file.clone();
    moved[third..third + WRAPPED_LEN].copy_from_slice(&file[first..first + WRAPPED_LEN]);
    assert_eq!(Keyring::read(&moved).unwrap().unlock(&twin).err(), Some(KeyringProblem::DoesNotOpen("passkey")));
}

/// Where a passkey's wrap is in a file.
fn at(file: &[u8], credential_id: &[u8]) -> usize {
    file.windows(credential_id.len()).position(|it| it == credential_id).unwrap() + credential_id.len()
}

#[test]
fn limits_are_named() {
    let (key, _, mut keyring) = full();
    let long = "x".repeat(65);
    assert_eq!(keyring.add_passkey(&key, &long, &passkey(5)), Err(KeyringProblem::Limit("the passkey's label")));
    for length in [0, 1024] {
        let odd = Passkey { credential_id: vec![5; length], ..passkey(5) };
        assert_eq!(keyring.add_passkey(&key, "odd", &odd), Err(KeyringProblem::Limit("the credential id")));
    }
    for byte in 3..=64 {
        keyring.add_passkey(&key, "many", &passkey(byte)).unwrap();
    }
    assert_eq!(keyring.add_passkey(&key, "one more", &passkey(65)), Err(KeyringProblem::Limit("passkeys")));
    assert!(Keyring::read(&keyring.write().unwrap()).is_ok());
}

/// `vectors/client/make.py`: keyrings that Python wrote from the same parts.
#[test]
fn keyrings_are_those_of_another_implementation() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/client/keyring-v1.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        let array = |name: &str| <[u8; 32]>::try_from(bytes(&case[name])).unwrap();
        let file = bytes(&case["keyring"]);
        let keyring = Keyring::read(&file).unwrap();
        assert_eq!(keyring.write().unwrap(), file);
        assert_eq!(keyring.prf_input(), array("prf_input"));
        let generation = case["generation"].as_u64().unwrap() as u32;
        let held = CodeHeld { fleet: array("fleet"), account: AccountId(array("account")), generation };
        assert_eq!(keyring.code(), Some(&held));
        keyring.check(&Secret::new(array("backup_key"))).unwrap();
        let paper = RecoveryKey::read(case["recovery_key"].as_str().unwrap()).unwrap();
        assert_eq!(keyring.unlock(&paper).unwrap().expose(), &array("backup_key"));
        let passkeys = case["passkeys"].as_array().unwrap();
        assert_eq!(passkeys.len(), keyring.passkeys().len());
        for (told, held) in passkeys.iter().zip(keyring.passkeys()) {
            assert_eq!(told["label"], held.label);
            let output = Secret::new(bytes(&told["prf_output"]).try_into().unwrap());
            let credential_id = bytes(&told["credential_id"]);
            let passkey = Passkey { credential_id, prf_enabled: None, prf_output: Some(output) };
            assert_eq!(keyring.unlock(&passkey).unwrap().expose(), &array("backup_key"));
        }
    }
}
