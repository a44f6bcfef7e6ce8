//! Breaks in the way that its key names.

#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;

use mirage_kit::device::Console;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// How to break.
    pub how: String,
}

/// Breaks. Each way is one line that a test can look for.
pub async fn main(console: impl Console, keys: Keys) {
    console.write(b"now\n");
    let how = keys.how.as_str();
    inner(how);
    console.write(b"nothing broke\n");
}

/// What a backtrace shows as inlined.
#[inline(always)]
fn inner(how: &str) {
    match how {
        "panic" => panic!("as told"), // line: panic
        "unwrap" => unwrap(black_box(None)),
        "read" => read(black_box(8)),
        "write" => write(black_box(16)),
        "jump" => jump(),
        "stack" => deeper(black_box(1)),
        "memory" => memory(),
        "call" => call(),
        "trap" => trap(),
        "divide" => divide(),
        "loop" => spin(),
        _ => {}
    }
}

#[inline(never)]
fn unwrap(nothing: Option<u32>) {
    black_box(nothing.unwrap()); // line: unwrap
}

#[inline(never)]
fn read(address: usize) {
    let place = core::ptr::without_provenance::<u64>(address);
    // SAFETY: none: there is nothing at that address, which is the point.
    black_box(unsafe { place.read_volatile() }); // line: read
}

#[inline(never)]
fn write(address: usize) {
    let place = core::ptr::without_provenance_mut::<u64>(address);
    // SAFETY: none: there is nothing at that address, which is the point.
    unsafe { place.write_volatile(1) }; // line: write
}

#[inline(never)]
fn jump() {
    // SAFETY: none: there is no code at that address, which is the point.
    unsafe { asm!("call {}", in(reg) black_box(0x10_usize), clobber_abi("C")) }; // line: jump
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(depth: u64) {
    let room = [depth; 16];
    black_box(&room);
    deeper(depth + 1); // line: stack
    black_box(&room);
}

#[inline(never)]
fn memory() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(alloc::vec![1_u8; 1 << 20])); // line: memory
    }
}

#[inline(never)]
fn call() {
    // SAFETY: none is needed: getpid only answers, where it is allowed.
    unsafe { asm!("syscall", inout("rax") 39_u64 => _, out("rcx") _, out("r11") _) }; // line: call
}

#[inline(never)]
fn trap() {
    // SAFETY: ends the image.
    unsafe { asm!("ud2") }; // line: trap
}

#[inline(never)]
fn divide() {
    // SAFETY: ends the image: the compiler would have checked the divisor.
    unsafe { asm!("div {0}", in(reg) 0_u64, inout("rax") 1_u64 => _, inout("rdx") 0_u64 => _) }; // line: divide
}

#[inline(never)]
fn spin() {
    loop {
        core::hint::spin_loop(); // line: loop
    }
}
