//! What drives a world: its time, what is going to happen in it, and who runs next.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use mirage_device::Instant;
use mirage_device::platform::Ready;
use mirage_runtime::Turn;

use crate::dice::{self, Dice};
use crate::disk::DiskState;
use crate::events::{Events, What};
use crate::failure::{Caught, Cause, Failure, catch};
use crate::faults::Planned;
use crate::kept::{Kept, Kind, Mishap};
use crate::logger;
use crate::machine::State;
use crate::network::NetworkState;

/// How long a machine computes before it is interrupted.
const SLICE: u64 = 20_000;

/// Slices in a row, 200 milliseconds in all, after which a machine will never be at rest.
const SLICES: u32 = 10_000;

const PANIC: u8 = 101;

pub(crate) struct Inner {
    pub kept: Kept,
    pub dice: Dice,
    /// Nanoseconds since the start.
    pub now: Cell<u64>,
    pub limit: Cell<u64>,
    pub wall: Cell<Option<Duration>>,
    events: RefCell<Events>,
    ready: RefCell<VecDeque<Rc<State>>>,
    pub machines: RefCell<Vec<Rc<State>>>,
    pub networks: RefCell<Vec<Rc<NetworkState>>>,
    pub disks: RefCell<Vec<Rc<DiskState>>>,
    /// Which machine runs.
    running: Cell<Option<u64>>,
    /// Who waits for a condition: it is woken after every step.
    pub watch: RefCell<Option<Waker>>,
    spare: RefCell<Vec<Vec<u8>>>,
    pub trace: Cell<u64>,
    pub frames: Cell<u64>,
    pub faults: RefCell<Vec<Planned>>,
    chosen: Option<BTreeSet<(Kind, u64, u64)>>,
    /// Whether mishaps are written down.
    records: bool,
    mishaps: RefCell<Vec<(Mishap, u64)>>,
    failure: RefCell<Option<Failure>>,
}

impl Inner {
    pub fn new(kept: Kept, records: bool) -> Self {
        const NEW_YEAR: Duration = Duration::from_secs(1_767_225_600);
        Self {
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
        }
    }

    pub fn end(&self) {
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
                // What it held may be in no state to be dropped in peace.
                let _ = catch(true, || drop(driver));
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
                self.exit(machine, (), PANIC);
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
