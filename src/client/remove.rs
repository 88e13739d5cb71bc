//! [`PendingRemoval`]: a record on its way out.

use super::Failure;
use crate::protocol::Reply;

/// A removal whose proof is on its way; made by [`Recovery::remove`](super::Recovery::remove). All that can be done
/// with it is to send the same bytes again, until a reply says how it ended.
pub struct PendingRemoval {
    request: Vec<u8>,
}

impl PendingRemoval {
    pub(super) fn new(request: Vec<u8>) -> Self {
        PendingRemoval { request }
    }

    /// The bytes to send, and to send again while the outcome is unknown.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Reads how it ended.
    ///
    /// # Errors
    /// As [`removed`].
    pub fn done(&self, reply: &[u8]) -> Result<(), Failure> {
        removed(reply)
    }
}

/// Reads the reply to a removal, proven or not.
///
/// # Errors
/// [`Failure::Refused`]: [`Refusal::NoRecord`](crate::error::Refusal::NoRecord) and
/// [`Refusal::Stale`](crate::error::Refusal::Stale) to a *repeated* removal mean that an earlier one was done.
/// [`Failure::UnexpectedReply`] leaves the outcome open: repeat.
pub fn removed(reply: &[u8]) -> Result<(), Failure> {
    match Reply::decode(reply) {
        Ok(Reply::Removed) => Ok(()),
        Ok(Reply::Refused(refusal)) => Err(refusal.into()),
        _ => Err(Failure::UnexpectedReply),
    }
}
