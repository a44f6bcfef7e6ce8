//! The system calls an image may make, each with its arguments.
//!
//! A call that is not listed, or whose arguments are not as listed, ends the process with SIGSYS
//! before the kernel does any of it (seccomp(2), `SECCOMP_RET_KILL_PROCESS`). Arguments are
//! compared in all their 64 bits. The calls an image makes most come first.

use crate::bpf::{
    ADD_K, ADD_X, Instruction, JA, JEQ_K, JEQ_X, JGE_K, JGE_X, JGT_K, JGT_X, JSET_K, LD_ABS,
    LD_IMM, LD_MEM, LDX_MEM, Program, RET, ST, SUB_K, TAX,
};
use crate::environment::Opened;
use crate::shared::Shared;
use crate::{ARENA, CONSOLE, EPOLL, FIRST_DEVICE, STACK, TENDER};

/// The call happens.
pub const ALLOW: u32 = 0x7fff_0000;
/// The process ends with SIGSYS.
pub const KILL: u32 = 0x8000_0000;
/// The architecture of a 64-bit call (linux/audit.h); `int 0x80` has another.
pub const X86_64: u32 = 0xc000_003e;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

// The numbers of arch/x86/entry/syscalls/syscall_64.tbl. A call of the x32 table has bit 30 set
// in its number and so is none of them.
const WRITE: u32 = 1;
const MMAP: u32 = 9;
const PREAD64: u32 = 17;
const PWRITE64: u32 = 18;
const READV: u32 = 19;
const WRITEV: u32 = 20;
const MADVISE: u32 = 28;
const FDATASYNC: u32 = 75;
const CLOCK_GETTIME: u32 = 228;
const EXIT_GROUP: u32 = 231;
const FALLOCATE: u32 = 285;
const GETRANDOM: u32 = 318;
const EXECVEAT: u32 = 322;
const EPOLL_PWAIT2: u32 = 441;

const PROT_READ_WRITE: u64 = 1 | 2;
/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_ARENA: u64 = 0x2 | 0x20 | 0x4000 | 0x10_0000;
/// MAP_SHARED | MAP_FIXED_NOREPLACE
const MAP_FILE: u64 = 0x1 | 0x10_0000;
const MADV_DONTNEED: u64 = 4;
/// FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
const PUNCH_HOLE: u64 = 1 | 2;
const AT_EMPTY_PATH: u64 = 0x1000;
const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
/// The standard error stream, closed by the time the image runs.
const ERRORS: u32 = 2;

/// What a filter depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// Bytes of heap.
    pub memory: u64,
    /// The devices in the order of their numbers.
    pub devices: &'a [Opened],
    /// What is shared, in the order of the descriptors after those of the devices.
    pub shared: &'a [Shared],
    /// The image's close-on-exec descriptor.
    pub image: u32,
    /// Where the tender has the empty path.
    pub empty_path: u64,
}

