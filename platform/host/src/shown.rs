//! Counters shown in a file: what an image writes into memory it shares, a program, which has no
//! such memory without `unsafe`, copies there now and then.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mirage_counters::LEN;
use mirage_device::Instant;

/// So long a copy is new enough.
const FRESH: Duration = Duration::from_millis(100);

pub(crate) struct Shown {
    file: File,
    /// As long as the program: it has one platform.
    memory: &'static [AtomicU64],
    /// When the next copy is due.
    due: Cell<Instant>,
}

impl Shown {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let memory: Vec<AtomicU64> = (0..LEN).map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            file: OpenOptions::new().write(true).open(path)?,
            memory: memory.leak(),
            due: Cell::new(Instant::ZERO),
        })
    }

    pub(crate) fn memory(&self) -> &'static [AtomicU64] {
        self.memory
    }

    /// Copies what has changed, or makes sure that it is copied soon: how long to wait at most.
    /// After a copy nothing changes until the wait is over, so an idle program sleeps on.
    pub(crate) fn before_wait(&self, now: Instant, timeout: Option<Duration>) -> Option<Duration> {
        if now < self.due.get() {
            let soon = self.due.get() - now;
            return Some(timeout.map_or(soon, |timeout| timeout.min(soon)));
        }
        let words = self.memory.iter().map(|word| word.load(Ordering::Relaxed));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        // It fails only when the host is short of memory; the next copy may not.
        let _ = self.file.write_all_at(&bytes, 0);
        self.due.set(now + FRESH);
        timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_before_a_long_wait_and_not_too_often() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shown = Shown::open(file.path()).unwrap();
        let first = || {
            let bytes = std::fs::read(file.path()).unwrap();
            u64::from_le_bytes(bytes[..8].try_into().unwrap())
        };
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        shown.memory()[0].store(7, Ordering::Relaxed);
        assert_eq!(shown.before_wait(at(0), None), None);
        assert_eq!(first(), 7);
        shown.memory()[0].store(8, Ordering::Relaxed);
        let rest = Duration::from_millis(60);
        assert_eq!(shown.before_wait(at(40), None), Some(rest));
        assert_eq!(first(), 7);
        assert_eq!(shown.before_wait(at(100), Some(rest)), Some(rest));
        assert_eq!(first(), 8);
    }
}
