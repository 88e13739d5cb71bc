//! [`AccountId`]: whose budget of attempts it is.

use std::fmt;

use sha2::{Digest, Sha256};

/// A person's account, as 32 bytes.
///
/// The client computes it from something the person knows, and never takes it from a reply: a front-end that could
/// choose ids would hand out fresh budgets of attempts. `Debug` prints no byte of it, since ids stay out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// The id of `identity` (a telephone number or address, in the application's one normal form) within `namespace`:
    /// SHA-256 over a label and both, each behind its length in eight bytes.
    ///
    /// ```
    /// use strongroom::account::AccountId;
    /// let id = AccountId::derive("example.org/backup", "+15550100");
    /// assert_ne!(id, AccountId::derive("example.org/backup", "+15550101"));
    /// assert_ne!(id, AccountId::derive("example.net/backup", "+15550100"));
    /// ```
    pub fn derive(namespace: &str, identity: &str) -> Self {
        let mut hash = Sha256::new_with_prefix(b"strongroom account v1");
        for part in [namespace, identity] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        AccountId(hash.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountId(..)")
    }
}
