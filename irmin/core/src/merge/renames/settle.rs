//! Each path decided for itself, what is in a directory before the directory.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;
use hashbrown::HashSet;

use super::changes::kind_of;
use super::{BASE, Item, Merged, Merging, SIDES, three};
use crate::merge::{Conflict, MergeError, Three, Why, diff3};
use crate::raw::Mode;
use crate::tree::{Content, TreeEdit};
use crate::{Entry, Path, WriteError};

/// Versions to be merged, all of one kind but perhaps the base.
pub(super) struct Contents<'a> {
    pub path: &'a Path,
    pub stages: [Option<Entry>; 3],
    /// Where they stand.
    pub from: [&'a Path; 3],
    /// How much longer than usual the marks are.
    pub extra_marks: usize,
}

pub(super) struct Version {
    /// What was made of them; `None` if that is nothing.
    pub entry: Option<Entry>,
    pub is_clean: bool,
    /// Why not.
    why: Option<Why>,
}

/// What the merge makes of the paths.
#[derive(Default)]
struct Outcome {
    entries: BTreeMap<Path, Entry>,
    /// Directories with something in them.
    full: HashSet<Path>,
    conflicts: Vec<Conflict>,
}

impl Outcome {
    fn put(&mut self, path: Path, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        let mut dir = path.clone();
        while !dir.is_root() {
            dir.pop();
            if !self.full.insert(dir.clone()) {
                break;
            }
        }
        self.entries.insert(path, entry);
    }
}

