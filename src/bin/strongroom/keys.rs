//! `strongroom keys`: what keys a vault holds, and turning them. The vault must not be open elsewhere.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use strongroom::secret::Secret;
use strongroom::vault::{Config, KeyStatus, Pace, TicketKeyStatus, Turn, Vault};
use strongroom::wrap::{TokenConfig, TokenRoot};
use zeroize::Zeroize;

use crate::file::{tell, write_new};
use crate::measure::Outcome;
use crate::transfer;

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// What keys the vault holds, and how many records need each
    Status {
        #[command(flatten)]
        place: Place,
        /// Write JSON to standard output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Write fleet-keys.json anew, after a turn of the server's or the channel's keys
    Artifact {
        #[command(flatten)]
        place: Place,
        /// Where to write it
        file: PathBuf,
    },
    /// Turn a kind of key: a new one is drawn and used from now on
    ///
    /// epoch: what records are sealed under; `rewrap` moves the older ones, `retire epochs` then ends the epochs before.
    /// tickets: what carries logins and enrolments under way; those before open until their tickets are over.
    /// digests: what a repeated login is known by; the one before is kept until the next turn.
    /// channel: what requests are sealed to; the one before opens until its last bundle is over.
    /// server: an OPRF seed and static key beside the present ones; `enrol-under` puts them to use.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// Which kind
        kind: Kind,
        /// For `channel`: not-after of the last bundle that names the present key, in seconds since 1970
        #[arg(long, required_if_eq("kind", "channel"))]
        bundle_not_after: Option<u64>,
    },
    /// Make new records by the OPRF seed and static key of this number
    ///
    /// A record moves to them at its next enrolment. Clients must trust the new static key before: `status` shows it.
    EnrolUnder {
        #[command(flatten)]
        place: Place,
        /// Their number, as `rotate server` gave it
        number: u16,
    },
    /// Move the records of older epochs to the newest
    ///
    /// Interrupt it at any time; begun again, it goes on with what is left.
    Rewrap {
        #[command(flatten)]
        place: Place,
        /// Records a second, at most; as many as it can if not given
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
    },
    /// Offer to take the accounts of another vault: writes the offer, and answers for nobody until they have come
    Offer {
        #[command(flatten)]
        place: Place,
        /// Where to write the offer
        file: PathBuf,
    },
    /// Hand all accounts over to the vault that made an offer
    ///
    /// Writes what `import` takes there into a folder. What has left is not answered here any more, for good. Interrupt it
    /// at any time; begun again, it goes on.
    Export {
        #[command(flatten)]
        place: Place,
        /// The other vault's offer
        #[arg(long)]
        offer: PathBuf,
        /// Where to write the parcels; made if it is not there
        parcels: PathBuf,
    },
    /// Take the accounts that another vault hands over
    ///
    /// Takes what is there, in order, and tells when all have come. Interrupt it at any time; begun again, it goes on.
    Import {
        #[command(flatten)]
        place: Place,
        /// Where the parcels are
        parcels: PathBuf,
    },
    /// End the use of older keys for good
    #[command(subcommand)]
    Retire(Retire),
}

