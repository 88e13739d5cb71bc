//! [`Failure`]: how an enrolment or a recovery can end, in words that an application can show.

use thiserror::Error;

use super::{CodeProblem, Preset};
use crate::error::{Fault, Refusal};

/// Why there is no result. None of these carries a secret.
///
/// After [`Failure::UnexpectedReply`], [`Failure::DeliveryDamaged`] and [`Refusal::Busy`] the right thing is to repeat
/// the same request; a reply was lost or altered on the way, or comes later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The code cannot be one.
    #[error("{0}")]
    Code(#[from] CodeProblem),
    /// The code is wrong. One who alters replies on the way can make a right code look wrong, and nothing else: so
    /// this is said to the person, and never answered by enrolling again.
    #[error("the code is wrong; {}", left(*remaining))]
    WrongCode {
        /// Attempts left after this one, as the reply says.
        remaining: u32,
    },
    /// The vault turned the request down.
    #[error("the vault refused: {0}")]
    Refused(#[from] Refusal),
    /// The bytes are not the reply to this step.
    #[error("the reply is not one to this request; repeat the same request")]
    UnexpectedReply,
    /// The reply names a way of stretching the code that this version does not know.
    #[error("the record was made with key stretching {0}, which this version does not know; a newer one may")]
    UnknownPreset(u8),
    /// The preset is weaker than the application allows.
    #[error("the key stretching ({offered}) is weaker than this application allows ({minimum})")]
    PresetTooWeak {
        /// The preset asked for.
        offered: Preset,
        /// [`Terms::minimum`](super::Terms::minimum).
        minimum: Preset,
    },
    /// The preset needs more than the application gives.
    #[error("the key stretching ({offered}) needs more than this application gives ({maximum})")]
    PresetTooHeavy {
        /// The preset asked for.
        offered: Preset,
        /// [`Terms::maximum`](super::Terms::maximum).
        maximum: Preset,
    },
    /// The record is one without key stretching, and this is not a development client.
    #[error("the record is of a development vault, without key stretching; this client is not one for development")]
    DevelopmentRefused,
    /// The vault that answered is not the one that was expected.
    #[error("the vault's key is not the one expected; the fleet is not trusted")]
    FleetNotTrusted,
    /// The code could not be stretched, for want of memory.
    #[error("there is not enough memory to stretch the code")]
    Stretching,
    /// The sealed answer does not open under the session key: it was altered on the way.
    #[error("the vault's answer was damaged on its way; repeat the same request")]
    DeliveryDamaged,
    /// The code was right, but what the vault kept does not open under it.
    #[error("the stored backup key is damaged")]
    SecretDamaged,
    /// The wrapped backup key has a format of another version.
    #[error("the stored backup key has format version {0}; this program reads version 1")]
    SecretFormat(u8),
    /// Kept bytes that should be repeated are not a request that finishes an enrolment.
    #[error("the kept request does not finish an enrolment")]
    NotAnEnrolment,
    /// The terms cannot be met by any vault.
    #[error("the terms are not allowed: {0}")]
    Terms(&'static str),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

fn left(remaining: u32) -> String {
    match remaining {
        0 => "no attempts are left".to_owned(),
        1 => "one attempt is left".to_owned(),
        left => format!("{left} attempts are left"),
    }
}

impl From<Fault> for Failure {
    /// Of all faults, only the want of randomness can reach a client.
    fn from(_: Fault) -> Failure {
        Failure::Randomness
    }
}
