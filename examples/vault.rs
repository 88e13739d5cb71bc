//! A vault on this machine, from the first enrolment to the last attempt.
//!
//! You will see: people enrolling a backup key under a code and getting it back; wrong codes being counted, the tenth
//! the last to be evaluated; the count surviving a killed process; an exhausted record being destroyed when its time
//! has come; and a thousand recoveries in one batch beside opaque-ke one by one. The exit status is not zero if anything
//! is not as it says.
//!
//! ```text
//! cargo run --release --example vault
//! ```
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // An example stops where something is not as told.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opaque_ke::{
    ClientLogin, ClientRegistration, ClientRegistrationFinishParameters, CredentialRequest, ServerLogin,
    ServerLoginParameters, ServerRegistration, ServerSetup,
};
use rand_core_06::OsRng;
use strongroom::account::AccountId;
use strongroom::client::{
    Code, Enrolment, Failure, PendingEnrolment, PendingRecovery, Preset, Recovery, Terms, remaining, remaining_request,
};
use strongroom::error::Refusal;
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, Config, ManualClock, Vault};

type Outcome<T> = Result<T, Box<dyn Error>>;

const NAMESPACE: &str = "example.org/backup";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, mode, folder] if mode == "--until-killed" => guess_until_killed(Path::new(folder)),
        _ => show(),
    }
}

fn show() -> Outcome<()> {
    let folder = tempfile::Builder::new().prefix("strongroom-").tempdir()?;
    println!("A new vault in {}", folder.path().display());
    let policy = Policy::development();
    println!("  {} attempts, {} in a lifetime; keys for development\n", policy.attempts_max, policy.lifetime_max);
    let clock = Arc::new(ManualClock::new(now_s()));
    let vault = Vault::create(config(folder.path(), &clock)?, policy.clone())?;

    println!("Three people enrol, each a new backup key under a code");
    let people = [("Ada", "correct horse"), ("Grace", "battery staple"), ("Alan", "enigma 1942")];
    let mut keys = Vec::new();
    for (name, code) in people {
        let key = Secret::random()?;
        enrol(&vault, &account(name), code, &key)?;
        println!("  {name:<8} enrolled");
        keys.push(key);
    }

    println!("\nEach gets the key back with the code");
    for ((name, code), key) in people.iter().zip(&keys) {
        let recovered = recover(&vault, &account(name), code)?;
        must(bool::from(recovered.ct_eq(key.expose())), "the recovered key is the enrolled one")?;
        println!("  {name:<8} recovered the same key");
    }

    println!("\nSomeone guesses Grace's code");
    let grace = account("Grace");
    for attempt in 1..=10 {
        let outcome = recover(&vault, &grace, "wrong").err();
        let left = 10 - attempt;
        must(
            matches!(outcome, Some(Failure::WrongCode { remaining }) if remaining == left),
            "a wrong code is told with the attempts left",
        )?;
        println!("  attempt {attempt:>2}   evaluated, wrong      {left:>2} left");
    }
    let outcome = recover(&vault, &grace, "battery staple").err();
    must(matches!(outcome, Some(Failure::Refused(Refusal::Exhausted))), "the eleventh attempt is refused")?;
    println!("  attempt 11   refused: even the right code is no longer evaluated");

    println!("\nAnother process guesses Alan's code and is killed while it does");
    drop(vault);
    let told = guess_and_kill(folder.path())?;
    let vault = Vault::open(config(folder.path(), &clock)?, policy.clone())?;
    let remain = left(&vault, &account("Alan"))?;
    println!("  {told} wrong codes answered before SIGKILL; reopened, {remain} of 10 attempts are left");
    must(remain <= 10 - told && told > 0, "no answered attempt is forgotten")?;
    let recovered = recover(&vault, &account("Alan"), "enigma 1942")?;
    must(bool::from(recovered.ct_eq(keys[2].expose())), "the right code still recovers")?;
    println!("  the right code still recovers, and clears the count: {} left", left(&vault, &account("Alan"))?);

    println!("\nA day passes; the sweep comes");
    must(vault.sweep()?.destroyed == 0, "nothing is destroyed before its time")?;
    clock.forward(policy.destroy_after_s);
    let swept = vault.sweep()?;
    must(swept.destroyed == 1, "the exhausted record is destroyed")?;
    let outcome = recover(&vault, &grace, "battery staple").err();
    must(matches!(outcome, Some(Failure::Refused(Refusal::Exhausted))), "it stays refused")?;
    println!("  {} exhausted record destroyed: Grace's, which nobody can open any more", swept.destroyed);

    thousand(&vault)?;
    println!("\nEverything was as it says.");
    Ok(())
}

