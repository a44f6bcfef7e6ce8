//! What a name in a directory stands for.

use bytes::Bytes;

use crate::Id;
use crate::raw::Mode;

/// An entry of a directory: a mode, and contents or the object that holds them.
///
/// Two entries are equal if mode and contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) mode: Mode,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// In an object.
    Id(Id),
    /// Here: small contents in a native page, or contents not yet written.
    Here(Bytes),
}

impl Entry {
    /// What it is.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode == Mode::Dir
    }

    /// The object behind it: a blob, a directory's (first) page, or a module's commit. `None` where
    /// the contents stand in the directory itself, as small ones do in the native format.
    pub fn id(&self) -> Option<Id> {
        match self.content {
            Content::Id(id) => Some(id),
            Content::Here(_) => None,
        }
    }

    pub(crate) fn dir(id: Id) -> Entry {
        Entry {
            mode: Mode::Dir,
            content: Content::Id(id),
        }
    }

    /// The first page, if this is a directory.
    pub(crate) fn dir_id(&self) -> Option<Id> {
        self.id().filter(|_| self.is_dir())
    }
}
