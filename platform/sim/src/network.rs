//! Networks: a switch, the ports of the machines on it, and the weather between them.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::NetInfo;

use crate::engine::Inner;
use crate::machine::Machine;
use crate::port::{Capture, Port};
use crate::world::World;

/// What a frame meets on its way. A new network has [`Weather::default`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// How long a frame takes; at least a nanosecond.
    pub latency: Duration,
    /// At most this is added for some frames; those behind wait for them.
    pub jitter: Duration,
    /// Bits a second that each machine can send; `None` is without end.
    pub bandwidth: Option<u64>,
    /// The share of frames, 0 to 1, that are lost.
    pub loss: f64,
    /// The share that others overtake: they take up to ten times the latency more.
    pub reordering: f64,
    /// The share that arrive twice.
    pub duplication: f64,
    /// The share in which a bit changes.
    pub corruption: f64,
}

impl Default for Weather {
    /// 100 microseconds, and nothing goes wrong.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100),
            jitter: Duration::ZERO,
            bandwidth: None,
            loss: 0.0,
            reordering: 0.0,
            duplication: 0.0,
            corruption: 0.0,
        }
    }
}

impl Weather {
    /// A bad connection: 10 ms and up to 20 ms more, one frame in ten lost, one in ten late, some
    /// twice and some damaged.
    pub const STORM: Self = Self {
        latency: Duration::from_millis(10),
        jitter: Duration::from_millis(20),
        bandwidth: None,
        loss: 0.1,
        reordering: 0.1,
        duplication: 0.02,
        corruption: 0.02,
    };
}

/// A network that [`World::network`] made. A clone is another handle.
#[derive(Clone)]
pub struct Network {
    pub(crate) world: Rc<Inner>,
    pub(crate) state: Rc<NetworkState>,
}

pub(crate) struct NetworkState {
    pub name: String,
    number: u16,
    mtu: Cell<usize>,
    offload: Cell<bool>,
    pub weather: Cell<Weather>,
    pub ports: RefCell<Vec<Rc<Port>>>,
    pub capture: Capture,
}

impl Network {
    /// Sets the largest IP packet, 1500 at first, for machines that are made later.
    #[must_use]
    pub fn mtu(self, bytes: usize) -> Self {
        self.state.mtu.set(bytes);
        self
    }

    /// Lets devices compute checksums and cut segments, for machines that are made later. Frames
    /// cross the network whole, as they do between the guests of one host.
    #[must_use]
    pub fn offload(self) -> Self {
        self.state.offload.set(true);
        self
    }

    /// Changes the weather, from the next frame on.
    pub fn set_weather(&self, weather: Weather) {
        self.state.weather.set(weather);
    }

    /// The weather of now.
    pub fn weather(&self) -> Weather {
        self.state.weather.get()
    }

    /// Splits the network: machines of different groups do not hear each other, and those that
    /// are in none are a group of their own. What is under way is lost. Takes the place of an
    /// earlier partition.
    pub fn partition(&self, groups: &[&[&Machine]]) {
        for port in &*self.state.ports.borrow() {
            let machine = port.machine.borrow().upgrade();
            let in_group = |group: &&[&Machine]| {
                let mut members = group.iter();
                members.any(|member| {
                    machine
                        .as_ref()
                        .is_some_and(|machine| Rc::ptr_eq(machine, &member.state))
                })
            };
            let found = groups.iter().position(in_group);
            port.group.set(found.map_or(0, |group| group + 1));
        }
    }

    /// Ends a partition.
    pub fn heal(&self) {
        self.partition(&[]);
    }

    /// The machines on it.
    pub(crate) fn machines(&self) -> Vec<Machine> {
        let ports = self.state.ports.borrow();
        let machine = |port: &Rc<Port>| {
            let state = port.machine.borrow().upgrade()?;
            let world = self.world.clone();
            Some(Machine { world, state })
        };
        ports.iter().filter_map(machine).collect()
    }

    /// Writes every frame that is sent from now on to a file that tshark reads, at the world's
    /// time. What is lost on the way is in it.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    ///
    /// # Panics
    ///
    /// Later, when it cannot be written.
    pub fn pcap(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        self.state.capture.open(path.as_ref())
    }
}

impl NetworkState {
    pub fn new(name: &str, number: u16) -> Self {
        Self {
            name: name.to_owned(),
            number,
            mtu: Cell::new(1500),
            offload: Cell::new(false),
            weather: Cell::default(),
            ports: RefCell::default(),
            capture: Capture::default(),
        }
    }

    /// A port for the device of this name of a machine.
    pub fn port(self: &Rc<Self>, machine: &str, name: &str) -> Rc<Port> {
        let mut ports = self.ports.borrow_mut();
        let number = ports.len() as u32;
        let [_, a, b, c] = (number + 1).to_be_bytes();
        let [high, low] = self.number.to_be_bytes();
        let mac = [2 | (high << 2), low, 0, a, b, c];
        let info = match self.offload.get() {
            true => NetInfo::offloading(mac, self.mtu.get()),
            false => NetInfo::plain(mac, self.mtu.get()),
        };
        let port = Rc::new(Port::new(self, number, format!("{machine}.{name}"), info));
        ports.push(port.clone());
        port
    }

    /// The port with this address.
    pub fn owner(&self, ports: &[Rc<Port>], mac: &[u8]) -> Option<usize> {
        let number = u32::from_be_bytes([0, mac[3], mac[4], mac[5]]).wrapping_sub(1) as usize;
        let found = ports.get(number)?;
        (found.info.mac == mac[..6]).then_some(number)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// Makes a network, a switch with the weather of [`Weather::default`]. Returns at once.
    ///
    /// # Panics
    ///
    /// When there is one of that name.
    pub fn network(&self, name: &str) -> Network {
        let world = self.inner().clone();
        let mut networks = world.networks.borrow_mut();
        let taken = networks.iter().any(|network| network.name == name);
        assert!(!taken, "there is a network `{name}` already");
        let state = Rc::new(NetworkState::new(name, networks.len() as u16));
        networks.push(state.clone());
        drop(networks);
        Network { world, state }
    }
}
