//! Merges that follow renames, with the outcome of Git's ("ort"): the same tree where it is clean, the
//! same paths in conflict, and there the same files with the same marks.
//!
//! 1. [`collect`] walks the three trees where they differ and makes an [`Item`] of each path.
//! 2. [`detect`] finds, on either side, which added file is a removed one under another name.
//! 3. [`dirs`] finds directories that moved as a whole, and moves with them what the other side added.
//! 4. [`follow`] brings the versions of a renamed file together in one item.
//! 5. [`settle`] decides each item for itself: contents are merged here.
//!
//! What only one side changed is put in without a look inside, unless a rename may have begun or ended
//! there; the other merge (`three`) has already seen that there may be renames at all.

mod changes;
mod collect;
mod counts;
mod detect;
mod dirs;
mod follow;
mod settle;
mod similarity;
mod table;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hashbrown::HashSet;

use self::changes::{Changes, parent};
use super::{Conflict, MergeError, Rule, Three, Why};
use crate::tree::Content;
use crate::{Entry, Id, Kind, Path, ReadError, Tree, TreeEdit};

/// The merged tree as an edit of ours, and what stands in the way.
pub(super) struct Merged {
    pub edit: TreeEdit,
    pub conflicts: Vec<Conflict>,
}

/// Merges. At a `depth` of 1 or more the sides are common ancestors, as in `three::merge`.
pub(super) fn merge(
    base: &Tree,
    ours: &Tree,
    theirs: &Tree,
    rule: &dyn Rule,
    depth: usize,
    names: [&str; 2],
) -> Result<Merged, MergeError> {
    let mut edit = ours.edit();
    edit.stage(base);
    edit.stage(theirs);
    let trees = [base, ours, theirs].map(|tree| Tree {
        root: tree.root,
        ..edit.base().clone()
    });
    let empty = base.store.format.id(Kind::Blob, &[]).ok();
    let mut merging = Merging {
        trees,
        rule,
        depth,
        names,
        items: BTreeMap::new(),
        walked: HashSet::new(),
        left: HashSet::new(),
        changes: Default::default(),
        unclear: Vec::new(),
    };
    merging.collect()?;
    if merging
        .changes
        .iter()
        .any(|side| !side.pairs.is_empty() && !side.wanted.is_empty())
    {
        let contents: Vec<Content> = empty
            .map(Content::Id)
            .into_iter()
            .chain([Content::Here(bytes::Bytes::new())])
            .collect();
        let tree = merging.trees[0].clone();
        for side in &mut merging.changes {
            detect::detect(side, &contents, &|entry| tree.contents(entry))?;
        }
        let renames = merging.moved_dirs()?;
        merging.follow(renames)?;
    }
    merging.settle(edit)
}

/// A set of the three trees, one bit each.
type Mask = u8;
const BASE: Mask = 1;
const SIDES: [Mask; 2] = [2, 4];
const ALL: Mask = 7;

/// A path at which not all three trees have the same.
#[derive(Clone, Debug, Default)]
struct Item {
    /// What the base and the two sides have there, or of the file that is there under another name.
    stages: [Option<Entry>; 3],
    /// The path of a version that comes from another one.
    from: [Option<Path>; 3],
    /// Who has a file (or link, or module), and who a directory.
    files: Mask,
    dirs: Mask,
    /// Whose versions are the same: nobody's, or those of two.
    same: Mask,
    /// Renames contradict each other; why.
    contradiction: Option<Why>,
    /// The outcome is known; `None` if that is nothing.
    outcome: Option<Option<Entry>>,
    /// A directory that was taken whole from one side.
    is_whole: bool,
}

struct Merging<'a> {
    /// Base, ours, theirs. Each knows the unwritten objects of all.
    trees: [Tree; 3],
    rule: &'a dyn Rule,
    depth: usize,
    names: [&'a str; 2],
    items: BTreeMap<Path, Item>,
    /// The directories that were looked into.
    walked: HashSet<Path>,
    /// Paths whose items were moved elsewhere.
    left: HashSet<Path>,
    changes: [Changes; 2],
    /// Directories whose renames are not clear.
    unclear: Vec<(Path, Why)>,
}

impl Merging<'_> {
    /// Whether the merge knows of something at this path: what is below directories that nobody
    /// looked into does not count, as in Git.
    fn is_known(&self, path: &Path) -> Result<bool, ReadError> {
        if self.items.contains_key(path) {
            return Ok(true);
        }
        if self.left.contains(path) || !self.walked.contains(&parent(path)) {
            return Ok(false);
        }
        Ok(self.trees[0].entry(path)?.is_some())
    }

    /// A name beside a path, for what one side has there.
    fn beside(&self, path: &Path, side: usize) -> Result<Path, ReadError> {
        let label = self.names[side].replace(['/', '\0'], "_");
        let mut name = [path.as_bytes(), b"~", label.as_bytes()].concat();
        let end = name.len();
        let mut number = 0;
        loop {
            let path = Path::new(&name)?;
            if !self.is_known(&path)? {
                return Ok(path);
            }
            name.truncate(end);
            name.extend(alloc::format!("_{number}").into_bytes());
            number += 1;
        }
    }
}

fn three(stages: &[Option<Entry>; 3]) -> Three<Option<Entry>> {
    let [base, ours, theirs] = stages.clone();
    Three { base, ours, theirs }
}

fn dir_id(entry: &Option<Entry>) -> Option<Id> {
    entry.as_ref().and_then(Entry::dir_id)
}

#[cfg(test)]
mod tests;