/// A thousand recoveries in one batch, beside opaque-ke one by one. No key stretching: it runs on phones, not here.
fn thousand(vault: &Vault) -> Outcome<()> {
    const PEOPLE: usize = 1000;
    println!("\nA thousand people recover at once (client side prepared off the clock, no key stretching)");
    let terms = Terms::development();
    let accounts: Vec<_> = (0..PEOPLE).map(|number| account(&format!("person {number}"))).collect();

    let key = Secret::new([42; 32]);
    let enrolments = accounts.iter().map(|account| Enrolment::start(&terms, *account, Code::new("code")?));
    let enrolments = enrolments.collect::<Result<Vec<_>, _>>()?;
    let replies = vault.process_bytes(&admit(&accounts, enrolments.iter().map(Enrolment::request)));
    let pending = enrolments.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply, &key));
    let pending = pending.collect::<Result<Vec<_>, _>>()?;
    let replies = vault.process_bytes(&admit(&accounts, pending.iter().map(PendingEnrolment::request)));
    for (pending, reply) in pending.iter().zip(&replies) {
        pending.done(reply)?;
    }

    // In turns, so that a busy machine is busy for all alike.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pools = [1, cores].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build());
    let [one, all] = pools;
    let (one, all, peer) = (one?, all?, Peer::new()?);
    let (mut on_one, mut on_all, mut by_peer) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for accounts in accounts.chunks(PEOPLE / 4) {
        on_one += one.install(|| recover_all(vault, accounts, &key))?;
        on_all += all.install(|| recover_all(vault, accounts, &key))?;
        by_peer += peer.answer(accounts.len())?;
    }
    println!("\n  {:<46}{:>7}{:>12}{:>12}{:>10}", "", "logins", "time", "logins / s", "ratio");
    row("opaque-ke 4.0.1, one by one, nothing journaled", PEOPLE, by_peer, by_peer);
    row("strongroom, in batches, journaled, 1 thread", PEOPLE, on_one, by_peer);
    if cores > 1 {
        row(&format!("strongroom, in batches, journaled, {cores} threads"), PEOPLE, on_all, by_peer);
    }
    Ok(())
}

/// Recovers everyone's key with the right code; returns how long the vault took from KE1s to KE2s.
fn recover_all(vault: &Vault, accounts: &[AccountId], key: &Secret<[u8; 32]>) -> Result<Duration, String> {
    let told = |failure: Failure| failure.to_string();
    let terms = Terms::development();
    let started = accounts.iter().map(|account| Recovery::start(&terms, *account, Code::new("code")?));
    let started = started.collect::<Result<Vec<_>, _>>().map_err(told)?;
    let requests = admit(accounts, started.iter().map(Recovery::request));
    let begun = Instant::now();
    let replies = vault.process_bytes(&requests);
    let taken = begun.elapsed();

    let pending = started.iter().zip(&replies).map(|(it, reply)| it.finish(reply));
    let pending = pending.collect::<Result<Vec<_>, _>>().map_err(told)?;
    let replies = vault.process_bytes(&admit(accounts, pending.iter().map(PendingRecovery::request)));
    for (pending, reply) in pending.iter().zip(&replies) {
        let recovered = pending.open(reply).map_err(told)?;
        if !bool::from(recovered.ct_eq(key.expose())) {
            return Err("it is not as it says: someone has another key back".to_owned());
        }
    }
    Ok(taken)
}

struct Suite;

impl opaque_ke::CipherSuite for Suite {
    type OprfCs = opaque_ke::Ristretto255;
    type KeyExchange = opaque_ke::TripleDh<opaque_ke::Ristretto255, sha2_010::Sha512>;
    type Ksf = opaque_ke::ksf::Identity;
}

/// opaque-ke's own server half, one person's record at hand.
struct Peer {
    setup: ServerSetup<Suite>,
    record: ServerRegistration<Suite>,
}

impl Peer {
    fn new() -> Outcome<Self> {
        let setup = ServerSetup::new(&mut OsRng);
        let start = ClientRegistration::<Suite>::start(&mut OsRng, b"code")?;
        let response = ServerRegistration::start(&setup, start.message, b"person")?;
        let parameters = ClientRegistrationFinishParameters::default();
        let finish = start.state.finish(&mut OsRng, b"code", response.message, parameters)?;
        Ok(Peer { setup, record: ServerRegistration::finish(finish.message) })
    }

