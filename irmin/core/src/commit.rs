//! Commits as values.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::raw::{CommitData, Signature};
use crate::store::Store;
use crate::{Id, Kind, Object, ReadError, Tree, WriteError};

/// A commit: a tree, the commits before it, and who says so. Never changes; cloning costs little.
#[derive(Clone)]
pub struct Commit {
    pub(crate) store: Arc<Store>,
    id: Id,
    data: Arc<CommitData>,
}

/// What a new commit says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Who made the change, and when.
    pub author: Signature,
    /// Who made the commit, and when.
    pub committer: Signature,
    /// Any text. Git's tools like a short first line, and a line end at the end.
    pub message: String,
}

impl Info {
    /// Author and committer are the same.
    pub fn new(who: Signature, message: impl Into<String>) -> Info {
        Info {
            author: who.clone(),
            committer: who,
            message: message.into(),
        }
    }
}

impl Commit {
    pub(crate) fn shared_data(&self) -> Arc<CommitData> {
        self.data.clone()
    }

    pub(crate) fn read(store: &Arc<Store>, id: &Id) -> Result<Commit, ReadError> {
        Ok(Commit {
            store: store.clone(),
            id: *id,
            data: Arc::new(store.commit(id)?),
        })
    }

    /// The commit that this id is or, as a tag, means.
    pub(crate) fn peel(store: &Arc<Store>, id: Id) -> Result<Commit, ReadError> {
        let (id, data) = store.peeled(id)?;
        Ok(Commit {
            store: store.clone(),
            id,
            data,
        })
    }

    /// A new commit's value and object; nothing is written.
    pub(crate) fn make(
        store: &Arc<Store>,
        tree: Id,
        parents: Vec<Id>,
        info: &Info,
    ) -> Result<(Commit, Object), WriteError> {
        let data = CommitData {
            tree,
            parents,
            author: info.author.clone(),
            committer: info.committer.clone(),
            headers: Vec::new(),
            message: Some(info.message.clone().into_bytes()),
        };
        let object = Object::new(store.format, Kind::Commit, data.encode())?;
        Ok((
            Commit {
                store: store.clone(),
                id: object.id,
                data: Arc::new(data),
            },
            object,
        ))
    }

    /// The commit's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// All that it says, headers included.
    pub fn data(&self) -> &CommitData {
        &self.data
    }

    /// The tree, as it was then.
    pub fn tree(&self) -> Tree {
        Tree {
            store: self.store.clone(),
            root: self.data.tree,
            staged: None,
        }
    }

    /// The commits before it, in their order.
    pub fn parents(&self) -> &[Id] {
        &self.data.parents
    }

    /// The message, with what is no UTF-8 replaced.
    pub fn message(&self) -> String {
        String::from_utf8_lossy(self.data.message.as_deref().unwrap_or_default()).into_owned()
    }
}

impl PartialEq for Commit {
    fn eq(&self, other: &Commit) -> bool {
        self.id == other.id
    }
}

impl Eq for Commit {}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commit({})", self.id)
    }
}
