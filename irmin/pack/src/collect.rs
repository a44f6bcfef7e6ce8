//! Collects garbage by the segment, while others read and write.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use hashbrown::HashSet;
use irmin::{Backend, BackendError, Id, Kind, Object};

use crate::format::{Body, Place, Point, RECORDS, Stamp, key, push_part, record_len};
use crate::pack::parts;
use crate::scan;
use crate::write::{Slots, Writer};
use crate::{Pack, Storage};

/// A segment is rewritten when less than this part of it, in percent, is in use.
const SPARSE: u64 = 75;
/// Records that are moved before other writers have their turn.
const TURN: u64 = 256 << 10;
/// How often heads that moved while marking are followed before the writers have to wait.
const TRIES: u32 = 3;

/// Adds the objects that a tree, commit or tag refers to, and that have to be here, to a list.
pub type References<'a> = dyn FnMut(&Object, &mut Vec<Id>) -> Result<(), BackendError> + 'a;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that are gone.
    pub objects: u64,
    /// Segments that were given back.
    pub segments: u64,
    /// Bytes of objects that were moved to give them back.
    pub moved: u64,
}

impl<S: Storage> Pack<S> {
    /// Drops the objects that no name leads to, and gives back the segments that are left with little.
    ///
    /// `references` lists the objects that a tree, commit or tag refers to and that have to be here;
    /// it is never asked about blobs. Other threads read and write meanwhile. What was written, or
    /// written again, since the *previous* collection began is kept, because a name may be about to
    /// point to it: the first collection drops what was garbage when the store was opened, and two in
    /// a row with nothing written between them drop everything unreachable. A commit must not take
    /// longer, from its first write to its update, than from one collection to the end of the next.
    ///
    /// An object that is dropped is gone for this value. After the store is opened again one may be
    /// there still, in a segment with much in use, and perhaps without what it refers to; so no object
    /// is proof that others are there unless a name leads to it.
    ///
    /// Needs room for the objects that it moves, one segment's at a time; two slots of a device are
    /// kept for it.
    ///
    /// # Errors
    /// [`BackendError::Corrupt`] if a reachable object is missing or damaged (then nothing is
    /// dropped), or what storage says. What was done until then stays done.
    pub fn collect(&self, references: &mut References<'_>) -> Result<Collected, BackendError> {
        let _alone = self.collecting.lock();
        let begun = self.begin_collection();
        let done = begun.and_then(|begun| self.drop_and_move(begun, references));
        self.writer.lock().moved_to = None;
        done
    }

    fn drop_and_move(
        &self,
        (old, mut live, mut todo): (Stamp, HashSet<u64>, Vec<Id>),
        references: &mut References<'_>,
    ) -> Result<Collected, BackendError> {
        let mut seen = HashSet::new();
        for _ in 0..TRIES {
            self.mark(&mut todo, &mut seen, &mut live, references)?;
            todo.extend(
                self.writer
                    .lock()
                    .moved_to
                    .iter_mut()
                    .flat_map(core::mem::take),
            );
        }
        // What moved since is little now, and writers wait.
        let mut w = self.writer.lock();
        todo.extend(w.moved_to.iter_mut().flat_map(core::mem::take));
        self.mark(&mut todo, &mut seen, &mut live, references)?;
        drop(seen);
        w.lately = None;
        let is_old: HashSet<u32> = w
            .segments
            .iter()
            .filter(|(_, segment)| segment.seal.is_some() && segment.header.stamp < old)
            .map(|(slot, _)| *slot)
            .collect();
        let mut used: BTreeMap<u32, u64> = is_old.iter().map(|slot| (*slot, 0)).collect();
        let mut done = Collected::default();
        self.table.write().retain(|key, place| {
            let Some(used) = used.get_mut(&place.slot()) else {
                return true;
            };
            if live.contains(&key) || w.touched.contains(&key) {
                *used += place.len() as u64;
                return true;
            }
            done.objects += u64::from(!place.later_part());
            false
        });
        let room = w.segment - RECORDS;
        drop(w);
        let mut sparse: Vec<(u64, u32)> =
            used.into_iter().map(|(slot, used)| (used, slot)).collect();
        sparse.retain(|(used, _)| used * 100 < room * SPARSE);
        sparse.sort_unstable();
        for (_, slot) in sparse {
            if let Some(moved) = self.evacuate(slot, false)? {
                done.segments += 1;
                done.moved += moved;
            }
        }
        w = self.writer.lock();
        self.append(&mut w, |w| self.flush_now(w))?;
        Ok(done)
    }

