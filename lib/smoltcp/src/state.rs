//! Everything a stack knows, without the device: shared by the handles and the driver.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::Waker;
use core::time::Duration;

use mirage_device::{Clock, Entropy, FlowError, Net, Sleep, StackError};
use smoltcp::iface::{Interface, SocketSet};
use smoltcp::time::Instant;

use crate::configuration::Configuration;
use crate::connection::{Connection, Listening, Parting};
use crate::counters::Tally;
use crate::endpoint::{Endpoint, NEVER, Starved, Timers, Work};
use crate::frame::Tuple;
use crate::pool::Pool;
use crate::port::Port;
use crate::slots::Slots;
use crate::tuples::Tuples;
use crate::udp::Bound;

/// What the handles and the driver share.
pub(crate) struct Shared {
    state: RefCell<State>,
    pub tally: Rc<Tally>,
    /// What dropped handles leave to be done. A handle may be dropped while `state` is borrowed:
    /// a waker that goes away may take a task with it.
    partings: RefCell<Vec<Parting>>,
    driver: RefCell<Option<Waker>>,
    kicked: Cell<bool>,
    pub host: Box<dyn Host>,
}

/// The devices that handles need, without their types.
pub(crate) trait Host {
    fn now(&self) -> Instant;
    fn random(&self, buffer: &mut [u8]) -> Result<(), StackError>;
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()>>>;
}

impl<S: Sleep, E: Entropy> Host for (S, E) {
    fn now(&self) -> Instant {
        instant(&self.0)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), StackError> {
        self.1.fill(buffer).map_err(|_| StackError::NoResources)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self.0.sleep(duration))
    }
}

/// What a clock shows, in smoltcp's terms: whole microseconds, rounded down.
pub(crate) fn instant(clock: &impl Clock) -> Instant {
    Instant::from_micros((clock.now().as_nanos() / 1000) as i64)
}

impl Shared {
    pub fn new(state: State, tally: Rc<Tally>, host: Box<dyn Host>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(state),
            tally,
            partings: RefCell::default(),
            driver: RefCell::new(None),
            kicked: Cell::new(false),
            host,
        })
    }

    /// The state, up to date with what was dropped. Its clock stands where the driver last set
    /// it: see [`Shared::state_now`].
    pub fn state(&self) -> RefMut<'_, State> {
        if self.partings.borrow().is_empty() {
            return self.state.borrow_mut();
        }
        self.state_now()
    }

    /// As [`Shared::state`], and its clock is right.
    pub fn state_now(&self) -> RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.now = self.host.now();
        loop {
            let parting = self.partings.borrow_mut().pop();
            match parting {
                Some(parting) => state.part(parting),
                None => return state,
            }
        }
    }

    /// Notes that a handle was dropped.
    pub fn part(&self, parting: Parting) {
        self.partings.borrow_mut().push(parting);
        self.kick();
    }

    /// Lets the driver run soon.
    pub fn kick(&self) {
        if !self.kicked.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// The driver runs: the next kick wakes it again.
    pub fn driving(&self, waker: &Waker) {
        self.kicked.set(false);
        let mut driver = self.driver.borrow_mut();
        match &*driver {
            Some(known) if known.will_wake(waker) => (),
            _ => *driver = Some(waker.clone()),
        }
    }

    /// Where to be reached when `wanted` is asked for: it must be unspecified or the stack's own.
    /// The stack chooses a port where it has none.
    pub fn place(
        &self,
        state: &State,
        wanted: SocketAddr,
        taken: &dyn Fn(SocketAddr) -> bool,
    ) -> Result<SocketAddr, StackError> {
        let mut local = canonical(wanted);
        if state.gone {
            return Err(StackError::Gone);
        }
        if !local.ip().is_unspecified() && !state.is_own(local.ip()) {
            return Err(StackError::InvalidAddress);
        }
        if local.port() == 0 {
            let port = self.ephemeral(|port| taken(SocketAddr::new(local.ip(), port)))?;
            local.set_port(port);
        } else if taken(local) {
            return Err(StackError::AddressInUse);
        }
        Ok(local)
    }

    /// A port to let the stack choose from: random, of the dynamic range (RFC 6335 §6), and not
    /// `taken`.
    pub fn ephemeral(&self, mut taken: impl FnMut(u16) -> bool) -> Result<u16, StackError> {
        const FIRST: u16 = 49_152;
        const COUNT: u16 = 16_384;
        let mut bytes = [0; 2];
        self.host.random(&mut bytes)?;
        let start = u16::from_ne_bytes(bytes) % COUNT;
        (0..COUNT)
            .map(|step| FIRST + (start + step) % COUNT)
            .find(|&port| !taken(port))
            .ok_or(StackError::AddressInUse)
    }
}

