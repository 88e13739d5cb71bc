//! What went wrong: [`Refusal`] is what a peer may learn, [`Fault`] is what the operator must know. No third kind.

use thiserror::Error;

/// Why a request was turned down, in words that a peer may hear.
///
/// A refusal names the request's fault or the account's state, never a secret and never the machine's state. Each has
/// a code of one byte on the wire, which never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a request: wrong length, unknown kind, or an element that RFC 9496 does not decode or that
    /// is the identity. Nothing was charged.
    #[error("the request is malformed; nothing was charged")]
    Malformed,
    /// Every attempt of this record is used. Nothing was evaluated.
    #[error("no attempts are left for this record")]
    Exhausted,
    /// The attempts of this account's whole lifetime are used: only a pardon by both signers lets it enrol again.
    #[error("the attempts of this account's lifetime are used up; enrolment needs a pardon")]
    LifetimeUsed,
    /// The ticket was not made by this fleet for this account and this step, or was altered.
    #[error("the ticket is not one of this fleet's for this account and step")]
    TicketInvalid,
    /// The ticket was good once; begin again.
    #[error("the ticket has expired; begin again")]
    TicketExpired,
    /// The record that the request speaks of has been replaced, removed or destroyed since.
    #[error("the record has changed since this exchange began; begin again")]
    Stale,
    /// The client's proof does not verify: the code was wrong, or the message was altered.
    #[error("the proof does not verify: wrong code")]
    WrongProof,
    /// The enrolment's transcript does not match what the vault sent.
    #[error("the enrolment's transcript does not match; begin again")]
    WrongTranscript,
    /// There is no record to remove.
    #[error("there is no record for this account")]
    NoRecord,
    /// The vault's policy does not allow this.
    #[error("the vault's policy does not allow this")]
    Forbidden,
    /// The vault cannot answer at the moment; repeat the same bytes later, which costs nothing more.
    #[error("the vault is busy; repeat the same request later")]
    Busy,
    /// Another vault answers for this account now. Nothing was charged here.
    #[error("this account has moved to another vault; begin again there")]
    Moved,
}

/// The byte of each refusal, once, for both directions: a variant without one does not compile.
macro_rules! refusal_codes {
    ($($code:literal $refusal:ident),* $(,)?) => {
        impl Refusal {
            /// Every refusal there is, in order of its code.
            pub fn all() -> impl Iterator<Item = Refusal> {
                [$(Refusal::$refusal),*].into_iter()
            }

            /// The byte that stands for this refusal on the wire; never 0.
            pub fn code(self) -> u8 {
                match self {
                    $(Refusal::$refusal => $code,)*
                }
            }

            /// The refusal that a byte on the wire stands for, or `None` for a byte that stands for none.
            pub fn from_code(code: u8) -> Option<Refusal> {
                match code {
                    $($code => Some(Refusal::$refusal),)*
                    _ => None,
                }
            }
        }
    };
}

refusal_codes! {
    1 Malformed,
    2 Exhausted,
    3 LifetimeUsed,
    4 TicketInvalid,
    5 TicketExpired,
    6 Stale,
    7 WrongProof,
    8 WrongTranscript,
    9 NoRecord,
    10 Forbidden,
    11 Busy,
    12 Moved,
}

/// Why the vault itself cannot go on, in words for its operator. No secret and no account id is ever in them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Stored bytes do not parse or do not authenticate.
    #[error("damaged, or not what is expected here: {0}")]
    Damaged(String),
    /// The store was written by another version of the format.
    #[error("{what} has format version {found}; this program reads version {reads}")]
    Format {
        /// Which stored thing.
        what: &'static str,
        /// The version it carries.
        found: u8,
        /// The version this program reads.
        reads: u8,
    },
    /// What the disk holds is not what the anchor says it must hold: an older copy, a fork, or lost writes.
    #[error("the store contradicts its anchor: {0}")]
    Anchor(String),
    /// A statement of both signers is genuine, and cannot be obeyed.
    #[error("the statement cannot be obeyed: {0}")]
    Statement(String),
    /// A log shows another history than the one it has shown before.
    #[error("the log contradicts itself: {0}")]
    Fork(String),
    /// Reading or writing failed below us.
    #[error("storage failed: {0}")]
    Storage(String),
    /// It is not known whether a majority of the fleet has it: it may still come to be, once. Repeating the same bytes
    /// later costs nothing more.
    #[error("the fleet has not settled it in time: {0}")]
    Unsettled(String),
    /// An earlier failure closed this journal; only opening it anew can tell what the disk holds.
    #[error("the journal is closed after an earlier failure; open it again")]
    Latched,
    /// The policy asked for is not one that a vault may have.
    #[error("the policy is not allowed: {0}")]
    Policy(String),
    /// The store was made under another policy than the one it was opened with.
    #[error("the store was made under another policy: {0}")]
    PolicyMismatch(String),
    /// A key cannot be had, is another one than it must be, or does not allow what is asked of it.
    #[error("not possible with these keys: {0}")]
    Key(String),
    /// The token that holds the root keys is not there.
    #[error("the token is not there; put it back and try again, nothing else is needed: {0}")]
    TokenAbsent(String),
    /// There is a token of the right label, and it is another one.
    #[error("another token is in the place of the vault's; put the right one back: {0}")]
    TokenReplaced(String),
    /// The token refuses the PIN. It is not tried again, since tokens lock.
    #[error("the token refuses the PIN, and it is not tried again; open the vault anew with the right one: {0}")]
    TokenPin(String),
    /// The session with the token was lost, and a new one was not to be had. The call may be repeated.
    #[error("the session with the token was lost; try again, and look at the token if this stays: {0}")]
    TokenSession(String),
    /// The token, or a key object in it, is not one that can hold a vault's root keys.
    #[error("the token cannot hold the vault's root keys: {0}")]
    TokenUnfit(String),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(String),
    /// The clock cannot be believed.
    #[error("the clock is wrong: {0}")]
    Clock(String),
    /// A result of the arithmetic is not one that any input gives: the processor or its memory is unwell, or somebody
    /// disturbs them. Nothing of it was told.
    #[error("the machine miscalculated; take it out of service")]
    Miscalculated,
    /// A caller broke a documented limit of the interface.
    #[error("not allowed: {0}")]
    Limit(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_code_and_words() {
        let all: Vec<_> = Refusal::all().collect();
        for refusal in &all {
            assert_ne!(refusal.code(), 0, "0 stands for success");
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
            assert_eq!(all.iter().filter(|other| other.to_string() == refusal.to_string()).count(), 1);
        }
        assert_eq!(Refusal::from_code(0), None);
        assert_eq!(Refusal::from_code(200), None);
    }
}
