//! A person's files: what a command does to them that fails, finds them altered, or finds another at work on them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use strongroom::account::AccountId;
use strongroom::client::{CodeHeld, Keyring, RecoveryKey};
use strongroom::secret::Secret;
use tempfile::TempDir;

use super::text;

const KEY: [u8; 32] = [0x42; 32];
const HELD: CodeHeld = CodeHeld { fleet: [3; 32], account: AccountId([7; 32]), generation: 1 };

/// A folder with a keyring whose ways in are a code and a recovery key.
struct Person {
    folder: TempDir,
    paper: RecoveryKey,
}

impl Person {
    fn new() -> Self {
        let person = Person { folder: tempfile::tempdir().unwrap(), paper: RecoveryKey::generate().unwrap() };
        let key = Secret::new(KEY);
        let mut keyring = Keyring::new(&key).unwrap();
        keyring.set_code(&key, HELD).unwrap();
        keyring.set_recovery_key(&key, &person.paper).unwrap();
        fs::write(person.path("backup.keyring"), keyring.write().unwrap()).unwrap();
        person
    }

    fn with_key() -> Self {
        let person = Person::new();
        fs::write(person.path("backup.key"), "42".repeat(32)).unwrap();
        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keyring(&self) -> Vec<u8> {
        fs::read(self.path("backup.keyring")).unwrap()
    }

    /// Which fleet the code is of is another one now: somebody writes where the keyring lies.
    fn alter(&self) -> Vec<u8> {
        let mut keyring = self.keyring();
        let fleet = keyring.windows(32).position(|it| it == HELD.fleet).unwrap();
        keyring[fleet] ^= 1;
        fs::write(self.path("backup.keyring"), &keyring).unwrap();
        keyring
    }

    fn run(&self, words: &[&str], typed: &str) -> Output {
        let mut child = command(self.folder.path(), words).stdout(Stdio::piped()).spawn().unwrap();
        // Who fails before it asks does not listen.
        child.stdin.take().unwrap().write_all(typed.as_bytes()).ok();
        child.wait_with_output().unwrap()
    }
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.args(words).current_dir(folder).stdin(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_help_says_what_an_enrolment_replaces_and_what_is_shown_while_it_is_typed() {
    let person = Person::new();
    for (command, words) in [
        ("enrol", &["replaced for good", "wants `recover`", "--new-backup"][..]),
        ("recover", &["A code is not shown", "digits of a recovery key are"]),
    ] {
        let help = person.run(&[command, "--help"], "");
        let said = text(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.iter().all(|it| said.contains(it)), "{said}");
    }
}

#[test]
fn a_recovery_key_that_nobody_saw_is_not_in_force() {
    let person = Person::with_key();
    let before = person.keyring();
    let (nobody, pipe) = std::io::pipe().unwrap();
    drop(nobody);
    let output = command(person.folder.path(), &["recovery-key"]).stdout(pipe).spawn().unwrap().wait_with_output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nothing is changed"), "{}", text(&output.stderr));
    assert_eq!(person.keyring(), before);
    // Control: to somebody who reads, it is told, and counts.
    let output = person.run(&["recovery-key"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout).lines().filter(|line| line.len() == 9).collect::<Vec<_>>().join("\n");
    let keyring = Keyring::read(&person.keyring()).unwrap();
    assert_eq!(keyring.unlock(&RecoveryKey::read(&told).unwrap()).unwrap().expose(), &KEY);
    assert!(keyring.unlock(&person.paper).is_err(), "the one before does not");
}

#[test]
fn an_altered_keyring_keeps_nobody_out() {
    let person = Person::new();
    let altered = person.alter();
    let output = person.run(&["recover", "--by", "recovery-key"], &person.paper.text());
    assert_eq!(output.status.code(), Some(8), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("WARNING"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(person.path("backup.key")).unwrap().trim(), "42".repeat(32));
    // It takes no changes.
    let output = person.run(&["recovery-key"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && person.keyring() == altered);
    // Control: one that was not altered.
    let person = Person::new();
    let output = person.run(&["recover", "--by", "recovery-key"], &person.paper.text());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn two_commands_are_not_at_work_on_the_same_files() {
    let person = Person::with_key();
    let before = person.keyring();
    let paper = person.paper.text();
    let recover = ["recover", "--by", "recovery-key", "--key", "other.key"];
    let refused: [(&str, &[&str]); 3] = [
        ("backup.key.lock", &["recovery-key"]),
        ("backup.keyring.lock", &["recovery-key"]),
        ("other.key.lock", &recover),
    ];
    for (name, words) in refused {
        let lock = File::create(person.path(name)).unwrap();
        lock.lock().unwrap();
        let output = person.run(words, &paper);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).contains("another command is at work on these files"), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty() && person.keyring() == before && !person.path("other.key").exists(), "{name}");
    }
    // Control: the locks are free, though their files are there. And who only reads the keyring does not wait for it.
    let lock = File::open(person.path("backup.keyring.lock")).unwrap();
    lock.lock().unwrap();
    assert!(person.run(&recover, &paper).status.success());
    drop(lock);
    assert!(person.run(&["recovery-key"], "").status.success());
    assert_ne!(person.keyring(), before);
}

#[test]
fn a_sealed_file_whose_header_does_not_end_is_not_read_whole() {
    let person = Person::with_key();
    let header = "age-encryption.org/v1\n-> X ";
    let long = header.to_owned() + &"a".repeat(20 * 1024);
    // The last line is there, but does not end; and it is there, too late.
    for endless in [long.clone(), format!("{header}\n--- {}", "a".repeat(20 * 1024)), format!("{long}\n--- a\n")] {
        fs::write(person.path("sealed"), endless).unwrap();
        let output = person.run(&["backup", "open", "sealed", "opened"], "");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("ends in its first 16 KiB"), "{}", text(&output.stderr));
        assert!(!person.path("opened").exists() && !person.path("opened.partial").exists());
    }
    // Control: files shorter and longer than what is looked through.
    for length in [0, 10, 40 * 1024] {
        fs::write(person.path("plain"), vec![7; length]).unwrap();
        for [way, from, to] in [["seal", "plain", "sealed"], ["open", "sealed", "opened"]] {
            fs::remove_file(person.path(to)).ok();
            let output = person.run(&["backup", way, from, to], "");
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        assert_eq!(fs::read(person.path("opened")).unwrap(), vec![7; length]);
    }
}

#[test]
fn words_of_a_server_do_nothing_to_a_terminal() {
    let person = Person::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let answers = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let problem = format!("read this\u{1b}[2J\u{9b}2J\u{202e}\r{}", "x".repeat(1000));
        let body = serde_json::json!({ "problem": problem }).to_string();
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
    });
    let output = person.run(&["status", "--server", &server, "--person", "ada", "--development"], "");
    answers.join().unwrap();
    let said = text(&output.stderr).trim_end();
    assert!(output.status.code() == Some(1) && said.contains("read this"), "{said}");
    assert!(!said.contains(|it: char| it.is_control() || it == '\u{202e}') && said.len() < 300, "{said:?}");
}
