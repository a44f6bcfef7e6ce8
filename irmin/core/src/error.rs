//! Why reading or writing a tree or a commit failed.

use alloc::string::String;

use crate::raw::Malformed;
use crate::{BackendError, CollisionAttack, Id, Kind, NotContents, Path, PathError, ValueError};

/// Something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Storage failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// An object that another refers to is not in the store.
    #[error(
        "the store lacks {kind} {id}, which it should hold; fetch it again or check the store (fsck)"
    )]
    Missing {
        /// The object.
        id: Id,
        /// What it should be.
        kind: Kind,
    },
    /// An object is of another kind than the reference to it says.
    #[error("{id} should be a {kind}, and is a {found}")]
    WrongKind {
        /// The object.
        id: Id,
        /// What it should be.
        kind: Kind,
        /// What it is.
        found: Kind,
    },
    /// An object's bytes mean nothing.
    #[error("{id}: {malformed}")]
    Malformed {
        /// The object.
        id: Id,
        /// What is wrong.
        malformed: Malformed,
    },
    /// The path given is none.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Something could not be written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What is there already could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Contents that were built to collide with others.
    #[error(transparent)]
    Collision(#[from] CollisionAttack),
    /// A directory is needed where a file is.
    #[error("{path} is a file: remove it before something is put below it")]
    FileInTheWay {
        /// The file.
        path: Path,
    },
    /// A file is to be put where a directory is.
    #[error("{path} is a directory: remove it before a file is put there")]
    DirInTheWay {
        /// The directory.
        path: Path,
    },
    /// There is nothing to rename.
    #[error("{path} does not exist")]
    NotFound {
        /// The path.
        path: Path,
    },
    /// More than the format can hold.
    #[error("{what} is too large for the format")]
    TooLarge {
        /// What.
        what: String,
    },
    /// A file does not hold the value that a change depends on, or a value cannot be written.
    #[error("{path}: {error}")]
    Value {
        /// The file.
        path: String,
        /// Why.
        error: NotContents,
    },
}

impl From<ValueError> for WriteError {
    fn from(error: ValueError) -> WriteError {
        match error {
            ValueError::Write(error) => error,
            ValueError::Contents { path, error } => WriteError::Value { path, error },
        }
    }
}

impl From<BackendError> for WriteError {
    fn from(error: BackendError) -> WriteError {
        WriteError::Read(error.into())
    }
}

impl From<PathError> for WriteError {
    fn from(error: PathError) -> WriteError {
        WriteError::Read(error.into())
    }
}
