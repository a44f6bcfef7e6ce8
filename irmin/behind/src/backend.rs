//! The store as a backend: the engine's, with a bound on what waits.

use alloc::sync::Arc;
use alloc::vec::Vec;

use irmin::{
    Backend, BackendError, CommitIndex, Format, Hook, Id, Object, RefEdit, RefName, UpdateError,
};

use crate::Behind;

impl Backend for Behind {
    fn format(&self) -> Format {
        self.pack.format()
    }

    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        self.pack.read(id)
    }

    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        self.pack.contains(id)
    }

    /// As promised, and `Full` where too much waits to be persisted.
    fn write(&self, objects: &[Object]) -> Result<(), BackendError> {
        self.check_backlog()?;
        self.pack.write(objects)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        self.pack.ids(prefix, limit)
    }

    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        self.pack.head(name)
    }

    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        self.pack.heads(prefix)
    }

    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        self.pack.update(edits)
    }

    /// Sets a barrier and returns at once: what came before it is durable when
    /// [`durable`](Behind::durable) says so.
    fn flush(&self) -> Result<(), BackendError> {
        self.pack.flush()
    }

    fn generation(&self) -> Result<u64, BackendError> {
        self.pack.generation()
    }

    fn on_change(&self, hook: Hook) -> bool {
        self.pack.on_change(hook)
    }

    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        self.pack.commit_index()
    }

    fn shallow(&self) -> Result<Vec<Id>, BackendError> {
        self.pack.shallow()
    }

    fn set_shallow(&self, commits: &[Id]) -> Result<(), BackendError> {
        self.pack.set_shallow(commits)
    }

    fn default_branch(&self) -> Result<RefName, BackendError> {
        self.pack.default_branch()
    }

    fn set_default_branch(&self, name: &RefName) -> Result<(), BackendError> {
        self.pack.set_default_branch(name)
    }
}