#[derive(Subcommand)]
pub(crate) enum Retire {
    /// Destroy the keys of all epochs before the newest
    ///
    /// Refused while a record is sealed under one of them. Copies of the disk from before cannot be opened afterwards.
    Epochs {
        #[command(flatten)]
        place: Place,
    },
    /// Make no more records by the OPRF seeds and static keys up to this number
    ///
    /// Records made by them live on, and the keys are kept while there is one.
    Server {
        #[command(flatten)]
        place: Place,
        /// The highest number to retire
        number: u16,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Epoch,
    Tickets,
    Digests,
    Channel,
    Server,
}

/// Where a vault is, and where its root keys are.
#[derive(Args)]
pub(crate) struct Place {
    /// The vault's folder
    #[arg(long)]
    folder: PathBuf,
    /// The PKCS#11 library of the token that holds the root keys; without it they are in the folder
    #[arg(long, requires = "token_label")]
    token_module: Option<PathBuf>,
    /// The token's label
    #[arg(long, requires = "token_module")]
    token_label: Option<String>,
    /// The token's serial number: another token of the same label is refused
    #[arg(long, requires = "token_module")]
    token_serial: Option<String>,
    /// What the labels of the vault's keys in the token begin with
    #[arg(long, requires = "token_module", default_value = "strongroom")]
    token_prefix: String,
    /// A file with the token's PIN in its first line; without it the PIN is asked for
    #[arg(long, requires = "token_module")]
    pin_file: Option<PathBuf>,
}

impl Place {
    /// Opens the vault that is there.
    pub(crate) fn open(self) -> Outcome<Vault> {
        #[cfg(unix)]
        if crate::fleet::Site::is_at(&self.folder) {
            return Err(format!(
                "{} is a member's folder: its fleet is asked by \"strongroom fleet obey\" and \"fleet rotate\", or by \"fleet \
                 survey\" once it is stopped",
                self.folder.display()
            )
            .into());
        }
        if !self.folder.join("keys").exists() {
            return Err(format!("{} holds no vault", self.folder.display()).into());
        }
        Ok(Vault::open_as_made(self.config()?)?)
    }

