//! [`Latch`]: the journal's hold on its anchor, and its last word once that hold is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "fleet")]
use super::anchor::Leader;
use super::anchor::{Anchor, Anchored, LogId};
use super::row::Chain;
use crate::error::Fault;
use crate::ledger::{AnchorKind, Policy};

/// What this copy knows of the anchor.
#[derive(Clone, Copy)]
struct Known {
    /// What it last swapped in, or found at opening.
    held: Anchored,
    /// What it is swapping in at this moment: a reader may find it there before the swap has returned.
    moving: Option<Anchored>,
}

/// An anchor in use. After the first failure it gives nothing but [`Fault::Latched`] (J4): what the disk holds by
/// then can only be told by opening it.
pub(crate) struct Latch {
    anchor: Arc<dyn Anchor>,
    known: Mutex<Known>,
    closed: AtomicBool,
}

impl Latch {
    /// Takes up an anchor that now remembers `held`.
    pub(crate) fn new(anchor: Arc<dyn Anchor>, held: Anchored) -> Self {
        Latch { anchor, known: Mutex::new(Known { held, moving: None }), closed: AtomicBool::new(false) }
    }

    /// Takes up an anchor for a journal that is about to be made: it must be unused.
    pub(crate) fn unused(anchor: Arc<dyn Anchor>, policy: &Policy) -> Result<Self, Fault> {
        check_kind(anchor.kind(), policy)?;
        let held = anchor.read()?;
        if held != Anchored::default() {
            return Err(Fault::Anchor(format!("the anchor belongs to another journal, at row {}", held.last.index)));
        }
        Ok(Latch::new(anchor, held))
    }

    /// What the anchor remembers, as far as this copy knows.
    pub(crate) fn held(&self) -> Anchored {
        self.known().held
    }

    /// Moves the anchor to a log that ends at `last` and a checkpoint with this root.
    pub(crate) fn advance(&self, last: LogId, chain: Chain, root: [u8; 32]) -> Result<(), Fault> {
        self.advance_to(Anchored { last, chain, root, ..self.held() })
    }

    /// Moves the anchor to a vote for `vote`, to a log that ends at `last`, or to both.
    #[cfg(feature = "fleet")]
    pub(crate) fn advance_fleet(&self, vote: Leader, last: LogId, chain: Chain) -> Result<(), Fault> {
        self.advance_to(Anchored { vote, last, chain, ..self.held() })
    }

    /// Moves the anchor to a checkpoint with this root.
    #[cfg(feature = "fleet")]
    pub(crate) fn advance_root(&self, root: [u8; 32]) -> Result<(), Fault> {
        self.advance_to(Anchored { root, ..self.held() })
    }

    fn advance_to(&self, next: Anchored) -> Result<(), Fault> {
        let held = self.held();
        let sequence =
            held.sequence.checked_add(1).ok_or_else(|| Fault::Anchor("the anchor is worn out".to_owned()))?;
        let next = Anchored { sequence, ..next };
        self.known().moving = Some(next);
        self.anchor.advance(held.sequence, &next)?;
        *self.known() = Known { held: next, moving: None };
        Ok(())
    }

    /// Makes sure that no other copy has moved the anchor (J7).
    pub(crate) fn confirm(&self) -> Result<(), Fault> {
        let found = self.anchor.read()?;
        let known = *self.known();
        // Anything this copy has been past was its own: each sequence is swapped in once.
        let ours = found.sequence < known.held.sequence || found == known.held || Some(found) == known.moving;
        if ours {
            Ok(())
        } else {
            Err(Fault::Anchor(format!(
                "another copy is running: the anchor is at {} where this one left it at {}",
                found.sequence, known.held.sequence
            )))
        }
    }

    /// Whether the journal may still be used.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.closed.load(Ordering::Acquire) { Err(Fault::Latched) } else { Ok(()) }
    }

    /// Closes the journal for good, because of `fault`.
    pub(crate) fn close(&self, fault: Fault) -> Fault {
        if !self.closed.swap(true, Ordering::AcqRel) {
            tracing::error!(%fault, "the journal is closed until it is opened again");
        }
        fault
    }

    /// The value, or the end: a failure closes the journal.
    pub(crate) fn close_on<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| self.close(fault))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Only whole values are ever stored, so a panic elsewhere leaves it sound.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy names the kind of anchor that it must run on (L12); one made for development runs on any.
pub(crate) fn check_kind(kind: AnchorKind, policy: &Policy) -> Result<(), Fault> {
    if kind == policy.anchor || policy.development {
        Ok(())
    } else {
        Err(Fault::PolicyMismatch(format!("it asks for an anchor of kind {:?}, not {kind:?}", policy.anchor)))
    }
}
