//! Every bound of the crate in one place, and the relations between them checked at compile time.
//!
//! A bound that is part of a wire or disk format is a constant; a bound that an operator chooses is a field of
//! [`Policy`](crate::ledger::Policy), and the constants here say how far the choice may go.

/// Requests that one call of `Vault::process` takes, and commands that one journal batch holds.
pub const BATCH_MAX: usize = 4096;

/// Requests evaluated by one task: large enough to fill lanes and to share inversions, small enough for every core.
pub const CHUNK: usize = 32;

/// Largest `attempts_max` that a policy may ask for.
pub const ATTEMPTS_LIMIT: u32 = 64;

/// Largest `lifetime_max` that a policy may ask for.
pub const LIFETIME_LIMIT: u32 = 4096;

/// Longest wrapped secret, in bytes; the shortest is one byte.
pub const SECRET_MAX: usize = 512;

/// Longest OPAQUE context, in bytes.
pub const CONTEXT_MAX: usize = 64;

/// Longest membership statement, in bytes.
pub const STATEMENT_MAX: usize = 64 * 1024;

/// Most bundles that a policy pins.
pub const PINNED_MAX: usize = 16;

/// How long an id never enrolled is remembered after its last charge, in seconds of state time: 30 days.
pub const UNKNOWN_KEEP_S: u64 = 30 * 24 * 3600;

/// Longest encoding of one journal batch, in bytes.
pub const ROW_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(BATCH_MAX >= CHUNK && CHUNK.is_multiple_of(8), "a chunk fills whole registers");
const _: () = assert!(SECRET_MAX <= u16::MAX as usize, "a secret's length is written in two bytes");
const _: () = assert!(BATCH_MAX * 2048 <= ROW_MAX, "a full batch of enrolments fits one journal row");
