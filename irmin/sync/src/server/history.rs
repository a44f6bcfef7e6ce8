//! Which commits are in the history of others, at a cost that a client cannot raise at will.

use hashbrown::HashSet;
use irmin::{Commit, Id};

use super::{Host, ServerError};

/// So many questions after ancestors are asked one by one; more cost more than to walk once.
const PAIRS_MAX: usize = 4096;

/// Those of the commits that are one of the heads or before one.
pub(super) fn among(
    host: &Host<'_>,
    heads: &[Commit],
    commits: &[Commit],
) -> Result<HashSet<Id>, ServerError> {
    if heads.len().saturating_mul(commits.len()) > PAIRS_MAX {
        let mut all = whole(host, heads)?;
        let asked: HashSet<Id> = commits.iter().map(Commit::id).collect();
        all.retain(|id| asked.contains(id));
        return Ok(all);
    }
    let mut found = HashSet::new();
    for commit in commits {
        for head in heads {
            if head.has_ancestor(commit)? {
                found.insert(commit.id());
                break;
            }
        }
    }
    Ok(found)
}

/// The heads and all before them, as far as they are here.
pub(super) fn whole(host: &Host<'_>, heads: &[Commit]) -> Result<HashSet<Id>, ServerError> {
    let ours: HashSet<Id> = host.repo.backend().shallow()?.into_iter().collect();
    let mut seen: HashSet<Id> = heads.iter().map(Commit::id).collect();
    let mut open = heads.to_vec();
    while let Some(commit) = open.pop() {
        if ours.contains(&commit.id()) {
            continue;
        }
        for parent in commit.parents() {
            if seen.insert(*parent) {
                open.push(host.repo.commit(parent)?);
            }
        }
    }
    Ok(seen)
}
