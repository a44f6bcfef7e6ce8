//! A machine before it is started.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use log::LevelFilter;
#[cfg(doc)]
use mirage_device::Platform;
use mirage_device::platform::DeviceKind;
use mirage_runtime::Runtime;

use super::{Attached, Entropy, Machine, Outside, Start, State, drive, interned};
use crate::disk::Disk;
use crate::logger::Log;
use crate::network::Network;
use crate::platform::{Hardware, Sim};
use crate::unikernel::Unikernel;
use crate::world::Inner;
#[cfg(doc)]
use crate::world::World;

/// A machine that is being described. [`World::machine`] begins it, and [`Builder::boot`],
/// [`Builder::start`] or [`Builder::runtime`] makes it.
#[must_use = "a machine that is not started does nothing"]
pub struct Builder {
    world: Rc<Inner>,
    name: String,
    devices: Vec<(String, Attached)>,
    words: Vec<String>,
    entropy: Entropy,
    may_panic: bool,
    record: Option<PathBuf>,
}

impl Builder {
    pub(crate) fn new(world: Rc<Inner>, name: &str) -> Self {
        Self {
            world,
            name: name.to_owned(),
            devices: Vec::new(),
            words: Vec::new(),
            entropy: Entropy::After(Duration::ZERO),
            may_panic: false,
            record: None,
        }
    }

    /// Attaches the network device `name` to a network.
    ///
    /// # Panics
    ///
    /// When the name has white space or a `'` in it.
    pub fn net(mut self, name: &str, network: &Network) -> Self {
        let port = network.state.port(&self.name, name);
        self.devices.push((name.to_owned(), Attached::Net(port)));
        self
    }

    /// Attaches the block device `name` to a disk.
    pub fn disk(mut self, name: &str, disk: &Disk) -> Self {
        let disk = Attached::Disk(disk.state.clone());
        self.devices.push((name.to_owned(), disk));
        self
    }

    /// Adds a word to the command line: `port=80`.
    pub fn argument(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    /// There are no random bytes for this long after each start: the source is
    /// [`NotReady`](mirage_device::EntropyError::NotReady).
    pub fn entropy_after(mut self, duration: Duration) -> Self {
        self.entropy = Entropy::After(duration);
        self
    }

    /// There are no random bytes at all:
    /// [`NoSource`](mirage_device::EntropyError::NoSource).
    pub fn no_entropy(mut self) -> Self {
        self.entropy = Entropy::Never;
        self
    }

    /// A panic ends the machine with status 101 and not the whole run.
    pub fn may_panic(mut self) -> Self {
        self.may_panic = true;
        self
    }

    /// Records what comes through the platform's boundary, for `mirage replay FILE --image` with
    /// the unikernel's own image. The file is written when the machine ends, for its last life.
    ///
    /// # Panics
    ///
    /// Then, when the file cannot be written.
    pub fn record(mut self, file: impl Into<PathBuf>) -> Self {
        self.record = Some(file.into());
        self
    }

    /// Starts the machine. It runs when the scenario next waits.
    ///
    /// # Panics
    ///
    /// When a device that the unikernel declares is not attached, or one is attached that it does
    /// not declare; when there is a machine of that name.
    pub fn boot(mut self, unikernel: &Unikernel) -> Machine {
        // Their numbers are those of an image: the order of the declaration.
        let order = |name: &str| unikernel.devices.iter().position(|d| d.name == name);
        let mut number = 0;
        for declared in unikernel.devices {
            let kind = match declared.kind {
                mirage_manifest::Kind::Net => DeviceKind::Net,
                _ => DeviceKind::Block,
            };
            let given = |(name, device): &(String, Attached)| {
                *name == *declared.name && device.kind() == kind
            };
            assert!(
                self.devices.iter().any(given),
                "machine `{}`: the {} device `{}` is declared and not given",
                self.name,
                declared.kind,
                declared.name
            );
            number += 1;
        }
        assert!(
            number == self.devices.len(),
            "machine `{}`: a device is given that is not declared, or given twice: {}",
            self.name,
            self.names()
        );
        self.devices.sort_by_key(|(name, _)| order(name));
        let unikernel = unikernel.clone();
        self.make(Some(Rc::new(move |machine, sim| {
            unikernel.start(machine, sim)
        })))
    }

    /// Starts a machine that runs `main`, once more at each restart. Keys of a command line are
    /// not read: words are there for [`Platform::arguments`].
    pub fn start<F>(self, main: impl Fn(Runtime<Sim>) -> F + 'static) -> Machine
    where
        F: Future<Output = ()> + 'static,
    {
        self.make(Some(Rc::new(move |machine, sim| {
            let runtime = Runtime::new(sim);
            machine.log.replace(Some(Rc::new(Log::new(&runtime))));
            let main = main(runtime.clone());
            let ended = async move {
                main.await;
                Ok(())
            };
            Ok(drive(runtime, Box::pin(ended)))
        })))
    }

    /// A machine that the scenario itself runs: `block_on` of this runtime lets the whole world
    /// go on until its future is done.
    pub fn runtime(self) -> (Machine, Runtime<Sim>) {
        let machine = self.make(None);
        let runtime = Runtime::new(Hardware::of(&machine.world, &machine.state));
        *machine.state.driver.borrow_mut() = Some(Box::new(Outside(runtime.clone())));
        (machine, runtime)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.devices.iter().map(|(name, _)| &**name).collect();
        names.join(", ")
    }

    fn make(self, start: Option<Start>) -> Machine {
        let world = self.world;
        let state = Rc::new(State {
            place: crate::dice::place(&self.name),
            name: self.name,
            words: self.words.iter().map(|word| interned(word)).collect(),
            devices: self.devices,
            outside: start.is_none(),
            start: RefCell::new(start),
            driver: RefCell::default(),
            on: Cell::new(false),
            paused: Cell::default(),
            boots: Cell::default(),
            base: Cell::default(),
            ahead: Cell::default(),
            ready: Cell::default(),
            queued: Cell::default(),
            deadline: Cell::default(),
            alarm: Cell::new(u64::MAX),
            busy: Cell::default(),
            looks: Cell::default(),
            entropy: self.entropy,
            drawn: Cell::default(),
            status: Cell::default(),
            may_panic: self.may_panic,
            console: RefCell::default(),
            level: Cell::new(LevelFilter::Info),
            log: RefCell::default(),
            record: self.record,
            tape: RefCell::default(),
        });
        world.add(&state);
        let machine = Machine { world, state };
        machine.boot();
        machine
    }
}
