//! Passkeys of a software authenticator, made and used by a client of WebAuthn, as ways in to a keyring.
//!
//! The authenticator and the client are 1Password's `passkey`; the options go to it as a browser's page has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use passkey::authenticator::extensions::HmacSecretConfig;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use passkey::types::webauthn::{
    AuthenticationExtensionsPrfOutputs, CredentialCreationOptions, CredentialRequestOptions,
};
use serde_json::json;
use strongroom::client::{Keyring, KeyringProblem, Passkey, RecoveryKey};
use strongroom::secret::Secret;
use url::Url;

/// Somebody who says yes to everything, with a fingerprint.
struct Person;

#[async_trait::async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = passkey::types::Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Self::PasskeyItem>,
        _: bool,
        _: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: true })
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }
}

/// Whether an authenticator has a PRF, and gives its output when a credential is made.
#[derive(Clone, Copy)]
enum Prf {
    None,
    AtUse,
    AtMaking,
}

/// A device with one passkey on it, as the app's page speaks to it.
struct Device(
    Client<Option<passkey::types::Passkey>, Person, RustCryptoBackend, public_suffix::PublicSuffixList, ()>,
    tokio::runtime::Runtime,
);

impl Device {
    fn new(prf: Prf) -> Self {
        let authenticator = Authenticator::new(Aaguid::new_empty(), None, Person, RustCryptoBackend);
        let authenticator = match prf {
            Prf::None => authenticator,
            Prf::AtUse => authenticator.hmac_secret(HmacSecretConfig::new_with_uv_only()),
            Prf::AtMaking => {
                authenticator.hmac_secret(HmacSecretConfig::new_with_uv_only().enable_on_make_credential())
            }
        };
        Device(Client::new(authenticator), tokio::runtime::Builder::new_current_thread().build().unwrap())
    }

    fn make(&mut self, prf_input: &[u8]) -> Passkey {
        let options = json!({ "publicKey": {
            "rp": { "name": "Example", "id": "example.org" },
            "user": { "id": BASE64.encode([1; 16]), "name": "ada", "displayName": "Ada" },
            "challenge": BASE64.encode([2; 32]),
            "pubKeyCredParams": [{ "type": "public-key", "alg": -7 }],
            "authenticatorSelection": { "residentKey": "required", "userVerification": "required" },
            "extensions": { "prf": { "eval": { "first": BASE64.encode(prf_input) } } },
        } });
        let options: CredentialCreationOptions = serde_json::from_value(options).unwrap();
        let origin = Url::parse("https://app.example.org").unwrap();
        let made = self.1.block_on(self.0.register(&origin, options, DefaultClientData)).unwrap();
        passkey_of(&made.raw_id, made.client_extension_results.prf)
    }

    fn use_it(&mut self, prf_input: &[u8], allowed: &[u8]) -> Passkey {
        let options = json!({ "publicKey": {
            "challenge": BASE64.encode([3; 32]),
            "rpId": "example.org",
            "allowCredentials": [{ "type": "public-key", "id": BASE64.encode(allowed) }],
            "userVerification": "required",
            "extensions": { "prf": { "eval": { "first": BASE64.encode(prf_input) } } },
        } });
        let options: CredentialRequestOptions = serde_json::from_value(options).unwrap();
        let origin = Url::parse("https://app.example.org").unwrap();
        let used = self.1.block_on(self.0.authenticate(&origin, options, DefaultClientData)).unwrap();
        passkey_of(&used.raw_id, used.client_extension_results.prf)
    }
}

/// What a page reads out of a credential.
fn passkey_of(raw_id: &[u8], prf: Option<AuthenticationExtensionsPrfOutputs>) -> Passkey {
    let (enabled, results) = prf.map_or((None, None), |prf| (prf.enabled, prf.results));
    let output = results.map(|results| Secret::new(results.first.as_slice().try_into().unwrap()));
    Passkey { credential_id: raw_id.to_vec(), prf_enabled: enabled, prf_output: output }
}

