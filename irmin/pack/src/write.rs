//! Appends records, and begins segments.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use hashbrown::HashSet;
use irmin::{BackendError, Format, Id, Object};

use crate::format::{
    ENTRY, Header, Ink, MAX_SLOTS, Place, Point, SEAL, Seal, Stamp, key, part_size, push_names,
    push_opening, push_part, record_len,
};
use crate::load::{Active, Segment, Tail};
use crate::pack::Access;
use crate::scan;
use crate::{Pack, Storage};

/// What goes to storage at once, at most (a little more with one large record).
const BUFFER: usize = 1 << 20;
/// So many full segments may wait for a flush: an opening after a crash reads them whole.
const UNFLUSHED: u32 = 4;
/// Slots kept for deleting names and collecting garbage when all others are full.
const RESERVE: u32 = 2;

/// Who writes: one at a time.
pub struct Writer {
    pub format: Format,
    /// Bytes of a segment.
    pub segment: u64,
    pub salt: u32,
    pub segments: BTreeMap<u32, Segment>,
    pub active: Option<Active>,
    /// The stamp of the last segment.
    pub last: Stamp,
    /// The stamp of the next record.
    pub stamp: Stamp,
    /// The stamp is new: nothing that an earlier opening or a failed write left behind has it.
    pub ready: bool,
    pub durable: Point,
    /// What the last record that says so calls durable.
    pub noted: Point,
    pub unflushed: u32,
    /// Slots that never counted, to be freed before anything is written.
    pub discard: Vec<u32>,
    /// Slots that were freed since the last flush.
    pub freed: Vec<u32>,
    /// Records that are not in storage yet, and the objects among them.
    pub buffer: Vec<u8>,
    pub fresh: Vec<(u64, Place)>,
    /// Counts what reached storage.
    pub written: u64,
    /// Keys of objects that were written again since the last collection began, and heads that moved
    /// while one runs.
    pub touched: HashSet<u64>,
    pub moved_to: Option<Vec<Id>>,
    /// The object written last: most often the commit that a name is about to point to.
    pub lately: Option<Id>,
    /// Up to where a write that failed may have left records behind the end.
    pub torn: u64,
    /// Segments with a torn header or index, to be mended before anything is written.
    pub mend: BTreeSet<u32>,
    /// For who only follows: up to where the log was read.
    pub tail: Option<Tail>,
    /// Commits that were written since the index of them was extended, and how many it could not take
    /// in then: before as many came it is not tried again.
    pub commits: u32,
    pub unknown: u32,
    /// Segments from this stamp on are too young to be collected.
    pub young: Stamp,
}

/// Whether an append may use the slots kept back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Slots {
    Ordinary,
    All,
}

impl Writer {
    /// The end of what was written.
    pub fn point(&self) -> Point {
        self.active.as_ref().map_or(
            Point {
                stamp: self.last.saturating_add(1),
                offset: 0,
            },
            |active| Point {
                stamp: active.header.stamp,
                offset: active.at as u32,
            },
        )
    }

    /// For the checksums of what goes to the buffer.
    pub fn ink(&self) -> Ink {
        Ink {
            salt: self.salt,
            from: self.active.as_ref().map_or(0, |active| active.at),
        }
    }

    /// The slot, and the offset there, of the next record that goes to the buffer.
    fn next(&self) -> (u32, u64) {
        let active = self.active.as_ref();
        let (slot, at) = active.map_or((0, 0), |active| (active.slot, active.at));
        (slot, at + self.buffer.len() as u64)
    }

    pub fn flushed(&mut self, upto: Point, freed: &[u32]) {
        self.durable = self.durable.max(upto);
        self.freed.retain(|slot| !freed.contains(slot));
    }
}

impl<S: Storage> Pack<S> {
    /// Has `work` append records, and brings them to storage.
    pub(crate) fn append<T>(
        &self,
        w: &mut Writer,
        work: impl FnOnce(&mut Writer) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if self.access != Access::Write {
            return Err(BackendError::Refused {
                what: "to write to a store that is open for reading".into(),
            });
        }
        self.sync.check()?;
        let done = work(w).and_then(|done| self.put(w).map(|()| done));
        if done.is_err() {
            w.buffer.clear();
            w.fresh.clear();
        }
        done
    }

    /// Appends an object, in parts if it is large; the first part, which makes it visible, comes last.
    pub(crate) fn push_object(&self, w: &mut Writer, object: &Object) -> Result<(), BackendError> {
        let size = part_size(w.segment);
        let parts = object.data.len().div_ceil(size).max(1);
        let total = object.data.len() as u64;
        for part in (0..parts).rev() {
            let from = part * size;
            let data = &object.data[from..object.data.len().min(from + size)];
            let len = record_len(data.len());
            self.room(w, len, 1, Slots::Ordinary)?;
            self.note(w, key(&object.id, part as u32), part > 0, len);
            let numbers = (part as u32, total);
            let ink = w.ink();
            push_part(
                &mut w.buffer,
                ink,
                w.stamp,
                &object.id,
                object.kind,
                numbers,
                data,
            );
        }
        Ok(())
    }