    /// For a vault that is to be made there.
    pub(crate) fn new_config(self) -> Outcome<Config> {
        if self.folder.join("keys").exists() {
            return Err(format!("{} holds a vault already", self.folder.display()).into());
        }
        self.config()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub(crate) fn in_token(&self) -> bool {
        self.token_module.is_some()
    }

    fn config(self) -> Outcome<Config> {
        Ok(match (self.token_module, self.token_label) {
            (Some(module), Some(token)) => {
                let pin = match &self.pin_file {
                    Some(path) => first_line(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?),
                    None => rpassword::prompt_password(format!("PIN of the token {token:?}: "))?.into_bytes(),
                };
                let (serial, prefix, pin) = (self.token_serial, self.token_prefix, Secret::new(pin));
                let root = TokenRoot::open(TokenConfig { module, token, serial, pin, prefix, restart: true })?;
                Config::development_with(&self.folder, Box::new(root))?
            }
            _ => Config::development(&self.folder)?,
        })
    }
}

/// The bytes up to the end of the first line; what follows is wiped.
fn first_line(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    bytes[end..].zeroize();
    bytes.truncate(end);
    bytes
}

pub(crate) fn run(command: Keys) -> Outcome<()> {
    match command {
        Keys::Status { place, json } => {
            let status = place.open()?.keys()?;
            if json { tell(&in_json(&status).to_string()) } else { tell(&in_words(&status)) }
        }
        Keys::Artifact { place, file } => {
            let artifact = place.open()?.fleet_keys()?.write()?;
            write_new(&file, &artifact)?;
            tell(&format!(
                "the fleet's public keys and policy are in {}; evidence and the next bundle are to name them",
                file.display()
            ))
        }
        Keys::Rotate { place, kind, bundle_not_after } => {
            let vault = place.open()?;
            let number = vault.rotate(match kind {
                Kind::Epoch => Turn::Epoch,
                Kind::Tickets => Turn::Tickets,
                Kind::Digests => Turn::Digests,
                Kind::Channel => Turn::Channel { not_after_s: bundle_not_after.unwrap_or_default() },
                Kind::Server => Turn::Server,
            })?;
            tell(&match kind {
                Kind::Epoch => format!(
                    "epoch {number} has begun; `strongroom keys rewrap` moves the records that are sealed under older ones"
                ),
                Kind::Tickets => format!("tickets are sealed under key {number}; older ones open until they are over"),
                Kind::Digests => format!("repeated logins are known by key {number}, and by the one before it"),
                Kind::Channel => {
                    format!("requests are sealed to key {number}; the one before opens until its bundle is over")
                }
                Kind::Server => format!(
                    "server keys {number} are ready; once clients trust their static key (see `strongroom keys status`), \
                     `strongroom keys enrol-under` puts them to use"
                ),
            })
        }
        Keys::EnrolUnder { place, number } => {
            place.open()?.enrol_under(number)?;
            tell(&format!("new records are made by server keys {number}"))
        }
        Keys::Offer { place, file } => transfer::offer(&place.open()?, &file),
        Keys::Export { place, offer, parcels } => transfer::export(&place.open()?, &offer, &parcels),
        Keys::Import { place, parcels } => transfer::import(&place.open()?, &parcels),
        Keys::Rewrap { place, rate } => rewrap(&place.open()?, rate),
        Keys::Retire(Retire::Epochs { place }) => {
            let epoch = place.open()?.retire_epochs()?;
            tell(&format!("nothing is sealed under an epoch before {epoch} any more, and their keys are destroyed"))
        }
        Keys::Retire(Retire::Server { place, number }) => {
            let vault = place.open()?;
            vault.retire_server_keys(number)?;
            // Those that no record needs go at once.
            vault.sweep()?;
            tell(&format!("no record is made by server keys up to {number} any more"))
        }
    }
}

fn rewrap(vault: &Vault, rate: Option<u32>) -> Outcome<()> {
    let pace = rate.map_or(Pace::unbounded(), |records_per_s| Pace { records_per_s, ..Pace::default() });
    let style = ProgressStyle::with_template("{bar:28} {pos}/{len} records, {per_sec}, {eta} to go")?;
    let bar = ProgressBar::no_length().with_style(style);
    let done = vault.rewrap(pace).run(|progress| {
        bar.set_length(progress.done + progress.left);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let done = done?;
    tell(&match done.done {
        0 => format!("every record is sealed under epoch {} already", done.epoch),
        moved => format!(
            "{moved} records moved to epoch {}; `strongroom keys retire epochs` destroys the keys of those before",
            done.epoch
        ),
    })
}

pub(crate) fn in_words(status: &KeyStatus) -> String {
    let mut lines = vec![format!("root keys in a {}; keys of serial number {}", status.root, status.serial)];
    for it in &status.epochs {
        let newest = if Some(it) == status.epochs.last() { ", seals" } else { "" };
        lines.push(format!("epoch {}: {} records{newest}", it.epoch, it.records));
    }
    for it in &status.servers {
        let use_of = match (it.enrols, it.retired) {
            (true, _) => ", makes new records",
            (_, true) => ", retired",
            _ => "",
        };
        let public_key: String = it.public_key.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("server keys {}: {} records{use_of}\n  static key {public_key}", it.number, it.records));
    }
    let rotating = |kind: &str, uses: &str, keys: &[TicketKeyStatus]| {
        let one = |it: &TicketKeyStatus| match it.until_s {
            None => format!("{} {uses}", it.number),
            Some(until_s) => format!("{} opens until {until_s} (in seconds since 1970)", it.number),
        };
        format!("{kind}: key {}", keys.iter().map(one).collect::<Vec<_>>().join(", key "))
    };
    lines.push(rotating("login tickets", "seals", &status.login_tickets));
    lines.push(rotating("enrolment tickets", "seals", &status.enrolment_tickets));
    lines.push(rotating("channel", "is the one clients are told of", &status.channel));
    let digests: Vec<_> = status.digests.iter().map(u16::to_string).collect();
    lines.push(format!("repeated logins are known by: key {}", digests.join(", key ")));
    lines.join("\n")
}

pub(crate) fn in_json(status: &KeyStatus) -> serde_json::Value {
    let tickets = |keys: &[TicketKeyStatus]| -> Vec<_> {
        keys.iter().map(|it| json!({ "number": it.number, "until_s": it.until_s })).collect()
    };
    let server = |it: &strongroom::vault::ServerStatus| {
        let public_key: String = it.public_key.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "number": it.number, "public_key": public_key, "enrols": it.enrols, "retired": it.retired,
                "records": it.records })
    };
    json!({
        "serial": status.serial,
        "root": status.root,
        "epoch_min": status.epoch_min,
        "epochs": status.epochs.iter().map(|it| json!({ "epoch": it.epoch, "records": it.records })).collect::<Vec<_>>(),
        "servers": status.servers.iter().map(server).collect::<Vec<_>>(),
        "login_tickets": tickets(&status.login_tickets),
        "enrolment_tickets": tickets(&status.enrolment_tickets),
        "channel": tickets(&status.channel),
        "digests": status.digests,
    })
}
