//! Classic BPF, as far as a seccomp filter needs it (linux/filter.h, linux/bpf_common.h).
//!
//! A filter reads the call's number, its architecture and its six arguments as words of 32 bits,
//! compares, and returns what shall happen. Jumps go forward only.

/// One instruction, laid out as the kernel's `sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions to skip when a condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// `A = word k of the call's data`.
pub const LD_ABS: u16 = 0x20;
/// `A = k`.
pub const LD_IMM: u16 = 0x00;
/// `A = M[k]`.
pub const LD_MEM: u16 = 0x60;
/// `X = M[k]`.
pub const LDX_MEM: u16 = 0x61;
/// `M[k] = A`.
pub const ST: u16 = 0x02;
/// `X = A`.
pub const TAX: u16 = 0x07;
/// `A += k`.
pub const ADD_K: u16 = 0x04;
/// `A += X`.
pub const ADD_X: u16 = 0x0c;
/// `A -= k`.
pub const SUB_K: u16 = 0x14;
/// Go on `k` instructions further.
pub const JA: u16 = 0x05;
/// `A == k`.
pub const JEQ_K: u16 = 0x15;
/// `A == X`.
pub const JEQ_X: u16 = 0x1d;
/// `A > k`.
pub const JGT_K: u16 = 0x25;
/// `A > X`.
pub const JGT_X: u16 = 0x2d;
/// `A >= k`.
pub const JGE_K: u16 = 0x35;
/// `A >= X`.
pub const JGE_X: u16 = 0x3d;
/// `A & k != 0`.
pub const JSET_K: u16 = 0x45;
/// Return `k`.
pub const RET: u16 = 0x06;

/// The longest program the kernel takes (BPF_MAXINSNS).
pub const LONGEST: usize = 4096;

/// A program under construction.
///
/// A push past the end or a distance that does not fit is remembered and spoils the program: [`Program::finish`] then yields
/// nothing.
#[derive(Debug)]
pub struct Program<'a> {
    instructions: &'a mut [Instruction],
    len: usize,
    spoiled: bool,
}

/// A jump whose target is still to come.
#[derive(Debug)]
#[must_use]
pub struct Forward(usize);

impl<'a> Program<'a> {
    /// An empty program with room for as many instructions as `instructions` has.
    pub fn new(instructions: &'a mut [Instruction]) -> Self {
        Self {
            instructions,
            len: 0,
            spoiled: false,
        }
    }

    /// The program, if it fit.
    pub fn finish(self) -> Option<&'a [Instruction]> {
        let program = self.instructions.get(..self.len)?;
        (!self.spoiled).then_some(program)
    }

    /// Adds a statement.
    // Out of line, as the next one: a filter is little but calls of these two.
    #[inline(never)]
    pub fn push(&mut self, code: u16, k: u32) {
        self.branch(code, k, 0, 0);
    }

    /// Adds a conditional jump over `jt` instructions when it holds, `jf` when not.
    #[inline(never)]
    pub fn branch(&mut self, code: u16, k: u32, jt: usize, jf: usize) {
        let place = self.instructions.get_mut(self.len);
        match (place, u8::try_from(jt), u8::try_from(jf)) {
            (Some(place), Ok(jt), Ok(jf)) => *place = Instruction { code, jt, jf, k },
            _ => self.spoiled = true,
        }
        self.len += 1;
    }

    /// Adds a jump to what [`Program::land`] will mark.
    pub fn jump(&mut self) -> Forward {
        let at = self.len;
        self.push(JA, 0);
        Forward(at)
    }

    /// Lets a jump arrive at the next instruction.
    pub fn land(&mut self, Forward(at): Forward) {
        match self.instructions.get_mut(at) {
            Some(jump) => jump.k = (self.len - at - 1) as u32,
            None => self.spoiled = true,
        }
    }
}
