//! The repository: found as Git finds it, or made.

use std::env;
use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use irmin::{BackendError, Commit, Format, Repo};
use irmin_git::Git;
use irmin_pack::{Files, Pack};
use irmin_packfile::PackStore;
use serde_json::json;

use crate::cli::{Init, ObjectFormat, StoreFormat};
use crate::config::{self, Config};
use crate::failure::{Failure, Result};
use crate::output::{Output, put, quoted};
use crate::remote::expanded;
use crate::signals::{self, Begun, Guard};

/// A repository that is open.
pub struct Place {
    /// The store in it.
    pub repo: Repo,
    /// The same store, as packs go in and out.
    pub store: Arc<dyn PackStore>,
    /// What kind it is.
    pub kind: Kind,
    /// The folder of the repository itself.
    pub folder: PathBuf,
}

/// What kind of repository it is.
pub enum Kind {
    /// A Git repository.
    Git(Arc<Git>),
    /// A store of irmin's own engine.
    Native(Arc<Pack<Files>>),
}

/// The file in a folder whose repository is being made, which who makes it holds locked.
const UNFINISHED: &str = "irmin-unfinished";
/// Where a native store is in a folder that is no store itself, as `.git` is.
const INSIDE: &str = ".irmin";
/// How long another process may hold a native store before it is an error: as long as Git's locks.
const PATIENCE: Duration = Duration::from_secs(1);

impl Place {
    /// The repository that `repo` or a folder above it is or holds; without it that of `GIT_DIR`, or
    /// of the current folder.
    pub fn find(repo: Option<&Path>) -> Result<Place> {
        Place::open(locate(repo)?)
    }

    /// The same to read only: a native store is read while another program writes to it.
    pub fn find_to_read(repo: Option<&Path>) -> Result<Place> {
        Place::open_to_read(locate(repo)?)
    }

    /// The repository that this folder is or holds. No other folder is looked at.
    pub fn at(folder: &Path) -> Result<Place> {
        Place::open(there(folder)?)
    }

    /// The same to read only.
    pub fn at_to_read(folder: &Path) -> Result<Place> {
        Place::open_to_read(there(folder)?)
    }

    fn open_to_read(found: Found) -> Result<Place> {
        match found {
            Found::Native(folder) => {
                let pack = Pack::open_read(Files::open_read(&folder)?)?;
                Ok(Place::of_pack(pack, folder))
            }
            found => Place::open(found),
        }
    }

    fn open(found: Found) -> Result<Place> {
        match found {
            Found::Git(folder) => Ok(Place::of_git(Git::open(folder)?)),
            Found::Native(folder) => {
                let pack = Pack::open(files(&folder)?)?;
                Ok(Place::of_pack(pack, folder))
            }
        }
    }

    fn of_git(git: Git) -> Place {
        let git = Arc::new(git);
        Place {
            repo: Repo::new(git.clone()),
            store: git.clone(),
            folder: git.path().into(),
            kind: Kind::Git(git),
        }
    }

    /// An open pack in this folder as a place.
    pub fn of_pack(pack: Pack<Files>, folder: PathBuf) -> Place {
        let pack = Arc::new(pack);
        Place {
            repo: Repo::new(pack.clone()),
            store: pack.clone(),
            folder,
            kind: Kind::Native(pack),
        }
    }

    /// Makes a repository of this kind. The folder must not hold one.
    pub fn make(path: &Path, format: StoreFormat, is_bare: bool) -> Result<Place> {
        let folder = match (is_bare, format) {
            (true, _) => path.into(),
            (false, StoreFormat::Native) => path.join(INSIDE),
            (false, _) => path.join(".git"),
        };
        // A folder holds both kinds side by side, but none is hidden inside another.
        if let Some(there) = [path, &folder].into_iter().find(|at| is_itself(at)) {
            return Err(Failure::broken_with(
                format!("there is a repository in {} already", shown(there)),
                "use that one, or give another folder",
            ));
        }
        let format = match format {
            StoreFormat::GitSha1 => Format::GitSha1,
            StoreFormat::GitSha256 => Format::GitSha256,
            StoreFormat::Native => {
                let pack = Pack::create(files(&folder)?, Format::Native)?;
                return Ok(Place::of_pack(pack, folder));
            }
        };
        Ok(Place::of_git(Git::init(path, format, is_bare)?))
    }

