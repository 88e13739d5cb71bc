//! `strongroom fleet up`: a whole fleet on this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use strongroom::ledger::{Policy, Signers};
use strongroom::secret::Secret;
use strongroom::transparency::{Order, SigningKey, Statement};
use strongroom::vault::{Config, Vault};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::site::Site;
use super::status::{self, OPERATIONS, stands, table};
use crate::file::{tell, write_key, write_new, write_secret};
use crate::measure::Outcome;

const REPLICAS_MAX: u64 = 9;
/// From the port of people to that of operators, and to that of members.
const OPERATORS: u16 = 100;
const MEMBERS: u16 = 200;
/// Until the fleet must stand.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Before a member that has ended is started again.
const RESTART: Duration = Duration::from_secs(2);
/// For a member that is told to stop.
const GRACE: Duration = Duration::from_secs(20);

/// A fleet for a try.
#[derive(Args)]
pub(crate) struct Up {
    /// How many members, if the fleet is to be made
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=REPLICAS_MAX))]
    replicas: u64,
    /// Where it is kept; made if it is not there
    #[arg(long, default_value = "fleet-for-a-try")]
    folder: PathBuf,
    /// People are answered on this port and those after it, operators a hundred and members two hundred above, if the
    /// fleet is to be made
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
}

pub(crate) fn run(options: Up) -> Outcome<()> {
    let Up { replicas, folder, port } = options;
    if folder.exists() {
        tell(&format!("the fleet in {} runs again", folder.display()))?;
    } else {
        make(&folder, replicas, port)?;
        tell(&format!("a fleet of {replicas} is made in {}; both signers have named its members", folder.display()))?;
    }
    // Members end with the thread that has started them: this one.
    let runtime = Runtime::new()?;
    runtime.block_on(supervise(&folder))
}

/// Draws keys, names members and hands the keys to them: all in a folder that has its name once it is whole.
fn make(folder: &Path, replicas: u64, port: u16) -> Outcome<()> {
    let whole = folder;
    let name = whole.file_name().ok_or("a fleet's folder has a name")?.to_string_lossy().into_owned();
    let folder = &whole.with_file_name(format!("{name}.partial"));
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let signers = ["auditor.example", "operator.example"].map(|name| SigningKey::new(name, &Secret::random()?));
    let [auditor, operator] = signers;
    let (auditor, operator) = (auditor?, operator?);
    write_key(&folder.join("auditor.key"), &auditor)?;
    write_key(&folder.join("operator.key"), &operator)?;
    write_secret(&folder.join("admission.key"), Secret::<[u8; 32]>::random()?.expose())?;
    let keys = |key: &SigningKey| *key.verifying_key().as_bytes();
    let both = Signers { auditor: keys(&auditor), operator: keys(&operator) };
    let policy = Policy { signers: Some(both), ..Policy::development() };

    let ceremony = folder.join("ceremony");
    let vault = Vault::create(Config::development(&ceremony)?, policy)?;
    let artifact = vault.fleet_keys()?.write()?;
    write_new(&folder.join("fleet-keys.json"), &artifact)?;
    let site = |number: u64| {
        let port = port.checked_add(MEMBERS + number as u16 - 1).ok_or("no port is so high")?;
        Site::create(&member_folder(folder, number), number, &format!("127.0.0.1:{port}"))
    };
    let sites = (1..=replicas).map(site).collect::<Outcome<Vec<_>>>()?;
    let members = sites.iter().map(|site| site.named("development")).collect();
    let order = Order::Members { predecessor: [0; 32], members };
    let mut statement = Statement { fleet: *vault.fleet(), order }.note()?;
    [&auditor, &operator].into_iter().for_each(|key| statement.sign(key));
    write_new(&folder.join("members-1"), &statement.write())?;
    vault.obey(&statement)?;
    for site in &sites {
        site.take(&artifact, &statement, &vault.hand_over(site.number, site.channel_key())?, None, &[])?;
    }
    drop(vault);
    // What the keys were drawn in: from here on members alone have them.
    fs::remove_dir_all(ceremony)?;
    let port = |more: u16, number: u64| port + more + number as u16 - 1;
    let operations = (1..=replicas).map(|number| format!("http://127.0.0.1:{}\n", port(OPERATORS, number)));
    write_new(&folder.join(OPERATIONS), operations.collect::<String>().as_bytes())?;
    fs::rename(folder, whole)?;
    Ok(())
}

