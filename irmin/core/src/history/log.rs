//! Going back through history.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use hashbrown::HashSet;

use super::steps::{At, Steps, Trail, end};
use crate::{Commit, Id, Path, PathKey, ReadError};

/// Commits, newest first, see [`Commit::log`] and [`Commit::log_of`]. After an error it ends.
pub struct Log {
    steps: Steps,
    /// Those that are followed; all commits are told where there are none.
    paths: Vec<Path>,
    /// How the backend's index finds the paths, if it knows of changed ones.
    keys: Vec<Option<PathKey>>,
    open: BinaryHeap<Open>,
    seen: HashSet<Id>,
    seen_positions: HashSet<u32>,
    count: u64,
}

struct Open {
    /// The latest first; of equal times what was found first.
    order: (i64, Reverse<u64>),
    at: At,
    tree: Id,
    /// What stands on the way to each path, if that was looked up.
    trails: Option<Vec<Trail>>,
}

impl Log {
    pub(super) fn new(commit: &Commit, paths: Vec<Path>) -> Log {
        let mut log = Log {
            steps: Steps::new(commit.store.clone()),
            paths,
            keys: Vec::new(),
            open: BinaryHeap::new(),
            seen: HashSet::new(),
            seen_positions: HashSet::new(),
            count: 0,
        };
        // The first entries are looked up when it is this commit's turn.
        log.seen.insert(commit.id());
        let (tree, time) = (commit.data().tree, commit.data().committer.seconds());
        log.add(At::Commit(commit.clone()), tree, time, None);
        log
    }

    fn add(&mut self, at: At, tree: Id, time: i64, trails: Option<Vec<Trail>>) {
        self.count += 1;
        let order = (time, Reverse(self.count));
        self.open.push(Open {
            order,
            at,
            tree,
            trails,
        });
    }

    fn step(&mut self) -> Result<Option<Commit>, ReadError> {
        while let Some(Open {
            at,
            tree,
            mut trails,
            order: (_, Reverse(count)),
        }) = self.open.pop()
        {
            if count == 1 && !self.paths.is_empty() {
                self.steps.use_index()?;
                self.keys = self.paths.iter().map(|path| self.steps.key(path)).collect();
            }
            let mut parents = self.steps.parents(&at)?;
            let (mut changed, mut followed) = (self.paths.is_empty(), Vec::new());
            if self.may_change(&at)? {
                let now = match trails.take() {
                    Some(known) => known,
                    None => self.trails(tree, &[])?,
                };
                // Without parents all that is there is new.
                let is_there = |(path, trail)| end(path, trail).is_some();
                changed |= parents.is_empty() && self.paths.iter().zip(&now).any(is_there);
                for parent in parents {
                    let (parent_tree, time) = self.steps.tree_and_time(&parent)?;
                    let before = self.trails(parent_tree, &now)?;
                    if !self.paths.is_empty() && self.are_same(&before, &now) {
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
                let (tree, time) = self.steps.tree_and_time(&parent)?;
                followed.push((parent, tree, time, trails));
            }
            for (parent, tree, time, trails) in followed {
                let is_new = match &parent {
                    At::Position(position) => self.seen_positions.insert(*position),
                    At::Commit(commit) => self.seen.insert(commit.id()),
                };
                if is_new {
                    self.add(parent, tree, time, trails);
                }
            }
            if changed {
                return self.steps.commit(at).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether one of the paths may differ between a commit and its first parent.
    fn may_change(&self, at: &At) -> Result<bool, ReadError> {
        for key in &self.keys {
            if self.steps.may_change(at, key.as_ref())? {
                return Ok(true);
            }
        }
        Ok(self.paths.is_empty())
    }

    /// The ways to all paths. What the trails of `near` have too is not read again.
    fn trails(&self, root: Id, near: &[Trail]) -> Result<Vec<Trail>, ReadError> {
        let near = near
            .iter()
            .map(Vec::as_slice)
            .chain(core::iter::repeat(&[][..]));
        let paths = self.paths.iter().zip(near);
        paths
            .map(|(path, near)| self.steps.trail(path, root, near))
            .collect()
    }

    fn are_same(&self, before: &[Trail], now: &[Trail]) -> bool {
        let mut paths = self.paths.iter().zip(before).zip(now);
        paths.all(|((path, before), now)| end(path, before) == end(path, now))
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
