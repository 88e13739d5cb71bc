//! `strongroom fleet`: members of a fleet, from their birth to their end.

#[path = "../../../../examples/front/mod.rs"]
mod front;
mod operations;
mod run;
mod site;
mod status;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::bundle::{hex, read_bundle};
use crate::file::{read, tell, write_new};
use crate::front_end;
use crate::keys::Place;
use crate::measure::Outcome;
pub(crate) use site::Site;
use strongroom::fleet::{Backup, Survey};
use strongroom::vault::Pace;

/// Between two looks at how far records have moved.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Subcommand)]
pub(crate) enum FleetCommand {
    /// Run a whole fleet on this machine: for a try, and for development
    ///
    /// Makes it in a folder if there is none: draws the fleet's keys and those of two signers, has both name the members,
    /// and hands the keys to each. Then runs a process for each member, starts again whichever ends, and ends all of them
    /// when it is interrupted. It gives a token to whoever asks for one.
    Up(up::Up),
    /// Run one member: its replica, its vault, and a front-end before it
    ///
    /// Answers people, the other members, and operators, each at an address of their own. Ends with exit status 1 if its
    /// disk or anchor fails: what it has acknowledged is on a majority's disks.
    Run(Box<run::Run>),
    /// Draw a member's keys in a new folder, and print what a statement says of it
    Member {
        /// Its folder, which must not be there
        #[arg(long)]
        folder: PathBuf,
        /// Its number, which no other member of the fleet ever had
        #[arg(long)]
        number: u64,
        /// Where the others find it, as HOST:PORT
        #[arg(long)]
        name: String,
        /// What code it runs, in words or by a digest
        #[arg(long, default_value = "development")]
        code: String,
    },
    /// Seal the fleet's secret keys to a founding member, in the folder of the ceremony that drew them; or to one that begins
    /// from a backup, in the folder of a member that is left
    #[command(mut_arg("folder", |it| it.help("The ceremony's folder, or that of a member that is left")))]
    HandOver {
        #[command(flatten)]
        place: Place,
        /// The statement of both signers that names the members
        #[arg(long)]
        statement: PathBuf,
        /// The member's number
        #[arg(long)]
        member: u64,
        /// The member's channel key: the file channel.pub in its folder
        #[arg(long)]
        channel_key: PathBuf,
        /// Where to write the sealed keys
        out: PathBuf,
    },
    /// Tell what the disk of a stopped member holds, or a copy of it: what both signers want to know before they have a fleet go
    /// on from it that has lost a majority for good
    Survey {
        /// The folder of a stopped member that is left
        #[arg(long)]
        folder: PathBuf,
        #[command(flatten)]
        copy: Copy,
    },
    /// As a member, take the fleet's secret keys and begin the log: to found the fleet, to join one that runs, or to go on from a
    /// backup
    ///
    /// What is refused or cut short has left nothing in place, and is given again. What was taken is not replaced.
    Take(Take),
    /// Give a running fleet a statement of both signers, or a bundle that names other signers
    Obey {
        #[command(flatten)]
        member: At,
        /// The statement or bundle
        file: PathBuf,
    },
    /// Turn a kind of key at one member, once a majority keeps the new one; the others follow
    Rotate {
        #[command(flatten)]
        member: At,
        /// Which kind
        kind: Kind,
    },
    /// What keys a member holds, and how many records need each
    Keys {
        #[command(flatten)]
        member: At,
        /// Write JSON to standard output, and nothing else
        #[arg(long)]
        json: bool,
    },
    /// Have a member move the records of older epochs to the newest, and wait until it has
    ///
    /// Interrupted, the member goes on; begun again at any member, so does what is left.
    Rewrap {
        #[command(flatten)]
        member: At,
        /// Records a second, at most
        #[arg(long, default_value_t = Pace::default().records_per_s, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
    },
    /// End all epochs before the newest, and destroy their keys
    ///
    /// Refused while a record is sealed under one of them. The other members destroy them at their next sweep, and those that are
    /// down once they are back. Copies of a member's disk from before cannot be opened afterwards.
    Retire {
        #[command(flatten)]
        member: At,
    },
    /// Have a member lead no more, before it is stopped
    Drain {
        #[command(flatten)]
        member: At,
    },
    /// How the members of a fleet stand, in a table
    ///
    /// Exit status 0 if a majority of those who vote answer and know one leader, 1 otherwise.
    Status(status::Status),
}

