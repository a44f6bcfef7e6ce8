//! Watching a branch: a snapshot, and then every change after it.
//!
//! A watch keeps no queue. It remembers the last state that it told (a [`Position`]), and what is
//! next is the difference from there to the branch as it is now. So a slow subscriber skips states
//! in between, always gets the last one, and costs nobody anything; and any position, also one from
//! before a restart, can be resumed from.

#[cfg(feature = "std")]
mod callback;
#[cfg(feature = "std")]
mod pool;
#[cfg(feature = "std")]
mod task;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

#[cfg(feature = "std")]
pub use callback::Callback;
use futures_core::Stream;
use hashbrown::HashMap;
use spin::Mutex;

use crate::store::Store;
use crate::{BackendError, Branch, Commit, Diff, Entry, Id, Path, ReadError, RefName, Repo, Tree};

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
    position: Position,
    step: Arc<Step>,
    /// The directories at the watched path, where that is not the root.
    inside: Option<Box<[Tree; 2]>>,
}

/// What all watches that go from one state to another share.
#[derive(Clone, Debug)]
struct Step {
    from: Option<Id>,
    to: Option<Id>,
    commits: [Option<Commit>; 2],
    trees: [Tree; 2],
}

impl Step {
    fn is_between(&self, from: Option<Id>, to: Option<Id>) -> bool {
        self.from == from && self.to == to
    }
}

impl Event {
    /// The state after it: where to resume.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The commit before; `None` if there was none.
    pub fn before(&self) -> Option<&Commit> {
        self.step.commits[0].as_ref()
    }

    /// The commit now; `None` if the branch was deleted.
    pub fn after(&self) -> Option<&Commit> {
        self.step.commits[1].as_ref()
    }

    /// What differs below the watched path, with paths from there. Found as it is asked for. Where
    /// no directory is at the path there is nothing to list: ask [`before`](Event::before) and
    /// [`after`](Event::after).
    pub fn changes(&self) -> Diff<'_> {
        let [old, new] = self.inside.as_deref().unwrap_or(&self.step.trees);
        old.diff(new)
    }
}

