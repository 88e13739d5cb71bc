//! `strongroom enrol|recover|change-code|status|remove|recovery-key`: one person and their backup key.

mod files;

use std::error::Error;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use strongroom::account::AccountId;
use strongroom::client::{Code, CodeHeld, Failure, Http, Keyring, RecoveryKey, Terms, Trouble};
use strongroom::error::Refusal;
use strongroom::secret::Secret;
use strongroom::transparency::{Published, Rejection, Trust};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use crate::bundle::hex;
use crate::file::{hold, printable, read, read_if_there, show, tell, write_secret, write_whole};
use crate::front_end::{self, Unreached};
use crate::log::{keep_fork, now_s};
use crate::measure::Outcome;
use crate::signer::read_pins;
use files::Files;
pub(crate) use files::read_key;

/// Whom to speak to, as whom, and what is trusted before anything is heard.
#[derive(Args)]
pub(crate) struct Door {
    /// The server before the vault
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Who you are to the service: what an account is made of; needed wherever a vault is asked. A person who never enrolled is
    /// answered as if the code were wrong
    #[arg(long)]
    person: Option<String>,
    /// The service, which accounts are made of too
    #[arg(long, default_value = "example.org/backup")]
    service: String,
    /// A file with the token of your sign-in; without it the server is asked for one, which example servers may give
    #[arg(long)]
    token: Option<PathBuf>,
    /// The pins, a file that "strongroom pins" writes: whose keys are trusted from the start
    #[arg(long, requires = "published")]
    pins: Option<PathBuf>,
    /// What the operator publishes of its keys: a folder, as for `verify`
    #[arg(long, requires = "pins")]
    published: Option<PathBuf>,
    /// A file that keeps what was accepted last; made if it is not there
    #[arg(long, requires = "pins")]
    memory: Option<PathBuf>,
    /// Accept a fleet that was made for development; without pins its keys are taken from the server, whoever that is
    #[arg(long)]
    development: bool,
}

/// One person at one server.
#[derive(Args)]
pub(crate) struct Person {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    files: Files,
}

/// Who leaves a backup key with a vault.
#[derive(Args)]
pub(crate) struct Enrol {
    #[command(flatten)]
    person: Person,
    /// Where no backup key is here, a new backup is meant: do not ask
    #[arg(long)]
    new_backup: bool,
}

/// How the backup key comes back.
#[derive(Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    person: Person,
    /// What you have
    #[arg(long, value_enum, default_value = "code")]
    by: Way,
}

/// What a recovery key is written to.
#[derive(Args)]
pub(crate) struct Paper {
    #[command(flatten)]
    files: Files,
    /// Write a page to print, as SVG, instead of showing the digits
    #[arg(long)]
    sheet: Option<PathBuf>,
}

/// A way in.
#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// The code that you enrolled with; the vault counts the tries
    Code,
    /// The 64 digits, which are shown while they are typed; no vault is asked
    RecoveryKey,
}

// ---- commands

pub(crate) fn enrol(options: &Enrol) -> Outcome<()> {
    let person = &options.person;
    let _held = person.files.hold()?;
    let vault = Vault::reach(&person.door)?;
    person.files.settle(&vault)?;
    let held = person.files.read_key()?;
    if held.is_none() && person.files.read_keyring()?.is_some() {
        return Err(format!(
            "{} is a backup's, whose key is not here: recover it, or name another keyring for a new one",
            person.files.keyring.display()
        )
        .into());
    }
    if held.is_none() {
        means_a_new_backup(options.new_backup)?;
    }
    let code = asked_twice("Code: ")?;
    let key = match held {
        Some(key) => key,
        None => {
            let key = Secret::random()?;
            person.files.write_key(&key)?;
            tell(&format!("a new backup key is in {}", person.files.key.display()))?;
            key
        }
    };
    person.files.keyring_of(&key)?;
    let pending = vault.wait(vault.http.enrol(&vault.terms, vault.account, code, &key))?;
    person.files.begin(&vault, &key, &pending)?;
    person.files.settle(&vault)?;
    tell("enrolled: from now on this code gets the backup key back")?;
    match person.files.read_keyring()?.as_ref().and_then(Keyring::code) {
        Some(held) if held.generation > 1 => tell(&format!(
            "it is the {} enrolment of this account; none before it counts any more",
            nth(held.generation)
        )),
        _ => Ok(()),
    }
}

