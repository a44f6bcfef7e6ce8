//! Machines: what they are made of, and what can be done to them.

mod builder;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use log::LevelFilter;
use mirage_device::platform::{DeviceKind, Ready};
use mirage_device::{Instant, Platform};
use mirage_record::{Description, Memory};
use mirage_runtime::{Failure, Main, Runtime, Turn};

use crate::disk::DiskState;
use crate::logger::Log;
use crate::network::{Port, Weather, nanos};
use crate::platform::{Hardware, Sim};
use crate::unikernel::Ended;
use crate::world::Inner;
#[cfg(doc)]
use crate::world::World;

pub use builder::Builder;

/// What `mirage run` gives an image by itself: where a recording is replayed, it has as much.
const MEMORY: u64 = 32 << 20;

/// The longest recording in bytes.
const LONGEST: usize = 1 << 30;

/// A machine of a world. A clone is another handle.
///
/// It runs while the scenario waits: in [`World::block_on`], [`World::run_for`] and
/// [`World::run_until`].
#[derive(Clone)]
pub struct Machine {
    pub(crate) world: Rc<Inner>,
    pub(crate) state: Rc<State>,
}

/// What a unikernel on a machine is seen as from outside.
pub(crate) trait Driver {
    /// Lets it run until it waits or ends.
    fn turn(&mut self) -> Turn<Result<(), Failure>>;
    /// Whether a task is ready, though no device and no deadline woke it.
    fn is_ready(&self) -> bool;
}

type Start = Rc<dyn Fn(&State, Sim) -> Result<Box<dyn Driver>, Refused>>;

/// Why a unikernel does not even start: its status, and what it says.
pub(crate) struct Refused(pub u8, pub String);

pub(crate) enum Attached {
    Net(Rc<Port>),
    Disk(Rc<DiskState>),
}

pub(crate) struct State {
    pub name: String,
    pub place: u64,
    pub words: Vec<&'static str>,
    pub devices: Vec<(String, Attached)>,
    /// Driven from outside, by `block_on` on its runtime.
    pub outside: bool,
    start: RefCell<Option<Start>>,
    pub driver: RefCell<Option<Box<dyn Driver>>>,
    pub on: Cell<bool>,
    /// Since when the host suspends it.
    paused: Cell<Option<u64>>,
    /// How often it was started.
    pub boots: Cell<u64>,
    /// The world's time at which its clock showed zero.
    pub base: Cell<u64>,
    /// How far its wall clock is ahead of the world's, in nanoseconds.
    pub ahead: Cell<i128>,
    pub ready: Cell<Ready>,
    pub queued: Cell<bool>,
    pub deadline: Cell<Option<Instant>>,
    /// The world's time for which an event stands.
    pub alarm: Cell<u64>,
    /// How often in a row it was interrupted.
    pub busy: Cell<u32>,
    /// Looks at the clock since it last waited.
    pub looks: Cell<u64>,
    pub entropy: Entropy,
    pub drawn: Cell<u64>,
    pub status: Cell<Option<u8>>,
    pub may_panic: bool,
    pub console: RefCell<Vec<u8>>,
    pub level: Cell<LevelFilter>,
    /// What its log goes through while it runs.
    pub log: RefCell<Option<Rc<Log>>>,
    /// Where the recording of its present life goes.
    record: Option<PathBuf>,
    pub tape: RefCell<Option<Rc<Memory>>>,
}

/// When a machine has random bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entropy {
    /// This long after its start.
    After(Duration),
    Never,
}

impl Attached {
    pub fn kind(&self) -> DeviceKind {
        match self {
            Self::Net(_) => DeviceKind::Net,
            Self::Disk(_) => DeviceKind::Block,
        }
    }
}

