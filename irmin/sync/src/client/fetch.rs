//! Fetching: names of theirs, and what they lead to, become names of ours.

use std::num::NonZeroU32;

use hashbrown::HashSet;
use irmin::{Id, RefName};
use irmin_packfile::{Limits, PackStore, Taken};

use super::listing::{Conversation, Listing, ids};
use super::negotiate::Haves;
use super::shallow::Boundary;
use super::update::{self, Match, RefMove, Why};
use super::{OnProgress, Progress, Remote, Reporter, v0, v2};
use crate::error::{SyncError, protocol};
use crate::refspec::Refspec;
use crate::walk::{self, WalkError};

/// What is fetched, and how.
pub struct FetchOptions<'a> {
    /// Which names of theirs become which of ours.
    pub refspecs: Vec<Refspec>,
    /// Refspecs of other fetches: names of ours that follow what is fetched move with it.
    pub tracking: Vec<Refspec>,
    /// Which tags come along.
    pub tags: Tags,
    /// Whether names of ours go whose source is gone, as far as the refspecs make names.
    pub prune: bool,
    /// How much history.
    pub depth: Depth,
    /// What a pack may cost.
    pub limits: Limits,
    /// Who hears what goes on.
    pub progress: Option<OnProgress<'a>>,
}

impl FetchOptions<'_> {
    /// These refspecs, the tags that lead to what comes, and nothing else.
    pub fn new(refspecs: Vec<Refspec>) -> Self {
        FetchOptions {
            refspecs,
            tracking: Vec::new(),
            tags: Tags::Follow,
            prune: false,
            depth: Depth::AsIs,
            limits: Limits::default(),
            progress: None,
        }
    }
}

/// Which tags come along with a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// New ones that lead to what is fetched or here.
    Follow,
    /// All new ones.
    All,
    /// None but those that a refspec asks for.
    No,
}

/// How much history a fetch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All that leads from what is here to what is new; where it is cut off, it stays so.
    AsIs,
    /// So many commits of each name, counted from its head.
    At(NonZeroU32),
    /// So many commits more than there are below where it is cut off now.
    More(NonZeroU32),
    /// All: nothing is cut off afterwards.
    Whole,
}

/// What a fetch did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// All that was asked for and the tags that came along, in that order, as they are on the other side.
    pub heads: Vec<FetchedRef>,
    /// What became of each name of ours.
    pub moves: Vec<RefMove>,
    /// What came; `None` if everything was here.
    pub taken: Option<Taken>,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRef {
    /// Its name on the other side; `None` if an id was asked for.
    pub name: Option<RefName>,
    /// What it points to there.
    pub id: Id,
    /// Whether a refspec asked for it; else it is a tag that came along.
    pub was_asked_for: bool,
}

/// What was fetched, of what was matched.
fn heads(matches: &[Match]) -> impl Iterator<Item = FetchedRef> {
    let own = matches.iter().filter(|one| one.why != Why::Tracked);
    own.map(|one| FetchedRef {
        name: one.name.clone(),
        id: one.id,
        was_asked_for: one.why == Why::Asked,
    })
}

/// What is asked of the server.
pub(super) struct Asked<'a> {
    pub wants: Vec<Id>,
    /// Where our history is cut off.
    pub shallow: Vec<Id>,
    pub depth: Depth,
    pub include_tag: bool,
    pub limits: Limits,
    pub theirs: &'a [Id],
}

impl Asked<'_> {
    pub fn deepens(&self) -> bool {
        self.depth != Depth::AsIs
    }

    pub fn is_shallow(&self) -> bool {
        self.deepens() || !self.shallow.is_empty()
    }
}

/// What came.
pub(super) struct Came {
    pub taken: Taken,
    pub boundary: Boundary,
}

