//! The world: its time, what is going to happen in it, and who runs next.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use mirage_device::platform::Ready;
use mirage_device::{Clock, Entropy, EntropyError, Instant, Platform, Sleep, Spawn, Wall};
use mirage_runtime::{JoinHandle, Runtime, Spawner, Timer, Turn};

use crate::dice::{self, Dice};
use crate::disk::DiskState;
use crate::events::{Events, What};
use crate::failure::{Caught, Cause, Failure, catch};
use crate::faults::Planned;
use crate::kept::{Kept, Kind, Mishap, check_name};
use crate::logger;
use crate::machine::{Builder, State};
use crate::network::{NetworkState, nanos};
use crate::platform::Sim;

/// How long a machine computes before it is interrupted.
const SLICE: u64 = 20_000;

/// Slices in a row, 200 milliseconds in all, after which a machine will never be at rest.
const SLICES: u32 = 10_000;

const PANIC: u8 = 101;

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

pub(crate) struct Inner {
    pub kept: Kept,
    pub dice: Dice,
    /// Nanoseconds since the start.
    pub now: Cell<u64>,
    limit: Cell<u64>,
    wall: Cell<Option<Duration>>,
    events: RefCell<Events>,
    ready: RefCell<VecDeque<Rc<State>>>,
    pub machines: RefCell<Vec<Rc<State>>>,
    pub networks: RefCell<Vec<Rc<NetworkState>>>,
    pub disks: RefCell<Vec<Rc<DiskState>>>,
    /// Which machine runs.
    running: Cell<Option<u64>>,
    /// Who waits for a condition: it is woken after every step.
    watch: RefCell<Option<Waker>>,
    spare: RefCell<Vec<Vec<u8>>>,
    trace: Cell<u64>,
    pub frames: Cell<u64>,
    pub faults: RefCell<Vec<Planned>>,
    chosen: Option<BTreeSet<(Kind, u64, u64)>>,
    /// Whether mishaps are written down.
    records: bool,
    mishaps: RefCell<Vec<(Mishap, u64)>>,
    failure: RefCell<Option<Failure>>,
}

impl World {
    /// A world without machines in which everything follows from `seed`. Its time begins at
    /// zero, and its wall clock at 2026-01-01 00:00:00 UTC.
    pub fn new(seed: u64) -> Self {
        Self::with(Kept::all(seed), false)
    }

