//! What the tender decides, apart from what it does.
//!
//! The tender starts an image as a Linux process that can do nothing but what its manifest says:
//!
//! 1. [`arguments`]: what the command line gives;
//! 2. [`elf`]: whether the file is an image, and what it declares;
//! 3. [`attach`]: every declared device given, none more;
//! 4. the program opens what was given, lays the descriptors out and gives up every other right;
//! 5. [`environment`]: tells the image what it got, its devices and what it has [`shared`];
//! 6. [`filter`]: the system calls the image may make, argument by argument, as a [`bpf`] program;
//! 7. the program executes the image, and nothing of the tender remains.
//!
//! Everything here is pure, allocates nothing and never panics, so it is tested on the host; the
//! program in `main.rs` makes the system calls.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod arguments;
pub mod attach;
pub mod bpf;
pub mod elf;
pub mod environment;
pub mod error;
pub mod filter;
pub mod mac;
pub mod shared;
pub mod text;

/// Where an image may map its stack and heap: the one address `mmap` takes for memory of its own.
pub const ARENA: u64 = 0x1000_0000_0000;

/// Bytes of the arena that come before the heap: the image's stack.
pub const STACK: u64 = 7 << 20;

/// The addresses an image's segments may take. The tender lies below, the arena far above.
pub const IMAGE: core::ops::Range<u64> = 0x10_0000..0x8000_0000;

/// The addresses of the tender itself.
pub const TENDER: core::ops::Range<u64> = 0x4_0000..0x10_0000;

/// The console.
pub const CONSOLE: u32 = 1;

/// The epoll instance that watches the network devices.
pub const EPOLL: u32 = 3;

/// The descriptor of device 0; the others follow, and after them what is shared.
pub const FIRST_DEVICE: u32 = 4;

/// The unit of block devices in bytes.
pub const SECTOR: u64 = 512;
