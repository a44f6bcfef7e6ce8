//! Going back through history.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use hashbrown::HashSet;

use super::index::contradiction;
use crate::path::names;
use crate::raw::TreeEntries;
use crate::store::Store;
use crate::tree::{Content, lookup};
use crate::{Commit, CommitIndex, Entry, Id, Kind, Path, PathKey, ReadError};

/// Commits, newest first, see [`Commit::log`] and [`Commit::log_of`]. After an error it ends.
pub struct Log {
    store: Arc<Store>,
    path: Option<Path>,
    open: BinaryHeap<Open>,
    seen: HashSet<Id>,
    /// Where a path is followed, commits in the backend's index are read only if they changed it.
    index: Option<Arc<dyn CommitIndex>>,
    /// How the index finds the path, if it knows of changed paths.
    key: Option<PathKey>,
    seen_positions: HashSet<u32>,
    shallow: Option<HashSet<Id>>,
    count: u64,
}

struct Open {
    /// The latest first; of equal times what was found first.
    order: (i64, Reverse<u64>),
    at: At,
    tree: Id,
    /// What stands on the way to the path, if one is followed and it was looked up.
    entry: Looked,
}

type Looked = Option<Trail>;

/// The root and what stands at each name of a path, down to the first that is not there.
type Trail = Vec<Entry>;

/// A commit: where it is in the backend's index, or itself.
#[derive(Clone)]
enum At {
    Position(u32),
    Commit(Commit),
}

impl Log {
    pub(super) fn new(commit: &Commit, path: Option<Path>) -> Log {
        let mut log = Log {
            store: commit.store.clone(),
            path,
            open: BinaryHeap::new(),
            seen: HashSet::new(),
            index: None,
            key: None,
            seen_positions: HashSet::new(),
            shallow: None,
            count: 0,
        };
        // The first entry is looked up when it is this commit's turn.
        log.seen.insert(commit.id());
        let (tree, time) = (commit.data().tree, commit.data().committer.seconds());
        log.add(At::Commit(commit.clone()), tree, time, None);
        log
    }

    fn add(&mut self, at: At, tree: Id, time: i64, entry: Looked) {
        self.count += 1;
        let order = (time, Reverse(self.count));
        self.open.push(Open {
            order,
            at,
            tree,
            entry,
        });
    }

    fn step(&mut self) -> Result<Option<Commit>, ReadError> {
        while let Some(Open {
            at,
            tree,
            mut entry,
            order: (_, Reverse(count)),
        }) = self.open.pop()
        {
            if count == 1
                && let Some(path) = &self.path
            {
                let index = self.store.backend.commit_index()?;
                self.index = index.filter(|index| index.has_trees());
                let index = self.index.as_ref();
                self.key = index.and_then(|index| index.path_key(path));
            }
            let mut parents = self.parents(&at)?;
            let (mut changed, mut followed) = (self.path.is_none(), Vec::new());
            if self.may_change(&at)? {
                let now = match entry.take() {
                    Some(known) => known,
                    None => self.trail(tree, &[])?,
                };
                // Without parents all that is there is new.
                changed |= parents.is_empty() && self.end(&now).is_some();
                for parent in parents {
                    let (parent_tree, time) = self.tree_and_time(&parent)?;
                    let before = self.trail(parent_tree, &now)?;
                    if self.path.is_some() && self.end(&before) == self.end(&now) {
                        // All of it came from here.
                        changed = false;
                        followed = alloc::vec![(parent, parent_tree, time, Some(before))];
                        break;
                    }
                    changed = true;
                    followed.push((parent, parent_tree, time, Some(before)));
                }
            } else if !parents.is_empty() {
                let parent = parents.swap_remove(0);
                let (tree, time) = self.tree_and_time(&parent)?;
                followed.push((parent, tree, time, entry));
            }
            for (parent, tree, time, entry) in followed {
                let is_new = match &parent {
                    At::Position(position) => self.seen_positions.insert(*position),
                    At::Commit(commit) => self.seen.insert(commit.id()),
                };
                if is_new {
                    self.add(parent, tree, time, entry);
                }
            }
            if changed {
                return match (at, &self.index) {
                    (At::Position(position), Some(index)) => {
                        Commit::read(&self.store, &index.id(position)?).map(Some)
                    }
                    (At::Commit(commit), _) => Ok(Some(commit)),
                    (At::Position(_), None) => unreachable!("positions are those of an index"),
                };
            }
        }
        Ok(None)
    }

    /// Whether the path may differ between a commit and its first parent.
    fn may_change(&self, at: &At) -> Result<bool, ReadError> {
        match (at, &self.index, &self.key) {
            (At::Position(at), Some(index), Some(key)) => Ok(index.may_change(*at, key)?),
            _ => Ok(true),
        }
    }

    fn parents(&mut self, at: &At) -> Result<Vec<At>, ReadError> {
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

    fn tree_and_time(&self, at: &At) -> Result<(Id, i64), ReadError> {
        match (at, &self.index) {
            (At::Position(at), Some(index)) => Ok((index.tree(*at)?, index.time(*at)?)),
            (At::Commit(commit), _) => {
                let data = commit.data();
                Ok((data.tree, data.committer.seconds()))
            }
            (At::Position(_), None) => unreachable!("positions are those of an index"),
        }
    }

    /// What stands on the way to the path. What `near` has too is not read again.
    fn trail(&self, root: Id, near: &[Entry]) -> Result<Trail, ReadError> {
        let mut trail = alloc::vec![Entry::dir(root)];
        let Some(path) = &self.path else {
            return Ok(trail);
        };
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

    /// What stands at the path, if the trail leads there.
    fn end<'a>(&self, trail: &'a Trail) -> Option<&'a Entry> {
        let path = self.path.as_ref()?.as_bytes();
        let names = match path {
            [] => 0,
            _ => 1 + path.iter().filter(|byte| **byte == b'/').count(),
        };
        trail.get(names)
    }

    /// The entry of this name in a directory. Most directories of old commits are looked at once: one of
    /// Git's is read up to the name and not kept.
    fn look_up(&self, dir: &Id, name: &[u8]) -> Result<Option<Entry>, ReadError> {
        if !self.store.format.is_git() || *dir == self.store.empty {
            return lookup(&self.store, None, dir, name);
        }
        let data = self.store.object(dir, Kind::Tree)?;
        for entry in TreeEntries::new(self.store.format, &data) {
            let entry = entry.map_err(|malformed| ReadError::Malformed {
                id: *dir,
                malformed,
            })?;
            if entry.name == name {
                return Ok(Some(Entry {
                    mode: entry.mode,
                    content: Content::Id(entry.id),
                }));
            }
        }
        Ok(None)
    }

    /// Whether a shallow store leaves out the commit's parents.
    fn is_cut(&mut self, commit: &Commit) -> Result<bool, ReadError> {
        let shallow = match &mut self.shallow {
            Some(shallow) => shallow,
            unknown => unknown.insert(self.store.backend.shallow()?.into_iter().collect()),
        };
        Ok(shallow.contains(&commit.id()))
    }
}

impl Iterator for Log {
    type Item = Result<Commit, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open.clear();
        }
        step.transpose()
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Open) -> bool {
        self.order == other.order
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Open) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Open) -> core::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}
