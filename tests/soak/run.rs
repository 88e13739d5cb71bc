//! A run: rounds of faults, the roll call, the audit.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::Signal;
use strongroom::vault::Vault;
use tokio::sync::watch;

use crate::audit::{Audited, Counters, audit};
use crate::controls;
use crate::diary::{self, Diary};
use crate::dice::Dice;
use crate::disk::Mood;
use crate::door;
use crate::flood::{self, Kind};
use crate::front::caller::Caller;
use crate::life::Limits;
use crate::mount::{self, Small};
use crate::people::{self, Serving, Settled, World};
use crate::server::{self, Server};

/// People at once.
pub(crate) const PEOPLE: u64 = 32;
/// Accounts that are called at the end.
const CALLED_MAX: usize = 4_000;
/// How long people may take to finish and to be called, once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the server with the planted bug runs.
const PLANTED: Duration = Duration::from_secs(6);
/// So many rounds there are, however short a run is, until each kind of fault has come.
const ROUNDS_TO_ALL: u64 = 40;
/// Jumps of the clock that outlast every ticket, and let sweeps destroy what is exhausted.
const LEAP_S: i64 = 20 * 60;

/// The store as it was at the end.
const LEFT: &str = "store-at-the-end";

type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", ..] => server::run(server::Arguments::parse_from(&arguments)).map(|()| true),
        ["flood", ..] => {
            flood::run(&flood::Arguments::parse_from(&arguments));
            Ok(true)
        }
        ["door"] => door(mount::of_our_own().is_ok()),
        ["audit", folder] => audited(Path::new(folder)).map(|audited| audited.tell()),
        [] => soak(),
        _ => Err("either nothing, or one of: door, audit FOLDER".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The run proper, and the run with the planted bug. Whether all is as it must be.
fn soak() -> Outcome<bool> {
    controls::every_changed_word_is_found()?;
    let minutes: f64 = std::env::var("SOAK_MINUTES").map_or(Ok(1.0), |it| it.parse())?;
    let mounts = mount::of_our_own();
    if let Err(why) = &mounts {
        println!("LEFT OUT: a full disk and one that is read-only at the start: {why}");
    }

    let folder = tempfile::Builder::new().prefix("strongroom-soak-").tempdir()?;
    println!("\na server under {PEOPLE} people for {minutes} minutes");
    let rounds = Rounds::new(folder.path(), false, mounts.is_ok())?;
    let right = rounds.run(Duration::from_secs_f64(60.0 * minutes)).map(|audited| audited.tell());
    if !matches!(right, Ok(true)) {
        println!("what is left of it: {}", folder.keep().display());
        return right;
    }

    let folder = tempfile::Builder::new().prefix("strongroom-soak-").tempdir()?;
    println!("\ncontrol: a server that acknowledges before anything is durable");
    // Other findings would not show that the auditor sees what such a server loses.
    let Audited { lost, findings, .. } = Rounds::new(folder.path(), true, mounts.is_ok())?.run(PLANTED)?;
    match lost.first() {
        Some(first) => println!("found {} accounts that lost what was acknowledged, for one: {first}", lost.len()),
        None => println!("FAILED: of {} findings none is that something was lost", findings.len()),
    }
    Ok(!lost.is_empty() && door(mounts.is_ok())?)
}

/// Floods at the door, and a door without its limit of connections.
fn door(mounts: bool) -> Outcome<bool> {
    door::every_finding_is_told_as_itself()?;
    // The server has a core of its own, as it has in life: what people and floods cost themselves is not its doing.
    let core = (std::thread::available_parallelism()?.get() > 1).then_some(0);
    if core.is_some() {
        server::run_on(1)?;
    }
    println!("\nfloods from another address, beside {PEOPLE} people");
    let folder = tempfile::Builder::new().prefix("strongroom-door-").tempdir()?;
    let rounds = Rounds::new(folder.path(), false, mounts)?;
    let arguments = server::Arguments { core, of_address: door::OF_ADDRESS, ..rounds.arguments.clone() };
    let found = door::run(folder.path(), &arguments, &Kind::ALL, 10)?;
    copied(&rounds.arguments.folder, &folder.path().join(LEFT))?;
    let right = audited(folder.path())?.tell() && found.is_empty();
    let (vault, mut spent) = (opened(folder.path())?, 0);
    vault.read(&mut |state| spent = state.account(&flood::ONE).map_or(0, |it| it.spent()))?;
    println!("the flood for one account had {spent} attempts");
    let right = right && spent == vault.policy().attempts_max;
    if !right {
        println!("what is left of it: {}", folder.keep().display());
        return Ok(false);
    }

    println!("\ncontrol: the same from a server that lets one address have every connection");
    let folder = tempfile::Builder::new().prefix("strongroom-door-").tempdir()?;
    let rounds = Rounds::new(folder.path(), false, mounts)?;
    let arguments = server::Arguments { core, of_address: server::CONNECTIONS, ..rounds.arguments.clone() };
    let found = door::run(folder.path(), &arguments, &Kind::ALL[..1], 0)?;
    let shut_out = found == [door::Finding::ShutOut];
    println!("{}", if shut_out { "as it must be found" } else { "FAILED: not found, or not that alone" });
    Ok(shut_out)
}

/// What happens to a server in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    PowerCut,
    SlowPowerCut,
    Terminated,
    Stopped,
    Full,
    ReadOnly,
    ReadOnlyAtStart,
    ClockAhead,
    ClockBack,
    Leap,
}

