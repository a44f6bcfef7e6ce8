//! The rows of the index, as they are asked.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use irmin::{BackendError, CommitIndex, Format, Id};

use crate::format::{u32_at, u64_at};

/// Bytes of a row behind the id: the generation, and the parents.
const NUMBERS: usize = 8;
/// No parent.
const NONE: u32 = 0x7fff_ffff;
/// Several parents: the rest is where they stand in the list behind the rows.
const SEVERAL: u32 = 1 << 31;
/// Marks the last parent of a row in that list.
const LAST: u32 = 1 << 31;

/// Rows of commits in memory, which never change: one after the other, and where each commit is.
#[derive(Clone)]
pub struct Rows {
    edition: u32,
    list: List,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// The rows themselves.
#[derive(Clone)]
struct List {
    id_len: usize,
    chapters: Vec<Chapter>,
    /// The chapter in which each [`STEP`]-th row stands.
    guide: Vec<u32>,
    len: u32,
}

#[derive(Clone)]
struct Chapter {
    first: u32,
    /// Where the list of parents begins.
    several: usize,
    data: Bytes,
}

/// So many rows share an entry of the guide.
const STEP: u32 = 256;

impl List {
    fn row_len(&self) -> usize {
        self.id_len + NUMBERS
    }

    /// Where a row stands: in which chapter, and where in its bytes.
    fn at(&self, row: u32) -> (&Chapter, usize) {
        let mut at = self.guide[(row / STEP) as usize] as usize;
        while let Some(next) = self.chapters.get(at + 1)
            && next.first <= row
        {
            at += 1;
        }
        let chapter = &self.chapters[at];
        (chapter, (row - chapter.first) as usize * self.row_len())
    }

    fn id(&self, row: u32) -> &[u8] {
        let (chapter, at) = self.at(row);
        &chapter.data[at..at + self.id_len]
    }

    /// The row's generation and what it says of parents.
    fn numbers(&self, row: u32) -> (u32, u32) {
        let (chapter, at) = self.at(row);
        let at = at + self.id_len;
        (u32_at(&chapter.data, at), u32_at(&chapter.data, at + 4))
    }

    /// Goes through the parents of a row; `false` if there is no end of them.
    fn each_parent(&self, row: u32, mut each: impl FnMut(u32)) -> bool {
        let (_, parents) = self.numbers(row);
        if parents & SEVERAL == 0 {
            if parents != NONE {
                each(parents);
            }
            return true;
        }
        let (chapter, _) = self.at(row);
        let list = chapter.data[chapter.several..].chunks_exact(4);
        for parent in list.skip((parents & !SEVERAL) as usize) {
            let parent = u32_at(parent, 0);
            each(parent & !LAST);
            if parent & LAST != 0 {
                return true;
            }
        }
        false
    }

    /// Adds the rows of a chapter, whatever they say; `false` if there are not so many.
    fn add(&mut self, count: u32, data: Bytes) -> bool {
        let several = (count as usize).checked_mul(self.row_len());
        let end = self.len.checked_add(count).filter(|end| *end < NONE);
        let (Some(several), Some(end)) = (several, end) else {
            return false;
        };
        if several > data.len() || count == 0 {
            return false;
        }
        let number = self.chapters.len() as u32;
        self.chapters.push(Chapter {
            first: self.len,
            several,
            data,
        });
        self.len = end;
        self.guide.resize(end.div_ceil(STEP) as usize, number);
        true
    }

    /// Takes the last chapter away.
    fn pop(&mut self) {
        if let Some(chapter) = self.chapters.pop() {
            self.len = chapter.first;
            self.guide.truncate(self.len.div_ceil(STEP) as usize);
        }
    }

