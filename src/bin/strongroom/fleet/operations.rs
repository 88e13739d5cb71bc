//! What a member tells operators, and what they may tell it. Nothing secret is said: keys are sealed to whom both signers
//! have named, and a statement is obeyed for its signatures. Draining and turning keys are anybody's who reaches the
//! address: it belongs on a network of the operator's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use serde_json::json;
use strongroom::error::Fault;
use strongroom::fleet::Replica;
use strongroom::transparency::{Bundle, Note};
use strongroom::vault::{KeyStatus, Pace, Turn, Vault};

use crate::bundle::hex;
use crate::keys::{in_json, in_words};

/// A member, as far as it has come.
#[derive(Clone)]
pub(super) struct Operated {
    pub(super) replica: Replica,
    /// Once it is open, which wants a leader.
    pub(super) vault: Arc<OnceLock<Arc<Vault>>>,
    pub(super) metrics: PrometheusHandle,
    /// Where its door is.
    pub(super) people: String,
    /// Whether it moves records to the newest epoch.
    pub(super) rewraps: Arc<AtomicBool>,
}

/// What it tells of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) fleet: String,
    pub(super) people: String,
    pub(super) leader: Option<u64>,
    pub(super) term: u64,
    pub(super) last_index: Option<u64>,
    pub(super) applied_index: Option<u64>,
    pub(super) checkpoint_index: Option<u64>,
    pub(super) members: BTreeMap<u64, String>,
    pub(super) voters: BTreeSet<u64>,
    /// What the fleet speaks, as far as it knows.
    pub(super) version: u8,
    /// Why it answers nobody, if it does not.
    pub(super) unready: Option<String>,
}

#[derive(Deserialize)]
struct Signed {
    note: String,
}

#[derive(Deserialize)]
struct Joins {
    member: u64,
    channel_key: String,
}

#[derive(Deserialize)]
struct Turned {
    kind: String,
}

#[derive(Deserialize)]
struct Moved {
    /// Records a second, at most.
    rate: u32,
}

impl Operated {
    fn unready(&self) -> Option<&'static str> {
        match () {
            () if !self.replica.status().running => Some("it has stopped after a failure"),
            () if self.vault.get().is_none() => Some("its vault is not open yet"),
            () if !self.replica.is_led() => Some("it hears no leader"),
            () => None,
        }
    }

    fn told(&self) -> Told {
        let status = self.replica.status();
        Told {
            number: status.number,
            fleet: hex(self.replica.fleet()),
            people: self.people.clone(),
            leader: status.leader,
            term: status.vote.term,
            last_index: status.last_index,
            applied_index: status.applied_index,
            checkpoint_index: status.checkpoint_index,
            members: status.members,
            voters: status.voters,
            version: status.version,
            unready: self.unready().map(str::to_owned),
        }
    }

    /// Work of the vault, which waits for the fleet.
    async fn vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Response> {
        let Some(vault) = self.vault.get().cloned() else {
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "its vault is not open yet"));
        };
        match tokio::task::spawn_blocking(move || work(&vault)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(fault @ (Fault::Unsettled(_) | Fault::Latched))) => {
                Err(problem(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()))
            }
            Ok(Err(fault)) => Err(problem(StatusCode::CONFLICT, &fault.to_string())),
            Err(_) => Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "it was given up")),
        }
    }
}

pub(super) fn router(member: Operated) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(member): State<Operated>| member.metrics.render()))
        .route("/v1/status", get(async |State(member): State<Operated>| Json(member.told())))
        .route("/v1/statement", post(obey))
        .route("/v1/hand-over", post(hand_over))
        .route("/v1/keys", get(keys))
        .route("/v1/rotate", post(rotate))
        .route("/v1/rewrap", post(rewrap))
        .route("/v1/retire", post(retire))
        .route("/v1/drain", post(drain))
        .with_state(member)
}

/// Whether it is worth waiting for it.
async fn health(State(member): State<Operated>) -> Response {
    match member.replica.status().running {
        true => "ok\n".into_response(),
        false => problem(StatusCode::SERVICE_UNAVAILABLE, "it has stopped after a failure"),
    }
}

