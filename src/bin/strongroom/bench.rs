//! `strongroom bench`: the measurements one after another, a bar while they run, a table or JSON at the end.

use std::io::Write;
use std::process::{Command, Stdio};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use strongroom::engine;

use crate::measure::{Effort, Outcome, Pair, World};

/// What `strongroom bench` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write JSON to standard output, and nothing else: ratios by name, null where this machine has none, and the backend
    #[arg(long)]
    json: bool,
    /// Look whether it runs, in about a second. Nothing that it prints is a measurement
    #[arg(long, hide = true)]
    quick: bool,
}

impl Options {
    fn effort(&self) -> Effort {
        if self.quick { Effort::Quick } else { Effort::Full }
    }
}

/// One row: the name of its ratio in JSON, and what stands in the table.
struct Row {
    key: &'static str,
    name: String,
    beside: &'static str,
    pair: Option<Pair>,
}

/// All measurements.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let bar = ProgressBar::new(7).with_style(ProgressStyle::with_template("{bar:28} {pos}/{len} {msg}")?);
    let next = |message: &'static str| {
        bar.inc(1);
        bar.set_message(message);
    };
    bar.set_message("people enrol, answers are checked");
    let world = World::new(options.effort())?;
    world.check()?;
    let mut rows = Vec::new();
    let mut row = |key, name: String, beside, pair| rows.push(Row { key, name, beside, pair });
    next("logins");
    let name = |what: &str, size: usize| format!("{what}, batch of {size}");
    row("login_ratio", name("login", world.chunk()), "opaque-ke", Some(world.logins(world.chunk())?));
    next("registrations");
    row("registration_ratio", name("registration", world.chunk()), "opaque-ke", Some(world.registrations()?));
    next("multiplications");
    row("var_base_ratio", name("multiplication", world.chunk()), "curve25519-dalek", Some(world.multiplications()?));
    next("logins alone");
    row("single_login_ratio", "login alone".to_owned(), "opaque-ke", Some(world.logins(1)?));
    next("logins on the fallback");
    row("fallback_login_ratio", name("login, fallback", world.chunk()), "opaque-ke", Some(fallback(options)?));
    next("logins on two threads");
    row("threads_ratio", name("login, 2 threads", world.people()), "1 thread", world.threads()?);
    bar.finish_and_clear();
    if options.json { print(&json_of(&rows)) } else { print(&table(&rows, options)) }
}

/// Logins on the backend that the environment names, for the process that asks.
pub(crate) fn run_logins(options: &Options) -> Outcome<()> {
    let world = World::new(options.effort())?;
    world.check()?;
    let Pair { ours_us, peer_us } = world.logins(world.chunk())?;
    print(&json!({ "ours_us": ours_us, "peer_us": peer_us, "backend": engine::backend().name() }).to_string())
}

/// The same logins on the arithmetic of machines without lanes: the backend of a process is chosen once, so another
/// process has to be asked.
fn fallback(options: &Options) -> Outcome<Pair> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg("bench-logins").args(options.quick.then_some("--quick")).env("STRONGROOM_BACKEND", "fallback");
    let output = child.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the fallback was not measured: {}", output.status).into());
    }
    let told: Value = serde_json::from_slice(&output.stdout)?;
    match (&told["ours_us"].as_f64(), &told["peer_us"].as_f64(), told["backend"].as_str()) {
        (Some(ours_us), Some(peer_us), Some("fallback")) => Ok(Pair { ours_us: *ours_us, peer_us: *peer_us }),
        _ => Err(format!("the fallback was not measured: {told}").into()),
    }
}

fn json_of(rows: &[Row]) -> String {
    let ratio = |pair: &Pair| (pair.ratio() * 100.0).round() / 100.0;
    let mut all: Map<_, _> = rows.iter().map(|row| (row.key.to_owned(), json!(row.pair.as_ref().map(ratio)))).collect();
    all.insert("backend".to_owned(), engine::backend().name().into());
    Value::Object(all).to_string()
}

fn table(rows: &[Row], options: &Options) -> String {
    let backend = engine::backend().name();
    let mut lines = vec![
        format!("{}, backend {backend}; microseconds an item", cpu()),
        String::new(),
        format!("{:<30}{:>12}{:>12}{:>9}", "", "strongroom", "peer", "ratio"),
    ];
    if !engine::Backend::all().iter().any(|known| known.name() == "ifma") {
        lines.insert(1, "LEFT OUT: lanes: not on this machine".to_owned());
    }
    lines.extend(rows.iter().map(|Row { name, beside, pair, .. }| match pair {
        Some(pair) => {
            let Pair { ours_us, peer_us } = pair;
            format!("{name:<30}{ours_us:>12.2}{peer_us:>12.2}{:>8.2}x  {beside}", pair.ratio())
        }
        None => format!("{name:<30}{:>12}{:>12}{:>9}  one processor", "-", "-", "-"),
    }));
    if options.quick {
        lines.push("a quick look, to see that it runs: no measurement".to_owned());
    }
    lines.join("\n")
}

fn print(text: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// What the system calls the processor.
fn cpu() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or("a processor without a name", |(_, model)| model).to_owned()
}
