//! [`Links`]: how a replica's messages reach the others.

use std::future::Future;
use std::io;
use std::pin::Pin;

/// Where a member is found, and by what it is known there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Its name, of at most 255 bytes.
    pub name: String,
    /// Its key on links: Ed25519, in its 32 bytes.
    pub link_key: [u8; 32],
}

/// A reply that is on its way.
pub type Call<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>;

/// Carries one request to a member and brings its reply. What carries it must be sure of who is at the other end: who is
/// asked is whoever has the address's key, and who asks is known there by its own.
///
/// A request may be lost, be late, or come twice: the fleet bears that. A call that is dropped is given up.
pub trait Links: Send + Sync + 'static {
    /// Asks `member`, which is found at `address`.
    ///
    /// # Errors
    /// Of each call: the member could not be reached, or it is not known whether it was; [`io::ErrorKind::PermissionDenied`]
    /// if it does not take this one for a member.
    fn call<'a>(&'a self, member: u64, address: &'a Address, request: Vec<u8>) -> Call<'a>;
}
