//! [`Published`]: what an operator publishes of its fleet's keys, in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::bundle::Bundle;
use super::note::Note;
use super::proof::Proof;
use super::trust::{LoggedBundle, Trust, Verified};
use super::verify::Given;
use crate::error::Fault;

/// A folder that everybody may have: `NAME.bundle` and `NAME.tlog-proof` of each epoch, whatever their names,
/// `fleet-keys.json`, and, for those who look further, `evidence.json` and `documents/`. Nothing in it is believed for being
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The bundles with their proofs, in order of epoch.
    pub bundles: Vec<LoggedBundle>,
    /// The artifact that the last bundle names.
    pub artifact: Vec<u8>,
    /// The evidence that the last bundle names; empty without a file.
    pub evidence: Vec<u8>,
    /// The documents that the evidence names.
    pub documents: Vec<Vec<u8>>,
}

impl Published {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`Fault::Storage`] if a file cannot be read, [`Fault::Damaged`] if a bundle or a proof is none.
    pub fn read(folder: &Path) -> Result<Self, Fault> {
        let bundle = |path: PathBuf| -> Result<(u32, LoggedBundle), Fault> {
            let (note, proof) = (read(&path)?, read(&path.with_extension("tlog-proof"))?);
            let wrong = |why: &dyn std::fmt::Display| Fault::Damaged(format!("{}: {why}", path.display()));
            let note = Note::read(&note).map_err(|why| wrong(&why))?;
            let epoch = Bundle::read(&note).map_err(|why| wrong(&why))?.epoch;
            Ok((epoch, LoggedBundle { note, proof: Proof::read(&proof).map_err(|why| wrong(&why))? }))
        };
        let paths = files(folder)?.into_iter().filter(|it| it.extension() == Some("bundle".as_ref()));
        let mut bundles = paths.map(bundle).collect::<Result<Vec<_>, _>>()?;
        // By name 10 would come before 9.
        bundles.sort_by_key(|(epoch, _)| *epoch);
        let (evidence, documents) = (folder.join("evidence.json"), folder.join("documents"));
        Ok(Published {
            bundles: bundles.into_iter().map(|(_, bundle)| bundle).collect(),
            artifact: read(&folder.join("fleet-keys.json"))?,
            evidence: if evidence.exists() { read(&evidence)? } else { Vec::new() },
            documents: match documents.exists() {
                true => files(&documents)?.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
                false => Vec::new(),
            },
        })
    }

    /// Accepts the newest bundle: [`Trust::accept`] with those that this verifier has not seen.
    ///
    /// # Errors
    /// Why it is not accepted; nothing has changed then.
    pub fn accept(&self, trust: &mut Trust, now_s: u64) -> Result<Verified, super::Rejection> {
        let unseen = trust.unseen(&self.bundles).to_vec();
        trust.accept(&unseen, &self.artifact, now_s)
    }

    /// What [`Trust::verify`] takes, with the bundles that it has not seen.
    pub fn given<'a>(&'a self, trust: &Trust) -> Given<'a> {
        Given {
            bundles: trust.unseen(&self.bundles),
            artifact: &self.artifact,
            evidence: &self.evidence,
            documents: &self.documents,
            attestations: &[],
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| Fault::Storage(format!("{}: {error}", path.display())))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let told = |error: std::io::Error| Fault::Storage(format!("{}: {error}", folder.display()));
    let entries = fs::read_dir(folder).map_err(told)?;
    entries.map(|entry| entry.map(|it| it.path()).map_err(told)).collect()
}
