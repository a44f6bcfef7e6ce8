//! All that some objects lead to.

use std::collections::HashSet;

use irmin::{Backend, Id, Kind, Object, links};

use crate::Git;
use crate::error::{Result, corrupt};

/// What was seen, each object once.
pub(super) struct Walk<'a> {
    git: &'a Git,
    shallow: HashSet<Id>,
    seen: HashSet<Id>,
    /// Commits and tags, trees, and blobs: the order in which Git packs them.
    commits: Vec<Id>,
    trees: Vec<Id>,
    blobs: Vec<Id>,
    progress: Option<&'a mut dyn FnMut(u64)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(git: &'a Git, progress: Option<&'a mut dyn FnMut(u64)>) -> Result<Walk<'a>> {
        Ok(Walk {
            git,
            shallow: git.shallow()?.into_iter().collect(),
            seen: HashSet::new(),
            commits: Vec::new(),
            trees: Vec::new(),
            blobs: Vec::new(),
            progress,
        })
    }

    /// Sees these and all that they lead to.
    ///
    /// # Errors
    /// `Corrupt` if something is missing.
    pub(super) fn all_of(&mut self, roots: &[Id]) -> Result<()> {
        let mut next = Vec::new();
        for &root in roots {
            next.push((root, None));
            while let Some((id, kind)) = next.pop() {
                self.see(id, kind, &mut next)?;
            }
        }
        Ok(())
    }

    /// The same, and what is missing or damaged is passed over.
    pub(super) fn what_is_there_of(&mut self, roots: &[Id]) {
        let mut next = Vec::new();
        for &root in roots {
            next.push((root, None));
            while let Some((id, kind)) = next.pop() {
                let _ = self.see(id, kind, &mut next);
            }
        }
    }

    fn see(
        &mut self,
        id: Id,
        kind: Option<Kind>,
        next: &mut Vec<(Id, Option<Kind>)>,
    ) -> Result<()> {
        if !self.seen.insert(id) {
            return Ok(());
        }
        if self.seen.len().is_multiple_of(1024)
            && let Some(progress) = &mut self.progress
        {
            progress(self.seen.len() as u64);
        }
        if kind == Some(Kind::Blob) {
            self.blobs.push(id);
            return Ok(());
        }
        let Some((kind, data)) = self.git.odb.read(&id)? else {
            return Err(corrupt(self.git.path(), format_args!("{id} is missing")));
        };
        match kind {
            Kind::Commit | Kind::Tag => self.commits.push(id),
            Kind::Tree => self.trees.push(id),
            Kind::Blob => self.blobs.push(id),
        }
        let object = Object { id, kind, data };
        let (seen, shallow) = (&self.seen, &self.shallow);
        links(
            self.git.format(),
            &object,
            &|id| shallow.contains(id),
            &mut |link| {
                if !seen.contains(&link.id) {
                    next.push((link.id, Some(link.kind)));
                }
            },
        )
    }

    pub(super) fn has_seen(&self, id: &Id) -> bool {
        self.seen.contains(id)
    }

    pub(super) fn order(&self) -> impl Iterator<Item = Id> {
        let all = self.commits.iter().chain(&self.trees).chain(&self.blobs);
        all.copied()
    }
}
