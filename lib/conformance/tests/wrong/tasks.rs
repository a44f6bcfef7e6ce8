//! Wrong executors.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mirage_conformance::spawn;
use mirage_device::{Spawn, Task};
use mirage_sim::World;

use crate::rigs::{caught, run};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Polls the task before `spawn` returns.
    AtOnce,
    /// Runs the task only while somebody awaits it.
    Lazy,
    /// Lets the task go on when its handle is dropped.
    Lives,
    /// Ends the task when it is detached.
    Forgets,
    /// Never wakes who awaits the task.
    LostWakeUp,
}

#[derive(Clone)]
struct Wrong(World, Fault);

type Inner<T> = <World as Spawn>::Task<T>;

struct Handle<T: 'static> {
    inner: Option<Inner<T>>,
    fault: Fault,
    awaited: Rc<Cell<Option<Waker>>>,
}

impl Spawn for Wrong {
    type Task<T: 'static> = Handle<T>;

    fn spawn<F: Future + 'static>(&self, future: F) -> Handle<F::Output> {
        let fault = self.1;
        let mut future = Box::pin(future);
        let awaited = Rc::<Cell<Option<Waker>>>::default();
        let mut output = None;
        if fault == Fault::AtOnce
            && let Poll::Ready(early) = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        {
            output = Some(early);
        }
        let gate = awaited.clone();
        let inner = self.0.spawn(async move {
            if fault == Fault::Lazy {
                let mut first = true;
                poll_fn(|cx| {
                    // The handle's first poll leaves a waker here: then it goes on.
                    let waker = gate.take();
                    let ready = waker.is_some() && !first;
                    first = false;
                    gate.set(Some(cx.waker().clone()));
                    if ready {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
            match output {
                Some(output) => output,
                None => future.await,
            }
        });
        Handle {
            inner: Some(inner),
            fault,
            awaited,
        }
    }
}

impl<T: 'static> Future for Handle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(waker) = self.awaited.take() {
            self.awaited.set(Some(waker.clone()));
            waker.wake();
        }
        let fault = self.fault;
        let Some(inner) = &mut self.inner else {
            return Poll::Pending;
        };
        match fault {
            Fault::LostWakeUp => Pin::new(inner).poll(&mut Context::from_waker(Waker::noop())),
            _ => Pin::new(inner).poll(cx),
        }
    }
}

impl<T: 'static> Task<T> for Handle<T> {
    fn detach(mut self) {
        if self.fault != Fault::Forgets
            && let Some(inner) = self.inner.take()
        {
            inner.detach();
        }
    }
}

impl<T: 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        if self.fault == Fault::Lives
            && let Some(inner) = self.inner.take()
        {
            inner.detach();
        }
    }
}

#[test]
fn an_executor_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::AtOnce, spawn::LATER),
        (Fault::Lazy, spawn::OF_ITS_OWN),
        (Fault::Lives, spawn::DROPPED),
        (Fault::Forgets, spawn::IN_ORDER),
        (Fault::LostWakeUp, spawn::AWAITED),
    ] {
        let report = run(async |s| spawn::check(&Wrong(s.clone(), fault), &s).await);
        caught(&report, sentence);
    }
}
