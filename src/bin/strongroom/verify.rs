//! `strongroom verify`: from pinned keys to a fleet's keys, and how they came to be.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use strongroom::transparency::{AttestationVerifier, Bundle, Given, LoggedBundle, Nitro, Proof, Trust};

use crate::bundle::{hex, read_bundle};
use crate::file::{read, read_if_there, tell, write_whole};
use crate::log::{now_s, write_fork};
use crate::measure::Outcome;
use crate::signer::read_pins;

/// What is verified, and by what.
#[derive(Args)]
pub(crate) struct Verify {
    /// What is trusted before anything is heard
    #[arg(long)]
    pins: PathBuf,
    /// What was accepted last, if it was kept; written anew where this ends well
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
    let published = bundles(&options.folder)?;
    let documents = documents(&options.folder.join("documents"))?;
    let (artifact, evidence) =
        (read(&options.folder.join("fleet-keys.json"))?, read(&options.folder.join("evidence.json"))?);
    let bundles = trust.unseen(&published).to_vec();
    let nitro = options.nitro_root.as_deref().map(|path| Outcome::Ok(Nitro::new(&read(path)?)?)).transpose()?;
    let attestations: Vec<_> = nitro.iter().map(|it| it as &dyn AttestationVerifier).collect();
    let given = Given {
        bundles: &bundles,
        artifact: &artifact,
        evidence: &evidence,
        documents: &documents,
        attestations: &attestations,
    };
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
        let [first, second] = write_fork(Path::new("."), fork)?;
        eprintln!("the two bundles are kept in {} and {}; show them to everybody", first.display(), second.display());
    }
    let verified = report.outcome?;
    if let (Some(path), Some(memory)) = (&options.memory, trust.memory()) {
        write_whole(path, &memory)?;
    }
    if !options.json {
        let Bundle { epoch, fleet, .. } = verified.bundle();
        tell(&format!("verified: the keys of epoch {epoch} of the fleet {}", hex(fleet)))?;
    }
    Ok(())
}

/// All bundles of a folder with their proofs, in order of epoch: by name 10 would come before 9.
fn bundles(folder: &Path) -> Outcome<Vec<LoggedBundle>> {
    let bundle = |path: &PathBuf| -> Outcome<(u32, LoggedBundle)> {
        let (note, proof) = (read_bundle(path)?, path.with_extension("tlog-proof"));
        let epoch = Bundle::read(&note).map_err(|fault| format!("{}: {fault}", path.display()))?.epoch;
        let proof = Proof::read(&read(&proof)?).map_err(|fault| format!("{}: {fault}", proof.display()))?;
        Ok((epoch, LoggedBundle { note, proof }))
    };
    let paths = files(folder)?.into_iter().filter(|it| it.extension() == Some("bundle".as_ref()));
    let mut bundles = paths.map(|path| bundle(&path)).collect::<Outcome<Vec<_>>>()?;
    bundles.sort_by_key(|(epoch, _)| *epoch);
    Ok(bundles.into_iter().map(|(_, bundle)| bundle).collect())
}

fn documents(folder: &Path) -> Outcome<Vec<Vec<u8>>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    files(folder)?.iter().map(|path| read(path)).collect()
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?)
}
