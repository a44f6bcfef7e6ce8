//! A bounded table whose entries are named by numbers that are never used twice in a row.

/// The name of an entry. An id of an entry that was removed finds nothing, even after its place
/// has been taken by another: events of a closed socket that are still in the queue are harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    place: u32,
    generation: u32,
}

impl Id {
    /// Fits the 64 bits that the kernel keeps for us, with room for a kind above bit 56.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation & 0x00ff_ffff) << 32 | u64::from(self.place)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            place: bits as u32,
            generation: (bits >> 32) as u32 & 0x00ff_ffff,
        }
    }
}

pub(crate) struct Table<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    limit: usize,
}

impl<T> Table<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            limit,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Stores what `make` makes of the new id; `None`, without calling it, when the table is full
    /// and also when `make` fails.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Id) -> Option<T>) -> Option<Id> {
        if self.is_full() {
            return None;
        }
        let place = match self.free.last() {
            Some(&place) => place,
            None => {
                self.slots.push((0, None));
                let place = (self.slots.len() - 1) as u32;
                self.free.push(place);
                place
            }
        };
        let slot = self.slots.get_mut(place as usize)?;
        let id = Id {
            place,
            generation: slot.0,
        };
        slot.1 = Some(make(id)?);
        self.free.pop();
        Some(id)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.slots.get_mut(id.place as usize) {
            Some((generation, entry)) if *generation == id.generation => entry.as_mut(),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.place as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        let entry = slot.1.take()?;
        slot.0 = (slot.0 + 1) & 0x00ff_ffff;
        self.free.push(id.place);
        Some(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(place, (generation, entry))| {
                let id = Id {
                    place: place as u32,
                    generation: *generation,
                };
                entry.as_ref().map(|entry| (id, entry))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_does_not_find_the_entry_that_took_its_place() {
        let mut table = Table::new(1);
        let first = table.insert_with(|_| Some('a')).unwrap();
        assert_eq!(table.insert_with(|_| Some('b')), None, "the table is full");
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert_with(|_| Some('c')).unwrap();
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(
            table.get_mut(Id::from_bits(second.to_bits())),
            Some(&mut 'c')
        );
    }

    proptest::proptest! {
        #[test]
        fn a_table_finds_what_a_plain_list_finds(
            limit in 0..5_usize,
            steps in proptest::collection::vec((0..3_u8, 0..40_usize), 0..80),
        ) {
            let mut table = Table::new(limit);
            // Every id ever given out, with what it should find.
            let mut model: Vec<(Id, Option<usize>)> = Vec::new();
            for (number, (kind, which)) in steps.into_iter().enumerate() {
                let live = model.iter().filter(|entry| entry.1.is_some()).count();
                match kind {
                    0 if which == 7 => assert_eq!(table.insert_with(|_| None), None),
                    0 | 1 => {
                        let id = table.insert_with(|_| Some(number));
                        assert_eq!(id.is_some(), live < limit);
                        model.extend(id.map(|id| (id, Some(number))));
                    }
                    _ if model.is_empty() => {}
                    _ => {
                        let place = which % model.len();
                        let (id, expected) = &mut model[place];
                        assert_eq!(table.remove(*id), expected.take());
                    }
                }
                let live: Vec<_> = model.iter().filter_map(|entry| entry.1).collect();
                assert_eq!((table.len(), table.is_full()), (live.len(), live.len() >= limit));
                for (id, expected) in &model {
                    assert_eq!(table.get_mut(Id::from_bits(id.to_bits())).copied(), *expected);
                }
                let mut listed: Vec<_> = table.iter().map(|(_, entry)| *entry).collect();
                listed.sort_unstable();
                assert_eq!(listed, live);
            }
        }
    }

    #[test]
    fn an_entry_that_could_not_be_made_takes_no_place() {
        let mut table: Table<u8> = Table::new(1);
        assert_eq!(table.insert_with(|_| None), None);
        assert_eq!(table.len(), 0);
        assert!(table.insert_with(|_| Some(1)).is_some());
    }
}
