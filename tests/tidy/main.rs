//! The house in order. Each check is a function from the repository's files to its complaints; `controls.rs` has for
//! each a violation that it must see and a neighbour that it must let pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod controls;
mod source;
mod targets;

use std::fs;
use std::path::Path;

use source::{code, crate_paths, product_code, words};
use targets::{NOT_RUN, not_run, targets_are_run};

/// The rooms, ground first: a room uses only rooms that stand before it.
const ROOMS: [&str; 18] = [
    "limits",
    "error",
    "secret",
    "process",
    "wire",
    "engine",
    "oprf",
    "opaque",
    "account",
    "protocol",
    "wrap",
    "ledger",
    "journal",
    "session",
    "transparency",
    "fleet",
    "vault",
    "client",
];

/// What the client's side must do without, although it stands after them.
const NOT_FOR_CLIENT: [&str; 4] = ["ledger", "journal", "fleet", "vault"];

/// The one file with unsafe code: the registers, behind the token that the processor has them.
const UNSAFE_FILES: [&str; 1] = ["src/engine/ifma.rs"];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "managers"];

/// Longest file in `src/`, in lines.
const LINES_MAX: usize = 600;

/// A text file of the repository.
struct Source {
    path: String,
    text: String,
}

type Check = fn(&[Source]) -> Vec<String>;

const CHECKS: [(&str, Check); 14] = [
    ("imports point to the ground", imports_point_down),
    ("every room has its place", rooms_are_known),
    ("unsafe code has one place", unsafe_has_one_place),
    ("files are short", files_are_short),
    ("names say something", names_say_something),
    ("nothing names a machine", nothing_names_a_machine),
    ("nothing is unfinished", nothing_is_unfinished),
    ("files say what they are", files_say_what_they_are),
    ("dependencies have reasons", dependencies_have_reasons),
    ("targets and files match", targets_and_files_match),
    ("CI runs what there is to run", targets_are_run),
    ("the steps of CI are told", steps_are_told),
    ("vectors have a source", vectors_have_a_source),
    ("claims have a test", claims_have_a_test),
];

#[test]
fn the_house_is_tidy() {
    let tree = tree();
    for known in ["Cargo.toml", "src/lib.rs", "src/ledger/mod.rs", ".ci/run", "fuzz/Cargo.toml", "tests/tidy/main.rs"] {
        assert!(tree.iter().any(|file| file.path == known), "{known} was not read, so nothing was checked");
    }
    let complaints: Vec<_> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&tree).into_iter().map(move |complaint| format!("{name}: {complaint}")))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// And so each of them is seen where nothing excuses it.
#[test]
fn what_is_excused_from_ci_is_there_and_is_not_run() {
    let idle = not_run(&tree());
    for (target, _) in NOT_RUN {
        assert!(idle.iter().any(|it| it == target), "{target} needs no excuse in NOT_RUN");
    }
}

// ---- the checks

fn imports_point_down(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let Some(room) = room(&file.path).filter(|room| !["lib", "bin"].contains(room)) else { continue };
        if is_test(&file.path) {
            continue;
        }
        let own = ROOMS.iter().position(|known| *known == room);
        let code = product_code(&file.text);
        for (line, used) in crate_paths(&code) {
            let theirs = ROOMS.iter().position(|known| *known == used);
            let allowed = own.is_some() && theirs.is_some() && theirs <= own;
            if !allowed || (room == "client" && NOT_FOR_CLIENT.contains(&used.as_str())) {
                found.push(format!("{}:{line}: {room} may not use {used}", file.path));
            }
        }
        for (number, line) in code.lines().enumerate() {
            if line.contains(&"super::".repeat(depth(&file.path))) {
                found.push(format!("{}:{}: another room is reached by `crate::`", file.path, number + 1));
            }
        }
    }
    found
}

