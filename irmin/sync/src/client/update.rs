//! Which names of theirs become which of ours, and moving ours.

use hashbrown::{HashMap, HashSet};
use irmin::{Expect, Id, Kind, RefEdit, RefName, UpdateError};
use irmin_packfile::PackStore;

use super::fetch::{FetchOptions, Tags};
use super::listing::Listing;
use crate::advertisement::RemoteRef;
use crate::error::{SyncError, protocol};
use crate::refspec::Refspec;
use crate::walk;

/// A name of theirs that is fetched, or an id.
#[derive(Clone, Debug)]
pub(super) struct Match {
    pub name: Option<RefName>,
    pub id: Id,
    pub target: Option<RefName>,
    pub force: bool,
    pub why: Why,
}

/// Why a name is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A refspec asks for it.
    Asked,
    /// It is a tag, and comes along.
    Tag,
    /// It is asked for, and another name of ours follows it.
    Tracked,
}

/// What became of a name of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefMove {
    /// Which name.
    pub name: RefName,
    /// What it pointed to before.
    pub old: Option<Id>,
    /// What it points to on the other side; `None` if it is gone there.
    pub new: Option<Id>,
    /// What was done.
    pub status: RefStatus,
}

/// What was done with a name of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefStatus {
    /// Nothing: it is there already.
    UpToDate,
    /// It was made.
    Made,
    /// It moved forwards.
    Forwards,
    /// It moved elsewhere, which its refspec allows.
    Forced,
    /// It went, because its source is gone.
    Pruned,
    /// It stays: it would lose commits, and its refspec has no `+`.
    NotForwards,
    /// It stays: it is a tag, which does not move without `+`.
    TagStays,
}

impl RefStatus {
    /// Whether it stays though the other side has something else.
    pub fn is_refused(self) -> bool {
        matches!(self, RefStatus::NotForwards | RefStatus::TagStays)
    }
}

/// What the refspecs ask for.
pub(super) fn matches(
    listing: &Listing,
    options: &FetchOptions<'_>,
) -> Result<Vec<Match>, SyncError> {
    let all_tags: Refspec = "refs/tags/*:refs/tags/*".parse()?;
    let (negative, positive): (Vec<&Refspec>, Vec<&Refspec>) =
        options.refspecs.iter().partition(|spec| spec.negative);
    let mut asked = Asking {
        negative,
        targets: HashMap::new(),
        all: Vec::new(),
    };
    let there = listing.by_name();
    for spec in positive {
        if spec.is_pattern() {
            asked.pattern(listing, spec, Why::Asked)?;
            continue;
        }
        let target = spec.target.as_deref().map(ours).transpose()?;
        let (name, id) = match there.resolve(&spec.source) {
            Some(RemoteRef {
                name, id: Some(id), ..
            }) => (Some(name), *id),
            _ => match Id::from_hex(spec.source.as_bytes()) {
                Ok(id) if id.as_bytes().len() == listing.format.id_len() => (None, id),
                _ => {
                    return Err(SyncError::NoSuchName {
                        name: spec.source.clone(),
                    });
                }
            },
        };
        asked.add(name, id, target, spec.force, Why::Asked)?;
    }
    if options.tags == Tags::All {
        asked.pattern(listing, &all_tags, Why::Tag)?;
    }
    let names: Vec<(&RefName, Id)> = (asked.all.iter())
        .filter(|one| one.why == Why::Asked)
        .filter_map(|one| Some((there.find(one.name.as_ref()?.as_str())?, one.id)))
        .map(|(found, id)| (&found.name, id))
        .collect();
    for spec in options.tracking.iter().filter(|spec| !spec.negative) {
        for (name, id) in &names {
            let target = spec
                .fits(name.as_str())
                .and_then(|star| spec.target_of(star));
            if target.is_some() {
                asked.add(Some(name), *id, target, spec.force, Why::Tracked)?;
            }
        }
    }
    Ok(asked.all)
}

/// What is asked for so far.
struct Asking<'a> {
    negative: Vec<&'a Refspec>,
    /// Names of ours, and whose they become.
    targets: HashMap<RefName, Option<RefName>>,
    all: Vec<Match>,
}

