//! The same search on the way: what is derived lies about until the door wipes it, so there it must be found. A value that
//! is seen nowhere may be searched for in vain.
//!
//! The child stops whenever it frees a piece of memory or is about to overwrite its stack.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::ptrace::{self, AddressType};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object, ObjectSymbol};

use crate::needles::Needles;
use crate::search::{BEFORE, Seen, Stopped, words};

/// The functions at which the child stops, as the compiler spells them.
const STOPS: [&str; 2] = ["9traceless9overwrite", "__rdl_dealloc"];
const BREAKPOINT: i64 = 0xcc;

/// Which values are seen on the way through this door.
pub(crate) fn values(backend: &str, name: &str, needles: &Needles) -> Result<BTreeSet<usize>, String> {
    let child = Stopped::start(backend, &["--watched", name])?;
    if !matches!(waitpid(child.pid, None).map_err(words)?, WaitStatus::Stopped(_, BEFORE)) {
        return Err("the child was to stop before the door".to_owned());
    }
    let mut code = Vec::new();
    for address in stops(child.pid)? {
        let whole = ptrace::read(child.pid, address as AddressType).map_err(words)?;
        ptrace::write(child.pid, address as AddressType, whole & !0xff | BREAKPOINT).map_err(words)?;
        code.push((address, whole));
    }
    let mut values = BTreeSet::new();
    loop {
        ptrace::cont(child.pid, None).map_err(words)?;
        match waitpid(child.pid, None).map_err(words)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, Signal::SIGUSR1) => return Ok(values),
            other => return Err(format!("the child was to stop on its way, and: {other:?}")),
        }
        // Back to where it was, and over the breakpoint.
        let mut registers = ptrace::getregs(child.pid).map_err(words)?;
        registers.rip -= 1;
        ptrace::setregs(child.pid, registers).map_err(words)?;
        let whole = code.iter().find(|(address, _)| *address == registers.rip).ok_or("another breakpoint")?.1;
        let at = registers.rip as AddressType;
        ptrace::write(child.pid, at, whole).map_err(words)?;
        values.extend(Seen::everything(&child, needles)?.values);
        ptrace::step(child.pid, None).map_err(words)?;
        if !matches!(waitpid(child.pid, None).map_err(words)?, WaitStatus::Stopped(_, Signal::SIGTRAP)) {
            return Err("the child was to go on from its stop".to_owned());
        }
        ptrace::write(child.pid, at, whole & !0xff | BREAKPOINT).map_err(words)?;
    }
}

/// Where the child stops.
fn stops(pid: Pid) -> Result<Vec<u64>, String> {
    let own = std::env::current_exe().map_err(words)?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(words)?;
    let line = maps.lines().find(|line| line.ends_with(&*own.to_string_lossy()));
    let base = line.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
    let base = base.ok_or("the child is not this program")?;
    let bytes = fs::read(own).map_err(words)?;
    let file = object::File::parse(&*bytes).map_err(words)?;
    let mut found = Vec::new();
    for stop in STOPS {
        let named = file.symbols().filter(|symbol| symbol.name().is_ok_and(|name| name.contains(stop)));
        let before = found.len();
        found.extend(named.map(|symbol| base + symbol.address()));
        if found.len() == before {
            return Err(format!("no function is called {stop}; is it inlined?"));
        }
    }
    Ok(found)
}