pub(crate) fn recover(options: &Recover) -> Outcome<()> {
    let files = &options.person.files;
    // The keyring is only read, from wherever it lies.
    let _held = hold(&files.key)?;
    if files.key.exists() {
        return Err(format!(
            "{} is there already, and a backup key is not written over; --key names another file",
            files.key.display()
        )
        .into());
    }
    let keyring = files.read_keyring()?;
    // A key that came out is written whatever has become of the keyring: who alters that must not keep the person out.
    let (key, altered) = match options.by {
        Way::Code => {
            let vault = Vault::reach(&options.person.door)?;
            vault.owns(keyring.as_ref())?;
            if let Some(held) = keyring.as_ref().and_then(Keyring::code).filter(|held| vault.serves_another(held)) {
                return Err(format!(
                    "{}; nothing was tried; if the keyring was altered, name a --keyring that is not there",
                    another_fleet(held)
                )
                .into());
            }
            let code = asked("Code: ")?;
            let key = vault.wait(vault.http.recover(&vault.terms, vault.account, code))?;
            let altered = keyring.is_some_and(|keyring| keyring.check(&key).is_err());
            (key, altered)
        }
        Way::RecoveryKey => {
            let keyring = keyring.ok_or_else(|| format!("there is no keyring in {}", files.keyring.display()))?;
            keyring.unlock_even_altered(&asked_for_digits()?)?
        }
    };
    files.write_key(&key)?;
    tell(&format!("the backup key is back, in {}", files.key.display()))?;
    if altered { Err(AlteredKeyring(files.keyring.clone()).into()) } else { Ok(()) }
}

pub(crate) fn change_code(person: &Person) -> Outcome<()> {
    let _held = person.files.hold()?;
    let vault = Vault::reach(&person.door)?;
    person.files.settle(&vault)?;
    vault.owns(person.files.read_keyring()?.as_ref())?;
    let (old, new) = (asked("Code until now: ")?, asked_twice("New code: ")?);
    let (key, pending) = vault.wait(vault.http.change_code(&vault.terms, vault.account, old, new))?;
    match person.files.read_key()? {
        Some(here) if !bool::from(here.ct_eq(key.expose())) => {
            let path = person.files.key.display();
            return Err(format!("{path} is another backup key than the code's; the code is not changed").into());
        }
        Some(_) => {}
        None => person.files.write_key(&key)?,
    }
    person.files.keyring_of(&key)?;
    person.files.begin(&vault, &key, &pending)?;
    person.files.settle(&vault)?;
    tell("changed: from now on the new code counts, and the old one no more")
}

pub(crate) fn status(person: &Person) -> Outcome<()> {
    // Who only looks waits for nobody.
    let held = person.files.unsettled().exists().then(|| person.files.hold()).transpose()?;
    let vault = Vault::reach(&person.door)?;
    if held.is_some() {
        person.files.settle(&vault)?;
    }
    match vault.wait(vault.http.remaining(&vault.account))? {
        0 => tell("no attempts are left: the code opens nothing any more")?,
        1 => tell("one attempt is left")?,
        left => tell(&format!("{left} attempts are left"))?,
    }
    let Some(keyring) = person.files.read_keyring()? else {
        return tell(&format!("there is no keyring in {}", person.files.keyring.display()));
    };
    let altered = match person.files.read_key()? {
        Some(key) => keyring.check(&key).is_err(),
        None => {
            tell("the keyring is not checked: the backup key is not here; what follows is what the file says")?;
            false
        }
    };
    if altered {
        tell("the keyring FAILS its check against the backup key: do not believe what follows")?;
    }
    match keyring.code() {
        Some(held) if vault.serves_another(held) => tell(&another_fleet(held))?,
        Some(held) if held.account == vault.account => {
            tell(&format!("a code opens the backup; it is the {} enrolment of this account", nth(held.generation)))?;
        }
        Some(_) => tell("a code opens the backup, of another account than this one")?,
        None => tell("no code opens the backup")?,
    }
    if keyring.has_recovery_key() {
        tell("a recovery key opens the backup")?;
    }
    for held in keyring.passkeys() {
        tell(&format!("a passkey opens the backup: {}", printable(&held.label)))?;
    }
    if altered { Err(AlteredKeyring(person.files.keyring.clone()).into()) } else { Ok(()) }
}

