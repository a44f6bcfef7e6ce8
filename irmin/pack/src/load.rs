//! What a store holds when it is opened: which segments count, where the records end, the names.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use irmin::{BackendError, Format, Id, RefName};

use crate::Storage;
use crate::format::{
    ENTRY, Header, MAX_SLOTS, Place, Point, RECORDS, Seal, Stamp, part_size, record_len, u64_at,
};
use crate::scan::{self, Scan};
use crate::table::Table;

/// A segment that counts.
#[derive(Clone, Debug)]
pub struct Segment {
    pub header: Header,
    /// `None`: it is still written to.
    pub seal: Option<Seal>,
}

/// The segment that is written to.
pub struct Active {
    pub slot: u32,
    pub header: Header,
    pub at: u64,
    /// A seal may be on disk: nothing is appended any more, but for its index and the seal again.
    pub full: bool,
    pub entries: Vec<(u64, Place)>,
}

/// The end of a log.
#[derive(Clone, Copy)]
pub struct Tail {
    pub slot: u32,
    pub header: Header,
    pub at: u64,
    /// Of the last record.
    pub stamp: Stamp,
    /// Where that record is, and how it begins.
    pub last: Option<(u64, [u8; 16])>,
}

/// Damage that was found and worked around, or that is to be repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The slot of the segment: the number of its file.
    pub slot: u32,
    /// Where in the segment it begins, in bytes.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// What is wrong.
    pub what: alloc::string::String,
}

impl fmt::Display for Damage {
    /// Where it is and what, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            slot,
            offset,
            end,
            what,
        } = self;
        write!(f, "segment {slot:08}, bytes {offset} to {end}: {what}")
    }
}

pub struct Loaded {
    pub format: Format,
    pub segment: u64,
    pub salt: u32,
    pub segments: BTreeMap<u32, Segment>,
    pub active: Option<Active>,
    /// Where the last segment ends, full or not: who follows goes on there.
    pub tail: Option<Tail>,
    pub table: Table,
    pub names: BTreeMap<RefName, Id>,
    /// The stamp of the last segment.
    pub last: Stamp,
    /// The latest opening that any stamp tells of.
    pub opening: u32,
    pub durable: Point,
    /// Segments that never became durable.
    pub discard: Vec<u32>,
    /// Segments of which a power cut left a header or the index torn, before they were durable. All
    /// that was there is there: it is mended before anything else is written.
    pub torn: BTreeSet<u32>,
    pub damage: Vec<Damage>,
}

impl Loaded {
    /// What is not there yet.
    pub fn empty(format: Format, segment: u64, salt: u32) -> Loaded {
        Loaded {
            format,
            segment,
            salt,
            segments: BTreeMap::new(),
            active: None,
            tail: None,
            table: Table::default(),
            names: BTreeMap::new(),
            last: 0,
            opening: 0,
            durable: Point::default(),
            discard: Vec::new(),
            torn: BTreeSet::new(),
            damage: Vec::new(),
        }
    }
}

struct Found {
    slot: u32,
    header: Header,
    seal: Option<Seal>,
    /// The header or its copy is damaged.
    torn: bool,
    scan: Option<Scan>,
}

fn corrupt(slot: u32, offset: u64, what: &str) -> BackendError {
    BackendError::Corrupt {
        what: format!("segment {slot} (at byte {offset}: {what})"),
    }
}

/// Reads the headers, and all of what may not have been durable. `None` where there is no segment.
///
/// With `salvage`, damage to what was durable is noted instead of refused.
pub fn load<S: Storage>(storage: &S, salvage: bool) -> Result<Option<Loaded>, BackendError> {
    let mut found = headers(storage)?;
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let Header {
        format,
        segment,
        salt,
        ..
    } = first.header;
    if segment > storage.capacity() {
        return Err(BackendError::Refused {
            what: format!(
                "segments of {segment} bytes do not fit into slots of {}",
                storage.capacity()
            ),
        });
    }
    for pair in found.windows(2) {
        let (a, b) = (&pair[0].header, &pair[1].header);
        if a.stamp == b.stamp || a.format != b.format || (a.segment, a.salt) != (b.segment, b.salt)
        {
            return Err(corrupt(
                pair[1].slot,
                0,
                "its header is that of another store or a copy",
            ));
        }
    }
    let mut durable = found
        .iter()
        .map(|found| found.header.durable)
        .max()
        .unwrap_or_default();
    let scanned_from = durable.stamp;
    let mut opening = 0;
    for found in &mut found {
        opening = opening.max((found.header.stamp >> 32) as u32);
        if found.header.stamp >= scanned_from {
            let scan = found.scan(storage, false, BTreeMap::new())?;
            durable = durable.max(scan.durable);
            opening = opening.max((scan.latest >> 32) as u32);
            found.scan = Some(scan);
        }
    }
    let mut loaded = Loaded {
        opening,
        durable,
        ..Loaded::empty(format, segment, salt)
    };
    let discarded = accept(storage, &mut found, &mut loaded, salvage)?;
    loaded.discard = discarded.iter().map(|found| found.slot).collect();
    let claims: Vec<(u32, Point)> = found.iter().map(Found::claim).collect();
    fill(storage, found, &mut loaded, salvage)?;
    if let Some(tail) = loaded.tail {
        let end = Point {
            stamp: tail.header.stamp,
            offset: tail.at as u32,
        };
        let what = "what it calls durable is not there; repair";
        for (slot, _) in claims.into_iter().filter(|(_, claim)| *claim > end) {
            if !salvage {
                return Err(corrupt(slot, 0, what));
            }
            loaded.damage.push(Damage {
                slot,
                offset: 0,
                end: segment,
                what: what.into(),
            });
        }
        loaded.durable = loaded.durable.min(end);
    }
    Ok(Some(loaded))
}

