//! Secrets at rest: AES-256-GCM-SIV (RFC 8452), key epochs, where the root key comes from.
//!
//! ```text
//! root key (RootSource)  -> epoch key (EpochKeys)  -> record key -> commitment, cipher key
//!                                                  -> blob key   -> commitment, cipher key
//! ticket key (TicketKeys)                                        -> commitment, cipher key
//! ```
//!
//! Everything sealed is a header in clear, then nonce, commitment, ciphertext and tag; what it belongs to is
//! authenticated with it, so sealed bytes open only where they were put.

mod cipher;
mod epoch;
mod file_root;
mod record;
mod root;
mod sealed;
mod ticket;
#[cfg(feature = "pkcs11")]
mod token_root;

#[cfg(test)]
mod tests;

pub use cipher::Nonce;
pub use epoch::{BLOB_OVERHEAD, EpochKeys, OpenItem, SealItem, blob_epoch};
pub use file_root::FileRoot;
pub use record::Record;
pub use root::{EpochKey, MemoryRoot, RootSource};
pub use sealed::{HEADER_LEN, Header, PLAIN_LEN, SEALED_LEN, Sealed, VERSION};
pub use ticket::{ENROLMENT_TICKET_LEN, EnrolmentTicket, LOGIN_TICKET_LEN, LoginTicket, Ticket, TicketKey, TicketKeys};
#[cfg(feature = "pkcs11")]
pub use token_root::{TokenConfig, TokenRoot};

use crate::engine::{SHALLOW, in_chunks};

/// One result an item, in order, whole chunks of them on every core.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    in_chunks::<SHALLOW, _, _>(items, |chunk| chunk.iter().map(&work).collect())
}
