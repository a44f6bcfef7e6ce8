//! Giving out a pack: what is stored is copied as it is, compressed and as a delta, wherever the
//! receiver will have the base. What lies alone, or not compressed yet, is new: for it a delta is looked
//! for.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use irmin::Id;
use irmin_packfile::zlib::Effort;
use irmin_packfile::{
    Base, GiveOptions, Given, Header, PackError, Progress, Stage, Writer, Written,
};

use crate::error::Result;
use crate::odb::{Odb, Packs};
use crate::pack::{Alike, Pack, Reverse};

pub(crate) fn give(
    odb: &Odb,
    objects: &[Id],
    out: &mut dyn Write,
    options: GiveOptions<'_>,
) -> Result<Given, PackError> {
    let (written, deltas) = write(odb, objects, out, options)?;
    Ok(Given {
        objects: written.places.len() as u32,
        deltas,
        bytes: written.length,
        sum: written.sum,
    })
}

/// Writes the pack; returns it, and how many deltas are in it.
pub(crate) fn write<W: Write>(
    odb: &Odb,
    objects: &[Id],
    out: W,
    mut options: GiveOptions<'_>,
) -> Result<(Written<W>, u32), PackError> {
    let mut wanted: HashMap<Id, State> = HashMap::with_capacity(objects.len());
    let once = |id: &&Id| wanted.insert(**id, State::Wanted).is_none();
    let objects: Vec<&Id> = objects.iter().filter(once).collect();
    let count = u32::try_from(objects.len()).map_err(|_| PackError::TooLarge {
        what: format!("{} objects are too many for one", objects.len()),
    })?;
    let mut giving = Giving {
        odb,
        packs: odb.packs(),
        reverse: HashMap::new(),
        wanted,
        bases: options.bases.iter().copied().collect(),
        by_offset: options.offset_deltas,
        alike: Alike::new(odb.format()),
        writer: Writer::new(out, odb.format(), count, Effort::Usual),
        deltas: 0,
    };
    for (at, id) in objects.iter().enumerate() {
        giving.object(id)?;
        if let Some(progress) = &mut options.progress
            && (at % 256 == 255 || at + 1 == objects.len())
        {
            progress(Progress {
                stage: Stage::Entries,
                done: at as u64 + 1,
                all: u64::from(count),
                bytes: giving.writer.offset(),
            });
        }
    }
    let deltas = giving.deltas;
    let written = giving.writer.finish().map_err(PackError::Write)?;
    Ok((written, deltas))
}

/// No chain is copied that is longer: what is new becomes the base of what was, collection by collection.
const DEEPEST: u16 = 250;

/// How far one of the objects has come.
#[derive(Clone, Copy)]
enum State {
    Wanted,
    /// Its base goes first.
    Waiting,
    Written {
        offset: u64,
        /// How many deltas lead to it from a whole object, as far as that is known.
        depth: u16,
    },
}

struct Giving<'a, W> {
    odb: &'a Odb,
    packs: Packs,
    /// What is where in packs of which entries are copied.
    reverse: HashMap<u64, Reverse>,
    wanted: HashMap<Id, State>,
    bases: HashSet<Id>,
    by_offset: bool,
    alike: Alike,
    writer: Writer<W>,
    deltas: u32,
}

/// An entry that may be copied.
struct Stored {
    pack: Arc<Pack>,
    offset: u64,
    end: u64,
    base: Base,
    /// The object that it is a delta for.
    on: Option<Id>,
    /// Whether it lies as it was written in a commit, not compressed, and another may be like it.
    is_new: bool,
}

