//! A store, and how it is the backend of Irmin.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashSet};
use irmin::{
    Backend, BackendError, CommitIndex, Format, Id, Kind, Object, RefEdit, RefName, UpdateError,
};

use crate::block::Blocks;
use crate::commits::Commits;
use crate::flush::Flushing;
use crate::format::{check_segment, key, moves_len, push_moves, record_len};
use crate::load::{self, Damage, Loaded};
use crate::names::Names;
use crate::read::parts;
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
    pub(crate) commits: Mutex<Commits>,
    pub(crate) access: Access,
    damage: Vec<Damage>,
}

/// What a store is open for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading and writing.
    Write,
    /// Reading, while another process writes that this value follows; see [`open_read`](Pack::open_read).
    Follow,
    /// Reading what is left of a damaged store; see [`inspect`](Pack::inspect).
    Look,
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
            commits: Mutex::default(),
            access: Access::Write,
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
        torn: 0,
        mend: core::mem::take(&mut loaded.torn),
        tail: None,
        commits: 0,
        unknown: 0,
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
                    w.commits += u32::from(object.kind == Kind::Commit);
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
        let mut candidates = self.table.read().range(from, to);
        // Where all are wanted, they are looked at as they lie, and no block is inflated twice.
        if candidates.len() <= limit {
            candidates.sort_unstable_by_key(|(_, place)| place.0);
            let mut moved = false;
            for (key, place) in &candidates {
                match self.id_at(*key, *place)? {
                    Some(id) => found.push(id),
                    None => moved |= !self.table.read().contains(*key, *place),
                }
            }
            if !moved {
                found.retain(|id| id.begins_with(prefix));
                found.sort_unstable();
                found.dedup();
                return Ok(found);
            }
            found.clear();
            candidates = self.table.read().range(from, to);
        }
        let mut candidates = candidates.into_iter();
        let mut last = None;
        while let Some((key, place)) = candidates.next() {
            // Those with one key come in any order: all of them are looked at before it is enough.
            if found.len() >= limit && last != Some(key) {
                break;
            }
            last = Some(key);
            match self.id_at(key, place)? {
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
        let moved = edits.iter().map(|edit| (edit.name.clone(), edit.new));
        self.names.write().apply(moved);
        self.extend_now_and_then(w);
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        if self.access != Access::Write {
            return Ok(());
        }
        self.flush_together()
    }

    fn generation(&self) -> Result<u64, BackendError> {
        self.follow()?;
        Ok(self.names.read().generation)
    }

    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        self.commits()
    }
}

#[cfg(feature = "std")]
impl<S: Storage> irmin_packfile::PackStore for Pack<S> {}
