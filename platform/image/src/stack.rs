//! The stack an image runs on: at one address in every run, below its heap.

use core::arch::asm;
use core::convert::Infallible;

use mirage_process::{ARENA, STACK};

/// Runs `f` on the image's stack, which must be mapped and nobody's.
///
/// # Safety
///
/// The stack below the heap is mapped, and nothing runs on it.
pub(crate) unsafe fn run<F: FnOnce() -> Infallible>(f: F) -> ! {
    /// # Safety
    ///
    /// `f` is moved out.
    unsafe extern "C" fn enter<F: FnOnce() -> Infallible>(f: *const F) -> ! {
        // SAFETY: `run` has put it there, and never looks at it again.
        let f = unsafe { f.read() };
        match f() {}
    }
    let f = core::mem::ManuallyDrop::new(f);
    // SAFETY: the stack that is left stays as it is, so `f` is there for `enter`. It is entered
    // as by a call, from an address and a frame of zero: there the stack ends for a debugger.
    unsafe {
        asm!(
            "mov rsp, {end}",
            "xor ebp, ebp",
            "push rbp",
            "jmp {enter}",
            end = const ARENA + STACK,
            enter = sym enter::<F>,
            in("rdi") &raw const f,
            options(noreturn),
        )
    }
}
