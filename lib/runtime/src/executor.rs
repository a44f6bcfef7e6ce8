use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::Display;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use mirage_device::{Instant, Platform};

use crate::counters::{POLLS, Registry, TASKS, WAKEUPS};
use crate::queue::{Handle, Queue};
use crate::readiness::Readiness;
use crate::wheel::Wheel;
use crate::{Failure, Outcome};

/// After so many polls in a row the devices are asked even though tasks are still ready, so that
/// a busy task cannot shut the network out.
const POLLS_BETWEEN_DEVICES: usize = 256;

/// The number of the main future, which [`Runtime::turn`] polls itself.
const MAIN: usize = usize::MAX;

type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A handle on a platform and the tasks that run on it. A clone is another handle on the same.
///
/// ```
/// # use mirage_device::{Instant, Platform};
/// # fn run(platform: impl Platform) {
/// use mirage_runtime::{Console, Runtime};
/// use mirage_device::Console as _;
///
/// let runtime = Runtime::new(platform);
/// runtime.block_on(async { Console::new(runtime.clone()).write(b"hello\n") });
/// # }
/// ```
pub struct Runtime<P>(pub(crate) Rc<Inner<P>>);

impl<P> Clone for Runtime<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

pub(crate) struct Inner<P> {
    pub(crate) platform: P,
    pub(crate) timers: RefCell<Wheel>,
    pub(crate) readiness: RefCell<Readiness>,
    pub(crate) counters: Registry,
    tasks: RefCell<Tasks>,
    queue: Arc<Queue>,
    running: Cell<bool>,
    /// Empty but while wakers are used: its memory serves the next time.
    woken: Cell<Vec<Waker>>,
}

/// A main future that is being run, from [`Runtime::enter`] until this is dropped.
pub struct Main<P> {
    runtime: Runtime<P>,
    waker: Waker,
}

impl<P> Drop for Main<P> {
    fn drop(&mut self) {
        self.runtime.0.running.set(false);
    }
}

/// How a [`Runtime::turn`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<T> {
    /// The main future is done.
    Done(T),
    /// There is nothing to do before a device becomes ready or the clock shows this time:
    /// hand it to [`Runtime::resume`].
    Wait(Option<Instant>),
}

#[derive(Default)]
struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

enum Slot {
    Free,
    /// `None` while the future is being polled.
    Live(Arc<Handle>, Option<BoxFuture>),
    /// Cancelled while it was being polled.
    Cancelled,
}

impl<P: Platform> Runtime<P> {
    /// Takes a platform into service. Returns at once.
    pub fn new(platform: P) -> Self {
        let now = platform.now();
        let counters = Registry::new(platform.counters());
        Self(Rc::new(Inner {
            platform,
            counters,
            timers: RefCell::new(Wheel::new(now)),
            readiness: RefCell::default(),
            tasks: RefCell::default(),
            queue: Arc::default(),
            running: Cell::new(false),
            woken: Cell::default(),
        }))
    }

    /// The platform below.
    pub fn platform(&self) -> &P {
        &self.0.platform
    }

