//! A vault behind HTTP: the smallest front-end that could be put before people.
//!
//! You will see: a vault made in the folder you name, or opened again, and a server that says where it listens. It
//! answers `POST /v1/enrol`, `/v1/recover`, `/v1/remaining` and `/v1/remove`, each `{"request": base64}` with
//! `{"reply": base64}`, to whoever brings a token signed for the account; `GET /metrics` for Prometheus and
//! `GET /healthz`. Interrupt it and it finishes what it has begun. `--example load` is a crowd to put before it.
//!
//! ```text
//! cargo run --release --example http_server -- --folder vault-for-a-try
//! ```
//!
//! What slow, large or many connections can take is bounded: connections, the time for a head and for a whole request,
//! the size of a body, requests in line. TLS, and limits of rate for each person, belong before it.
#![allow(clippy::expect_used)] // An example stops where something is not as told.

#[path = "../front/mod.rs"]
mod front;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path as Route, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use ed25519_dalek::{SigningKey, VerifyingKey};
use front::{Ask, Problem, Told};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use strongroom::ledger::Policy;
use strongroom::protocol::{REQUEST_LEN, Reply, Request};
use strongroom::secret::Secret;
use strongroom::vault::{Config, Gathering, Queue, Vault};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutLayer;

/// A request in base64 with the JSON around it, and room to spare.
const BODY_MAX: usize = 2 * REQUEST_LEN;
/// How long a connection may take over a request's head, and a request altogether.
const HEAD_TIME: Duration = Duration::from_secs(5);
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long the server waits for connections when it is told to stop.
const GRACE: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A vault behind HTTP, for development.
#[derive(Parser)]
struct Arguments {
    /// Where the vault is kept; made if it is not there.
    #[arg(long)]
    folder: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Connections at once.
    #[arg(long, default_value_t = 1024)]
    connections: usize,
}

/// What every request needs.
#[derive(Clone)]
struct FrontEnd {
    queue: Arc<Queue>,
    admission: VerifyingKey,
    metrics: PrometheusHandle,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let arguments = Arguments::parse();
    let hardened = strongroom::process::harden_process();
    tracing::info!(hardened.undumpable, hardened.locked, "the process");

    let vault = Arc::new(open(&arguments.folder)?);
    let admission = admission_key(&arguments.folder)?.verifying_key();
    let queue = Arc::new(Queue::open(vault.clone(), Gathering::default())?);
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let front_end = FrontEnd { queue: queue.clone(), admission, metrics };
    tokio::spawn(sweep(vault));

    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    println!("tokens are signed with the key in {}", key_file(&arguments.folder).display());
    serve(listener, router(front_end), arguments.connections).await?;

    // Nobody is connected any more; what is in a batch is finished, the rest is told to come again.
    tokio::task::spawn_blocking(move || queue.close()).await?;
    println!("stopped");
    Ok(())
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
        std::fs::write(&path, Secret::<[u8; 32]>::random()?.expose())?;
    }
    let bytes = std::fs::read(&path)?;
    Ok(SigningKey::from_bytes(bytes.as_slice().try_into()?))
}

/// Destroys what is exhausted and due, once a minute.
async fn sweep(vault: Arc<Vault>) {
    let mut minute = tokio::time::interval(SWEEP_EVERY);
    loop {
        minute.tick().await;
        let vault = vault.clone();
        match tokio::task::spawn_blocking(move || vault.sweep()).await {
            Ok(Ok(swept)) => tracing::debug!(swept.destroyed, swept.forgotten, "swept"),
            Ok(Err(fault)) => tracing::error!(%fault, "the sweep failed"),
            Err(error) => tracing::error!(%error, "the sweep ended"),
        }
    }
}

fn router(front_end: FrontEnd) -> Router {
    Router::new()
        .route("/v1/{route}", post(ask))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIME))
        .route("/metrics", get(async |State(front_end): State<FrontEnd>| front_end.metrics.render()))
        .route("/healthz", get(async || "ok\n"))
        .with_state(front_end)
}

/// One request to the vault. Whatever the vault says is told with status 200 and has one size: an observer of statuses
/// and sizes learns no outcome.
async fn ask(
    State(front_end): State<FrontEnd>,
    Route(route): Route<String>,
    headers: HeaderMap,
    body: Result<Json<Ask>, JsonRejection>,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(account) = token.and_then(|token| front::admitted(&front_end.admission, token, front::now_s())) else {
        return problem(StatusCode::UNAUTHORIZED, "no valid token for an account");
    };
    let ask = match body {
        Ok(Json(ask)) => ask,
        Err(rejection) => return problem(rejection.status(), "the body is not {\"request\": base64}"),
    };
    let Some(request) = front::from_base64(&ask.request) else {
        return problem(StatusCode::BAD_REQUEST, "the request is not base64");
    };
    // What is no request, or for another account, is the vault's to refuse.
    if Request::decode(&request).is_ok_and(|(_, request)| front::route(&request) != route) {
        return problem(StatusCode::NOT_FOUND, "the request belongs to another route");
    }
    let reply = front_end.queue.submit(account, request).await.unwrap_or_else(|fault| {
        tracing::error!(%fault, "a request could not be answered");
        Reply::Refused(strongroom::error::Refusal::Busy)
    });
    Json(Told { reply: front::to_base64(&reply.encode()) }).into_response()
}

fn problem(status: StatusCode, problem: &str) -> Response {
    (status, Json(Problem { problem: problem.to_owned() })).into_response()
}

/// Serves until the process is told to stop, then lets connections finish.
async fn serve(listener: TcpListener, router: Router, connections: usize) -> Result<(), Box<dyn Error>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let room = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    loop {
        let place = room.clone().acquire_owned();
        let stream = tokio::select! {
            // The place first: whom there is no place for waits in the system's queue.
            (place, stream) = async { (place.await, listener.accept().await) } => match (place, stream) {
                (Ok(place), Ok((stream, _))) => (place, stream),
                // A connection that was gone before it was taken, or no descriptors left: neither is the end.
                (_, Err(error)) => {
                    tracing::warn!(%error, "no connection taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                (Err(_), _) => break,
            },
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        let (place, stream) = stream;
        let connection = graceful.watch(connection(stream, router.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    println!("stopping");
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => tracing::warn!("some connections did not end in time"),
    }
    Ok(())
}

fn connection(
    stream: TcpStream,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn Error + Send + Sync>> + Send + 'static {
    stream.set_nodelay(true).ok();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(16 * 1024);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned()
}
