//! The walk through the three trees, where they differ.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::changes::{Changes, File, Pair, Reason};
use super::counts::Need;
use super::{ALL, BASE, Item, Mask, Merging, SIDES, dir_id, table};
use crate::raw::git_order;
use crate::tree::{DirDiff, too_deep};
use crate::{Entry, Id, Path, ReadError};

/// Whose files, added to a directory that the other side has removed, make its renames wanted.
type Asked = Mask;

/// What the three trees have of a name.
type Named = (Bytes, [Option<Entry>; 3]);

/// A directory that is being walked.
struct Frame {
    path: Path,
    /// The names still to come, the last first.
    names: Vec<Named>,
    asked: Asked,
}

/// Directories that only one side changed: they need a look only if that side's renames are wanted.
#[derive(Default)]
struct Deferred {
    dirs: Vec<(Path, Asked)>,
    is_over: bool,
}

impl Merging<'_> {
    pub(super) fn collect(&mut self) -> Result<(), ReadError> {
        let mut deferred: [Deferred; 2] = Default::default();
        let roots = [0, 1, 2].map(|at| Some(self.trees[at].root));
        self.walk(Path::default(), roots, 0, &mut deferred)?;
        for side in [0, 1] {
            let dirs = core::mem::take(&mut deferred[side].dirs);
            if self.changes[side].wanted.is_empty() {
                for (path, _) in dirs {
                    let item = self.items.get_mut(&path).expect("it was deferred");
                    item.outcome = Some(item.stages[side + 1].clone());
                    item.is_whole = true;
                }
                continue;
            }
            deferred[side].is_over = true;
            let asked: BTreeMap<Path, Asked> = dirs.iter().cloned().collect();
            for path in table::order(dirs.into_iter().map(|(path, _)| path).collect()) {
                let item = self.items.get_mut(&path).expect("it was deferred");
                item.same &= item.files;
                let roots = [0, 1, 2].map(|at| dir_id(&item.stages[at]));
                let asked = asked[&path];
                self.walk(path, roots, asked, &mut deferred)?;
            }
        }
        Ok(())
    }

    fn walk(
        &mut self,
        path: Path,
        roots: [Option<Id>; 3],
        asked: Asked,
        deferred: &mut [Deferred; 2],
    ) -> Result<(), ReadError> {
        let mut open = alloc::vec![self.frame(path, roots, asked)?];
        while let Some(frame) = open.last_mut() {
            let Some((name, stages)) = frame.names.pop() else {
                open.pop();
                continue;
            };
            let path = frame.path.joined(&name);
            let (dir, asked) = (frame.path.clone(), frame.asked);
            if let Some(asked) = self.meet(&dir, &path, stages, asked, deferred) {
                let roots = [0, 1, 2].map(|at| dir_id(&self.items[&path].stages[at]));
                if path.names().count() >= Path::MAX_DEPTH {
                    too_deep(
                        Path::MAX_DEPTH,
                        roots
                            .into_iter()
                            .flatten()
                            .next()
                            .unwrap_or(self.trees[0].root),
                    )?;
                }
                let frame = self.frame(path, roots, asked)?;
                open.push(frame);
            }
        }
        Ok(())
    }

    fn frame(
        &mut self,
        path: Path,
        roots: [Option<Id>; 3],
        asked: Asked,
    ) -> Result<Frame, ReadError> {
        self.walked.insert(path.clone());
        let mut names = self.names(roots)?;
        // The side that kept the directory has added a file to it.
        let is_added = |(_, stages): &Named| asked != 0 && files(stages) == asked;
        let is_asked = asked != ALL && names.iter().any(is_added);
        names.reverse();
        Ok(Frame {
            path,
            names,
            asked: if is_asked { ALL } else { asked },
        })
    }

    /// What not all three directories have alike, in the order in which Git meets it.
    fn names(&self, roots: [Option<Id>; 3]) -> Result<Vec<Named>, ReadError> {
        let base = &self.trees[0];
        let mut all: BTreeMap<Bytes, [Option<Entry>; 3]> = BTreeMap::new();
        for side in [1, 2] {
            let (old, new) = ((base.staged(), roots[0]), (base.staged(), roots[side]));
            let mut diff = DirDiff::new(&base.store, old, new);
            while let Some((name, old, new)) = diff.step()? {
                // The other side has what the base has, unless it is told otherwise.
                let stages = all
                    .entry(name)
                    .or_insert_with(|| [old.clone(), old.clone(), old]);
                stages[side] = new;
            }
        }
        let mut heads = [0, 1, 2].map(|at| {
            let has = all.iter().filter_map(|(name, stages)| {
                let entry = stages[at].as_ref()?;
                Some((name.clone(), entry.is_dir()))
            });
            let mut names: Vec<(Bytes, bool)> = has.collect();
            names.sort_by(|a, b| git_order(&b.0, b.1, &a.0, a.1));
            names
        });
        let mut names = Vec::with_capacity(all.len());
        loop {
            for head in &mut heads {
                while head.last().is_some_and(|(name, _)| !all.contains_key(name)) {
                    head.pop();
                }
            }
            let first = heads
                .iter()
                .filter_map(|head| head.last())
                .min_by(|a, b| a.0.cmp(&b.0));
            let Some((name, _)) = first.cloned() else {
                return Ok(names);
            };
            let stages = all.remove(&name).expect("it is left");
            names.push((name, stages));
        }
    }

    /// Makes an item of a path. Gives what is asked inside if the walk must go on there.
    fn meet(
        &mut self,
        dir: &Path,
        path: &Path,
        stages: [Option<Entry>; 3],
        mut asked: Asked,
        deferred: &mut [Deferred; 2],
    ) -> Option<Asked> {
        let (files, dirs) = (files(&stages), dirs(&stages));
        let [base, ours, theirs] = &stages;
        let same = match () {
            () if ours.is_some() && ours == base => BASE | SIDES[0],
            () if theirs.is_some() && theirs == base => BASE | SIDES[1],
            () if ours.is_some() && ours == theirs => SIDES[0] | SIDES[1],
            () => 0,
        };
        let mut item = Item {
            files,
            dirs,
            same,
            ..Item::default()
        };
        if files == ALL && same != 0 {
            let side = if same == BASE | SIDES[0] { 2 } else { 1 };
            item.outcome = Some(stages[side].clone());
            item.stages = stages;
            self.items.insert(path.clone(), item);
            return None;
        }
        self.note_dir(dir, path, files, dirs, &mut asked);
        if files != 0 && files != ALL {
            self.note_pairs(path, &stages, files, same & files, asked);
        }
        item.stages = stages;
        if dirs == 0 {
            self.items.insert(path.clone(), item);
            return None;
        }
        // The side that may have renamed files into it.
        let side = match same {
            3 => Some(1),
            5 => Some(0),
            _ if files == 0 && SIDES.contains(&dirs) => {
                item.same = ALL - dirs;
                Some(usize::from(dirs == SIDES[1]))
            }
            _ => None,
        };
        if let Some(side) = side
            && asked != ALL
            && !deferred[side].is_over
        {
            deferred[side].dirs.push((path.clone(), asked));
            self.items.insert(path.clone(), item);
            return None;
        }
        item.same &= files;
        self.items.insert(path.clone(), item);
        Some(asked)
    }

    /// Notes directories that are gone on a side, and whether anybody asks where they went.
    fn note_dir(&mut self, dir: &Path, path: &Path, files: Mask, dirs: Mask, asked: &mut Asked) {
        if *asked != ALL && (dirs == 3 || dirs == 5) {
            *asked = dirs & !BASE;
        }
        if matches!(dirs, 1 | 3 | 5) {
            let need = if *asked == ALL { Need::Above } else { Need::No };
            for side in [0, 1] {
                if dirs & SIDES[side] == 0 {
                    self.changes[side].gone.insert(path.clone(), need);
                }
            }
        }
        if *asked == ALL && SIDES.contains(&files) {
            let other = usize::from(files == SIDES[0]);
            self.changes[other].gone.insert(dir.clone(), Need::Itself);
        }
    }

    fn note_pairs(
        &mut self,
        path: &Path,
        stages: &[Option<Entry>; 3],
        files: Mask,
        same: Mask,
        asked: Asked,
    ) {
        let file = |at: usize| {
            let entry = stages[at].clone().filter(|entry| !entry.is_dir());
            entry.map(|entry| File {
                path: path.clone(),
                entry,
            })
        };
        for side in [0, 1] {
            let Changes { pairs, wanted, .. } = &mut self.changes[side];
            match (files & BASE != 0, files & SIDES[side] != 0) {
                (true, false) => {
                    let reason = match () {
                        () if same == 0 => Some(Reason::Content),
                        () if asked == ALL => Some(Reason::Location),
                        () => None,
                    };
                    wanted.extend(reason.map(|reason| (path.clone(), reason)));
                    pairs.push(Pair {
                        old: file(0),
                        new: None,
                    });
                }
                (false, true) => pairs.push(Pair {
                    old: None,
                    new: file(side + 1),
                }),
                _ => {}
            }
        }
    }
}

fn files(stages: &[Option<Entry>; 3]) -> Mask {
    mask(stages, |entry| !entry.is_dir())
}

fn dirs(stages: &[Option<Entry>; 3]) -> Mask {
    mask(stages, Entry::is_dir)
}

fn mask(stages: &[Option<Entry>; 3], is: impl Fn(&Entry) -> bool) -> Mask {
    let bit = |at: usize| Mask::from(stages[at].as_ref().is_some_and(&is)) << at;
    bit(0) | bit(1) | bit(2)
}
