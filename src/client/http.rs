//! [`Http`]: the way of a client's requests to a server that speaks as `examples/http_server` does.

use std::fmt::Display;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Code, Enrolment, Failure, PendingEnrolment, Recovery, Terms, remaining, remaining_request};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::protocol::{REQUEST_LEN, Reply};
use crate::secret::Secret;
use crate::session::{ChannelKey, ChannelProblem, SEALED_REPLY_LEN, SealedRequest};

/// Bytes of an answer: a sealed reply in base64, JSON around it, and room to spare.
const ANSWER_MAX: usize = 2 * SEALED_REPLY_LEN;
/// The pauses between repeats double from the one to the other.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// When an answer to one sending is given up.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The vault answered, and this is how it ended.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Nobody answered in time, or the vault was busy all the time. What was sent may have been done, or may yet be.
    #[error("the vault does not answer: {0}")]
    Unreachable(String),
    /// The front-end does not admit the person.
    #[error("the server does not admit you: {0}")]
    NotAdmitted(String),
    /// The server understood what was asked, and says why it does not do it.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The vault does not serve the keys that this client trusts.
    #[error("{0}")]
    Channel(ChannelProblem),
    /// What answered is no server of this kind.
    #[error("an answer that makes no sense: {0}")]
    Odd(String),
    /// The request could not be sealed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Speaks to a server over HTTP, for one person. What it sends is sealed to the vault's channel key, so whoever carries or
/// logs it learns neither what is asked nor how it ended; requests have one size, and answers one other.
///
/// It needs a tokio runtime with time and I/O. What is unclear it settles by sending the same bytes again, with growing
/// pauses, until [`Http::patience`] is over. Connections are plain: TLS to the front-end, where it is wanted, is for the
/// proxy in between.
///
/// ```no_run
/// # async fn example(verified: strongroom::session::ChannelKey) -> Result<(), Box<dyn std::error::Error>> {
/// use strongroom::account::AccountId;
/// use strongroom::client::{Code, Http, Terms};
/// let vault = Http::new("http://127.0.0.1:8080", "the token of your sign-in", verified)?;
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let backup_key = vault.recover(&Terms::default(), account, Code::new("correct horse 4711")?).await?;
/// # Ok(())
/// # }
/// ```
pub struct Http {
    address: Uri,
    token: String,
    key: ChannelKey,
    patience: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Serialize)]
struct Ask<'a> {
    request: &'a str,
}

#[derive(Deserialize)]
struct Told {
    reply: String,
}

#[derive(Deserialize)]
struct Problem {
    problem: String,
}

/// What comes of one sending.
enum Once {
    Answered(Secret<Vec<u8>>),
    /// Why it is sent again.
    Again(String),
}

impl Http {
    /// Speaks to the server at an address, as whom its token admits, sealed to a channel key out of a verified bundle.
    ///
    /// # Errors
    /// [`Trouble::Odd`] if the address is none.
    pub fn new(server: &str, token: &str, key: ChannelKey) -> Result<Self, Trouble> {
        let address = format!("{}/v1/sealed", server.trim_end_matches('/'));
        let address: Option<Uri> = address.parse().ok().filter(|it: &Uri| it.scheme_str() == Some("http"));
        let odd = || Trouble::Odd(format!("{server} is not an address of the form http://HOST:PORT"));
        let address = address.ok_or_else(odd)?;
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Ok(Http { address, token: token.to_owned(), key, patience: Duration::from_secs(30), client })
    }

    /// For how long requests are sent again; 30 seconds, if nothing else is said.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Enrols up to the point where the record is on its way: keep [`PendingEnrolment::request`] on disk, then
    /// [`Http::settle`]. Stretches the code on the calling thread.
    ///
    /// # Errors
    /// [`Trouble`]; nothing is stored then.
    pub async fn enrol(
        &self,
        terms: &Terms,
        account: AccountId,
        code: Code,
        backup_key: &Secret<[u8; 32]>,
    ) -> Result<PendingEnrolment, Trouble> {
        let enrolment = Enrolment::start(terms, account, code)?;
        let reply = self.exchange(enrolment.request()).await?;
        Ok(enrolment.finish(reply.expose(), backup_key)?)
    }

    /// Finishes an enrolment: the record's generation, from which on only the new code counts.
    ///
    /// # Errors
    /// [`Failure::Refused`] ends it as [`PendingEnrolment::done`] says; after anything else call it again, with the same
    /// enrolment.
    pub async fn settle(&self, pending: &PendingEnrolment) -> Result<u32, Trouble> {
        let reply = self.exchange(pending.request()).await?;
        Ok(pending.done(reply.expose())?)
    }

    /// The backup key that the code unlocks. Costs an attempt, which the right code clears. Stretches the code on the calling
    /// thread.
    ///
    /// # Errors
    /// [`Trouble`]; [`Failure::WrongCode`] with what is left.
    pub async fn recover(&self, terms: &Terms, account: AccountId, code: Code) -> Result<Secret<[u8; 32]>, Trouble> {
        let recovery = Recovery::start(terms, account, code)?;
        let pending = recovery.finish(self.exchange(recovery.request()).await?.expose())?;
        Ok(pending.open(self.exchange(pending.request()).await?.expose())?)
    }