fn member_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("member-{number}"))
}

fn member_log(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("member-{number}.log"))
}

/// A member's process.
struct Member {
    number: u64,
    process: Child,
    ended: Option<Instant>,
}

impl Member {
    fn start(folder: &Path, number: u64, operations: &str) -> Outcome<Self> {
        let operations = operations.trim_start_matches("http://");
        let (host, port) = operations.rsplit_once(':').ok_or("no port")?;
        let people = format!("{host}:{}", port.parse::<u16>()? - OPERATORS);
        let log = File::options().create(true).append(true).open(member_log(folder, number))?;
        let process = Command::new(std::env::current_exe()?)
            .args(["fleet", "run", "--with-parent", "--listen", &people, "--operations", operations])
            .arg("--folder")
            .arg(member_folder(folder, number))
            .arg("--admit-anybody")
            .arg(folder.join("admission.key"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Member { number, process, ended: None })
    }
}

async fn supervise(folder: &Path) -> Outcome<()> {
    let operations = status::addresses(folder)?;
    let mut members = Vec::new();
    for (number, at) in (1..).zip(&operations) {
        members.push(Member::start(folder, number, at)?);
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (begun, mut stood) = (Instant::now(), false);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for (member, at) in members.iter_mut().zip(&operations) {
            match (member.process.try_wait()?, member.ended) {
                (None, _) => {}
                (Some(status), None) => {
                    let (number, log) = (member.number, member_log(folder, member.number));
                    let log = log.display();
                    tell(&format!("member {number} ended: {status}; {log} says why; it is started again"))?;
                    member.ended = Some(Instant::now());
                }
                (Some(_), Some(ended)) if ended.elapsed() > RESTART => {
                    *member = Member::start(folder, member.number, at)?;
                }
                _ => {}
            }
        }
        if !stood {
            let asked = status::ask(&operations).await;
            stood = stands(&asked) && asked.iter().all(|it| it.told.as_ref().is_ok_and(|it| it.unready.is_none()));
            if stood {
                tell(&format!("\n{}\n\n{}", table(&asked), words(folder, &operations)))?;
            } else if begun.elapsed() > PATIENCE {
                stop(&mut members).await?;
                let (log, table) = (member_log(folder, 1), table(&asked));
                return Err(format!("the fleet does not stand; {} and so on say why:\n{table}", log.display()).into());
            }
        }
    }
    stop(&mut members).await?;
    tell("stopped")
}

/// What to do with it.
fn words(folder: &Path, operations: &[String]) -> String {
    let first = operations.first().and_then(|at| at.rsplit_once(':')?.1.parse::<u16>().ok()).unwrap_or_default();
    let (server, shown) = (format!("http://127.0.0.1:{}", first.saturating_sub(OPERATORS)), folder.display());
    format!(
        "enrol:     strongroom enrol --development --person ada --server {server}\n\
         the table: strongroom fleet status --folder {shown}\n\
         logs:      {shown}/member-1.log and so on\n\
         stop:      Ctrl-C; kill -9 any member meanwhile, and it comes back"
    )
}

/// Tells every member to stop, and waits for it.
async fn stop(members: &mut [Member]) -> Outcome<()> {
    for member in &*members {
        if let Ok(pid) = i32::try_from(member.process.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
            && member.ended.is_none()
        {
            // One that has ended meanwhile needs no telling.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
    }
    let begun = Instant::now();
    for member in members {
        while member.process.try_wait()?.is_none() {
            if begun.elapsed() > GRACE {
                member.process.kill()?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}
