//! `examples/trust.sh` from its first line to its last, and with a verifier that accepts everything.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const STRONGROOM: &str = env!("CARGO_BIN_EXE_strongroom");

fn story(strongroom: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/trust.sh");
    Command::new("bash").arg(script).env("STRONGROOM", strongroom).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn everybody_honest_gets_through_and_everybody_who_cheats_is_refused() {
    let output = story(Path::new(STRONGROOM));
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", text(&output.stderr));
    assert!(told.ends_with("== All of it came out as it must\n"), "{told}");
    assert_eq!(told.matches("\nrefused: ").count(), 24, "{told}");
    assert_eq!(told.matches("\nverified: the keys of epoch 3 ").count(), 4, "{told}");
    assert_eq!(told.matches("\nverified: ").count(), 6, "{told}");
}

/// The control: in the place of `verify` one that is content with everything, or that tells another reason.
#[test]
fn a_verifier_that_accepts_everything_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    for (says, ends, found) in [("verified", 0, "NOT REFUSED"), ("no", 1, "REFUSED FOR ANOTHER REASON")] {
        let path = folder.path().join(says);
        // In everything else it does as it must, so that the story comes to the place.
        let instead = format!("[ \"$1 ${{4:-}}\" != \"verify operator-alone\" ] || {{ echo {says}; exit {ends}; }}");
        let lines = format!("#!/usr/bin/env bash\n{instead}\nexec {STRONGROOM} \"$@\"\n");
        fs::write(&path, lines).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = story(&path);
        assert!(!output.status.success(), "{}", text(&output.stdout));
        let told = text(&output.stderr);
        assert!(told.contains(found), "{told}");
    }
}

#[test]
fn completions_and_man_pages_are_written() {
    let shell = Command::new(STRONGROOM).args(["completions", "bash"]).output().unwrap();
    assert!(shell.status.success() && text(&shell.stdout).contains("verify"), "{}", text(&shell.stderr));
    let folder = tempfile::tempdir().unwrap();
    let man = Command::new(STRONGROOM).arg("man").arg(folder.path()).output().unwrap();
    assert!(man.status.success(), "{}", text(&man.stderr));
    let page = fs::read_to_string(folder.path().join("strongroom-verify.1")).unwrap();
    assert!(page.contains("pinned keys"), "{page}");
}
