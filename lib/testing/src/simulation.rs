use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mirage_device::{Clock, Instant, Sleep, Spawn, Task, Wall};

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// A single-threaded executor on simulated time; a clone is another handle on it.
///
/// It is the `spawn`, `sleep`, `clock` and `wall` device of a test. Time stands still while any
/// task can run and then jumps to the next deadline.
#[derive(Clone, Default)]
pub struct Simulation {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    now: Cell<u64>,
    wall: Cell<Option<Duration>>,
    tasks: RefCell<BTreeMap<u64, Option<Boxed>>>,
    ready: Arc<Ready>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    next_id: Cell<u64>,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<u64>>);

struct Wakeup {
    task: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(self.task);
        }
    }
}

/// The future that [`Simulation::block_on`] runs has this number.
const ROOT: u64 = 0;

impl Simulation {
    /// An executor with no task, its clock at zero and no wall clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the wall clock: the time since 1970 at the start of the monotonic clock.
    pub fn set_wall(&self, at_start: Option<Duration>) {
        self.inner.wall.set(at_start);
    }

    /// Lets time pass without running anything.
    pub fn advance(&self, by: Duration) {
        self.inner.now.set((self.now() + by).as_nanos());
    }

    /// The number of spawned tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.inner.tasks.borrow().len()
    }

    /// Runs `future` and every task until `future` is done; the tasks stay for the next call.
    ///
    /// # Panics
    /// When every task waits and no timer is armed: nothing could ever happen again.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let mut wakeups = BTreeMap::<u64, Arc<Wakeup>>::new();
        let mut wakeup = |task| {
            let ready = &self.inner.ready;
            let make = || Wakeup {
                task,
                queued: AtomicBool::new(false),
                ready: ready.clone(),
            };
            wakeups
                .entry(task)
                .or_insert_with(|| Arc::new(make()))
                .clone()
        };
        self.inner.ready.push(ROOT);
        // Wakers of an earlier call are gone: ask every task once.
        let left: Vec<u64> = self.inner.tasks.borrow().keys().copied().collect();
        left.into_iter()
            .for_each(|task| self.inner.ready.push(task));
        loop {
            while let Some(task) = self.inner.ready.pop() {
                let wakeup = wakeup(task);
                wakeup.queued.store(false, Ordering::Relaxed);
                let waker = Waker::from(wakeup);
                let mut context = Context::from_waker(&waker);
                if task == ROOT {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                        return output;
                    }
                } else {
                    self.inner.run(task, &mut context);
                }
            }
            assert!(self.inner.fire(), "every task waits and no timer is armed");
        }
    }
}

impl Ready {
    fn push(&self, task: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(task);
    }

    fn pop(&self) -> Option<u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

impl Inner {
    fn id(&self) -> u64 {
        self.next_id.set(self.next_id.get() + 1);
        self.next_id.get()
    }

    /// Polls a task once. It is out of the table meanwhile, so it may spawn and cancel.
    fn run(&self, task: u64, context: &mut Context<'_>) {
        let Some(mut future) = self
            .tasks
            .borrow_mut()
            .get_mut(&task)
            .and_then(Option::take)
        else {
            return;
        };
        let done = future.as_mut().poll(context).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if done {
            tasks.remove(&task);
        } else if let Some(place) = tasks.get_mut(&task) {
            *place = Some(future);
            return;
        }
        drop(tasks);
        drop(future);
    }

    /// Moves the clock to the next deadline; false when there is none.
    fn fire(&self) -> bool {
        let Some(&(at, _)) = self.timers.borrow().keys().next() else {
            return false;
        };
        self.now.set(self.now.get().max(at));
        let later = self.timers.borrow_mut().split_off(&(self.now.get() + 1, 0));
        let due = self.timers.replace(later);
        due.into_values().for_each(Waker::wake);
        true
    }
}

impl Clock for Simulation {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.inner.now.get())
    }
}

impl Wall for Simulation {
    fn wall(&self) -> Option<Duration> {
        Some(self.inner.wall.get()? + Duration::from_nanos(self.inner.now.get()))
    }
}

impl Sleep for Simulation {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + 'static {
        Alarm {
            inner: self.inner.clone(),
            at: deadline.as_nanos(),
            key: None,
        }
    }
}

/// A wait for a point of simulated time.
pub struct Alarm {
    inner: Rc<Inner>,
    at: u64,
    key: Option<(u64, u64)>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.inner.now.get() >= self.at {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => (self.at, self.inner.id()),
        };
        self.key = Some(key);
        self.inner
            .timers
            .borrow_mut()
            .insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.inner.timers.borrow_mut().remove(&key);
            drop(waker);
        }
    }
}

impl Spawn for Simulation {
    type Task<T: 'static> = Handle<T>;

    fn spawn<F: Future + 'static>(&self, future: F) -> Handle<F::Output> {
        let state = Rc::new(RefCell::new(Outcome {
            value: None,
            waiter: None,
        }));
        let task = self.inner.id();
        let outcome = state.clone();
        let body = async move {
            let value = future.await;
            let mut outcome = outcome.borrow_mut();
            outcome.value = Some(value);
            let waiter = outcome.waiter.take();
            drop(outcome);
            waiter.into_iter().for_each(Waker::wake);
        };
        self.inner
            .tasks
            .borrow_mut()
            .insert(task, Some(Box::pin(body)));
        self.inner.ready.push(task);
        Handle {
            inner: self.inner.clone(),
            task: Some(task),
            state,
        }
    }
}

struct Outcome<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

/// The handle of a spawned task; dropping it cancels the task.
pub struct Handle<T> {
    inner: Rc<Inner>,
    task: Option<u64>,
    state: Rc<RefCell<Outcome<T>>>,
}

impl<T> Unpin for Handle<T> {}

impl<T> Future for Handle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.borrow_mut();
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T: 'static> Task<T> for Handle<T> {
    fn detach(mut self) {
        self.task = None;
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            let cancelled = self.inner.tasks.borrow_mut().remove(&task);
            drop(cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_tasks_wake_in_the_order_of_their_deadlines() {
        let simulation = Simulation::new();
        let order = Rc::new(RefCell::new(Vec::new()));
        for seconds in [3, 1, 2] {
            let (clock, order) = (simulation.clone(), order.clone());
            let task = async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                order.borrow_mut().push((seconds, clock.now().as_nanos()));
            };
            simulation.spawn(task).detach();
        }
        simulation.block_on(simulation.sleep(Duration::from_secs(5)));
        let second = 1_000_000_000;
        assert_eq!(
            *order.borrow(),
            [(1, second), (2, 2 * second), (3, 3 * second)]
        );
        assert_eq!(simulation.tasks(), 0);
    }

    #[test]
    fn dropping_a_handle_drops_the_task() {
        let simulation = Simulation::new();
        let witness = Rc::new(());
        let held = witness.clone();
        let task = simulation.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        simulation.block_on(simulation.sleep(Duration::from_secs(1)));
        assert_eq!(Rc::strong_count(&witness), 2);
        drop(task);
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    #[should_panic(expected = "every task waits and no timer is armed")]
    fn a_deadlock_panics_instead_of_hanging() {
        Simulation::new().block_on(std::future::pending::<()>());
    }
}
