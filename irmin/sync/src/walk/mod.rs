//! What one store has and another lacks: objects that some ids lead to and others do not.
//!
//! Both sides use it: who sends lists what the receiver lacks ([`missing`]), who receives checks that
//! everything came before a name moves ([`connected`]). Contents are never read, only named.

mod commits;
mod runs;
mod trees;

use hashbrown::HashSet;
use irmin::{Backend, BackendError, Id, Kind, Object, RefName};

pub use commits::is_ancestor;

/// How a walk is done. The default has no limit, no cuts and no one to report to.
#[derive(Default)]
pub struct Options<'a> {
    /// Commits whose parents are not followed from the wants: where the receiver's history will end.
    pub cut: Option<&'a HashSet<Id>>,
    /// Commits whose parents the receiver does not have, though it has the commits.
    pub have_cut: Option<&'a HashSet<Id>>,
    /// The most objects that are listed; more is [`WalkError::TooMany`].
    pub most: Option<usize>,
    /// Called with each directory that is listed; an error ends the walk.
    pub check: Option<Check<'a>>,
    /// Called now and then with how many objects are listed; `false` ends the walk
    /// ([`WalkError::Stopped`]).
    pub progress: Option<&'a mut dyn FnMut(usize) -> bool>,
}

/// Looks at an object that is listed.
pub type Check<'a> = &'a mut dyn FnMut(&Object) -> Result<(), WalkError>;

/// Lists what `wants` lead to and `haves` do not: tags and commits, newest first, then trees and
/// contents. Each id comes once.
///
/// Haves that are not here are passed over. Where the store's own history is cut off, so is the walk.
/// Everything that the haves lack is listed; a little that they have may be too (contents that moved
/// to another directory, commits with clocks that went back): as little as finding out is worth.
///
/// # Errors
/// [`WalkError`]; `Missing` if something that the wants lead to is not here.
pub fn missing(
    store: &dyn Backend,
    wants: &[Id],
    haves: &[Id],
    options: &mut Options<'_>,
) -> Result<Vec<Id>, WalkError> {
    Ok(found(store, wants, haves, options)?.all())
}

/// Checks that all is here that `tips` lead to and `known` do not: to be asked before a name moves to
/// one of the tips. `known` must be whole, as names are.
///
/// # Errors
/// [`WalkError`]; `Missing` with the first object that is not here.
pub fn connected(
    store: &dyn Backend,
    tips: &[Id],
    known: &[Id],
    options: &mut Options<'_>,
) -> Result<(), WalkError> {
    for id in found(store, tips, known, options)?.blobs {
        if !store.contains(&id)? {
            return Err(WalkError::Missing {
                id,
                kind: Kind::Blob,
            });
        }
    }
    Ok(())
}

/// All that a store's names point to: what is known to be whole.
///
/// # Errors
/// [`BackendError`].
pub fn tips(store: &dyn Backend) -> Result<Vec<Id>, BackendError> {
    let mut all: Vec<Id> = store
        .heads("refs/")?
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    // It may be detached.
    all.extend(store.head(&RefName::new("HEAD").expect("a good name"))?);
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Tags and commits, newest first.
    pub first: Vec<Id>,
    /// Trees (in the native format pages), those of a level together. All of these have been read.
    pub trees: Vec<Id>,
    /// Contents. They have only been named: whether they are here is not known.
    pub blobs: Vec<Id>,
    /// What the haves have of that which was met on the way: deltas may stand on it.
    pub bases: Vec<Id>,
}

impl Found {
    /// The objects that were found, in the order in which they are sent.
    pub fn all(self) -> Vec<Id> {
        let mut all = self.first;
        all.extend(self.trees);
        all.extend(self.blobs);
        all
    }
}

/// Finds what [`missing`] lists, by kind.
///
/// # Errors
/// As [`missing`].
pub fn found(
    store: &dyn Backend,
    wants: &[Id],
    haves: &[Id],
    options: &mut Options<'_>,
) -> Result<Found, WalkError> {
    let own: HashSet<Id> = store.shallow()?.into_iter().collect();
    let mut history = commits::History::new(store, own, options.cut, options.have_cut);
    let mut found = Found::default();
    let mut seen = trees::Seen::default();
    let mut roots = Vec::new();
    for have in haves {
        // What is not here leads nowhere, and what a tag leads to may be left out.
        follow(store, *have, false, &mut |id, kind| match kind {
            Kind::Commit => history.have(id),
            _ => {
                seen.insert(id);
                Ok(())
            }
        })?;
    }
    for want in wants {
        follow(store, *want, true, &mut |id, kind| {
            match kind {
                Kind::Commit => history.want(id)?,
                Kind::Tag if seen.insert(id) => found.first.push(id),
                Kind::Tree => roots.push(id),
                Kind::Blob if seen.insert(id) => found.blobs.push(id),
                _ => {}
            }
            Ok(())
        })?;
    }
    history.walk(options)?;
    let commits = history.wanted();
    found.first.extend(commits.iter().copied());
    trees::walk(
        store, &history, &commits, &roots, &mut seen, &mut found, options,
    )?;
    Ok(found)
}

/// Shows an object and, if it is a tag, what it leads to.
fn follow(
    store: &dyn Backend,
    mut id: Id,
    must: bool,
    visit: &mut dyn FnMut(Id, Kind) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let mut kind = None;
    loop {
        // Contents that a tag names are not read.
        if kind == Some(Kind::Blob) {
            return visit(id, Kind::Blob);
        }
        let Some(object) = store.read(&id)? else {
            return if must {
                let kind = kind.unwrap_or(Kind::Commit);
                Err(WalkError::Missing { id, kind })
            } else {
                Ok(())
            };
        };
        if let Some(kind) = kind.filter(|kind| must && *kind != object.kind) {
            return Err(wrong_kind(&object, kind));
        }
        visit(id, object.kind)?;
        if object.kind != Kind::Tag {
            return Ok(());
        }
        irmin::links(store.format(), &object, &|_| false, &mut |link| {
            (id, kind) = (link.id, Some(link.kind));
        })?;
    }
}

fn wrong_kind(object: &Object, expected: Kind) -> WalkError {
    WalkError::Backend(BackendError::Corrupt {
        what: format!(
            "{} (a {}, where another object says {expected})",
            object.id, object.kind
        ),
    })
}

fn read(store: &dyn Backend, id: Id, kind: Kind) -> Result<Object, WalkError> {
    let object = store.read(&id)?.ok_or(WalkError::Missing { id, kind })?;
    if object.kind != kind {
        return Err(wrong_kind(&object, kind));
    }
    Ok(object)
}

/// Reports to who wants to know, and keeps the limit.
fn report(options: &mut Options<'_>, listed: usize) -> Result<(), WalkError> {
    if let Some(most) = options.most.filter(|most| listed > *most) {
        return Err(WalkError::TooMany { most });
    }
    if listed.is_multiple_of(1024)
        && let Some(progress) = &mut options.progress
        && !progress(listed)
    {
        return Err(WalkError::Stopped);
    }
    Ok(())
}

/// A walk that did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// Something that must be here is not.
    #[error("the {kind} {id} is not here")]
    Missing {
        /// Which object.
        id: Id,
        /// What it should be.
        kind: Kind,
    },
    /// There are more objects than may be listed.
    #[error("there are more than {most} objects, which is the limit")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// The caller ended it.
    #[error("stopped")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

#[cfg(test)]
mod tests;
