//! From a place in a pack back to the object there.

use irmin::Id;

use super::Pack;
use crate::error::Result;

/// The places of a pack in their order, with where its index has each: 12 bytes an object.
pub(crate) struct Reverse {
    offsets: Vec<u64>,
    numbers: Vec<u32>,
    /// Where the entries end.
    end: u64,
}

impl Reverse {
    pub(crate) fn of(pack: &Pack) -> Result<Reverse> {
        let offsets = pack.index()?.offsets()?;
        let mut numbers: Vec<u32> = (0..offsets.len() as u32).collect();
        numbers.sort_unstable_by_key(|number| offsets[*number as usize]);
        let offsets = numbers.iter().map(|number| offsets[*number as usize]);
        Ok(Reverse {
            offsets: offsets.collect(),
            end: pack.end()?,
            numbers,
        })
    }

    /// Where the entry that begins here ends; `None` if none begins here.
    pub(crate) fn end(&self, offset: u64) -> Option<u64> {
        let at = self.offsets.binary_search(&offset).ok()?;
        let next = self.offsets[at + 1..].iter().find(|next| **next > offset);
        // A damaged index may have the next one anywhere.
        Some(next.copied().unwrap_or(self.end).min(self.end))
    }

    /// The object that begins here.
    pub(crate) fn id(&self, pack: &Pack, offset: u64) -> Result<Option<Id>> {
        match self.offsets.binary_search(&offset) {
            Ok(at) => pack.index()?.id(self.numbers[at]).map(Some),
            Err(_) => Ok(None),
        }
    }
}
