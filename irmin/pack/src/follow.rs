//! Reads while another process writes: follows its log.

use alloc::vec;

use bytes::Bytes;
use irmin::BackendError;

use crate::commits::chapter_key;
use crate::format::{
    Body, HEAD, Header, Ink, Place, RECORDS, Record, key, record_len, stamp_at, u32_at, u64_at,
};
use crate::load::{self, Segment, Tail};
use crate::names::Names;
use crate::pack::{Access, no_store, start};
use crate::write::Writer;
use crate::{Pack, Storage};

/// How often a store that changes while it is loaded is loaded again.
pub const TRIES: u32 = 8;

impl<S: Storage> Pack<S> {
    /// Opens a store for reading, while at most one other value, here or in another process, writes.
    ///
    /// Whenever a name is asked for, or an object that is not known, it looks whether more was written
    /// since and takes that in; so it sees what the writer acknowledged, flushed or not, as the writer
    /// does, in the same order. What was collected stays readable until then, and what was moved is
    /// found at its new place. Watches notice by [`generation`](irmin::Backend::generation) that names
    /// moved. Writing, moving names, collecting and repairing are `Refused`.
    ///
    /// # Errors
    /// As [`open`](Pack::open). `Corrupt` also if segments come and go faster than they can be read,
    /// which another try may survive.
    pub fn open_read(storage: S) -> Result<Pack<S>, BackendError> {
        let loaded = load_moving(&storage)?;
        let tail = loaded.tail;
        let mut pack = Pack::new(storage, loaded);
        pack.access = Access::Follow;
        pack.writer.lock().tail = tail;
        Ok(pack)
    }

    /// Does something that reads; where it finds nothing or damage, again after what was written since
    /// is known, and at last with all of it loaded anew.
    pub(crate) fn following<T>(
        &self,
        read: impl Fn() -> Result<T, BackendError>,
        is_missing: impl Fn(&T) -> bool,
    ) -> Result<T, BackendError> {
        let found = read();
        if self.access != Access::Follow || found.as_ref().is_ok_and(|found| !is_missing(found)) {
            return found;
        }
        self.follow()?;
        match read() {
            Err(BackendError::Corrupt { .. }) => {
                self.reload(&mut self.writer.lock())?;
                read()
            }
            found => found,
        }
    }

    /// Takes in what was written since the last time.
    pub(crate) fn follow(&self) -> Result<(), BackendError> {
        if self.access != Access::Follow {
            return Ok(());
        }
        let mut w = self.writer.lock();
        loop {
            if !self.is_as_known(&w)? {
                return self.reload(&mut w);
            }
            while let Some((record, begins)) = self.next_record(&w)? {
                self.take_in(&mut w, record, begins);
            }
            if !self.next_segment(&mut w)? {
                return Ok(());
            }
        }
    }

    /// Whether the segment that is followed is there, and what was read last of it: a write that failed
    /// is written over.
    fn is_as_known(&self, w: &Writer) -> Result<bool, BackendError> {
        let Some(tail) = w.tail else {
            return Ok(false);
        };
        let mut start = [0; 24];
        self.storage.read(tail.slot, 0, &mut start)?;
        let same = u64_at(&start, 16) == tail.header.stamp;
        let Some((at, last)) = tail.last else {
            return Ok(same);
        };
        let mut bytes = [0; 16];
        self.storage.read(tail.slot, at, &mut bytes)?;
        Ok(same && bytes == last)
    }