impl Machine {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Everything it has written to its console, in all its lives.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.state.console.borrow()).into_owned()
    }

    /// The status it ended with, when it has ended by itself since its last start: 0, 1 for an
    /// error of its main function, 2 for a wrong command line, 101 for a panic, or what it gave
    /// to `exit`.
    pub fn status(&self) -> Option<u8> {
        self.state.status.get()
    }

    /// Whether it runs, or is paused: neither ended nor switched off.
    pub fn is_on(&self) -> bool {
        self.state.on.get()
    }

    /// Ends it at once, as killing a process does: what it wrote to its disks stays, flushed or
    /// not.
    pub fn stop(&self) {
        self.end();
        self.disks(DiskState::release);
    }

    /// Cuts its power: it ends at once, and its disks lose what was not flushed, or a part of
    /// it, or nothing.
    pub fn cut(&self) {
        self.end();
        self.disks(|disk| disk.cut(&self.world));
    }

    /// Starts it again with the same devices, [stopped](Machine::stop) first when it runs. Its
    /// clock begins anew.
    pub fn restart(&self) {
        if self.state.on.get() {
            self.stop();
        }
        self.boot();
    }

    /// Suspends it, as a host may: its clock stands still, the wall clock does not, and frames
    /// wait for it until there are too many.
    pub fn pause(&self) {
        if self.state.on.get() && self.state.paused.get().is_none() {
            self.state.paused.set(Some(self.world.now.get()));
        }
    }

    /// Lets it go on after [`Machine::pause`].
    pub fn unpause(&self) {
        if let Some(since) = self.state.paused.take() {
            let state = &self.state;
            state
                .base
                .set(state.base.get() + (self.world.now.get() - since));
            self.world.enqueue(state);
        }
    }

    /// Lets its wall clock jump: forwards, or `back`. The monotonic clock knows nothing of it.
    pub fn jump_wall(&self, by: Duration, back: bool) {
        let by = i128::from(nanos(by));
        let ahead = &self.state.ahead;
        ahead.set(ahead.get() + if back { -by } else { by });
    }

    /// Pulls the network device's cable, or plugs it in again: frames to and from it are lost.
    ///
    /// # Panics
    ///
    /// When it has no network device of this name.
    pub fn set_link(&self, device: &str, up: bool) {
        self.port(device).set_up(up);
    }

    /// Takes the network device away for good:
    /// [`NetError::Gone`](mirage_device::NetError::Gone).
    ///
    /// # Panics
    ///
    /// When it has no network device of this name.
    pub fn unplug(&self, device: &str) {
        self.port(device).unplug(&self.world);
    }

    /// What frames meet that this device sends, in place of the network's own weather.
    ///
    /// # Panics
    ///
    /// When it has no network device of this name.
    pub fn set_weather(&self, device: &str, weather: Option<Weather>) {
        self.port(device).set_weather(weather);
    }

    /// Writes every frame that the device sends or is given to a file that tshark reads.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    ///
    /// # Panics
    ///
    /// When it has no network device of this name; later, when the file cannot be written.
    pub fn pcap(&self, device: &str, path: impl AsRef<Path>) -> std::io::Result<()> {
        self.port(device).pcap(path.as_ref())
    }

    fn port(&self, device: &str) -> &Rc<Port> {
        let found = self.state.devices.iter().find(|(name, _)| name == device);
        match found {
            Some((_, Attached::Net(port))) => port,
            _ => panic!(
                "machine `{}` has no network device `{device}`",
                self.state.name
            ),
        }
    }

    fn disks(&self, act: impl Fn(&DiskState)) {
        for (_, device) in &self.state.devices {
            if let Attached::Disk(disk) = device {
                act(disk);
            }
        }
    }

    fn end(&self) {
        self.state.end(&self.world, None);
    }

    fn boot(&self) {
        let state = &self.state;
        state.on.set(true);
        state.boots.set(state.boots.get() + 1);
        state.base.set(match state.outside {
            true => 0,
            false => self.world.now.get(),
        });
        state.status.set(None);
        for (number, (_, device)) in state.devices.iter().enumerate() {
            match device {
                Attached::Net(port) => {
                    port.attach(state, number as u8);
                    port.reset(&self.world);
                }
                Attached::Disk(disk) => disk.attach(state, number as u8),
            }
        }
        state.tape.replace(state.record.is_some().then(|| {
            let memory = Memory::recording(&state.description(), LONGEST);
            Rc::new(memory)
        }));
        let start = state.start.borrow().clone();
        let Some(start) = start else { return };
        let sim = Hardware::of(&self.world, state);
        match start(state, sim) {
            Ok(driver) => {
                *state.driver.borrow_mut() = Some(driver);
                self.world.enqueue(state);
            }
            Err(Refused(status, message)) => {
                state.say(&format!("error: {message}\n"));
                state.end(&self.world, Some(status));
            }
        }
    }
}

