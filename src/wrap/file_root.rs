//! [`FileRoot`]: root keys in files of one directory. Development only: who reads the disk has the keys.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::root::{EpochKey, RootSource, mac_under, missing, present};
use crate::error::Fault;
use crate::secret::{Secret, fill_random};

/// Root keys as files `epoch-N.root` of 64 random bytes, readable by their owner alone.
///
/// A file has its name only once its bytes are on the disk: a half-written or zeroed file under a good name would be a
/// weak key after a power cut. It loses its name before it is overwritten, for the same reason. Overwriting is the best
/// that a file can do; copies that the disk or the file system keeps by itself are out of its reach, which is why this
/// is for development.
pub struct FileRoot {
    folder: PathBuf,
}

impl FileRoot {
    /// Makes the folder if need be, its parents too, and opens it.
    ///
    /// # Errors
    /// [`Fault::Storage`] if it cannot be made, else as [`FileRoot::open`].
    pub fn create(folder: impl AsRef<Path>) -> Result<Self, Fault> {
        let folder = folder.as_ref();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed("making the folder of root keys"))?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        FileRoot::open(folder)
    }

    /// Opens a folder of root keys, and ends destructions that a crash cut short.
    ///
    /// # Errors
    /// [`Fault::Key`] if there is no such folder or others may write in it, [`Fault::Storage`] if it cannot be read.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Fault> {
        let source = FileRoot { folder: folder.as_ref().to_owned() };
        let metadata = match fs::metadata(&source.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let place = source.folder.display();
                return Err(Fault::Key(format!(
                    "the folder of root keys {place} is missing; put it back, the vault's records open under no other"
                )));
            }
            other => other.map_err(failed("reading the folder of root keys"))?,
        };
        if loose(&metadata, 0o022) {
            let place = source.folder.display();
            return Err(Fault::Key(format!("others may write in the folder of root keys {place}; chmod 700 it")));
        }
        for (epoch, kind) in source.files()? {
            if kind == Kind::Dying {
                source.erase(epoch)?;
            }
        }
        Ok(source)
    }

    fn path(&self, epoch: u32, kind: Kind) -> PathBuf {
        self.folder.join(format!("epoch-{epoch}.{}", kind.ending()))
    }

    /// Every file here that is ours, in order of epoch.
    fn files(&self) -> Result<Vec<(u32, Kind)>, Fault> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("listing root keys"))? {
            let name = entry.map_err(failed("listing root keys"))?.file_name();
            let parsed = name.to_str().and_then(|name| name.strip_prefix("epoch-")?.split_once('.'));
            let Some((number, ending)) = parsed else { continue };
            let (Ok(epoch), Some(kind)) = (number.parse::<u32>(), Kind::of(ending)) else { continue };
            // "epoch-+1" and "epoch-01" parse too, but are not names that this type gives.
            if self.path(epoch, kind).file_name() == Some(&name) {
                files.push((epoch, kind));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn read(&self, epoch: u32) -> Result<Secret<[u8; 64]>, Fault> {
        let path = self.path(epoch, Kind::Root);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(missing(epoch, &self.folder.display().to_string()));
            }
            other => other.map_err(failed("opening a root key"))?,
        };
        // Asked of the open file, not of its name: what was looked at is what is read.
        let metadata = file.metadata().map_err(failed("reading a root key"))?;
        if loose(&metadata, 0o077) {
            return Err(Fault::Key(format!("others may use the root key {}; chmod 600 it", path.display())));
        }
        let damaged = || Fault::Damaged(format!("the root key of epoch {epoch} is not 64 random bytes"));
        if !metadata.is_file() || metadata.len() != 64 {
            return Err(damaged());
        }
        let mut root = Secret::new([0; 64]);
        file.read_exact(root.expose_mut()).map_err(failed("reading a root key"))?;
        // What a disk returns for a block that it lost, and a key that everybody knows.
        if bool::from(root.ct_eq(&[0; 64])) {
            return Err(damaged());
        }
        Ok(root)
    }

    /// [`RootSource::create`] with the root's 64 bytes given.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch has a root already, [`Fault::Storage`] if the file cannot be made.
    pub fn create_with(&self, epoch: u32, root: &[u8; 64]) -> Result<(), Fault> {
        let (fresh, path) = (self.path(epoch, Kind::Fresh), self.path(epoch, Kind::Root));
        // Left by a crash; perhaps a second name of a root that lives, so it is unlinked and not overwritten.
        remove(&fresh)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh).map_err(failed("making a root key"))?;
        file.write_all(root).and_then(|()| file.sync_all()).map_err(failed("writing a root key"))?;
        // A link, not a rename: it never replaces a root that is there.
        let linked = fs::hard_link(&fresh, &path);
        if linked.is_err() {
            overwrite(&fresh)?;
        }
        remove(&fresh)?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(present(epoch, &self.folder.display().to_string()))
            }
            other => other.map_err(failed("naming a root key")).and_then(|()| sync_folder(&self.folder)),
        }
    }

    /// Overwrites and unlinks what [`RootSource::destroy`] has taken the name from.
    fn erase(&self, epoch: u32) -> Result<(), Fault> {
        let dying = self.path(epoch, Kind::Dying);
        overwrite(&dying)?;
        remove(&dying)?;
        sync_folder(&self.folder)
    }
}

