//! A recording in memory that is shared with whoever started the image, and the image's state in
//! it: what is on the stack, in variables and on the heap, and the registers of a call.
//!
//! A checkpoint is four words and three pieces of memory: the stack pointer, where the variables
//! are, their length, the length of the heap in use; the stack from the pointer to its end, the
//! variables, the heap. The pieces lie where they always do: an image has one address for each.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};

use mirage_record::format::{MODE, REPLAY_AND_PAUSE};
use mirage_record::{Checkpoint, resumes_at};

/// The recording.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Tape {
    base: NonNull<u8>,
    len: usize,
}

impl Tape {
    /// The recording in this memory.
    ///
    /// # Safety
    ///
    /// The memory is mapped, for reading and writing, and stays; nothing refers to it.
    pub(crate) unsafe fn new((base, len): (NonNull<u8>, usize)) -> Self {
        Self { base, len }
    }

    /// Where `len` bytes at `at` are.
    fn place(&self, at: usize, len: usize) -> Option<*mut u8> {
        let end = at.checked_add(len)?;
        // SAFETY: the place is in the mapping, or just behind it.
        (end <= self.len).then(|| unsafe { self.base.as_ptr().add(at) })
    }

    fn atom(&self, at: usize) -> Option<&AtomicU64> {
        let place = self.place(at, 8)?.cast::<u64>();
        // SAFETY: the mapping stays; whoever has it, too, changes words as atomics or not at all.
        place
            .is_aligned()
            .then(|| unsafe { AtomicU64::from_ptr(place) })
    }

    /// Goes on with the state that a replay begins with, when it begins with one: then this does
    /// not return. False when that is no state of this image.
    ///
    /// Call it on another stack than the image's.
    pub(crate) fn resume(&self) -> bool {
        match resumes_at(self) {
            None => true,
            Some((at, len)) => state::restore(self, at, len).is_some(),
        }
    }
}

impl mirage_record::Tape for Tape {
    fn len(&self) -> usize {
        self.len
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.place(at, bytes.len()) {
            // SAFETY: the place has room, and no slice is in the mapping.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
        }
    }

    fn read(&self, at: usize, buffer: &mut [u8]) {
        match self.place(at, buffer.len()) {
            // SAFETY: the place has as many bytes, and no slice is in the mapping.
            Some(place) => unsafe {
                ptr::copy_nonoverlapping(place, buffer.as_mut_ptr(), buffer.len());
            },
            None => buffer.fill(0),
        }
    }

    fn word(&self, at: usize) -> u64 {
        self.atom(at).map_or(0, |atom| atom.load(Ordering::Acquire))
    }

    fn set_word(&self, at: usize, word: u64) {
        if let Some(atom) = self.atom(at) {
            atom.store(word, Ordering::Release);
        }
    }

    fn checkpoint(&self, at: usize, room: usize) -> Checkpoint {
        state::save(self, at, room)
    }

    fn pause(&self) {
        if self.word(MODE) == REPLAY_AND_PAUSE {
            // SAFETY: a debugger stops here; without one the process ends.
            #[cfg(feature = "sealed")]
            unsafe {
                core::arch::asm!("int3", options(nomem, nostack))
            };
        }
    }
}

#[cfg(not(feature = "sealed"))]
mod state {
    use super::*;

    /// An ordinary program's state lies all over the place.
    pub fn save(_: &Tape, _: usize, _: usize) -> Checkpoint {
        Checkpoint::Unsupported
    }

    pub fn restore(_: &Tape, _: usize, _: usize) -> Option<()> {
        None
    }
}

#[cfg(feature = "sealed")]
mod state {
    use core::arch::global_asm;

    use mirage_process::{ARENA, STACK};

    use super::*;
    use crate::heap;

    // An image's calls return to where they were made with rbx, rbp and r12 to r15 as they were
    // (System V ABI for x86-64, §3.2.1). What `take` saves is the stack from its caller's frame
    // on, these registers the last on it: all of that stands still meanwhile.
    global_asm!(
        ".section .text.mirage_checkpoint,\"ax\",@progbits",
        ".globl mirage_checkpoint",
        ".type mirage_checkpoint,@function",
        "mirage_checkpoint:",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov rsi, rsp",
        "call {take}",
        "2:",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        ".globl mirage_resume",
        "mirage_resume:",
        "mov rsp, rdi",
        "mov rax, -1",
        "jmp 2b",
        ".size mirage_checkpoint, . - mirage_checkpoint",
        take = sym take,
    );