    pub(crate) fn with(kept: Kept, records: bool) -> Self {
        const NEW_YEAR: Duration = Duration::from_secs(1_767_225_600);
        logger::install();
        let inner = Rc::new(Inner {
            dice: Dice::new(kept.seed),
            chosen: kept.chosen(),
            kept,
            now: Cell::new(0),
            limit: Cell::new(u64::MAX),
            wall: Cell::new(Some(NEW_YEAR)),
            events: RefCell::default(),
            ready: RefCell::default(),
            machines: RefCell::default(),
            networks: RefCell::default(),
            disks: RefCell::default(),
            running: Cell::new(None),
            watch: RefCell::default(),
            spare: RefCell::default(),
            trace: Cell::new(0),
            frames: Cell::new(0),
            faults: RefCell::default(),
            records,
            mishaps: RefCell::default(),
            failure: RefCell::default(),
        });
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

    /// Begins the description of a machine. Its name must be without white space and `'`: the
    /// command that repeats a failing run has it.
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

impl Inner {
    fn end(&self) {
        let machines = self.machines.take();
        for machine in &machines {
            machine.end(self, None);
        }
        let events = self.events.borrow_mut().clear();
        drop(events);
        drop(machines);
        self.ready.borrow_mut().clear();
        drop(self.watch.take());
    }

    pub fn add(&self, machine: &Rc<State>) {
        check_name(&machine.name);
        let mut machines = self.machines.borrow_mut();
        let taken = machines.iter().any(|other| other.name == machine.name);
        assert!(!taken, "there is a machine `{}` already", machine.name);
        machines.push(machine.clone());
    }

    pub fn schedule(&self, at: u64, what: What) {
        self.events.borrow_mut().push(at, what);
    }

    /// A machine's devices became ready.
    pub fn report(&self, machine: &Rc<State>, input: u64, output: u64) {
        let mut ready = machine.ready.get();
        ready.input |= input;
        ready.output |= output;
        machine.ready.set(ready);
        self.enqueue(machine);
    }

    /// The machine runs soon.
    pub fn enqueue(&self, machine: &Rc<State>) {
        if machine.on.get() && !machine.is_paused() && !machine.queued.replace(true) {
            self.ready.borrow_mut().push_back(machine.clone());
        }
    }

    /// Lets the world go on until this machine, which the scenario runs, is ready.
    pub fn wait_outside(&self, host: &Rc<State>, deadline: Option<Instant>) {
        match self.running.get() {
            Some(running) if running == host.place => return,
            Some(_) => panic!(
                "block_on of `{}` was called by another machine's task",
                host.name
            ),
            None => {}
        }
        // A deadline in the past is that of a task which is always ready: time must pass for it.
        let now = self.now.get();
        let busy = deadline.is_some_and(|deadline| deadline.as_nanos() < now);
        let deadline = match busy {
            true => Some(now.saturating_add(SLICE)),
            false => deadline.map(Instant::as_nanos),
        };
        // Others that the scenario runs may have new tasks.
        for other in &*self.machines.borrow() {
            if other.outside && other.place != host.place {
                self.enqueue(other);
            }
        }
        loop {
            let woken = host
                .driver
                .borrow()
                .as_ref()
                .is_some_and(|driver| driver.is_ready());
            let ready = host.ready.get() != Ready::default();
            let due = deadline.is_some_and(|deadline| deadline <= self.now.get());
            if ready || due || (woken && !busy) {
                return;
            }
            if !self.step(host, deadline) {
                let message = "everybody waits and nothing will ever come";
                self.fail(Cause::Deadlock, None, message.into());
            }
        }
    }

    /// Runs one machine, or lets time go on until something happens, at most until `deadline`.
    /// False when nothing will ever happen.
    fn step(&self, host: &Rc<State>, deadline: Option<u64>) -> bool {
        let next = self.ready.borrow_mut().pop_front();
        if let Some(machine) = next {
            machine.queued.set(false);
            if !Rc::ptr_eq(&machine, host) {
                self.run(&machine);
                self.wake_watch();
            }
            return true;
        }
        if self.collect(host) {
            return true;
        }
        let next = self.events.borrow().next();
        match (next, deadline) {
            (Some(at), None) => self.go_to(at),
            (Some(at), Some(deadline)) => self.go_to(at.min(deadline)),
            (None, Some(deadline)) => self.go_to(deadline),
            (None, None) => return false,
        }
        true
    }

    fn wake_watch(&self) {
        let watch = self.watch.take();
        if let Some(waker) = watch {
            waker.wake();
        }
    }

    /// Queues the machines with a task that somebody outside has woken.
    fn collect(&self, host: &Rc<State>) -> bool {
        let mut found = false;
        for machine in &*self.machines.borrow() {
            let woken = machine.busy.get() == 0
                && !Rc::ptr_eq(machine, host)
                && !machine.is_paused()
                && machine
                    .driver
                    .borrow()
                    .as_ref()
                    .is_some_and(|driver| driver.is_ready());
            if woken {
                self.enqueue(machine);
                found = true;
            }
        }
        found
    }

    /// Lets time jump, and everything happen that happens then.
    fn go_to(&self, at: u64) {
        if at > self.limit.get() {
            let limit = Instant::from_nanos(self.limit.get());
            let message = format!("it is not done within {limit} s");
            self.fail(Cause::TimeLimit, None, message);
        }
        self.now.set(self.now.get().max(at));
        loop {
            let next = self.events.borrow_mut().pop(at);
            let Some(what) = next else { break };
            match what {
                What::Frame(port, frame) => port.arrive(self, frame),
                What::Room(port) => port.room(self),
                What::Timer(machine) => self.timer(&machine),
                What::Block(disk, number) => disk.complete(self, number),
                What::Call(call) => call(),
            }
        }
        self.wake_watch();
    }

    fn run(&self, machine: &Rc<State>) {
        if !machine.on.get() || machine.is_paused() {
            return;
        }
        let Some(mut driver) = machine.driver.take() else {
            return;
        };
        let life = machine.boots.get();
        self.running.set(Some(machine.place));
        let before = logger::enter(Some(machine.clone()));
        let turn = catch(machine.may_panic, || driver.turn());
        logger::enter(before);
        self.running.set(None);
        let ended_itself = !machine.on.get() || machine.boots.get() != life;
        match turn {
            _ if ended_itself => drop(driver),
            Ok(Turn::Wait(deadline)) => {
                *machine.driver.borrow_mut() = Some(driver);
                self.set_deadline(machine, deadline);
            }
            Ok(Turn::Done(Ok(()))) => self.exit(machine, driver, 0),
            Ok(Turn::Done(Err(failure))) => {
                self.console(machine, format!("error: {failure}\n").as_bytes());
                self.exit(machine, driver, 1);
            }
            Err(Caught::Exit(status)) => self.exit(machine, driver, status),
            Err(Caught::Panic(panic)) => {
                if self.failure.borrow().is_some() {
                    self.raise();
                }
                self.console(
                    machine,
                    format!("panic at {}: {}\n", panic.place, panic.message).as_bytes(),
                );
                if !machine.may_panic {
                    let cause = Cause::Panic(panic.place);
                    self.fail(cause, Some(machine), panic.message);
                }
                self.exit(machine, driver, PANIC);
            }
        }
    }

    fn exit(&self, machine: &Rc<State>, driver: impl Sized, status: u8) {
        *machine.driver.borrow_mut() = None;
        machine.end(self, Some(status));
        drop(driver);
        self.note(machine.place, &[status]);
    }

    fn set_deadline(&self, machine: &Rc<State>, deadline: Option<Instant>) {
        machine.deadline.set(deadline);
        let now = self.now.get();
        let mut at = match deadline {
            Some(deadline) => deadline.as_nanos().saturating_add(machine.base.get()),
            None => u64::MAX,
        };
        if at > now {
            machine.busy.set(0);
        } else {
            machine.busy.set(machine.busy.get() + 1);
            if machine.busy.get() > SLICES {
                let message = "it computes and never waits";
                self.fail(Cause::Busy, Some(machine), message.into());
            }
            at = now.saturating_add(SLICE);
        }
        if deadline.is_some() {
            self.alarm(machine, at);
        }
    }

    fn alarm(&self, machine: &Rc<State>, at: u64) {
        if at < machine.alarm.get() {
            machine.alarm.set(at);
            self.schedule(at, What::Timer(machine.clone()));
        }
    }

    fn timer(&self, machine: &Rc<State>) {
        let now = self.now.get();
        if machine.alarm.get() <= now {
            machine.alarm.set(u64::MAX);
        }
        let Some(deadline) = machine.deadline.get() else {
            return;
        };
        let due = deadline.as_nanos().saturating_add(machine.base.get());
        if due <= now {
            self.enqueue(machine);
        } else {
            self.alarm(machine, due);
        }
    }

    /// Ends the run.
    pub fn fail(&self, cause: Cause, machine: Option<&State>, message: String) -> ! {
        *self.failure.borrow_mut() = Some(Failure {
            cause,
            message,
            machine: machine.map(|machine| machine.name.clone()),
            at: Instant::from_nanos(self.now.get()),
            seed: self.kept.seed,
        });
        self.raise()
    }

    fn raise(&self) -> ! {
        let failure = self.failure.borrow().clone();
        match failure {
            Some(failure) => panic!("{failure}"),
            None => panic!("the run failed"),
        }
    }

    /// Why the run failed, when not by a panic of the scenario.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    /// Whether this happens to this frame or operation, whose share is so large.
    pub fn mishap(
        &self,
        kind: Kind,
        share: f64,
        place: u64,
        number: u64,
        name: impl FnOnce() -> String,
    ) -> bool {
        let happens = match &self.chosen {
            None => share > 0.0 && dice::chance(self.dice.toss(kind as u64, place, number), share),
            Some(chosen) => !chosen.is_empty() && chosen.contains(&(kind, place, number)),
        };
        if happens && self.records {
            let place = name();
            let mishap = Mishap {
                kind,
                place,
                number,
            };
            self.mishaps.borrow_mut().push((mishap, self.now.get()));
        }
        happens
    }

    /// What happened to single frames and operations, with the time.
    pub fn mishaps(&self) -> Vec<(Mishap, u64)> {
        self.mishaps.take()
    }

    /// A delay or duration, as short as the run is to have it.
    pub fn ease(&self, delay: u64) -> u64 {
        delay.checked_shr(self.kept.ease).unwrap_or(0)
    }

    /// Adds to the trace.
    pub fn note(&self, place: u64, bytes: &[u8]) {
        let known = self.trace.get() ^ place ^ self.now.get().rotate_left(20);
        self.trace.set(dice::fold(known, bytes));
    }

    pub fn wall(&self, machine: &State) -> Option<Duration> {
        let start = self.wall.get()?;
        let since = i128::from(self.now.get()) + machine.ahead.get();
        let nanos = i128::try_from(start.as_nanos()).ok()?.saturating_add(since);
        let nanos = u64::try_from(nanos.max(0)).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(nanos))
    }

    pub fn console(&self, machine: &State, bytes: &[u8]) {
        self.note(machine.place, bytes);
        machine.console.borrow_mut().extend_from_slice(bytes);
    }

    /// An empty buffer.
    pub fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub fn recycle(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < 1024 {
            buffer.clear();
            spare.push(buffer);
        }
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
