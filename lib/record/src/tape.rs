use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::description::Description;
use crate::format::{
    CHECKPOINT, CHECKPOINT_LEN, DESCRIPTION, MAGIC, MODE, PAGE, REPLAY, REPLAY_AND_PAUSE, SEGMENT,
    START,
};
use crate::recording::Recording;

/// Memory that a recording is in.
///
/// The methods return at once, allocate nothing unless the tape says so, and never panic: what
/// lies past the end is not written, and reads as zero.
pub trait Tape {
    /// Its length in bytes.
    fn len(&self) -> usize;

    /// Whether it has no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes onto it.
    fn write(&self, at: usize, bytes: &[u8]);

    /// Copies bytes from it.
    fn read(&self, at: usize, buffer: &mut [u8]);

    /// The word at `at`, a multiple of eight.
    fn word(&self, at: usize) -> u64;

    /// Sets a word after everything that was written before: whoever sees the word sees that.
    fn set_word(&self, at: usize, word: u64);

    /// Saves the whole state of the program at `at`, in at most `room` bytes.
    ///
    /// Returns twice, as fork(2) does: in the program that goes on, and in the replay, which
    /// begins with the state as it was saved, with [`Checkpoint::Resumed`].
    fn checkpoint(&self, at: usize, room: usize) -> Checkpoint {
        let _ = (at, room);
        Checkpoint::Unsupported
    }

    /// Stops for a debugger, if there is one: the recording is at its end.
    fn pause(&self) {}
}

/// What [`Tape::checkpoint`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// So many bytes were saved.
    Saved(usize),
    /// The state has so many bytes, more than there is room for. Nothing was saved.
    TooLarge(usize),
    /// This is the replay.
    Resumed,
    /// The state of this program cannot be saved.
    Unsupported,
}

/// Whether what is on the tape is to be repeated. Returns at once.
pub fn is_replay<T: Tape + ?Sized>(tape: &T) -> bool {
    matches!(tape.word(MODE), REPLAY | REPLAY_AND_PAUSE)
}

/// The checkpoint that a replay begins with, its place and length; `None` when it begins where
/// the program does, and when nothing is to be repeated. Returns at once.
pub fn resumes_at<T: Tape + ?Sized>(tape: &T) -> Option<(usize, usize)> {
    let len = number(tape, CHECKPOINT_LEN);
    (is_replay(tape) && len > 0).then(|| (number(tape, CHECKPOINT), len))
}

/// A word that is a place or a length.
pub(crate) fn number<T: Tape + ?Sized>(tape: &T, at: usize) -> usize {
    usize::try_from(tape.word(at)).unwrap_or(usize::MAX)
}

/// A tape in memory that grows up to a limit. It takes no checkpoints: a recording ends when it
/// is full.
#[derive(Debug)]
pub struct Memory {
    bytes: RefCell<Vec<u8>>,
    limit: usize,
}

impl Memory {
    /// A tape for a recording of at most `limit` bytes.
    pub fn recording(description: &Description, limit: usize) -> Self {
        let limit = limit.next_multiple_of(PAGE);
        let bytes = description.head(limit);
        let limit = bytes.len() + limit;
        Self {
            bytes: RefCell::new(bytes),
            limit,
        }
    }

    /// A recording that is to be repeated.
    pub fn replaying(recording: &Recording<'_>) -> Self {
        let bytes = recording.replay(false);
        Self {
            limit: bytes.len(),
            bytes: RefCell::new(bytes),
        }
    }

    /// A tape for a recording in these bytes, and no more: a head, and zeros.
    #[cfg(test)]
    pub(crate) fn blank(file: Vec<u8>) -> Self {
        let limit = file.len();
        Self {
            bytes: RefCell::new(file),
            limit,
        }
    }

    /// What is on it: of a recording, its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }
}

impl Tape for Memory {
    fn len(&self) -> usize {
        self.limit
    }

    fn write(&self, at: usize, from: &[u8]) {
        let Some(end) = at.checked_add(from.len()).filter(|end| *end <= self.limit) else {
            return;
        };
        let mut bytes = self.bytes.borrow_mut();
        if end > bytes.len() {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(at..end) {
            place.copy_from_slice(from);
        }
    }

    fn read(&self, at: usize, buffer: &mut [u8]) {
        read(&self.bytes.borrow(), at, buffer);
    }

    fn word(&self, at: usize) -> u64 {
        word(&self.bytes.borrow(), at)
    }

    fn set_word(&self, at: usize, word: u64) {
        self.write(at, &word.to_le_bytes());
    }
}

/// A tape that somebody else looks at too.
impl<T: Tape + ?Sized> Tape for Rc<T> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        (**self).write(at, bytes);
    }

    fn read(&self, at: usize, buffer: &mut [u8]) {
        (**self).read(at, buffer);
    }

    fn word(&self, at: usize) -> u64 {
        (**self).word(at)
    }

    fn set_word(&self, at: usize, word: u64) {
        (**self).set_word(at, word);
    }

    fn checkpoint(&self, at: usize, room: usize) -> Checkpoint {
        (**self).checkpoint(at, room)
    }

    fn pause(&self) {
        (**self).pause();
    }
}

/// A file that was read.
impl Tape for [u8] {
    fn len(&self) -> usize {
        self.len()
    }

    /// It is only read.
    fn write(&self, _: usize, _: &[u8]) {}

    fn read(&self, at: usize, buffer: &mut [u8]) {
        read(self, at, buffer);
    }

    fn word(&self, at: usize) -> u64 {
        word(self, at)
    }

    fn set_word(&self, _: usize, _: u64) {}
}

fn read(bytes: &[u8], at: usize, buffer: &mut [u8]) {
    buffer.fill(0);
    let from = bytes.get(at..).unwrap_or_default();
    for (place, byte) in buffer.iter_mut().zip(from) {
        *place = *byte;
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    read(bytes, at, &mut word);
    u64::from_le_bytes(word)
}

/// Where a segment begins, and its length.
pub(crate) fn place<T: Tape + ?Sized>(tape: &T, index: usize) -> (usize, usize) {
    let (start, len) = (number(tape, START), number(tape, SEGMENT));
    (start.saturating_add(len.saturating_mul(index & 1)), len)
}

/// The first bytes of a recording whose segments have `segment` bytes.
pub(crate) fn head(description: &[u8], segment: usize) -> Vec<u8> {
    let start = PAGE + description.len().next_multiple_of(PAGE);
    let mut head = vec![0; start];
    let words = [
        (0, u64::from_le_bytes(MAGIC)),
        (START, start as u64),
        (SEGMENT, segment as u64),
        (DESCRIPTION, description.len() as u64),
    ];
    for (at, word) in words {
        if let Some(place) = head.get_mut(at..at + 8) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    if let Some(place) = head.get_mut(PAGE..PAGE + description.len()) {
        place.copy_from_slice(description);
    }
    head
}
