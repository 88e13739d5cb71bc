//! What is traced, by whom, and what must come of it.

use std::collections::VecDeque;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::personality::{self, Persona};
use nix::unistd::Pid;
use strongroom::engine::{Backend, backend};

use crate::accounts::{self, Account};
use crate::doors::{Door, Kind, Secrets, doors};
use crate::trace::{self, Span, Trace};

/// Doors that are not stepped on one backend or another, each with the door that is and that does all that this one does.
/// On the fallback a batch is a loop over what a batch of one does, and eight would take minutes.
const CONTAINED: [(&str, &str, &str); 16] = [
    ("both", "engine multiply 1", "oprf blind_evaluate 1"),
    ("both", "engine multiply 8", "oprf blind_evaluate 8"),
    ("both", "engine multiply_base 1", "opaque server_keys"),
    ("both", "engine exchange 1", "opaque login 1"),
    ("both", "engine exchange 8", "opaque login 8"),
    ("both", "opaque register 8", "opaque login 8"),
    ("both", "opaque login 32", "opaque login 8"),
    ("ifma", "engine decode 1", "engine decode 8"),
    ("ifma", "engine map 1", "engine map 8"),
    ("ifma", "oprf derive_keys 1", "oprf derive_keys 8"),
    ("fallback", "engine decode 8", "engine decode 1"),
    ("fallback", "engine map 8", "engine map 1"),
    ("fallback", "engine multiply_base 8", "opaque server_keys"),
    ("fallback", "oprf derive_keys 8", "oprf derive_keys 1"),
    ("fallback", "oprf blind_evaluate 8", "oprf blind_evaluate 1"),
    ("fallback", "opaque login 8", "opaque login 1"),
];

/// Kinds of secrets that can be compared.
const KINDS_MAX: usize = 64;
/// Kinds of secrets without a word of how many.
const KINDS: usize = 4;
/// Doors that take minutes: stepped when they are named, or when more kinds are asked for.
const LONG: [&str; 1] = ["session open 1"];

/// One comparison: runs of a child that must leave one trace, or must not.
struct Check {
    name: String,
    backend: &'static str,
    /// Arguments of each child, all of one length.
    children: Vec<[String; 3]>,
    span: Span<'static>,
    /// A control has no single trace; and where traces part, this function is named.
    parts_in: Option<&'static str>,
}

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", what, number, of] => child(what, number.trim().parse().unwrap(), of.trim().parse().unwrap()),
        _ => parent(words.iter().copied().find(|word| !word.starts_with("--"))),
    }
}

// ---- in the child

fn child(what: &str, number: usize, kind: usize) -> ExitCode {
    trace::be_traced();
    match what {
        "door" => go_through(&doors()[number], kind),
        "leak" => go_through(&leaks()[number].0, kind),
        "work" => accounts::recover(Account::ALL[kind], [1, 8][number]),
        _ => panic!("no child is called {what}"),
    }
    ExitCode::SUCCESS
}

fn go_through(door: &Door, kind: usize) {
    // As many kinds whichever is asked for, so that the heap is the same.
    let ready = door.ready(Secrets::new(Kind::first(KINDS_MAX)[kind]));
    // Once before, for what is made at its first use.
    ready();
    trace::mark();
    ready();
    trace::mark();
}

