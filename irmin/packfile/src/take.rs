//! Taking a pack apart into any store.

use std::collections::HashMap;
use std::io::Read;
use std::mem;

use bytes::Bytes;
use irmin::{Backend, Id, Kind, Object};

use crate::store::STEP;
use crate::{Base, Limits, PackError, Progress, Reader, Stage, TakeOptions, Taken, delta};

pub(crate) fn take<B: Backend + ?Sized>(
    store: &B,
    pack: &mut dyn Read,
    mut options: TakeOptions<'_>,
) -> Result<Taken, PackError> {
    let mut reader = Reader::new(pack, store.format(), options.limits)?;
    let mut unpack = Unpack {
        store,
        limits: options.limits,
        places: Vec::new(),
        batch: Vec::new(),
        in_batch: HashMap::new(),
        batch_size: 0,
        waiting: HashMap::new(),
        waiting_size: 0,
        made: 0,
    };
    let (mut data, mut done, mut deltas) = (Vec::new(), 0u32, 0u32);
    while let Some(entry) = reader.next(&mut data)? {
        deltas += u32::from(!matches!(entry.base, Base::Whole(_)));
        unpack.entry(entry.offset, entry.base, mem::take(&mut data))?;
        done += 1;
        if let Some(progress) = &mut options.progress
            && (done.is_multiple_of(STEP) || done == reader.count())
        {
            progress(Progress {
                stage: Stage::Entries,
                done: u64::from(done),
                all: u64::from(reader.count()),
                bytes: reader.offset(),
            });
        }
    }
    unpack.finish()?;
    let objects = reader.count();
    let (sum, bytes) = reader.finish()?;
    Ok(Taken {
        objects,
        deltas,
        bytes,
        sum,
    })
}

/// Bytes that are collected before they are written.
const BATCH: usize = 8 << 20;
/// Bytes of deltas that may wait for their bases.
const MOST_WAITING: usize = 256 << 20;

struct Unpack<'a, B: ?Sized> {
    store: &'a B,
    limits: Limits,
    /// Where each entry begins, and its object once that is known.
    places: Vec<(u64, Option<Id>)>,
    batch: Vec<Object>,
    in_batch: HashMap<Id, usize>,
    batch_size: usize,
    /// Deltas whose bases have not come.
    waiting: HashMap<Base, Vec<Waiting>>,
    /// Bytes of those.
    waiting_size: usize,
    /// Bytes that deltas made.
    made: u64,
}

struct Waiting {
    offset: u64,
    delta: Vec<u8>,
}

impl<B: Backend + ?Sized> Unpack<'_, B> {
    fn entry(&mut self, offset: u64, base: Base, data: Vec<u8>) -> Result<(), PackError> {
        self.places.push((offset, None));
        let found = match base {
            Base::Whole(kind) => return self.object(offset, kind, data.into()),
            Base::Offset(place) => {
                let at = self
                    .places
                    .binary_search_by_key(&place, |(place, _)| *place);
                let at = at.map_err(|_| PackError::Damaged {
                    offset,
                    wrong: "no entry begins where its base should",
                })?;
                let known = self.places[at].1;
                known.map(|id| self.expect(&id)).transpose()?
            }
            Base::Id(id) => self.read(&id)?,
        };
        if let Some(found) = found {
            let made = self.apply(offset, &found, &data)?;
            return self.object(offset, found.kind, made);
        }
        self.waiting_size += data.len() + 64;
        if self.waiting_size > MOST_WAITING {
            return Err(PackError::TooLarge {
                what: "more than 256 MiB of deltas come before their bases".into(),
            });
        }
        self.waiting.entry(base).or_default().push(Waiting {
            offset,
            delta: data,
        });
        Ok(())
    }

    /// An object is known: with it, perhaps, those that waited for it, and so on. One at a time is
    /// held: the others can be read.
    fn object(&mut self, offset: u64, kind: Kind, data: Bytes) -> Result<(), PackError> {
        let mut ready = vec![self.keep(offset, kind, data)?];
        while let Some((id, waiting)) = ready.last_mut() {
            let id = *id;
            let Some(next) = waiting.pop() else {
                ready.pop();
                continue;
            };
            self.waiting_size -= next.delta.len() + 64;
            let base = self.expect(&id)?;
            let made = self.apply(next.offset, &base, &next.delta)?;
            ready.push(self.keep(next.offset, base.kind, made)?);
        }
        Ok(())
    }

    fn apply(&mut self, offset: u64, base: &Object, delta: &[u8]) -> Result<Bytes, PackError> {
        let most = self.limits.object.min(self.limits.total - self.made);
        let made = delta::apply(&base.data, delta, most)
            .map_err(|wrong| PackError::Damaged { offset, wrong })?;
        self.made += made.len() as u64;
        Ok(made.into())
    }

    /// Names an object and has it written soon; returns what waited for it.
    fn keep(
        &mut self,
        offset: u64,
        kind: Kind,
        data: Bytes,
    ) -> Result<(Id, Vec<Waiting>), PackError> {
        let object = Object::new(self.store.format(), kind, data)?;
        let id = object.id;
        if let Ok(at) = self
            .places
            .binary_search_by_key(&offset, |(place, _)| *place)
        {
            self.places[at].1 = Some(id);
        }
        if !self.in_batch.contains_key(&id) {
            self.batch_size += object.data.len() + 128;
            self.in_batch.insert(id, self.batch.len());
            self.batch.push(object);
        }
        if self.batch_size > BATCH {
            self.flush()?;
        }
        let mut waiting = self.waiting.remove(&Base::Id(id)).unwrap_or_default();
        waiting.extend(
            self.waiting
                .remove(&Base::Offset(offset))
                .unwrap_or_default(),
        );
        Ok((id, waiting))
    }

    fn flush(&mut self) -> Result<(), PackError> {
        if !self.batch.is_empty() {
            self.store.write(&self.batch)?;
        }
        self.batch.clear();
        self.in_batch.clear();
        self.batch_size = 0;
        Ok(())
    }

    /// An object of this pack or of the store.
    fn read(&self, id: &Id) -> Result<Option<Object>, PackError> {
        match self.in_batch.get(id) {
            Some(&at) => Ok(Some(self.batch[at].clone())),
            None => Ok(self.store.read(id)?),
        }
    }

    /// An object that was written.
    fn expect(&self, id: &Id) -> Result<Object, PackError> {
        self.read(id)?.ok_or(PackError::Missing { id: *id })
    }

    fn finish(mut self) -> Result<(), PackError> {
        // What waits for a place waits for an object in the end.
        let missing = self.waiting.keys().find_map(|base| match base {
            Base::Id(id) => Some(*id),
            _ => None,
        });
        if let Some(base) = missing {
            return Err(PackError::MissingBase {
                base,
                count: self.places.iter().filter(|(_, id)| id.is_none()).count() as u64,
            });
        }
        self.flush()
    }
}
