//! Every bound of the crate in one place, and the relations between them checked at compile time.
//!
//! A bound that is part of a wire or disk format is a constant; a bound that an operator chooses is a field of
//! [`Policy`](crate::ledger::Policy), and the constants here say how far the choice may go.

/// Commands that one journal batch holds.
pub const BATCH_MAX: usize = 4096;

/// Requests that a vault commits together: one place of a batch is the vault's own, for what rides along.
pub const REQUESTS_MAX: usize = BATCH_MAX - 1;

/// Requests evaluated by one task: large enough to fill lanes and to share inversions, small enough for every core.
pub const CHUNK: usize = 32;

/// Largest `attempts_max` that a policy may ask for.
pub const ATTEMPTS_LIMIT: u32 = 64;

/// Largest `lifetime_max` that a policy may ask for.
pub const LIFETIME_LIMIT: u32 = 4096;

/// Accounts that one state holds; far beyond a machine's memory, and half of what its table can number.
pub const ACCOUNTS_MAX: usize = 1 << 31;

/// Longest wrapped secret, in bytes; the shortest is one byte.
pub const SECRET_MAX: usize = 512;

/// Longest OPAQUE context, in bytes.
pub const CONTEXT_MAX: usize = 64;

/// Longest recovery code, in bytes of UTF-8 after normalisation.
pub const CODE_MAX: usize = 256;

/// Longest membership statement, or bundle that names other signers, that a command carries, in bytes.
pub const STATEMENT_MAX: usize = 64 * 1024;

/// Most bundles that a policy pins.
pub const PINNED_MAX: usize = 16;

/// Commands of one sweep, and ids forgotten by one command.
pub const SWEEP_MAX: u16 = 256;

/// How long an id never enrolled is remembered after its last charge, in seconds of state time: 30 days.
pub const UNKNOWN_KEEP_S: u64 = 30 * 24 * 3600;

/// Accounts that come from another vault in one command.
pub const ARRIVE_MAX: usize = 512;

/// Keys of one kind that a fleet holds at once, retired ones among them.
pub const KEYS_MAX: usize = 64;

/// Longest encoding of a fleet's keys on their way from one vault to another, in bytes, sealed or not.
pub const HANDED_MAX: usize = 64 * 1024;

/// Members whose turns of keys a vault keeps aside at once.
pub const ASIDE_MAX: usize = 32;

/// Longest encoding of one journal batch, in bytes.
pub const ROW_MAX: usize = 16 * 1024 * 1024;

/// Size of the log at which a local journal writes a checkpoint by itself, in bytes: about five million attempts, a few
/// seconds of replay.
pub const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;

const _: () = assert!(BATCH_MAX >= CHUNK && CHUNK.is_multiple_of(8), "a chunk fills whole registers");
const _: () = assert!(SECRET_MAX <= u16::MAX as usize, "a secret's length is written in two bytes");
const _: () = assert!(BATCH_MAX * 2048 <= ROW_MAX, "a full batch of enrolments fits one journal row");
