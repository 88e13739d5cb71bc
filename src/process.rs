//! [`harden_process`]: what a binary that holds a vault asks of its operating system.
//!
//! Nothing here is done by itself: a library must not change the process that links it. A server calls it once, first of
//! all, before keys are loaded and threads are started.

/// What the operating system granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was not granted is the operator's to know"]
pub struct Hardened {
    /// No core dump is written, and no other process of the same user reads this one's memory.
    pub undumpable: bool,
    /// No page is written to swap, of what is mapped and of what will be.
    pub locked: bool,
}

/// Turns core dumps off, keeps other processes of the same user out of this one's memory, and locks all its pages into
/// RAM. What the system does not grant is logged as a warning that says what to change, and the process goes on.
///
/// Locked pages count against the limit `RLIMIT_MEMLOCK`: where there is one, and the process may not lift it, nothing is
/// locked.
///
/// ```
/// let hardened = strongroom::process::harden_process();
/// # #[cfg(target_os = "linux")]
/// assert!(hardened.undumpable);
/// ```
pub fn harden_process() -> Hardened {
    let hardened = Hardened { undumpable: forbid_dumps(), locked: lock_pages() };
    if !hardened.undumpable {
        tracing::warn!("core dumps are not off: a crash may write keys to disk; set the limit of core files to 0");
    }
    if !hardened.locked {
        tracing::warn!(
            "pages are not locked: keys may be swapped to disk; lift RLIMIT_MEMLOCK (LimitMEMLOCK=infinity of a systemd \
             unit, ulimit -l unlimited) or turn swap off"
        );
    }
    hardened
}

#[cfg(target_os = "linux")]
fn forbid_dumps() -> bool {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none).is_ok();
    // A handler of core dumps that is a program is not held by the limit; this it obeys.
    limited & set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
}

#[cfg(target_os = "linux")]
fn lock_pages() -> bool {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A process with the right to may lift its limit; another keeps the one it has.
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).ok();
    // Under a limit everything that is mapped later fails once it is reached, which would end the process.
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    unlimited && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn forbid_dumps() -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn lock_pages() -> bool {
    false
}
