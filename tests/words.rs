//! No secret in words: nothing that the crate says, be it a `Debug`, an error, a line of the log or a metric, has a known
//! secret in it, nor, where an operator reads it, an account id.
//!
//! A vault on disk is made, used and misused by people whose codes and keys the test knows; the vault's own keys the test
//! opens with the root key that lies in the folder. Everything said meanwhile is kept, and searched for those secrets
//! raw, in hex, in base64 and as the list of numbers that a derived `Debug` makes of bytes. What does not come by on the
//! way is made of secrets drawn for it, and said and searched too. At last it is held that no public type that can be
//! printed is left out.
#![cfg(all(feature = "local", feature = "client"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use metrics_exporter_prometheus::PrometheusBuilder;
use strongroom::account::AccountId;
use strongroom::client::{Code, CodeProblem, Enrolment, Failure, Preset, Recovery, Terms, remaining_request};
use strongroom::engine::{Backend, sha512::HmacKey};
use strongroom::error::{Fault, Refusal};
use strongroom::journal::{Anchored, Journal, Leader, LogId, Memory};
use strongroom::ledger::{
    Account, AnchorKind, Arrival, Command, Cursor, Digests, KeyedDigest, Policy, Proof, Records, RootKind, State, Tally,
};
use strongroom::protocol::{Reply, Request};
use strongroom::secret::declassified::{ROWS, Reason};
use strongroom::secret::{Secret, random_array};
use strongroom::vault::{
    Admitted, Config, DigestKeys, Gathering, Granted, ManualClock, Pace, Queue, Swept, Turn, Vault,
};
use strongroom::wire::Invalid;
use strongroom::wrap::{EpochKeys, FileRoot, Header, RootSource, SEALED_LEN, Sealed};

const NOW_S: u64 = 1_800_000_000;
const CODE: &str = "a very well known code 4711";

/// Everything that was said, by whom.
#[derive(Default)]
struct Words {
    types: BTreeSet<String>,
    said: Vec<(String, String)>,
}

impl Words {
    /// What a value says of itself.
    fn debug<T: Debug>(&mut self, value: &T) {
        let path = std::any::type_name::<T>();
        let name = path.split('<').next().and_then(|path| path.rsplit("::").next()).unwrap_or(path);
        self.types.insert(name.to_owned());
        self.said.push((name.to_owned(), format!("{value:?} {value:#?}")));
    }

    /// And to people.
    fn display<T: Debug + std::fmt::Display>(&mut self, value: &T) {
        self.debug(value);
        self.said.push((std::any::type_name::<T>().to_owned(), value.to_string()));
    }
}

/// A secret that the test knows, in the forms in which it would be read.
struct Needles(Vec<(String, String)>);

impl Needles {
    fn new() -> Self {
        Needles(Vec::new())
    }

    fn add(&mut self, what: &str, secret: &[u8]) {
        let mut add = |needle: String| self.0.push((what.to_owned(), needle));
        if let Ok(text) = std::str::from_utf8(secret) {
            add(text.to_owned());
        }
        for window in secret.windows(9) {
            let numbers = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>().join(", ");
            add(hex::encode(&window[..8]));
            add(hex::encode_upper(&window[..8]));
            // Nine bytes are twelve letters, wherever in the secret they begin.
            add(STANDARD_NO_PAD.encode(window));
            add(URL_SAFE_NO_PAD.encode(window));
            add(numbers(&mut window[..6].iter().map(u8::to_string)));
            add(window[..6].iter().map(|byte| format!("{byte},\n")).collect::<String>());
        }
    }

    /// A secret drawn now.
    fn draw<const N: usize>(&mut self, what: &str) -> [u8; N] {
        let secret = random_array().unwrap();
        self.add(what, &secret);
        secret
    }

