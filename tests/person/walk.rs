//! The walk that the guide (`src/guide.md`) takes, from the command line.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use strongroom::protocol::REQUEST_LEN;

use super::Server;
use super::relay::Relay;

/// Runs the command line in a folder; what is typed comes from a pipe.
pub(crate) fn run(folder: &Path, words: &[&str], typed: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who fails before it asks does not listen.
    child.stdin.take().unwrap().write_all(typed.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

pub(crate) fn done(output: Output) -> String {
    assert_eq!(status(&output), 0, "{}", words(&output));
    words(&output)
}

/// What Go's own `age` makes of a sealed file, where it is on this machine.
fn opened_by_age(folder: &Path, sealed: &str) -> Option<Vec<u8>> {
    Command::new("age").arg("--version").output().ok()?;
    let identity = run(folder, &["backup", "identity"], "");
    fs::write(folder.join("identity"), &identity.stdout).unwrap();
    let opened = Command::new("age").args(["-d", "-i", "identity", sealed]).current_dir(folder).output().unwrap();
    assert!(opened.status.success(), "{}", words(&opened));
    Some(opened.stdout)
}

#[test]
fn a_person_leaves_a_key_loses_the_device_and_gets_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let (device, cloud) = (folder.path().join("phone"), folder.path().join("cloud"));
    fs::create_dir(&device).unwrap();
    fs::create_dir(&cloud).unwrap();
    let at = |command: &'static str| {
        let door = ["--server", &server.address, "--person", "ada", "--development", "--keyring", "../cloud/keyring"];
        [vec![command], door.to_vec()].concat().iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()
    };
    let on = |device: &Path, command: &'static str, typed: &str| {
        run(device, &at(command).iter().map(String::as_str).collect::<Vec<_>>(), typed)
    };

    done(on(&device, "enrol", "correct horse 4711\n"));
    let paper = done(run(&device, &["recovery-key", "--keyring", "../cloud/keyring"], ""));
    let digits: String = paper.lines().filter(|line| line.len() == 9).map(|line| format!("{line}\n")).collect();
    assert_eq!(digits.lines().count(), 8);
    let photos: Vec<u8> = (0..3_000_000u32).map(|at| ((at * at) >> 7) as u8).collect();
    fs::write(device.join("photos"), &photos).unwrap();
    done(run(&device, &["backup", "seal", "photos", "../cloud/photos.age"], ""));
    match opened_by_age(&device, "../cloud/photos.age") {
        Some(opened) => assert_eq!(opened, photos),
        None => println!("LEFT OUT: the age command: not installed"),
    }
    let told = done(on(&device, "status", ""));
    assert!(told.contains("10 attempts are left") && told.contains("a recovery key opens"), "{told}");

    // The device is gone. On another one: a wrong code, then the right one, typed on another keyboard.
    fs::remove_dir_all(&device).unwrap();
    fs::create_dir(&device).unwrap();
    let wrong = on(&device, "recover", "correct horse 4712\n");
    assert_eq!((status(&wrong), words(&wrong).contains("9 attempts are left")), (4, true), "{}", words(&wrong));
    done(on(&device, "recover", "correct\u{a0}horse 4711 \n"));
    done(run(&device, &["backup", "open", "../cloud/photos.age", "photos"], ""));
    assert_eq!(fs::read(device.join("photos")).unwrap(), photos);
    let key = fs::read(device.join("backup.key")).unwrap();
    let twice = on(&device, "recover", "correct horse 4711\n");
    assert_eq!((status(&twice), words(&twice).contains("not written over")), (1, true));
    assert!(done(on(&device, "status", "")).contains("10 attempts are left"), "a right code clears");

    // Another code, and the old one counts no more; but not for a device that has another backup's key.
    fs::write(device.join("backup.key"), "42".repeat(32)).unwrap();
    let other = on(&device, "change-code", "correct horse 4711\nbattery staple\n");
    assert!(words(&other).contains("another backup key"), "{}", words(&other));
    fs::write(device.join("backup.key"), &key).unwrap();
    done(on(&device, "change-code", "correct horse 4711\nbattery staple\n"));
    fs::remove_file(device.join("backup.key")).unwrap();
    assert_eq!(status(&on(&device, "recover", "correct horse 4711\n")), 4);
    done(on(&device, "recover", "battery staple\n"));
    assert_eq!(fs::read(device.join("backup.key")).unwrap(), key);

    // Ten wrong codes, and the right one comes too late; the recovery key does not.
    fs::remove_file(device.join("backup.key")).unwrap();
    for left in (0..10).rev() {
        let wrong = on(&device, "recover", "no idea\n");
        let left = ["no attempts are left".to_owned(), "one attempt is left".to_owned()]
            .into_iter()
            .nth(left)
            .unwrap_or(format!("{left} attempts are left"));
        assert_eq!((status(&wrong), words(&wrong).contains(&left)), (4, true), "{}", words(&wrong));
    }
    assert_eq!(status(&on(&device, "recover", "battery staple\n")), 5);
    let by_paper = ["recover", "--by", "recovery-key", "--keyring", "../cloud/keyring"];
    let row = digits.replacen(|it: char| it.is_ascii_digit(), "x", 1);
    assert!(words(&run(&device, &by_paper, &row)).contains("row 1"));
    done(run(&device, &by_paper, &digits));
    assert_eq!(fs::read(device.join("backup.key")).unwrap(), key);

    // Who has the key enrols anew, and has the vault forget it at last.
    done(on(&device, "enrol", "a third one\n"));
    let told = done(on(&device, "status", ""));
    assert!(told.contains("10 attempts are left") && told.contains("3rd enrolment"), "{told}");
    assert_eq!(status(&on(&device, "remove", "battery staple\n")), 4);
    done(on(&device, "remove", "a third one\n"));
    assert!(done(on(&device, "status", "")).contains("no code opens the backup"));
}

