//! Trace equality: whatever the secrets are, the release build takes the same instructions and touches the same
//! addresses.
//!
//! Each door of `tests/doors` is gone through in a child process that is stepped instruction by instruction. The address
//! of every instruction, and the address and size of every operand of it in memory, go into a hash. Under one public
//! shape all kinds of secrets must give the hash of the first. Then accounts: known, unknown, destroyed and concealed
//! ones must give the same hash from where their record was looked up to the reply.
//!
//! ```text
//! cargo test --release --test constant_time            # four kinds of secrets
//! KINDS=32 cargo test --release --test constant_time   # thirty-two
//! cargo test --release --test constant_time -- login   # doors with a word in their name
//! ```
//!
//! The child has one thread, fixed arguments and environment, no randomisation of addresses, and shares a core with who
//! steps it. What it runs is the library as it ships: the release profile, without a hook. Two controls, a branch and an
//! index that depend on a secret, are run on every backend and must be caught.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod accounts;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod checks;
#[path = "../doors/mod.rs"]
mod doors;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trace;

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return checks::main();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    {
        println!("LEFT OUT: traces: only on Linux on x86-64");
        std::process::ExitCode::SUCCESS
    }
}
