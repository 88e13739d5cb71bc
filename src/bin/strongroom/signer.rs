//! `strongroom signer`: keys of those who sign, and `strongroom pins`: what verifiers are given of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use strongroom::error::Fault;
use strongroom::secret::Secret;
use strongroom::transparency::{LogPolicy, Pins, PublicKey, SigningKey, WitnessSigningKey};

use crate::evidence::measurement;
use crate::file::{read_key, read_text, tell, write_key, write_new};
use crate::measure::Outcome;

#[derive(Subcommand)]
pub(crate) enum Signer {
    /// Draw a key, keep it in a new file, and print its public half
    ///
    /// Every purpose has a key of its own: bundles and evidence of each signer, the log, each witness. The log's name is its
    /// key's name.
    New {
        /// Whose it is, like a domain: no spaces, no pluses
        #[arg(long)]
        name: String,
        /// A witness's key, which cosigns checkpoints of a log
        #[arg(long)]
        witness: bool,
        /// Where to keep it
        file: PathBuf,
    },
    /// Print the public half of a key
    Show {
        /// Where it is kept
        file: PathBuf,
    },
}

pub(crate) fn run(command: Signer) -> Outcome<()> {
    match command {
        Signer::New { name, witness: false, file } => {
            let key = SigningKey::new(&name, &Secret::random()?)?;
            write_key(&file, &key)?;
            tell(&key.verifying_key().to_string())
        }
        Signer::New { name, witness: true, file } => {
            let key = WitnessSigningKey::new(&name, &Secret::random()?)?;
            write_key(&file, &key)?;
            tell(&key.verifying_key().to_string())
        }
        Signer::Show { file } => {
            let signing: Outcome<SigningKey> = read_key(&file);
            match signing {
                Ok(key) => tell(&key.verifying_key().to_string()),
                Err(_) => {
                    let key: WitnessSigningKey = read_key(&file)?;
                    tell(&key.verifying_key().to_string())
                }
            }
        }
    }
}

/// What verifiers are given.
#[derive(Args)]
pub(crate) struct PinsOptions {
    /// The service, like example.org/backup
    #[arg(long)]
    namespace: String,
    /// The least epoch that is accepted
    #[arg(long, default_value_t = 1)]
    least_epoch: u32,
    /// The auditor's public key for bundles, as "signer show" prints it
    #[arg(long)]
    auditor: String,
    /// The operator's public key for bundles, as "signer show" prints it
    #[arg(long)]
    operator: String,
    /// The auditor's public key for evidence, as "signer show" prints it
    #[arg(long)]
    auditor_evidence: String,
    /// The operator's public key for evidence, as "signer show" prints it
    #[arg(long)]
    operator_evidence: String,
    /// The log's public key, as "signer show" prints it
    #[arg(long)]
    log: String,
    /// A witness's public key, as "signer show" prints it; as many as there are
    #[arg(long)]
    witness: Vec<String>,
    /// How many witnesses must have seen what the log shows
    #[arg(long)]
    quorum: usize,
    /// Code that may run, as KIND=DIGEST; as many as there are
    #[arg(long)]
    measurement: Vec<String>,
    /// Take bundles whatever their end: for an app that keys are compiled into
    #[arg(long)]
    compiled_in: bool,
    /// Where to write them
    file: PathBuf,
}

pub(crate) fn pins(options: PinsOptions) -> Outcome<()> {
    let log = public_key("--log", &options.log)?;
    let witnesses = options.witness.iter().map(|text| public_key("--witness", text)).collect::<Outcome<_>>()?;
    let pins = Pins {
        namespace: options.namespace,
        epoch_min: options.least_epoch,
        auditor: public_key("--auditor", &options.auditor)?,
        operator: public_key("--operator", &options.operator)?,
        auditor_evidence: public_key("--auditor-evidence", &options.auditor_evidence)?,
        operator_evidence: public_key("--operator-evidence", &options.operator_evidence)?,
        log: LogPolicy::new(log, witnesses, options.quorum)?,
        measurements: options.measurement.iter().map(|text| measurement(text)).collect::<Outcome<_>>()?,
        compiled_in: options.compiled_in,
    };
    // What is written must be read again by whoever gets it.
    Pins::read(&pins.write())?;
    write_new(&options.file, pins.write().as_bytes())
}

/// The public key that an option was given. Clap repeats what it refuses, and that may be a private key by mistake: so to clap
/// the option is any text.
pub(crate) fn public_key<const ALGORITHM: u8>(option: &str, text: &str) -> Outcome<PublicKey<ALGORITHM>> {
    if text.trim_start().starts_with("PRIVATE+KEY+") {
        let why = "this is a private key: give the public half, as \"strongroom signer show\" prints it";
        return Err(format!("{option}: {why}").into());
    }
    Ok(text.parse().map_err(|fault: Fault| format!("{option}: {fault}"))?)
}

/// Reads pins from a file.
pub(crate) fn read_pins(path: &std::path::Path) -> Outcome<Pins> {
    Ok(Pins::read(&read_text(path)?).map_err(|fault| format!("{}: {fault}", path.display()))?)
}