#[test]
fn sealed_files_that_were_cut_or_altered_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("backup.key"), "42".repeat(32)).unwrap();
    fs::write(here.join("plain"), vec![7; 500_000]).unwrap();
    done(run(here, &["backup", "seal", "plain", "sealed"], ""));
    let sealed = fs::read(here.join("sealed")).unwrap();
    let middle = sealed.len() / 2;
    let mut altered = sealed.clone();
    altered[middle] ^= 1;
    for (name, bytes) in [("cut", &sealed[..middle]), ("shorter", &sealed[..sealed.len() - 1]), ("altered", &altered)] {
        fs::write(here.join(name), bytes).unwrap();
        let opened = run(here, &["backup", "open", name, "opened"], "");
        assert_eq!(status(&opened), 1, "{name}");
        assert!(words(&opened).contains("cut short or altered"), "{}", words(&opened));
        assert!(!here.join("opened").exists() && !here.join("opened.partial").exists(), "{name}");
    }
    fs::write(here.join("other.key"), "43".repeat(32)).unwrap();
    assert_eq!(status(&run(here, &["backup", "open", "--key", "other.key", "sealed", "opened"], "")), 1);
    done(run(here, &["backup", "open", "sealed", "opened"], ""));
    assert_eq!(fs::read(here.join("opened")).unwrap(), vec![7; 500_000]);
    let over = run(here, &["backup", "open", "sealed", "opened"], "");
    assert!(words(&over).contains("is there already"));
}

