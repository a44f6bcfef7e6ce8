//! Collecting garbage: one pack of all that is led to, and what is not led to kept for a while.
//!
//! The order is what makes it safe beside writers. First the packs and loose files are listed, then the
//! names are read, then everything those lead to goes to a new pack, then what was listed is deleted. Who
//! writes beside us has a `.keep` beside its pack until its name has moved: either the mark is there when
//! we list, and the pack is left alone, or the name had moved before we read the names. Who finds that
//! what it would write is here already sets that file's time to now (as Git does): a file whose time
//! changed since it was listed stays.

mod cruft;
mod lock;
mod roots;
mod walk;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use irmin::{Backend, BackendError, Id};
use irmin_packfile::{GiveOptions, PackError, Written};

use crate::Git;
use crate::error::{Result, corrupt, io, refused};
use crate::file::{self, Temporary};
use crate::pack::{Built, Finished, Pack};
pub(crate) use lock::ABANDONED;
use lock::Lock;
use walk::Walk;

/// How garbage is collected.
pub struct GcOptions<'a> {
    /// How long what nothing leads to is kept, from when it was written last; two weeks unless set, as
    /// Git does. `None`: for ever. Zero: not at all, which is safe only while nobody writes.
    pub prune: Option<Duration>,
    /// Called now and then with the number of objects that were looked at or written.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
}

impl Default for GcOptions<'_> {
    fn default() -> Self {
        GcOptions {
            prune: Some(Duration::from_secs(14 * 24 * 60 * 60)),
            progress: None,
        }
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects in the one pack.
    pub objects: u64,
    /// Objects that nothing leads to, kept for now.
    pub kept: u64,
    /// Objects that nothing leads to, gone.
    pub dropped: u64,
    /// Packs that were deleted.
    pub packs: u64,
    /// Commits in the commit-graph.
    pub commits: u32,
}

/// One file that holds objects, as it was when it was listed.
struct Listed<T> {
    what: T,
    path: PathBuf,
    modified: SystemTime,
}

impl<T> Listed<T> {
    fn new(what: T, path: PathBuf) -> Option<Listed<T>> {
        let modified = path.metadata().and_then(|found| found.modified()).ok()?;
        Some(Listed {
            what,
            path,
            modified,
        })
    }

    /// Whether nobody has written or wanted to write what is in it since.
    fn is_same(&self) -> bool {
        let now = self.path.metadata().and_then(|found| found.modified());
        now.is_ok_and(|now| now == self.modified)
    }
}

impl Git {
    /// Puts all objects that names, logs of names, indexes of work trees and what a merge or fetch left
    /// (`MERGE_HEAD` and its like) lead to into one pack, as deltas where that is shorter, deletes
    /// the packs and loose files they were in, and writes the commit-graph. What nothing leads to is
    /// kept as [`GcOptions::prune`] says, with what it leads to, in a cruft pack as Git's.
    ///
    /// Safe beside `git` and beside other writers; readers find every object at every moment. Killed at
    /// any moment it leaves the repository whole. Packs with a `.keep` and what is borrowed from other
    /// repositories are left alone. Logs of names are not shortened.
    ///
    /// # Errors
    /// `Locked` if another collection is at work; `Refused` for partial clones and repositories in
    /// which nothing may be deleted (`extensions.preciousObjects`); `Corrupt` if something that a name
    /// leads to is missing or damaged: then nothing was deleted.
    pub fn gc(&self, mut options: GcOptions<'_>) -> Result<Collected, BackendError> {
        if self.layout.precious {
            return Err(refused(format_args!(
                "{} may lose no object (extensions.preciousObjects); nothing is collected there",
                self.path().display()
            )));
        }
        let _lock = Lock::take(&self.layout.common)?;
        let _no_folding = self.odb.lock_folding()?;
        let packs = self.list_packs()?;
        let loose: HashMap<Id, Listed<()>> = self
            .odb
            .loose_files()?
            .into_iter()
            .filter_map(|(id, path)| Some((id, Listed::new((), path)?)))
            .collect();
        let mut walk = Walk::new(self, options.progress.take().map(|progress| progress as _))?;
        walk.all_of(&self.named()?)?;
        walk.what_is_there_of(&roots::others(self)?);

        let mut here: HashSet<Id> = loose.keys().copied().collect();
        for pack in &packs {
            for entry in pack.what.index()?.all() {
                here.insert(entry?.0);
            }
        }
        let led_to: Vec<Id> = walk.order().filter(|id| here.contains(id)).collect();
        let mut done = Collected {
            objects: led_to.len() as u64,
            ..Collected::default()
        };
        let new = self.pack_of(&led_to)?;
        let is_led_to: HashSet<Id> = led_to.into_iter().collect();
        let mut stays: HashSet<PathBuf> = new.iter().map(|built| built.pack.path.clone()).collect();

        let rest = cruft::rest(&here, &is_led_to, &packs, &loose)?;
        let kept = self.young(&mut walk, &rest, options.prune);
        done.dropped = (rest.len() - kept.len()) as u64;
        done.kept = kept.len() as u64;
        let packed: Vec<(Id, SystemTime)> = kept
            .iter()
            .filter(|(id, time)| loose.get(*id).is_none_or(|file| file.modified < **time))
            .map(|(id, time)| (*id, *time))
            .collect();
        let cruft = self.cruft_of(packed)?;
        stays.extend(cruft.iter().map(|built| built.pack.path.clone()));

        // From here on everything is there twice.
        self.odb.replace(new.into_iter().chain(cruft));
        let folder = self.odb.pack_folder();
        for name in fs::read_dir(&folder)
            .map_err(io("list", &folder))?
            .flatten()
        {
            // It names packs that go.
            if name
                .file_name()
                .as_encoded_bytes()
                .starts_with(b"multi-pack-index")
            {
                let _ = fs::remove_file(name.path());
            }
        }
        for pack in &packs {
            if !stays.contains(&pack.path) && pack.is_same() {
                Pack::delete(&pack.path, pack.what.extensions());
                done.packs += 1;
            }
        }
        for (id, file) in &loose {
            if !kept.contains_key(id) && file.is_same() {
                let _ = fs::remove_file(&file.path);
                let _ = fs::remove_dir(file.path.parent().expect("it lies in a folder"));
            }
        }
        self.sweep(options.prune);
        self.odb.forget_gone()?;
        done.commits = self.write_commit_graph(&mut |_| ())?;
        Ok(done)
    }

