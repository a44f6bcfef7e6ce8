//! The names, and what an update of them asks for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use irmin::{Id, RefEdit, RefName};

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
        self.heads
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, id)| (name.clone(), *id))
            .collect()
    }

    /// Does what was checked.
    pub fn apply(&mut self, edits: impl IntoIterator<Item = (RefName, Option<Id>)>) {
        for (name, new) in edits {
            let len = listed_len(&name);
            let before = match new {
                Some(id) => self.heads.insert(name, id),
                None => self.heads.remove(&name),
            };
            match (before, new) {
                (None, Some(_)) => self.bytes += len,
                (Some(_), None) => self.bytes -= len,
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