#[test]
fn whom_to_trust_must_be_said_and_an_enrolment_that_was_cut_off_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let here = folder.path();
    let nobody = run(here, &["enrol", "--server", &server.address, "--person", "ada"], "a code\n");
    assert_eq!((status(&nobody), words(&nobody).contains("--pins")), (7, true), "{}", words(&nobody));
    let away = run(here, &["status", "--server", "http://127.0.0.1:1", "--person", "ada", "--development"], "");
    assert_eq!(status(&away), 6, "{}", words(&away));

    // Enrolled once, so that the next enrolment is the second.
    let door = ["--server", &server.address, "--person", "ada", "--development"];
    done(run(here, &[&["enrol"][..], &door].concat(), "a code\n"));
    let relay = Relay::before(&server.address);
    let door = ["--server", &relay.address, "--person", "ada", "--development"];
    let unsettled = here.join("backup.keyring.unsettled");
    cut_off(here, &relay, &[&["enrol"][..], &door].concat(), "another code\n");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&unsettled).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "what is unsettled is its owner's to read");
    }
    // Somebody else who uses the same folder does not settle it, and does not lose it.
    let somebody = ["--server", &relay.address, "--person", "bea", "--development"];
    let other = run(here, &[&["status"][..], &somebody].concat(), "");
    assert_eq!((status(&other), words(&other).contains("another account")), (1, true), "{}", words(&other));
    assert!(unsettled.exists());
    let told = done(run(here, &[&["status"][..], &door].concat(), ""));
    assert!(told.contains("2nd enrolment"), "{told}");
    assert!(!unsettled.exists());
    fs::remove_file(here.join("backup.key")).unwrap();
    done(run(here, &[&["recover"][..], &door].concat(), "another code\n"));
}

#[test]
fn an_enrolment_that_is_not_settled_goes_to_no_other_fleet_and_with_no_other_key() {
    let folder = tempfile::tempdir().unwrap();
    let (server, other) =
        (Server::start(&folder.path().join("vault")), Server::start(&folder.path().join("other vault")));
    let (here, relay, other_relay) = (folder.path(), Relay::before(&server.address), Relay::before(&other.address));
    let at = |relay: &Relay, command: &[&str], typed: &str| {
        run(here, &[command, &["--server", &relay.address, "--person", "ada", "--development"]].concat(), typed)
    };
    done(at(&relay, &["enrol"], "a code\n"));
    cut_off(here, &relay, &["enrol", "--server", &relay.address, "--person", "ada", "--development"], "another code\n");
    let path = here.join("backup.keyring.unsettled");
    let kept = fs::read(&path).unwrap();
    let refused = |relay: &Relay, why: &str| {
        let before = fs::read(&path).unwrap();
        relay.passed();
        let output = at(relay, &["status"], "");
        assert!(relay.passed().0 < REQUEST_LEN, "asked for the channel's key and a token, and nothing more");
        assert!(status(&output) == 1 && words(&output).contains(why), "{}", words(&output));
        assert!(words(&output).contains("nothing was sent"), "{}", words(&output));
        assert_eq!(fs::read(&path).unwrap(), before);
    };

    refused(&other_relay, "at another fleet");
    let key = fs::read(here.join("backup.key")).unwrap();
    fs::write(here.join("backup.key"), "42".repeat(32)).unwrap();
    refused(&relay, "of another backup key");
    fs::write(here.join("backup.key"), &key).unwrap();
    // What it belongs to cannot be altered by whoever has not the key.
    let mut altered = kept.clone();
    let fleet = altered.windows(32).position(|it| it == server.vault.fleet()).unwrap();
    altered[fleet..fleet + 32].copy_from_slice(other.vault.fleet());
    fs::write(&path, altered).unwrap();
    refused(&other_relay, "or it was altered");
    // The request alone is what an older version kept.
    fs::write(&path, &kept[kept.len() - REQUEST_LEN..]).unwrap();
    refused(&relay, "an older version");

    // Where it belongs, it is settled: the control.
    fs::write(&path, &kept).unwrap();
    relay.passed();
    let told = done(at(&relay, &["status"], ""));
    assert!(told.contains("2nd enrolment") && !path.exists(), "{told}");
    assert!(relay.passed().0 > REQUEST_LEN);
    done(at(&relay, &["recover", "--key", "again.key"], "another code\n"));
    assert_eq!(fs::read(here.join("again.key")).unwrap(), key);
}

