//! The server's half: routes, limits, and an end that finishes what it has begun.

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ed25519_dalek::{SigningKey, VerifyingKey};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use strongroom::account::AccountId;
use strongroom::error::Refusal;
use strongroom::protocol::{REQUEST_LEN, Reply, Request};
use strongroom::vault::{Queue, Vault};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutLayer;

#[cfg(feature = "channel")]
use super::Channel;
use super::{Ask, Person, Problem, Token, Told};

/// A sealed request in base64 with the JSON around it, and room to spare.
const BODY_MAX: usize = 2 * (REQUEST_LEN + 2048);
/// How long a connection may take over a request's head, and a request altogether.
const HEAD_TIME: Duration = Duration::from_secs(5);
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a token is good that is given to anybody.
const TOKEN_TIME_S: u64 = 3600;
/// How long the server waits for connections when it is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What every request needs.
#[derive(Clone)]
pub struct FrontEnd {
    pub queue: Arc<Queue>,
    /// Of the key that signs tokens.
    pub admission: VerifyingKey,
    pub metrics: PrometheusHandle,
    /// Signs a token for anybody who asks, in the place of a service that knows who people are. None refuses.
    pub admits_anybody: Option<Arc<SigningKey>>,
    /// What requests are sealed to, where it may be taken from this server.
    pub vault: Arc<Vault>,
}

/// Destroys what is exhausted and due, again and again.
pub async fn sweep(vault: Arc<Vault>, every: Duration) {
    let mut turn = tokio::time::interval(every);
    loop {
        turn.tick().await;
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
        .route("/v1/sealed", post(ask_sealed))
        .route("/v1/token", post(token))
        .route("/v1/channel", get(channel))
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
    Path(route): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Ask>, JsonRejection>,
) -> Response {
    let (account, request) = match admit(&front_end, &headers, body) {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    // What is no request, or for another account, is the vault's to refuse.
    if Request::decode(&request).is_ok_and(|(_, request)| super::route(&request) != route) {
        return problem(StatusCode::NOT_FOUND, "the request belongs to another route");
    }
    let reply = front_end.queue.submit(account, request).await.unwrap_or_else(|fault| {
        tracing::error!(%fault, "a request could not be answered");
        Reply::Refused(Refusal::Busy)
    });
    Json(Told { reply: super::to_base64(&reply.encode()) }).into_response()
}

/// One request to the vault that this server cannot read, and a reply that it cannot read either.
#[cfg(feature = "channel")]
async fn ask_sealed(
    State(front_end): State<FrontEnd>,
    headers: HeaderMap,
    body: Result<Json<Ask>, JsonRejection>,
) -> Response {
    use strongroom::session::ChannelProblem;
    let (account, request) = match admit(&front_end, &headers, body) {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    match front_end.queue.submit_sealed(account, request).await {
        Ok(reply) => Json(Told { reply: super::to_base64(&reply) }).into_response(),
        Err(found) => {
            let status = match found {
                ChannelProblem::UnknownKey | ChannelProblem::UnknownBundle => StatusCode::CONFLICT,
                ChannelProblem::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            };
            problem(status, &found.to_string())
        }
    }
}

#[cfg(not(feature = "channel"))]
async fn ask_sealed() -> Response {
    problem(StatusCode::NOT_FOUND, "this server was built without the channel")
}

/// The account that a token admits, and the request's bytes.
#[allow(clippy::result_large_err)] // It is the answer.
fn admit(
    front_end: &FrontEnd,
    headers: &HeaderMap,
    body: Result<Json<Ask>, JsonRejection>,
) -> Result<(AccountId, Vec<u8>), Response> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let account = token.and_then(|token| super::admitted(&front_end.admission, token, super::now_s()));
    let account = account.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "no valid token for an account"))?;
    let Json(ask) = body.map_err(|rejection| problem(rejection.status(), "the body is not {\"request\": base64}"))?;
    let request = super::from_base64(&ask.request);
    let request = request.ok_or_else(|| problem(StatusCode::BAD_REQUEST, "the request is not base64"))?;
    Ok((account, request))
}

