//! The objects of a repository: packs, loose files, and those of other repositories that it borrows
//! from (alternates).

mod fold;
mod pending;
mod read;
mod write;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::thread::JoinHandle;

use irmin::{Format, Id};

use crate::cache::Cache;
use crate::error::{Result, io, optional};
use crate::file::Stamp;
use crate::pack::{Built, Pack, Windows};
use crate::{Options, loose};

pub(crate) struct Odb {
    format: Format,
    /// Our own folder, then those that we borrow from.
    folders: Vec<PathBuf>,
    largest: u64,
    /// Whether packs may be replaced by others.
    may_fold: bool,
    /// A file that is locked while packs are folded.
    fold_lock: PathBuf,
    packs: RwLock<Known>,
    cache: Mutex<Cache>,
    windows: Windows,
    writing: Mutex<write::Writing>,
    /// The thread that folds packs, which holds the value too.
    folding: Mutex<Option<JoinHandle<()>>>,
    this: Weak<Odb>,
}

/// Packs, the newest first.
pub(crate) type Packs = Arc<Vec<Arc<Pack>>>;

/// The packs that are known.
struct Known {
    list: Packs,
    /// What each folder looked like when it was listed, if a later change will show.
    seen: Vec<Option<Stamp>>,
    /// Packs of ours whose objects are in another already, and that are deleted soon.
    replaced: HashSet<PathBuf>,
}

impl Odb {
    pub(crate) fn open(
        objects: PathBuf,
        fold_lock: PathBuf,
        format: Format,
        may_fold: bool,
        options: &Options,
    ) -> Result<Arc<Odb>> {
        let mut folders = vec![objects];
        let mut at = 0;
        // Alternates have alternates; a loop ends because each folder is taken once.
        while at < folders.len() && folders.len() < MAX_ALTERNATES {
            for other in alternates(&folders[at])? {
                if !folders.contains(&other) {
                    folders.push(other);
                }
            }
            at += 1;
        }
        let odb = Arc::new_cyclic(|this| Odb {
            format,
            largest: options.largest_object,
            may_fold,
            fold_lock,
            packs: RwLock::new(Known {
                list: Arc::default(),
                seen: vec![None; folders.len()],
                replaced: HashSet::new(),
            }),
            cache: Mutex::new(Cache::new(options.cache)),
            windows: Windows::default(),
            writing: Mutex::default(),
            folding: Mutex::default(),
            this: this.clone(),
            folders,
        });
        pending::sweep(&odb.pack_folder());
        odb.refresh()?;
        Ok(odb)
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn packs(&self) -> Packs {
        self.packs.read().expect(UNPOISONED).list.clone()
    }

    pub(crate) fn pack_folder(&self) -> PathBuf {
        self.folders[0].join("pack")
    }

    /// The packs as they are now, and all objects that lie alone.
    pub(crate) fn now(&self) -> Result<(Packs, HashSet<Id>)> {
        self.refresh()?;
        let mut loose = Vec::new();
        for folder in &self.folders {
            loose::ids(folder, self.format, "", &mut loose)?;
        }
        Ok((self.packs(), loose.into_iter().collect()))
    }

    /// All objects that lie alone in our own folder, and where.
    pub(crate) fn loose_files(&self) -> Result<Vec<(Id, PathBuf)>> {
        let mut ids = Vec::new();
        loose::ids(&self.folders[0], self.format, "", &mut ids)?;
        let files = ids.into_iter();
        Ok(files
            .map(|id| (id, loose::path_of(&self.folders[0], &id)))
            .collect())
    }

    /// Makes packs known that were just published.
    pub(crate) fn replace(&self, built: impl Iterator<Item = Built>) {
        built.for_each(|built| self.add(built, &HashSet::new()));
    }

    /// Deletes the packs that linger, and forgets those that are gone.
    pub(crate) fn forget_gone(&self) -> Result<()> {
        self.delete_lingering();
        for seen in &mut self.packs.write().expect(UNPOISONED).seen {
            *seen = None;
        }
        self.refresh().map(drop)
    }

    /// Looks for packs that came and went. Whether there were any.
    fn refresh(&self) -> Result<bool> {
        let mut packs = self.packs.write().expect(UNPOISONED);
        let mut changed = false;
        for (at, folder) in self.folders.iter().enumerate() {
            let folder = folder.join("pack");
            let stamp = Stamp::of(&folder)?;
            if stamp.is_some() && packs.seen[at] == stamp {
                continue;
            }
            packs.seen[at] = stamp.filter(Stamp::is_settled);
            let found = list(&folder)?;
            let known: HashSet<&Path> = packs
                .list
                .iter()
                .map(|pack| pack.path.as_path())
                .filter(|path| path.parent() == Some(&folder))
                .collect();
            if found.len() == known.len() && found.iter().all(|path| known.contains(path.as_path()))
            {
                continue;
            }
            let mut new: Vec<PathBuf> = found
                .iter()
                .filter(|path| !known.contains(path.as_path()) && !packs.replaced.contains(*path))
                .cloned()
                .collect();
            let found: HashSet<&PathBuf> = found.iter().collect();
            let stay = packs
                .list
                .iter()
                .filter(|pack| pack.path.parent() != Some(&folder) || found.contains(&pack.path));
            new.sort_by_cached_key(|path| {
                std::cmp::Reverse(path.metadata().and_then(|found| found.modified()).ok())
            });
            let stay: Vec<_> = stay.cloned().collect();
            if new.is_empty() && stay.len() == packs.list.len() {
                continue;
            }
            let new = new
                .into_iter()
                .map(|path| Arc::new(Pack::new(path, self.format, at == 0)));
            packs.list = Arc::new(new.chain(stay).collect());
            changed = true;
        }
        Ok(changed)
    }

    /// All ids that begin with these digits, in order, at most `limit`.
    pub(crate) fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>> {
        if !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        self.refresh()?;
        let prefix = prefix.to_ascii_lowercase();
        let mut ids = Vec::new();
        for pack in self.packs().iter() {
            match pack.index() {
                Ok(index) => index.ids(&prefix, limit, &mut ids)?,
                Err(_) if pack.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        for folder in &self.folders {
            loose::ids(folder, self.format, &prefix, &mut ids)?;
        }
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }
}

/// More than any repository borrows from.
const MAX_ALTERNATES: usize = 64;

/// A lock is poisoned if a thread panicked under it; nothing here does.
const UNPOISONED: &str = "no thread panics while it holds this lock";

/// The packs of a folder that have an index.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let Some(entries) = optional(fs::read_dir(folder)).map_err(io("list", folder))? else {
        return Ok(Vec::new());
    };
    let (mut packs, mut indexes) = (HashSet::new(), Vec::new());
    for entry in entries {
        let name = entry.map_err(io("list", folder))?.file_name();
        match Path::new(&name)
            .extension()
            .and_then(|extension| extension.to_str())
        {
            Some("pack") => drop(packs.insert(folder.join(name))),
            Some("idx") => indexes.push(folder.join(name).with_extension("pack")),
            _ => {}
        }
    }
    indexes.retain(|pack| packs.contains(pack));
    Ok(indexes)
}

/// The object folders that this one borrows from (gitrepository-layout(5), `info/alternates`).
fn alternates(objects: &Path) -> Result<Vec<PathBuf>> {
    let text = crate::layout::small_text(&objects.join("info/alternates"))?.unwrap_or_default();
    Ok(text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| objects.join(line.trim_matches('"')))
        // One that is not there lends nothing, as in Git.
        .filter_map(|path| path.canonicalize().ok())
        .collect())
}
