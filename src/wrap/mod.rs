//! Secrets at rest.

mod sealed;

pub use sealed::{HEADER_LEN, Header, PLAIN_LEN, SEALED_LEN, Sealed, VERSION};
