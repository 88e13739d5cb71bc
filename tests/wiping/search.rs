//! The children, and the search through their memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use strongroom::engine::{Backend, Scalar};
use strongroom::error::Fault;
use strongroom::opaque::login::Response;

use crate::doors::{self, Door, Ready, Secrets, derived, doors, larger_doors};
use crate::needles::{KIND, Needles, WINDOW};
use crate::registers::{self, Part};
use crate::unwiped;

/// Bytes of stack that the child wipes before it goes through a door.
const STACK: usize = 512 * 1024;

/// What the calls that lead to the stop use of the stack, and how many bytes the overwriting leaves of itself.
const CALLS: usize = 4 * 1024;
const STRAY: usize = 128;
/// The place of a control that leaves no secret, but its stack as it was.
const STRAYING: &str = "the stack, whatever it is";

/// A child that stops so wants a secret to be put into a register.
const PUT: Signal = Signal::SIGUSR2;
/// A child that is watched stops so before it goes through its door.
pub(crate) const BEFORE: Signal = Signal::SIGUSR2;

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", name] => child(name, false),
        ["--watched", name] => child(name, true),
        _ => parent(words.iter().copied().find(|word| !word.starts_with("--"))),
    }
}

// ---- in the child

fn child(name: &str, watched: bool) -> ExitCode {
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
    if watched {
        raise(BEFORE).expect("a signal to oneself");
    }
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

/// Doors that leave something behind, and what must be said of it: where it is, or of what is derived, what it is.
fn leaks() -> Vec<(Door, &'static str)> {
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
    let control = Door::new;
    let mut leaks = vec![
        (control("control: left on the heap", heap), "[heap]"),
        (control("control: left on the stack", stack), "[stack]"),
        (control("control: left in a register", register), "xmm0 to xmm15"),
        (control("control: a stack not wiped", deep), STRAYING),
    ];
    leaks.extend(wide_leaks());
    leaks.extend(derived_leaks());
    leaks
}

/// Doors that leave a secret in a register of each wider kind. No safe code does, so the parent has it put there.
fn wide_leaks() -> [(Door, &'static str); 4] {
    let put = |secrets: &mut Secrets| -> Ready {
        let secret = secrets.secret::<64>();
        Box::new(move || {
            black_box(secret.expose());
            raise(PUT).expect("a signal to oneself");
        })
    };
    let names =
        ["control: left in a ymm", "control: left in a mask", "control: left in a zmm", "control: left in zmm31"];
    let mut parts = registers::PARTS.iter();
    names.map(|name| (Door::new(name, put), parts.next().expect("as many").name))
}

/// Doors that keep a copy of what the crate derived, wherever the crate gives it out.
fn derived_leaks() -> [(Door, &'static str); 9] {
    let control = Door::new;
    [
        (control("control: reduce kept", |it| doors::reduce(it, 1, |out| keep_scalar(out[0].as_ref()))), "scalar 0,"),
        (
            control("control: exchange kept", |it| doors::exchange(it, 1, |out| keep(&out[0].shared.expose()[2]))),
            "shared secret 0,",
        ),
        (control("control: x25519 kept", |it| doors::x25519(it, 1, |out| keep(&out.expose()[0]))), "shared secret 0,"),
        (control("control: digest kept", |it| doors::digests(it, 8, |out| keep(&out.expose()[7]))), "digest 7,"),
        (control("control: MAC kept", |it| doors::macs(it, 8, |out| keep(&out.expose()[7]))), "MAC 7,"),
        (
            control("control: derive_keys kept", |it| doors::derive_keys(it, 8, |out| keep_scalar(out.get(7)))),
            "OPRF key 7,",
        ),
        (
            control("control: expected MAC kept", |it| doors::respond(it, 8, |out| keep_state(out, 0))),
            "expected MAC 7,",
        ),
        (control("control: session key kept", |it| doors::respond(it, 8, |out| keep_state(out, 64))), "session key 7,"),
        (
            control("control: epoch key kept", |it| doors::handed_over_epoch_key(it, |out| keep(out.expose()))),
            "epoch key,",
        ),
    ]
}

/// Leaves a copy on the heap for good.
fn keep(bytes: &[u8]) {
    black_box(Box::leak(bytes.to_vec().into_boxed_slice()));
}

fn keep_scalar(scalar: Option<&Scalar>) {
    keep(scalar.expect("a scalar").to_bytes().expose());
}

/// Half of the state of the eighth login.
fn keep_state(mut responses: Vec<Result<Response, Fault>>, from: usize) {
    keep(&responses.remove(7).expect("a response").state.expose()[from..from + 64]);
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
    derived::round_keys_are_those_of_fips_197();
    let (mut looked, mut failed) = (0, 0);
    for backend in Backend::all().iter().map(|backend| backend.name()) {
        // What kinds of values are derived, and whether one of them was ever seen.
        let mut kinds: BTreeMap<String, bool> = BTreeMap::new();
        // What threads do between the doors, on stacks of their own, is searched for secrets as all else; it has none.
        let larger: Vec<_> = larger_doors().iter().map(|door| door.name).collect();
        let through = doors().into_iter().chain(larger_doors()).map(|it| (it, None));
        for (door, leaks) in through.chain(leaks().into_iter().map(|(it, place)| (it, Some(place)))) {
            if word.is_some_and(|word| !door.name.contains(word)) || GIVEN_AWAY.contains(&door.name) {
                continue;
            }
            let part = leaks.and_then(Part::named);
            if part.is_some_and(|part| !part.on_this_machine()) {
                println!("{backend:<9} {:<32} LEFT OUT: this machine has no such registers", door.name);
                continue;
            }
            let larger = larger.contains(&door.name);
            let verdict = Needles::of(&door).and_then(|needles| {
                let seen = look(backend, door.name, &needles, part)?;
                let verdict = Seen { stray: if larger { 0 } else { seen.stray }, ..seen }.verdict(leaks)?;
                if leaks.is_some() || larger || needles.given == needles.values.len() {
                    return Ok(verdict);
                }
                let seen = unwiped::values(backend, door.name, &needles)?;
                let derived = needles.given..needles.values.len();
                for value in derived.clone() {
                    *kinds.entry(kind(&needles.values[value])).or_default() |= seen.contains(&value);
                }
                match seen.range(derived.clone()).count() {
                    0 => Err(format!("none of {} derived values is seen on the way", derived.len())),
                    count => Ok(format!("{verdict}; {count} of {} derived values seen on the way", derived.len())),
                }
            });
            looked += 1;
            failed += usize::from(verdict.is_err());
            let verdict = verdict.unwrap_or_else(|why| format!("FAILED: {why}"));
            println!("{backend:<9} {:<32} {verdict}", door.name);
        }
        let never = kinds.iter().filter(|(_, seen)| !**seen).map(|(kind, _)| &kind[..]);
        let never: Vec<_> = never.filter(|kind| !SHORT_LIVED.iter().any(|start| kind.starts_with(start))).collect();
        if kinds.is_empty() {
            continue;
        }
        // Lanes keep more in registers; but what is searched for is the same. Some are seen in one door alone.
        let wrong = backend == "fallback" && word.is_none() && !never.is_empty();
        failed += usize::from(wrong);
        let verdict = if wrong { "FAILED: " } else { "" };
        let never = if never.is_empty() { "none".to_owned() } else { never.join("; ") };
        println!("{backend:<9} {verdict}of {} kinds of derived values never seen on the way: {never}", kinds.len());
    }
    let told = match (looked, failed) {
        (0, _) => "no door has this word in its name".to_owned(),
        (_, 0) => "no secret is left behind".to_owned(),
        _ => format!("{failed} failed"),
    };
    println!("\n{told}");
    if looked > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kinds of derived values that are gone before a child stops: what they become is held against the crate's answers.
const SHORT_LIVED: [&str; 3] = ["inner digest of", "keystream of", "rest of the commitment of"];

/// A value's name without numbers.
fn kind(name: &str) -> String {
    name.split(' ')
        .filter(|word| !word.starts_with(|letter: char| letter.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a search saw.
pub(crate) struct Seen {
    bytes: usize,
    /// Bytes of the stack that were used and not overwritten.
    stray: usize,
    found: Vec<String>,
    /// Which of the values are among it.
    pub(crate) values: BTreeSet<usize>,
}

/// A child that stops, and is not needed after that.
pub(crate) struct Stopped {
    child: Child,
    pub(crate) pid: Pid,
    memory: File,
}

impl Stopped {
    pub(crate) fn start(backend: &str, arguments: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(std::env::current_exe().map_err(words)?);
        command.args(arguments).env_clear().env("STRONGROOM_BACKEND", backend).stdout(Stdio::null());
        let child = command.stdin(Stdio::null()).spawn().map_err(words)?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(words)?);
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).map_err(words)?;
        Ok(Stopped { child, pid, memory })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Doors that are not searched behind: what they give is the caller's to wipe, and here the caller is this test.
const GIVEN_AWAY: [&str; 1] = ["engine scalar"];

/// Runs the child up to where it has dropped everything, and looks into it. A child that wants it has a secret put into
/// registers of this part on its way.
fn look(backend: &str, name: &str, needles: &Needles, part: Option<&Part>) -> Result<Seen, String> {
    let child = Stopped::start(backend, &["--child", name])?;
    let mut stop = waitpid(child.pid, None).map_err(words)?;
    if let (WaitStatus::Stopped(_, PUT), Some(part)) = (stop, part) {
        part.put(child.pid, &child.memory, needles.first[..].try_into().map_err(words)?)?;
        ptrace::cont(child.pid, None).map_err(words)?;
        stop = waitpid(child.pid, None).map_err(words)?;
    }
    match stop {
        WaitStatus::Stopped(_, Signal::SIGUSR1) => Seen::everything(&child, needles),
        other => Err(format!("the child was to stop, and: {other:?}")),
    }
}

impl Seen {
    /// What is in the memory and the registers of a child that has stopped.
    pub(crate) fn everything(child: &Stopped, needles: &Needles) -> Result<Self, String> {
        let pid = child.pid;
        let mut seen = Seen { bytes: 0, stray: 0, found: Vec::new(), values: BTreeSet::new() };
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

        let mut maps = String::new();
        File::open(format!("/proc/{pid}/maps")).and_then(|mut file| file.read_to_string(&mut maps)).map_err(words)?;
        for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('w'))) {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| u64::from_str_radix(text, 16).map_err(words);
            let (begin, end) = range.ok_or("a map without a range")?;
            let (begin, end) = (number(begin)?, number(end)?);
            let mut bytes = vec![0; usize::try_from(end - begin).map_err(words)?];
            child.memory.read_exact_at(&mut bytes, begin).map_err(words)?;
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
        // Last, since it writes to the child's stack.
        for (place, bytes) in registers::stored(pid, &child.memory)? {
            seen.search(&bytes, place, needles);
        }
        Ok(seen)
    }

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
            if let Some((value, what)) = needles.find(window.try_into().expect("a window")) {
                self.values.insert(value);
                self.found.push(format!("{what}: in {place} + {offset:x}"));
            }
        }
    }
}

pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
