//! Indexes of commits that backends keep.

use alloc::vec::Vec;

use crate::{BackendError, Id, Path};

/// What a backend's index says about commits without reading them, such as Git's commit-graph: a
/// snapshot, which never changes. Commits that came later are read.
///
/// Each commit in it has a position, counted from 0, and all commits before it have one too. What is
/// asked about a position that is not below [`len`](CommitIndex::len) may panic. Nothing here waits
/// but for a disk, and questions about one commit cost the same however many there are
/// ([`position`](CommitIndex::position): a search by bisection at most).
pub trait CommitIndex: Send + Sync {
    /// How many commits are in it, at most 2^31.
    fn len(&self) -> u32;

    /// Whether no commit is in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a commit is; `None` if it is not in the index.
    ///
    /// # Errors
    /// [`BackendError`].
    fn position(&self, id: &Id) -> Result<Option<u32>, BackendError>;

    /// The commit's id.
    ///
    /// # Errors
    /// [`BackendError`].
    fn id(&self, position: u32) -> Result<Id, BackendError>;

    /// A number greater than those of all its parents, and greater than 0 (Git's topological level).
    ///
    /// # Errors
    /// [`BackendError`].
    fn generation(&self, position: u32) -> Result<u32, BackendError>;

    /// Adds the positions of its parents to a list, in their order.
    ///
    /// # Errors
    /// [`BackendError`]. (Positions and generations that contradict each other need not be found
    /// here: who walks checks them.)
    fn parents(&self, position: u32, into: &mut Vec<u32>) -> Result<(), BackendError>;

    /// Tells generation and parents of every commit, in the order of positions, where reading all
    /// from end to end costs much less than asking for one after the other; else `false`, and nothing
    /// is told. What walks far asks once.
    ///
    /// # Errors
    /// [`BackendError`].
    fn all(&self, commit: &mut dyn FnMut(u32, &[u32])) -> Result<bool, BackendError> {
        let _ = commit;
        Ok(false)
    }

    /// Whether it has times and trees, too. Where it has not, the commits are read for them.
    fn has_trees(&self) -> bool {
        true
    }

    /// The committer's time, seconds since 1970. Not asked for where there are none.
    ///
    /// # Errors
    /// [`BackendError`].
    fn time(&self, position: u32) -> Result<i64, BackendError>;

    /// The commit's tree. Not asked for where there are none.
    ///
    /// # Errors
    /// [`BackendError`].
    fn tree(&self, position: u32) -> Result<Id, BackendError>;

    /// What finds a path in [`may_change`](CommitIndex::may_change); `None` where nothing is known of
    /// changed paths.
    fn path_key(&self, path: &Path) -> Option<PathKey> {
        let _ = path;
        None
    }

    /// Whether what stands at a path may differ between a commit and its first parent (or nothing,
    /// if it has no parent). `false` is certain; `true` says nothing.
    ///
    /// # Errors
    /// [`BackendError`].
    fn may_change(&self, position: u32, path: &PathKey) -> Result<bool, BackendError> {
        let _ = (position, path);
        Ok(true)
    }
}

/// A path as an index of commits looks it up: numbers that only the index understands.
#[derive(Clone, Debug)]
pub struct PathKey(pub Vec<u64>);