    /// The keys of a vault in a folder, by way of the root key in there.
    fn add_keys(&mut self, folder: &Path, epoch: u32) {
        let root = FileRoot::open(folder.join("root")).unwrap();
        self.add("root key", &fs::read(folder.join(format!("root/epoch-{epoch}.root"))).unwrap());
        self.add("epoch key", root.derive(epoch).unwrap().expose());
        let epochs = EpochKeys::load(&root, epoch).unwrap();
        let keys = epochs.open_blob("fleet keys", &fs::read(folder.join("keys")).unwrap()).unwrap();
        assert!(keys.expose().len() > 200, "all keys of the fleet");
        // Version, serial number, the fleet's id and the first numbers are no secrets.
        self.add("fleet key", &keys.expose()[43..]);
    }

    /// What is found of them.
    fn found(&self, (by, words): &(String, String)) -> Vec<String> {
        // A list over several lines is found whatever its indent.
        let flat: String = words.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
        let has = |needle: &String| words.contains(needle) || flat.contains(needle);
        self.0.iter().filter(|(_, needle)| has(needle)).map(|(what, _)| format!("{what} in what {by} says")).collect()
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config(folder: &Path, clock: &Arc<ManualClock>) -> Config {
    let mut config = Config::development(folder).unwrap();
    config.clock = clock.clone();
    config
}

fn ask(vault: &Vault, account: AccountId, request: &[u8], words: &mut Words) -> Vec<u8> {
    let replies = vault.process(&[Admitted { account, request }]);
    words.debug(&replies[0]);
    if let Ok((_, request)) = Request::decode(request) {
        words.debug(&request);
    }
    match &replies[0] {
        Ok(reply) => {
            words.debug(reply);
            if let Reply::Recovered { delivery } = reply {
                words.debug(delivery);
            }
            reply.encode()
        }
        Err(fault) => {
            words.display(fault);
            Reply::Refused(Refusal::Busy).encode()
        }
    }
}

/// A recovery, with a code that may be wrong.
fn recover(vault: &Vault, account: AccountId, code: &str, words: &mut Words) -> Result<Secret<[u8; 32]>, Failure> {
    let recovery = Recovery::start(&Terms::development(), account, Code::new(code).unwrap())?;
    let pending = recovery.finish(&ask(vault, account, recovery.request(), words))?;
    pending.open(&ask(vault, account, pending.request(), words))
}

/// The journey through the crate. What only operators read has a list of its own.
fn live(words: &mut Words) -> (Needles, Needles, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_S));
    let policy = Policy::development();
    let vault = Vault::create(config(folder.path(), &clock), policy.clone()).unwrap();
    let (mut secrets, mut ids) = (Needles::new(), Needles::new());

    secrets.add_keys(folder.path(), 1);
    secrets.add("code", CODE.as_bytes());

    for name in ["ada", "grace"] {
        let account = AccountId::derive("words", name);
        ids.add("account id", account.as_bytes());
        words.debug(&account);
        let backup_key = Secret::<[u8; 32]>::random().unwrap();
        secrets.add("backup key", backup_key.expose());
        let enrolment = Enrolment::start(&Terms::development(), account, Code::new(CODE).unwrap()).unwrap();
        let reply = ask(&vault, account, enrolment.request(), words);
        let pending = enrolment.finish(&reply, &backup_key).unwrap();
        let reply = ask(&vault, account, pending.request(), words);
        assert_eq!(pending.done(&reply), Ok(1));
        let recovered = recover(&vault, account, CODE, words).ok().unwrap();
        assert!(bool::from(recovered.ct_eq(backup_key.expose())));
        for _ in 0..11 {
            let failure = recover(&vault, account, "not the code", words).err().unwrap();
            words.display(&failure);
        }
        ask(&vault, account, &remaining_request(&account).unwrap(), words);
        ask(&vault, account, &[7; 40], words);
        // Under another id than it was admitted for, and with a ticket that is none.
        let stray = Request::RecoverFinish { ticket: &[9; 200], ke3: &[9; 64] }.encode(&account).unwrap();
        ask(&vault, AccountId([3; 32]), &stray, words);
        ask(&vault, account, &stray, words);
        vault
            .read(&mut |state| {
                let it = state.account(&account).unwrap();
                words.debug(it);
                words.debug(it.record());
                it.window().iter().for_each(|charged| words.debug(charged));
                words.debug(state);
            })
            .unwrap();
    }
    clock.forward(policy.destroy_after_s + 1);
    words.debug(&vault.sweep().unwrap());

