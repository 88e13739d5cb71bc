//! The children, and the search through their memory.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;

use nix::sys::ptrace::{self, regset};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use strongroom::engine::Backend;
use strongroom::engine::sha512::Midstate;

use crate::doors::{Door, Kind, Piece, Ready, Secrets, doors, larger_doors};

/// Secrets that look like nothing else in memory.
const KIND: Kind = Kind::Random(77);

/// Bytes of stack that the child wipes before it goes through a door.
const STACK: usize = 512 * 1024;

/// What the calls that lead to the stop use of the stack, and how many bytes the overwriting leaves of itself.
const CALLS: usize = 4 * 1024;
const STRAY: usize = 128;
/// The place of a control that leaves no secret, but its stack as it was.
const STRAYING: &str = "the stack, whatever it is";

/// Bytes in a row that are searched for.
const WINDOW: usize = 8;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", name] => child(name),
        _ => parent(words.iter().copied().find(|word| !word.starts_with("--"))),
    }
}

// ---- in the child

fn child(name: &str) -> ExitCode {
    ptrace::traceme().expect("the parent looks on");
    let door = Door::named(name)
        .or_else(|| larger_doors().into_iter().find(|door| door.name == name))
        .or_else(|| leaks().into_iter().map(|(leak, _)| leak).find(|leak| leak.name == name))
        .expect("a door");
    // The table of the generator's multiples is made once, far down on the stack, and has no secret in it.
    let one = strongroom::engine::Scalar::from_bytes(&std::array::from_fn(|index| u8::from(index == 0)));
    strongroom::engine::backend().multiply_base(&[&one.expect("not zero")]).expect("a sound machine");
    // What the preparation leaves on the stack is this test's own, and is not to be found.
    let ready = prepared(&door);
    wipe_the_stack();
    go_through(ready);
    raise(Signal::SIGUSR1).expect("a signal to oneself");
    ExitCode::SUCCESS
}

#[inline(never)]
fn prepared(door: &Door) -> Ready {
    door.ready(Secrets::new(KIND))
}

/// Once, then all is dropped.
#[inline(never)]
fn go_through(ready: Ready) {
    ready();
}

#[inline(never)]
fn wipe_the_stack() {
    black_box(&mut [0u8; STACK]);
}