/// Connections there is room for without asking for more memory. It is not touched before it is
/// used; but lists that grew in a crowd would stand in the way of giving memory back after it.
pub(crate) const ROOM: usize = 1024;

/// Everything a stack knows.
pub(crate) struct State {
    pub interface: Interface,
    pub configuration: Configuration,
    /// No socket at all: for frames that belong to none.
    pub nobody: SocketSet<'static>,
    pub connections: Slots<Connection>,
    pub tuples: Tuples,
    /// Those of `tuples` that have ended, and until when they count, soonest first.
    pub ended: VecDeque<(Instant, Tuple)>,
    pub listeners: Slots<Listening>,
    pub pool: Pool,
    pub bound: Slots<Bound>,
    pub dhcp: Option<Endpoint>,
    /// What has to be looked at for something to send.
    pub queue: Vec<Work>,
    /// What waits for a neighbour's hardware address: each once, however often it has tried, and
    /// no longer than it lives.
    pub starved: Starved,
    pub timers: Timers,
    /// Tasks that wait for an address.
    pub waiting_up: Vec<Waker>,
    /// Groups were joined or left, or addresses changed: smoltcp may have reports to send.
    pub reports: bool,
    pub now: Instant,
    pub gone: bool,
    pub tally: Rc<Tally>,
}

impl State {
    pub fn new(
        interface: Interface,
        configuration: Configuration,
        tuples: Tuples,
        tally: Rc<Tally>,
    ) -> Self {
        Self {
            interface,
            configuration,
            nobody: SocketSet::new(Vec::new()),
            connections: Slots::with_capacity(ROOM),
            tuples,
            ended: VecDeque::with_capacity(ROOM),
            listeners: Slots::new(),
            pool: Pool::new(),
            bound: Slots::new(),
            dhcp: None,
            queue: Vec::with_capacity(ROOM),
            starved: Starved::default(),
            timers: Timers::with_capacity(4 * ROOM),
            waiting_up: Vec::new(),
            reports: true,
            now: Instant::ZERO,
            gone: false,
            tally,
        }
    }

    /// The endpoint of a piece of work.
    pub fn endpoint(&mut self, work: Work) -> Option<&mut Endpoint> {
        self.timed(work).0
    }

    /// As [`State::endpoint`], and the timers beside it.
    #[inline(never)]
    fn timed(&mut self, work: Work) -> (Option<&mut Endpoint>, &mut Timers) {
        let endpoint = match work {
            Work::Tcp(id) => self.connections.get_mut(id).map(|c| &mut c.endpoint),
            Work::Udp(id) => self.bound.get_mut(id).map(|b| &mut b.endpoint),
            Work::Dhcp => self.dhcp.as_mut(),
        };
        (endpoint, &mut self.timers)
    }

    /// Has an endpoint looked at soon.
    pub fn enqueue(&mut self, work: Work) {
        if let Some(endpoint) = self.endpoint(work)
            && !core::mem::replace(&mut endpoint.queued, true)
        {
            self.queue.push(work);
        }
    }

    /// Has those looked at that waited for a neighbour's address: one may be known now.
    pub fn feed(&mut self) {
        for work in self.starved.take() {
            self.enqueue(work);
        }
    }

    /// Has those looked at whose time has come.
    pub fn expire(&mut self) {
        while let Some((at, work)) = self.next_timer() {
            if at > self.now {
                return;
            }
            if let Some(endpoint) = self.endpoint(work) {
                endpoint.due = NEVER;
            }
            self.pop_timer(work);
            self.enqueue(work);
        }
    }

