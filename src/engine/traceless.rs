//! [`traceless`]: work that leaves nothing behind where it was done.
//!
//! Types wipe what they hold. What the compiler spills, what a library copies and what a value leaves where it was
//! moved from lies on the stack, below whoever is on it then, and in registers. So every door of this crate does its
//! work in here: the stack that it used is overwritten when it returns, also by a panic, and the vector registers are
//! cleared. `tests/wiping` looks for what is left.

use std::cell::Cell;
use std::hint::black_box;

#[cfg(target_arch = "x86_64")]
use super::ifma::clear_vectors;

/// Bytes of stack that hashing and sealing use, and more.
pub(crate) const SHALLOW: usize = 16 * 1024;
/// Bytes of stack that any door uses, and more. The table of the generator's multiples, made once, goes deeper; it is
/// public.
pub(crate) const DEEP: usize = 64 * 1024;

thread_local! {
    /// Whether somebody further up will wipe.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, which uses at most so many bytes of stack, [`SHALLOW`] or [`DEEP`], and wipes the stack and the registers
/// behind it; `tests/wiping` holds that this is enough. Inside of another call it just does the work.
#[inline(always)]
pub(crate) fn traceless<const DEPTH: usize, R>(work: impl FnOnce() -> R) -> R {
    if INSIDE.replace(true) {
        return work();
    }
    let _wipes = Wipes::<DEPTH>;
    below(work)
}

struct Wipes<const DEPTH: usize>;

impl<const DEPTH: usize> Drop for Wipes<DEPTH> {
    #[inline(always)]
    fn drop(&mut self) {
        overwrite::<DEPTH>();
        #[cfg(target_arch = "x86_64")]
        clear_vectors();
        INSIDE.set(false);
    }
}

/// A frame of its own, at the place where [`overwrite`] has one.
#[inline(never)]
fn below<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn overwrite<const DEPTH: usize>() {
    black_box(&mut [0u8; DEPTH]);
}
