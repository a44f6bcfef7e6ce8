use core::pin::Pin;
use core::task::{Context, Poll};

use mirage_device::{Clock, Instant, Platform, Sleep};

use crate::Runtime;
use crate::wheel::Key;

/// The monotonic clock, and sleeping by it.
pub struct Timer<P>(Runtime<P>);

impl<P> Timer<P> {
    /// The clock and timers of this runtime. Returns at once.
    pub fn new(runtime: Runtime<P>) -> Self {
        Self(runtime)
    }
}

impl<P> Clone for Timer<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Platform> Clock for Timer<P> {
    fn now(&self) -> Instant {
        self.0.platform().now()
    }
}

impl<P: Platform> Sleep for Timer<P> {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<P> + 'static {
        Alarm {
            runtime: self.0.clone(),
            deadline,
            key: None,
        }
    }
}

/// A future that is ready once the clock shows its deadline. Dropping it ends the wait.
pub struct Alarm<P: Platform> {
    runtime: Runtime<P>,
    deadline: Instant,
    key: Option<Key>,
}

impl<P: Platform> Future for Alarm<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let runtime = self.runtime.clone();
        let mut timers = runtime.0.timers.borrow_mut();
        match &self.key {
            Some(key) if timers.fired(key) => Poll::Ready(()),
            Some(key) => {
                timers.rearm(key, cx.waker());
                Poll::Pending
            }
            None if runtime.platform().now() >= self.deadline => Poll::Ready(()),
            None => {
                self.key = Some(timers.start(self.deadline, cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<P: Platform> Drop for Alarm<P> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.runtime.0.timers.borrow_mut().stop(key);
        }
    }
}
