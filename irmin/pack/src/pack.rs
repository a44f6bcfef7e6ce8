//! A store, and how it is the backend of Irmin.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use core::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashSet};
use irmin::{Backend, BackendError, Format, Id, Kind, Object, RefEdit, RefName, UpdateError};

use crate::block::{Block, Blocks};
use crate::flush::Flushing;
use crate::format::{
    Body, HEAD, Ink, Place, Record, check_segment, key, moves_len, part_size, push_moves,
    record_len,
};
use crate::load::{self, Damage, Loaded};
use crate::names::Names;
use crate::sync::{Mutex, RwLock};
use crate::table::Table;
use crate::write::{Slots, Writer};
use crate::{MAX_SEGMENT, MIN_SEGMENT, Storage};

/// A store of segments, open for reading and writing by any number of threads.
///
/// Nothing is written by opening. Dropping it without a [`flush`](Backend::flush) leaves it to
/// storage what a power cut would take; the end of a process takes nothing. Dropping it after one
/// notes down how far it went, so that later damage is told from a power cut.
pub struct Pack<S: Storage> {
    pub(crate) storage: S,
    pub(crate) format: Format,
    pub(crate) segment: u64,
    pub(crate) salt: u32,
    pub(crate) table: RwLock<Table>,
    pub(crate) names: RwLock<Names>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) sync: Flushing,
    pub(crate) collecting: Mutex<()>,
    pub(crate) blocks: Blocks,
    /// Another process writes, and this value follows it; see [`open_read`](Pack::open_read).
    pub(crate) follows: bool,
    damage: Vec<Damage>,
}

impl<S: Storage> Pack<S> {
    /// Makes a store in storage that holds none, in segments of [`SEGMENT`](crate::SEGMENT) bytes or
    /// what the storage's slots hold, if that is less. It is durable when this returns.
    ///
    /// # Errors
    /// [`BackendError::Refused`] if there is a store already; what storage says.
    pub fn create(storage: S, format: Format) -> Result<Pack<S>, BackendError> {
        let segment = storage.capacity().min(crate::SEGMENT);
        Pack::create_with(storage, format, segment)
    }

    /// Makes a store in segments of `segment` bytes: 64 KiB to 128 MiB, a multiple of 4096. Garbage is
    /// collected by the segment, and an opening after a crash reads a few of them.
    ///
    /// # Errors
    /// As [`create`](Pack::create), and `Refused` for another size.
    pub fn create_with(storage: S, format: Format, segment: u64) -> Result<Pack<S>, BackendError> {
        if !check_segment(segment) || segment > storage.capacity() {
            return Err(BackendError::Refused {
                what: format!(
                    "segments of {segment} bytes: {MIN_SEGMENT} to {MAX_SEGMENT} and at most the {} of a slot, a multiple of 4096",
                    storage.capacity()
                ),
            });
        }
        let mut loaded = Loaded::empty(format, segment, new_salt(&storage));
        if let Some(there) = load::load(&storage, false)? {
            if !there.segments.is_empty() {
                return Err(BackendError::Refused {
                    what: "to make a store where there is one; open it".to_string(),
                });
            }
            loaded.opening = there.opening;
            loaded.discard = there.discard;
        }
        let pack = Pack::new(storage, loaded);
        let mut w = pack.writer.lock();
        pack.append(&mut w, |w| pack.room(w, record_len(0), 0, Slots::All))?;
        drop(w);
        Ok(pack)
    }

    /// Opens a store. Reads the headers and indexes of its segments, and the last ones whole.
    ///
    /// # Errors
    /// [`BackendError::Refused`] if there is none; `Corrupt` if something that was durable and that the
    /// names depend on cannot be read: [`repair`](Pack::repair) saves what can be saved. Damaged
    /// objects are found when they are read, or by [`check`](Pack::check).
    pub fn open(storage: S) -> Result<Pack<S>, BackendError> {
        Pack::open_or(storage, false)
    }

    pub(crate) fn open_or(storage: S, salvage: bool) -> Result<Pack<S>, BackendError> {
        match load::load(&storage, salvage)? {
            Some(loaded) if !loaded.segments.is_empty() => Ok(Pack::new(storage, loaded)),
            _ => Err(no_store()),
        }
    }

    pub(crate) fn new(storage: S, mut loaded: Loaded) -> Pack<S> {
        let (writer, table, names) = start(&mut loaded);
        Pack {
            storage,
            format: loaded.format,
            segment: loaded.segment,
            salt: loaded.salt,
            table: RwLock::new(table),
            names: RwLock::new(names),
            writer: Mutex::new(writer),
            sync: Flushing::default(),
            collecting: Mutex::default(),
            blocks: Blocks::default(),
            follows: false,
            damage: loaded.damage,
        }
    }

