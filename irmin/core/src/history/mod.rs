//! What was before what: common ancestors, ancestry, logs.

mod index;
mod lca;
mod log;
mod modified;
mod order;
mod steps;

pub(crate) use index::Index;
pub use log::Log;

use alloc::vec::Vec;

use crate::{BackendError, Commit, Id, Path, ReadError, Repo};

/// A question about history that has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A commit could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More commits would have had to be looked at than allowed: nothing is known.
    #[error("the search for common ancestors was given up after {limit} commits; allow it more")]
    Limit {
        /// How many were allowed.
        limit: usize,
    },
    /// The commits have no common ancestor among those that are here, and some are left out.
    #[error(
        "no common ancestor is here, and older commits are left out of this shallow store; fetch more of them"
    )]
    Shallow,
}

impl From<BackendError> for HistoryError {
    fn from(error: BackendError) -> HistoryError {
        HistoryError::Read(error.into())
    }
}

impl Repo {
    /// The best common ancestors of two commits: those that are no ancestor of another common one.
    /// Ordered by id; none if the histories are unrelated.
    ///
    /// Costs what the distance between the commits costs. The first question reads the commits (or
    /// the backend's index of them) that are before; the generations found are kept in memory.
    ///
    /// # Errors
    /// [`HistoryError`]. A search that was not finished is an error, never "unrelated".
    pub fn lcas(&self, a: &Commit, b: &Commit) -> Result<Vec<Id>, HistoryError> {
        self.lcas_within(a, b, usize::MAX)
    }

    /// The same, looking at no more than `limit` commits.
    ///
    /// # Errors
    /// [`HistoryError`]; `Limit` if that was not enough.
    pub fn lcas_within(
        &self,
        a: &Commit,
        b: &Commit,
        limit: usize,
    ) -> Result<Vec<Id>, HistoryError> {
        self.store
            .index
            .lcas(&*self.store.backend, &[a.id()], &[b.id()], limit)
    }
}

impl Commit {
    /// Whether `other` is this commit or one of those before it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn has_ancestor(&self, other: &Commit) -> Result<bool, ReadError> {
        self.store
            .index
            .is_ancestor(&*self.store.backend, &other.id(), &self.id())
    }

    /// This commit and those before it, each once, the latest committer's time first among those
    /// whose children were given: the order of `git log`.
    pub fn log(&self) -> Log {
        Log::new(self, Vec::new())
    }

    /// The commits that changed what stands at this path, as `git log -- PATH` finds them: where a
    /// merge took the path from one side, only that side is followed. The first is the one that
    /// last modified it.
    pub fn log_of(&self, path: Path) -> Log {
        Log::new(self, Vec::from([path]))
    }

    /// The commits that changed what stands at one of these paths, as `git log -- PATH PATH` finds them:
    /// where a merge took all of them from one side, only that side is followed. Without a path it is
    /// the log of all commits.
    pub fn log_of_any(&self, paths: impl IntoIterator<Item = Path>) -> Log {
        Log::new(self, paths.into_iter().collect())
    }

    /// Which commit last modified each of these paths, in their order: for each what
    /// [`log_of`](Commit::log_of) gives first, found for all of them in one walk. `None` where nothing
    /// stands at a path and nothing ever did. Waits for storage; memory grows with the paths, and not with
    /// the history.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn last_modified(&self, paths: &[Path]) -> Result<Vec<Option<Commit>>, ReadError> {
        modified::last_modified(self, paths)
    }
}

#[cfg(test)]
mod tests;