/// Where operators are answered.
#[derive(Args)]
pub(crate) struct At {
    /// A member's address for operators
    #[arg(long, default_value = "http://127.0.0.1:8180")]
    at: String,
}

/// What a member begins with.
#[derive(Args)]
pub(crate) struct Take {
    /// The member's folder
    #[arg(long)]
    folder: PathBuf,
    /// The fleet's public keys and policy, fleet-keys.json
    #[arg(long)]
    artifact: PathBuf,
    /// The last statement of both signers that names the members
    #[arg(long)]
    statement: PathBuf,
    /// The fleet's secret keys, sealed to this member by "fleet hand-over"
    #[arg(long, required_unless_present = "from")]
    keys: Option<PathBuf>,
    /// A running member's address for operators, who seals them
    #[arg(long, conflicts_with = "keys")]
    from: Option<String>,
    /// A bundle that named other signers since the ceremony; all of them, in order
    #[arg(long = "bundle")]
    bundles: Vec<PathBuf>,
    #[command(flatten)]
    copy: Copy,
}

/// The files of a stopped member, or a copy of them.
#[derive(Args)]
pub(crate) struct Copy {
    /// A folder with log.redb and checkpoint.redb as a stopped member had them
    #[arg(long, requires = "of")]
    backup: Option<PathBuf>,
    /// The number of the member whose they were
    #[arg(long, requires = "backup")]
    of: Option<u64>,
}

impl Copy {
    fn backup(&self) -> Option<Backup<'_>> {
        Some(Backup { folder: self.backup.as_deref()?, number: self.of? })
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Epoch,
    Tickets,
    Digests,
}