    /// When the next endpoint is due.
    pub fn next_timer(&mut self) -> Option<(Instant, Work)> {
        loop {
            let (at, work) = self.timers.peek()?;
            if self
                .endpoint(work)
                .is_some_and(|endpoint| endpoint.due == at)
            {
                return Some((at, work));
            }
            self.pop_timer(work);
        }
    }

    fn pop_timer(&mut self, work: Work) {
        let (endpoint, timers) = self.timed(work);
        timers.pop(endpoint);
    }

    /// Sends what an endpoint has to send, and sets its timer.
    pub fn transmit<N: Net>(&mut self, work: Work, port: &mut Port<N>) {
        let endpoint = match work {
            Work::Tcp(id) => self.connections.get_mut(id).map(|c| &mut c.endpoint),
            Work::Udp(id) => self.bound.get_mut(id).map(|b| &mut b.endpoint),
            Work::Dhcp => self.dhcp.as_mut(),
        };
        let Some(endpoint) = endpoint else { return };
        if endpoint.transmit(&mut self.interface, port, self.now) {
            endpoint.queued = true;
            self.queue.push(work);
            return;
        }
        if endpoint.starved {
            self.starved.add(work);
        }
        self.timers.schedule(work, endpoint);
    }

    /// One of the stack's own addresses.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.interface.has_ip_addr(address)
    }

    /// Whether packets for `address` have somewhere to go.
    pub fn check_route(&self, address: IpAddr) -> Result<(), StackError> {
        if self.gone {
            return Err(StackError::Gone);
        }
        if self.is_own(address) {
            return Err(StackError::Unreachable);
        }
        let addresses = self.interface.ip_addrs();
        let has_source = addresses
            .iter()
            .any(|cidr| match (cidr.address(), address) {
                (smoltcp::wire::IpAddress::Ipv4(_), IpAddr::V4(_)) => true,
                (smoltcp::wire::IpAddress::Ipv6(own), IpAddr::V6(remote)) => {
                    remote.is_multicast()
                        || own.is_unicast_link_local() == remote.is_unicast_link_local()
                        || cidr.contains_addr(&address.into())
                }
                _ => false,
            });
        let routed = match address {
            IpAddr::V4(a) if a.is_multicast() || a.is_broadcast() => true,
            IpAddr::V4(_) => self.configuration.gateway().is_some(),
            IpAddr::V6(a) if a.is_multicast() => true,
            IpAddr::V6(a) => !a.is_unicast_link_local() && self.configuration.gateway6().is_some(),
        };
        let on_link = addresses
            .iter()
            .any(|cidr| cidr.contains_addr(&address.into()));
        if has_source && (routed || on_link) {
            Ok(())
        } else {
            Err(StackError::Unreachable)
        }
    }

    /// Ends everything: the device is gone.
    pub fn end(&mut self) {
        self.gone = true;
        for id in self.connections.ids() {
            self.fail(id, FlowError::Gone);
        }
        self.bound.values_mut().for_each(Bound::wake);
        self.listeners.values_mut().for_each(Listening::wake);
    }
}

/// Whether a socket bound to `bound` serves packets to `address`: `[::]` stands for every
/// address of both families, `0.0.0.0` for every IPv4 address.
pub(crate) fn covers(bound: IpAddr, address: IpAddr) -> bool {
    match bound {
        IpAddr::V6(a) if a.is_unspecified() => true,
        IpAddr::V4(a) if a.is_unspecified() => address.is_ipv4(),
        _ => bound == address,
    }
}

/// Whether two sockets would quarrel about packets.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// What smoltcp shall listen on for `address`.
pub(crate) fn listen_endpoint(local: SocketAddr) -> smoltcp::wire::IpListenEndpoint {
    let ip = local.ip();
    smoltcp::wire::IpListenEndpoint {
        addr: if ip.is_unspecified() {
            None
        } else {
            Some(ip.into())
        },
        port: local.port(),
    }
}

/// An IPv4 address in IPv6's clothes is an IPv4 address (RFC 4291 §2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
