//! Passkeys of a software authenticator, made and used by a client of WebAuthn, as ways in to a keyring.
//!
//! The authenticator and the client are 1Password's `passkey`; the options go to it as a browser's page has them. And the
//! page of `examples/passkeys`, before somebody who reaches its port and was not told its token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/passkeys/page.rs"]
mod page;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

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
use tempfile::TempDir;
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

/// The page of `examples/passkeys` over a folder with a backup key and its keyring.
struct Page {
    folder: TempDir,
    backup_key: Secret<[u8; 32]>,
    host: String,
    token: String,
    _runtime: tokio::runtime::Runtime,
}

impl Page {
    fn start() -> Self {
        let (backup_key, _, keyring) = with_paper();
        let folder = tempfile::tempdir().unwrap();
        let [key, keyring_file] = ["backup.key", "backup.keyring"].map(|name| folder.path().join(name));
        fs::write(&key, hex::encode(backup_key.expose())).unwrap();
        fs::write(&keyring_file, keyring.write().unwrap()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = page::Address::new(&listener).unwrap();
        let url = address.to_string();
        let router = page::router(page::Files { key, keyring: keyring_file }, address);
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (origin, token) = url.split_once("/#").unwrap();
        let host = origin.strip_prefix("http://").unwrap().to_owned();
        Page { folder, backup_key, host, token: token.to_owned(), _runtime: runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Key and keyring, where they are there.
    fn files(&self) -> [Option<Vec<u8>>; 2] {
        ["backup.key", "backup.keyring"].map(|name| fs::read(self.path(name)).ok())
    }

    fn keyring(&self) -> Keyring {
        Keyring::read(&fs::read(self.path("backup.keyring")).unwrap()).unwrap()
    }

    /// What it says to one who sends the right host and, as programs do, no origin.
    fn asked(&self, what: &str, token: Option<&str>, body: &str) -> String {
        let (host, length) = (&self.host, body.len());
        let token = token.map(|token| format!("page-token: {token}\r\n")).unwrap_or_default();
        let head = format!("{what} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{token}");
        let request = format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The same to whoever has the token.
    fn done(&self, what: &str, body: &str) -> String {
        let done = self.asked(what, Some(&self.token), body);
        assert!(done.starts_with("HTTP/1.1 200"), "{what}: {done}");
        done
    }
}

/// A passkey as the page sends it, and by its id alone.
fn chosen() -> (String, String) {
    let id = BASE64.encode([5; 16]);
    let whole = json!({ "id": id, "label": "chosen", "prf_enabled": true, "prf_first": BASE64.encode([6; 32]) });
    (whole.to_string(), json!({ "id": id }).to_string())
}

#[test]
fn who_was_not_told_the_pages_token_is_refused_and_changes_nothing() {
    let page = Page::start();
    let token = &page.token;
    assert_eq!(token.len(), 32);
    let itself = page.asked("GET /", None, "");
    assert!(
        itself.starts_with("HTTP/1.1 200") && !itself.contains(token),
        "the page itself needs no token, and has none"
    );
    let other = if token.starts_with('0') { "1" } else { "0" };
    let wrong = format!("{other}{}", &token[1..]);
    // Refused without the token, and with any other; done with it: the control.
    let try_all = |what: &str, body: &str| {
        let before = page.files();
        for said in [None, Some(""), Some("no token"), Some(&token[..30]), Some(&wrong)] {
            let refused = page.asked(what, said, body);
            assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("after #"), "{what}: {refused}");
            assert!(page.files() == before, "{what} with {said:?} has changed something");
        }
        page.done(what, body)
    };

    assert!(try_all("GET /keyring", "").contains(&BASE64.encode(page.keyring().prf_input())));
    let (whole, id) = chosen();
    try_all("POST /add", &whole);
    assert_eq!(page.keyring().passkeys().len(), 1);
    fs::remove_file(page.path("backup.key")).unwrap();
    try_all("POST /open", &whole);
    let key = fs::read_to_string(page.path("backup.key")).unwrap();
    assert_eq!(key.trim(), hex::encode(page.backup_key.expose()));
    try_all("POST /revoke", &id);
    assert!(page.keyring().passkeys().is_empty());

    // Both were written here, beside their locks; each is its owner's alone, and nothing else is left.
    let names = ["backup.key", "backup.key.lock", "backup.keyring", "backup.keyring.lock"];
    #[cfg(unix)]
    for name in names {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(page.path(name)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(page.folder.path()).unwrap().count(), names.len());
}

#[test]
fn while_a_command_is_at_work_on_the_files_the_page_changes_nothing() {
    let page = Page::start();
    let (whole, id) = chosen();
    page.done("POST /add", &whole);
    let refused = |lock: &str, what: &str, body: &str| {
        let (held, before) = (File::create(page.path(lock)).unwrap(), page.files());
        held.lock().unwrap();
        let answer = page.asked(what, Some(&page.token), body);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("is at work on these files"), "{what}: {answer}");
        assert!(page.files() == before, "{what} has changed something");
    };
    for lock in ["backup.key.lock", "backup.keyring.lock"] {
        refused(lock, "POST /add", &whole.replace(&BASE64.encode([5; 16]), &BASE64.encode([7; 16])));
        refused(lock, "POST /revoke", &id);
    }
    fs::remove_file(page.path("backup.key")).unwrap();
    refused("backup.key.lock", "POST /open", &whole);
    // Control: the locks are free, though their files are there. And who only reads the keyring does not wait for it.
    let held = File::open(page.path("backup.keyring.lock")).unwrap();
    held.lock().unwrap();
    page.done("POST /open", &whole);
    drop(held);
    page.done("POST /revoke", &id);
    assert!(page.keyring().passkeys().is_empty());
}

#[test]
fn an_altered_keyring_gives_the_page_the_key_and_a_warning_and_takes_no_changes() {
    let page = Page::start();
    let (whole, id) = chosen();
    page.done("POST /add", &whole);
    // Control: of one that is as it was written there is no warning.
    assert!(!page.done("GET /keyring", "").contains("WARNING") && !page.done("POST /open", &whole).contains("WARNING"));
    let mut altered = fs::read(page.path("backup.keyring")).unwrap();
    let label = altered.windows(6).position(|it| it == b"chosen").unwrap();
    altered[label..label + 6].copy_from_slice(b"banana");
    fs::write(page.path("backup.keyring"), &altered).unwrap();
    assert!(page.done("GET /keyring", "").contains("WARNING"), "the key is here to check it");
    fs::remove_file(page.path("backup.key")).unwrap();
    assert!(!page.done("GET /keyring", "").contains("WARNING"), "and here it is not");
    let opened = page.done("POST /open", &whole);
    assert!(opened.contains("the backup key is back") && opened.contains("WARNING"), "{opened}");
    let key = fs::read_to_string(page.path("backup.key")).unwrap();
    assert_eq!(key.trim(), hex::encode(page.backup_key.expose()));
    for (what, body) in [("POST /add", &whole), ("POST /revoke", &id)] {
        assert!(page.asked(what, Some(&page.token), body).starts_with("HTTP/1.1 400"), "{what}");
    }
    assert_eq!(fs::read(page.path("backup.keyring")).unwrap(), altered);
}

#[test]
fn the_page_writes_a_key_where_there_are_no_links_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let no_links = |_: &Path, _: &Path| Err(ErrorKind::Unsupported.into());
    page::write_new(&path, b"a key", no_links).unwrap();
    let again = page::write_new(&path, b"another", no_links).unwrap_err();
    assert_eq!((again.kind(), fs::read(&path).unwrap()), (ErrorKind::AlreadyExists, b"a key".to_vec()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}
