//! Keys and values as a branch of an Irmin store.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use bytes::Bytes;
use irmin::{
    Backend, BackendError, Branch, Commit, CommitError, Id, Info, Kind, Object, Path, ReadError,
    Repo, Signature, Tree, TreeEdit, UpdateError, Watch, WriteError, references,
};
use irmin_behind::Behind;

/// Bytes of memory for pages read lately; the rest is in memory too, as it lies on the disk.
const CACHE: usize = 4 << 20;
/// Names or changes that one answer lists at most.
pub const MOST: usize = 10_000;

const UNKNOWN: &str = "the change may be lost, or become durable later";

/// The store.
pub struct Store {
    pub(crate) behind: Arc<Behind>,
    pub(crate) repo: Repo,
    pub(crate) main: Branch,
    /// Changes to remember when room is short.
    pub(crate) history: usize,
    /// Where the branch was when no more room could be made, and how many segments were wanted.
    pub(crate) full: Cell<Option<(Id, u32)>>,
}

/// What a request must find for its change to happen.
pub trait Condition {
    /// Whether it does, given the tag of the current value.
    fn holds(&self, tag: Option<&str>) -> bool;
}

/// What a change did.
pub struct Changed {
    /// The commit.
    pub id: Id,
    /// Whether there was a value before.
    pub existed: bool,
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// The path or the commit that was asked for.
    #[error("{0}")]
    Wrong(String),
    /// There is no such key.
    #[error("there is no such key")]
    Missing,
    /// The value is not the one that was expected.
    #[error("the key has changed, or does not exist as expected")]
    Changed,
    /// A file is where a directory is needed, or the other way round.
    #[error("{0}")]
    InTheWay(String),
    /// No room.
    #[error("{0}")]
    Full(String),
    /// The disk does not work at the moment.
    #[error("{0}; {UNKNOWN}")]
    Disk(BackendError),
    /// The store is damaged.
    #[error("{0}")]
    Damaged(String),
}

impl Store {
    /// The keys that this store holds. Older changes than the last `history` may be forgotten.
    pub fn new(behind: Behind, history: u32) -> Store {
        let behind = Arc::new(behind);
        let repo = Repo::with_cache(behind.clone(), CACHE);
        let main = repo.branch("main").expect("a good name");
        Store {
            behind,
            repo,
            main,
            history: history as usize,
            full: Cell::new(None),
        }
    }

    /// The tree now, or after the change of this name.
    fn tree(&self, at: Option<&str>) -> Result<Tree, Refused> {
        match at {
            None => Ok(self.main.tree()?),
            Some(text) => match self.repo.resolve(text) {
                Ok(commit) => Ok(commit.tree()),
                Err(error) => Err(Refused::Wrong(error.to_string())),
            },
        }
    }

    /// The value of a key; `None` if it has none.
    pub fn get(&self, path: &[u8], at: Option<&str>) -> Result<Option<Bytes>, Refused> {
        Ok(self.tree(at)?.get(path)?)
    }

    /// What tells one value from any other.
    pub fn tag(&self, value: &Bytes) -> Result<String, Refused> {
        let object = Object::new(self.repo.format(), Kind::Blob, value.clone());
        let object = object.map_err(WriteError::from)?;
        Ok(format!("\"{}\"", object.id))
    }

    /// The names below a path; `None` if there is nothing below it.
    pub fn list(&self, path: &[u8], at: Option<&str>) -> Result<Option<Vec<u8>>, Refused> {
        let Some(dir) = self.tree(at)?.dir(path)? else {
            return Ok(None);
        };
        let mut lines = Vec::new();
        for listed in dir.list().take(MOST) {
            let (name, entry) = listed?;
            lines.extend_from_slice(&name);
            if entry.is_dir() {
                lines.push(b'/');
            }
            lines.push(b'\n');
        }
        Ok(Some(lines))
    }

    /// Gives a key a value. In memory when this returns: [`durable`](Store::durable) waits for more.
    ///
    /// Waits while too much is on its way to the disk.
    pub async fn put(
        &self,
        path: &[u8],
        value: Bytes,
        condition: &impl Condition,
        now: Option<Duration>,
    ) -> Result<Changed, Refused> {
        self.behind.room().await.map_err(refused)?;
        let before = self.main.tree()?.get(path)?;
        self.expect(condition, before.as_ref())?;
        self.make_room_for(value.len())?;
        let id = self.change("PUT", path, now, |edit| edit.set(path, value.clone()))?;
        Ok(Changed {
            id,
            existed: before.is_some(),
        })
    }

