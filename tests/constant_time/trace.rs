//! The stepper: what a child process executes, as a hash.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, MemorySize, Mnemonic, Register, UsedMemory};
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use object::{Object, ObjectSymbol, ObjectSymbolTable};
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
    /// After the first mark, from the entry of the function whose name ends so to its return. Where the heap has put
    /// what it was asked for after the mark does not count: see [`Heap`].
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
    /// The instruction behind it, if it is one that repeats itself as often as a register says and never stops before.
    after_turns: Option<u64>,
    /// Whether it calls the kernel, which is told in a register what to do.
    calls_kernel: bool,
    text: String,
}

impl Decoded {
    fn of(factory: &mut InstructionInfoFactory, bytes: &[u8], at: u64) -> Result<Self, String> {
        let instruction = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return Err(format!("no instruction is known that begins with {bytes:02x?}"));
        }
        let copies = matches!(
            instruction.mnemonic(),
            Mnemonic::Movsb | Mnemonic::Movsq | Mnemonic::Movsd | Mnemonic::Stosb | Mnemonic::Stosq | Mnemonic::Stosd
        );
        let turns = copies && instruction.has_rep_prefix();
        let memory = factory.info(&instruction).used_memory().to_vec();
        let after_turns = turns.then(|| instruction.next_ip());
        let calls_kernel = instruction.mnemonic() == Mnemonic::Syscall;
        Ok(Decoded { memory, after_turns, calls_kernel, text: instruction.to_string() })
    }

    /// Address and size of each operand in memory.
    fn fold(
        &self,
        registers: &user_regs_struct,
        mut heap: Option<&mut Heap>,
        line: &mut Vec<u64>,
    ) -> Result<(), String> {
        for operand in &self.memory {
            let address = operand.virtual_address(0, |register, _, _| value(registers, register));
            let address = address.ok_or_else(|| format!("an operand without an address: {}", self.text))?;
            let place = heap.as_mut().map_or([0, address], |heap| heap.place(address));
            line.extend(place.into_iter().chain([operand.memory_size() as u64]));
        }
        if self.after_turns.is_some() {
            line.push(registers.rcx);
        }
        if self.calls_kernel {
            line.push(registers.rax);
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
        Decoded::of(&mut factory, bytes, 0)?.fold(&registers, None, &mut line).map(|()| line)
    };
    assert!(fold(gather).is_err_and(|why| why.contains("without an address")), "a gather was followed");
    assert!(fold(none).is_err_and(|why| why.contains("no instruction")), "what is no instruction was followed");
    assert_eq!(fold(load), Ok(vec![0, 1000 + 2 * 8 + 16, MemorySize::UInt64 as u64]));
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
    let symbols = Symbols::read()?;
    let base = base(pid)?;
    let (entry, mut heap) = match span {
        Span::Marks => (None, None),
        Span::Function(name) => (Some(base + symbols.address(name)?), Some(Heap::new(base, &symbols, &stepper)?)),
    };
    let mut trace = Trace { hash: [0; 32], instructions: 0, kept: Vec::new(), base };
    let mut hash = Sha256::new();
    let mut line = Vec::new();
    let mut returns = None;
    loop {
        let registers = ptrace::getregs(pid).map_err(words)?;
        if returns == Some((registers.rip, registers.rsp)) {
            break;
        }
        if entry == Some(registers.rip) {
            returns = Some((stepper.word(registers.rsp)?, registers.rsp + 8));
        }
        line.clear();
        let inside = match &mut heap {
            Some(heap) => heap.follow(&stepper, &registers, returns.is_some(), &mut line)?,
            None => false,
        };
        if entry.is_none() || returns.is_some() {
            if !inside {
                stepper.fold(&registers, heap.as_mut(), &mut line)?;
                trace.instructions += 1;
            }
            for number in &line {
                hash.update(number.to_le_bytes());
            }
            if keep {
                trace.kept.extend_from_slice(&line);
            }
        }
        // What is left out need not be stepped.
        let returns_to = heap.as_ref().and_then(|heap| heap.pending).map(|(rip, ..)| rip).filter(|_| inside);
        if let Some(place) = returns_to.filter(|place| *place != registers.rip) {
            stepper.run_to(place)?;
            continue;
        }
        if !inside && stepper.repeats(&registers)? {
            continue;
        }
        ptrace::step(pid, None).map_err(words)?;
        match waitpid(pid, None).map_err(words)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, MARK) if entry.is_none() => break,
            other => return Err(format!("the child was to be stepped, and: {other:?}")),
        }
    }
    if trace.instructions == 0 {
        return Err("nothing was stepped".to_owned());
    }
    trace.hash = hash.finalize().into();
    Ok(trace)
}

/// Functions of the C library that do not look at the bytes they are given the address of: a comparison would.
const UNSEEING: [&str; 4] = ["memcpy", "memmove", "memset", "getrandom"];

