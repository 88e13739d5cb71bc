//! Tokens of SoftHSM2 in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use strongroom::secret::Secret;
use strongroom::wrap::TokenConfig;
use tempfile::TempDir;

pub(crate) const LABEL: &str = "vault";
pub(crate) const PIN: &str = "a pin of the user";

/// Where SoftHSM2 keeps its tokens, for this process and its children.
pub(crate) struct Hsm {
    pub(crate) folder: PathBuf,
    /// Gone with the process that made it.
    _made: Option<TempDir>,
}

impl Hsm {
    /// A folder with one token.
    pub(crate) fn new() -> Self {
        let made = tempfile::tempdir().unwrap();
        let hsm = Hsm { folder: made.path().to_owned(), _made: Some(made) };
        fs::create_dir(hsm.tokens()).unwrap();
        let lines = format!("directories.tokendir = {}\nobjectstore.backend = file\n", hsm.tokens().display());
        fs::write(hsm.folder.join("softhsm2.conf"), lines).unwrap();
        hsm.add_token();
        hsm
    }

    /// That of the process that started this one.
    pub(crate) fn here() -> Self {
        let conf = std::env::var_os("SOFTHSM2_CONF").expect("started by this test");
        Hsm { folder: Path::new(&conf).parent().unwrap().to_owned(), _made: None }
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = super::this_program();
        command.args(arguments).env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"));
        command
    }

    /// One more token, of the same label as all.
    pub(crate) fn add_token(&self) {
        let done = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--so-pin", "a pin of the officer", "--pin", PIN])
            .env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"))
            .output()
            .expect("softhsm2-util: install the package softhsm2");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Takes the tokens away, and puts other ones in their place or none.
    pub(crate) fn pull_out(&self, name: &str) {
        fs::rename(self.tokens(), self.folder.join(name)).unwrap();
        fs::create_dir(self.tokens()).unwrap();
    }

    /// Puts tokens back that were taken away.
    pub(crate) fn put_back(&self, name: &str) {
        fs::remove_dir_all(self.tokens()).unwrap();
        fs::rename(self.folder.join(name), self.tokens()).unwrap();
    }

    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig {
            module: module(),
            token: LABEL.to_owned(),
            serial: None,
            pin: Secret::new(PIN.as_bytes().to_vec()),
            prefix: "strongroom".to_owned(),
            restart: true,
        }
    }

    /// A session past the crate, to do to the token what an operator would.
    pub(crate) fn session(&self) -> (Pkcs11, Session) {
        self.session_with(PIN)
    }

    pub(crate) fn session_with(&self, pin: &str) -> (Pkcs11, Session) {
        let library = Pkcs11::new(module()).unwrap();
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).ok();
        let slots = library.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|slot| library.get_token_info(*slot).unwrap().label() == LABEL).unwrap();
        let session = library.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::from(pin))).ok();
        (library, session)
    }
}

/// Where Debian has the library.
pub(crate) fn module() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    places.iter().map(PathBuf::from).find(|path| path.exists()).expect("install the package softhsm2")
}
