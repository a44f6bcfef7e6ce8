//! Which added file is a removed one under another name: those with the same contents first, then
//! those with the same last name that are very similar, then the most similar ones.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashMap;

use super::changes::{Changes, File, Reason, is_file, kind_of, parent};
use super::counts::{Need, last_name};
use super::similarity::{ALIKE, Pieces};
use crate::tree::Content;
use crate::{Entry, Path, ReadError};

/// With more pairs than the square of this left to compare, only those found until then are renames
/// (`merge.renameLimit`).
const LIMIT: usize = 7000;
/// The same for the work of comparing, which hostile files could make far greater: bytes read for it,
/// pieces kept in memory (of 8 bytes), and pieces compared.
const BYTES_MAX: usize = 1 << 30;
const PIECES_MAX: usize = 1 << 25;
const STEPS_MAX: u64 = 1 << 32;

/// From what similarity on two files are one.
const LEAST: u32 = ALIKE / 2;
/// The same for a file that is the only one of its last name on either side.
const LEAST_OF_NAME: u32 = LEAST + (ALIKE - LEAST) / 2;

/// So many candidates are remembered for each added file.
const CANDIDATES: usize = 4;
/// So many removed files of the same contents are looked at.
const SAME_MAX: usize = 100;

/// Finds the renames among the changes of one side: an added file that is found to be a removed one
/// becomes a pair with both.
pub(super) fn detect(
    changes: &mut Changes,
    empty: &[Content],
    read: &dyn Fn(&Entry) -> Result<Bytes, ReadError>,
) -> Result<(), ReadError> {
    if changes.pairs.is_empty() || changes.wanted.is_empty() {
        return Ok(());
    }
    let mut search = Search::new(changes, empty, read);
    if !search.old.is_empty() && !search.new.is_empty() {
        search.run()?;
    }
    let found = search.found;
    let mut is_used = alloc::vec![false; changes.pairs.len()];
    for (new, old) in found {
        is_used[old] = true;
        changes.pairs[new].old = changes.pairs[old].old.clone();
    }
    let mut is_used = is_used.into_iter();
    changes.pairs.retain(|_| !is_used.next().unwrap_or(false));
    Ok(())
}

/// One side's search. Files are numbered by their pairs.
struct Search<'a> {
    changes: &'a mut Changes,
    read: &'a dyn Fn(&Entry) -> Result<Bytes, ReadError>,
    /// Removed files that have no new name yet, and added ones, with the removed one if it is found.
    old: Vec<usize>,
    new: Vec<usize>,
    is_found: Vec<bool>,
    found: Vec<(usize, usize)>,
    pieces: HashMap<usize, Pieces>,
    bytes: usize,
    kept: usize,
    steps: u64,
}

