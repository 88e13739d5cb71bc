//! Root keys in a PKCS#11 token: SoftHSM2, as Debian packages it, stands for the hardware.
//!
//! ```text
//! cargo test --release --features cli --test token
//! cargo test --release --features cli --test token -- pin    # scenarios with a word in their name
//! ```
//!
//! A PKCS#11 library is one for a whole process, so each scenario is a process of its own, with tokens in a folder of its
//! own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hsm;
mod memory;
mod scenarios;

use std::process::{Command, ExitCode};

use hsm::Hsm;

/// A scenario's name, and what happens in its process.
type Scenario = (&'static str, fn(&Hsm));

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", name] = words[..] {
        let hsm = Hsm::here();
        if let Some((_, run)) = scenarios::all().into_iter().find(|(known, _)| *known == name) {
            run(&hsm);
            return ExitCode::SUCCESS;
        }
        return memory::child(name, &hsm);
    }
    let word = words.iter().find(|word| !word.starts_with("--")).copied().unwrap_or("");
    let mut failed = 0;
    let mut ran = 0;
    for (name, _) in scenarios::all().into_iter().filter(|(name, _)| name.contains(word)) {
        let hsm = Hsm::new();
        let output = hsm.command(&["--child", name]).output().expect("this program");
        ran += 1;
        if output.status.success() {
            println!("token {name} ... ok");
        } else {
            failed += 1;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("token {name} ... FAILED\n{}\n{said}", String::from_utf8_lossy(&output.stdout));
        }
    }
    if "memory".contains(word) {
        ran += 1;
        match memory::search() {
            Ok(seen) => println!("token memory ... ok: {seen}"),
            Err(wrong) => {
                failed += 1;
                println!("token memory ... FAILED: {wrong}");
            }
        }
    }
    println!("\ntest result: {}. {} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" }, ran - failed);
    if failed == 0 && ran > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// This program again.
fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program's path"))
}
