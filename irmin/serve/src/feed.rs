//! What watches of one branch and path share: the last change, written down once for all.
//!
//! A feed keeps no queue, and neither does a subscriber: each knows the state that it told last.
//! Who kept up is sent the change that all share; who fell behind is sent the difference from its
//! own last state to the present one. So a stalled client delays nobody and costs one buffer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use irmin::{Commit, Entry as There, Id, Path, RefName, Tree, Watch};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::answer::Problem;
use crate::api::{self, difference, side};
use crate::body::Made;
use crate::shared::Shared;
use crate::tokens::Access;

/// How often names are looked at that another process may have moved.
const PERIOD: Duration = Duration::from_millis(100);

/// So many changed paths are told in an event; where there are more, the event says so.
const CHANGES_MAX: usize = 1000;

/// What a feed is of.
type Key = (RefName, Path);

/// The feeds that somebody is subscribed to.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<HashMap<Key, Weak<Feed>>>);

/// The last change of what stands at a path of a branch. It ends with its last subscriber.
struct Feed {
    key: Key,
    latest: watch::Sender<Arc<Frame>>,
    /// Wakes who follows the branch.
    woken: Arc<Woken>,
    shared: Weak<Shared>,
}

/// A state, and the event that leads to it from the state before.
struct Frame {
    number: u64,
    head: Option<Id>,
    event: Bytes,
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.woken.0.notify_one();
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        // Another may have begun meanwhile.
        if let Entry::Occupied(entry) = shared.feeds.lock().entry(self.key.clone())
            && entry.get().strong_count() == 0
        {
            entry.remove();
        }
    }
}

/// The feed of a branch and path, begun if there is none. Called in a thread that may wait.
fn feed(shared: &Arc<Shared>, key: &Key) -> Result<Arc<Feed>, Problem> {
    let found = shared.feeds.lock().get(key).and_then(Weak::upgrade);
    if let Some(feed) = found {
        return Ok(feed);
    }
    let watch = shared.repo.named(key.0.clone()).watch(key.1.clone())?;
    let first = Frame {
        number: 0,
        head: watch.position().head,
        event: Bytes::new(),
    };
    let new = Arc::new(Feed {
        key: key.clone(),
        latest: watch::channel(Arc::new(first)).0,
        woken: Arc::new(Woken(Notify::new())),
        shared: Arc::downgrade(shared),
    });
    let mut feeds = shared.feeds.lock();
    // Two began it at once: the first stays.
    let found = feeds.get(key).and_then(Weak::upgrade);
    if found.is_none() {
        feeds.insert(key.clone(), Arc::downgrade(&new));
    }
    drop(feeds);
    Ok(found.unwrap_or_else(|| {
        tokio::spawn(follow(Arc::downgrade(&new), new.woken.clone(), watch));
        new
    }))
}

/// Writes each change of the branch down, until nobody is subscribed.
async fn follow(feed: Weak<Feed>, woken: Arc<Woken>, mut watch: Watch) {
    loop {
        let (to, waker) = (feed.clone(), Waker::from(woken.clone()));
        let step = spawn_blocking(move || {
            let event = Pin::new(&mut watch).poll_next(&mut Context::from_waker(&waker));
            // What cannot be read now is tried again with the next move, and all of it is told then.
            if let Poll::Ready(Some(Ok(event))) = &event
                && let Some(feed) = to.upgrade()
                && let Some(shared) = feed.shared.upgrade()
            {
                let [before, after] =
                    [event.before(), event.after()].map(|commit| commit.map(Commit::id));
                let told = change(&shared, &feed.key, before, after)
                    .unwrap_or_else(|problem| failed(&problem));
                let number = feed.latest.borrow().number + 1;
                feed.latest.send_replace(Arc::new(Frame {
                    number,
                    head: event.position().head,
                    event: told,
                }));
            }
            (watch, matches!(event, Poll::Ready(Some(Ok(_)))))
        });
        let Ok((following, is_told)) = step.await else {
            return;
        };
        watch = following;
        if feed.strong_count() == 0 {
            return;
        }
        if !is_told {
            woken.0.notified().await;
        }
    }
}

/// Notices now and then what other processes move, until the server ends.
pub(crate) async fn poll_others(shared: Arc<Shared>) {
    let mut ending = shared.ending.clone();
    while !*ending.borrow() {
        if !shared.feeds.lock().is_empty() {
            let shared = shared.clone();
            // An error shows when somebody reads.
            let _ = spawn_blocking(move || shared.repo.poll_watches()).await;
        }
        first_of(
            ending.changed(),
            sleep(PERIOD),
            std::future::pending::<()>(),
        )
        .await;
    }
}

/// Events for one client: the state now, or what changed after another, and then each change.
pub(crate) async fn subscribe(
    shared: &Arc<Shared>,
    access: Access,
    key: Key,
    after: Option<Option<Id>>,
) -> Result<Made, Problem> {
    let begin = shared.call(move |shared| {
        let feed = feed(shared, &key)?;
        let mut news = feed.latest.subscribe();
        let frame = news.borrow_and_update().clone();
        // A state that is gone, or is not for this client, cannot be compared with.
        let known = match after {
            Some(Some(id)) => {
                api::is_readable(shared, &access, &id)? && shared.repo.commit(&id).is_ok()
            }
            Some(None) => true,
            None => false,
        };
        let first = match after.filter(|_| known) {
            Some(head) if head == frame.head => ALIVE,
            Some(head) => change(shared, &key, head, frame.head)?,
            None => snapshot(shared, &key, frame.head)?,
        };
        // What is heard at once tells the client that it is heard.
        let first = if first.is_empty() { ALIVE } else { first };
        Ok((first, feed, news, frame))
    });
    let (first, feed, news, frame) = begin.await?;
    let subscriber = Subscriber {
        shared: shared.clone(),
        feed,
        news,
        number: frame.number,
        head: frame.head,
        ending: shared.ending.clone(),
    };
    Ok(Made(Box::pin(
        async move { Some((first, subscriber.next())) },
    )))
}