    /// Proves the old code and enrols what comes back under the new one, up to the point where the record is on its way, as
    /// [`Http::enrol`]. Until [`Http::settle`] says so, the old code counts.
    ///
    /// # Errors
    /// As [`Http::recover`].
    pub async fn change_code(
        &self,
        terms: &Terms,
        account: AccountId,
        old: Code,
        new: Code,
    ) -> Result<(Secret<[u8; 32]>, PendingEnrolment), Trouble> {
        let backup_key = self.recover(terms, account, old).await?;
        let pending = self.enrol(terms, account, new, &backup_key).await?;
        Ok((backup_key, pending))
    }

    /// Attempts that are left. Free.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn remaining(&self, account: &AccountId) -> Result<u32, Trouble> {
        Ok(remaining(self.exchange(&remaining_request(account)?).await?.expose())?)
    }

    /// Removes the record, proving its code. Costs an attempt as [`Http::recover`] does.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn remove(&self, terms: &Terms, account: AccountId, code: Code) -> Result<(), Trouble> {
        let recovery = Recovery::start(terms, account, code)?;
        let pending = recovery.remove(self.exchange(recovery.request()).await?.expose())?;
        let (reply, sent) = self.send(pending.request()).await?;
        match pending.done(reply.expose()) {
            // An earlier sending was done, and its answer lost.
            Err(Failure::Refused(Refusal::NoRecord)) if sent > 1 => Ok(()),
            done => Ok(done?),
        }
    }

    /// A request there and its reply back: the same bytes again, until there is a reply that is not "busy".
    ///
    /// # Errors
    /// [`Trouble`], [`Trouble::Failure`] aside.
    pub async fn exchange(&self, request: &[u8]) -> Result<Secret<Vec<u8>>, Trouble> {
        Ok(self.send(request).await?.0)
    }

    /// The reply, and how often the request was sent for it.
    async fn send(&self, request: &[u8]) -> Result<(Secret<Vec<u8>>, usize), Trouble> {
        let request: &[u8; REQUEST_LEN] =
            request.try_into().map_err(|_| Trouble::Odd("these bytes are no request".to_owned()))?;
        let sealed = self.key.seal(request)?;
        let (begun, mut pause, mut sent) = (Instant::now(), PAUSE, 0);
        loop {
            sent += 1;
            match self.once(&sealed).await? {
                Once::Answered(reply) => return Ok((reply, sent)),
                Once::Again(why) if begun.elapsed() + pause > self.patience => return Err(Trouble::Unreachable(why)),
                Once::Again(_) => tokio::time::sleep(pause).await,
            }
            pause = PAUSE_MAX.min(2 * pause);
        }
    }

    async fn once(&self, sealed: &SealedRequest) -> Result<Once, Trouble> {
        let (status, body) = match tokio::time::timeout(ANSWER_TIME, self.post(sealed)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Unanswered::Again(why))) => return Ok(Once::Again(why)),
            Ok(Err(Unanswered::Never(why))) => return Err(Trouble::Odd(why)),
            Err(_) => return Ok(Once::Again("no answer in time".to_owned())),
        };
        let problem = || serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |it: Problem| it.problem);
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Trouble::NotAdmitted(problem())),
            StatusCode::CONFLICT => {
                // Told in clear, by whoever answers: good for words, and for nothing else.
                let unknown = ChannelProblem::UnknownBundle;
                let known = problem() == unknown.to_string();
                return Err(Trouble::Channel(if known { unknown } else { ChannelProblem::UnknownKey }));
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                return Ok(Once::Again(problem()));
            }
            StatusCode::TOO_MANY_REQUESTS => return Ok(Once::Again(problem())),
            _ => {
                let told = serde_json::from_slice(&body).map(|it: Problem| Trouble::Refused(it.problem));
                return Err(told.unwrap_or_else(|_| Trouble::Odd(status.to_string())));
            }
        }
        let told: Told =
            serde_json::from_slice(&body).map_err(|_| Trouble::Odd("not the JSON of a reply".to_owned()))?;
        let reply = BASE64.decode(&told.reply).map_err(|_| Trouble::Odd("not base64".to_owned()))?;
        // One that does not open may have been altered on the way; another may come through.
        let Ok(reply) = sealed.open(&reply) else { return Ok(Once::Again("a reply that does not open".to_owned())) };
        Ok(match Reply::decode(reply.expose()) {
            Ok(Reply::Refused(Refusal::Busy)) => Once::Again("the vault is busy".to_owned()),
            _ => Once::Answered(reply),
        })
    }

    async fn post(&self, sealed: &SealedRequest) -> Result<(StatusCode, Bytes), Unanswered> {
        let never = |error: &dyn Display| Unanswered::Never(error.to_string());
        let ask = Ask { request: &BASE64.encode(sealed.bytes()) };
        let body = serde_json::to_vec(&ask).map_err(|error| never(&error))?;
        let request = Request::post(&self.address)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| never(&error))?;
        let answer = self.client.request(request).await.map_err(|error| Unanswered::Again(with_cause(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        Ok((status, body.map_err(|error| Unanswered::Again(error.to_string()))?.to_bytes()))
    }
}

enum Unanswered {
    Again(String),
    Never(String),
}

/// An error's words, and those of what is behind it.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", with_cause(cause)))
}
