//! Ready values that converge: whatever order copies are merged in, all end up the same.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use bytes::Bytes;

use crate::merge::{Merger, Refused};
use crate::{Contents, NotContents};

/// A counter that any number of writers add to and take from, each under a name of its own.
///
/// It remembers each writer's sums, so that nothing is counted twice or lost, by whatever ways the
/// copies reach each other. The contents are lines `WRITER +ADDED -TAKEN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, (u64, u64)>);

impl Tally {
    /// What all writers added, less what they took.
    pub fn value(&self) -> i128 {
        self.0
            .values()
            .map(|(added, taken)| i128::from(*added) - i128::from(*taken))
            .sum()
    }

    /// Adds (or takes, if negative) in a writer's name. Only one copy at a time may count in one
    /// name; names hold no white space (it is replaced by `_`).
    pub fn add(&mut self, writer: &str, amount: i64) {
        let name = writer
            .split_whitespace()
            .collect::<alloc::vec::Vec<_>>()
            .join("_");
        let (added, taken) = self.0.entry(name).or_default();
        let sum = if amount < 0 { taken } else { added };
        *sum = sum.saturating_add(amount.unsigned_abs());
    }
}

impl Contents for Tally {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        let lines = self
            .0
            .iter()
            .map(|(writer, (added, taken))| format!("{writer} +{added} -{taken}\n"));
        Ok(lines.collect::<String>().into())
    }

    fn from_contents(bytes: &[u8]) -> Result<Tally, NotContents> {
        let line = |line: &str| {
            let mut parts = line.split(' ');
            let writer = parts.next()?;
            let added = parts.next()?.strip_prefix('+')?.parse().ok()?;
            let taken = parts.next()?.strip_prefix('-')?.parse().ok()?;
            parts
                .next()
                .is_none()
                .then(|| (writer.into(), (added, taken)))
        };
        let text = core::str::from_utf8(bytes).ok();
        let read = text.and_then(|text| text.lines().map(line).collect());
        read.map(Tally).ok_or(NotContents {
            wanted: "a tally: lines of WRITER +ADDED -TAKEN",
        })
    }
}

/// For a [`Tally`]: each writer's greatest sums. Never refuses.
pub struct Tallies;

impl Merger<Tally> for Tallies {
    fn merge(&self, _: Option<&Tally>, ours: &Tally, theirs: &Tally) -> Result<Tally, Refused> {
        let mut merged = ours.clone();
        for (writer, (added, taken)) in &theirs.0 {
            let sums = merged.0.entry(writer.clone()).or_default();
            *sums = (sums.0.max(*added), sums.1.max(*taken));
        }
        Ok(merged)
    }
}

/// A log of entries with times, oldest first; entries are only added. The contents are lines
/// `TIME TEXT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal(BTreeSet<(u64, String)>);

impl Journal {
    /// Adds an entry. Line ends in it become spaces.
    pub fn add(&mut self, time: u64, text: &str) {
        self.0.insert((time, text.replace(['\n', '\r'], " ")));
    }

    /// All entries, by time.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (u64, &str)> {
        self.0.iter().map(|(time, text)| (*time, &text[..]))
    }
}

impl Contents for Journal {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        let lines = self.0.iter().map(|(time, text)| format!("{time} {text}\n"));
        Ok(lines.collect::<String>().into())
    }

    fn from_contents(bytes: &[u8]) -> Result<Journal, NotContents> {
        let line = |line: &str| {
            let (time, text) = line.split_once(' ')?;
            Some((time.parse().ok()?, text.into()))
        };
        let text = core::str::from_utf8(bytes).ok();
        let read = text.and_then(|text| text.split_terminator('\n').map(line).collect());
        read.map(Journal).ok_or(NotContents {
            wanted: "a journal: lines of TIME TEXT",
        })
    }
}

/// For a [`Journal`]: the entries of both. Never refuses.
pub struct Journals;

impl Merger<Journal> for Journals {
    fn merge(
        &self,
        _: Option<&Journal>,
        ours: &Journal,
        theirs: &Journal,
    ) -> Result<Journal, Refused> {
        Ok(Journal(ours.0.union(&theirs.0).cloned().collect()))
    }
}

/// A value of which the last one written counts. The contents are `TIME WRITER` and, after the end
/// of that line, the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latest {
    time: u64,
    writer: String,
    value: Bytes,
}

impl Latest {
    /// Writes a value. Whoever looked at the old one passes a time after [`time`](Latest::time), or
    /// the old one may win.
    pub fn set(&mut self, time: u64, writer: &str, value: impl Into<Bytes>) {
        let writer = writer
            .split_whitespace()
            .collect::<alloc::vec::Vec<_>>()
            .join("_");
        *self = Latest {
            time,
            writer,
            value: value.into(),
        };
    }

    /// The value.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// When it was written.
    pub fn time(&self) -> u64 {
        self.time
    }
}

impl Contents for Latest {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        let mut bytes = format!("{} {}\n", self.time, self.writer).into_bytes();
        bytes.extend_from_slice(&self.value);
        Ok(bytes.into())
    }

    fn from_contents(bytes: &[u8]) -> Result<Latest, NotContents> {
        let read = || {
            let end = bytes.iter().position(|&b| b == b'\n')?;
            let (time, writer) = core::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
            let value = Bytes::copy_from_slice(&bytes[end + 1..]);
            Some(Latest {
                time: time.parse().ok()?,
                writer: writer.into(),
                value,
            })
        };
        read().ok_or(NotContents {
            wanted: "a latest value: TIME WRITER and the value",
        })
    }
}

/// For a [`Latest`]: the later one; of equal times the greater writer, then value. Never refuses.
pub struct Latests;

impl Merger<Latest> for Latests {
    fn merge(&self, _: Option<&Latest>, ours: &Latest, theirs: &Latest) -> Result<Latest, Refused> {
        Ok(ours.max(theirs).clone())
    }
}