/// A comment: the stream is alive.
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

struct Subscriber {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    news: watch::Receiver<Arc<Frame>>,
    /// The state that was told last.
    number: u64,
    head: Option<Id>,
    ending: watch::Receiver<bool>,
}

impl Subscriber {
    fn next(self) -> Made {
        Made(Box::pin(self.made()))
    }

    async fn made(mut self) -> Option<(Bytes, Made)> {
        let heartbeat = self.shared.options.limits.heartbeat;
        loop {
            if *self.ending.borrow() {
                return None;
            }
            match first_of(self.news.changed(), self.ending.changed(), sleep(heartbeat)).await {
                First::A(Ok(())) => {}
                First::C(()) => return Some((ALIVE, self.next())),
                First::A(Err(_)) | First::B(_) => return None,
            }
            let frame = self.news.borrow_and_update().clone();
            let (before, has_kept_up) = (self.head, frame.number == self.number + 1);
            self.number = frame.number;
            self.head = frame.head;
            if has_kept_up {
                return Some((frame.event.clone(), self.next()));
            }
            // It was behind: what lies between is told as one change.
            let feed = self.feed.clone();
            let told = self
                .shared
                .call(move |shared| change(shared, &feed.key, before, frame.head));
            match told.await {
                Ok(event) if event.is_empty() => {}
                Ok(event) => return Some((event, self.next())),
                Err(problem) => return Some((failed(&problem), Made(Box::pin(async { None })))),
            }
        }
    }
}

/// The state of a branch: which commit, and what stands at the path there.
fn snapshot(shared: &Shared, (branch, prefix): &Key, head: Option<Id>) -> Result<Bytes, Problem> {
    let (commit, tree) = state(shared, head)?;
    let there = tree.entry(prefix)?.filter(|_| commit.is_some());
    let value = json!({
        "branch": branch.short(),
        "commit": api::id(commit.map(|commit| commit.id())),
        "entry": side(there.as_ref(), &tree),
    });
    Ok(event("snapshot", head, &value))
}

/// What changed at or below the path between two states; nothing if that is nothing.
fn change(
    shared: &Shared,
    (branch, prefix): &Key,
    before: Option<Id>,
    after: Option<Id>,
) -> Result<Bytes, Problem> {
    let ((old, old_tree), (new, new_tree)) = (state(shared, before)?, state(shared, after)?);
    let (old_entry, new_entry) = (old_tree.entry(prefix)?, new_tree.entry(prefix)?);
    if !prefix.is_root() && old_entry == new_entry {
        return Ok(Bytes::new());
    }
    let mut changes = Vec::new();
    let file = |entry: Option<There>| entry.filter(|entry| !entry.is_dir());
    let (old_file, new_file) = (file(old_entry), file(new_entry));
    if old_file.is_some() || new_file.is_some() {
        let whole = irmin::Difference {
            path: Path::default(),
            old: old_file,
            new: new_file,
        };
        changes.push(difference(&whole, prefix, &new_tree));
    }
    let dir = |tree: &Tree| {
        tree.dir(prefix)
            .map(|dir| dir.unwrap_or_else(|| shared.repo.empty_tree()))
    };
    let (old_dir, new_dir) = (dir(&old_tree)?, dir(&new_tree)?);
    let mut more = false;
    for one in old_dir.diff(&new_dir) {
        more = changes.len() >= CHANGES_MAX;
        if more {
            break;
        }
        changes.push(difference(&one?, prefix, &new_tree));
    }
    let [old, new] = [old, new].map(|commit| api::id(commit.map(|commit| commit.id())));
    let value = json!({ "branch": branch.short(), "before": old, "after": new, "changes": changes, "more": more });
    Ok(event("change", after, &value))
}

fn state(shared: &Shared, head: Option<Id>) -> Result<(Option<Commit>, Tree), Problem> {
    let commit = head
        .map(|id| shared.repo.resolve(&id.to_string()))
        .transpose()?;
    let tree = commit
        .as_ref()
        .map_or_else(|| shared.repo.empty_tree(), Commit::tree);
    Ok((commit, tree))
}

fn event(name: &str, head: Option<Id>, value: &Value) -> Bytes {
    let head = head.map_or("-".into(), |id| id.to_string());
    format!("event: {name}\nid: {head}\ndata: {value}\n\n").into()
}

/// The end of a stream that cannot go on; the client may resume from the last event.
fn failed(problem: &Problem) -> Bytes {
    format!("event: error\ndata: {}\n\n", problem.value()).into()
}

/// Which of three futures was ready first.
pub(crate) enum First<A, B, C> {
    A(A),
    B(B),
    C(C),
}

/// Waits for the first of three; of several that are ready it is the first in order.
pub(crate) async fn first_of<A, B, C>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
    c: impl Future<Output = C>,
) -> First<A, B, C> {
    let (mut a, mut b, mut c) = (pin!(a), pin!(b), pin!(c));
    poll_fn(move |context| {
        if let Poll::Ready(value) = a.as_mut().poll(context) {
            return Poll::Ready(First::A(value));
        }
        if let Poll::Ready(value) = b.as_mut().poll(context) {
            return Poll::Ready(First::B(value));
        }
        c.as_mut().poll(context).map(First::C)
    })
    .await
}