impl Merging<'_> {
    pub(super) fn settle(mut self, mut edit: TreeEdit) -> Result<Merged, MergeError> {
        // Where our tree has files, and directories that a side removed whole.
        let mut gone: BTreeSet<Path> = self.left.iter().cloned().collect();
        let mut outcome = Outcome::default();
        let mut paths: Vec<Path> = self.items.keys().cloned().collect();
        // As if each ended in a slash: what is in a directory follows it.
        paths.sort_by_cached_key(|path| Reverse([path.as_bytes(), b"/"].concat()));
        for path in paths {
            let Some(item) = self.items.get(&path).cloned() else {
                continue;
            };
            gone.insert(path.clone());
            match item.outcome {
                Some(entry) => outcome.put(path, entry),
                None => self.decide(path, item, &mut outcome)?,
            }
        }
        let mut conflicts = outcome.conflicts;
        for path in gone {
            let ours = self.trees[1].entry(&path)?;
            let is_whole = self.items.get(&path).is_some_and(|item| item.is_whole);
            if ours.is_some_and(|ours| is_whole || !ours.is_dir()) {
                edit.remove(&path)?;
            }
        }
        for (path, entry) in outcome.entries {
            match edit.put(path.as_bytes(), entry) {
                // A renamed directory would have to be where a file is.
                Err(WriteError::FileInTheWay { path: file }) => conflicts.push(Conflict {
                    path,
                    entries: three(&[None, None, None]),
                    why: Why::Renamed(format!("the file {file} is in the way")),
                }),
                result => result?,
            }
        }
        conflicts.extend(self.unclear.into_iter().map(|(path, why)| Conflict {
            path,
            entries: three(&[None, None, None]),
            why,
        }));
        conflicts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Merged { edit, conflicts })
    }

    fn decide(
        &mut self,
        path: Path,
        mut item: Item,
        outcome: &mut Outcome,
    ) -> Result<(), MergeError> {
        if item.dirs != 0 && item.files == 0 {
            return Ok(());
        }
        let was_at = path.clone();
        let mut path = path;
        let mut why = None;
        let mut dir_side = None;
        if item.dirs != 0 {
            let is_full = outcome.full.contains(&path);
            // The side whose file it is: the other one has the directory.
            let side = if item.dirs & SIDES[0] != 0 { 1 } else { 0 };
            let all_files = item.files;
            item.same &= !item.dirs;
            item.dirs = 0;
            for at in 0..3 {
                if all_files & (1 << at) == 0 {
                    item.stages[at] = None;
                }
            }
            if is_full {
                if item.files == BASE {
                    return Ok(());
                }
                path = self.beside(&path, side)?;
                self.items.insert(path.clone(), item.clone());
                why = Some(Why::FileAndDirectory);
                dir_side = Some(side);
            }
        }
        let conflict = why.or(item.contradiction.take());
        let is_two_kinds = item.files >= 6 && kind(&item.stages[1]) != kind(&item.stages[2]);
        let (entry, why) = match item.files {
            _ if item.same != 0 => {
                let side = if item.same == BASE | SIDES[0] { 2 } else { 1 };
                let entry = item.stages[side].clone();
                // Where the other side removed it, it is gone, whatever else.
                let is_gone = entry.is_none();
                (entry, conflict.filter(|_| !is_gone))
            }
            _ if is_two_kinds && self.depth > 0 => (item.stages[0].clone(), Some(Why::Mode)),
            _ if is_two_kinds => return self.two_kinds(path, item, outcome),
            6 | 7 => {
                let [base, ours, theirs] = &item.from;
                let from = [base, ours, theirs].map(|from| from.as_ref().unwrap_or(&was_at));
                let merged = self.contents(Contents {
                    path: &path,
                    stages: item.stages.clone(),
                    from,
                    extra_marks: 2 * self.depth,
                })?;
                if let Some(side) = dir_side.filter(|_| merged.is_clean) {
                    item.files = SIDES[side];
                    item.stages = [None, None, None];
                    item.stages[side + 1] = merged.entry.clone();
                }
                (merged.entry, merged.why.or(conflict))
            }
            3 | 5 => {
                let side = if item.files == 5 { 2 } else { 1 };
                let at = if self.depth > 0 { 0 } else { side };
                let removed =
                    Why::Refused(String::from("one side removed it and the other changed it"));
                (item.stages[at].clone(), Some(conflict.unwrap_or(removed)))
            }
            2 => (item.stages[1].clone(), conflict),
            4 => (item.stages[2].clone(), conflict),
            _ => (None, conflict),
        };
        if let Some(why) = why {
            outcome.conflict(&path, &item, why);
        }
        outcome.put(path, entry);
        Ok(())
    }

    /// Both sides have something there, of two kinds: one is put beside the other.
    fn two_kinds(
        &mut self,
        path: Path,
        item: Item,
        outcome: &mut Outcome,
    ) -> Result<(), MergeError> {
        let is_plain = [1, 2].map(|at| matches!(kind(&item.stages[at]), Some(Mode::File)));
        let moves = match is_plain {
            [true, _] => [true, false],
            [_, true] => [false, true],
            _ => [true, true],
        };
        let mut places = [path.clone(), path.clone()];
        for side in [0, 1] {
            if moves[side] {
                places[side] = self.beside(&path, side)?;
            }
        }
        for (side, place) in places.into_iter().enumerate() {
            let mut one = item.clone();
            one.stages[2 - side] = None;
            one.files = SIDES[side] | BASE;
            if kind(&one.stages[0]) != kind(&one.stages[side + 1]) {
                one.stages[0] = None;
                one.files = SIDES[side];
            }
            let entry = one.stages[side + 1].clone();
            self.items.insert(place.clone(), one.clone());
            outcome.conflict(&place, &one, Why::Mode);
            outcome.put(place, entry);
        }
        Ok(())
    }

    /// Merges what the two sides have, of one kind.
    pub(super) fn contents(&self, contents: Contents<'_>) -> Result<Version, MergeError> {
        let Contents {
            path,
            stages,
            from,
            extra_marks,
        } = contents;
        let [base, ours, theirs] = &stages;
        let unmerged = |entry: &Option<Entry>| {
            Ok(Version {
                entry: entry.clone(),
                is_clean: false,
                why: Some(Why::Mode),
            })
        };
        // Another merge may have left nothing of a side's version.
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return unmerged(base);
        };
        let base_mode = base.as_ref().map(|base| base.mode);
        let (mode, is_mode_clean) = match ours.mode == theirs.mode || Some(ours.mode) == base_mode {
            true => (theirs.mode, true),
            false => (ours.mode, Some(theirs.mode) == base_mode),
        };
        let version = |content: Content, why: Option<Why>| {
            let why = why.or_else(|| (!is_mode_clean).then_some(Why::Mode));
            Ok(Version {
                entry: Some(Entry { mode, content }),
                is_clean: why.is_none(),
                why,
            })
        };
        let is_base = |side: &Entry| match base {
            Some(base) => self.is_same(base, side),
            None => Ok(false),
        };
        if self.is_same(ours, theirs)? || is_base(ours)? {
            return version(theirs.content.clone(), None);
        }
        if is_base(theirs)? {
            return version(ours.content.clone(), None);
        }
        let is_base_alike = kind(base) == kind(&stages[1]);
        match (ours.mode, theirs.mode) {
            (a, b) if kind_of(a) != kind_of(b) => unmerged(&stages[1]),
            (Mode::Link | Mode::Module, _) if self.depth > 0 => unmerged(base),
            (Mode::Link | Mode::Module, _) => version(ours.content.clone(), Some(Why::Mode)),
            _ => {
                let read = |entry: &Entry| self.trees[0].contents(entry);
                let base = match base {
                    Some(base) if is_base_alike => Some(read(base)?),
                    _ => None,
                };
                let (ours_text, theirs_text) = (read(ours)?, read(theirs)?);
                let texts = Three {
                    base: base.as_ref(),
                    ours: Some(&ours_text),
                    theirs: Some(&theirs_text),
                };
                let base = base.clone().unwrap_or_default();
                match self.rule.merge(path, texts) {
                    Ok(Some(merged)) => version(Content::Here(merged), None),
                    Ok(None) => Ok(Version {
                        entry: None,
                        is_clean: true,
                        why: None,
                    }),
                    Err(refused) if refused.is_of_lines => {
                        let labels = [0, 1].map(|side| self.label(side, &from));
                        let labels = [&labels[0][..], &labels[1][..]];
                        let marked =
                            diff3::marked(&base, &ours_text, &theirs_text, labels, 7 + extra_marks);
                        version(
                            Content::Here(marked.into()),
                            Some(Why::Refused(refused.why)),
                        )
                    }
                    // Between common ancestors that is no conflict.
                    Err(_) if self.depth > 0 => version(Content::Here(base), None),
                    Err(refused) => {
                        let why = Why::Refused(refused.why);
                        version(ours.content.clone(), Some(why))
                    }
                }
            }
        }
    }

    /// What a side's lines are marked with.
    fn label(&self, side: usize, from: &[&Path; 3]) -> Vec<u8> {
        let mut label = self.names[side].as_bytes().to_vec();
        if from[0] != from[1] || from[1] != from[2] {
            label.push(b':');
            label.extend_from_slice(from[side + 1].as_bytes());
        }
        label
    }

    /// Whether two entries have the same contents.
    fn is_same(&self, one: &Entry, other: &Entry) -> Result<bool, MergeError> {
        let read = |entry: &Entry| -> Result<Option<Bytes>, MergeError> {
            match entry.mode {
                Mode::Dir | Mode::Module => Ok(None),
                _ => Ok(Some(self.trees[0].contents(entry)?)),
            }
        };
        match (&one.content, &other.content) {
            (Content::Id(_), Content::Here(_)) | (Content::Here(_), Content::Id(_)) => {
                let one = read(one)?;
                Ok(one.is_some() && one == read(other)?)
            }
            (one, other) => Ok(one == other),
        }
    }
}

impl Outcome {
    fn conflict(&mut self, path: &Path, item: &Item, why: Why) {
        self.conflicts.push(Conflict {
            path: path.clone(),
            entries: three(&item.stages),
            why,
        });
    }
}

/// File, link or module.
fn kind(entry: &Option<Entry>) -> Option<Mode> {
    entry.as_ref().map(|entry| kind_of(entry.mode))
}
