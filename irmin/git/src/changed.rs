//! Which paths a commit changed, for the filters of changed paths.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::iter::Peekable;

use irmin::raw::{Mode, TreeEntries, TreeEntry, git_order};
use irmin::{Backend as _, Id, Kind};

use crate::Git;
use crate::error::{Result, corrupt};
use crate::filter::MOST_PATHS;

/// So many directories are compared for one commit. Trees that nobody would make can have more of them
/// than there is time, without one file.
const MOST_DIRS: usize = 100_000;

/// A directory with what two trees have in its place.
type Open = (Vec<u8>, Option<Id>, Option<Id>);

impl Git {
    /// The paths of files, links and modules that differ between two trees, and of the directories that
    /// they are in; `None` if they are more than filters tell.
    pub(crate) fn changed_paths(
        &self,
        old: Option<Id>,
        new: Id,
    ) -> Result<Option<HashSet<Vec<u8>>>> {
        let (mut found, mut files, mut dirs) = (HashSet::new(), 0, 0);
        let mut open: Vec<Open> = vec![(Vec::new(), old, Some(new))];
        while let Some((dir, old, new)) = open.pop() {
            dirs += 1;
            if dirs > MOST_DIRS || open.len() > MOST_DIRS {
                return Ok(None);
            }
            let (old, new) = (self.tree(old)?, self.tree(new)?);
            let mut sides =
                [&old, &new].map(|side| TreeEntries::new(self.format(), side).peekable());
            while let Some((name, sides)) = self.next_pair(&mut sides)? {
                let [old, new] = sides;
                if old == new {
                    continue;
                }
                let is_dir = |side: &Side| side.is_some_and(|(mode, _)| mode == Mode::Dir);
                let mut path = dir.clone();
                path.extend((!dir.is_empty()).then_some(b'/'));
                path.extend_from_slice(name);
                if is_dir(&old) || is_dir(&new) {
                    let id = |side: Side| side.map(|(_, id)| id);
                    open.push((path, id(old), id(new)));
                    continue;
                }
                files += 1;
                // What is before the last slash, and the last but one, and so on.
                while !path.is_empty() && !found.contains(&path) && found.len() <= MOST_PATHS {
                    let end = path.iter().rposition(|&byte| byte == b'/');
                    let above = path[..end.unwrap_or(0)].to_vec();
                    found.insert(std::mem::replace(&mut path, above));
                }
                if files > MOST_PATHS || found.len() > MOST_PATHS {
                    return Ok(None);
                }
            }
        }
        Ok(Some(found))
    }

    fn tree(&self, id: Option<Id>) -> Result<bytes::Bytes> {
        let Some(id) = id else {
            return Ok(bytes::Bytes::new());
        };
        match self.odb.read(&id)? {
            Some((Kind::Tree, data)) => Ok(data),
            // As in Git, the empty one need not be here.
            None if self.format().id(Kind::Tree, b"") == Ok(id) => Ok(bytes::Bytes::new()),
            _ => Err(corrupt(self.path(), format_args!("tree {id} is missing"))),
        }
    }

    /// The next name that one of the sides has, and what they have of it. A file and a directory of one
    /// name are two: they stand apart in a tree.
    fn next_pair<'a>(
        &self,
        sides: &mut [Peekable<TreeEntries<'a>>; 2],
    ) -> Result<Option<(&'a [u8], [Side; 2])>> {
        let [a, b] = sides;
        let order = match (a.peek(), b.peek()) {
            (None, None) => return Ok(None),
            (Some(Ok(_)), None) => Ordering::Less,
            (None, Some(Ok(_))) => Ordering::Greater,
            (Some(Ok(a)), Some(Ok(b))) => {
                git_order(a.name, a.mode == Mode::Dir, b.name, b.mode == Mode::Dir)
            }
            (Some(Err(wrong)), _) | (_, Some(Err(wrong))) => {
                return Err(corrupt(self.path(), format_args!("a tree: {wrong}")));
            }
        };
        let take = |side: &mut Peekable<TreeEntries<'a>>, is_next: bool| {
            is_next.then(|| side.next()?.ok()).flatten()
        };
        let (a, b) = (take(a, order.is_le()), take(b, order.is_ge()));
        let name = a.or(b).map(|entry: TreeEntry<'a>| entry.name);
        let side = |entry: Option<TreeEntry<'a>>| entry.map(|entry| (entry.mode, entry.id));
        Ok(name.map(|name| (name, [side(a), side(b)])))
    }
}

type Side = Option<(Mode, Id)>;
