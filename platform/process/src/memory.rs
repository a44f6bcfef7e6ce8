use core::ptr::NonNull;

use crate::syscall::{MADVISE, MMAP, call};

/// Where an image's memory lies: its stack, whose overflow is a fault below, and the heap.
pub const ARENA: usize = 0x1000_0000_0000;

/// Bytes of stack. The heap then begins in the middle of a large page of the processor's (2 MiB),
/// so that the two ends that are used first can be one.
pub const STACK: usize = 7 << 20;

/// Maps the stack and `len` bytes of heap at [`ARENA`], zeros that take no memory until they are
/// touched. Yields the heap, which begins where the stack ends.
///
/// Returns at once. A process can do this once; `None` when it did before, or when the host
/// refuses.
pub fn map(len: usize) -> Option<NonNull<u8>> {
    const READ_WRITE: usize = 1 | 2;
    /// `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE`
    const FLAGS: usize = 0x02 | 0x20 | 0x4000 | 0x10_0000;
    let len = STACK.checked_add(len)?;
    // SAFETY: the mapping is new: `MAP_FIXED_NOREPLACE` fails where one exists.
    let base = unsafe { call(MMAP, [ARENA, len, READ_WRITE, FLAGS, usize::MAX, 0]) }.ok()?;
    NonNull::new((base + STACK) as *mut u8).filter(|_| base == ARENA)
}

/// Gives pages back to the host; they read as zeros from now on. Returns at once; false when the
/// host refuses, and then nothing is changed.
///
/// # Safety
///
/// The range is whole pages of anonymous memory that nothing refers to.
pub unsafe fn release(base: *mut u8, len: usize) -> bool {
    const DONTNEED: usize = 4;
    // SAFETY: the caller vouches that nobody uses the pages.
    unsafe { call(MADVISE, [base as usize, len, DONTNEED, 0, 0, 0]) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arena_is_mapped_once_is_zero_and_is_zero_again_after_its_release() {
        let base = map(1 << 20).unwrap();
        assert_eq!(base.as_ptr() as usize, ARENA + STACK);
        assert_eq!(map(1 << 20), None);
        // SAFETY: the memory was mapped above and this test alone uses it.
        unsafe {
            *base.as_ptr().sub(1) = 1;
            let page = base.as_ptr().add(4096);
            assert_eq!(*page, 0);
            *page = 1;
            assert!(release(page, 4096));
            assert_eq!(*page, 0);
            assert!(!release(page.add(1), 4096), "not whole pages");
        }
    }
}
