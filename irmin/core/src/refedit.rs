//! Moves of names, and what they ask for.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use core::ops::Bound;

use crate::{Id, RefName, UpdateError};

/// One name of an [`update`](crate::Backend::update).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefEdit {
    /// Which name.
    pub name: RefName,
    /// What it must point to before.
    pub expect: Expect,
    /// What it points to afterwards; `None` deletes it (and if there is none, does nothing).
    pub new: Option<Id>,
}

impl RefEdit {
    /// Whether these edits may happen together where all names are `heads`, but for the objects that
    /// they point to: what [`Backend::update`](crate::Backend::update) promises, for backends that
    /// hold their names in a map.
    ///
    /// # Errors
    /// [`UpdateError::Clash`] if a name has two edits, or a new one would be a directory of another
    /// that stays or comes, or the other way round; [`UpdateError::Moved`] if an `expect` does not
    /// hold.
    pub fn check(edits: &[RefEdit], heads: &BTreeMap<RefName, Id>) -> Result<(), UpdateError> {
        let mut by_name = BTreeMap::new();
        for edit in edits {
            let name = &edit.name;
            if by_name.insert(name.as_str(), edit).is_some() {
                return Err(UpdateError::Clash {
                    name: name.clone(),
                    other: name.clone(),
                });
            }
            let found = heads.get(name);
            if !edit.expect.holds(found) {
                return Err(UpdateError::Moved {
                    name: name.clone(),
                    found: found.copied(),
                });
            }
        }
        let there_after = |name: &str| match by_name.get(name) {
            Some(edit) => edit.new.is_some().then_some(&edit.name),
            None => heads.get_key_value(name).map(|(name, _)| name),
        };
        for edit in edits {
            if edit.new.is_none() || heads.contains_key(&edit.name) {
                continue;
            }
            let name = edit.name.as_str();
            // Of two new ones the longer meets the shorter among its parents.
            let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
            let below = name.to_string() + "/";
            let children = heads
                .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
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
}

/// What a name must point to for an edit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    Any,
    /// Nothing: there is no such name yet.
    Missing,
    /// This object.
    Is(Id),
}

impl Expect {
    /// Whether what is there is what was expected.
    pub fn holds(&self, found: Option<&Id>) -> bool {
        match self {
            Expect::Any => true,
            Expect::Missing => found.is_none(),
            Expect::Is(id) => found == Some(id),
        }
    }
}

impl From<Option<Id>> for Expect {
    fn from(head: Option<Id>) -> Expect {
        head.map_or(Expect::Missing, Expect::Is)
    }
}
