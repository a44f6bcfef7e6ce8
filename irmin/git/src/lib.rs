//! Git repositories as an Irmin store, safe to use while `git` itself works on them.
//!
//! ```
//! use irmin::{Backend, Expect, Format, Kind, Object, RefEdit, RefName};
//! use irmin_git::Git;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Git::init(folder.path(), Format::GitSha1, true)?;
//! let note = Object::new(store.format(), Kind::Blob, &b"hello\n"[..])?;
//! store.write(&[note.clone()])?;
//! let name = RefName::new("refs/notes/first")?;
//! store.update(&[RefEdit { name, expect: Expect::Missing, new: Some(note.id) }])?;
//! // `git -C folder cat-file blob refs/notes/first` prints hello.
//! # Ok(())
//! # }
//! ```
//!
//! **Objects.** Read from packs (index version 2), loose files and alternates. Every object that comes
//! from a disk is compared with its id. New objects go into packs: a batch is one pack with its index,
//! and small packs are folded into larger ones as they grow many, with deltas of bounded depth. Git can
//! use what is there at every moment.
//!
//! **Names.** Loose files, `packed-refs` and symbolic names, changed under `NAME.lock` as Git does it,
//! with reflogs where the repository wants them. Several names move together by one rename.
//!
//! **Packs.** [`take_pack`](PackStore::take_pack) makes a pack that comes one of the repository's in one
//! pass; [`give_pack`](PackStore::give_pack) copies what is stored.
//!
//! **Upkeep.** [`Git::gc`], [`Git::check`] and [`Git::write_commit_graph`] do what `git gc`, `git fsck` and
//! `git commit-graph write --changed-paths` do. Names that other processes move are noticed at once (inotify).
//!
//! **Power.** See [`Durability`]. A killed process leaves the repository whole; at most a lock file
//! stays, which the error names.
//!
//! **Bad repositories.** Sizes, counts, depths and paths that a repository claims are checked before
//! they cost anything: what is wrong is an error, and memory is bounded by [`Options`].
//!
//! What it never does: run `git`, read the user's or the system's configuration, write loose
//! objects, delete objects unless told to ([`Git::gc`]), follow `refs/replace`. Reftables and version-1 indexes are refused.

#![forbid(unsafe_code)]

mod cache;
mod changed;
mod check;
mod commit_graph;
mod config;
mod error;
mod file;
mod filter;
mod gc;
mod give;
mod graph;
mod layout;
mod lock;
mod loose;
mod notice;
mod odb;
mod pack;
mod receive;
mod refs;
mod source;
mod table;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use irmin::{
    Backend, BackendError, CommitIndex, Format, Hook, Id, Object, RefEdit, RefName, UpdateError,
};
use irmin_packfile::{GiveOptions, Given, PackError, PackStore, TakeOptions, Taken};

use error::corrupt;
use graph::Graph;
use layout::Layout;
use notice::Notice;
use odb::Odb;
use refs::Refs;

pub use check::Report;
pub use gc::{Collected, GcOptions};

/// A Git repository.
pub struct Git {
    layout: Arc<Layout>,
    odb: Arc<Odb>,
    refs: Refs,
    graph: Graph,
    notice: OnceLock<Option<Notice>>,
}

/// How a repository is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// When files are made to survive a loss of power.
    pub durability: Durability,
    /// The largest object that is read into memory, in bytes. 2 GiB unless set.
    pub largest_object: u64,
    /// How many bytes of objects are kept in memory for the next reader. 64 MiB unless set.
    pub cache: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Ordered,
            largest_object: 2 << 30,
            cache: 64 << 20,
        }
    }
}

/// When files are made to survive a loss of power. A killed process loses nothing in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Objects are made durable before a name moves to them, and the name before it replaces the old
    /// one: after a loss of power each name is what it was at some moment since the last
    /// [`flush`](Backend::flush), with all its objects.
    Ordered,
    /// Only [`flush`](Backend::flush) makes anything durable. After a loss of power, names that moved
    /// since may be empty or lack objects, as with libgit2. Several names, and deleted names that were
    /// packed, are durable nevertheless: the others stand in the same file.
    Relaxed,
}

