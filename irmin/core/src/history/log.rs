//! Going back through history.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use hashbrown::HashSet;

use crate::{Commit, Entry, Id, Path, ReadError};

/// Commits, newest first, see [`Commit::log`] and [`Commit::log_of`]. After an error it ends.
pub struct Log {
    path: Option<Path>,
    open: BinaryHeap<Open>,
    seen: HashSet<Id>,
    shallow: Option<Vec<Id>>,
    count: u64,
}

struct Open {
    /// The latest first; of equal times what was found first.
    order: (i64, Reverse<u64>),
    commit: Commit,
    /// What stands at the path, if one is followed.
    entry: Option<Entry>,
}

impl Log {
    pub(super) fn new(commit: &Commit, path: Option<Path>) -> Log {
        let mut log = Log {
            path,
            open: BinaryHeap::new(),
            seen: HashSet::new(),
            shallow: None,
            count: 0,
        };
        // The first entry is looked up when it is this commit's turn.
        log.seen.insert(commit.id());
        log.add(commit.clone(), None);
        log
    }

    fn add(&mut self, commit: Commit, entry: Option<Entry>) {
        self.count += 1;
        let order = (commit.data().committer.seconds(), Reverse(self.count));
        self.open.push(Open {
            order,
            commit,
            entry,
        });
    }

    fn step(&mut self) -> Result<Option<Commit>, ReadError> {
        while let Some(Open {
            commit,
            mut entry,
            order: (_, Reverse(count)),
        }) = self.open.pop()
        {
            if count == 1 {
                entry = self.entry(&commit)?;
            }
            let mut changed =
                self.path.is_none() || (commit.parents().is_empty() && entry.is_some());
            let mut parents = Vec::new();
            if !self.is_cut(&commit)? {
                for id in commit.parents() {
                    let parent = Commit::read(&commit.store, id)?;
                    let before = match parent.data().tree == commit.data().tree {
                        true => entry.clone(),
                        false => self.entry(&parent)?,
                    };
                    if self.path.is_some() && before == entry {
                        // All of it came from here.
                        changed = false;
                        parents = alloc::vec![(parent, before)];
                        break;
                    }
                    changed = true;
                    parents.push((parent, before));
                }
            } else {
                changed |= entry.is_some();
            }
            for (parent, entry) in parents {
                if self.seen.insert(parent.id()) {
                    self.add(parent, entry);
                }
            }
            if changed {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    fn entry(&self, commit: &Commit) -> Result<Option<Entry>, ReadError> {
        match &self.path {
            Some(path) => commit.tree().entry(path),
            None => Ok(None),
        }
    }

    /// Whether a shallow store leaves out the commit's parents.
    fn is_cut(&mut self, commit: &Commit) -> Result<bool, ReadError> {
        if self.shallow.is_none() {
            self.shallow = Some(commit.store.backend.shallow()?);
        }
        Ok(self
            .shallow
            .as_ref()
            .is_some_and(|shallow| shallow.contains(&commit.id())))
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
