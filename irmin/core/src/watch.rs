//! Watching a branch: a snapshot, and then every change after it.
//!
//! A watch keeps no queue. It remembers the last state that it told (a [`Position`]), and what is
//! next is the difference from there to the branch as it is now. So a slow subscriber skips states
//! in between, always gets the last one, and costs nobody anything; and any position, also one from
//! before a restart, can be resumed from.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use futures_core::Stream;
use hashbrown::HashMap;
use spin::Mutex;

use crate::store::Store;
use crate::{BackendError, Branch, Commit, Diff, Id, Path, ReadError, RefName, Repo, Tree};

/// Up to where a watch has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Counts the moves of the branch that were noticed in this process.
    pub sequence: u64,
    /// Where the branch was; `None` where it was not there.
    pub head: Option<Id>,
}

/// A change of a branch, at or below the path that is watched.
#[derive(Clone, Debug)]
pub struct Event {
    /// The state after it: where to resume.
    pub position: Position,
    /// The commit before; `None` if there was none.
    pub old: Option<Commit>,
    /// The commit now; `None` if the branch was deleted.
    pub new: Option<Commit>,
    trees: (Tree, Tree),
}

impl Event {
    /// What differs below the watched path, with paths from there. Found as it is asked for. Where
    /// no directory is at the path there is nothing to list: ask [`old`](Event::old) and
    /// [`new`](Event::new).
    pub fn changes(&self) -> Diff<'_> {
        self.trees.0.diff(&self.trees.1)
    }
}

/// A watch of a branch, see [`Branch::watch`]. Dropping it ends it.
///
/// It is a [`Stream`] that has no end, for any executor; [`try_next`](Watch::try_next) asks without
/// waiting, and with the feature `std` `Watch::next_blocking` waits in a thread.
pub struct Watch {
    store: Arc<Store>,
    channel: Arc<Channel>,
    prefix: Path,
    seen: Position,
    number: u64,
}

impl Branch {
    /// Watches what is at or below this path (the root: everything). [`snapshot`](Watch::snapshot)
    /// is the state that the watch begins after: no change between the two is lost or told twice.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn watch(&self, prefix: Path) -> Result<Watch, ReadError> {
        let channel = self.store.hub.channel(&self.store, &self.name);
        channel.refresh(&self.store)?;
        let seen = channel.state.lock().position;
        Ok(Watch::new(self, channel, prefix, seen))
    }

    /// Watches on from where another watch, also one of an earlier process, had come to.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn watch_after(&self, prefix: Path, position: Position) -> Result<Watch, ReadError> {
        let channel = self.store.hub.channel(&self.store, &self.name);
        channel.refresh(&self.store)?;
        {
            let now = &mut channel.state.lock().position;
            // Sequence numbers go on where the earlier process left them.
            let least = position.sequence + u64::from(position.head != now.head);
            now.sequence = now.sequence.max(least);
        }
        Ok(Watch::new(self, channel, prefix, position))
    }
}

impl Repo {
    /// Looks whether another process moved branches that are watched, where the backend does not
    /// notice by itself ([`Backend::on_change`](crate::Backend::on_change)): call it now and then.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn poll_watches(&self) -> Result<(), BackendError> {
        let generation = self.store.backend.generation()?;
        if self.store.hub.generation.swap(generation, Ordering::AcqRel) != generation {
            self.store.hub.refresh_all(&self.store)?;
        }
        Ok(())
    }
}

impl Watch {
    fn new(branch: &Branch, channel: Arc<Channel>, prefix: Path, seen: Position) -> Watch {
        let store = branch.store.clone();
        let number = store.hub.numbers.fetch_add(1, Ordering::Relaxed);
        Watch {
            store,
            channel,
            prefix,
            seen,
            number,
        }
    }

    /// The commit that the next event begins from: at first the state at which the watch was made.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn snapshot(&self) -> Result<Option<Commit>, ReadError> {
        self.commit(self.seen.head)
    }

    /// Up to where it has told: keep it to resume with [`Branch::watch_after`].
    pub fn position(&self) -> Position {
        self.seen
    }

    fn commit(&self, head: Option<Id>) -> Result<Option<Commit>, ReadError> {
        head.map(|id| Commit::peel(&self.store, id)).transpose()
    }

    /// The change since the last event, if there is one. Returns at once.
    ///
    /// # Errors
    /// [`ReadError`]; the next call tries again from the same position.
    pub fn try_next(&mut self) -> Result<Option<Event>, ReadError> {
        let now = self.channel.state.lock().position;
        if now.sequence == self.seen.sequence {
            return Ok(None);
        }
        // It may have moved there and back.
        let event = if now.head == self.seen.head {
            None
        } else {
            self.event(now)?
        };
        self.seen = now;
        Ok(event)
    }

    fn event(&self, position: Position) -> Result<Option<Event>, ReadError> {
        let (old, new) = (self.commit(self.seen.head)?, self.commit(position.head)?);
        let empty = Tree {
            store: self.store.clone(),
            root: self.store.empty,
            staged: None,
        };
        let entry = |commit: &Option<Commit>| match commit {
            Some(commit) => commit.tree().entry(&self.prefix),
            None => Ok(None),
        };
        let (before, after) = (entry(&old)?, entry(&new)?);
        if before == after && !self.prefix.is_root() {
            return Ok(None);
        }
        let tree = |entry: Option<crate::Entry>| {
            let root = entry.and_then(|entry| entry.dir_id()).unwrap_or(empty.root);
            Tree {
                root,
                ..empty.clone()
            }
        };
        let trees = (tree(before), tree(after));
        Ok(Some(Event {
            position,
            old,
            new,
            trees,
        }))
    }
}

