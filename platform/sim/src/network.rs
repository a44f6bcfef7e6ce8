//! Networks: a switch, the ports of the machines on it, and the weather between them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

use mirage_device::{NetError, NetInfo, Received, Transmit};

use crate::dice::{self, Purpose};
use crate::events::What;
use crate::kept::{Kind, check_name};
use crate::machine::{Machine, State};
use crate::world::{Inner, World};

/// Frames that wait in a machine before more are dropped.
const RECEIVED: usize = 1024;

/// Frames that wait to leave a machine before it is told that there is no room.
const QUEUED: usize = 256;

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
    ports: RefCell<Vec<Rc<Port>>>,
    capture: Capture,
}

/// A machine's place on a network.
pub(crate) struct Port {
    network: Weak<NetworkState>,
    machine: RefCell<Weak<State>>,
    device: Cell<u8>,
    number: u32,
    /// `MACHINE.DEVICE`
    pub name: String,
    place: u64,
    info: NetInfo,
    sent: Cell<u64>,
    received: RefCell<VecDeque<Frame>>,
    /// The machine has found nothing: the next frame is reported.
    waits_for_frame: Cell<bool>,
    waits_for_room: Cell<bool>,
    up: Cell<bool>,
    gone: Cell<bool>,
    /// Ports of different groups do not hear each other.
    group: Cell<usize>,
    departures: RefCell<VecDeque<u64>>,
    /// When the last frame that others must not overtake arrives.
    last_arrival: Cell<u64>,
    weather: Cell<Option<Weather>>,
    capture: Capture,
}

/// A frame on its way.
pub(crate) struct Frame {
    bytes: Vec<u8>,
    checksum_valid: bool,
    /// The number of the port that sent it.
    from: u32,
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
        check_name(name);
        let mut ports = self.ports.borrow_mut();
        let number = ports.len() as u32;
        let [_, a, b, c] = (number + 1).to_be_bytes();
        let [high, low] = self.number.to_be_bytes();
        let mac = [2 | (high << 2), low, 0, a, b, c];
        let name = format!("{machine}.{name}");
        let port = Rc::new(Port {
            network: Rc::downgrade(self),
            machine: RefCell::default(),
            device: Cell::new(0),
            number,
            place: dice::place(&name),
            name,
            info: match self.offload.get() {
                true => NetInfo::offloading(mac, self.mtu.get()),
                false => NetInfo::plain(mac, self.mtu.get()),
            },
            sent: Cell::new(0),
            received: RefCell::default(),
            waits_for_frame: Cell::new(true),
            waits_for_room: Cell::new(false),
            up: Cell::new(true),
            gone: Cell::new(false),
            group: Cell::new(0),
            departures: RefCell::default(),
            last_arrival: Cell::new(0),
            weather: Cell::new(None),
            capture: Capture::default(),
        });
        ports.push(port.clone());
        port
    }

    /// The port with this address.
    fn owner(&self, ports: &[Rc<Port>], mac: &[u8]) -> Option<usize> {
        let number = u32::from_be_bytes([0, mac[3], mac[4], mac[5]]).wrapping_sub(1) as usize;
        let found = ports.get(number)?;
        (found.info.mac == mac[..6]).then_some(number)
    }
}

impl Port {
    /// It is the device of this number of the machine.
    pub fn attach(&self, machine: &Rc<State>, device: u8) {
        self.device.set(device);
        *self.machine.borrow_mut() = Rc::downgrade(machine);
    }

    pub fn info(&self) -> NetInfo {
        self.info
    }

    pub fn set_weather(&self, weather: Option<Weather>) {
        self.weather.set(weather);
    }

    pub fn set_up(&self, up: bool) {
        self.up.set(up);
    }

    pub fn pcap(&self, path: &Path) -> std::io::Result<()> {
        self.capture.open(path)
    }

    /// The host takes the device away.
    pub fn unplug(&self, world: &Inner) {
        self.gone.set(true);
        self.report(world, true, true);
    }

