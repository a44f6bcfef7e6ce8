//! What differs between two trees. Pages that are equal are not read.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::cursor::child;
use super::page::Page;
use super::walk::{Walk, too_deep};
use super::{Entry, Tree};
use crate::raw::git_order;
use crate::store::{Staged, Store};
use crate::{Id, Path, ReadError};

/// One file (or link, or module) that two trees do not have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: Path,
    /// What the older tree has there.
    pub old: Option<Entry>,
    /// What the newer tree has there.
    pub new: Option<Entry>,
}

/// The differences of two trees, see [`Tree::diff`]. After an error it ends.
///
/// Where a file became a directory, the file is gone and the directory's files are new.
pub struct Diff<'a> {
    old: &'a Tree,
    new: &'a Tree,
    path: Path,
    open: Vec<DirDiff<'a>>,
    /// The files of a directory that only one side has: its turn comes before the rest. `true`: new.
    whole: Vec<(Walk<'a>, bool)>,
}

impl<'a> Diff<'a> {
    pub(super) fn new(old: &'a Tree, new: &'a Tree) -> Diff<'a> {
        let top = DirDiff::new(
            &old.store,
            (old.staged(), Some(old.root)),
            (new.staged(), Some(new.root)),
        );
        Diff {
            old,
            new,
            path: Path::default(),
            open: alloc::vec![top],
            whole: Vec::new(),
        }
    }

    fn step(&mut self) -> Result<Option<Difference>, ReadError> {
        loop {
            if let Some((walk, is_new)) = self.whole.last_mut() {
                let Some(file) = walk.next() else {
                    self.whole.pop();
                    continue;
                };
                let (path, entry) = file?;
                let (old, new) = if *is_new {
                    (None, Some(entry))
                } else {
                    (Some(entry), None)
                };
                return Ok(Some(Difference { path, old, new }));
            }
            let Some(dir) = self.open.last_mut() else {
                return Ok(None);
            };
            let Some((name, old, new)) = dir.step()? else {
                self.open.pop();
                self.path.pop();
                continue;
            };
            let [old_dir, new_dir] = [&old, &new].map(|side| side.as_ref().and_then(Entry::dir_id));
            if let (Some(_), Some(dir)) = (old_dir, new_dir) {
                too_deep(self.open.len(), dir)?;
                self.path.push(&name);
                let sides = ((self.old.staged(), old_dir), (self.new.staged(), new_dir));
                self.open
                    .push(DirDiff::new(&self.old.store, sides.0, sides.1));
                continue;
            }
            let path = self.path.joined(&name);
            for (dir, tree, is_new) in [(new_dir, self.new, true), (old_dir, self.old, false)] {
                let walk =
                    dir.map(|dir| Walk::below(&tree.store, tree.staged(), path.clone(), dir));
                self.whole.extend(walk.map(|walk| (walk, is_new)));
            }
            let file = |entry: Option<Entry>| entry.filter(|entry| !entry.is_dir());
            let (old, new) = (file(old), file(new));
            if old.is_some() || new.is_some() {
                return Ok(Some(Difference { path, old, new }));
            }
        }
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Difference, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open.clear();
            self.whole.clear();
        }
        step.transpose()
    }
}

/// The differences of two directories, name by name, without what is below them.
pub(crate) struct DirDiff<'a> {
    store: &'a Store,
    old: Side<'a>,
    new: Side<'a>,
}

/// A name, and what the old and the new directory have of it.
pub(crate) type Named = (Bytes, Option<Entry>, Option<Entry>);

struct Side<'a> {
    staged: Option<&'a Staged>,
    /// What is still to come; the last is next.
    open: Vec<Item>,
    /// The first page of the directory, not yet read.
    root: Option<Id>,
    /// The last name that is behind: the next is after it.
    passed: Option<Bytes>,
    /// In Git's formats, the one page.
    page: Option<Arc<Page>>,
}

enum Item {
    /// A child of an inner page: the parent and the index in it.
    Child(Arc<Page>, usize),
    /// The entries of a leaf from this index on.
    Leaf(Arc<Page>, usize),
}

