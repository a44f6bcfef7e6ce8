//! Reading objects, while others repack.

use std::sync::Arc;

use bytes::Bytes;
use irmin::{BackendError, Id, Kind};
use irmin_packfile::{Base, Hasher, MAX_DEPTH, delta};

use super::{Odb, UNPOISONED};
use crate::cache::Cached;
use crate::error::{Result, corrupt};
use crate::loose;
use crate::pack::Pack;

/// So often the packs may change under one look; a repack needs one.
const ATTEMPTS: u32 = 8;

impl Odb {
    pub(crate) fn read(&self, id: &Id) -> Result<Option<(Kind, Bytes)>> {
        self.look(
            |odb, pack, offset| odb.object(pack, offset, id),
            |odb, folder| loose::read(folder, odb.format, id, odb.largest),
            id,
        )
    }

    /// The object as it lies alone; `None` if it does not.
    pub(crate) fn loose(&self, id: &Id) -> Result<Option<(Kind, Bytes)>> {
        for folder in &self.folders {
            if let Some(found) = loose::read(folder, self.format, id, self.largest)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub(crate) fn contains(&self, id: &Id) -> Result<bool> {
        let found = self.look(
            |_, _, _| Ok(()),
            |_, folder| Ok(loose::contains(folder, id)?.then_some(())),
            id,
        )?;
        Ok(found.is_some())
    }

    /// Whether the object is there for everybody, now: not only in a pack that we hold open and that
    /// is deleted.
    pub(crate) fn is_safe(&self, id: &Id) -> Result<bool> {
        let found = self.look(
            // One that is marked stays.
            |odb, pack, _| match odb.is_pending(pack) || pack.path.exists() {
                true => Ok(()),
                false => Err(corrupt(&pack.path, "it is deleted")),
            },
            |_, folder| Ok(loose::contains(folder, id)?.then_some(())),
            id,
        )?;
        Ok(found.is_some())
    }

    /// Looks for an object in packs, then loose, then again if packs came or went meanwhile.
    ///
    /// A pack that is damaged is no reason to fail as long as another has the object.
    fn look<T>(
        &self,
        packed: impl Fn(&Odb, &Arc<Pack>, u64) -> Result<T>,
        unpacked: impl Fn(&Odb, &std::path::Path) -> Result<Option<T>>,
        id: &Id,
    ) -> Result<Option<T>> {
        let mut failed: Option<BackendError>;
        for _ in 0..ATTEMPTS {
            failed = None;
            let mut gone = false;
            for pack in self.packs().iter() {
                let found = match pack.index().and_then(|index| index.find(id)) {
                    Ok(None) => continue,
                    Ok(Some(offset)) => packed(self, pack, offset),
                    Err(error) => Err(error),
                };
                match found {
                    Ok(found) => return Ok(Some(found)),
                    Err(_) if !pack.path.exists() => gone = true,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            for folder in &self.folders {
                match unpacked(self, folder) {
                    Ok(None) => {}
                    Ok(found) => return Ok(found),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if !self.refresh()? && !gone {
                return failed.map_or(Ok(None), Err);
            }
        }
        Err(crate::error::refused(format_args!(
            "{}: packs come and go faster than they can be read",
            self.pack_folder().display()
        )))
    }

    fn cached(&self, pack: &Pack, offset: u64) -> Option<Cached> {
        self.cache
            .lock()
            .expect(UNPOISONED)
            .get((pack.number, offset))
    }

    pub(super) fn keep(&self, pack: &Pack, offset: u64, kind: Kind, data: &Bytes, checked: bool) {
        let (data, key) = (data.clone(), (pack.number, offset));
        let object = Cached {
            kind,
            data,
            checked,
        };
        self.cache.lock().expect(UNPOISONED).put(key, object);
    }

    /// The object of this id that begins at `offset`.
    pub(crate) fn object(&self, pack: &Pack, offset: u64, id: &Id) -> Result<(Kind, Bytes)> {
        let found = match self.cached(pack, offset) {
            Some(found) => found,
            None => self.resolve(pack, offset)?,
        };
        if !found.checked {
            if !Hasher::is(self.format, id, found.kind, &found.data) {
                return Err(corrupt(
                    &pack.path,
                    format_args!("at {offset}: the bytes of {id} have another id"),
                ));
            }
            // A commit is hardly a delta's base, and whoever reads one remembers what it says.
            if found.kind != Kind::Commit {
                self.keep(pack, offset, found.kind, &found.data, true);
            }
        }
        Ok((found.kind, found.data))
    }

    /// Follows deltas down to a whole object, then applies them. No recursion; as much memory as the
    /// deltas and two versions of the object have, each within what is allowed.
    fn resolve(&self, pack: &Pack, offset: u64) -> Result<Cached> {
        let mut deltas = Vec::new();
        let (mut at, mut held) = (offset, 0);
        let mut object = loop {
            if at != offset
                && let Some(found) = self.cached(pack, at)
            {
                break found;
            }
            let entry = pack.entry(at, self.largest, &self.windows)?;
            match entry.base {
                Base::Whole(kind) => {
                    let data = Bytes::from(entry.data);
                    if at != offset {
                        self.keep(pack, at, kind, &data, false);
                    }
                    break Cached {
                        kind,
                        data,
                        checked: false,
                    };
                }
                Base::Offset(_) | Base::Id(_) => {
                    held += entry.data.len() as u64;
                    deltas.push((at, entry.data));
                }
            }
            at = match entry.base {
                Base::Offset(base) => base,
                Base::Id(base) => pack.index()?.find(&base)?.ok_or_else(|| {
                    corrupt(
                        &pack.path,
                        format_args!("at {at}: the base {base} is not in the pack"),
                    )
                })?,
                Base::Whole(_) => at,
            };
            if deltas.len() > MAX_DEPTH || held > self.largest {
                let wrong = format_args!("at {offset}: its deltas do not end");
                return Err(corrupt(&pack.path, wrong));
            }
        };
        while let Some((at, made)) = deltas.pop() {
            let data = delta::apply(&object.data, &made, self.largest)
                .map_err(|wrong| corrupt(&pack.path, format_args!("at {at}: {wrong}")))?;
            object = Cached {
                data: data.into(),
                checked: false,
                ..object
            };
            if at != offset {
                self.keep(pack, at, object.kind, &object.data, false);
            }
        }
        Ok(object)
    }
}
