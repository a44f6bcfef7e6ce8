//! Trees: snapshots that never change, read lazily, shared where they are equal.

mod build;
mod cursor;
mod diff;
mod edit;
mod entry;
pub(crate) mod page;
mod walk;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub(crate) use diff::DirDiff;
pub use diff::{Diff, Difference};
pub use edit::TreeEdit;
pub(crate) use entry::Content;
pub use entry::Entry;
pub(crate) use walk::too_deep;
pub use walk::{List, Walk};

use crate::path::names;
use crate::raw::Mode;
use crate::store::{Staged, Store};
use crate::{Id, Kind, Object, ReadError};

/// A directory with all that is below it, as it was at one moment. Cloning costs nothing.
///
/// Nothing is read before it is asked for, and of a large directory only the pages on the way. What
/// [`edit`](Tree::edit) makes is a tree too, before anything of it is written.
#[derive(Clone)]
pub struct Tree {
    pub(crate) store: Arc<Store>,
    pub(crate) root: Id,
    pub(crate) staged: Option<Arc<Staged>>,
}

impl Tree {
    /// The tree's id: equal contents have equal ids.
    pub fn id(&self) -> Id {
        self.root
    }

    pub(crate) fn staged(&self) -> Option<&Staged> {
        self.staged.as_deref()
    }

    /// The contents of a file (or link) at this path; `None` if there is nothing, a directory or a
    /// module.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, path: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
        match self.entry(path)? {
            Some(entry) if !matches!(entry.mode, Mode::Dir | Mode::Module) => {
                self.contents(&entry).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What stands at this path; `None` if there is nothing. The root is a directory.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, ReadError> {
        let mut at = Entry::dir(self.root);
        for name in names(path.as_ref())? {
            let Some(dir) = at.dir_id() else {
                return Ok(None);
            };
            let Some(entry) = lookup(&self.store, self.staged(), &dir, name)? else {
                return Ok(None);
            };
            at = entry;
        }
        Ok(Some(at))
    }

    /// The contents of an entry of this tree that is a file or link.
    ///
    /// # Errors
    /// [`ReadError`]; for a directory or a module `WrongKind` or `Missing`.
    pub fn contents(&self, entry: &Entry) -> Result<Bytes, ReadError> {
        match &entry.content {
            Content::Here(bytes) => Ok(bytes.clone()),
            Content::Id(id) => match self.staged().and_then(|staged| staged.get(id)) {
                Some(object) => Ok(object.data.clone()),
                None => self.store.object(id, Kind::Blob),
            },
        }
    }

    /// The directory at this path as a tree of its own; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn dir(&self, path: impl AsRef<[u8]>) -> Result<Option<Tree>, ReadError> {
        let root = self.entry(path)?.and_then(|entry| entry.dir_id());
        Ok(root.map(|root| Tree {
            root,
            ..self.clone()
        }))
    }

    /// Whether nothing is in it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        Ok(self.store.page(&self.root, self.staged())?.len() == 0)
    }

    /// How many names stand in this directory itself. Reads one page, whatever its size.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn len(&self) -> Result<u64, ReadError> {
        let page = self.store.page(&self.root, self.staged())?;
        if page.level == 0 {
            return Ok(page.len() as u64);
        }
        Ok((0..page.len()).fold(0, |sum, at| sum.saturating_add(page.child(at).1)))
    }

    /// The names of this directory itself and what they stand for, in the format's order (that of
    /// bytes; in Git's formats a directory's name counts as if it ended in `/`).
    pub fn list(&self) -> List<'_> {
        List::new(self, None)
    }

    /// The same from the first name that is not before this one: for ranges.
    pub fn list_from(&self, name: impl AsRef<[u8]>) -> List<'_> {
        List::new(self, Some(Bytes::copy_from_slice(name.as_ref())))
    }

    /// All files, links and modules below, with their paths, each directory in its own order.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// What differs between this tree and a newer one, file by file. What is equal is not read.
    ///
    /// # Panics
    /// If the trees are of different stores.
    pub fn diff<'a>(&'a self, newer: &'a Tree) -> Diff<'a> {
        assert!(
            Arc::ptr_eq(&self.store, &newer.store),
            "trees of one store can be compared"
        );
        Diff::new(self, newer)
    }

    /// Collects changes to make another tree of this one.
    pub fn edit(&self) -> TreeEdit {
        TreeEdit::new(self.clone())
    }

    /// The staged objects that this tree needs, for a backend that has the rest.
    pub(crate) fn unwritten(&self) -> Result<Vec<Object>, ReadError> {
        let Some(staged) = self.staged() else {
            return Ok(Vec::new());
        };
        let mut needed = hashbrown::HashSet::new();
        let mut found = Vec::new();
        let mut open = alloc::vec![self.root];
        while let Some(id) = open.pop() {
            let Some(object) = staged.get(&id).filter(|_| needed.insert(id)) else {
                continue;
            };
            found.push(object.clone());
            if object.kind != Kind::Tree {
                continue;
            }
            let page = self.store.page(&id, Some(staged))?;
            for at in 0..page.len() {
                match page.level {
                    0 => open.extend(page.entry(at).id()),
                    _ => open.push(page.child(at).0),
                }
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({})", self.root)
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        self.root == other.root
    }
}

impl Eq for Tree {}

/// The entry of this name in the directory that begins with this page.
pub(crate) fn lookup(
    store: &Store,
    staged: Option<&Staged>,
    dir: &Id,
    name: &[u8],
) -> Result<Option<Entry>, ReadError> {
    let mut page = store.page(dir, staged)?;
    while page.level > 0 {
        let at = page.lower_bound(name, false);
        if at == page.len() {
            return Ok(None);
        }
        page = cursor::child(store, staged, &page, at)?;
    }
    Ok(page.find(name).map(|at| page.entry(at)))
}

#[cfg(test)]
mod tests;
