//! Door one: what a server embeds.
//!
//! ```text
//! bytes
//!   -> Request            parsed whole, elements decoded; no secret touched yet
//!   -> Command            the attempt to spend, with everything random or timed already inside it
//!   -> Committed          durable                                 <- irrevocable from this line on
//!   -> Granted | Refusal  the rules of attempts; same code live and in replay
//!   -> Reply              evaluated eight at once; unknown accounts ride along as decoys (RFC 9807 section 10.9)
//!   -> bytes              one size for every outcome
//! ```
//!
//! | id | invariant |
//! |---|---|
//! | V1 | a record's key is evaluated only for a [`Granted`], and that is made only from a committed charge of the same KE1 (L1, L10) |
//! | V2 | an enrolment's key is evaluated only for a [`FreshNonce`] (L7) |
//! | V3 | bytes that do not decode cost nothing |
//! | V4 | unknown, removed and concealed accounts take the same steps as known ones |
//! | V5 | a damaged record is a fault, never a fake |
//! | V6 | every request of a batch gets one answer, in its place, whatever its neighbours are |
//! | V16 | no ticket of before a restore from backup is good after it: the ordinals that it names may have come a second time |
//!
//! V7 to V9, of keys that turn while requests go on, stand with [`Turn`].
//!
//! A server puts its requests, one by one, into a [`Queue`]; who has batches already calls [`Vault::process`].
//!
//! What a server sees of it, through the facade of the crate `metrics`; no account is in any of them:
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `strongroom_requests_waiting` | gauge | requests left in line when a batch has gone |
//! | `strongroom_turned_away_total` | counter | requests told [`Refusal::Busy`] because the line was full or closed |
//! | `strongroom_batch_requests` | histogram | requests of a batch |
//! | `strongroom_commit_commands` | histogram | commands of a commit |
//! | `strongroom_log_write_seconds` | histogram | writing a commit to the log, until the disk has it |
//! | `strongroom_anchor_seconds` | histogram | moving the anchor |
//! | `strongroom_records_by_key` | gauge | live records by the number of the keys that made them, as of the last sweep |
//! | `strongroom_records_by_epoch` | gauge | live records by the epoch that they are sealed under, as of the last sweep |
//! | `strongroom_checkpoint_seconds` | histogram | writing a checkpoint, beside which commits go on |
//! | `strongroom_slowed_seconds` | histogram | waits for checkpoints that do not keep up with the log: behind a commit, before it at the leader of a fleet |

#[cfg(feature = "fleet")]
mod aside;
#[cfg(all(feature = "channel", feature = "transparency"))]
mod bundles;
#[cfg(feature = "channel")]
mod channel;
mod custody;
mod enrol;
mod evaluate;
#[cfg(feature = "channel")]
mod export;
#[cfg(feature = "fleet")]
mod follow;
mod grant;
#[cfg(feature = "fleet")]
mod handover;
#[cfg(feature = "channel")]
mod import;
mod keys;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "fleet")]
mod member_root;
mod process;
mod queue;
mod recover;
mod rewrap;
mod ring;
mod slots;
#[cfg(feature = "transparency")]
mod statement;
mod stored;
#[cfg(feature = "channel")]
mod transfer;
mod turn;

use std::sync::{Arc, Mutex, RwLock};

use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::journal::{Journal, Memory};
use crate::ledger::{AnchorKind, Command, Moving, Policy, State, Verdict};
use crate::limits::{REQUESTS_MAX, SWEEP_MAX};
use crate::protocol::{Reply, Request};
use crate::wrap::MemoryRoot;

pub use crate::journal::{Clock, ManualClock, SystemClock};
pub use custody::{Custody, FileKeyStore, KeyStore, MemoryKeyStore};
pub use evaluate::{Evaluator, Registered};
#[cfg(feature = "channel")]
pub use export::{Departed, Export};
pub use grant::{DigestKeys, FreshNonce, Granted, Recognised};
#[cfg(feature = "fleet")]
pub use handover::Receiver;
#[cfg(feature = "channel")]
pub use import::Import;
#[cfg(feature = "local")]
pub use local::Config;
#[cfg(feature = "fleet")]
pub use member_root::MemberRoot;
pub use queue::{Answer, Gathering, Queue};
pub use rewrap::{Pace, Progress, Rewrap};
#[cfg(feature = "channel")]
pub use transfer::{Offer, Parcel};
pub use turn::{EpochStatus, KeyStatus, ServerStatus, TicketKeyStatus, Turn};

