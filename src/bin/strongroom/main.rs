//! The command line: arguments, progress, words for people.
//!
//! Exit status: 0 if what was asked for was done, 1 if it could not be, 2 if the arguments ask for nothing that there is,
//! 3 if a monitor has news.

mod bench;
mod bundle;
mod evidence;
mod file;
mod keys;
mod log;
mod measure;
mod signer;
mod statement;
mod transfer;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The core of a backup key vault, from the command line.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    /// Keys of those who sign
    #[command(subcommand)]
    Signer(signer::Signer),
    /// Write down what verifiers are given before they hear of anything
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
            eprintln!("strongroom: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> measure::Outcome<ExitCode> {
    match command {
        Command::Bench(options) => bench::run(&options)?,
        Command::Keys(command) => keys::run(command)?,
        Command::Verify(options) => verify::run(options)?,
        Command::Bundle(command) => bundle::run(command)?,
        Command::Log(command) => return log::run(command),
        Command::Evidence(command) => evidence::run(command)?,
        Command::Statement(command) => statement::run(command)?,
        Command::Ceremony(options) => evidence::ceremony(*options)?,
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