/// Builds the filter into `room`. `None` when it does not fit, which [`bpf::LONGEST`] instructions
/// never are too few for.
///
/// [`bpf::LONGEST`]: crate::bpf::LONGEST
pub fn build<'a>(rights: &Rights<'_>, room: &'a mut [Instruction]) -> Option<&'a [Instruction]> {
    let mut p = Program::new(room);
    p.push(LD_ABS, ARCHITECTURE);
    p.require(JEQ_K, X86_64);
    p.push(LD_ABS, NUMBER);

    let nets = || rights.nets();
    for number in [READV, WRITEV] {
        if nets().next().is_some() {
            p.case(number, |p| {
                p.argument_among(0, nets());
                p.argument(2, 2);
            });
        }
    }
    p.case(EPOLL_PWAIT2, |p| {
        p.argument(0, EPOLL.into());
        // No signal mask: the image cannot defer the signal that ends it.
        p.argument(4, 0);
    });
    p.case(CLOCK_GETTIME, |p| {
        p.argument_among(0, [CLOCK_MONOTONIC, CLOCK_REALTIME].into_iter());
    });
    if rights.blocks(false).next().is_some() {
        p.case(PREAD64, |p| p.block_range(rights.blocks(false), 3, 2));
    }
    if rights.blocks(true).next().is_some() {
        p.case(PWRITE64, |p| p.block_range(rights.blocks(true), 3, 2));
        p.case(FDATASYNC, |p| {
            p.argument_among(0, rights.blocks(true).map(|(descriptor, _)| descriptor));
        });
        p.case(FALLOCATE, |p| {
            p.argument(1, PUNCH_HOLE);
            p.block_range(rights.blocks(true), 2, 3);
        });
    }
    p.case(MADVISE, |p| {
        p.argument(2, MADV_DONTNEED);
        p.limit(STACK + rights.memory);
        p.range(0, 1, ARENA);
    });
    p.case(GETRANDOM, |p| p.argument(2, 0));
    p.case(MMAP, |p| {
        // What is shared is told apart by its descriptor; the arena has none.
        p.low(4);
        for (shared, descriptor) in rights.shared.iter().zip(rights.first_shared()..) {
            p.case(descriptor, |p| {
                p.argument(0, shared.kind.address());
                p.argument(1, shared.len);
                p.argument(2, PROT_READ_WRITE);
                p.argument(3, MAP_FILE);
                p.argument(4, descriptor.into());
                p.argument(5, 0);
            });
        }
        p.argument(0, ARENA);
        p.argument_at_most(1, STACK + rights.memory);
        p.argument(2, PROT_READ_WRITE);
        p.argument(3, MAP_ARENA);
        p.argument(4, u64::MAX);
        p.argument(5, 0);
    });
    p.case(WRITE, |p| {
        p.high(0);
        p.require(JEQ_K, 0);
        p.low(0);
        p.branch(JEQ_K, CONSOLE, 0, 1);
        p.push(RET, ALLOW);
        // On the error stream only what lies in the tender's own memory, where an image has no
        // page: the reason why the start failed.
        p.require(JEQ_K, ERRORS);
        p.high(1);
        p.require(JEQ_K, 0);
        p.low(1);
        p.require(JGE_K, low(TENDER.start));
        p.forbid(JGE_K, low(TENDER.end));
    });
    p.case(EXIT_GROUP, |_| {});
    // The one start: this descriptor, and the path at an address where the tender has the empty
    // string and an image can have nothing.
    p.case(EXECVEAT, |p| {
        p.argument(0, rights.image.into());
        p.argument(1, rights.empty_path);
        p.argument(4, AT_EMPTY_PATH);
    });
    p.push(RET, KILL);
    p.finish()
}

impl Rights<'_> {
    fn first_shared(&self) -> u32 {
        FIRST_DEVICE + self.devices.len() as u32
    }

    fn nets(&self) -> impl Iterator<Item = u32> + Clone {
        let devices = self.devices.iter().zip(FIRST_DEVICE..);
        devices.filter_map(|(device, descriptor)| match device {
            Opened::Net { .. } => Some(descriptor),
            Opened::Block { .. } => None,
        })
    }

    /// The block devices' descriptors and sizes; only the writable ones if `written`.
    fn blocks(&self, written: bool) -> impl Iterator<Item = (u32, u64)> + Clone {
        let devices = self.devices.iter().zip(FIRST_DEVICE..);
        devices.filter_map(move |(device, descriptor)| match *device {
            Opened::Block { size, writable } if writable || !written => Some((descriptor, size)),
            _ => None,
        })
    }
}

// Scratch words.
const LIMIT_LOW: u32 = 0;
const LIMIT_HIGH: u32 = 1;
const END_HIGH: u32 = 2;
const END_LOW: u32 = 3;

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn low(word: u64) -> u32 {
    word as u32
}

