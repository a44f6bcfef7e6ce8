//! What one side did, as far as renames may matter.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::counts::{Counts, Need};
use crate::raw::Mode;
use crate::{Entry, Path};

/// A file, link or module and where it is.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub path: Path,
    pub entry: Entry,
}

/// What one side did with a file: removed it (no `new`), added it (no `old`), or renamed it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub old: Option<File>,
    pub new: Option<File>,
}

/// Why it matters where a removed file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The other side changed it.
    Content,
    /// The other side added files to a directory that it was in.
    Location,
}

/// What one side did, as far as renames may matter.
#[derive(Default)]
pub(super) struct Changes {
    pub pairs: Vec<Pair>,
    /// The removed files whose renames are wanted.
    pub wanted: HashMap<Path, Reason>,
    /// The directories that are gone.
    pub gone: BTreeMap<Path, Need>,
    /// Where files of directories that are gone went.
    pub counts: Counts,
}

pub(super) fn is_file(mode: Mode) -> bool {
    matches!(mode, Mode::File | Mode::Executable)
}

/// File, link or module.
pub(super) fn kind_of(mode: Mode) -> Mode {
    if is_file(mode) { Mode::File } else { mode }
}

pub(super) fn parent(path: &Path) -> Path {
    let mut parent = path.clone();
    parent.pop();
    parent
}
