//! Changes of a branch, committed at once.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use crate::{Branch, Commit, Id, Info, ReadError, RefEdit, TreeEdit, UpdateError, WriteError};

/// A change of a branch: reads see the branch as it was at the beginning (a snapshot), with the
/// changes made here.
///
/// [`commit`](Transaction::commit) succeeds only if nobody moved the branch since, so that
/// transactions are **serialisable**: what was read is still true when the commit happens.
/// Dropping it changes nothing.
///
/// It is a [`TreeEdit`]: set, remove, rename and get are its methods.
pub struct Transaction {
    branch: Branch,
    /// What the branch pointed to: the base, or a tag of it.
    head: Option<Id>,
    base: Option<Commit>,
    edit: TreeEdit,
}

impl Transaction {
    pub(crate) fn new(branch: Branch) -> Result<Transaction, ReadError> {
        let head = branch.head_id()?;
        let base = head.map(|id| Commit::peel(&branch.store, id)).transpose()?;
        let edit = match &base {
            Some(base) => base.tree().edit(),
            None => branch.empty_tree().edit(),
        };
        Ok(Transaction {
            branch,
            head,
            base,
            edit,
        })
    }

    /// The commit that it began from; `None` if the branch had none.
    pub fn base(&self) -> Option<&Commit> {
        self.base.as_ref()
    }

    /// The branch that it changes.
    pub fn branch(&self) -> &Branch {
        &self.branch
    }

    /// Commits the changes to the branch, which must not have moved. If nothing is different, no
    /// commit is made and the one that it began from is returned; a branch's first commit may be
    /// empty.
    ///
    /// # Errors
    /// [`CommitError`]; `Update(Moved)` if somebody else was first: begin again, or see
    /// [`Branch::change`]. The branch is as it was.
    pub fn commit(&self, info: &Info) -> Result<Commit, CommitError> {
        let store = &self.branch.store;
        let (tree, mut objects) = self.edit.build()?;
        if let Some(base) = &self.base
            && base.data().tree == tree
        {
            return Ok(base.clone());
        }
        if self.edit.base().staged.is_some() {
            // Directories that other edits made came in whole.
            objects = self.edit.finish()?.unwritten()?;
            if tree == store.empty {
                objects.push(store.empty_object());
            }
        }
        let parents: Vec<_> = self.base.iter().map(Commit::id).collect();
        let (commit, object) = Commit::make(store, tree, parents, info)?;
        objects.push(object);
        store.backend.write(&objects).map_err(WriteError::from)?;
        let expect = self.head.into();
        store.update(&[RefEdit {
            name: self.branch.name.clone(),
            expect,
            new: Some(commit.id()),
        }])?;
        Ok(commit)
    }
}

impl Deref for Transaction {
    type Target = TreeEdit;

    fn deref(&self) -> &TreeEdit {
        &self.edit
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut TreeEdit {
        &mut self.edit
    }
}

/// A commit that was not made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The branch did not move.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Reading or writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> CommitError {
        CommitError::Write(error.into())
    }
}