/// Doors that leave something behind, and where.
fn leaks() -> [(Door, &'static str); 4] {
    let heap = |secrets: &mut Secrets| -> Ready {
        let secret = secrets.secret::<64>();
        Box::new(move || drop(black_box(secret.expose().to_vec())))
    };
    let stack = |secrets: &mut Secrets| -> Ready {
        let secret = secrets.secret::<64>();
        Box::new(move || leave_on_the_stack(secret.expose()))
    };
    let deep = |secrets: &mut Secrets| -> Ready {
        let secret = secrets.secret::<64>();
        Box::new(move || use_the_stack(secret.expose()))
    };
    let register = |secrets: &mut Secrets| -> Ready {
        let secret = secrets.secret::<64>();
        // Long enough since the last call of anything that uses vectors.
        Box::new(move || {
            let bytes = black_box(secret.expose());
            black_box(u128::from_le_bytes(*bytes.first_chunk().unwrap()) as f64);
        })
    };
    [
        (Door::new("control: left on the heap", heap), "[heap]"),
        (Door::new("control: left on the stack", stack), "[stack]"),
        (Door::new("control: left in a register", register), "vector"),
        (Door::new("control: a stack not wiped", deep), STRAYING),
    ]
}

#[inline(never)]
fn leave_on_the_stack(secret: &[u8; 64]) {
    black_box(&mut [*secret; 4]);
}

/// Uses the stack for what is no secret, deep down.
#[inline(never)]
fn use_the_stack(secret: &[u8; 64]) {
    black_box(&mut [secret.len() as u8; 64 * 1024]);
}

// ---- in the parent

fn parent(word: Option<&str>) -> ExitCode {
    if cfg!(debug_assertions) {
        println!("memory: only of the release build, since it is what ships: cargo test --release --test wiping");
        return ExitCode::SUCCESS;
    }
    let (mut looked, mut failed) = (0, 0);
    for backend in Backend::all().iter().map(|backend| backend.name()) {
        // What threads do between the doors, on stacks of their own, is searched for secrets as all else; it has none.
        let larger: Vec<_> = larger_doors().iter().map(|door| door.name).collect();
        let through = doors().into_iter().chain(larger_doors()).map(|it| (it, None));
        for (door, leaks) in through.chain(leaks().map(|(it, place)| (it, Some(place)))) {
            if word.is_some_and(|word| !door.name.contains(word)) || GIVEN_AWAY.contains(&door.name) {
                continue;
            }
            let outcome = Needles::of(&door).and_then(|needles| look(backend, door.name, &needles));
            let verdict = match outcome {
                Ok(seen) if larger.contains(&door.name) => Seen { stray: 0, ..seen }.verdict(leaks),
                Ok(seen) => seen.verdict(leaks),
                Err(why) => Err(why),
            };
            looked += 1;
            failed += usize::from(verdict.is_err());
            let verdict = verdict.unwrap_or_else(|why| format!("FAILED: {why}"));
            println!("{backend:<9} {:<32} {verdict}", door.name);
        }
    }
    let told = match (looked, failed) {
        (0, _) => "no door has this word in its name".to_owned(),
        (_, 0) => "no secret is left behind".to_owned(),
        _ => format!("{failed} failed"),
    };
    println!("\n{told}");
    if looked > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is searched for: the first bytes of each window, and what they are of.
struct Needles(HashMap<[u8; WINDOW], String>);

/// What the door was given, noted while it was made ready here.
static GIVEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

impl Needles {
    fn of(door: &Door) -> Result<Self, String> {
        GIVEN.lock().unwrap().clear();
        let note = |piece: Piece, bytes: &mut [u8]| {
            if piece == Piece::Secret {
                GIVEN.lock().unwrap().push(bytes.to_vec());
            }
        };
        drop(door.ready(Secrets::new(KIND).shown_to(note)));
        let given = GIVEN.lock().unwrap().clone();
        let mut needles = Needles(HashMap::new());
        for (number, bytes) in given.iter().enumerate() {
            needles.add(bytes, &format!("secret {number}"));
            needles.add_made_from(bytes, number);
        }
        if needles.0.is_empty() { Err("a door without a secret".to_owned()) } else { Ok(needles) }
    }

    fn add(&mut self, bytes: &[u8], what: &str) {
        for (offset, window) in bytes.windows(WINDOW).enumerate() {
            let mut distinct = window.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            // A window of few different bytes may stand anywhere.
            if distinct.len() > WINDOW / 2 {
                self.0.insert(window.try_into().unwrap(), format!("{what}, byte {offset}"));
            }
        }
    }

    /// What a secret becomes on its way, in the forms that lie in memory.
    fn add_made_from(&mut self, bytes: &[u8], number: usize) {
        let scalar = <[u8; 32]>::try_from(bytes).ok().map(curve25519_dalek::Scalar::from_canonical_bytes);
        if let Some(scalar) = scalar.and_then(Option::<curve25519_dalek::Scalar>::from) {
            let half = scalar.div_by_2();
            let quarter = (scalar - curve25519_dalek::Scalar::from(2u8)).div_by_2().div_by_2();
            self.add(half.as_bytes(), &format!("half of scalar {number}"));
            self.add(quarter.as_bytes(), &format!("(k - 2) / 4 of scalar {number}"));
        }
        if bytes.len() <= 128 {
            // The two states that a key of HMAC is.
            for (pad, name) in [(0x36, "inner"), (0x5c, "outer")] {
                let mut block = [pad; 128];
                block.iter_mut().zip(bytes).for_each(|(pad, byte)| *pad ^= byte);
                let state = Midstate::new().after(&block);
                let words: Vec<u8> = state.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
                self.add(&words, &format!("{name} state of HMAC key {number}"));
                self.add(&block[..bytes.len()], &format!("{name} block of HMAC key {number}"));
            }
        }
    }
}

/// What a search saw.
struct Seen {
    bytes: usize,
    /// Bytes of the stack that were used and not overwritten.
    stray: usize,
    found: Vec<String>,
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Doors that are not searched behind: what they give is the caller's to wipe, and here the caller is this test.
const GIVEN_AWAY: [&str; 1] = ["engine scalar"];

/// Runs the child up to where it has dropped everything, and looks into it.
fn look(backend: &str, name: &str, needles: &Needles) -> Result<Seen, String> {
    let mut command = Command::new(std::env::current_exe().map_err(words)?);
    command.args(["--child", name]).env_clear().env("STRONGROOM_BACKEND", backend).stdout(Stdio::null());
    let child = Stopped(command.stdin(Stdio::null()).spawn().map_err(words)?);
    let pid = Pid::from_raw(i32::try_from(child.0.id()).map_err(words)?);
    match waitpid(pid, None).map_err(words)? {
        WaitStatus::Stopped(_, Signal::SIGUSR1) => {}
        other => return Err(format!("the child was to stop, and: {other:?}")),
    }
    let mut seen = Seen { bytes: 0, stray: 0, found: Vec::new() };
    let registers = ptrace::getregs(pid).map_err(words)?;
    let general = [
        registers.rax,
        registers.rbx,
        registers.rcx,
        registers.rdx,
        registers.rsi,
        registers.rdi,
        registers.rbp,
        registers.r8,
        registers.r9,
        registers.r10,
        registers.r11,
        registers.r12,
        registers.r13,
        registers.r14,
        registers.r15,
    ];
    for register in general {
        seen.search(&register.to_le_bytes(), "a general register", needles);
    }
    let vectors = ptrace::getregset::<regset::NT_PRFPREG>(pid).map_err(words)?;
    let vectors: Vec<u8> = vectors.xmm_space.iter().flat_map(|word| word.to_le_bytes()).collect();
    seen.search(&vectors, "the vector registers", needles);

    let mut maps = String::new();
    File::open(format!("/proc/{pid}/maps")).and_then(|mut file| file.read_to_string(&mut maps)).map_err(words)?;
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(words)?;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('w'))) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).map_err(words);
        let (begin, end) = range.ok_or("a map without a range")?;
        let (begin, end) = (number(begin)?, number(end)?);
        let mut bytes = vec![0; usize::try_from(end - begin).map_err(words)?];
        memory.read_exact_at(&mut bytes, begin).map_err(words)?;
        let place = line.split_whitespace().nth(5).unwrap_or("anonymous memory");
        seen.search(&bytes, &format!("{place} from {begin:x}"), needles);
        if place == "[stack]" {
            // What lies below the stop and the calls that led to it must have been overwritten, whatever it is: all of
            // it, but for where the overwriting itself returned to. Deeper are traces of this test's own wiping.
            let stop = usize::try_from(registers.rsp.saturating_sub(begin)).map_err(words)?;
            let below = &bytes[stop.saturating_sub(STACK - 1024)..stop.saturating_sub(CALLS)];
            seen.stray = below.iter().filter(|byte| **byte != 0).count();
        }
    }
    Ok(seen)
}