    /// Removes a key, or all below a path; otherwise as [`put`](Store::put).
    pub async fn delete(
        &self,
        path: &[u8],
        condition: &impl Condition,
        now: Option<Duration>,
    ) -> Result<Changed, Refused> {
        self.behind.room().await.map_err(refused)?;
        let tree = self.main.tree()?;
        if path.is_empty() || tree.entry(path)?.is_none() {
            return Err(Refused::Missing);
        }
        self.expect(condition, tree.get(path)?.as_ref())?;
        let remove = |edit: &mut TreeEdit| edit.remove(path).map(drop);
        let id = match self.change("DELETE", path, now, remove) {
            // Deleting makes room in the end, and needs a little before.
            Err(Refused::Full(_)) => {
                self.forget_more();
                self.change("DELETE", path, now, remove)?
            }
            done => done?,
        };
        Ok(Changed { id, existed: true })
    }

    fn expect(&self, condition: &impl Condition, value: Option<&Bytes>) -> Result<(), Refused> {
        let tag = value.map(|value| self.tag(value)).transpose()?;
        match condition.holds(tag.as_deref()) {
            true => Ok(()),
            false => Err(Refused::Changed),
        }
    }

    /// Commits one change. Nothing else happens in between: there is one thread.
    fn change(
        &self,
        what: &str,
        path: &[u8],
        now: Option<Duration>,
        edit: impl FnMut(&mut TreeEdit) -> Result<(), WriteError>,
    ) -> Result<Id, Refused> {
        let seconds = now.map_or(0, |now| now.as_secs().cast_signed());
        let who = Signature::new("kv", "kv@localhost", seconds, 0);
        let message = format!("{what} {}\n", String::from_utf8_lossy(path));
        Ok(self.main.change(&Info::new(who, message), edit)?.id())
    }

    /// Waits until all changes made before this call survive a loss of power.
    pub async fn durable(&self) -> Result<(), Refused> {
        self.behind.durable().await.map_err(|error| match error {
            BackendError::Full { what } => Refused::Full(format!("{what}; {UNKNOWN}")),
            error => refused(error),
        })
    }

    /// The changes, newest first; those of a key if a path is given.
    pub fn log(&self, path: Option<&[u8]>, limit: usize) -> Result<String, Refused> {
        let mut lines = String::new();
        let Some(head) = self.main.head()? else {
            return Ok(lines);
        };
        let log = match path {
            None => head.log(),
            Some(path) => head.log_of(Path::new(path).map_err(ReadError::from)?),
        };
        for commit in log.take(limit.min(MOST)) {
            let commit: Commit = commit?;
            let seconds = commit.data().committer.seconds();
            let message = commit.message();
            let line = message.lines().next().unwrap_or_default();
            lines += &format!("{} {seconds} {line}\n", commit.id());
        }
        Ok(lines)
    }

    /// Watches what is at or below this path.
    pub fn watch(&self, path: &[u8]) -> Result<Watch, Refused> {
        let path = Path::new(path).map_err(ReadError::from)?;
        Ok(self.main.watch(path)?)
    }

    /// Reads every byte, and follows every link from the branch on.
    pub fn check(&self) -> Result<String, Refused> {
        let report = self.behind.check().map_err(refused)?;
        let format = self.repo.format();
        let mut todo: Vec<Id> = self.main.head()?.iter().map(Commit::id).collect();
        let mut seen = BTreeSet::new();
        let mut changes = 0;
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(object) = self.behind.read(&id).map_err(refused)? else {
                return Err(Refused::Damaged(format!("object {id} is missing")));
            };
            changes += u32::from(object.kind == Kind::Commit);
            references(format, &object, &|_| false, &mut todo).map_err(refused)?;
        }
        let count = seen.len();
        let mut text = format!("sound: {changes} changes in {count} objects\n");
        // What a power cut tore before it was durable, for instance.
        for damage in &report.damage {
            text += &format!("not needed, and damaged: {damage:?}\n");
        }
        Ok(text)
    }

    /// How full it is, in one line.
    pub fn figures(&self) -> String {
        format!(
            "{} of {} segments of {} KiB free",
            self.behind.free_segments(),
            self.behind.segments(),
            self.behind.segment_size() >> 10
        )
    }
}

/// What storage refused.
pub fn refused(error: BackendError) -> Refused {
    match error {
        BackendError::Full { what } => Refused::Full(format!("the disk is full: {what}")),
        BackendError::Corrupt { .. } => Refused::Damaged(error.to_string()),
        error => Refused::Disk(error),
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Refused {
        match error {
            ReadError::Backend(error) => refused(error),
            ReadError::Path(error) => Refused::Wrong(error.to_string()),
            error => Refused::Damaged(error.to_string()),
        }
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Refused {
        match error {
            WriteError::Read(error) => error.into(),
            WriteError::FileInTheWay { .. } | WriteError::DirInTheWay { .. } => {
                Refused::InTheWay(error.to_string())
            }
            error => Refused::Wrong(error.to_string()),
        }
    }
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Refused {
        match error {
            CommitError::Write(error) => error.into(),
            CommitError::Update(UpdateError::Backend(error)) => refused(error),
            error => Refused::Damaged(error.to_string()),
        }
    }
}
