//! [`Code`]: the recovery code as a person types it.

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::Error as PrecisError;
use precis_profiles::precis_core::profile::Profile;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::limits::CODE_MAX;

/// A recovery code, normalised. Wiped on drop; there is no `Debug`, `Clone` or comparison.
///
/// White space around the code is taken away. What stands inside is what PRECIS OpaqueString makes of it (RFC 8265
/// section 4.2), the rule that every client shares: spaces of any kind become plain ones and characters are composed
/// (NFC), so that the same code is the same on every keyboard; case and width stay. Control characters and code points that
/// Unicode 6.3 had not assigned, newer emoji among them, are refused: what a later version makes of them is not known.
pub struct Code(Zeroizing<String>);

/// Why a code cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeProblem {
    /// Nothing is left without the white space around it.
    #[error("the code is empty")]
    Empty,
    /// Longer than [`CODE_MAX`] bytes.
    #[error("the code is longer than {CODE_MAX} bytes")]
    TooLong,
    /// A character that codes may not have, at this place, counted from 1.
    #[error("character {0} of the code is not allowed: a control character, or one too new for every device to know")]
    NotAllowed(usize),
}

impl Code {
    /// Takes a copy of a code as it was typed. The caller's own copy stays the caller's to wipe.
    ///
    /// # Errors
    /// [`CodeProblem`] if nothing or too much is left after normalising.
    pub fn new(typed: &str) -> Result<Self, CodeProblem> {
        let typed = typed.trim();
        // Composing leaves a third of the bytes at the least: three letters of Hangul become one.
        if typed.len() > 4 * CODE_MAX {
            return Err(CodeProblem::TooLong);
        }
        let code = OpaqueString::new().enforce(typed).map_err(|error| match error {
            PrecisError::BadCodepoint(info) => CodeProblem::NotAllowed(info.position + 1),
            _ if typed.is_empty() => CodeProblem::Empty,
            _ => CodeProblem::NotAllowed(1),
        })?;
        let code = Code(Zeroizing::new(code.into_owned()));
        match code.0.len() {
            0 => Err(CodeProblem::Empty),
            1..=CODE_MAX => Ok(code),
            _ => Err(CodeProblem::TooLong),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(typed: &str) -> Result<Vec<u8>, CodeProblem> {
        Code::new(typed).map(|code| code.as_bytes().to_vec())
    }

    /// The examples of RFC 8265 section 4.3; and what is ours, the white space around.
    #[test]
    fn codes_are_prepared_as_rfc_8265_says() {
        for (typed, code) in [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3c0}\u{df}\u{e5}", "\u{3c0}\u{df}\u{e5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
            (" \t4711\r\n", "4711"),
            ("47  11", "47  11"),
            ("e\u{301}\u{2003}", "\u{e9}"),
            ("47\u{3000}11", "47 11"),
            ("\u{ff14}\u{ff17}", "\u{ff14}\u{ff17}"),
        ] {
            assert_eq!(bytes(typed), Ok(code.into()), "{typed}");
        }
        for empty in ["", " ", "\u{3000}\n\t"] {
            assert_eq!(bytes(empty), Err(CodeProblem::Empty));
        }
        assert_eq!(bytes("my cat is a \u{9}by"), Err(CodeProblem::NotAllowed(13)));
        assert_eq!(bytes("a\u{0}"), Err(CodeProblem::NotAllowed(2)));
        assert_eq!(bytes("\u{1f98a}"), Err(CodeProblem::NotAllowed(1)), "a fox is of Unicode 9");
        assert_eq!(bytes("ab\u{378}"), Err(CodeProblem::NotAllowed(3)), "assigned to nothing");
    }

    #[test]
    fn the_length_is_bounded_in_bytes() {
        assert!(bytes(&"x".repeat(CODE_MAX)).is_ok());
        assert!(bytes(&format!(" {} ", "x".repeat(CODE_MAX))).is_ok(), "what is taken away does not count");
        assert_eq!(bytes(&"x".repeat(CODE_MAX + 1)), Err(CodeProblem::TooLong));
        assert_eq!(bytes(&"\u{e9}".repeat(CODE_MAX / 2 + 1)), Err(CodeProblem::TooLong));
        assert!(bytes(&"e\u{301}".repeat(CODE_MAX / 2)).is_ok(), "composed, it fits");
        assert_eq!(bytes(&"x".repeat(1 << 20)), Err(CodeProblem::TooLong));
    }
}
