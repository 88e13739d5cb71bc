//! [`Code`]: the recovery code as a person types it.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::limits::CODE_MAX;

/// A recovery code, normalised. Wiped on drop; there is no `Debug`, `Clone` or comparison.
///
/// Only white space around the code is taken away. What stands inside is left as it was typed: to change it without
/// a rule that every client shares would lock people out. (That rule will be PRECIS OpaqueString, RFC 8265.)
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
}

impl Code {
    /// Takes a copy of a code as it was typed. The caller's own copy stays the caller's to wipe.
    ///
    /// # Errors
    /// [`CodeProblem`] if nothing or too much is left after normalising.
    pub fn new(typed: &str) -> Result<Self, CodeProblem> {
        match typed.trim() {
            "" => Err(CodeProblem::Empty),
            code if code.len() > CODE_MAX => Err(CodeProblem::TooLong),
            code => Ok(Code(Zeroizing::new(code.to_owned()))),
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

    #[test]
    fn only_white_space_around_a_code_is_taken_away() {
        assert_eq!(bytes(" \t4711\r\n"), Ok(b"4711".to_vec()));
        assert_eq!(bytes("47  11"), Ok(b"47  11".to_vec()), "spaces inside stay");
        assert_eq!(bytes("e\u{301}\u{2003}"), Ok("e\u{301}".into()), "no composition yet");
        assert_eq!(bytes("AbC"), Ok(b"AbC".to_vec()), "no change of case");
        for empty in ["", " ", "\u{3000}\n\t"] {
            assert_eq!(bytes(empty), Err(CodeProblem::Empty));
        }
    }

    #[test]
    fn the_length_is_bounded_in_bytes() {
        assert!(bytes(&"x".repeat(CODE_MAX)).is_ok());
        assert!(bytes(&format!(" {} ", "x".repeat(CODE_MAX))).is_ok(), "what is taken away does not count");
        assert_eq!(bytes(&"x".repeat(CODE_MAX + 1)), Err(CodeProblem::TooLong));
        assert_eq!(bytes(&"\u{e9}".repeat(CODE_MAX / 2 + 1)), Err(CodeProblem::TooLong));
    }
}
