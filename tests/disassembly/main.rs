//! What the compiler made of the lanes: no gather, no division, no jump through a table, and a conditional jump only
//! where `expected.txt` has one, on a counter that is public.
//!
//! The test reads its own executable, which has the library as it ships in it. Functions of the lanes are those that
//! `Lanes::call` compiles for AVX-512; each is named by the `Work` that it runs. `expected.txt` says how many multiply
//! instructions (IFMA) and conditional jumps each has, why it may jump, and which compiler that was counted with. Under
//! another compiler other counts are printed and no failure, but what must never be is refused under every compiler.
//!
//! ```text
//! cargo test --release --test disassembly
//! STRONGROOM_WRITE_EXPECTED=1 cargo test --release --test disassembly    # after a change: write the counts anew
//! ```
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../doors/mod.rs"]
mod doors;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use addr2line::Loader;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol};

/// What must never be in a function of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Banned {
    /// Addresses out of a vector.
    Gather,
    /// Time that depends on what is divided.
    Division,
    /// A jump to an address out of a register or a table.
    IndirectJump,
}

/// What a function of the lanes was compiled to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Made {
    /// Multiply instructions of IFMA.
    multiplies: usize,
    /// Conditional jumps.
    jumps: usize,
}

/// A function, decoded.
struct Function {
    name: String,
    code: Vec<Instruction>,
}

impl Function {
    fn banned(&self) -> Vec<Banned> {
        self.code.iter().filter_map(banned).collect()
    }

    fn made(&self) -> Made {
        let multiplies = self.code.iter().filter(|it| is_multiply(it)).count();
        let jumps = self.code.iter().filter(|it| it.flow_control() == FlowControl::ConditionalBranch).count();
        Made { multiplies, jumps }
    }
}

fn is_multiply(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Vpmadd52luq | Mnemonic::Vpmadd52huq)
}

fn banned(instruction: &Instruction) -> Option<Banned> {
    let name = format!("{:?}", instruction.mnemonic()).to_lowercase();
    let division = ["div", "idiv", "fdiv", "fidiv"].iter().any(|begin| name.starts_with(begin));
    match () {
        () if instruction.is_vsib() || name.contains("gather") || name.contains("scatter") => Some(Banned::Gather),
        () if division || name.starts_with("vdiv") || name.contains("sqrt") => Some(Banned::Division),
        () if instruction.flow_control() == FlowControl::IndirectBranch => Some(Banned::IndirectJump),
        () => None,
    }
}

/// Every function of this executable whose name is wanted.
fn functions(wanted: impl Fn(&str) -> bool) -> Vec<Function> {
    let path = std::env::current_exe().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let text = file.section_by_name(".text").unwrap();
    let (begin, code) = (text.address(), text.data().unwrap());
    let inlined = Loader::new(&path).unwrap();
    let mut functions = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_definition() && symbol.size() > 0) {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or_default()));
        if !wanted(&name) {
            continue;
        }
        let from = usize::try_from(symbol.address() - begin).unwrap();
        let bytes = &code[from..from + usize::try_from(symbol.size()).unwrap()];
        let decoder = Decoder::with_ip(64, bytes, symbol.address(), DecoderOptions::NONE);
        let code: Vec<_> = decoder.into_iter().collect();
        assert!(code.iter().all(|instruction| !instruction.is_invalid()), "{name} does not decode");
        functions.push(Function { name: work_of(&inlined, &name, &code), code });
    }
    functions
}

/// The linker's name of every instance of `compiled` is the same; the debugger's has the `Work` in it.
fn work_of(inlined: &Loader, name: &str, code: &[Instruction]) -> String {
    if !name.ends_with("ifma::compiled") {
        return name.to_owned();
    }
    let outermost = code.first().and_then(|instruction| {
        let mut frames = inlined.find_frames(instruction.ip()).ok()?;
        let mut outermost = None;
        while let Ok(Some(frame)) = frames.next() {
            outermost = frame.function.and_then(|it| it.raw_name().ok().map(|name| name.into_owned()));
        }
        outermost
    });
    // "compiled<strongroom::engine::point::Doubled<strongroom::engine::ifma::Eight>>"
    let work = outermost.as_deref().and_then(|it| it.strip_prefix("compiled<strongroom::engine::"));
    let work = work.unwrap_or_else(|| panic!("an instance of {name} that runs no work of the engine: {outermost:?}"));
    work.trim_end_matches('>').replace("<strongroom::engine::ifma::Eight", "").to_owned()
}

/// What the loader writes into this executable: where, and which address.
fn relocations() -> BTreeMap<u64, u64> {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let all = file.dynamic_relocations().into_iter().flatten();
    all.map(|(place, relocation)| (place, relocation.addend().cast_unsigned())).collect()
}

