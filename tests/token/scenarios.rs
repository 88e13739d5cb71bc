//! What can happen to a token, and what the vault over it does then.

use std::path::Path;
use std::sync::Arc;

use cryptoki::object::{Attribute, KeyType, ObjectClass};
use hmac::{KeyInit, Mac};
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Recovery, Terms};
use strongroom::error::Fault;
use strongroom::ledger::{Policy, RootKind};
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, Config, Pace, Turn, Vault};
use strongroom::wrap::{FileRoot, RootSource, TokenConfig, TokenRoot};

use crate::Scenario;
use crate::hsm::Hsm;

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        ("the path of a vault, root in a token", path_in_a_token),
        ("the path of a vault, root in a file", path_in_a_file),
        ("an epoch key is HMAC under the root", an_independent_answer),
        ("a root is made once and destroyed for good", made_once),
        ("vaults that share a token do not see each other", prefixes),
        ("a wrong pin is told and not tried again", wrong_pin),
        ("a token that is gone, and comes back", gone_and_back),
        ("a token that is replaced", replaced),
        ("a root that is missing", key_missing),
        ("a session that is lost between two calls", session_lost),
        ("a root that can be read out", readable_root),
        ("two roots of one label", two_roots),
        ("a library that is not there, or is another", no_library),
        ("a policy that wants a token gets one", policy_wants_a_token),
    ]
}

/// A person with the crate's own client.
pub(crate) struct Person(AccountId);

const KEY: [u8; 32] = [7; 32];

impl Person {
    pub(crate) fn new(name: &str) -> Self {
        Person(AccountId::derive("tests", name))
    }

    fn ask(&self, vault: &Vault, request: &[u8]) -> Vec<u8> {
        vault.process_bytes(&[Admitted { account: self.0, request }]).remove(0)
    }

    pub(crate) fn enrol(&self, vault: &Vault, code: &str) {
        let enrolment = Enrolment::start(&Terms::development(), self.0, Code::new(code).unwrap()).unwrap();
        let reply = self.ask(vault, enrolment.request());
        let pending = enrolment.finish(&reply, &Secret::new(KEY)).unwrap();
        pending.done(&self.ask(vault, pending.request())).unwrap();
    }

    pub(crate) fn recover(&self, vault: &Vault, code: &str) {
        let recovery = Recovery::start(&Terms::development(), self.0, Code::new(code).unwrap()).unwrap();
        let pending = recovery.finish(&self.ask(vault, recovery.request())).unwrap();
        let key = pending.open(&self.ask(vault, pending.request())).unwrap();
        assert!(bool::from(key.ct_eq(&KEY)), "another key");
    }
}

pub(crate) fn config_over(folder: &Path, root: Box<dyn RootSource>) -> Config {
    Config::development_with(folder, root).unwrap()
}

fn policy() -> Policy {
    Policy { root: RootKind::Pkcs11, ..Policy::development() }
}

pub(crate) fn create(config: Config) -> Vault {
    Vault::create(config, policy()).unwrap()
}

fn token(hsm: &Hsm) -> TokenRoot {
    TokenRoot::open(hsm.config()).unwrap()
}

fn path_in_a_token(hsm: &Hsm) {
    path(hsm, policy(), &|| Box::new(token(hsm)));
}

fn path_in_a_file(hsm: &Hsm) {
    path(hsm, Policy::development(), &|| Box::new(FileRoot::create(hsm.folder.join("roots")).unwrap()));
}

/// Enrol, recover, rotate, rewrap, restart: the same over either root.
fn path(hsm: &Hsm, policy: Policy, root: &dyn Fn() -> Box<dyn RootSource>) {
    let folder = hsm.folder.join("vault");
    let open = || Vault::open(config_over(&folder, root()), policy.clone()).unwrap();
    let [ada, bea] = ["ada", "bea"].map(Person::new);
    let vault = Vault::create(config_over(&folder, root()), policy.clone()).unwrap();
    ada.enrol(&vault, "one");
    ada.recover(&vault, "one");
    assert_eq!(vault.rotate(Turn::Epoch), Ok(2));
    bea.enrol(&vault, "two");
    drop(vault);

    let vault = open();
    ada.recover(&vault, "one");
    let done = vault.rewrap(Pace::unbounded()).run(|_| {}).unwrap();
    assert_eq!((done.epoch, done.done, done.left), (2, 1, 0));
    assert_eq!(vault.retire_epochs(), Ok(2));
    for turn in [Turn::Tickets, Turn::Digests, Turn::Server] {
        vault.rotate(turn).unwrap();
    }
    drop(vault);

    let vault = open();
    for (person, code) in [(&ada, "one"), (&bea, "two")] {
        person.recover(&vault, code);
    }
    drop(vault);
    assert_eq!(root().epochs().unwrap(), [2]);
}