    /// Runs `future`, and every task started meanwhile, until `future` is done. Tasks that are
    /// not done by then stay, and go on with the next call.
    ///
    /// It is [`Runtime::enter`], and then [`Runtime::turn`] and [`Runtime::resume`] in turns.
    ///
    /// # Panics
    /// When called inside itself.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let main = self.enter();
        let mut future = pin!(future);
        loop {
            match self.turn(&main, future.as_mut()) {
                Turn::Done(output) => break output,
                Turn::Wait(deadline) => self.resume(deadline),
            }
        }
    }

    /// Begins to run a main future step by step, for who has many runtimes to drive. Returns at
    /// once; the first [`Runtime::turn`] polls the future. Dropping what is returned ends it, and
    /// the tasks stay.
    ///
    /// # Panics
    /// When a main future is being run already.
    pub fn enter(&self) -> Main<P> {
        assert!(
            !self.0.running.replace(true),
            "block_on was called inside block_on"
        );
        let handle = Handle::new(MAIN, &self.0.queue);
        handle.wake_by_ref();
        Main {
            runtime: self.clone(),
            waker: Waker::from(handle),
        }
    }

    /// Polls what is ready until `future` is done or nothing is ready. Returns at once: a task
    /// that is always ready is interrupted after 256 polls, and then the deadline has passed
    /// long ago. `main` and `future` are those of [`Runtime::enter`], the same each time.
    pub fn turn<F: Future + ?Sized>(
        &self,
        main: &Main<P>,
        mut future: Pin<&mut F>,
    ) -> Turn<F::Output> {
        for _ in 0..POLLS_BETWEEN_DEVICES {
            let Some(handle) = self.0.queue.pop() else {
                return Turn::Wait(self.0.timers.borrow().next());
            };
            self.0.counters.own.add(POLLS, 1);
            if handle.task != MAIN {
                self.0.poll_task(handle);
            } else if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(&main.waker))
            {
                return Turn::Done(output);
            }
        }
        Turn::Wait(Some(Instant::ZERO))
    }

    /// Lets the platform wait until `deadline`, the one that [`Runtime::turn`] gave, and wakes
    /// the tasks that wait for what became ready or due. Waits as [`Platform::wait`] does.
    pub fn resume(&self, deadline: Option<Instant>) {
        self.0.counters.before_wait(self.0.timers.borrow().armed());
        let ready = self.0.platform.wait(deadline);
        if deadline != Some(Instant::ZERO) {
            self.0.counters.own.add(WAKEUPS, 1);
        }
        // Woken once both are let go of: a waker is anybody's code, and may come back to them.
        let mut woken = self.0.woken.take();
        let mut note = |waker| woken.push(waker);
        self.0.readiness.borrow_mut().report(ready, &mut note);
        if deadline.is_some() {
            let now = self.0.platform.now();
            self.0.timers.borrow_mut().advance(now, &mut note);
        }
        woken.drain(..).for_each(Waker::wake);
        self.0.woken.set(woken);
    }

    /// Whether a task is ready to be polled. Returns at once.
    pub fn is_ready(&self) -> bool {
        !self.0.queue.is_empty()
    }

    /// Drops every task's future, as the end of the machine would. Returns at once.
    pub fn clear(&self) {
        // Dropping a future may start tasks, which have to go too.
        while let Some(task) = self.0.live() {
            self.0.cancel(task);
        }
        self.0.queue.clear();
    }

    /// Names the device that could not be made, when it could not.
    pub fn check<T, E: Display>(
        &self,
        device: &'static str,
        result: Result<T, E>,
    ) -> Result<T, Failure> {
        result.map_err(|error| Failure::new(Some(device), &error))
    }

    /// Turns what the application's main function gave back, `()` or a `Result`, into the
    /// unikernel's own end.
    pub fn finish(&self, outcome: impl Outcome) -> Result<(), Failure> {
        outcome.into_result()
    }
}

impl<P> Inner<P> {
    /// Takes a future in as a task that is ready, and returns its number.
    pub(crate) fn start(&self, future: BoxFuture) -> usize {
        self.counters.own.add(TASKS, 1);
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.free.pop().unwrap_or(tasks.slots.len());
        let handle = Handle::new(task, &self.queue);
        let slot = Slot::Live(handle.clone(), Some(future));
        match tasks.slots.get_mut(task) {
            Some(place) => *place = slot,
            None => tasks.slots.push(slot),
        }
        handle.wake();
        task
    }

    /// Any task whose future is there to be dropped.
    fn live(&self) -> Option<usize> {
        let tasks = self.tasks.borrow();
        let live = |slot: &Slot| matches!(slot, Slot::Live(_, Some(_)));
        tasks.slots.iter().rposition(live)
    }

    /// Drops the task's future: now, or at the end of its present poll.
    pub(crate) fn cancel(&self, task: usize) {
        let mut tasks = self.tasks.borrow_mut();
        let slot = core::mem::replace(&mut tasks.slots[task], Slot::Cancelled);
        if !matches!(slot, Slot::Live(_, None)) {
            tasks.slots[task] = Slot::Free;
            tasks.free.push(task);
            self.counters.own.sub(TASKS, 1);
        }
        // Dropping a future may start and cancel tasks: let go of the table first.
        drop(tasks);
        drop(slot);
    }

