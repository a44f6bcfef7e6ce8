//! The whole boundary to storage: objects, names that point to them, and nothing else.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;

use crate::{CommitIndex, Format, Id, Object, RefEdit, RefName};

/// What keeps the objects of a store and the names that point to them.
///
/// A backend stores bytes under ids that its caller computed, and moves names atomically. It knows
/// nothing of trees, merges or watches. Every method may be called from several threads at once;
/// each returns when its work is done and none waits for another caller's next step.
///
/// **What every backend keeps** (the suite `irmin::conformance` checks it):
/// 1. An object that [`write`](Backend::write) acknowledged is read back, bit for bit, by this value
///    and everyone who opens the same store afterwards, until it is collected as garbage.
/// 2. No reader sees a name point to an object that it cannot read.
/// 3. [`update`](Backend::update) is atomic: all its edits happen, or none; between two updates of
///    one name there is an order, and every `expect` was true at that point of it.
/// 4. Only what a [`flush`](Backend::flush) followed is promised to survive a loss of power; what
///    survives is always a state that keeps 2 (objects reach the disk before names that need them).
/// 5. Damage is an error ([`BackendError::Corrupt`]), never other bytes.
pub trait Backend: Send + Sync {
    /// The one format of all objects here. Never changes.
    fn format(&self) -> Format;

    /// The object of this id; `None` if it is not here.
    ///
    /// The bytes are what was written: a backend checks its own checksums and need not hash again.
    ///
    /// # Errors
    /// [`BackendError`]; `Corrupt` if the object is here and cannot be had back exactly.
    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError>;

    /// Whether the object is here, without reading its bytes where that can be avoided.
    ///
    /// # Errors
    /// [`BackendError`].
    fn contains(&self, id: &Id) -> Result<bool, BackendError>;

    /// Stores these objects. Returns when all of them can be read; on an error any part of them may
    /// be here, which is harmless: nothing points to them.
    ///
    /// The caller guarantees that each id is the hash of its object. Writing an object that is here
    /// already does nothing. An object may come before those it refers to.
    ///
    /// # Errors
    /// [`BackendError`].
    fn write(&self, objects: &[Object]) -> Result<(), BackendError>;

    /// All ids that begin with these lower-case hexadecimal digits, in order, at most `limit`.
    ///
    /// # Errors
    /// [`BackendError`].
    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError>;

    /// What the name points to; `None` if there is no such name. A symbolic name, such as Git's
    /// `HEAD`, is followed.
    ///
    /// # Errors
    /// [`BackendError`].
    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError>;

    /// All names that begin with this text (`refs/heads/`), with what they point to, ordered by name.
    /// Symbolic names are left out.
    ///
    /// # Errors
    /// [`BackendError`].
    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError>;

    /// Moves, makes and deletes names: all of the edits, or none. An edit of a symbolic name edits
    /// the name that it stands for.
    ///
    /// # Errors
    /// [`UpdateError::Moved`] if an `expect` does not hold, [`UpdateError::NoSuchObject`] if a name
    /// would point to what is not here, [`UpdateError::Clash`] if one name would be a directory of
    /// another (`refs/heads/a` and `refs/heads/a/b`, which a Git repository cannot keep, so that no
    /// backend does) or is edited twice; else [`UpdateError::Backend`]. After any of them nothing has
    /// moved.
    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError>;

    /// Returns when all that was written and moved before the call survives a loss of power.
    ///
    /// # Errors
    /// [`BackendError`]: what came since the last good flush may be lost.
    fn flush(&self) -> Result<(), BackendError>;

    /// A number that differs whenever a name may have moved since the last call, through this value
    /// or by another process. Costs little (a look at a few files at most): watches poll it.
    ///
    /// # Errors
    /// [`BackendError`].
    fn generation(&self) -> Result<u64, BackendError>;

    /// Has `hook` called, from any thread, soon after something else than this value moved a name;
    /// `false` where that cannot be noticed, and whoever watches has to poll
    /// [`generation`](Backend::generation). The hook returns at once. The backend drops it when the
    /// hook returns `false` or with itself.
    fn on_change(&self, hook: Hook) -> bool {
        let _ = hook;
        false
    }

