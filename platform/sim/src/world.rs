//! The world as a scenario sees it.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mirage_device::{Clock, Entropy, EntropyError, Instant, Platform, Sleep, Spawn, Wall};
use mirage_runtime::{JoinHandle, Runtime, Spawner, Timer};

use crate::builder::Builder;
use crate::engine::Inner;
use crate::events::What;
use crate::kept::Kept;
use crate::logger;
use crate::network::nanos;
use crate::platform::Sim;

/// A simulated world: machines, networks and disks on one virtual time. A clone is another
/// handle on the same.
///
/// Time stands still while anything can run and then jumps to what happens next. The scenario
/// itself takes part: it is the `spawn`, `sleep`, `clock`, `wall` and `entropy` device of what
/// a test runs without a machine.
///
/// Everything follows from the seed: two worlds of one seed and one scenario never differ.
#[derive(Clone)]
pub struct World(Rc<Handle>);

struct Handle {
    inner: Rc<Inner>,
    /// The scenario's own.
    runtime: Runtime<Sim>,
}

impl World {
    /// A world without machines in which everything follows from `seed`. Its time begins at
    /// zero, and its wall clock at 2026-01-01 00:00:00 UTC.
    pub fn new(seed: u64) -> Self {
        Self::with(Kept::all(seed), false)
    }

    pub(crate) fn with(kept: Kept, records: bool) -> Self {
        logger::install();
        let inner = Rc::new(Inner::new(kept, records));
        let (_, runtime) = Builder::new(inner.clone(), "scenario").runtime();
        Self(Rc::new(Handle { inner, runtime }))
    }

    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.0.inner
    }

    /// The runtime of the scenario itself, which has no devices: for what is made with one.
    pub fn runtime(&self) -> &Runtime<Sim> {
        &self.0.runtime
    }

    /// Begins the description of a machine.
    pub fn machine(&self, name: &str) -> Builder {
        Builder::new(self.inner().clone(), name)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.inner().kept.seed
    }

    /// Runs `future`, every task and every machine until `future` is done. They stay for the
    /// next call.
    ///
    /// # Panics
    ///
    /// When everybody waits and nothing will ever come; when the [limit](World::set_limit) is
    /// reached; when a machine panics. The message names the machine, the time and the seed.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.runtime.block_on(future)
    }

    /// Lets the world go on for this long. Panics as [`World::block_on`].
    pub fn run_for(&self, duration: Duration) {
        self.block_on(self.sleep(duration));
    }

    /// Lets the world go on until the condition holds, which is asked after each step of any
    /// machine. False when it does not hold after `within`. Panics as [`World::block_on`].
    pub fn run_until(&self, within: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let inner = self.inner().clone();
        let holds = std::future::poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            *inner.watch.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        let held = self.block_on(self.timeout(within, holds));
        self.inner().watch.take();
        held.is_some()
    }

    /// Lets time pass without running anything.
    pub fn advance(&self, by: Duration) {
        let now = &self.inner().now;
        now.set(now.get().saturating_add(nanos(by)));
    }

    /// Calls `what` at this time of the world, or with its next step when that has passed.
    pub fn at(&self, time: Instant, what: impl FnOnce(&World) + 'static) {
        let at = time.as_nanos().max(self.inner().now.get());
        let world = Rc::downgrade(&self.0);
        let call = move || {
            if let Some(world) = world.upgrade() {
                what(&Self(world));
            }
        };
        self.inner().schedule(at, What::Call(Box::new(call)));
    }

    /// Sets the wall clock: the time since 1970 at the start of the world's time, or none.
    pub fn set_wall(&self, at_start: Option<Duration>) {
        self.inner().wall.set(at_start);
    }

    /// Sets how long the world may last: a year in [`explore`](crate::explore), for ever
    /// elsewhere. After that the run fails.
    pub fn set_limit(&self, limit: Duration) {
        self.inner().limit.set(nanos(limit));
    }

    /// A hash of all that happened so far: every frame, block operation, console output and
    /// exit, with its time. Two runs that differ anywhere differ here.
    pub fn trace(&self) -> u64 {
        self.inner().trace.get()
    }

    /// How many frames have been delivered so far.
    pub fn frames(&self) -> u64 {
        self.inner().frames.get()
    }

    /// Ends every machine and drops every task. What is in the world may hold on to it: without
    /// this call it would stay in memory then.
    pub(crate) fn end(&self) {
        self.inner().end();
        self.0.runtime.clear();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.end();
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.inner().now.get())
    }
}

impl Wall for World {
    fn wall(&self) -> Option<Duration> {
        self.0.runtime.platform().wall()
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.0.runtime.platform().entropy(buffer)
    }
}

impl Sleep for World {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<> + 'static {
        Timer::new(self.0.runtime.clone()).sleep_until(deadline)
    }
}

impl Spawn for World {
    type Task<T: 'static> = JoinHandle<Sim, T>;

    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<Sim, F::Output> {
        Spawner::new(self.0.runtime.clone()).spawn(future)
    }
}
