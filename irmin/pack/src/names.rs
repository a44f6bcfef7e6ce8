//! The names, and what an update of them asks for.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Bound;

use irmin::{Id, RefEdit, RefName, UpdateError};

use crate::format::name_len;

/// All names, and a number that changes with them.
#[derive(Default)]
pub struct Names {
    pub heads: BTreeMap<RefName, Id>,
    pub generation: u64,
    /// Bytes of the list of them with which a segment begins.
    pub bytes: usize,
}

impl Names {
    pub fn new(heads: BTreeMap<RefName, Id>) -> Names {
        Names {
            bytes: heads.keys().map(listed_len).sum(),
            heads,
            generation: 0,
        }
    }

    /// Those that begin with `prefix`, in order.
    pub fn list(&self, prefix: &str) -> Vec<(RefName, Id)> {
        self.from(prefix)
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, id)| (name.clone(), *id))
            .collect()
    }

    fn from(&self, text: &str) -> impl Iterator<Item = (&RefName, &Id)> {
        self.heads
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
    }

    /// Whether the edits may happen, but for the objects that they name.
    pub fn check(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        let mut by_name = BTreeMap::new();
        for edit in edits {
            let name = &edit.name;
            if by_name.insert(name.as_str(), edit).is_some() {
                return Err(UpdateError::Clash {
                    name: name.clone(),
                    other: name.clone(),
                });
            }
            let found = self.heads.get(name);
            if !edit.expect.holds(found) {
                return Err(UpdateError::Moved {
                    name: name.clone(),
                    found: found.copied(),
                });
            }
        }
        let there_after = |name: &str| match by_name.get(name) {
            Some(edit) => edit.new.is_some().then_some(&edit.name),
            None => self.heads.get_key_value(name).map(|(name, _)| name),
        };
        for edit in edits {
            if edit.new.is_none() || self.heads.contains_key(&edit.name) {
                continue;
            }
            let name = edit.name.as_str();
            let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
            let below = name.to_string() + "/";
            let children = self
                .from(&below)
                .map(|(name, _)| name.as_str())
                .take_while(|child| child.starts_with(&below));
            if let Some(other) = parents.chain(children).find_map(there_after) {
                return Err(UpdateError::Clash {
                    name: edit.name.clone(),
                    other: other.clone(),
                });
            }
        }
        Ok(())
    }

    /// Does what was checked.
    pub fn apply(&mut self, edits: &[RefEdit]) {
        for edit in edits {
            let before = match edit.new {
                Some(id) => self.heads.insert(edit.name.clone(), id),
                None => self.heads.remove(&edit.name),
            };
            match (before, edit.new) {
                (None, Some(_)) => self.bytes += listed_len(&edit.name),
                (Some(_), None) => self.bytes -= listed_len(&edit.name),
                _ => {}
            }
        }
        self.generation += 1;
    }

    /// How many bytes the edits add to the list.
    pub fn growth(&self, edits: &[RefEdit]) -> usize {
        edits
            .iter()
            .filter(|edit| edit.new.is_some() && !self.heads.contains_key(&edit.name))
            .map(|edit| listed_len(&edit.name))
            .sum()
    }
}

fn listed_len(name: &RefName) -> usize {
    name_len(name, 32)
}
