use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mirage_device::{Platform, Spawn, Task};

use crate::Runtime;
use crate::executor::Inner;

/// Starts tasks on a [`Runtime`].
pub struct Spawner<P>(Runtime<P>);

impl<P> Spawner<P> {
    /// A spawner of this runtime's tasks. Returns at once.
    pub fn new(runtime: Runtime<P>) -> Self {
        Self(runtime)
    }
}

impl<P> Clone for Spawner<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What a task and the one who waits for it share.
struct Shared<T> {
    output: Option<T>,
    waiting: Option<Waker>,
    done: bool,
}

impl<P: Platform> Spawn for Spawner<P> {
    type Task<T: 'static> = JoinHandle<P, T>;

    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<P, F::Output> {
        let shared = Rc::new(RefCell::new(Shared {
            output: None,
            waiting: None,
            done: false,
        }));
        let place = shared.clone();
        let task = self.0.0.start(Box::pin(async move {
            let output = future.await;
            let mut shared = place.borrow_mut();
            shared.output = Some(output);
            shared.done = true;
            let waiting = shared.waiting.take();
            drop(shared);
            if let Some(waker) = waiting {
                waker.wake();
            }
        }));
        JoinHandle {
            inner: Rc::downgrade(&self.0.0),
            task: Some(task),
            shared,
        }
    }
}

/// A task started with [`Spawner`]. Await it for its output; drop it to cancel the task;
/// [`detach`](Task::detach) it to let the task go on alone.
pub struct JoinHandle<P, T> {
    inner: Weak<Inner<P>>,
    /// `None` once detached.
    task: Option<usize>,
    shared: Rc<RefCell<Shared<T>>>,
}

// Nothing in a handle is pinned.
impl<P, T> Unpin for JoinHandle<P, T> {}

impl<P, T> Future for JoinHandle<P, T> {
    type Output = T;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.shared.borrow_mut();
        if let Some(output) = shared.output.take() {
            return Poll::Ready(output);
        }
        assert!(
            !shared.done,
            "a task's handle was polled again after it was ready"
        );
        shared.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<P: Platform, T: 'static> Task<T> for JoinHandle<P, T> {
    fn detach(mut self) {
        self.task = None;
    }
}

impl<P, T> Drop for JoinHandle<P, T> {
    fn drop(&mut self) {
        if let (Some(task), Some(inner), false) =
            (self.task, self.inner.upgrade(), self.shared.borrow().done)
        {
            inner.cancel(task);
        }
    }
}
