//! How much work was done, for the tests that compare it. Outside of tests [`count`] is nothing at all.
//!
//! The tally belongs to a thread, so a test that reads it must not hand work to other threads: batches of at most
//! [`CHUNK`](crate::limits::CHUNK) stay on the caller's.

/// Operations done on this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) struct Tally {
    /// Elements decoded (RFC 9496 section 4.3.1).
    pub(crate) decoded: usize,
    /// Elements multiplied by a scalar.
    pub(crate) multiplied: usize,
    /// Multiplications of the generator.
    pub(crate) multiplied_base: usize,
    /// Elements encoded (RFC 9496 section 4.3.2).
    pub(crate) encoded: usize,
    /// Elements derived by the one-way map (RFC 9496 section 4.3.4).
    pub(crate) mapped: usize,
    /// Wide integers reduced to scalars.
    pub(crate) reduced: usize,
    /// Blocks that SHA-512 compressed.
    pub(crate) blocks: usize,
}

#[cfg(test)]
thread_local!(static TALLY: std::cell::Cell<Tally> = const { std::cell::Cell::new(Tally {
    decoded: 0, multiplied: 0, multiplied_base: 0, encoded: 0, mapped: 0, reduced: 0, blocks: 0,
}) });

/// Adds to this thread's tally.
#[cfg(test)]
pub(crate) fn count(add: impl FnOnce(&mut Tally)) {
    let mut tally = TALLY.get();
    add(&mut tally);
    TALLY.set(tally);
}

/// Nothing, outside of tests.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn count(_add: impl FnOnce(&mut Tally)) {}

/// What `work` did on this thread.
#[cfg(test)]
pub(crate) fn of(work: impl FnOnce()) -> Tally {
    TALLY.set(Tally::default());
    work();
    TALLY.get()
}
