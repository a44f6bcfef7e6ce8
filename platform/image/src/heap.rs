//! The global allocator: talc over an arena that is touched as little as possible.
//!
//! The allocator claims the arena from its start, page by page, as it needs more. What it has not
//! claimed reads as zero, so [`Heap`] need not write zeros there, and takes no memory. A large
//! free end is unclaimed again and given back to the host.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mirage_counters::Tally;
use talc::base::binning::Binning;
use talc::base::{CHUNK_UNIT, Talc};
use talc::source::Source;
use talc::{DefaultBinning, TalcCell};

#[cfg_attr(feature = "sealed", global_allocator)]
static HEAP: Heap = Heap::new();

/// Maps the arena and lets the allocator have it. `None` when the host does not give it.
pub(crate) fn start(len: usize) -> Option<()> {
    let base = mirage_process::map(len)?;
    // SAFETY: the arena was mapped now, is zero, and is nobody else's.
    unsafe { HEAP.give(base, len, mirage_process::release) };
    Some(())
}

/// Where the heap begins, how many of its bytes may be in use, and how many there are.
#[cfg(feature = "sealed")]
pub(crate) fn extent() -> (*mut u8, usize, usize) {
    let arena = HEAP.arena.clone_source();
    let used = arena.end as usize - arena.base as usize;
    (arena.base, used, arena.len())
}

/// What the heap counts, for [`count`].
pub(crate) const COUNTERS: [&str; 4] = [
    "allocations_total",
    "allocation_failures_total",
    "in_use_bytes",
    "claimed_bytes",
];

/// Shows what the heap has counted.
pub(crate) fn count(tally: &Tally) {
    let numbers = [&HEAP.allocations, &HEAP.failures, &HEAP.in_use];
    for (which, number) in numbers.into_iter().enumerate() {
        tally.set(which, number.load(Ordering::Relaxed));
    }
    tally.set(numbers.len(), HEAP.claimed());
}

/// Adds to a number that one thread changes: no read-modify-write is needed.
fn add(number: &AtomicU64, n: u64) {
    let value = number.load(Ordering::Relaxed).wrapping_add(n);
    number.store(value, Ordering::Relaxed);
}

/// The bytes that could not be had, if the heap has ever been out of memory.
#[cfg(feature = "sealed")]
pub(crate) fn exhausted() -> Option<Exhausted> {
    match HEAP.refused.load(Ordering::Relaxed) {
        0 => None,
        asked => Some(Exhausted {
            asked,
            used: HEAP.used(),
            len: HEAP.arena.clone_source().len(),
        }),
    }
}

/// What is to be said when there is no more memory, in bytes.
#[cfg(feature = "sealed")]
pub(crate) struct Exhausted {
    pub(crate) asked: usize,
    pub(crate) used: usize,
    pub(crate) len: usize,
}

/// A free end at least so long is given back. Below that the host would only be asked for the same
/// pages again.
const RELEASE: usize = 1 << 20;

const PAGE: usize = 4096;

type Release = unsafe fn(*mut u8, usize) -> bool;

pub(crate) struct Heap {
    arena: TalcCell<Arena>,
    /// The size of the last request that was refused.
    refused: AtomicUsize,
    /// Requests that were served, and that were refused.
    allocations: AtomicU64,
    failures: AtomicU64,
    /// Bytes asked for and not given back.
    in_use: AtomicU64,
}

// SAFETY: an image has one thread and no signal handler, so nothing happens at the same time. A
// test has a heap of its own.
unsafe impl Sync for Heap {}

impl Heap {
    const fn new() -> Self {
        let arena = Arena {
            base: ptr::null_mut(),
            end: ptr::null_mut(),
            limit: ptr::null_mut(),
            release: keep,
        };
        Self {
            arena: TalcCell::new(arena),
            refused: AtomicUsize::new(0),
            allocations: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            in_use: AtomicU64::new(0),
        }
    }

    /// Lets the allocator have an arena, its first and only one.
    ///
    /// # Safety
    ///
    /// The arena starts at a page, is zero, stays, and is nobody else's; `release` makes whole
    /// pages of it zero, or returns false and does nothing.
    unsafe fn give(&self, base: NonNull<u8>, len: usize, release: Release) {
        let base = base.as_ptr();
        let limit = base.wrapping_add(len - len % PAGE);
        self.arena.replace_source(Arena {
            base,
            end: base,
            limit,
            release,
        });
    }

    /// The bytes that the allocator holds: what is in use, and what it keeps for later.
    fn claimed(&self) -> u64 {
        let arena = self.arena.clone_source();
        (arena.end as u64).saturating_sub(arena.base as u64)
    }

