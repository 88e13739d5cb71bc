//! The client against opaque-ke's own server half, in a vault that is honest until a test alters what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod keyring;
mod oracle;
mod whole;

use super::*;
use crate::account::AccountId;
use crate::secret::Secret;
use oracle::Oracle;

const ACCOUNT: AccountId = AccountId([7; 32]);

fn code(typed: &str) -> Code {
    Code::new(typed).expect("a code")
}

fn backup_key() -> Secret<[u8; 32]> {
    Secret::new([0x42; 32])
}

/// Enrols `typed` for [`ACCOUNT`] and returns the request that finished it.
fn enrol(oracle: &mut Oracle, terms: &Terms, typed: &str) -> Vec<u8> {
    let enrolment = Enrolment::start(terms, ACCOUNT, code(typed)).expect("started");
    let reply = oracle.answer(enrolment.request());
    let pending = enrolment.finish(&reply, &backup_key()).expect("finished");
    pending.done(&oracle.answer(pending.request())).expect("done");
    pending.request().to_vec()
}

/// Recovers with `typed`, start to end.
fn recover(oracle: &mut Oracle, terms: &Terms, typed: &str) -> Result<Secret<[u8; 32]>, Failure> {
    let recovery = Recovery::start(terms, ACCOUNT, code(typed))?;
    let pending = recovery.finish(&oracle.answer(recovery.request()))?;
    pending.open(&oracle.answer(pending.request()))
}

fn failure_of<T>(result: Result<T, Failure>) -> Failure {
    result.err().expect("a failure")
}
