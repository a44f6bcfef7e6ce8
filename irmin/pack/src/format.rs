//! The bytes on disk: headers of segments, records, indexes, names. The crate's front page has the
//! tables.

use alloc::vec::Vec;

use bytes::Bytes;
use irmin::{Format, Id, Kind, RefName};

use crate::block::{self, Listed};

/// The most bytes of a segment: offsets in the table have 24 bits, in units of 8.
pub const MAX_SEGMENT: u64 = 128 << 20;
/// The least: headers, names and a few records find room.
pub const MIN_SEGMENT: u64 = 64 << 10;
/// How many segments there are at most: 20 bits of a [`Place`].
pub const MAX_SLOTS: u32 = 1 << 20;
/// Where a segment's records begin: after the header and the seal, a sector each.
pub const RECORDS: u64 = 8192;
pub const SEAL: usize = 4096;
/// Bytes of a record before its payload.
pub const HEAD: usize = 64;
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

/// Where a record lies, in eight bytes: slot, offset, whether it is the first part of an object, a later
/// one, a block of several or a chapter of the index of commits, and its length; offset and length in
/// units of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(pub u64);

impl Place {
    pub fn new(slot: u32, offset: u64, later_part: bool, len: usize) -> Place {
        Place(
            u64::from(slot) << 44
                | (offset / 8) << 20
                | u64::from(later_part) << 19
                | (len / 8) as u64,
        )
    }

    /// That of a block.
    pub fn of_block(slot: u32, offset: u64, len: usize) -> Place {
        Place(Place::new(slot, offset, false, len).0 | 1 << 18)
    }

    /// That of a chapter of the index of commits.
    pub fn of_chapter(slot: u32, offset: u64, len: usize) -> Place {
        Place(Place::new(slot, offset, true, len).0 | 1 << 18)
    }

    pub fn is_block(self) -> bool {
        self.0 >> 18 & 3 == 1
    }

    pub fn is_chapter(self) -> bool {
        self.0 >> 18 & 3 == 3
    }

    pub fn slot(self) -> u32 {
        (self.0 >> 44) as u32
    }

    pub fn offset(self) -> u64 {
        (self.0 >> 20 & 0xff_ffff) * 8
    }

    pub fn later_part(self) -> bool {
        self.0 >> 18 & 3 == 2
    }

    pub fn len(self) -> usize {
        (self.0 & 0x3_ffff) as usize * 8
    }

    /// The same record in another slot: an index on disk does not say in which it lies.
    pub fn in_slot(self, slot: u32) -> Place {
        Place(self.0 & ((1 << 44) - 1) | u64::from(slot) << 44)
    }
}

/// What finds a part of an object in the table: the first bytes of the id, mixed with the part's
/// number.
pub fn key(id: &Id, part: u32) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(first) ^ u64::from(part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Part of an object; `total` is the length of the whole.
    Part {
        id: Id,
        kind: Kind,
        part: u32,
        total: u64,
        data: Bytes,
    },
    /// Names that moved, all of them or none; and what was durable then.
    Moves {
        durable: Point,
        edits: Vec<(RefName, Option<Id>)>,
    },
    /// Every name there is, or with `more` the first of them.
    Names {
        more: bool,
        names: Vec<(RefName, Id)>,
    },
    /// Small objects, compressed together.
    Block { listed: Vec<Listed>, stream: Bytes },
    /// Rows of the index of commits, so many from that number on.
    Chapter {
        edition: u32,
        first: u32,
        count: u32,
        data: Bytes,
    },
    /// From here on records have a new stamp; and what was durable then.
    Opening { durable: Point },
}

/// A record with its stamp and the bytes that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub stamp: Stamp,
    pub len: usize,
    pub body: Body,
}

/// The bytes that a record with this payload takes.
pub fn record_len(payload: usize) -> usize {
    (HEAD + payload).next_multiple_of(8)
}

/// What a record's checksum depends on besides its bytes: the store, and where in a segment it lies.
/// What looks like a record inside an object, or a copy of one elsewhere, is none.
#[derive(Clone, Copy)]
pub struct Ink {
    pub salt: u32,
    /// Where in the segment the buffer begins.
    pub from: u64,
}

