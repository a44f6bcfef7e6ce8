//! UDP: sockets as the stack keeps them and as applications hold them.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};

use mirage_device::{Net, StackError, Udp};
use smoltcp::iface::SocketSet;
use smoltcp::socket::udp::{self, SendError};
use smoltcp::storage::{PacketBuffer, PacketMetadata};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpCidr;

use crate::connection::Parting;
use crate::counters::Count;
use crate::endpoint::{Endpoint, NEVER, Work};
use crate::frame::Datagram;
use crate::port::Port;
use crate::slots::Id;
use crate::state::{Shared, State, canonical, covers, listen_endpoint, overlap};

/// How many datagrams a socket holds in each direction.
const DATAGRAMS: usize = 64;
/// Bytes of them it holds: one of the longest fits.
const BYTES: usize = 64 << 10;
/// How long datagrams wait for a neighbour that does not tell its hardware address.
const NEIGHBOUR: Duration = Duration::from_secs(2);

/// A bound port, as the stack keeps it.
pub(crate) struct Bound {
    pub local: SocketAddr,
    /// What was received, and from whom.
    received: PacketBuffer<'static, SocketAddr>,
    reader: Option<Waker>,
    /// smoltcp's socket. Only for sending.
    pub endpoint: Endpoint,
    /// Since when it waits for a neighbour.
    starved_since: Instant,
    /// Groups joined through this socket.
    groups: Vec<IpAddr>,
}

impl Bound {
    fn new(local: SocketAddr) -> Self {
        let nothing = udp::PacketBuffer::new(Vec::new(), Vec::new());
        let sending = vec![udp::PacketMetadata::EMPTY; DATAGRAMS];
        let socket = udp::Socket::new(nothing, udp::PacketBuffer::new(sending, vec![0; BYTES]));
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        let mut bound = Self {
            local,
            received: PacketBuffer::new(vec![PacketMetadata::EMPTY; DATAGRAMS], vec![0; BYTES]),
            reader: None,
            endpoint: Endpoint::new(set, handle),
            starved_since: NEVER,
            groups: Vec::new(),
        };
        bound.restart();
        bound
    }

