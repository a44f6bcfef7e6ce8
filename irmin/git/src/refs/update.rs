//! Moving names: one by a lock file and a rename; several through one rename of `packed-refs`, so
//! that a killed process leaves all of them moved, or none.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use irmin::raw::TagData;
use irmin::{Id, Kind, RefEdit, RefName, UpdateError};

use super::log::{prune, remove_empty};
use super::packed::NewLine;
use super::{Refs, Target, UNPOISONED};
use crate::Durability;
use crate::error::{Result, io, is_absent, refused};
use crate::file;
use crate::lock::{Lock, NoLock};
use crate::odb::Odb;

/// What only one thread at a time does.
#[derive(Default)]
pub(super) struct Updating {
    /// Files and folders that would not survive a loss of power yet.
    pub(super) unsynced: BTreeSet<PathBuf>,
}

/// An edit whose name is locked and whose expectation holds.
struct Change<'a> {
    name: RefName,
    path: PathBuf,
    edit: &'a RefEdit,
    found: Option<Id>,
    /// It has a file of its own.
    has_file: bool,
    /// Taken late if a name that is deleted stands where the folder of this one will be.
    lock: Option<Lock>,
}

impl Refs {
    pub(crate) fn update(&self, edits: &[RefEdit], odb: &Odb) -> Result<(), UpdateError> {
        let mut updating = self.updating.lock().expect(UNPOISONED);
        let mut changes = self.lock(edits)?;
        for change in &changes {
            let (edit, name) = (change.edit, &change.edit.name);
            if !edit.expect.holds(change.found.as_ref()) {
                return Err(UpdateError::Moved {
                    name: name.clone(),
                    found: change.found,
                });
            }
            if let Some(id) = edit.new
                && (id.as_bytes().len() != self.format().id_len() || !odb.is_safe(&id)?)
            {
                return Err(UpdateError::NoSuchObject {
                    name: name.clone(),
                    id,
                });
            }
            if edit.new.is_none()
                && change.found.is_some()
                && !change.name.as_str().starts_with("refs/")
            {
                return Err(
                    refused(format_args!("a repository without {} is none", change.name)).into(),
                );
            }
        }
        self.refuse_clashes(&changes)?;
        changes.retain(|change| change.edit.new != change.found);
        if changes.is_empty() {
            return Ok(());
        }

        let (mut packable, apart): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| {
                change.name.as_str().starts_with("refs/")
                    && self.layout.home(change.name.as_str()) == self.layout.common
            });
        if packable.len() > 1 {
            self.change_packed(&mut packable, odb, &mut updating)?;
        } else {
            packable
                .iter_mut()
                .try_for_each(|change| self.change_one(change, odb, &mut updating))?;
        }
        for mut change in apart {
            self.change_one(&mut change, odb, &mut updating)?;
        }
        self.moved();
        odb.release();
        Ok(())
    }

    fn change<'a>(&self, name: RefName, edit: &'a RefEdit) -> Change<'a> {
        Change {
            path: self.path(name.as_str()),
            name,
            edit,
            found: None,
            has_file: false,
            lock: None,
        }
    }

    /// What a name is that is locked. Whether it is symbolic, with no value of its own.
    fn look(&self, change: &mut Change) -> Result<bool> {
        let target = self.loose(&change.name)?;
        change.has_file = target.is_some();
        change.found = match target {
            Some(Target::Id(id)) => Some(id),
            Some(Target::Name(_)) => return Ok(true),
            None => self.packed()?.get(change.name.as_str()),
        };
        Ok(false)
    }

    /// Locks one name and sees what it is; nothing if that takes more than one look.
    fn lock_one<'a>(&self, edit: &'a RefEdit) -> Result<Option<Change<'a>>> {
        let mut change = self.change(edit.name.clone(), edit);
        match Lock::take(&change.path) {
            Ok(lock) => change.lock = Some(lock),
            Err(NoLock::Failed(error)) => return Err(error),
            Err(NoLock::FileInTheWay) => return Ok(None),
        }
        let is_symbolic = self.look(&mut change)?;
        Ok(Some(change).filter(|_| !is_symbolic))
    }

    /// Locks all names, in their order, so that two updates never wait for one another, and sees what
    /// they are.
    fn lock<'a>(&self, edits: &'a [RefEdit]) -> Result<Vec<Change<'a>>, UpdateError> {
        if let [edit] = edits
            && let Some(change) = self.lock_one(edit)?
        {
            return Ok(vec![change]);
        }
        let mut changes = Vec::with_capacity(edits.len());
        for edit in edits {
            changes.push(self.change(self.follow(&edit.name)?, edit));
        }
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = changes.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let (name, other) = (pair[0].edit.name.clone(), pair[1].edit.name.clone());
            return Err(UpdateError::Clash { name, other });
        }
        let deleted: Vec<RefName> = changes
            .iter()
            .filter(|change| change.edit.new.is_none())
            .map(|change| change.name.clone())
            .collect();
        for change in &mut changes {
            match Lock::take(&change.path) {
                Ok(lock) => change.lock = Some(lock),
                Err(NoLock::Failed(error)) => return Err(error.into()),
                Err(NoLock::FileInTheWay) => {
                    // A name that does not exist need not be locked to be deleted.
                    if change.edit.new.is_some()
                        && !deleted
                            .iter()
                            .any(|other| is_inside(change.name.as_str(), other.as_str()))
                    {
                        return Err(self.clash(change));
                    }
                }
            }
            // One that became symbolic right now has no value of its own.
            self.look(change)?;
        }
        Ok(changes)
    }

    fn clash(&self, change: &Change) -> UpdateError {
        match self.in_the_way(&change.name, &|_| true) {
            Ok(other) => UpdateError::Clash {
                name: change.edit.name.clone(),
                other: other.unwrap_or_else(|| change.name.clone()),
            },
            Err(error) => error.into(),
        }
    }

    fn refuse_clashes(&self, changes: &[Change]) -> Result<(), UpdateError> {
        let made = |change: &&Change| change.edit.new.is_some() && change.found.is_none();
        for change in changes.iter().filter(made) {
            let name = change.name.as_str();
            let new = changes
                .iter()
                .filter(|other| other.edit.new.is_some())
                .map(|other| &other.name);
            let mut new = new
                .filter(|other| is_inside(other.as_str(), name) || is_inside(name, other.as_str()));
            let stays = |found: &str| {
                !changes
                    .iter()
                    .any(|other| other.name.as_str() == found && other.edit.new.is_none())
            };
            let other = match new.next().cloned() {
                Some(other) => Some(other),
                None => self.in_the_way(&change.name, &stays)?,
            };
            if let Some(other) = other {
                let name = change.edit.name.clone();
                return Err(UpdateError::Clash { name, other });
            }
        }
        Ok(())
    }

    /// One name, by its own file.
    fn change_one(
        &self,
        change: &mut Change,
        odb: &Odb,
        updating: &mut Updating,
    ) -> Result<(), UpdateError> {
        let Some(mut lock) = change.lock.take() else {
            return Err(self.clash(change));
        };
        let name = change.name.as_str();
        if let Some(id) = change.edit.new {
            lock.write(format!("{id}\n").as_bytes())?;
            let ordered = self.durability == Durability::Ordered;
            if ordered {
                // The objects and the new value together, then the name.
                odb.sync(Some(lock.path()))?;
            }
            self.log(&change.name, change.found, &id, odb)?;
            let over = change.has_file && !ordered;
            if let Err(first) = lock.commit(&change.path, over) {
                // An empty folder, which a deleted name left.
                remove_empty(&change.path);
                if lock.commit(&change.path, over).is_err() {
                    return Err(match first.kind() {
                        ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
                            self.clash(change)
                        }
                        _ => io("replace", &change.path)(first).into(),
                    });
                }
            }
            updating.unsynced.insert(change.path.clone());
        } else {
            // Packed first: else an old value would show for a moment.
            if self.packed()?.get(name).is_some() {
                self.write_packed(&[(name, None)])?;
            }
            remove(&change.path)?;
            self.forget_log(name);
            drop(lock);
            self.prune(name);
        }
        let folder = change.path.parent().expect("a name lies in a folder");
        updating.unsynced.insert(folder.into());
        Ok(())
    }

    /// Several names by one rename. First all of them, as they are, go to `packed-refs` and their
    /// files away, which changes nothing for any reader; then `packed-refs` changes at once.
    fn change_packed(
        &self,
        changes: &mut [Change],
        odb: &Odb,
        updating: &mut Updating,
    ) -> Result<(), UpdateError> {
        if self.durability == Durability::Ordered {
            odb.sync(None)?;
        }
        let mut before = Vec::new();
        for change in changes.iter() {
            let packed = self.packed()?.get(change.name.as_str());
            if let Some(id) = change.found.filter(|_| packed != change.found) {
                before.push((change.name.as_str(), Some((id, peel(&id, odb)?))));
            }
        }
        if !before.is_empty() {
            self.write_packed(&before)?;
        }
        for change in changes.iter() {
            remove(&change.path)?;
        }
        for change in changes.iter_mut().filter(|change| change.lock.is_none()) {
            self.prune(change.name.as_str());
            match Lock::take(&change.path) {
                Ok(lock) => change.lock = Some(lock),
                Err(NoLock::Failed(error)) => return Err(error.into()),
                Err(NoLock::FileInTheWay) if change.edit.new.is_none() => {}
                Err(NoLock::FileInTheWay) => return Err(self.clash(change)),
            }
        }
        let mut after = Vec::new();
        for change in changes.iter() {
            let new = match change.edit.new {
                Some(id) => Some((id, peel(&id, odb)?)),
                None => None,
            };
            after.push((change.name.as_str(), new));
        }
        // The logs of names that go make room for those of names that come.
        for change in changes.iter().filter(|change| change.edit.new.is_none()) {
            self.forget_log(change.name.as_str());
        }
        for change in changes.iter() {
            if let Some(id) = change.edit.new {
                self.log(&change.name, change.found, &id, odb)?;
            }
        }
        self.write_packed(&after)?;
        for change in changes {
            change.lock = None;
            self.prune(change.name.as_str());
            let mut above = change.path.ancestors().skip(1);
            updating
                .unsynced
                .extend(above.find(|folder| folder.is_dir()).map(Path::to_path_buf));
        }
        Ok(())
    }

    /// Changes these names in `packed-refs`. Durable on return: all other names stand there too.
    fn write_packed(&self, changes: &[NewLine]) -> Result<(), UpdateError> {
        let path = self.layout.common.join("packed-refs");
        let mut lock = Lock::take(&path).map_err(|error| match error {
            NoLock::Failed(error) => UpdateError::from(error),
            NoLock::FileInTheWay => refused(format_args!(
                "{} is no folder",
                self.layout.common.display()
            ))
            .into(),
        })?;
        lock.write(&self.packed()?.with(changes))?;
        file::sync(&[lock.path()])?;
        lock.commit(&path, false).map_err(io("replace", &path))?;
        *self.packed.lock().expect(UNPOISONED) = None;
        file::sync(&[&self.layout.common])?;
        Ok(())
    }

    /// Removes the folders that a name leaves empty; `refs/heads` and its like stay.
    fn prune(&self, name: &str) {
        let mut parts = name.split('/');
        if let (Some(refs), Some(kind)) = (parts.next(), parts.next()) {
            let root = self.layout.home(name).join(refs).join(kind);
            prune(&self.path(name), &root);
        }
    }
}

fn is_inside(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What an annotated tag leads to, for `packed-refs`; `None` for anything else.
fn peel(id: &Id, odb: &Odb) -> Result<Option<Id>> {
    let mut at = *id;
    // Tags of tags are rare, and longer chains are nonsense.
    for _ in 0..64 {
        match odb.read(&at)? {
            Some((Kind::Tag, data)) => match TagData::decode(odb.format(), &data) {
                Ok(tag) => at = tag.target,
                Err(_) => return Ok(None),
            },
            _ => break,
        }
    }
    Ok((at != *id).then_some(at))
}
