//! All of a stopped child's vector registers: the kernel's call that tells them is beyond what can be called without
//! `unsafe`, so the child is made to carry out the instruction that stores them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, AddressType};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::search::words;

/// Registers that are stored together: Intel's manual, volume 1, section 13.1.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Number of the state component.
    component: u32,
    /// `vinsertf128 ymm5, ymm5, [rdi], 1` and so on: what puts secret bytes into one of these registers.
    put: &'static [u8],
    on_this_machine: fn() -> bool,
}

/// Where the layout is told by the processor. What comes before has one place.
pub(crate) static PARTS: [Part; 4] = [
    Part {
        name: "the upper halves of ymm0 to ymm15",
        component: 2,
        put: &[0xc4, 0xe3, 0x55, 0x18, 0x2f, 0x01],
        on_this_machine: || is_x86_feature_detected!("avx"),
    },
    Part {
        name: "the mask registers",
        component: 5,
        put: &[0xc4, 0xe1, 0xf8, 0x90, 0x0f],
        on_this_machine: || is_x86_feature_detected!("avx512bw"),
    },
    Part {
        name: "the upper halves of zmm0 to zmm15",
        component: 6,
        put: &[0x62, 0xf3, 0xd5, 0x48, 0x3a, 0x2f, 0x01],
        on_this_machine: || is_x86_feature_detected!("avx512f"),
    },
    Part {
        name: "zmm16 to zmm31",
        component: 7,
        put: &[0x62, 0x61, 0xfe, 0x48, 0x6f, 0x3f],
        on_this_machine: || is_x86_feature_detected!("avx512f"),
    },
];

const CPUID: [u8; 2] = [0x0f, 0xa2];
const XGETBV: [u8; 3] = [0x0f, 0x01, 0xd0];
/// `xsave64 [rdi]`.
const XSAVE: [u8; 4] = [0x48, 0x0f, 0xae, 0x27];
/// The leaf of CPUID that tells where a component is stored.
const LAYOUT: u64 = 0xd;
/// x87 and xmm, and all that [`PARTS`] are of.
const COMPONENTS: u64 = 0xe7;
/// Bytes that are enough to store them, wherever a processor puts them.
const AREA: usize = 8 * 1024;
/// How far below its stack pointer the child is not at work.
const BELOW: u64 = 64 * 1024;

impl Part {
    pub(crate) fn named(name: &str) -> Option<&'static Part> {
        PARTS.iter().find(|part| part.name == name)
    }

    pub(crate) fn on_this_machine(&self) -> bool {
        (self.on_this_machine)()
    }

    /// Puts secret bytes into one of these registers.
    pub(crate) fn put(&self, pid: Pid, memory: &File, secret: &[u8; 64]) -> Result<(), String> {
        let at = scratch(pid)?;
        memory.write_all_at(secret, at).map_err(words)?;
        carry_out(pid, self.put, |registers| registers.rdi = at)?;
        memory.write_all_at(&[0; 64], at).map_err(words)
    }
}

/// The registers of a child that has stopped, by name. It writes to the child's stack, far below.
pub(crate) fn stored(pid: Pid, memory: &File) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let at = scratch(pid)?;
    let enabled = carry_out(pid, &XGETBV, |registers| registers.rcx = 0)?.rax & COMPONENTS;
    let mut area = vec![0; AREA];
    memory.write_all_at(&area, at).map_err(words)?;
    carry_out(pid, &XSAVE, |registers| (registers.rdi, registers.rax, registers.rdx) = (at, enabled, 0))?;
    memory.read_exact_at(&mut area, at).map_err(words)?;
    memory.write_all_at(&[0; AREA], at).map_err(words)?;
    let mut stored = vec![("the x87 registers", area[32..160].to_vec()), ("xmm0 to xmm15", area[160..416].to_vec())];
    for part in &PARTS {
        let enabled = enabled >> part.component & 1 == 1;
        if part.on_this_machine() && !enabled {
            return Err(format!("{}: the processor has them, and they are not stored", part.name));
        }
        if enabled {
            let component = u64::from(part.component);
            let layout = carry_out(pid, &CPUID, |registers| (registers.rax, registers.rcx) = (LAYOUT, component))?;
            let [size, offset] = [layout.rax, layout.rbx].map(|number| number as u32 as usize);
            stored.push((part.name, area.get(offset..offset + size).ok_or("a larger area")?.to_vec()));
        }
    }
    Ok(stored)
}

/// Room on the child's stack, where the instruction wants it.
fn scratch(pid: Pid) -> Result<u64, String> {
    Ok((ptrace::getregs(pid).map_err(words)?.rsp - BELOW) & !63)
}

/// Has the child carry out one instruction with some registers set. Returns what its registers are then; they, and the
/// code, are put back as they were.
fn carry_out(
    pid: Pid,
    instruction: &[u8],
    set: impl FnOnce(&mut user_regs_struct),
) -> Result<user_regs_struct, String> {
    let before = ptrace::getregs(pid).map_err(words)?;
    let at = before.rip as AddressType;
    let code = ptrace::read(pid, at).map_err(words)?;
    let mut word = code.to_le_bytes();
    word[..instruction.len()].copy_from_slice(instruction);
    ptrace::write(pid, at, i64::from_le_bytes(word)).map_err(words)?;
    let mut registers = before;
    set(&mut registers);
    ptrace::setregs(pid, registers).map_err(words)?;
    ptrace::step(pid, None).map_err(words)?;
    match waitpid(pid, None).map_err(words)? {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
        other => return Err(format!("the child was to carry out {instruction:02x?}, and: {other:?}")),
    }
    let after = ptrace::getregs(pid).map_err(words)?;
    ptrace::write(pid, at, code).map_err(words)?;
    ptrace::setregs(pid, before).map_err(words)?;
    Ok(after)
}
