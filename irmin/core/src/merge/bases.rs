//! One base from several common ancestors.

use alloc::vec::Vec;

use super::{MergeError, Rule, three};
use crate::{Id, Repo, Tree};

/// How many merges of common ancestors one merge may need.
const LIMIT: usize = 4096;

/// Common ancestors that are being merged, one after the other.
struct Level {
    /// Merged so far.
    tree: Tree,
    commits: Vec<Id>,
    /// To come, the last first.
    rest: Vec<Id>,
}

/// The tree that a merge starts from: that of the only common ancestor, or of a merge of all. Their
/// common ancestors may be several again; the levels stand on a stack of their own.
pub(super) fn merged(repo: &Repo, bases: Vec<Id>, rule: &dyn Rule) -> Result<Tree, MergeError> {
    let level = |rest: Vec<Id>| -> Result<Level, MergeError> {
        // The oldest first.
        let mut timed = Vec::with_capacity(rest.len());
        for id in rest {
            timed.push((repo.commit(&id)?.data().committer.seconds(), id));
        }
        timed.sort_by(|a, b| b.cmp(a));
        let mut rest: Vec<Id> = timed.into_iter().map(|(_, id)| id).collect();
        let first = rest.pop().expect("there is a common ancestor");
        Ok(Level {
            tree: repo.commit(&first)?.tree(),
            commits: alloc::vec![first],
            rest,
        })
    };
    let mut levels = alloc::vec![level(bases)?];
    // The base for the next step of the last level, once the level above it is done.
    let mut base: Option<Tree> = None;
    let mut merges = 0;
    loop {
        let depth = levels.len();
        let last = levels.last_mut().expect("there is a level");
        let Some(next) = last.rest.last().copied() else {
            let done = levels.pop().expect("there is a level").tree;
            if levels.is_empty() {
                return Ok(done);
            }
            base = Some(done);
            continue;
        };
        let from = match base.take() {
            Some(base) => base,
            None => {
                let ancestors = repo.store.index.lcas(
                    &*repo.store.backend,
                    &last.commits,
                    &[next],
                    usize::MAX,
                )?;
                match &ancestors[..] {
                    [] => repo.empty_tree(),
                    [only] => repo.commit(only)?.tree(),
                    _ => {
                        levels.push(level(ancestors)?);
                        continue;
                    }
                }
            }
        };
        merges += 1;
        if merges > LIMIT {
            return Err(MergeError::TooManyBases { limit: LIMIT });
        }
        let theirs = repo.commit(&next)?.tree();
        last.tree = three::merge(&from, &last.tree, &theirs, rule, depth)?
            .edit
            .finish()?;
        last.commits.push(next);
        last.rest.pop();
    }
}