fn an_independent_answer(hsm: &Hsm) {
    let (_, session) = hsm.session();
    let root = [0xa7; 64];
    session.create_object(&secret_key(b"strongroom epoch 5", &root, true)).unwrap();
    let source = token(hsm);
    assert_eq!(source.epochs().unwrap(), [5]);
    let mut hmac = hmac::Hmac::<sha2::Sha512>::new_from_slice(&root).unwrap();
    hmac.update(b"strongroom epoch v1\0\0\0\x05\x01");
    assert!(bool::from(source.derive(5).unwrap().ct_eq(&hmac.finalize().into_bytes().into())));
}

fn secret_key(label: &[u8], value: &[u8], hidden: bool) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Label(label.to_vec()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(hidden),
        Attribute::Extractable(!hidden),
        Attribute::Sign(true),
        Attribute::Value(value.to_vec()),
    ]
}

fn made_once(hsm: &Hsm) {
    let source = token(hsm);
    assert!(source.epochs().unwrap().is_empty());
    source.create(1).unwrap();
    source.create(3).unwrap();
    assert!(matches!(source.create(1), Err(Fault::Key(_))), "it is not replaced");
    assert_eq!(source.epochs().unwrap(), [1, 3]);
    let first = source.derive(1).unwrap();
    assert!(bool::from(source.derive(1).unwrap().ct_eq(first.expose())), "the same key each time");
    assert!(!bool::from(source.derive(3).unwrap().ct_eq(first.expose())), "another epoch, another key");
    source.destroy(1).unwrap();
    source.destroy(1).unwrap();
    assert!(matches!(source.derive(1), Err(Fault::Key(_))));
    source.create(1).unwrap();
    assert!(!bool::from(source.derive(1).unwrap().ct_eq(first.expose())), "a new root is another");
    let others = token(hsm);
    assert!(bool::from(others.derive(3).unwrap().ct_eq(source.derive(3).unwrap().expose())), "two at once");
}

fn prefixes(hsm: &Hsm) {
    let one = TokenRoot::open(TokenConfig { prefix: "one".to_owned(), ..hsm.config() }).unwrap();
    let other = TokenRoot::open(TokenConfig { prefix: "one epoch".to_owned(), ..hsm.config() }).unwrap();
    one.create(1).unwrap();
    other.create(2).unwrap();
    assert_eq!((one.epochs().unwrap(), other.epochs().unwrap()), (vec![1], vec![2]));
    assert!(one.derive(2).is_err() && other.derive(1).is_err());
    other.destroy(1).unwrap();
    assert!(one.derive(1).is_ok(), "another vault's root is out of reach");
}

fn wrong_pin(hsm: &Hsm) {
    let wrong = TokenConfig { pin: Secret::new(b"another".to_vec()), ..hsm.config() };
    let Err(Fault::TokenPin(said)) = TokenRoot::open(wrong) else { panic!("a wrong PIN") };
    assert!(!said.contains("another") && said.contains("vault"), "{said}");
    // A login is the whole process's; the one of a wrong PIN is tried with nobody logged in.
    let source = token(hsm);
    source.create(1).unwrap();
    assert!(source.derive(1).is_ok(), "and the token is not locked");

    // The PIN changes behind a source's back, and its session is lost.
    let (library, session) = hsm.session();
    session.set_pin(&crate::hsm::PIN.into(), &"a new pin".into()).unwrap();
    drop(session);
    library.finalize().unwrap();
    for _ in 0..20 {
        assert!(matches!(source.derive(1), Err(Fault::TokenPin(_))), "told each time");
    }
    // Tried once and not again: once the old PIN is good again, it is refused still.
    hsm.session_with("a new pin").1.set_pin(&"a new pin".into(), &crate::hsm::PIN.into()).unwrap();
    assert!(matches!(source.derive(1), Err(Fault::TokenPin(_))));
    assert!(token(hsm).derive(1).is_ok(), "a source that is opened anew tries");
}

fn gone_and_back(hsm: &Hsm) {
    let folder = hsm.folder.join("vault");
    let vault = create(config_over(&folder, Box::new(token(hsm))));
    let ada = Person::new("ada");
    ada.enrol(&vault, "one");
    hsm.pull_out("drawer");
    // The session that is there may go on without its token's folder, as long as nothing is written.
    let said = vault.rotate(Turn::Epoch).unwrap_err();
    assert!(matches!(said, Fault::TokenAbsent(_)), "{said}");
    assert!(said.to_string().contains("put it back"), "{said}");
    ada.recover(&vault, "one");
    assert_eq!(vault.rotate(Turn::Tickets), Ok(2), "what needs no root turns");
    assert!(matches!(TokenRoot::open(hsm.config()), Err(Fault::TokenAbsent(_))), "nor is it opened anew");
    hsm.put_back("drawer");
    assert_eq!(vault.rotate(Turn::Epoch), Ok(2), "and goes on by itself");
    ada.recover(&vault, "one");
}