/// A token for whoever asks, where that is allowed.
async fn token(State(front_end): State<FrontEnd>, body: Result<Json<Person>, JsonRejection>) -> Response {
    let Some(key) = &front_end.admits_anybody else {
        return problem(StatusCode::FORBIDDEN, "tokens are given by the service that knows who people are");
    };
    let account = body.ok().and_then(|Json(person)| super::from_hex(&person.account));
    let Some(account) = account else {
        return problem(StatusCode::BAD_REQUEST, "the body is not {\"account\": hex}");
    };
    Json(Token { token: super::token(key, &AccountId(account), super::now_s() + TOKEN_TIME_S) }).into_response()
}

/// What requests are sealed to, for clients in development: others take it from a bundle.
#[cfg(feature = "channel")]
async fn channel(State(front_end): State<FrontEnd>) -> Response {
    let vault = &front_end.vault;
    let Some(key) = vault.channel_key().filter(|_| vault.policy().development) else {
        return problem(StatusCode::NOT_FOUND, "the channel's key is in the fleet's bundle");
    };
    let channel = Channel {
        fleet: super::to_hex(vault.fleet()),
        number: key.number,
        epoch: key.epoch,
        bundle: super::to_hex(&key.bundle),
        public_key: super::to_base64(&key.public_key[..]),
    };
    Json(channel).into_response()
}

#[cfg(not(feature = "channel"))]
async fn channel() -> Response {
    problem(StatusCode::NOT_FOUND, "this server was built without the channel")
}

fn problem(status: StatusCode, problem: &str) -> Response {
    (status, Json(Problem { problem: problem.to_owned() })).into_response()
}

/// How many connections there may be.
#[derive(Clone, Copy)]
pub struct Room {
    /// Altogether. Whom there is no place for waits.
    pub connections: usize,
    /// From one address. One more is closed at once: otherwise who is slow on purpose could take every place.
    pub of_address: usize,
}

/// Connections that there are, by address.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place among those of its address.
struct Place(Addresses, IpAddr);

impl Addresses {
    fn place(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = taken.entry(address).or_default();
        (*theirs < most).then(|| {
            *theirs += 1;
            Place(self.clone(), address)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Place(addresses, address) = self;
        let mut taken = addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(theirs) = taken.get_mut(address) {
            *theirs -= 1;
            if *theirs == 0 {
                taken.remove(address);
            }
        }
    }
}

/// Hears when the process is told to stop, from when it is made on.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// # Errors
    /// If signals cannot be listened to.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns once it is.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Serves until the process is told to stop, then lets connections finish.
pub async fn serve(listener: TcpListener, front_end: FrontEnd, room: Room, stop: &mut Stop) {
    let router = router(front_end);
    let (places, addresses) = (Arc::new(Semaphore::new(room.connections)), Addresses::default());
    let graceful = GracefulShutdown::new();
    loop {
        let place = places.clone().acquire_owned();
        let stream = tokio::select! {
            // The place first: whom there is no place for waits in the system's queue.
            (place, stream) = async { (place.await, listener.accept().await) } => match (place, stream) {
                (Ok(place), Ok((stream, peer))) => match addresses.place(peer.ip(), room.of_address) {
                    Some(of_address) => ((place, of_address), stream),
                    None => continue,
                },
                // A connection that was gone before it was taken, or no descriptors left: neither is the end.
                (_, Err(error)) => {
                    tracing::warn!(%error, "no connection taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                (Err(_), _) => break,
            },
            () = stop.told() => break,
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
    tracing::info!("stopping");
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => tracing::warn!("some connections did not end in time"),
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
) -> impl GracefulConnection<Error = Box<dyn Error + Send + Sync>> + Send + 'static {
    stream.set_nodelay(true).ok();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(16 * 1024);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned()
}
