//! Mistakes that a fleet could make, planted to see that its simulation finds them. Without the feature `planted`, which is
//! for checks only, there are none.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "planted"), expect(unreachable_pub, reason = "only checks name mistakes"))]
pub enum Mistake {
    /// A leader counts members that do not answer among those that have acknowledged.
    SilenceCounts,
    /// A batch that arrives twice is applied twice.
    AppliesTwice,
    /// A vote leaves before the anchor names it.
    VoteNotAnchored,
    /// A replica makes receipts from the state that it has when the leader says that a batch is committed.
    #[cfg(feature = "planted")]
    ReceiptsAhead,
    /// A replica makes receipts from the state that it has, and only then asks for the batch to be committed: what is evaluated by
    /// them is not charged yet, and may never be.
    #[cfg(feature = "planted")]
    ReceiptsFirst,
    /// A leader takes what it is yet to write for committed.
    CommitsAhead,
    /// A leader that starts again leads on, without an election.
    LeadsAtOnce,
    /// A leader dates batches by its own clock, and nobody objects.
    OwnClock,
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}

/// From here on replicas on this thread make this mistake, or none.
#[cfg(feature = "planted")]
pub fn plant(mistake: Option<Mistake>) {
    PLANTED.set(mistake);
}

/// Whether this mistake is to be made.
#[cfg(feature = "planted")]
pub(super) fn makes(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}

#[cfg(feature = "planted")]
std::thread_local! {
    static DISKS: std::cell::Cell<(u64, std::time::Duration)> = const { std::cell::Cell::new((0, std::time::Duration::ZERO)) };
}

/// From here on a row of a replica on this thread is on its disk only after up to so long, as this seed says.
#[cfg(feature = "planted")]
pub fn slow_disks(seed: u64, most: std::time::Duration) {
    DISKS.set((seed, most));
}

/// Waits as long as a disk takes that is slow on purpose.
#[cfg(feature = "planted")]
pub(super) async fn wait_for_the_disk() {
    let (seed, most) = DISKS.get();
    if !most.is_zero() {
        let next = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        DISKS.set((next, most));
        tokio::time::sleep(most.mul_f64((next >> 40) as f64 / (1_u64 << 24) as f64)).await;
    }
}

/// Waits for nothing: no disk is slow on purpose.
#[cfg(not(feature = "planted"))]
pub(super) async fn wait_for_the_disk() {}

/// Whether this mistake is to be made: none is.
#[cfg(not(feature = "planted"))]
pub(super) const fn makes(_: Mistake) -> bool {
    false
}