fn replaced(hsm: &Hsm) {
    let source = token(hsm);
    source.create(1).unwrap();
    let (library, session) = hsm.session();
    let slot = session.get_session_info().unwrap().slot_id();
    let serial = library.get_token_info(slot).unwrap().serial_number().to_owned();
    drop(session);
    hsm.pull_out("drawer");
    hsm.add_token();
    library.finalize().unwrap();
    let said = source.derive(1).err().unwrap();
    assert!(matches!(said, Fault::TokenReplaced(_)), "{said}");
    assert!(said.to_string().contains(&serial), "{said}");
    let named = || TokenRoot::open(TokenConfig { serial: Some(serial.clone()), ..hsm.config() });
    assert!(matches!(named(), Err(Fault::TokenReplaced(_))), "nor by its serial number");
    hsm.put_back("drawer");
    assert!(source.derive(1).is_ok() && named().is_ok());
}

fn key_missing(hsm: &Hsm) {
    let folder = hsm.folder.join("vault");
    drop(create(config_over(&folder, Box::new(token(hsm)))));
    token(hsm).destroy(1).unwrap();
    let open = || Vault::open(config_over(&folder, Box::new(token(hsm))), policy()).err().unwrap();
    assert!(matches!(open(), Fault::Key(_)), "{}", open());
    token(hsm).create(2).unwrap();
    let said = open();
    assert!(matches!(said, Fault::Key(_)) && said.to_string().contains("epoch 1"), "{said}");
}

fn session_lost(hsm: &Hsm) {
    let source = token(hsm);
    source.create(1).unwrap();
    let key = source.derive(1).unwrap();
    for _ in 0..3 {
        // Whoever else uses the library in this process ends it for all.
        let (library, session) = hsm.session();
        drop(session);
        library.finalize().unwrap();
        assert!(bool::from(source.derive(1).unwrap().ct_eq(key.expose())), "a new session is opened");
    }
    let (_, session) = hsm.session();
    session.logout().unwrap();
    assert!(bool::from(source.derive(1).unwrap().ct_eq(key.expose())), "and a new login made");
}

fn readable_root(hsm: &Hsm) {
    let (_, session) = hsm.session();
    session.create_object(&secret_key(b"strongroom epoch 1", &[9; 64], false)).unwrap();
    let source = token(hsm);
    let said = source.derive(1).err().unwrap();
    assert!(matches!(said, Fault::TokenUnfit(_)) && said.to_string().contains("read out"), "{said}");
}

fn two_roots(hsm: &Hsm) {
    let source = token(hsm);
    source.create(1).unwrap();
    let (_, session) = hsm.session();
    session.create_object(&secret_key(b"strongroom epoch 1", &[9; 64], true)).unwrap();
    let said = source.derive(1).err().unwrap();
    assert!(matches!(said, Fault::TokenUnfit(_)) && said.to_string().contains("2 objects"), "{said}");
}

fn no_library(hsm: &Hsm) {
    let open = |module: &str| TokenRoot::open(TokenConfig { module: module.into(), ..hsm.config() }).err().unwrap();
    let said = open("/nowhere/libnothing.so");
    assert!(matches!(said, Fault::TokenAbsent(_)) && said.to_string().contains("does not load"), "{said}");
    let said = open("libc.so.6");
    assert!(matches!(said, Fault::TokenUnfit(_)), "{said}");
    let other = TokenRoot::open(TokenConfig { token: "another".to_owned(), ..hsm.config() }).err().unwrap();
    assert!(matches!(other, Fault::TokenAbsent(_)), "{other}");
}

fn policy_wants_a_token(hsm: &Hsm) {
    let folder = hsm.folder.join("vault");
    let file = FileRoot::create(hsm.folder.join("roots")).unwrap();
    let refused = Vault::create(config_over(&folder, Box::new(file)), policy()).err().unwrap();
    assert!(matches!(refused, Fault::Policy(_)), "{refused}");
    let shared: Arc<dyn RootSource> = Arc::new(token(hsm));
    drop(create(config_over(&folder, Box::new(shared))));
    assert!(Vault::open_as_made(config_over(&folder, Box::new(token(hsm)))).is_ok());
}
