//! Single steps back through history, by the backend's index of commits where it has them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashSet;

use super::index::contradiction;
use crate::path::names;
use crate::raw::TreeEntries;
use crate::store::Store;
use crate::tree::{Content, lookup};
use crate::{Commit, CommitIndex, Entry, Id, Kind, Path, PathKey, ReadError};

/// What takes the steps.
pub(super) struct Steps {
    pub(super) store: Arc<Store>,
    /// Where paths are followed, commits in the backend's index are read only if they changed one.
    index: Option<Arc<dyn CommitIndex>>,
    shallow: Option<HashSet<Id>>,
}

/// A commit: where it is in the backend's index, or itself.
#[derive(Clone)]
pub(super) enum At {
    Position(u32),
    Commit(Commit),
}

/// The root and what stands at each name of a path, down to the first that is not there.
pub(super) type Trail = Vec<Entry>;

impl Steps {
    pub(super) fn new(store: Arc<Store>) -> Steps {
        Steps {
            store,
            index: None,
            shallow: None,
        }
    }

    /// From now on the backend's index is used, if it has trees.
    pub(super) fn use_index(&mut self) -> Result<(), ReadError> {
        let index = self.store.backend.commit_index()?;
        self.index = index.filter(|index| index.has_trees());
        Ok(())
    }

    /// How the index finds a path, if it knows of changed paths.
    pub(super) fn key(&self, path: &Path) -> Option<PathKey> {
        self.index.as_ref()?.path_key(path)
    }

    /// Whether the path of this key may differ between a commit and its first parent.
    pub(super) fn may_change(&self, at: &At, key: Option<&PathKey>) -> Result<bool, ReadError> {
        match (at, &self.index, key) {
            (At::Position(at), Some(index), Some(key)) => Ok(index.may_change(*at, key)?),
            _ => Ok(true),
        }
    }

    pub(super) fn parents(&mut self, at: &At) -> Result<Vec<At>, ReadError> {
        let index = self.index.clone();
        match (at, &index) {
            (At::Position(position), Some(index)) => {
                let mut parents = Vec::new();
                index.parents(*position, &mut parents)?;
                if parents.iter().any(|parent| *parent >= index.len()) {
                    return Err(contradiction().into());
                }
                Ok(parents.into_iter().map(At::Position).collect())
            }
            (At::Commit(commit), _) if self.is_cut(commit)? => Ok(Vec::new()),
            (At::Commit(commit), _) => {
                let at = |id: &Id| {
                    let known = index.as_ref().map(|index| index.position(id));
                    match known.transpose()?.flatten() {
                        Some(position) => Ok(At::Position(position)),
                        None => Commit::read(&self.store, id).map(At::Commit),
                    }
                };
                commit.parents().iter().map(at).collect()
            }
            (At::Position(_), None) => unreachable!("positions are those of an index"),
        }
    }

    /// Whether a shallow store leaves out the commit's parents.
    fn is_cut(&mut self, commit: &Commit) -> Result<bool, ReadError> {
        let shallow = match &mut self.shallow {
            Some(shallow) => shallow,
            unknown => unknown.insert(self.store.backend.shallow()?.into_iter().collect()),
        };
        Ok(shallow.contains(&commit.id()))
    }

    pub(super) fn tree_and_time(&self, at: &At) -> Result<(Id, i64), ReadError> {
        match (at, &self.index) {
            (At::Position(at), Some(index)) => Ok((index.tree(*at)?, index.time(*at)?)),
            (At::Commit(commit), _) => {
                let data = commit.data();
                Ok((data.tree, data.committer.seconds()))
            }
            (At::Position(_), None) => unreachable!("positions are those of an index"),
        }
    }

    pub(super) fn commit(&self, at: At) -> Result<Commit, ReadError> {
        match (at, &self.index) {
            (At::Commit(commit), _) => Ok(commit),
            (At::Position(position), Some(index)) => {
                Commit::read(&self.store, &index.id(position)?)
            }
            (At::Position(_), None) => unreachable!("positions are those of an index"),
        }
    }

    /// What stands on the way to a path. What `near` has too is not read again.
    pub(super) fn trail(&self, path: &Path, root: Id, near: &[Entry]) -> Result<Trail, ReadError> {
        let mut trail = alloc::vec![Entry::dir(root)];
        for (at, name) in names(path.as_bytes())?.enumerate() {
            if near.get(at) == trail.last() {
                trail.extend_from_slice(&near[at + 1..]);
                break;
            }
            let Some(dir) = trail[at].dir_id() else { break };
            let Some(entry) = self.look_up(&dir, name)? else {
                break;
            };
            trail.push(entry);
        }
        Ok(trail)
    }

    /// The entry of this name in a directory. Most directories of old commits are looked at once: one of
    /// Git's is read up to the name and not kept.
    fn look_up(&self, dir: &Id, name: &[u8]) -> Result<Option<Entry>, ReadError> {
        let mut found = None;
        self.look_up_all(dir, &[name], |_, entry| found = entry)?;
        Ok(found)
    }

    /// The same for several names, in any order, in one look: tells which of them, and its entry.
    pub(super) fn look_up_all(
        &self,
        dir: &Id,
        wanted: &[&[u8]],
        mut tell: impl FnMut(usize, Option<Entry>),
    ) -> Result<(), ReadError> {
        let mut left: Vec<usize> = (0..wanted.len()).collect();
        if !self.store.format.is_git() || *dir == self.store.empty {
            for at in left {
                tell(at, lookup(&self.store, None, dir, wanted[at])?);
            }
            return Ok(());
        }
        // By name, so that many are found as quickly as one.
        left.sort_unstable_by_key(|at| wanted[*at]);
        let data = self.store.object(dir, Kind::Tree)?;
        for entry in TreeEntries::new(self.store.format, &data) {
            let entry = entry.map_err(|malformed| ReadError::Malformed {
                id: *dir,
                malformed,
            })?;
            let Ok(found) = left.binary_search_by_key(&entry.name, |at| wanted[*at]) else {
                continue;
            };
            let content = Content::Id(entry.id);
            let mode = entry.mode;
            tell(left.remove(found), Some(Entry { mode, content }));
            if left.is_empty() {
                break;
            }
        }
        left.into_iter().for_each(|at| tell(at, None));
        Ok(())
    }
}

/// What stands at a path, if the trail leads there.
pub(super) fn end<'a>(path: &Path, trail: &'a Trail) -> Option<&'a Entry> {
    let names = match path.as_bytes() {
        [] => 0,
        path => 1 + path.iter().filter(|byte| **byte == b'/').count(),
    };
    trail.get(names)
}
