//! Nothing of a secret is left in memory or registers when a door has been gone through and its keys are dropped.
//!
//! A child process goes through each door of `tests/doors`, drops all it held, and stops. The parent reads the child's
//! memory from outside, every writable page of it, and its registers, and searches for eight bytes in a row of any
//! secret: of what the door was given, and of scalars halved and HMAC keys made ready. What else is derived is not known here.
//!
//! ```text
//! cargo test --release --test wiping
//! cargo test --release --test wiping -- login    # doors with a word in their name
//! ```
//!
//! Controls: children that leave a copy on the heap, on the stack and in a vector register are found out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../doors/mod.rs"]
mod doors;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod search;

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return search::main();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    {
        println!("LEFT OUT: the search of memory: only on Linux on x86-64");
        std::process::ExitCode::SUCCESS
    }
}