impl Remote {
    /// Fetches what the refspecs ask for and moves our names to it, all at once. Names that the
    /// refspecs do not let move are told in [`Fetched::moves`].
    ///
    /// # Errors
    /// [`SyncError`]: no name has moved. Objects that came stay, and nothing points to them.
    pub fn fetch(
        &mut self,
        store: &dyn PackStore,
        mut options: FetchOptions<'_>,
    ) -> Result<Fetched, SyncError> {
        let reporter = Reporter::new(options.progress.take());
        let mut conversation = Conversation::begin(&mut *self.transport, self.version)?;
        let listing = conversation.list(&prefixes(&options))?;
        let (fetched, later) = run(conversation, &listing, store, &options, &reporter)?;
        if later.is_empty() {
            return Ok(fetched);
        }
        let conversation = Conversation::begin(&mut *self.transport, self.version)?;
        tags_later(
            conversation,
            &listing,
            store,
            &options,
            later,
            fetched,
            &reporter,
        )
    }
}

/// Beginnings of the names that the server is asked to tell.
pub(super) fn prefixes(options: &FetchOptions<'_>) -> Vec<&'static str> {
    // Names are few or the refspecs want most of them; what is no pattern may be any kind of name.
    let only = |prefix: &str| {
        options
            .refspecs
            .iter()
            .filter(|spec| !spec.negative)
            .all(|spec| spec.source.starts_with(prefix))
    };
    if only("refs/heads/") {
        vec!["HEAD", "refs/heads/", "refs/tags/"]
    } else {
        Vec::new()
    }
}

/// A fetch after the names are known. Gives tags that have to be fetched in a conversation of their own.
pub(super) fn run(
    conversation: Conversation<'_>,
    listing: &Listing,
    store: &dyn PackStore,
    options: &FetchOptions<'_>,
    reporter: &Reporter<'_>,
) -> Result<(Fetched, Vec<Match>), SyncError> {
    if conversation.format != store.format() {
        let there = conversation.format;
        conversation.end()?;
        return Err(SyncError::Format {
            there,
            here: store.format(),
        });
    }
    let mut matches = match update::matches(listing, options) {
        Ok(matches) => matches,
        Err(error) => {
            conversation.end()?;
            return Err(error);
        }
    };
    let is_kept = |one: &Match| one.target.is_some() && one.why == Why::Asked;
    let follow = options.tags == Tags::Follow && matches.iter().any(is_kept);
    let mut tags = if follow {
        update::new_tags(listing, store, &matches)?
    } else {
        Vec::new()
    };
    matches.extend(update::tags_that_lead_here(store, &mut tags, &matches)?);
    let taken = objects(
        conversation,
        listing,
        store,
        options,
        &matches,
        follow,
        reporter,
    )?;
    // The server may have sent tags along, and commits that tags lead to.
    let more = update::tags_that_lead_here(store, &mut tags, &matches)?;
    let (mut came, mut later) = (Vec::new(), Vec::new());
    for tag in more {
        let here = store.contains(&tag.id)?;
        if here { &mut came } else { &mut later }.push(tag);
    }
    if !came.is_empty() {
        let ids: Vec<Id> = came.iter().map(|tag: &Match| tag.id).collect();
        // What was fetched has been checked.
        let mut known = walk::tips(store)?;
        known.extend(matches.iter().map(|one| one.id));
        match lacks_nothing(store, &ids, &known)? {
            true => &mut matches,
            false => &mut later,
        }
        .extend(came);
    }
    let moves = update::apply(store, listing, options, &matches)?;
    let fetched = Fetched {
        heads: heads(&matches).collect(),
        moves,
        taken,
    };
    Ok((fetched, later))
}

/// Fetches tags that lead to what has come, but did not come along.
pub(super) fn tags_later(
    conversation: Conversation<'_>,
    listing: &Listing,
    store: &dyn PackStore,
    options: &FetchOptions<'_>,
    tags: Vec<Match>,
    mut fetched: Fetched,
    reporter: &Reporter<'_>,
) -> Result<Fetched, SyncError> {
    let only_tags = FetchOptions {
        limits: options.limits,
        ..FetchOptions::new(Vec::new())
    };
    objects(
        conversation,
        listing,
        store,
        &only_tags,
        &tags,
        false,
        reporter,
    )?;
    fetched
        .moves
        .extend(update::apply(store, listing, &only_tags, &tags)?);
    fetched.heads.extend(heads(&tags));
    Ok(fetched)
}

/// Brings the objects, and checks that all are here.
fn objects(
    mut conversation: Conversation<'_>,
    listing: &Listing,
    store: &dyn PackStore,
    options: &FetchOptions<'_>,
    matches: &[Match],
    include_tag: bool,
    reporter: &Reporter<'_>,
) -> Result<Option<Taken>, SyncError> {
    let theirs = ids(&listing.names);
    let mut asked = Asked {
        wants: matches.iter().map(|one| one.id).collect(),
        shallow: store.shallow()?,
        depth: options.depth,
        include_tag,
        limits: options.limits,
        theirs: &theirs,
    };
    asked.wants.sort_unstable();
    asked.wants.dedup();
    let known = walk::tips(store)?;
    if !asked.deepens() {
        let mut here = Vec::new();
        let mut lacking = Vec::new();
        for id in asked.wants {
            if known.binary_search(&id).is_ok() {
                continue;
            }
            if store.contains(&id)? {
                &mut here
            } else {
                &mut lacking
            }
            .push(id);
        }
        // What is here may be here in part: left over from a fetch that failed.
        if !lacks_nothing(store, &here, &known)? {
            lacking.append(&mut here);
        }
        asked.wants = lacking;
    }
    if asked.wants.is_empty() {
        conversation.end()?;
        return Ok(None);
    }
    let mut haves = Haves::new(store, &known, asked.theirs)?;
    let is_v2 = conversation.is_v2();
    let fetch = if is_v2 { v2::fetch } else { v0::fetch };
    let mut came = fetch(&mut conversation, store, &asked, &mut haves, reporter)?;
    conversation.end()?;
    if !asked.deepens() {
        // The server's own history is cut off; ours is not where we know better.
        if !came.boundary.unshallow.is_empty() {
            return protocol("it makes histories longer, which nobody asked for");
        }
        came.boundary
            .shallow
            .retain(|id| !parents_are_here(store, id));
    }
    let boundary = &came.boundary;
    let mut tips = asked.wants.clone();
    tips.extend(boundary.new_parents(store)?);
    let after = boundary.after(&asked.shallow);
    let cut: HashSet<Id> = after.iter().copied().collect();
    let mut progress = |listed| {
        reporter.say(Progress::Objects(listed));
        true
    };
    let mut check = walk::Options {
        cut: Some(&cut),
        progress: Some(&mut progress),
        ..walk::Options::default()
    };
    walk::connected(store, &tips, &known, &mut check).map_err(|error| match error {
        WalkError::Missing { .. } => SyncError::Incomplete(error),
        error => SyncError::Walk(error),
    })?;
    if !boundary.is_empty() {
        store.set_shallow(&after)?;
    }
    Ok(Some(came.taken))
}

/// Whether all is here that these lead to and what is known to be whole does not.
fn lacks_nothing(store: &dyn PackStore, ids: &[Id], known: &[Id]) -> Result<bool, SyncError> {
    if ids.is_empty() {
        return Ok(true);
    }
    match walk::connected(store, ids, known, &mut walk::Options::default()) {
        Ok(()) => Ok(true),
        Err(WalkError::Missing { .. }) => Ok(false),
        Err(error) => Err(SyncError::Walk(error)),
    }
}

fn parents_are_here(store: &dyn PackStore, id: &Id) -> bool {
    let links = || {
        let object = store.read(id).ok()??;
        let mut all = Vec::new();
        irmin::references(store.format(), &object, &|_| false, &mut all).ok()?;
        Some(all)
    };
    links().is_some_and(|all| all.iter().all(|id| store.contains(id).unwrap_or(false)))
}
