//! Objects that were read or written lately.

use std::mem;

use bytes::Bytes;
use hashbrown::HashMap;
use irmin::Kind;

/// Which entry of which pack.
pub(crate) type Key = (u64, u64);

#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) kind: Kind,
    pub(crate) data: Bytes,
    /// Whether the id was compared.
    pub(crate) checked: bool,
}

/// Two generations: what is used moves to the young one, and when that has half of the room, the old
/// one goes.
pub(crate) struct Cache {
    room: usize,
    young: HashMap<Key, Cached>,
    old: HashMap<Key, Cached>,
    used: usize,
}

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 128;

impl Cache {
    pub(crate) fn new(room: usize) -> Cache {
        Cache {
            room,
            young: HashMap::new(),
            old: HashMap::new(),
            used: 0,
        }
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<Cached> {
        if let Some(found) = self.young.get(&key) {
            return Some(found.clone());
        }
        let found = self.old.remove(&key)?;
        self.put(key, found.clone());
        Some(found)
    }

    pub(crate) fn put(&mut self, key: Key, object: Cached) {
        let size = object.data.len() + OVERHEAD;
        if size > self.room / 8 {
            return;
        }
        if self.used + size > self.room / 2 {
            self.old = mem::take(&mut self.young);
            self.used = 0;
        }
        self.used += size;
        self.young.insert(key, object);
    }
}
