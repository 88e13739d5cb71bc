//! `strongroom log`: the log of bundles, its witnesses, its monitors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use strongroom::transparency::{
    Bundle, ForkProof, History, Log, LogView, Note, Pins, SigningKey, Witness, WitnessSigningKey,
};

use crate::bundle::{hex, read_bundle};
use crate::file::{hold, read_if_there, read_key, tell, write_new, write_whole};
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
        /// Bundles that follow those in the log, in order
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
    /// Look whether the log has only grown, and tell what is new, and whether it follows what was before
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
            // Two at once would each cosign what fits the memory that both have read, and not the other's.
            let _held = hold(&memory)?;
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
            let mut history = History::new(pins)?;
            history.follow_log(&view);
            let entry = history.follow(&read_bundle(&bundle)?)?;
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
    let mut log = Log::open(folder, key)?;
    let mut history = History::new(pins)?;
    history.follow_log(&log);
    let entries = notes.iter().map(|note| history.follow(note)).collect::<Result<Vec<_>, _>>()?;
    let indexes = log.append(&entries)?;
    let told: Vec<_> = indexes.iter().map(u64::to_string).collect();
    tell(&format!(
        "in the log as entry {}; the log has {} entries now, which no witness has seen yet",
        told.join(", "),
        log.size()
    ))
}

fn monitor(folder: &Path, pins: &Pins, memory: &Path, json: bool) -> Outcome<ExitCode> {
    // Before the log is read: one that was read later may be in the memory by then, and this one would seem to have shrunk.
    let _held = hold(memory)?;
    let view = view(folder, pins)?;
    let earlier = remembered(memory)?;
    let new: Vec<_> = match &earlier {
        Some(earlier) => view.since(earlier)?.collect(),
        None => (0..view.size()).filter_map(|index| Some((index, view.entry(index)?))).collect(),
    };
    // What the log alone has signed it may show nobody else.
    pins.log.check_checkpoint(view.checkpoint())?;
    let refused = History::new(pins.clone())?.follow_log(&view);
    let mut told = Vec::new();
    for (index, entry) in new {
        let bundle = Note::read(entry).and_then(|note| Ok((Bundle::read(&note)?, note)));
        told.push(match &bundle {
            Ok((bundle, _)) if bundle.namespace != pins.namespace => continue,
            Ok((bundle, note)) => {
                let why = refused.get(&index).map(ToString::to_string);
                json!({ "entry": index, "namespace": bundle.namespace, "epoch": bundle.epoch, "fleet": hex(&bundle.fleet),
                        "artifact": hex(&bundle.artifact), "hash": hex(&note.hash()), "follows": why.is_none(), "why": why })
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
                    it["why"].as_str().map(|why| format!("; REFUSED: {why}")).unwrap_or_default()
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

/// Keeps a fork's two notes here, where the person can show them, and says where. If it cannot, it says why: the refusal
/// itself is not to be lost for that.
pub(crate) fn keep_fork(proof: &ForkProof) {
    let kept = |which, note: &Note| write_fork(&format!("fork-{}-{which}", proof.epoch()), &note.write());
    match kept("first", &proof.first).and_then(|first| Ok((first, kept("second", &proof.second)?))) {
        Ok((first, second)) => {
            eprintln!(
                "the two bundles are kept in {} and {}; show them to everybody",
                first.display(),
                second.display()
            );
        }
        Err(why) => eprintln!("the two bundles could not be kept: {why}"),
    }
}

/// Writes a note of a fork under this name, or, where another has it, under the next that is free.
fn write_fork(name: &str, note: &[u8]) -> Outcome<PathBuf> {
    let mut path = PathBuf::from(format!("{name}.bundle"));
    let mut number = 1;
    while let Some(there) = read_if_there(&path)? {
        if there == note {
            return Ok(path);
        }
        number += 1;
        path = PathBuf::from(format!("{name}-{number}.bundle"));
    }
    write_new(&path, note)?;
    Ok(path)
}
