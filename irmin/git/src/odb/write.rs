//! Writing objects: a pack a batch, and few packs in the end.

use std::collections::{HashSet, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use irmin::{Id, Object};
use irmin_packfile::zlib::Effort;
use irmin_packfile::{PackError, TakeOptions, Taken};

use super::fold::Replaced;
use super::pending::Pending;
use super::{Odb, UNPOISONED};
use crate::error::Result;
use crate::file;
use crate::loose;
use crate::pack::{Built, Gather, Pack, Writer};

/// What only one thread at a time does.
#[derive(Default)]
pub(super) struct Writing {
    /// Packs that would not survive a loss of power yet.
    pub(super) unsynced: HashSet<PathBuf>,
    /// Packs whose objects are in another, the longest first.
    pub(super) replaced: VecDeque<Replaced>,
    /// Packs whose objects no name leads to yet.
    pub(super) pending: Pending,
}

/// A batch up to this size is written as it is: it is folded into a larger pack soon, and squeezed
/// then.
const SMALL: usize = 64 << 10;

impl Odb {
    /// Writes those of the objects that are not here, as one pack.
    pub(crate) fn write(&self, objects: &[Object]) -> Result<()> {
        let writing = self.writing.lock().expect(UNPOISONED);
        let packs = self.packs();
        let mut seen = HashSet::with_capacity(objects.len());
        let mut new = Vec::with_capacity(objects.len());
        for object in objects {
            if seen.insert(object.id) && !self.is_spared(&packs, &object.id) {
                new.push(object);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let size: usize = new.iter().map(|object| object.data.len()).sum();
        let folder = self.pack_folder();
        let built = if size <= SMALL {
            let mut writer = Writer::new(&folder, self.format, new.len(), Effort::Stored)?;
            for object in new.iter().rev() {
                writer.whole(object.id, object.kind, &object.data)?;
            }
            writer.finish()?.place(true)?
        } else {
            let writer = Writer::new(&folder, self.format, new.len(), Effort::Usual)?;
            let mut gather = Gather::new(self.format, writer);
            for object in new.iter().rev() {
                gather.push(object.id, object.kind, &object.data)?;
            }
            gather.into_writer().finish()?.place(true)?
        };
        // What was just written is what the next edit reads.
        if size <= SMALL {
            for object in new {
                if let Some(offset) = built.offset(&object.id) {
                    self.keep(&built.pack, offset, object.kind, &object.data, true);
                }
            }
        }
        self.came(writing, built);
        Ok(())
    }

    /// Takes in a whole pack, as [`write`](Odb::write) takes in a batch.
    pub(crate) fn take(
        &self,
        pack: &mut dyn Read,
        options: TakeOptions<'_>,
    ) -> Result<Taken, PackError> {
        let (taken, built) = crate::receive::take(self, pack, options)?;
        if let Some(built) = built {
            self.came(self.writing.lock().expect(UNPOISONED), built);
        }
        Ok(taken)
    }

    /// Makes a pack known that this thread wrote, and that no name leads to yet.
    fn came(&self, mut writing: MutexGuard<'_, Writing>, built: Built) {
        writing.unsynced.insert(built.pack.path.clone());
        writing.pending.push(built.pack.path.clone());
        self.add(built, &HashSet::new());
        drop(writing);
        self.fold_soon();
    }

    /// This thread moved a name: what it wrote before is led to now.
    pub(crate) fn release(&self) {
        self.writing.lock().expect(UNPOISONED).pending.release();
    }

    /// Whether the object is here and stays: Git's garbage collection spares what was lately written,
    /// and by the time of its file it decides.
    fn is_spared(&self, packs: &[Arc<Pack>], id: &Id) -> bool {
        packs.iter().any(|pack| {
            pack.has(id)
                // In a pack of what is about to go, whose times are not the file's: written again.
                && !pack.is_cruft()
                && pack.freshen()
        }) || self.folders[1..]
            .iter()
            .any(|folder| loose::freshen(folder, id))
    }

    /// Makes a new pack known, and forgets those that it replaces.
    pub(super) fn add(&self, built: Built, replaced: &HashSet<PathBuf>) {
        let mut packs = self.packs.write().expect(UNPOISONED);
        let pack = Arc::new(built.pack);
        let stay = packs
            .list
            .iter()
            .filter(|old| !old.is_at(&pack.path) && !replaced.contains(&old.path))
            .cloned();
        packs.list = Arc::new([pack.clone()].into_iter().chain(stay).collect());
        packs.replaced.extend(replaced.iter().cloned());
    }

    /// Returns when all objects written before, and the file `with`, survive a loss of power.
    pub(crate) fn sync(&self, with: Option<&Path>) -> Result<()> {
        let mut writing = self.writing.lock().expect(UNPOISONED);
        let mut files: Vec<PathBuf> = with.iter().map(|path| path.to_path_buf()).collect();
        if !writing.unsynced.is_empty() {
            files.push(self.pack_folder());
        }
        for pack in &writing.unsynced {
            files.extend([pack.clone(), pack.with_extension("idx")]);
        }
        file::sync(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        writing.unsynced.clear();
        Ok(())
    }
}
