//! A person who trusts two signers and nobody else: what they pinned, what the operator publishes, what the vault serves.

use std::fs;
use std::path::Path;

use strongroom::secret::Secret;
use strongroom::transparency::{
    Bundle, FleetKeys, History, Log, LogPolicy, Pins, Published, SigningKey, Trust, Witness, WitnessSigningKey,
};

use super::Server;
use super::walk::{done, run, status, words};

const SERVICE: &str = "example.org/backup";

fn key(name: &str) -> SigningKey {
    SigningKey::new(name, &Secret::random().unwrap()).unwrap()
}

/// Publishes the keys of a server's vault in a folder, signed by two and logged; gives what people pin.
fn publish(server: &Server, folder: &Path) -> Pins {
    let (auditor, operator) = (key("auditor"), key("operator"));
    let witness = WitnessSigningKey::new("witness", &Secret::random().unwrap()).unwrap();
    let mut log = Log::create(folder.join("log"), key("log")).unwrap();
    let pins = Pins {
        namespace: SERVICE.to_owned(),
        epoch_min: 1,
        auditor: auditor.verifying_key(),
        operator: operator.verifying_key(),
        auditor_evidence: key("evidence.auditor").verifying_key(),
        operator_evidence: key("evidence.operator").verifying_key(),
        log: LogPolicy::new(log.key(), vec![witness.verifying_key()], 1).unwrap(),
        measurements: Vec::new(),
        compiled_in: false,
    };
    let artifact = server.vault.fleet_keys().unwrap().write().unwrap();
    let now_s = super::front::now_s();
    let bundle = Bundle {
        namespace: SERVICE.to_owned(),
        fleet: *server.vault.fleet(),
        epoch: 1,
        not_before_s: now_s - 60,
        not_after_s: now_s + 3600,
        previous: [0; 32],
        artifact: FleetKeys::hash(&artifact),
        evidence: [0; 32],
        next_auditor: None,
        next_operator: None,
    };
    let note = bundle.signed(&auditor, &operator).unwrap();
    let entry = History::new(pins.clone()).unwrap().follow(&note).unwrap();
    let index = log.append(&[entry]).unwrap()[0];
    let mut witness = Witness::new(witness, log.key(), None).unwrap();
    let cosigned = witness.cosign(log.checkpoint(), &log.consistency(witness.seen()).unwrap(), now_s).unwrap();
    log.take_cosignature(&cosigned, &witness.key()).unwrap();
    let published = folder.join("published");
    fs::create_dir(&published).unwrap();
    fs::write(published.join("1.bundle"), note.write()).unwrap();
    fs::write(published.join("1.tlog-proof"), log.prove(index).unwrap().write()).unwrap();
    fs::write(published.join("fleet-keys.json"), artifact).unwrap();
    pins
}

#[test]
fn a_person_who_pins_two_signers_enrols_under_what_they_signed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let server = Server::start(&here.join("vault"));
    let pins = publish(&server, here);
    fs::write(here.join("pins"), pins.write()).unwrap();
    let door = ["--server", &server.address, "--person", "ada", "--pins", "pins", "--published", "published"];
    let development = [&door[..], &["--development", "--memory", "memory"]].concat();

    // The vault does not serve the bundle yet.
    let unserved = run(here, &[&["enrol"][..], &development].concat(), "a code\n");
    assert_eq!((status(&unserved), words(&unserved).contains("does not serve this bundle")), (7, true));
    let published = Published::read(&here.join("published")).unwrap();
    let verified = published.accept(&mut Trust::new(pins).unwrap(), super::front::now_s()).unwrap();
    server.vault.serve_under(&[verified]).unwrap();
    done(run(here, &[&["enrol"][..], &development].concat(), "a code\n"));
    assert!(here.join("memory").exists());
    fs::remove_file(here.join("backup.key")).unwrap();
    done(run(here, &[&["recover"][..], &development].concat(), "a code\n"));

    // Another command is at work with what is remembered.
    let remembered = fs::read(here.join("memory")).unwrap();
    let lock = fs::File::open(here.join("memory.lock")).unwrap();
    lock.lock().unwrap();
    let held = run(here, &[&["status"][..], &development].concat(), "");
    assert_eq!((status(&held), words(&held).contains("memory.lock is locked")), (1, true), "{}", words(&held));
    assert_eq!(fs::read(here.join("memory")).unwrap(), remembered);
    drop(lock);
    done(run(here, &[&["status"][..], &development].concat(), ""));

    // A fleet that was made for development is not for people who did not ask for one.
    let made_for_development = run(here, &[&["status"][..], &door].concat(), "");
    assert_eq!((status(&made_for_development), words(&made_for_development).contains("development")), (7, true));
    // Whoever takes the server's word is served no more.
    let on_its_word = ["status", "--server", &server.address, "--person", "ada", "--development"];
    done(run(here, &on_its_word, ""));
    // Another artifact than the signed one.
    let artifact = fs::read_to_string(here.join("published/fleet-keys.json")).unwrap();
    fs::write(here.join("published/fleet-keys.json"), artifact.replacen('1', "2", 1)).unwrap();
    let swapped = run(here, &[&["status"][..], &development].concat(), "");
    assert_eq!((status(&swapped), words(&swapped).contains("not trusted")), (7, true), "{}", words(&swapped));
}
