//! From the registers of a process that stands still to the calls that have not returned.

use gimli::{CfaRule, Register, RegisterRule, UnwindContext, X86_64};

use super::tracee::Registers;
use super::twin::Symbols;

/// The registers that a caller counts on, by their DWARF numbers (System V ABI for x86-64, figure
/// 3.36): 0 to 15 the general ones, 16 the return address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State([Option<u64>; 17]);

impl State {
    /// As the processor has them.
    pub fn new(r: &Registers) -> Self {
        Self(
            [
                r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11,
                r.r12, r.r13, r.r14, r.r15, r.rip,
            ]
            .map(Some),
        )
    }

    fn get(&self, register: Register) -> Option<u64> {
        *self.0.get(usize::from(register.0))?
    }

    fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(place) = self.0.get_mut(usize::from(register.0)) {
            *place = value;
        }
    }
}

/// The addresses of the calls that have not returned, the innermost first: where the innermost
/// function is, then return addresses. `memory` reads a word.
///
/// Ends where there is no description, `most` addresses at the latest.
pub fn unwind(
    symbols: &Symbols<'_>,
    mut state: State,
    memory: impl Fn(u64) -> Option<u64>,
    most: usize,
) -> Vec<u64> {
    let mut context = UnwindContext::new();
    let mut found = Vec::new();
    while let Some(address) = state.get(X86_64::RA)
        && found.len() < most
    {
        let innermost = found.is_empty();
        if !innermost && !symbols.is_code(address) {
            break;
        }
        found.push(address);
        // A return address is behind its call, which may be a function's last instruction.
        let probe = address.wrapping_sub(u64::from(!innermost));
        let rules = Rules::of(symbols, &mut context, probe);
        let caller = match rules {
            Some(rules) => rules.apply(&state, &memory),
            // A jump to nowhere, or a function without description that has not touched the stack.
            None if innermost => leaf(&state, &memory),
            None => None,
        };
        // The stack shrinks from callee to caller: nothing corrupt makes this go round in circles.
        match caller {
            Some(caller) if caller.get(X86_64::RSP) > state.get(X86_64::RSP) => state = caller,
            _ => break,
        }
    }
    found
}

/// What one function's description says at one address.
struct Rules {
    /// The canonical frame address: a register, and what is added to it.
    frame: (Register, i64),
    saved: Vec<(Register, RegisterRule<usize>)>,
}

impl Rules {
    fn of(symbols: &Symbols<'_>, context: &mut UnwindContext<usize>, address: u64) -> Option<Self> {
        let row = symbols.unwinding(context, address)?;
        // An expression stands only in procedure linkage tables, of which an image has none.
        let &CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
            return None;
        };
        Some(Self {
            frame: (register, offset),
            saved: row.registers().cloned().collect(),
        })
    }

    fn apply(&self, state: &State, memory: impl Fn(u64) -> Option<u64>) -> Option<State> {
        let (register, offset) = self.frame;
        let frame = state.get(register)?.wrapping_add_signed(offset);
        let mut caller = state.clone();
        caller.set(X86_64::RA, None);
        for (register, rule) in &self.saved {
            let value = match *rule {
                RegisterRule::SameValue => state.get(*register),
                RegisterRule::Offset(offset) => memory(frame.wrapping_add_signed(offset)),
                RegisterRule::ValOffset(offset) => Some(frame.wrapping_add_signed(offset)),
                RegisterRule::Register(other) => state.get(other),
                _ => None,
            };
            caller.set(*register, value);
        }
        caller.set(X86_64::RSP, Some(frame));
        Some(caller)
    }
}

