//! Collects garbage by the segment, while others read and write.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use irmin::{Backend as _, BackendError, Id, Object, references};

use crate::block::{Block, Builder};
use crate::commits::chapter_key;
use crate::format::{
    Body, HEAD, LISTED, Listed, Place, Point, RAW, RECORDS, Stamp, key, push_part, record_len,
    u32_at,
};
use crate::mark::{Mark, Todo};
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
    /// Objects of history that were compressed together.
    pub packed: u64,
    /// Segments that were given back.
    pub segments: u64,
    /// Bytes of objects that were moved to give them back.
    pub moved: u64,
}

impl<S: Storage> Pack<S> {
    /// Drops the objects that no name leads to, compresses history, and gives back the segments that are
    /// left with little.
    ///
    /// Trees of the commits that names point to, and what is in them, stay as fast to read as before.
    /// Older ones go into blocks of up to 64 KiB, each version after the one that it differs little
    /// from; one of them is read by inflating its block, and the blocks read last are kept. Other
    /// threads read and write meanwhile. What was written, or written again, since the *previous*
    /// collection began is kept, because a name may be about to point to it: the first collection drops
    /// what was garbage when the store was opened, and two in a row with nothing written between them
    /// drop everything unreachable. A commit must not take longer, from its first write to its update,
    /// than from one collection to the end of the next.
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
    pub fn collect(&self) -> Result<Collected, BackendError> {
        let shallow = self.shallow()?;
        self.collect_with(&mut |object, into| {
            references(self.format, object, &|id| shallow.contains(id), into)
        })
    }

    /// Collects as [`collect`](Pack::collect) does, for objects that mean something else than a tree, a
    /// commit or a tag: `references` lists what one of these refers to and has to be here, the same in
    /// the same order each time. It is never asked about blobs.
    ///
    /// # Errors
    /// As [`collect`](Pack::collect).
    pub fn collect_with(&self, references: &mut References<'_>) -> Result<Collected, BackendError> {
        let _alone = self.collecting.lock();
        let begun = self.begin_collection();
        let done = begun.and_then(|begun| self.drop_and_move(begun, references));
        self.writer.lock().moved_to = None;
        done
    }

    fn drop_and_move(
        &self,
        (old, touched, mut todo): (Stamp, HashSet<u64>, Todo),
        references: &mut References<'_>,
    ) -> Result<Collected, BackendError> {
        let mut mark = Mark::default();
        for _ in 0..TRIES {
            self.mark(&mut todo, &mut mark, references)?;
            todo.heads(
                self.writer
                    .lock()
                    .moved_to
                    .iter_mut()
                    .flat_map(core::mem::take),
            );
        }
        // What moved since is little now, and writers wait.
        let mut w = self.writer.lock();
        todo.heads(w.moved_to.iter_mut().flat_map(core::mem::take));
        self.mark(&mut todo, &mut mark, references)?;
        w.lately = None;
        let is_old: BTreeMap<u32, Stamp> = w
            .segments
            .iter()
            .filter(|(_, segment)| segment.seal.is_some() && segment.header.stamp < old)
            .map(|(slot, segment)| (*slot, segment.header.stamp))
            .collect();
        let mut done = Collected::default();
        self.table.write().retain(|key, place| {
            let kept = place.is_chapter()
                || !is_old.contains_key(&place.slot())
                || mark.is_live(key)
                || touched.contains(&key)
                || w.touched.contains(&key);
            done.objects += u64::from(!kept && !place.later_part());
            kept
        });
        drop(w);
        self.tend_commits()?;
        done.packed = self.pack_history(&mark, &is_old)?;
        drop(mark);
        let room = self.segment - RECORDS;
        let mut sparse: Vec<(u64, u32)> = self
            .used(&is_old)?
            .into_iter()
            .map(|(slot, used)| (used, slot))
            .collect();
        sparse.retain(|(used, _)| used * 100 < room * SPARSE);
        sparse.sort_unstable();
        for (_, slot) in sparse {
            if let Some(moved) = self.evacuate(slot, false)? {
                done.segments += 1;
                done.moved += moved;
            }
        }
        let mut w = self.writer.lock();
        self.append(&mut w, |w| self.flush_now(w))?;
        Ok(done)
    }

