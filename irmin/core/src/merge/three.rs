//! The three-way merge of trees: ours, with the changes from base to theirs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Conflict, Merge, MergeError, Rule, Three, Why, diff3, renames};
use crate::raw::Mode;
use crate::tree::{Content, DirDiff, Entry, TreeEdit};
use crate::{Id, Path, ReadError, Tree};

/// Merges. In a merge of common ancestors (`depth` is 1, or more where these have several common
/// ancestors again) nothing is a conflict, and the tree is what Git makes of it, so that whoever
/// changed what was in conflict there has changed it here: lines in conflict are marked, with longer
/// marks the deeper it is; a file that one side removed and the other changed, or that became two
/// different kinds of entry, is as in their own base; a file in a directory's way stands beside it.
/// What a rule refuses to merge for other reasons than lines is as in their base too.
///
/// Where the rule follows renames they are looked for only if a file or directory is gone on a side
/// that the other one has not as it was: no other rename makes a difference.
pub(super) fn merge(
    base: &Tree,
    ours: &Tree,
    theirs: &Tree,
    rule: &dyn Rule,
    depth: usize,
) -> Result<Merge, MergeError> {
    let names = rule.renames();
    if let Some(merge) = by_path(base, ours, theirs, rule, depth, names.is_some())? {
        return Ok(merge);
    }
    let names = match (depth, names) {
        (0, Some(names)) => names,
        _ => LABELS,
    };
    let merged = renames::merge(base, ours, theirs, rule, depth, names)?;
    Ok(Merge {
        base: base.clone(),
        edit: merged.edit,
        conflicts: merged.conflicts,
        sides: None,
    })
}

/// Merges path by path. If it `is_wary` it gives up, with `None`, where there is a conflict or
/// renames might matter.
fn by_path(
    base: &Tree,
    ours: &Tree,
    theirs: &Tree,
    rule: &dyn Rule,
    depth: usize,
    is_wary: bool,
) -> Result<Option<Merge>, MergeError> {
    let mut edit = ours.edit();
    edit.stage(base);
    edit.stage(theirs);
    let mut work = Work {
        trees: Three { base, ours, theirs },
        edit,
        rule,
        depth,
        is_wary,
        has_given_up: false,
        conflicts: Vec::new(),
    };
    let root = |tree: &Tree| Some(tree.id());
    let mut open = alloc::vec![Dir {
        path: Path::default(),
        roots: Three {
            base: root(base),
            ours: root(ours),
            theirs: root(theirs)
        },
    }];
    while let Some(dir) = open.pop() {
        work.dir(dir, &mut open)?;
        if work.has_given_up {
            return Ok(None);
        }
    }
    let Work {
        edit,
        mut conflicts,
        ..
    } = work;
    conflicts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(Merge {
        base: base.clone(),
        edit,
        conflicts,
        sides: None,
    }))
}

/// What Git calls two common ancestors that it merges.
const LABELS: [&str; 2] = ["Temporary merge branch 1", "Temporary merge branch 2"];

/// A directory to merge; a side that has none counts as empty.
struct Dir {
    path: Path,
    roots: Three<Option<Id>>,
}

struct Work<'a> {
    trees: Three<&'a Tree>,
    edit: TreeEdit,
    rule: &'a dyn Rule,
    depth: usize,
    is_wary: bool,
    has_given_up: bool,
    conflicts: Vec<Conflict>,
}

