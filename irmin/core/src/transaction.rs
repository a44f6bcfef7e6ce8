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
        let (tree, mut objects, replaced) = self.edit.build()?;
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
        store.replaced(&replaced);
        store.remember(&commit);
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::{Format, Memory, MoveError, Repo, Signature};

    fn info() -> Info {
        Info::new(Signature::new("A", "a@b", 1, 0), "m\n")
    }

    fn value(edit: &TreeEdit, path: &str) -> i64 {
        edit.value(path).unwrap().unwrap_or(0)
    }

    #[test]
    fn reads_are_those_of_the_beginning_with_the_changes_made_since() {
        let repo = Repo::new(Memory::new(Format::Native));
        let main = repo.branch("main").unwrap();
        main.change(&info(), |edit| edit.set("x", "1")).unwrap();
        let mut mine = main.transaction().unwrap();
        main.change(&info(), |edit| edit.set("x", "2")).unwrap();
        assert_eq!(value(&mine, "x"), 1, "a snapshot");
        mine.set("y", "5").unwrap();
        assert_eq!(value(&mine, "y"), 5);
        assert!(
            main.tree().unwrap().get("y").unwrap().is_none(),
            "nobody else sees what is not committed"
        );
        assert!(matches!(
            mine.commit(&info()),
            Err(CommitError::Update(UpdateError::Moved { .. }))
        ));
        assert_eq!(
            main.tree().unwrap().get("x").unwrap().unwrap(),
            "2",
            "a commit that failed moved nothing"
        );
    }

    #[test]
    fn of_two_transactions_that_each_read_what_the_other_writes_one_is_refused() {
        let repo = Repo::new(Memory::new(Format::GitSha1));
        let main = repo.branch("main").unwrap();
        main.change(&info(), |edit| {
            edit.set("on-call/ada", "1")
                .and(edit.set("on-call/bob", "1"))
        })
        .unwrap();
        let (mut ada, mut bob) = (main.transaction().unwrap(), main.transaction().unwrap());
        // Each goes only if the other stays: write skew, if both could.
        assert!(value(&ada, "on-call/bob") == 1 && value(&bob, "on-call/ada") == 1);
        ada.set("on-call/ada", "0").unwrap();
        bob.set("on-call/bob", "0").unwrap();
        ada.commit(&info()).unwrap();
        assert!(bob.commit(&info()).is_err());
    }

    #[test]
    fn no_change_of_many_threads_is_lost_and_the_first_commit_is_made_once() {
        let repo = Repo::new(Memory::new(Format::Native));
        let main = repo.branch("main").unwrap();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        let add =
                            |edit: &mut TreeEdit| edit.set("n", (value(edit, "n") + 1).to_string());
                        main.change(&info(), add).unwrap();
                    }
                });
            }
        });
        assert_eq!(main.tree().unwrap().value("n").unwrap(), Some(200i64));
        assert_eq!(main.head().unwrap().unwrap().log().count(), 200);
    }

    #[test]
    fn branches_are_renamed_deleted_and_moved_only_as_expected() {
        let repo = Repo::new(Memory::new(Format::GitSha256));
        let main = repo.branch("main").unwrap();
        let first = main.change(&info(), |edit| edit.set("x", "1")).unwrap();
        let second = main.change(&info(), |edit| edit.set("x", "2")).unwrap();
        assert_eq!(
            main.change(&info(), |edit| edit.set("x", "2")).unwrap(),
            second,
            "no change, no commit"
        );
        let other = repo.branch("other").unwrap();
        other.fast_forward(&first).unwrap();
        other.fast_forward(&second).unwrap();
        assert!(matches!(
            other.fast_forward(&first),
            Err(MoveError::NotForwards { .. })
        ));
        assert!(main.rename(other.name()).is_err(), "the name is taken");
        assert!(other.delete(&first).is_err(), "it is elsewhere");
        other.delete(&second).unwrap();
        let renamed = main.rename(other.name()).unwrap();
        assert_eq!(
            (main.head().unwrap(), renamed.head().unwrap()),
            (None, Some(second))
        );
        assert_eq!(repo.branches().unwrap().len(), 1);
        assert!(
            main.tree().unwrap().is_empty().unwrap(),
            "without a commit it holds nothing"
        );
    }
}