    /// Ends the young generation: returns from which stamp on nothing may be dropped, the keys that
    /// were written again since the last collection began, and the heads.
    fn begin_collection(&self) -> Result<(Stamp, HashSet<u64>, Vec<Id>), BackendError> {
        let mut w = self.writer.lock();
        // What is written from now on goes to a new segment, where the next collection leaves it. And
        // an update that failed, but reached the disk, is written over: its objects may be dropped.
        self.append(&mut w, |w| {
            self.room(w, record_len(0), 0, Slots::All)?;
            match &w.active {
                Some(active) if !active.entries.is_empty() => self.seal(w),
                _ => Ok(()),
            }
        })?;
        let old = w.young;
        w.young = w.point().stamp;
        let touched = core::mem::take(&mut w.touched);
        w.moved_to = Some(Vec::new());
        let heads = self.names.read().heads.values().copied().collect();
        Ok((old, touched, heads))
    }

    /// Adds all that these ids lead to, in all its parts.
    fn mark(
        &self,
        todo: &mut Vec<Id>,
        seen: &mut HashSet<u64>,
        live: &mut HashSet<u64>,
        references: &mut References<'_>,
    ) -> Result<(), BackendError> {
        while let Some(id) = todo.pop() {
            if !seen.insert(key(&id, 0)) {
                continue;
            }
            let missing = || BackendError::Corrupt {
                what: format!("object {id}, which a name leads to, is missing and so the store"),
            };
            let (kind, total) = self.glance(&id)?.ok_or_else(missing)?;
            if !self.has_parts(&id, total) {
                return Err(missing());
            }
            live.extend((0..parts(total, self.segment)).map(|part| key(&id, part)));
            if kind != Kind::Blob {
                let object = self.read(&id)?.ok_or_else(missing)?;
                references(&object, todo)?;
            }
        }
        Ok(())
    }

    /// Moves what is in use out of a segment and frees it. With `damaged` also if some of it cannot be
    /// read, which is then gone; else the segment stays. Returns how many bytes were moved.
    pub(crate) fn evacuate(&self, slot: u32, damaged: bool) -> Result<Option<u64>, BackendError> {
        let (stamp, end) = {
            let mut w = self.writer.lock();
            let Some(segment) = w.segments.get(&slot) else {
                return Ok(None);
            };
            let end = segment
                .seal
                .map_or(self.segment, |seal| u64::from(seal.end));
            let stamp = segment.header.stamp;
            if w.active.take_if(|active| active.slot == slot).is_some() {
                w.ready = false;
            }
            (stamp, end)
        };
        let bytes = scan::bytes(&self.storage, slot, self.segment)?;
        let bytes = bytes.slice(..end as usize);
        let mut moved = 0;
        let mut at = RECORDS;
        while at < end {
            let mut w = self.writer.lock();
            let turn = moved + TURN;
            let mut moves = Vec::new();
            let result = self.append(&mut w, |w| {
                while at < end && moved < turn {
                    let Some((from, record)) = scan::next(&bytes, self.salt, at, stamp) else {
                        at = end;
                        break;
                    };
                    at = from + record.len as u64;
                    if let Body::Part {
                        id,
                        kind,
                        part,
                        total,
                        data,
                    } = record.body
                    {
                        let key = key(&id, part);
                        let old = Place::new(slot, from, part > 0, record.len);
                        if self.table.read().contains(key, old) {
                            self.room(w, record.len, 1, Slots::All)?;
                            let new = self.note(w, key, part > 0, record.len);
                            let ink = w.ink();
                            push_part(&mut w.buffer, ink, w.stamp, &id, kind, (part, total), &data);
                            moves.push((key, old, new));
                            moved += record.len as u64;
                        }
                    }
                }
                Ok(())
            });
            // Each object is at two places now; who looks for it finds either.
            let mut table = self.table.write();
            for (key, old, new) in moves {
                if table.contains(key, new) {
                    table.remove(key, old);
                }
            }
            drop(table);
            result?;
        }
        let mut w = self.writer.lock();
        let left = self
            .table
            .read()
            .iter()
            .any(|(_, place)| place.slot() == slot);
        if left && !damaged {
            return Ok(None);
        }
        self.append(&mut w, |w| self.give_back(w, slot, stamp))?;
        if left {
            self.table.write().retain(|_, place| place.slot() != slot);
        }
        Ok(Some(moved))
    }

    /// Frees a segment, once what was moved is durable, and that it is is on disk.
    fn give_back(&self, w: &mut Writer, slot: u32, stamp: Stamp) -> Result<(), BackendError> {
        self.flush_now(w)?;
        if !durable_is_noted(w, stamp) {
            self.room(w, record_len(0), 0, Slots::All)?;
            self.note_durable(w)?;
            self.flush_now(w)?;
        }
        w.segments.remove(&slot);
        if let Err(error) = self.storage.free(slot) {
            // Half of its header may be gone: it is freed again before anything else is written.
            w.discard.push(slot);
            w.ready = false;
            return Err(error);
        }
        w.freed.push(slot);
        self.flush_now(w)
    }
}

/// Whether a later segment says, durably, that this one was durable: then it may be missing.
fn durable_is_noted(w: &Writer, stamp: Stamp) -> bool {
    w.segments.values().any(|segment| {
        let begun = Point {
            stamp: segment.header.stamp,
            offset: RECORDS as u32,
        };
        segment.header.durable.stamp > stamp && begun <= w.durable
    })
}
