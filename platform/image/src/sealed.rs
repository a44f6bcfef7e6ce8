//! What an ordinary program has from std and libc.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use mirage_process::{ARENA, STACK, Start};

use crate::backtrace::return_addresses;
use crate::boot::exit;
use crate::heap;
use crate::text::{say, say_aside};

const PANIC: u8 = 101;
const OUT_OF_MEMORY: u8 = 102;

// The kernel enters here, with the stack pointer at what it laid out. `core` was compiled to be
// unwound and names an unwinder; nothing ever calls it.
global_asm!(
    ".section .text.start,\"ax\",@progbits",
    ".globl _start",
    ".type _start,@function",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {enter}",
    "ud2",
    ".size _start, . - _start",
    ".globl rust_eh_personality, _Unwind_Resume",
    "rust_eh_personality:",
    "_Unwind_Resume:",
    "ud2",
    enter = sym enter,
);

unsafe extern "Rust" {
    /// Made by [`image!`](crate::image).
    safe fn mirage_image_main(start: Start) -> !;
}

unsafe extern "C" {
    /// The bounds of the code, made by the link script.
    static __text_start: u8;
    static __text_end: u8;
}

/// A debugger watches, which reads the stack itself.
static WATCHED: AtomicBool = AtomicBool::new(false);

extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the stack pointer on as it was at the entry of the process.
    let start = unsafe { Start::new(stack) };
    WATCHED.store(start.watched(), Ordering::Relaxed);
    mirage_image_main(start)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    if PANICKING.swap(true, Ordering::Relaxed) {
        exit(PANIC);
    }
    // An allocation that fails ends in `alloc`'s own panic: its handler cannot be replaced on
    // stable Rust. A program that can do with less asks with `try_reserve` and never comes here.
    let place = info.location();
    let allocation =
        place.is_some_and(|place| place.file().ends_with("library/alloc/src/alloc.rs"));
    if let Some(heap) = heap::exhausted().filter(|_| allocation) {
        say(format_args!(
            "out of memory: {} bytes asked, {} of {} in use; start it with more --memory\n",
            heap.asked, heap.used, heap.len
        ));
        exit(OUT_OF_MEMORY);
    }
    match place {
        Some(place) => say(format_args!("panic at {place}: {}\n", info.message())),
        None => say(format_args!("panic: {}\n", info.message())),
    }
    // SAFETY: the link script places both around the code, which is read-only and stays.
    let code = unsafe {
        let (start, end) = (&raw const __text_start, &raw const __text_end);
        core::slice::from_raw_parts(start, end as usize - start as usize)
    };
    let mut heading = "return addresses on the stack, innermost first:\n";
    for address in return_addresses(stack(), code) {
        // Aside: a replay may be watched where the recorded run was not.
        say_aside(format_args!("{heading}  {address:#x}\n"));
        heading = "";
    }
    exit(PANIC)
}

/// The words on the stack, from here to its end; none when a debugger watches.
fn stack() -> impl Iterator<Item = usize> {
    let here: usize;
    // SAFETY: a register is read.
    unsafe { asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    let top = match WATCHED.load(Ordering::Relaxed) {
        true => here,
        false => ARENA + STACK,
    };
    (here..top).step_by(size_of::<usize>()).map(|at| {
        // SAFETY: all of the stack is mapped and aligned; where the panic came before that stack
        // was, the kernel's lies above and there are no words. A word on it may be anything, and this
        // very loop may be changing it, hence a volatile read by address alone.
        unsafe { ptr::with_exposed_provenance::<usize>(at).read_volatile() }
    })
}