    unsafe extern "C" {
        /// Calls [`take`]; yields what that does, or `usize::MAX` in the replay.
        safe fn mirage_checkpoint(request: &Request<'_>) -> usize;

        /// Returns from [`mirage_checkpoint`] with `usize::MAX`.
        fn mirage_resume(stack: usize) -> !;

        /// The bounds of the variables, made by the link script.
        static mut __variables_start: u8;
        static mut __variables_end: u8;
    }

    #[repr(C)]
    struct Request<'a> {
        tape: &'a Tape,
        at: usize,
        room: usize,
    }

    const STACK_END: usize = ARENA + STACK;
    const WORDS: usize = 4 * 8;

    fn variables() -> (*mut u8, usize) {
        let (start, end) = (&raw mut __variables_start, &raw mut __variables_end);
        (start, end as usize - start as usize)
    }

    pub fn save(tape: &Tape, at: usize, room: usize) -> Checkpoint {
        match mirage_checkpoint(&Request { tape, at, room }) {
            usize::MAX => Checkpoint::Resumed,
            len if len > room => Checkpoint::TooLarge(len),
            len => Checkpoint::Saved(len),
        }
    }

    /// Writes the state down, unless there is too little room; yields its length.
    extern "C" fn take(request: &Request<'_>, stack: usize) -> usize {
        let Request { tape, mut at, room } = *request;
        let (variables, variables_len) = variables();
        let (heap, heap_len, _) = heap::extent();
        let pieces = [
            (stack as *mut u8, STACK_END - stack),
            (variables, variables_len),
            (heap, heap_len),
        ];
        let len = pieces.iter().fold(WORDS, |sum, (_, len)| sum + len);
        if len > room || tape.place(at, len).is_none() {
            return len.max(room + 1);
        }
        let words = [stack, variables as usize, variables_len, heap_len];
        for word in words {
            mirage_record::Tape::write(tape, at, &word.to_le_bytes());
            at += 8;
        }
        for (from, len) in pieces {
            if let Some(place) = tape.place(at, len) {
                // SAFETY: the stack from there on, the variables and the heap are mapped, and
                // nothing changes them during this copy.
                unsafe { ptr::copy_nonoverlapping(from, place, len) };
            }
            at += len;
        }
        len
    }

    /// Puts a state in place and goes on with it. `None` when it is none of this image.
    pub fn restore(tape: &Tape, mut at: usize, len: usize) -> Option<()> {
        let (variables, variables_len) = variables();
        let (heap, _, heap_room) = heap::extent();
        let word = |number: usize| {
            let mut bytes = [0; 8];
            mirage_record::Tape::read(tape, at.saturating_add(8 * number), &mut bytes);
            usize::from_le_bytes(bytes)
        };
        let (stack, heap_len) = (word(0), word(3));
        let fits = (ARENA..STACK_END).contains(&stack)
            && stack.is_multiple_of(16)
            && (word(1), word(2)) == (variables as usize, variables_len)
            && heap_len <= heap_room
            && len == WORDS + (STACK_END - stack) + variables_len + heap_len
            && tape.place(at, len).is_some();
        if !fits {
            return None;
        }
        at += WORDS;
        let pieces = [
            (stack as *mut u8, STACK_END - stack),
            (variables, variables_len),
            (heap, heap_len),
        ];
        for (to, len) in pieces {
            let place = tape.place(at, len)?;
            // SAFETY: stack and heap are mapped and nobody uses them yet, as this runs on the
            // stack that the kernel made; nothing here looks at a variable any more.
            unsafe { ptr::copy_nonoverlapping(place, to, len) };
            at += len;
        }
        // SAFETY: the stack is as `take` saw it, called by `mirage_checkpoint`.
        unsafe { mirage_resume(stack) }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use mirage_record::Tape as _;

    use super::*;

    #[test]
    fn what_lies_past_the_end_is_not_written_and_reads_as_zero() {
        let mut memory = vec![0u64; 4];
        let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
        // SAFETY: the memory outlives the tape.
        let tape = unsafe { Tape::new((base, 32)) };
        tape.write(4, &[1, 2, 3]);
        tape.write(30, &[9; 3]);
        tape.write(usize::MAX, &[9; 3]);
        tape.set_word(24, 5);
        tape.set_word(25, 7);
        tape.set_word(32, 7);
        let mut buffer = [7; 32];
        tape.read(0, &mut buffer);
        assert_eq!(buffer[..8], [0, 0, 0, 0, 1, 2, 3, 0]);
        assert_eq!(tape.word(24), 5);
        assert_eq!(tape.word(25), 0);
        assert_eq!(tape.word(32), 0);
        tape.read(1, &mut buffer);
        assert_eq!(buffer, [0; 32]);
        assert!(tape.resume(), "there is nothing to go on with");
    }
}
