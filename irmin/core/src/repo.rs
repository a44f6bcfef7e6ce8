//! A store as its users see it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::store::Store;
use crate::{
    Backend, BackendError, Branch, Commit, Format, Id, Info, ReadError, RefEdit, RefName,
    RefNameError, Tree, UpdateError, WriteError,
};

/// A store: branches of commits of trees, kept by a backend. Cloning gives another handle to it.
///
/// ```
/// use irmin::{Format, Info, Memory, Repo, Signature};
///
/// let repo = Repo::new(Memory::new(Format::Native));
/// let main = repo.branch("main")?;
/// let who = Signature::new("Ada", "ada@example.org", 1_429_538_400, 0);
///
/// let mut change = main.transaction()?;
/// change.set("greeting/en", "hello")?;
/// change.commit(&Info::new(who, "Greet"))?;
///
/// assert_eq!(main.tree()?.get("greeting/en")?.unwrap(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Repo {
    pub(crate) store: Arc<Store>,
}

impl Repo {
    /// A store on this backend, with 64 MiB for pages read lately.
    pub fn new(backend: impl Backend + 'static) -> Repo {
        Repo::with_cache(backend, 64 << 20)
    }

    /// A store on this backend with about so many bytes for pages read lately.
    pub fn with_cache(backend: impl Backend + 'static, bytes: usize) -> Repo {
        Repo {
            store: Arc::new(Store::new(Box::new(backend), bytes)),
        }
    }

    /// The format of all its objects.
    pub fn format(&self) -> Format {
        self.store.format
    }

    /// What keeps it.
    pub fn backend(&self) -> &dyn Backend {
        &*self.store.backend
    }

    /// The branch of this short name (`main`), whether it has a commit yet or not.
    ///
    /// # Errors
    /// [`RefNameError`] if no branch can have this name.
    pub fn branch(&self, name: &str) -> Result<Branch, RefNameError> {
        Ok(self.named(RefName::branch(name)?))
    }

    /// What has this full name (`refs/heads/main`, `refs/tags/v1`), as a branch.
    pub fn named(&self, name: RefName) -> Branch {
        Branch {
            store: self.store.clone(),
            name,
        }
    }

    /// All branches that have a commit, by name.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn branches(&self) -> Result<Vec<Branch>, BackendError> {
        let heads = self.backend().heads("refs/heads/")?;
        Ok(heads
            .into_iter()
            .map(|(name, _)| self.named(name))
            .collect())
    }

    /// The commit of this id.
    ///
    /// # Errors
    /// [`ReadError`]; `Missing` if it is not here, `WrongKind` if it is none.
    pub fn commit(&self, id: &Id) -> Result<Commit, ReadError> {
        Commit::read(&self.store, id)
    }

    /// The commit of this id, or the one that the tag of this id means.
    ///
    /// # Errors
    /// [`ReadError`]; `Missing` if it is not here, `WrongKind` if it is neither.
    pub fn peel(&self, id: &Id) -> Result<Commit, ReadError> {
        Commit::peel(&self.store, *id)
    }

    /// The tree of this id. Nothing is read: a tree that is not here fails when it is looked into.
    pub fn tree(&self, id: &Id) -> Tree {
        Tree {
            store: self.store.clone(),
            root: *id,
            staged: None,
        }
    }

    /// The tree without entries: where detached work begins.
    pub fn empty_tree(&self) -> Tree {
        self.tree(&self.store.empty)
    }

    /// Writes a commit that no branch points to yet, with what its tree needs.
    ///
    /// # Errors
    /// [`WriteError`]; a parent that is not here is `Missing`.
    pub fn commit_tree(
        &self,
        tree: &Tree,
        parents: &[&Commit],
        info: &Info,
    ) -> Result<Commit, WriteError> {
        let parents = parents.iter().map(|parent| parent.id()).collect();
        let (commit, object) = Commit::make(&self.store, tree.id(), parents, info)?;
        let mut objects = tree.unwritten()?;
        if tree.id() == self.store.empty {
            objects.push(self.store.empty_object());
        }
        objects.push(object);
        self.store.backend.write(&objects)?;
        Ok(commit)
    }

    /// Writes what a tree needs and the backend lacks. Nothing points to it yet.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write_tree(&self, tree: &Tree) -> Result<(), WriteError> {
        let mut objects = tree.unwritten()?;
        if tree.id() == self.store.empty {
            objects.push(self.store.empty_object());
        }
        Ok(self
            .store
            .backend
            .write(&objects)
            .map_err(ReadError::from)?)
    }

    /// Moves several names at once, or none, see [`Backend::update`].
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        self.store.update(edits)
    }

    /// Returns when all that was committed before survives a loss of power.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn flush(&self) -> Result<(), BackendError> {
        self.store.backend.flush()
    }
}
