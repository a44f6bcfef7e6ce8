//! Reads objects, wherever they lie.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use irmin::{BackendError, Id, Kind, Object};

use crate::block::Block;
use crate::format::{Body, HEAD, Ink, Place, Record, key, part_size, record_len};
use crate::{Pack, Storage};

impl<S: Storage> Pack<S> {
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
            let found = self.look(id, part, place)?;
            if let Look::Found(record) = found {
                return Ok(Some((record, place)));
            }
            if self.table.read().contains(key, place) {
                if let Look::Nothing = found {
                    damaged = Some(place);
                }
                n += 1;
            } else {
                (n, moved) = (0, moved + 1);
            }
            if moved > 1000 {
                return Err(damage(id, part, place));
            }
        }
    }

    /// Looks for the record of a part at a place that the table has for its key.
    fn look(&self, id: &Id, part: u32, place: Place) -> Result<Look, BackendError> {
        let key = key(id, part);
        if !place.is_block() {
            let Some(record) = self.record(place)? else {
                return Ok(Look::Nothing);
            };
            return Ok(match &record.body {
                Body::Part {
                    id: there,
                    part: number,
                    ..
                } if there == id && *number == part => Look::Found(record),
                Body::Part {
                    id: there,
                    part: number,
                    ..
                } if crate::format::key(there, *number) == key => Look::Another,
                _ => Look::Nothing,
            });
        }
        let inside = |block: &Block| self.in_block(block, id, place).filter(|_| part == 0);
        // The block that is kept may be one that was here before.
        if let Some(record) = self.blocks.get(place).and_then(|block| inside(&block)) {
            return Ok(Look::Found(record));
        }
        Ok(match self.inflate(place)? {
            None => Look::Nothing,
            Some(block) => match inside(&block) {
                Some(record) => Look::Found(record),
                None if block.of_key(key).next().is_some() => Look::Another,
                None => Look::Nothing,
            },
        })
    }

    /// Reads the block at this place; `None` if it is damaged, or something else is there now.
    fn inflate(&self, place: Place) -> Result<Option<Arc<Block>>, BackendError> {
        let Some(Body::Block { listed, stream }) = self.record(place)?.map(|record| record.body)
        else {
            return Ok(None);
        };
        let block = Block::inflate(&listed, &stream).map(Arc::new);
        if let Some(block) = &block {
            self.blocks.keep(place, block);
        }
        Ok(block)
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

    /// The id of the object of this key that lies there; `None` if another does, or there is damage.
    pub(crate) fn id_at(&self, key: u64, place: Place) -> Result<Option<Id>, BackendError> {
        if !place.is_block() {
            let mut head = [0; HEAD];
            self.storage.read(place.slot(), place.offset(), &mut head)?;
            let id = head[32..]
                .get(..self.format.id_len())
                .and_then(Id::from_bytes);
            return Ok(id.filter(|id| crate::format::key(id, 0) == key));
        }
        let block = match self.blocks.get(place) {
            Some(block) => Some(block),
            None => self.inflate(place)?,
        };
        let Some(block) = block else { return Ok(None) };
        let object = block.of_key(key).next();
        let id = object.and_then(|(kind, data)| self.format.id(kind, &data).ok());
        Ok(id.filter(|id| crate::format::key(id, 0) == key))
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
    pub(crate) fn whole(&self, id: &Id) -> Result<Option<u64>, BackendError> {
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
            .read_here(id)?
            .map(|object| (object.kind, object.data.len() as u64)))
    }

    pub(crate) fn read_here(&self, id: &Id) -> Result<Option<Object>, BackendError> {
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

    pub(crate) fn contains_here(&self, id: &Id) -> Result<bool, BackendError> {
        if self.table.read().get(key(id, 0), 0).is_none() {
            return Ok(false);
        }
        let Some(total) = self.intact(id)? else {
            return Ok(false);
        };
        Ok(self.has_parts(id, total))
    }
}

/// What a look at a place found.
enum Look {
    Found(Record),
    /// Another object of this key.
    Another,
    /// Damage, or what moved here since.
    Nothing,
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