impl<'a> Search<'a> {
    fn new(
        changes: &'a mut Changes,
        empty: &[Content],
        read: &'a dyn Fn(&Entry) -> Result<Bytes, ReadError>,
    ) -> Search<'a> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (at, pair) in changes.pairs.iter().enumerate() {
            // Empty files are not renamed.
            let is_full = |file: &Option<File>| {
                file.as_ref()
                    .is_some_and(|file| !empty.contains(&file.entry.content))
            };
            match (is_full(&pair.old), is_full(&pair.new)) {
                (true, _) => old.push(at),
                (_, true) => new.push(at),
                _ => {}
            }
        }
        let is_found = alloc::vec![false; changes.pairs.len()];
        Search {
            changes,
            read,
            old,
            new,
            is_found,
            found: Vec::new(),
            pieces: HashMap::new(),
            bytes: 0,
            kept: 0,
            steps: 0,
        }
    }

    fn run(&mut self) -> Result<(), ReadError> {
        for (old, new) in self.same_contents() {
            self.record(old, new);
        }
        self.drop_found();
        let guesses = self.guessed_dirs();
        self.same_name(&guesses)?;
        self.drop_found();
        let Changes { pairs, wanted, .. } = &*self.changes;
        self.old.retain(|at| {
            pairs[*at]
                .old
                .as_ref()
                .is_some_and(|old| wanted.contains_key(&old.path))
        });
        self.drop_decided();
        let left = self.new.iter().filter(|at| !self.is_found[**at]).count();
        if left.saturating_mul(self.old.len()) <= LIMIT * LIMIT {
            self.most_similar()?;
        }
        self.changes.counts.keep_known(&self.changes.gone);
        Ok(())
    }

    fn old_file(&self, at: usize) -> &File {
        self.changes.pairs[at].old.as_ref().expect("it was removed")
    }

    fn new_file(&self, at: usize) -> &File {
        self.changes.pairs[at].new.as_ref().expect("it was added")
    }

    fn is_same_name(&self, old: usize, new: usize) -> bool {
        last_name(&self.old_file(old).path) == last_name(&self.new_file(new).path)
    }

    fn record(&mut self, old: usize, new: usize) {
        self.is_found[old] = true;
        self.is_found[new] = true;
        self.found.push((new, old));
    }

    /// The same, and counts where the file's directory went.
    fn record_and_count(&mut self, old: usize, new: usize) {
        self.record(old, new);
        self.count(old, new);
    }

    fn count(&mut self, old: usize, new: usize) {
        let [old, new] = [self.old_file(old), self.new_file(new)].map(|file| file.path.clone());
        self.changes.counts.add(&self.changes.gone, &old, &new);
    }

    fn drop_found(&mut self) {
        let is_found = &self.is_found;
        self.old.retain(|at| !is_found[*at]);
    }

    /// Removed files and the added ones with the same contents.
    fn same_contents(&self) -> Vec<(usize, usize)> {
        let key = |file: &File| (file.entry.content.clone(), kind_of(file.entry.mode));
        let mut same: HashMap<_, VecDeque<usize>> = HashMap::new();
        for &at in &self.old {
            same.entry(key(self.old_file(at)))
                .or_default()
                .push_back(at);
        }
        let mut found = Vec::new();
        for &new in &self.new {
            let Some(olds) = same.get_mut(&key(self.new_file(new))) else {
                continue;
            };
            let mut first = olds.iter().take(SAME_MAX);
            let best = first.position(|old| self.is_same_name(*old, new));
            if let Some(old) = olds.remove(best.unwrap_or(0)) {
                found.push((old, new));
            }
        }
        found
    }

    /// Where each directory's files went, after those with the same contents.
    fn guessed_dirs(&mut self) -> BTreeMap<Path, Path> {
        // In the order of the added files.
        let found: HashMap<usize, usize> = self.found.iter().copied().collect();
        for new in self.new.clone() {
            if let Some(old) = found.get(&new) {
                self.count(*old, new);
            }
        }
        self.changes.counts.guesses()
    }

    /// Files that are the only ones of their last name on either side, or where their directory
    /// probably went.
    fn same_name(&mut self, guesses: &BTreeMap<Path, Path>) -> Result<(), ReadError> {
        let only = |files: &mut dyn Iterator<Item = (Vec<u8>, usize)>| {
            let mut names: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
            for (name, at) in files {
                names
                    .entry(name)
                    .and_modify(|only| *only = None)
                    .or_insert(Some(at));
            }
            names
        };
        let name = |file: &File| last_name(&file.path).to_vec();
        let olds = only(&mut self.old.iter().map(|&at| (name(self.old_file(at)), at)));
        let left = self.new.iter().filter(|at| !self.is_found[**at]);
        let news = only(&mut left.clone().map(|&at| (name(self.new_file(at)), at)));
        let by_path: HashMap<Path, usize> = left
            .map(|&at| (self.new_file(at).path.clone(), at))
            .collect();
        for old in self.old.clone() {
            let path = &self.old_file(old).path;
            if !self.changes.wanted.contains_key(path) {
                continue;
            }
            let last = last_name(path);
            let Some(only_new) = news.get(last) else {
                continue;
            };
            let new = match (olds.get(last).copied().flatten(), only_new) {
                (Some(_), Some(new)) => Some(*new),
                // Into the root no such guess is made.
                _ => guesses
                    .get(&parent(path))
                    .filter(|dir| !dir.is_root())
                    .and_then(|dir| by_path.get(&dir.joined(last)).copied()),
            };
            let Some(new) = new.filter(|new| !self.is_found[*new]) else {
                continue;
            };
            if self.similarity(old, new, LEAST_OF_NAME)? >= LEAST_OF_NAME {
                self.record_and_count(old, new);
            }
        }
        Ok(())
    }

    /// Leaves out files whose renames are only wanted to see where their directory went, where that is
    /// known already.
    fn drop_decided(&mut self) {
        let Changes {
            pairs,
            wanted,
            gone,
            counts,
            ..
        } = &mut *self.changes;
        let old = |at: usize| &pairs[at].old.as_ref().expect("it was removed").path;
        for &at in &self.old {
            let mut dir = parent(old(at));
            while !dir.is_root() && gone.get(&dir).is_some_and(|need| *need != Need::No) {
                counts.add_unknown(&dir);
                dir.pop();
            }
        }
        for (dir, need) in gone.iter_mut() {
            if *need == Need::Itself && counts.is_decided(dir) {
                *need = Need::Above;
            }
        }
        let is_needed = |at: &usize| {
            let path = old(*at);
            if wanted.get(path) != Some(&Reason::Location) {
                return true;
            }
            let mut dir = parent(path);
            loop {
                match gone.get(&dir) {
                    None | Some(Need::No) => return false,
                    Some(Need::Itself) => return true,
                    Some(Need::Above) if dir.is_root() => return false,
                    Some(Need::Above) => dir.pop(),
                }
            }
        };
        self.old.retain(is_needed);
    }

    fn most_similar(&mut self) -> Result<(), ReadError> {
        let mut all: Vec<Candidate> = Vec::new();
        for new in self.new.clone() {
            if self.is_found[new] {
                continue;
            }
            let mut best: [Option<Candidate>; CANDIDATES] = [None; CANDIDATES];
            for old in self.old.clone() {
                let candidate = Candidate {
                    similarity: self.similarity(old, new, LEAST)?,
                    is_same_name: self.is_same_name(old, new),
                    old,
                    new,
                };
                let mut worst = 0;
                for at in 1..CANDIDATES {
                    if rank(&best[at]) < rank(&best[worst]) {
                        worst = at;
                    }
                }
                if rank(&best[worst]) < rank(&Some(candidate)) {
                    best[worst] = Some(candidate);
                }
            }
            all.extend(best.into_iter().flatten());
        }
        all.sort_by_key(|candidate| core::cmp::Reverse(rank(&Some(*candidate))));
        for Candidate {
            similarity,
            old,
            new,
            ..
        } in all
        {
            if similarity >= LEAST && !self.is_found[old] && !self.is_found[new] {
                self.record_and_count(old, new);
            }
        }
        Ok(())
    }

    fn similarity(&mut self, old: usize, new: usize, least: u32) -> Result<u32, ReadError> {
        let files = [&self.old_file(old).entry, &self.new_file(new).entry];
        if files.iter().any(|entry| !is_file(entry.mode)) || self.steps > STEPS_MAX {
            return Ok(0);
        }
        let entries = files.map(Clone::clone);
        for (at, entry) in [old, new].into_iter().zip(&entries) {
            if !self.pieces.contains_key(&at) {
                if self.bytes > BYTES_MAX || self.kept > PIECES_MAX {
                    return Ok(0);
                }
                let contents = (self.read)(entry)?;
                self.bytes += contents.len();
                let pieces = Pieces::new(&contents);
                self.kept += pieces.len();
                self.pieces.insert(at, pieces);
            }
        }
        let (old, new) = (&self.pieces[&old], &self.pieces[&new]);
        if !old.may_be(least, new) {
            return Ok(0);
        }
        self.steps += (old.len() + new.len()) as u64;
        Ok(old.similarity(new))
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    similarity: u32,
    is_same_name: bool,
    old: usize,
    new: usize,
}

/// No candidate ranks below any.
fn rank(candidate: &Option<Candidate>) -> Option<(u32, bool)> {
    candidate.map(|candidate| (candidate.similarity, candidate.is_same_name))
}
