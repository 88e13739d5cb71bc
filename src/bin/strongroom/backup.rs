//! `strongroom backup seal|open`: files of any size under the backup key, in the age format.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::iter::once;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::x25519::Identity;
use age::{Decryptor, Encryptor};
use bech32::{ToBase32, Variant};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use strongroom::engine::sha512::HmacKey;
use strongroom::secret::Secret;
use zeroize::Zeroizing;

use crate::file::{partial, sync_folder_of, tell};
use crate::measure::Outcome;
use crate::person::read_key;

const LABEL: &[u8] = b"strongroom backup file v1";
/// Bytes that are moved at once.
const PIECE: usize = 256 * 1024;
/// Bytes of an age header, of which `backup seal` writes about 200.
const HEADER_MAX: u64 = 16 * 1024;

/// Files under the backup key.
#[derive(Subcommand)]
pub(crate) enum BackupCommand {
    /// Seal a file
    Seal(Files),
    /// Open a sealed file; nothing is left of one that was cut short or altered
    Open(Files),
    /// Show the identity by which `age -d -i` opens sealed files where this program is not at hand; it is a secret
    Identity {
        /// The backup key
        #[arg(long, default_value = "backup.key")]
        key: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Files {
    /// The backup key
    #[arg(long, default_value = "backup.key")]
    key: PathBuf,
    /// The file to read
    input: PathBuf,
    /// The file to write; it must not be there
    output: PathBuf,
}

pub(crate) fn run(command: BackupCommand) -> Outcome<()> {
    match command {
        BackupCommand::Seal(files) => {
            let recipient = identity(&files.key)?.to_public();
            files.through(|input, output| {
                let encryptor = Encryptor::with_recipients(once(&recipient as &dyn age::Recipient))?;
                let mut sealed = encryptor.wrap_output(output)?;
                pump(input, &mut sealed)?;
                Ok(sealed.finish()?)
            })
        }
        BackupCommand::Open(files) => {
            let identity = identity(&files.key)?;
            files.through(|input, output| {
                let beginning = beginning(input)?;
                let decryptor = Decryptor::new_buffered(io::BufReader::new(beginning.chain(input)))?;
                let mut opened = decryptor.decrypt(once(&identity as &dyn age::Identity))?;
                let mut output = output;
                pump(&mut opened, &mut output).map_err(|error| format!("it was cut short or altered: {error}"))?;
                Ok(output)
            })
        }
        BackupCommand::Identity { key } => {
            use age::secrecy::ExposeSecret;
            tell(identity(&key)?.to_string().expose_secret())
        }
    }
}

/// The identity of a backup key. Its recipient is never published, so who has a sealed file has no public key to start
/// from, be it with a quantum computer.
fn identity(key: &Path) -> Outcome<Identity> {
    let key = read_key(key)?.ok_or_else(|| format!("there is no backup key in {}", key.display()))?;
    let derived = Secret::new(HmacKey::new(LABEL).mac(&[key.expose()]));
    let mut words = (&derived.expose()[..32]).to_base32();
    let text = bech32::encode("age-secret-key-", &words, Variant::Bech32);
    words.fill(bech32::u5::default());
    let text = Zeroizing::new(Zeroizing::new(text?).to_uppercase());
    Ok(Identity::from_str(&text)?)
}

impl Files {
    /// From the one file to the other, which is there when it is whole, or not at all.
    fn through(&self, work: impl FnOnce(&mut dyn Read, File) -> Outcome<File>) -> Outcome<()> {
        if self.output.exists() {
            return Err(format!("{} is there already", self.output.display()).into());
        }
        let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let input = File::open(&self.input).map_err(|error| told(&self.input, &error))?;
        let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}";
        let bar = ProgressBar::new(input.metadata()?.len()).with_style(ProgressStyle::with_template(style)?);
        let partial = partial(&self.output);
        let mut options = File::options();
        options.write(true).create_new(true);
        // A backup in clear is its owner's alone, half of one too.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Left by one that was cut short.
        fs::remove_file(&partial).ok();
        let output = options.open(&partial).map_err(|error| told(&partial, &error))?;
        let done = work(&mut bar.wrap_read(input), output).and_then(|output| {
            output.sync_all()?;
            fs::rename(&partial, &self.output)?;
            Ok(sync_folder_of(&self.output)?)
        });
        bar.finish_and_clear();
        done.map_err(|error| {
            fs::remove_file(&partial).ok();
            told(&self.input, &error).into()
        })
    }
}

/// A sealed file's beginning, with the whole header in it: age reads a header into memory however long it is.
fn beginning(input: &mut dyn Read) -> Outcome<io::Cursor<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.take(HEADER_MAX).read_to_end(&mut bytes)?;
    let last_line = bytes.windows(5).position(|it| it == b"\n--- ");
    match last_line.is_some_and(|at| bytes[at + 1..].contains(&b'\n')) {
        true => Ok(io::Cursor::new(bytes)),
        false => Err("it is no sealed file: no header of the age format ends in its first 16 KiB".into()),
    }
}

/// Moves all there is, in pieces of one size, which are wiped.
fn pump(from: &mut dyn Read, to: &mut dyn Write) -> Outcome<()> {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            count => to.write_all(&piece[..count])?,
        }
    }
}
