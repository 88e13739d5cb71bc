//! The caller's half: the way of a request to the server and of a reply back.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Ask, Told};

/// Connections that are kept for the next request.
const IDLE_MAX: usize = 1024;
/// When a server that says nothing is given up: later than it would give up itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no reply.
#[derive(Debug)]
pub enum Unanswered {
    /// No connection: the request was not sent.
    Unsent(String),
    /// It was sent, and nothing came back: it may have been served, and may yet be.
    Lost(String),
    /// The front-end turned it away, or something that is no front-end of ours answered.
    Odd(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Unanswered::Unsent(words) | Unanswered::Lost(words) | Unanswered::Odd(words)) = self;
        f.write_str(words)
    }
}

impl From<Unanswered> for String {
    fn from(unanswered: Unanswered) -> String {
        unanswered.to_string()
    }
}

/// Speaks to servers.
#[derive(Clone)]
pub struct Caller(Client<HttpConnector, Full<Bytes>>);

impl Default for Caller {
    fn default() -> Self {
        Caller::new(None, IDLE_MAX)
    }
}

impl Caller {
    /// One that calls from this address of the machine, if it matters which, and keeps so many connections for later
    /// requests: with 0 every request has a connection of its own.
    pub fn new(from: Option<IpAddr>, kept: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_local_address(from);
        Caller(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(kept).build(connector))
    }

    /// The bytes of a request there, those of its reply back.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, server: &str, route: &str, token: &str, request: &[u8]) -> Result<Vec<u8>, Unanswered> {
        let odd = |words: &dyn fmt::Display| Unanswered::Odd(words.to_string());
        let body = serde_json::to_vec(&Ask { request: super::to_base64(request) }).map_err(|error| odd(&error))?;
        let request = Request::post(address(server, &format!("/v1/{route}"))?)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| odd(&error))?;
        let (status, body) = self.send(request).await?;
        if status == StatusCode::REQUEST_TIMEOUT {
            return Err(Unanswered::Lost("the server gave up".to_owned()));
        }
        if !status.is_success() {
            return Err(Unanswered::Odd(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        let told: Told = serde_json::from_slice(&body).map_err(|error| odd(&error))?;
        super::from_base64(&told.reply).ok_or_else(|| odd(&"a reply that is not base64"))
    }

    /// What the server shows of itself, as text.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, server: &str, path: &str) -> Result<String, Unanswered> {
        let request = Request::get(address(server, path)?).body(Full::default());
        let (_, body) = self.send(request.map_err(|error| Unanswered::Odd(error.to_string()))?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Unanswered> {
        let answered = async {
            let answer = self.0.request(request).await.map_err(|error| match error.is_connect() {
                true => Unanswered::Unsent(format!("no connection: {}", with_cause(&error))),
                false => Unanswered::Lost(format!("no answer: {}", with_cause(&error))),
            })?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            Ok((status, body.map_err(|error| Unanswered::Lost(error.to_string()))?.to_bytes()))
        };
        let timed = tokio::time::timeout(PATIENCE, answered).await;
        timed.unwrap_or_else(|_| Err(Unanswered::Lost("no answer in time".to_owned())))
    }
}

/// An error's words, and those of what is behind it.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", with_cause(cause)))
}

fn address(server: &str, path: &str) -> Result<Uri, Unanswered> {
    let uri = format!("{}{path}", server.trim_end_matches('/'));
    uri.parse().map_err(|_| Unanswered::Odd(format!("{uri} is no address")))
}
