use alloc::vec::Vec;

/// The name of a slot's content. Outlives it harmlessly: it never names what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

/// Values by [`Id`], in constant time.
pub(crate) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
        }
    }

    pub fn insert(&mut self, value: T) -> Id {
        if let Some(index) = self.free.pop()
            && let Some((generation, slot)) = self.slots.get_mut(index as usize)
        {
            *slot = Some(value);
            return Id {
                index,
                generation: *generation,
            };
        }
        let index = self.slots.len() as u32;
        self.slots.push((0, Some(value)));
        Id {
            index,
            generation: 0,
        }
    }

    pub fn remove(&mut self, id: Id) -> Option<T> {
        let (generation, slot) = self.slots.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        let value = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    pub fn get(&self, id: Id) -> Option<&T> {
        match self.slots.get(id.index as usize)? {
            (generation, slot) if *generation == id.generation => slot.as_ref(),
            _ => None,
        }
    }

    #[inline(never)]
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.slots.get_mut(id.index as usize)? {
            (generation, slot) if *generation == id.generation => slot.as_mut(),
            _ => None,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, (generation, slot))| {
                let id = Id {
                    index: index as u32,
                    generation: *generation,
                };
                Some((id, slot.as_ref()?))
            })
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|(_, slot)| slot.as_mut())
    }

    pub fn ids(&self) -> Vec<Id> {
        self.iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_names_what_took_its_slot() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.ids(), [second]);
    }
}
