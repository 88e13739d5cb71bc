//! The server: a process of its own, with the example's front-end, over a disk with moods. The parent tells it by its
//! standard input what is wrong from now on; when that ends, so does it.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clap::Parser;
use ed25519_dalek::SigningKey;
use metrics_exporter_prometheus::PrometheusBuilder;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use strongroom::client::Preset;
use strongroom::error::Fault;
use strongroom::journal::{FileAnchor, Local};
use strongroom::ledger::Policy;
use strongroom::vault::{Clock, Custody, FileKeyStore, Gathering, Pace, Queue, SystemClock, Turn, Vault};
use strongroom::wrap::FileRoot;
use tokio::net::TcpListener;

use crate::disk::{Mood, Moody, MoodyAnchor};
use crate::front::server::{FrontEnd, Room, Stop, serve, sweep};

/// So small that checkpoints are always being written.
const CHECKPOINT_BYTES: u64 = 256 << 10;
const TURN_EVERY: Duration = Duration::from_millis(200);
const SWEEP_EVERY: Duration = Duration::from_millis(500);
pub(crate) const CONNECTIONS: usize = 128;

/// How the server is started.
#[derive(Parser, Clone)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// A kill loses what was not synced.
    #[arg(long)]
    pub(crate) volatile: bool,
    /// The planted bug.
    #[arg(long)]
    pub(crate) hasty: bool,
    /// What the clock is ahead by, in seconds.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) ahead_s: i64,
    /// The one core it runs on, if it is only one.
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Connections from one address.
    #[arg(long, default_value_t = CONNECTIONS)]
    pub(crate) of_address: usize,
}

impl Arguments {
    /// A server that nothing is wrong with.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Arguments { folder, volatile: false, hasty: false, ahead_s: 0, core: None, of_address: CONNECTIONS }
    }
}

/// Short limits, so that people reach them; and fakes that cost a client no more than records do here.
pub(crate) fn policy() -> Policy {
    let default_preset = Preset::Development.byte();
    Policy { attempts_max: 4, lifetime_max: 12, destroy_after_s: 600, default_preset, ..Policy::development() }
}

/// The key that admits people: there is nobody here to keep out.
pub(crate) fn admission_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// A clock that somebody moves.
struct Moved {
    clock: SystemClock,
    ahead_s: Arc<AtomicI64>,
}

impl Clock for Moved {
    fn now_s(&self) -> Result<u64, Fault> {
        Ok(self.clock.now_s()?.saturating_add_signed(self.ahead_s.load(Ordering::Relaxed)))
    }
}

/// Makes the vault's folder.
pub(crate) fn create(folder: &Path) -> Result<(), Box<dyn Error>> {
    let custody = Custody::create(Box::new(FileRoot::create(folder.join("root"))?), keys(folder))?;
    let anchor = Arc::new(FileAnchor::create(folder.join("anchor"))?);
    drop(Local::create(folder.join("journal"), policy(), &custody.journal_key(), anchor)?);
    Ok(())
}

fn keys(folder: &Path) -> Box<FileKeyStore> {
    Box::new(FileKeyStore::new(folder.join("keys")))
}

/// The vault over a disk with a mood.
pub(crate) fn open(folder: &Path, mood: &Arc<Mood>, ahead_s: Arc<AtomicI64>) -> Result<Vault, Box<dyn Error>> {
    let custody = Custody::open(Box::new(FileRoot::create(folder.join("root"))?), keys(folder))?;
    let file = |name| File::options().read(true).write(true).open(folder.join("journal").join(name));
    let log = Moody::new(file("log.redb")?, mood.clone())?;
    let checkpoint = Moody::new(file("checkpoint.redb")?, mood.clone())?;
    let anchor = FileAnchor::open(folder.join("anchor"))?;
    let anchor = Arc::new(MoodyAnchor::new(anchor, mood.clone(), vec![checkpoint.clone(), log.clone()]));
    let journal = Local::open_on(log, checkpoint, &policy(), &custody.journal_key(), anchor)?;
    if !mood.hasty {
        journal.set_checkpoint_bytes(CHECKPOINT_BYTES);
    }
    let clock = Moved { clock: SystemClock::new(policy().skew_max_s)?, ahead_s };
    Ok(Vault::over(Box::new(journal), Arc::new(clock), custody)?)
}

/// The child.
pub(crate) fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(core) = arguments.core {
        run_on(core)?;
    }
    serve_until_told(arguments)
}

/// From here on this process, and those it starts, run on one core.
pub(crate) fn run_on(core: usize) -> Result<(), nix::Error> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
}

