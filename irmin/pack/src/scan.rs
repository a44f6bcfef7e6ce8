//! Reads a segment from end to end.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use irmin::{BackendError, Id, RefName};

use crate::Storage;
use crate::commits::chapter_key;
use crate::format::{self, Body, Header, Ink, Place, Point, RECORDS, Record, Seal, Stamp};

/// All bytes of a segment. What was never written is anything.
pub fn bytes<S: Storage>(storage: &S, slot: u32, size: u64) -> Result<Bytes, BackendError> {
    let mut bytes = vec![0; size as usize];
    storage.read(slot, 0, &mut bytes)?;
    Ok(bytes.into())
}

/// Goes through the records that follow one another without damage. Returns where they end.
pub fn walk(
    bytes: &Bytes,
    salt: u32,
    from: u64,
    stamp: &mut Stamp,
    each: &mut dyn FnMut(u64, Record),
) -> u64 {
    let mut at = from;
    while let Some(record) = record_at(bytes, salt, at) {
        let opens = matches!(record.body, Body::Opening { .. }) && record.stamp > *stamp;
        if record.stamp != *stamp && !opens {
            break;
        }
        *stamp = record.stamp;
        let len = record.len as u64;
        each(at, record);
        at += len;
    }
    at
}

/// The next record of this stamp or a later one, whatever lies before it.
pub fn next(bytes: &Bytes, salt: u32, from: u64, stamp: Stamp) -> Option<(u64, Record)> {
    (from..bytes.len() as u64).step_by(8).find_map(|at| {
        if format::stamp_at(&bytes[at as usize..]) < stamp {
            return None;
        }
        let record = record_at(bytes, salt, at)?;
        Some((at, record))
    })
}

fn record_at(bytes: &Bytes, salt: u32, at: u64) -> Option<Record> {
    let ink = Ink { salt, from: at };
    let at = usize::try_from(at).ok().filter(|at| *at < bytes.len())?;
    Record::read(&bytes.slice(at..), ink)
}

/// What a segment holds, as far as it can be read.
pub struct Scan {
    /// Where the records end.
    pub end: u64,
    /// The records reach up to the seal.
    pub complete: bool,
    /// The list of names with which a segment begins is whole.
    pub listed: bool,
    /// The names at the end.
    pub names: BTreeMap<RefName, Id>,
    pub entries: Vec<(u64, Place)>,
    /// The latest point that a record calls durable, and the latest stamp, damage or not.
    pub durable: Point,
    pub latest: Stamp,
    /// The stamp of the last record.
    pub stamp: Stamp,
    /// Where that is, and how it begins.
    pub last: Option<(u64, [u8; 16])>,
    /// What could not be read, from and to; only where damage was to be skipped.
    pub gaps: Vec<(u64, u64)>,
}

/// Scans a segment; with `skip` goes on after damage, and then takes what it cannot know of the names
/// from `names`, the state before.
pub fn scan(
    bytes: &Bytes,
    slot: u32,
    header: &Header,
    seal: Option<&Seal>,
    skip: bool,
    names: BTreeMap<RefName, Id>,
) -> Scan {
    let mut scan = Scan {
        end: RECORDS,
        complete: false,
        listed: false,
        names,
        entries: Vec::new(),
        durable: Point::default(),
        latest: header.stamp,
        stamp: header.stamp,
        last: None,
        gaps: Vec::new(),
    };
    let mut listing = BTreeMap::new();
    let mut last = None;
    let mut stamp = header.stamp;
    let bytes = match seal {
        Some(seal) => bytes.slice(..seal.end as usize),
        None => bytes.clone(),
    };
    loop {
        scan.end = walk(
            &bytes,
            header.salt,
            scan.end,
            &mut stamp,
            &mut |at, record| {
                last = Some(at);
                scan.durable = scan.durable.max(record.durable());
                match record.body {
                    Body::Part { id, part, .. } => scan.entries.push((
                        format::key(&id, part),
                        Place::new(slot, at, part > 0, record.len),
                    )),
                    Body::Block { listed, .. } => {
                        let place = Place::of_block(slot, at, record.len);
                        let listed = listed.iter().map(|object| (object.key, place));
                        scan.entries.extend(listed);
                    }
                    Body::Chapter { edition, first, .. } => scan.entries.push((
                        chapter_key(edition, first),
                        Place::of_chapter(slot, at, record.len),
                    )),
                    Body::Moves { edits, .. } => {
                        for (name, id) in edits {
                            match id {
                                Some(id) => scan.names.insert(name, id),
                                None => scan.names.remove(&name),
                            };
                        }
                    }
                    Body::Names { more, names } => {
                        listing.extend(names);
                        if !more {
                            scan.names = core::mem::take(&mut listing);
                            scan.listed = true;
                        }
                    }
                    Body::Opening { .. } => {}
                }
            },
        );
        scan.latest = scan.latest.max(stamp);
        scan.stamp = stamp;
        if let Some(at) = last {
            let mut begins = [0; 16];
            begins.copy_from_slice(&bytes[at as usize..at as usize + 16]);
            scan.last = Some((at, begins));
        }
        let whole = seal.is_some_and(|seal| scan.end == u64::from(seal.end));
        if whole {
            scan.complete = scan.gaps.is_empty();
            return scan;
        }
        let Some((at, record)) = next(&bytes, header.salt, scan.end + 8, stamp) else {
            if let (true, Some(seal)) = (skip, seal) {
                scan.gaps.push((scan.end, u64::from(seal.end)));
            }
            return scan;
        };
        if skip {
            scan.gaps.push((scan.end, at));
            scan.end = at;
            stamp = record.stamp;
            continue;
        }
        // What lies behind the damage is not believed, but for what it says was durable.
        let (mut from, mut record) = (at, record);
        loop {
            scan.durable = scan.durable.max(record.durable());
            scan.latest = scan.latest.max(record.stamp);
            match next(&bytes, header.salt, from + record.len as u64, header.stamp) {
                Some(found) => (from, record) = found,
                None => return scan,
            }
        }
    }
}
