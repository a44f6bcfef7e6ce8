use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::Poll;

use mirage_device::{
    AddressFamily, Cidr, Counters, Entropy, FlowError, Net, Sleep, Spawn, Stack, StackError, Task,
};
use smoltcp::iface::{Config, Interface};
use smoltcp::socket::tcp::State as TcpState;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use crate::configuration::Configuration;
use crate::connection::{Owner, Parting};
use crate::counters::{Count, NAMES, Tally};
use crate::dns;
use crate::driver::drive;
use crate::flow::TcpFlow;
use crate::frame::Tuple;
use crate::keys::{Error, Keys, Plan};
use crate::listener::TcpListener;
use crate::port::Port;
use crate::slots::Id;
use crate::state::{ROOM, Shared, State, canonical, instant};
use crate::tuples::{Keyed, Tuples};
use crate::udp::UdpSocket;

/// A TCP/IP stack on a network device. A clone is another handle on the same stack.
///
/// The contract is [`Stack`]'s. Beyond it: addresses are used as soon as they are known, without
/// waiting to see whether somebody else has them; a name is asked for in full, there is no search
/// list; the stack's own addresses are not reachable from itself.
#[derive(Clone)]
pub struct Smoltcp {
    shared: Rc<Shared>,
    mtu: usize,
}

impl Smoltcp {
    /// Starts a stack on `net`, which counts under `name` what it carries and drops.
    ///
    /// Waits only for its own first turn, in which static addresses are announced or DHCP and
    /// the routers are asked: when this returns the first frame has left. Use [`Stack::up`] to
    /// wait for an address. The stack runs as a task that `spawn` starts, and lasts as long as
    /// the device.
    ///
    /// # Errors
    ///
    /// [`Error`]: a key, the device or the entropy source is not fit.
    pub async fn new(
        net: impl Net,
        sleep: impl Sleep,
        spawn: impl Spawn,
        entropy: impl Entropy,
        counters: impl Counters,
        name: &'static str,
        keys: Keys,
    ) -> Result<Self, Error> {
        let plan = Plan::new(&keys)?;
        let info = net.info();
        if info.mac[0] & 1 != 0 || info.mac == [0; 6] {
            return Err(Error::HardwareAddress(info.mac));
        }
        if info.mtu < 576 || info.mtu > 65_535 {
            return Err(Error::Mtu(info.mtu));
        }
        // smoltcp draws initial sequence numbers from a small generator of its own, not from
        // RFC 9293's keyed hash of the connection: unpredictable only as long as an observer of
        // some cannot compute the next. Ports and DNS questions do not depend on it.
        let mut seed = [0; 8];
        entropy.fill(&mut seed)?;
        let mut key = [0; 16];
        entropy.fill(&mut key)?;

        let tally = Rc::new(Tally(counters.tally(name, NAMES)));
        // Not to be kept while this waits.
        drop(counters);
        let mut port = Port::new(net, tally.clone());
        let now = instant(&sleep);
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(info.mac)));
        config.random_seed = u64::from_ne_bytes(seed);
        let interface = Interface::new(config, &mut port, now);
        let configuration = Configuration::new(plan, info.mac);
        let tuples = Tuples::with_capacity_and_hasher(ROOM, Keyed(key));
        let mut state = State::new(interface, configuration, tuples, tally.clone());
        state.now = now;
        state.start_configuration();
        let host = Box::new((sleep.clone(), entropy));
        let shared = Shared::new(state, tally, host);
        spawn.spawn(drive(port, sleep, shared.clone())).detach();
        // The driver's first turn comes before anything else the caller does.
        let mut turned = false;
        poll_fn(|cx| {
            if core::mem::replace(&mut turned, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        Ok(Self {
            shared,
            mtu: info.mtu,
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// An attempt to connect: abandoned when dropped.
struct Attempt<'a> {
    shared: &'a Shared,
    id: Id,
    done: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.done {
            for parting in [
                Parting::Abort(self.id),
                Parting::Writer(self.id),
                Parting::Reader(self.id),
            ] {
                self.shared.part(parting);
            }
        }
    }
}

impl Stack for Smoltcp {
    type Flow = TcpFlow;
    type Listener = TcpListener;
    type Udp = UdpSocket;

    async fn up(&self) {
        poll_fn(|cx| {
            let mut state = self.shared.state();
            if state.is_up() {
                return Poll::Ready(());
            }
            if !state
                .waiting_up
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.waiting_up.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn addresses(&self) -> Vec<Cidr> {
        let state = self.shared.state();
        let addresses = state.interface.ip_addrs().iter();
        addresses
            .map(|cidr| Cidr {
                address: cidr.address().into(),
                prefix: cidr.prefix_len(),
            })
            .collect()
    }

    fn listen(&self, local: SocketAddr, backlog: usize) -> Result<TcpListener, StackError> {
        TcpListener::new(&self.shared, local, backlog)
    }

    async fn connect(&self, remote: SocketAddr) -> Result<TcpFlow, StackError> {
        let remote = canonical(remote);
        if remote.port() == 0
            || remote.ip().is_unspecified()
            || remote.ip().is_multicast()
            || matches!(remote.ip(), IpAddr::V4(a) if a.is_broadcast())
        {
            return Err(StackError::InvalidAddress);
        }
        let id = {
            let mut state = self.shared.state_now();
            state.check_route(remote.ip())?;
            let local = state.interface.get_source_address(&remote.ip().into());
            let mut tuple = Tuple {
                remote_port: remote.port(),
                local_port: 0,
                remote: remote.ip(),
                local: local.ok_or(StackError::Unreachable)?.into(),
            };
            tuple.local_port = self.shared.ephemeral(|port| {
                let tuple = Tuple {
                    local_port: port,
                    ..tuple
                };
                state.tuples.contains_key(&tuple)
                    || state.listeners.iter().any(|(_, l)| l.local.port() == port)
            })?;
            state.open(tuple)?
        };
        self.shared.kick();
        let mut attempt = Attempt {
            shared: &self.shared,
            id,
            done: false,
        };
        poll_fn(|cx| {
            let mut state = self.shared.state();
            let Some(connection) = state.connections.get_mut(id) else {
                return Poll::Ready(Err(StackError::Gone));
            };
            let unreachable = connection.unreachable;
            let fate = connection.fate;
            let socket = connection.socket();
            match socket.state() {
                TcpState::SynSent | TcpState::SynReceived => {
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                }
                TcpState::Closed => Poll::Ready(Err(match fate {
                    Some(FlowError::Reset) => StackError::Refused,
                    Some(FlowError::TimedOut) if unreachable => StackError::Unreachable,
                    Some(FlowError::TimedOut) => StackError::TimedOut,
                    _ => StackError::Gone,
                })),
                _ => {
                    connection.owner = Owner::Flow;
                    Poll::Ready(Ok(()))
                }
            }
        })
        .await?;
        attempt.done = true;
        self.shared.tally.add(Count::Opened);
        Ok(TcpFlow::new(&self.shared, id))
    }

    fn bind_udp(&self, local: SocketAddr) -> Result<UdpSocket, StackError> {
        UdpSocket::new(&self.shared, local, self.mtu)
    }

    async fn resolve(&self, name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, StackError> {
        dns::resolve(self, name, family).await
    }
}
