//! That CI runs what there is to run: each test, bench and example is one that a step of `.ci/run` tells cargo to run.

use std::collections::BTreeSet;

use super::{Source, declared, text, value};

/// What no step runs, and why. Clippy compiles all of it.
pub(crate) const NOT_RUN: [(&str, &str); 4] = [
    ("test whole_fleet", "has cargo run what the step `fleet` runs by itself"),
    ("example http_server", "waits for people until it is interrupted; tests/person goes through its front-end"),
    ("example load", "measures a server that runs beside it, for minutes"),
    ("example passkeys", "waits for somebody's browser; tests/browser goes through its page"),
];

/// What makes a `cargo test` run less than all that the default features allow.
const CHOICES: [&str; 7] = ["--lib", "--bin", "--test", "--bench", "--example", "--doc", "--no-default-features"];

/// Fuzz targets are not asked for here: the step runs all that cargo-fuzz lists, and counts them.
pub(crate) fn targets_are_run(files: &[Source]) -> Vec<String> {
    let excused = |target: &str| NOT_RUN.iter().any(|(known, _)| *known == target);
    let idle = not_run(files).into_iter().filter(|target| !excused(target));
    idle.map(|target| format!(".ci/run runs no {target}")).collect()
}

/// Every target that no step runs, as "test NAME".
pub(crate) fn not_run(files: &[Source]) -> Vec<String> {
    let (manifest, script) = (text(files, "Cargo.toml"), text(files, ".ci/run").replace("\\\n", " "));
    let commands = commands(&script);
    let default = values(manifest, "default");
    let all_tests = commands.iter().any(|it| it[0] == "test" && !it.iter().any(|word| CHOICES.contains(word)));
    let all_benches = script.contains("for file in benches/*.rs");
    let mut found = Vec::new();
    for (kind, folder, verb) in
        [("test", "tests/", "test"), ("bench", "benches/", "bench"), ("example", "examples/", "run")]
    {
        let flag = format!("--{kind}");
        let parts: Vec<_> = declared(manifest, kind).iter().map(|part| (value(part, "name"), *part)).collect();
        // Cargo finds more by itself.
        let mut names: BTreeSet<&str> = files.iter().filter_map(|file| target(&file.path, folder)).collect();
        names.extend(parts.iter().filter_map(|(name, _)| name.as_deref()));
        for name in names {
            let part = parts.iter().find(|(known, _)| known.as_deref() == Some(name)).map_or("", |(_, part)| *part);
            // Cargo leaves out without a word what wants features that are not there, unless it is named.
            let by_default = !part.contains("\ntest = false")
                && values(part, "required-features").iter().all(|feature| default.contains(feature));
            let named = [flag.as_str(), name];
            let run = commands.iter().any(|it| it[0] == verb && it.windows(2).any(|pair| pair == named))
                || (kind == "test" && all_tests && by_default)
                || (kind == "bench" && all_benches);
            if !run {
                found.push(format!("{kind} {name}"));
            }
        }
    }
    found
}

/// The name of the target that a file begins.
fn target<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let name = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    let name = name.strip_suffix("/main").unwrap_or(name);
    (!name.contains('/')).then_some(name)
}

/// What a script tells cargo, a command a line: the words behind its name, but for those that are the test's own.
fn commands(script: &str) -> Vec<Vec<&str>> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let told = lines.filter_map(|line| line.split_once("cargo ")).map(|(_, told)| told.split_whitespace());
    told.map(|words| words.take_while(|word| *word != "--").collect()).filter(|it: &Vec<_>| !it.is_empty()).collect()
}

/// The values of `key = ["a", "b"]` in a part of a manifest.
fn values<'a>(part: &'a str, key: &str) -> Vec<&'a str> {
    let list = part.split_once(&format!("{key} = [")).and_then(|(_, rest)| rest.split_once(']'));
    list.map_or("", |(list, _)| list).split('"').skip(1).step_by(2).collect()
}
