//! `strongroom bundle`: bundles of a fleet's keys, made, signed and looked at.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use strongroom::transparency::{
    Bundle, Envelope, EpochSignature, Evidence, FleetKeys, ForkProof, Note, SigningKey, VerifyingKey,
};

use crate::file::{read, read_key, tell, write_new, write_whole};
use crate::log::now_s;
use crate::measure::Outcome;
use crate::signer::{public_key, read_pins};

#[derive(Subcommand)]
pub(crate) enum BundleCommand {
    /// Make the next bundle, to be signed by auditor and operator
    Make(Box<Make>),
    /// Sign a bundle, in place of an earlier signature by the same key
    ///
    /// Look at it first: `strongroom bundle show`.
    Sign {
        /// A file with the signer's private key for bundles
        #[arg(long)]
        key: PathBuf,
        /// The bundle
        file: PathBuf,
    },
    /// Print what a bundle says, and who says it
    Show {
        /// The bundle
        file: PathBuf,
    },
    /// As the auditor, sign a bundle's epoch for tools in the field, in the form of Cloudflare's plexi
    Project {
        /// A file with the auditor's private key for this alone
        #[arg(long)]
        key: PathBuf,
        /// The bundle
        #[arg(long)]
        bundle: PathBuf,
        /// Where to write the signature, as JSON
        out: PathBuf,
    },
    /// As the operator, sign the auditor's signature of an epoch, if it is of this very bundle
    Countersign {
        /// A file with the operator's private key for this alone
        #[arg(long)]
        key: PathBuf,
        /// The auditor's public key for this alone, as "signer show" prints it
        #[arg(long)]
        auditor: String,
        /// The bundle
        #[arg(long)]
        bundle: PathBuf,
        /// The auditor's signature
        signature: PathBuf,
    },
    /// Check that two bundles prove a fork: of one epoch, both signed by both, and different
    Fork {
        /// The pins that held at their epoch, a file that "strongroom pins" writes
        #[arg(long)]
        pins: PathBuf,
        /// One
        first: PathBuf,
        /// The other
        second: PathBuf,
    },
}

/// What a new bundle says.
#[derive(Args)]
pub(crate) struct Make {
    /// The service, like example.org/backup
    #[arg(long)]
    namespace: String,
    /// The fleet's public keys and policy, fleet-keys.json
    #[arg(long)]
    artifact: PathBuf,
    /// The evidence for them, signed by both
    #[arg(long)]
    evidence: PathBuf,
    /// The bundle before; without it this is the first, of epoch 1
    #[arg(long)]
    previous: Option<PathBuf>,
    /// When it begins to hold, in seconds since 1970
    #[arg(long)]
    not_before: u64,
    /// When it ends to hold, in seconds since 1970
    #[arg(long)]
    not_after: u64,
    /// The auditor's public key from the next bundle on, as "signer show" prints it; it signs this one too
    #[arg(long)]
    next_auditor: Option<String>,
    /// The operator's public key from the next bundle on, as "signer show" prints it; it signs this one too
    #[arg(long)]
    next_operator: Option<String>,
    /// Where to write it
    file: PathBuf,
}

