//! Nothing of a secret is left in memory or registers when a door has been gone through and its keys are dropped.
//!
//! A child process goes through each door of `tests/doors`, drops all it held, and stops. The parent reads the child's
//! memory from outside, every writable page of it, and its registers, and searches for eight bytes in a row of any
//! secret: of what the door was given, and of what is derived from it on the way (`tests/doors/derived.rs`): keys, scalars,
//! shared secrets, what HMAC and HKDF go through, round keys and keystreams. Each also turned round, as SHA-512 reads it;
//! scalars halved and in limbs; keys of HMAC made ready. Not known are intermediate values inside of libraries and of the
//! field: coordinates, message schedules, polynomials of ML-KEM, Poly1305's key.
//!
//! ```text
//! cargo test --release --test wiping
//! cargo test --release --test wiping -- login    # doors with a word in their name
//! ```
//!
//! Controls: children that leave a copy on the heap, on the stack and in each kind of vector register are found out, and
//! so are those that keep what the crate derived, for each kind of value that it gives out. And on its way through each door a
//! child is stopped where it frees memory or is about to overwrite its stack: there derived values must be seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../doors/mod.rs"]
mod doors;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod needles;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod registers;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod search;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod unwiped;

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return search::main();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    {
        println!("LEFT OUT: the search of memory: only on Linux on x86-64");
        std::process::ExitCode::SUCCESS
    }
}
