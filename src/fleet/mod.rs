//! The journal on a majority of replicas.

mod clocks;
mod consensus;
mod journal;
mod link;
mod log;
mod machine;
mod message;
mod peers;
mod planted;
mod propose;
mod replica;
mod row;
mod stream;

pub use consensus::seed_timers;
pub use journal::{Fleet, Waits, Work};
pub use link::{Call, Links};
pub use message::MESSAGE_MAX;
#[cfg(feature = "planted")]
pub use planted::{Mistake, plant};
pub use replica::{Member, Replica, Settings, Status, found, join};
pub use stream::{Dialled, Dials, Streams, serve};

/// Work that waits for a disk, on a thread of the runtime: other tasks are moved elsewhere where there is elsewhere.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests;