impl Ink {
    fn checksum(self, at: usize, bytes: &[u8]) -> u32 {
        let place = (self.from + at as u64) / 8;
        let mut hasher = crc32fast::Hasher::new_with_initial(self.salt ^ place as u32);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The fields of a record before the payload, as they lie on disk.
#[derive(Default)]
struct Head {
    stamp: Stamp,
    kind: u8,
    detail: u8,
    id_len: u8,
    number: u32,
    wide: u64,
    id: [u8; 32],
}

fn push_record(out: &mut Vec<u8>, ink: Ink, head: &Head, payload: &[u8]) {
    let from = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&head.stamp.to_le_bytes());
    out.extend_from_slice(&[head.kind, head.detail, head.id_len, 0]);
    out.extend_from_slice(&head.number.to_le_bytes());
    out.extend_from_slice(&head.wide.to_le_bytes());
    out.extend_from_slice(&head.id);
    out.extend_from_slice(payload);
    let crc = ink.checksum(from, &out[from + 4..]);
    out[from..from + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(from + record_len(payload.len()), 0);
}

/// The kind of this number.
pub fn kind(number: u8) -> Option<Kind> {
    Some(match number {
        1 => Kind::Blob,
        2 => Kind::Tree,
        3 => Kind::Commit,
        4 => Kind::Tag,
        _ => return None,
    })
}

pub fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Blob => 1,
        Kind::Tree => 2,
        Kind::Commit => 3,
        Kind::Tag => 4,
    }
}

/// Appends a block of so many objects.
pub fn push_block(out: &mut Vec<u8>, ink: Ink, stamp: Stamp, count: u32, payload: &[u8]) {
    let head = Head {
        stamp,
        kind: 5,
        number: count,
        ..Head::default()
    };
    push_record(out, ink, &head, payload);
}

/// Appends a chapter of the index of commits: of this edition, from this row on so many rows.
pub fn push_chapter(
    out: &mut Vec<u8>,
    ink: Ink,
    stamp: Stamp,
    (edition, first, count): (u32, u32, u32),
    payload: &[u8],
) {
    let head = Head {
        stamp,
        kind: 6,
        number: count,
        wide: u64::from(edition) << 32 | u64::from(first),
        ..Head::default()
    };
    push_record(out, ink, &head, payload);
}

/// Appends a part of an object.
pub fn push_part(
    out: &mut Vec<u8>,
    ink: Ink,
    stamp: Stamp,
    id: &Id,
    kind: Kind,
    (part, total): (u32, u64),
    data: &[u8],
) {
    let mut head = Head {
        stamp,
        kind: 1,
        detail: kind_number(kind),
        id_len: id.as_bytes().len() as u8,
        number: part,
        wide: total,
        id: [0; 32],
    };
    head.id[..id.as_bytes().len()].copy_from_slice(id.as_bytes());
    push_record(out, ink, &head, data);
}

/// Appends names that moved.
pub fn push_moves<'a>(
    out: &mut Vec<u8>,
    ink: Ink,
    stamp: Stamp,
    durable: Point,
    edits: impl Iterator<Item = (&'a RefName, Option<Id>)>,
) {
    let mut payload = Vec::new();
    for (name, id) in edits {
        push_name(&mut payload, name, id);
    }
    let head = Head {
        stamp,
        kind: 2,
        number: durable.offset,
        wide: durable.stamp,
        ..Head::default()
    };
    push_record(out, ink, &head, &payload);
}

/// The bytes of [`push_moves`]'s payload.
pub fn moves_len<'a>(edits: impl Iterator<Item = (&'a RefName, Option<Id>)>) -> usize {
    edits
        .map(|(name, id)| name_len(name, id.map_or(0, |id| id.as_bytes().len())))
        .sum()
}

/// The bytes of a name with an id of so many.
pub fn name_len(name: &RefName, id: usize) -> usize {
    3 + name.as_str().len() + id
}

