//! Blocks: small objects of history, compressed together.
//!
//! Versions of one thing lie one behind the other, so that each is little more than its difference
//! from the one before; and whichever is read, no more than one block is inflated for it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use hashbrown::HashMap;
use irmin::{Format, Id, Kind};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use crate::format::{LISTED, Listed, Place, RAW, key, part_size};
use crate::sync::Mutex;

/// Objects that are larger stay records of their own: they gain little from their neighbours.
const OBJECT: usize = 16 << 10;
/// Slower than the default level and smaller by a few percent; a collection has time.
const LEVEL: u8 = 7;
/// So many blocks that were read last are kept inflated: 16 MiB at most.
const KEPT: usize = 256;

/// The most bytes, with their list, that go into one block.
fn limit(segment: u64) -> usize {
    RAW.min(part_size(segment) / 4 * 3)
}

/// Whether an object of so many bytes may go into a block.
pub fn may_hold(len: usize, segment: u64) -> bool {
    len <= OBJECT && len + LISTED <= limit(segment)
}

/// A block in the making.
pub struct Builder {
    limit: usize,
    listed: Vec<u8>,
    raw: Vec<u8>,
}

impl Builder {
    pub fn new(segment: u64) -> Builder {
        Builder {
            limit: limit(segment),
            listed: Vec::new(),
            raw: Vec::new(),
        }
    }

    /// Adds an object; `false` if there is no room for it.
    pub fn push(&mut self, key: u64, kind: Kind, data: &[u8]) -> bool {
        if self.listed.len() + LISTED + self.raw.len() + data.len() > self.limit {
            return false;
        }
        let len = data.len() as u32;
        Listed { key, kind, len }.push(&mut self.listed);
        self.raw.extend_from_slice(data);
        true
    }

    /// The payload of the block's record.
    pub fn finish(mut self) -> Vec<u8> {
        self.listed.extend(compress_to_vec(&self.raw, LEVEL));
        self.listed
    }
}

/// A block that was inflated.
pub struct Block {
    objects: Vec<(u64, Kind, Range<usize>)>,
    data: Bytes,
}

impl Block {
    /// `None` if the bytes are damaged.
    pub fn inflate(listed: &[Listed], stream: &[u8]) -> Option<Block> {
        let mut end = 0;
        let objects: Vec<_> = listed
            .iter()
            .map(|object| {
                let from = end;
                end += object.len as usize;
                (object.key, object.kind, from..end)
            })
            .collect();
        let data = decompress_to_vec_with_limit(stream, end.min(RAW)).ok()?;
        (data.len() == end).then(|| Block {
            objects,
            data: data.into(),
        })
    }

    /// Its objects: key, kind, bytes.
    pub fn objects(&self) -> impl Iterator<Item = (u64, Kind, Bytes)> {
        let objects = self.objects.iter();
        objects.map(|(key, kind, range)| (*key, *kind, self.data.slice(range.clone())))
    }

    /// Those that have this key.
    pub fn of_key(&self, key: u64) -> impl Iterator<Item = (Kind, Bytes)> {
        let objects = self.objects.iter().filter(move |object| object.0 == key);
        objects.map(|(_, kind, range)| (*kind, self.data.slice(range.clone())))
    }

    /// The object of this id. A block holds no ids: what has the key is hashed.
    pub fn find(&self, format: Format, id: &Id) -> Option<(Kind, Bytes)> {
        self.of_key(key(id, 0))
            .find(|(kind, data)| format.id(*kind, data) == Ok(*id))
    }
}

/// The blocks that were read last. A place that was used again for another block does no harm: an
/// object that is not in the one kept here is looked for in storage.
#[derive(Default)]
pub struct Blocks(Mutex<State>);

#[derive(Default)]
struct State {
    blocks: HashMap<Place, Arc<Block>>,
    order: VecDeque<Place>,
}

impl Blocks {
    pub fn get(&self, place: Place) -> Option<Arc<Block>> {
        self.0.lock().blocks.get(&place).cloned()
    }

    pub fn keep(&self, place: Place, block: &Arc<Block>) {
        let mut state = self.0.lock();
        let State { blocks, order } = &mut *state;
        if blocks.insert(place, block.clone()).is_none() {
            order.push_back(place);
        }
        if order.len() > KEPT
            && let Some(oldest) = order.pop_front()
        {
            blocks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::list;

    #[test]
    fn a_block_gives_back_what_went_in_and_refuses_other_bytes() {
        let mut builder = Builder::new(crate::MAX_SEGMENT);
        let objects: Vec<(Kind, Vec<u8>)> = (0..200u8)
            .map(|n| (Kind::Tree, [&[b'x'; 250][..], &[n]].concat()))
            .collect();
        let id = |kind, data: &[u8]| Format::Native.id(kind, data).unwrap();
        for (kind, data) in &objects {
            assert!(builder.push(key(&id(*kind, data), 0), *kind, data));
        }
        assert!(!builder.push(0, Kind::Blob, &[0; RAW]));
        let count = objects.len() as u32;
        let payload = Bytes::from(builder.finish());
        assert!(payload.len() < 200 * LISTED + 2000);
        let (listed, stream) = list(&payload, count).unwrap();
        let block = Block::inflate(&listed, &stream).unwrap();
        for (kind, data) in &objects {
            let found = block.find(Format::Native, &id(*kind, data)).unwrap();
            assert_eq!(found, (*kind, data.clone().into()));
        }
        assert!(list(&payload, u32::MAX).is_none());
        assert!(Block::inflate(&listed[1..], &stream).is_none());
        assert!(Block::inflate(&listed, &stream[..stream.len() / 2]).is_none());
    }
}
