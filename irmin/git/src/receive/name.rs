//! Naming what comes, and holding it against what is here.

use std::collections::HashSet;

use irmin::{Format, Id, Kind};
use irmin_packfile::PackError;

use crate::error::Result;
use crate::odb::{Odb, Packs};

/// Names objects, with collision detection; those of an id that is here must be the same.
pub(super) struct Namer<'a> {
    odb: &'a Odb,
    packs: Packs,
    /// Listed once: a look at a file for each object that comes costs more than the rest.
    loose: HashSet<Id>,
}

impl Namer<'_> {
    pub(super) fn new(odb: &Odb) -> Result<Namer<'_>> {
        let (packs, loose) = odb.now()?;
        Ok(Namer { odb, packs, loose })
    }

    pub(super) fn format(&self) -> Format {
        self.odb.format()
    }

    pub(super) fn name(&self, kind: Kind, data: &[u8]) -> Result<Id, PackError> {
        let id = self.format().id(kind, data)?;
        if self.loose.contains(&id) || self.packs.iter().any(|pack| pack.has(&id)) {
            // What is here and damaged is no reason to refuse what came.
            let here = self.odb.read(&id).ok().flatten();
            if here.is_some_and(|(found, bytes)| found != kind || bytes != data) {
                return Err(PackError::Differs { id });
            }
        }
        Ok(id)
    }
}
