//! The sorted table of ids that pack indexes and commit-graphs share: 256 counts by first byte, then
//! the ids.

use std::io;

use irmin::Id;

use crate::source::Source;

/// Where the table lies in its file.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    counts_at: u64,
    ids_at: u64,
    id_len: usize,
    count: u32,
    /// The bytes that ids begin with, a bit each: most small tables have nothing that begins as what
    /// is looked for.
    first: [u64; 4],
}

/// As many ids are fetched at once when the search has come close.
const WINDOW: u32 = 64;

impl Table {
    /// A table whose counts and ids begin at these places; `None` if the counts are not ascending.
    pub(crate) fn new(
        source: &Source,
        counts_at: u64,
        ids_at: u64,
        id_len: usize,
    ) -> io::Result<Option<Table>> {
        let counts = source.read(counts_at, 4 * 256)?;
        let (mut last, mut first) = (0, [0; 4]);
        for (byte, four) in counts.chunks_exact(4).enumerate() {
            let count = u32::from_be_bytes(four.try_into().expect("four bytes"));
            if count < last {
                return Ok(None);
            }
            first[byte / 64] |= u64::from(count > last) << (byte % 64);
            last = count;
        }
        Ok(Some(Table {
            counts_at,
            ids_at,
            id_len,
            count: last,
            first,
        }))
    }

    /// How many ids there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The id at this place, which is below [`count`](Table::count).
    pub(crate) fn id(&self, source: &Source, at: u32) -> io::Result<Id> {
        let mut bytes = [0; 32];
        let bytes = &mut bytes[..self.id_len];
        source.fill(self.ids_at + u64::from(at) * self.id_len as u64, bytes)?;
        Ok(Id::from_bytes(bytes).expect("20 or 32 bytes"))
    }

    /// The place of this id.
    pub(crate) fn find(&self, source: &Source, id: &Id) -> io::Result<Option<u32>> {
        let byte = usize::from(id.as_bytes()[0]);
        if self.first[byte / 64] >> (byte % 64) & 1 == 0 {
            return Ok(None);
        }
        let at = self.first_from(source, id.as_bytes())?;
        Ok((at < self.count && self.id(source, at)? == *id).then_some(at))
    }

    /// The places of the ids that begin with this byte.
    fn range(&self, source: &Source, first: u8) -> io::Result<(u32, u32)> {
        let count_at = |byte: u8| source.u32(self.counts_at + 4 * u64::from(byte));
        let low = if first == 0 { 0 } else { count_at(first - 1)? };
        Ok((low, count_at(first)?))
    }

    /// The first place whose id is not below these bytes.
    pub(crate) fn first_from(&self, source: &Source, bytes: &[u8]) -> io::Result<u32> {
        let Some(&first) = bytes.first() else {
            return Ok(0);
        };
        let (mut low, mut high) = self.range(source, first)?;
        // The ids are spread evenly: a guess from the next bytes is close. Every second step halves,
        // so that a table made to mislead costs no more than twice a binary search.
        let aim = key(bytes);
        let (mut low_key, mut high_key) = (
            u64::from(first) << 56,
            u64::from(first) << 56 | u64::MAX >> 8,
        );
        let mut guess = true;
        while high - low > WINDOW {
            let span = u64::from(high - low);
            let middle = if guess && high_key > low_key {
                let share = u128::from(aim.clamp(low_key, high_key) - low_key) * u128::from(span)
                    / u128::from(high_key - low_key);
                // Beside the guess, on the side that leaves the smaller part likely.
                low + (share as u64).clamp(1, span - 1) as u32
            } else {
                low + (high - low) / 2
            };
            let found = self.id(source, middle)?;
            if found.as_bytes() < bytes {
                (low, low_key) = (middle + 1, key(found.as_bytes()));
            } else {
                (high, high_key) = (middle, key(found.as_bytes()));
            }
            guess = !guess;
        }
        let window = source.read(
            self.ids_at + u64::from(low) * self.id_len as u64,
            (high - low) as usize * self.id_len,
        )?;
        let (mut from, mut to) = (0, (high - low) as usize);
        while from < to {
            let middle = (from + to) / 2;
            if &window[middle * self.id_len..(middle + 1) * self.id_len] < bytes {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(low + from as u32)
    }
}

/// The first eight bytes as a number.
fn key(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_found_and_no_other_whatever_their_spread() {
        for skew in [0u32, 12, 24] {
            let mut ids: Vec<Id> = (0..3000u32)
                .map(|n| {
                    let number = n.wrapping_mul(2_654_435_761) >> skew;
                    let bytes = [&number.to_be_bytes()[..], &[n as u8; 16]].concat();
                    Id::from_bytes(&bytes).unwrap()
                })
                .collect();
            ids.sort();
            ids.dedup();
            let mut bytes = Vec::new();
            irmin_packfile::push_table(ids.iter().copied(), &mut bytes);
            let source = Source::memory(bytes);
            let table = Table::new(&source, 0, 1024, 20).unwrap().unwrap();
            assert_eq!(table.count() as usize, ids.len());
            for (at, id) in ids.iter().enumerate() {
                assert_eq!(table.find(&source, id).unwrap(), Some(at as u32));
                let mut other = id.as_bytes().to_vec();
                other[19] ^= 0x80;
                let other = Id::from_bytes(&other).unwrap();
                assert_eq!(
                    table.find(&source, &other).unwrap(),
                    ids.binary_search(&other).ok().map(|at| at as u32)
                );
                let below = ids.partition_point(|id| id.as_bytes() < &other.as_bytes()[..3]);
                assert_eq!(
                    table.first_from(&source, &other.as_bytes()[..3]).unwrap() as usize,
                    below
                );
            }
        }
    }
}