    /// Remembers that the next record in the buffer is to be found under this key.
    pub(crate) fn note(&self, w: &mut Writer, key: u64, later_part: bool, len: usize) -> Place {
        let (slot, at) = w.next();
        let place = Place::new(slot, at, later_part, len);
        w.fresh.push((key, place));
        place
    }

    /// The same for a block with objects of these keys.
    pub(crate) fn note_block(&self, w: &mut Writer, keys: &[u64], len: usize) -> Place {
        let (slot, at) = w.next();
        let place = Place::of_block(slot, at, len);
        w.fresh.extend(keys.iter().map(|key| (*key, place)));
        place
    }

    /// The same for a chapter of the index of commits.
    pub(crate) fn note_chapter(&self, w: &mut Writer, key: u64, len: usize) -> Place {
        let (slot, at) = w.next();
        let place = Place::of_chapter(slot, at, len);
        w.fresh.push((key, place));
        place
    }

    /// Makes sure that the active segment has room for a record, of `entries` objects.
    pub(crate) fn room(
        &self,
        w: &mut Writer,
        len: usize,
        entries: usize,
        slots: Slots,
    ) -> Result<(), BackendError> {
        if !w.ready {
            self.begin_opening(w, slots)?;
        }
        if w.buffer.len() > BUFFER {
            self.put(w)?;
        }
        if !fits(w, len, entries) {
            self.put(w)?;
            self.seal(w)?;
            self.begin_segment(w, w.stamp + 1, slots)?;
        }
        if !fits(w, len, entries) {
            return Err(BackendError::Refused {
                what: format!("a record of {len} bytes in segments of {}", w.segment),
            });
        }
        Ok(())
    }

    /// Writes the buffer to storage. What is in it can be found afterwards.
    pub(crate) fn put(&self, w: &mut Writer) -> Result<(), BackendError> {
        let Some(active) = &mut w.active else {
            return Ok(());
        };
        if w.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.storage.write(active.slot, active.at, &w.buffer) {
            w.ready = false;
            w.torn = w.torn.max(active.at + w.buffer.len() as u64);
            return Err(error);
        }
        active.at += w.buffer.len() as u64;
        w.buffer.clear();
        if w.buffer.capacity() > 4 * BUFFER {
            w.buffer.shrink_to(BUFFER);
        }
        let mut table = self.table.write();
        for (key, place) in &w.fresh {
            table.insert(*key, *place);
        }
        drop(table);
        active.entries.append(&mut w.fresh);
        w.written += 1;
        Ok(())
    }

    /// Begins a new stamp that is durable before anything else is written: whatever earlier writes
    /// left behind the end, and may come back after a power cut, has another.
    fn begin_opening(&self, w: &mut Writer, slots: Slots) -> Result<(), BackendError> {
        if !w.discard.is_empty() {
            for slot in &w.discard {
                self.storage.free(*slot)?;
            }
            self.storage.flush()?;
            w.discard.clear();
        }
        while let Some(slot) = w.mend.first().copied() {
            self.mend(w, slot)?;
            w.mend.remove(&slot);
        }
        if fits(w, record_len(0), 0) {
            self.wipe(w)?;
            self.note_durable(w)?;
        } else {
            self.seal(w)?;
            next_opening(w)?;
            self.begin_segment(w, w.stamp, slots)?;
        }
        self.flush_now(w)?;
        w.ready = true;
        Ok(())
    }

    /// Writes the header, and of a full segment the index and the seal, once more: of what is there
    /// twice, or follows from the records, a power cut may have left one torn.
    fn mend(&self, w: &Writer, slot: u32) -> Result<(), BackendError> {
        let Some(Segment { header, seal }) = w.segments.get(&slot) else {
            return Ok(());
        };
        let mut start = header.begin();
        if let Some(seal) = seal {
            let bytes = scan::bytes(&self.storage, slot, w.segment)?;
            let records = scan::scan(&bytes, slot, header, Some(seal), false, BTreeMap::new());
            let (index, again) = index(seal.end, &records.entries);
            if again.entries == seal.entries {
                self.storage.write(slot, u64::from(seal.end), &index)?;
            }
            start.truncate(SEAL);
            start.extend(header.seal(*seal));
        }
        self.storage.write(slot, 0, &start)
    }

    /// Overwrites what a write that failed left behind the end: who follows the log may have taken it for
    /// part of it, and notices so.
    fn wipe(&self, w: &mut Writer) -> Result<(), BackendError> {
        if let Some(active) = &w.active
            && w.torn > active.at
        {
            let zeros = alloc::vec![0; (w.torn - active.at) as usize];
            self.storage.write(active.slot, active.at, &zeros)?;
        }
        w.torn = 0;
        Ok(())
    }

