//! What the README and `examples/fleet.sh` show: a fleet made and run by one command, and the whole story, step by step.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const REPLICAS: u16 = 3;
/// Members of the story, and one number more.
const PORTS: u16 = 10;

/// A port whose neighbours, and those a hundred and two hundred above, are free.
fn port() -> u16 {
    let neighbours: Vec<_> = (0..PORTS).flat_map(|it| [0, 100, 200].map(|more| it + more)).collect();
    crate::ports::port(&neighbours)
}

fn up(folder: &Path, port: u16) -> (Child, BufReader<ChildStdout>) {
    let mut up = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    up.args(["fleet", "up", "--replicas", &REPLICAS.to_string(), "--port", &port.to_string(), "--folder"]).arg(folder);
    let mut up = up.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(up.stdout.take().unwrap());
    (up, said)
}

/// Reads up to the line that says so, and returns what came before.
fn until(said: &mut impl BufRead, words: &str) -> String {
    let mut all = String::new();
    while !all.lines().last().unwrap_or_default().contains(words) {
        assert!(said.read_line(&mut all).unwrap() > 0, "it ended without {words:?}:\n{all}");
    }
    all
}

/// The process that runs the member of a folder.
fn process_of(folder: &Path) -> Option<i32> {
    let argument = format!("\0{}\0", folder.display());
    let runs = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| String::from_utf8_lossy(&it).contains(&argument))
    };
    let mut processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    processes.find(runs)
}

#[test]
fn fleet_up_makes_a_fleet_and_runs_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, port) = (folder.path().join("fleet"), port());
    for made in [true, false] {
        let (mut process, mut said) = up(&fleet, port);
        let table = until(&mut said, "stop:");
        assert_eq!(table.contains("a fleet of 3 is made"), made, "{table}");
        assert_eq!(table.matches("  ready\n").count(), 3, "{table}");
        assert_eq!(table.matches(" leads ").count(), 1, "{table}");
        assert!(
            table.contains("3 vote: 1, 2, 3; a majority is 2; the fleet speaks version 1\nthe fleet answers"),
            "{table}"
        );

        let status = |members: &[String]| {
            let mut status = Command::new(env!("CARGO_BIN_EXE_strongroom"));
            status.args(["fleet", "status", "--folder"]).arg(&fleet).args(members).output().unwrap()
        };
        assert!(status(&[]).status.success());
        // One of three does not show whether the fleet answers.
        let one = status(&[format!("http://127.0.0.1:{}", port + 100)]);
        assert!(!one.status.success());
        let words = String::from_utf8_lossy(&one.stdout);
        assert!(words.contains("1 was asked, and a majority is 2: whether the fleet answers is not seen"), "{words}");
        // A member that is killed is started again, and nobody waits for it.
        let two = fleet.join("member-2");
        let pid = process_of(&two).expect("it runs");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        until(&mut said, "member 2 ended");
        let begun = Instant::now();
        while !(process_of(&two).is_some_and(|it| it != pid)
            && String::from_utf8_lossy(&status(&[]).stdout).matches("  ready").count() == 3)
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody has started it again");
            std::thread::sleep(Duration::from_millis(100));
        }

        kill(Pid::from_raw(process.id() as i32), Signal::SIGINT).unwrap();
        until(&mut said, "stopped");
        assert!(process.wait().unwrap().success());
        let after = status(&[]);
        assert!(!after.status.success());
        assert!(String::from_utf8_lossy(&after.stdout).contains("none of those asked was reached"));
    }
}

#[test]
fn fleet_of_the_example_is_verified_loses_members_and_changes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fleet.sh");
    let mut story = Command::new("bash");
    story.arg(script).env("STRONGROOM", env!("CARGO_BIN_EXE_strongroom")).env("PORT", port().to_string());
    let story = story.stdin(Stdio::null()).output().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&story.stdout), String::from_utf8_lossy(&story.stderr));
    assert!(story.status.success(), "{told}\n{wrong}");
    assert!(told.ends_with("Everything was as it says.\n"), "{told}\n{wrong}");
    assert_eq!(told.matches("\nthe fleet answers\n").count(), 4, "{told}");
    assert_eq!(told.matches("the backup key is back").count(), 3, "{told}");
}