pub(crate) fn run(command: FleetCommand) -> Outcome<ExitCode> {
    match command {
        FleetCommand::Up(options) => up::run(options)?,
        FleetCommand::Run(options) => run::run(*options)?,
        FleetCommand::Member { folder, number, name, code } => member(&folder, number, &name, &code)?,
        FleetCommand::HandOver { place, statement, member, channel_key, out } => {
            let (statement, public_key) = (read_bundle(&statement)?, read(&channel_key)?);
            let public_key = public_key.try_into().map_err(|_| format!("{}: no channel key", channel_key.display()))?;
            let sealed = if Site::is_at(place.folder()) {
                Site::open(place.folder())?.hand_over(&statement, member, &public_key)?
            } else {
                let vault = place.open()?;
                // It is obeyed once: for every founder but the first it is known.
                let obeyed = vault.obey(&statement);
                vault.hand_over(member, &public_key).map_err(|fault| obeyed.err().unwrap_or(fault))?
            };
            write_new(&out, &sealed)?;
            tell(&format!("the fleet's secret keys are in {}, sealed to member {member} alone", out.display()))?;
        }
        FleetCommand::Survey { folder, copy } => survey(&Site::open(&folder)?.survey(copy.backup())?)?,
        FleetCommand::Take(options) => take(&options)?,
        FleetCommand::Obey { member, file } => {
            let note = BASE64.encode(read(&file)?);
            let told = ask(&member.at, "/v1/statement", json!({ "note": note }))?;
            tell(&format!("obeyed: {}", told["obeyed"].as_str().unwrap_or_default()))?;
        }
        FleetCommand::Rotate { member, kind } => {
            let kind = kind.to_possible_value().map(|it| it.get_name().to_owned());
            let told = ask(&member.at, "/v1/rotate", json!({ "kind": kind }))?;
            tell(&format!("key {} is in use", told["number"]))?;
        }
        FleetCommand::Keys { member, json } => {
            let told = keys_of(&member.at)?;
            tell(&if json { told["keys"].to_string() } else { told["words"].as_str().unwrap_or_default().to_owned() })?;
        }
        FleetCommand::Rewrap { member, rate } => rewrap(&member.at, rate)?,
        FleetCommand::Retire { member } => {
            let told = ask(&member.at, "/v1/retire", json!({}))?;
            tell(&format!("nothing is sealed under an epoch before {} any more", told["epoch"]))?;
        }
        FleetCommand::Drain { member } => {
            ask(&member.at, "/v1/drain", json!({}))?;
            tell("it is to lead no more; stop it once \"strongroom fleet status\" shows another leader")?;
        }
        FleetCommand::Status(options) => return status::run(&options),
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(server: &str, path: &str, body: serde_json::Value) -> Outcome<serde_json::Value> {
    tokio::runtime::Runtime::new()?.block_on(front_end::call(server, path, Some(body)))
}

fn keys_of(server: &str) -> Outcome<serde_json::Value> {
    tokio::runtime::Runtime::new()?.block_on(front_end::call(server, "/v1/keys", None))
}

fn rewrap(server: &str, rate: u32) -> Outcome<()> {
    ask(server, "/v1/rewrap", json!({ "rate": rate }))?;
    let style = ProgressStyle::with_template("{bar:28} {pos}/{len} records, {per_sec}, {eta} to go")?;
    let (bar, mut most) = (ProgressBar::no_length().with_style(style), 0);
    loop {
        let told = keys_of(server)?;
        let left = told["left"].as_u64().unwrap_or_default();
        most = most.max(left);
        bar.set_length(most);
        bar.set_position(most - left);
        if left == 0 {
            bar.finish_and_clear();
            return tell("every record is sealed under the newest epoch; `strongroom fleet retire` ends those before");
        }
        if told["rewraps"] == false {
            return Err(format!("{left} records are left in older epochs; the member's log says why").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn member(folder: &std::path::Path, number: u64, name: &str, code: &str) -> Outcome<()> {
    let site = Site::create(folder, number, name)?;
    write_new(&folder.join("channel.pub"), site.channel_key())?;
    let named = site.named(code);
    tell(&format!("{number},{name},{},{},{code}", hex(&named.link_key), hex(&named.channel_key)))
}

fn survey((survey, held, new): &(Survey, u32, bool)) -> Outcome<()> {
    let Survey { last, backup, restores, predecessor, accounts, time_s, keys_serial, .. } = survey;
    let older = if *new { "" } else { ": not those, so another member must hand over" };
    tell(&format!(
        "backup {}\nlast row {} of term {}; of several, the one of the greatest term and row has what was acknowledged\n\
         restores {restores}\nmembers by the statement {}\naccounts {accounts}\nstate time {time_s}, in seconds since 1970\n\
         the fleet's keys have serial number {keys_serial}, this member's have {held}{older}",
        hex(backup),
        last.index,
        last.leader.term,
        hex(predecessor),
    ))
}

fn take(options: &Take) -> Outcome<()> {
    let site = Site::open(&options.folder)?;
    let (artifact, statement) = (read(&options.artifact)?, read_bundle(&options.statement)?);
    let bundles = options.bundles.iter().map(|path| read_bundle(path)).collect::<Outcome<Vec<_>>>()?;
    let sealed = match (&options.keys, &options.from) {
        (Some(keys), _) => read(keys)?,
        (None, from) => {
            let at = from.as_deref().unwrap_or_default();
            let asked = json!({ "member": site.number, "channel_key": BASE64.encode(site.channel_key()) });
            let told = ask(at, "/v1/hand-over", asked)?;
            BASE64.decode(told["keys"].as_str().unwrap_or_default())?
        }
    };
    let what = site.take(&artifact, &statement, &sealed, options.copy.backup(), &bundles)?;
    tell(&format!("member {} has the fleet's secret keys and {what}; `strongroom fleet run` runs it", site.number))
}