/// Words in which the rules are written. Each either goes on or returns KILL.
impl Program<'_> {
    /// Rules for when A is `number`, that of a system call for example: what passes them all is
    /// allowed. When A is another, it stays, and what follows is asked.
    fn case(&mut self, number: u32, rules: impl FnOnce(&mut Self)) {
        self.branch(JEQ_K, number, 1, 0);
        let other = self.jump();
        rules(self);
        self.push(RET, ALLOW);
        self.land(other);
    }

    /// A must fulfil the condition.
    fn require(&mut self, condition: u16, k: u32) {
        self.branch(condition, k, 1, 0);
        self.push(RET, KILL);
    }

    /// A must not fulfil the condition.
    fn forbid(&mut self, condition: u16, k: u32) {
        self.branch(condition, k, 0, 1);
        self.push(RET, KILL);
    }

    fn low(&mut self, argument: u32) {
        self.push(LD_ABS, 16 + argument * 8);
    }

    fn high(&mut self, argument: u32) {
        self.push(LD_ABS, 20 + argument * 8);
    }

    /// The argument must be `value`.
    fn argument(&mut self, argument: u32, value: u64) {
        self.high(argument);
        self.require(JEQ_K, high(value));
        self.low(argument);
        self.require(JEQ_K, low(value));
    }

    /// The argument must be one of `values`.
    fn argument_among(&mut self, argument: u32, values: impl Iterator<Item = u32> + Clone) {
        self.high(argument);
        self.require(JEQ_K, 0);
        self.low(argument);
        let mut left = values.clone().count();
        for value in values {
            // A hit goes over the values that are left and the KILL after them.
            self.branch(JEQ_K, value, left, 0);
            left -= 1;
        }
        self.push(RET, KILL);
    }

    /// The argument must be `value` or less.
    fn argument_at_most(&mut self, argument: u32, value: u64) {
        self.high(argument);
        self.forbid(JGT_K, high(value));
        // Below in the high word: done, over the next three.
        self.branch(JEQ_K, high(value), 0, 3);
        self.low(argument);
        self.forbid(JGT_K, low(value));
    }

    /// Argument 0 must be one of these block devices, and the range inside it.
    fn block_range(
        &mut self,
        blocks: impl Iterator<Item = (u32, u64)> + Clone,
        offset: u32,
        len: u32,
    ) {
        self.high(0);
        self.require(JEQ_K, 0);
        self.low(0);
        // Each case but the last jumps over those after it; each has the same length.
        const CASE: u32 = 6;
        let mut left = blocks.clone().count() as u32;
        for (descriptor, size) in blocks {
            left -= 1;
            if left > 0 {
                self.branch(JEQ_K, descriptor, 0, CASE as usize - 1);
                self.limit(size);
                self.push(JA, left * CASE);
            } else {
                self.require(JEQ_K, descriptor);
                self.limit(size);
            }
        }
        self.range(offset, len, 0);
    }

    /// Sets what [`Program::range`] compares with: four instructions.
    fn limit(&mut self, limit: u64) {
        self.push(LD_IMM, high(limit));
        self.push(ST, LIMIT_HIGH);
        self.push(LD_IMM, low(limit));
        self.push(ST, LIMIT_LOW);
    }

    /// `base <= offset` and `offset - base + len <= limit`, without wrapping around. `base` is a
    /// multiple of 2^32, the limit below 2^63.
    fn range(&mut self, offset: u32, len: u32, base: u64) {
        // The high words: below 2^31 each, so that their sum and a carry fit. An offset below the
        // base wraps around and is above.
        self.high(offset);
        self.push(SUB_K, high(base));
        self.forbid(JSET_K, 1 << 31);
        self.push(TAX, 0);
        self.high(len);
        self.forbid(JSET_K, 1 << 31);
        self.push(ADD_X, 0);
        self.push(ST, END_HIGH);
        // The low words: a sum below one of them carries.
        self.low(offset);
        self.push(TAX, 0);
        self.low(len);
        self.push(ADD_X, 0);
        self.push(ST, END_LOW);
        self.branch(JGE_X, 0, 3, 0);
        self.push(LD_MEM, END_HIGH);
        self.push(ADD_K, 1);
        self.push(ST, END_HIGH);
        // At most the limit; when the high word is below its, over the low one's four.
        self.push(LDX_MEM, LIMIT_HIGH);
        self.push(LD_MEM, END_HIGH);
        self.forbid(JGT_X, 0);
        self.branch(JEQ_X, 0, 0, 4);
        self.push(LDX_MEM, LIMIT_LOW);
        self.push(LD_MEM, END_LOW);
        self.forbid(JGT_X, 0);
    }
}

#[cfg(test)]
mod tests;
