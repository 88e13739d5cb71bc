//! The command line: arguments, progress, words for people.
//!
//! Exit status: 0 if what was asked for was done, 1 if it could not be, 2 if the arguments ask for nothing that there is.

mod bench;
mod keys;
mod measure;
mod transfer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// The logins of `bench`, on the backend that the environment names.
    #[command(hide = true)]
    BenchLogins(bench::Options),
}

fn main() -> ExitCode {
    // Some commands hold a vault's keys.
    let _ = strongroom::process::harden_process();
    let done = match Arguments::parse().command {
        Command::Bench(options) => bench::run(&options),
        Command::Keys(command) => keys::run(command),
        Command::BenchLogins(options) => bench::run_logins(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("strongroom: {reason}");
            ExitCode::FAILURE
        }
    }
}