    // Through the queue, and then with the disk gone wrong: everything that opening says.
    let vault = Arc::new(vault);
    let queue = Queue::open(vault.clone(), Gathering::default()).unwrap();
    let account = AccountId::derive("words", "ada");
    words.debug(&queue.submit(account, remaining_request(&account).unwrap()).wait());
    drop(queue);
    drop(vault);
    let mut operators = Vec::new();
    let mut refused = |opened: Result<Vault, Fault>, words: &mut Words| {
        let fault = opened.err().expect("it does not open");
        words.display(&fault);
        operators.push(("Fault".to_owned(), format!("{fault} {fault:?}")));
    };
    refused(Vault::open(config(folder.path(), &clock), Policy { attempts_max: 3, ..policy.clone() }), words);
    let path = folder.path().join("keys");
    let whole = fs::read(&path).unwrap();
    for place in [0, 3, 20, 60, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&path, damaged).unwrap();
        refused(Vault::open(config(folder.path(), &clock), policy.clone()), words);
    }
    fs::write(&path, whole).unwrap();
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    refused(Vault::open(config(folder.path(), &clock), policy), words);
    (secrets, ids, operators)
}

/// What is printable and did not come by on the way, and the secrets that are in it.
fn print_the_rest(words: &mut Words, secrets: &mut Needles) {
    let account = AccountId([5; 32]);
    let digest = KeyedDigest { key_number: 1, digest: [5; 16] };
    let keys = DigestKeys::new((1, HmacKey::new(&secrets.draw::<64>("digest key"))), None);
    words.debug(&digest);
    words.debug(&Digests { current: digest, previous: None });
    let proof = Proof { ordinal: 1, expiry_s: NOW_S };
    words.debug(&proof);
    words.debug(&Command::Clear { account, generation: 1, proof });
    let journal = Memory::create(Policy::development()).unwrap();
    let ke1 = [6; 96];
    let recognised = keys.recognise(&[(account, &ke1)]).remove(0);
    words.debug(&recognised);
    let committed = journal.commit(NOW_S, vec![recognised.charge()]).unwrap().remove(0);
    words.debug(&committed);
    words.debug(committed.verdict());
    words.debug(&Granted::charged(committed, &recognised, false).unwrap());
    let mut state = State::new(Policy::development());
    words.debug(&state);
    state.apply(&Command::Leave { offer: [7; 32] }, &mut Nowhere);
    let moving = *state.moving().unwrap();
    words.debug(&moving);
    words.debug(&moving.side);
    words.debug(&Tally::default());
    words.debug(&Cursor::default());
    words.debug(&Arrival::new(account, Account::default(), None).unwrap());
    turns(words, secrets);
    #[cfg(feature = "channel")]
    channel(words, secrets);
    #[cfg(feature = "transparency")]
    bundles(words, secrets);
    words.debug(&Policy::development());
    let signers = strongroom::ledger::Signers { auditor: [1; 32], operator: [2; 32] };
    words.debug(&signers);
    words.debug(&strongroom::ledger::Obeyed::first(signers));
    words.debug(&AnchorKind::File);
    words.debug(&RootKind::File);
    words.debug(&Anchored::default());
    words.debug(&Leader::default());
    words.debug(&LogId::default());
    words.debug(&Header { epoch: 1, key_number: 1 });
    let mut sealed = [0; SEALED_LEN];
    sealed[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
    words.debug(&Sealed::from_bytes(&sealed).unwrap());
    words.debug(&Swept::default());
    words.debug(&Gathering::default());
    words.debug(&strongroom::process::Hardened { undumpable: true, locked: false });
    words.debug(&Invalid);
    words.debug(&Terms::default());
    words.display(&Preset::Light);
    words.display(&CodeProblem::Empty);
    ways_in(words, secrets);
    Backend::all().iter().for_each(|backend| words.debug(backend));
    ROWS.iter().for_each(|row| words.debug(row));
    words.debug(&Reason::Proven);
    Refusal::all().for_each(|refusal| words.display(&refusal));
    #[cfg(feature = "fleet")]
    fleet(words);
}

/// What a replica says of itself.
#[cfg(feature = "fleet")]
fn fleet(words: &mut Words) {
    use strongroom::fleet::{Address, Settings, Status, Survey};
    words.debug(&Settings::default());
    words.debug(&Survey {
        last: LogId { leader: Leader { term: 3, member: 2 }, index: 4 },
        backup: [1; 32],
        restores: 0,
        predecessor: [2; 32],
        accounts: 3,
        time_s: NOW_S,
        signers: None,
        keys_serial: 1,
        keys_mark: [7; 32],
    });
    words.debug(&Status {
        number: 1,
        leader: Some(2),
        vote: Leader { term: 3, member: 2 },
        last_index: Some(4),
        applied_index: Some(4),
        version: 1,
        checkpoint_index: None,
        members: [(1, "somewhere".to_owned())].into(),
        voters: [1, 2, 3].into(),
        running: true,
    });
    words.debug(&Address { name: "somewhere".to_owned(), link_key: [5; 32] });
    #[cfg(feature = "planted")]
    words.debug(&strongroom::fleet::Mistake::AppliesTwice);
}

/// What is said of a backup's ways in.
fn ways_in(words: &mut Words, secrets: &mut Needles) {
    use strongroom::client::{CodeHeld, Keyring, Passkey, RecoveryKey, RecoveryKeyProblem};
    let (key, paper) = (Secret::new(secrets.draw("backup key")), RecoveryKey::generate().unwrap());
    paper.text().lines().for_each(|row| secrets.add("row of a recovery key", row.as_bytes()));
    let mut keyring = Keyring::new(&key).unwrap();
    words.display(&keyring.write().unwrap_err());
    keyring.set_recovery_key(&key, &paper).unwrap();
    let held = CodeHeld { fleet: [1; 32], account: AccountId([5; 32]), generation: 1 };
    keyring.set_code(&key, held).unwrap();
    let prf_output = Some(Secret::new(secrets.draw("output of a passkey")));
    let passkey = Passkey { credential_id: vec![1; 16], prf_enabled: None, prf_output };
    keyring.add_passkey(&key, "phone", &passkey).unwrap();
    words.debug(&keyring);
    words.debug(&held);
    words.debug(&keyring.passkeys()[0]);
    words.display(&RecoveryKeyProblem::Row(3));
    #[cfg(feature = "http")]
    words.display(&strongroom::client::Trouble::Unreachable("no answer".to_owned()));
}

struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

/// What is said of keys that turn.
fn turns(words: &mut Words, secrets: &mut Needles) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_S));
    let vault = Vault::create(config(folder.path(), &clock), Policy::development()).unwrap();
    vault.rotate(Turn::Epoch).unwrap();
    secrets.add_keys(folder.path(), 2);
    words.debug(&Turn::Epoch);
    words.debug(&Pace::default());
    words.debug(&vault.rewrap(Pace::default()).run(|_| {}).unwrap());
    words.display(&vault.enrol_under(9).unwrap_err());
    let status = vault.keys().unwrap();
    words.debug(&status.epochs[0]);
    words.debug(&status.servers[0]);
    words.debug(&status.login_tickets[0]);
    words.debug(&status);
}