fn with_paper() -> (Secret<[u8; 32]>, RecoveryKey, Keyring) {
    let (backup_key, paper) = (Secret::random().unwrap(), RecoveryKey::generate().unwrap());
    let mut keyring = Keyring::new(&backup_key).unwrap();
    keyring.set_recovery_key(&backup_key, &paper).unwrap();
    (backup_key, paper, keyring)
}

#[test]
fn a_passkey_opens_at_another_time_what_it_was_added_to_at_its_making() {
    let (backup_key, _, mut keyring) = with_paper();
    let mut phone = Device::new(Prf::AtMaking);
    let made = phone.make(&keyring.prf_input());
    assert_eq!(made.prf_enabled, Some(true));
    keyring.add_passkey(&backup_key, "phone", &made).unwrap();

    let file = keyring.write().unwrap();
    let keyring = Keyring::read(&file).unwrap();
    let held = &keyring.passkeys()[0];
    assert_eq!((held.label.as_str(), &held.credential_id), ("phone", &made.credential_id));
    let used = phone.use_it(&keyring.prf_input(), &held.credential_id);
    assert_eq!(keyring.unlock(&used).unwrap().expose(), backup_key.expose());
    // Asked for something else, it gives something else.
    let other = phone.use_it(&[9; 32], &held.credential_id);
    assert_eq!(keyring.unlock(&other).err(), Some(KeyringProblem::DoesNotOpen("passkey")));
}

#[test]
fn one_that_gives_nothing_at_its_making_is_added_when_it_is_used() {
    let (backup_key, _, mut keyring) = with_paper();
    let mut key = Device::new(Prf::AtUse);
    let made = key.make(&keyring.prf_input());
    assert_eq!(keyring.add_passkey(&backup_key, "key", &made), Err(KeyringProblem::PrfNotAsked));
    assert!(keyring.passkeys().is_empty());
    let used = key.use_it(&keyring.prf_input(), &made.credential_id);
    keyring.add_passkey(&backup_key, "key", &used).unwrap();
    let again = key.use_it(&keyring.prf_input(), &made.credential_id);
    assert_eq!(keyring.unlock(&again).unwrap().expose(), backup_key.expose());
}

#[test]
fn without_prf_it_is_refused_with_the_reason() {
    let (backup_key, _, mut keyring) = with_paper();
    let mut old = Device::new(Prf::None);
    let made = old.make(&keyring.prf_input());
    let refused = keyring.add_passkey(&backup_key, "old", &made).unwrap_err();
    assert_eq!(refused, KeyringProblem::NoPrf);
    assert!(refused.to_string().contains("has no PRF"), "{refused}");
    let used = old.use_it(&keyring.prf_input(), &made.credential_id);
    assert_eq!(keyring.add_passkey(&backup_key, "old", &used), Err(KeyringProblem::NoPrf));
    assert!(keyring.passkeys().is_empty());
}

#[test]
fn passkeys_of_two_devices_are_revoked_one_by_one_and_never_the_only_way() {
    let (backup_key, paper, mut keyring) = with_paper();
    let mut devices = [Device::new(Prf::AtMaking), Device::new(Prf::AtMaking)];
    let made = devices.each_mut().map(|device| device.make(&keyring.prf_input()));
    for (label, passkey) in ["phone", "laptop"].iter().zip(&made) {
        keyring.add_passkey(&backup_key, label, passkey).unwrap();
    }
    assert_eq!(keyring.add_passkey(&backup_key, "again", &made[0]), Err(KeyringProblem::PasskeyTwice));
    assert_eq!(keyring.remove_recovery_key(&backup_key), Err(KeyringProblem::LastWay));
    keyring.revoke_passkey(&backup_key, &made[0].credential_id).unwrap();
    assert_eq!(keyring.unlock(&made[0]).err(), Some(KeyringProblem::NoSuchWay("such passkey")));
    assert!(keyring.unlock(&made[1]).is_ok() && keyring.unlock(&paper).is_ok());

    let mut empty = Keyring::new(&backup_key).unwrap();
    assert_eq!(empty.add_passkey(&backup_key, "only", &made[0]), Err(KeyringProblem::LastWay));
    assert_eq!(empty.write(), Err(KeyringProblem::LastWay));
}
