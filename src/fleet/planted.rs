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

/// Whether this mistake is to be made: none is.
#[cfg(not(feature = "planted"))]
pub(super) const fn makes(_: Mistake) -> bool {
    false
}
