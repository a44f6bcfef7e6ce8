//! Which trees and contents some commits have and others do not.
//!
//! A commit's tree is compared with those of its parents, level by level: a directory of the parent
//! is looked into only where the child has another one of that name, so that the work follows the
//! change and not the size of the tree.

use std::hash::BuildHasher as _;

use hashbrown::{HashMap, HashSet};
use irmin::{Backend, Id, Kind};

use super::commits::History;
use super::runs::Runs;
use super::{Found, Options, WalkError, read, report};

/// Objects that are listed already or that the receiver has.
pub(super) type Seen = HashSet<Id>;

/// At most so many old directories are looked into for one new one, and a few more: enough to find
/// what is unchanged in pages that have no names.
const OLD_FOR_NEW: usize = 4;

pub(super) fn walk(
    store: &dyn Backend,
    history: &History<'_>,
    commits: &[Id],
    roots: &[Id],
    seen: &mut Seen,
    found: &mut Found,
    options: &mut Options<'_>,
) -> Result<(), WalkError> {
    let mut runs = Runs::default();
    // Parents first, if clocks went right: then what a commit has from them is known when its turn comes.
    for id in commits.iter().rev() {
        let node = history.node(id).expect("what is listed is known");
        let mut old = Vec::new();
        if history.has_haves() {
            for parent in node.parents.iter().filter_map(|id| history.node(id)) {
                if parent.had && seen.insert(parent.tree) {
                    found.bases.push(parent.tree);
                }
                if seen.contains(&parent.tree) {
                    old.push(parent.tree);
                }
            }
        }
        tree(store, node.tree, old, (seen, &mut runs), found, options)?;
    }
    for root in roots {
        tree(store, *root, Vec::new(), (seen, &mut runs), found, options)?;
    }
    Ok(())
}

/// Lists what is new in a tree.
fn tree(
    store: &dyn Backend,
    root: Id,
    mut old: Vec<Id>,
    (seen, runs): (&mut Seen, &mut Runs),
    found: &mut Found,
    options: &mut Options<'_>,
) -> Result<(), WalkError> {
    let format = store.format();
    if !seen.insert(root) {
        return Ok(());
    }
    let names = runs.names();
    let mut new = vec![(root, names.hash_one(b"".as_slice()))];
    while !new.is_empty() {
        // The old level first: what it has is not new.
        let mut old_dirs: HashMap<Vec<u8>, Vec<Id>> = HashMap::new();
        for id in &old {
            let Some(object) = store.read(id)?.filter(|object| object.kind == Kind::Tree) else {
                continue;
            };
            irmin::links(format, &object, &|_| false, &mut |link| {
                if seen.insert(link.id) {
                    found.bases.push(link.id);
                }
                if link.kind == Kind::Tree {
                    old_dirs.entry(link.name.into()).or_default().push(link.id);
                }
            })?;
        }
        let mut next = Vec::new();
        let mut next_old = HashSet::new();
        for (id, name) in new {
            found.trees.push(id);
            report(
                options,
                found.first.len() + found.trees.len() + found.blobs.len(),
            )?;
            let object = read(store, id, Kind::Tree)?;
            if let Some(check) = &mut options.check {
                check(&object)?;
            }
            runs.links(format, name, &object, &mut |link| {
                if !seen.insert(link.id) {
                    return;
                }
                if link.kind == Kind::Blob {
                    found.blobs.push(link.id);
                    return;
                }
                next.push((link.id, names.hash_one(link.name)));
                if let Some(same_name) = old_dirs.get(link.name) {
                    next_old.extend(same_name);
                }
            })?;
        }
        old = next_old
            .into_iter()
            .take(OLD_FOR_NEW * next.len() + 64)
            .collect();
        new = next;
    }
    Ok(())
}
