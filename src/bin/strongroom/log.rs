//! `strongroom log`: the log of bundles, its witnesses, its monitors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use strongroom::transparency::{Bundle, Log, LogView, Note, Pins, SigningKey, Trust, Witness, WitnessSigningKey};

use crate::bundle::{hex, read_bundle};
use crate::file::{read_if_there, read_key, tell, write_new, write_whole};
use crate::measure::Outcome;
use crate::signer::{public_key, read_pins};

/// What a monitor ends with if there is something new.
const NEWS: u8 = 3;

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Begin a log in a folder; its name is its key's
    ///
    /// The folder can be served by any server of files as it is (C2SP tlog-tiles). The key must have no other log.
    Create {
        /// The log's folder
        #[arg(long)]
        folder: PathBuf,
        /// A file with the log's private key
        #[arg(long)]
        key: PathBuf,
    },
    /// Append bundles that both have signed; those that are there stay where they are
    Append {
        /// The log's folder
        #[arg(long)]
        folder: PathBuf,
        /// A file with the log's private key
        #[arg(long)]
        key: PathBuf,
        /// The pins, a file that "strongroom pins" writes: whose bundles it takes
        #[arg(long)]
        pins: PathBuf,
        /// Bundles that follow each other
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
    },
    /// Print the checkpoint: size and root, who has signed it
    Checkpoint {
        /// The log's folder
        #[arg(long)]
        folder: PathBuf,
        /// The pins that name the log
        #[arg(long)]
        pins: PathBuf,
    },
    /// As a witness, cosign the checkpoint, if the log has only grown since the last one
    Witness {
        /// The log's folder, or a copy of it
        #[arg(long)]
        folder: PathBuf,
        /// The pins that name the log
        #[arg(long)]
        pins: PathBuf,
        /// A file with the witness's private key
        #[arg(long)]
        key: PathBuf,
        /// A file that keeps the checkpoint that the witness cosigned last; made if it is not there. It must never go back
        #[arg(long)]
        memory: PathBuf,
        /// Where to write the cosigned checkpoint
        out: PathBuf,
    },
    /// Take what a witness has added to a copy of the checkpoint, and publish it
    Take {
        /// The log's folder
        #[arg(long)]
        folder: PathBuf,
        /// A file with the log's private key
        #[arg(long)]
        key: PathBuf,
        /// The witness's public key, as "signer show" prints it
        #[arg(long)]
        witness: String,
        /// The cosigned checkpoint
        cosigned: PathBuf,
    },
    /// Write the proof that a bundle is in the log
    Proof {
        /// The log's folder
        #[arg(long)]
        folder: PathBuf,
        /// The pins that name the log
        #[arg(long)]
        pins: PathBuf,
        /// The bundle
        #[arg(long)]
        bundle: PathBuf,
        /// Where to write the proof
        out: PathBuf,
    },
    /// Look whether the log has only grown, and tell what is new
    ///
    /// Exit status 3 says that there is something new in the namespace, for who wants to be called then.
    Monitor {
        /// The log's folder, or a copy of it
        #[arg(long)]
        folder: PathBuf,
        /// The pins that name log and namespace
        #[arg(long)]
        pins: PathBuf,
        /// A file that keeps the checkpoint that the monitor saw last; made if it is not there
        #[arg(long)]
        memory: PathBuf,
        /// Write JSON to standard output, and nothing else
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(command: LogCommand) -> Outcome<ExitCode> {
    match command {
        LogCommand::Create { folder, key } => {
            let log = Log::create(&folder, read_key::<1>(&key)?)?;
            tell(&format!("the log {} begins in {}", log.key().name(), folder.display()))?;
        }
        LogCommand::Append { folder, key, pins, bundles } => {
            append(&folder, read_key(&key)?, read_pins(&pins)?, &bundles)?
        }
        LogCommand::Checkpoint { folder, pins } => {
            let view = view(&folder, &read_pins(&pins)?)?;
            let note = view.checkpoint();
            let signers: Vec<_> = note.signers().collect();
            tell(&format!("{}signed, as its lines say, by {}", note.text(), signers.join(", ")))?;
        }
        LogCommand::Witness { folder, pins, key, memory, out } => {
            let key: WitnessSigningKey = read_key(&key)?;
            let view = view(&folder, &read_pins(&pins)?)?;
            let mut witness = Witness::new(key, view.key(), remembered(&memory)?)?;
            let proof = view.consistency(witness.seen()).unwrap_or_default();
            let cosigned = witness.cosign(view.checkpoint(), &proof, now_s()?)?;
            // What it has cosigned it remembers before anybody sees it.
            write_whole(&memory, &cosigned.write())?;
            write_whole(&out, &cosigned.write())?;
            tell(&format!("{} has cosigned the log at {} entries", witness.key().name(), witness.seen()))?;
        }
        LogCommand::Take { folder, key, witness, cosigned } => {
            let mut log = Log::open(&folder, read_key::<1>(&key)?)?;
            let witness = public_key("--witness", &witness)?;
            log.take_cosignature(&read_bundle(&cosigned)?, &witness)?;
            tell(&format!("the checkpoint of {} entries carries the signature of {}", log.size(), witness.name()))?;
        }
        LogCommand::Proof { folder, pins, bundle, out } => {
            let pins = read_pins(&pins)?;
            let view = view(&folder, &pins)?;
            let entry = Trust::new(pins)?.entries(&[read_bundle(&bundle)?])?.remove(0);
            let index = view.find(&entry).ok_or("this bundle is not in the log")?;
            write_whole(&out, &view.prove(index)?.write())?;
            tell(&format!("the bundle is entry {index} of the log; the proof is in {}", out.display()))?;
        }
        LogCommand::Monitor { folder, pins, memory, json } => {
            return monitor(&folder, &read_pins(&pins)?, &memory, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn append(folder: &Path, key: SigningKey, pins: Pins, bundles: &[PathBuf]) -> Outcome<()> {
    let notes = bundles.iter().map(|path| read_bundle(path)).collect::<Outcome<Vec<_>>>()?;
    let entries = Trust::new(pins)?.entries(&notes)?;
    let mut log = Log::open(folder, key)?;
    let indexes = log.append(&entries)?;
    let told: Vec<_> = indexes.iter().map(u64::to_string).collect();
    tell(&format!(
        "in the log as entry {}; the log has {} entries now, which no witness has seen yet",
        told.join(", "),
        log.size()
    ))
}

fn monitor(folder: &Path, pins: &Pins, memory: &Path, json: bool) -> Outcome<ExitCode> {
    let view = view(folder, pins)?;
    let earlier = remembered(memory)?;
    let new: Vec<_> = match &earlier {
        Some(earlier) => view.since(earlier)?.collect(),
        None => (0..view.size()).filter_map(|index| Some((index, view.entry(index)?))).collect(),
    };
    // What the log alone has signed it may show nobody else.
    pins.log.check_checkpoint(view.checkpoint())?;
    let mut told = Vec::new();
    for (index, entry) in new {
        let bundle = Note::read(entry).and_then(|note| Ok((Bundle::read(&note)?, note)));
        told.push(match &bundle {
            Ok((bundle, _)) if bundle.namespace != pins.namespace => continue,
            Ok((bundle, note)) => {
                let both = Trust::new(pins.clone())?.entries(std::slice::from_ref(note)).is_ok();
                json!({ "entry": index, "namespace": bundle.namespace, "epoch": bundle.epoch, "fleet": hex(&bundle.fleet),
                        "artifact": hex(&bundle.artifact), "hash": hex(&note.hash()), "signed_by_pinned_keys": both })
            }
            Err(_) => json!({ "entry": index, "namespace": null }),
        });
    }
    if json {
        tell(&json!({ "size": view.size(), "new": told }).to_string())?;
    } else {
        tell(&format!("the log has {} entries, and begins with what it had before", view.size()))?;
        for it in &told {
            tell(&match it["epoch"].as_u64() {
                Some(epoch) => format!(
                    "NEW entry {}: bundle of epoch {epoch}, keys {}{}",
                    it["entry"],
                    it["artifact"].as_str().unwrap_or_default(),
                    if it["signed_by_pinned_keys"] == true { "" } else { "; NOT signed by both pinned keys" }
                ),
                None => format!("NEW entry {}: not a bundle", it["entry"]),
            })?;
        }
    }
    // Told first: what is remembered is not told again.
    write_whole(memory, &view.checkpoint().write())?;
    Ok(if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEWS) })
}

fn view(folder: &Path, pins: &Pins) -> Outcome<LogView> {
    Ok(LogView::open(folder, pins.log.log().clone())?)
}

fn remembered(path: &Path) -> Outcome<Option<Note>> {
    let bytes = read_if_there(path)?;
    let note = bytes.map(|bytes| Note::read(&bytes)).transpose();
    note.map_err(|fault| format!("{}: {fault}", path.display()).into())
}

pub(crate) fn now_s() -> Outcome<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}

/// Writes a fork's two notes where the person can show them.
pub(crate) fn write_fork(folder: &Path, proof: &strongroom::transparency::ForkProof) -> Outcome<[PathBuf; 2]> {
    let paths = ["first", "second"].map(|which| folder.join(format!("fork-{}-{which}.bundle", proof.epoch())));
    for (path, note) in paths.iter().zip([&proof.first, &proof.second]) {
        if !path.exists() {
            write_new(path, &note.write())?;
        }
    }
    Ok(paths)
}
