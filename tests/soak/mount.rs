//! A small disk in memory, mounted for this process and its children alone: it can be full, and it can be read-only.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use nix::unistd::{getgid, getuid};

/// How large it is where nothing is wrong with it.
const ROOM: u64 = 512 << 20;

/// A mounted disk.
pub(crate) struct Small(PathBuf);

/// From here on mounts are this process's own. Needs to be called before there are threads; says why it cannot be.
pub(crate) fn of_our_own() -> Result<(), String> {
    let (user, group) = (getuid(), getgid());
    let flags =
        if user.is_root() { CloneFlags::CLONE_NEWNS } else { CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER };
    unshare(flags).map_err(|error| format!("no namespace of our own: {error}"))?;
    let apart = || {
        if !user.is_root() {
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
        }
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(io::Error::from)
    };
    apart().map_err(|error| format!("no mounts of our own: {error}"))
}

impl Small {
    /// Mounts one.
    pub(crate) fn mount(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let small = Small(folder.to_owned());
        small.mount_with(ROOM, MsFlags::empty()).map(|()| small)
    }

    fn mount_with(&self, bytes: u64, flags: MsFlags) -> Result<(), String> {
        let options = format!("size={bytes}");
        mount(Some("tmpfs"), &self.0, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|error| format!("the disk cannot be mounted: {error}"))
    }

    /// Leaves so many bytes free.
    pub(crate) fn fill(&self, free: u64) -> Result<(), String> {
        let there = statvfs(&self.0).map_err(|error| error.to_string())?;
        let used = (there.blocks() - there.blocks_free()) as u64 * there.fragment_size() as u64;
        self.mount_with(used + free, MsFlags::MS_REMOUNT)
    }

    /// All is well with it again.
    pub(crate) fn heal(&self) -> Result<(), String> {
        self.mount_with(ROOM, MsFlags::MS_REMOUNT)
    }

    /// Nothing can be written. Nobody may have a file of it open.
    pub(crate) fn freeze(&self) -> Result<(), String> {
        self.mount_with(ROOM, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount(&self.0).ok();
    }
}