fn headers<S: Storage>(storage: &S) -> Result<Vec<Found>, BackendError> {
    let mut found = Vec::new();
    let mut start = vec![0; RECORDS as usize];
    for slot in storage.used()? {
        if slot >= MAX_SLOTS {
            continue;
        }
        storage.read(slot, 0, &mut start)?;
        if let Some((header, seal, torn)) = Header::read(&start) {
            found.push(Found {
                slot,
                header,
                seal,
                torn,
                scan: None,
            });
        }
    }
    found.sort_by_key(|found| found.header.stamp);
    Ok(found)
}

/// Splits off the segments that do not count, because one before them never became durable.
fn accept<S: Storage>(
    storage: &S,
    found: &mut Vec<Found>,
    loaded: &mut Loaded,
    salvage: bool,
) -> Result<Vec<Found>, BackendError> {
    let durable = loaded.durable;
    let mut complete = true;
    for at in 0..found.len() {
        let before = if at > 0 {
            found[at - 1].header.stamp
        } else {
            0
        };
        let names = if at > 0 {
            found[at - 1].names()
        } else {
            BTreeMap::new()
        };
        let this = &mut found[at];
        let (slot, stamp) = (this.slot, this.header.stamp);
        let begun = this.header.begun_by(durable);
        let chained = this.header.before == before || this.header.before < durable.stamp;
        if !chained || !complete {
            if !begun {
                return Ok(found.split_off(at));
            }
            if !salvage {
                return Err(corrupt(
                    slot,
                    0,
                    "what was written before it is damaged or gone",
                ));
            }
        }
        let Some(scan) = &this.scan else {
            complete = true;
            continue;
        };
        let (end, listed) = (scan.end, scan.listed);
        complete = scan.complete;
        let lost = (stamp < durable.stamp && !complete)
            || (stamp == durable.stamp && end < u64::from(durable.offset))
            || (begun && !listed);
        if lost && !salvage {
            return Err(corrupt(
                slot,
                end,
                "what was durable cannot be read; repair",
            ));
        }
        if lost {
            let scan = this.scan(storage, true, names)?;
            let mut gaps = this.gaps(&scan);
            if gaps.is_empty() {
                // Its list of names, or what was behind its end.
                gaps.push(Damage {
                    slot,
                    offset: if listed { scan.end } else { RECORDS },
                    end: this.header.segment,
                    what: "what was durable".into(),
                });
            }
            loaded.damage.append(&mut gaps);
            this.scan = Some(scan);
            complete = true;
        } else if !listed {
            return Ok(found.split_off(at));
        }
    }
    Ok(Vec::new())
}

