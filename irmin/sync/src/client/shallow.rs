//! Histories that are cut off.

use std::collections::BTreeSet;

use irmin::raw::CommitData;
use irmin::{BackendError, Format, Id, Kind};
use irmin_packfile::PackStore;

use super::fetch::Depth;
use crate::advertisement::id;
use crate::capabilities::INFINITE;
use crate::error::{SyncError, protocol};
use crate::text::quote;

/// What a server says of where our history will end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Boundary {
    pub shallow: Vec<Id>,
    pub unshallow: Vec<Id>,
}

impl Boundary {
    /// Takes in a line `shallow ID` or `unshallow ID`.
    pub fn line(&mut self, format: Format, line: &[u8]) -> Result<(), SyncError> {
        if let Some(hex) = line.strip_prefix(b"shallow ") {
            self.shallow.push(id(format, hex)?);
        } else if let Some(hex) = line.strip_prefix(b"unshallow ") {
            self.unshallow.push(id(format, hex)?);
        } else {
            return protocol(format!(
                "{:?} says nothing of where the history ends",
                quote(line)
            ));
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.shallow.is_empty() && self.unshallow.is_empty()
    }

    /// Where the history ends from now on.
    pub fn after(&self, before: &[Id]) -> Vec<Id> {
        let mut after: BTreeSet<Id> = before.iter().copied().collect();
        after.extend(&self.shallow);
        for id in &self.unshallow {
            after.remove(id);
        }
        after.into_iter().collect()
    }

    /// The parents of the commits that get them now: they have to be here too.
    pub fn new_parents(&self, store: &dyn PackStore) -> Result<Vec<Id>, SyncError> {
        let mut parents = Vec::new();
        for id in &self.unshallow {
            let Some(object) = store.read(id)?.filter(|object| object.kind == Kind::Commit) else {
                return protocol(format!("it gives parents to {id}, which is not here"));
            };
            let data = CommitData::decode_links(store.format(), &object.data).map_err(|wrong| {
                BackendError::Corrupt {
                    what: format!("{id} ({wrong})"),
                }
            })?;
            parents.extend(data.1);
        }
        Ok(parents)
    }
}

/// The lines that ask for a depth.
pub(super) fn arguments(depth: Depth) -> Vec<String> {
    match depth {
        Depth::AsIs => Vec::new(),
        Depth::At(depth) => vec![format!("deepen {}", depth.get())],
        Depth::More(more) => vec![format!("deepen {}", more.get()), "deepen-relative".into()],
        Depth::Whole => vec![format!("deepen {INFINITE}")],
    }
}
