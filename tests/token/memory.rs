//! No byte of a root is in the memory of a vault's process: it is searched from outside while the vault is open.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, ExitCode, Stdio};

use cryptoki::object::{Attribute, KeyType, ObjectClass};
use strongroom::wrap::{FileRoot, RootSource, TokenRoot};

use crate::hsm::Hsm;
use crate::scenarios::{Person, config_over, create};

/// Bytes in a row that are searched for.
const WINDOW: usize = 8;

/// The root that is brought into the token by another process: the search must know what it looks for.
fn root() -> [u8; 64] {
    std::array::from_fn(|index| (index as u8).wrapping_mul(151) ^ 0x5a)
}

/// What a child does before it is searched.
pub(crate) fn child(name: &str, hsm: &Hsm) -> ExitCode {
    let folder = hsm.folder.join("vault");
    match name {
        "bring" => {
            let (_, session) = hsm.session();
            session
                .create_object(&[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Label(b"strongroom epoch 2".to_vec()),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Sign(true),
                    Attribute::Value(root().to_vec()),
                ])
                .unwrap();
            return ExitCode::SUCCESS;
        }
        "make" => {
            let vault = create(config_over(&folder, Box::new(TokenRoot::open(hsm.config()).unwrap())));
            Person::new("ada").enrol(&vault, "one");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // The vault is opened, works, and stays open while it is looked at.
    let source: Box<dyn RootSource> = match name {
        "token" => Box::new(TokenRoot::open(hsm.config()).unwrap()),
        // The control: a root that lies in a file is read by the process, and here it is kept.
        "control" => {
            let source = FileRoot::create(hsm.folder.join("control")).unwrap();
            source.create_with(2, &root()).unwrap();
            Box::new(source)
        }
        other => panic!("no child {other}"),
    };
    let kept = (name == "control").then(|| fs::read(hsm.folder.join("control/epoch-2.root")).unwrap());
    let key = source.derive(2).unwrap();
    if name == "token" {
        let vault = strongroom::vault::Vault::open_as_made(config_over(&folder, source)).unwrap();
        // To the root that was put there beside its own.
        assert_eq!(vault.rotate(strongroom::vault::Turn::Epoch).unwrap(), 2);
        assert_eq!(vault.keys().unwrap().epochs.last().unwrap().epoch, 2);
        Person::new("ada").recover(&vault, "one");
        vault.rewrap(strongroom::vault::Pace::unbounded()).run(|_| {}).unwrap();
        wait();
        drop(vault);
    } else {
        wait();
    }
    drop((key, kept));
    ExitCode::SUCCESS
}

fn wait() {
    println!("look");
    std::io::stdin().read_line(&mut String::new()).ok();
}

/// Searches a vault with its root in the token, and the control.
pub(crate) fn search() -> Result<String, String> {
    let hsm = Hsm::new();
    for name in ["make", "bring"] {
        let done = hsm.command(&["--child", name]).output().unwrap();
        if !done.status.success() {
            return Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr)));
        }
    }
    let (found, searched) = looked_at(&hsm, "control")?;
    if found == 0 {
        return Err(format!("a process that has the root is not found out, in {searched} bytes"));
    }
    let (found, searched) = looked_at(&hsm, "token")?;
    if found > 0 {
        return Err(format!("{found} places hold bytes of the root, of {searched} bytes"));
    }
    Ok(format!("no {WINDOW} bytes of the root in {searched} of a vault that works; the control is found out"))
}

/// In how many places a child's memory holds a piece of the root, and how large its memory is.
fn looked_at(hsm: &Hsm, name: &str) -> Result<(usize, usize), String> {
    let mut command = hsm.command(&["--child", name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let seen = read_all(&child).map_err(|error| error.to_string());
    drop(child.stdin.take());
    let ended = child.wait().unwrap();
    if said != "look\n" || !ended.success() {
        return Err(format!("{name}: {ended}"));
    }
    seen
}

fn read_all(child: &Child) -> std::io::Result<(usize, usize)> {
    let root = root();
    let needles: std::collections::HashSet<&[u8]> = root.windows(WINDOW).collect();
    let memory = File::open(format!("/proc/{}/mem", child.id()))?;
    let (mut found, mut searched) = (0, 0);
    for line in fs::read_to_string(format!("/proc/{}/maps", child.id()))?.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; (to - from) as usize];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        searched += bytes.len();
        found += bytes.windows(WINDOW).filter(|window| needles.contains(window)).count();
    }
    Ok((found, searched))
}
