//! Takes memory until there is none.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use mirage_kit::device::Console;

const MIB: usize = 1 << 20;

/// Takes and touches one MiB after the other; ends with the status of "out of memory".
pub async fn main(console: impl Console) {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![0xa5_u8; MIB]);
        console.write(format!("{} MiB\n", taken.len()).as_bytes());
    }
}
