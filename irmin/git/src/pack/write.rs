//! New packs.

use std::path::{Path, PathBuf};

use irmin::{Format, Id, Kind};
use irmin_packfile::zlib::Effort;
use irmin_packfile::{Base, Place, encode_index};

use super::Pack;
use super::index::Index;
use crate::error::{Result, io, refused};
use crate::file::{self, Temporary};
use crate::source::Source;

/// Writes a pack, object by object, then its index. Nobody sees anything of it before
/// [`Finished::place`].
pub(crate) struct Writer {
    folder: PathBuf,
    path: PathBuf,
    writer: irmin_packfile::Writer<Temporary>,
}

/// A pack that was written.
pub(crate) struct Built {
    pub(crate) pack: Pack,
    /// By id.
    places: Vec<Place>,
}

impl Built {
    /// Where the object is.
    pub(crate) fn offset(&self, id: &Id) -> Option<u64> {
        let at = self
            .places
            .binary_search_by_key(id, |place| place.id)
            .ok()?;
        Some(self.places[at].offset)
    }
}

impl Writer {
    /// A pack for `folder` that will have so many objects.
    pub(crate) fn new(
        folder: &Path,
        format: Format,
        count: usize,
        effort: Effort,
    ) -> Result<Writer> {
        let count = u32::try_from(count)
            .map_err(|_| refused(format_args!("{count} objects are too many for one pack")))?;
        let file = Temporary::new(folder, "tmp_pack_")?;
        Ok(Writer {
            folder: folder.into(),
            path: file.path().into(),
            writer: irmin_packfile::Writer::new(file, format, count, effort),
        })
    }

    /// Adds an object; returns its offset.
    pub(crate) fn whole(&mut self, id: Id, kind: Kind, data: &[u8]) -> Result<u64> {
        let added = self.writer.whole(id, kind, data);
        added.map_err(io("write", &self.path))
    }

    /// Adds an object as a delta for the one at `base`, an offset in this pack.
    pub(crate) fn delta(&mut self, id: Id, base: u64, delta: &[u8]) -> Result<u64> {
        let added = self.writer.delta(id, Base::Offset(base), delta);
        added.map_err(io("write", &self.path))
    }

    /// All is written, and nobody sees it.
    pub(crate) fn finish(self) -> Result<Finished> {
        let format = self.writer.format();
        let written = self.writer.finish().map_err(io("write", &self.path))?;
        Finished::new(
            &self.folder,
            written.out,
            written.places,
            written.sum,
            format,
        )
    }
}

/// A pack and its index under names that nobody looks at.
pub(crate) struct Finished {
    folder: PathBuf,
    file: Temporary,
    index_file: Temporary,
    index: Vec<u8>,
    places: Vec<Place>,
    sum: Id,
    format: Format,
}

impl Finished {
    /// Of a pack of these objects, by id, that ends with this checksum.
    pub(crate) fn new(
        folder: &Path,
        file: Temporary,
        places: Vec<Place>,
        sum: Id,
        format: Format,
    ) -> Result<Finished> {
        let index = encode_index(format, &places, &sum);
        let mut index_file = Temporary::new(folder, "tmp_idx_")?;
        index_file.put(&index)?;
        Ok(Finished {
            folder: folder.into(),
            file,
            index_file,
            index,
            places,
            sum,
            format,
        })
    }

    /// Returns when both would survive a loss of power; the folder is the caller's.
    pub(crate) fn sync(&self) -> Result<()> {
        file::sync(&[self.file.path(), self.index_file.path()])
    }

    /// Puts the pack in its place, then the index, with which it is there for everybody. `keep`: with
    /// a mark beside it that says it is not to be deleted.
    pub(crate) fn place(self, keep: bool) -> Result<Built> {
        let path = self.folder.join(format!("pack-{}.pack", self.sum));
        let index_path = path.with_extension("idx");
        if keep {
            self.file.link(&path.with_extension("keep"))?;
        }
        self.file.place(&path)?;
        self.index_file.place(&index_path)?;
        let index = Index::new(&index_path, Source::memory(self.index), self.format)?;
        Ok(Built {
            places: self.places,
            pack: Pack::with_index(path, self.format, index),
        })
    }
}
