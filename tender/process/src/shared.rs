//! Memory that an image shares with whoever started it: a file, mapped whole at one address.
//!
//! `MIRAGE_COUNTERS=4,4096` in the image's environment says: descriptor 4 has 4096 bytes, which
//! can be mapped at [`Kind::Counters`]'s address.

use core::ops::RangeInclusive;

/// What the memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counters, which the image writes and others read while it runs.
    Counters,
    /// What came through the platform boundary, being written or to be repeated.
    Record,
}

/// A file that is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// What for.
    pub kind: Kind,
    /// Its length in bytes, whole pages.
    pub len: u64,
}

/// The most kinds there are.
pub const MAX_SHARED: usize = 2;

/// The lengths a shared file may have.
pub const LEN: RangeInclusive<u64> = 4096..=1 << 40;

impl Kind {
    /// Where the image may map it: the one address `mmap` takes for its descriptor.
    pub const fn address(self) -> u64 {
        match self {
            Self::Counters => 0x3000_0000_0000,
            Self::Record => 0x4000_0000_0000,
        }
    }

    /// The variable that tells the image of it.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Counters => "MIRAGE_COUNTERS",
            Self::Record => "MIRAGE_RECORD",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::MEMORY;
    use crate::{ARENA, STACK};

    #[test]
    fn no_two_places_overlap_however_long_they_are() {
        let mut end = ARENA + STACK + MEMORY.end();
        for kind in [Kind::Counters, Kind::Record] {
            assert!(end <= kind.address());
            end = kind.address() + LEN.end();
        }
        // A process's addresses end below 2^47; the kernel places its own things near the end.
        assert!(end <= 0x7000_0000_0000);
    }
}
