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