    /// The bytes up to the last one in use.
    #[cfg(feature = "sealed")]
    fn used(&self) -> usize {
        let arena = self.arena.clone_source();
        match NonNull::new(arena.end) {
            Some(end) if end.as_ptr() > arena.base => {
                // SAFETY: `end` is the end of the only heap.
                let used = unsafe { self.arena.reserved(end) };
                used.up_to.as_ptr() as usize - arena.base as usize
            }
            _ => 0,
        }
    }

    /// Counts a request for `size` bytes that brought `memory`, in place of `before` bytes.
    fn noting(&self, memory: *mut u8, size: usize, before: usize) -> *mut u8 {
        if memory.is_null() {
            self.refused.store(size, Ordering::Relaxed);
            add(&self.failures, 1);
        } else {
            add(&self.allocations, 1);
            add(&self.in_use, (size as u64).wrapping_sub(before as u64));
        }
        memory
    }
}

// SAFETY: everything is done by talc; only what has not been claimed is not zeroed, which is zero.
unsafe impl GlobalAlloc for Heap {
    // Once in an image, not wherever something is allocated.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        self.noting(unsafe { self.arena.alloc(layout) }, layout.size(), 0)
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        add(&self.in_use, (layout.size() as u64).wrapping_neg());
        // SAFETY: as the caller vouches.
        unsafe { self.arena.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let before = self.arena.clone_source();
        // SAFETY: as the caller vouches.
        let memory = unsafe { self.alloc(layout) };
        if memory.is_null() {
            return memory;
        }
        // What was not claimed before is zero but for what talc wrote: its lists at the start of
        // the arena, and a header where the free end began. The word at the new end is a tag's.
        let lists = match before.end == before.base {
            true => talc::min_first_heap_size::<DefaultBinning>(),
            false => 0,
        };
        let written = (before.end as usize + lists + CHUNK_UNIT).saturating_sub(memory as usize);
        let written = written.min(layout.size());
        // SAFETY: `written` bytes are within the allocation.
        unsafe { memory.write_bytes(0, written) };
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller vouches.
        let moved = unsafe { self.arena.realloc(memory, layout, size) };
        self.noting(moved, size, layout.size())
    }
}

unsafe fn keep(_base: *mut u8, _len: usize) -> bool {
    false
}

/// Where the allocator's memory comes from.
#[derive(Debug, Clone)]
struct Arena {
    base: *mut u8,
    /// What is claimed ends here; from here on the arena is zero.
    end: *mut u8,
    limit: *mut u8,
    release: Release,
}

impl Arena {
    #[cfg(feature = "sealed")]
    fn len(&self) -> usize {
        self.limit as usize - self.base as usize
    }
}

// SAFETY: nothing here allocates.
unsafe impl Source for Arena {
    const TRACK_HEAP_END: bool = true;

    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let Arena {
            base, end, limit, ..
        } = talc.source;
        let first = end == base;
        let free = match NonNull::new(end) {
            // The first claim holds talc's own lists.
            _ if first => (base as usize).checked_add(talc::min_first_heap_size::<B>()),
            // SAFETY: `end` is the end of the only heap.
            Some(end) => Some(unsafe { talc.reserved(end) }.up_to.as_ptr() as usize),
            None => None,
        };
        // A chunk has a tag, and starts at a multiple of the alignment.
        let slack = layout.align().max(CHUNK_UNIT) + CHUNK_UNIT;
        let needed = free
            .and_then(|free| free.checked_add(layout.size())?.checked_add(slack))
            .and_then(|needed| needed.checked_next_multiple_of(PAGE))
            .ok_or(())?;
        // Near the limit the slack may not be needed: take what there is and let talc see.
        let needed = needed.min(limit as usize);
        let claim = needed
            .checked_sub(end as usize)
            .filter(|&claim| claim != 0)
            .ok_or(())?;
        let new_end = end.wrapping_add(claim);
        talc.source.end = if first {
            // SAFETY: this part of the arena is nobody's yet.
            unsafe { talc.claim(base, claim) }.ok_or(())?.as_ptr()
        } else {
            let end = NonNull::new(end).ok_or(())?;
            // SAFETY: `end` is the end of the only heap; what follows is nobody's yet.
            unsafe { talc.extend(end, new_end) }.as_ptr()
        };
        Ok(())
    }

    unsafe fn resize(&mut self, free: *mut u8, end: *mut u8, _is_base: bool) -> *mut u8 {
        let keep = (free as usize).next_multiple_of(PAGE) - free as usize;
        let keep = free.wrapping_add(keep);
        if (end as usize).saturating_sub(keep as usize) < RELEASE {
            return end;
        }
        // SAFETY: talc says that everything from `free` to `end` is free; both are at pages.
        if unsafe { (self.release)(keep, end as usize - keep as usize) } {
            self.end = keep;
        }
        self.end
    }
}

#[cfg(test)]
mod tests;
