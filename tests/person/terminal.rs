//! A person at a terminal, who sees what is asked and what of the answer is shown.

use std::path::Path;
use std::process::{Command, Output};

use super::Server;
use super::walk::{done, run, status, words};

/// Runs a command at a terminal of its own. Its arguments: what to wait for, `shown` or `hidden` as the terminal must be then,
/// and what to type, as often as there is something to type; `--`; the command.
const TERMINAL: &str = r#"
import os, pty, sys, termios, time
end = sys.argv.index('--')
dialogue, command = sys.argv[1:end], sys.argv[end + 1:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen, looked = b'', 0
def read():
    global seen
    try:
        more = os.read(terminal, 4096)
    except OSError:
        more = b''
    seen += more
    return more
for prompt, how, typed in zip(dialogue[::3], dialogue[1::3], dialogue[2::3]):
    while prompt.encode() not in seen[looked:]:
        if not read():
            sys.exit(f'it ended before it said {prompt!r}: {seen!r}')
    looked = seen.index(prompt.encode(), looked) + len(prompt)
    until = time.monotonic() + 20
    while bool(termios.tcgetattr(terminal)[3] & termios.ECHO) != (how == 'shown'):
        if time.monotonic() > until:
            sys.exit(f'what is typed after {prompt!r} is not {how}')
        time.sleep(0.01)
    os.write(terminal, typed.encode() + b'\n')
while read():
    pass
sys.stdout.write(seen.decode())
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// What comes of a command at a terminal; nothing where there is no Python to be the terminal.
fn at_a_terminal(folder: &Path, command: &[&str], dialogue: &[[&str; 3]]) -> Option<Output> {
    let python = std::env::var("STRONGROOM_PYTHON").unwrap_or("python3".to_owned());
    if Command::new(&python).arg("--version").output().is_err() {
        println!("LEFT OUT: a person at a terminal: Python is not installed");
        return None;
    }
    let output = Command::new(python)
        .args(["-c", TERMINAL])
        .args(dialogue.concat())
        .args(["--", env!("CARGO_BIN_EXE_strongroom")])
        .args(command)
        .current_dir(folder)
        .output();
    Some(output.unwrap())
}

#[test]
fn a_new_backup_is_begun_by_whoever_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let here = folder.path();
    let door = ["--server", &server.address, "--person", "ada", "--development"];
    let enrol = [&["enrol"][..], &door].concat();
    let twice = [["Code: ", "hidden", "a code"], ["Once more: ", "hidden", "a code"]];

    // One who meant to recover.
    let question = "Type \"new\"";
    let Some(refused) = at_a_terminal(here, &enrol, &[[question, "shown", "yes"]]) else { return };
    let said = words(&refused);
    assert!(status(&refused) == 1 && said.contains("nothing is enrolled"), "{said}");
    let first = said.lines().next().unwrap();
    assert!(first.contains("It replaces the one") && first.contains("strongroom recover"), "{said}");
    assert!(!here.join("backup.key").exists());
    let said = done(at_a_terminal(here, &enrol, &[&[[question, "shown", "new"]][..], &twice].concat()).unwrap());
    assert!(said.contains("enrolled: ") && !said.contains("a code\r") && !said.contains("enrolment"), "{said}");

    // Whoever has said so is not asked, nor is one who begins nothing, or writes into a pipe; but each is told.
    let other = here.join("other");
    std::fs::create_dir(&other).unwrap();
    let said = done(at_a_terminal(&other, &[&enrol[..], &["--new-backup"]].concat(), &twice).unwrap());
    assert!(said.contains("It replaces the one") && said.contains("2nd enrolment of this account"), "{said}");
    let said = done(at_a_terminal(&other, &enrol, &twice).unwrap());
    assert!(!said.contains("It replaces the one") && said.contains("3rd enrolment of this account"), "{said}");
    let piped = [&enrol[..], &["--key", "piped.key", "--keyring", "piped.keyring"]].concat();
    let said = done(run(&other, &piped, "a code\n"));
    let first = said.lines().next().unwrap();
    assert!(first.contains("It replaces the one") && first.contains("strongroom recover"), "{said}");
}

#[test]
fn digits_of_a_recovery_key_are_shown_while_they_are_typed_and_a_code_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("backup.key"), "42".repeat(32)).unwrap();
    let paper = done(run(here, &["recovery-key"], ""));
    let rows: Vec<_> = paper.lines().filter(|line| line.len() == 9).collect();
    let prompt = "They are shown while you type";
    let mut dialogue = vec![[prompt, "shown", rows[0]]];
    dialogue.extend(rows.windows(2).map(|two| [two[0], "shown", two[1]]));
    let recover = ["recover", "--by", "recovery-key", "--key", "again.key"];
    let Some(output) = at_a_terminal(here, &recover, &dialogue) else { return };
    let said = done(output);
    assert!(rows.iter().all(|row| said.contains(row)), "{said}");
    assert_eq!(std::fs::read(here.join("again.key")).unwrap(), [&*"42".repeat(32), "\n"].concat().as_bytes());

    // Control: the same check sees a code that is not shown.
    let server = Server::start(&here.join("vault"));
    let door = ["status", "--server", &server.address, "--person", "ada", "--development"];
    done(run(here, &door, ""));
    let remove = [&["remove"][..], &door[1..]].concat();
    let output = at_a_terminal(here, &remove, &[["Code: ", "hidden", "no code"]]).unwrap();
    assert!(status(&output) == 4 && !words(&output).contains("no code\r"), "{}", words(&output));
}