impl RootSource for FileRoot {
    fn name(&self) -> &'static str {
        "file"
    }

    fn development(&self) -> bool {
        true
    }

    fn epochs(&self) -> Result<Vec<u32>, Fault> {
        Ok(self.files()?.into_iter().filter(|(_, kind)| *kind == Kind::Root).map(|(epoch, _)| epoch).collect())
    }

    fn create(&self, epoch: u32) -> Result<(), Fault> {
        let mut root = Secret::new([0; 64]);
        fill_random(root.expose_mut())?;
        self.create_with(epoch, root.expose())
    }

    fn destroy(&self, epoch: u32) -> Result<(), Fault> {
        match fs::rename(self.path(epoch, Kind::Root), self.path(epoch, Kind::Dying)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.map_err(failed("destroying a root key"))?,
        }
        sync_folder(&self.folder)?;
        remove(&self.path(epoch, Kind::Fresh))?;
        match self.path(epoch, Kind::Dying).try_exists() {
            Ok(false) => Ok(()),
            _ => self.erase(epoch),
        }
    }

    fn mac(&self, epoch: u32, message: &[u8]) -> Result<EpochKey, Fault> {
        Ok(mac_under(&self.read(epoch)?, message))
    }
}

/// What a file of the folder is, by the ending of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A root key, whole and durable.
    Root,
    /// One being written.
    Fresh,
    /// One being destroyed.
    Dying,
}

impl Kind {
    fn ending(self) -> &'static str {
        match self {
            Kind::Root => "root",
            Kind::Fresh => "fresh",
            Kind::Dying => "dying",
        }
    }

    fn of(ending: &str) -> Option<Self> {
        [Kind::Root, Kind::Fresh, Kind::Dying].into_iter().find(|kind| kind.ending() == ending)
    }
}

fn failed(doing: &str) -> impl Fn(std::io::Error) -> Fault + '_ {
    move |error| Fault::Storage(format!("{doing}: {error}"))
}

/// Whether any of the permission bits in `mask` is set; elsewhere than on unix the folder's owner sees to it.
#[cfg(unix)]
fn loose(metadata: &fs::Metadata, mask: u32) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & mask != 0
}

#[cfg(not(unix))]
fn loose(_: &fs::Metadata, _: u32) -> bool {
    false
}

/// Makes names that appeared in or left a folder durable. On unix a folder is opened like a file; elsewhere there is no
/// such call.
fn sync_folder(folder: &Path) -> Result<(), Fault> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("syncing the folder of root keys"))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Overwrites a file in place, to its present length, and waits for the disk.
fn overwrite(path: &Path) -> Result<(), Fault> {
    let doing = failed("overwriting a root key");
    let mut file = OpenOptions::new().write(true).open(path).map_err(&doing)?;
    let length = file.metadata().map_err(&doing)?.len().min(4096) as usize;
    let mut noise = vec![0; length];
    fill_random(&mut noise)?;
    file.write_all(&noise).and_then(|()| file.sync_all()).map_err(&doing)
}

/// Unlinks a file; one that is not there is unlinked already.
fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("unlinking a root key")),
    }
}