impl Seen {
    /// Nothing must be found, or else, of a control, something in its place.
    fn verdict(&self, leaks: Option<&str>) -> Result<String, String> {
        let Some(place) = leaks else {
            let first: Vec<_> = self.found.iter().take(8).cloned().collect();
            let found = format!("{} places, first\n    {}", self.found.len(), first.join("\n    "));
            if self.stray > STRAY {
                return Err(format!("{} bytes of the stack were used and not overwritten", self.stray));
            }
            return if first.is_empty() { Ok(format!("nothing in {} KiB", self.bytes / 1024)) } else { Err(found) };
        };
        if place == STRAYING {
            let said = format!("found out: {} bytes of the stack", self.stray);
            return if self.stray > STRAY { Ok(said) } else { Err("a stack that was used is not seen".to_owned()) };
        }
        let found = self.found.iter().find(|found| found.contains(place));
        found.map(|found| format!("found out: {found}")).ok_or_else(|| format!("nothing is found in {place}"))
    }

    fn search(&mut self, bytes: &[u8], place: &str, needles: &Needles) {
        self.bytes += bytes.len();
        for (offset, window) in bytes.windows(WINDOW).enumerate() {
            if let Some(what) = needles.0.get(<&[u8; WINDOW]>::try_from(window).expect("a window")) {
                self.found.push(format!("{what}: in {place} + {offset:x}"));
            }
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
