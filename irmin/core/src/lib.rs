//! Irmin: a store that branches, merges and watches, and speaks Git.
//!
//! ```
//! use irmin::merge::files_as_git;
//! use irmin::{Format, Info, Memory, Repo, Signature};
//!
//! let repo = Repo::new(Memory::new(Format::Native));
//! let by_ada = |message| Info::new(Signature::new("Ada", "ada@example.org", 1_429_538_400, 0), message);
//!
//! let main = repo.branch("main")?;
//! let first = main.change(&by_ada("Greet"), |edit| edit.set("greeting/en", "hello"))?;
//! let phone = repo.branch("phone")?;
//! phone.set_head(&first)?;
//! let theirs = phone.change(&by_ada("Greet in German"), |edit| edit.set("greeting/de", "hallo"))?;
//! main.change(&by_ada("Be polite"), |edit| edit.set("greeting/en", "good day"))?;
//!
//! main.merge(&theirs, &files_as_git, &by_ada("Merge the phone"))?;
//! assert_eq!(main.tree()?.get("greeting/de")?.unwrap(), "hallo");
//! assert_eq!(first.tree().get("greeting/en")?.unwrap(), "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Contents are kept as Git keeps them: blobs, trees of names, and commits that point to a tree and
//! to the commits before them. Everything has an [`Id`] that follows from its bytes; a [`RefName`]
//! is the only thing that moves. Three [`Format`]s share one interface: Git with SHA-1 and Git with
//! SHA-256, bit for bit, and the native one, made for a million keys in one directory.
//!
//! Begin with a [`Repo`]: its branches hold [`Tree`]s, which never change; a [`Transaction`] makes the
//! next one and commits it. [`merge`] brings two histories together, as a value that can be looked
//! at first, and a [`Watch`] tells what moved.
//!
//! What keeps the objects is a [`Backend`], the whole boundary to storage: [`Memory`] is here,
//! Git repositories and the pack engine are crates of their own. Every backend passes one suite
//! (`conformance`, a feature).
//!
//! The core is synchronous, `Send + Sync`, needs an allocator and nothing else, reads no clock,
//! opens no file and starts no thread (but for callbacks, with the feature `std`). Features: `std`,
//! `serde` (values as JSON), `derive` (merges of structs), `conformance`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod backend;
mod branch;
mod check;
mod commit;
mod commit_index;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod containers;
mod contents;
mod error;
mod format;
mod history;
mod id;
mod memory;
pub mod merge;
mod object;
mod path;
pub mod raw;
mod refedit;
mod references;
mod refname;
mod repo;
mod revision;
mod store;
mod transaction;
mod tree;
mod watch;

pub use backend::{Backend, BackendError, Hook, UpdateError};
pub use branch::{Branch, MoveError};
pub use check::check_object;
pub use commit::{Commit, Info};
pub use commit_index::{CommitIndex, PathKey};
pub use containers::{Journal, Journals, Latest, Latests, Tallies, Tally};
#[cfg(feature = "serde")]
pub use contents::Json;
pub use contents::{Contents, NotContents, ValueError};
pub use error::{ReadError, WriteError};
pub use format::{CollisionAttack, Format, Kind};
pub use history::{HistoryError, Log};
pub use id::{Id, IdError};
#[cfg(feature = "derive")]
pub use irmin_derive::Merge;
pub use memory::Memory;
pub use object::Object;
pub use path::{Path, PathError};
pub use raw::{Mode, Signature};
pub use refedit::{Expect, RefEdit};
pub use references::{Link, links, references};
pub use refname::{RefName, RefNameError};
pub use repo::Repo;
pub use revision::RevisionError;
pub use transaction::{CommitError, Transaction};
pub use tree::{Diff, Difference, Entry, List, Tree, TreeEdit, Walk};
#[cfg(feature = "std")]
pub use watch::Callback;
pub use watch::{Event, Position, Watch};
