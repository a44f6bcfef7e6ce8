//! A page of a directory: the bytes of one tree object, checked once and then searched in place.
//!
//! A Git tree is always one leaf. A native page is its level (0 for a leaf) and then its entries:
//!
//! ```text
//! leaf:   tag, name length, name, contents         ordered by name
//! inner:  key length, key, entries below, id       key: the last name below the child
//! ```
//!
//! Lengths and counts are LEB128. A leaf entry's tag is its mode (0 file, 1 executable, 2 link,
//! 3 module, 4 directory), plus 16 where the contents stand here: length and bytes. Else they are an
//! id; a module's has its length before it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::entry::{Content, Entry};
use crate::raw::{Malformed, Mode, TreeEntries, git_order};
use crate::{Format, Id, Kind};

/// The longest contents that stand in a native page instead of in a blob.
pub(crate) const INLINE_MAX: usize = 512;

/// Any level is far below: 2^40 entries are below level 40.
const LEVEL_MAX: u8 = 60;

pub(crate) struct Page {
    format: Format,
    pub(crate) level: u8,
    data: Bytes,
    /// Where each entry starts, and the end.
    starts: Box<[u32]>,
}

impl Page {
    pub(crate) fn parse(format: Format, data: Bytes) -> Result<Page, Malformed> {
        let wrong = |what: &str| {
            Err(Malformed {
                kind: Kind::Tree,
                what: what.into(),
            })
        };
        if u32::try_from(data.len()).is_err() {
            return wrong("it is larger than 4 GiB");
        }
        let mut starts = Vec::with_capacity(data.len() / 32 + 2);
        if format.is_git() {
            let mut before: Option<(&[u8], bool)> = None;
            let mut at = 0;
            for entry in TreeEntries::new(format, &data) {
                let entry = entry?;
                let is_dir = entry.mode == Mode::Dir;
                if before.is_some_and(|(name, dir)| {
                    git_order(name, dir, entry.name, is_dir) != Ordering::Less
                }) {
                    return wrong("its entries are out of order");
                }
                before = Some((entry.name, is_dir));
                starts.push(at);
                at += entry.bytes.len() as u32;
            }
            starts.push(at);
            return Ok(Page {
                format,
                level: 0,
                starts: starts.into(),
                data,
            });
        }
        let Some(&level) = data.first() else {
            return wrong("it is empty");
        };
        if level > LEVEL_MAX {
            return wrong("its level is absurd");
        }
        let mut read = Reader { data: &data, at: 1 };
        let mut before: Option<&[u8]> = None;
        while read.at < data.len() {
            starts.push(read.at as u32);
            let Some(name) = read.entry(level) else {
                return wrong("an entry is cut off or has no meaning");
            };
            if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                return wrong("a name is empty or holds a slash or NUL");
            }
            if before.is_some_and(|before| before >= name) {
                return wrong("its entries are out of order");
            }
            before = Some(name);
        }
        if level > 0 && before.is_none() {
            return wrong("an inner page has no entry");
        }
        starts.push(data.len() as u32);
        Ok(Page {
            format,
            level,
            starts: starts.into(),
            data,
        })
    }

    /// A page that was just built: its entries are in order and start there.
    pub(super) fn built(format: Format, data: Bytes, starts: &[u32]) -> Page {
        let starts = starts.iter().copied().chain([data.len() as u32]);
        Page {
            format,
            level: if format.is_git() { 0 } else { data[0] },
            starts: starts.collect(),
            data,
        }
    }

    /// How many entries stand in this page.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + 4 * self.starts.len() + 128
    }

    fn span(&self, at: usize) -> core::ops::Range<usize> {
        self.starts[at] as usize..self.starts[at + 1] as usize
    }

    /// Where entries start in the page's bytes.
    pub(super) fn starts(&self, entries: core::ops::Range<usize>) -> &[u32] {
        &self.starts[entries]
    }

    /// The entries from one to before another, verbatim.
    pub(crate) fn raw(&self, entries: core::ops::Range<usize>) -> &[u8] {
        &self.data[self.starts[entries.start] as usize..self.starts[entries.end] as usize]
    }

    /// The name of an entry, or the key of a child.
    pub(crate) fn name(&self, at: usize) -> &[u8] {
        let raw = &self.data[self.span(at)];
        if self.format.is_git() {
            let space = raw.iter().position(|&b| b == b' ').expect("checked");
            return &raw[space + 1..raw.len() - self.format.id_len() - 1];
        }
        &raw[key_span(raw, 0, self.level)]
    }

    /// The name, sharing the page's bytes.
    pub(crate) fn name_bytes(&self, at: usize) -> Bytes {
        self.data.slice_ref(self.name(at))
    }

    fn mode(&self, at: usize) -> Mode {
        let raw = &self.data[self.span(at)];
        if self.format.is_git() {
            let space = raw.iter().position(|&b| b == b' ').expect("checked");
            return Mode::from_digits(&raw[..space]).expect("checked");
        }
        mode_of(raw[0] & 15).expect("checked")
    }

    /// An entry of a leaf.
    pub(crate) fn entry(&self, at: usize) -> Entry {
        let span = self.span(at);
        let mode = self.mode(at);
        let id_at = |len: usize| {
            Content::Id(Id::from_bytes(&self.data[span.end - len..span.end]).expect("checked"))
        };
        if self.format.is_git() {
            return Entry {
                mode,
                content: id_at(self.format.id_len()),
            };
        }
        let tag = self.data[span.start];
        if tag & INLINE == 0 && mode != Mode::Module {
            return Entry {
                mode,
                content: id_at(32),
            };
        }
        let mut read = Reader {
            data: &self.data,
            at: span.start + 1,
        };
        let name = read.number().expect("checked") as usize;
        read.at += name;
        let len = read.number().expect("checked") as usize;
        let content = if tag & INLINE != 0 {
            Content::Here(self.data.slice(read.at..span.end))
        } else {
            id_at(len)
        };
        Entry { mode, content }
    }

    /// A child of an inner page: its id and how many entries are below it.
    pub(crate) fn child(&self, at: usize) -> (Id, u64) {
        let span = self.span(at);
        let mut read = Reader {
            data: &self.data,
            at: span.start,
        };
        let key = read.number().expect("checked") as usize;
        read.at += key;
        let count = read.number().expect("checked");
        (
            Id::from_bytes(&self.data[span.end - 32..span.end]).expect("checked"),
            count,
        )
    }

    /// The first entry whose name is not before this one.
    pub(crate) fn lower_bound(&self, name: &[u8], is_dir: bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            let order = if self.format.is_git() {
                git_order(
                    self.name(middle),
                    self.mode(middle) == Mode::Dir,
                    name,
                    is_dir,
                )
            } else {
                self.name(middle).cmp(name)
            };
            if order == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The entry of this name in a leaf.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let is_here = |at: &usize| *at < self.len() && self.name(*at) == name;
        let file = Some(self.lower_bound(name, false)).filter(is_here);
        // In Git's order a directory stands elsewhere than a file of its name.
        if file.is_some() || !self.format.is_git() {
            return file;
        }
        Some(self.lower_bound(name, true)).filter(is_here)
    }
}