    /// From now until the guard is dropped, what is begun in a Git repository is removed if a signal
    /// ends the program. A native store needs no such thing: what is not finished in it is passed over.
    pub fn begin(&self) -> Option<Guard> {
        match self.kind {
            Kind::Git(_) => Some(signals::begin(Begun::InGit(config::common(&self.folder)))),
            Kind::Native(_) => None,
        }
    }

    /// The commit of a name, by the rules of [`Repo::resolve`] and with `@{upstream}` and `@{push}`.
    pub fn resolve(&self, name: &str) -> Result<Commit> {
        Ok(self.repo.resolve(&expanded(self, name)?)?)
    }

    /// The same for commands whose 1 says something of commits that are there.
    pub fn commit(&self, name: &str) -> Result<Commit> {
        self.resolve(name).map_err(Failure::no_answer)
    }

    /// Whether files of the current branch are checked out beside it. Nothing here touches them.
    pub fn has_work_tree(&self) -> Result<bool> {
        if let Kind::Native(_) = self.kind {
            return Ok(false);
        }
        let config = Config::read(&self.folder)?;
        let is_inside = self.folder.file_name().is_some_and(|name| name == ".git");
        let is_further = self.folder.join("commondir").is_file();
        Ok(is_further || is_inside && !config.is_true("core.bare"))
    }
}

/// A repository that is not open yet.
pub enum Found {
    /// A Git repository, or its work tree.
    Git(PathBuf),
    /// The folder of a native store itself.
    Native(PathBuf),
}

/// The repository that this folder is or holds.
fn there(folder: &Path) -> Result<Found> {
    repository(folder).ok_or_else(|| {
        Failure::broken_with(
            format!("there is no repository in {}", shown(folder)),
            "give the folder of a Git repository or of an irmin store",
        )
    })
}

/// Where the repository is that [`Place::find`] opens.
pub fn locate(repo: Option<&Path>) -> Result<Found> {
    match (repo, env::var_os("GIT_DIR")) {
        (None, Some(folder)) => {
            let folder = PathBuf::from(folder);
            repository(&folder).ok_or_else(|| {
                Failure::broken_with(
                    format!("GIT_DIR is {}, which is no repository", shown(&folder)),
                    "unset GIT_DIR to have one looked for from the current folder on, or give --repo PATH",
                )
            })
        }
        (repo, _) => upwards(repo.unwrap_or(Path::new("."))),
    }
}

/// The files of a native store, once no other process has them.
pub fn files(folder: &Path) -> Result<Files> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Files::open(folder) {
            Err(BackendError::Locked { .. }) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(BackendError::Locked { .. }) => {
                return Err(Failure::broken_with(
                    format!("the store in {} is open in another program", shown(folder)),
                    "wait until that is done, or ask it: `irmin serve` answers many at once",
                ));
            }
            files => return Ok(files?),
        }
    }
}

/// `irmin init`.
pub fn init(init: &Init, repo: Option<&Path>, out: &mut Output) -> Result<u8> {
    let path = init.path.as_deref().or(repo).unwrap_or(Path::new("."));
    let format = match (init.format, init.object_format) {
        (Some(format), _) => format,
        (None, Some(ObjectFormat::Sha256)) => StoreFormat::GitSha256,
        (None, _) => StoreFormat::GitSha1,
    };
    let place = Place::make(path, format, init.bare)?;
    let folder = fs::canonicalize(&place.folder).unwrap_or(place.folder);
    match out.json {
        true => {
            let mut value = json!({});
            put(&mut value, "repository", folder.as_os_str().as_bytes());
            out.value(&value)?;
        }
        false => out.line(format_args!(
            "made an empty repository in {}",
            shown(&folder)
        ))?,
    }
    Ok(0)
}