#[tokio::main]
async fn serve_until_told(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let Arguments { folder, volatile, hasty, ahead_s, of_address, .. } = arguments;
    let mood = Arc::new(Mood { volatile: volatile || hasty, hasty, ..Mood::default() });
    let ahead_s = Arc::new(AtomicI64::new(ahead_s));
    let vault = Arc::new(open(&folder, &mood, ahead_s.clone())?);
    let queue = Arc::new(Queue::open(vault.clone(), Gathering::default())?);
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let front_end = FrontEnd {
        queue: queue.clone(),
        admission: admission_key().verifying_key(),
        metrics,
        admits_anybody: None,
        vault: vault.clone(),
    };
    let mut stop = Stop::listen()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    std::thread::spawn(move || obey(&mood, &ahead_s));
    tokio::spawn(sweep(vault.clone(), SWEEP_EVERY));
    // Where the disk lies, an epoch's root would be destroyed before its records have moved for good: they would never
    // open again, and people would wait for ever instead of finding what is lost.
    if !hasty {
        std::thread::spawn(move || turn_keys(&vault));
    }
    serve(listener, front_end, Room { connections: CONNECTIONS, of_address }, &mut stop).await;
    tokio::task::spawn_blocking(move || queue.close()).await?;
    Ok(())
}

/// Turns one kind of key after another, as long as the process lives. Not those by which a repeated login is known: the
/// auditor takes a repetition to be free.
fn turn_keys(vault: &Vault) {
    for turn in [Turn::Epoch, Turn::Tickets, Turn::Server].into_iter().cycle() {
        std::thread::sleep(TURN_EVERY);
        let turned = vault.rotate(turn).and_then(|number| match turn {
            Turn::Epoch => vault.rewrap(Pace::unbounded()).run(|_| {}).and_then(|_| vault.retire_epochs()),
            Turn::Server => vault.enrol_under(number as u16).map(|()| number),
            _ => Ok(number),
        });
        match turned {
            Ok(number) => tracing::info!(?turn, number, "turned"),
            // A disk that is full or read-only, as this test has it.
            Err(fault) => tracing::warn!(?turn, %fault, "not turned"),
        }
    }
}

fn obey(mood: &Mood, ahead_s: &AtomicI64) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (what, value) = line.split_once(' ').unwrap_or((&line, "0"));
        let value: i64 = value.parse().unwrap_or(0);
        match what {
            "slow" => mood.slow_ms.store(value.unsigned_abs(), Ordering::Relaxed),
            "read-only" => mood.read_only.store(value != 0, Ordering::Relaxed),
            "ahead" => ahead_s.store(value, Ordering::Relaxed),
            other => eprintln!("told to {other}, which is nothing"),
        }
    }
    // Whoever started this is gone.
    std::process::exit(3);
}

/// The child as the parent has it.
pub(crate) struct Server {
    child: Child,
    orders: ChildStdin,
    pub(crate) port: u16,
}

impl Server {
    /// Starts one and waits until it listens. What it logs goes to `log`.
    pub(crate) fn start(arguments: &Arguments, log: &Path) -> Result<Self, String> {
        let log = File::options().create(true).append(true).open(log).map_err(words)?;
        let mut command = Command::new(std::env::current_exe().map_err(words)?);
        command.arg("server").arg("--folder").arg(&arguments.folder);
        command.args(arguments.volatile.then_some("--volatile")).args(arguments.hasty.then_some("--hasty"));
        command.arg("--ahead-s").arg(arguments.ahead_s.to_string());
        if let Some(core) = arguments.core {
            command.arg("--core").arg(core.to_string());
        }
        command.arg("--of-address").arg(arguments.of_address.to_string());
        command.env("RUST_LOG", "info").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(words)?;
        let orders = child.stdin.take().ok_or("no way to tell it anything")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no way to hear it")?).read_line(&mut line).map_err(words)?;
        let port = line.strip_prefix("listening ").and_then(|port| port.trim().parse().ok());
        let Some(port) = port else {
            let status = child.wait().map_err(words)?;
            return Err(format!("the server did not start: {status}"));
        };
        Ok(Server { child, orders, port })
    }

    /// Tells it what is wrong from now on. One that is gone hears nothing.
    pub(crate) fn tell(&mut self, what: &str, value: i64) {
        writeln!(self.orders, "{what} {value}").ok();
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill(Pid::from_raw(self.child.id() as i32), signal).map_err(words)
    }

    /// The most memory that it has had, in kilobytes.
    pub(crate) fn peak_kb(&self) -> Result<u64, String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).map_err(words)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| "the system does not say how much memory a process has had".to_owned())
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ended()?;
        if status.success() { Ok(()) } else { Err(format!("it did not stop in peace: {status}")) }
    }

    /// Waits until it is gone.
    pub(crate) fn ended(mut self) -> Result<ExitStatus, String> {
        self.child.wait().map_err(words)
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