    /// Writes a new stamp, and what is durable. There is room.
    pub(crate) fn note_durable(&self, w: &mut Writer) -> Result<(), BackendError> {
        next_opening(w)?;
        let ink = w.ink();
        push_opening(&mut w.buffer, ink, w.stamp, w.durable);
        w.noted = w.durable;
        self.put(w)
    }

    /// Writes the index of the active segment and its seal.
    pub(crate) fn seal(&self, w: &mut Writer) -> Result<(), BackendError> {
        let Some(active) = &mut w.active else {
            return Ok(());
        };
        active.full = true;
        let (index, seal) = index(active.at as u32, &active.entries);
        let written = self
            .storage
            .write(active.slot, active.at, &index)
            .and_then(|()| {
                let sector = active.header.seal(seal);
                self.storage.write(active.slot, SEAL as u64, &sector)
            });
        if let Err(error) = written {
            w.ready = false;
            return Err(error);
        }
        if let Some(segment) = w.segments.get_mut(&active.slot) {
            segment.seal = Some(seal);
        }
        w.active = None;
        w.written += 1;
        w.unflushed += 1;
        if w.unflushed >= UNFLUSHED {
            self.flush_now(w)?;
        }
        Ok(())
    }

    /// Begins a segment with the list of all names.
    pub(crate) fn begin_segment(
        &self,
        w: &mut Writer,
        stamp: Stamp,
        slots: Slots,
    ) -> Result<(), BackendError> {
        let slot = self.free_slot(w, slots)?;
        let header = Header {
            format: w.format,
            segment: w.segment,
            stamp,
            before: w.last,
            durable: w.durable,
            salt: w.salt,
        };
        let mut start = header.begin();
        let names = self.names.read();
        let ink = Ink {
            salt: w.salt,
            from: 0,
        };
        push_names(
            &mut start,
            ink,
            stamp,
            part_size(w.segment),
            names.heads.iter(),
        );
        drop(names);
        if let Err(error) = self.storage.write(slot, 0, &start) {
            w.ready = false;
            w.discard.push(slot);
            return Err(error);
        }
        w.stamp = stamp;
        w.last = stamp;
        w.torn = 0;
        w.segments.insert(slot, Segment { header, seal: None });
        w.active = Some(Active {
            slot,
            header,
            at: start.len() as u64,
            full: false,
            entries: Vec::new(),
        });
        w.written += 1;
        Ok(())
    }

    fn free_slot(&self, w: &Writer, slots: Slots) -> Result<u32, BackendError> {
        let all = self.storage.slots().min(MAX_SLOTS);
        let taken = (w.segments.len() + w.freed.len() + w.discard.len()) as u32;
        let kept = match slots {
            Slots::Ordinary => RESERVE.min(all / 2),
            Slots::All => 0,
        };
        let free = |slot: &u32| {
            !w.segments.contains_key(slot) && !w.freed.contains(slot) && !w.discard.contains(slot)
        };
        (taken + kept < all)
            .then(|| (0..all).find(free))
            .flatten()
            .ok_or_else(|| BackendError::Full {
                what: format!(
                    "{} of {all} segments of {} bytes are in use; collect garbage",
                    w.segments.len(),
                    w.segment
                ),
            })
    }

    /// Flushes while nobody writes.
    pub(crate) fn flush_now(&self, w: &mut Writer) -> Result<(), BackendError> {
        let point = w.point();
        let freed = w.freed.clone();
        self.sync.note(self.storage.flush())?;
        w.flushed(point, &freed);
        w.unflushed = 0;
        Ok(())
    }
}

/// The index of a segment whose records end there, and its seal.
fn index(end: u32, entries: &[(u64, Place)]) -> (Vec<u8>, Seal) {
    let mut index = Vec::with_capacity(entries.len() * ENTRY);
    for (key, place) in entries {
        index.extend_from_slice(&key.to_le_bytes());
        index.extend_from_slice(&place.0.to_le_bytes());
    }
    let seal = Seal {
        end,
        entries: entries.len() as u32,
        index_crc: crc32fast::hash(&index),
    };
    (index, seal)
}

fn next_opening(w: &mut Writer) -> Result<(), BackendError> {
    let opening = (w.stamp >> 32) + 1;
    if opening > u64::from(u32::MAX) {
        return Err(BackendError::Refused {
            what: "to write: its stamps are used up; copy it to a new store".into(),
        });
    }
    w.stamp = opening << 32;
    Ok(())
}

fn fits(w: &Writer, len: usize, entries: usize) -> bool {
    w.active.as_ref().is_some_and(|active| {
        let records = active.at + (w.buffer.len() + len) as u64;
        let entries = active.entries.len() + w.fresh.len() + entries;
        !active.full && records + (entries * ENTRY) as u64 <= w.segment
    })
}