    /// Where it lies.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// How many objects there are; large ones count once for each part of up to 1 MiB.
    pub fn len(&self) -> usize {
        self.table.read().len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Damage that was found and worked around when the store was opened.
    pub fn damage_at_open(&self) -> &[Damage] {
        &self.damage
    }

    /// Reads the record of a part, if it is there and whole.
    ///
    /// A record that moved while it was read, because garbage is being collected, is looked up again.
    pub(crate) fn part(&self, id: &Id, part: u32) -> Result<Option<(Record, Place)>, BackendError> {
        let key = key(id, part);
        let mut damaged = None;
        let mut n = 0;
        let mut moved = 0;
        loop {
            let place = self.table.read().get(key, n);
            let Some(place) = place else {
                return match damaged {
                    None => Ok(None),
                    Some(place) => Err(damage(id, part, place)),
                };
            };
            if place.is_block()
                && let Some(block) = self.blocks.get(place)
                && let Some(record) = self.in_block(&block, id, place)
            {
                return Ok(Some((record, place)));
            }
            match self.record(place)? {
                Some(record) => match &record.body {
                    Body::Part {
                        id: found,
                        part: number,
                        ..
                    } if found == id && *number == part => return Ok(Some((record, place))),
                    Body::Block { listed, stream } if part == 0 => {
                        let block = Block::inflate(listed, stream).map(Arc::new);
                        if let Some(block) = &block {
                            self.blocks.keep(place, block);
                            if let Some(record) = self.in_block(block, id, place) {
                                return Ok(Some((record, place)));
                            }
                        }
                        // Another object of this key, or one that moved, or damage.
                        match self.table.read().contains(key, place) {
                            true if block.is_some() && listed.iter().any(|at| at.key == key) => {
                                n += 1
                            }
                            true => {
                                damaged = Some(place);
                                n += 1;
                            }
                            false => (n, moved) = (0, moved + 1),
                        }
                    }
                    Body::Part {
                        id: found,
                        part: number,
                        ..
                    } if crate::format::key(found, *number) == key => n += 1,
                    _ if self.table.read().contains(key, place) => {
                        damaged = Some(place);
                        n += 1;
                    }
                    _ => (n, moved) = (0, moved + 1),
                },
                None if self.table.read().contains(key, place) => {
                    damaged = Some(place);
                    n += 1;
                }
                None => (n, moved) = (0, moved + 1),
            }
            if moved > 1000 {
                return Err(damage(id, part, place));
            }
        }
    }

    /// The record at this place; `None` if it is damaged, or another is there now.
    pub(crate) fn record(&self, place: Place) -> Result<Option<Record>, BackendError> {
        let mut bytes = vec![0; place.len()];
        self.storage
            .read(place.slot(), place.offset(), &mut bytes)?;
        let ink = Ink {
            salt: self.salt,
            from: place.offset(),
        };
        Ok(Record::read(&Bytes::from(bytes), ink))
    }

    /// The id of the object that has this key in a block.
    fn id_in_block(&self, key: u64, place: Place) -> Result<Option<Id>, BackendError> {
        let block = match self.blocks.get(place) {
            Some(block) => Some(block),
            None => match self.record(place)?.map(|record| record.body) {
                Some(Body::Block { listed, stream }) => {
                    Block::inflate(&listed, &stream).map(Arc::new)
                }
                _ => None,
            },
        };
        let Some(block) = block else { return Ok(None) };
        self.blocks.keep(place, &block);
        let object = block.objects().find(|object| object.0 == key);
        Ok(object.and_then(|(_, kind, data)| self.format.id(kind, &data).ok()))
    }

    /// The object of this id in a block, as the record that it would be.
    fn in_block(&self, block: &Block, id: &Id, place: Place) -> Option<Record> {
        let (kind, data) = block.find(self.format, id)?;
        Some(Record {
            stamp: 0,
            len: place.len(),
            body: Body::Part {
                id: *id,
                kind,
                part: 0,
                total: data.len() as u64,
                data,
            },
        })
    }

    /// Whether the object is here and its first record whole.
    fn intact(&self, id: &Id) -> Result<Option<u64>, BackendError> {
        match self.part(id, 0) {
            Ok(Some((record, _))) => match record.body {
                Body::Part { total, .. } => Ok(Some(total)),
                _ => Ok(None),
            },
            Ok(None) | Err(BackendError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the table has all parts of an object of this length, after the first, in full length.
    pub(crate) fn has_parts(&self, id: &Id, total: u64) -> bool {
        let size = part_size(self.segment) as u64;
        let table = self.table.read();
        (1..parts(total, self.segment)).all(|part| {
            let data = (total - u64::from(part) * size).min(size);
            let len = record_len(data as usize);
            let mut places = (0..).map_while(|n| table.get(key(id, part), n));
            places.any(|place| place.len() == len)
        })
    }

    /// Whether all of the object is here and whole; for one that is about to be written again.
    fn whole(&self, id: &Id) -> Result<Option<u64>, BackendError> {
        let Some(total) = self.intact(id)? else {
            return Ok(None);
        };
        for part in 1..parts(total, self.segment) {
            match self.part(id, part) {
                Ok(Some(_)) => {}
                Ok(None) | Err(BackendError::Corrupt { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(total))
    }

    /// Kind and length of an object, from its record's head alone, unchecked; for going through many.
    pub(crate) fn glance(&self, id: &Id) -> Result<Option<(Kind, u64)>, BackendError> {
        let mut bytes = [0; HEAD];
        let Some(place) = self.table.read().get(key(id, 0), 0) else {
            return Ok(None);
        };
        self.storage
            .read(place.slot(), place.offset(), &mut bytes)?;
        if bytes[32..].starts_with(id.as_bytes())
            && let Some(kind) = crate::format::kind(bytes[17])
        {
            return Ok(Some((kind, crate::format::u64_at(&bytes, 24))));
        }
        Ok(self
            .read(id)?
            .map(|object| (object.kind, object.data.len() as u64)))
    }

    fn read_here(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        let Some((record, place)) = self.part(id, 0)? else {
            return Ok(None);
        };
        let Body::Part {
            kind, total, data, ..
        } = record.body
        else {
            return Err(damage(id, 0, place));
        };
        if data.len() as u64 == total {
            return Ok(Some(Object {
                id: *id,
                kind,
                data,
            }));
        }
        // A length that lies costs no memory: all parts are there before room is made for them. Where
        // they are not, a collection left this one behind.
        if !self.has_parts(id, total) {
            return Ok(None);
        }
        let mut whole = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
        whole.extend_from_slice(&data);
        for part in 1..parts(total, self.segment) {
            match self.part(id, part)?.map(|(record, _)| record.body) {
                Some(Body::Part { data, .. }) => whole.extend_from_slice(&data),
                _ => return Ok(None),
            }
        }
        if whole.len() as u64 != total {
            return Err(damage(id, 0, place));
        }
        Ok(Some(Object {
            id: *id,
            kind,
            data: whole.into(),
        }))
    }

    fn contains_here(&self, id: &Id) -> Result<bool, BackendError> {
        if self.table.read().get(key(id, 0), 0).is_none() {
            return Ok(false);
        }
        let Some(total) = self.intact(id)? else {
            return Ok(false);
        };
        Ok(self.has_parts(id, total))
    }
}

impl<S: Storage> Drop for Pack<S> {
    fn drop(&mut self) {
        let mut w = self.writer.lock();
        if w.ready && w.durable == w.point() && w.noted < w.durable {
            // Best effort: what is durable is so without the note.
            let _ = self.append(&mut w, |w| {
                self.room(w, record_len(0), 0, Slots::All)?;
                self.note_durable(w)
            });
        }
    }
}

/// What a store that was just loaded begins with.
pub(crate) fn start(loaded: &mut Loaded) -> (Writer, Table, Names) {
    let mut writer = Writer {
        format: loaded.format,
        segment: loaded.segment,
        salt: loaded.salt,
        segments: core::mem::take(&mut loaded.segments),
        active: loaded.active.take(),
        last: loaded.last,
        stamp: u64::from(loaded.opening) << 32,
        ready: false,
        durable: loaded.durable,
        unflushed: 0,
        noted: loaded.durable,
        discard: core::mem::take(&mut loaded.discard),
        freed: Vec::new(),
        buffer: Vec::new(),
        fresh: Vec::new(),
        written: 1,
        touched: HashSet::new(),
        moved_to: None,
        lately: None,
        tail: None,
        young: 0,
    };
    writer.young = writer.point().stamp;
    let table = core::mem::take(&mut loaded.table);
    let names = Names::new(core::mem::take(&mut loaded.names));
    (writer, table, names)
}

pub(crate) fn no_store() -> BackendError {
    BackendError::Refused {
        what: "to open what holds no store; make one first".to_string(),
    }
}

/// A number that others cannot guess well, where addresses are random.
fn new_salt<S>(storage: &S) -> u32 {
    let address = core::ptr::from_ref(storage).addr();
    DefaultHashBuilder::default().hash_one(address) as u32
}

/// How many records an object of this length takes.
pub fn parts(total: u64, segment: u64) -> u32 {
    u32::try_from(total.div_ceil(part_size(segment) as u64).max(1)).unwrap_or(u32::MAX)
}

fn damage(id: &Id, part: u32, place: Place) -> BackendError {
    BackendError::Corrupt {
        what: format!(
            "object {id} (part {part}, segment {} at byte {})",
            place.slot(),
            place.offset()
        ),
    }
}

impl<S: Storage> Backend for Pack<S> {
    fn format(&self) -> Format {
        self.format
    }

    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        self.following(|| self.read_here(id), Option::is_none)
    }

    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        self.following(|| self.contains_here(id), |here| !here)
    }

    fn write(&self, objects: &[Object]) -> Result<(), BackendError> {
        let mut w = self.writer.lock();
        w.lately = None;
        self.append(&mut w, |w| {
            for object in objects {
                if let Some(total) = self.whole(&object.id)? {
                    for part in 0..parts(total, self.segment) {
                        w.touched.insert(key(&object.id, part));
                    }
                } else if object.id.as_bytes().len() != self.format.id_len() {
                    return Err(BackendError::Refused {
                        what: format!("{}: an id of another format", object.id),
                    });
                } else {
                    self.push_object(w, object)?;
                }
            }
            Ok(())
        })?;
        w.lately = objects.last().map(|object| object.id);
        Ok(())
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        self.follow()?;
        let digits = prefix.get(..prefix.len().min(16)).unwrap_or_default();
        let Ok(from) = u64::from_str_radix(&format!("{digits:0<16}"), 16) else {
            return Ok(Vec::new());
        };
        let to = match digits.len() {
            0 => u64::MAX,
            len => from | u64::MAX.checked_shr(4 * len as u32).unwrap_or(0),
        };
        let mut found: Vec<Id> = Vec::new();
        let mut candidates = self.table.read().range(from, to).into_iter();
        let mut last = None;
        let mut head = [0; HEAD];
        while let Some((key, place)) = candidates.next() {
            // Those with one key come in any order: all of them are looked at before it is enough.
            if found.len() >= limit && last != Some(key) {
                break;
            }
            last = Some(key);
            let id = if place.is_block() {
                self.id_in_block(key, place)?
            } else {
                self.storage.read(place.slot(), place.offset(), &mut head)?;
                head[32..]
                    .get(..self.format.id_len())
                    .and_then(Id::from_bytes)
            };
            match id.filter(|id| crate::format::key(id, 0) == key) {
                Some(id) if id.begins_with(prefix) => found.push(id),
                Some(_) => {}
                // It moved while garbage was collected: from here on the places are looked up again.
                None if !self.table.read().contains(key, place) => {
                    found.retain(|id| crate::format::key(id, 0) < key);
                    candidates = self.table.read().range(key, to).into_iter();
                }
                None => {}
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        self.follow()?;
        Ok(self.names.read().heads.get(name).copied())
    }

    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        self.follow()?;
        Ok(self.names.read().list(prefix))
    }

    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        let mut w = self.writer.lock();
        RefEdit::check(edits, &self.names.read().heads)?;
        for edit in edits {
            if let Some(id) = edit.new {
                if w.lately != Some(id) && !self.contains(&id)? {
                    return Err(UpdateError::NoSuchObject {
                        name: edit.name.clone(),
                        id,
                    });
                }
                w.moved_to.iter_mut().for_each(|moved| moved.push(id));
            }
        }
        if edits.is_empty() {
            return Ok(());
        }
        let moves = || edits.iter().map(|edit| (&edit.name, edit.new));
        let len = moves_len(moves());
        let (growth, listed) = {
            let names = self.names.read();
            (names.growth(edits), names.bytes)
        };
        if growth > 0 && (growth + listed) as u64 > self.segment / 4 {
            return Err(BackendError::Refused {
                what: format!(
                    "more names than fit into a quarter of a segment of {} bytes",
                    self.segment
                ),
            }
            .into());
        }
        // Deleting names has to be possible in a full store: it is how room is made.
        let makes = edits.iter().any(|edit| edit.new.is_some());
        let slots = if makes { Slots::Ordinary } else { Slots::All };
        self.append(&mut w, |w| {
            self.room(w, record_len(len), 0, slots)?;
            let ink = w.ink();
            push_moves(&mut w.buffer, ink, w.stamp, w.durable, moves());
            Ok(())
        })?;
        self.names.write().apply(edits);
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        if self.follows {
            return Ok(());
        }
        self.flush_together()
    }

    fn generation(&self) -> Result<u64, BackendError> {
        self.follow()?;
        Ok(self.names.read().generation)
    }
}

#[cfg(feature = "std")]
impl<S: Storage> irmin_packfile::PackStore for Pack<S> {}
