//! The tasks that are ready, and what wakes them.
//!
//! The one place that several threads may touch: a program on the host has some, and any of them
//! may hold a waker. The model of the crate `loom` runs every order in which two of them and the
//! executor can meet here.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::Ordering;

#[cfg(not(all(loom, test)))]
use {core::sync::atomic::AtomicBool, spin::Mutex};

#[cfg(all(loom, test))]
use model::{AtomicBool, Mutex};

/// The tasks that are ready, in the order in which they were woken. An image never contends the
/// lock.
#[derive(Default)]
pub(crate) struct Queue(Mutex<VecDeque<Arc<Handle>>>);

impl Queue {
    /// The next task, to be polled now: a wake from here on queues it again.
    pub fn pop(&self) -> Option<Arc<Handle>> {
        let handle = self.0.lock().pop_front()?;
        // Not a store: whoever woke it while it was queued relies on the poll that follows to see
        // what it did before, so this has to come after that wake in its sight, too.
        handle.queued.swap(false, Ordering::AcqRel);
        Some(handle)
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

/// A task's waker.
pub(crate) struct Handle {
    pub task: usize,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Handle {
    pub fn new(task: usize, queue: &Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            task,
            queued: AtomicBool::new(false),
            queue: queue.clone(),
        })
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let queue = self.queue.clone();
            queue.0.lock().push_back(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.0.lock().push_back(self.clone());
        }
    }
}

#[cfg(all(loom, test))]
mod model {
    use alloc::vec::Vec;

    use loom::sync::MutexGuard;
    pub(super) use loom::sync::atomic::AtomicBool;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    #[derive(Default)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// A task that is queued, and two threads that each do something and then wake it.
    fn race() -> (
        Arc<Queue>,
        loom::sync::Arc<AtomicUsize>,
        [thread::JoinHandle<()>; 2],
    ) {
        let queue = Arc::new(Queue::default());
        let handle = Handle::new(7, &queue);
        let done = loom::sync::Arc::new(AtomicUsize::new(0));
        handle.wake_by_ref();
        let threads = [0, 1].map(|_| {
            let (handle, done) = (handle.clone(), done.clone());
            thread::spawn(move || {
                done.fetch_add(1, Ordering::Relaxed);
                handle.wake();
            })
        });
        (queue, done, threads)
    }

    #[test]
    fn the_last_poll_sees_what_was_done_before_every_wake() {
        loom::model(|| {
            let (queue, done, threads) = race();
            let poll = || queue.pop().map(|_| done.load(Ordering::Relaxed));
            let first = poll().unwrap();
            // What the executor finds at once, and what is left when everybody has gone.
            let seen: Vec<usize> = core::iter::from_fn(poll).collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            let rest: Vec<usize> = core::iter::from_fn(poll).collect();
            let last = [&[first][..], &seen, &rest].concat().pop();
            assert_eq!(last, Some(2));
        });
    }

    #[test]
    fn a_task_is_queued_once_however_often_it_is_woken() {
        loom::model(|| {
            let (queue, _, threads) = race();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(queue.pop().unwrap().task, 7);
            assert!(queue.is_empty());
        });
    }
}