const INLINE: u8 = 16;

fn mode_of(tag: u8) -> Option<Mode> {
    [
        Mode::File,
        Mode::Executable,
        Mode::Link,
        Mode::Module,
        Mode::Dir,
    ]
    .get(usize::from(tag))
    .copied()
}

/// Writes a leaf entry of a native page.
pub(crate) fn push_native(into: &mut Vec<u8>, name: &[u8], entry: &Entry) {
    let mode = match entry.mode {
        Mode::File => 0,
        Mode::Executable => 1,
        Mode::Link => 2,
        Mode::Module => 3,
        Mode::Dir => 4,
    };
    into.push(
        mode | if matches!(entry.content, Content::Here(_)) {
            INLINE
        } else {
            0
        },
    );
    push_number(into, name.len() as u64);
    into.extend_from_slice(name);
    match &entry.content {
        Content::Here(bytes) => {
            push_number(into, bytes.len() as u64);
            into.extend_from_slice(bytes);
        }
        Content::Id(id) => {
            if entry.mode == Mode::Module {
                push_number(into, id.as_bytes().len() as u64);
            }
            into.extend_from_slice(id.as_bytes());
        }
    }
}

/// Writes an entry of an inner page.
pub(crate) fn push_child(into: &mut Vec<u8>, key: &[u8], count: u64, id: &Id) {
    push_number(into, key.len() as u64);
    into.extend_from_slice(key);
    push_number(into, count);
    into.extend_from_slice(id.as_bytes());
}

fn push_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Where the key of the entry that starts there stands in the bytes of a native page.
pub(super) fn key_span(data: &[u8], start: usize, level: u8) -> core::ops::Range<usize> {
    let mut read = Reader {
        data,
        at: start + usize::from(level == 0),
    };
    let len = read.number().expect("checked") as usize;
    read.at..read.at + len
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A LEB128 number in its shortest form: equal contents have equal bytes.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.data.get(self.at)?;
            self.at += 1;
            let low = u64::from(byte & 0x7f);
            if low << shift >> shift != low || (byte == 0 && shift > 0) {
                return None;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let taken = self.data.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Checks one entry and gives its name.
    fn entry(&mut self, level: u8) -> Option<&'a [u8]> {
        if level > 0 {
            let len = self.number()?;
            let key = self.take(len)?;
            self.number()?;
            self.take(32)?;
            return Some(key);
        }
        let tag = self.take(1)?[0];
        let mode = mode_of(tag & 15)?;
        let len = self.number()?;
        let name = self.take(len)?;
        if tag & INLINE != 0 {
            let len = self.number()?;
            let stands_here = !matches!(mode, Mode::Dir | Mode::Module) && len <= INLINE_MAX as u64;
            (tag == tag & 31 && stands_here).then_some(())?;
            self.take(len)?;
        } else if mode == Mode::Module {
            let len = self.number()?;
            (tag & !15 == 0 && (len == 20 || len == 32)).then_some(())?;
            self.take(len)?;
        } else {
            (tag & !15 == 0).then_some(())?;
            self.take(32)?;
        }
        Some(name)
    }
}
