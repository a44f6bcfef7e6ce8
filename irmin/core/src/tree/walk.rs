//! Reading directories from one end to the other.

use alloc::vec::Vec;

use bytes::Bytes;

use super::cursor::Cursor;
use super::{Entry, Tree};
use crate::store::{Staged, Store};
use crate::{Id, Path, ReadError};

/// The names of one directory, see [`Tree::list`]. After an error it ends.
pub struct List<'a>(Names<'a>);

impl<'a> List<'a> {
    pub(super) fn new(tree: &'a Tree, from: Option<Bytes>) -> List<'a> {
        List(Names::new(&tree.store, tree.staged(), tree.root, from))
    }
}

impl Iterator for List<'_> {
    type Item = Result<(Bytes, Entry), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// The entries of a directory, page by page.
pub(super) struct Names<'a> {
    store: &'a Store,
    staged: Option<&'a Staged>,
    state: State<'a>,
}

enum State<'a> {
    Before(Id, Option<Bytes>),
    At(Cursor<'a>, usize),
    End,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        store: &'a Store,
        staged: Option<&'a Staged>,
        dir: Id,
        from: Option<Bytes>,
    ) -> Names<'a> {
        Names {
            store,
            staged,
            state: State::Before(dir, from),
        }
    }

    fn step(&mut self) -> Result<Option<(Bytes, Entry)>, ReadError> {
        if let State::Before(dir, from) = &mut self.state {
            self.state = match from {
                Some(name) => {
                    let cursor = Cursor::at(self.store, self.staged, dir, 0, name)?;
                    let at = cursor.page().lower_bound(name, false);
                    State::At(cursor, at)
                }
                None => State::At(Cursor::new(self.store, self.staged, dir, 0)?, 0),
            };
        }
        let State::At(cursor, at) = &mut self.state else {
            return Ok(None);
        };
        loop {
            let page = cursor.page();
            if *at < page.len() {
                *at += 1;
                return Ok(Some((page.name_bytes(*at - 1), page.entry(*at - 1))));
            }
            if !cursor.next()? {
                self.state = State::End;
                return Ok(None);
            }
            *at = 0;
        }
    }
}

impl Iterator for Names<'_> {
    type Item = Result<(Bytes, Entry), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.state = State::End;
        }
        step.transpose()
    }
}

/// All files of a tree, see [`Tree::walk`]. After an error it ends.
pub struct Walk<'a> {
    store: &'a Store,
    staged: Option<&'a Staged>,
    path: Path,
    /// The directories on the way down, the innermost last.
    open: Vec<Names<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree) -> Walk<'a> {
        Walk::below(&tree.store, tree.staged(), Path::default(), tree.root)
    }

    pub(super) fn below(
        store: &'a Store,
        staged: Option<&'a Staged>,
        path: Path,
        dir: Id,
    ) -> Walk<'a> {
        Walk {
            store,
            staged,
            path,
            open: alloc::vec![Names::new(store, staged, dir, None)],
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<(Path, Entry), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.open.last_mut()?.next() {
                None => {
                    self.open.pop();
                    self.path.pop();
                }
                Some(Err(error)) => {
                    self.open.clear();
                    return Some(Err(error));
                }
                Some(Ok((name, entry))) => {
                    let Some(dir) = entry.dir_id() else {
                        return Some(Ok((self.path.joined(&name), entry)));
                    };
                    if let Err(error) = too_deep(self.open.len(), dir) {
                        self.open.clear();
                        return Some(Err(error));
                    }
                    self.path.push(&name);
                    self.open
                        .push(Names::new(self.store, self.staged, dir, None));
                }
            }
        }
    }
}

/// Trees that others made may be deeper than any path that is accepted here.
pub(crate) fn too_deep(depth: usize, dir: Id) -> Result<(), ReadError> {
    if depth < Path::MAX_DEPTH {
        return Ok(());
    }
    let what = "it is deeper than 2048 directories".into();
    let malformed = crate::raw::Malformed {
        kind: crate::Kind::Tree,
        what,
    };
    Err(ReadError::Malformed { id: dir, malformed })
}
