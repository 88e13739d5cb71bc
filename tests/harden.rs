//! What `harden_process` asks of the operating system, looked up in what the operating system says of a child.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, setrlimit};

/// Set in the child: whether it hardens itself.
const CHILD: &str = "STRONGROOM_TEST_HARDEN";

/// A number behind a name in a file of the child's own.
fn number(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn the_child() {
    let Some(wanted) = std::env::var_os(CHILD) else { return };
    // Where no core is written anyway, it would prove nothing that none is afterwards.
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: maximum, maximum }).unwrap();
    let hardened = (wanted == "yes").then(strongroom::process::harden_process);
    let core = number("/proc/self/limits", "Max core file size");
    let locked = number("/proc/self/status", "VmLck:");
    let undumpable = dumpable_behavior().unwrap() == DumpableBehavior::NotDumpable;
    println!("{hardened:?} core {core:?} locked {} undumpable {undumpable}", locked.unwrap() > 0);
}

fn said_by_child(hardens: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child", "--nocapture"])
        .env(CHILD, hardens)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_hardened_process_writes_no_core_and_swaps_no_page() {
    let said = said_by_child("yes");
    assert!(said.contains("undumpable: true") && said.contains("core Some(0)"), "{said}");
    assert!(said.contains("undumpable true"), "{said}");
    // Whether pages may be locked is the machine's to say; what is told must be so.
    let told = said.contains("locked: true");
    assert_eq!(said.contains("locked true"), told, "{said}");
    // The control: a process that does not ask is as it was.
    let said = said_by_child("no");
    assert!(said.contains("None core") && said.contains("undumpable false"), "{said}");
    assert!(said.contains("locked false"), "{said}");
    if getrlimit(Resource::Core).maximum == Some(0) {
        println!("LEFT OUT: the limit of core files: it is 0 here whatever a process does");
    } else {
        assert!(!said.contains("core Some(0)"), "{said}");
    }
}
