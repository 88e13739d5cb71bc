//! A vault behind HTTP: the smallest front-end that could be put before people.
//!
//! You will see: a vault made in the folder you name, or opened again, and a server that says where it listens. It
//! answers `POST /v1/enrol`, `/v1/recover`, `/v1/remaining` and `/v1/remove`, each `{"request": base64}` with
//! `{"reply": base64}`, to whoever brings a token signed for the account; `POST /v1/sealed` the same way, for requests that
//! it cannot read (feature `channel`); `GET /metrics` for Prometheus and `GET /healthz`. A SIGHUP turns its keys. Interrupt
//! it and it finishes what it has begun. `--example load` is a crowd to put before it; `strongroom enrol` is one person.
//!
//! ```text
//! cargo run --release --example http_server -- --folder vault-for-a-try
//! ```
//!
//! With the feature `transparency` and `--artifact fleet-keys.json` it starts from the folder that `strongroom ceremony`
//! has made.
//!
//! What slow, large or many connections can take is bounded: connections, altogether and of one address, the time for a
//! head and for a whole request, the size of a body, requests in line, altogether and of one account. TLS, and limits of
//! rate for each person, belong before it.
#![allow(clippy::expect_used)] // An example stops where something is not as told.

#[path = "../front/mod.rs"]
mod front;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ed25519_dalek::SigningKey;
use front::server::{FrontEnd, Room, Stop};
use metrics_exporter_prometheus::PrometheusBuilder;
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::vault::{Config, Gathering, Pace, Queue, Turn, Vault};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A vault behind HTTP, for development.
#[derive(Parser)]
struct Arguments {
    /// Where the vault is kept; made if it is not there.
    #[arg(long)]
    folder: PathBuf,
    /// The fleet's public keys and policy, fleet-keys.json, of the ceremony at which the vault was made: the policy that it must be under.
    #[cfg(feature = "transparency")]
    #[arg(long)]
    artifact: Option<PathBuf>,
    /// What the operator publishes of the fleet's keys, a folder, which people verify: the vault serves under its newest
    /// bundle.
    #[cfg(all(feature = "transparency", feature = "channel"))]
    #[arg(long, requires = "pins")]
    published: Option<PathBuf>,
    /// What is trusted of the signers: the server verifies what it serves under, as its clients do.
    #[cfg(all(feature = "transparency", feature = "channel"))]
    #[arg(long, requires = "published")]
    pins: Option<PathBuf>,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Give a token to whoever asks for one, in the place of a service that knows who people are: for a try.
    #[arg(long)]
    admit_anybody: bool,
    /// Connections at once.
    #[arg(long, default_value_t = 1024)]
    connections: usize,
    /// Connections at once from one address.
    #[arg(long, default_value_t = 512)]
    of_address: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let arguments = Arguments::parse();
    let hardened = strongroom::process::harden_process();
    tracing::info!(hardened.undumpable, hardened.locked, "the process");
    // Threads come after.
    tokio::runtime::Runtime::new()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "transparency")]
    let of_ceremony =
        arguments.artifact.as_deref().map(|artifact| of_ceremony(&arguments.folder, artifact)).transpose()?;
    #[cfg(not(feature = "transparency"))]
    let of_ceremony = None;
    let vault = Arc::new(of_ceremony.map_or_else(|| open(&arguments.folder), Ok)?);
    #[cfg(all(feature = "transparency", feature = "channel"))]
    if let (Some(published), Some(pins)) = (&arguments.published, &arguments.pins) {
        serve_under(&vault, published, pins)?;
    }
    let admission = admission_key(&arguments.folder)?;
    let queue = Arc::new(Queue::open(vault.clone(), Gathering::default())?);
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let front_end = FrontEnd {
        queue: queue.clone(),
        admission: admission.verifying_key(),
        metrics,
        admits_anybody: arguments.admit_anybody.then(|| Arc::new(admission)),
        vault: vault.clone(),
    };
    tokio::spawn(front::server::sweep(vault.clone(), SWEEP_EVERY));
    tokio::spawn(turn_when_told(vault, signal(SignalKind::hangup())?));

    let mut stop = Stop::listen()?;
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!("tokens are signed with the key in {}", key_file(&arguments.folder).display());
    let room = Room { connections: arguments.connections, of_address: arguments.of_address };
    front::server::serve(listener, front_end, room, &mut stop).await;

    // Nobody is connected any more; what is in a batch is finished, the rest is told to come again.
    tokio::task::spawn_blocking(move || queue.close()).await?;
    println!("stopped");
    Ok(())
}

/// Turns keys at each SIGHUP: a new epoch and new ticket keys at once, older records moved to the epoch beside the requests,
/// and then the epochs before ended.
async fn turn_when_told(vault: Arc<Vault>, mut told: Signal) {
    while told.recv().await.is_some() {
        let vault = vault.clone();
        let turned = tokio::task::spawn_blocking(move || {
            vault.rotate(Turn::Tickets)?;
            vault.rotate(Turn::Epoch)?;
            vault.rewrap(Pace::default()).run(|_| {})?;
            vault.retire_epochs()
        });
        match turned.await {
            Ok(Ok(epoch)) => tracing::info!(epoch, "keys have turned, and every record is under the newest epoch"),
            Ok(Err(fault)) => tracing::error!(%fault, "keys have not turned, or not all"),
            Err(error) => tracing::error!(%error, "the turn of keys ended"),
        }
    }
}

/// The vault that a ceremony has made, under the policy that its artifact names.
#[cfg(feature = "transparency")]
fn of_ceremony(folder: &Path, artifact: &Path) -> Result<Vault, Box<dyn Error>> {
    let keys = strongroom::transparency::FleetKeys::read(&fs::read(artifact)?)?;
    let vault = Vault::open(Config::development(folder)?, keys.policy)?;
    if *vault.fleet() != keys.fleet {
        return Err("this is the vault of another ceremony".into());
    }
    Ok(vault)
}

/// Serves under the newest bundle that is published, if it verifies.
#[cfg(all(feature = "transparency", feature = "channel"))]
fn serve_under(vault: &Vault, published: &Path, pins: &Path) -> Result<(), Box<dyn Error>> {
    use strongroom::transparency::{Pins, Published, Trust};
    let mut trust = Trust::new(Pins::read(&fs::read_to_string(pins)?)?)?;
    let verified = Published::read(published)?.accept(&mut trust, front::now_s())?;
    tracing::info!(epoch = verified.bundle().epoch, "serving under a verified bundle");
    Ok(vault.serve_under(&[verified])?)
}

/// The vault in a folder, made if there is none.
fn open(folder: &Path) -> Result<Vault, Box<dyn Error>> {
    let policy = Policy::development();
    let new = !folder.join("keys").exists();
    let config = Config::development(folder)?;
    Ok(if new { Vault::create(config, policy)? } else { Vault::open(config, policy)? })
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("admission.key")
}

/// The key that signs tokens. Here it lies in the folder, so that the load example finds it; in life the service that
/// knows who people are holds it, and this server the public half.
fn admission_key(folder: &Path) -> Result<SigningKey, Box<dyn Error>> {
    let path = key_file(folder);
    if !path.exists() {
        write_key(&path, Secret::random()?.expose())?;
    }
    let bytes = fs::read(&path)?;
    Ok(SigningKey::from_bytes(bytes.as_slice().try_into()?))
}

/// Writes a key that only its owner may read, so that after a crash it is whole or not there.
fn write_key(path: &Path, key: &[u8; 32]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // Left by a crash.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // A name is as durable as the folder that it stands in.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