impl<W: Write> Giving<'_, W> {
    /// Writes an object, and before it those on which it stands and which are wanted too.
    fn object(&mut self, id: &Id) -> Result<(), PackError> {
        let mut stack = vec![(*id, None)];
        while let Some((id, stored)) = stack.pop() {
            match self.wanted[&id] {
                State::Written { .. } => continue,
                State::Wanted => {}
                // It stands on itself, by way of two packs, unless its base is written by now.
                State::Waiting => {
                    self.write(&id, stored)?;
                    continue;
                }
            }
            let stored = self.stored(&id)?;
            let on = stored.as_ref().and_then(|stored| stored.on);
            match on {
                Some(base) if matches!(self.wanted.get(&base), Some(State::Wanted)) => {
                    self.wanted.insert(id, State::Waiting);
                    stack.push((id, stored));
                    stack.push((base, None));
                }
                _ => self.write(&id, stored)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, id: &Id, stored: Option<Stored>) -> Result<(), PackError> {
        let copied = match stored.filter(|stored| !stored.is_new) {
            Some(stored) => self.copy(id, &stored)?,
            None => None,
        };
        let state = match copied {
            Some(state) => state,
            None => self.fresh(id)?,
        };
        self.wanted.insert(*id, state);
        Ok(())
    }

    /// Writes an object that is not copied, as a delta for one like it if there is one.
    fn fresh(&mut self, id: &Id) -> Result<State, PackError> {
        let Some((kind, data)) = self.odb.read(id)? else {
            return Err(PackError::Missing { id: *id });
        };
        let Giving {
            alike,
            writer,
            deltas,
            by_offset,
            ..
        } = self;
        let written = alike.tell(*id, kind, &data, |found| match found {
            Some(found) => {
                let base = match by_offset {
                    true => Base::Offset(found.offset),
                    false => Base::Id(found.base),
                };
                *deltas += 1;
                writer.delta(*id, base, &found.delta)
            }
            None => writer.whole(*id, kind, &data),
        });
        let (offset, depth) = written.map_err(PackError::Write)?;
        Ok(State::Written { offset, depth })
    }

    /// Copies the entry as it is stored, if its base goes out too or is with the receiver.
    fn copy(&mut self, id: &Id, stored: &Stored) -> Result<Option<State>, PackError> {
        let (base, depth) = match stored.on.map(|on| (on, self.wanted.get(&on))) {
            None => (stored.base, 0),
            Some((on, Some(State::Written { offset, depth }))) => {
                if *depth >= DEEPEST {
                    return Ok(None);
                }
                let base = match self.by_offset {
                    true => Base::Offset(*offset),
                    false => Base::Id(on),
                };
                (base, depth + 1)
            }
            Some((on, None)) if self.bases.contains(&on) => (Base::Id(on), 1),
            Some(_) => return Ok(None),
        };
        // Damaged, deleted meanwhile, or not compressed: it is read, checked and compressed.
        let Ok(Some((size, stream))) = stored.pack.stream(id, stored.offset..stored.end) else {
            return Ok(None);
        };
        let offset = self.writer.copy(*id, base, size, &stream);
        let offset = offset.map_err(PackError::Write)?;
        self.deltas += u32::from(stored.on.is_some());
        Ok(Some(State::Written { offset, depth }))
    }

    /// Where the object lies in a pack; `None` if it lies alone, or cannot be copied.
    fn stored(&mut self, id: &Id) -> Result<Option<Stored>, PackError> {
        for pack in self.packs.iter() {
            let Ok(index) = pack.index() else { continue };
            let Ok(Some(offset)) = index.find(id) else {
                continue;
            };
            let reverse = match self.reverse.entry(pack.number) {
                std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::hash_map::Entry::Vacant(room) => match Reverse::of(pack) {
                    Ok(reverse) => room.insert(reverse),
                    Err(_) => continue,
                },
            };
            let Some(end) = reverse.end(offset) else {
                continue;
            };
            let Ok((Header { base, size, .. }, is_plain)) = pack.header(offset, end) else {
                continue;
            };
            let on = match base {
                Base::Whole(_) => None,
                Base::Id(id) => Some(id),
                Base::Offset(at) => match reverse.id(pack, at) {
                    Ok(Some(id)) => Some(id),
                    _ => continue,
                },
            };
            let pack = pack.clone();
            return Ok(Some(Stored {
                pack,
                offset,
                end,
                base,
                on,
                is_new: is_plain && matches!(base, Base::Whole(kind) if Alike::may_be(kind, size)),
            }));
        }
        Ok(None)
    }
}
