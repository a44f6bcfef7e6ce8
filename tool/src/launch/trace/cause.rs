//! Why an image broke, in words.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register, UsedMemory};
use nix::libc::{
    SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ,
};
use nix::sys::signal::Signal;
use syscalls::x86_64::Sysno;

use super::maps::Mapping;
use super::tracee::{Registers, Tracee};

/// The image's exit statuses that say that it broke.
const PANIC: i32 = 101;
const OUT_OF_MEMORY: i32 = 102;

/// The signals whose default is to leave a core: those that say that a program is wrong.
const BREAKING: [i32; 10] = [
    SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGXCPU, SIGXFSZ,
];

/// The longest instruction in bytes (Intel SDM, volume 2, §2.3.11).
const LONGEST: usize = 15;

/// Why an image broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It panicked.
    Panic,
    /// An allocation failed.
    OutOfMemory,
    /// It made a system call that it may not make.
    Forbidden(u64),
    /// An instruction used memory that it may not use.
    Memory(Access, u64),
    /// The stack has no more room.
    Stack,
    /// An instruction that there is not; the compiler's for what cannot be.
    Illegal,
    /// An integer division by zero, or one whose result is too large.
    Arithmetic,
    /// Another signal, which the kernel or a process sent.
    Signal(i32),
}

/// What an instruction does with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It would be executed next.
    Jump,
}

impl Cause {
    /// Why the process ends that is about to end with `status`; `None` when nothing broke.
    pub fn of_end(status: ExitStatus, registers: &Registers) -> Option<Self> {
        match (status.code(), status.signal()) {
            (Some(PANIC), _) => Some(Self::Panic),
            (Some(OUT_OF_MEMORY), _) => Some(Self::OutOfMemory),
            // The kernel has put the number back to where it was.
            (_, Some(SIGSYS)) => Some(Self::Forbidden(registers.rax)),
            (_, Some(signal)) if BREAKING.contains(&signal) => Some(Self::Signal(signal)),
            _ => None,
        }
    }

    /// Why this signal is about to be delivered; `None` when it says of nothing that broke.
    pub fn of_signal(signal: i32, tracee: &Tracee, registers: &Registers) -> Option<Self> {
        let by_process = tracee.signal_code() <= 0;
        Some(match signal {
            _ if !BREAKING.contains(&signal) => return None,
            _ if by_process => Self::Signal(signal),
            SIGSEGV | SIGBUS => {
                let mut bytes = [0; LONGEST];
                let read = tracee.memory().read(registers.rip, &mut bytes);
                fault(registers, &bytes[..read], &tracee.mappings())
            }
            SIGILL => Self::Illegal,
            SIGFPE => Self::Arithmetic,
            other => Self::Signal(other),
        })
    }

    /// The signal that stands for it in a core and for a debugger.
    pub fn signal(&self) -> i32 {
        match self {
            Self::Panic | Self::OutOfMemory => SIGABRT,
            Self::Forbidden(_) => SIGSYS,
            Self::Memory(..) | Self::Stack => SIGSEGV,
            Self::Illegal => SIGILL,
            Self::Arithmetic => SIGFPE,
            Self::Signal(signal) => *signal,
        }
    }

    /// The address that could not be used.
    pub fn address(&self) -> Option<u64> {
        match self {
            Self::Memory(_, address) => Some(*address),
            _ => None,
        }
    }

    /// How far before the instruction pointer the innermost function's last byte lies.
    pub fn behind(&self) -> u64 {
        match self {
            // Behind `syscall`, or `int3`.
            Self::Panic | Self::OutOfMemory | Self::Forbidden(_) | Self::Signal(SIGTRAP) => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("a panic"),
            Self::OutOfMemory => f.write_str("an allocation that failed"),
            Self::Forbidden(number) => {
                write!(f, "the forbidden system call {number}")?;
                let name = usize::try_from(*number).ok().and_then(Sysno::new);
                match name {
                    Some(name) => write!(f, " ({})", name.name()),
                    None => Ok(()),
                }
            }
            Self::Memory(Access::Read, address) => write!(f, "a read of address {address:#x}"),
            Self::Memory(Access::Write, address) => write!(f, "a write to address {address:#x}"),
            Self::Memory(Access::Jump, address) => write!(f, "a jump to address {address:#x}"),
            Self::Stack => f.write_str("a stack overflow"),
            Self::Illegal => f.write_str("an illegal instruction"),
            Self::Arithmetic => f.write_str("an integer division that has no result"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "the signal {signal:?}"),
                Err(_) => write!(f, "the signal {number}"),
            },
        }
    }
}

