//! What all requests share: the store, and how many may be in it at once.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use irmin::Repo;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::answer::Problem;
use crate::body::{Body, Sink};
use crate::feed::Feeds;
use crate::{Options, Store};

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) repo: Repo,
    pub(crate) options: Options,
    pub(crate) feeds: Feeds,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Whether the server is to end.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(store: Store, options: Options, ending: watch::Receiver<bool>) -> Shared {
        Shared {
            repo: Repo::new(store.clone()),
            store,
            calls: Arc::new(Semaphore::new(options.limits.calls.max(1))),
            streams: Arc::new(Semaphore::new(options.limits.streams.max(1))),
            options,
            feeds: Feeds::default(),
            ending,
        }
    }

    /// A short call into the store, in a thread that may wait for it.
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Arc<Shared>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self
            .calls
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| ended())?;
        let shared = self.clone();
        let work = spawn_blocking(move || {
            let result = call(&shared);
            drop(permit);
            result
        });
        work.await.map_err(|_| ended())?
    }

    /// Runs what fills a long answer in a thread of its own. What it returns ends the answer well, or
    /// cuts it off.
    ///
    /// # Errors
    /// Status 503 if too many are under way.
    pub(crate) fn stream(
        self: &Arc<Self>,
        fill: impl FnOnce(&Arc<Shared>, &mut Sink) -> std::io::Result<()> + Send + 'static,
    ) -> Result<Body, Problem> {
        let permit = self.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Problem::busy("too many long answers are under way"))?;
        let (mut sink, body) = Sink::new();
        let shared = self.clone();
        spawn_blocking(move || {
            let filled = fill(&shared, &mut sink);
            // Whoever reads it is gone, or sees that it is cut off: nobody is left to tell.
            let _ = filled.and_then(|()| sink.finish());
            drop(permit);
        });
        Ok(body)
    }
}

/// A thread that did not come back.
fn ended() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the server gave the request up",
        "try again",
    )
}

/// What a handler says.
pub(crate) type Answered = Result<Response<Body>, Problem>;
