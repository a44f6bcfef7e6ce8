//! Where each object lies: 16 bytes an object, in memory.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::format::Place;

/// Keys with places. Two objects may have one key: who looks one up reads the record to be sure.
#[derive(Default)]
pub struct Table {
    entries: HashTable<(u64, Place)>,
}

/// The keys are hashes already; their low bits are those that another party can choose last.
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0xf135_7aea_2e62_a9c5).rotate_left(26)
}

impl Table {
    pub fn reserve(&mut self, more: usize) {
        self.entries.reserve(more, |(key, _)| hash(*key));
    }

    pub fn insert(&mut self, key: u64, place: Place) {
        self.entries
            .insert_unique(hash(key), (key, place), |(key, _)| hash(*key));
    }

    /// The n-th place of this key.
    pub fn get(&self, key: u64, n: usize) -> Option<Place> {
        self.entries
            .iter_hash(hash(key))
            .filter(|entry| entry.0 == key)
            .nth(n)
            .map(|entry| entry.1)
    }

    pub fn remove(&mut self, key: u64, place: Place) {
        let there = |entry: &(u64, Place)| *entry == (key, place);
        if let Ok(entry) = self.entries.find_entry(hash(key), there) {
            entry.remove();
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(u64, Place) -> bool) {
        self.entries.retain(|entry| keep(entry.0, entry.1));
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit(|(key, _)| hash(*key));
        }
    }

    pub fn contains(&self, key: u64, place: Place) -> bool {
        self.entries
            .find(hash(key), |entry| *entry == (key, place))
            .is_some()
    }

    /// Those whose first object's key lies between these, in order.
    pub fn range(&self, from: u64, to: u64) -> Vec<(u64, Place)> {
        let mut found: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| (from..=to).contains(&entry.0) && !entry.1.later_part())
            .copied()
            .collect();
        found.sort_unstable_by_key(|entry| entry.0);
        found
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, Place)> {
        self.entries.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
