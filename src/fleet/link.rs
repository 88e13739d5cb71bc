//! [`Links`]: how a replica's messages reach the others.

use std::future::Future;
use std::io;
use std::pin::Pin;

/// A reply that is on its way.
pub type Call<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + 'a>>;

/// Carries one request to a member and brings its reply. What carries it must be sure of who is at the other end: a
/// member that is asked is the one of that number, and who asks is known to it by its own.
///
/// A request may be lost, be late, or come twice: the fleet bears that. A call that is dropped is given up.
pub trait Links: Send + Sync + 'static {
    /// Asks `member`, which is found at `name`.
    ///
    /// # Errors
    /// Of each call: the member could not be reached, or it is not known whether it was.
    fn call<'a>(&'a self, member: u64, name: &'a str, request: Vec<u8>) -> Call<'a>;
}