impl Git {
    /// Opens the repository at `path`: a bare one, a work tree, or a further work tree of one.
    ///
    /// # Errors
    /// `Refused` if there is none, or if it uses what is not known here; `Corrupt`, `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Git, BackendError> {
        Git::open_with(path, &Options::default())
    }

    /// Opens a repository as [`open`](Git::open) does, with options.
    ///
    /// # Errors
    /// As [`open`](Git::open).
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Git, BackendError> {
        let layout = Arc::new(Layout::open(path.as_ref())?);
        let odb = Odb::open(
            layout.objects(),
            layout.common.join("irmin.lock"),
            layout.format,
            !layout.precious,
            options,
        )?;
        Ok(Git {
            odb,
            graph: Graph::new(
                &layout.objects(),
                layout.common.join("config"),
                layout.format,
            ),
            refs: Refs::new(layout.clone(), options.durability),
            notice: OnceLock::new(),
            layout,
        })
    }

    /// Makes an empty repository and opens it. `bare`: the folder is the repository itself; else it is
    /// a work tree with the repository in `.git`. The branch of `HEAD` is `main`.
    ///
    /// # Errors
    /// `Refused` if there is a repository already or the format is not Git's; `Io`.
    pub fn init(path: impl AsRef<Path>, format: Format, bare: bool) -> Result<Git, BackendError> {
        Layout::init(path.as_ref(), format, bare)?;
        Git::open(path)
    }

    /// The folder of the repository itself.
    pub fn path(&self) -> &Path {
        &self.layout.git_dir
    }

    /// What names lead to, `HEAD` among them.
    fn named(&self) -> Result<Vec<Id>, BackendError> {
        let mut ids: Vec<Id> = self.heads("refs/")?.into_iter().map(|(_, id)| id).collect();
        // It may be detached.
        ids.extend(self.head(&self.default_branch()?)?);
        Ok(ids)
    }

    /// Whether the history is cut off (`git clone --depth`).
    fn shallow_file(&self) -> std::path::PathBuf {
        self.layout.common.join("shallow")
    }
}

impl PackStore for Git {
    /// The pack becomes one of the repository's, in one pass: memory is bounded by some 120 bytes an
    /// object and by the objects on which deltas are being applied. All cores help with the deltas.
    fn take_pack(&self, pack: &mut dyn Read, options: TakeOptions<'_>) -> Result<Taken, PackError> {
        self.odb.take(pack, options)
    }

    /// What is in packs is copied as it is stored, deltas too where the receiver will have their bases;
    /// the rest is compressed whole.
    fn give_pack(
        &self,
        objects: &[Id],
        out: &mut dyn Write,
        options: GiveOptions<'_>,
    ) -> Result<Given, PackError> {
        give::give(&self.odb, objects, out, options)
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        self.odb.close();
    }
}

impl Backend for Git {
    fn format(&self) -> Format {
        self.layout.format
    }

    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        let found = self.odb.read(id)?;
        Ok(found.map(|(kind, data)| Object {
            id: *id,
            kind,
            data,
        }))
    }

    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        self.odb.contains(id)
    }

    fn write(&self, objects: &[Object]) -> Result<(), BackendError> {
        self.odb.write(objects)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        self.odb.ids(prefix, limit)
    }

    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        self.refs.head(name)
    }

    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        self.refs.heads(prefix)
    }

    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        self.refs.update(edits, &self.odb)
    }

    fn flush(&self) -> Result<(), BackendError> {
        // Objects before names.
        self.odb.sync(None)?;
        self.refs.sync()
    }

    /// Wakes at once on Linux's own file systems, by inotify; hooks are called for moves of this value
    /// too. `false` on file systems that other machines change.
    fn on_change(&self, hook: Hook) -> bool {
        let notice = self.notice.get_or_init(|| Notice::begin(&self.layout));
        notice.as_ref().is_some_and(|notice| {
            notice.add(hook);
            true
        })
    }

    fn generation(&self) -> Result<u64, BackendError> {
        self.refs.generation()
    }

    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        // The graph knows nothing of parents that are left out.
        if self.shallow_file().exists() {
            return Ok(None);
        }
        Ok(self.graph.commits()?.map(|commits| commits as _))
    }

    fn shallow(&self) -> Result<Vec<Id>, BackendError> {
        let path = self.shallow_file();
        let text = error::optional(std::fs::read(&path)).map_err(error::io("read", &path))?;
        let text = text.unwrap_or_default();
        let lines = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| {
                Id::from_hex(line)
                    .ok()
                    .filter(|id| id.as_bytes().len() == self.format().id_len())
                    .ok_or_else(|| corrupt(&path, "a line is no id"))
            })
            .collect()
    }

    fn set_shallow(&self, commits: &[Id]) -> Result<(), BackendError> {
        self.refs.set_shallow(commits)
    }

    fn default_branch(&self) -> Result<RefName, BackendError> {
        self.refs.default_branch()
    }

    fn set_default_branch(&self, name: &RefName) -> Result<(), BackendError> {
        self.refs.set_default_branch(name)
    }
}