/// Has a repository made in a folder that is not there yet, or is empty. On an error, or if a signal
/// ends the program, what was made goes again. A file in it says so until all is made: who finds it
/// after a loss of power knows that it is no repository.
pub fn make_in<T>(folder: &Path, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let was_there = folder.exists();
    let mark = folder.join(UNFINISHED);
    if let Ok(file) = File::open(&mark) {
        let folder = shown(folder);
        return Err(match file.try_lock() {
            Err(TryLockError::WouldBlock) => Failure::broken_with(
                format!("another program is making a repository in {folder}"),
                "wait until it is done, or give another folder",
            ),
            _ => Failure::broken_with(
                format!("{folder} is what is left of a run that was killed before it was done"),
                format!("remove it, and begin again: rm -r {folder}"),
            ),
        });
    }
    if was_there && !fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_none()) {
        return Err(Failure::broken_with(
            format!("{} is there already and not empty", shown(folder)),
            "give another folder",
        ));
    }
    let begun = signals::begin(match was_there {
        true => Begun::Inside(folder.into()),
        false => Begun::Whole(folder.into()),
    });
    let marked = fs::create_dir_all(folder).and_then(|()| {
        let file = File::create_new(&mark)?;
        // Where there are no locks, who finds it is told of a killed run.
        let _ = file.lock();
        Ok(file)
    });
    let made = marked.map_err(|error| {
        Failure::broken(format_args!("{} cannot be made: {error}", shown(folder)))
    });
    let made = made.and_then(|_marked| {
        let made = make()?;
        fs::remove_file(&mark).map_err(|error| {
            Failure::broken(format_args!("{} cannot be removed: {error}", shown(&mark)))
        })?;
        Ok(made)
    });
    match (&made, was_there) {
        (Ok(_), _) => {}
        (Err(_), true) => signals::clear(folder),
        (Err(_), false) => {
            let _ = fs::remove_dir_all(folder);
        }
    }
    drop(begun);
    made
}

/// A path of this machine, harmless.
pub fn shown(path: &Path) -> String {
    quoted(path.as_os_str().as_encoded_bytes())
}

/// The first folder from here to the root that is a repository or holds one. As Git does, it stops
/// at the folders of `GIT_CEILING_DIRECTORIES` and where another file system begins.
fn upwards(from: &Path) -> Result<Found> {
    let start = fs::canonicalize(from).map_err(|error| {
        Failure::broken_with(
            format!("{} cannot be opened: {error}", shown(from)),
            "give --repo a repository, or a folder inside one",
        )
    })?;
    let ceilings: Vec<PathBuf> = env::var_os("GIT_CEILING_DIRECTORIES")
        .map(|list| {
            env::split_paths(&list)
                .filter(|path| path.is_absolute())
                .collect()
        })
        .unwrap_or_default();
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let home = device(&start);
    for folder in start.ancestors() {
        let is_start = folder == start;
        if !is_start && (ceilings.iter().any(|at| at == folder) || device(folder) != home) {
            break;
        }
        if let Some(found) = repository(folder) {
            return Ok(found);
        }
    }
    let start = shown(&start);
    Err(Failure::broken_with(
        format!("there is no repository in {start} or a folder above it"),
        "make one with `irmin init`, or give --repo PATH",
    ))
}

/// The repository that the folder is or holds. A native store inside goes before Git's: who made it
/// there wanted it.
pub fn repository(folder: &Path) -> Option<Found> {
    let inside = folder.join(INSIDE);
    if is_native(&inside) {
        return Some(Found::Native(inside));
    }
    if is_native(folder) {
        return Some(Found::Native(folder.into()));
    }
    is_git(folder).then(|| Found::Git(folder.into()))
}

/// Whether the folder is a Git repository, or the work tree of one.
fn is_git(folder: &Path) -> bool {
    let inside = folder.join(".git");
    inside.is_file() || is_git_dir(&inside) || is_git_dir(folder)
}

/// Whether the folder is a Git repository itself.
fn is_git_dir(folder: &Path) -> bool {
    folder.join("HEAD").symlink_metadata().is_ok()
        && (folder.join("commondir").is_file()
            || folder.join("objects").is_dir() && folder.join("refs").is_dir())
}

/// Whether this is a repository itself, or the file that stands for one, and not a work tree.
fn is_itself(path: &Path) -> bool {
    path.is_file() || is_git_dir(path) || is_native(path)
}

/// Whether the folder is a native store: it has a lock and a segment.
fn is_native(folder: &Path) -> bool {
    let is_segment = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    folder.join("lock").is_file()
        && fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_segment))
}