/// Doors that leak, with the function in which they do.
fn leaks() -> [(Door, &'static str); 2] {
    let branch = |secrets: &mut Secrets| -> crate::doors::Ready {
        let bytes: [u8; 64] = secrets.bytes();
        Box::new(move || branch_on(black_box(&bytes)))
    };
    let index = |secrets: &mut Secrets| -> crate::doors::Ready {
        let bytes: [u8; 64] = secrets.bytes();
        let table: Vec<[u8; 64]> = (0..=255).map(|byte| [byte; 64]).collect();
        Box::new(move || index_by(black_box(&bytes), &table))
    };
    [(Door::new("branch on a secret", branch), "branch_on"), (Door::new("index by a secret", index), "index_by")]
}

/// More work for an odd byte.
#[inline(never)]
fn branch_on(secret: &[u8; 64]) {
    if secret[0] & 1 == 1 {
        black_box(backend().mac_keys(&[*secret]));
    }
    black_box(backend().mac_keys(&[*secret]));
}

/// The same work on an entry of a table that the secret chooses.
#[inline(never)]
fn index_by(secret: &[u8; 64], table: &[[u8; 64]]) {
    let chosen = black_box(table[usize::from(secret[0])][0]);
    black_box(backend().mac_keys(&[[chosen; 64]]));
}

// ---- in the parent

fn parent(word: Option<&str>) -> ExitCode {
    if cfg!(debug_assertions) {
        println!(
            "traces: only of the release build, since it is what ships: cargo test --release --test constant_time"
        );
        return ExitCode::SUCCESS;
    }
    let kinds: usize = std::env::var("KINDS").map_or(KINDS, |kinds| kinds.parse().expect("KINDS is a number"));
    assert!((2..=KINDS_MAX).contains(&kinds), "KINDS is from 2 to {KINDS_MAX}");
    trace::refuses_what_it_cannot_resolve();
    if !Backend::all().iter().any(|backend| backend.name() == "ifma") {
        println!("LEFT OUT: lanes: not on this machine");
    }
    let wanted = |name: &str| word.map_or(kinds > KINDS || !LONG.contains(&name), |word| name.contains(word));
    let checks = checks(kinds).into_iter().filter(|check| wanted(&check.name));
    let checks: VecDeque<_> = checks.collect();
    let count = checks.len();
    let begun = Instant::now();
    println!("running {count} comparisons of traces\n");
    let queue = Mutex::new(checks);
    personality::set(personality::get().unwrap() | Persona::ADDR_NO_RANDOMIZE).unwrap();
    let outcomes: Vec<Result<u64, ()>> = thread::scope(|scope| {
        let queue = &queue;
        let workers: Vec<_> = cpus().into_iter().map(|cpu| scope.spawn(move || work(cpu, queue))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect()
    });
    let steps: u64 = outcomes.iter().flatten().sum();
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    println!(
        "\n{count} comparisons, {failed} failed, {:.1} million instructions compared in {:.0} s",
        steps as f64 / 1e6,
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 && outcomes.len() == count && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn checks(kinds: usize) -> Vec<Check> {
    let mut checks = Vec::new();
    for backend in Backend::all().iter().map(|backend| backend.name()) {
        let children = |what: &str, number: usize, count: usize| -> Vec<[String; 3]> {
            (0..count).map(|kind| [what.to_owned(), format!("{number:3}"), format!("{kind:3}")]).collect()
        };
        for (number, size) in [1, 8].into_iter().enumerate() {
            // On the fallback a batch is a loop.
            if backend == "ifma" || size == 1 {
                checks.push(Check {
                    name: format!("accounts of four kinds, {size}"),
                    backend,
                    children: children("work", number, Account::ALL.len()),
                    span: Span::Function("Evaluator::answer"),
                    parts_in: None,
                });
            }
        }
        for (number, door) in doors().iter().enumerate() {
            let contained = CONTAINED.iter().find(|(on, name, _)| ["both", backend].contains(on) && *name == door.name);
            if let Some((_, _, by)) = contained {
                assert!(Door::named(by).is_some(), "{by} is no door");
                // And is stepped itself, or by one that is, on this backend.
                let dropped =
                    |name: &str| CONTAINED.iter().find(|(on, it, _)| ["both", backend].contains(on) && *it == name);
                let by = dropped(by).map_or(*by, |(.., by)| by);
                assert!(dropped(by).is_none(), "{by} is not stepped on {backend}");
            } else {
                let children = children("door", number, kinds);
                checks.push(Check { name: door.name.to_owned(), backend, children, span: Span::Marks, parts_in: None });
            }
        }
        // In both ways in which traces are taken.
        for (number, (door, function)) in leaks().iter().enumerate() {
            for (span, way) in [(Span::Marks, "between marks"), (Span::Function(function), "in a function")] {
                checks.push(Check {
                    name: format!("control: {}, {way}", door.name),
                    backend,
                    children: children("leak", number, kinds),
                    span,
                    parts_in: Some(function),
                });
            }
        }
    }
    // The longest first, so that no core ends alone with it.
    checks.sort_by_key(|check| !(check.name.contains("login") || check.name.contains("accounts")));
    checks
}

/// The processors that this process may run on.
fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Does checks on one processor: the child shares it with who steps it, so that a step is a short way.
fn work(cpu: usize, queue: &Mutex<VecDeque<Check>>) -> Vec<Result<u64, ()>> {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
    let next = || queue.lock().unwrap().pop_front();
    let mut outcomes = Vec::new();
    while let Some(check) = next() {
        let begun = Instant::now();
        let outcome = hold(&check);
        let (said, outcome) = match outcome {
            Ok((said, instructions)) => (said, Ok(instructions)),
            Err(why) => (format!("FAILED: {why}"), Err(())),
        };
        println!("{:<9} {:<44} {said} ({:.1} s)", check.backend, check.name, begun.elapsed().as_secs_f64());
        outcomes.push(outcome);
    }
    outcomes
}

/// Runs a check: what is to be said, and how many instructions were compared.
fn hold(check: &Check) -> Result<(String, u64), String> {
    let run = |child: &[String; 3], keep| run(check, child, keep);
    let first = run(&check.children[0], false)?;
    let mut instructions = first.instructions;
    for child in &check.children[1..] {
        let other = run(child, false)?;
        instructions += other.instructions;
        if (other.hash, other.instructions) == (first.hash, first.instructions) {
            continue;
        }
        // Once more, with all that went into the hashes.
        let parting = trace::parting(&run(&check.children[0], true)?, &run(child, true)?);
        return match check.parts_in {
            Some(function) if parting.contains(function) => Ok((format!("caught: {parting}"), instructions)),
            _ => Err(format!("secrets {} and {}: {parting}", check.children[0][2].trim(), child[2].trim())),
        };
    }
    match check.parts_in {
        Some(_) => Err("a leak was not caught".to_owned()),
        None => Ok((format!("{:>9} instructions, {} times", first.instructions, check.children.len()), instructions)),
    }
}

fn run(check: &Check, child: &[String; 3], keep: bool) -> Result<Trace, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").args(child).env_clear().env("STRONGROOM_BACKEND", check.backend);
    trace::trace(&mut command, check.span, keep)
}