/// What the instruction `bytes` could not do. The kernel tells of the address alone, and not in
/// every case: the instruction and what is mapped tell all.
fn fault(registers: &Registers, bytes: &[u8], mappings: &[Mapping]) -> Cause {
    let at = |address: u64| mappings.iter().find(|m| m.range.contains(&address));
    let executable = at(registers.rip).is_none_or(|mapping| mapping.executable);
    if bytes.is_empty() || (!executable && !mappings.is_empty()) {
        return Cause::Memory(Access::Jump, registers.rip);
    }
    let mut decoder = Decoder::with_ip(64, bytes, registers.rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(&instruction).used_memory();
    let accesses = used.iter().filter_map(|used| {
        let address = used.virtual_address(0, |register, _, _| value(register, registers))?;
        Some((
            access(used)?,
            address,
            used.memory_size().size().max(1) as u64,
        ))
    });
    // The first byte that cannot be used: the kernel would name it too.
    let wrong = accesses.clone().find_map(|(access, address, size)| {
        let bytes = (0..size).map(|offset| address.wrapping_add(offset));
        let allowed = |mapping: &Mapping| match access {
            Access::Write => mapping.writable,
            _ => mapping.readable,
        };
        let mut wrong = bytes.filter(|byte| !at(*byte).is_some_and(allowed));
        Some((access, wrong.next()?))
    });
    let first = || {
        accesses
            .clone()
            .next()
            .map(|(access, address, _)| (access, address))
    };
    match wrong.or_else(first) {
        Some((_, address)) if overflows(address, registers.rsp, mappings) => Cause::Stack,
        Some((access, address)) => Cause::Memory(access, address),
        None => Cause::Signal(SIGSEGV),
    }
}

/// Whether the stack ran out: the address lies close to the stack pointer, and a little below the
/// lowest byte of writable memory.
fn overflows(address: u64, stack: u64, mappings: &[Mapping]) -> bool {
    /// The compiler touches every page of a frame in turn.
    const CLOSE: u64 = 64 << 10;
    /// What the kernel keeps free below a stack is this large.
    const GUARD: u64 = 1 << 20;
    let above = mappings.iter().find(|mapping| mapping.range.end > address);
    above.is_some_and(|above| {
        above.writable
            && above.range.start > address
            && above.range.start - address <= GUARD
            && address.abs_diff(stack) <= CLOSE
    })
}

fn access(used: &UsedMemory) -> Option<Access> {
    match used.access() {
        OpAccess::Read | OpAccess::CondRead => Some(Access::Read),
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
            Some(Access::Write)
        }
        // The address alone is computed.
        _ => None,
    }
}