impl Work<'_> {
    fn dir(&mut self, Dir { path, roots }: Dir, open: &mut Vec<Dir>) -> Result<(), MergeError> {
        let changes =
            |tree: &Tree, root| -> Result<BTreeMap<Bytes, Three<Option<Entry>>>, ReadError> {
                let base = self.trees.base;
                let mut diff = DirDiff::new(
                    &base.store,
                    (base.staged(), roots.base),
                    (tree.staged(), root),
                );
                let mut changes = BTreeMap::new();
                while let Some((name, base, new)) = diff.step()? {
                    changes.insert(
                        name,
                        Three {
                            base,
                            ours: None,
                            theirs: new,
                        },
                    );
                }
                Ok(changes)
            };
        let theirs = changes(self.trees.theirs, roots.theirs)?;
        let ours = changes(self.trees.ours, roots.ours)?;
        for (name, change) in theirs {
            let path = path.joined(&name);
            match ours.get(&name) {
                None => self.put(&path, change.theirs)?,
                Some(our) => {
                    let entries = Three {
                        ours: our.theirs.clone(),
                        ..change
                    };
                    self.both_changed(path, entries, open)?;
                }
            }
        }
        Ok(())
    }

    fn both_changed(
        &mut self,
        path: Path,
        entries: Three<Option<Entry>>,
        open: &mut Vec<Dir>,
    ) -> Result<(), MergeError> {
        let is_dir = |entry: &Option<Entry>| entry.as_ref().map(Entry::is_dir);
        let was_dir = is_dir(&entries.base);
        let is_kept = is_dir(&entries.ours) == was_dir && is_dir(&entries.theirs) == was_dir;
        if self.is_wary && was_dir.is_some() && !is_kept {
            self.has_given_up = true;
            return Ok(());
        }
        let dir = |entry: &Option<Entry>| entry.as_ref().and_then(Entry::dir_id);
        // Both sides may have removed a file in it, and renamed it elsewhere.
        let is_looked_into = self.is_wary && was_dir == Some(true);
        if entries.ours == entries.theirs && !is_looked_into {
            return Ok(());
        }
        let roots = Three {
            base: dir(&entries.base),
            ours: dir(&entries.ours),
            theirs: dir(&entries.theirs),
        };
        let (ours, theirs) = (&entries.ours, &entries.theirs);
        match (roots.ours, roots.theirs) {
            (Some(_), Some(_)) => open.push(Dir { path, roots }),
            // Gone on one side: so are the files in it that the other side did not change.
            (Some(_), None) if theirs.is_none() && roots.base.is_some() => {
                open.push(Dir { path, roots })
            }
            (None, Some(_)) if ours.is_none() && roots.base.is_some() => {
                open.push(Dir { path, roots })
            }
            // The file of before is gone on both sides.
            (Some(_), None) if theirs.is_none() => {}
            (None, Some(_)) if ours.is_none() => self.put(&path, entries.theirs)?,
            (Some(_), None) | (None, Some(_)) => self.file_and_directory(path, entries, roots)?,
            (None, None) => {
                let base = entries.base.clone().filter(|base| !base.is_dir());
                match (base.is_some(), ours.is_some(), theirs.is_some()) {
                    // A directory became a file on one side and nothing on the other.
                    (false, true, false) => {}
                    (false, false, true) => self.put(&path, entries.theirs)?,
                    _ => self.files(path, Three { base, ..entries })?,
                }
            }
        }
        Ok(())
    }

    /// One side has a file where the other has a directory. If nothing is left in the directory,
    /// because all that was in it before is gone on either side, the file takes its place.
    fn file_and_directory(
        &mut self,
        path: Path,
        entries: Three<Option<Entry>>,
        roots: Three<Option<Id>>,
    ) -> Result<(), MergeError> {
        if self.is_wary {
            self.has_given_up = true;
            return Ok(());
        }
        let store = &self.trees.base.store;
        let dir = |tree: &Tree, root: Option<Id>| Tree {
            root: root.unwrap_or(store.empty),
            ..tree.clone()
        };
        // The side of the file has removed what was in the directory.
        let inside = by_path(
            &dir(self.trees.base, roots.base),
            &dir(self.trees.ours, roots.ours),
            &dir(self.trees.theirs, roots.theirs),
            self.rule,
            self.depth,
            self.is_wary,
        )?;
        let Some(inside) = inside else {
            return Ok(());
        };
        let left = inside.edit.finish()?;
        let is_ours = roots.ours.is_none();
        let file = match is_ours {
            true => entries.ours.clone(),
            false => entries.theirs.clone(),
        };
        if inside.conflicts.is_empty() && left.is_empty()? {
            return self.put(&path, file);
        }
        if self.depth == 0 {
            let below = inside.conflicts.into_iter().map(|conflict| Conflict {
                path: path.joined(conflict.path.as_bytes()),
                ..conflict
            });
            self.conflicts.extend(below);
            return self.conflict(path, entries, Why::FileAndDirectory);
        }
        let base = entries.base.filter(|base| !base.is_dir());
        let beside = self.beside(&path, is_ours)?;
        self.edit.remove(&path)?;
        self.edit.set_dir(&path, &left)?;
        self.put(&beside, base.or(file))
    }

    /// A name beside a path that nobody has, for a file of one of two common ancestors.
    fn beside(&self, path: &Path, is_ours: bool) -> Result<Path, MergeError> {
        let label = LABELS[usize::from(!is_ours)];
        let wanted = alloc::format!("~{label}").into_bytes();
        let mut name = [path.as_bytes(), &wanted].concat();
        let end = name.len();
        let Three { base, ours, theirs } = self.trees;
        for number in 0.. {
            let mut is_taken = self.edit.entry(&name)?.is_some();
            for tree in [base, ours, theirs] {
                is_taken |= tree.entry(&name)?.is_some();
            }
            if !is_taken {
                break;
            }
            name.truncate(end);
            name.extend_from_slice(alloc::format!("_{number}").as_bytes());
        }
        Ok(Path::new(name).map_err(ReadError::from)?)
    }

    fn files(&mut self, path: Path, mut entries: Three<Option<Entry>>) -> Result<(), MergeError> {
        let mode = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.mode);
        let (our_mode, their_mode) = (mode(&entries.ours), mode(&entries.theirs));
        let is_file =
            |mode: &Option<Mode>| matches!(mode, None | Some(Mode::File | Mode::Executable));
        if !is_file(&our_mode) || !is_file(&their_mode) {
            return self.conflict(path, entries, Why::Mode);
        }
        if !is_file(&mode(&entries.base)) {
            if our_mode.is_none() || their_mode.is_none() {
                return self.conflict(path, entries, Why::Mode);
            }
            // Both made a file of what was none.
            entries.base = None;
        }
        let content = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.content.clone());
        let contents = Three {
            base: content(&entries.base),
            ours: content(&entries.ours),
            theirs: content(&entries.theirs),
        };
        let modes = Three {
            base: mode(&entries.base),
            ours: our_mode,
            theirs: their_mode,
        };
        let mode = match (our_mode, their_mode) {
            (Some(ours), Some(_)) => match one_sided(&modes).flatten() {
                Some(mode) => mode,
                None if self.depth > 0 => ours,
                None => return self.conflict(path, entries, Why::Mode),
            },
            (ours, theirs) => ours.or(theirs).unwrap_or(Mode::File),
        };
        // Contents and mode may have been changed by different sides.
        if contents.ours.is_some()
            && contents.theirs.is_some()
            && let Some(Some(content)) = one_sided(&contents)
        {
            return self.put(&path, Some(Entry { mode, content }));
        }
        let Three { base, ours, theirs } = self.trees;
        let read = |tree: &Tree, entry: &Option<Entry>| {
            entry.as_ref().map(|entry| tree.contents(entry)).transpose()
        };
        let base = read(base, &entries.base)?;
        let (ours, theirs) = (read(ours, &entries.ours)?, read(theirs, &entries.theirs)?);
        let contents = Three {
            base: base.as_ref(),
            ours: ours.as_ref(),
            theirs: theirs.as_ref(),
        };
        let put = |contents: Bytes| Entry {
            mode,
            content: Content::Here(contents),
        };
        match (self.rule.merge(&path, contents), &ours, &theirs) {
            (Ok(merged), ..) => self.put(&path, merged.map(put)),
            (Err(refused), Some(ours), Some(theirs)) if self.depth > 0 && refused.is_of_lines => {
                let base = base.as_deref().unwrap_or_default();
                let labels = LABELS.map(str::as_bytes);
                let marked = diff3::marked(base, ours, theirs, labels, 7 + 2 * self.depth);
                self.put(&path, Some(put(marked.into())))
            }
            (Err(refused), ..) => self.conflict(path, entries, Why::Refused(refused.why)),
        }
    }

    fn conflict(
        &mut self,
        path: Path,
        entries: Three<Option<Entry>>,
        why: Why,
    ) -> Result<(), MergeError> {
        if self.is_wary {
            self.has_given_up = true;
            return Ok(());
        }
        if self.depth > 0 {
            return self.put(&path, entries.base);
        }
        self.conflicts.push(Conflict { path, entries, why });
        Ok(())
    }

    fn put(&mut self, path: &Path, entry: Option<Entry>) -> Result<(), MergeError> {
        match entry {
            Some(entry) => self.edit.put(path.as_bytes(), entry)?,
            None => drop(self.edit.remove(path)?),
        }
        Ok(())
    }
}

/// What the only side that changed a value made of it, or both alike; `None` if they differ.
pub(super) fn one_sided<T: PartialEq + Clone>(values: &Three<T>) -> Option<T> {
    let Three { base, ours, theirs } = values;
    if ours == theirs || base == theirs {
        return Some(ours.clone());
    }
    (base == ours).then(|| theirs.clone())
}
