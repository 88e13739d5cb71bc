//! `strongroom verify`: from pinned keys to a fleet's keys, and how they came to be.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom::transparency::{AttestationVerifier, Bundle, Given, Nitro, Published, Trust};

use crate::bundle::hex;
use crate::file::{read, read_if_there, tell, write_whole};
use crate::log::{keep_fork, now_s};
use crate::measure::Outcome;
use crate::signer::read_pins;

/// What is verified, and by what.
#[derive(Args)]
pub(crate) struct Verify {
    /// The pins, a file that "strongroom pins" writes: whose keys are trusted from the start
    #[arg(long)]
    pins: PathBuf,
    /// A file that keeps what was accepted last; made if it is not there, and written anew where this ends well
    #[arg(long)]
    memory: Option<PathBuf>,
    /// The root certificate, in DER, under which attestations of AWS Nitro enclaves are judged
    #[arg(long)]
    nitro_root: Option<PathBuf>,
    /// The time at which it must hold, in seconds since 1970; now, if not given
    #[arg(long)]
    at: Option<u64>,
    /// Write JSON to standard output, and nothing else
    #[arg(long)]
    json: bool,
    /// What the operator publishes: NAME.bundle and NAME.tlog-proof of each epoch, whatever their names; fleet-keys.json;
    /// evidence.json; documents/
    folder: PathBuf,
}

pub(crate) fn run(options: Verify) -> Outcome<()> {
    let pins = read_pins(&options.pins)?;
    let memory = options.memory.as_deref().map(read_if_there).transpose()?.flatten();
    let mut trust = match memory {
        Some(memory) => Trust::with_memory(pins, &memory)?,
        None => Trust::new(pins)?,
    };
    let published = Published::read(&options.folder)?;
    if published.evidence.is_empty() {
        // Clients do without it; here it is what is looked at.
        read(&options.folder.join("evidence.json"))?;
    }
    let nitro = options.nitro_root.as_deref().map(|path| Outcome::Ok(Nitro::new(&read(path)?)?)).transpose()?;
    let attestations: Vec<_> = nitro.iter().map(|it| it as &dyn AttestationVerifier).collect();
    let given = Given { attestations: &attestations, ..published.given(&trust) };
    let report = trust.verify(&given, options.at.map_or_else(now_s, Ok)?);
    if options.json {
        let steps: Vec<_> = report.proven.iter().map(|it| json!({ "step": it.step, "proves": it.proves })).collect();
        let told = match &report.outcome {
            Ok(verified) => json!({
                "verified": true, "steps": steps, "epoch": verified.bundle().epoch, "fleet": hex(&verified.bundle().fleet),
                "bundle": hex(verified.hash()), "entry": verified.index(), "log_size": verified.checkpoint().size,
            }),
            Err(why) => json!({ "verified": false, "steps": steps, "reason": why }),
        };
        tell(&told.to_string())?;
    } else {
        for it in &report.proven {
            tell(&format!("ok  {:<11}  {}", it.step, it.proves))?;
        }
    }
    if let Some(fork) = &report.fork {
        keep_fork(fork);
    }
    let verified = report.outcome.map_err(|why| match nitro {
        None if why.ends_with("judge attestations of kind aws-nitro") => format!("{why}: give --nitro-root"),
        _ => why,
    })?;
    if let (Some(path), Some(memory)) = (&options.memory, trust.memory()) {
        write_whole(path, &memory)?;
    }
    if !options.json {
        let Bundle { epoch, fleet, .. } = verified.bundle();
        tell(&format!("verified: the keys of epoch {epoch} of the fleet {}", hex(fleet)))?;
    }
    Ok(())
}
