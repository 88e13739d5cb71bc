//! Files that commands read and write, and words to standard output.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use strongroom::transparency::PrivateKey;
use zeroize::Zeroizing;

use crate::measure::Outcome;

/// Writes what was asked for; that nobody reads it is no failure.
pub(crate) fn tell(words: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{words}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    Ok(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

pub(crate) fn read_if_there(path: &Path) -> Outcome<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(|error| format!("{}: {error}", path.display()))?)),
    }
}

/// Writes a file so that after a crash it is whole or not there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let written = || {
        let partial = partial(path);
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        sync_folder_of(path)
    };
    Ok(written().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?)
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

/// Writes a new file that only its owner may read, so that after a crash it is whole or not there.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = || {
        let partial = partial(path);
        // Left by a crash; it may be a second name of what is there, so it is unlinked and not overwritten.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link, not a rename: it never replaces what is there.
        let linked = fs::hard_link(&partial, path);
        fs::remove_file(&partial)?;
        linked?;
        sync_folder_of(path)
    };
    Ok(written().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?)
}