/// Whether people may be sent to it.
async fn ready(State(member): State<Operated>) -> Response {
    match member.unready() {
        None => "ready\n".into_response(),
        Some(why) => problem(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn obey(State(member): State<Operated>, Json(Signed { note }): Json<Signed>) -> Response {
    let note = BASE64.decode(note).ok().and_then(|bytes| Note::read(&bytes).ok());
    let Some(note) = note else { return problem(StatusCode::BAD_REQUEST, "that is not a signed note") };
    let obeyed = member.vault(move |vault| {
        if Bundle::read(&note).is_ok() {
            vault.follow_signers(&note)?;
            return Ok("a bundle's signers");
        }
        Ok(vault.obey(&note)?.order.name())
    });
    obeyed.await.map_or_else(|refused| refused, |obeyed| Json(json!({ "obeyed": obeyed })).into_response())
}

async fn hand_over(State(member): State<Operated>, Json(joins): Json<Joins>) -> Response {
    let Some(public_key) = BASE64.decode(joins.channel_key).ok().and_then(|it| it.try_into().ok()) else {
        return problem(StatusCode::BAD_REQUEST, "that is not a channel key");
    };
    let sealed = member.vault(move |vault| vault.hand_over(joins.member, &public_key)).await;
    sealed.map_or_else(|refused| refused, |sealed| Json(json!({ "keys": BASE64.encode(sealed) })).into_response())
}

async fn rotate(State(member): State<Operated>, Json(Turned { kind }): Json<Turned>) -> Response {
    let turn = match kind.as_str() {
        "epoch" => Turn::Epoch,
        "tickets" => Turn::Tickets,
        "digests" => Turn::Digests,
        _ => return problem(StatusCode::BAD_REQUEST, "there is no such kind of key"),
    };
    let number = member.vault(move |vault| vault.rotate(turn)).await;
    number.map_or_else(|refused| refused, |number| Json(json!({ "number": number })).into_response())
}

async fn keys(State(member): State<Operated>) -> Response {
    let rewraps = member.rewraps.load(Ordering::Relaxed);
    let status = member.vault(Vault::keys).await;
    let told = |status: KeyStatus| {
        let left: u64 = status.epochs.iter().rev().skip(1).map(|it| it.records).sum();
        let (keys, words) = (in_json(&status), in_words(&status));
        Json(json!({ "keys": keys, "words": words, "rewraps": rewraps, "left": left })).into_response()
    };
    status.map_or_else(|refused| refused, told)
}

/// Begins to move records to the newest epoch. It goes on by itself, and ends when the member does.
async fn rewrap(State(member): State<Operated>, Json(Moved { rate }): Json<Moved>) -> Response {
    let Some(vault) = member.vault.get().cloned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "its vault is not open yet");
    };
    let Some(moves) = Moves::begin(&member.rewraps) else {
        return problem(StatusCode::CONFLICT, "it moves records already");
    };
    // Steps of at most a second: who stops the member does not wait for more.
    let pace = Pace { records_per_s: rate, step: (rate as usize).min(Pace::default().step) };
    tokio::task::spawn_blocking(move || {
        let _moves = moves;
        match vault.rewrap(pace).run(|_| {}) {
            Ok(done) => {
                tracing::info!(records = done.done, epoch = done.epoch, "records have moved to the newest epoch")
            }
            Err(fault) => tracing::error!(%fault, "records are left in older epochs"),
        }
    });
    Json(json!({})).into_response()
}

/// That a member moves records. It does not any more once this is dropped, however that came.
struct Moves(Arc<AtomicBool>);

impl Moves {
    /// Begins, unless it moves some already.
    fn begin(rewraps: &Arc<AtomicBool>) -> Option<Self> {
        (!rewraps.swap(true, Ordering::Relaxed)).then(|| Moves(Arc::clone(rewraps)))
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn retire(State(member): State<Operated>) -> Response {
    let epoch = member.vault(Vault::retire_epochs).await;
    epoch.map_or_else(|refused| refused, |epoch| Json(json!({ "epoch": epoch })).into_response())
}

async fn drain(State(member): State<Operated>) -> Response {
    member.replica.drain();
    Json(json!({})).into_response()
}

fn problem(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "problem": problem }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_be_moved_again_after_a_panic() {
        let rewraps = Arc::new(AtomicBool::new(false));
        let moves = Moves::begin(&rewraps);
        assert!(moves.is_some() && Moves::begin(&rewraps).is_none(), "one at a time");
        let moving = std::thread::spawn(move || {
            let _moves = moves;
            assert!(Moves::begin(&Arc::new(AtomicBool::new(true))).is_some(), "the test's doing");
        });
        assert!(moving.join().is_err());
        assert!(Moves::begin(&rewraps).is_some());
        assert!(!rewraps.load(Ordering::Relaxed));
    }
}
