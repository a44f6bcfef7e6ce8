//! Making room on a full disk: history is what can be forgotten.

use alloc::format;
use alloc::vec::Vec;

use irmin::{Commit, Info};
use irmin_behind::Behind;
use mirage_kit::log;

use crate::store::{Refused, Store, refused};

/// Segments that new values leave free: two are the engine's own, and two more let values be deleted
/// and history be forgotten.
const KEPT: u32 = 4;

impl Store {
    /// Sees to it that a value of this length can be put, by forgetting if need be.
    pub fn make_room_for(&self, len: usize) -> Result<(), Refused> {
        let wanted = KEPT + segments_for(&self.behind, len);
        if self.behind.free_segments() >= wanted {
            return Ok(());
        }
        let head = self.main.head()?.map(|head| head.id());
        let tried = self.full.get();
        let in_vain = tried.is_some_and(|(at, most)| Some(at) == head && wanted >= most);
        if !in_vain {
            for keep in [self.history, 1] {
                self.forget(keep)?;
                if self.behind.free_segments() >= wanted {
                    return Ok(());
                }
            }
            let head = self.main.head()?.map(|head| head.id());
            self.full.set(head.map(|head| (head, wanted)));
        }
        Err(Refused::Full(format!(
            "the disk is full: {}; delete something, or give a larger disk",
            self.figures()
        )))
    }

    /// Forgets as much as possible, as far as there is room for that.
    pub fn forget_more(&self) {
        if let Err(error) = self.forget(1) {
            log::warn!("history cannot be forgotten: {error}");
        }
    }

    /// Forgets all changes but the last `keep`, which get new ids, and drops what nothing needs then.
    fn forget(&self, keep: usize) -> Result<(), Refused> {
        let mut kept: Vec<Commit> = Vec::new();
        let mut next = self.main.head()?.map(|head| head.id());
        while let Some(id) = next.filter(|_| kept.len() <= keep) {
            let commit = self.repo.commit(&id)?;
            next = commit.parents().first().copied();
            kept.push(commit);
        }
        if kept.len() > keep {
            let head = kept.first().cloned();
            kept.truncate(keep);
            let mut parent: Option<Commit> = None;
            for commit in kept.iter().rev() {
                let info = Info {
                    author: commit.data().author.clone(),
                    committer: commit.data().committer.clone(),
                    message: commit.message(),
                };
                let parents: Vec<&Commit> = parent.iter().collect();
                parent = Some(self.repo.commit_tree(&commit.tree(), &parents, &info)?);
            }
            let moved = self.main.compare_and_set(head.as_ref(), parent.as_ref());
            moved.map_err(irmin::CommitError::from)?;
            log::info!("the disk is full: all changes but the last {keep} are forgotten");
        }
        // What was written since the collection before began is kept by one alone.
        for _ in 0..2 {
            self.behind.collect().map_err(refused)?;
        }
        Ok(())
    }
}

/// How many segments a value needs at most, with the directories and the commit.
fn segments_for(behind: &Behind, len: usize) -> u32 {
    u32::try_from(len as u64 / behind.segment_size()).unwrap_or(u32::MAX - KEPT - 1) + 1
}
