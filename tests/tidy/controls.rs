//! What each check must see, and what it must let pass.

use super::*;

/// Paths and texts.
type Tree<'a> = &'a [(&'a str, &'a str)];

/// For each check: a tree that it must complain of, and a neighbour that it must let pass.
#[test]
fn each_check_sees_its_violation() {
    let cases: &[(Check, Tree, Tree)] = &[
        (
            imports_point_down,
            &[("src/wire.rs", "use crate::ledger::State;")],
            &[("src/ledger/mod.rs", "use crate::wire::Reader;")],
        ),
        (
            imports_point_down,
            &[("src/wire.rs", "fn f() { crate::ledger::g() }")],
            &[("src/wire.rs", "// crate::ledger")],
        ),
        (
            imports_point_down,
            &[("src/wire.rs", "use crate::{\n error::{Fault, Refusal},\n ledger::State};")],
            &[("src/vault/mod.rs", "use crate::{error::{Fault, Refusal}, ledger::State};")],
        ),
        (
            imports_point_down,
            &[("src/wire.rs", "use super::ledger::State;")],
            &[("src/ledger/state.rs", "use super::command::Command;")],
        ),
        (
            imports_point_down,
            &[("src/wrap/sealed.rs", "use super::super::ledger::State;")],
            &[("src/wrap/tests.rs", "use super::super::ledger::State;")],
        ),
        (
            imports_point_down,
            &[("src/client/mod.rs", "use crate::ledger::State;")],
            &[("src/client/mod.rs", "use crate::protocol::Request;")],
        ),
        (
            imports_point_down,
            &[("src/wire.rs", "#[cfg(test)]\nmod tests { use a; }\nuse crate::ledger;")],
            &[("src/wire.rs", "#[cfg(test)]\nmod tests { use crate::ledger; }")],
        ),
        (
            imports_point_down,
            &[("src/wire.rs", "use crate::unheard_of::State;")],
            &[("src/wire.rs", "pub(crate) fn f() { \"crate::vault\" }")],
        ),
        (rooms_are_known, &[("src/attic.rs", "")], &[("src/wire.rs", "")]),
        (
            unsafe_has_one_place,
            &[("src/wire.rs", "fn f() { unsafe { g() } }")],
            &[("src/engine/ifma.rs", "fn f() { unsafe { g() } }")],
        ),
        (
            unsafe_has_one_place,
            &[("src/wire.rs", "#![allow(unsafe_code)]")],
            &[("src/lib.rs", "#![deny(unsafe_code)] // unsafe")],
        ),
        (files_are_short, &[("src/a.rs", &"\n".repeat(LINES_MAX + 1))], &[("src/a.rs", &"\n".repeat(LINES_MAX))]),
        (names_say_something, &[("src/ledger/util.rs", "")], &[("src/ledger/account.rs", "")]),
        (names_say_something, &[("src/helpers/mod.rs", "")], &[("src/utility.rs", "")]),
        (
            names_say_something,
            &[("src/lib.rs", "pub mod key_manager;")],
            &[("src/lib.rs", "pub mod keys; // mod misc;")],
        ),
        (nothing_names_a_machine, &[("README.md", concat!("see /ho", "me/me"))], &[("README.md", "at home")]),
        (
            nothing_names_a_machine,
            &[("Cargo.toml", concat!("registry = \"crates", ".io\""))],
            &[("Cargo.lock", concat!("source = \"registry", "+x\""))],
        ),
        (
            nothing_is_unfinished,
            &[("src/a.rs", concat!("// FIX", "ME later"))],
            &[("vectors/a.txt", concat!("FIX", "ME"))],
        ),
        (
            nothing_is_unfinished,
            &[("tests/a.rs", concat!("#[ig", "nore]\nfn f() {}"))],
            &[("tests/a.rs", "#[test]\nfn f() {}")],
        ),
        (files_say_what_they_are, &[("src/a.rs", "use b;\n//! late")], &[("src/a.rs", "//! What it is.\nuse b;")]),
        (
            dependencies_have_reasons,
            &[("Cargo.toml", "[dependencies]\na = \"1\"")],
            &[("Cargo.toml", "[dependencies]\na = \"1\" # for this reason\n[profile.x]\nb = 1")],
        ),
        (
            dependencies_have_reasons,
            &[("Cargo.toml", "[target.x.dependencies]\na = \"1\" #")],
            &[("Cargo.toml", "[features]\na = []")],
        ),
        (
            dependencies_have_reasons,
            &[("Cargo.toml", "[dependencies.a]\nversion = \"1\"")],
            &[("Cargo.toml", "[package]\nversion = \"1\"")],
        ),
        (
            targets_and_files_match,
            &[("Cargo.toml", "\n[[bench]]\nname = \"a\"\nharness = false\n"), ("benches/b.rs", "")],
            &[("Cargo.toml", "\n[[bench]]\nname = \"a\"\nharness = false\n"), ("benches/a.rs", "")],
        ),
        (
            targets_and_files_match,
            &[("Cargo.toml", "\n[[bench]]\nname = \"a\"\n"), ("benches/a.rs", "")],
            &[("Cargo.toml", "")],
        ),
        (
            targets_and_files_match,
            &[("fuzz/Cargo.toml", "\n[[bin]]\nname = \"a\"\n")],
            &[("fuzz/Cargo.toml", "\n[[bin]]\nname = \"a\"\n"), ("fuzz/fuzz_targets/a.rs", "")],
        ),
        (
            targets_are_run,
            &[(".ci/run", "cargo test --test a"), ("tests/made_up.rs", "")],
            &[(".ci/run", "A=b cargo test \\\n --test c \\\n --test a -- word"), ("tests/a.rs", "")],
        ),
        (
            targets_are_run,
            &[
                (".ci/run", "cargo clippy --test a\n# cargo test\ncargo test --lib -- --test a"),
                ("tests/a/main.rs", ""),
            ],
            &[(".ci/run", "cargo test --release -- --show-output"), ("tests/a/main.rs", ""), ("tests/b/mod.rs", "")],
        ),
        (
            targets_are_run,
            &[
                (".ci/run", "cargo test"),
                ("Cargo.toml", "\n[[test]]\nname = \"a\"\nrequired-features = [\"b\", \"c\"]"),
            ],
            &[
                (".ci/run", "cargo test"),
                ("Cargo.toml", "default = [\"b\", \"c\"]\n[[test]]\nname = \"a\"\nrequired-features = [\"c\"]"),
            ],
        ),
        (
            targets_are_run,
            &[(".ci/run", "cargo test"), ("Cargo.toml", "\n[[test]]\nname = \"a\"\ntest = false")],
            &[(".ci/run", "cargo test --test a"), ("Cargo.toml", "\n[[test]]\nname = \"a\"\ntest = false")],
        ),
        (
            targets_are_run,
            &[(".ci/run", "cargo run --example b"), ("examples/a.rs", "")],
            &[(".ci/run", "cargo run --example a"), ("examples/a.rs", "")],
        ),
        (
            targets_are_run,
            &[(".ci/run", "cargo bench --bench b"), ("benches/a.rs", "")],
            &[(".ci/run", "for file in benches/*.rs; do"), ("benches/a.rs", "")],
        ),
        (
            steps_are_told,
            &[(".ci/run", "do_fmt() {\n}\ndo_doc() {\n}\nstep fmt 1"), (".ci/README", "| `fmt` | 1 |")],
            &[(".ci/run", "do_fmt() {\n}\nstep fmt 1"), (".ci/README", "| `fmt` | 1 |")],
        ),
        (
            steps_are_told,
            &[(".ci/run", "step fmt cargo fmt"), (".ci/README", "| `doc` | 1 |")],
            &[(".ci/run", "step fmt cargo fmt"), (".ci/README", "| `fmt` | 1 |")],
        ),
        (
            vectors_have_a_source,
            &[("vectors/a.json", ""), ("vectors/README.md", "| b.json | x | y |")],
            &[("vectors/a/b", ""), ("vectors/README.md", "| a/ | x | y |")],
        ),
        (
            claims_have_a_test,
            &[("SECURITY.md", "shown by `l1_*`"), ("src/a.rs", "fn l10_x() {}")],
            &[("SECURITY.md", "`l1_*`"), ("src/a.rs", "fn l1_x() {}")],
        ),
        (
            claims_have_a_test,
            &[("SECURITY.md", "`tests/a.rs`")],
            &[("SECURITY.md", "`tests/a.rs`"), ("tests/a.rs", "")],
        ),
    ];
    let tree = |files: Tree| -> Vec<Source> {
        files.iter().map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
    };
    for (check, bad, good) in cases {
        assert!(!check(&tree(bad)).is_empty(), "not seen: {bad:?}");
        assert_eq!(check(&tree(good)), Vec::<String>::new(), "seen without reason: {good:?}");
    }
    for (name, check) in CHECKS {
        assert!(cases.iter().any(|(tried, ..)| std::ptr::fn_addr_eq(*tried, check)), "{name} has no control");
    }
}