pub(crate) fn run(command: BundleCommand) -> Outcome<()> {
    match command {
        BundleCommand::Make(options) => make(*options),
        BundleCommand::Sign { key, file } => {
            let (key, mut note): (SigningKey, _) = (read_key(&key)?, read_unsigned(&file)?);
            // What is no bundle is not signed.
            let bundle = Bundle::read(&note)?;
            note.sign(&key);
            write_whole(&file, &note.write())?;
            tell(&format!("{} has signed the bundle of epoch {}", key.verifying_key().name(), bundle.epoch))
        }
        BundleCommand::Show { file } => {
            let note = read_unsigned(&file)?;
            Bundle::read(&note)?;
            let signers: Vec<_> = note.signers().collect();
            let signed = if signers.is_empty() { "nobody yet".to_owned() } else { signers.join(", ") };
            tell(&format!("{}hash {}\nsigned, as its lines say, by {signed}", note.text(), hex(&note.hash())))
        }
        BundleCommand::Project { key, bundle, out } => {
            let (key, now_ms): (SigningKey, _) = (read_key(&key)?, now_s()? * 1000);
            let signature = EpochSignature::sign(&read_bundle(&bundle)?, now_ms, &key)?;
            write_new(&out, &signature.write())?;
            let key = key.verifying_key();
            tell(&format!("key {key}\nin hex, for plexi {}", hex(key.as_bytes())))
        }
        BundleCommand::Countersign { key, auditor, bundle, signature } => {
            let (key, signature): (SigningKey, _) = (read_key(&key)?, EpochSignature::read(&read(&signature)?)?);
            let auditor = public_key("--auditor", &auditor)?;
            tell(&hex(&signature.countersign(&read_bundle(&bundle)?, &auditor, &key)?))
        }
        BundleCommand::Fork { pins, first, second } => {
            let pins = read_pins(&pins)?;
            let proof = ForkProof::check(read_bundle(&first)?, read_bundle(&second)?, &pins.auditor, &pins.operator)?;
            tell(&format!(
                "both have signed two different bundles of epoch {}: different people were shown different keys",
                proof.epoch()
            ))
        }
    }
}

fn make(options: Make) -> Outcome<()> {
    let artifact = read(&options.artifact)?;
    let keys = FleetKeys::read(&artifact)?;
    let evidence = read(&options.evidence)?;
    let (said, about) = Evidence::read(&Envelope::read(&evidence)?)?;
    if about != FleetKeys::hash(&artifact) || said.fleet != hex(&keys.fleet) || said.namespace != options.namespace {
        return Err(
            "the evidence is of other keys, or of another fleet or service: nobody would accept the bundle".into()
        );
    }
    let (epoch, previous) = match &options.previous {
        None => (1, [0; 32]),
        Some(path) => {
            let note = read_bundle(path)?;
            let before = Bundle::read(&note)?;
            if before.fleet != keys.fleet || before.namespace != options.namespace {
                return Err("the bundle before is of another fleet or service".into());
            }
            (before.epoch.checked_add(1).ok_or("there is no epoch after that")?, note.hash())
        }
    };
    let next = |option, text: &Option<String>| text.as_deref().map(|text| public_key(option, text)).transpose();
    let bundle = Bundle {
        namespace: options.namespace,
        fleet: keys.fleet,
        epoch,
        not_before_s: options.not_before,
        not_after_s: options.not_after,
        previous,
        artifact: FleetKeys::hash(&artifact),
        evidence: Envelope::hash(&evidence),
        next_auditor: next("--next-auditor", &options.next_auditor)?,
        next_operator: next("--next-operator", &options.next_operator)?,
    };
    let next = [&bundle.next_auditor, &bundle.next_operator].map(|key| key.as_ref().map(VerifyingKey::as_bytes));
    if next[0].is_some() && next[0] == next[1] {
        return Err("one key stands for both signers".into());
    }
    // A note without signatures is none; until the first has signed, the file holds the text alone.
    write_new(&options.file, bundle.note()?.text().as_bytes())?;
    tell(&format!("the bundle of epoch {epoch} is in {}; auditor and operator are to sign it", options.file.display()))
}

/// Reads a bundle that somebody has signed.
pub(crate) fn read_bundle(path: &Path) -> Outcome<Note> {
    Ok(Note::read(&read(path)?).map_err(|fault| format!("{}: {fault}", path.display()))?)
}

/// Reads a bundle that nobody may have signed yet.
fn read_unsigned(path: &Path) -> Outcome<Note> {
    let bytes = read(path)?;
    let note = Note::read(&bytes).or_else(|fault| Bundle::parse(&bytes).and_then(|it| it.note()).map_err(|_| fault));
    Ok(note.map_err(|fault| format!("{}: {fault}", path.display()))?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes out of their hex.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; 32];
    let whole = text.len() == 64
        && bytes.iter_mut().zip(text.as_bytes().chunks(2)).all(|(byte, pair)| {
            digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| *byte = high << 4 | low).is_some()
        });
    whole.then_some(bytes)
}
