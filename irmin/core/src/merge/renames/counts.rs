//! Where the files of directories that are gone went.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::table;
use crate::Path;

/// For what the renames of files in a directory that is gone are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    No,
    /// For a directory that it was in.
    Above,
    /// For itself: the other side added a file to it.
    Itself,
}

/// For each directory, how many of its files went to which.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<Path, To>);

#[derive(Default)]
struct To {
    dirs: HashMap<Path, usize>,
    /// These in the order in which they were met.
    order: Vec<Path>,
    /// Files that may still be found to be renamed.
    unknown: usize,
}

impl Counts {
    /// Counts a renamed file for its directory, and for those above as long as all the names between
    /// are the same.
    pub(super) fn add(&mut self, gone: &BTreeMap<Path, Need>, old: &Path, new: &Path) {
        let (mut old, mut new) = (old.clone(), new.clone());
        let mut is_first = true;
        loop {
            let is_same = last_name(&old) == last_name(&new);
            old.pop();
            new.pop();
            let Some(need) = gone.get(&old) else { return };
            if !is_first && !is_same {
                return;
            }
            if is_first || *need == Need::Itself {
                let to = self.0.entry(old.clone()).or_default();
                match to.dirs.get_mut(&new) {
                    Some(count) => *count += 1,
                    None => {
                        to.dirs.insert(new.clone(), 1);
                        to.order.push(new.clone());
                    }
                }
            }
            is_first = false;
            if *need == Need::No || old.is_root() || new.is_root() {
                return;
            }
        }
    }

    pub(super) fn add_unknown(&mut self, dir: &Path) {
        self.0.entry(dir.clone()).or_default().unknown += 1;
    }

    /// For each directory the one to which most of its files went; of several the one that Git meets
    /// first.
    pub(super) fn guesses(&self) -> BTreeMap<Path, Path> {
        let best = |to: &To| {
            let most = to.dirs.values().max()?;
            let mut order = table::order(to.order.clone()).into_iter();
            order.find(|dir| to.dirs.get(dir) == Some(most))
        };
        let all = self.0.iter();
        all.filter_map(|(dir, to)| Some((dir.clone(), best(to)?)))
            .collect()
    }

    /// Whether more renames of files in it cannot change where most of them went.
    pub(super) fn is_decided(&self, dir: &Path) -> bool {
        self.0.get(dir).is_some_and(|to| {
            let mut counts: Vec<usize> = to.dirs.values().copied().collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let second = counts.get(1).copied().unwrap_or(0);
            counts.first().copied().unwrap_or(0) > second + to.unknown
        })
    }

    /// Forgets what was only counted to guess.
    pub(super) fn keep_known(&mut self, gone: &BTreeMap<Path, Need>) {
        let is_needed = |dir: &Path| gone.get(dir).is_some_and(|need| *need != Need::No);
        self.0.retain(|dir, _| is_needed(dir));
    }

    /// For each directory the one to which most of its files went; `None` if as many went to another.
    pub(super) fn majorities(&self) -> Vec<(Path, Option<Path>)> {
        let majority = |(dir, to): (&Path, &To)| {
            let most = to.dirs.values().max()?;
            let mut best = to.dirs.iter().filter(|(_, count)| *count == most);
            let first = best.next()?.0.clone();
            Some((dir.clone(), best.next().is_none().then_some(first)))
        };
        self.0.iter().filter_map(majority).collect()
    }
}

pub(super) fn last_name(path: &Path) -> &[u8] {
    path.names().next_back().unwrap_or_default()
}
