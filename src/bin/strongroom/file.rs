//! Files that commands read and write, and words to standard output.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use strongroom::transparency::PrivateKey;
use zeroize::Zeroizing;

use crate::measure::Outcome;

/// Characters of somebody else's words.
const WORDS_MAX: usize = 200;

/// Writes what was asked for; that nobody reads it is no failure.
pub(crate) fn tell(words: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{words}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Writes what somebody must have seen before the work goes on: here that nobody reads it is a failure.
pub(crate) fn show(words: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    let shown = writeln!(out, "{words}").and_then(|()| out.flush());
    Ok(shown.map_err(|error| format!("it could not be shown, and nothing is changed: {error}"))?)
}

/// Words of somebody else's as a terminal may have them: nothing in them moves, hides or colours, and there are not many.
pub(crate) fn printable(words: &str) -> String {
    // Control characters, and those that turn the direction of writing or begin a line.
    let odd = |it: char| {
        it.is_control() || matches!(it, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = words.chars().take(WORDS_MAX).map(|it| if odd(it) { '\u{fffd}' } else { it }).collect();
    if words.chars().nth(WORDS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Holds a file for one command, to the end of what is returned. The lock is a file beside it, which stays: who unlinked it
/// would let two in.
pub(crate) fn hold(path: &Path) -> Outcome<File> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another command is at work on these files ({} is locked); try again later", lock.display())
                .into())
        }
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", lock.display()).into()),
    }
}

pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    Ok(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

pub(crate) fn read_if_there(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(|error| format!("{}: {error}", path.display()))?)),
    }
}

/// Writes a file so that after a crash it is whole or not there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Outcome<()> {
    write_by(path, bytes, |partial| File::create(partial))
}

/// The same, so that only its owner may read it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Outcome<()> {
    write_by(path, bytes, create_private)
}

fn write_by(path: &Path, bytes: &[u8], create: impl FnOnce(&Path) -> std::io::Result<File>) -> Outcome<()> {
    let written = || {
        let partial = partial(path);
        let mut file = create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        sync_folder_of(path)
    };
    Ok(written().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?)
}

/// A new file that only its owner may read, in the place of what a crash has left there.
fn create_private(partial: &Path) -> std::io::Result<File> {
    // It may be a second name of what is there, so it is unlinked and not overwritten.
    match fs::remove_file(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    new_private(partial)
}

/// A file that is not there yet, and that only its owner may read.
fn new_private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What a file is called until it is whole.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

/// A name is as durable as the folder that it stands in.
pub(crate) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Outcome<()> {
    if path.exists() {
        return Err(format!("{} is there already", path.display()).into());
    }
    write_whole(path, bytes)
}

pub(crate) fn read_text(path: &Path) -> Outcome<String> {
    Ok(String::from_utf8(read(path)?).map_err(|_| format!("{} is not text", path.display()))?)
}

/// Reads a private key; a file that others may read is refused.
pub(crate) fn read_key<const ALGORITHM: u8>(path: &Path) -> Outcome<PrivateKey<ALGORITHM>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(format!("{} may be read by others; chmod 600 it, or take another key", path.display()).into());
        }
    }
    let text = Zeroizing::new(read_text(path)?);
    Ok(PrivateKey::read(text.trim_end()).map_err(|fault| format!("{}: {fault}", path.display()))?)
}

/// Writes a private key into a new file that only its owner may read.
pub(crate) fn write_key<const ALGORITHM: u8>(path: &Path, key: &PrivateKey<ALGORITHM>) -> Outcome<()> {
    let text = key.write();
    write_secret(path, &Zeroizing::new([text.expose(), &b"\n"[..]].concat()))
}

/// Writes a new file that only its owner may read, so that after a crash it is whole or not there; or, on a file system
/// without links, empty.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Outcome<()> {
    write_secret_by(path, bytes, |partial, path| fs::hard_link(partial, path))
}

fn write_secret_by(path: &Path, bytes: &[u8], link: impl FnOnce(&Path, &Path) -> std::io::Result<()>) -> Outcome<()> {
    let written = || {
        let partial = partial(path);
        let mut file = create_private(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link, not a rename: it never replaces what is there.
        let named = match link(&partial, path) {
            // FAT has no links, nor have some networks' and telephones' file systems; each says so in its own way.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => name_without_link(&partial, path),
            named => named,
        };
        let removed = match fs::remove_file(&partial) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        named.and(removed)?;
        sync_folder_of(path)
    };
    Ok(written().map_err(|error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} is there already, and is not written over", path.display()),
        _ => format!("{}: {error}", path.display()),
    })?)
}

/// Gives a whole file a name that is not there yet. An empty file takes the name, which only one can do; the whole one
/// replaces that.
fn name_without_link(partial: &Path, path: &Path) -> std::io::Result<()> {
    drop(new_private(path)?);
    fs::rename(partial, path).inspect_err(|_| {
        fs::remove_file(path).ok();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_where_there_are_no_links_and_never_over_another() -> Outcome<()> {
        let folder = tempfile::tempdir()?;
        let no_links: [fn() -> std::io::Error; 2] =
            [|| ErrorKind::Unsupported.into(), || ErrorKind::PermissionDenied.into()];
        for (name, error) in ["unsupported", "denied"].iter().zip(no_links) {
            let path = folder.path().join(name);
            write_secret_by(&path, b"a secret", |_, _| Err(error()))?;
            assert_eq!(fs::read(&path)?, b"a secret");
            #[cfg(unix)]
            {
                let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path)?.permissions());
                assert_eq!(mode & 0o777, 0o600);
            }
            // With links and without, what is there stays.
            for refused in [write_secret_by(&path, b"another", |_, _| Err(error())), write_secret(&path, b"another")] {
                let why = refused.map_err(|error| error.to_string()).unwrap_err();
                assert!(why.ends_with("is there already, and is not written over"), "{why}");
            }
            assert_eq!(fs::read(&path)?, b"a secret");
        }
        // Nothing is left beside them, and where no file can be made at all, the reason is the file system's own.
        assert_eq!(fs::read_dir(folder.path())?.count(), 2);
        let nowhere = write_secret(&folder.path().join("nowhere").join("key"), b"a secret");
        assert!(nowhere.is_err_and(|error| error.to_string().contains("key: ")));
        Ok(())
    }
}