    /// How many bytes of these segments are in use; of a block as large a part as of its objects.
    fn used(&self, slots: &BTreeMap<u32, Stamp>) -> Result<BTreeMap<u32, u64>, BackendError> {
        let mut used: BTreeMap<u32, u64> = slots.keys().map(|slot| (*slot, 0)).collect();
        let mut blocks: HashMap<Place, u64> = HashMap::new();
        for (_, place) in self.table.read().iter() {
            let Some(used) = used.get_mut(&place.slot()) else {
                continue;
            };
            match place.is_block() {
                true => *blocks.entry(place).or_default() += 1,
                false => *used += place.len() as u64,
            }
        }
        let mut head = [0; HEAD];
        for (place, live) in blocks {
            self.storage.read(place.slot(), place.offset(), &mut head)?;
            let all = u64::from(u32_at(&head, 20)).max(live);
            if let Some(used) = used.get_mut(&place.slot()) {
                *used += place.len() as u64 * live / all;
            }
        }
        Ok(used)
    }

    /// Ends the young generation: returns from which stamp on nothing may be dropped, the keys that
    /// were written again since the last collection began, and the heads.
    fn begin_collection(&self) -> Result<(Stamp, HashSet<u64>, Todo), BackendError> {
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
        let mut todo = Todo::default();
        todo.heads(self.names.read().heads.values().copied());
        Ok((old, touched, todo))
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
                    match record.body {
                        Body::Part {
                            id,
                            kind,
                            part,
                            total,
                            data,
                        } => {
                            let key = key(&id, part);
                            let old = Place::new(slot, from, part > 0, record.len);
                            if self.table.read().contains(key, old) {
                                self.room(w, record.len, 1, Slots::All)?;
                                let new = self.note(w, key, part > 0, record.len);
                                let ink = w.ink();
                                let numbers = (part, total);
                                push_part(&mut w.buffer, ink, w.stamp, &id, kind, numbers, &data);
                                moves.push((key, old, new));
                                moved += record.len as u64;
                            }
                        }
                        Body::Block { listed, stream } => {
                            let old = Place::of_block(slot, from, record.len);
                            let table = self.table.read();
                            let is_live = |key| table.contains(key, old);
                            let live = listed.iter().filter(|object| is_live(object.key));
                            let live: Vec<u64> = live.map(|object| object.key).collect();
                            drop(table);
                            if live.is_empty() {
                                continue;
                            }
                            let payload = bytes.slice(from as usize + HEAD..);
                            let (payload, turn) = if live.len() == listed.len() {
                                let len = listed.len() * LISTED + stream.len();
                                (payload.slice(..len), record.len)
                            } else {
                                // What cannot be inflated stays where it is.
                                match rebuild(&listed, &stream, &live, self.segment) {
                                    Some(payload) => (payload, RAW),
                                    None => continue,
                                }
                            };
                            let new = self.push_payload(w, &payload, &live, Slots::All)?;
                            moves.extend(live.iter().map(|key| (*key, old, new)));
                            moved += turn as u64;
                        }
                        Body::Chapter {
                            edition,
                            first,
                            count,
                            data,
                        } => {
                            let key = chapter_key(edition, first);
                            let old = Place::of_chapter(slot, from, record.len);
                            if self.table.read().contains(key, old) {
                                let numbers = (edition, first, count);
                                let new = self.push_chapter(w, numbers, &data, Slots::All)?;
                                moves.push((key, old, new));
                                moved += record.len as u64;
                            }
                        }
                        _ => {}
                    }
                }
                Ok(())
            });
            self.forget(moves);
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

/// The payload of a block of what is in use of another.
fn rebuild(listed: &[Listed], stream: &Bytes, live: &[u64], segment: u64) -> Option<Bytes> {
    let block = Block::inflate(listed, stream)?;
    let mut builder = Builder::new(segment);
    block
        .objects()
        .filter(|object| live.contains(&object.0))
        .all(|(key, kind, data)| builder.push(key, kind, &data))
        .then(|| builder.finish().into())
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
