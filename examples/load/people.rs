//! The people, and the way to the server.

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Failure, Recovery, Terms};
use strongroom::error::Refusal;
use strongroom::secret::Secret;

use crate::front;
use crate::front::caller::Caller;

/// The way to the server, and the right to admit people.
pub(crate) struct Crowd {
    server: String,
    caller: Caller,
    key: SigningKey,
    /// Tells one run's people from another's.
    run: u64,
}

impl Crowd {
    pub(crate) fn new(server: &str, key: SigningKey) -> Result<Self, String> {
        let run = u64::from_be_bytes(strongroom::secret::random_array().map_err(|fault| fault.to_string())?);
        Ok(Crowd { server: server.to_owned(), caller: Caller::default(), key, run })
    }

    /// The bytes of a request there, those of its reply back.
    async fn ask(&self, route: &str, token: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.caller.ask(&self.server, route, token, request).await?)
    }

    /// Batches that the server has answered, and the requests in them.
    pub(crate) async fn batches(&self) -> Result<(f64, f64), String> {
        let text = self.caller.get(&self.server, "/metrics").await?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).ok_or_else(|| format!("no {name} among the metrics"))
        };
        Ok((number("strongroom_batch_requests_count")?, number("strongroom_batch_requests_sum")?))
    }
}

/// Someone with a record.
pub(crate) struct Person {
    account: AccountId,
    token: String,
    code: String,
    backup_key: Secret<[u8; 32]>,
}

/// A recovery whose first request is made.
pub(crate) struct Prepared {
    recovery: Recovery,
    wrong: bool,
}

/// How a recovery went.
pub(crate) struct Went {
    pub(crate) met: Met,
    pub(crate) start: Duration,
    pub(crate) finish: Option<Duration>,
}

/// What a recovery met with.
#[derive(Clone, Copy)]
pub(crate) enum Met {
    Recovered,
    WrongCode,
    Busy,
}

impl Met {
    pub(crate) const ALL: [Met; 3] = [Met::Recovered, Met::WrongCode, Met::Busy];
}

impl Person {
    /// Enrols one more person. The load is the vault's, so codes are not stretched.
    pub(crate) async fn enrol(crowd: &Crowd, number: usize) -> Result<Self, String> {
        let account = AccountId::derive("example.org/load", &format!("{:x}/{number}", crowd.run));
        let token = front::token(&crowd.key, &account, front::now_s() + 3600);
        let code = format!("the code of {number}");
        let backup_key = Secret::random().map_err(|fault| fault.to_string())?;
        let enrolment = Enrolment::start(&Terms::development(), account, new_code(&code)?).map_err(words)?;
        let reply = crowd.ask("enrol", &token, enrolment.request()).await?;
        let pending = enrolment.finish(&reply, &backup_key).map_err(words)?;
        // Until there is an outcome the same bytes again, which changes nothing.
        loop {
            match pending.done(&crowd.ask("enrol", &token, pending.request()).await?) {
                Ok(_) => return Ok(Person { account, token, code, backup_key }),
                Err(Failure::Refused(Refusal::Busy)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(failure) => return Err(words(failure)),
            }
        }
    }

    /// Makes a recovery's first request.
    pub(crate) fn prepare(&self, wrong: bool) -> Result<Prepared, String> {
        let code = new_code(if wrong { "not the code" } else { &self.code })?;
        let recovery = Recovery::start(&Terms::development(), self.account, code).map_err(words)?;
        Ok(Prepared { recovery, wrong })
    }

    /// Recovers, from when it was due. A right code must give the backup key, a wrong one must be found wrong.
    pub(crate) async fn recover(&self, crowd: &Crowd, prepared: Prepared, due: Instant) -> Result<Went, String> {
        let Prepared { recovery, wrong } = prepared;
        let reply = crowd.ask("recover", &self.token, recovery.request()).await?;
        let start = due.elapsed();
        let pending = match recovery.finish(&reply) {
            Ok(_) if wrong => return Err("a wrong code was proven".to_owned()),
            Ok(pending) => pending,
            Err(Failure::WrongCode { .. }) if wrong => return Ok(Went { met: Met::WrongCode, start, finish: None }),
            Err(Failure::Refused(Refusal::Busy)) => return Ok(Went { met: Met::Busy, start, finish: None }),
            Err(failure) => return Err(words(failure)),
        };
        let sent = Instant::now();
        let reply = crowd.ask("recover", &self.token, pending.request()).await?;
        let finish = Some(sent.elapsed());
        match pending.open(&reply) {
            Ok(key) if bool::from(key.ct_eq(self.backup_key.expose())) => {
                Ok(Went { met: Met::Recovered, start, finish })
            }
            Ok(_) => Err("another backup key than the one enrolled".to_owned()),
            Err(Failure::Refused(Refusal::Busy)) => Ok(Went { met: Met::Busy, start, finish }),
            Err(failure) => Err(words(failure)),
        }
    }
}

fn new_code(code: &str) -> Result<Code, String> {
    Code::new(code).map_err(|problem| problem.to_string())
}

fn words(failure: Failure) -> String {
    failure.to_string()
}