    /// Whether a row may stand where it does; the lists of parents follow one another as the rows do.
    fn is_sound(&self, row: u32, listed: &mut u32) -> bool {
        let (own, parents) = self.numbers(row);
        // Nearly all: one parent, which is near.
        if parents & SEVERAL == 0 && parents < row {
            return own.checked_sub(1) == Some(self.numbers(parents).0);
        }
        if parents & SEVERAL != 0 && parents & !SEVERAL != *listed {
            return false;
        }
        let mut generation = 0;
        let mut known = true;
        let mut count = 0;
        let whole = self.each_parent(row, |parent| {
            count += 1;
            known &= parent < row;
            if known {
                generation = generation.max(self.numbers(parent).0);
            }
        });
        if parents & SEVERAL != 0 {
            *listed += count;
        }
        whole && known && own.checked_sub(1) == Some(generation)
    }
}

/// The first bytes of an id, which is a hash: enough to find it by.
fn hash(hasher: &DefaultHashBuilder, id: &[u8]) -> u64 {
    hasher.hash_one(u64_at(id, 0))
}

impl Rows {
    pub fn new(format: Format, edition: u32) -> Rows {
        Rows {
            edition,
            list: List {
                id_len: format.id_len(),
                chapters: Vec::new(),
                guide: Vec::new(),
                len: 0,
            },
            by_id: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// Makes room for chapters of so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        let (hasher, list) = (&self.hasher, &self.list);
        self.by_id
            .reserve(bytes / list.row_len(), |row| hash(hasher, list.id(*row)));
    }

    /// Adds a chapter with so many rows behind those that are there; `false`, and nothing is added, if
    /// it makes no sense: parents come before children, generations are one more than the greatest of
    /// the parents', and no commit comes twice.
    pub fn add(&mut self, count: u32, data: Bytes) -> bool {
        let first = self.list.len;
        if !self.list.add(count, data) {
            return false;
        }
        let rows = first..self.list.len;
        let mut listed = 0;
        let sound = |row| self.list.is_sound(row, &mut listed) && self.note(row);
        if rows.clone().all(sound) {
            return true;
        }
        for row in rows {
            let hash = hash(&self.hasher, self.list.id(row));
            if let Ok(noted) = self.by_id.find_entry(hash, |at| *at == row) {
                noted.remove();
            }
        }
        self.list.pop();
        false
    }

    /// Notes where the row's commit is; `false` if it is elsewhere already.
    fn note(&mut self, row: u32) -> bool {
        let (hasher, list) = (&self.hasher, &self.list);
        let id = list.id(row);
        let entry = self.by_id.entry(
            hash(hasher, id),
            |other| list.id(*other) == id,
            |row| hash(hasher, list.id(*row)),
        );
        match entry {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(row);
                true
            }
        }
    }

    /// Where a commit is.
    pub fn find(&self, id: &Id) -> Option<u32> {
        let id = id.as_bytes();
        let is_it = |row: &u32| self.list.id(*row) == id;
        self.by_id.find(hash(&self.hasher, id), is_it).copied()
    }

    /// The commit's id.
    pub fn id_at(&self, row: u32) -> Option<Id> {
        Id::from_bytes(self.list.id(row))
    }

    pub fn generation_at(&self, row: u32) -> u32 {
        self.list.numbers(row).0
    }

    pub fn parents_at(&self, row: u32, into: &mut Vec<u32>) {
        self.list.each_parent(row, |parent| into.push(parent));
    }

    pub fn parent_ids(&self, row: u32) -> Option<Vec<Id>> {
        let mut rows = Vec::new();
        self.parents_at(row, &mut rows);
        rows.into_iter().map(|row| self.id_at(row)).collect()
    }
}

/// A row has 40 bytes; trees would double that, in memory too.
fn without_trees() -> BackendError {
    BackendError::Refused {
        what: "to tell trees and times of commits by their index, which has none".into(),
    }
}

impl CommitIndex for Rows {
    fn len(&self) -> u32 {
        self.list.len
    }

    fn position(&self, id: &Id) -> Result<Option<u32>, BackendError> {
        Ok(self.find(id))
    }

    fn id(&self, position: u32) -> Result<Id, BackendError> {
        Ok(self.id_at(position).expect("rows have ids of the format"))
    }

    fn generation(&self, position: u32) -> Result<u32, BackendError> {
        Ok(self.generation_at(position))
    }

    fn parents(&self, position: u32, into: &mut Vec<u32>) -> Result<(), BackendError> {
        self.parents_at(position, into);
        Ok(())
    }

    fn has_trees(&self) -> bool {
        false
    }

