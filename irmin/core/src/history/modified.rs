//! Which commit last modified each of many paths, in one walk.

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::steps::{At, Steps, Trail, end};
use crate::{Commit, Entry, Id, Path, PathKey, ReadError};

/// What is looked for.
struct Search<'a> {
    steps: Steps,
    paths: &'a [Path],
    /// How the backend's index finds each path.
    keys: Vec<Option<PathKey>>,
    /// What stands at each path, at every commit that the walk comes to for it.
    entries: Vec<Option<Entry>>,
    /// The directories that paths are in.
    dirs: Vec<Path>,
    found: Vec<Option<Commit>>,
    open: BinaryHeap<(i64, Key)>,
    waiting: HashMap<Key, Waiting>,
}

/// Orders commits of the same time.
type Key = Result<u32, Id>;

/// A commit, and the paths that came to it: by directory, the way there if it was looked up, and who they
/// are.
struct Waiting {
    at: At,
    dirs: BTreeMap<usize, (Trail, Vec<usize>)>,
}

pub(super) fn last_modified(
    commit: &Commit,
    paths: &[Path],
) -> Result<Vec<Option<Commit>>, ReadError> {
    let mut search = Search {
        steps: Steps::new(commit.store.clone()),
        paths,
        keys: Vec::new(),
        entries: alloc::vec![None; paths.len()],
        dirs: Vec::new(),
        found: alloc::vec![None; paths.len()],
        open: BinaryHeap::new(),
        waiting: HashMap::new(),
    };
    search.begin(commit)?;
    while let Some((_, key)) = search.open.pop() {
        if let Some(waiting) = search.waiting.remove(&key) {
            search.step(waiting)?;
        }
    }
    Ok(search.found)
}

impl Search<'_> {
    fn begin(&mut self, commit: &Commit) -> Result<(), ReadError> {
        self.steps.use_index()?;
        self.keys = self.paths.iter().map(|path| self.steps.key(path)).collect();
        let (tree, time) = (commit.data().tree, commit.data().committer.seconds());
        let mut by_dir: BTreeMap<Path, Vec<usize>> = BTreeMap::new();
        for (at, path) in self.paths.iter().enumerate() {
            let mut dir = path.clone();
            dir.pop();
            by_dir.entry(dir).or_default().push(at);
        }
        for (dir, paths) in by_dir {
            let trail = self.steps.trail(&dir, tree, &[])?;
            for (path, entry) in self.entries(&dir, &trail, tree, &paths)? {
                self.entries[path] = entry;
            }
            let at = At::Commit(commit.clone());
            self.wait(at, time, self.dirs.len(), trail, paths);
            self.dirs.push(dir);
        }
        Ok(())
    }

    fn wait(&mut self, at: At, time: i64, dir: usize, trail: Trail, paths: Vec<usize>) {
        let key = match &at {
            At::Position(position) => Ok(*position),
            At::Commit(commit) => Err(commit.id()),
        };
        let waiting = self.waiting.entry(key).or_insert_with(|| {
            self.open.push((time, key));
            let dirs = BTreeMap::new();
            Waiting { at, dirs }
        });
        let (known, waiting) = waiting.dirs.entry(dir).or_default();
        if known.is_empty() {
            *known = trail;
        }
        waiting.extend(paths);
    }

    fn step(&mut self, waiting: Waiting) -> Result<(), ReadError> {
        let Waiting { at, dirs } = waiting;
        let parents = self.steps.parents(&at)?;
        let parents = parents.into_iter().map(|parent| {
            let (tree, time) = self.steps.tree_and_time(&parent)?;
            Ok((parent, tree, time))
        });
        let parents: Vec<(At, Id, i64)> = parents.collect::<Result<_, ReadError>>()?;
        for (dir, (trail, paths)) in dirs {
            let mut left = paths;
            for (number, (parent, tree, time)) in parents.iter().enumerate() {
                let (may, mut same) = match number {
                    0 => self.split(&at, left)?,
                    _ => (left, Vec::new()),
                };
                let (mut others, path) = (Vec::new(), self.dirs[dir].clone());
                // Nothing is looked up for what the index knows to be the same.
                let before = match may.is_empty() {
                    true => Trail::new(),
                    false => self.steps.trail(&path, *tree, &trail)?,
                };
                if !trail.is_empty() && end(&path, &before) == end(&path, &trail) {
                    same.extend(may);
                } else {
                    for (path, entry) in self.entries(&path, &before, *tree, &may)? {
                        match entry == self.entries[path] {
                            true => same.push(path),
                            false => others.push(path),
                        }
                    }
                }
                if !same.is_empty() {
                    self.wait(parent.clone(), *time, dir, before, same);
                }
                left = others;
                if left.is_empty() {
                    break;
                }
            }
            // Where a path that is not there was not before either, nobody modified it.
            left.retain(|path| !parents.is_empty() || self.entries[*path].is_some());
            if !left.is_empty() {
                let commit = self.steps.commit(at.clone())?;
                for path in left {
                    self.found[path] = Some(commit.clone());
                }
            }
        }
        Ok(())
    }

    /// The paths that may differ in the first parent, and those that do not.
    fn split(&self, at: &At, paths: Vec<usize>) -> Result<(Vec<usize>, Vec<usize>), ReadError> {
        let (mut may, mut same) = (Vec::new(), Vec::new());
        for path in paths {
            match self.steps.may_change(at, self.keys[path].as_ref())? {
                true => may.push(path),
                false => same.push(path),
            }
        }
        Ok((may, same))
    }

    /// What stands at paths of one directory.
    fn entries(
        &self,
        dir: &Path,
        trail: &Trail,
        root: Id,
        paths: &[usize],
    ) -> Result<Vec<(usize, Option<Entry>)>, ReadError> {
        let mut found = Vec::with_capacity(paths.len());
        // The root is in no directory.
        let (roots, below): (Vec<usize>, Vec<usize>) =
            paths.iter().partition(|path| self.paths[**path].is_root());
        found.extend(roots.into_iter().map(|path| (path, Some(Entry::dir(root)))));
        let Some(dir) = end(dir, trail).and_then(Entry::dir_id) else {
            found.extend(below.into_iter().map(|path| (path, None)));
            return Ok(found);
        };
        let name = |path: &usize| self.paths[*path].names().next_back().unwrap_or_default();
        let names: Vec<&[u8]> = below.iter().map(name).collect();
        self.steps
            .look_up_all(&dir, &names, |at, entry| found.push((below[at], entry)))?;
        Ok(found)
    }
}
