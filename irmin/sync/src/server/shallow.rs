//! Histories that are cut: how deep a client's is, and how deep it is to be.

use std::collections::VecDeque;

use hashbrown::HashSet;
use irmin::{Commit, Id, RefName};

use super::{Host, ServerError, history, refused};
use crate::capabilities::INFINITE;

/// What a client says of its history's depth.
#[derive(Default)]
pub(super) struct Depth {
    /// The commits whose parents it does not have.
    pub(super) client: HashSet<Id>,
    /// So many commits from each that is wanted, it included.
    pub(super) depth: Option<u32>,
    /// The depth counts from where the client's history ends.
    pub(super) is_relative: bool,
    /// Nothing older (seconds since 1970).
    pub(super) since: Option<i64>,
    /// Nothing that these names lead to.
    pub(super) not: Vec<String>,
}

/// Where the client's history will end.
pub(super) struct Cut {
    /// Commits whose parents it gets no more, or keeps doing without.
    pub(super) ends: HashSet<Id>,
    /// What it is told: which of these are new, and which ends of its own are none any more.
    pub(super) shallow: Vec<Id>,
    pub(super) unshallow: Vec<Id>,
    /// What it lacks behind the latter.
    pub(super) also_wanted: Vec<Id>,
}

impl Depth {
    /// Whether the client wants to be told where its history ends.
    pub(super) fn is_asked(&self) -> bool {
        self.depth.is_some() || self.since.is_some() || !self.not.is_empty()
    }

    /// `readable` gives the heads of what the client may read: as with Git's own server every end of
    /// its history in there is deepened, whatever is wanted.
    pub(super) fn cut<'a>(
        &self,
        host: &Host<'_>,
        wants: &[Id],
        readable: impl FnOnce() -> &'a [Commit],
    ) -> Result<Cut, ServerError> {
        let ours: HashSet<Id> = host.repo.backend().shallow()?.into_iter().collect();
        let mut heads = Vec::new();
        for want in wants {
            // What is wanted may be no commit.
            heads.extend(host.repo.peel(want).ok());
        }
        let (within, ends) = match self {
            _ if !self.is_asked() => (HashSet::new(), ours.clone()),
            Depth {
                depth: Some(INFINITE),
                ..
            } if ours.is_empty() => (self.reached(host, readable())?, HashSet::new()),
            Depth {
                depth: Some(depth),
                is_relative: true,
                ..
            } => {
                let reached = self.reached(host, readable())?;
                let ends: Result<Vec<Commit>, _> =
                    reached.iter().map(|id| host.repo.commit(id)).collect();
                by_depth(host, &ours, ends?, depth.saturating_add(1))?
            }
            Depth {
                depth: Some(depth), ..
            } => by_depth(host, &ours, heads, *depth)?,
            _ => self.by_selection(host, &ours, heads)?,
        };
        let client = self.client.iter().copied();
        let (unshallow, kept): (Vec<Id>, Vec<Id>) =
            client.partition(|id| within.contains(id) && !ends.contains(id));
        let mut also_wanted = Vec::new();
        for id in &unshallow {
            if let Ok(commit) = host.repo.commit(id) {
                also_wanted.extend_from_slice(commit.parents());
            }
        }
        let shallow: Vec<Id> = ends.difference(&self.client).copied().collect();
        let mut all = ends;
        all.extend(kept);
        all.extend(ours);
        Ok(Cut {
            ends: all,
            shallow,
            unshallow,
            also_wanted,
        })
    }

    /// The ends of the client's history that are in that of the heads. Of others it is told nothing,
    /// and gets nothing that is behind them.
    fn reached(&self, host: &Host<'_>, heads: &[Commit]) -> Result<HashSet<Id>, ServerError> {
        let ends = self
            .client
            .iter()
            .filter_map(|id| host.repo.commit(id).ok());
        history::among(host, heads, &ends.collect::<Vec<_>>())
    }

    /// What is young enough and not left out, and those of it that have a parent that is not.
    fn by_selection(
        &self,
        host: &Host<'_>,
        ours: &HashSet<Id>,
        heads: Vec<Commit>,
    ) -> Result<(HashSet<Id>, HashSet<Id>), ServerError> {
        let mut left_out = Vec::new();
        for text in &self.not {
            let found = self.name(host, text)?;
            let Some(commit) = found.and_then(|id| host.repo.peel(&id).ok()) else {
                return refused(format!("deepen-not {text} names no branch or tag here"));
            };
            left_out.push(commit);
        }
        let left_out = history::whole(host, &left_out)?;
        let is_in = |commit: &Commit| {
            let seconds = commit.data().committer.seconds();
            self.since.is_none_or(|since| seconds >= since) && !left_out.contains(&commit.id())
        };
        let (mut within, mut ends) = (HashSet::new(), HashSet::new());
        let mut open = heads;
        open.retain(&is_in);
        if open.is_empty() {
            return refused("no commits selected for shallow requests");
        }
        while let Some(commit) = open.pop() {
            if !within.insert(commit.id()) {
                continue;
            }
            if ours.contains(&commit.id()) {
                ends.insert(commit.id());
                continue;
            }
            for parent in commit.parents() {
                let parent = host.repo.commit(parent)?;
                match is_in(&parent) {
                    true => open.push(parent),
                    false => drop(ends.insert(commit.id())),
                }
            }
        }
        Ok((within, ends))
    }

    /// What a readable name points to.
    fn name(&self, host: &Host<'_>, text: &str) -> Result<Option<Id>, ServerError> {
        for name in RefName::meanings(text) {
            if host.gate.may_read(&name)
                && let Some(id) = host.repo.backend().head(&name)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// What is nearer than `depth`, and the commits at that distance that have parents.
fn by_depth(
    host: &Host<'_>,
    ours: &HashSet<Id>,
    heads: Vec<Commit>,
    depth: u32,
) -> Result<(HashSet<Id>, HashSet<Id>), ServerError> {
    let (mut within, mut ends) = (HashSet::new(), HashSet::new());
    let mut seen: HashSet<Id> = heads.iter().map(Commit::id).collect();
    let mut open: VecDeque<(Commit, u32)> = heads.into_iter().map(|head| (head, 1)).collect();
    while let Some((commit, at)) = open.pop_front() {
        let id = commit.id();
        if ours.contains(&id) || (at >= depth && !commit.parents().is_empty()) {
            ends.insert(id);
            continue;
        }
        within.insert(id);
        for parent in commit.parents() {
            if seen.insert(*parent) {
                open.push_back((host.repo.commit(parent)?, at + 1));
            }
        }
    }
    Ok((within, ends))
}
