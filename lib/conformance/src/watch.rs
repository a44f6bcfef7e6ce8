//! Waiting without helping: each future is polled only when its own waker was used, so that a
//! wake-up that a provider loses is not made good by somebody else's.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use mirage_device::Sleep;

use crate::{Report, Sentence};

/// How long anything may take that has every reason to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long something is given that must not happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(20);
/// What a call may take that returns at once, on a machine that has other things to do.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A waker of its own: remembers that it was used, and passes that on.
pub(crate) struct Flag {
    woken: AtomicBool,
    parent: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.parent.wake_by_ref();
    }
}

impl Flag {
    pub(crate) fn new(parent: &Waker) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(true),
            parent: parent.clone(),
        })
    }
}

/// A future with a waker of its own.
pub(crate) struct Own<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    flag: Option<Arc<Flag>>,
}

impl<'a, T> Own<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            flag: None,
        }
    }
}

impl<T> Future for Own<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let flag = match &self.flag {
            Some(flag) if flag.parent.will_wake(cx.waker()) => flag.clone(),
            _ => self.flag.insert(Flag::new(cx.waker())).clone(),
        };
        if !flag.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&Waker::from(flag)))
    }
}

/// Both, side by side.
pub(crate) async fn both<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> (A, B) {
    let (mut first, mut second) = (Own::new(first), Own::new(second));
    let (mut one, mut two) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(output) = Pin::new(&mut first).poll(cx)
        {
            one = Some(output);
        }
        if two.is_none()
            && let Poll::Ready(output) = Pin::new(&mut second).poll(cx)
        {
            two = Some(output);
        }
        match (one.take(), two.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (one, two) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// What `future` gives within `duration`. Unlike [`Sleep::timeout`], the alarm does not make up
/// for a wake-up that never came.
pub(crate) async fn within<T>(
    sleep: &impl Sleep,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(Own::new(future));
    let mut alarm = pin!(Own::new(sleep.sleep(duration)));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        alarm.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// What `future` gives, however long that has a reason to take. `None` when it never came.
pub(crate) async fn patiently<T>(sleep: &impl Sleep, future: impl Future<Output = T>) -> Option<T> {
    within(sleep, PATIENCE, future).await
}

/// Polls once, in the calling task.
pub(crate) async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls a future once and drops it: a call that was cancelled. What it gave, if it was ready.
pub(crate) async fn cancelled<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Own::new(future);
    match once(&mut future).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Lets every other task run once.
pub(crate) async fn turn() {
    let mut turned = false;
    poll_fn(|cx| {
        if core::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Calls what has to return at once, and notes whether it did.
pub(crate) fn at_once<T>(
    report: &mut Report,
    sentence: Sentence,
    sleep: &impl Sleep,
    call: impl FnOnce() -> T,
) -> T {
    let start = sleep.now();
    let output = call();
    let took = sleep.now() - start;
    report.check(sentence, took < AT_ONCE, "an answer at once", took);
    output
}