    /// Answers so many KE1s, one by one; returns how long that took.
    fn answer(&self, logins: usize) -> Outcome<Duration> {
        let started = (0..logins).map(|_| ClientLogin::<Suite>::start(&mut OsRng, b"code"));
        let messages = started.map(|it| Ok(it?.message.serialize())).collect::<Outcome<Vec<_>>>()?;
        let begun = Instant::now();
        for message in &messages {
            let request = CredentialRequest::deserialize(message)?;
            let (record, parameters) = (Some(self.record.clone()), ServerLoginParameters::default());
            let login = ServerLogin::start(&mut OsRng, &self.setup, record, request, b"person", parameters)?;
            std::hint::black_box((login.message.serialize(), login.state.serialize()));
        }
        Ok(begun.elapsed())
    }
}

fn row(name: &str, logins: usize, taken: Duration, peer: Duration) {
    let seconds = taken.as_secs_f64();
    let ratio = peer.as_secs_f64() / seconds;
    println!("  {name:<46}{logins:>7}{:>9.1} ms{:>12.0}{ratio:>8.2} x", seconds * 1e3, logins as f64 / seconds);
}

/// Guesses Alan's code until this process is killed, saying each attempt that was answered.
fn guess_until_killed(folder: &Path) -> Outcome<()> {
    let clock = Arc::new(ManualClock::new(now_s()));
    let vault = Vault::open(config(folder, &clock)?, Policy::development())?;
    for attempt in 1..=8 {
        must(recover(&vault, &account("Alan"), &format!("guess {attempt}")).is_err(), "a wrong code recovers nothing")?;
        println!("{attempt}");
        std::io::stdout().flush()?;
    }
    std::thread::sleep(std::time::Duration::from_secs(60));
    Err("nobody came to kill this process".into())
}

/// Runs [`guess_until_killed`] in a process of its own, and kills that with SIGKILL after a few answers.
fn guess_and_kill(folder: &Path) -> Outcome<u32> {
    let mut child =
        Command::new(std::env::current_exe()?).arg("--until-killed").arg(folder).stdout(Stdio::piped()).spawn()?;
    let mut told = 0;
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().ok_or("the child has no output")?).lines() {
        told = line?.trim().parse()?;
        if told >= 4 && !killed {
            child.kill()?;
            killed = true;
        }
    }
    must(!child.wait()?.success(), "the process was killed")?;
    Ok(told)
}

fn config(folder: &Path, clock: &Arc<ManualClock>) -> Outcome<Config> {
    Ok(Config { clock: clock.clone(), ..Config::development(folder)? })
}

/// For a vault under development, but with the key stretching that people get.
fn terms() -> Terms {
    let mut terms = Terms::development();
    terms.preset = Preset::Light;
    terms
}

fn account(name: &str) -> AccountId {
    AccountId::derive(NAMESPACE, name)
}

fn admit<'a>(accounts: &[AccountId], requests: impl Iterator<Item = &'a [u8]>) -> Vec<Admitted<'a>> {
    accounts.iter().zip(requests).map(|(account, request)| Admitted { account: *account, request }).collect()
}

fn ask(vault: &Vault, account: &AccountId, request: &[u8]) -> Vec<u8> {
    vault.process_bytes(&[Admitted { account: *account, request }]).remove(0)
}

fn enrol(vault: &Vault, account: &AccountId, code: &str, key: &Secret<[u8; 32]>) -> Result<(), Failure> {
    let enrolment = Enrolment::start(&terms(), *account, Code::new(code)?)?;
    let reply = ask(vault, account, enrolment.request());
    let pending = enrolment.finish(&reply, key)?;
    pending.done(&ask(vault, account, pending.request()))?;
    Ok(())
}

fn recover(vault: &Vault, account: &AccountId, code: &str) -> Result<Secret<[u8; 32]>, Failure> {
    let recovery = Recovery::start(&terms(), *account, Code::new(code)?)?;
    let pending = recovery.finish(&ask(vault, account, recovery.request()))?;
    pending.open(&ask(vault, account, pending.request()))
}

fn left(vault: &Vault, account: &AccountId) -> Result<u32, Failure> {
    remaining(&ask(vault, account, &remaining_request(account)?))
}

fn must(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("it is not as it says: {what}").into()) }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
