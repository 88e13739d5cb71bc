//! The command line as programs and people meet it: what it writes where, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/person.rs"]
mod person;
#[cfg(unix)]
#[path = "cli/turn.rs"]
mod turn;

use std::process::{Command, Output};

use serde_json::Value;

const RATIOS: [&str; 6] = [
    "login_ratio",
    "registration_ratio",
    "var_base_ratio",
    "single_login_ratio",
    "fallback_login_ratio",
    "threads_ratio",
];

fn strongroom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strongroom")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All ratios and the backend, and nothing else.
fn whole(told: &Value, backend: &str) -> Result<(), String> {
    let mut keys: Vec<_> = told.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
    let mut expected = [&RATIOS[..], &["backend"]].concat();
    keys.sort_unstable();
    expected.sort_unstable();
    if keys != expected || told["backend"] != backend {
        return Err(format!("{told}"));
    }
    let several = std::thread::available_parallelism().unwrap().get() > 1;
    for key in RATIOS {
        let ratio = told[key].as_f64();
        // Two threads on one processor are all that a machine may be unable to measure.
        let right = if key == "threads_ratio" && !several { told[key].is_null() } else { ratio > Some(0.0) };
        if !right {
            return Err(format!("{key} is {}", told[key]));
        }
    }
    Ok(())
}

#[test]
fn json_is_alone_on_standard_output() {
    let output = strongroom(&["bench", "--json", "--quick"]);
    let backend = strongroom::engine::backend().name();
    whole(&json(&output), backend).unwrap();
    assert!(output.stderr.is_empty(), "no bar where no terminal is: {}", text(&output.stderr));
}

#[test]
fn the_environment_names_the_backend() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    let output = command.args(["bench", "--json", "--quick"]).env("STRONGROOM_BACKEND", "fallback").output();
    whole(&json(&output.unwrap()), "fallback").unwrap();
}

#[test]
fn the_table_has_every_ratio() {
    let output = strongroom(&["bench", "--quick"]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert_eq!(table.lines().filter(|line| line.contains("x  ") || line.contains("-  ")).count(), RATIOS.len());
    assert!(table.contains(strongroom::engine::backend().name()) && table.contains("no measurement"));
    assert!(!table.contains(['\r', '\u{1b}']) && output.stderr.is_empty(), "no bar where no terminal is");
}

#[test]
fn help_teaches() {
    let output = strongroom(&["--help"]);
    assert!(output.status.success() && text(&output.stdout).contains("bench"));
    let help = strongroom(&["bench", "--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--json"));
    // What is meant for the program itself and for its tests is not taught.
    let hidden = [&output.stdout[..], &help.stdout].concat();
    assert!(!text(&hidden).contains("quick") && !text(&hidden).contains("bench-logins"));
}

#[test]
fn bad_usage_ends_with_2() {
    for arguments in [&[][..], &["nothing"], &["bench", "--nothing"], &["bench", "more"], &["--json"]] {
        let output = strongroom(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_private_key_in_the_place_of_a_public_one_is_not_repeated() {
    let key = "PRIVATE+KEY+auditor.example+1a2b3c4d+AQAAAA";
    let keys = ["--auditor", "--operator", "--auditor-evidence", "--operator-evidence", "--log", "--witness"];
    let pins =
        [&["pins", "--namespace", "x", "--quorum", "1", "x"][..], &keys.map(|it| [it, key]).concat()[..]].concat();
    let ceremony = ["ceremony", "--folder", "x", "--namespace", "x", "--out", "x", "--participant", key];
    for (arguments, why) in [(&pins[..], "--log: this is a private key"), (&ceremony[..], "of the form ROLE=KEY")] {
        let output = strongroom(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && !said.contains("AQAAAA"), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn the_example_fleet_keeps_its_admission_key_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let script = include_str!("../examples/fleet.sh");
    let [line] = script.lines().filter(|line| line.contains(">admission.key")).collect::<Vec<_>>()[..] else {
        panic!("the script writes it in one place");
    };
    let folder = tempfile::tempdir().unwrap();
    let written = format!("set -euo pipefail; umask 022; {line}\necho >control");
    let output = Command::new("bash").args(["-c", &written]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let [key, control] = ["admission.key", "control"].map(|name| {
        let about = std::fs::metadata(folder.path().join(name)).unwrap();
        (about.len(), about.permissions().mode() & 0o777)
    });
    assert_eq!((key, control), ((32, 0o600), (1, 0o644)));
}

#[test]
fn what_is_missing_or_too_much_is_seen() {
    let good = serde_json::json!({
        "backend": "fallback", "login_ratio": 1.0, "registration_ratio": 1.0, "var_base_ratio": 1.0,
        "single_login_ratio": 1.0, "fallback_login_ratio": 1.0, "threads_ratio": 1.0
    });
    let one = std::thread::available_parallelism().unwrap().get() == 1;
    assert_eq!(whole(&good, "fallback").is_ok(), !one);
    for key in RATIOS {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(key);
        assert!(whole(&bad, "fallback").is_err(), "{key} is missing");
        bad[key] = "1.0".into();
        assert!(whole(&bad, "fallback").is_err(), "{key} is a string");
    }
    let mut bad = good.clone();
    bad["more"] = 1.into();
    assert!(whole(&bad, "fallback").is_err(), "a key too many");
    assert!(whole(&good, "ifma").is_err(), "another backend");
}