fn rooms_are_known(files: &[Source]) -> Vec<String> {
    let unknown = |path: &str| room(path).is_some_and(|room| !ROOMS.contains(&room) && !["lib", "bin"].contains(&room));
    files.iter().filter(|file| unknown(&file.path)).map(|file| format!("{}: not in ROOMS", file.path)).collect()
}

fn unsafe_has_one_place(files: &[Source]) -> Vec<String> {
    let marks = ["unsafe", "unsafe_code"];
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs") && !UNSAFE_FILES.contains(&&*file.path)) {
        for (number, line) in code(&file.text).lines().enumerate() {
            let loosened = !line.contains("deny(") && !line.contains("forbid(");
            if loosened && words(line).any(|word| marks.contains(&word)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

fn files_are_short(files: &[Source]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs"));
    rust.map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{} has {lines} lines", file.path))
        .collect()
}

fn names_say_something(files: &[Source]) -> Vec<String> {
    let empty = |name: &str| name.split('_').next_back().is_some_and(|last| EMPTY_NAMES.contains(&last));
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        if file.path.trim_end_matches(".rs").split('/').any(empty) {
            found.push(file.path.clone());
        }
        for (number, line) in code(&file.text).lines().enumerate() {
            let name = words(line).skip_while(|word| *word != "mod").nth(1);
            if name.is_some_and(empty) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

fn nothing_names_a_machine(files: &[Source]) -> Vec<String> {
    // Written in halves, or this file would complain of itself.
    let marks = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/tm", "p/"),
        concat!("crates", ".io"),
        concat!("registry", "+"),
        concat!("sparse", "+"),
        concat!("replace", "-with"),
    ];
    lines_with(files, |file, line| {
        // A lock file names the registry of each package, and cargo-deny holds it to the default one.
        let lock = file.path.ends_with("Cargo.lock") && line.starts_with("source = ");
        !lock && marks.iter().any(|mark| line.contains(mark))
    })
}

fn nothing_is_unfinished(files: &[Source]) -> Vec<String> {
    let marks = [
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("#[ig", "nore"),
        concat!("XX", "X:"),
        concat!("TO", "DO"),
    ];
    lines_with(files, |file, line| !file.path.starts_with("vectors/") && marks.iter().any(|mark| line.contains(mark)))
}

fn files_say_what_they_are(files: &[Source]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.filter(|file| !file.text.starts_with("//! ")).map(|file| format!("{} begins otherwise", file.path)).collect()
}

fn dependencies_have_reasons(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let mut inside = false;
        for (number, line) in file.text.lines().enumerate() {
            let line = line.trim();
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                inside = section.ends_with("dependencies");
                if section.contains("dependencies.") {
                    found.push(format!("{}:{}: one line each, please", file.path, number + 1));
                }
            } else if inside && !line.is_empty() && !line.starts_with('#') {
                let reason = line.split_once(" # ").map_or("", |(_, reason)| reason);
                if reason.split_whitespace().count() < 2 {
                    found.push(format!("{}:{}: {line}", file.path, number + 1));
                }
            }
        }
    }
    found
}

/// Cargo refuses a target without a file. The other way round it is silent: a bench that is not declared with
/// `harness = false` measures nothing, and a fuzz target that is not declared never runs.
fn targets_and_files_match(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (manifest, kind, folder) in
        [("Cargo.toml", "bench", "benches/"), ("fuzz/Cargo.toml", "bin", "fuzz/fuzz_targets/")]
    {
        let Some(text) = files.iter().find(|file| file.path == manifest).map(|file| &file.text) else { continue };
        let declared = declared(text, kind);
        let named = |part: &&str| value(part, "name").unwrap_or_default();
        let names: Vec<String> = declared.iter().map(named).collect();
        for file in files {
            let Some(name) = file.path.strip_prefix(folder).and_then(|name| name.strip_suffix(".rs")) else { continue };
            if !name.contains('/') && !names.iter().any(|known| known == name) {
                found.push(format!("{}: {manifest} does not declare it", file.path));
            }
        }
        for (part, name) in declared.iter().zip(&names) {
            if !files.iter().any(|file| file.path == format!("{folder}{name}.rs")) {
                found.push(format!("{manifest}: {folder}{name}.rs does not exist"));
            }
            if kind == "bench" && !part.contains("harness = false") {
                found.push(format!("{manifest}: bench {name} needs `harness = false`"));
            }
        }
    }
    found
}

fn steps_are_told(files: &[Source]) -> Vec<String> {
    let script = text(files, ".ci/run");
    let run: Vec<_> = script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("step "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let told: Vec<_> = text(files, ".ci/README")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let done = script.lines().filter_map(|line| line.strip_prefix("do_")?.strip_suffix("() {"));
    let untold = run.iter().filter(|step| !told.contains(step)).map(|step| format!(".ci/README lacks {step}"));
    let absent = told.iter().filter(|step| !run.contains(step)).map(|step| format!(".ci/run lacks {step}"));
    let unused = done.filter(|step| !run.contains(step)).map(|step| format!(".ci/run never does {step}"));
    untold.chain(absent).chain(unused).collect()
}

fn vectors_have_a_source(files: &[Source]) -> Vec<String> {
    let table = files.iter().find(|file| file.path == "vectors/README.md").map_or("", |file| &file.text);
    let told = |name: &str| {
        let rows = table.lines().filter(|line| line.matches('|').count() == 4);
        rows.filter_map(|line| line.split('|').nth(1)).any(|row| {
            let row = row.trim().trim_matches('`');
            // A row may stand for a folder.
            row == name || (row.ends_with('/') && name.starts_with(row))
        })
    };
    let data = files.iter().filter_map(|file| file.path.strip_prefix("vectors/"));
    data.filter(|name| *name != "README.md" && !told(name)).map(|name| format!("{name} has no row")).collect()
}

/// Each test that SECURITY.md names stands somewhere: a path, or the beginning of the names of functions.
fn claims_have_a_test(files: &[Source]) -> Vec<String> {
    let claims = files.iter().find(|file| file.path == "SECURITY.md").map_or("", |file| &file.text);
    let named = claims.split('`').skip(1).step_by(2);
    let shown = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => {
            let function = format!("fn {prefix}");
            files.iter().filter(|file| file.path.ends_with(".rs")).any(|file| code(&file.text).contains(&function))
        }
        None => files.iter().any(|file| file.path == name || (name.ends_with('/') && file.path.starts_with(name))),
    };
    let tests = named.filter(|name| name.ends_with('*') || name.starts_with("tests/"));
    tests.filter(|name| !shown(name)).map(|name| format!("SECURITY.md names {name}, which is not there")).collect()
}

/// The room of a file in `src/`: its first name.
fn room(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').next()
}

/// How many `super::` lead out of the room of a file in `src/`.
fn depth(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").matches('/').count()
}

/// Whether a file of a room holds its tests.
fn is_test(path: &str) -> bool {
    path.trim_end_matches(".rs").split('/').skip(2).any(|part| part == "tests")
}

/// The text of a file, if there is one.
fn text<'a>(files: &'a [Source], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
}

/// The parts of a manifest that declare targets of a kind.
fn declared<'a>(manifest: &'a str, kind: &str) -> Vec<&'a str> {
    let head = format!("[{kind}]]");
    manifest.split("\n[").filter_map(|part| part.strip_prefix(&head)).collect()
}

/// The value of `key = "value"` in a part of a manifest.
fn value(part: &str, key: &str) -> Option<String> {
    let (_, rest) = part.split_once(&format!("{key} = \""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn lines_with(files: &[Source], bad: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate().filter(|(_, line)| bad(file, line)) {
            found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
        }
    }
    found
}

/// Every text file of the repository, but for what is built or found by a fuzzer.
fn tree() -> Vec<Source> {
    let skipped = [".git", "target", "fuzz/target", "fuzz/artifacts", "fuzz/coverage", "fuzz/corpus"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if skipped.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) {
                files.push(Source { path: name, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
