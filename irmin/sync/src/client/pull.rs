//! Pulling: fetching, and merging what came.

use irmin::merge::{Conflict, MergeError, Rule};
use irmin::{Commit, Info, ReadError, RefName, Repo};
use irmin_packfile::PackStore;

use super::{FetchOptions, Fetched, FetchedRef, Remote};
use crate::error::SyncError;

/// What a pull did.
#[derive(Debug)]
pub struct Pulled {
    /// What was fetched.
    pub fetched: Fetched,
    /// The head of the branch now; or what is to be decided first, and then the branch has not moved.
    pub merged: Result<Commit, Vec<Conflict>>,
}

/// Fetches, and merges the other side's `theirs` (a branch or another name of it) into our branch
/// `into` by this rule. `repo` and `store` are the same store. Where one side holds the other no merge
/// commit is made.
///
/// # Errors
/// [`PullError`]; our branch has not moved. Conflicts are no error.
pub fn pull(
    remote: &mut Remote,
    (repo, store): (&Repo, &dyn PackStore),
    (theirs, into): (&str, &RefName),
    mut options: FetchOptions<'_>,
    rule: &dyn Rule,
    info: &Info,
) -> Result<Pulled, PullError> {
    options.refspecs.push(theirs.parse()?);
    let fetched = remote.fetch(store, options)?;
    // What has no target of its own is the one that was added here.
    let is_called =
        |one: &&FetchedRef, name: &RefName| one.was_asked_for && one.name.as_ref() == Some(name);
    let head = RefName::meanings(theirs)
        .find_map(|name| fetched.heads.iter().find(|one| is_called(one, &name)));
    let head = head.or_else(|| {
        let mut heads = fetched.heads.iter();
        heads.find(|one| one.id.to_string() == theirs)
    });
    let id = head
        .map(|one| one.id)
        .ok_or_else(|| SyncError::NoSuchName {
            name: theirs.into(),
        })?;
    let commit = repo.peel(&id)?;
    let merged = match repo.named(into.clone()).merge(&commit, rule, info) {
        Ok(commit) => Ok(commit),
        Err(MergeError::Conflicts(conflicts)) => Err(conflicts),
        Err(error) => return Err(error.into()),
    };
    Ok(Pulled { fetched, merged })
}

/// A pull after which our branch is where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Nothing was fetched.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// What was fetched is no commit, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was fetched cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
}
