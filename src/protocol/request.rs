//! [`Request`]: what a client asks, for one account.

use sha2::{Digest, Sha256};

use super::{KE1_LEN, KE3_LEN, R1_LEN, R3_LEN, TICKET_MAX, VERSION};
use crate::account::AccountId;
use crate::error::Refusal;
use crate::limits::SECRET_MAX;
use crate::wire::{Invalid, Reader, Writer};

/// Bytes of every request: version, kind, account id, the longest body, zeros.
pub const REQUEST_LEN: usize = 2 + 32 + (4 + TICKET_MAX + R3_LEN + 1 + 4 + SECRET_MAX + 32);

/// One request. Byte strings are borrowed from where they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Begin an enrolment.
    EnrolStart {
        /// OPAQUE's registration request.
        r1: &'a [u8; R1_LEN],
    },
    /// Upload the record and what it unlocks.
    EnrolFinish {
        /// The ticket that came with R2.
        ticket: &'a [u8],
        /// OPAQUE's registration record.
        r3: &'a [u8; R3_LEN],
        /// The KSF preset that the code was stretched with.
        preset: u8,
        /// The wrapped secret, 1 to [`SECRET_MAX`] bytes, sealed by the client.
        secret: &'a [u8],
        /// [`transcript`](super::transcript()) over all that was said.
        transcript: &'a [u8; 32],
    },
    /// Begin a recovery: the one request that can cost an attempt.
    RecoverStart {
        /// OPAQUE's KE1.
        ke1: &'a [u8; KE1_LEN],
    },
    /// Prove the code and ask for the secret.
    RecoverFinish {
        /// The ticket that came with KE2.
        ticket: &'a [u8],
        /// OPAQUE's KE3.
        ke3: &'a [u8; KE3_LEN],
    },
    /// Ask how many attempts are left; free.
    Remaining,
    /// Remove the record, proving the code.
    Remove {
        /// A ticket that came with KE2.
        ticket: &'a [u8],
        /// OPAQUE's KE3.
        ke3: &'a [u8; KE3_LEN],
    },
    /// Remove the record without proof, where the vault's policy allows it.
    RemoveUnproven {
        /// The generation to end, from [`Reply::Enrolled`](super::Reply::Enrolled).
        generation: u32,
    },
}

impl<'a> Request<'a> {
    /// The request's one encoding, for `account`: [`REQUEST_LEN`] bytes.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if the ticket or the secret is longer than allowed, or the secret is empty.
    pub fn encode(&self, account: &AccountId) -> Result<Vec<u8>, Refusal> {
        let mut writer = Writer::with_capacity(REQUEST_LEN);
        writer.u8(VERSION).u8(self.kind()).bytes(&account.0);
        match self {
            Request::EnrolStart { r1 } => {
                writer.bytes(*r1);
            }
            Request::EnrolFinish { ticket, r3, preset, secret, transcript } => {
                if secret.is_empty() || secret.len() > SECRET_MAX {
                    return Err(Refusal::Malformed);
                }
                writer.counted(short(ticket)?).bytes(*r3).u8(*preset).counted(secret).bytes(*transcript);
            }
            Request::RecoverStart { ke1 } => {
                writer.bytes(*ke1);
            }
            Request::RecoverFinish { ticket, ke3 } | Request::Remove { ticket, ke3 } => {
                writer.counted(short(ticket)?).bytes(*ke3);
            }
            Request::Remaining => {}
            Request::RemoveUnproven { generation } => {
                writer.u32(*generation);
            }
        }
        let mut bytes = writer.finish();
        bytes.resize(REQUEST_LEN, 0);
        Ok(bytes)
    }

    /// Reads a request and the account that it is for. Elements inside are not yet decoded.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if the bytes are not one request's encoding.
    pub fn decode(bytes: &'a [u8]) -> Result<(AccountId, Self), Refusal> {
        if bytes.len() != REQUEST_LEN {
            return Err(Refusal::Malformed);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Refusal::Malformed);
        }
        let kind = reader.u8()?;
        let account = AccountId(*reader.array()?);
        let request = match kind {
            1 => Request::EnrolStart { r1: reader.array()? },
            2 => Request::EnrolFinish {
                ticket: reader.counted(TICKET_MAX)?,
                r3: reader.array()?,
                preset: reader.u8()?,
                secret: Some(reader.counted(SECRET_MAX)?).filter(|secret| !secret.is_empty()).ok_or(Invalid)?,
                transcript: reader.array()?,
            },
            3 => Request::RecoverStart { ke1: reader.array()? },
            4 => Request::RecoverFinish { ticket: reader.counted(TICKET_MAX)?, ke3: reader.array()? },
            5 => Request::Remaining,
            6 => Request::Remove { ticket: reader.counted(TICKET_MAX)?, ke3: reader.array()? },
            7 => Request::RemoveUnproven { generation: reader.u32()? },
            _ => return Err(Refusal::Malformed),
        };
        reader.padding()?;
        Ok((account, request))
    }

    /// SHA-256 of the whole request, by which a repeated finish is known (L6).
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if the request cannot be encoded.
    pub fn digest(&self, account: &AccountId) -> Result<[u8; 32], Refusal> {
        Ok(Sha256::digest(self.encode(account)?).into())
    }

    fn kind(&self) -> u8 {
        match self {
            Request::EnrolStart { .. } => 1,
            Request::EnrolFinish { .. } => 2,
            Request::RecoverStart { .. } => 3,
            Request::RecoverFinish { .. } => 4,
            Request::Remaining => 5,
            Request::Remove { .. } => 6,
            Request::RemoveUnproven { .. } => 7,
        }
    }
}

fn short(ticket: &[u8]) -> Result<&[u8], Refusal> {
    if ticket.len() > TICKET_MAX { Err(Refusal::Malformed) } else { Ok(ticket) }
}