/// What is said on the channel, and of accounts that move.
#[cfg(feature = "channel")]
fn channel(words: &mut Words, secrets: &mut Needles) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let clock = Arc::new(ManualClock::new(NOW_S));
    let [source, target] = folders.each_ref().map(|folder| {
        let vault = Vault::create(config(folder.path(), &clock), Policy::development()).unwrap();
        secrets.add_keys(folder.path(), 1);
        vault
    });
    words.debug(&source.channel_key().unwrap());
    words.display(&strongroom::session::ChannelProblem::UnknownKey);
    let offer = target.offer().unwrap();
    words.debug(&offer);
    let export = source.export(offer).unwrap();
    words.debug(&export.next(Some(AccountId([0; 32]))).unwrap().unwrap());
    words.debug(&export.departed().unwrap());
    words.display(&target.import().unwrap().begin(&[1; 2000]).unwrap_err());
}

/// What is said of how keys came to be.
#[cfg(feature = "transparency")]
fn papers(
    words: &mut Words,
    secrets: &mut Needles,
    trust: &mut strongroom::transparency::Trust,
    bundles: &[strongroom::transparency::LoggedBundle],
) {
    use strongroom::transparency::{
        Attested, Document, EpochSignature, Evidence, FleetKeys, Given, Measurement, Member, Order, Origin,
        Participant, SigningKey, Statement, Step, Transcript,
    };
    let keys = FleetKeys {
        fleet: [1; 32],
        server_keys: vec![(1, [2; 32])],
        channel_keys: vec![(1, vec![3; 32])],
        policy: Policy::development(),
    };
    words.debug(&keys);
    let measurement = Measurement { kind: "kind".to_owned(), digest: "digest".to_owned() };
    words.debug(&measurement);
    words.debug(&Attested { proves: "something".to_owned(), measurement: Some(measurement) });
    words.debug(&Document { kind: "kind".to_owned(), sha256: "digest".to_owned(), nonce: None });
    let origin = Origin::Rotation { ceremony: "04".repeat(32), reason: "a reason".to_owned() };
    words.debug(&origin);
    let evidence = Evidence { namespace: "words".to_owned(), fleet: "01".repeat(32), origin };
    words.debug(&evidence);
    words.debug(&evidence.envelope(&[5; 32]).unwrap());
    let participant = Participant { role: "auditor".to_owned(), key: "a key".to_owned() };
    let step = Step { time_s: NOW_S, what: "something".to_owned() };
    words.debug(&participant);
    words.debug(&step);
    words.debug(&Transcript {
        namespace: "words".to_owned(),
        fleet: "01".repeat(32),
        artifact: "05".repeat(32),
        participants: vec![participant],
        steps: vec![step],
        exceptions: Vec::new(),
        destroyed: Vec::new(),
    });
    let member = Member {
        number: 1,
        name: "somewhere".to_owned(),
        link_key: [5; 32],
        channel_key: [6; 32],
        code: "code".to_owned(),
    };
    words.debug(&member);
    let order = Order::Members { predecessor: [0; 32], members: vec![member] };
    words.debug(&order);
    words.debug(&Statement { fleet: [1; 32], order });
    #[cfg(feature = "channel")]
    words.debug(&strongroom::vault::Receiver { fleet: [1; 32], member: 4 });
    let signature = SigningKey::new("field", &Secret::new(secrets.draw("seed of a signer"))).unwrap();
    words.debug(&EpochSignature::sign(&bundles[0].note, 1, &signature).unwrap());
    let given = Given { bundles, artifact: b"", evidence: b"{}", documents: &[], attestations: &[] };
    let report = trust.verify(&given, NOW_S);
    words.debug(&report.proven[0]);
    words.debug(&report);
}

