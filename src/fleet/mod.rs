//! The journal on a majority of replicas: what one machine's disk is to a `Local` journal, a majority is here.
//!
//! Consensus is openraft's; a batch of commands is one entry of its log. Any replica takes requests. It sends the batch to
//! the leader, which dates it, and makes the receipts itself, from its own state, once its own log has the batch committed:
//! what a leader answers is believed by nobody. The vault beside it then evaluates there. The fleet replicates counters, not
//! elliptic curves.
//!
//! ```text
//! Vault -> Fleet (Journal) -> Replica -- a batch --> leader's Replica -> openraft -> Log (disk, then anchor)
//!                                |                                          |
//!                                |                                       TLS 1.3, keys that both signers have named
//!                                |                                          |
//!                                |                                     other replicas' Logs
//!                                <- receipts <- Machine (its own) <- committed
//! ```
//!
//! | id | invariant |
//! |---|---|
//! | F1 | a row is on disk, then the anchor names it, and only then does this replica acknowledge it; a vote likewise; what is cut off, the anchor gives up before the disk does |
//! | F2 | a batch is applied at most once, however often it arrives and whoever leads: members number theirs |
//! | F3 | a replica whose disk lacks what its anchor names does not run; it is rebuilt under a number that no member ever had |
//! | F4 | a receipt is made by the replica that asked, from its own state, when that has applied the batch (L10) |
//! | F5 | two histories under one log id are found at the next message between who has them, and both stop |
//! | F6 | a checkpoint that arrives is installed only if it is what its root says: on disk, then anchored, then the rows in it leave |
//! | F7 | a batch is dated by the members' clocks, never ahead of every right one while less than half are wrong; dated further ahead than `skew_max`, and not committed already, it is not acknowledged |
//! | F8 | a leader that starts again is elected again: before that it does not know what had been committed, and would confirm too little |
//! | F9 | a message speaks for whoever sent it: a leader's are taken from that leader, a member's batch from that member |
//! | F10 | whoever becomes a member is named by the last statement of both signers before, and no number comes back |
//! | F11 | a leader's batch may go to the others before it is on its own disk; nothing says that it is committed before it is there |
//! | F12 | a fleet speaks a version that every member reads, which its log says; it turns to a newer one by a row, and never back |
//! | F13 | a fleet goes on from a backup by a statement of both signers that names the backup, with members that were none before, once each; every account keeps `restore_attempts` of its window |
//!
//! # Members
//!
//! [`found`] makes a founder's log from the first statement that names members, [`join`] the log of one that a later
//! statement names. Who has a statement of both signers taken ([`crate::vault::Vault::obey`]) has told the fleet what to do:
//! whoever leads adds who is new as a learner, once that has shown that it has the fleet's keys; gives it a vote when it
//! has caught up; and then takes the votes of those who are to go, by joint consensus. [`Replica::status`] shows how far that is.
//!
//! Whoever is to be stopped, for a while or for good, is [drained](Replica::drain) first. A member that was removed may be
//! stopped once the status of the others does not show it. One whose disk or anchor is lost is replaced by another number.
//!
//! # A majority that is lost
//!
//! [`refound`] begins a member of a fleet that goes on from the files of one that is left, or from a backup, by a statement of
//! both signers that names the backup ([`survey`] tells what it is called) and members that were none before. Every account
//! keeps one attempt of its window.
//!
//! # Versions
//!
//! Members are brought to a newer build one after the other, while the fleet goes on: a build speaks what its fleet's log says,
//! and reads the version before its own too. Once every member reads a newer one the leader has the fleet turn to it. From then on
//! a member that is brought back to the build before stops with [`crate::error::Fault::Format`]; [`Settings::newest`] puts that off.
//!
//! # Links
//!
//! [`Tls`] knows both ends by the keys that the statement names; [`TcpDials`] and [`Acceptor`] carry it over TCP. What other
//! links must bring is in [`Links`]; [`Streams`] carries messages over any stream that is sure of both its ends.
//!
//! ```
//! # use std::sync::Arc;
//! # use strongroom::{fleet::{LinkKey, Links, Streams, TcpDials, Tls}, secret::Secret};
//! let key = LinkKey::new(&Secret::random()?);
//! println!("to be named in a statement: {:02x?}", key.public_key());
//! let tls = Tls::new(&[7; 32], key);
//! // For `Member::links`; once the replica runs, `tls.acceptor(&replica)?.listen(listener)` answers the others.
//! let links: Arc<dyn Links> = Arc::new(Streams::new(TcpDials::new(tls.clone())));
//! # Ok::<(), strongroom::error::Fault>(())
//! ```
//!
//! `tests/fleet/` runs the whole on a simulated network, clock and disk, `tests/processes/` as processes that are killed. What an
//! operator needs is in [`operations`].
#![allow(clippy::result_large_err, reason = "openraft's errors are large, and its traits ask for them by value")]

mod clocks;
mod consensus;
mod journal;
mod link;
mod log;
mod machine;
mod message;
#[doc = include_str!("operations.md")]
pub mod operations {}
mod peers;
mod planted;
mod propose;
mod replica;
mod roster;
mod row;
mod stream;
mod tls;
mod version;

pub use consensus::seed_timers;
pub use journal::{Fleet, Waits, Work};
pub use link::{Address, Call, Links};
pub use message::MESSAGE_MAX;
#[cfg(feature = "planted")]
pub use planted::{Mistake, plant, slow_disks};
pub use replica::{
    Backup, KeyHolder, Member, Replica, Settings, Status, Survey, found, found_on, join, join_on, refound, refound_on,
    survey, survey_on,
};
pub use stream::{Dialled, Dials, Streams, serve};
pub use tls::{Acceptor, LinkKey, TcpDials, Tls};

/// Work that waits for a disk, on a thread of the runtime: other tasks are moved elsewhere where there is elsewhere.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