impl Fault {
    /// Kills come most often: each falls on another moment.
    const TABLE: [(Fault, usize, &str); 11] = [
        (Fault::Killed, 6, "killed"),
        (Fault::PowerCut, 8, "power cut: what was not synced is lost"),
        (Fault::SlowPowerCut, 3, "syncs that take up to 100 ms, then a power cut"),
        (Fault::Terminated, 1, "told to stop: what it had begun it finished"),
        (Fault::Stopped, 1, "stopped for a while, then killed"),
        (Fault::Full, 2, "disk full, then killed"),
        (Fault::ReadOnly, 2, "disk read-only under it, then killed"),
        (Fault::ReadOnlyAtStart, 1, "disk read-only: it must not start"),
        (Fault::ClockAhead, 1, "clock 20 minutes ahead for a while, then killed"),
        (Fault::ClockBack, 1, "clock an hour back, then killed"),
        (Fault::Leap, 1, "started 20 minutes later, then killed"),
    ];

    /// Whether people must be told that the vault is busy.
    fn makes_busy(self) -> bool {
        matches!(self, Fault::Full | Fault::ReadOnly)
    }
}

/// What one kind of fault did.
#[derive(Default)]
struct Seen {
    times: u64,
    busy: u64,
    lost: u64,
}

/// The rounds of a run.
struct Rounds {
    folder: PathBuf,
    arguments: server::Arguments,
    disk: Option<Small>,
    dice: Dice,
    /// What the clock is ahead by, for good.
    ahead_s: i64,
    seen: BTreeMap<Fault, Seen>,
}

impl Rounds {
    fn new(folder: &Path, hasty: bool, mounts: bool) -> Outcome<Self> {
        let seed = u64::from_be_bytes(strongroom::secret::random_array()?);
        println!("seed {seed}");
        let store = folder.join("store");
        let disk = if mounts { Some(Small::mount(&store)?) } else { None };
        std::fs::create_dir_all(&store)?;
        std::fs::create_dir_all(folder.join("diaries"))?;
        server::create(&store)?;
        let arguments = server::Arguments { hasty, ..server::Arguments::new(store) };
        let (folder, dice) = (folder.to_owned(), Dice(seed));
        Ok(Rounds { folder, arguments, disk, dice, ahead_s: 0, seen: BTreeMap::new() })
    }