impl Asking<'_> {
    fn pattern(&mut self, listing: &Listing, spec: &Refspec, why: Why) -> Result<(), SyncError> {
        for one in &listing.names {
            let (Some(id), Some(star)) = (one.id, spec.fits(one.name.as_str())) else {
                continue;
            };
            let target = match &spec.target {
                None => None,
                Some(_) => match spec.target_of(star) {
                    Some(target) => Some(target),
                    None => return protocol(format!("{} makes no name here", one.name)),
                },
            };
            self.add(Some(&one.name), id, target, spec.force, why)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: Option<&RefName>,
        id: Id,
        target: Option<RefName>,
        force: bool,
        why: Why,
    ) -> Result<(), SyncError> {
        let fits = |spec: &&Refspec| name.is_some_and(|name| spec.fits(name.as_str()).is_some());
        if self.negative.iter().any(fits) {
            return Ok(());
        }
        let name = name.cloned();
        if let Some(target) = &target {
            match self.targets.get(target) {
                Some(first) if *first == name => return Ok(()),
                Some(first) => {
                    return Err(SyncError::Invalid(format!(
                        "both {} and {} would become {target}",
                        shown(first),
                        shown(&name),
                    )));
                }
                None => drop(self.targets.insert(target.clone(), name.clone())),
            }
        }
        self.all.push(Match {
            name,
            id,
            target,
            force,
            why,
        });
        Ok(())
    }
}

fn shown(name: &Option<RefName>) -> &str {
    name.as_ref().map_or("an id", RefName::as_str)
}

/// A name of ours as Git understands a target: a branch unless it says what it is.
fn ours(target: &str) -> Result<RefName, SyncError> {
    let full = if target.starts_with("refs/") {
        target.to_string()
    } else if ["heads/", "tags/", "remotes/"]
        .iter()
        .any(|kind| target.starts_with(kind))
    {
        format!("refs/{target}")
    } else {
        format!("refs/heads/{target}")
    };
    RefName::new(&full).map_err(|error| SyncError::Invalid(error.to_string()))
}

/// A tag of theirs that we do not have, and what it leads to.
pub(super) struct NewTag {
    tag: Match,
    leads_to: Id,
}

pub(super) fn new_tags(
    listing: &Listing,
    store: &dyn PackStore,
    matches: &[Match],
) -> Result<Vec<NewTag>, SyncError> {
    let ours: HashSet<RefName> = store
        .heads("refs/tags/")?
        .into_iter()
        .map(|(name, _)| name)
        .chain(matches.iter().filter_map(|one| one.target.clone()))
        .collect();
    Ok(listing
        .names
        .iter()
        .filter(|one| one.name.as_str().starts_with("refs/tags/") && !ours.contains(&one.name))
        .filter_map(|one| {
            let id = one.id?;
            Some(NewTag {
                leads_to: one.peeled.unwrap_or(id),
                tag: Match {
                    name: Some(one.name.clone()),
                    id,
                    target: Some(one.name.clone()),
                    force: false,
                    why: Why::Tag,
                },
            })
        })
        .collect())
}

/// Takes out the tags that lead to what is here or is fetched.
pub(super) fn tags_that_lead_here(
    store: &dyn PackStore,
    tags: &mut Vec<NewTag>,
    matches: &[Match],
) -> Result<Vec<Match>, SyncError> {
    let fetched: HashSet<Id> = matches.iter().map(|one| one.id).collect();
    let mut found = Vec::new();
    let mut others = Vec::new();
    for tag in tags.drain(..) {
        if fetched.contains(&tag.leads_to) || store.contains(&tag.leads_to)? {
            found.push(tag.tag);
        } else {
            others.push(tag);
        }
    }
    *tags = others;
    Ok(found)
}

/// Moves our names, all at once; those whose source is gone go first.
pub(super) fn apply(
    store: &dyn PackStore,
    listing: &Listing,
    options: &FetchOptions<'_>,
    matches: &[Match],
) -> Result<Vec<RefMove>, SyncError> {
    let mut moves = if options.prune {
        prune(store, listing, options)?
    } else {
        Vec::new()
    };
    // Somebody else may move a name at the same time: then look again.
    for attempt in 0.. {
        let mut planned = Vec::new();
        for one in matches {
            if let Some(target) = &one.target {
                planned.push(plan(store, target, one)?);
            }
        }
        let edits: Vec<RefEdit> = planned.iter().filter_map(edit).collect();
        let result = if edits.is_empty() {
            Ok(())
        } else {
            store.update(&edits)
        };
        match result {
            Err(UpdateError::Moved { .. }) if attempt < 5 => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                moves.extend(planned);
                break;
            }
        }
    }
    Ok(moves)
}