use custody::Keeper;
use ring::Ring;
use slots::Stop;
use turn::Named;

/// A request as the front-end hands it over.
#[derive(Clone, Copy)]
pub struct Admitted<'a> {
    /// The account under which the front-end admitted it.
    pub account: AccountId,
    /// The request's bytes, as the client sent them.
    pub request: &'a [u8],
}

impl<'a> Admitted<'a> {
    /// The request, if it is whole and for the account that was admitted.
    fn parse(&self) -> Result<(AccountId, Request<'a>), Stop> {
        let (account, request) = Request::decode(self.request)?;
        if account == self.account { Ok((account, request)) } else { Err(Stop::from(Refusal::Forbidden)) }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Exhausted records destroyed.
    pub destroyed: usize,
    /// Ids never enrolled that were forgotten.
    pub forgotten: usize,
}

/// A vault: attempts counted durably, codes checked without being learnt, secrets kept wrapped.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::ledger::Policy;
/// use strongroom::protocol::{Reply, Request};
/// use strongroom::vault::{Admitted, ManualClock, Vault};
/// use std::sync::Arc;
///
/// let vault = Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(1_800_000_000)))?;
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let request = Request::Remaining.encode(&account)?;
/// let replies = vault.process(&[Admitted { account, request: &request }]);
/// assert_eq!(replies, [Ok(Reply::Remaining { attempts: 10 })]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Vault {
    policy: Policy,
    journal: Box<dyn Journal>,
    clock: Arc<dyn Clock>,
    /// Held over a turn of keys.
    keeper: Mutex<Keeper>,
    ring: RwLock<Arc<Ring>>,
    #[cfg(feature = "fleet")]
    aside: Mutex<aside::Aside>,
    fleet: [u8; 32],
}

impl Vault {
    /// A vault in the memory of this process: nothing survives it. For tests, benches and fuzzing.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not allowed, [`Fault::Randomness`].
    pub fn in_memory(mut policy: Policy, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        policy.anchor = AnchorKind::Memory;
        policy.check()?;
        let custody = Custody::create(Box::new(MemoryRoot::new()), Box::new(MemoryKeyStore::new()))?;
        Self::over(Box::new(Memory::create(policy)?), clock, custody)
    }

