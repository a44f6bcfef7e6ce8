//! Changes collected before they become a tree.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::build::{Changes, New, apply};
use super::{Content, Entry, Tree, lookup};
use crate::path::{check_new_name, names};
use crate::raw::{Mode, empty_tree};
use crate::{Id, Kind, Object, Path, PathError, ReadError, WriteError};

/// Changes to a tree, collected. Reads see them; [`finish`](TreeEdit::finish) makes the new tree.
///
/// Nothing is hashed or written before that, and the pages of each directory that changes are made
/// once. A directory that loses its last entry is gone, as in Git.
#[derive(Clone)]
pub struct TreeEdit {
    base: Tree,
    /// The directories that change. A directory comes after the one that it is in; the root is first.
    dirs: Vec<Dir>,
}

#[derive(Clone)]
struct Dir {
    /// What it was before; `None` for a new one.
    base: Option<Id>,
    changes: BTreeMap<Bytes, Change>,
}

#[derive(Clone)]
enum Change {
    Put(Entry),
    Remove,
    /// The changes inside, by index into `dirs`.
    Inside(usize),
}

/// What stands at a place as the edit sees it.
enum Found {
    Nothing,
    Entry(Entry),
    Inside(usize),
}

impl TreeEdit {
    pub(super) fn new(base: Tree) -> TreeEdit {
        let root = Dir {
            base: Some(base.root),
            changes: BTreeMap::new(),
        };
        TreeEdit {
            base,
            dirs: alloc::vec![root],
        }
    }

    /// The tree that is being changed.
    pub fn base(&self) -> &Tree {
        &self.base
    }

    /// Whether nothing was changed.
    pub fn is_unchanged(&self) -> bool {
        let root = &self.dirs[0];
        root.base == Some(self.base.root) && root.changes.is_empty()
    }

    /// Puts a file there, with the directories on the way. A file that is there keeps its mode.
    ///
    /// # Errors
    /// [`WriteError`]: `FileInTheWay` if a name on the way is a file, `DirInTheWay` if the path is a
    /// directory, a [`PathError`] for names that Git refuses; or reading failed. Nothing is changed.
    pub fn set(
        &mut self,
        path: impl AsRef<[u8]>,
        contents: impl Into<Bytes>,
    ) -> Result<(), WriteError> {
        let path = path.as_ref();
        let mode = match self.no_dir(path)? {
            Some(entry) if entry.mode != Mode::Module => entry.mode,
            _ => Mode::File,
        };
        let content = Content::Here(contents.into());
        self.put(path, Entry { mode, content })
    }

    /// Puts a file, executable or link there, as [`set`](TreeEdit::set) does.
    ///
    /// # Errors
    /// As for [`set`](TreeEdit::set).
    pub fn set_mode(
        &mut self,
        path: impl AsRef<[u8]>,
        mode: Mode,
        contents: impl Into<Bytes>,
    ) -> Result<(), WriteError> {
        let path = path.as_ref();
        if matches!(mode, Mode::Dir | Mode::Module) {
            return Err(WriteError::DirInTheWay {
                path: Path::new(path)?,
            });
        }
        self.no_dir(path)?;
        self.put(
            path,
            Entry {
                mode,
                content: Content::Here(contents.into()),
            },
        )
    }

    /// What stands there, which must be no directory.
    fn no_dir(&self, path: &[u8]) -> Result<Option<Entry>, WriteError> {
        match self.entry(path)? {
            Some(entry) if entry.is_dir() => Err(WriteError::DirInTheWay {
                path: Path::new(path)?,
            }),
            entry => Ok(entry),
        }
    }

    /// Puts a module there: a commit of another repository, which need not be here.
    ///
    /// # Errors
    /// As for [`set`](TreeEdit::set).
    pub fn set_module(&mut self, path: impl AsRef<[u8]>, commit: Id) -> Result<(), WriteError> {
        let path = path.as_ref();
        self.no_dir(path)?;
        self.put(
            path,
            Entry {
                mode: Mode::Module,
                content: Content::Id(commit),
            },
        )
    }

    /// Puts a whole directory there, in place of what was: a tree of the same store, also one that
    /// another edit made. An empty one removes.
    ///
    /// # Errors
    /// [`WriteError`]: `FileInTheWay` if a name on the way is a file; or reading failed.
    ///
    /// # Panics
    /// If the tree is of another store.
    pub fn set_dir(&mut self, path: impl AsRef<[u8]>, tree: &Tree) -> Result<(), WriteError> {
        assert!(
            Arc::ptr_eq(&self.base.store, &tree.store),
            "a tree of the same store"
        );
        self.stage(tree);
        if tree.is_empty()? {
            return self.remove(path).map(drop);
        }
        let path = path.as_ref();
        if path.is_empty() {
            let root = Dir {
                base: Some(tree.root),
                changes: BTreeMap::new(),
            };
            self.dirs = alloc::vec![root];
            return Ok(());
        }
        self.put(path, Entry::dir(tree.root))
    }

