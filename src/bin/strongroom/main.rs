//! The command line: arguments, progress, words for people.
//!
//! Exit status: see [`EXIT_STATUS`].

mod backup;
mod bench;
mod bundle;
mod evidence;
mod file;
#[cfg(unix)]
mod fleet;
mod front_end;
mod keys;
mod log;
mod measure;
mod person;
mod signer;
mod statement;
mod transfer;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use strongroom::client::Trouble;

const EXIT_STATUS: &str = "Exit status: 0 if what was asked for was done; 1 if it could not be; 2 if the arguments are \
    wrong; 3 if a monitor has news; 4 if a code is wrong; 5 if no attempts are left; 6 if the vault cannot be reached; 7 if \
    a command that speaks to a vault does not trust the fleet (verify ends with 1); 8 if the backup key is here, but the \
    keyring was altered.";

/// The core of a backup key vault, from the command line.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Leave a backup key with a vault under a code
    ///
    /// Draws a backup key, unless there is one, and asks for the code without showing it. What opens the backup is written
    /// into the keyring. An enrolment whose answer was lost is settled by the next command, with the same bytes.
    ///
    /// An account has one record. What the vault keeps for it from before, under whatever code, is replaced for good, and the
    /// vault does not say beforehand whether there is any: on a new device, whoever has a code wants `recover`. Where a new
    /// backup key would be drawn, a person at a terminal is asked; --new-backup is the answer.
    Enrol(Box<person::Enrol>),
    /// Get the backup key back on a device without it
    ///
    /// It comes back also where the keyring was altered; exit status 8 says so. A code is not shown while it is typed; the
    /// digits of a recovery key are, for nobody copies 64 of them without seeing them.
    Recover(Box<person::Recover>),
    /// Change the code: the old one is proven first
    ChangeCode(Box<person::Person>),
    /// How many attempts are left, and what opens the backup
    Status(Box<person::Person>),
    /// Have the vault forget the code, proving it
    Remove(Box<person::Person>),
    /// Draw a recovery key of 64 digits, which opens the backup without a vault
    RecoveryKey(person::Paper),
    /// Seal and open files under the backup key, in the age format
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Measure this machine: logins and registrations beside opaque-ke, multiplications beside curve25519-dalek
    ///
    /// Both sides do the same work on the same messages, take turns in the same run, and are compiled as cargo does by
    /// default. Every answer is checked before anything is timed: those of logins by a real opaque-ke client. Of each
    /// side the first decile of its rounds counts. Takes under 30 seconds, in which the machine should be idle; figures
    /// of other runs do not compare.
    ///
    /// A login goes from KE1 to KE2, wire to wire. Ours also opens the sealed record; opaque-ke has its record in clear.
    Bench(bench::Options),
    /// The keys of a vault: what there is, and turning them
    ///
    /// The vault must not be open elsewhere: a server turns its own keys while it runs, by the same calls of the crate.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Verify a fleet's keys: from pinned keys to bundle, log, witnesses, evidence, ceremony and code
    ///
    /// Prints each step that holds with what it proves, and ends with exit status 1 at the first that does not.
    Verify(verify::Verify),
    /// Bundles of a fleet's keys, signed by auditor and operator
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// The log of bundles, its witnesses and its monitors
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Evidence of how a fleet's keys came to be
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// What both signers tell a fleet to do: pardons, restores, members
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    /// Begin a fleet: draw its keys, fix its policy, and write down how that went
    ///
    /// Makes the vault's folder, fleet-keys.json for the bundle, and a transcript for everybody who is here to sign.
    Ceremony(Box<evidence::Ceremony>),
    /// Members of a fleet: running them, how they stand, who joins
    #[cfg(unix)]
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Keys of those who sign
    #[command(subcommand)]
    Signer(signer::Signer),
    /// Write the pins: a file of the keys that a verifier trusts from the start
    Pins(Box<signer::PinsOptions>),
    /// Write a shell's completions to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write man pages into a folder
    Man {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// The logins of `bench`, on the backend that the environment names.
    #[command(hide = true)]
    BenchLogins(bench::Options),
}

fn main() -> ExitCode {
    // Some commands hold a vault's keys.
    let _ = strongroom::process::harden_process();
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(reason) => {
            // Some of these words are a server's.
            match reason.downcast_ref::<Trouble>() {
                Some(trouble) => eprintln!("strongroom: {}", file::printable(&trouble.to_string())),
                None => eprintln!("strongroom: {reason}"),
            }
            person::exit_code(&*reason)
        }
    }
}

fn run(command: Command) -> measure::Outcome<ExitCode> {
    match command {
        Command::Enrol(options) => person::enrol(&options)?,
        Command::Recover(options) => person::recover(&options)?,
        Command::ChangeCode(person) => person::change_code(&person)?,
        Command::Status(person) => person::status(&person)?,
        Command::Remove(person) => person::remove(&person)?,
        Command::RecoveryKey(options) => person::recovery_key(&options)?,
        Command::Backup(command) => backup::run(command)?,
        Command::Bench(options) => bench::run(&options)?,
        Command::Keys(command) => keys::run(command)?,
        Command::Verify(options) => verify::run(options)?,
        Command::Bundle(command) => bundle::run(command)?,
        Command::Log(command) => return log::run(command),
        Command::Evidence(command) => evidence::run(command)?,
        Command::Statement(command) => statement::run(command)?,
        Command::Ceremony(options) => evidence::ceremony(*options)?,
        #[cfg(unix)]
        Command::Fleet(command) => return fleet::run(command),
        Command::Signer(command) => signer::run(command)?,
        Command::Pins(options) => signer::pins(*options)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "strongroom", &mut std::io::stdout());
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), folder)?,
        Command::BenchLogins(options) => bench::run_logins(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}
