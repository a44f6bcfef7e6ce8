//! What names lead to, and what of it is history.

use alloc::format;
use alloc::vec::Vec;

use hashbrown::HashMap;
use irmin::{Backend, BackendError, Id, Kind};

use crate::collect::References;
use crate::format::key;
use crate::read::parts;
use crate::{Pack, Storage};

/// Versions of one thing, such as a page of a directory, have one group: they are compressed together.
pub type Group = u32;

/// What is not history: heads, and what their trees hold.
pub const NOW: Group = 0;
const COMMITS: Group = 1;
const ROOTS: Group = 2;

/// From where an object was come to.
#[derive(Clone, Copy)]
enum From {
    /// A name, or a tag.
    Name,
    /// A commit that a name points to.
    Head,
    /// Another commit.
    Commit,
    /// A directory that gives it this group.
    Tree(Group),
}

/// What is to be looked at.
#[derive(Default)]
pub struct Todo {
    now: Vec<(Id, From)>,
    /// After all that heads hold now, so that this is told from history.
    later: Vec<(Id, From)>,
}

impl Todo {
    pub fn heads(&mut self, ids: impl IntoIterator<Item = Id>) {
        self.now.extend(ids.into_iter().map(|id| (id, From::Name)));
    }
}

/// What was found.
#[derive(Default)]
pub struct Mark {
    live: HashMap<u64, Group>,
}

impl Mark {
    pub fn is_live(&self, key: u64) -> bool {
        self.live.contains_key(&key)
    }

    /// The group of an object of history.
    pub fn history(&self, key: u64) -> Option<Group> {
        self.live.get(&key).copied().filter(|group| *group != NOW)
    }
}

impl<S: Storage> Pack<S> {
    /// Marks all that these lead to, in all its parts.
    pub(crate) fn mark(
        &self,
        todo: &mut Todo,
        mark: &mut Mark,
        references: &mut References<'_>,
    ) -> Result<(), BackendError> {
        let mut children = Vec::new();
        while let Some((id, from)) = todo.now.pop().or_else(|| todo.later.pop()) {
            if mark.is_live(key(&id, 0)) {
                continue;
            }
            let missing = || BackendError::Corrupt {
                what: format!("object {id}, which a name leads to, is missing and so the store"),
            };
            let (kind, total) = self.glance(&id)?.ok_or_else(missing)?;
            let group = match (from, kind) {
                (From::Name, _) => NOW,
                (From::Head, Kind::Commit) => {
                    todo.later.push((id, From::Commit));
                    continue;
                }
                (From::Head, _) => NOW,
                (From::Commit, Kind::Commit) => COMMITS,
                (From::Commit, _) => ROOTS,
                (From::Tree(group), _) => group,
            };
            if !self.has_parts(&id, total) {
                return Err(missing());
            }
            let keys = (0..parts(total, self.segment)).map(|part| (key(&id, part), group));
            mark.live.extend(keys);
            if kind == Kind::Blob {
                continue;
            }
            let object = self.read(&id)?.ok_or_else(missing)?;
            references(&object, &mut children)?;
            let into = match group {
                NOW => &mut todo.now,
                _ => &mut todo.later,
            };
            into.extend(children.drain(..).zip(0..).map(|(child, n)| {
                let from = match kind {
                    Kind::Tag => From::Name,
                    Kind::Commit if group == NOW => From::Head,
                    Kind::Commit => From::Commit,
                    _ if group == NOW => From::Tree(NOW),
                    _ => From::Tree(inside(group, n)),
                };
                (child, from)
            }));
        }
        Ok(())
    }
}

/// The group of what stands at the n-th place in a directory.
fn inside(group: Group, n: u32) -> Group {
    let mixed = u64::from(group) << 32 | u64::from(n);
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32 | 4
}