/// What is said of bundles, and of those that are refused. All of it but the signers' seeds is for everybody.
#[cfg(feature = "transparency")]
fn bundles(words: &mut Words, secrets: &mut Needles) {
    use strongroom::transparency::{
        Bundle, Checkpoint, History, Log, LogPolicy, LoggedBundle, Pins, Rejection, SigningKey, Trust, Witness,
        WitnessSigningKey,
    };
    let witness = WitnessSigningKey::new("witness", &Secret::new(secrets.draw("seed of a witness"))).unwrap();
    let mut key = |number: u8| {
        SigningKey::new(&format!("signer{number}"), &Secret::new(secrets.draw("seed of a signer"))).unwrap()
    };
    let (auditor, operator) = (key(1), key(2));
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path(), key(5)).unwrap();
    let log_policy = LogPolicy::new(log.key(), vec![witness.verifying_key()], 1).unwrap();
    words.debug(&log_policy);
    let pins = Pins {
        namespace: "words".to_owned(),
        epoch_min: 0,
        auditor: auditor.verifying_key(),
        operator: operator.verifying_key(),
        auditor_evidence: key(3).verifying_key(),
        operator_evidence: key(4).verifying_key(),
        log: log_policy,
        measurements: Vec::new(),
        compiled_in: false,
    };
    words.debug(&pins);
    words.display(&pins.auditor);
    let bundle = |evidence| Bundle {
        namespace: "words".to_owned(),
        fleet: [1; 32],
        epoch: 1,
        not_before_s: 0,
        not_after_s: NOW_S,
        previous: [0; 32],
        artifact: sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new()).into(),
        evidence,
        next_auditor: None,
        next_operator: None,
    };
    let note = |evidence| bundle(evidence).signed(&auditor, &operator).unwrap();
    words.debug(&bundle([1; 32]));
    words.debug(&note([1; 32]));
    let mut history = History::new(pins.clone()).unwrap();
    history.follow(&note([1; 32])).unwrap();
    words.debug(&history);
    let mut trust = Trust::new(pins).unwrap();
    let mut witness = Witness::new(witness, log.key(), None).unwrap();
    let mut logged = |evidence| {
        let note = note(evidence);
        let entry = note.entry(&auditor.verifying_key(), &operator.verifying_key());
        let index = log.append(&[entry]).unwrap()[0];
        let cosigned = witness.cosign(log.checkpoint(), &log.consistency(witness.seen()).unwrap(), NOW_S).unwrap();
        log.take_cosignature(&cosigned, &witness.key()).unwrap();
        [LoggedBundle { note, proof: log.prove(index).unwrap() }]
    };
    let (first, second) = (logged([1; 32]), logged([2; 32]));
    words.debug(&first[0]);
    words.debug(&first[0].proof);
    words.debug(&strongroom::transparency::Published {
        bundles: first.to_vec(),
        artifact: b"{}".to_vec(),
        evidence: Vec::new(),
        documents: vec![b"a document".to_vec()],
    });
    words.debug(&Checkpoint::read(&first[0].proof.checkpoint).unwrap());
    papers(words, secrets, &mut trust.clone(), &first);
    words.debug(&trust.accept(&first, b"", NOW_S).unwrap());
    words.debug(&trust);
    let Err(fork) = trust.accept(&second, b"", NOW_S) else { panic!("a fork") };
    words.display(&fork);
    let Rejection::Fork(proof) = fork else { panic!("a fork") };
    words.debug(&*proof);
}