    /// The machine has begun anew: nothing has arrived for it.
    pub fn reset(&self, world: &Inner) {
        for frame in self.received.borrow_mut().drain(..) {
            world.recycle(frame.bytes);
        }
        self.waits_for_frame.set(true);
        self.waits_for_room.set(false);
    }

    fn report(&self, world: &Inner, input: bool, output: bool) {
        if let Some(machine) = self.machine.borrow().upgrade() {
            let bit = 1 << self.device.get();
            let bits = |yes| if yes { bit } else { 0 };
            world.report(&machine, bits(input), bits(output));
        }
    }

    pub fn receive(&self, world: &Inner, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        if self.gone.get() {
            return Err(NetError::Gone);
        }
        let Some(frame) = self.received.borrow_mut().pop_front() else {
            self.waits_for_frame.set(true);
            return Ok(None);
        };
        let len = frame.bytes.len();
        let received = buffer.get_mut(..len).map(|place| {
            place.copy_from_slice(&frame.bytes);
            Received::new(len, frame.checksum_valid)
        });
        world.recycle(frame.bytes);
        received.map(Some).ok_or(NetError::TooLong)
    }

    pub fn send(
        self: &Rc<Self>,
        world: &Inner,
        frame: &[u8],
        transmit: Transmit,
    ) -> Result<(), NetError> {
        let Some(network) = self.network.upgrade().filter(|_| !self.gone.get()) else {
            return Err(NetError::Gone);
        };
        let asked = transmit != Transmit::default();
        assert!(
            !asked || self.info.checksum_offload,
            "{} is asked to compute a checksum, which it does not offer",
            self.name
        );
        let most = match transmit.segmentation {
            Some(_) => self.info.max_frame,
            None => self.info.mtu + 14,
        };
        if frame.len() > most {
            return Err(NetError::TooLong);
        }
        let weather = self.weather.get().unwrap_or_else(|| network.weather.get());
        let departure = self.depart(world, frame.len(), weather.bandwidth)?;
        network.capture.write(world, frame);
        self.capture.write(world, frame);
        let number = self.sent.replace(self.sent.get() + 1);
        let mishap =
            |kind, share| world.mishap(kind, share, self.place, number, || self.name.clone());
        if !self.up.get() || mishap(Kind::Lost, weather.loss) {
            return Ok(());
        }
        let arrival = self.arrival(world, departure, number, weather);
        let copies = if mishap(Kind::Doubled, weather.duplication) {
            2
        } else {
            1
        };
        let damaged = mishap(Kind::Damaged, weather.corruption);
        for copy in 0..copies {
            let later = nanos(weather.latency + weather.jitter) * copy;
            let roll = |bound| world.dice.below(Purpose::Copy, self.place, number, bound);
            let at = arrival + copy + if copy > 0 { world.ease(roll(later)) } else { 0 };
            self.spread(world, &network, frame, |to, mut bytes| {
                if damaged && !bytes.is_empty() {
                    let bits = bytes.len() as u64 * 8;
                    let bit = world.dice.below(Purpose::Bit, self.place, number, bits) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                let frame = Frame {
                    bytes,
                    checksum_valid: transmit.checksum.is_some() && !damaged,
                    from: self.number,
                };
                world.schedule(at, What::Frame(to.clone(), frame));
            });
        }
        Ok(())
    }

    /// When the frame has left, by the bandwidth that there is.
    fn depart(
        self: &Rc<Self>,
        world: &Inner,
        len: usize,
        bandwidth: Option<u64>,
    ) -> Result<u64, NetError> {
        let now = world.now.get();
        let Some(bandwidth) = bandwidth else {
            return Ok(now);
        };
        let mut departures = self.departures.borrow_mut();
        while departures.front().is_some_and(|at| *at <= now) {
            departures.pop_front();
        }
        if departures.len() >= QUEUED {
            if !self.waits_for_room.replace(true)
                && let Some(first) = departures.front()
            {
                world.schedule(*first, What::Room(self.clone()));
            }
            return Err(NetError::Full);
        }
        // Preamble, check sequence and gap: 24 bytes more on a wire, 84 at least.
        let bits = (len + 24).max(84) as u128 * 8;
        let took = (bits * 1_000_000_000).div_ceil(u128::from(bandwidth.max(1)));
        let begin = departures.back().map_or(now, |last| *last);
        let at = begin.saturating_add(u64::try_from(took).unwrap_or(u64::MAX));
        departures.push_back(at);
        Ok(at)
    }

    /// When a frame arrives that leaves at this time.
    fn arrival(&self, world: &Inner, departure: u64, number: u64, weather: Weather) -> u64 {
        let latency = nanos(weather.latency).max(1);
        let mut at = departure.saturating_add(latency);
        let jitter = nanos(weather.jitter);
        let share = if jitter > 0 { 1.0 } else { 0.0 };
        let place = || self.name.clone();
        if world.mishap(Kind::Slow, share, self.place, number, place) {
            let delay = world.dice.below(Purpose::Delay, self.place, number, jitter);
            at = at.saturating_add(world.ease(delay));
        }
        if world.mishap(Kind::Late, weather.reordering, self.place, number, place) {
            let most = latency.saturating_mul(9);
            let delay = world.dice.below(Purpose::Late, self.place, number, most);
            return at.saturating_add(latency + world.ease(delay));
        }
        at = at.max(self.last_arrival.get());
        self.last_arrival.set(at);
        at
    }

    /// Hands a copy of the frame to `deliver` for each port that it goes to.
    fn spread(
        &self,
        world: &Inner,
        network: &NetworkState,
        frame: &[u8],
        mut deliver: impl FnMut(&Rc<Port>, Vec<u8>),
    ) {
        let copy = || {
            let mut bytes = world.buffer();
            bytes.extend_from_slice(frame);
            bytes
        };
        let ports = network.ports.borrow();
        let owner = frame
            .get(..6)
            .and_then(|mac| network.owner(&ports, mac))
            .and_then(|number| ports.get(number));
        match owner {
            Some(to) if to.number == self.number => {}
            Some(to) if self.hears(to) => deliver(to, copy()),
            Some(_) => {}
            // A group address, or one that the switch has not learnt.
            None => {
                let others = ports.iter().filter(|to| to.number != self.number);
                for to in others.filter(|to| self.hears(to)) {
                    deliver(to, copy());
                }
            }
        }
    }

    fn hears(&self, other: &Self) -> bool {
        self.group.get() == other.group.get()
    }

    pub fn arrive(&self, world: &Inner, frame: Frame) {
        let machine = self.machine.borrow().upgrade();
        let alive = machine.as_ref().is_some_and(|machine| machine.on.get());
        let reachable = self.network.upgrade().is_some_and(|network| {
            let ports = network.ports.borrow();
            let from = ports.get(frame.from as usize);
            from.is_some_and(|from| from.hears(self) && from.up.get())
        });
        let mut received = self.received.borrow_mut();
        if !alive || !reachable || !self.up.get() || received.len() >= RECEIVED {
            drop(received);
            return world.recycle(frame.bytes);
        }
        world.note(self.place, &frame.bytes);
        world.frames.set(world.frames.get() + 1);
        self.capture.write(world, &frame.bytes);
        received.push_back(frame);
        drop(received);
        if self.waits_for_frame.replace(false) {
            self.report(world, true, false);
        }
    }

    pub fn room(&self, world: &Inner) {
        if self.waits_for_room.replace(false) {
            self.report(world, false, true);
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A capture file, where one is written.
#[derive(Default)]
struct Capture(RefCell<Option<mirage_pcap::Writer<File>>>);

impl Capture {
    fn open(&self, path: &Path) -> std::io::Result<()> {
        *self.0.borrow_mut() = Some(mirage_pcap::Writer::new(File::create(path)?)?);
        Ok(())
    }

    fn write(&self, world: &Inner, frame: &[u8]) {
        if let Some(writer) = &mut *self.0.borrow_mut()
            && let Err(error) = writer.write(Duration::from_nanos(world.now.get()), frame)
        {
            panic!("a capture of the simulated network cannot be written: {error}");
        }
    }
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
