//! The stepper: what a child process executes, as a hash.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, Register, UsedMemory};
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object, ObjectSymbol};
use sha2::{Digest, Sha256};

/// Stands at both ends of what is traced.
const MARK: Signal = Signal::SIGUSR1;

/// In the child: from here on the parent decides what runs.
pub(crate) fn be_traced() {
    ptrace::traceme().expect("the parent traces");
}

/// In the child: one end of what is traced.
pub(crate) fn mark() {
    raise(MARK).expect("a signal to oneself");
}

/// Where a trace begins and ends.
#[derive(Clone, Copy)]
pub(crate) enum Span<'a> {
    /// Between two marks.
    Marks,
    /// After the first mark, from the entry of the function whose name ends so to its return.
    Function(&'a str),
}

/// What was executed.
pub(crate) struct Trace {
    pub(crate) hash: [u8; 32],
    pub(crate) instructions: u64,
    /// All that went into the hash, where it was asked for.
    kept: Vec<u64>,
    /// Where the program lay.
    base: u64,
}

/// An instruction, as far as a trace needs it.
struct Decoded {
    memory: Vec<UsedMemory>,
    text: String,
}

impl Decoded {
    fn of(factory: &mut InstructionInfoFactory, bytes: &[u8], at: u64) -> Result<Self, String> {
        let instruction = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return Err(format!("no instruction is known that begins with {bytes:02x?}"));
        }
        Ok(Decoded { memory: factory.info(&instruction).used_memory().to_vec(), text: instruction.to_string() })
    }

    /// Address and size of each operand in memory.
    fn fold(&self, registers: &user_regs_struct, line: &mut Vec<u64>) -> Result<(), String> {
        for operand in &self.memory {
            let address = operand.virtual_address(0, |register, _, _| value(registers, register));
            let address = address.ok_or_else(|| format!("an operand without an address: {}", self.text))?;
            line.extend([address, operand.memory_size() as u64]);
        }
        Ok(())
    }
}

/// The control of the stepper itself: a gather, whose addresses are in a vector, and bytes that are no instruction end
/// a run; an operand that can be resolved does not.
pub(crate) fn refuses_what_it_cannot_resolve() {
    // vpgatherdd ymm0, [rax+ymm1*4], ymm2; then 0x06, which 64-bit mode does not have; then mov rax, [rbx+rcx*8+16].
    let [gather, none, load]: [&[u8]; 3] =
        [&[0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x88], &[0x06], &[0x48, 0x8b, 0x44, 0xcb, 0x10]];
    let mut factory = InstructionInfoFactory::new();
    let mut fold = |bytes: &[u8]| {
        let mut registers = no_registers();
        (registers.rbx, registers.rcx) = (1000, 2);
        let mut line = Vec::new();
        Decoded::of(&mut factory, bytes, 0)?.fold(&registers, &mut line).map(|()| line)
    };
    assert!(fold(gather).is_err_and(|why| why.contains("without an address")), "a gather was followed");
    assert!(fold(none).is_err_and(|why| why.contains("no instruction")), "what is no instruction was followed");
    assert_eq!(fold(load).map(|line| line[0]), Ok(1000 + 2 * 8 + 16));
}

/// A child that is stepped.
struct Stepper {
    child: Child,
    pid: Pid,
    memory: File,
    decoded: HashMap<u64, Decoded>,
    factory: InstructionInfoFactory,
}

impl Drop for Stepper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a child, which calls [`be_traced`] and then [`mark`], and traces it.
pub(crate) fn trace(command: &mut Command, span: Span<'_>, keep: bool) -> Result<Trace, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(words)?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(words)?);
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(words)?;
    let mut stepper = Stepper { child, pid, memory, decoded: HashMap::new(), factory: InstructionInfoFactory::new() };
    stepper.expect(MARK, "its first mark")?;
    let returns = match span {
        Span::Marks => None,
        Span::Function(name) => Some(stepper.run_to(name)?),
    };
    let mut trace = Trace { hash: [0; 32], instructions: 0, kept: Vec::new(), base: base(pid)? };
    let mut hash = Sha256::new();
    let mut line = Vec::new();
    loop {
        let registers = ptrace::getregs(pid).map_err(words)?;
        if returns == Some((registers.rip, registers.rsp)) {
            break;
        }
        line.clear();
        stepper.fold(&registers, &mut line)?;
        for number in &line {
            hash.update(number.to_le_bytes());
        }
        if keep {
            trace.kept.extend_from_slice(&line);
        }
        trace.instructions += 1;
        ptrace::step(pid, None).map_err(words)?;
        match waitpid(pid, None).map_err(words)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, MARK) if returns.is_none() => break,
            other => return Err(format!("the child was to be stepped, and: {other:?}")),
        }
    }
    trace.hash = hash.finalize().into();
    Ok(trace)
}

impl Stepper {
    fn expect(&self, signal: Signal, what: &str) -> Result<(), String> {
        match waitpid(self.pid, None).map_err(words)? {
            WaitStatus::Stopped(_, stopped) if stopped == signal => Ok(()),
            other => Err(format!("the child was to come to {what}, and: {other:?}")),
        }
    }