/// What was asked of the heap since the mark.
///
/// Accounts that are to be told apart by nothing have different pasts, so the allocator finds its lists in different
/// order, and gives the same request another address. It sees sizes and never a secret; so its own instructions are left
/// out, a request counts by its size, and an address in what it gave counts as an offset in the piece that was touched
/// as the first, second, ... of all. Addresses in older pieces, the vault's keys among them, count as they are.
///
/// How the C library copies depends on how what it copies is aligned. So a call of it that copies or fills counts by its
/// arguments, and its own instructions are left out too; a call of what is not one of [`UNSEEING`] is an error. In the
/// traces of doors, where heaps are alike, all of that counts.
struct Heap {
    functions: BTreeMap<u64, Request>,
    /// What the program imports, by address.
    imports: BTreeMap<u64, String>,
    /// Where this program's instructions are.
    program: std::ops::Range<u64>,
    /// The call that is left out: where it returns to, with which stack, and the size of memory that it asked for.
    pending: Option<(u64, u64, u64)>,
    /// Pieces by their address: size, and their number once they were touched.
    pieces: BTreeMap<u64, (u64, Option<u64>)>,
    touched: u64,
}

#[derive(Clone, Copy)]
enum Request {
    Allocate,
    Reallocate,
    Free,
}

impl Heap {
    fn new(base: u64, symbols: &Symbols, stepper: &Stepper) -> Result<Self, String> {
        let end = symbols.own.iter().map(|(address, size, _)| address + size).max().unwrap_or(0);
        let program = base..base + end;
        let named = [
            ("__rdl_alloc", Request::Allocate),
            ("__rdl_alloc_zeroed", Request::Allocate),
            ("__rdl_realloc", Request::Reallocate),
            ("__rdl_dealloc", Request::Free),
        ];
        let functions = named.map(|(name, request)| symbols.address(name).map(|address| (base + address, request)));
        let functions = functions.into_iter().collect::<Result<_, _>>()?;
        // Where the loader has put them: which of its own versions a name stands for, the library chooses at start.
        let import = |(name, slot): &(String, u64)| Ok((stepper.word(base + slot)?, name.clone()));
        let imports = symbols.imported.iter().map(import).collect::<Result<_, String>>()?;
        Ok(Heap { functions, imports, program, pending: None, pieces: BTreeMap::new(), touched: 0 })
    }

    /// Whether the next instruction is left out. A request goes into the line, and, where it `counts`, any call of the C
    /// library.
    fn follow(
        &mut self,
        stepper: &Stepper,
        registers: &user_regs_struct,
        counts: bool,
        line: &mut Vec<u64>,
    ) -> Result<bool, String> {
        if let Some((rip, rsp, size)) = self.pending {
            if (registers.rip, registers.rsp) != (rip, rsp) {
                return Ok(true);
            }
            self.pending = None;
            if size > 0 {
                self.pieces.insert(registers.rax, (size, None));
            }
        }
        let returns = || stepper.word(registers.rsp);
        if counts && !self.program.contains(&registers.rip) {
            let name = self.imports.get(&registers.rip).map_or("an unknown function", String::as_str);
            if !UNSEEING.contains(&name) {
                return Err(format!("{name} is called, and may look at what it is given"));
            }
            line.push(registers.rip);
            line.extend([registers.rdi, registers.rsi, registers.rdx].into_iter().flat_map(|it| self.place(it)));
            self.pending = Some((returns()?, registers.rsp + 8, 0));
            return Ok(true);
        }
        let Some(request) = self.functions.get(&registers.rip) else { return Ok(false) };
        let size = match request {
            Request::Allocate => registers.rdi,
            Request::Reallocate => registers.rcx,
            Request::Free => 0,
        };
        if !matches!(request, Request::Allocate) {
            self.pieces.remove(&registers.rdi);
        }
        line.extend([u64::MAX, size]);
        self.pending = Some((returns()?, registers.rsp + 8, size));
        Ok(true)
    }

    /// The address as it counts.
    fn place(&mut self, address: u64) -> [u64; 2] {
        let Some((begin, (size, number))) = self.pieces.range_mut(..=address).next_back() else { return [0, address] };
        // One beyond the end is where an empty rest begins.
        if address > begin + *size {
            return [0, address];
        }
        let number = number.get_or_insert_with(|| {
            self.touched += 1;
            self.touched
        });
        [*number, address - begin]
    }
}

impl Stepper {
    fn expect(&self, signal: Signal, what: &str) -> Result<(), String> {
        match waitpid(self.pid, None).map_err(words)? {
            WaitStatus::Stopped(_, stopped) if stopped == signal => Ok(()),
            other => Err(format!("the child was to come to {what}, and: {other:?}")),
        }
    }