fn leaf(state: &State, memory: impl Fn(u64) -> Option<u64>) -> Option<State> {
    let stack = state.get(X86_64::RSP)?;
    let mut caller = state.clone();
    caller.set(X86_64::RA, memory(stack));
    caller.set(X86_64::RSP, Some(stack.wrapping_add(8)));
    Some(caller)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// As a linker leaves it at address 0: functions at 0x1000, which pushes rbx, and at 0x2000,
    /// which leaves the stack alone.
    #[rustfmt::skip]
    const EH_FRAME: [u8; 80] = [
        // CIE: version 1, "zR", code and data alignment 1 and -8, return address in 16, addresses
        // relative to themselves; the frame is at rsp + 8, the return address 8 below it.
        0x14, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0,
        // FDE at 0x18: 0x1000 - 0x20, 0x100 bytes; after one byte the frame is at rsp + 16, and rbx
        // 16 below it.
        0x18, 0, 0, 0, 0x1c, 0, 0, 0, 0xe0, 0x0f, 0, 0, 0, 1, 0, 0, 0, 0x41, 0x0e, 16, 0x83, 2,
        0, 0, 0, 0, 0, 0,
        // FDE at 0x34: 0x2000 - 0x3c, 0x10 bytes.
        0x14, 0, 0, 0, 0x38, 0, 0, 0, 0xc4, 0x1f, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        // The end.
        0, 0, 0, 0,
    ];

    const CODE: std::ops::Range<u64> = 0x1000..0x3000;

    fn state(address: u64, stack: u64) -> State {
        let mut state = State([Some(0); 17]);
        state.set(X86_64::RA, Some(address));
        state.set(X86_64::RSP, Some(stack));
        state
    }

    fn calls(state: State, stack: &[(u64, u64)], most: usize) -> Vec<u64> {
        let symbols = Symbols::of_frames(&EH_FRAME, CODE);
        let stack: BTreeMap<u64, u64> = stack.iter().copied().collect();
        unwind(&symbols, state, |at| stack.get(&at).copied(), most)
    }

    /// A leaf called by a function, which was called by itself from its first and last byte.
    const STACK: [(u64, u64); 6] = [
        (0x7000, 0x1050),
        (0x7008, 0xb),
        (0x7010, 0x1100),
        (0x7018, 0xb),
        (0x7020, 0x2008),
        (0x7028, 0),
    ];

    #[test]
    fn each_function_is_found_by_its_return_address() {
        let found = calls(state(0x2004, 0x7000), &STACK, 64);
        assert_eq!(found, [0x2004, 0x1050, 0x1100, 0x2008]);
        assert_eq!(calls(state(0x2004, 0x7000), &STACK, 2), [0x2004, 0x1050]);
        // Before the push the frame is one word smaller.
        let found = calls(state(0x1000, 0x7010), &STACK, 64);
        assert_eq!(found, [0x1000, 0x1100, 0x2008]);
    }

    #[test]
    fn a_jump_to_nowhere_leads_to_whoever_jumped() {
        let found = calls(state(0x8, 0x7000), &STACK, 64);
        assert_eq!(found, [0x8, 0x1050, 0x1100, 0x2008]);
    }

    #[test]
    fn what_cannot_be_read_or_is_no_code_ends_it() {
        assert_eq!(calls(state(0x2004, 0x9000), &STACK, 64), [0x2004]);
        assert_eq!(calls(state(0x2004, 0x7008), &STACK, 64), [0x2004]);
        assert_eq!(calls(state(0x2004, u64::MAX - 3), &STACK, 64), [0x2004]);
        let mut lost = state(0x2004, 0x7000);
        lost.set(X86_64::RSP, None);
        assert_eq!(calls(lost, &STACK, 64), [0x2004]);
    }

    #[test]
    fn a_saved_register_is_restored() {
        let symbols = Symbols::of_frames(&EH_FRAME, CODE);
        let rules = Rules::of(&symbols, &mut UnwindContext::new(), 0x1050).unwrap();
        let caller = rules
            .apply(&state(0x1050, 0x7008), |at| Some(at * 2))
            .unwrap();
        assert_eq!(caller.get(X86_64::RBX), Some(0x7008 * 2));
        assert_eq!(caller.get(X86_64::RA), Some(0x7010 * 2));
        assert_eq!(caller.get(X86_64::RSP), Some(0x7018));
    }
}