    /// A vault over a journal that the caller has opened, with the custody that it was first opened with: what was
    /// enrolled under other keys does not open. Its policy is the journal's.
    ///
    /// ```
    /// use strongroom::journal::Memory;
    /// use strongroom::ledger::Policy;
    /// use strongroom::vault::{Custody, ManualClock, MemoryKeyStore, Vault};
    /// use strongroom::wrap::MemoryRoot;
    /// use std::sync::Arc;
    ///
    /// let custody = Custody::create(Box::new(MemoryRoot::new()), Box::new(MemoryKeyStore::new()))?;
    /// let journal = Memory::create(Policy::development())?;
    /// let vault = Vault::over(Box::new(journal), Arc::new(ManualClock::new(1_800_000_000)), custody)?;
    /// assert_eq!(vault.policy(), &Policy::development());
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Policy`] if the root keys may not be where they are; [`Fault::Key`] if the keys are an older copy than the
    /// journal knows, or one of them is missing; [`Fault::Unsettled`] if a turn was cut short and fewer members than a majority
    /// keep its keys; the journal's faults.
    pub fn over(journal: Box<dyn Journal>, clock: Arc<dyn Clock>, custody: Custody) -> Result<Self, Fault> {
        let policy = journal.policy().clone();
        custody::check_root(&policy, &*custody.keeper.root)?;
        let (held, fleet) = (Named::of(&custody.secrets, &custody.epochs)?, custody.secrets.fleet);
        let named = Named::by(&*journal)?;
        if held.serial < named.serial {
            return Err(turn::older_copy());
        }
        if held.serial == named.serial && !held.is_among(&named) {
            return Err(turn::other_keys());
        }
        let ring = Ring::new(&policy, custody.secrets, custody.epochs, Arc::new([]))?;
        let vault = Vault {
            policy,
            journal,
            clock,
            keeper: Mutex::new(custody.keeper),
            ring: RwLock::new(Arc::new(ring)),
            #[cfg(feature = "fleet")]
            aside: Mutex::new(custody.aside),
            fleet,
        };
        if held.serial > named.serial {
            // A turn was cut short between the keys and the journal (V7).
            #[cfg(feature = "fleet")]
            vault.hand_round_to_open()?;
            vault.commit_turn(held.command())?;
        }
        #[cfg(feature = "fleet")]
        vault.clear_aside();
        Ok(vault)
    }

    /// Answers requests, one answer each, in their order. A refusal is a reply; a fault is the operator's to hear, and
    /// the peer's to be told [`Refusal::Busy`] (see [`Vault::process_bytes`]).
    ///
    /// Requests may be of any kind and for any accounts; those for one account take effect in their order. Everything
    /// that changes state is committed together, `limits::REQUESTS_MAX` requests at a time.
    pub fn process(&self, requests: &[Admitted<'_>]) -> Vec<Result<Reply, Fault>> {
        requests.chunks(REQUESTS_MAX).flat_map(|chunk| process::process(self, chunk)).collect()
    }

    /// [`Vault::process`] to the bytes that go out. A fault is logged here and told to the peer as [`Refusal::Busy`]:
    /// repeating the same bytes later costs nothing more.
    pub fn process_bytes(&self, requests: &[Admitted<'_>]) -> Vec<Vec<u8>> {
        let encode = |answer: Result<Reply, Fault>| match answer {
            Ok(reply) => reply.encode(),
            Err(fault) => {
                tracing::error!(%fault, "a request could not be answered");
                Reply::Refused(Refusal::Busy).encode()
            }
        };
        self.process(requests).into_iter().map(encode).collect()
    }

    /// Destroys exhausted records whose time has come (L8), forgets ids never enrolled that are old or too many (L11),
    /// and drops keys that nothing needs any more (V8). Dated by the vault's clock; call it every few minutes.
    ///
    /// # Errors
    /// The clock's or the journal's fault, or one of the places of keys.
    pub fn sweep(&self) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        // An empty batch moves state time on, so that what is due at this moment is seen to be.
        self.journal.commit(self.clock.now_s()?, Vec::new())?;
        loop {
            let (mut due, mut unknown, mut forget) = (Vec::new(), 0, false);
            self.journal.read(&mut |state| {
                due = state.due(usize::from(SWEEP_MAX));
                unknown = state.unknown_len();
                forget = state.has_forgettable();
            })?;
            if due.is_empty() && !forget {
                self.drop_unused_keys()?;
                self.count_records()?;
                return Ok(swept);
            }
            let commands = due.iter().map(|account| Command::Sweep { account: *account });
            let commands = commands.chain([Command::Forget { most: SWEEP_MAX }]).collect();
            let receipts = self.journal.commit(self.clock.now_s()?, commands)?;
            let sweeps = receipts.iter().take(due.len());
            swept.destroyed += sweeps.filter(|receipt| *receipt.verdict() == Verdict::Done).count();
            let mut left = 0;
            self.journal.read(&mut |state| left = state.unknown_len())?;
            swept.forgotten += unknown.saturating_sub(left);
        }
    }

    /// The policy, fixed when the vault was created (L12).
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The server's static public key of new enrolments, which clients compare with the ones that they trust.
    pub fn server_public_key(&self) -> [u8; 32] {
        let ring = self.ring();
        let (mut keys, enrols) = ring.evaluator.public_keys();
        keys.find(|(number, _)| *number == enrols).map_or([0; 32], |(_, public_key)| *public_key)
    }

    /// The fleet's id.
    pub fn fleet(&self) -> &[u8; 32] {
        &self.fleet
    }

    /// The move to or from another vault, begun or done.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn moving(&self) -> Result<Option<Moving>, Fault> {
        let mut moving = None;
        self.journal.read(&mut |state| moving = state.moving().copied())?;
        Ok(moving)
    }

    /// Reads the counters at a confirmed index, which is returned: for audits and tools. Nothing that changes them leads
    /// past the requests: a pardon or a restore takes both signers, and a charge takes its KE1.
    ///
    /// # Errors
    /// The journal's fault.
    pub fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.journal.read(look)
    }

    /// Tells the metrics how many records each key has.
    fn count_records(&self) -> Result<(), Fault> {
        let status = self.keys()?;
        for it in status.servers {
            metrics::gauge!("strongroom_records_by_key", "key" => it.number.to_string()).set(it.records as f64);
        }
        for it in status.epochs {
            metrics::gauge!("strongroom_records_by_epoch", "epoch" => it.epoch.to_string()).set(it.records as f64);
        }
        Ok(())
    }

    /// Whether an exhausted account is answered like an unknown one.
    fn conceals(&self) -> bool {
        self.policy.conceal_exhausted
    }
}

#[cfg(test)]
mod tests;
