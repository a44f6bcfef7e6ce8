//! The three-way merge of trees: ours, with the changes from base to theirs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Conflict, Merge, MergeError, Rule, Three, Why};
use crate::raw::Mode;
use crate::tree::{Content, DirDiff, Entry, TreeEdit};
use crate::{Id, Path, ReadError, Tree};

/// Merges. In a merge of common ancestors (`virtual_base`) a conflict is none: what their own base
/// has stays, so that whoever changed it has changed it.
pub(super) fn merge(
    base: &Tree,
    ours: &Tree,
    theirs: &Tree,
    rule: &dyn Rule,
    virtual_base: bool,
) -> Result<Merge, MergeError> {
    let mut edit = ours.edit();
    edit.stage(base);
    edit.stage(theirs);
    let mut work = Work {
        trees: Three { base, ours, theirs },
        edit,
        rule,
        virtual_base,
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
    }
    let Work {
        edit,
        mut conflicts,
        ..
    } = work;
    conflicts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Merge {
        edit,
        conflicts,
        sides: None,
    })
}

/// A directory to merge; a side that has none counts as empty.
struct Dir {
    path: Path,
    roots: Three<Option<Id>>,
}

struct Work<'a> {
    trees: Three<&'a Tree>,
    edit: TreeEdit,
    rule: &'a dyn Rule,
    virtual_base: bool,
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
        if entries.ours == entries.theirs {
            return Ok(());
        }
        let dir = |entry: &Option<Entry>| entry.as_ref().and_then(Entry::dir_id);
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
            (Some(_), None) | (None, Some(_)) => {
                self.conflict(path, entries, Why::FileAndDirectory)?
            }
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

    fn files(&mut self, path: Path, entries: Three<Option<Entry>>) -> Result<(), MergeError> {
        let mode = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.mode);
        let modes = Three {
            base: mode(&entries.base),
            ours: mode(&entries.ours),
            theirs: mode(&entries.theirs),
        };
        let is_file =
            |mode: &Option<Mode>| matches!(mode, None | Some(Mode::File | Mode::Executable));
        if ![modes.base, modes.ours, modes.theirs].iter().all(is_file) {
            return self.conflict(path, entries, Why::Mode);
        }
        let content = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.content.clone());
        let contents = Three {
            base: content(&entries.base),
            ours: content(&entries.ours),
            theirs: content(&entries.theirs),
        };
        let mode = match (modes.ours, modes.theirs) {
            (Some(_), Some(_)) => match one_sided(&modes) {
                Some(mode) => mode,
                None => return self.conflict(path, entries, Why::Mode),
            },
            (ours, theirs) => ours.or(theirs),
        };
        let mode = mode.unwrap_or(Mode::File);
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
        match self.rule.merge(&path, contents) {
            Ok(merged) => {
                let entry = merged.map(|contents| Entry {
                    mode,
                    content: Content::Here(contents),
                });
                self.put(&path, entry)
            }
            Err(refused) => self.conflict(path, entries, Why::Refused(refused.why)),
        }
    }

    fn conflict(
        &mut self,
        path: Path,
        entries: Three<Option<Entry>>,
        why: Why,
    ) -> Result<(), MergeError> {
        if self.virtual_base {
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
