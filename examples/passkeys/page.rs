//! The page, and what is done with what it sends. `tests/browser` puts a real browser before it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom::client::{Keyring, Passkey};
use strongroom::secret::Secret;
use tokio::net::TcpListener;

/// The files of `strongroom enrol`.
pub(crate) struct Files {
    pub(crate) key: PathBuf,
    pub(crate) keyring: PathBuf,
}

/// A credential, as the page reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    id: String,
    label: Option<String>,
    prf_enabled: Option<bool>,
    prf_first: Option<String>,
}

/// WebAuthn takes `localhost` for a secure origin, and no address of numbers.
pub(crate) fn address(listener: &TcpListener) -> io::Result<String> {
    Ok(format!("http://localhost:{}", listener.local_addr()?.port()))
}

pub(crate) fn router(files: Files, address: String) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/keyring", get(show))
        .route("/add", post(add))
        .route("/open", post(open))
        .route("/revoke", post(revoke))
        .layer(middleware::from_fn_with_state(Arc::<str>::from(address), own_pages_only))
        .with_state(Arc::new(files))
}

/// Other pages in the same browser may send here too; what comes of this page says so.
async fn own_pages_only(State(address): State<Arc<str>>, request: Request, next: Next) -> Response {
    match is_own(request.headers(), &address) {
        true => next.run(request).await,
        false => problem("another page is not served here"),
    }
}

fn is_own(headers: &HeaderMap, address: &str) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = header(header::HOST).is_some_and(|host| address.ends_with(&format!("//{host}")));
    host && header(header::ORIGIN).is_none_or(|origin| origin == address)
}

async fn show(State(files): State<Arc<Files>>) -> Response {
    answer(files.keyring().map(|keyring| {
        let passkeys = keyring.passkeys().iter();
        json!({
            "prf_input": BASE64.encode(keyring.prf_input()),
            "passkeys": passkeys
                .map(|held| json!({ "id": BASE64.encode(&held.credential_id), "label": held.label }))
                .collect::<Vec<_>>(),
        })
    }))
}

async fn add(State(files): State<Arc<Files>>, Json(credential): Json<Credential>) -> Response {
    let added = || {
        let (key, mut keyring) = (files.backup_key()?, files.keyring()?);
        let label = credential.label.clone().unwrap_or_default();
        keyring.add_passkey(&key, &label, &credential.passkey()?).map_err(words)?;
        files.write_keyring(&keyring)?;
        Ok(json!({ "said": format!("added: {label} opens this backup") }))
    };
    answer(added())
}

async fn open(State(files): State<Arc<Files>>, Json(credential): Json<Credential>) -> Response {
    let opened = || {
        let key = files.keyring()?.unlock(&credential.passkey()?).map_err(words)?;
        if files.key.exists() {
            return Ok(json!({ "said": "opened: the backup key is here already" }));
        }
        let mut options = fs::File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&files.key).map_err(words)?;
        writeln!(file, "{}", hex::encode(key.expose())).and_then(|()| file.sync_all()).map_err(words)?;
        Ok(json!({ "said": format!("opened: the backup key is back, in {}", files.key.display()) }))
    };
    answer(opened())
}

async fn revoke(State(files): State<Arc<Files>>, Json(credential): Json<Credential>) -> Response {
    let revoked = || {
        let (key, mut keyring) = (files.backup_key()?, files.keyring()?);
        keyring.revoke_passkey(&key, &credential.id()?).map_err(words)?;
        files.write_keyring(&keyring)?;
        Ok(json!({ "said": "revoked" }))
    };
    answer(revoked())
}

impl Credential {
    fn id(&self) -> Result<Vec<u8>, String> {
        BASE64.decode(&self.id).map_err(words)
    }

    fn passkey(&self) -> Result<Passkey, String> {
        let output = |first: &String| -> Result<Secret<[u8; 32]>, String> {
            let bytes = BASE64.decode(first).map_err(words)?;
            Ok(Secret::new(bytes.try_into().map_err(|_| "a PRF's output has 32 bytes".to_owned())?))
        };
        Ok(Passkey {
            credential_id: self.id()?,
            prf_enabled: self.prf_enabled,
            prf_output: self.prf_first.as_ref().map(output).transpose()?,
        })
    }
}

impl Files {
    fn keyring(&self) -> Result<Keyring, String> {
        Keyring::read(&fs::read(&self.keyring).map_err(words)?).map_err(words)
    }

    fn backup_key(&self) -> Result<Secret<[u8; 32]>, String> {
        let text = fs::read_to_string(&self.key).map_err(|_| "the backup key is not on this device".to_owned())?;
        let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Secret::new(bytes.ok_or("the file of the backup key is none")?))
    }

    /// Whole or not at all.
    fn write_keyring(&self, keyring: &Keyring) -> Result<(), String> {
        let partial = self.keyring.with_extension("partial");
        let written = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(&keyring.write().map_err(io::Error::other)?)?;
            file.sync_all()?;
            fs::rename(&partial, &self.keyring)
        };
        written().map_err(words)
    }
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

fn answer(outcome: Result<Value, String>) -> Response {
    outcome.map_or_else(|why| problem(&why), |told| Json(told).into_response())
}

fn problem(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "said": format!("refused: {why}") }))).into_response()
}