    fn socket(&mut self) -> &mut udp::Socket<'static> {
        self.endpoint.set.get_mut(self.endpoint.handle)
    }

    /// Throws away what is to be sent.
    fn restart(&mut self) {
        let local = listen_endpoint(self.local);
        self.socket().close();
        // Cannot fail: the socket is closed and the port is not zero.
        let _ = self.socket().bind(local);
    }

    /// Wakes everybody who waits.
    pub fn wake(&mut self) {
        self.socket().close();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl State {
    /// Takes a datagram: into its socket's buffer. Whether it belongs to a socket at all.
    pub fn udp_datagram(&mut self, datagram: &Datagram<'_>) -> bool {
        let to = datagram.destination.ip();
        let unicast = self.is_own(to);
        let broadcast = self.is_broadcast(to);
        let mine = |bound: &Bound| {
            let any = bound.local.ip().is_unspecified() && covers(bound.local.ip(), to);
            bound.local.port() == datagram.destination.port()
                && ((unicast && covers(bound.local.ip(), to))
                    || (broadcast && any)
                    || bound.groups.contains(&to))
        };
        let found = self.bound.iter().find(|(_, bound)| mine(bound));
        let id = found.map(|(id, _)| id);
        let Some(bound) = id.and_then(|id| self.bound.get_mut(id)) else {
            return false;
        };
        match bound
            .received
            .enqueue(datagram.payload.len(), datagram.source)
        {
            Ok(space) => space.copy_from_slice(datagram.payload),
            Err(_) => self.tally.add(Count::DroppedUdpFull),
        }
        if let Some(reader) = bound.reader.take() {
            reader.wake();
        }
        true
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        address.is_broadcast()
            || self
                .interface
                .ip_addrs()
                .iter()
                .any(|cidr| matches!(cidr, IpCidr::Ipv4(cidr) if cidr.broadcast() == Some(address)))
    }

    /// Sends what a socket has to send.
    pub fn udp_transmit<N: Net>(&mut self, id: Id, port: &mut Port<N>) {
        self.transmit(Work::Udp(id), port);
        let Some(bound) = self.bound.get_mut(id) else {
            return;
        };
        if !bound.endpoint.starved {
            bound.starved_since = NEVER;
        } else if bound.starved_since == NEVER {
            bound.starved_since = self.now;
        } else if bound.starved_since + NEIGHBOUR <= self.now {
            // smoltcp sends in order: one silent neighbour would hold up all others for ever.
            self.tally.add(Count::DroppedNoNeighbour);
            bound.starved_since = NEVER;
            bound.restart();
        }
    }

    /// Forgets a socket.
    pub fn unbind(&mut self, id: Id) {
        if let Some(bound) = self.bound.remove(id) {
            self.starved.remove(Work::Udp(id));
            for group in bound.groups {
                self.leave(group);
            }
        }
    }

    /// Leaves a group unless another socket is in it.
    fn leave(&mut self, group: IpAddr) {
        if !self
            .bound
            .iter()
            .any(|(_, bound)| bound.groups.contains(&group))
        {
            // Fails only for what is no group, and none such was joined.
            let _ = self.interface.leave_multicast_group(group);
            self.reports = true;
        }
    }
}

/// A bound UDP port. The contract is [`Udp`]'s.
///
/// Each direction holds up to 64 datagrams of 64 KiB in all. A datagram longer than a packet of
/// the device's MTU is refused with [`StackError::TooLong`]: nothing is sent in fragments.
pub struct UdpSocket {
    shared: Rc<Shared>,
    id: Id,
    local: SocketAddr,
    mtu: usize,
}

impl UdpSocket {
    pub(crate) fn new(
        shared: &Rc<Shared>,
        local: SocketAddr,
        mtu: usize,
    ) -> Result<Self, StackError> {
        let mut state = shared.state();
        let local = shared.place(&state, local, &|local| {
            let mut all = state.bound.iter();
            all.any(|(_, bound)| overlap(bound.local, local))
        })?;
        let id = state.bound.insert(Bound::new(local));
        Ok(Self {
            shared: shared.clone(),
            id,
            local,
            mtu,
        })
    }

    fn check_group(group: IpAddr) -> Result<(), StackError> {
        if group.is_multicast() {
            Ok(())
        } else {
            Err(StackError::InvalidAddress)
        }
    }
}

impl Udp for UdpSocket {
    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), StackError> {
        poll_fn(|cx| {
            let mut state = self.shared.state();
            let gone = state.gone;
            let Some(bound) = state.bound.get_mut(self.id) else {
                return Poll::Ready(Err(StackError::Gone));
            };
            if let Ok((source, payload)) = bound.received.dequeue() {
                let len = payload.len();
                buffer
                    .iter_mut()
                    .zip(&*payload)
                    .for_each(|(to, byte)| *to = *byte);
                return Poll::Ready(Ok((len, source)));
            }
            if gone {
                return Poll::Ready(Err(StackError::Gone));
            }
            match &mut bound.reader {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }

    async fn send(&self, payload: &[u8], remote: SocketAddr) -> Result<(), StackError> {
        let remote = canonical(remote);
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(StackError::InvalidAddress);
        }
        let headers = if remote.is_ipv4() { 20 + 8 } else { 40 + 8 };
        if payload.len() + headers > self.mtu || payload.len() > BYTES {
            return Err(StackError::TooLong);
        }
        let to = (smoltcp::wire::IpAddress::from(remote.ip()), remote.port());
        poll_fn(|cx| {
            let mut state = self.shared.state();
            state.check_route(remote.ip())?;
            let Some(bound) = state.bound.get_mut(self.id) else {
                return Poll::Ready(Err(StackError::Gone));
            };
            let family = bound.local.ip();
            if family != IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)
                && family.is_ipv4() != remote.is_ipv4()
            {
                return Poll::Ready(Err(StackError::Unreachable));
            }
            match bound.socket().send_slice(payload, to) {
                Ok(()) => {
                    state.enqueue(Work::Udp(self.id));
                    self.shared.kick();
                    Poll::Ready(Ok(()))
                }
                Err(SendError::BufferFull) => {
                    bound.socket().register_send_waker(cx.waker());
                    Poll::Pending
                }
                Err(SendError::Unaddressable) => Poll::Ready(Err(StackError::Unreachable)),
            }
        })
        .await
    }

    fn join(&self, group: IpAddr) -> Result<(), StackError> {
        let group = group.to_canonical();
        Self::check_group(group)?;
        let mut state = self.shared.state();
        if state
            .bound
            .get(self.id)
            .is_some_and(|bound| bound.groups.contains(&group))
        {
            return Ok(());
        }
        state
            .interface
            .join_multicast_group(group)
            .map_err(|_| StackError::NoResources)?;
        if let Some(bound) = state.bound.get_mut(self.id) {
            bound.groups.push(group);
        }
        state.reports = true;
        drop(state);
        self.shared.kick();
        Ok(())
    }

    fn leave(&self, group: IpAddr) -> Result<(), StackError> {
        let group = group.to_canonical();
        Self::check_group(group)?;
        let mut state = self.shared.state();
        if let Some(bound) = state.bound.get_mut(self.id) {
            bound.groups.retain(|joined| *joined != group);
        }
        state.leave(group);
        drop(state);
        self.shared.kick();
        Ok(())
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.shared.part(Parting::Udp(self.id));
    }
}
