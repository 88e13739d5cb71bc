//! What comes of secrets and is public all the same: the one list of it, with a reason each.
//!
//! Nothing else that depends on a secret may steer a branch or choose an address. `tests/secret_dependence.rs` holds
//! that: it marks secrets as undefined, runs under valgrind, and forgives what stands here and nothing more. A row that
//! it does not meet fails there too, so the list cannot outlive what it is for.

use subtle::Choice;

/// A bit that becomes public, and why it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Whether bytes are the encoding of an element other than the identity.
    Decodes,
    /// Whether a scalar is zero.
    NotZero,
    /// Whether a scalar is below the order of the group.
    Reduced,
    /// Whether a client's MAC is the one expected.
    Proven,
    /// Whether a sealed body names the key that it is opened with.
    Committed,
    /// Whether the parts of a record fill it.
    Whole,
    /// Whether the tag of a sealed body is right.
    Authentic,
    /// Whether no product of a batch was disturbed.
    Sound,
    /// Whether the product that a batch of elements is inverted by is not zero.
    Invertible,
}

/// One row of the list.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What becomes public.
    pub reason: Reason,
    /// Why that gives nothing away.
    pub because: &'static str,
    /// The function that branches on it, where it is not ours, in patterns of valgrind's: by its symbol, and by the name
    /// that it has where the compiler made it part of its caller.
    pub inside: Option<[&'static str; 2]>,
}

/// Every row.
pub const ROWS: [Row; 11] = [
    Row {
        reason: Reason::Decodes,
        because: "a peer's element is refused in the open, and a stored one that was accepted decodes again: it is always \
                  yes, or the store is damaged and that is reported",
        inside: None,
    },
    Row {
        reason: Reason::Decodes,
        because: "the same, where curve25519-dalek returns early",
        inside: Some(["*curve25519_dalek*9ristretto*19CompressedRistretto10decompress*", "decompress"]),
    },
    Row {
        reason: Reason::NotZero,
        because: "it is always yes but once in 2^252, and a zero is answered by a fault or by a second derivation",
        inside: None,
    },
    Row {
        reason: Reason::Reduced,
        because: "a static key is read once, when a vault is opened, and one that is not reduced is a reported fault",
        inside: None,
    },
    Row {
        reason: Reason::Proven,
        because: "the client learns it from the reply: a session or a refusal",
        inside: None,
    },
    Row {
        reason: Reason::Committed,
        because: "who made the body learns it from the reply; the commitment itself stands beside it in clear",
        inside: None,
    },
    Row {
        reason: Reason::Whole,
        because: "it is asked only of records whose tag was right, and then it is always yes",
        inside: None,
    },
    Row { reason: Reason::Authentic, because: "who made the body learns it from the reply", inside: None },
    Row {
        reason: Reason::Authentic,
        because: "the same, where aes-gcm-siv encrypts again what did not authenticate; it has compared the whole tag",
        inside: Some(["*aes_gcm_siv*Cipher*22decrypt_inout_detached*", "decrypt_inout_detached<*>"]),
    },
    Row {
        reason: Reason::Sound,
        because: "it is always yes, or the machine miscalculates and that is a reported fault",
        inside: None,
    },
    Row {
        reason: Reason::Invertible,
        because: "it is always yes: curve25519-dalek leaves zeros out of the product by a mask, then asserts so",
        inside: Some(["*curve25519_dalek*5field*21internal_invert_batch*", "internal_invert_batch"]),
    },
];

/// The bit, from here on public.
#[inline(always)]
pub(crate) fn declassified(bit: Choice, reason: Reason) -> bool {
    #[cfg(feature = "valgrind")]
    return met::public(bit, reason);
    #[cfg(not(feature = "valgrind"))]
    {
        let _ = reason;
        bool::from(bit)
    }
}

#[cfg(feature = "valgrind")]
pub use met::count_met;

/// What valgrind is told.
#[cfg(feature = "valgrind")]
mod met {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crabgrind::memcheck::{MemState, mark_mem};
    use subtle::Choice;

    use super::{ROWS, Reason};

    /// By the number of each reason.
    static MET: [AtomicUsize; ROWS.len()] = [const { AtomicUsize::new(0) }; ROWS.len()];

    /// How often a bit became public for this reason since the process began.
    pub fn count_met(reason: Reason) -> usize {
        MET[reason as usize].load(Ordering::Relaxed)
    }

    /// Out of line, so that the bit is in memory and the compiler knows nothing of it afterwards.
    #[inline(never)]
    pub(super) fn public(bit: Choice, reason: Reason) -> bool {
        MET[reason as usize].fetch_add(1, Ordering::Relaxed);
        let mut byte = black_box(bit.unwrap_u8());
        // Outside valgrind there is nobody to tell; there it cannot fail, whatever crabgrind 0.1.9 returns.
        let _ = mark_mem(black_box(&raw mut byte).cast(), 1, MemState::Defined);
        black_box(byte) == 1
    }
}
