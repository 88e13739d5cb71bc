//! `strongroom statement`: what both signers tell a fleet to do.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use strongroom::account::AccountId;
use strongroom::transparency::{Bundle, FleetKeys, Member, Note, Order, SigningKey, Statement};

use crate::bundle::{hex, read_bundle, unhex};
use crate::file::{read, read_key, tell, write_new, write_whole};
use crate::keys::Place;
use crate::measure::Outcome;

#[derive(Subcommand)]
pub(crate) enum StatementCommand {
    /// Let a person enrol again whose attempts of a lifetime are used up
    Pardon {
        #[command(flatten)]
        to: To,
        /// The account's id, in hex: made of the service's and the person's name (AccountId::derive)
        #[arg(long)]
        account: String,
        /// Attempts that are pardoned over all statements so far, this one included
        #[arg(long)]
        pardoned: u32,
    },
    /// Say that the state was restored from a backup: each account keeps one attempt of its window
    Restore {
        #[command(flatten)]
        to: To,
        /// One more than that of the last restore; "fleet survey" shows how many there were
        #[arg(long)]
        number: u32,
    },
    /// Say who the members of the fleet are
    Members {
        #[command(flatten)]
        to: To,
        /// The statement of members before this one
        #[arg(long)]
        previous: Option<PathBuf>,
        /// A member, as NUMBER,NAME,its link key,SHA-256 of its channel key,CODE; in order of number
        #[arg(long)]
        member: Vec<String>,
    },
    /// Say that a fleet goes on from a backup, with members that were none before: a majority is lost for good
    Refound {
        #[command(flatten)]
        to: To,
        /// One more than that of the last restore; "fleet survey" shows how many there were
        #[arg(long)]
        number: u32,
        /// What `fleet survey` calls the backup
        #[arg(long)]
        backup: String,
        /// The last statement of members that the backup has
        #[arg(long)]
        previous: PathBuf,
        /// A member, as NUMBER,NAME,its link key,SHA-256 of its channel key,CODE; in order of number
        #[arg(long, required = true)]
        member: Vec<String>,
    },
    /// Sign a statement, in place of an earlier signature by the same key
    Sign {
        /// A file with the signer's private key for bundles
        #[arg(long)]
        key: PathBuf,
        /// The statement
        file: PathBuf,
    },
    /// Print what a statement says, and who says it
    Show {
        /// The statement
        file: PathBuf,
    },
    /// As a vault, do what a statement says that both have signed, or follow the signers that a bundle names
    Obey {
        #[command(flatten)]
        place: Place,
        /// The statement or bundle
        file: PathBuf,
    },
}

/// To whom it is said.
#[derive(Args)]
pub(crate) struct To {
    /// The fleet's public keys and policy, fleet-keys.json
    #[arg(long)]
    artifact: PathBuf,
    /// Where to write the statement
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(command: StatementCommand) -> Outcome<()> {
    match command {
        StatementCommand::Pardon { to, account, pardoned } => {
            let account = AccountId(hex32(&account)?);
            make(&to, Order::Pardon { account, pardoned })
        }
        StatementCommand::Restore { to, number } => make(&to, Order::Restore { number }),
        StatementCommand::Members { to, previous, member } => {
            let predecessor = match previous {
                Some(path) => read_unsigned(&path)?.hash(),
                None => [0; 32],
            };
            let members = member.iter().map(|text| one(text)).collect::<Outcome<_>>()?;
            make(&to, Order::Members { predecessor, members })
        }
        StatementCommand::Refound { to, number, backup, previous, member } => {
            let (backup, predecessor) = (hex32(&backup)?, read_unsigned(&previous)?.hash());
            let members = member.iter().map(|text| one(text)).collect::<Outcome<_>>()?;
            make(&to, Order::Refound { number, backup, predecessor, members })
        }
        StatementCommand::Sign { key, file } => {
            let (key, mut note): (SigningKey, _) = (read_key(&key)?, read_unsigned(&file)?);
            note.sign(&key);
            write_whole(&file, &note.write())?;
            tell(&format!("{} has signed {}", key.verifying_key().name(), file.display()))
        }
        StatementCommand::Show { file } => {
            let note = read_unsigned(&file)?;
            let signers: Vec<_> = note.signers().collect();
            let signed = if signers.is_empty() { "nobody yet".to_owned() } else { signers.join(", ") };
            tell(&format!("{}signed, as its lines say, by {signed}", note.text()))
        }
        StatementCommand::Obey { place, file } => {
            let (vault, note) = (place.open()?, read_bundle(&file)?);
            if Bundle::read(&note).is_ok() {
                let before = vault.signers()?;
                vault.follow_signers(&note)?;
                let words = if vault.signers()? == before {
                    "names no other signers"
                } else {
                    "names other signers, who are obeyed from now on"
                };
                return tell(&format!("the bundle {words}"));
            }
            let statement = vault.obey(&note)?;
            tell(&format!("obeyed: {}", statement.order.name()))
        }
    }
}

fn make(to: &To, order: Order) -> Outcome<()> {
    let fleet = FleetKeys::read(&read(&to.artifact)?)?.fleet;
    let note = Statement { fleet, order }.note()?;
    write_new(&to.out, note.text().as_bytes())?;
    tell(&format!("the statement is in {}; auditor and operator are to sign it", to.out.display()))
}

/// Reads a statement that nobody may have signed yet.
fn read_unsigned(path: &Path) -> Outcome<Note> {
    let note = Note::read_unsigned(&read(path)?);
    let note = note.map_err(|fault| format!("{}: {fault}", path.display()))?;
    Statement::read(&note).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(note)
}

fn one(text: &str) -> Outcome<Member> {
    let [number, name, link_key, channel_key, code] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err(format!("{text} is not NUMBER,NAME,LINK KEY,SHA-256,CODE").into());
    };
    let (link_key, channel_key) = (hex32(link_key)?, hex32(channel_key)?);
    let number = number.parse().map_err(|_| format!("{number} is not a member's number"))?;
    Ok(Member { number, name: name.to_owned(), link_key, channel_key, code: code.to_owned() })
}

fn hex32(text: &str) -> Outcome<[u8; 32]> {
    if text.len() != 64 {
        return Err(format!("{text} is not 32 bytes of hex").into());
    }
    let bytes = unhex(text).filter(|bytes| hex(bytes) == text);
    Ok(bytes.ok_or_else(|| format!("{text} is not hex in small letters"))?)
}