#[test]
fn nothing_that_is_said_has_a_secret_in_it() {
    let log = Log::default();
    let writer = log.clone();
    let logger = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    logger.with_ansi(false).with_writer(move || writer.clone()).init();
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let mut words = Words::default();
    let (mut secrets, ids, mut operators) = live(&mut words);
    print_the_rest(&mut words, &mut secrets);
    operators.push(("the log".to_owned(), String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned()));
    let metrics = metrics.render();
    for name in ["strongroom_batch_requests", "strongroom_records_by_key{key=\"1\"}", "strongroom_records_by_epoch"] {
        assert!(metrics.contains(name), "metrics were kept: {name}");
    }
    operators.push(("the metrics".to_owned(), metrics));
    assert!(operators.iter().any(|(by, said)| by == "the log" && said.contains("arithmetic chosen")), "a log was kept");

    let all = words.said.iter().chain(&operators);
    let found: BTreeSet<_> = all.flat_map(|said| secrets.found(said)).collect();
    assert!(found.is_empty(), "{found:#?}");
    let found: BTreeSet<_> = operators.iter().flat_map(|said| ids.found(said)).collect();
    assert!(found.is_empty(), "an account id is for no operator: {found:#?}");
    controls(&secrets);
    every_printable_type_was_printed(&words.types);
}