fn edit(planned: &RefMove) -> Option<RefEdit> {
    let moves = matches!(
        planned.status,
        RefStatus::Made | RefStatus::Forwards | RefStatus::Forced | RefStatus::Pruned
    );
    moves.then(|| RefEdit {
        name: planned.name.clone(),
        expect: Expect::from(planned.old),
        new: planned.new,
    })
}

fn plan(store: &dyn PackStore, target: &RefName, from: &Match) -> Result<RefMove, SyncError> {
    let old = store.head(target)?;
    let status = match old {
        None => RefStatus::Made,
        Some(old) if old == from.id => RefStatus::UpToDate,
        Some(old) => {
            if target.as_str().starts_with("refs/tags/") {
                if from.force {
                    RefStatus::Forced
                } else {
                    RefStatus::TagStays
                }
            } else if goes_forwards(store, old, from.id)? {
                RefStatus::Forwards
            } else if from.force {
                RefStatus::Forced
            } else {
                RefStatus::NotForwards
            }
        }
    };
    Ok(RefMove {
        name: target.clone(),
        old,
        new: Some(from.id),
        status,
    })
}

/// Whether a name loses no commits. What is no commit has none to lose.
pub(super) fn goes_forwards(store: &dyn PackStore, old: Id, new: Id) -> Result<bool, SyncError> {
    let is_commit = |id: &Id| -> Result<bool, SyncError> {
        Ok(store
            .read(id)?
            .is_some_and(|object| object.kind == Kind::Commit))
    };
    if !is_commit(&old)? || !is_commit(&new)? {
        return Ok(false);
    }
    walk::is_ancestor(store, &old, &new).map_err(SyncError::Walk)
}

fn prune(
    store: &dyn PackStore,
    listing: &Listing,
    options: &FetchOptions<'_>,
) -> Result<Vec<RefMove>, SyncError> {
    let theirs = listing.by_name();
    let specs = options.refspecs.iter().filter(|spec| !spec.negative);
    let (patterns, exact): (Vec<&Refspec>, Vec<&Refspec>) =
        specs.partition(|spec| spec.is_pattern());
    let mut by_target: HashMap<&str, Vec<&Refspec>> = HashMap::new();
    for spec in exact {
        let target = spec.target.as_deref().unwrap_or_default();
        by_target.entry(target).or_default().push(spec);
    }
    let mut pruned = Vec::new();
    for (name, id) in store.heads("refs/")? {
        let exact = by_target.get(name.as_str()).into_iter().flatten();
        let mut sources = (patterns.iter().chain(exact))
            .filter_map(|spec| spec.source_of(name.as_str()))
            .peekable();
        if sources.peek().is_some() && sources.all(|source| theirs.find(&source).is_none()) {
            pruned.push(RefMove {
                name,
                old: Some(id),
                new: None,
                status: RefStatus::Pruned,
            });
        }
    }
    let edits: Vec<RefEdit> = pruned.iter().filter_map(edit).collect();
    if !edits.is_empty() {
        store.update(&edits)?;
    }
    Ok(pruned)
}

#[cfg(test)]
mod tests {
    use irmin::Format;

    use super::*;

    #[test]
    fn names_are_looked_up_and_not_searched() {
        const COUNT: usize = 100_000;
        let name = |n: usize| RefName::new(&format!("refs/heads/b{n}")).unwrap();
        let names = (0..COUNT).map(|n| RemoteRef {
            name: name(n),
            id: Some(Id::from_hex(format!("{n:040x}").as_bytes()).unwrap()),
            peeled: None,
            stands_for: None,
        });
        let listing = Listing {
            format: Format::GitSha1,
            names: names.collect(),
        };
        let specs = (0..COUNT).map(|n| format!("b{n}:refs/x/{n}").parse().unwrap());
        let mut options = FetchOptions::new(specs.collect());
        options.tracking = vec!["refs/heads/*:refs/y/*".parse().unwrap()];
        let matches = matches(&listing, &options).unwrap();
        assert_eq!(matches.len(), 2 * COUNT);
        assert_eq!(
            matches[COUNT - 1].target.as_ref().unwrap().as_str(),
            "refs/x/99999"
        );
        assert_eq!(matches[COUNT].why, Why::Tracked);
    }
}
