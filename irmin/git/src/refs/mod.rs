//! Names: loose files, `packed-refs`, symbolic names, locks and logs (gitrepository-layout(5)).

mod list;
mod log;
mod packed;
mod update;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use irmin::{BackendError, Format, Id, RefName};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Durability;
use crate::error::{Result, corrupt, io, optional};
use crate::layout::Layout;
use crate::lock::Lock;
use list::Folder;
use packed::Packed;

pub(crate) struct Refs {
    layout: Arc<Layout>,
    durability: Durability,
    /// The last look at `packed-refs`.
    packed: Mutex<Option<Arc<Packed>>>,
    /// The last look at each folder of loose files.
    folders: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    /// One update at a time in this process; others are kept away by lock files.
    updating: Mutex<update::Updating>,
    /// How many updates this value made.
    moves: AtomicU64,
}

/// What the file of a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Id(Id),
    /// Another name.
    Name(RefName),
}

/// So many names may stand for one another, as in Git.
const MAX_LINKS: usize = 5;

const UNPOISONED: &str = "no thread panics while it holds this lock";

/// More than any name with `ref: ` before it.
const LONGEST: usize = 1100;

/// What the file of a name says; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let opened = match options.open(path) {
        // Git once kept symbolic names as links.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            let link = fs::read_link(path).ok();
            let link = link.and_then(|link| Some(link.to_str()?.to_owned()));
            if let Some(name) = link.filter(|link| link.starts_with("refs/")) {
                return Ok(Some(format!("ref: {name}").into()));
            }
            File::open(path)
        }
        other => other,
    };
    let Some(mut file) = optional(opened).map_err(io("open", path))? else {
        return Ok(None);
    };
    let mut text = vec![0; LONGEST];
    match file.read(&mut text) {
        Ok(length) => {
            text.truncate(length);
            Ok(Some(text))
        }
        Err(error) if crate::error::is_absent(&error) => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

impl Refs {
    pub(crate) fn new(layout: Arc<Layout>, durability: Durability) -> Refs {
        Refs {
            layout,
            durability,
            packed: Mutex::default(),
            folders: Mutex::default(),
            updating: Mutex::default(),
            moves: AtomicU64::new(0),
        }
    }

    fn format(&self) -> Format {
        self.layout.format
    }

    fn path(&self, name: &str) -> PathBuf {
        self.layout.home(name).join(name)
    }

    /// What the name points to, symbolic names followed.
    pub(crate) fn head(&self, name: &RefName) -> Result<Option<Id>> {
        let (name, id) = self.end(name)?;
        match id {
            Some(id) => Ok(Some(id)),
            // Loose first, then packed: `git pack-refs` goes the same way.
            None => Ok(self.packed()?.get(name.as_str())),
        }
    }

    /// The name that a symbolic name stands for, whether or not it is there; any other name itself.
    pub(crate) fn follow(&self, name: &RefName) -> Result<RefName> {
        Ok(self.end(name)?.0)
    }

    /// Where symbolic names end, and what the file there says, if there is one.
    fn end(&self, name: &RefName) -> Result<(RefName, Option<Id>)> {
        let mut name = name.clone();
        for _ in 0..=MAX_LINKS {
            match self.loose(&name)? {
                Some(Target::Name(next)) => name = next,
                Some(Target::Id(id)) => return Ok((name, Some(id))),
                None => return Ok((name, None)),
            }
        }
        Err(corrupt(
            &self.path(name.as_str()),
            "symbolic names lead round in a circle",
        ))
    }

    fn loose(&self, name: &RefName) -> Result<Option<Target>> {
        let path = self.path(name.as_str());
        match read(&path)? {
            None => Ok(None),
            Some(text) => self.target(&path, &text).map(Some),
        }
    }

    fn target(&self, path: &Path, text: &[u8]) -> Result<Target> {
        if let Some(name) = text.strip_prefix(b"ref:") {
            let name = std::str::from_utf8(name).ok().map(str::trim);
            return name
                .and_then(|name| RefName::new(name).ok())
                .map(Target::Name)
                .ok_or_else(|| corrupt(path, "it stands for what is no name"));
        }
        let length = 2 * self.format().id_len();
        text.get(..length)
            .filter(|_| text.get(length).is_none_or(u8::is_ascii_whitespace))
            .and_then(|hex| Id::from_hex(hex).ok())
            .map(Target::Id)
            // What it holds instead is not told: it may be a link to somebody's secrets.
            .ok_or_else(|| corrupt(path, "it is no id"))
    }

    /// The branch that `HEAD` stands for.
    pub(crate) fn default_branch(&self) -> Result<RefName> {
        let head = RefName::new("HEAD").expect("a good name");
        match self.loose(&head)? {
            Some(Target::Name(name)) => Ok(name),
            Some(Target::Id(_)) => Ok(head),
            None => Err(BackendError::Corrupt {
                what: format!("{} (there is no HEAD)", self.layout.git_dir.display()),
            }),
        }
    }

    /// Makes `HEAD` stand for another branch.
    pub(crate) fn set_default_branch(&self, name: &RefName) -> Result<()> {
        if !name.as_str().starts_with("refs/heads/") {
            return Err(BackendError::Refused {
                what: format!("{name} as the default branch: it is no branch (refs/heads/...)"),
            });
        }
        self.replace(&self.path("HEAD"), format!("ref: {name}\n").as_bytes())?;
        self.moved();
        Ok(())
    }

    /// Says which commits have their parents left out, in the file `shallow`.
    pub(crate) fn set_shallow(&self, commits: &[Id]) -> Result<()> {
        let path = self.layout.common.join("shallow");
        let mut lines: Vec<String> = commits.iter().map(|id| format!("{id}\n")).collect();
        lines.sort_unstable();
        if !lines.is_empty() {
            return self.replace(&path, lines.concat().as_bytes());
        }
        // To Git an empty file is a history cut off nowhere, but cut off.
        let _lock = Lock::take(&path).map_err(|no| no.error(&path))?;
        optional(fs::remove_file(&path)).map_err(io("remove", &path))?;
        Ok(())
    }

    /// Writes a file anew under its lock.
    fn replace(&self, path: &Path, text: &[u8]) -> Result<()> {
        let mut lock = Lock::take(path).map_err(|no| no.error(path))?;
        lock.write(text)?;
        crate::file::sync(&[lock.path()])?;
        lock.commit(path, false).map_err(io("replace", path))
    }

    fn packed(&self) -> Result<Arc<Packed>> {
        let mut last = self.packed.lock().expect(UNPOISONED);
        let path = self.layout.common.join("packed-refs");
        let now = Packed::read_if_changed(&path, self.format(), last.as_ref())?;
        *last = Some(now.clone());
        Ok(now)
    }

    fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when the names as they are survive a loss of power.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut updating = self.updating.lock().expect(UNPOISONED);
        let paths: Vec<&Path> = updating.unsynced.iter().map(PathBuf::as_path).collect();
        crate::file::sync(&paths)?;
        updating.unsynced.clear();
        Ok(())
    }
}