    #[tokio::main]
    async fn run(mut self, length: Duration) -> Outcome<Audited> {
        let (serve, serving) = watch::channel(Serving::Nobody);
        let world = Arc::new(World::new(serving, server::admission_key()));
        let (caller, mut lives) = (Caller::default(), Vec::new());
        for person in 0..PEOPLE {
            let diary = Diary::create(&diary(&self.folder, &person.to_string()))?;
            lives.push(tokio::spawn(people::live(
                world.clone(),
                caller.clone(),
                diary,
                Dice(self.dice.0 ^ (person << 32)),
            )));
        }

        let (begun, mut number) = (Instant::now(), 0);
        while begun.elapsed() < length || (number < ROUNDS_TO_ALL && self.missing().is_some()) {
            let fault = self.next_fault();
            let before = (world.busy(), world.lost());
            if fault == Fault::Terminated {
                world.stops_in_peace(number);
            }
            self.round(fault, &serve, number).await.map_err(|why| format!("round {number}, {fault:?}: {why}"))?;
            let seen = self.seen.entry(fault).or_default();
            seen.times += 1;
            seen.busy += world.busy() - before.0;
            seen.lost += world.lost() - before.1;
            number += 1;
        }

        // The last server has no fault, and everybody finishes what they have begun.
        let server = self.start(self.arguments.clone())?;
        serve.send_replace(Serving::One(number, address(&server)));
        world.end();
        let finished = async {
            let mut settled: Vec<Settled> = Vec::new();
            for life in lives {
                let (known, mut diary) = life.await?;
                diary.flush()?;
                settled.extend(known);
            }
            settled.truncate(CALLED_MAX);
            let mut diary = Diary::create(&diary(&self.folder, "roll-call"))?;
            people::roll_call(&world, &caller, &mut diary, &settled).await;
            diary.flush()?;
            Outcome::Ok(settled.len())
        };
        let called = tokio::time::timeout(PATIENCE, finished).await.map_err(|_| {
            format!("FINDING: after {PATIENCE:?} before a server without a fault people still wait for an answer")
        })??;
        server.stop()?;
        self.report(called);
        // The disk ends with this process, and a finding wants to be looked at.
        copied(&self.arguments.folder, &self.folder.join(LEFT))?;
        let audited = audited(&self.folder)?;
        self.held(&audited)?;
        Ok(audited)
    }

    fn start(&self, arguments: server::Arguments) -> Result<Server, String> {
        Server::start(&server::Arguments { ahead_s: self.ahead_s, ..arguments }, &self.folder.join("server.log"))
    }

    /// Whether a fault can come in this run: some need a disk of our own, and the planted bug shows when power is cut.
    fn can_come(&self, fault: Fault) -> bool {
        match fault {
            Fault::PowerCut => true,
            Fault::Full | Fault::ReadOnlyAtStart => !self.arguments.hasty && self.disk.is_some(),
            _ => !self.arguments.hasty,
        }
    }

    /// A kind of fault that has not come yet. One that must be felt has not come before people felt it.
    fn missing(&self) -> Option<Fault> {
        let came = |fault: Fault| {
            // A few are told that the vault is busy whatever the fault is.
            self.seen.get(&fault).is_some_and(|seen| !fault.makes_busy() || seen.busy >= PEOPLE)
        };
        Fault::TABLE.into_iter().map(|(fault, ..)| fault).find(|fault| self.can_come(*fault) && !came(*fault))
    }

    /// One kind after the other until each has come, then as the dice say.
    fn next_fault(&mut self) -> Fault {
        if let Some(missing) = self.missing() {
            return missing;
        }
        let there = Fault::TABLE.into_iter().filter(|(fault, ..)| self.can_come(*fault));
        let weighted: Vec<_> = there.flat_map(|(fault, weight, _)| std::iter::repeat_n(fault, weight)).collect();
        weighted[self.dice.below(weighted.len() as u64) as usize]
    }