fn value(register: Register, r: &Registers) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => r.rax,
        Register::RBX => r.rbx,
        Register::RCX => r.rcx,
        Register::RDX => r.rdx,
        Register::RSI => r.rsi,
        Register::RDI => r.rdi,
        Register::RBP => r.rbp,
        Register::RSP => r.rsp,
        Register::R8 => r.r8,
        Register::R9 => r.r9,
        Register::R10 => r.r10,
        Register::R11 => r.r11,
        Register::R12 => r.r12,
        Register::R13 => r.r13,
        Register::R14 => r.r14,
        Register::R15 => r.r15,
        Register::FS => r.fs_base,
        Register::GS => r.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    };
    Some(match register.size() {
        4 if register.is_gpr32() => whole & 0xffff_ffff,
        _ => whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, rights: &str) -> Mapping {
        Mapping {
            range: start..end,
            readable: rights.contains('r'),
            writable: rights.contains('w'),
            executable: rights.contains('x'),
            offset: 0,
            name: String::new(),
        }
    }

    /// Code at 0x1000, constants at 0x2000, variables at 0x3000, a stack at 0x80_0000.
    fn memory() -> Vec<Mapping> {
        vec![
            mapping(0x1000, 0x2000, "rx"),
            mapping(0x2000, 0x3000, "r"),
            mapping(0x3000, 0x4000, "rw"),
            mapping(0x80_0000, 0x81_0000, "rw"),
        ]
    }

    fn registers() -> Registers {
        Registers {
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
            rip: 0x1000,
            cs: 0,
            eflags: 0,
            rsp: 0x80_8000,
            ss: 0,
            fs_base: 0,
            gs_base: 0,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        }
    }

    fn told(registers: &Registers, bytes: &[u8]) -> String {
        fault(registers, bytes, &memory()).to_string()
    }

    #[test]
    fn a_fault_is_named_by_what_the_instruction_does() {
        let mut r = registers();
        r.rax = 8;
        // mov rcx, [rax]; mov [rax], rcx; add [rax], rcx
        assert_eq!(told(&r, &[0x48, 0x8b, 0x08]), "a read of address 0x8");
        assert_eq!(told(&r, &[0x48, 0x89, 0x08]), "a write to address 0x8");
        assert_eq!(told(&r, &[0x48, 0x01, 0x08]), "a write to address 0x8");
        // A constant can be read, and not written; the second byte after the variables is nobody's.
        r.rax = 0x2000;
        assert_eq!(told(&r, &[0x48, 0x89, 0x08]), "a write to address 0x2000");
        r.rax = 0x3ffc;
        assert_eq!(told(&r, &[0x48, 0x89, 0x08]), "a write to address 0x4000");
        // rep movsb: from rsi, to rdi.
        (r.rsi, r.rdi, r.rcx) = (0x2000, 0x5000, 10);
        assert_eq!(told(&r, &[0xf3, 0xa4]), "a write to address 0x5000");
        (r.rsi, r.rdi) = (0x5000, 0x3000);
        assert_eq!(told(&r, &[0xf3, 0xa4]), "a read of address 0x5000");
    }

    #[test]
    fn a_jump_to_nowhere_is_one() {
        let mut r = registers();
        r.rip = 0;
        assert_eq!(told(&r, &[]), "a jump to address 0x0");
        r.rip = 0x3000;
        assert_eq!(told(&r, &[0x90]), "a jump to address 0x3000");
    }

    #[test]
    fn a_stack_overflow_is_told_from_a_wild_pointer() {
        let mut r = registers();
        r.rsp = 0x80_0008;
        // sub rsp had been done; push rax: writes below.
        r.rsp = 0x80_0000;
        assert_eq!(told(&r, &[0x50]), "a stack overflow");
        // mov [rsp - 8], rax while the stack has room.
        r.rax = 0x7f_fff8;
        r.rsp = 0x80_f000;
        r.rsp += 0x10_0000;
        assert_eq!(told(&r, &[0x48, 0x89, 0x08]), "a write to address 0x7ffff8");
    }

    #[test]
    fn an_end_says_what_broke() {
        let mut r = registers();
        r.rax = 59;
        let cause = |status| Cause::of_end(ExitStatus::from_raw(status), &r);
        assert_eq!(cause(101 << 8), Some(Cause::Panic));
        assert_eq!(cause(102 << 8), Some(Cause::OutOfMemory));
        assert_eq!(cause(0), None);
        assert_eq!(cause(1 << 8), None);
        assert_eq!(cause(125 << 8), None);
        assert_eq!(cause(9), None);
        let call = cause(SIGSYS | 0x80).unwrap();
        assert_eq!(call.to_string(), "the forbidden system call 59 (execve)");
        assert_eq!(
            Cause::Forbidden(u64::MAX).to_string(),
            "the forbidden system call 18446744073709551615"
        );
        assert_eq!(Cause::Signal(SIGQUIT).to_string(), "the signal SIGQUIT");
    }
}
