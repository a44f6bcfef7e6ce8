//! Directories that one side renamed: what the other side added to them moves along, as a conflict
//! for somebody to confirm (`merge.directoryRenames=conflict`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::changes::{Pair, parent};
use super::{BASE, Item, Merging, SIDES};
use crate::merge::Why;
use crate::{Path, ReadError};

/// A rename of one side.
pub(super) struct Rename {
    pub side: usize,
    pub old: Path,
    pub new: Path,
}

/// Which directories a side renamed, to what.
type Moved = BTreeMap<Path, Path>;

/// What would come to stand at a path because its directory moves.
#[derive(Default)]
struct Arrivals {
    from: BTreeSet<Path>,
    is_told: bool,
}

impl Merging<'_> {
    /// The renames of both sides by their old paths, after what was added to renamed directories has
    /// moved along.
    pub(super) fn moved_dirs(&mut self) -> Result<Vec<Rename>, ReadError> {
        let mut moved: [Moved; 2] = Default::default();
        // Common ancestors are merged without.
        if self.depth == 0 {
            for side in [0, 1] {
                moved[side] = self.majorities(side);
            }
            let is_in_other = |dir: &&Path| moved[1].contains_key(*dir);
            let both: BTreeSet<Path> = moved[0].keys().filter(is_in_other).cloned().collect();
            for side in &mut moved {
                side.retain(|dir, _| !both.contains(dir));
            }
        }
        let mut arrivals = [0, 1].map(|side| arrivals(&self.changes[side].pairs, &moved[1 - side]));
        let mut renames = Vec::new();
        for side in [0, 1] {
            for Pair { old, new } in core::mem::take(&mut self.changes[side].pairs) {
                let Some(new) = new else { continue };
                let target = self.target(&new.path, side, &moved, &mut arrivals)?;
                if let Some(target) = &target {
                    self.move_along(&new.path, target, side, old.as_ref().map(|old| &old.path))?;
                }
                // What was added is a rename if it moved: from where it was added, which is nowhere.
                let old = match old {
                    Some(old) => old.path,
                    None if target.is_some() => new.path.clone(),
                    None => continue,
                };
                renames.push(Rename {
                    side,
                    old,
                    new: target.unwrap_or(new.path),
                });
            }
        }
        renames.sort_by(|a, b| a.old.cmp(&b.old));
        Ok(renames)
    }

    fn majorities(&mut self, side: usize) -> Moved {
        let mut moved = Moved::new();
        for (dir, to) in self.changes[side].counts.majorities() {
            match to {
                Some(to) => drop(moved.insert(dir, to)),
                None => {
                    let why = "it was renamed to several directories, to none of them with most of its files";
                    self.unclear.push((dir, Why::Renamed(why.into())));
                }
            }
        }
        moved
    }

    /// Where a file that this side added or renamed goes because the other side renamed its directory.
    fn target(
        &mut self,
        path: &Path,
        side: usize,
        moved: &[Moved; 2],
        arrivals: &mut [BTreeMap<Path, Arrivals>; 2],
    ) -> Result<Option<Path>, ReadError> {
        if arrivals[1 - side].contains_key(path) {
            return Ok(None);
        }
        let Some((dir, to)) = renamed_dir(path, &moved[1 - side]) else {
            return Ok(None);
        };
        // Not into a directory that this side has renamed away.
        if moved[side].contains_key(to) {
            return Ok(None);
        }
        let target = replaced(path, dir, to);
        let is_in_way = self.is_in_way(&target, side)?;
        let arrivals = arrivals[side]
            .get_mut(&target)
            .expect("all that arrive are noted");
        if arrivals.is_told {
            return Ok(None);
        }
        if !is_in_way && arrivals.from.len() == 1 {
            return Ok(Some(target));
        }
        arrivals.is_told = true;
        let from: Vec<_> = arrivals.from.iter().map(|path| format!("{path}")).collect();
        let from = from.join(", ");
        let why = match is_in_way {
            true => format!("it is where a renamed directory would put {from}"),
            false => format!("renamed directories would put several files there: {from}"),
        };
        self.unclear.push((target, Why::Renamed(why)));
        Ok(None)
    }

    fn is_in_way(&self, target: &Path, side: usize) -> Result<bool, ReadError> {
        match self.items.get(target) {
            Some(item) => Ok(item.outcome.is_some() || SIDES[side] & (item.files | item.dirs) != 0),
            None => self.is_known(target),
        }
    }

    /// Moves the item of a file that one side added to where its directory went.
    fn move_along(
        &mut self,
        path: &Path,
        target: &Path,
        side: usize,
        old: Option<&Path>,
    ) -> Result<(), ReadError> {
        let Some(mut item) = self.items.remove(path) else {
            return Ok(());
        };
        if item.dirs != 0 {
            // The directory stays, without the file.
            let mut dir = item.clone();
            for at in 0..3 {
                match item.dirs & (1 << at) {
                    0 => dir.stages[at] = None,
                    _ => item.stages[at] = None,
                }
            }
            (dir.files, dir.same, dir.outcome) = (0, 0, Some(None));
            item.dirs = 0;
            self.items.insert(path.clone(), dir);
        } else {
            self.left.insert(path.clone());
        }
        let mut above = parent(target);
        while !above.is_root() && !self.is_known(&above)? {
            let dirs = item.files;
            self.items.insert(
                above.clone(),
                Item {
                    dirs,
                    ..Item::default()
                },
            );
            above.pop();
        }
        let name = |side: usize| self.names[side];
        let what = match old {
            Some(old) => format!("{old} was renamed to {path} in {}", name(side)),
            None => format!("{path} was added in {}", name(side)),
        };
        let why = format!(
            "{what}, inside a directory that was renamed in {}: it should perhaps be here",
            name(1 - side)
        );
        item.from = [0, 1, 2].map(|_| Some(path.clone()));
        let files = item.files;
        let there = match self.items.remove(target) {
            None => item,
            Some(mut there) => {
                there.files |= files;
                for at in (0..3).filter(|at| files & (1 << at) & !BASE != 0) {
                    there.stages[at] = item.stages[at].clone();
                    there.from[at] = Some(path.clone());
                }
                there
            }
        };
        self.items.insert(
            target.clone(),
            Item {
                contradiction: Some(Why::Renamed(why)),
                ..there
            },
        );
        Ok(())
    }
}

/// What would arrive where, of the files that one side added or renamed.
fn arrivals(pairs: &[Pair], moved: &Moved) -> BTreeMap<Path, Arrivals> {
    let mut arrivals: BTreeMap<Path, Arrivals> = BTreeMap::new();
    for new in pairs.iter().filter_map(|pair| pair.new.as_ref()) {
        if let Some((dir, to)) = renamed_dir(&new.path, moved) {
            let target = replaced(&new.path, dir, to);
            arrivals
                .entry(target)
                .or_default()
                .from
                .insert(new.path.clone());
        }
    }
    arrivals
}

/// The innermost directory on the way to a path that was renamed.
fn renamed_dir<'a>(path: &Path, moved: &'a Moved) -> Option<(&'a Path, &'a Path)> {
    if moved.is_empty() {
        return None;
    }
    let mut dir = parent(path);
    while !dir.is_root() {
        if let Some(found) = moved.get_key_value(&dir) {
            return Some(found);
        }
        dir.pop();
    }
    None
}

/// The path with another directory in place of one on the way.
fn replaced(path: &Path, dir: &Path, to: &Path) -> Path {
    to.joined(&path.as_bytes()[dir.as_bytes().len() + 1..])
}
