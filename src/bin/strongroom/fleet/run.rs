//! `strongroom fleet run`: one member.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use ed25519_dalek::{SigningKey, VerifyingKey};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use strongroom::error::Fault;
use strongroom::fleet::{Fleet, Replica, Settings, Streams, TcpDials};
use strongroom::transparency::{Published, Trust};
use strongroom::vault::{Gathering, Queue, Vault};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};

use super::front::server::{self, FrontEnd, Room, Stop};
use super::operations::{self, Operated};
use super::site::Site;
use crate::bundle::unhex;
use crate::file::tell;
use crate::log::now_s;
use crate::measure::Outcome;
use crate::signer::read_pins;

/// Between two looks for keys that have turned elsewhere.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Between two tries to open the vault, and two looks whether the replica still runs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One member.
#[derive(Args)]
pub(crate) struct Run {
    /// The member's folder
    #[arg(long)]
    folder: PathBuf,
    /// Where people are answered
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where operators are answered: on a network of their own
    #[arg(long, default_value = "127.0.0.1:8180")]
    operations: SocketAddr,
    /// Where other members are answered, if that is not the name that the statement gives
    #[arg(long)]
    links: Option<String>,
    /// Reach a member elsewhere than at its name, as NUMBER=HOST:PORT
    #[arg(long)]
    reach: Vec<String>,
    /// The public key of the service that knows who people are and signs their tokens (Ed25519, in hex)
    #[arg(long, required_unless_present = "admit_anybody")]
    admission: Option<String>,
    /// Give a token to whoever asks for one, signed by the key in this file of 32 bytes: for a try
    #[arg(long, conflicts_with = "admission")]
    admit_anybody: Option<PathBuf>,
    /// What the operator publishes of the fleet's public keys, a folder: the vault serves under its newest bundle
    #[arg(long, requires = "pins")]
    published: Option<PathBuf>,
    /// The pins, a file that "strongroom pins" writes: whose keys are trusted from the start. The member verifies what it serves
    /// under, as its clients do
    #[arg(long, requires = "published")]
    pins: Option<PathBuf>,
    /// Connections of people at once
    #[arg(long, default_value_t = 1024)]
    connections: usize,
    /// Connections at once from one address
    #[arg(long, default_value_t = 512)]
    of_address: usize,
    /// Signs of life of a leader come this often; elections begin after six to eight times as long without. In milliseconds
    #[arg(long, default_value_t = Settings::default().heartbeat.as_millis() as u64)]
    heartbeat: u64,
    /// Read no newer version of messages and batches than this, until one is sure of a new build: once every member reads a newer
    /// one, the fleet speaks it for good
    #[arg(long, default_value_t = Settings::default().newest)]
    newest: u8,
    /// Write the log as JSON, a line an event
    #[arg(long)]
    json_log: bool,
    /// End when whoever started it ends.
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub(crate) fn run(options: Run) -> Outcome<()> {
    #[cfg(target_os = "linux")]
    if options.with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,openraft=error".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if options.json_log {
        log.json().init()
    } else {
        log.init()
    }
    // Again, since it is from here on that somebody reads what the system did not grant.
    let _ = strongroom::process::harden_process();
    let site = Arc::new(Site::open(&options.folder)?);
    let runtime = Runtime::new()?;
    runtime.block_on(serve(site, options))
}

async fn serve(site: Arc<Site>, options: Run) -> Outcome<()> {
    let mut stop = Stop::listen()?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let tls = site.tls()?;
    let dials = TcpDials::elsewhere(tls.clone(), elsewhere(&options.reach)?);
    // Bound first: a member that others cannot reach is none.
    let links = bound("other members", options.links.as_deref().unwrap_or(&site.name)).await?;
    let operations = bound("operators", &options.operations.to_string()).await?;
    let people = bound("people", &options.listen.to_string()).await?;
    let heartbeat = Duration::from_millis(options.heartbeat);
    let settings = Settings { heartbeat, election: heartbeat * 2, newest: options.newest, ..Settings::default() };
    let replica = site.replica(Arc::new(Streams::new(dials)), settings).await?;
    tokio::spawn(tls.acceptor(&replica)?.listen(links));
    let opened = Arc::new(OnceLock::new());
    let operated = Operated {
        replica: replica.clone(),
        vault: opened.clone(),
        metrics: metrics.clone(),
        people: format!("http://{}", people.local_addr()?),
        rewraps: Arc::default(),
    };
    tell(&format!("member {}: operators are answered on http://{}", site.number, operations.local_addr()?))?;
    tokio::spawn(axum::serve(operations, operations::router(operated)).into_future());

    let ended = tokio::select! {
        served = answer(&site, &replica, &opened, people, metrics, &options, &mut stop) => served,
        () = failed(&replica) => Err("the replica has stopped after a failure; the log says which".into()),
    };
    replica.stop().await;
    ended
}

