//! A server under load whose process is killed and whose disk fails, again and again; and the auditor, who holds what
//! its clients wrote down against what its store says afterwards.
//!
//! ```text
//! cargo test --release --test soak                      # a minute
//! SOAK_MINUTES=30 cargo test --release --test soak      # as long as asked
//! cargo test --release --test soak -- door              # the floods alone
//! cargo test --release --test soak -- audit FOLDER      # diaries and store of a run again, which a finding leaves behind
//! ```
//!
//! The server is a process of its own: the example's front-end over a vault and its local journal, on a small disk in
//! memory. The clients are those that apps embed. A round ends by SIGKILL, SIGTERM, or a power cut: then what was not
//! synced is lost, sector by sector. In between the disk is full, slow or read-only, the clock jumps, the process stops.
//! Each kind of fault comes once before dice choose, and a run in which one did not come fails.
//!
//! After it comes hostile input: floods of what is slow, endless, for one account, for nobody's account, or no request at
//! all, while people come as always. They must be answered, and the server's memory must stay bounded. Each flood
//! must have come: let in, held back, and answered as it has to be.
//!
//! Controls: diaries in which a word is changed are found to be wrong; a server that acknowledges before anything is
//! durable, in which the auditor must find lost attempts and enrolments, whatever else it finds; a server without its
//! limit of connections, before which people must be seen to wait in vain, and nothing else; floods that did nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod audit;
#[cfg(target_os = "linux")]
mod controls;
#[cfg(target_os = "linux")]
mod diary;
#[cfg(target_os = "linux")]
#[path = "../disk/dice.rs"]
mod dice;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod door;
#[cfg(target_os = "linux")]
mod flood;
#[cfg(target_os = "linux")]
#[path = "../../examples/front/mod.rs"]
mod front;
#[cfg(target_os = "linux")]
mod life;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(target_os = "linux")]
mod people;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod server;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return run::main();
    #[cfg(not(target_os = "linux"))]
    {
        println!("LEFT OUT: disks that fail: only on Linux");
        std::process::ExitCode::SUCCESS
    }
}