    /// Makes another tree's unwritten objects this one's too.
    pub(crate) fn stage(&mut self, tree: &Tree) {
        let Some(theirs) = &tree.staged else { return };
        match &mut self.base.staged {
            Some(ours) if Arc::ptr_eq(ours, theirs) => {}
            Some(ours) => {
                Arc::make_mut(ours).extend(theirs.iter().map(|(id, object)| (*id, object.clone())))
            }
            none => *none = Some(theirs.clone()),
        }
    }

    /// Removes a file, or a directory with all below it. Returns whether something was there.
    ///
    /// # Errors
    /// [`WriteError`] if reading failed.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        let path = path.as_ref();
        if self.entry(path)?.is_none() {
            return Ok(false);
        }
        if path.is_empty() {
            let was_empty = self.is_unchanged() && self.base.is_empty()?;
            self.dirs = alloc::vec![Dir {
                base: None,
                changes: BTreeMap::new()
            }];
            return Ok(!was_empty);
        }
        let (dir, name) = self.open_parent(path)?;
        self.dirs[dir].changes.insert(name, Change::Remove);
        Ok(true)
    }

    /// Moves a file or directory, in place of a file that may be there.
    ///
    /// # Errors
    /// [`WriteError`]: `NotFound` if nothing is at `from`, `DirInTheWay` if a directory is at `to`,
    /// `FileInTheWay` if `to` is below a file or below `from` itself; or reading failed.
    pub fn rename(
        &mut self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<(), WriteError> {
        let (from, to) = (Path::new(from)?, Path::new(to)?);
        let Some(entry) = self.entry(&from)?.filter(|_| !from.is_root()) else {
            return Err(WriteError::NotFound { path: from });
        };
        if from == to {
            return Ok(());
        }
        if to.is_in(&from) {
            return Err(WriteError::FileInTheWay { path: from });
        }
        if self.entry(&to)?.is_some_and(|there| there.is_dir()) {
            return Err(WriteError::DirInTheWay { path: to });
        }
        if !entry.is_dir() {
            self.put(to.as_bytes(), entry)?;
        } else {
            // What changed inside has to become a tree first: it is one directory from here on.
            let moved = self.finish()?.dir(&from)?;
            let moved = moved.ok_or(WriteError::NotFound { path: from.clone() })?;
            self.set_dir(&to, &moved)?;
        }
        self.remove(&from).map(drop)
    }

    /// Puts an entry there, whatever is there.
    pub(crate) fn put(&mut self, path: &[u8], entry: Entry) -> Result<(), WriteError> {
        names(path)?.try_for_each(check_new_name)?;
        let (dir, name) = self.open_parent(path)?;
        self.dirs[dir].changes.insert(name, Change::Put(entry));
        Ok(())
    }

    /// The contents of the file at this path, as changed. See [`Tree::get`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, path: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
        match self.find(path.as_ref())? {
            Found::Entry(entry) if !matches!(entry.mode, Mode::Dir | Mode::Module) => {
                self.base.contents(&entry).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What stands at this path, as changed; a changed directory has the id that it had before.
    pub(crate) fn entry(&self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, ReadError> {
        Ok(match self.find(path.as_ref())? {
            Found::Nothing => None,
            Found::Entry(entry) => Some(entry),
            Found::Inside(dir) => Some(Entry::dir(self.dirs[dir].base.unwrap_or(self.base.root))),
        })
    }

    /// Whether a file, link, module or directory stands at this path, and which.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn mode(&self, path: impl AsRef<[u8]>) -> Result<Option<Mode>, ReadError> {
        Ok(self.entry(path)?.map(|entry| entry.mode))
    }

    fn find(&self, path: &[u8]) -> Result<Found, ReadError> {
        let mut at = Found::Inside(0);
        for name in names(path)? {
            at = match at {
                Found::Inside(dir) => self.child(dir, name)?,
                Found::Entry(entry) => match entry.dir_id() {
                    Some(dir) => match lookup(&self.base.store, self.base.staged(), &dir, name)? {
                        Some(entry) => Found::Entry(entry),
                        None => Found::Nothing,
                    },
                    None => Found::Nothing,
                },
                Found::Nothing => return Ok(Found::Nothing),
            };
        }
        // A directory in which all was removed is none.
        match at {
            Found::Inside(dir) if dir != 0 && !self.has_entries(dir)? => Ok(Found::Nothing),
            found => Ok(found),
        }
    }

    fn child(&self, dir: usize, name: &[u8]) -> Result<Found, ReadError> {
        match self.dirs[dir].changes.get(name) {
            Some(Change::Put(entry)) => return Ok(Found::Entry(entry.clone())),
            Some(Change::Remove) => return Ok(Found::Nothing),
            Some(Change::Inside(inside)) => return Ok(Found::Inside(*inside)),
            None => {}
        }
        let Some(base) = self.dirs[dir].base else {
            return Ok(Found::Nothing);
        };
        let found = lookup(&self.base.store, self.base.staged(), &base, name)?;
        Ok(found.map_or(Found::Nothing, Found::Entry))
    }

    fn has_entries(&self, dir: usize) -> Result<bool, ReadError> {
        let mut open = alloc::vec![dir];
        while let Some(dir) = open.pop() {
            let Dir { base, changes } = &self.dirs[dir];
            if changes
                .values()
                .any(|change| matches!(change, Change::Put(_)))
            {
                return Ok(true);
            }
            if let Some(base) = base {
                let before = Tree {
                    root: *base,
                    ..self.base.clone()
                };
                // At most as many of the old entries are looked at as were changed, and one.
                for entry in before.list() {
                    if !changes.contains_key(&entry?.0) {
                        return Ok(true);
                    }
                }
            }
            open.extend(changes.values().filter_map(|change| match change {
                Change::Inside(inside) => Some(*inside),
                _ => None,
            }));
        }
        Ok(false)
    }

    /// Opens the directories on the way for changes; gives the last and the name in it.
    fn open_parent(&mut self, path: &[u8]) -> Result<(usize, Bytes), WriteError> {
        let mut names = names(path)?;
        let Some(last) = names.next_back() else {
            let path = alloc::string::String::new();
            return Err(PathError {
                path,
                rule: "the root is no entry of a directory",
            }
            .into());
        };
        let mut at = 0;
        let mut way = Path::default();
        for name in names {
            way.push(name);
            let base = match self.child(at, name)? {
                Found::Inside(inside) => {
                    at = inside;
                    continue;
                }
                Found::Nothing => None,
                Found::Entry(entry) => match entry.dir_id() {
                    Some(dir) => Some(dir),
                    None => return Err(WriteError::FileInTheWay { path: way }),
                },
            };
            let inside = self.dirs.len();
            self.dirs.push(Dir {
                base,
                changes: BTreeMap::new(),
            });
            self.dirs[at]
                .changes
                .insert(Bytes::copy_from_slice(name), Change::Inside(inside));
            at = inside;
        }
        Ok((at, Bytes::copy_from_slice(last)))
    }

    /// Makes the new tree. Nothing is written: its new objects stay with it until it is committed.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(&self) -> Result<Tree, WriteError> {
        let (root, new, _) = self.build()?;
        let mut staged = self.base.staged.clone();
        if !new.is_empty() {
            let all = Arc::make_mut(staged.get_or_insert_default());
            all.extend(new.into_iter().map(|object| (object.id, object)));
        }
        Ok(Tree {
            store: self.base.store.clone(),
            root,
            staged,
        })
    }

    /// The new tree's id, the objects made for it, and pages of the old one that it does not have.
    pub(crate) fn build(&self) -> Result<(Id, Vec<Object>, Vec<Id>), WriteError> {
        let store = &self.base.store;
        let mut new = New::default();
        let mut made: Vec<Option<Id>> = alloc::vec![None; self.dirs.len()];
        // Those that were changed and then removed as a whole are left out.
        let mut needed = alloc::vec![false; self.dirs.len()];
        needed[0] = true;
        for at in 0..self.dirs.len() {
            let dir = Some(&self.dirs[at]).filter(|_| needed[at]);
            for change in dir.iter().flat_map(|dir| dir.changes.values()) {
                if let Change::Inside(inside) = change {
                    needed[*inside] = true;
                }
            }
        }
        // A directory's changes are made before those of the one that it is in.
        for at in (0..self.dirs.len()).rev().filter(|at| needed[*at]) {
            let dir = &self.dirs[at];
            let change = |change: &Change| match change {
                Change::Put(entry) => Some(entry.clone()),
                Change::Remove => None,
                Change::Inside(inside) => made[*inside].map(Entry::dir),
            };
            let changes: Changes = dir
                .changes
                .iter()
                .map(|(name, what)| (name.clone(), change(what)))
                .collect();
            made[at] = apply(store, self.base.staged(), dir.base, changes, &mut new)?;
        }
        let root = match made[0] {
            Some(root) => root,
            None => {
                let empty = Object::new(store.format, Kind::Tree, empty_tree(store.format))?;
                let root = empty.id;
                new.objects.push(empty);
                root
            }
        };
        for (id, page) in new.pages {
            store.keep(id, page);
        }
        Ok((root, new.objects, new.replaced))
    }
}
