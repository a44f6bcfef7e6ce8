//! What the pool runs: the callbacks of a branch, and the one of each watch.

use std::boxed::Box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::{Event, Position, Step, Watch};
use crate::ReadError;

/// All callbacks of one branch: one turn tells them all, so that who moves the branch does the same
/// little work however many there are.
#[derive(Default)]
pub(super) struct Audience {
    /// Replaced, not changed, while a turn goes through it.
    tasks: Mutex<Arc<Vec<Arc<Task>>>>,
    /// How many of them were dropped.
    gone: AtomicUsize,
    /// A turn waits that nobody has begun: it will see all that moved until then.
    waits: AtomicBool,
}

impl Audience {
    /// Who is to be told, for a turn that is now due; `None` if one waits already, or nobody listens.
    pub(super) fn turn(&self) -> Option<Arc<Vec<Arc<Task>>>> {
        let tasks = locked(&self.tasks).clone();
        let is_due = !tasks.is_empty() && !self.waits.swap(true, Ordering::SeqCst);
        is_due.then_some(tasks)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        locked(&self.tasks).len()
    }

    /// A turn begins.
    pub(super) fn begin(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }

    pub(super) fn join(&self, task: Arc<Task>) {
        Arc::make_mut(&mut *locked(&self.tasks)).push(task);
    }

    pub(super) fn leave(&self) {
        let mut tasks = locked(&self.tasks);
        let gone = self.gone.fetch_add(1, Ordering::Relaxed) + 1;
        if gone * 2 < tasks.len() {
            return;
        }
        let is_here = |task: &&Arc<Task>| !task.is_dropped.load(Ordering::SeqCst);
        let left = Arc::new(tasks.iter().filter(is_here).cloned().collect::<Vec<_>>());
        self.gone.store(0, Ordering::Relaxed);
        let before = std::mem::replace(&mut *tasks, left);
        drop(tasks);
        drop(before);
    }
}

/// A callback in the hands of the pool.
pub(super) struct Task {
    /// It was to be run while it ran.
    again: AtomicBool,
    is_dropped: AtomicBool,
    /// Locked while it runs.
    work: Mutex<Option<Work>>,
}

struct Work {
    watch: Watch,
    call: Box<dyn FnMut(Result<Event, ReadError>) + Send>,
}

impl Task {
    pub(super) fn new(
        watch: Watch,
        call: impl FnMut(Result<Event, ReadError>) + Send + 'static,
    ) -> Task {
        let call = Box::new(call);
        Task {
            again: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
            work: Mutex::new(Some(Work { watch, call })),
        }
    }

    /// No call begins after this. If one is under way its thread sees the mark when it returns.
    pub(super) fn drop_work(&self) {
        self.is_dropped.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.end();
    }

    /// Calls until there is nothing new. If another thread is at it, that one sees to it.
    pub(super) fn run(&self, latest: &mut Latest) {
        loop {
            let Some(mut work) = self.begin() else {
                return;
            };
            while let Some(Work { watch, call }) = &mut *work
                && !self.is_dropped.load(Ordering::SeqCst)
                && let Some(event) = latest.event(watch).transpose()
            {
                let is_error = event.is_err();
                call(event);
                if is_error {
                    break;
                }
            }
            drop(work);
            // Who found it locked left a mark before: either it is seen here, or the lock was free.
            fence(Ordering::SeqCst);
            if self.is_dropped.load(Ordering::SeqCst) {
                return self.end();
            }
            if !self.again.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Takes the lock, or leaves a mark for who has it.
    fn begin(&self) -> Option<MutexGuard<'_, Option<Work>>> {
        let mut work = self.work.try_lock();
        if work.is_err() {
            self.again.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            work = self.work.try_lock();
        }
        // Poisoned by a call that panicked: it is never called again.
        let work = work.ok()?;
        if self.again.load(Ordering::Relaxed) {
            self.again.store(false, Ordering::SeqCst);
        }
        Some(work)
    }

    /// Frees what it holds, unless a call is under way.
    fn end(&self) {
        let ended = self.work.try_lock().ok().and_then(|mut work| work.take());
        drop(ended);
    }
}

/// What one thread last told in one turn: most watches want the same again, and nothing that
/// several threads write is touched for it.
#[derive(Default)]
pub(super) struct Latest {
    position: Option<Position>,
    step: Option<Arc<Step>>,
}

impl Latest {
    fn event(&mut self, watch: &mut Watch) -> Result<Option<Event>, ReadError> {
        let sequence = watch.channel.sequence.load(Ordering::Acquire);
        if sequence == watch.seen.sequence {
            return Ok(None);
        }
        let now = match self.position {
            Some(position) if position.sequence == sequence => position,
            _ => watch.channel.state.lock().position,
        };
        self.position = Some(now);
        watch.advance(now, |watch, from, to| {
            if let Some(step) = self.step.as_ref().filter(|step| step.is_between(from, to)) {
                return Ok(step.clone());
            }
            // A copy of its own, so that threads do not count its users in the same place.
            let step = Step::clone(&*watch.channel.step(&watch.store, from, to)?);
            Ok(self.step.insert(Arc::new(step)).clone())
        })
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