impl Stream for Watch {
    type Item = Result<Event, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.try_next().transpose() {
                return Poll::Ready(Some(event));
            }
            let mut state = self.channel.state.lock();
            if state.position.sequence == self.seen.sequence {
                match state.wakers.get_mut(&self.number) {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => drop(state.wakers.insert(self.number, context.waker().clone())),
                }
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let waker = self.channel.state.lock().wakers.remove(&self.number);
        drop(waker);
        self.store.hub.leave(&self.channel);
    }
}

#[cfg(feature = "std")]
impl Watch {
    /// The next event. Waits for it in this thread.
    ///
    /// # Errors
    /// [`ReadError`]; the next call tries again from the same position.
    pub fn next_blocking(&mut self) -> Result<Event, ReadError> {
        struct Unpark(std::thread::Thread);
        impl alloc::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        loop {
            match Pin::new(&mut *self).poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(event)) => return event,
                _ => std::thread::park(),
            }
        }
    }
}

/// The branches that are watched.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<RefName, Arc<Channel>>>,
    /// How many watches there are: who moves a branch looks here first.
    watches: AtomicUsize,
    numbers: AtomicU64,
    generation: AtomicU64,
    hook: spin::Once<()>,
}

struct Channel {
    name: RefName,
    /// Held while the branch is looked up, so that what is told is in the order of the moves.
    refreshing: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    position: Position,
    /// Who waits, by the watch's number. All are woken, and forgotten, at each move.
    wakers: HashMap<u64, Waker>,
    watches: usize,
}

impl Hub {
    /// The channel of a branch, for one more watch.
    fn channel(&self, store: &Arc<Store>, name: &RefName) -> Arc<Channel> {
        self.hook.call_once(|| {
            let backend = &store.backend;
            let store = Arc::downgrade(store);
            backend.on_change(alloc::boxed::Box::new(move || {
                let Some(store) = store.upgrade() else {
                    return false;
                };
                // An error shows when somebody reads; the next move is noticed again.
                let _ = store.hub.refresh_all(&store);
                true
            }));
        });
        self.watches.fetch_add(1, Ordering::SeqCst);
        let mut channels = self.channels.lock();
        let channel = channels.entry(name.clone()).or_insert_with(|| {
            let position = Position {
                sequence: 0,
                head: None,
            };
            let state = State {
                position,
                wakers: HashMap::new(),
                watches: 0,
            };
            Arc::new(Channel {
                name: name.clone(),
                refreshing: Mutex::new(()),
                state: Mutex::new(state),
            })
        });
        channel.state.lock().watches += 1;
        channel.clone()
    }

    fn leave(&self, channel: &Arc<Channel>) {
        self.watches.fetch_sub(1, Ordering::SeqCst);
        let mut channels = self.channels.lock();
        let mut state = channel.state.lock();
        state.watches -= 1;
        // Sequence numbers go on as long as the store is open: what was moved is kept.
        if state.watches == 0 && state.position.sequence == 0 {
            channels.remove(&channel.name);
        }
    }

    /// Tells the watches of a branch that has just moved.
    pub(crate) fn moved(&self, store: &Store, name: &RefName) {
        if self.watches.load(Ordering::SeqCst) == 0 {
            return;
        }
        // The branch has moved all the same: whoever reads it next meets the error.
        if !name.as_str().starts_with("refs/") {
            let _ = self.refresh_all(store);
            return;
        }
        // A symbolic name may stand for it.
        let found = |name: &str| self.channels.lock().get(name).cloned();
        let channels = [found(name.as_str()), found("HEAD")];
        for channel in channels.into_iter().flatten() {
            let _ = channel.refresh(store);
        }
    }

    fn refresh_all(&self, store: &Store) -> Result<(), BackendError> {
        let channels: Vec<_> = self.channels.lock().values().cloned().collect();
        channels
            .iter()
            .try_for_each(|channel| channel.refresh(store))
    }
}

impl Channel {
    /// Looks where the branch is and wakes everybody if it moved.
    fn refresh(&self, store: &Store) -> Result<(), BackendError> {
        let order = self.refreshing.lock();
        let head = store.backend.head(&self.name)?;
        let mut state = self.state.lock();
        if head == state.position.head {
            return Ok(());
        }
        state.position = Position {
            sequence: state.position.sequence + 1,
            head,
        };
        let wakers = mem::take(&mut state.wakers);
        drop((state, order));
        wakers.into_values().for_each(Waker::wake);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
