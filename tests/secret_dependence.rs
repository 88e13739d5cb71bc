//! No branch and no address depends on a secret: valgrind follows secret bytes through every door, and reports where one
//! steers a jump or a load.
//!
//! The secret bytes are marked as undefined memory before a door has them. Memcheck then knows of each bit whether it was
//! computed from one, and complains where such a bit decides. What may decide all the same stands in one list,
//! `src/secret/declassified.rs`; each of its rows must be met. Valgrind knows no AVX-512, so the lanes are followed on
//! the model: the same source over plain integers.
//!
//! In the same run, on each backend, leaks that are planted behind a multiplication, a decoding, an opened body and a
//! declassified bit must be reported, and the same values chosen by a mask must not.
//!
//!     cargo test --release --features valgrind --test secret_dependence
//!
//! `STRONGROOM_ORIGINS=1` makes valgrind say where a reported secret was marked; it takes half as long again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod doors;

use std::fmt::{Display, Formatter};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs};

use crabgrind::memcheck::{MemState, mark_mem};
use doors::{Kind, Piece, Secrets};
use strongroom::engine::{Backend, Scalar, backend};
use strongroom::secret::declassified::{ROWS, count_met};
use strongroom::wrap::{EpochKeys, MemoryRoot};

/// The backends that valgrind can run.
const BACKENDS: [&str; 2] = ["fallback", "model"];
/// Tells the process under valgrind what to do.
const PART: &str = "STRONGROOM_UNDER_VALGRIND";
/// What valgrind exits with if it has reported anything.
const REPORTED: i32 = 99;

fn main() -> ExitCode {
    match env::var(PART).as_deref() {
        Ok("doors") => go_through_doors(),
        Ok("controls") => leak(),
        _ => return watch(),
    }
    ExitCode::SUCCESS
}

// ---- the process outside

