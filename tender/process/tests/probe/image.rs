//! An image that does what its command line says, word by word, so that a test can try every
//! system call there is.
//!
//! - `boot` prints its arguments and environment, one a line;
//! - `call=NUMBER,A,B,...` makes a system call and prints its result;
//! - `int80=NUMBER` makes one of the 32-bit table;
//! - `crash` executes an illegal instruction.
//!
//! An argument is a decimal number, `B` for the address of a buffer of 4096 bytes, `V` for that of
//! two iovecs (10 bytes of zeros as a header, and 2000 of the buffer), `P` for that of a path, `T` for that
//! of a time of no length, `A` for the arena's.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};

#[path = "../../src/memory.rs"]
mod memory;

static mut BUFFER: [u8; 4096] = [b'.'; 4096];
static mut HEADER: [u8; 10] = [0; 10];
static mut VECTORS: [usize; 4] = [0; 4];
static mut TIME: [u64; 2] = [0; 2];

/// A note without devices; a test that wants some appends its own.
#[used]
#[unsafe(link_section = ".note.mirage")]
static NOTE: [u8; 24] = *b"\x07\0\0\0\x02\0\0\0\x01\0\0\0Mirage\0\0\x01\0\0\0";

global_asm!(
    ".global _start",
    "_start:",
    "mov rdi, [rsp]",
    "lea rsi, [rsp + 8]",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

unsafe extern "C" fn main(count: usize, words: *const *const c_char) -> ! {
    // SAFETY: this is the only thread, and the kernel alone uses them afterwards.
    unsafe {
        VECTORS = [(&raw mut HEADER).addr(), 10, (&raw mut BUFFER).addr(), 2000];
    }
    for at in 1..count {
        // SAFETY: the kernel's arguments.
        let word = unsafe { CStr::from_ptr(*words.add(at)) }.to_bytes();
        if let Some(call) = word.strip_prefix(b"call=") {
            let mut arguments = [0; 7];
            for (place, word) in arguments.iter_mut().zip(call.split(|byte| *byte == b',')) {
                *place = argument(word);
            }
            print_number(system_call(arguments));
        } else if let Some(number) = word.strip_prefix(b"int80=") {
            print_number(int80(argument(number)));
        } else if word == b"boot" {
            boot(words);
        } else if word == b"crash" {
            // SAFETY: ends the process.
            unsafe { asm!("ud2") };
        } else {
            print(b"unknown word");
            exit(3);
        }
    }
    exit(0)
}

/// The arguments, a null, the environment, a null.
fn boot(words: *const *const c_char) {
    let mut at = 0;
    for _ in 0..2 {
        // SAFETY: the kernel's arguments and environment.
        while let word = unsafe { *words.add(at) }
            && !word.is_null()
        {
            // SAFETY: as above.
            print(unsafe { CStr::from_ptr(word) }.to_bytes());
            at += 1;
        }
        at += 1;
    }
}

fn argument(word: &[u8]) -> usize {
    match word {
        b"A" => 0x1000_0000_0000,
        b"B" => (&raw const BUFFER).addr(),
        b"V" => (&raw const VECTORS).addr(),
        b"T" => (&raw const TIME).addr(),
        b"P" => c"/bin/true".as_ptr().addr(),
        [b'-', digits @ ..] => argument(digits).wrapping_neg(),
        digits => digits.iter().fold(0usize, |sum, digit| {
            sum.wrapping_mul(10).wrapping_add((digit - b'0') as usize)
        }),
    }
}

fn system_call([number, a, b, c, d, e, f]: [usize; 7]) -> isize {
    let result;
    // SAFETY: whatever the kernel does is what the test asks for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

fn int80(number: usize) -> isize {
    let result;
    // SAFETY: as above.
    unsafe { asm!("int 0x80", inlateout("rax") number as isize => result) };
    result
}

fn print(line: &[u8]) {
    system_call([1, 1, line.as_ptr().addr(), line.len(), 0, 0, 0]);
    system_call([1, 1, b"\n".as_ptr().addr(), 1, 0, 0, 0]);
}

fn print_number(number: isize) {
    let mut digits = [b'0'; 24];
    let mut at = digits.len() - 1;
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        at -= 1;
    }
    if number == 0 {
        at -= 1;
    }
    digits[at] = b'-';
    let from = if number < 0 { at } else { at + 1 };
    print(&digits[from..]);
}

fn exit(status: usize) -> ! {
    system_call([231, status, 0, 0, 0, 0, 0]);
    loop {}
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