fn lanes() -> Vec<Function> {
    functions(|name| name.ends_with("ifma::compiled") || name.ends_with("ifma::clear_registers"))
}

/// What `expected.txt` says.
struct Expected {
    rustc: String,
    works: BTreeMap<String, (Vec<Made>, String)>,
}

impl Expected {
    const PATH: &str = "tests/disassembly/expected.txt";
    const HEAD: &str = "\
# What the compiler made of each work of the lanes: multiply instructions (vpmadd52luq, vpmadd52huq) and conditional
# jumps, and on which public counter it jumps. Works that are compiled for several numbers of vectors have a pair for
# each. Written by `STRONGROOM_WRITE_EXPECTED=1 cargo test --release --test disassembly`, which keeps the reasons.
#
# A product of two elements of five limbs is 25 products of limbs, each with a low and a high half: 50 multiply
# instructions, and one more where it is carried, for what leaves the highest limb times 19. A square has 15 different
# products of limbs: 31 with its carry.
";

    fn read() -> Self {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(Self::PATH)).unwrap_or_default();
        Expected::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut expected = Expected { rustc: String::new(), works: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            if let Some(version) = line.strip_prefix("rustc ") {
                version.clone_into(&mut expected.rustc);
                continue;
            }
            let (work, rest) = line.split_once(": ").expect("a work and what it is made of");
            let (made, reason) = rest.split_once(';').unwrap_or((rest, ""));
            let number = |number: &str| number.parse::<usize>().expect("a number");
            let made = made.split_whitespace().map(|pair| {
                let (multiplies, jumps) = pair.split_once('/').expect("multiplies/jumps");
                Made { multiplies: number(multiplies), jumps: number(jumps) }
            });
            expected.works.insert(work.to_owned(), (made.collect(), reason.trim().to_owned()));
        }
        expected
    }

    /// The same for what was found, with the reasons that are known.
    fn write(&self, found: &BTreeMap<String, Vec<Made>>) -> String {
        let mut text = format!("{}\nrustc {}\n\n", Self::HEAD, rustc());
        for (work, made) in found {
            let pairs: Vec<_> = made.iter().map(|made| format!("{}/{}", made.multiplies, made.jumps)).collect();
            let reason = self.works.get(work).map_or("", |(_, reason)| reason);
            let reason = if reason.is_empty() { String::new() } else { format!("; {reason}") };
            text.push_str(&format!("{work}: {}{reason}\n", pairs.join(" ")));
        }
        text
    }

    /// What differs from what was found, in words.
    fn differences(&self, found: &BTreeMap<String, Vec<Made>>) -> Vec<String> {
        let mut differences = Vec::new();
        for (work, made) in found {
            match self.works.get(work) {
                None => differences.push(format!("{work} is not expected: {made:?}")),
                Some((expected, _)) if expected != made => {
                    differences.push(format!("{work} is {made:?}, where {expected:?} was expected"));
                }
                Some((_, reason)) if reason.is_empty() && made.iter().any(|made| made.jumps > 0) => {
                    differences.push(format!("{work} jumps, and {} has no reason for it", Self::PATH));
                }
                Some(_) => {}
            }
        }
        let gone = self.works.keys().filter(|work| !found.contains_key(*work));
        differences.extend(gone.map(|work| format!("{work} is expected and not there")));
        differences
    }
}

/// The compiler that this test was built with.
fn rustc() -> String {
    let output = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()
        .expect("the compiler says its version");
    String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("rustc ").to_owned()
}

/// The works, each with what its instances were made to, in order of size.
fn by_work(functions: &[Function]) -> BTreeMap<String, Vec<Made>> {
    let mut works: BTreeMap<String, Vec<Made>> = BTreeMap::new();
    for function in functions.iter().filter(|function| !function.name.contains("::ifma::")) {
        works.entry(function.name.clone()).or_default().push(function.made());
    }
    for made in works.values_mut() {
        made.sort_by_key(|made| (made.multiplies, made.jumps));
    }
    works
}