async fn bound(whom: &str, address: &str) -> Outcome<TcpListener> {
    let bound = TcpListener::bind(address).await;
    Ok(bound.map_err(|error| format!("{whom} cannot be answered on {address}: {error}"))?)
}

/// Opens the vault, and answers people until the process is told to stop.
async fn answer(
    site: &Arc<Site>,
    replica: &Replica,
    opened: &OnceLock<Arc<Vault>>,
    people: TcpListener,
    metrics: PrometheusHandle,
    options: &Run,
    stop: &mut Stop,
) -> Outcome<()> {
    let fleet = Fleet::new(replica.clone(), Arc::new(Handle::current()));
    let vault = tokio::select! {
        vault = vault(site, &fleet) => Arc::new(vault?),
        () = stop.told() => return Ok(()),
    };
    if let (Some(published), Some(pins)) = (&options.published, &options.pins) {
        let mut trust = Trust::new(read_pins(pins)?)?;
        vault.serve_under(&[Published::read(published)?.accept(&mut trust, now_s()?)?])?;
    }
    vault.hold_keys(&fleet, site.recipient());
    opened.set(vault.clone()).ok();
    let (admission, admits_anybody) = admission(options)?;
    let queue = Arc::new(Queue::open(vault.clone(), Gathering::default())?);
    let front_end = FrontEnd { queue: queue.clone(), admission, metrics, admits_anybody, vault: vault.clone() };
    let keys = tokio::spawn(keep_keys(vault.clone(), fleet, site.clone()));
    let sweeps = tokio::spawn(server::sweep(vault, SWEEP_EVERY));
    tell(&format!("member {}: people are answered on http://{}", site.number, people.local_addr()?))?;
    let room = Room { connections: options.connections, of_address: options.of_address };
    server::serve(people, front_end, room, stop).await;
    // Others lead while this one finishes what it has begun.
    replica.drain();
    keys.abort();
    sweeps.abort();
    tokio::task::spawn_blocking(move || queue.close()).await?;
    Ok(())
}

/// The member's vault, once there is a leader, with keys as new as the fleet's.
async fn vault(site: &Arc<Site>, fleet: &Fleet) -> Outcome<Vault> {
    loop {
        let (site, fleet) = (site.clone(), fleet.clone());
        match tokio::task::spawn_blocking(move || site.vault(fleet)).await?? {
            Ok(vault) => return Ok(vault),
            Err(Fault::Unsettled(why)) => tracing::info!(why, "the vault waits for the fleet"),
            Err(fault) => return Err(fault.into()),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes keys that have turned at other members, again and again.
async fn keep_keys(vault: Arc<Vault>, fleet: Fleet, site: Arc<Site>) {
    let mut said = None;
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let (vault, fleet, site) = (vault.clone(), fleet.clone(), site.clone());
        let followed = tokio::task::spawn_blocking(move || vault.follow_keys(&fleet, site.recipient())).await;
        let fault = match followed {
            Ok(followed) => followed.err().map(|fault| fault.to_string()),
            Err(panicked) => Some(panicked.to_string()),
        };
        // Said once: it is tried twenty times a second.
        if fault != said {
            match &fault {
                Some(fault) => tracing::warn!(%fault, "the keys are older than the fleet's"),
                None => tracing::info!("the keys are as new as the fleet's again"),
            }
            said = fault;
        }
    }
}

/// Returns once the replica does not go on any more.
async fn failed(replica: &Replica) {
    while replica.status().running {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// By which key tokens are known, and the key that signs them for anybody, if so it is to be.
fn admission(options: &Run) -> Outcome<(VerifyingKey, Option<Arc<SigningKey>>)> {
    if let Some(path) = &options.admit_anybody {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key = bytes.as_slice().try_into().map_err(|_| format!("{}: not 32 bytes", path.display()))?;
        let key = SigningKey::from_bytes(key);
        return Ok((key.verifying_key(), Some(Arc::new(key))));
    }
    let text = options.admission.as_deref().unwrap_or_default();
    let key = unhex(text).ok_or("--admission must be 32 bytes of hex")?;
    Ok((VerifyingKey::from_bytes(&key)?, None))
}

fn elsewhere(reach: &[String]) -> Outcome<BTreeMap<u64, String>> {
    let one = |text: &String| -> Outcome<(u64, String)> {
        let (number, address) = text.split_once('=').ok_or_else(|| format!("{text} is not NUMBER=HOST:PORT"))?;
        let number = number.parse().map_err(|_| format!("{number} is not a member's number"))?;
        Ok((number, address.to_owned()))
    };
    reach.iter().map(one).collect()
}