    /// Removes what killed writers left half written, once it is older than `prune`, as `git prune` does.
    fn sweep(&self, prune: Option<Duration>) {
        let Some(prune) = prune else { return };
        let pack = self.odb.pack_folder();
        let objects = pack.parent().unwrap_or(&pack).to_path_buf();
        for folder in [objects.join("info"), objects, pack] {
            for file in fs::read_dir(folder).into_iter().flatten().flatten() {
                let since = file.metadata().and_then(|found| found.modified());
                let is_old = since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age >= prune));
                if is_old && file.file_name().as_encoded_bytes().starts_with(b"tmp_") {
                    let _ = fs::remove_file(file.path());
                }
            }
        }
    }

    /// Our packs that may be replaced.
    fn list_packs(&self) -> Result<Vec<Listed<Arc<Pack>>>> {
        let (packs, _) = self.odb.now()?;
        let mut listed = Vec::new();
        for pack in packs.iter().filter(|pack| pack.own) {
            if pack.path.with_extension("promisor").exists() {
                return Err(refused(format_args!(
                    "{} is a partial clone; git gc knows what it lacks on purpose",
                    self.path().display()
                )));
            }
            // The time before the mark: a mark that comes later is for what is written later.
            let found = Listed::new(pack.clone(), pack.path.clone());
            if pack.path.with_extension("keep").exists() {
                continue;
            }
            match pack.index() {
                Ok(_) => listed.extend(found),
                // Git repacks beside us: its objects are in a pack that came after this list.
                Err(_) if pack.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// What is younger than `prune` of what nothing leads to, and what that leads to itself.
    fn young(
        &self,
        walk: &mut Walk,
        rest: &HashMap<Id, SystemTime>,
        prune: Option<Duration>,
    ) -> HashMap<Id, SystemTime> {
        let now = SystemTime::now();
        let is_young = |time: &SystemTime| {
            // What comes from the future is young.
            prune.is_none_or(|prune| {
                now.duration_since(*time).is_ok_and(|age| age < prune) || now < *time
            })
        };
        let young: Vec<Id> = rest
            .iter()
            .filter(|(_, time)| is_young(time))
            .map(|(id, _)| *id)
            .collect();
        walk.what_is_there_of(&young);
        rest.iter()
            .filter(|(id, _)| walk.has_seen(id))
            .map(|(id, time)| (*id, *time))
            .collect()
    }

    fn pack_of(&self, objects: &[Id]) -> Result<Option<Built>> {
        if objects.is_empty() {
            return Ok(None);
        }
        let written = self.written(objects)?;
        self.published(written).map(Some)
    }

    fn cruft_of(&self, mut objects: Vec<(Id, SystemTime)>) -> Result<Option<Built>> {
        if objects.is_empty() {
            return Ok(None);
        }
        objects.sort_unstable();
        let ids: Vec<Id> = objects.iter().map(|(id, _)| *id).collect();
        let written = self.written(&ids)?;
        // The times first: without them the pack would be one like any other.
        let folder = self.odb.pack_folder();
        let mut times = Temporary::new(&folder, "tmp_mtimes_")?;
        times.put(&cruft::encode(self.format(), &objects, &written.sum))?;
        file::sync(&[times.path()])?;
        times.place(&folder.join(format!("pack-{}.mtimes", written.sum)))?;
        let mut built = self.published(written)?;
        // Not the one at hand: it does not know of the times.
        built.pack = Pack::new(built.pack.path.clone(), self.format(), true);
        Ok(Some(built))
    }

    fn written(&self, objects: &[Id]) -> Result<Written<Temporary>> {
        let file = Temporary::new(&self.odb.pack_folder(), "tmp_pack_")?;
        let path = file.path().to_path_buf();
        let written = crate::give::write(&self.odb, objects, file, GiveOptions::default());
        match written {
            Ok((written, _)) => Ok(written),
            Err(PackError::Backend(error)) => Err(error),
            Err(PackError::Write(error)) => Err(io("write", &path)(error)),
            Err(PackError::Missing { id }) => {
                let wrong = format_args!("{id} is gone, and is in use");
                Err(corrupt(self.path(), wrong))
            }
            Err(other) => Err(refused(other)),
        }
    }

    fn published(&self, written: Written<Temporary>) -> Result<Built> {
        let (folder, format) = (self.odb.pack_folder(), self.format());
        let Written {
            out, places, sum, ..
        } = written;
        let finished = Finished::new(&folder, out, places, sum, format)?;
        finished.sync()?;
        let built = finished.place(false)?;
        file::sync(&[&folder])?;
        Ok(built)
    }
}