    /// The next record, with how it begins.
    fn next_record(&self, w: &Writer) -> Result<Option<(Record, [u8; 16])>, BackendError> {
        let Some(tail) = w.tail.filter(|tail| tail.at + HEAD as u64 <= self.segment) else {
            return Ok(None);
        };
        let mut head = [0; HEAD];
        self.storage.read(tail.slot, tail.at, &mut head)?;
        let len = record_len(u32_at(&head, 4) as usize) as u64;
        if stamp_at(&head) < tail.stamp || tail.at + len > self.segment {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        self.storage.read(tail.slot, tail.at, &mut bytes)?;
        let mut begins = [0; 16];
        begins.copy_from_slice(&bytes[..16]);
        let ink = Ink {
            salt: self.salt,
            from: tail.at,
        };
        let record = Record::read(&Bytes::from(bytes), ink);
        let follows = |record: &Record| {
            let opens = matches!(record.body, Body::Opening { .. }) && record.stamp > tail.stamp;
            record.stamp == tail.stamp || opens
        };
        Ok(record.filter(follows).map(|record| (record, begins)))
    }

    fn take_in(&self, w: &mut Writer, record: Record, begins: [u8; 16]) {
        let Some(tail) = &mut w.tail else { return };
        let (slot, at) = (tail.slot, tail.at);
        tail.last = Some((at, begins));
        tail.at += record.len as u64;
        tail.stamp = record.stamp;
        match record.body {
            Body::Part { id, part, .. } => {
                let place = Place::new(slot, at, part > 0, record.len);
                self.table.write().insert(key(&id, part), place);
            }
            Body::Block { listed, .. } => {
                let place = Place::of_block(slot, at, record.len);
                let mut table = self.table.write();
                listed
                    .iter()
                    .for_each(|object| table.insert(object.key, place));
            }
            Body::Chapter { edition, first, .. } => {
                let place = Place::of_chapter(slot, at, record.len);
                let key = chapter_key(edition, first);
                self.table.write().insert(key, place);
            }
            Body::Moves { edits, .. } => self.names.write().apply(edits),
            // The list with which a segment begins says what is known.
            Body::Names { .. } | Body::Opening { .. } => {}
        }
    }

    /// Goes on to the segment that follows a full one; `false` if nothing follows yet.
    fn next_segment(&self, w: &mut Writer) -> Result<bool, BackendError> {
        let Some(tail) = w.tail else {
            return Ok(false);
        };
        let mut start = vec![0; RECORDS as usize];
        self.storage.read(tail.slot, 0, &mut start)?;
        let Some(seal) = Header::read(&start).and_then(|(_, seal, _)| seal) else {
            return Ok(false);
        };
        if u64::from(seal.end) != tail.at {
            if self.next_record(w)?.is_some() {
                return Ok(true);
            }
            // What was read last was given up, or is damaged.
            self.reload(w)?;
            return Ok(false);
        }
        let used = self.storage.used()?;
        if !w.segments.keys().all(|slot| used.contains(slot)) {
            self.reload(w)?;
            return Ok(false);
        }
        for slot in used {
            self.storage.read(slot, 0, &mut start)?;
            let Some((header, ..)) = Header::read(&start) else {
                continue;
            };
            if header.before != tail.header.stamp || header.salt != self.salt {
                continue;
            }
            if let Some(full) = w.segments.get_mut(&tail.slot) {
                full.seal = Some(seal);
            }
            w.segments.insert(slot, Segment { header, seal: None });
            w.tail = Some(Tail {
                slot,
                header,
                at: RECORDS,
                stamp: header.stamp,
                last: None,
            });
            return Ok(true);
        }
        Ok(false)
    }

    /// Loads all of it again.
    pub(crate) fn reload(&self, w: &mut Writer) -> Result<(), BackendError> {
        let mut loaded = load_moving(&self.storage)?;
        let (writer, mut table, new) = start(&mut loaded);
        *w = writer;
        w.tail = loaded.tail;
        let mut old = self.table.write();
        table.loads = old.loads + 1;
        *old = table;
        drop(old);
        let mut names = self.names.write();
        let generation = names.generation + u64::from(names.heads != new.heads);
        *names = Names { generation, ..new };
        Ok(())
    }
}

/// Loads a store that is being written to.
fn load_moving<S: Storage>(storage: &S) -> Result<load::Loaded, BackendError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match load::load(storage, false) {
            Ok(Some(loaded)) if !loaded.segments.is_empty() => return Ok(loaded),
            Ok(_) => return Err(no_store()),
            Err(BackendError::Corrupt { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}