    /// The address and operands of the next instruction.
    fn fold(&mut self, registers: &user_regs_struct, line: &mut Vec<u64>) -> Result<(), String> {
        let at = registers.rip;
        if !self.decoded.contains_key(&at) {
            // No instruction is longer, and none of these is at the end of its mapping.
            let mut bytes = [0; 15];
            self.memory.read_exact_at(&mut bytes, at).map_err(words)?;
            self.decoded.insert(at, Decoded::of(&mut self.factory, &bytes, at)?);
        }
        line.push(at);
        self.decoded[&at].fold(registers, line)
    }

    /// Lets the child run to the entry of a function; where that returns to, and with which stack.
    fn run_to(&mut self, name: &str) -> Result<(u64, u64), String> {
        let entry = base(self.pid)? + Symbols::read()?.address(name)?;
        let at = entry as ptrace::AddressType;
        let whole = ptrace::read(self.pid, at).map_err(words)?;
        const BREAKPOINT: i64 = 0xcc;
        ptrace::write(self.pid, at, whole & !0xff | BREAKPOINT).map_err(words)?;
        ptrace::cont(self.pid, None).map_err(words)?;
        self.expect(Signal::SIGTRAP, name)?;
        ptrace::write(self.pid, at, whole).map_err(words)?;
        let mut registers = ptrace::getregs(self.pid).map_err(words)?;
        registers.rip = entry;
        ptrace::setregs(self.pid, registers).map_err(words)?;
        let mut returns = [0; 8];
        self.memory.read_exact_at(&mut returns, registers.rsp).map_err(words)?;
        Ok((u64::from_le_bytes(returns), registers.rsp + 8))
    }
}

/// Where two traces part, in words. Both were kept.
pub(crate) fn parting(first: &Trace, second: &Trace) -> String {
    let place = first.kept.iter().zip(&second.kept).position(|(one, other)| one != other);
    let Some(place) = place else {
        return format!(
            "one ends where the other goes on, after {} instructions",
            first.instructions.min(second.instructions)
        );
    };
    let symbols = Symbols::read();
    let near = |numbers: &[u64]| {
        let name = |address: u64| symbols.as_ref().ok().and_then(|it| it.name(address.wrapping_sub(first.base)));
        // The last address of an instruction before the difference that lies in this program.
        let found = numbers[..=place].iter().rev().find_map(|number| name(*number).map(|name| (*number, name)));
        found.map_or_else(|| format!("{:x}", numbers[place]), |(at, name)| format!("{name} ({at:x})"))
    };
    format!("they part at {} and {}", near(&first.kept), near(&second.kept))
}

/// Where this program lies in a child that is started without randomisation of addresses.
fn base(pid: Pid) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(words)?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(words)?;
    let line = maps.lines().find(|line| line.ends_with(&*own.to_string_lossy()));
    let begin = line.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
    begin.ok_or_else(|| "the child is not this program".to_owned())
}

/// This program's functions.
struct Symbols(Vec<(u64, u64, String)>);

impl Symbols {
    fn read() -> Result<Self, String> {
        let bytes = std::fs::read(std::env::current_exe().map_err(words)?).map_err(words)?;
        let file = object::File::parse(&*bytes).map_err(words)?;
        let symbols = file.symbols().filter(|symbol| symbol.is_definition() && symbol.size() > 0);
        let named = symbols.map(|symbol| {
            let name = rustc_demangle::demangle(symbol.name().unwrap_or_default());
            (symbol.address(), symbol.size(), format!("{name:#}"))
        });
        Ok(Symbols(named.collect()))
    }

    fn address(&self, name: &str) -> Result<u64, String> {
        let mut found = self.0.iter().filter(|(.., it)| it.ends_with(name)).map(|(address, ..)| *address);
        match (found.next(), found.next()) {
            (Some(address), None) => Ok(address),
            (None, _) => Err(format!("no function is called {name}; is it inlined?")),
            _ => Err(format!("several functions are called {name}")),
        }
    }

    fn name(&self, address: u64) -> Option<String> {
        let found = self.0.iter().find(|(begin, size, _)| (*begin..begin + size).contains(&address));
        found.map(|(begin, _, name)| format!("{name}+{:#x}", address - begin))
    }
}

/// Registers that hold zeros.
fn no_registers() -> user_regs_struct {
    user_regs_struct {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        rbp: 0,
        rbx: 0,
        r11: 0,
        r10: 0,
        r9: 0,
        r8: 0,
        rax: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        orig_rax: 0,
        rip: 0,
        cs: 0,
        eflags: 0,
        rsp: 0,
        ss: 0,
        fs_base: 0,
        gs_base: 0,
        ds: 0,
        es: 0,
        fs: 0,
        gs: 0,
    }
}

/// What a register holds, as far as an address can be made with it.
fn value(registers: &user_regs_struct, register: Register) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => return Some(registers.fs_base),
        Register::GS => return Some(registers.gs_base),
        // The other segments begin at zero.
        Register::CS | Register::DS | Register::ES | Register::SS => return Some(0),
        // A vector as an index is a gather, which must not be.
        _ => return None,
    };
    match register.size() {
        8 => Some(whole),
        4 => Some(whole & 0xffff_ffff),
        _ => None,
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