impl<'a> DirDiff<'a> {
    pub(crate) fn new(
        store: &'a Store,
        old: (Option<&'a Staged>, Option<Id>),
        new: (Option<&'a Staged>, Option<Id>),
    ) -> DirDiff<'a> {
        let same = old.1 == new.1;
        let side = |(staged, root): (Option<&'a Staged>, Option<Id>)| Side {
            staged,
            open: Vec::new(),
            root: root.filter(|_| !same),
            passed: None,
            page: None,
        };
        DirDiff {
            store,
            old: side(old),
            new: side(new),
        }
    }

    /// The next name that differs, with what each side has.
    pub(crate) fn step(&mut self) -> Result<Option<Named>, ReadError> {
        self.old.begin(self.store)?;
        self.new.begin(self.store)?;
        loop {
            let (name, old, new) = match (self.old.open.last(), self.new.open.last()) {
                (None, None) => return Ok(None),
                (Some(Item::Child(a, x)), Some(Item::Child(b, y))) => {
                    let run = match a.level == b.level {
                        true => same_run(a, *x, b, *y),
                        false => 0,
                    };
                    // The one that is above the other, or ends first, is opened first.
                    let old_first =
                        a.level > b.level || (a.level == b.level && a.name(*x) <= b.name(*y));
                    if run > 0 || a.child(*x).0 == b.child(*y).0 {
                        self.old.pass(run.max(1));
                        self.new.pass(run.max(1));
                    } else if old_first {
                        self.old.expand(self.store)?;
                    } else {
                        self.new.expand(self.store)?;
                    }
                    continue;
                }
                (Some(Item::Child(..)), other) => {
                    // A leaf entry that is behind what this side has passed is not in it.
                    if let Some(Item::Leaf(page, at)) = other
                        && self.old.is_behind(page.name(*at))
                    {
                        let (name, new) = self.new.take();
                        (name, None, Some(new))
                    } else {
                        self.old.expand(self.store)?;
                        continue;
                    }
                }
                (other, Some(Item::Child(..))) => {
                    if let Some(Item::Leaf(page, at)) = other
                        && self.new.is_behind(page.name(*at))
                    {
                        let (name, old) = self.old.take();
                        (name, Some(old), None)
                    } else {
                        self.new.expand(self.store)?;
                        continue;
                    }
                }
                (Some(Item::Leaf(a, x)), Some(Item::Leaf(b, y))) => {
                    let run = same_run(a, *x, b, *y);
                    if run > 0 {
                        self.old.pass(run);
                        self.new.pass(run);
                        continue;
                    }
                    match order(self.store, a, *x, b, *y) {
                        Ordering::Equal => {
                            let ((name, old), (_, new)) = (self.old.take(), self.new.take());
                            // Git may write one mode in several ways.
                            if old == new {
                                continue;
                            }
                            (name, Some(old), Some(new))
                        }
                        Ordering::Less => {
                            let (name, old) = self.old.take();
                            (name, Some(old), None)
                        }
                        Ordering::Greater => {
                            let (name, new) = self.new.take();
                            (name, None, Some(new))
                        }
                    }
                }
                (Some(Item::Leaf(..)), None) => {
                    let (name, old) = self.old.take();
                    (name, Some(old), None)
                }
                (None, Some(Item::Leaf(..))) => {
                    let (name, new) = self.new.take();
                    (name, None, Some(new))
                }
            };
            if let Some(difference) = self.joined(name, old, new) {
                return Ok(Some(difference));
            }
        }
    }

    /// In Git's order a file and a directory of one name stand apart: joins the two, once.
    fn joined(&self, name: Bytes, old: Option<Entry>, new: Option<Entry>) -> Option<Named> {
        if !self.store.format.is_git() || (old.is_some() && new.is_some()) {
            return Some((name, old, new));
        }
        let missing = if old.is_some() { &self.new } else { &self.old };
        let other = missing
            .page
            .as_ref()
            .and_then(|page| page.find(&name).map(|at| page.entry(at)));
        match (old, new, other) {
            (old, new, None) => Some((name, old, new)),
            // The file comes first in the order; the directory was told with it.
            (Some(old), None, new) => (!old.is_dir()).then_some((name, Some(old), new)),
            (_, Some(new), old) => (!new.is_dir()).then_some((name, old, Some(new))),
            (None, None, _) => None,
        }
    }
}

/// How many entries from here on are the same on both sides.
fn same_run(a: &Page, x: usize, b: &Page, y: usize) -> usize {
    let most = (a.len() - x).min(b.len() - y);
    let is_same = |n: &usize| a.raw(x + n..x + n + 1) == b.raw(y + n..y + n + 1);
    (0..most).take_while(is_same).count()
}

fn order(store: &Store, a: &Page, x: usize, b: &Page, y: usize) -> Ordering {
    if store.format.is_git() {
        return git_order(
            a.name(x),
            a.entry(x).is_dir(),
            b.name(y),
            b.entry(y).is_dir(),
        );
    }
    a.name(x).cmp(b.name(y))
}

impl Side<'_> {
    fn begin(&mut self, store: &Store) -> Result<(), ReadError> {
        if let Some(root) = self.root.take() {
            let page = store.page(&root, self.staged)?;
            if store.format.is_git() {
                self.page = Some(page.clone());
            }
            self.open(page);
        }
        Ok(())
    }

    /// Puts a page's contents before all else.
    fn open(&mut self, page: Arc<Page>) {
        if page.len() == 0 {
            return;
        }
        let item = if page.level > 0 {
            Item::Child(page, 0)
        } else {
            Item::Leaf(page, 0)
        };
        self.open.push(item);
    }

    /// Whether this side has nothing of this name to come.
    fn is_behind(&self, name: &[u8]) -> bool {
        self.passed
            .as_ref()
            .is_some_and(|passed| name <= &passed[..])
    }

    /// Opens the child that is next.
    fn expand(&mut self, store: &Store) -> Result<(), ReadError> {
        let Some(Item::Child(parent, at)) = self.open.last() else {
            return Ok(());
        };
        let page = child(store, self.staged, parent, *at)?;
        self.advance(1);
        self.open(page);
        Ok(())
    }

    /// Goes on behind so many items of the page that is next.
    fn pass(&mut self, count: usize) {
        if let Some(Item::Child(page, at) | Item::Leaf(page, at)) = self.open.last() {
            self.passed = Some(page.name_bytes(*at + count - 1));
        }
        self.advance(count);
    }

    fn advance(&mut self, count: usize) {
        if let Some(Item::Child(page, at) | Item::Leaf(page, at)) = self.open.last_mut() {
            *at += count;
            if *at == page.len() {
                self.open.pop();
            }
        }
    }

    /// The leaf entry that is next.
    fn take(&mut self) -> (Bytes, Entry) {
        let Some(Item::Leaf(page, at)) = self.open.last() else {
            unreachable!("a leaf entry is next")
        };
        let taken = (page.name_bytes(*at), page.entry(*at));
        self.pass(1);
        taken
    }
}
