//! The page, and what is done with what it sends. `tests/browser` puts a real browser before it.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
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

/// Where the page is, and the token without which nothing is done there. Other people of this machine reach the port too;
/// the token is told to whoever started this alone.
pub(crate) struct Address {
    origin: String,
    token: Secret<[u8; 16]>,
}

impl Address {
    /// WebAuthn takes `localhost` for a secure origin, and no address of numbers.
    pub(crate) fn new(listener: &TcpListener) -> io::Result<Self> {
        let origin = format!("http://localhost:{}", listener.local_addr()?.port());
        Ok(Address { origin, token: Secret::random().map_err(io::Error::other)? })
    }

    fn is_of(&self, headers: &HeaderMap) -> bool {
        let host = text(headers, header::HOST).is_some_and(|host| self.origin.ends_with(&format!("//{host}")));
        host && text(headers, header::ORIGIN).is_none_or(|origin| origin == self.origin)
    }

    fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let said = text(headers, TOKEN).and_then(|said| hex::decode(said).ok()?.try_into().ok());
        said.is_some_and(|said: [u8; 16]| self.token.ct_eq(&said).into())
    }
}

/// What to open in a browser. What stands after `#` is read by the page, and a browser sends it nowhere.
impl Display for Address {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{}/#{}", self.origin, hex::encode(self.token.expose()))
    }
}

/// The header in which the page says the token.
const TOKEN: HeaderName = HeaderName::from_static("page-token");

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn router(files: Files, address: Address) -> Router {
    let address = Arc::new(address);
    Router::new()
        .route("/keyring", get(show))
        .route("/add", post(add))
        .route("/open", post(open))
        .route("/revoke", post(revoke))
        .layer(middleware::from_fn_with_state(address.clone(), with_token_only))
        // The page tells nothing of the files. It comes before its script can say the token.
        .route("/", get(async || Html(include_str!("page.html"))))
        .layer(middleware::from_fn_with_state(address, own_pages_only))
        .with_state(Arc::new(files))
}

async fn with_token_only(State(address): State<Arc<Address>>, request: Request, next: Next) -> Response {
    match address.is_known_to(request.headers()) {
        true => next.run(request).await,
        false => problem("open the whole address that was printed, with what stands after #"),
    }
}

/// Other pages in the same browser may send here too; what comes of this page says so.
async fn own_pages_only(State(address): State<Arc<Address>>, request: Request, next: Next) -> Response {
    match address.is_of(request.headers()) {
        true => next.run(request).await,
        false => problem("another page is not served here"),
    }
}

async fn show(State(files): State<Arc<Files>>) -> Response {
    answer(files.keyring().map(|keyring| {
        let passkeys = keyring.passkeys().iter();
        // Without the key it cannot be told.
        let altered = files.backup_key().is_ok_and(|key| keyring.check(&key).is_err());
        json!({
            "warning": altered.then_some(ALTERED),
            "prf_input": BASE64.encode(keyring.prf_input()),
            "passkeys": passkeys
                .map(|held| json!({ "id": BASE64.encode(&held.credential_id), "label": held.label }))
                .collect::<Vec<_>>(),
        })
    }))
}

/// What is said of a keyring that is not what somebody with the backup key has written.
const ALTERED: &str = "WARNING: the keyring was altered, or is another backup's: believe nothing in it. It takes no changes \
                       any more; find out who could write there, move it away, and make a new one";

async fn add(State(files): State<Arc<Files>>, Json(credential): Json<Credential>) -> Response {
    let added = || {
        let _held = files.hold()?;
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
        // The keyring is only read, from wherever it lies.
        let _held = hold(&files.key)?;
        // Who alters it must not keep the person out.
        let (key, altered) = files.keyring()?.unlock_even_altered(&credential.passkey()?).map_err(words)?;
        let mut said = "opened: the backup key is here already".to_owned();
        if !files.key.exists() {
            let text = format!("{}\n", hex::encode(key.expose()));
            write_new(&files.key, text.as_bytes(), |partial, path| fs::hard_link(partial, path)).map_err(words)?;
            said = format!("opened: the backup key is back, in {}", files.key.display());
        }
        if altered {
            said = format!("{said}. {ALTERED}");
        }
        Ok(json!({ "said": said }))
    };
    answer(opened())
}

async fn revoke(State(files): State<Arc<Files>>, Json(credential): Json<Credential>) -> Response {
    let revoked = || {
        let _held = files.hold()?;
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
    /// Held while they are changed, by the locks that the command line takes too: of two at once the second is refused.
    fn hold(&self) -> Result<[fs::File; 2], String> {
        Ok([hold(&self.key)?, hold(&self.keyring)?])
    }

    fn keyring(&self) -> Result<Keyring, String> {
        Keyring::read(&fs::read(&self.keyring).map_err(words)?).map_err(words)
    }

    fn backup_key(&self) -> Result<Secret<[u8; 32]>, String> {
        let text = fs::read_to_string(&self.key).map_err(|_| "the backup key is not on this device".to_owned())?;
        let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Secret::new(bytes.ok_or("the file of the backup key is none")?))
    }

    fn write_keyring(&self, keyring: &Keyring) -> Result<(), String> {
        write_over(&self.keyring, &keyring.write().map_err(words)?).map_err(words)
    }
}

/// Holds a file, as `strongroom` does: the lock is a file beside it, which stays.
fn hold(path: &Path) -> Result<fs::File, String> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&lock).map_err(words)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("a command is at work on these files; try again later".to_owned()),
        Err(TryLockError::Error(error)) => Err(words(error)),
    }
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(
    path: &Path,
    bytes: &[u8],
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let partial = write_partial(path, bytes)?;
    // A link, not a rename: it never replaces what is there. Where the file system has no links, an empty file takes the
    // name, and the whole one replaces that.
    let named = match link(&partial, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            let taken = new_private(path).map(drop);
            taken.and_then(|()| fs::rename(&partial, path).inspect_err(|_| drop(fs::remove_file(path))))
        }
        named => named,
    };
    let removed = match fs::remove_file(&partial) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    named.and(removed)?;
    sync_folder_of(path)
}

/// Writes a file in the place of the one that is there.
fn write_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::rename(write_partial(path, bytes)?, path)?;
    sync_folder_of(path)
}

/// Writes what gets its name when it is whole: a file that only its owner may read.
fn write_partial(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    // Left by a crash; it may be a second name of what is there, so it is unlinked and not overwritten.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = new_private(Path::new(&partial))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(&partial).ok();
    }
    written.map(|()| partial.into())
}

/// A file that is not there yet, and that only its owner may read.
fn new_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A name is as durable as the folder that it stands in.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
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