pub(crate) fn remove(person: &Person) -> Outcome<()> {
    let _held = person.files.hold()?;
    let vault = Vault::reach(&person.door)?;
    person.files.settle(&vault)?;
    let code = asked("Code: ")?;
    // The keyring first: if a code is its only way in, the vault keeps the record.
    let mut keyring = person.files.read_keyring()?;
    vault.owns(keyring.as_ref())?;
    let held = keyring.as_ref().and_then(Keyring::code).copied();
    let key = held.map(|_| person.files.read_key()).transpose()?.flatten();
    if let (Some(keyring), Some(_)) = (&mut keyring, held) {
        let key = key.as_ref().ok_or_else(|| format!("there is no backup key in {}", person.files.key.display()))?;
        keyring.remove_code(key)?;
        // Written before: a keyring never says that a code opens the backup which may be gone.
        person.files.write_keyring(keyring)?;
    }
    let removed = vault.wait(vault.http.remove(&vault.terms, vault.account, code));
    if let Err(Trouble::Failure(Failure::WrongCode { .. } | Failure::Refused(Refusal::Exhausted))) = removed {
        // So ends what has not come as far as to ask for it.
        if let (Some(mut keyring), Some(key), Some(held)) = (person.files.read_keyring()?, key, held) {
            keyring.set_code(&key, held)?;
            person.files.write_keyring(&keyring)?;
        }
    }
    removed?;
    tell("removed: the vault keeps nothing for this account any more")
}

pub(crate) fn recovery_key(options: &Paper) -> Outcome<()> {
    let _held = options.files.hold()?;
    let key = options.files.read_key()?;
    let key = key.ok_or_else(|| format!("there is no backup key in {}", options.files.key.display()))?;
    let mut keyring = options.files.keyring_of(&key)?;
    let paper = RecoveryKey::generate()?;
    keyring.set_recovery_key(&key, &paper)?;
    // Shown first: a recovery key that is in force and was never seen locks out whoever had the one before.
    match &options.sheet {
        Some(path) => {
            write_secret(path, paper.sheet("Recovery key").as_bytes())?;
            tell(&format!("the page to print is {}; print it, and delete the file", path.display()))?;
        }
        None => {
            show("write this down, row by row; it is shown once:\n")?;
            show(&paper.text())?;
            show("")?;
        }
    }
    options.files.write_keyring(&keyring)?;
    tell("from now on this recovery key opens the backup, and none before it")
}

/// What a command that speaks to a vault ends with: the numbers of `strongroom --help`.
pub(crate) fn exit_code(reason: &(dyn Error + 'static)) -> ExitCode {
    let failure = match reason.downcast_ref::<Trouble>() {
        Some(Trouble::Failure(failure)) => Some(failure),
        Some(Trouble::Unreachable(_)) => return ExitCode::from(6),
        Some(Trouble::Channel(_)) => return ExitCode::from(7),
        _ => None,
    };
    match failure {
        Some(Failure::WrongCode { .. } | Failure::Refused(Refusal::WrongProof)) => ExitCode::from(4),
        Some(Failure::Refused(Refusal::Exhausted | Refusal::LifetimeUsed)) => ExitCode::from(5),
        Some(Failure::FleetNotTrusted | Failure::DevelopmentRefused) => ExitCode::from(7),
        _ if reason.is::<Unreached>() => ExitCode::from(6),
        _ if reason.is::<NotTrusted>() => ExitCode::from(7),
        _ if reason.is::<AlteredKeyring>() => ExitCode::from(8),
        _ => ExitCode::FAILURE,
    }
}

/// A keyring that is not what somebody with the backup key has written.
#[derive(Debug)]
struct AlteredKeyring(PathBuf);

impl Display for AlteredKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WARNING: {path} is not what somebody with this backup key has written: it was altered, or is another backup's. \
             Believe nothing in it; it takes no changes any more. Find out who could write there, move it away, and make a new \
             one: enrol, recovery-key",
            path = self.0.display()
        )
    }
}

impl Error for AlteredKeyring {}

// ---- the vault

/// Keys that nobody vouches for.
#[derive(Debug)]
struct NotTrusted(String);

impl Display for NotTrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fleet is not trusted: {}", self.0)
    }
}

impl Error for NotTrusted {}

/// A vault, reached for one account.
struct Vault {
    runtime: Runtime,
    http: Http,
    terms: Terms,
    account: AccountId,
    fleet: [u8; 32],
    /// Held, since what is remembered was read, and may have been written.
    _memory: Option<File>,
}

