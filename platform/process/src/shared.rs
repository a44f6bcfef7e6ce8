//! Memory that an image shares with whoever started it: files, each mapped whole at one address.

use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::AtomicU64;

use crate::start::{Start, StartError, number};
use crate::syscall::{Fd, MMAP, call};

/// Where the counters lie.
pub const COUNTERS: usize = 0x3000_0000_0000;

/// Where the recording lies.
pub const RECORD: usize = 0x4000_0000_0000;

impl Start {
    /// Maps the counters: zeros at first, which whoever started the image reads while it runs.
    /// `None` when nobody wants them.
    ///
    /// Returns at once. A process can do this once.
    pub fn counters(&self) -> Result<Option<&'static [AtomicU64]>, StartError> {
        const NAME: &str = "MIRAGE_COUNTERS";
        let mapped = map(*self, NAME, COUNTERS)?;
        // SAFETY: the mapping is new and stays; it is as long as its file, whole pages. Whoever
        // else has it changes it as atomics do, or not at all.
        Ok(mapped.map(|(base, len)| unsafe {
            slice::from_raw_parts(base.as_ptr().cast(), len / size_of::<AtomicU64>())
        }))
    }

    /// Maps the recording: where it is, and its length in bytes. `None` when there is none.
    ///
    /// Returns at once. A process can do this once.
    pub fn record(&self) -> Result<Option<(NonNull<u8>, usize)>, StartError> {
        map(*self, "MIRAGE_RECORD", RECORD)
    }
}

/// Maps the file of a variable at its address, if there is one: where, and how long.
fn map(
    start: Start,
    name: &'static str,
    address: usize,
) -> Result<Option<(NonNull<u8>, usize)>, StartError> {
    const READ_WRITE: usize = 1 | 2;
    /// `MAP_SHARED | MAP_FIXED_NOREPLACE`
    const FLAGS: usize = 0x01 | 0x10_0000;
    const PAGE: usize = 4096;
    let Some(line) = start.variable(name.as_bytes()) else {
        return Ok(None);
    };
    let parsed = str::from_utf8(line).ok().and_then(|line| {
        let (descriptor, len) = line.split_once(',')?;
        let len = number(len)?;
        let fits = len != 0 && len.is_multiple_of(PAGE);
        fits.then_some((Fd::try_from(number(descriptor)?).ok()?, len))
    });
    let (descriptor, len) = parsed.ok_or(StartError::Shared(name))?;
    let arguments = [address, len, READ_WRITE, FLAGS, descriptor as usize, 0];
    // SAFETY: the mapping is new: `MAP_FIXED_NOREPLACE` fails where one exists.
    let base = unsafe { call(MMAP, arguments) }.ok();
    let base = base.filter(|&base| base == address);
    let base = base.and_then(|base| NonNull::new(base as *mut u8));
    base.map(|base| Some((base, len)))
        .ok_or(StartError::MapShared(name))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;
    use crate::process::tests::stack;

    fn counters(line: &str) -> Result<Option<&'static [AtomicU64]>, StartError> {
        stack(&[b"image"], &[line], &[]).counters()
    }

    #[test]
    fn what_is_shared_is_the_file_itself_and_is_mapped_once() {
        let file = memfd_create("counters", MemfdFlags::empty()).unwrap();
        ftruncate(&file, 8192).unwrap();
        let line = format!("MIRAGE_COUNTERS={},8192", file.as_raw_fd());
        let mapped = counters(&line).unwrap().unwrap();
        assert_eq!(mapped.len(), 1024);
        mapped[1].store(7, Ordering::Relaxed);
        let mut bytes = [0; 16];
        rustix::io::pread(&file, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        let again = StartError::MapShared("MIRAGE_COUNTERS");
        assert_eq!(counters(&line).err(), Some(again));
    }

    #[test]
    fn a_line_that_is_not_a_descriptor_and_whole_pages_is_refused() {
        assert!(counters("A=B").unwrap().is_none());
        for line in [
            "", "4", "4,", ",4096", "-1,4096", "4,0", "4,4095", "4,4096,1",
        ] {
            let line = format!("MIRAGE_COUNTERS={line}");
            let wrong = StartError::Shared("MIRAGE_COUNTERS");
            assert_eq!(counters(&line).err(), Some(wrong), "{line}");
        }
    }
}
