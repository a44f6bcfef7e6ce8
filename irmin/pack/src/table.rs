//! Where each object lies: 16 bytes an object, in memory.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::commits::Seen;
use crate::format::Place;

/// Keys with places. Two objects may have one key: who looks one up reads the record to be sure.
#[derive(Default)]
pub struct Table {
    entries: HashTable<(u64, Place)>,
    /// The chapters of the index of commits, which no key of an object finds.
    chapters: Vec<(u64, Place)>,
    changes: u64,
    /// Counts how often it was made anew.
    pub loads: u64,
}

/// The keys are hashes already; their low bits are those that another party can choose last.
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0xf135_7aea_2e62_a9c5).rotate_left(26)
}

impl Table {
    pub fn reserve(&mut self, more: usize) {
        self.entries.reserve(more, |(key, _)| hash(*key));
    }

    /// The chapters, in any order.
    pub fn chapters(&self) -> &[(u64, Place)] {
        &self.chapters
    }

    /// Changes with the chapters.
    pub fn seen(&self) -> Seen {
        Seen {
            loads: self.loads,
            changes: self.changes,
        }
    }

    pub fn insert(&mut self, key: u64, place: Place) {
        if place.is_chapter() {
            self.chapters.push((key, place));
            self.changes += 1;
            return;
        }
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
        if place.is_chapter() {
            self.chapters.retain(|entry| !there(entry));
            self.changes += 1;
        } else if let Ok(entry) = self.entries.find_entry(hash(key), there) {
            entry.remove();
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(u64, Place) -> bool) {
        self.entries.retain(|entry| keep(entry.0, entry.1));
        let before = self.chapters.len();
        self.chapters.retain(|entry| keep(entry.0, entry.1));
        self.changes += u64::from(self.chapters.len() != before);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit(|(key, _)| hash(*key));
        }
    }

    pub fn contains(&self, key: u64, place: Place) -> bool {
        let there = |entry: &(u64, Place)| *entry == (key, place);
        match place.is_chapter() {
            true => self.chapters.iter().any(there),
            false => self.entries.find(hash(key), there).is_some(),
        }
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
        self.entries.iter().chain(&self.chapters).copied()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