#[test]
fn the_lanes_are_made_of_what_they_must() {
    if cfg!(debug_assertions) {
        println!("the lanes are looked at as they ship: cargo test --release --test disassembly");
        return;
    }
    // Every door is gone through, so every work is in this executable.
    for door in doors::doors() {
        door.ready(doors::Secrets::new(doors::Kind::Random(1)))();
    }
    let functions = lanes();
    for function in &functions {
        assert_eq!(function.banned(), [], "{} has what it must not", function.name);
    }
    let found = by_work(&functions);
    assert!(found.len() > 20, "only these were found: {:?}", found.keys());
    let product = found.iter().find(|(work, _)| work.starts_with("field::Product"));
    let multiplies = product.and_then(|(_, made)| made.first()).map(|made| made.multiplies);
    assert_eq!(multiplies, Some(2 * 25 + 1), "a product and its carry; see the head of {}", Expected::PATH);

    let expected = Expected::read();
    if std::env::var_os("STRONGROOM_WRITE_EXPECTED").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(Expected::PATH);
        std::fs::write(path, expected.write(&found)).unwrap();
        return;
    }
    let differences = expected.differences(&found);
    if expected.rustc == rustc() {
        assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    } else {
        println!("counted with {}, and this is {}:\n{}", expected.rustc, rustc(), differences.join("\n"));
    }

    // The control: one number that is not as expected, and one jump without a reason, are seen.
    let (work, made) = found.iter().next_back().unwrap();
    let mut other = found.clone();
    other.insert(work.clone(), made.iter().map(|it| Made { multiplies: it.multiplies + 1, ..it.clone() }).collect());
    let reasoned = Expected::parse(&expected.write(&found));
    assert_eq!(reasoned.differences(&found), [""; 0]);
    assert_eq!(reasoned.differences(&other).len(), 1);
    other.insert("another work".to_owned(), vec![Made { multiplies: 0, jumps: 1 }]);
    assert_eq!(reasoned.differences(&other).len(), 2);
    let silent = Expected::parse(&other.keys().map(|work| format!("{work}: 0/1\n")).collect::<String>());
    let jumping = silent.works.iter().map(|(work, (made, _))| (work.clone(), made.clone())).collect();
    assert_eq!(silent.differences(&jumping).len(), silent.works.len(), "a jump without a reason passes");
}

#[test]
fn registers_are_cleared_all_of_them() {
    let [clear] = &functions(|name| name.ends_with("ifma::clear_registers"))[..] else { panic!("one function") };
    let written = |name: String| clear.code.iter().any(|it| format!("{:?}", it.op0_register()).to_lowercase() == name);
    assert!(clear.code.iter().any(|it| it.mnemonic() == Mnemonic::Vzeroall), "the lower sixteen");
    for number in 16..32 {
        assert!(written(format!("zmm{number}")), "zmm{number}");
    }
    for number in 0..8 {
        assert!(written(format!("k{number}")), "k{number}");
    }
    assert!(!written("zmm32".to_owned()) && !written("k8".to_owned()), "the control: what is not written is not seen");
    // Every way out of the lanes goes through it.
    let entries = functions(|name| name.ends_with("ifma::Ifma::enter"));
    assert!(!entries.is_empty());
    let (at, table) = (clear.code[0].ip(), relocations());
    // Directly, or through the table of addresses that the loader fills.
    let target = |it: &Instruction| match it.is_ip_rel_memory_operand() {
        true => table.get(&it.ip_rel_memory_address()).copied(),
        false => Some(it.near_branch_target()),
    };
    let calls = |function: &Function| function.code.iter().any(|it| target(it) == Some(at));
    assert!(entries.iter().all(calls), "an entry that does not clear the registers");
    assert!(!calls(clear), "the control: it does not call itself");
}

/// The controls: functions with what must not be, compiled here.
#[test]
fn what_must_not_be_is_seen() {
    #[inline(never)]
    fn divides(number: u64, by: u64) -> u64 {
        black_box(number) / black_box(by)
    }
    #[inline(never)]
    fn jumps(secret: u64) -> u64 {
        if black_box(secret) & 1 == 1 { black_box(secret).wrapping_mul(3) } else { black_box(5) }
    }
    black_box((divides(black_box(7), black_box(2)), jumps(black_box(3))));
    let one = |name: &str| functions(|it| it.ends_with(name)).pop().unwrap_or_else(|| panic!("{name} is not there"));
    assert!(one("what_must_not_be_is_seen::divides").banned().contains(&Banned::Division));
    assert!(one("what_must_not_be_is_seen::jumps").made().jumps > 0);
    // vpgatherqq zmm0{k1}, [rax+zmm1*8]; jmp [rax+rcx*8]; vpmadd52luq zmm0, zmm1, zmm2; vpaddq zmm0, zmm1, zmm2.
    let decode = |bytes: &[u8]| Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
    assert_eq!(banned(&decode(&[0x62, 0xf2, 0xfd, 0x49, 0x91, 0x04, 0xc8])), Some(Banned::Gather));
    assert_eq!(banned(&decode(&[0xff, 0x24, 0xc8])), Some(Banned::IndirectJump));
    assert!(is_multiply(&decode(&[0x62, 0xf2, 0xf5, 0x48, 0xb4, 0xc2])));
    let harmless = decode(&[0x62, 0xf1, 0xf5, 0x48, 0xd4, 0xc2]);
    assert!(!is_multiply(&harmless) && banned(&harmless).is_none());
}
