//! The index of a pack: from an id to its place (version 2).

use std::path::{Path, PathBuf};

use irmin::{Format, Id};

use crate::error::{Result, corrupt, io, refused};
use crate::source::Source;
use crate::table::Table;

const MAGIC: [u8; 8] = *b"\xfftOc\0\0\0\x02";

pub(crate) struct Index {
    path: PathBuf,
    source: Source,
    table: Table,
    offsets_at: u64,
    far_count: u64,
    /// The checksum of the pack that it belongs to.
    pub(crate) pack: Id,
}

impl Index {
    pub(crate) fn open(path: &Path, format: Format) -> Result<Index> {
        let source = Source::open(path).map_err(io("open", path))?;
        Index::new(path, source, format)
    }

    pub(crate) fn new(path: &Path, source: Source, format: Format) -> Result<Index> {
        let id_len = format.id_len();
        let damaged = |wrong| corrupt(path, wrong);
        let short = || damaged("it is cut off");
        let magic = source.read(0, 8).map_err(|_| short())?;
        if magic[..] != MAGIC {
            return Err(if magic[..4] == MAGIC[..4] {
                damaged("it is of an unknown version")
            } else {
                refused(format_args!(
                    "{} is of version 1, which has no checksums; repack (git repack -ad)",
                    path.display()
                ))
            });
        }
        let table = Table::new(&source, 8, 8 + 1024, id_len)
            .map_err(|_| short())?
            .ok_or_else(|| damaged("its counts are not ascending"))?;
        let count = u64::from(table.count());
        let fixed = 8 + 1024 + count * (id_len as u64 + 8) + 2 * id_len as u64;
        // What is left is the table of offsets beyond 2 GiB: at most one for each but the first.
        let far = source.len().checked_sub(fixed).ok_or_else(short)?;
        if far % 8 != 0 || far / 8 > count.saturating_sub(1) {
            return Err(damaged("its length does not fit its counts"));
        }
        let pack = source
            .read(source.len() - 2 * id_len as u64, id_len)
            .map_err(io("read", path))?;
        Ok(Index {
            path: path.into(),
            source,
            table,
            offsets_at: 8 + 1024 + count * (id_len as u64 + 4),
            far_count: far / 8,
            pack: Id::from_bytes(&pack).expect("20 or 32 bytes"),
        })
    }

    pub(crate) fn count(&self) -> u32 {
        self.table.count()
    }

    /// Where in the pack the object begins.
    pub(crate) fn find(&self, id: &Id) -> Result<Option<u64>> {
        match self
            .table
            .find(&self.source, id)
            .map_err(io("read", &self.path))?
        {
            Some(at) => self.offset(at).map(Some),
            None => Ok(None),
        }
    }

    fn offset(&self, at: u32) -> Result<u64> {
        let failed = || io("read", &self.path);
        let near = self
            .source
            .u32(self.offsets_at + 4 * u64::from(at))
            .map_err(failed())?;
        if near & 0x8000_0000 == 0 {
            return Ok(u64::from(near));
        }
        let far = u64::from(near & 0x7fff_ffff);
        if far >= self.far_count {
            return Err(corrupt(&self.path, "an offset is missing"));
        }
        let place = self.offsets_at + 4 * u64::from(self.count()) + 8 * far;
        let eight = self.source.read(place, 8).map_err(failed())?;
        Ok(u64::from_be_bytes(
            eight[..].try_into().expect("eight bytes"),
        ))
    }

    /// The id at this place of the index.
    pub(crate) fn id(&self, at: u32) -> Result<Id> {
        self.table
            .id(&self.source, at)
            .map_err(io("read", &self.path))
    }

    /// Where the objects begin in the pack, in the order of their ids.
    pub(crate) fn offsets(&self) -> Result<Vec<u64>> {
        (0..self.count()).map(|at| self.offset(at)).collect()
    }

    /// The checksum of the entry of this id.
    pub(crate) fn crc(&self, id: &Id) -> Result<Option<u32>> {
        let failed = || io("read", &self.path);
        let found = self.table.find(&self.source, id).map_err(failed())?;
        let crcs_at = self.offsets_at - 4 * u64::from(self.count());
        let crc = found.map(|at| self.source.u32(crcs_at + 4 * u64::from(at)));
        crc.transpose().map_err(failed())
    }

    /// All ids with their places in the pack, by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = Result<(Id, u64)>> {
        (0..self.count()).map(|at| {
            let id = self
                .table
                .id(&self.source, at)
                .map_err(io("read", &self.path))?;
            Ok((id, self.offset(at)?))
        })
    }

    /// Appends the ids that begin with these lower-case digits, at most `limit`.
    pub(crate) fn ids(&self, prefix: &str, limit: usize, into: &mut Vec<Id>) -> Result<()> {
        let failed = || io("read", &self.path);
        let whole = &prefix[..prefix.len() & !1];
        let mut first: Vec<u8> = (0..whole.len() / 2)
            .filter_map(|at| u8::from_str_radix(&whole[2 * at..2 * at + 2], 16).ok())
            .collect();
        if let Some(half) = prefix[whole.len()..]
            .chars()
            .next()
            .and_then(|half| half.to_digit(16))
        {
            first.push((half as u8) << 4);
        }
        let start = self
            .table
            .first_from(&self.source, &first)
            .map_err(failed())?;
        for at in (start..self.count()).take(limit) {
            let id = self.table.id(&self.source, at).map_err(failed())?;
            if !id.begins_with(prefix) {
                break;
            }
            into.push(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use irmin_packfile::{Place, encode_index};

    #[test]
    fn places_are_found_also_beyond_two_gigabytes_and_damage_is_told() {
        let format = Format::GitSha1;
        let id = |n: u8| Id::from_bytes(&[n; 20]).unwrap();
        let offsets = [12, 0x7fff_ffff, 0x8000_0000, 1 << 40];
        let places: Vec<Place> = offsets
            .iter()
            .zip(1..)
            .map(|(&offset, n)| Place {
                id: id(n),
                offset,
                crc: 0,
            })
            .collect();
        let bytes = encode_index(format, &places, &id(9));
        let open =
            |bytes: &[u8]| Index::new(Path::new("x.idx"), Source::memory(bytes.to_vec()), format);
        let index = open(&bytes).unwrap();
        for place in &places {
            assert_eq!(index.find(&place.id).unwrap(), Some(place.offset));
        }
        assert_eq!(index.find(&id(7)).unwrap(), None);
        assert_eq!(index.pack, id(9));
        let mut found = Vec::new();
        index.ids("02", 9, &mut found).unwrap();
        index.ids("0", 2, &mut found).unwrap();
        assert_eq!(found, [id(2), id(1), id(2)]);
        for cut in 0..bytes.len() {
            // Eight bytes less look like one far offset less.
            if let Ok(index) = open(&bytes[..cut]) {
                places.iter().for_each(|place| drop(index.find(&place.id)));
            }
        }
        let mut absurd = bytes.clone();
        absurd[8 + 1020..8 + 1024].fill(0xff);
        assert!(open(&absurd).is_err());
        absurd[0] = 0;
        assert!(matches!(
            open(&absurd),
            Err(irmin::BackendError::Refused { .. })
        ));
    }
}
