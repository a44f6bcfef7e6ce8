//! Cloning: a new store with the branches of another.

use irmin::{BackendError, Expect, Format, RefEdit, RefName};
use irmin_packfile::{Limits, PackStore};

use super::fetch::{self, Depth, FetchOptions, Fetched, Tags};
use super::listing::Conversation;
use super::{OnProgress, Remote, Reporter};
use crate::error::SyncError;
use crate::refspec::Refspec;

/// What is cloned, and how.
pub struct CloneOptions<'a> {
    /// Which names of theirs become which of ours: [`Refspec::tracking`] of `origin` unless set.
    pub refspecs: Vec<Refspec>,
    /// The branch to begin with, by its short name; that of their `HEAD` unless set.
    pub branch: Option<String>,
    /// Whether only that branch is fetched.
    pub single_branch: bool,
    /// Which tags come along; those that lead to what comes unless set.
    pub tags: Tags,
    /// How much history; all unless set.
    pub depth: Depth,
    /// What the pack may cost.
    pub limits: Limits,
    /// Who hears what goes on.
    pub progress: Option<OnProgress<'a>>,
}

impl Default for CloneOptions<'_> {
    fn default() -> Self {
        CloneOptions {
            refspecs: vec![Refspec::tracking("origin").expect("a good name")],
            branch: None,
            single_branch: false,
            tags: Tags::Follow,
            depth: Depth::AsIs,
            limits: Limits::default(),
            progress: None,
        }
    }
}

/// What a clone is.
pub struct Cloned<S> {
    /// The new store.
    pub store: S,
    /// What was fetched.
    pub fetched: Fetched,
    /// The branch that it begins with; `None` if their `HEAD` stands for none.
    pub branch: Option<RefName>,
    /// The refspecs to fetch with from now on.
    pub refspecs: Vec<Refspec>,
}

impl Remote {
    /// Makes a store with `init`, which is told the format, and fetches all branches into it. The branch
    /// of the other side's `HEAD` becomes the default branch, and is made.
    ///
    /// # Errors
    /// [`SyncError`]. What `init` made is left, without names.
    pub fn clone_to<S: PackStore>(
        &mut self,
        init: impl FnOnce(Format) -> Result<S, BackendError>,
        mut options: CloneOptions<'_>,
    ) -> Result<Cloned<S>, SyncError> {
        let reporter = Reporter::new(options.progress.take());
        let mut conversation = Conversation::begin(&mut *self.transport, self.version)?;
        let mut fetch = FetchOptions {
            tags: options.tags,
            depth: options.depth,
            limits: options.limits,
            ..FetchOptions::new(options.refspecs)
        };
        let listing = conversation.list(&fetch::prefixes(&fetch))?;
        let branch = match &options.branch {
            None => listing.head(),
            Some(short) => match RefName::branch(short) {
                Ok(name) if listing.find(name.as_str()).is_some() => Some(name),
                _ => {
                    conversation.end()?;
                    return Err(SyncError::NoSuchName {
                        name: format!("branch {short}"),
                    });
                }
            },
        };
        if let Some(branch) = branch.as_ref().filter(|_| options.single_branch) {
            for spec in &mut fetch.refspecs {
                if let Some(star) = spec.fits(branch.as_str()).map(String::from) {
                    spec.target = spec.target_of(&star).map(|name| name.as_str().into());
                    spec.source = branch.as_str().into();
                }
            }
        }
        let store = init(listing.format)?;
        if listing
            .head()
            .is_some_and(|head| listing.find(head.as_str()).is_none())
        {
            // Nothing to fetch but the name of a branch not made yet.
            fetch.refspecs.retain(Refspec::is_pattern);
        }
        let (mut fetched, later) = fetch::run(conversation, &listing, &store, &fetch, &reporter)?;
        if !later.is_empty() {
            let next = Conversation::begin(&mut *self.transport, self.version)?;
            fetched = fetch::tags_later(next, &listing, &store, &fetch, later, fetched, &reporter)?;
        }
        if let Some(branch) = &branch {
            store.set_default_branch(branch)?;
            let id = listing.find(branch.as_str()).and_then(|one| one.id);
            if let Some(id) = id
                && store.head(branch)?.is_none()
            {
                store.update(&[RefEdit {
                    name: branch.clone(),
                    expect: Expect::Missing,
                    new: Some(id),
                }])?;
            }
        }
        store.flush()?;
        Ok(Cloned {
            store,
            fetched,
            branch,
            refspecs: fetch.refspecs,
        })
    }
}
