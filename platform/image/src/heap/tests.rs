extern crate std;

use std::alloc::{alloc_zeroed, dealloc};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A heap over memory of the host's, which is freed at the end.
struct Host {
    heap: Heap,
    base: NonNull<u8>,
    layout: Layout,
}

unsafe fn clear(base: *mut u8, len: usize) -> bool {
    assert!((base as usize).is_multiple_of(PAGE) && len.is_multiple_of(PAGE));
    // SAFETY: the heap says that nobody uses the pages.
    unsafe { base.write_bytes(0, len) };
    true
}

impl Host {
    fn new(len: usize) -> Self {
        let layout = Layout::from_size_align(len, PAGE).unwrap();
        // SAFETY: the layout is not empty; the memory is given to this heap alone.
        unsafe {
            let base = NonNull::new(alloc_zeroed(layout)).unwrap();
            let heap = Heap::new();
            heap.give(base, len, clear);
            Self { heap, base, layout }
        }
    }

    /// The bytes claimed.
    fn claimed(&self) -> usize {
        let arena = self.heap.arena.clone_source();
        arena.end as usize - arena.base as usize
    }

    fn alloc(&self, layout: Layout, zeroed: bool) -> Option<&'static mut [u8]> {
        // SAFETY: layouts of these tests are not empty; a test ends before its heap does.
        unsafe {
            let memory = match zeroed {
                true => self.heap.alloc_zeroed(layout),
                false => self.heap.alloc(layout),
            };
            assert!((memory as usize).is_multiple_of(layout.align()));
            let slice = ptr::slice_from_raw_parts_mut(memory, layout.size());
            (!memory.is_null()).then(|| &mut *slice)
        }
    }

    fn free(&self, memory: &mut [u8], align: usize) {
        let layout = Layout::from_size_align(memory.len(), align).unwrap();
        // SAFETY: the memory was allocated with this layout.
        unsafe { self.heap.dealloc(memory.as_mut_ptr(), layout) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 1).unwrap()
}

#[test]
fn fresh_zeroed_memory_is_not_touched() {
    let host = Host::new(16 << 20);
    host.alloc(bytes(100), false).unwrap();
    let memory = host.alloc(bytes(4 << 20), true).unwrap();
    // Writing behind the allocator's back shows what it writes afterwards.
    assert!(memory.iter().all(|&byte| byte == 0));
    host.free(memory, 1);
    let arena = host.heap.arena.clone_source();
    // SAFETY: unclaimed memory of the arena.
    unsafe { arena.end.add(PAGE).write(7) };
    let memory = host.alloc(bytes(4 << 20), true).unwrap();
    assert_eq!(memory.iter().filter(|&&byte| byte != 0).count(), 1);
}

#[test]
fn little_more_is_claimed_than_is_used() {
    let host = Host::new(64 << 20);
    host.alloc(bytes(1), false).unwrap();
    assert!(host.claimed() <= 2 * PAGE);
    host.alloc(bytes(3 << 20), false).unwrap();
    assert!(host.claimed() <= (3 << 20) + 4 * PAGE);
}

#[test]
fn a_long_free_end_is_given_back() {
    let host = Host::new(64 << 20);
    host.alloc(bytes(1), false).unwrap();
    let memory = host.alloc(bytes(32 << 20), false).unwrap();
    memory.fill(7);
    host.free(memory, 1);
    assert!(host.claimed() <= 2 * PAGE);
    assert!(
        host.alloc(bytes(32 << 20), true)
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn what_does_not_fit_is_refused_and_remembered_and_nothing_is_lost() {
    let host = Host::new(1 << 20);
    assert!(host.alloc(bytes(2 << 20), false).is_none());
    assert!(host.alloc(bytes(isize::MAX as usize), false).is_none());
    assert_eq!(
        host.heap.refused.load(Ordering::Relaxed),
        isize::MAX as usize
    );
    let mut count = 0;
    while host.alloc(bytes(4000), false).is_some() {
        count += 1;
    }
    assert!(count > 250, "{count}");
    assert_eq!(host.heap.refused.load(Ordering::Relaxed), 4000);
}

#[test]
fn an_arena_too_small_for_anything_refuses() {
    for len in [1, PAGE] {
        let host = Host::new(len);
        assert!(host.alloc(bytes(PAGE), false).is_none());
    }
    let heap = Heap::new();
    // SAFETY: the layout is not empty.
    assert!(unsafe { heap.alloc(bytes(1)) }.is_null());
}

#[derive(Debug, Clone)]
enum Step {
    Alloc {
        size: usize,
        align: u32,
        zeroed: bool,
    },
    Free(usize),
    Grow(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![1usize..200, 1usize..10_000, 1usize..700_000];
    prop_oneof![
        (size(), 0u32..14, any::<bool>()).prop_map(|(size, align, zeroed)| Step::Alloc {
            size,
            align,
            zeroed
        }),
        any::<usize>().prop_map(Step::Free),
        (any::<usize>(), size()).prop_map(|(which, size)| Step::Grow(which, size)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_is_whole_apart_and_zero_when_asked(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let host = Host::new(2 << 20);
        let mut live: Vec<(&mut [u8], usize, u8)> = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            let mark = at as u8 | 0x80;
            match step {
                Step::Alloc { size, align, zeroed } => {
                    let layout = Layout::from_size_align(size, 1 << align).unwrap();
                    let Some(memory) = host.alloc(layout, zeroed) else { continue };
                    prop_assert!(!zeroed || memory.iter().all(|&byte| byte == 0));
                    memory.fill(mark);
                    live.push((memory, 1 << align, mark));
                }
                Step::Free(which) if !live.is_empty() => {
                    let (memory, align, mark) = live.swap_remove(which % live.len());
                    prop_assert!(memory.iter().all(|&byte| byte == mark));
                    host.free(memory, align);
                }
                Step::Grow(which, size) if !live.is_empty() => {
                    let index = which % live.len();
                    let (memory, align, mark) = &mut live[index];
                    let layout = Layout::from_size_align(memory.len(), *align).unwrap();
                    let kept = memory.len().min(size);
                    // SAFETY: the memory was allocated with this layout.
                    unsafe {
                        let grown = host.heap.realloc(memory.as_mut_ptr(), layout, size);
                        if grown.is_null() {
                            continue;
                        }
                        *memory = &mut *ptr::slice_from_raw_parts_mut(grown, size);
                    }
                    prop_assert!(memory[..kept].iter().all(|byte| byte == mark));
                    memory.fill(*mark);
                }
                _ => {}
            }
        }
        for (memory, _, mark) in live {
            prop_assert!(memory.iter().all(|&byte| byte == mark));
        }
        // Whatever is not claimed is zero.
        let arena = host.heap.arena.clone_source();
        let fresh = arena.limit as usize - arena.end as usize;
        // SAFETY: the rest of the arena.
        let fresh = unsafe { core::slice::from_raw_parts(arena.end, fresh) };
        prop_assert!(fresh.iter().all(|&byte| byte == 0));
    }
}
