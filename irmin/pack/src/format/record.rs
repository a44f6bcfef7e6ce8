//! Records, and what each kind of them holds.

use alloc::vec::Vec;

use bytes::Bytes;
use irmin::{Id, Kind, RefName};

use super::{Listed, Point, Stamp, kind, kind_number, list, u32_at, u64_at};

/// Bytes of a record before its payload.
pub const HEAD: usize = 64;

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
                let (listed, stream) = list(&bytes.slice(HEAD..HEAD + payload_len), number)?;
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
