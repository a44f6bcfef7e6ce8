//! The file that holds a packed folder. All numbers are 32 bits, little-endian; offsets count
//! from the start of the file.
//!
//! ```text
//! header   magic (8 bytes), version, number of entries, number of slots, length of the file
//! slots    hash of a path, 1 + number of its entry; or zero twice
//! entries  path, media type, entity tag, content, gzip of the content: (offset, length) each
//! data     what the entries point to
//! ```
//!
//! Entries are in the order of their paths. A path's entry is found in the first slot from
//! `hash % slots` on that names it; an empty slot ends the search. The number of slots is a
//! power of two and at least twice the number of entries, so that a search is short. A gzip of
//! length zero is none: even the shortest has twenty bytes.

/// The first bytes of the file.
pub(crate) const MAGIC: [u8; 8] = *b"MIRASSET";

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// Bytes of the header.
pub(crate) const HEADER: usize = 24;

/// Bytes of a slot.
pub(crate) const SLOT: usize = 8;

/// Bytes of an entry.
pub(crate) const ENTRY: usize = 40;

/// FNV-1a. Which paths are asked for is up to strangers, which ones are stored is not: a search
/// never takes longer than the longest run of slots of the stored ones.
pub(crate) const fn hash(path: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        rest = after;
    }
    // The low bits choose the slot: let the high ones take part.
    hash ^ (hash >> 15)
}
