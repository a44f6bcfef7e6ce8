//! Segments: their sizes, and the two sectors at their beginning.

use alloc::vec::Vec;

use irmin::Format;

use super::{u32_at, u64_at};

/// The most bytes of a segment: offsets in the table have 24 bits, in units of 8.
pub const MAX_SEGMENT: u64 = 128 << 20;
/// The least: headers, names and a few records find room.
pub const MIN_SEGMENT: u64 = 64 << 10;
/// How many segments there are at most: 20 bits of a [`Place`].
pub const MAX_SLOTS: u32 = 1 << 20;
/// Where a segment's records begin: after the header and the seal, a sector each.
pub const RECORDS: u64 = 8192;
pub const SEAL: usize = 4096;
/// Bytes of one object in an index.
pub const ENTRY: usize = 16;

const MAGIC: &[u8; 8] = b"irminpk1";
const SEALED: &[u8; 8] = b"irminse1";

/// The most bytes of an object in one record; larger ones are cut into parts of this size.
pub fn part_size(segment: u64) -> usize {
    (segment / 8).min(1 << 20) as usize
}

/// Counts segments and openings of the store, so that no two lives of one place look alike: the
/// number of the opening in the high half, of the segment within it in the low half.
pub type Stamp = u64;

/// A point in the order of writing: the stamp of a segment, and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub stamp: Stamp,
    pub offset: u32,
}

/// The first sector of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    /// Bytes of every segment of this store.
    pub segment: u64,
    pub stamp: Stamp,
    /// The stamp of the segment that was written before this one; 0 if there was none.
    pub before: Stamp,
    /// What was durable when this was written.
    pub durable: Point,
    /// The store's own number, which checksums depend on.
    pub salt: u32,
}

/// The second sector of a segment that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Where the records end and the index begins.
    pub end: u32,
    pub entries: u32,
    pub index_crc: u32,
}

impl Header {
    /// Whether the segment was begun before this point. (Offset 0 is the end of the segment before.)
    pub fn begun_by(&self, point: Point) -> bool {
        let stamp = self.stamp;
        Point { stamp, offset: 1 } <= point
    }

    fn encode(&self, magic: &[u8; 8], seal: Seal) -> [u8; 68] {
        let mut out = [0; 68];
        out[..8].copy_from_slice(magic);
        out[8] = match self.format {
            Format::GitSha1 => 1,
            Format::GitSha256 => 2,
            Format::Native => 3,
        };
        out[12..16].copy_from_slice(&(self.segment as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.stamp.to_le_bytes());
        out[24..32].copy_from_slice(&self.before.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable.stamp.to_le_bytes());
        out[40..44].copy_from_slice(&self.durable.offset.to_le_bytes());
        out[44..48].copy_from_slice(&seal.end.to_le_bytes());
        out[48..52].copy_from_slice(&seal.entries.to_le_bytes());
        out[52..56].copy_from_slice(&seal.index_crc.to_le_bytes());
        out[56..60].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&out[..64]);
        out[64..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], magic: &[u8; 8]) -> Option<(Header, Seal)> {
        let bytes = bytes.get(..68)?;
        if &bytes[..8] != magic || crc32fast::hash(&bytes[..64]) != u32_at(bytes, 64) {
            return None;
        }
        let format = match bytes[8] {
            1 => Format::GitSha1,
            2 => Format::GitSha256,
            3 => Format::Native,
            _ => return None,
        };
        let header = Header {
            format,
            segment: u64::from(u32_at(bytes, 12)),
            stamp: u64_at(bytes, 16),
            before: u64_at(bytes, 24),
            durable: Point {
                stamp: u64_at(bytes, 32),
                offset: u32_at(bytes, 40),
            },
            salt: u32_at(bytes, 56),
        };
        let seal = Seal {
            end: u32_at(bytes, 44),
            entries: u32_at(bytes, 48),
            index_crc: u32_at(bytes, 52),
        };
        let index = u64::from(seal.end) + u64::from(seal.entries) * ENTRY as u64;
        let sound = check_segment(header.segment)
            && header.stamp > header.before
            && (seal == Seal::none() || u64::from(seal.end) >= RECORDS)
            && seal.end.is_multiple_of(8)
            && index <= header.segment;
        sound.then_some((header, seal))
    }

    /// The first 8192 bytes of a new segment: the header, twice.
    pub fn begin(&self) -> Vec<u8> {
        let mut out = self.encode(MAGIC, Seal::none()).to_vec();
        out.resize(SEAL, 0);
        out.extend_from_within(..);
        out
    }

    /// The sector that seals the segment.
    pub fn seal(&self, seal: Seal) -> Vec<u8> {
        let mut out = self.encode(SEALED, seal).to_vec();
        out.resize(RECORDS as usize - SEAL, 0);
        out
    }

    /// What the first 8192 bytes say. The second sector repeats the header, sealed or not, so that one
    /// damaged sector loses nothing; the flag says whether one was. A header of zeros is no damage: the slot was freed.
    pub fn read(bytes: &[u8]) -> Option<(Header, Option<Seal>, bool)> {
        if bytes[..68] == [0; 68] {
            return None;
        }
        let first = Header::decode(bytes, MAGIC).map(|(header, _)| header);
        let copy = Header::decode(&bytes[SEAL..], MAGIC).map(|(header, _)| (header, None));
        let sealed = Header::decode(&bytes[SEAL..], SEALED);
        let second = copy.or(sealed.map(|(header, seal)| (header, Some(seal))));
        match (first, second) {
            (Some(header), Some((again, seal))) if again.stamp == header.stamp => {
                Some((header, seal, false))
            }
            (Some(header), _) => Some((header, None, true)),
            (None, Some((header, seal))) => Some((header, seal, true)),
            (None, None) => None,
        }
    }
}

impl Seal {
    fn none() -> Seal {
        Seal {
            end: 0,
            entries: 0,
            index_crc: 0,
        }
    }
}

/// Whether segments may be so large.
pub fn check_segment(size: u64) -> bool {
    (MIN_SEGMENT..=MAX_SEGMENT).contains(&size) && size.is_multiple_of(4096)
}

/// How large the segments of a store are, as the first 16 bytes of one of them say; `None` where they
/// begin no segment. What is damaged behind them does not matter.
pub fn segment_size(start: &[u8]) -> Option<u64> {
    let start = start.get(..16).filter(|start| start.starts_with(MAGIC))?;
    Some(u64::from(u32_at(start, 12))).filter(|size| check_segment(*size))
}
