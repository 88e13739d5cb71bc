//! [`Reply`]: what the vault answers.

use super::{DELIVERY_LEN, Delivery, KE2_LEN, R2_LEN, TICKET_MAX, VERSION};
use crate::error::Refusal;
use crate::wire::{Reader, Writer};

/// Bytes of every reply: version, status, kind, the longest body, zeros.
pub const REPLY_LEN: usize = 3 + KE2_LEN + 1 + 4 + 4 + TICKET_MAX;

const _: () = assert!(REPLY_LEN >= 3 + DELIVERY_LEN, "a delivery fits a reply");

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The enrolment has begun; nothing is written yet.
    EnrolStarted {
        /// OPAQUE's registration response.
        r2: [u8; R2_LEN],
        /// To be sent back with R3.
        ticket: Vec<u8>,
    },
    /// The record is the account's.
    Enrolled {
        /// Its generation.
        generation: u32,
    },
    /// The attempt is charged, and this answers it.
    RecoverStarted {
        /// OPAQUE's KE2.
        ke2: Box<[u8; KE2_LEN]>,
        /// The KSF preset to stretch the code with.
        preset: u8,
        /// Attempts left when this was answered: others may have been charged since this one was.
        remaining: u32,
        /// To be sent back with KE3.
        ticket: Vec<u8>,
    },
    /// The code was right.
    Recovered {
        /// The wrapped secret under the session key.
        delivery: Delivery,
    },
    /// How many attempts are left.
    Remaining {
        /// So many.
        attempts: u32,
    },
    /// The record is gone.
    Removed,
    /// Nothing was done, for this reason. One exception: a proven finish that an enrolment overtakes between its success
    /// and the reading of the secret is told [`Refusal::Stale`], and has cleared its record's window before that ended.
    Refused(Refusal),
}

impl Reply {
    /// The reply's one encoding: [`REPLY_LEN`] bytes.
    ///
    /// # Panics
    /// If a ticket is longer than [`TICKET_MAX`]: a vault makes none that is.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(REPLY_LEN);
        writer.u8(VERSION);
        match self {
            Reply::Refused(refusal) => {
                writer.u8(refusal.code()).u8(0);
            }
            Reply::EnrolStarted { r2, ticket } => {
                writer.u8(0).u8(1).bytes(r2).counted(ticket);
            }
            Reply::Enrolled { generation } => {
                writer.u8(0).u8(2).u32(*generation);
            }
            Reply::RecoverStarted { ke2, preset, remaining, ticket } => {
                writer.u8(0).u8(3).bytes(&ke2[..]).u8(*preset).u32(*remaining).counted(ticket);
            }
            Reply::Recovered { delivery } => {
                writer.u8(0).u8(4).bytes(delivery.as_bytes());
            }
            Reply::Remaining { attempts } => {
                writer.u8(0).u8(5).u32(*attempts);
            }
            Reply::Removed => {
                writer.u8(0).u8(6);
            }
        }
        let mut bytes = writer.finish();
        assert!(bytes.len() <= REPLY_LEN, "tickets are at most TICKET_MAX bytes");
        bytes.resize(REPLY_LEN, 0);
        bytes
    }

    /// Reads what [`Reply::encode`] wrote.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if the bytes are not one reply's encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() != REPLY_LEN {
            return Err(Refusal::Malformed);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Refusal::Malformed);
        }
        let reply = match (reader.u8()?, reader.u8()?) {
            (0, 1) => Reply::EnrolStarted { r2: *reader.array()?, ticket: reader.counted(TICKET_MAX)?.to_vec() },
            (0, 2) => Reply::Enrolled { generation: reader.u32()? },
            (0, 3) => Reply::RecoverStarted {
                ke2: Box::new(*reader.array()?),
                preset: reader.u8()?,
                remaining: reader.u32()?,
                ticket: reader.counted(TICKET_MAX)?.to_vec(),
            },
            (0, 4) => Reply::Recovered { delivery: Delivery::from_bytes(reader.array()?) },
            (0, 5) => Reply::Remaining { attempts: reader.u32()? },
            (0, 6) => Reply::Removed,
            (0, _) => return Err(Refusal::Malformed),
            (code, 0) => Reply::Refused(Refusal::from_code(code).ok_or(Refusal::Malformed)?),
            _ => return Err(Refusal::Malformed),
        };
        reader.padding()?;
        Ok(reply)
    }
}