/// Everything that is wrong is said; nothing wrong is success.
fn watch() -> ExitCode {
    if cfg!(debug_assertions) {
        println!("a build with debug assertions branches on all that it asserts; run this with --release");
        return ExitCode::FAILURE;
    }
    let started = Instant::now();
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!(
            "valgrind: not on this machine, so nothing was checked; install it (Debian: apt-get install valgrind)"
        );
        return ExitCode::FAILURE;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut complaints = Vec::new();
    if Backend::all().first().is_none_or(|backend| backend.name() == "model") {
        complaints.push("the model is what a process gets that names no backend".to_owned());
    }
    let mut met = [false; ROWS.len()];
    for backend in BACKENDS {
        let (mut doors, mut controls, mut said) = (0, 0, String::new());
        for part in ["doors", "controls"] {
            let run = Run::of(backend, part, folder.path());
            for line in &run.lines {
                println!("{backend:8}  {line}");
                complaints.extend(line.complaint().map(|complaint| format!("{backend}, {}: {complaint}", line.name)));
            }
            let reports: usize = run.lines.iter().map(|line| line.reports).sum();
            if run.code != Some(if reports > 0 { REPORTED } else { 0 }) {
                complaints
                    .push(format!("{backend}, {part}: exit {:?} after {reports} reports\n{}", run.code, run.said));
            }
            if part == "doors" {
                doors = run.lines.len();
                met.iter_mut().zip(run.met).for_each(|(met, here)| *met |= here);
                if reports > 0 {
                    complaints.push(format!("{backend}: valgrind's log\n{}", run.log));
                }
            } else {
                controls = run.lines.len();
            }
            said += &run.said;
        }
        if doors != doors::doors().len() || controls != WAYS.len() * LEAKS.len() {
            complaints
                .push(format!("{backend}: {doors} doors and {controls} controls were run, which is not all\n{said}"));
        }
    }
    for (row, _) in ROWS.iter().zip(met).filter(|(_, met)| !met) {
        complaints.push(format!("declassified and not met: {row:?}"));
    }
    println!("{} s, {} complaints", started.elapsed().as_secs(), complaints.len());
    complaints.iter().for_each(|complaint| println!("\n{complaint}"));
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of one process under valgrind.
struct Run {
    lines: Vec<Line>,
    /// Which of the rows were met.
    met: [bool; ROWS.len()],
    code: Option<i32>,
    log: String,
    /// What it said that was no line.
    said: String,
}

impl Run {
    fn of(backend: &str, part: &str, folder: &Path) -> Run {
        let (log, forgiven) = (folder.join("log"), folder.join("forgiven"));
        fs::write(&forgiven, suppressions()).expect("a file");
        let origins = if env::var_os("STRONGROOM_ORIGINS").is_some() { "yes" } else { "no" };
        let Output { status, stdout, stderr } = Command::new("valgrind")
            .args(["--tool=memcheck", "--undef-value-errors=yes", "--error-limit=no", "--leak-check=no", "-v"])
            .arg(format!("--track-origins={origins}"))
            .arg(format!("--error-exitcode={REPORTED}"))
            .arg(format!("--suppressions={}", forgiven.display()))
            .arg(format!("--log-file={}", log.display()))
            .arg(env::current_exe().expect("this program"))
            .env(PART, part)
            .env("STRONGROOM_BACKEND", backend)
            .output()
            .expect("valgrind starts");
        let (stdout, log) = (String::from_utf8_lossy(&stdout), fs::read_to_string(log).expect("valgrind's log"));
        let mut run = Run {
            lines: Vec::new(),
            met: [false; ROWS.len()],
            code: status.code(),
            said: String::from_utf8_lossy(&stderr).into_owned(),
            log: String::new(),
        };
        for line in stdout.lines() {
            match (Line::read(line), line.strip_prefix("met ").and_then(|row| row.parse::<usize>().ok())) {
                (Some(line), _) => run.lines.push(line),
                (_, Some(row)) => run.met[row] = true,
                _ => run.said += &format!("{line}\n"),
            }
        }
        for line in log.lines() {
            if let Some((_, used)) = line.split_once("used_suppression:") {
                let row =
                    used.split_whitespace().nth(1).and_then(|name| name.strip_prefix("row-")?.parse::<usize>().ok());
                row.into_iter().for_each(|row| run.met[row] = true);
            }
        }
        let reports = log.lines().skip_while(|line| !line.contains("uninitialised"));
        run.log = reports.collect::<Vec<_>>().join("\n");
        run
    }
}

/// The rows of the list that stand inside other crates, as valgrind reads them. Conditional jumps only: an address from a
/// secret is reported there too.
fn suppressions() -> String {
    let inside = ROWS.iter().enumerate().filter_map(|(number, row)| Some(row.inside?.map(|name| (number, name))));
    inside
        .flatten()
        .map(|(number, name)| format!("{{\n   row-{number}\n   Memcheck:Cond\n   fun:{name}\n}}\n"))
        .collect()
}

/// What is said of one door or control.
struct Line {
    name: String,
    marked: usize,
    reports: usize,
    /// How a control says whether valgrind must report it.
    leaks: bool,
}

impl Line {
    fn read(line: &str) -> Option<Line> {
        let mut parts = line.strip_prefix("line\t")?.split('\t');
        let (name, leaks) = (parts.next()?.to_owned(), parts.next()? == "true");
        Some(Line { name, leaks, marked: parts.next()?.parse().ok()?, reports: parts.next()?.parse().ok()? })
    }

    fn write(&self) {
        println!("line\t{}\t{}\t{}\t{}", self.name, self.leaks, self.marked, self.reports);
    }

    fn complaint(&self) -> Option<String> {
        let Line { marked, reports, leaks, .. } = *self;
        match (marked, reports, leaks) {
            (0, ..) => Some("no secret byte was marked".into()),
            (_, 0, true) => Some("it leaks, and was not reported".into()),
            (_, 1.., false) => Some(format!("{reports} reports")),
            _ => None,
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Line { name, marked, reports, leaks } = self;
        let wanted = if *leaks { ", as it must be" } else { "" };
        write!(f, "{name:61} {marked:5} secret bytes, {reports} reported{wanted}")
    }
}

// ---- the process under valgrind

static MARKED: AtomicUsize = AtomicUsize::new(0);

/// Makes bytes secret.
fn mark(_: Piece, bytes: &mut [u8]) {
    // Out of the compiler's sight: it must neither know the bytes nor keep a copy of them elsewhere.
    let bytes = black_box(bytes);
    // What it returns is the wrong way round in crabgrind 0.1.9; that it worked is what the controls show.
    let _ = mark_mem(bytes.as_mut_ptr().cast(), bytes.len(), MemState::Undefined);
    MARKED.fetch_add(bytes.len(), Ordering::Relaxed);
}

fn secrets() -> Secrets {
    Secrets::new(Kind::Random(1)).shown_to(mark)
}

/// Does `work`, and says what was reported meanwhile.
fn reported(name: String, leaks: bool, work: impl FnOnce()) {
    let (marked, reports) = (MARKED.load(Ordering::Relaxed), crabgrind::count_errors());
    work();
    let (marked, reports) = (MARKED.load(Ordering::Relaxed) - marked, crabgrind::count_errors() - reports);
    Line { name, marked, reports, leaks }.write();
}

fn go_through_doors() {
    assert_eq!(Ok(backend().name()), env::var("STRONGROOM_BACKEND").as_deref(), "the backend that was asked for");
    for door in doors::doors() {
        reported(door.name.into(), false, || door.ready(secrets())());
    }
    for (number, row) in ROWS.iter().enumerate() {
        if row.inside.is_none() && count_met(row.reason) > 0 {
            println!("met {number}");
        }
    }
}

// ---- the controls

/// A way that a secret goes: what becomes of its first byte.
type Way = fn(&mut Secrets) -> u8;
/// What is done with that byte.
type Leak = fn(u8);

/// Ways on which a secret byte must stay one: through the arithmetic, and past whatever is forgiven.
const WAYS: [(&str, Way); 5] = [
    ("product", |secrets| backend().multiply_base(&[&secrets.scalar()]).expect("a sound machine")[0][0]),
    ("scalar, found not zero", |secrets| {
        Scalar::from_bytes(secrets.scalar_bytes().expose()).expect("a scalar").to_bytes().expose()[0]
    }),
    ("element, found valid", |secrets| secrets.points(1)[0].encoding()[0]),
    ("element, decoded and multiplied", |secrets| {
        let (one, points) = (Scalar::from_bytes(&ONE).expect("not zero"), secrets.points(1));
        backend().multiply(&[(&one, &points[0])]).expect("a sound machine")[0][0]
    }),
    ("blob, its tag found right", |secrets| {
        let root = MemoryRoot::new();
        root.create_with(1, secrets.secret().expose()).expect("the first root");
        let keys = EpochKeys::load(&root, 1).expect("epoch 1");
        let sealed = keys.seal_blob_with("a purpose", secrets.secret::<40>().expose(), &[7; 12]).expect("a short blob");
        keys.open_blob("a purpose", &sealed).expect("its own blob").expose()[0]
    }),
];

const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

/// Each with whether it leaks.
const LEAKS: [(&str, Leak, bool); 3] =
    [("a branch on it", branch, true), ("an index by it", index, true), ("a mask by it", mask, false)];

fn leak() {
    for (way, secret) in WAYS {
        for (name, leak, leaks) in LEAKS {
            reported(format!("control: {way}, then {name}"), leaks, || leak(secret(&mut secrets())));
        }
    }
}

#[inline(never)]
fn branch(secret: u8) {
    #[inline(never)]
    fn taken() {
        black_box(());
    }
    if secret & 1 == 1 {
        taken();
    }
}

#[inline(never)]
fn index(secret: u8) {
    static TABLE: [u8; 256] = [7; 256];
    black_box(black_box(&TABLE)[usize::from(secret)]);
}

/// The same choices as a program should make them.
#[inline(never)]
fn mask(secret: u8) {
    let bit = black_box((secret & 1).wrapping_neg());
    black_box(bit & 3 | !bit & 5);
}
