use core::fmt;

use mirage_device::{Asset, Assets, Encoding};

use crate::format::{ENTRY, HEADER, MAGIC, SLOT, VERSION, hash};

/// A packed folder, read in place.
#[derive(Clone, Copy)]
pub struct Sealed {
    file: &'static [u8],
    slots: &'static [u8],
    entries: &'static [u8],
}

/// Why a file is not a packed folder. Pack the folder anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedError {
    /// It does not begin as a packed folder does.
    Foreign,
    /// It was packed by another version of this library.
    Version(u32),
    /// It has another length than it says.
    Length,
    /// Its index is damaged.
    Index,
    /// The entry of this number is damaged.
    Entry(u32),
}

impl fmt::Display for SealedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed folder cannot be read: ")?;
        match self {
            Self::Foreign => f.write_str("it is not one")?,
            Self::Version(found) => write!(f, "it has format {found}, not {VERSION}")?,
            Self::Length => f.write_str("it is cut off, or has something behind it")?,
            Self::Index => f.write_str("its index is damaged")?,
            Self::Entry(number) => write!(f, "its entry {number} is damaged")?,
        }
        f.write_str("; build the image anew")
    }
}

impl core::error::Error for SealedError {}

/// The parts of an entry.
#[derive(Clone, Copy)]
enum Part {
    Path,
    MediaType,
    Etag,
    Content,
    Gzip,
}

impl Sealed {
    /// Reads the packed folder `file`.
    ///
    /// Returns at once: checks the index and every entry, not the contents, and allocates
    /// nothing.
    pub fn new(file: &'static [u8]) -> Result<Self, SealedError> {
        if !file.starts_with(&MAGIC) {
            return Err(SealedError::Foreign);
        }
        let header = |at| number(file, at).ok_or(SealedError::Length);
        let (version, count, slots, length) = (header(8)?, header(12)?, header(16)?, header(20)?);
        if version != VERSION {
            return Err(SealedError::Version(version));
        }
        if length as usize != file.len() {
            return Err(SealedError::Length);
        }
        if !slots.is_power_of_two() || slots <= count {
            return Err(SealedError::Index);
        }
        let index = (slots as usize).checked_mul(SLOT).and_then(|size| {
            let (slots, rest) = file.get(HEADER..)?.split_at_checked(size)?;
            Some((slots, rest.get(..(count as usize).checked_mul(ENTRY)?)?))
        });
        let (slots, entries) = index.ok_or(SealedError::Index)?;
        let sealed = Self {
            file,
            slots,
            entries,
        };
        sealed.check_entries()?;
        sealed.check_slots()?;
        Ok(sealed)
    }

    fn check_entries(&self) -> Result<(), SealedError> {
        let mut last = "";
        for (number, _) in (0..).zip(self.entries.as_chunks::<ENTRY>().0) {
            let good = self.asset(number).is_some_and(|asset| {
                let visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                let tag = |text: &str| text.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'~'));
                visible(asset.media_type) && tag(asset.etag)
            });
            let path = self.text(number, Part::Path).unwrap_or_default();
            if !good || path <= last || !is_plain(path) {
                return Err(SealedError::Entry(number));
            }
            last = path;
        }
        Ok(())
    }

    /// Every entry can be found, and there is nothing else to be found.
    fn check_slots(&self) -> Result<(), SealedError> {
        let taken = self
            .slots
            .as_chunks::<SLOT>()
            .0
            .iter()
            .filter(|slot| **slot != [0; SLOT]);
        let count = self.count();
        if taken.count() != count {
            return Err(SealedError::Index);
        }
        for number in 0..count as u32 {
            let path = self.bytes(number, Part::Path).unwrap_or_default();
            if self.find(path) != Some(number) {
                return Err(SealedError::Index);
            }
        }
        Ok(())
    }

    const fn count(&self) -> usize {
        self.entries.len() / ENTRY
    }

    /// The number of the entry with this path.
    fn find(&self, path: &[u8]) -> Option<u32> {
        let (slots, _) = self.slots.as_chunks::<SLOT>();
        let wanted = hash(path);
        let start = wanted as usize & slots.len().checked_sub(1)?;
        let (before, after) = slots.split_at_checked(start)?;
        for [h0, h1, h2, h3, e0, e1, e2, e3] in after.iter().chain(before) {
            let entry = u32::from_le_bytes([*e0, *e1, *e2, *e3]).checked_sub(1)?;
            let hash = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
            if hash == wanted && self.bytes(entry, Part::Path) == Some(path) {
                return Some(entry);
            }
        }
        None
    }

    fn bytes(&self, entry: u32, part: Part) -> Option<&'static [u8]> {
        let at = (entry as usize)
            .checked_mul(ENTRY)?
            .checked_add(part as usize * 8)?;
        let start = number(self.entries, at)? as usize;
        let length = number(self.entries, at + 4)? as usize;
        self.file.get(start..)?.get(..length)
    }

    fn text(&self, entry: u32, part: Part) -> Option<&'static str> {
        core::str::from_utf8(self.bytes(entry, part)?).ok()
    }

    fn asset(&self, entry: u32) -> Option<Asset<'static>> {
        let content = self.bytes(entry, Part::Content)?;
        let asset = Asset::new(
            content,
            self.text(entry, Part::MediaType)?,
            self.text(entry, Part::Etag)?,
        );
        Some(match self.bytes(entry, Part::Gzip)? {
            [] => asset,
            gzip => asset.with_encoded(Encoding::Gzip, gzip),
        })
    }
}

impl Assets for Sealed {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        self.asset(self.find(path.as_bytes())?)
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        (0..self.count() as u32).filter_map(|entry| self.text(entry, Part::Path))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// Components separated by one slash, none of them `.` or `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
