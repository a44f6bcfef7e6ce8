//! The index of commits: which come before which, without reading them.
//!
//! It is a list of rows, parents before children, cut into *chapters*, each a record. A row is true
//! whatever else the store holds, as a commit's id says which parents it has; so chapters are only ever
//! added, and moved like objects. When most rows are of commits that are gone, all is written anew as
//! another *edition*. What is missing or damaged is made again of the commits.

mod extend;
mod rows;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use irmin::{BackendError, CommitIndex};

use crate::format::{Body, Place, record_len};
use crate::pack::Access;
use crate::{Pack, Storage};

pub use rows::Rows;

/// The index as far as it was read; nothing is read before it is asked for.
#[derive(Default)]
pub struct Commits {
    rows: Option<Arc<Rows>>,
    /// What the table had when `rows` were read.
    seen: Seen,
    /// A chapter cannot be read, or contradicts the others: a new edition is due.
    is_broken: bool,
    /// Commits that came before this value was opened were looked for.
    is_complete: bool,
}

/// Changes with the chapters of a table.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Counts how often all was loaded anew.
    pub loads: u64,
    /// Counts chapters that came or went.
    pub changes: u64,
}

/// What a chapter is found under: its edition, and the number of its first row.
pub fn chapter_key(edition: u32, first: u32) -> u64 {
    u64::from(edition) << 32 | u64::from(first)
}

/// The latest edition that has a beginning, and where its chapters are, by their first rows.
fn latest(chapters: &[(u64, Place)]) -> (u32, BTreeMap<u32, Place>) {
    let editions = chapters.iter().filter(|(key, _)| *key as u32 == 0);
    let edition = editions.map(|(key, _)| (key >> 32) as u32).max();
    let edition = edition.unwrap_or(0);
    let of_it = chapters
        .iter()
        .filter(|(key, _)| (key >> 32) as u32 == edition);
    let places = of_it.map(|(key, place)| (*key as u32, *place)).collect();
    (edition, places)
}

impl<S: Storage> Pack<S> {
    /// The index as it is in the store now; `None` if there is none.
    pub(crate) fn commits(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        self.follow()?;
        let mut commits = self.commits.lock();
        self.read_chapters(&mut commits)?;
        if !commits.is_complete && self.access == Access::Write {
            commits.is_complete = true;
            // The answer does not depend on it, and whoever writes next hears of what is wrong.
            let _ = self.extend(&mut commits, self.chapter_rows());
        }
        let rows = commits.rows.clone().filter(|rows| !rows.is_empty());
        Ok(rows.map(|rows| rows as Arc<dyn CommitIndex>))
    }

    /// Takes in the chapters that came since the last time, up to one that makes no sense.
    pub(crate) fn read_chapters(&self, commits: &mut Commits) -> Result<(), BackendError> {
        let mut tries = 0;
        loop {
            let (seen, edition, places) = {
                let table = self.table.read();
                if commits.rows.is_some() && commits.seen == table.seen() {
                    return Ok(());
                }
                let (edition, places) = latest(table.chapters());
                (table.seen(), edition, places)
            };
            let same = |rows: &&mut Arc<Rows>| {
                rows.edition() == edition && commits.seen.loads == seen.loads
            };
            if commits.rows.as_mut().filter(same).is_none() {
                commits.rows = Some(Arc::new(Rows::new(self.format, edition)));
                commits.is_broken = false;
            }
            let Some(rows) = &mut commits.rows else {
                continue;
            };
            let moved = !self.take_chapters(rows, &places, &mut commits.is_broken)?;
            // A chapter may have moved, or the edition ended, while it was read.
            tries += 1;
            if moved && tries < 100 && self.table.read().seen() != seen {
                commits.rows = None;
                continue;
            }
            commits.is_broken |= moved;
            commits.seen = seen;
            return Ok(());
        }
    }

    /// Reads chapters behind those that are there; `false` if one cannot be read.
    fn take_chapters(
        &self,
        rows: &mut Arc<Rows>,
        places: &BTreeMap<u32, Place>,
        is_broken: &mut bool,
    ) -> Result<bool, BackendError> {
        let new = places.range(rows.len()..);
        let bytes = new.clone().map(|(_, place)| place.len()).sum();
        if bytes == 0 || *is_broken {
            return Ok(true);
        }
        let rows = Arc::make_mut(rows);
        rows.reserve(bytes);
        for (_, place) in new {
            let Some(record) = self.record(*place)? else {
                return Ok(false);
            };
            let Body::Chapter {
                edition,
                first,
                count,
                data,
            } = record.body
            else {
                return Ok(false);
            };
            let follows = edition == rows.edition() && first == rows.len();
            if !follows || !rows.add(count, data) {
                *is_broken = true;
                break;
            }
        }
        Ok(true)
    }

    /// The bytes of rows that fit into one chapter.
    fn chapter_room(&self) -> usize {
        crate::format::part_size(self.segment)
    }

    /// Appends a chapter. What is in it is found once the append is done.
    pub(crate) fn push_chapter(
        &self,
        w: &mut crate::write::Writer,
        (edition, first, count): (u32, u32, u32),
        data: &[u8],
        slots: crate::write::Slots,
    ) -> Result<Place, BackendError> {
        let len = record_len(data.len());
        self.room(w, len, 1, slots)?;
        let place = self.note_chapter(w, chapter_key(edition, first), len);
        let ink = w.ink();
        let numbers = (edition, first, count);
        crate::format::push_chapter(&mut w.buffer, ink, w.stamp, numbers, data);
        Ok(place)
    }
}
