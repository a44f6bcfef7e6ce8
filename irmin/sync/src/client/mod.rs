//! Our side of a conversation with a server.

mod clone;
mod fetch;
mod listing;
mod negotiate;
mod pack;
mod pull;
mod push;
mod report;
mod shallow;
mod update;
mod v0;
mod v2;

use std::cell::RefCell;

pub use clone::{CloneOptions, Cloned};
pub use fetch::{Depth, FetchOptions, Fetched, FetchedRef, Tags};
pub use listing::Listing;
pub use pull::{PullError, Pulled, pull};
pub use push::{PushOptions, PushStatus, Pushed, PushedRef};
pub use update::{RefMove, RefStatus};

use crate::error::SyncError;
use crate::transport::Transport;

/// A store somewhere else.
///
/// Each call is a conversation of its own. Nothing here moves a name before everything that it leads
/// to has come and has been checked.
pub struct Remote {
    transport: Box<dyn Transport>,
    version: u8,
}

impl Remote {
    /// The store that this transport leads to.
    pub fn over(transport: impl Transport + 'static) -> Remote {
        Remote {
            transport: Box::new(transport),
            version: 2,
        }
    }

    /// The store at a URL, see [`connect`](crate::transport::connect).
    ///
    /// # Errors
    /// [`SyncError::Invalid`], [`SyncError::Connect`].
    #[cfg(feature = "transports")]
    pub fn at(url: &str, settings: &crate::transport::Settings) -> Result<Remote, SyncError> {
        Ok(Remote {
            transport: crate::transport::connect(url, settings)?,
            version: 2,
        })
    }

    /// Asks for this version of the protocol at most (0, 1 or 2) when fetching; 2 unless set.
    pub fn set_version(&mut self, version: u8) {
        self.version = version.min(2);
    }

    /// Where it is, without secrets.
    pub fn url(&self) -> String {
        self.transport.url()
    }

    /// The names of the other side, those that begin with one of `prefixes` (all, if none is given)
    /// and, if it is known, what its `HEAD` is. Older servers always send all.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn ls(&mut self, prefixes: &[&str]) -> Result<Listing, SyncError> {
        let mut conversation = listing::Conversation::begin(&mut *self.transport, self.version)?;
        let mut listing = conversation.list(prefixes)?;
        conversation.end()?;
        listing.names.retain(|one| {
            let name = one.name.as_str();
            prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
        });
        Ok(listing)
    }
}

/// What goes on, for who waits.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A line from the other side, without control characters.
    Remote(&'a str),
    /// So many objects are listed, to be sent or to be checked.
    Objects(usize),
    /// A pack comes or goes.
    Pack(irmin_packfile::Progress),
}

/// Called with what goes on, from the thread that called.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress<'_>);

/// Who wants to know what goes on, if anybody.
pub(crate) struct Reporter<'a>(RefCell<Option<OnProgress<'a>>>);

impl<'a> Reporter<'a> {
    pub fn new(progress: Option<OnProgress<'a>>) -> Reporter<'a> {
        Reporter(RefCell::new(progress))
    }

    pub fn say(&self, progress: Progress<'_>) {
        if let Some(listener) = &mut *self.0.borrow_mut() {
            listener(progress);
        }
    }
}
