//! Branches: names that move from commit to commit.

use alloc::sync::Arc;
use core::fmt;

use crate::store::Store;
use crate::transaction::CommitError;
use crate::{
    BackendError, Commit, Expect, Id, Info, ReadError, RefEdit, RefName, Transaction, Tree,
    TreeEdit, UpdateError, WriteError,
};

/// A name that points to a commit, or does not yet. Holds no commit itself: each call looks anew.
#[derive(Clone)]
pub struct Branch {
    pub(crate) store: Arc<Store>,
    pub(crate) name: RefName,
}

impl Branch {
    /// The full name.
    pub fn name(&self) -> &RefName {
        &self.name
    }

    pub(crate) fn head_id(&self) -> Result<Option<Id>, BackendError> {
        self.store.backend.head(&self.name)
    }

    /// The commit that it points to now; `None` before the first. Tags of commits are followed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn head(&self) -> Result<Option<Commit>, ReadError> {
        self.head_id()?
            .map(|id| Commit::peel(&self.store, id))
            .transpose()
    }

    /// The tree of the head, as it is now; without a head the empty one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn tree(&self) -> Result<Tree, ReadError> {
        Ok(match self.head()? {
            Some(head) => head.tree(),
            None => self.empty_tree(),
        })
    }

    pub(crate) fn empty_tree(&self) -> Tree {
        Tree {
            store: self.store.clone(),
            root: self.store.empty,
            staged: None,
        }
    }

    /// Begins a change of what the branch holds now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn transaction(&self) -> Result<Transaction, ReadError> {
        Transaction::new(self.clone())
    }

    /// Changes the tree and commits, again from the start as often as somebody else was first.
    /// Changes of several callers happen one after the other (serialisable). What `change` gives back
    /// is dropped.
    ///
    /// # Errors
    /// [`CommitError`], never `Moved`; or what `change` gives.
    pub fn change<T>(
        &self,
        info: &Info,
        mut change: impl FnMut(&mut TreeEdit) -> Result<T, WriteError>,
    ) -> Result<Commit, CommitError> {
        loop {
            let mut transaction = self.transaction()?;
            change(&mut transaction)?;
            match transaction.commit(info) {
                Err(CommitError::Update(UpdateError::Moved { .. })) => {}
                result => return result,
            }
        }
    }

    /// Points it to `new`, or deletes it, if it points to `expected` now (compare and swap).
    ///
    /// # Errors
    /// [`UpdateError`]; `Moved` if it points elsewhere.
    pub fn compare_and_set(
        &self,
        expected: Option<&Commit>,
        new: Option<&Commit>,
    ) -> Result<(), UpdateError> {
        let expect = expected.map(Commit::id).into();
        self.store.update(&[RefEdit {
            name: self.name.clone(),
            expect,
            new: new.map(Commit::id),
        }])
    }

    /// Points it to this commit, whatever it points to now.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn set_head(&self, commit: &Commit) -> Result<(), UpdateError> {
        self.store.update(&[RefEdit {
            name: self.name.clone(),
            expect: Expect::Any,
            new: Some(commit.id()),
        }])
    }

    /// Deletes it if it points to this commit now.
    ///
    /// # Errors
    /// [`UpdateError`]; `Moved` if it points elsewhere, or is gone already.
    pub fn delete(&self, expected: &Commit) -> Result<(), UpdateError> {
        self.compare_and_set(Some(expected), None)
    }

    /// Gives the branch another name in one step; fails if a branch has it.
    ///
    /// # Errors
    /// [`UpdateError`]; `Moved` if there is no such branch, it moved meanwhile, or the name is taken.
    pub fn rename(&self, to: &RefName) -> Result<Branch, UpdateError> {
        let head = self.head_id()?.ok_or_else(|| UpdateError::Moved {
            name: self.name.clone(),
            found: None,
        })?;
        self.store.update(&[
            RefEdit {
                name: self.name.clone(),
                expect: Expect::Is(head),
                new: None,
            },
            RefEdit {
                name: to.clone(),
                expect: Expect::Missing,
                new: Some(head),
            },
        ])?;
        Ok(Branch {
            store: self.store.clone(),
            name: to.clone(),
        })
    }

    /// Moves it forwards to this commit, only if that has the head in its history.
    ///
    /// # Errors
    /// [`MoveError`]; `NotForwards` if the head is not among the commit's ancestors. Nothing moves then.
    pub fn fast_forward(&self, to: &Commit) -> Result<(), MoveError> {
        loop {
            let head = self.head_id().map_err(ReadError::from)?;
            if let Some(head) = head {
                let head = Commit::peel(&self.store, head)?;
                if !to.has_ancestor(&head)? {
                    return Err(MoveError::NotForwards {
                        name: self.name.clone(),
                        head: head.id(),
                        to: to.id(),
                    });
                }
            }
            let edit = RefEdit {
                name: self.name.clone(),
                expect: head.into(),
                new: Some(to.id()),
            };
            match self.store.update(&[edit]) {
                Err(UpdateError::Moved { .. }) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Branch({})", self.name)
    }
}

/// A branch that did not move.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// It would lose commits.
    #[error(
        "{name} cannot go forwards from {head} to {to}, which does not follow it; merge them first"
    )]
    NotForwards {
        /// The branch.
        name: RefName,
        /// Where it is.
        head: Id,
        /// Where it should go.
        to: Id,
    },
    /// The name could not be moved.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// History could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
