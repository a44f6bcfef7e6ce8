//! Whether a file is an image.
//!
//! The kernel's loader is lenient; this check is not. It lets pass only what an image is: a static
//! ELF file for x86-64, every segment inside the file and inside [`IMAGE`], none both writable and
//! executable (System V ABI, "Object Files" and "Program Loading").

use core::fmt;

use crate::IMAGE;

/// An image's headers lie within its first bytes: this many.
pub const HEAD: usize = 4096;
/// The most bytes of notes that are read.
pub const MAX_NOTES: u64 = 16 * 1024;

const HEADER: usize = 64;
const ENTRY_SIZE: usize = 56;
const PAGE: u64 = 4096;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_GNU_STACK: u32 = 0x6474_e551;
const X: u32 = 1;
const W: u32 = 2;

/// An ELF file that is what an image is; its notes are still to be read.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    segments: &'a [u8],
    /// Bytes of address space its segments take, whole pages.
    pub memory: u64,
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl<'a> Elf<'a> {
    /// Checks a file of `size` bytes by its first [`HEAD`] bytes, or all of them if it is shorter.
    pub fn check(head: &'a [u8], size: u64) -> Result<Self, ElfError> {
        let segments = check_header(head)?;
        let mut loads = 0;
        let mut end = IMAGE.start;
        let mut memory = 0;
        let mut stack = false;
        let mut notes = 0;
        for segment in entries(segments) {
            let inside = |s: &Segment| s.offset.checked_add(s.filesz).is_some_and(|e| e <= size);
            match segment.kind {
                PT_INTERP | PT_DYNAMIC => return Err(ElfError::Dynamic),
                PT_GNU_STACK if segment.flags & X != 0 => return Err(ElfError::ExecutableStack),
                PT_GNU_STACK => stack = true,
                PT_NOTE => {
                    if !inside(&segment) {
                        return Err(ElfError::Truncated);
                    }
                    notes += segment.filesz;
                    if notes > MAX_NOTES {
                        return Err(ElfError::Notes);
                    }
                }
                PT_LOAD => {
                    if !inside(&segment) {
                        return Err(ElfError::Truncated);
                    }
                    if segment.flags & (W | X) == W | X {
                        return Err(ElfError::WritableCode(loads));
                    }
                    end = segment.check(end).ok_or(ElfError::Segment(loads))?;
                    memory += end - segment.address / PAGE * PAGE;
                    loads += 1;
                }
                _ => {}
            }
        }
        if loads == 0 {
            return Err(ElfError::Empty);
        }
        if !stack {
            return Err(ElfError::ExecutableStack);
        }
        let entry = word(head, 24).unwrap_or(0);
        let code = |s: Segment| s.kind == PT_LOAD && s.flags & X != 0 && s.holds(entry);
        if !entries(segments).any(code) {
            return Err(ElfError::Entry);
        }
        Ok(Self { segments, memory })
    }

    /// Where in the file the notes are: [`MAX_NOTES`] bytes together at most.
    pub fn notes(&self) -> impl Iterator<Item = Extent> + use<'a> {
        entries(self.segments)
            .filter(|segment| segment.kind == PT_NOTE)
            .map(|Segment { offset, filesz, .. }| Extent {
                offset,
                len: filesz,
            })
    }
}

/// Checks the ELF header and yields the program headers.
fn check_header(head: &[u8]) -> Result<&[u8], ElfError> {
    if !head.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    let header = head.get(..HEADER).ok_or(ElfError::Truncated)?;
    let half = |at| half(header, at);
    // Class 64 bits, little-endian, version 1; machine x86-64.
    if header.get(4..7) != Some(&[2, 1, 1]) || half(18) != Some(62) {
        return Err(ElfError::Machine);
    }
    match half(16) {
        Some(2) => {}
        Some(3) => return Err(ElfError::Dynamic),
        _ => return Err(ElfError::NotExecutable),
    }
    let count = usize::from(half(56).unwrap_or(0));
    let start = word(header, 32).and_then(|start| usize::try_from(start).ok());
    if half(54) != Some(ENTRY_SIZE as u16) || half(52) != Some(HEADER as u16) {
        return Err(ElfError::Header);
    }
    let end = start.and_then(|start| start.checked_add(count * ENTRY_SIZE));
    let (Some(start), Some(end)) = (start, end) else {
        return Err(ElfError::Header);
    };
    if start < HEADER || end > HEAD {
        return Err(ElfError::Header);
    }
    head.get(start..end).ok_or(ElfError::Truncated)
}

struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    filesz: u64,
    memsz: u64,
}

impl Segment {
    /// Whether it can be mapped after what ends at `after`; the end of its last page.
    fn check(&self, after: u64) -> Option<u64> {
        let first = self.address / PAGE * PAGE;
        let end = self.address.checked_add(self.memsz)?;
        let sane = first >= after
            && end <= IMAGE.end
            && self.memsz > 0
            && self.filesz <= self.memsz
            && self.offset % PAGE == self.address % PAGE
            // The kernel zeroes what the file does not fill, and must be able to write it.
            && (self.filesz == self.memsz || self.flags & W != 0);
        // Only then does rounding up not overflow.
        sane.then(|| end.next_multiple_of(PAGE))
    }

    fn holds(&self, address: u64) -> bool {
        address
            .checked_sub(self.address)
            .is_some_and(|offset| offset < self.filesz)
    }
}

fn entries(segments: &[u8]) -> impl Iterator<Item = Segment> {
    segments.chunks_exact(ENTRY_SIZE).filter_map(|entry| {
        let [kind, flags] = [0, 4].map(|at| entry.get(at..)?.first_chunk());
        Some(Segment {
            kind: u32::from_le_bytes(*kind?),
            flags: u32::from_le_bytes(*flags?),
            offset: word(entry, 8)?,
            address: word(entry, 16)?,
            filesz: word(entry, 32)?,
            memsz: word(entry, 40)?,
        })
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Why a file is not an image. Segments are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfError {
    /// No ELF file at all.
    NotElf,
    /// It ends before its headers say.
    Truncated,
    /// For another machine.
    Machine,
    /// An object file, a core file.
    NotExecutable,
    /// It needs a dynamic loader.
    Dynamic,
    /// The ELF header contradicts itself.
    Header,
    /// A segment is outside an image's addresses, overlaps another or contradicts itself.
    Segment(usize),
    /// A segment is both writable and executable.
    WritableCode(usize),
    /// The stack would be executable.
    ExecutableStack,
    /// The notes are too long.
    Notes,
    /// There is nothing to load.
    Empty,
    /// The entry point is not in the code.
    Entry,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("it is not an ELF file; give one that `mirage build` made"),
            Self::Truncated => f.write_str("it is cut short; build or copy it again"),
            Self::Machine => f.write_str("it is for another machine than x86-64"),
            Self::NotExecutable => f.write_str("it is an ELF file, but not an executable one"),
            Self::Dynamic => f.write_str(
                "it is an ordinary program that needs a dynamic loader; give one that \
                 `mirage build` made",
            ),
            Self::Header => f.write_str("its ELF header is corrupt; build or copy it again"),
            Self::Segment(number) => write!(
                f,
                "its segment {number} is corrupt or outside an image's addresses ({:#x} to \
                 {:#x})",
                IMAGE.start, IMAGE.end
            ),
            Self::WritableCode(number) => {
                write!(f, "its segment {number} is both writable and executable")
            }
            Self::ExecutableStack => f.write_str("it does not forbid an executable stack"),
            Self::Notes => write!(f, "its notes are longer than {MAX_NOTES} bytes"),
            Self::Empty => f.write_str("it has nothing to load"),
            Self::Entry => f.write_str("its entry point is not in its code"),
        }
    }
}

#[cfg(test)]
mod tests;
