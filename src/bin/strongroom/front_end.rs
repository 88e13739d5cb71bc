//! What an example server tells besides sealed replies: a token, and for development its channel's key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use strongroom::account::AccountId;
use strongroom::client::Trouble;
use strongroom::session::ChannelKey;
use thiserror::Error;

use crate::bundle::{hex, unhex};
use crate::file::printable;
use crate::measure::Outcome;

const ANSWER_MAX: usize = 64 * 1024;
/// When a server that does not let anybody in is given up.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// When an answer is given up. A member of a fleet gives up what it waits for itself some times before that.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Nobody answers at an address.
#[derive(Debug, Error)]
pub(crate) enum Unreached {
    /// And why.
    #[error("{0} cannot be reached: {1}")]
    NotThere(String, String),
    /// In so long a time.
    #[error(
        "{0} has not answered in {1:?}: what it was asked may have been done or not, and may be asked again safely"
    )]
    Silent(String, Duration),
}

/// A token for an account, of a server that gives one to whoever asks.
pub(crate) async fn token(server: &str, account: &AccountId) -> Outcome<String> {
    let told = call(server, "/v1/token", Some(json!({ "account": hex(account.as_bytes()) }))).await?;
    Ok(told["token"].as_str().ok_or_else(|| odd("no token"))?.to_owned())
}

/// The channel's key as the server says it, and the fleet.
pub(crate) async fn channel(server: &str) -> Outcome<(ChannelKey, [u8; 32])> {
    let told = call(server, "/v1/channel", None).await?;
    let number = |name: &str| told[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let bytes32 = |name: &str| told[name].as_str().and_then(unhex);
    let key = || {
        let public_key = BASE64.decode(told["public_key"].as_str()?).ok()?;
        Some(ChannelKey {
            number: u16::try_from(number("number")?).ok()?,
            epoch: number("epoch")?,
            bundle: bytes32("bundle")?,
            public_key: Box::new(public_key.try_into().ok()?),
        })
    };
    Ok(key().zip(bytes32("fleet")).ok_or_else(|| odd("no channel key"))?)
}

/// What a server tells on a path, or what it says is wrong.
pub(crate) async fn call(server: &str, path: &str, body: Option<Value>) -> Outcome<Value> {
    call_within(ANSWER_TIME, server, path, body).await
}

async fn call_within(time: Duration, server: &str, path: &str, body: Option<Value>) -> Outcome<Value> {
    let answered = tokio::time::timeout(time, answer(server, path, body)).await;
    answered.map_err(|_| Unreached::Silent(server.to_owned(), time))?
}

async fn answer(server: &str, path: &str, body: Option<Value>) -> Outcome<Value> {
    if server.starts_with("https://") {
        return Err(format!("{server}: only http:// is spoken here; TLS is for a proxy in between").into());
    }
    let address = format!("{}{path}", server.trim_end_matches('/'));
    let request = match &body {
        Some(_) => Request::post(address).header(header::CONTENT_TYPE, "application/json"),
        None => Request::get(address),
    };
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = request.body(Full::new(body));
    let request = request.map_err(|_| format!("{server} is not an address of the form http://HOST:PORT"))?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIME));
    let answer = Client::builder(TokioExecutor::new()).build(connector).request(request).await;
    let answer = answer.map_err(|error| Unreached::NotThere(server.to_owned(), with_cause(&error)))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|error| odd(&error.to_string()))?;
    let told: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    if status.is_success() {
        return Ok(told);
    }
    let problem = told["problem"].as_str();
    let words = printable(problem.unwrap_or(status.as_str()));
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::NotAdmitted(words),
        _ if problem.is_some() => Trouble::Refused(words),
        _ => Trouble::Odd(words),
    }
    .into())
}

/// An error's words, and those of what is behind it.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", with_cause(cause)))
}

fn odd(what: &str) -> Trouble {
    Trouble::Odd(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_given_up() -> Outcome<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Runtime::new()?;
        // One that lets people in and says nothing; one whose answer does not end; and the control, one that answers.
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for (begins, silent) in [(String::new(), true), (head.to_owned(), true), (format!("{head}{{}}"), false)] {
            let asked = runtime.spawn({
                let (server, time) = (server.clone(), Duration::from_millis(if silent { 200 } else { 20_000 }));
                async move { call_within(time, &server, "/v1/channel", None).await }
            });
            let (mut stream, _) = listener.accept()?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                request.extend(byte);
            }
            stream.write_all(begins.as_bytes())?;
            let told = runtime.block_on(asked)?;
            if !silent {
                assert_eq!(told.map_err(|error| error.to_string()), Ok(json!({})));
                continue;
            }
            let why = told.map_err(|error| (error.is::<Unreached>(), error.to_string())).unwrap_err();
            assert!(why.0 && why.1.contains("has not answered in 200ms"), "{why:?}");
            assert!(why.1.contains("may have been done or not") && why.1.contains("again safely"), "{why:?}");
        }
        Ok(())
    }
}