/// Appends all names there are, in records of `most` bytes of payload or little more.
pub fn push_names<'a>(
    out: &mut Vec<u8>,
    ink: Ink,
    stamp: Stamp,
    most: usize,
    names: impl Iterator<Item = (&'a RefName, &'a Id)>,
) {
    let mut payload = Vec::new();
    let head = |detail| Head {
        stamp,
        kind: 3,
        detail,
        ..Head::default()
    };
    for (name, id) in names {
        push_name(&mut payload, name, Some(*id));
        if payload.len() >= most {
            push_record(out, ink, &head(1), &payload);
            payload.clear();
        }
    }
    push_record(out, ink, &head(0), &payload);
}

/// Appends the mark that a new opening begins.
pub fn push_opening(out: &mut Vec<u8>, ink: Ink, stamp: Stamp, durable: Point) {
    let head = Head {
        stamp,
        kind: 4,
        number: durable.offset,
        wide: durable.stamp,
        ..Head::default()
    };
    push_record(out, ink, &head, &[]);
}

fn push_name(out: &mut Vec<u8>, name: &RefName, id: Option<Id>) {
    let id = id.as_ref().map_or(&[][..], Id::as_bytes);
    out.extend_from_slice(&(name.as_str().len() as u16).to_le_bytes());
    out.push(id.len() as u8);
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(id);
}

fn names(mut bytes: &[u8]) -> Option<Vec<(RefName, Option<Id>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(3)?;
        let (name, rest) =
            rest.split_at_checked(usize::from(u16::from_le_bytes([head[0], head[1]])))?;
        let (id, rest) = rest.split_at_checked(usize::from(head[2]))?;
        let id = match id.len() {
            0 => None,
            _ => Some(Id::from_bytes(id)?),
        };
        let name = RefName::new(core::str::from_utf8(name).ok()?).ok()?;
        all.push((name, id));
        bytes = rest;
    }
    Some(all)
}

impl Record {
    /// The record at the beginning of these bytes, which lie at `ink.from`; `None` if there is none, or
    /// a damaged one.
    pub fn read(bytes: &Bytes, ink: Ink) -> Option<Record> {
        let head = bytes.get(..HEAD)?;
        let payload_len = u32_at(head, 4) as usize;
        let whole = bytes.get(..HEAD.checked_add(payload_len)?)?;
        if ink.checksum(0, &whole[4..]) != u32_at(head, 0) {
            return None;
        }
        let payload = &whole[HEAD..];
        let (detail, number, wide) = (head[17], u32_at(head, 20), u64_at(head, 24));
        let durable = Point {
            stamp: wide,
            offset: number,
        };
        let body = match head[16] {
            1 => Body::Part {
                id: Id::from_bytes(head[32..].get(..usize::from(head[18]))?)?,
                kind: kind(detail)?,
                part: number,
                total: wide,
                data: bytes.slice(HEAD..HEAD + payload_len),
            },
            2 => Body::Moves {
                durable,
                edits: names(payload)?,
            },
            3 => Body::Names {
                more: detail == 1,
                names: names(payload)?
                    .into_iter()
                    .map(|(name, id)| Some((name, id?)))
                    .collect::<Option<_>>()?,
            },
            4 => Body::Opening { durable },
            5 => {
                let (listed, stream) = block::list(&bytes.slice(HEAD..HEAD + payload_len), number)?;
                Body::Block { listed, stream }
            }
            6 => Body::Chapter {
                edition: (wide >> 32) as u32,
                first: wide as u32,
                count: number,
                data: bytes.slice(HEAD..HEAD + payload_len),
            },
            _ => return None,
        };
        Some(Record {
            stamp: u64_at(head, 8),
            len: record_len(payload_len),
            body,
        })
    }

    /// What the record says was durable.
    pub fn durable(&self) -> Point {
        match self.body {
            Body::Moves { durable, .. } | Body::Opening { durable } => durable,
            _ => Point::default(),
        }
    }
}

/// The stamp of what may be a record, to look for one quickly.
pub fn stamp_at(bytes: &[u8]) -> Stamp {
    bytes.get(8..16).map_or(0, |_| u64_at(bytes, 8))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
