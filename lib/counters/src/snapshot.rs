//! The reader's side. Nothing that stands in a table is taken for granted.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::layout::{
    COUNT, LEN, MAGIC, MAX_DEVICE, MAX_NAME, REFUSED, SLOTS, Sample, VALUES, VERSION, fits,
    lengths, name,
};
use crate::table::refused;

/// A table as it was at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    samples: Vec<(String, String, u64)>,
    refused: u64,
}

impl Snapshot {
    /// Reads a table's [`LEN`] words, as they lie in a file. Returns at once.
    ///
    /// Every name that comes out is well-formed, and so printable.
    pub fn read(bytes: &[u8]) -> Result<Self, TableError> {
        let word = |place: usize| {
            let bytes = bytes.get(place * 8..place * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let word = |place| word(place).ok_or(TableError::Short(bytes.len()));
        let text = |place: usize, len: usize, most: usize| {
            let bytes = bytes.get(place * 8..)?.get(..len)?;
            core::str::from_utf8(bytes).ok().filter(|_| len <= most)
        };
        if word(0)? != MAGIC {
            return Err(TableError::NoTable);
        }
        if word(1)? != VERSION {
            return Err(TableError::Version(word(1)?));
        }
        word(LEN - 1)?;
        let count = word(COUNT)?;
        if count > SLOTS as u64 {
            return Err(TableError::Count(count));
        }
        let mut samples: Vec<(String, String, u64)> = Vec::with_capacity(count as usize);
        for slot in 0..count as usize {
            let both = word(lengths(slot))? as usize;
            let device = text(lengths(slot) + 1, both & 255, MAX_DEVICE);
            let name = text(name(slot), both >> 8, MAX_NAME);
            match (device, name) {
                (Some(device), Some(name)) if fits(device, name) => {
                    if samples.iter().any(|(d, n, _)| d == device && n == name) {
                        return Err(TableError::Twice(slot));
                    }
                    samples.push((device.into(), name.into(), word(VALUES + slot)?));
                }
                _ => return Err(TableError::Name(slot)),
            }
        }
        Ok(Self {
            samples,
            refused: word(REFUSED)?,
        })
    }

    /// The counters, in the table's order; see [`Table::each`](crate::Table::each).
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let samples = self.samples.iter().map(|(device, name, value)| Sample {
            device,
            name,
            value: *value,
        });
        samples.chain(refused(self.refused))
    }
}

/// Why bytes are not a table of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// They do not start like one: nothing has been counted yet, or it is something else.
    NoTable,
    /// They end too soon, after so many.
    Short(usize),
    /// They are of this version.
    Version(u64),
    /// They say that so many slots are in use.
    Count(u64),
    /// The names in this slot are not well-formed.
    Name(usize),
    /// The counter in this slot stands in an earlier one as well.
    Twice(usize),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("there is no table of counters"),
            Self::Short(len) => write!(f, "the table of counters ends after {len} bytes"),
            Self::Version(version) => write!(
                f,
                "the table of counters is of version {version}, not {VERSION}; use the `mirage` \
                 that built the unikernel"
            ),
            Self::Count(count) => write!(
                f,
                "the table of counters claims {count} counters and has room for {SLOTS}"
            ),
            Self::Name(slot) => {
                write!(
                    f,
                    "slot {slot} of the table of counters has a malformed name"
                )
            }
            Self::Twice(slot) => {
                write!(
                    f,
                    "slot {slot} of the table of counters repeats an earlier one"
                )
            }
        }
    }
}

impl core::error::Error for TableError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    fn table() -> Vec<u8> {
        let table = Table::new(None);
        table.counter("net", "frames_total").add(3);
        table
            .counter("stack", "dropped_total{cause=\"x y\"}")
            .add(4);
        table.counter("stack", "Bad").add(1);
        table.bytes()
    }

    fn changed(word: usize, value: u64) -> Result<Snapshot, TableError> {
        let mut bytes = table();
        bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        Snapshot::read(&bytes)
    }

    #[test]
    fn what_was_counted_is_read() {
        let snapshot = Snapshot::read(&table()).unwrap();
        let seen: Vec<_> = snapshot
            .samples()
            .map(|s| format!("{} {} {}", s.device, s.name, s.value))
            .collect();
        let expected = [
            "net frames_total 3",
            "stack dropped_total{cause=\"x y\"} 4",
            "counters counters_refused_total 1",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn each_thing_that_can_be_wrong_is_named() {
        assert_eq!(Snapshot::read(&[]), Err(TableError::Short(0)));
        let short = &table()[..LEN * 8 - 1];
        assert_eq!(Snapshot::read(short), Err(TableError::Short(short.len())));
        assert_eq!(Snapshot::read(&vec![0; LEN * 8]), Err(TableError::NoTable));
        assert_eq!(changed(1, 2), Err(TableError::Version(2)));
        let many = SLOTS as u64 + 1;
        assert_eq!(changed(COUNT, many), Err(TableError::Count(many)));
        assert_eq!(changed(COUNT, u64::MAX), Err(TableError::Count(u64::MAX)));
        assert_eq!(changed(COUNT, 3), Err(TableError::Name(2)), "never filled");
        // Escape sequences, bytes that are not text, lengths beyond the room.
        let escape = u64::from_le_bytes(*b"a\x1b[2J\0\0\0");
        assert_eq!(changed(lengths(0) + 1, escape), Err(TableError::Name(0)));
        assert_eq!(changed(name(1), u64::MAX), Err(TableError::Name(1)));
        let again = Table::new(None);
        again.counter("d", "a").add(1);
        again.counter("d", "b").add(1);
        let mut again = again.bytes();
        again[name(1) * 8] = b'a';
        assert_eq!(Snapshot::read(&again), Err(TableError::Twice(1)));
        assert_eq!(changed(lengths(1), u64::MAX), Err(TableError::Name(1)));
        // Longer than there is room, though what has room is well-formed.
        assert_eq!(changed(lengths(1), 1 | 57 << 8), Err(TableError::Name(1)));
        assert_eq!(changed(lengths(1), 1 | 257 << 8), Err(TableError::Name(1)));
    }

    proptest! {
        #[test]
        fn hostile_words_never_panic_and_no_name_has_a_control_character(
            changes in proptest::collection::vec((0..LEN, any::<u64>()), 0..40),
            cut in 0..=LEN * 8,
        ) {
            let mut bytes = table();
            for (word, value) in changes {
                bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
            }
            for bytes in [&bytes[..], &bytes[..cut]] {
                if let Ok(snapshot) = Snapshot::read(bytes) {
                    prop_assert!(snapshot.samples().count() <= SLOTS + 1);
                    for sample in snapshot.samples() {
                        prop_assert!(!sample.device.contains(|c: char| c.is_control()));
                        prop_assert!(!sample.name.contains(|c: char| c.is_control()));
                    }
                }
            }
        }
    }
}