    /// The address and operands of the next instruction.
    fn fold(
        &mut self,
        registers: &user_regs_struct,
        heap: Option<&mut Heap>,
        line: &mut Vec<u64>,
    ) -> Result<(), String> {
        let at = registers.rip;
        if !self.decoded.contains_key(&at) {
            // No instruction is longer, and none of these is at the end of its mapping.
            let mut bytes = [0; 15];
            self.memory.read_exact_at(&mut bytes, at).map_err(words)?;
            self.decoded.insert(at, Decoded::of(&mut self.factory, &bytes, at)?);
        }
        line.push(at);
        self.decoded[&at].fold(registers, heap, line)
    }

    /// Where the next instruction repeats itself, runs all of its turns at once: how many they are stands in a register,
    /// which goes into the trace, and so do the addresses that they begin at. Turn by turn, a page takes as long as a
    /// login.
    fn repeats(&mut self, registers: &user_regs_struct) -> Result<bool, String> {
        let Some(after) = self.decoded.get(&registers.rip).and_then(|decoded| decoded.after_turns) else {
            return Ok(false);
        };
        if registers.rcx > 1 {
            self.run_to(after)?;
        }
        Ok(registers.rcx > 1)
    }

    /// Lets the child run to an instruction.
    fn run_to(&self, place: u64) -> Result<(), String> {
        const BREAKPOINT: i64 = 0xcc;
        let at = place as ptrace::AddressType;
        let whole = ptrace::read(self.pid, at).map_err(words)?;
        ptrace::write(self.pid, at, whole & !0xff | BREAKPOINT).map_err(words)?;
        ptrace::cont(self.pid, None).map_err(words)?;
        self.expect(Signal::SIGTRAP, "the end of what is run at once")?;
        ptrace::write(self.pid, at, whole).map_err(words)?;
        let mut registers = ptrace::getregs(self.pid).map_err(words)?;
        registers.rip = place;
        ptrace::setregs(self.pid, registers).map_err(words)
    }

    fn word(&self, at: u64) -> Result<u64, String> {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, at).map_err(words)?;
        Ok(u64::from_le_bytes(word))
    }
}

/// Where two traces part, in words. Both were kept.
pub(crate) fn parting(first: &Trace, second: &Trace) -> String {
    let place = first.kept.iter().zip(&second.kept).position(|(one, other)| one != other);
    let place = place.unwrap_or(first.kept.len().min(second.kept.len()));
    let symbols = Symbols::read();
    let near = |numbers: &[u64]| {
        let name = |address: u64| symbols.as_ref().ok().and_then(|it| it.name(address.wrapping_sub(first.base)));
        // The last address of an instruction before the difference that lies in this program.
        let found = numbers.iter().take(place + 1).rev().find_map(|number| name(*number).map(|name| (*number, name)));
        found.map_or_else(|| "nowhere".to_owned(), |(at, name)| format!("{name} ({at:x})"))
    };
    let number = |trace: &Trace| trace.kept.get(place).map_or("nothing".to_owned(), |number| format!("{number:x}"));
    format!(
        "they part at {} and {}, by {} and {}, of {} and {}",
        near(&first.kept),
        near(&second.kept),
        number(first),
        number(second),
        first.kept.len(),
        second.kept.len()
    )
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
struct Symbols {
    own: Vec<(u64, u64, String)>,
    /// Names that the loader looks up elsewhere, and where it writes what it has found.
    imported: Vec<(String, u64)>,
}

impl Symbols {
    fn read() -> Result<Self, String> {
        let bytes = std::fs::read(std::env::current_exe().map_err(words)?).map_err(words)?;
        let file = object::File::parse(&*bytes).map_err(words)?;
        let symbols = file.symbols().filter(|symbol| symbol.is_definition() && symbol.size() > 0);
        let named = symbols.map(|symbol| {
            let name = rustc_demangle::demangle(symbol.name().unwrap_or_default());
            (symbol.address(), symbol.size(), format!("{name:#}"))
        });
        let own = named.collect();
        let slots = file.dynamic_relocations().into_iter().flatten().filter_map(|(slot, relocation)| {
            let object::RelocationTarget::Symbol(index) = relocation.target() else { return None };
            let symbol = file.dynamic_symbol_table()?.symbol_by_index(index).ok()?;
            Some((symbol.name().ok()?.to_owned(), slot))
        });
        let imported = slots.collect();
        Ok(Symbols { own, imported })
    }

    fn address(&self, name: &str) -> Result<u64, String> {
        let mut found = self.own.iter().filter(|(.., it)| it.ends_with(name)).map(|(address, ..)| *address);
        match (found.next(), found.next()) {
            (Some(address), None) => Ok(address),
            (None, _) => Err(format!("no function is called {name}; is it inlined?")),
            _ => Err(format!("several functions are called {name}")),
        }
    }

    fn name(&self, address: u64) -> Option<String> {
        let found = self.own.iter().find(|(begin, size, _)| (*begin..begin + size).contains(&address));
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
