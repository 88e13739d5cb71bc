//! Requests that need no code: what remains, and a removal that a vault's policy allows without proof.

use super::Failure;
use crate::account::AccountId;
use crate::protocol::{Reply, Request};

/// The request that asks how many attempts `account` has left. It is free.
///
/// # Errors
/// None at present.
pub fn remaining_request(account: &AccountId) -> Result<Vec<u8>, Failure> {
    Ok(Request::Remaining.encode(account)?)
}

/// Reads the reply to [`remaining_request`].
///
/// ```
/// use strongroom::{client, protocol::Reply};
/// assert_eq!(client::remaining(&Reply::Remaining { attempts: 7 }.encode()), Ok(7));
/// assert_eq!(client::remaining(b"something else"), Err(client::Failure::UnexpectedReply));
/// ```
///
/// # Errors
/// [`Failure::Refused`] or [`Failure::UnexpectedReply`].
pub fn remaining(reply: &[u8]) -> Result<u32, Failure> {
    match Reply::decode(reply) {
        Ok(Reply::Remaining { attempts }) => Ok(attempts),
        Ok(Reply::Refused(refusal)) => Err(refusal.into()),
        _ => Err(Failure::UnexpectedReply),
    }
}

/// The request that removes the record of `generation`, from [`PendingEnrolment::done`](super::PendingEnrolment::done),
/// without proving its code. Its reply is read by [`removed`](super::removed).
///
/// # Errors
/// None at present.
pub fn unproven_removal_request(account: &AccountId, generation: u32) -> Result<Vec<u8>, Failure> {
    Ok(Request::RemoveUnproven { generation }.encode(account)?)
}