impl State {
    /// What a recording is of.
    fn description(&self) -> Description {
        Description {
            name: self.name.clone(),
            platform: "a simulated machine".into(),
            arguments: self.words.iter().map(|word| (*word).to_owned()).collect(),
            memory: MEMORY,
            ..Description::default()
        }
    }

    /// Writes the recording of this life.
    fn save(&self) {
        if let (Some(file), Some(tape)) = (&self.record, self.tape.take())
            && let Err(error) = std::fs::write(file, tape.to_bytes())
        {
            let file = file.display();
            panic!("the recording {file} cannot be written: {error}");
        }
    }

    pub fn say(&self, text: &str) {
        self.console.borrow_mut().extend_from_slice(text.as_bytes());
    }

    pub fn is_paused(&self) -> bool {
        self.paused.get().is_some()
    }

    /// What its clock shows.
    pub fn clock(&self, world: &Inner) -> Instant {
        let now = self.paused.get().unwrap_or_else(|| world.now.get());
        Instant::from_nanos(now - self.base.get())
    }

    /// Ends it, with a status when it ended by itself.
    pub fn end(&self, world: &Inner, status: Option<u8>) {
        self.on.set(false);
        self.paused.set(None);
        self.deadline.set(None);
        self.ready.set(Ready::default());
        self.busy.set(0);
        self.status.set(status);
        // Its tasks are dropped while nothing of the machine is borrowed.
        let (driver, log) = (self.driver.take(), self.log.take());
        drop((driver, log));
        self.save();
        for (_, device) in &self.devices {
            match device {
                Attached::Net(port) => port.reset(world),
                Attached::Disk(disk) if status.is_some() => disk.release(),
                Attached::Disk(_) => {}
            }
        }
    }
}

/// A unikernel in its machine.
struct Inside {
    runtime: Runtime<Sim>,
    main: Main<Sim>,
    future: Option<Ended>,
    waits: Option<Option<Instant>>,
}

pub(crate) fn drive(runtime: Runtime<Sim>, main: Ended) -> Box<dyn Driver> {
    Box::new(Inside {
        main: runtime.enter(),
        runtime,
        future: Some(main),
        waits: None,
    })
}

impl Driver for Inside {
    fn turn(&mut self) -> Turn<Result<(), Failure>> {
        if let Some(deadline) = self.waits.take() {
            self.runtime.resume(deadline);
        }
        let Some(future) = &mut self.future else {
            return Turn::Wait(None);
        };
        let turn = self.runtime.turn(&self.main, future.as_mut());
        match &turn {
            Turn::Wait(deadline) => self.waits = Some(*deadline),
            // An image's end comes through the platform, and is in its recording.
            Turn::Done(result) if self.runtime.platform().tape().is_some() => {
                let platform = self.runtime.platform();
                if let Err(failure) = result {
                    platform.console(format!("error: {failure}\n").as_bytes());
                }
                platform.exit(u8::from(result.is_err()));
            }
            Turn::Done(_) => {}
        }
        turn
    }

    fn is_ready(&self) -> bool {
        self.runtime.is_ready()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.future = None;
        self.runtime.clear();
    }
}

/// The tasks of a runtime that the scenario drives, while it waits for another one.
struct Outside(Runtime<Sim>);

impl Driver for Outside {
    fn turn(&mut self) -> Turn<Result<(), Failure>> {
        let main = self.0.enter();
        self.0.resume(Some(Instant::ZERO));
        self.0.turn(&main, std::pin::pin!(std::future::pending()))
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// The same text for ever: a unikernel's command line outlives everything. Equal texts are kept
/// once, so that a thousand runs cost no more than one.
fn interned(text: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match words.get(text) {
        Some(word) => word,
        None => {
            let word: &'static str = text.to_owned().leak();
            words.insert(word);
            word
        }
    }
}
