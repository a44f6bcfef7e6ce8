//! Merges as values: a tree, or what stands in its way. Nothing here moves a branch but
//! [`Branch::merge`] and [`Branch::commit_merge`].

mod bases;
mod combine;
mod diff3;
mod fields;
mod hunks;
mod renames;
mod rule;
mod three;
mod typed;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

pub use combine::{
    Counter, Equal, LastWriter, Log, Map, Merger, Optional, Pair, Register, Set, Text, counter,
    equal, last_writer, log, map, optional, pair, set, text,
};
pub use fields::{ByField, Fields, by_field};
pub use rule::{FollowRenames, NoRule, Refused, Rule};
pub use typed::{Typed, files_as_git, typed};

use crate::history::HistoryError;
use crate::transaction::CommitError;
use crate::{
    Branch, Commit, Entry, Info, Path, ReadError, RefEdit, Repo, Tree, TreeEdit, UpdateError,
    WriteError,
};

/// A value of the common ancestor, and what became of it on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Three<T> {
    /// Where both began.
    pub base: T,
    /// What is on the side that is merged into.
    pub ours: T,
    /// What is on the side that is merged in.
    pub theirs: T,
}

/// A path at which the two sides cannot both have their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub path: Path,
    /// What the three trees have there.
    pub entries: Three<Option<Entry>>,
    /// What is in the way.
    pub why: Why,
}

/// What is in the way of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// One side has a file where the other has a directory. What is in the directory, and was there
    /// before, has conflicts of its own where it was changed.
    FileAndDirectory,
    /// Both sides changed what the entry is (file, executable, link, module), or both changed a
    /// link or module.
    Mode,
    /// The rule refused.
    Refused(String),
    /// Renames contradict each other, or one of a directory is not sure; this says how. Without any
    /// entries it is about a directory or a place that nothing was put to, to be
    /// [accepted](Merge::accept) or not.
    Renamed(String),
}

/// A merge that was tried. Nothing has moved and nothing is written; dropping it leaves no trace.
#[derive(Clone)]
pub struct Merge {
    base: Tree,
    edit: TreeEdit,
    conflicts: Vec<Conflict>,
    sides: Option<Sides>,
}

#[derive(Clone)]
struct Sides {
    ours: Commit,
    theirs: Commit,
    /// One of the two holds the other: there is nothing to commit.
    whole: Option<Commit>,
}

impl Merge {
    /// What stands in the way, by path; none for a merge that can be committed.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// What the changes of both sides are counted from: the tree of the common ancestor, or what
    /// several were merged into, which is written nowhere.
    pub fn base(&self) -> &Tree {
        &self.base
    }

    /// What the merge makes of both sides, conflicts and all: a rule that follows renames leaves there
    /// what Git does (the two versions of lines between marks, what one side removed and the other
    /// changed), another leaves what is ours.
    ///
    /// # Errors
    /// [`MergeError`] if reading failed.
    pub fn proposal(&self) -> Result<Tree, MergeError> {
        Ok(self.edit.finish()?)
    }

    /// Decides a conflict: these contents, or no file. What was in the way at the path (a directory
    /// too) is gone. Other paths may be changed as well. Returns whether there was a conflict here.
    ///
    /// # Errors
    /// [`WriteError`] as for [`TreeEdit::set`]; the conflict stays.
    pub fn resolve(
        &mut self,
        path: impl AsRef<[u8]>,
        contents: Option<Bytes>,
    ) -> Result<bool, WriteError> {
        let path = Path::new(path)?;
        let was = self
            .conflicts
            .iter()
            .position(|conflict| conflict.path == path);
        if was.is_some() || contents.is_none() {
            self.edit.remove(&path)?;
        }
        if let Some(contents) = contents {
            self.edit.set(&path, contents)?;
        }
        if let Some(at) = was {
            self.conflicts.remove(at);
            // What was below is decided with it.
            self.conflicts
                .retain(|conflict| !conflict.path.is_in(&path));
        }
        Ok(was.is_some())
    }

    /// Decides a conflict for what the [`proposal`](Merge::proposal) has. Returns whether there was one
    /// at this path.
    pub fn accept(&mut self, path: &Path) -> bool {
        let before = self.conflicts.len();
        self.conflicts.retain(|conflict| conflict.path != *path);
        self.conflicts.len() < before
    }

    /// The merged tree.
    ///
    /// # Errors
    /// [`MergeError::Conflicts`] while there are any; or reading failed.
    pub fn tree(&self) -> Result<Tree, MergeError> {
        if !self.conflicts.is_empty() {
            return Err(MergeError::Conflicts(self.conflicts.clone()));
        }
        Ok(self.edit.finish()?)
    }
}

impl Tree {
    /// Merges the changes from `base` to `theirs` into this tree. Only what differs is read.
    ///
    /// # Errors
    /// [`MergeError`] if reading failed: conflicts are part of the value.
    ///
    /// # Panics
    /// If the trees are of different stores.
    pub fn merge(&self, base: &Tree, theirs: &Tree, rule: &dyn Rule) -> Result<Merge, MergeError> {
        three::merge(base, self, theirs, rule, 0)
    }
}