/// A secret that is said in any of its forms is found.
fn controls(secrets: &Needles) {
    let mut known = Needles::new();
    let secret: [u8; 32] = std::array::from_fn(|index| (index * 37 + 11) as u8);
    known.add("control", &secret);
    let mut lines = String::new();
    secret.iter().for_each(|byte| writeln!(lines, "        {byte},").unwrap());
    for said in [
        hex::encode(secret),
        hex::encode_upper(&secret[5..]),
        STANDARD_NO_PAD.encode(secret),
        STANDARD_NO_PAD.encode(&secret[1..]),
        URL_SAFE_NO_PAD.encode([&[0u8; 2][..], &secret].concat()),
        format!("{secret:?}"),
        format!("{secret:#?}"),
        lines,
    ] {
        assert!(!known.found(&("a control".to_owned(), said.clone())).is_empty(), "not found: {said}");
    }
    assert!(known.found(&("a control".to_owned(), format!("{:?}", [7u8; 64]))).is_empty());
    let drawn = known.draw::<32>("drawn");
    assert!(!known.found(&("a control".to_owned(), format!("{drawn:?}"))).is_empty());
    assert!(!secrets.found(&("a control".to_owned(), format!("the code is {CODE}"))).is_empty());
}

/// The name at the beginning.
fn name_of(text: &str) -> String {
    text.chars().take_while(|it| it.is_alphanumeric()).collect()
}

/// Reads the sources: what can be printed is one of the types that were.
fn every_printable_type_was_printed(printed: &BTreeSet<String>) {
    let (mut missing, mut public, mut by_hand) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                // Tests and the command line are not what others link.
                if !entry.ends_with("tests") && !entry.ends_with("bin") {
                    folders.push(entry);
                }
                continue;
            }
            // Rooms and files that are compiled only with a feature.
            let name = |part: &str| entry.components().any(|it| it.as_os_str() == part);
            let channels = ["session", "transfer.rs", "export.rs", "import.rs"].into_iter().any(name);
            let compiled = (cfg!(feature = "channel") || !channels)
                && (cfg!(feature = "transparency") || !name("transparency"))
                && (cfg!(all(feature = "channel", feature = "transparency")) || !name("handover.rs"))
                && (cfg!(feature = "http") || !name("http.rs"))
                && (cfg!(feature = "fleet") || !name("fleet"))
                && (cfg!(feature = "planted") || !name("planted.rs"));
            if !compiled {
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            let mut derives = false;
            for line in text.lines().map(str::trim) {
                derives |= line.starts_with("#[derive(") && line.contains("Debug");
                if let Some((_, rest)) = line.split_once("Debug for ").filter(|_| line.starts_with("impl")) {
                    by_hand.insert(name_of(rest));
                }
                let declared = ["pub struct ", "pub enum "].iter().find_map(|it| line.strip_prefix(it));
                if let Some(name) = declared.map(name_of) {
                    seen += usize::from(derives);
                    if derives && !printed.contains(&name) {
                        missing.insert(name.clone());
                    }
                    public.insert(name);
                }
                derives &= line.starts_with('#') || line.starts_with("//");
            }
        }
    }
    by_hand.retain(|name| public.contains(name));
    assert!(seen > 30 && by_hand.contains("AccountId"), "the sources were not read");
    missing.extend(by_hand.into_iter().filter(|name| !printed.contains(name)));
    assert!(missing.is_empty(), "printable, and not printed here: {missing:?}");
}