/// A watch of a branch, see [`Branch::watch`]. Dropping it ends it.
///
/// It is a [`Stream`] that has no end, for any executor; [`try_next`](Watch::try_next) asks without
/// waiting, and with the feature `std` `Watch::next_blocking` waits in a thread
/// and `Watch::on_event` calls a function.
pub struct Watch {
    store: Arc<Store>,
    channel: Arc<Channel>,
    prefix: Path,
    seen: Position,
    number: u64,
    /// What is registered to be woken.
    waker: Option<Waker>,
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
            let mut state = channel.state.lock();
            // Sequence numbers go on where the earlier process left them.
            let now = state.position;
            let least = position.sequence + u64::from(position.head != now.head);
            let sequence = now.sequence.max(least);
            channel.place(&mut state, Position { sequence, ..now });
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
            waker: None,
        }
    }

    /// The commit that the next event begins from: at first the state at which the watch was made.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn snapshot(&self) -> Result<Option<Commit>, ReadError> {
        self.seen
            .head
            .map(|id| Commit::peel(&self.store, id))
            .transpose()
    }

    /// Up to where it has told: keep it to resume with [`Branch::watch_after`].
    pub fn position(&self) -> Position {
        self.seen
    }

    /// The change since the last event, if there is one. Returns at once.
    ///
    /// # Errors
    /// [`ReadError`]; the next call tries again from the same position.
    pub fn try_next(&mut self) -> Result<Option<Event>, ReadError> {
        let now = self.channel.state.lock().position;
        self.advance(now, |this, from, to| {
            this.channel.step(&this.store, from, to)
        })
    }

    /// What is to be told when the branch is there now.
    fn advance(
        &mut self,
        now: Position,
        step: impl FnOnce(&Self, Option<Id>, Option<Id>) -> Result<Arc<Step>, ReadError>,
    ) -> Result<Option<Event>, ReadError> {
        if now.sequence == self.seen.sequence {
            return Ok(None);
        }
        // It may have moved there and back.
        let event = if now.head == self.seen.head {
            None
        } else {
            let step = step(self, self.seen.head, now.head)?;
            self.event(now, step)?
        };
        self.seen = now;
        Ok(event)
    }

    fn event(&self, position: Position, step: Arc<Step>) -> Result<Option<Event>, ReadError> {
        if self.prefix.is_root() {
            return Ok(Some(Event {
                position,
                step,
                inside: None,
            }));
        }
        let [old, new] = &step.trees;
        let (before, after) = (old.entry(&self.prefix)?, new.entry(&self.prefix)?);
        if before == after {
            return Ok(None);
        }
        let dir = |entry: Option<Entry>| {
            let root = entry
                .and_then(|entry| entry.dir_id())
                .unwrap_or(self.store.empty);
            Tree {
                root,
                ..old.clone()
            }
        };
        let inside = Some([dir(before), dir(after)].into());
        Ok(Some(Event {
            position,
            step,
            inside,
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
            let this = &mut *self;
            let mut state = this.channel.state.lock();
            if state.position.sequence != this.seen.sequence {
                continue;
            }
            // It stays registered until it is dropped.
            if this
                .waker
                .as_ref()
                .is_none_or(|waker| !waker.will_wake(context.waker()))
            {
                this.waker = Some(context.waker().clone());
                state.wakers.insert(this.number, context.waker().clone());
            }
            return Poll::Pending;
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
    /// That of the position, to be read without the lock.
    sequence: AtomicU64,
    #[cfg(feature = "std")]
    audience: Arc<task::Audience>,
    /// The step that was told last.
    step: Mutex<Option<Arc<Step>>>,
}

struct State {
    position: Position,
    /// Who is woken at each move, by the watch's number.
    wakers: HashMap<u64, Waker>,
    watches: usize,
}

impl Hub {
    /// The channel of a branch, for one more watch.
    fn channel(&self, store: &Arc<Store>, name: &RefName) -> Arc<Channel> {
        self.hook.call_once(|| {
            let backend = &store.backend;
            let store = Arc::downgrade(store);
            backend.on_change(Box::new(move || {
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
                sequence: AtomicU64::new(position.sequence),
                #[cfg(feature = "std")]
                audience: Arc::default(),
                step: Mutex::new(None),
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
    /// The commits and trees of a step; those who take the same step share it.
    fn step(
        &self,
        store: &Arc<Store>,
        from: Option<Id>,
        to: Option<Id>,
    ) -> Result<Arc<Step>, ReadError> {
        if let Some(step) = self
            .step
            .lock()
            .as_ref()
            .filter(|step| step.is_between(from, to))
        {
            return Ok(step.clone());
        }
        let commit = |head: Option<Id>| head.map(|id| Commit::peel(store, id)).transpose();
        let commits = [commit(from)?, commit(to)?];
        let trees = [&commits[0], &commits[1]].map(|commit| match commit {
            Some(commit) => commit.tree(),
            None => Tree {
                store: store.clone(),
                root: store.empty,
                staged: None,
            },
        });
        let step = Arc::new(Step {
            from,
            to,
            commits,
            trees,
        });
        let before = self.step.lock().replace(step.clone());
        drop(before);
        Ok(step)
    }

    /// Looks where the branch is and wakes everybody if it moved.
    fn refresh(&self, store: &Store) -> Result<(), BackendError> {
        let order = self.refreshing.lock();
        let head = store.backend.head(&self.name)?;
        let mut state = self.state.lock();
        if head == state.position.head {
            return Ok(());
        }
        let sequence = state.position.sequence + 1;
        self.place(&mut state, Position { sequence, head });
        // What a waker does is its own business: no lock is held meanwhile.
        let wakers: Vec<Waker> = state.wakers.values().cloned().collect();
        drop((state, order));
        wakers.into_iter().for_each(Waker::wake);
        #[cfg(feature = "std")]
        self.audience.tell();
        Ok(())
    }

    fn place(&self, state: &mut State, position: Position) {
        state.position = position;
        self.sequence.store(position.sequence, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