impl Repo {
    /// Tries to merge `theirs` into `ours`: from their common ancestor, or where there are several
    /// from a merge of these, the oldest first, made as Git's recursive strategy makes it: what is in
    /// conflict between them is as Git leaves it there, in files of text with lines marked; what a
    /// rule of other values refuses is as in their own base.
    ///
    /// # Errors
    /// [`MergeError`]; `Unrelated` if they have no common ancestor. (Trees of unrelated histories can
    /// be merged with [`Tree::merge`] from an empty base.)
    pub fn try_merge(
        &self,
        ours: &Commit,
        theirs: &Commit,
        rule: &dyn Rule,
    ) -> Result<Merge, MergeError> {
        let bases = self.lcas(ours, theirs)?;
        let whole = match &bases[..] {
            [] => return Err(MergeError::Unrelated),
            [base] if *base == theirs.id() => Some(ours),
            [base] if *base == ours.id() => Some(theirs),
            _ => None,
        };
        let mut merge = match whole {
            Some(whole) => Merge {
                base: match whole == ours {
                    true => theirs.tree(),
                    false => ours.tree(),
                },
                edit: whole.tree().edit(),
                conflicts: Vec::new(),
                sides: None,
            },
            None => ours
                .tree()
                .merge(&bases::merged(self, bases, rule)?, &theirs.tree(), rule)?,
        };
        merge.sides = Some(Sides {
            ours: ours.clone(),
            theirs: theirs.clone(),
            whole: whole.cloned(),
        });
        Ok(merge)
    }
}

impl Branch {
    /// Commits a merge to this branch, which must still be at `ours`. Where one side holds the other
    /// no commit is made: the branch goes forwards to the whole.
    ///
    /// # Errors
    /// [`MergeError`]; `Commit(Update(Moved))` if the branch is elsewhere by now: merge again.
    pub fn commit_merge(&self, merge: &Merge, info: &Info) -> Result<Commit, MergeError> {
        let tree = merge.tree()?;
        let sides = merge.sides.as_ref().ok_or(MergeError::NoCommits)?;
        let untouched = merge.edit.is_unchanged();
        let commit = match &sides.whole {
            Some(whole) if untouched => whole.clone(),
            _ => Repo {
                store: self.store.clone(),
            }
            .commit_tree(&tree, &[&sides.ours, &sides.theirs], info)?,
        };
        let edit = RefEdit {
            name: self.name.clone(),
            expect: Some(sides.ours.id()).into(),
            new: Some(commit.id()),
        };
        self.store.update(&[edit])?;
        Ok(commit)
    }

    /// Merges a commit into this branch, again as often as somebody else moved it meanwhile. A
    /// branch without a commit begins with it.
    ///
    /// # Errors
    /// [`MergeError`]; `Conflicts` with all of them, and the branch is where it was.
    pub fn merge(
        &self,
        theirs: &Commit,
        rule: &dyn Rule,
        info: &Info,
    ) -> Result<Commit, MergeError> {
        let repo = Repo {
            store: self.store.clone(),
        };
        loop {
            let result = match self.head()? {
                None => self
                    .compare_and_set(None, Some(theirs))
                    .map(|()| theirs.clone())
                    .map_err(MergeError::from),
                Some(ours) => self.commit_merge(&repo.try_merge(&ours, theirs, rule)?, info),
            };
            match result {
                Err(MergeError::Commit(CommitError::Update(UpdateError::Moved {
                    name, ..
                }))) if name == self.name => {}
                result => return result,
            }
        }
    }
}

/// A merge that gave no tree.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The sides cannot both have their way; each conflict says where and why.
    #[error("{} to decide, the first at {}", plural(.0), .0.first().map(|one| &one.path).unwrap_or(&Path::default()))]
    Conflicts(Vec<Conflict>),
    /// There is no common ancestor.
    #[error("the two histories have no common ancestor")]
    Unrelated,
    /// Common ancestors have several common ancestors, too often.
    #[error(
        "the histories cross too often: more than {limit} merges of common ancestors would be needed"
    )]
    TooManyBases {
        /// How many are made at most.
        limit: usize,
    },
    /// The merge is one of trees: make a commit of its tree.
    #[error("a merge of trees has no commits to follow; commit its tree instead")]
    NoCommits,
    /// History could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The commit was not made or the branch did not move.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn plural(conflicts: &[Conflict]) -> String {
    match conflicts.len() {
        1 => "1 conflict".into(),
        n => alloc::format!("{n} conflicts"),
    }
}

impl From<ReadError> for MergeError {
    fn from(error: ReadError) -> MergeError {
        MergeError::Commit(error.into())
    }
}

impl From<WriteError> for MergeError {
    fn from(error: WriteError) -> MergeError {
        MergeError::Commit(error.into())
    }
}

impl From<UpdateError> for MergeError {
    fn from(error: UpdateError) -> MergeError {
        MergeError::Commit(error.into())
    }
}

#[cfg(test)]
mod tests;