impl Vault {
    fn reach(door: &Door) -> Outcome<Self> {
        let person = door.person.as_deref().ok_or("say who you are: --person")?;
        let held = door.memory.as_deref().map(hold).transpose()?;
        let account = AccountId::derive(&door.service, person);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (terms, key, fleet) = match (&door.pins, &door.published) {
            (Some(pins), Some(published)) => {
                let pins = read_pins(pins)?;
                let memory = door.memory.as_deref().map(read_if_there).transpose()?.flatten();
                let mut trust = match memory {
                    Some(memory) => Trust::with_memory(pins, &memory)?,
                    None => Trust::new(pins)?,
                };
                let verified = Published::read(published)?.accept(&mut trust, now_s()?);
                let verified = verified.map_err(|why| {
                    if let Rejection::Fork(proof) = &why {
                        keep_fork(proof);
                    }
                    NotTrusted(why.to_string())
                })?;
                let terms = match door.development {
                    true => Terms::of_development(&verified),
                    false => Terms::of(&verified),
                };
                let terms = terms.map_err(|fault| NotTrusted(fault.to_string()))?;
                if let (Some(path), Some(memory)) = (&door.memory, trust.memory()) {
                    write_whole(path, &memory)?;
                }
                (terms, verified.channel_key()?, verified.bundle().fleet)
            }
            _ if door.development => {
                let (key, fleet) = runtime.block_on(front_end::channel(&door.server))?;
                (Terms::development(), key, fleet)
            }
            _ => {
                let why = "give --pins and --published, or, for a try, --development";
                return Err(NotTrusted(why.to_owned()).into());
            }
        };
        let token = match &door.token {
            Some(path) => String::from_utf8(read(path)?)?.trim().to_owned(),
            None => runtime.block_on(front_end::token(&door.server, &account))?,
        };
        Ok(Vault { http: Http::new(&door.server, &token, key)?, runtime, terms, account, fleet, _memory: held })
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        self.runtime.block_on(work)
    }

    /// A code of another account is not tried: somebody else would be charged for it.
    fn owns(&self, keyring: Option<&Keyring>) -> Outcome<()> {
        match keyring.and_then(Keyring::code) {
            Some(held) if held.account != self.account => {
                Err("the keyring is of another account: look at --person and --service, or, if it was altered, name a --keyring \
                     that is not there; nothing was tried"
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn serves_another(&self, held: &CodeHeld) -> bool {
        held.fleet != self.fleet
    }
}

fn another_fleet(held: &CodeHeld) -> String {
    let fleet = hex(&held.fleet);
    format!(
        "the code was enrolled with another fleet ({}...), and this one may count from the beginning; enrol again if you \
         want that",
        &fleet[..8]
    )
}

fn nth(generation: u32) -> String {
    let suffix = match (generation % 10, generation % 100) {
        (1, not) if not != 11 => "st",
        (2, not) if not != 12 => "nd",
        (3, not) if not != 13 => "rd",
        _ => "th",
    };
    format!("{generation}{suffix}")
}

// ---- questions

/// A line that is not shown; from a pipe, where there is no terminal.
fn line(prompt: &str) -> Outcome<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(prompt)?));
    }
    let mut line = Zeroizing::new(String::new());
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(format!("nobody answers {prompt:?}").into());
    }
    Ok(line)
}

fn asked(prompt: &str) -> Outcome<Code> {
    Ok(Code::new(&line(prompt)?)?)
}

/// At a terminal twice, since nobody sees what is typed.
fn asked_twice(prompt: &str) -> Outcome<Code> {
    let first = line(prompt)?;
    if std::io::stdin().is_terminal() && *line("Once more: ")? != *first {
        return Err("the two are not the same".into());
    }
    Ok(Code::new(&first)?)
}

/// Has whoever has nothing here say that a new backup is meant, and not the one from before. The vault cannot be asked: what it
/// answers before an enrolment is the same whether it keeps a record or not. At a terminal a person is asked; who writes into
/// a pipe has had the time to read the help.
fn means_a_new_backup(said: bool) -> Outcome<()> {
    tell(
        "neither backup key nor keyring is here, so a new backup begins. It replaces the one that this account may have at the \
         vault, whose key nobody gets back by its code any more; the vault does not say whether there is one. Whoever has a \
         code from before wants \"strongroom recover\"",
    )?;
    if said || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("Type \"new\" for a new backup: ");
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    match typed.trim() {
        "new" => Ok(()),
        _ => Err("nothing is enrolled; \"strongroom recover\" gets a backup key back".into()),
    }
}

/// The digits of a recovery key, in as many lines as it takes. They are shown while they are typed, unlike a code: nobody
/// copies 64 of them from paper without seeing them, and a check digit tells of a wrong row only when all are there. The
/// screen has shown them once already, when they were drawn.
fn asked_for_digits() -> Outcome<RecoveryKey> {
    if std::io::stdin().is_terminal() {
        eprintln!(
            "The eight rows of the recovery key, as they are printed. They are shown while you type: see that nobody looks on."
        );
    }
    let mut typed = Zeroizing::new(String::new());
    loop {
        let before = typed.len();
        if std::io::stdin().lock().read_line(&mut typed)? == 0
            || typed.chars().filter(|it| it.is_numeric()).count() >= 64
        {
            return Ok(RecoveryKey::read(&typed)?);
        }
        if typed[before..].trim().is_empty() && before > 0 {
            return Ok(RecoveryKey::read(&typed)?);
        }
    }
}