#[test]
fn an_enrolment_whose_key_is_gone_from_here_is_settled_and_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let (here, relay) = (folder.path(), Relay::before(&server.address));
    let door = ["--server", &relay.address, "--person", "ada", "--development"];
    let on = |command: &str, typed: &str| run(here, &[&[command][..], &door].concat(), typed);
    // The first one of all: the key is drawn here, and is nowhere else.
    cut_off(here, &relay, &[&["enrol"][..], &door].concat(), "a code\n");
    let key = fs::read(here.join("backup.key")).unwrap();
    fs::remove_file(here.join("backup.key")).unwrap();
    let told = on("status", "");
    assert!(status(&told) == 1 && words(&told).contains("recover it first"), "{}", words(&told));
    done(on("recover", "a code\n"));
    assert_eq!(fs::read(here.join("backup.key")).unwrap(), key);
    assert!(done(on("status", "")).contains("1st enrolment"));
    assert!(!here.join("backup.keyring.unsettled").exists());
}

#[test]
fn an_altered_keyring_is_told_by_status_and_keeps_nobody_with_a_code_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let here = folder.path();
    let door = ["--server", &server.address, "--person", "ada", "--development"];
    let on = |command: &[&str], typed: &str| run(here, &[command, &door].concat(), typed);
    done(on(&["enrol"], "a code\n"));
    done(run(here, &["recovery-key"], ""));
    assert!(!done(on(&["status"], "")).contains("FAILS"), "control: as it was written");
    let (key, written) = (fs::read(here.join("backup.key")).unwrap(), fs::read(here.join("backup.keyring")).unwrap());
    let alter = |place: usize| {
        let mut altered = written.clone();
        altered[place] ^= 1;
        fs::write(here.join("backup.keyring"), altered).unwrap();
    };

    alter(written.len() - 1);
    let told = on(&["status"], "");
    assert_eq!(status(&told), 8, "{}", words(&told));
    assert!(words(&told).contains("FAILS its check") && words(&told).contains("WARNING"), "{}", words(&told));
    fs::remove_file(here.join("backup.key")).unwrap();
    assert_eq!(status(&on(&["recover"], "another code\n")), 4);
    assert!(!here.join("backup.key").exists());
    let told = on(&["recover"], "a code\n");
    assert!(status(&told) == 8 && words(&told).contains("WARNING"), "{}", words(&told));
    assert_eq!(fs::read(here.join("backup.key")).unwrap(), key);

    // One that names another fleet now is not believed without asking, and says how to get in all the same.
    alter(written.windows(32).position(|it| it == server.vault.fleet()).unwrap());
    fs::remove_file(here.join("backup.key")).unwrap();
    let told = on(&["recover"], "a code\n");
    assert!(status(&told) == 1 && words(&told).contains("another fleet"), "{}", words(&told));
    assert!(words(&told).contains("name a --keyring that is not there"), "{}", words(&told));
    done(on(&["recover", "--keyring", "nowhere"], "a code\n"));
    assert_eq!(fs::read(here.join("backup.key")).unwrap(), key);
}

#[test]
fn a_removal_that_was_cut_off_leaves_no_keyring_that_says_a_code_opens_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let (here, relay) = (folder.path(), Relay::before(&server.address));
    let door = ["--server", &relay.address, "--person", "ada", "--development"];
    let on = |command: &str, typed: &str| run(here, &[&[command][..], &door].concat(), typed);
    done(on("enrol", "a code\n"));
    done(run(here, &["recovery-key"], ""));
    let wrong = on("remove", "another code\n");
    assert_eq!(status(&wrong), 4, "{}", words(&wrong));
    assert!(
        !done(on("status", "")).contains("no code opens the backup"),
        "the vault has said that it keeps the record"
    );
    cut_off(here, &relay, &[&["remove"][..], &door].concat(), "a code\n");
    assert!(done(on("status", "")).contains("no code opens the backup"));
    fs::remove_file(here.join("backup.key")).unwrap();
    let gone = on("recover", "a code\n");
    assert_eq!(status(&gone), 4, "the record is gone: {}", words(&gone));
}

/// Runs a command to which the channel's key, the token and the vault's first answer come through, and then nothing does. It is
/// killed while it tries again, as a device is that goes flat.
fn cut_off(folder: &Path, relay: &Relay, command: &[&str], typed: &str) {
    let before = relay.lost();
    relay.lose_all_after(3);
    let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .args(command)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    while relay.lost() < before + 2 {
        assert!(child.try_wait().unwrap().is_none(), "it tries for half a minute");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    relay.lose(0);
}