/// Puts what counts into tables.
fn fill<S: Storage>(
    storage: &S,
    mut found: Vec<Found>,
    loaded: &mut Loaded,
    salvage: bool,
) -> Result<(), BackendError> {
    if let Some(last) = found.last_mut() {
        if last.scan.is_none() {
            let scan = last.scan(storage, salvage, BTreeMap::new())?;
            if !scan.complete && !salvage {
                return Err(corrupt(
                    last.slot,
                    scan.end,
                    "what was durable cannot be read; repair",
                ));
            }
            loaded.damage.extend(last.gaps(&scan));
            last.scan = Some(scan);
        }
        loaded.last = last.header.stamp;
        loaded.names = last.names();
    }
    let sealed_objects = found.iter().filter_map(|found| found.seal);
    let scanned = found.iter().filter_map(|found| found.scan.as_ref());
    loaded.table.reserve(
        sealed_objects
            .map(|seal| seal.entries as usize)
            .sum::<usize>()
            + scanned.map(|scan| scan.entries.len()).sum::<usize>(),
    );
    let last = loaded.last;
    for found in found {
        let (slot, header, seal) = (found.slot, found.header, found.seal);
        if found.torn && header.begun_by(loaded.durable) {
            loaded.damage.push(Damage {
                slot,
                offset: 0,
                end: RECORDS,
                what: "the header or its copy".into(),
            });
        } else if found.torn {
            loaded.torn.insert(slot);
        }
        let mut entries = None;
        let mut end = 0;
        let mut complete = true;
        match found.scan {
            Some(scan) => {
                if header.stamp == last {
                    loaded.tail = Some(Tail {
                        slot,
                        header,
                        at: scan.end,
                        stamp: scan.stamp,
                        last: scan.last,
                    });
                }
                end = scan.end;
                complete = scan.complete;
                // That a segment is sealed is durable where a later one is.
                if let Some(seal) = &seal
                    && index(storage, slot, header.segment, seal)?.is_none()
                {
                    loaded.torn.insert(slot);
                }
                entries = Some(scan.entries);
            }
            None => {
                if let Some(seal) = &seal {
                    entries = index(storage, slot, header.segment, seal)?;
                }
            }
        }
        let entries = match entries {
            Some(entries) => entries,
            None => {
                let start = seal.map_or(header.segment, |seal| u64::from(seal.end));
                loaded.damage.push(Damage {
                    slot,
                    offset: start,
                    end: header.segment,
                    what: "the index or the seal (the records replace it)".into(),
                });
                let bytes = scan::bytes(storage, slot, header.segment)?;
                scan::scan(&bytes, slot, &header, seal.as_ref(), true, BTreeMap::new()).entries
            }
        };
        for (key, place) in &entries {
            loaded.table.insert(*key, *place);
        }
        let sealed = seal.is_some();
        let seal = seal.filter(|_| complete || header.stamp != last);
        loaded.segments.insert(slot, Segment { header, seal });
        // Whoever writes leaves room for the index.
        let is_too_full = end + (entries.len() * ENTRY) as u64 > header.segment;
        if header.stamp == last && !complete && is_too_full {
            if !salvage {
                return Err(corrupt(slot, end, "no room for its index; repair"));
            }
            loaded.damage.push(Damage {
                slot,
                offset: end,
                end: header.segment,
                what: "no room for its index".into(),
            });
        } else if header.stamp == last && !complete {
            loaded.active = Some(Active {
                slot,
                header,
                at: end,
                full: sealed,
                entries,
            });
        }
    }
    Ok(())
}

impl Found {
    fn scan<S: Storage>(
        &self,
        storage: &S,
        skip: bool,
        names: BTreeMap<RefName, Id>,
    ) -> Result<Scan, BackendError> {
        let bytes = scan::bytes(storage, self.slot, self.header.segment)?;
        let seal = self.seal.as_ref();
        Ok(scan::scan(
            &bytes,
            self.slot,
            &self.header,
            seal,
            skip,
            names,
        ))
    }

    /// Up to where it says that the log was durable.
    fn claim(&self) -> (u32, Point) {
        let scanned = self.scan.as_ref().map(|scan| scan.durable);
        let claim = scanned.unwrap_or_default().max(self.header.durable);
        (self.slot, claim)
    }

    fn gaps(&self, scan: &Scan) -> Vec<Damage> {
        let damage = |&(offset, end): &(u64, u64)| Damage {
            slot: self.slot,
            offset,
            end,
            what: "records that were durable".into(),
        };
        scan.gaps.iter().map(damage).collect()
    }

    fn names(&self) -> BTreeMap<RefName, Id> {
        self.scan
            .as_ref()
            .map(|scan| scan.names.clone())
            .unwrap_or_default()
    }
}

/// The index of a sealed segment; `None` if it is damaged.
pub fn index<S: Storage>(
    storage: &S,
    slot: u32,
    segment: u64,
    seal: &Seal,
) -> Result<Option<Vec<(u64, Place)>>, BackendError> {
    let mut bytes = vec![0; seal.entries as usize * ENTRY];
    storage.read(slot, u64::from(seal.end), &mut bytes)?;
    if crc32fast::hash(&bytes) != seal.index_crc {
        return Ok(None);
    }
    let entries = bytes.chunks_exact(ENTRY).map(|entry| {
        let place = Place(u64_at(entry, 8)).in_slot(slot);
        let end = place.offset() + place.len() as u64;
        let sound = place.offset() >= RECORDS
            && end <= u64::from(seal.end)
            && place.len() <= record_len(part_size(segment))
            && place.len() >= record_len(0);
        sound.then_some((u64_at(entry, 0), place))
    });
    Ok(entries.collect())
}