    /// One server, from start to end.
    async fn round(&mut self, fault: Fault, serve: &watch::Sender<Serving>, number: u64) -> Result<(), String> {
        if let (Fault::ReadOnlyAtStart, Some(disk)) = (fault, &self.disk) {
            disk.freeze()?;
            let started = self.start(self.arguments.clone());
            disk.heal()?;
            return match started {
                Err(words) if words.contains("exit status") => Ok(()),
                Err(words) => Err(words),
                Ok(_) => Err("it started over a disk that it cannot write".to_owned()),
            };
        }
        if fault == Fault::Leap {
            self.ahead_s += LEAP_S;
        }
        let volatile = matches!(fault, Fault::PowerCut | Fault::SlowPowerCut) || self.dice.below(2) == 0;
        let mut server = self.start(server::Arguments { volatile, ..self.arguments.clone() })?;
        serve.send_replace(Serving::One(number, address(&server)));
        self.pause(100, 900).await;
        match fault {
            Fault::Killed | Fault::PowerCut | Fault::Leap | Fault::Terminated | Fault::ReadOnlyAtStart => {}
            Fault::SlowPowerCut => {
                server.tell("slow", 1 + self.dice.below(100) as i64);
                self.pause(200, 1500).await;
            }
            Fault::Stopped => {
                server.signal(Signal::SIGSTOP)?;
                self.pause(100, 700).await;
                server.signal(Signal::SIGCONT)?;
                self.pause(0, 200).await;
            }
            Fault::Full => {
                if let Some(disk) = &self.disk {
                    disk.fill(self.dice.below(256 << 10))?;
                }
                self.pause(200, 800).await;
            }
            Fault::ReadOnly => {
                server.tell("read-only", 1);
                self.pause(100, 400).await;
                // A disk that can be written again does not open a journal that has latched.
                server.tell("read-only", 0);
                self.pause(50, 100).await;
            }
            Fault::ClockAhead => {
                server.tell("ahead", self.ahead_s + LEAP_S);
                self.pause(100, 400).await;
                server.tell("ahead", self.ahead_s);
                self.pause(100, 400).await;
            }
            Fault::ClockBack => {
                server.tell("ahead", self.ahead_s - 3600);
                self.pause(100, 600).await;
            }
        }
        // Nobody asks this one any more once it is gone, and nothing that it was asked is done any more.
        server.signal(if fault == Fault::Terminated { Signal::SIGTERM } else { Signal::SIGKILL })?;
        let status = server.ended()?;
        serve.send_replace(Serving::Nobody);
        if let (Fault::Full, Some(disk)) = (fault, &self.disk) {
            disk.heal()?;
        }
        match fault {
            Fault::Terminated if !status.success() => Err(format!("it did not stop in peace: {status}")),
            Fault::Terminated => Ok(()),
            _ if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) => {
                Err(format!("it ended before it was killed: {status}"))
            }
            _ => Ok(()),
        }
    }

    /// Waits at least `least` milliseconds, and up to `most` more.
    async fn pause(&mut self, least: u64, most: u64) {
        tokio::time::sleep(Duration::from_millis(least + self.dice.below(most))).await;
    }

    fn report(&self, called: usize) {
        let mut text = format!("{:>7} {:>9} {:>10}  what\n", "times", "busy", "unanswered");
        for (fault, _, words) in Fault::TABLE {
            if let Some(seen) = self.seen.get(&fault) {
                writeln!(text, "{:>7} {:>9} {:>10}  {words}", seen.times, seen.busy, seen.lost).expect("a string");
            }
        }
        let rounds: u64 = self.seen.values().map(|seen| seen.times).sum();
        println!("{text}{rounds:>7} rounds; {called} people called at the end, whose codes were known");
    }

    /// A fault that did not come proves nothing, nor one that nobody felt, nor a load that was none.
    fn held(&self, audited: &Audited) -> Result<(), String> {
        if let Some(fault) = self.missing() {
            return Err(format!("{fault:?} never came, or people were not told that the vault is busy"));
        }
        if self.seen.values().all(|seen| seen.lost == 0) {
            return Err("no request was left unanswered, whatever ended the server".to_owned());
        }
        let rounds: u64 = self.seen.values().map(|seen| seen.times).sum();
        if audited.told < 50 * rounds as usize || audited.recovered == 0 {
            return Err(format!("{} answers in {rounds} rounds are no load", audited.told));
        }
        Ok(())
    }
}

/// Where somebody's diary is.
pub(crate) fn diary(folder: &Path, name: &str) -> PathBuf {
    folder.join("diaries").join(format!("{name}.diary"))
}

fn copied(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn address(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

/// The store that a run has left.
fn opened(folder: &Path) -> Outcome<Vault> {
    server::open(&folder.join(LEFT), &Arc::new(Mood::default()), Arc::new(AtomicI64::new(0)))
}

/// The diaries of a run against its store.
fn audited(folder: &Path) -> Outcome<Audited> {
    let lives = diary::read_all(&folder.join("diaries"))?;
    let vault = opened(folder)?;
    let mut result = Audited::default();
    vault.read(&mut |state| {
        let counters = |id: &_| state.account(id).map_or_else(Counters::default, Counters::from);
        result = audit(&lives, counters, Limits::from(vault.policy()));
    })?;
    Ok(result)
}