    fn poll_task(&self, handle: Arc<Handle>) {
        let task = handle.task;
        let future = match self.tasks.borrow_mut().slots.get_mut(task) {
            // A waker may outlive its task; the slot may then hold a newer one.
            Some(Slot::Live(owner, future)) if Arc::ptr_eq(owner, &handle) => future.take(),
            _ => None,
        };
        let Some(mut future) = future else { return };
        let waker = Waker::from(handle);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        let finished = {
            let mut tasks = self.tasks.borrow_mut();
            match &mut tasks.slots[task] {
                Slot::Live(_, place) if poll.is_pending() => {
                    *place = Some(future);
                    None
                }
                _ => {
                    tasks.slots[task] = Slot::Free;
                    tasks.free.push(task);
                    self.counters.own.sub(TASKS, 1);
                    Some(future)
                }
            }
        };
        drop(finished);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::testing::Simple;
    use crate::{Spawner, Timer};
    use core::time::Duration;
    use mirage_device::{Sleep, Spawn, Task};

    #[test]
    fn tasks_run_in_the_order_in_which_they_were_started() {
        let runtime = Runtime::new(Simple::default());
        let spawn = Spawner::new(runtime.clone());
        let order = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..5)
                .map(|n| {
                    let order = order.clone();
                    spawn.spawn(async move { order.borrow_mut().push(n) })
                })
                .collect();
            assert!(
                order.borrow().is_empty(),
                "a task runs only when its starter waits"
            );
            for task in tasks {
                task.await;
            }
        });
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn ten_thousand_sleepers_wake_in_the_order_of_their_deadlines() {
        let runtime = Runtime::new(Simple::default());
        let (spawn, timer) = (Spawner::new(runtime.clone()), Timer::new(runtime.clone()));
        let woken = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            for n in 0..10_000_u64 {
                let deadline = Instant::from_nanos((1_000 + n * 7919 % 10_007) * 1_000_000);
                let (woken, sleep) = (woken.clone(), timer.sleep_until(deadline));
                spawn
                    .spawn(async move {
                        sleep.await;
                        woken.borrow_mut().push(deadline);
                    })
                    .detach();
            }
            timer.sleep(Duration::from_secs(12)).await;
        });
        assert_eq!(woken.borrow().len(), 10_000);
        assert!(woken.borrow().is_sorted());
    }

    #[test]
    fn dropping_a_handle_drops_the_future_and_frees_its_place() {
        let runtime = Runtime::new(Simple::default());
        let spawn = Spawner::new(runtime.clone());
        let held = Rc::new(());
        runtime.block_on(async {
            for _ in 0..100 {
                let inside = held.clone();
                let task = spawn.spawn(async move {
                    let _inside = inside;
                    core::future::pending::<()>().await;
                });
                crate::testing::yield_now().await;
                assert_eq!(Rc::strong_count(&held), 2);
                drop(task);
                assert_eq!(Rc::strong_count(&held), 1);
            }
        });
        assert_eq!(runtime.0.tasks.borrow().slots.len(), 1);
    }

    #[test]
    fn a_task_may_drop_its_own_handle() {
        let runtime = Runtime::new(Simple::default());
        let spawn = Spawner::new(runtime.clone());
        let (place, held) = (Rc::new(RefCell::new(None)), Rc::new(()));
        runtime.block_on(async {
            let (inner, inside) = (place.clone(), held.clone());
            let task = spawn.spawn(async move {
                let _inside = inside;
                drop(inner.take());
                core::future::pending::<()>().await;
            });
            *place.borrow_mut() = Some(task);
            crate::testing::yield_now().await;
            crate::testing::yield_now().await;
            assert_eq!(Rc::strong_count(&held), 1);
        });
    }

    #[test]
    fn a_waker_that_outlives_its_task_wakes_nobody() {
        let runtime = Runtime::new(Simple::default());
        let spawn = Spawner::new(runtime.clone());
        let kept = Rc::new(RefCell::new(None));
        let polls = Rc::new(Cell::new(0));
        runtime.block_on(async {
            let place = kept.clone();
            spawn
                .spawn(core::future::poll_fn(move |cx| {
                    *place.borrow_mut() = Some(cx.waker().clone());
                    Poll::Ready(())
                }))
                .await;
            let count = polls.clone();
            let successor = spawn.spawn(core::future::poll_fn(move |_| {
                count.set(count.get() + 1);
                Poll::<()>::Pending
            }));
            crate::testing::yield_now().await;
            kept.take().unwrap().wake();
            crate::testing::yield_now().await;
            crate::testing::yield_now().await;
            assert_eq!(polls.get(), 1);
            drop(successor);
        });
    }

    #[test]
    fn a_timeout_drops_what_took_too_long() {
        let runtime = Runtime::new(Simple::default());
        let timer = Timer::new(runtime.clone());
        let held = Rc::new(());
        runtime.block_on(async {
            let inside = held.clone();
            let slow = async move {
                let _inside = inside;
                core::future::pending::<()>().await
            };
            assert_eq!(timer.timeout(Duration::from_secs(5), slow).await, None);
            assert_eq!(Rc::strong_count(&held), 1);
            assert_eq!(
                timer.timeout(Duration::from_secs(5), async { 7 }).await,
                Some(7)
            );
        });
    }

    #[test]
    fn a_waker_may_drop_another_wait() {
        type Held = RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>;
        std::thread_local!(static HELD: Held = const { RefCell::new(None) });
        struct Dropping;
        impl Wake for Dropping {
            fn wake(self: Arc<Self>) {
                drop(HELD.take());
            }
        }
        let runtime = Runtime::new(Simple::default());
        let timer = Timer::new(runtime.clone());
        let mut held = Box::pin(timer.sleep(Duration::from_secs(9)));
        let mut first = pin!(timer.sleep(Duration::from_secs(1)));
        let waker = Waker::from(Arc::new(Dropping));
        runtime.block_on(async {
            let noop = &mut Context::from_waker(Waker::noop());
            assert!(held.as_mut().poll(noop).is_pending());
            HELD.set(Some(held));
            assert!(
                first
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            timer.sleep(Duration::from_secs(2)).await;
            assert!(HELD.take().is_none());
        });
    }

    #[test]
    fn a_main_future_can_be_run_turn_by_turn() {
        let runtime = Runtime::new(Simple::default());
        let timer = Timer::new(runtime.clone());
        let deadline = Instant::from_nanos(5_000_000);
        let mut future = pin!(timer.sleep_until(deadline));
        let main = runtime.enter();
        assert!(runtime.is_ready());
        assert_eq!(
            runtime.turn(&main, future.as_mut()),
            Turn::Wait(Some(deadline))
        );
        assert!(!runtime.is_ready());
        runtime.resume(Some(deadline));
        assert_eq!(runtime.turn(&main, future.as_mut()), Turn::Done(()));
        drop(main);
        runtime.block_on(async {});
    }

    #[test]
    fn a_turn_ends_though_a_task_is_always_ready() {
        let runtime = Runtime::new(Simple::default());
        let busy = async {
            loop {
                crate::testing::yield_now().await;
            }
        };
        let main = runtime.enter();
        let turn: Turn<()> = runtime.turn(&main, pin!(busy));
        assert_eq!(turn, Turn::Wait(Some(Instant::ZERO)));
    }

    #[test]
    fn clearing_drops_every_task_and_those_started_meanwhile() {
        let runtime = Runtime::new(Simple::default());
        let spawn = Spawner::new(runtime.clone());
        struct Last(Spawner<Simple>, Rc<()>);
        impl Drop for Last {
            fn drop(&mut self) {
                let held = self.1.clone();
                let task = async move {
                    let _held = held;
                    core::future::pending::<()>().await;
                };
                self.0.spawn(task).detach();
            }
        }
        let held = Rc::new(());
        let last = Last(spawn.clone(), held.clone());
        spawn
            .spawn(async move {
                let _last = last;
                core::future::pending::<()>().await;
            })
            .detach();
        runtime.block_on(crate::testing::yield_now());
        runtime.clear();
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn a_busy_task_does_not_stop_the_clock() {
        let runtime = Runtime::new(Simple::default());
        let (spawn, timer) = (Spawner::new(runtime.clone()), Timer::new(runtime.clone()));
        runtime.block_on(async {
            let busy = spawn.spawn(async {
                loop {
                    crate::testing::yield_now().await;
                }
            });
            timer.sleep(Duration::from_micros(50)).await;
            drop(busy);
        });
    }
}
