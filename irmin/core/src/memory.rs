//! Everything in memory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;
use hashbrown::HashMap;
use spin::RwLock;

use crate::{Backend, BackendError, Format, Id, Kind, Object, RefEdit, RefName, UpdateError};

/// A store in memory, gone with the value. `flush` returns at once.
pub struct Memory {
    format: Format,
    objects: RwLock<HashMap<Id, (Kind, Bytes)>>,
    names: RwLock<Names>,
    shallow: RwLock<Vec<Id>>,
}

#[derive(Default)]
struct Names {
    heads: BTreeMap<RefName, Id>,
    generation: u64,
    default_branch: Option<RefName>,
}

impl Memory {
    /// An empty store of this format.
    pub fn new(format: Format) -> Memory {
        Memory {
            format,
            objects: RwLock::default(),
            names: RwLock::default(),
            shallow: RwLock::default(),
        }
    }

    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.objects.read().len()
    }

    /// Whether it holds no object.
    pub fn is_empty(&self) -> bool {
        self.objects.read().is_empty()
    }
}

impl Backend for Memory {
    fn format(&self) -> Format {
        self.format
    }

    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        let objects = self.objects.read();
        Ok(objects.get(id).map(|(kind, data)| Object {
            id: *id,
            kind: *kind,
            data: data.clone(),
        }))
    }

    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        Ok(self.objects.read().contains_key(id))
    }

    fn write(&self, new: &[Object]) -> Result<(), BackendError> {
        let mut objects = self.objects.write();
        for object in new {
            objects
                .entry(object.id)
                .or_insert_with(|| (object.kind, object.data.clone()));
        }
        Ok(())
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        let mut ids: Vec<Id> = self
            .objects
            .read()
            .keys()
            .filter(|id| id.begins_with(prefix))
            .copied()
            .collect();
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        Ok(self.names.read().heads.get(name).copied())
    }

    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        let names = self.names.read();
        Ok(names
            .heads
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, id)| (name.clone(), *id))
            .collect())
    }

    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        let mut names = self.names.write();
        RefEdit::check(edits, &names.heads)?;
        for edit in edits {
            if let Some(id) = edit.new
                && !self.objects.read().contains_key(&id)
            {
                return Err(UpdateError::NoSuchObject {
                    name: edit.name.clone(),
                    id,
                });
            }
        }
        for edit in edits {
            match edit.new {
                Some(id) => names.heads.insert(edit.name.clone(), id),
                None => names.heads.remove(&edit.name),
            };
        }
        names.generation += 1;
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn shallow(&self) -> Result<Vec<Id>, BackendError> {
        Ok(self.shallow.read().clone())
    }

    fn set_shallow(&self, commits: &[Id]) -> Result<(), BackendError> {
        *self.shallow.write() = commits.to_vec();
        Ok(())
    }

    fn default_branch(&self) -> Result<RefName, BackendError> {
        let chosen = self.names.read().default_branch.clone();
        Ok(chosen.unwrap_or_else(|| RefName::new("refs/heads/main").expect("a good name")))
    }

    fn set_default_branch(&self, name: &RefName) -> Result<(), BackendError> {
        self.names.write().default_branch = Some(name.clone());
        Ok(())
    }

    fn generation(&self) -> Result<u64, BackendError> {
        Ok(self.names.read().generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract_in_every_format() {
        for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
            crate::conformance::check(&mut || alloc::sync::Arc::new(Memory::new(format)));
        }
    }

    #[test]
    fn no_update_is_lost_when_threads_race() {
        let store = Memory::new(Format::Native);
        let won = std::thread::scope(|threads| {
            let store = &store;
            let racers: std::vec::Vec<_> = (0..4)
                .map(|n| threads.spawn(move || crate::conformance::race(store, n, 200)))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        crate::conformance::counted(&store, won);
    }
}
