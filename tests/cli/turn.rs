//! A signer's key turns: what a log and its monitor, and a member that joins, make of it. And what is kept of a fork, and
//! what a witness does that is called twice.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use strongroom::ledger::{Policy, Signers};
use strongroom::secret::Secret;
use strongroom::transparency::{
    Bundle, FleetKeys, Log, LogPolicy, LoggedBundle, Member, Note, Order, Pins, Published, SigningKey, Statement, Trust,
};
use strongroom::vault::{Config, Vault};

use super::text;

const SERVICE: &str = "example.org/backup";
const ARTIFACT: &[u8] = b"{}";
const NOW_S: u64 = 1_800_000_000;
const MISSING: &str = "the signature of the operator is missing";

fn key(name: &str) -> SigningKey {
    SigningKey::new(name, &Secret::random().unwrap()).unwrap()
}

/// Two signers, the operator's next key, and a folder with a log's key and the pins; no witness is asked for.
struct World {
    folder: tempfile::TempDir,
    auditor: SigningKey,
    operator: SigningKey,
    next_operator: SigningKey,
    pins: Pins,
}

impl World {
    fn new() -> Self {
        let (auditor, operator, next_operator) = (key("auditor"), key("operator"), key("operator"));
        let log = key("log");
        let pins = Pins {
            namespace: SERVICE.to_owned(),
            epoch_min: 1,
            auditor: auditor.verifying_key(),
            operator: operator.verifying_key(),
            auditor_evidence: key("evidence.auditor").verifying_key(),
            operator_evidence: key("evidence.operator").verifying_key(),
            log: LogPolicy::new(log.verifying_key(), Vec::new(), 0).unwrap(),
            measurements: Vec::new(),
            compiled_in: false,
        };
        let world = World { folder: tempfile::tempdir().unwrap(), auditor, operator, next_operator, pins };
        world.write("pins", world.pins.write().as_bytes());
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(world.path("log.key")).unwrap();
        file.write_all(log.write().expose()).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn log_key(&self) -> SigningKey {
        SigningKey::read(text(&self.read("log.key"))).unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_strongroom")).args(words).current_dir(&self.folder).output().unwrap()
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    fn refused(&self, words: &[&str], why: &str) {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(why), "{words:?}: {}", text(&output.stderr));
    }

    fn bundle(&self, fleet: [u8; 32], epoch: u32, previous: Option<&Note>) -> Bundle {
        Bundle {
            namespace: SERVICE.to_owned(),
            fleet,
            epoch,
            not_before_s: NOW_S,
            not_after_s: NOW_S + 1,
            previous: previous.map_or([0; 32], Note::hash),
            artifact: FleetKeys::hash(ARTIFACT),
            evidence: [0; 32],
            next_auditor: None,
            next_operator: None,
        }
    }

    /// Three bundles, in files too: the second names the operator's next key, which signs the third.
    fn turning(&self, fleet: [u8; 32]) -> [Note; 3] {
        let first = self.bundle(fleet, 1, None).signed(&self.auditor, &self.operator).unwrap();
        let next_operator = Some(self.next_operator.verifying_key());
        let second = Bundle { next_operator, ..self.bundle(fleet, 2, Some(&first)) };
        let mut second = second.signed(&self.auditor, &self.operator).unwrap();
        second.sign(&self.next_operator);
        let third = self.bundle(fleet, 3, Some(&second)).signed(&self.auditor, &self.next_operator).unwrap();
        let notes = [first, second, third];
        for (epoch, note) in (1..).zip(&notes) {
            self.write(&format!("{epoch}.bundle"), &note.write());
        }
        notes
    }
}

#[test]
fn a_log_and_its_monitor_go_on_after_a_turn() {
    let world = World::new();
    let notes = world.turning([7; 32]);
    world.done(&["log", "create", "--folder", "log", "--key", "log.key"]);
    let append = |name| ["log", "append", "--folder", "log", "--key", "log.key", "--pins", "pins", name];
    let proof = |name| ["log", "proof", "--folder", "log", "--pins", "pins", "--bundle", name, "proof"];
    for (index, name) in ["1.bundle", "2.bundle", "3.bundle"].into_iter().enumerate() {
        world.refused(&proof(name), "this bundle is not in the log");
        assert!(world.done(&append(name)).contains(&format!("in the log as entry {index};")), "each alone");
    }
    for (index, name) in ["1.bundle", "2.bundle", "3.bundle"].into_iter().enumerate() {
        assert!(world.done(&append(name)).contains(&format!("in the log as entry {index};")), "where it was");
        assert!(world.done(&proof(name)).contains(&format!("is entry {index} of the log")));
    }

    // The key that was replaced is taken no more; what the log's owner takes of it all the same, a monitor sees.
    let old = world.bundle([7; 32], 4, notes.last()).signed(&world.auditor, &world.operator).unwrap();
    world.write("old.bundle", &old.write());
    world.refused(&append("old.bundle"), MISSING);
    world.refused(&proof("old.bundle"), MISSING);
    let mut log = Log::open(world.path("log"), world.log_key()).unwrap();
    log.append(&[old.entry(&world.auditor.verifying_key(), &world.operator.verifying_key())]).unwrap();
    drop(log);
    let monitor = |memory: &str, more: &[&str]| {
        let words = ["log", "monitor", "--folder", "log", "--pins", "pins", "--memory", memory];
        let output = world.run(&[&words[..], more].concat());
        assert_eq!(output.status.code(), Some(3), "there is news: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let told: Value = serde_json::from_str(&monitor("one.memory", &["--json"])).unwrap();
    let follows: Vec<_> = told["new"].as_array().unwrap().iter().map(|it| it["follows"].as_bool().unwrap()).collect();
    assert_eq!(follows, [true, true, true, false], "{told}");
    assert!(told["new"][2]["why"].is_null(), "{told}");
    assert!(told["new"][3]["why"].as_str().unwrap().contains(MISSING), "{told}");
    let told = monitor("another.memory", &[]);
    assert_eq!(told.matches("REFUSED").count(), 1, "{told}");
    assert!(told.lines().last().unwrap().contains(&format!("; REFUSED: {MISSING}")), "{told}");
}

#[test]
fn pins_with_the_next_key_verify_the_bundle_that_turns_to_it() {
    let world = World::new();
    world.turning([7; 32]);
    world.done(&["log", "create", "--folder", "log", "--key", "log.key"]);
    let append =
        |pins: &'static str, name| ["log", "append", "--folder", "log", "--key", "log.key", "--pins", pins, name];
    let newer = Pins { operator: world.next_operator.verifying_key(), ..world.pins.clone() };
    world.write("newer", newer.write().as_bytes());
    world.done(&append("pins", "1.bundle"));
    // The log itself goes by the key before, and says so.
    world.refused(&append("newer", "2.bundle"), "take pins that name that one");
    world.done(&append("pins", "2.bundle"));
    fs::create_dir(world.path("published")).unwrap();
    for name in ["1", "2"] {
        let bundle = format!("{name}.bundle");
        let proof = format!("published/{name}.tlog-proof");
        world.done(&["log", "proof", "--folder", "log", "--pins", "pins", "--bundle", &bundle, &proof]);
        world.write(&format!("published/{bundle}"), &world.read(&bundle));
    }
    world.write("published/fleet-keys.json", ARTIFACT);
    let published = Published::read(&world.path("published")).unwrap();
    for pins in [world.pins.clone(), newer] {
        let mut trust = Trust::new(pins).unwrap();
        assert_eq!(published.accept(&mut trust, NOW_S).unwrap().bundle().epoch, 2);
    }
}

#[test]
fn two_commands_of_one_witness_do_not_cosign_two_histories() {
    let world = World::new();
    world.done(&["signer", "new", "--name", "witness", "--witness", "witness.key"]);
    let sign = |bundle: Bundle| bundle.signed(&world.auditor, &world.operator).unwrap();
    let first = world.bundle([7; 32], 1, None);
    let other = Bundle { evidence: [1; 32], ..first.clone() };
    for (log, bundle) in [("log", first), ("other", other)] {
        let name = format!("{log}.bundle");
        world.write(&name, &sign(bundle).write());
        world.done(&["log", "create", "--folder", log, "--key", "log.key"]);
        world.done(&["log", "append", "--folder", log, "--key", "log.key", "--pins", "pins", &name]);
    }
    let cosign = |log: &'static str, memory: &'static str, out: &'static str| {
        ["log", "witness", "--folder", log, "--pins", "pins", "--key", "witness.key", "--memory", memory, out]
    };
    let monitor = ["log", "monitor", "--folder", "log", "--pins", "pins", "--memory", "memory"];
    // While another is at work nothing is signed, and nothing is read that the other may be about to write.
    let held = File::create(world.path("memory.lock")).unwrap();
    held.lock().unwrap();
    for words in [&cosign("log", "memory", "cosigned")[..], &monitor] {
        world.refused(words, "another command is at work");
    }
    assert!(!world.path("memory").exists() && !world.path("cosigned").exists());
    drop(held);
    world.done(&cosign("log", "memory", "cosigned"));
    world.refused(&cosign("other", "memory", "cosigned"), "the log contradicts itself");
    // Both at once: one alone has its way.
    for round in 0..20 {
        if round > 0 {
            fs::remove_file(world.path("both")).unwrap();
        }
        let begun = ["log", "other"].map(|log| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
            command.args(cosign(log, "both", "cosigned-both")).current_dir(&world.folder);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let done = begun.map(|mut child| child.wait().unwrap().success());
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "round {round}");
    }
}

#[test]
fn both_bundles_of_a_fork_are_kept_beside_what_is_there() {
    let world = World::new();
    let sign = |bundle: Bundle| bundle.signed(&world.auditor, &world.operator).unwrap();
    let note = sign(world.bundle([7; 32], 1, None));
    let other = sign(Bundle { evidence: [1; 32], ..world.bundle([7; 32], 1, None) });
    let mut log = Log::create(world.path("log"), world.log_key()).unwrap();
    log.append(&[note.entry(&world.pins.auditor, &world.pins.operator)]).unwrap();
    let logged = LoggedBundle { note: note.clone(), proof: log.prove(0).unwrap() };
    let mut trust = Trust::new(world.pins.clone()).unwrap();
    trust.accept(std::slice::from_ref(&logged), ARTIFACT, NOW_S).unwrap();
    world.write("memory", &trust.memory().unwrap());
    fs::create_dir(world.path("published")).unwrap();
    world.write("published/1.bundle", &other.write());
    world.write("published/1.tlog-proof", &logged.proof.write());
    world.write("published/fleet-keys.json", ARTIFACT);
    world.write("published/evidence.json", b"{}");

    let trusted = ["--pins", "pins", "--memory", "memory"];
    let person = [&["status", "--person", "ada", "--published", "published"][..], &trusted].concat();
    let verify = [&["verify", "published"][..], &trusted].concat();
    let kept = |words: &[&str], status: i32, second: &str| {
        let output = world.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(&format!("kept in fork-1-first.bundle and {second};")), "{said}");
        assert!(said.lines().last().unwrap().contains("there are two bundles of epoch 1"), "{said}");
        assert_eq!((world.read("fork-1-first.bundle"), world.read(second)), (note.write(), other.write()));
    };
    for _ in 0..2 {
        kept(&person, 7, "fork-1-second.bundle");
        kept(&verify, 1, "fork-1-second.bundle");
    }
    assert!(!world.path("fork-1-first-2.bundle").exists(), "what is there already is not kept twice");
    // Another file of that name stays, and does not pass for the proof.
    world.write("fork-1-second.bundle", b"of somebody else");
    kept(&verify, 1, "fork-1-second-2.bundle");
    kept(&person, 7, "fork-1-second-2.bundle");
    assert_eq!(world.read("fork-1-second.bundle"), b"of somebody else");
    world.done(&["bundle", "fork", "--pins", "pins", "fork-1-first.bundle", "fork-1-second-2.bundle"]);
    // Where nothing can be kept, the refusal is what it was.
    for name in ["fork-1-first.bundle", "fork-1-second.bundle"] {
        fs::remove_file(world.path(name)).unwrap();
        fs::create_dir(world.path(name)).unwrap();
    }
    let output = world.run(&person);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("could not be kept: fork-1-first.bundle"), "{}", text(&output.stderr));
}

