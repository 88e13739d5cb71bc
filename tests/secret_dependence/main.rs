//! No branch and no address depends on a secret: valgrind's memcheck follows them.
//!
//! Memcheck reports a branch or an address that depends on memory that was never written. Here every secret byte is
//! marked so before it is used, and every door of `tests/doors` is gone through: whatever is reported depends on a
//! secret. What is public all the same is marked as such where it is decided, for a reason out of one list (`Public` in
//! `src/secret.rs`); what a dependency decides by itself stands in `valgrind.supp`.
//!
//! ```text
//! cargo test --release --features valgrind --test secret_dependence
//! ORIGINS=1 cargo test --release --features valgrind --test secret_dependence -- login   # where a secret came from
//! ```
//!
//! Valgrind knows no AVX-512, so the lanes are followed on plain integers, which are the same source; and the fallback.
//! Controls: a branch, an index, and a branch behind a declassified value, on each backend, must be reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../doors/mod.rs"]
mod doors;

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crabgrind::memcheck::{MemState, mark_mem};
use doors::{Door, Kind, Piece, Ready, Secrets, doors};
use strongroom::engine::backend;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child"] => child(""),
        ["--child", word] => child(word),
        _ => parent(words.iter().copied().find(|word| !word.starts_with("--"))),
    }
}

// ---- under valgrind

/// Goes through every door, and says how many reports each has caused.
fn child(word: &str) -> ExitCode {
    assert!(matches!(crabgrind::run_mode(), crabgrind::RunMode::Valgrind), "not under valgrind");
    let mut before = crabgrind::count_errors();
    for (door, leaks) in doors().into_iter().map(|door| (door, false)).chain(leaks().map(|door| (door, true))) {
        if !door.name.contains(word) {
            continue;
        }
        let started = Instant::now();
        door.ready(Secrets::new(Kind::Random(1)).shown_to(mark))();
        let after = crabgrind::count_errors();
        let verdict = match (after > before, leaks) {
            (false, false) => "no report",
            (true, true) => "reported, as it must be",
            (true, false) => "FAILED: reported",
            (false, true) => "FAILED: a leak that is not reported",
        };
        println!("{:<9} {:<32} {verdict} ({:.1} s)", backend().name(), door.name, started.elapsed().as_secs_f64());
        before = after;
    }
    ExitCode::SUCCESS
}

/// Marks bytes as secret. The black boxes keep the compiler from what it knows of them.
fn mark(_: Piece, bytes: &mut [u8]) {
    let bytes = black_box(bytes);
    // This version takes valgrind's "done" for "no valgrind"; the controls show that it is done.
    mark_mem(bytes.as_mut_ptr().cast(), bytes.len(), MemState::Undefined).ok();
    black_box(bytes);
}

/// Doors that leak.
fn leaks() -> [Door; 3] {
    let branch = |secrets: &mut Secrets| -> Ready {
        let bytes: [u8; 64] = secrets.bytes();
        Box::new(move || branch_on(black_box(&bytes)))
    };
    let index = |secrets: &mut Secrets| -> Ready {
        let bytes: [u8; 64] = secrets.bytes();
        let table: Vec<u8> = (0..=255).collect();
        Box::new(move || {
            black_box(table[usize::from(black_box(&bytes)[0])]);
        })
    };
    // What was decided of a scalar is public; the scalar is not.
    let behind = |secrets: &mut Secrets| -> Ready {
        let scalar = secrets.scalar();
        Box::new(move || branch_on(&[*scalar.to_bytes().expose(); 2].as_flattened().try_into().unwrap()))
    };
    [
        Door::new("control: branch on a secret", branch),
        Door::new("control: index by a secret", index),
        Door::new("control: branch on a scalar", behind),
    ]
}

/// More work for an odd byte.
#[inline(never)]
fn branch_on(secret: &[u8; 64]) {
    if black_box(secret)[0] & 1 == 1 {
        black_box(backend().mac_keys(&[[1; 64]]));
    }
}

// ---- the parent

fn parent(word: Option<&str>) -> ExitCode {
    let version = Command::new("valgrind").arg("--version").output();
    let Ok(version) = version else {
        println!("FAILED: valgrind is not on this machine; it is a package of that name");
        return ExitCode::FAILURE;
    };
    println!("{}", String::from_utf8_lossy(&version.stdout).trim());
    let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/secret_dependence/valgrind.supp");
    let start = |backend: &str| {
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--num-callers=40", "--error-limit=no", "--max-stackframe=4000000"])
            .arg(format!("--suppressions={suppressions}"))
            .env("STRONGROOM_BACKEND", backend)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if std::env::var_os("ORIGINS").is_some() {
            command.arg("--track-origins=yes");
        }
        command.arg(std::env::current_exe().unwrap()).arg("--child").args(word);
        command.spawn().expect("valgrind starts")
    };
    let mut failed = false;
    for child in ["fallback", "model"].map(start) {
        let output = child.wait_with_output().expect("valgrind ends");
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}");
        let lines = said.lines().count();
        if !output.status.success() || lines == 0 || said.contains("FAILED") {
            failed = true;
            println!("{}", reports_of_doors(&String::from_utf8_lossy(&output.stderr)));
        }
    }
    println!("{}", if failed { "\nFAILED" } else { "\nno branch and no address depends on a secret" });
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Valgrind's reports, without those of the controls.
fn reports_of_doors(log: &str) -> String {
    let blank = |line: &str| line.trim_end().ends_with("==") || line.trim().is_empty();
    let mut reports: Vec<Vec<&str>> = vec![Vec::new()];
    for line in log.lines() {
        if blank(line) {
            reports.push(Vec::new());
        } else if let Some(report) = reports.last_mut() {
            report.push(line);
        }
    }
    let of_control =
        |report: &Vec<&str>| report.iter().any(|line| line.contains("branch_on") || line.contains("leaks"));
    let of_doors = reports.iter().filter(|report| !report.is_empty() && !of_control(report));
    of_doors.map(|report| report.join("\n")).collect::<Vec<_>>().join("\n\n")
}