    fn time(&self, _: u32) -> Result<i64, BackendError> {
        Err(without_trees())
    }

    fn tree(&self, _: u32) -> Result<Id, BackendError> {
        Err(without_trees())
    }
}

/// A chapter in the making.
#[derive(Default)]
pub struct Draft {
    rows: Vec<u8>,
    several: Vec<u8>,
    pub count: u32,
}

impl Draft {
    /// The bytes that a row with so many parents takes.
    pub fn row_len(format: Format, parents: usize) -> usize {
        let list = if parents > 1 { 4 * parents } else { 0 };
        format.id_len() + NUMBERS + list
    }

    /// How large it is now.
    pub fn len(&self) -> usize {
        self.rows.len() + self.several.len()
    }

    pub fn push(&mut self, id: &Id, generation: u32, parents: &[u32]) {
        self.rows.extend_from_slice(id.as_bytes());
        self.rows.extend_from_slice(&generation.to_le_bytes());
        let what = match parents {
            [] => NONE,
            [parent] => *parent,
            _ => SEVERAL | (self.several.len() / 4) as u32,
        };
        self.rows.extend_from_slice(&what.to_le_bytes());
        if let [before @ .., last] = parents
            && !before.is_empty()
        {
            for parent in before {
                self.several.extend_from_slice(&parent.to_le_bytes());
            }
            self.several.extend_from_slice(&(last | LAST).to_le_bytes());
        }
        self.count += 1;
    }

    /// The payload of the chapter's record.
    pub fn finish(mut self) -> Vec<u8> {
        self.rows.append(&mut self.several);
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes(&[n; 32]).unwrap()
    }

    /// A chapter of rows: the commit, its generation, its parents.
    fn chapter(rows: &[(u8, u32, &[u32])]) -> (u32, Bytes) {
        let mut draft = Draft::default();
        for (n, generation, parents) in rows {
            draft.push(&id(*n), *generation, parents);
        }
        (draft.count, draft.finish().into())
    }

    #[test]
    fn rows_that_contradict_each_other_are_refused_and_nothing_of_them_stays() {
        let mut rows = Rows::new(Format::Native, 0);
        let (count, data) = chapter(&[(1, 1, &[]), (2, 2, &[0]), (3, 2, &[0]), (4, 3, &[2, 1, 0])]);
        assert!(rows.add(count, data.clone()));
        let bad: [&[(u8, u32, &[u32])]; 7] = [
            &[(5, 4, &[3]), (4, 5, &[4])],
            &[(5, 3, &[3])],
            &[(5, 5, &[3])],
            &[(5, 1, &[4])],
            &[(5, 2, &[5]), (6, 1, &[])],
            &[(5, 0, &[])],
            &[(5, 4, &[1, 3, 9])],
        ];
        for (n, some) in bad.into_iter().enumerate() {
            let (count, data) = chapter(some);
            assert!(!rows.add(count, data), "{n}");
        }
        assert!(!rows.add(count + 1, data.clone()));
        assert!(!rows.add(u32::MAX, data.clone()));
        // A list of parents without an end.
        let (count, data) = chapter(&[(5, 4, &[3, 2])]);
        assert!(!rows.add(count, data.slice(..data.len() - 4)));
        // A list that two rows share.
        let (count, data) = chapter(&[(5, 4, &[3, 2]), (6, 4, &[3, 2])]);
        let mut shared = data.to_vec();
        let at = 2 * rows.list.row_len() - 4;
        shared[at..at + 4].copy_from_slice(&SEVERAL.to_le_bytes());
        assert!(!rows.add(count, shared.into()));
        assert_eq!((rows.len(), rows.find(&id(5))), (4, None));
        let (count, data) = chapter(&[(5, 4, &[3, 0]), (6, 5, &[4])]);
        assert!(rows.add(count, data));
        let mut parents = Vec::new();
        rows.parents_at(3, &mut parents);
        rows.parents_at(4, &mut parents);
        rows.parents_at(5, &mut parents);
        assert_eq!(parents, [2, 1, 0, 3, 0, 4]);
        assert_eq!((rows.find(&id(6)), rows.id_at(0)), (Some(5), Some(id(1))));
    }
}