    /// The backend's index of commits as it is now; `None` if there is none, if it does not hold
    /// generations, or if [`shallow`](Backend::shallow) leaves out what it knows.
    ///
    /// It is asked for before each question about history and costs little; as long as nothing is
    /// added the same value is given again, so that what was found with it stays known.
    ///
    /// # Errors
    /// [`BackendError`].
    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        Ok(None)
    }

    /// The commits whose parents are left out on purpose (Git's `shallow` file), in any order.
    ///
    /// # Errors
    /// [`BackendError`].
    fn shallow(&self) -> Result<Vec<Id>, BackendError> {
        Ok(Vec::new())
    }

    /// Says anew which commits have their parents left out. All other commits have them: who fetched
    /// writes them first, and nothing here checks it.
    ///
    /// # Errors
    /// [`BackendError`]; `Refused` where histories are always whole.
    fn set_shallow(&self, commits: &[Id]) -> Result<(), BackendError> {
        if commits.is_empty() && self.shallow()?.is_empty() {
            return Ok(());
        }
        Err(BackendError::Refused {
            what: "histories that are cut off (shallow): it keeps whole ones only".into(),
        })
    }

    /// The branch that is meant where none is named (Git's `HEAD`): `refs/heads/main` unless the
    /// backend knows better.
    ///
    /// # Errors
    /// [`BackendError`].
    fn default_branch(&self) -> Result<RefName, BackendError> {
        Ok(RefName::new("refs/heads/main").expect("a good name"))
    }

    /// Says which branch is meant where none is named; it need not exist yet.
    ///
    /// # Errors
    /// [`BackendError`]; `Refused` where it is always `refs/heads/main`.
    fn set_default_branch(&self, name: &RefName) -> Result<(), BackendError> {
        if *name == self.default_branch()? {
            return Ok(());
        }
        Err(BackendError::Refused {
            what: "another default branch than the one it has".into(),
        })
    }
}

/// Called when a name may have moved; returns whether it wants to be called again.
pub type Hook = Box<dyn Fn() -> bool + Send + Sync>;

/// Storage that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The store holds something else than was written.
    #[error("{what} is damaged; check the store (fsck) and restore it from another copy")]
    Corrupt {
        /// Which object, file or place, and what is wrong with it.
        what: String,
    },
    /// No room is left.
    #[error("the store is full: {what}")]
    Full {
        /// What found no room.
        what: String,
    },
    /// Another writer holds a lock that did not go away.
    #[error("{what} is locked; if no other program is at work, remove the lock")]
    Locked {
        /// Which file or place.
        what: String,
    },
    /// The store does not take this, now or ever.
    #[error("the store refuses: {what}")]
    Refused {
        /// What it refuses, and why.
        what: String,
    },
    /// A system call, device or network failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// Why it failed.
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Names that did not move.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// Somebody else moved the name first.
    #[error("{name} has moved{}; read it again and retry", found_text(found))]
    Moved {
        /// Which name.
        name: RefName,
        /// What it points to.
        found: Option<Id>,
    },
    /// The object that the name should point to is not in the store.
    #[error("{name} cannot point to {id}: the store has no such object")]
    NoSuchObject {
        /// Which name.
        name: RefName,
        /// The object that is missing.
        id: Id,
    },
    /// One name would be a directory of another, or is edited twice.
    #[error(
        "{name} and {other} cannot both be edited so: a name is no directory of another, and has one edit"
    )]
    Clash {
        /// The name that was to be made.
        name: RefName,
        /// The name that is in its way.
        other: RefName,
    },
    /// Storage failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn found_text(found: &Option<Id>) -> String {
    match found {
        Some(id) => alloc::format!(" to {id}"),
        None => String::from(" (it is gone)"),
    }
}

impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn format(&self) -> Format {
        (**self).format()
    }
    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        (**self).read(id)
    }
    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        (**self).contains(id)
    }
    fn write(&self, objects: &[Object]) -> Result<(), BackendError> {
        (**self).write(objects)
    }
    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        (**self).ids(prefix, limit)
    }
    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        (**self).head(name)
    }
    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        (**self).heads(prefix)
    }
    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        (**self).update(edits)
    }
    fn flush(&self) -> Result<(), BackendError> {
        (**self).flush()
    }
    fn generation(&self) -> Result<u64, BackendError> {
        (**self).generation()
    }
    fn on_change(&self, hook: Hook) -> bool {
        (**self).on_change(hook)
    }
    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        (**self).commit_index()
    }
    fn shallow(&self) -> Result<Vec<Id>, BackendError> {
        (**self).shallow()
    }
    fn set_shallow(&self, commits: &[Id]) -> Result<(), BackendError> {
        (**self).set_shallow(commits)
    }
    fn default_branch(&self) -> Result<RefName, BackendError> {
        (**self).default_branch()
    }
    fn set_default_branch(&self, name: &RefName) -> Result<(), BackendError> {
        (**self).set_default_branch(name)
    }
}