#[test]
fn a_member_joins_after_a_signers_key_has_turned() {
    let world = World::new();
    let bytes = |key: &SigningKey| *key.verifying_key().as_bytes();
    let signers = Some(Signers { auditor: bytes(&world.auditor), operator: bytes(&world.operator) });
    let policy = Policy { signers, ..Policy::development() };
    let vault = Vault::create(Config::development(world.path("ceremony")).unwrap(), policy).unwrap();
    world.write("fleet-keys.json", &vault.fleet_keys().unwrap().write().unwrap());
    let notes = world.turning(*vault.fleet());

    // One founds the fleet, the operator's key turns, and another is named by the new one.
    let member = |number: u64| {
        let (folder, number) = (format!("site-{number}"), number.to_string());
        let name = format!("127.0.0.1:700{number}");
        let told = world.done(&["fleet", "member", "--folder", &folder, "--number", &number, "--name", &name]);
        let words: Vec<_> = told.trim_end().split(',').collect();
        let hash = |at: usize| hex::decode(words[at]).unwrap().try_into().unwrap();
        Member {
            number: number.parse().unwrap(),
            name,
            link_key: hash(2),
            channel_key: hash(3),
            code: words[4].to_owned(),
        }
    };
    let members = [member(1), member(2)];
    let named = |file: &str, predecessor, members: &[Member], operator: &SigningKey| {
        let order = Order::Members { predecessor, members: members.to_vec() };
        let mut note = Statement { fleet: *vault.fleet(), order }.note().unwrap();
        note.sign(&world.auditor);
        note.sign(operator);
        world.write(file, &note.write());
        vault.obey(&note).unwrap();
        note.hash()
    };
    let first = named("members-1", [0; 32], &members[..1], &world.operator);
    vault.follow_signers(&notes[1]).unwrap();
    named("members-2", first, &members, &world.next_operator);
    for number in [1, 2] {
        let channel_key = world.read(&format!("site-{number}/channel.pub")).try_into().unwrap();
        world.write(&format!("keys-{number}"), &vault.hand_over(number, &channel_key).unwrap());
    }

    let take = |number: u64, bundles: &[&str]| {
        let (folder, keys, statement) =
            (format!("site-{number}"), format!("keys-{number}"), format!("members-{number}"));
        let mut words = ["fleet", "take", "--artifact", "fleet-keys.json"].map(str::to_owned).to_vec();
        for (option, value) in [("--folder", folder), ("--keys", keys), ("--statement", statement)] {
            words.extend([option.to_owned(), value]);
        }
        words.extend(bundles.iter().flat_map(|name| ["--bundle".to_owned(), (*name).to_owned()]));
        words
    };
    let refused = |words: Vec<String>, why: &str| {
        world.refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), why);
    };
    let done = |words: Vec<String>| world.done(&words.iter().map(String::as_str).collect::<Vec<_>>());
    refused(take(2, &[]), MISSING);
    refused(take(2, &["1.bundle"]), "names no other signers");
    refused(take(2, &["2.bundle", "2.bundle"]), "names no other signers");
    refused(take(2, &["3.bundle"]), MISSING);
    // An older one that the present key has signed too is not followed again.
    let mut again = notes[0].clone();
    again.sign(&world.next_operator);
    world.write("again.bundle", &again.write());
    refused(take(2, &["2.bundle", "again.bundle"]), "epoch 1 is rolled back");
    refused(take(1, &["2.bundle"]), "bundles are for a member that joins");
    assert!(done(take(2, &["2.bundle"])).contains("joins the fleet"));
    assert!(done(take(1, &[])).contains("founds the fleet"));
}
