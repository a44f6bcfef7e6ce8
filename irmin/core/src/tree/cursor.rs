//! Where one stands among the pages of a directory.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::page::Page;
use crate::raw::Malformed;
use crate::store::{Staged, Store};
use crate::{Id, Kind, ReadError};

/// A way from the first page of a directory down to one page of a chosen level.
pub(crate) struct Cursor<'a> {
    store: &'a Store,
    staged: Option<&'a Staged>,
    root: Id,
    level: u8,
    /// From the top; the last is the page at `level`, whose index is of no meaning.
    way: Vec<(Arc<Page>, usize)>,
}

impl<'a> Cursor<'a> {
    /// At the first page of this level, which must not be above the top one.
    pub(crate) fn new(
        store: &'a Store,
        staged: Option<&'a Staged>,
        root: &Id,
        level: u8,
    ) -> Result<Cursor<'a>, ReadError> {
        Cursor::descended(store, staged, root, level, |_| 0)
    }

    /// At the page of this level where a key belongs, see [`seek`](Cursor::seek).
    pub(crate) fn at(
        store: &'a Store,
        staged: Option<&'a Staged>,
        root: &Id,
        level: u8,
        key: &[u8],
    ) -> Result<Cursor<'a>, ReadError> {
        Cursor::descended(store, staged, root, level, |page| place(page, key))
    }

    fn descended(
        store: &'a Store,
        staged: Option<&'a Staged>,
        root: &Id,
        level: u8,
        choose: impl FnMut(&Page) -> usize,
    ) -> Result<Cursor<'a>, ReadError> {
        let top = store.page(root, staged)?;
        let mut cursor = Cursor {
            store,
            staged,
            root: *root,
            level,
            way: Vec::with_capacity(4),
        };
        cursor.way.push((top, 0));
        cursor.descend(choose)?;
        Ok(cursor)
    }

    pub(crate) fn page(&self) -> &Arc<Page> {
        &self.way.last().expect("never empty").0
    }

    /// The page's id.
    pub(crate) fn id(&self) -> Id {
        match self.way[..] {
            [.., (ref above, at), _] => above.child(at).0,
            _ => self.root,
        }
    }

    /// Whether no page of this level follows.
    pub(crate) fn is_last(&self) -> bool {
        self.way[..self.way.len() - 1]
            .iter()
            .all(|(page, at)| at + 1 == page.len())
    }

    /// Goes on to the page where this key belongs: the first whose last key is not before it, else
    /// the last page. Only forwards.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        let keep = 1 + self.way[..self.way.len() - 1]
            .iter()
            .take_while(|(page, at)| page.name(*at) >= key)
            .count();
        if keep == self.way.len() {
            return Ok(());
        }
        self.way.truncate(keep);
        self.descend(|page| place(page, key))
    }

    /// Goes on to the next page of the level; `false` if there is none.
    pub(crate) fn next(&mut self) -> Result<bool, ReadError> {
        let above = self.way.len() - 1;
        let Some(up) = self.way[..above]
            .iter()
            .rposition(|(page, at)| at + 1 < page.len())
        else {
            return Ok(false);
        };
        let at = self.way[up].1 + 1;
        self.way.truncate(up + 1);
        let mut first = Some(at);
        self.descend(|_| first.take().unwrap_or(0))?;
        Ok(true)
    }

    fn descend(&mut self, mut choose: impl FnMut(&Page) -> usize) -> Result<(), ReadError> {
        loop {
            let (page, at) = self.way.last_mut().expect("never empty");
            if page.level == self.level {
                return Ok(());
            }
            *at = choose(page);
            let child = child(self.store, self.staged, page, *at)?;
            self.way.push((child, 0));
        }
    }
}

/// The child of an inner page in which a key belongs.
fn place(page: &Page, key: &[u8]) -> usize {
    page.lower_bound(key, false).min(page.len() - 1)
}

/// Reads a child of an inner page and checks that it is what its parent says.
pub(crate) fn child(
    store: &Store,
    staged: Option<&Staged>,
    parent: &Page,
    at: usize,
) -> Result<Arc<Page>, ReadError> {
    let (id, _) = parent.child(at);
    let page = store.page(&id, staged)?;
    if page.level + 1 != parent.level
        || page.len() == 0
        || page.name(page.len() - 1) != parent.name(at)
    {
        let what = "it is not the page that the one above it describes".into();
        return Err(ReadError::Malformed {
            id,
            malformed: Malformed {
                kind: Kind::Tree,
                what,
            },
        });
    }
    Ok(page)
}
