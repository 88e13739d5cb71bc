//! Passkeys in a real browser: Chromium without a screen, with a virtual authenticator, before the page of
//! `examples/passkeys`.
//!
//! ```text
//! python3 -m venv target/browser && target/browser/bin/pip install -r tests/browser/requirements.txt
//! STRONGROOM_PYTHON=target/browser/bin/python cargo test --release --test browser
//! ```
//!
//! `STRONGROOM_BROWSER` names another browser than `chromium`. The control: an authenticator without PRF is refused with
//! the reason, by the same page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../examples/passkeys/page.rs"]
mod page;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use strongroom::client::{Keyring, RecoveryKey};
use strongroom::secret::Secret;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The browser, by its driver.
struct Browser {
    driver: Child,
    there: ChildStdin,
    back: BufReader<ChildStdout>,
}

impl Browser {
    fn start() -> Self {
        let named = |variable: &str, otherwise: &str| std::env::var(variable).unwrap_or(otherwise.to_owned());
        let mut driver = Command::new(named("STRONGROOM_PYTHON", "python3"))
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser/drive.py"))
            .arg(named("STRONGROOM_BROWSER", "chromium"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python");
        let (there, back) = (driver.stdin.take().unwrap(), BufReader::new(driver.stdout.take().unwrap()));
        Browser { driver, there, back }
    }

    fn told(&mut self, line: &Value) -> Value {
        writeln!(self.there, "{line}").unwrap();
        let mut answer = String::new();
        self.back.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("the driver ended at {line}"))
    }

    fn press(&mut self, what: &str) -> String {
        let said = self.told(&json!({ "do": "press", "what": what }))["said"].as_str().unwrap().to_owned();
        println!("{what:<10} {said}");
        said
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends when nothing more is to be read.
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, keyring_file) = (folder.path().join("backup.key"), folder.path().join("backup.keyring"));
    let key = Secret::<[u8; 32]>::random().unwrap();
    let mut keyring = Keyring::new(&key).unwrap();
    keyring.set_recovery_key(&key, &RecoveryKey::generate().unwrap()).unwrap();
    fs::write(&keyring_file, keyring.write().unwrap()).unwrap();
    fs::write(&key_file, hex::encode(key.expose())).unwrap();
    let held = || Keyring::read(&fs::read(&keyring_file).unwrap()).unwrap().passkeys().len();

    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = page::Address::new(&listener).unwrap();
    let url = address.to_string();
    let files = page::Files { key: key_file.clone(), keyring: keyring_file.clone() };
    let router = page::router(files, address);
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });

    let mut browser = Browser::start();
    let shown = browser.told(&json!({ "do": "show", "url": url }));
    println!("{}", shown["version"].as_str().unwrap());
    assert_eq!(shown["said"], "ready");

    // The control first: no PRF, no passkey.
    browser.told(&json!({ "do": "authenticator", "prf": false }));
    let refused = browser.press("#add");
    assert!(refused.starts_with("refused:") && refused.contains("has no PRF"), "{refused}");
    assert_eq!(held(), 0);

    browser.told(&json!({ "do": "authenticator", "prf": true }));
    let added = browser.press("#add");
    assert!(added.starts_with("added:"), "{added}");
    assert_eq!(held(), 1);

    // The device's copy of the key is gone; the passkey gets it back.
    fs::remove_file(&key_file).unwrap();
    let opened = browser.press("#open");
    assert!(opened.starts_with("opened:"), "{opened}");
    assert_eq!(fs::read_to_string(&key_file).unwrap().trim(), hex::encode(key.expose()));

    let revoked = browser.press(".revoke");
    assert_eq!((revoked.as_str(), held()), ("revoked", 0));
    let nothing = browser.press("#open");
    assert!(!nothing.starts_with("opened:"), "{nothing}");
    println!("\na passkey was added, opened the backup, and was revoked; one without PRF was refused");
}
