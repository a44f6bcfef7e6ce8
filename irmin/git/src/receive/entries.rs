//! The entries of a pack that is being taken in.

use irmin::Id;
use irmin_packfile::{Base, Entry, PackError, Place};

/// What is known of each entry, by its number: about 60 bytes.
pub(super) struct Entries {
    offsets: Vec<u64>,
    crcs: Vec<u32>,
    /// Set once it is known.
    ids: Vec<Option<Id>>,
    /// The entry that it is a delta for; [`WHOLE`], or [`BY_ID`] if it names its base by id.
    bases: Vec<u32>,
    /// Deltas that name their base by id, ordered by it.
    by_id: Vec<(Id, u32)>,
    /// The first delta on each entry, by place, and the next one on the same.
    first: Vec<u32>,
    next: Vec<u32>,
}

const WHOLE: u32 = u32::MAX;
const BY_ID: u32 = u32::MAX - 1;
pub(super) const NONE: u32 = u32::MAX;

impl Entries {
    pub(super) fn new() -> Entries {
        Entries {
            offsets: Vec::new(),
            crcs: Vec::new(),
            ids: Vec::new(),
            bases: Vec::new(),
            by_id: Vec::new(),
            first: Vec::new(),
            next: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Adds what came; returns its number.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<u32, PackError> {
        let at = self.number()?;
        let base = match entry.base {
            Base::Whole(_) => WHOLE,
            Base::Offset(offset) => match self.offsets.binary_search(&offset) {
                Ok(base) => base as u32,
                Err(_) => {
                    return Err(PackError::Damaged {
                        offset: entry.offset,
                        wrong: "no entry begins where its base should",
                    });
                }
            },
            Base::Id(base) => {
                self.by_id.push((base, at));
                BY_ID
            }
        };
        self.offsets.push(entry.offset);
        self.crcs.push(entry.crc);
        self.ids.push(None);
        self.bases.push(base);
        Ok(at)
    }

    /// Adds an object that the pack lacked.
    pub(super) fn add(&mut self, offset: u64, crc: u32, id: Id) -> Result<(), PackError> {
        self.number()?;
        self.offsets.push(offset);
        self.crcs.push(crc);
        self.ids.push(Some(id));
        self.bases.push(WHOLE);
        self.first.push(NONE);
        self.next.push(NONE);
        Ok(())
    }

    fn number(&self) -> Result<u32, PackError> {
        let number = u32::try_from(self.len()).ok();
        number.filter(|at| *at < BY_ID).ok_or(PackError::TooLarge {
            what: "it has more objects than a pack can".into(),
        })
    }

    pub(super) fn set(&mut self, at: u32, id: Id) {
        self.ids[at as usize] = Some(id);
    }

    pub(super) fn id(&self, at: u32) -> Option<Id> {
        self.ids[at as usize]
    }

    pub(super) fn offset(&self, at: u32) -> u64 {
        self.offsets[at as usize]
    }

    /// Where the entry ends at the latest; `end`: where the pack does, without its checksum.
    pub(super) fn end(&self, at: u32, end: u64) -> u64 {
        self.offsets.get(at as usize + 1).copied().unwrap_or(end)
    }

    /// How many deltas there are.
    pub(super) fn deltas(&self) -> u32 {
        self.bases.iter().filter(|base| **base != WHOLE).count() as u32
    }

    /// Finds the deltas on each entry, when all have come. The one with the most below it is the last:
    /// who goes into each in turn and forgets an object before its last delta holds no more objects at
    /// once than the number of entries has binary digits.
    pub(super) fn link(&mut self) {
        self.by_id.sort_unstable();
        let count = self.len();
        let mut below = vec![1u32; count];
        let mut last = vec![NONE; count];
        // A base by place comes before what stands on it.
        for at in (0..count).rev() {
            let base = self.bases[at];
            if base < BY_ID {
                let base = base as usize;
                below[base] += below[at];
                let heaviest = last[base];
                if heaviest == NONE || below[heaviest as usize] < below[at] {
                    last[base] = at as u32;
                }
            }
        }
        drop(below);
        self.next = vec![NONE; count];
        // Each chain is built from its end.
        self.first = last.clone();
        for at in (0..count).rev() {
            let base = self.bases[at];
            if base < BY_ID && last[base as usize] != at as u32 {
                self.next[at] = self.first[base as usize];
                self.first[base as usize] = at as u32;
            }
        }
    }

    /// The first delta on the entry by place, or [`NONE`].
    pub(super) fn first(&self, at: u32) -> u32 {
        self.first[at as usize]
    }

    /// The next delta on the same entry, or [`NONE`].
    pub(super) fn next(&self, at: u32) -> u32 {
        self.next[at as usize]
    }

    /// The deltas that name this id as their base: where in [`by_id`](Entries::by_id).
    pub(super) fn on(&self, id: &Id) -> std::ops::Range<usize> {
        if self.by_id.is_empty() {
            return 0..0;
        }
        let from = self.by_id.partition_point(|(base, _)| base < id);
        let length = self.by_id[from..].partition_point(|(base, _)| base == id);
        from..from + length
    }

    pub(super) fn by_id(&self) -> &[(Id, u32)] {
        &self.by_id
    }

    /// The whole ones, by number.
    pub(super) fn whole(&self) -> impl Iterator<Item = u32> {
        let all = self.bases.iter().zip(0..);
        all.filter_map(|(base, at)| (*base == WHOLE).then_some(at))
    }

    /// A base that deltas lack, and how many objects are unknown for that.
    pub(super) fn missing(&self) -> Option<(Id, u64)> {
        let unknown = |at: &u32| self.ids[*at as usize].is_none();
        let (base, _) = self.by_id.iter().find(|(_, at)| unknown(at))?;
        let count = self.ids.iter().filter(|id| id.is_none()).count();
        Some((*base, count as u64))
    }

    /// All of them by id, once all ids are known.
    pub(super) fn into_places(self) -> Vec<Place> {
        drop((self.bases, self.by_id, self.first, self.next));
        let all = self.ids.into_iter().zip(self.offsets).zip(self.crcs);
        let mut places: Vec<Place> = all
            .map(|((id, offset), crc)| Place {
                id: id.expect("nothing is missing"),
                offset,
                crc,
            })
            .collect();
        places.sort_unstable_by_key(|place| place.id);
        places
    }
}
