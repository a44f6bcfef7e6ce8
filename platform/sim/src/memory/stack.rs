use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};

use mirage_device::{AddressFamily, Cidr, Listener, Stack, StackError, Udp};

use super::flow::{MemoryFlow, pair_between};

/// Bytes that a connection holds in each direction.
const CAPACITY: usize = 64 * 1024;

/// Datagrams that a UDP port holds before it drops.
const DATAGRAMS: usize = 64;

/// A network in memory: the hosts on it reach each other, lose nothing and take no time.
#[derive(Clone, Default)]
pub struct Network {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    ports: BTreeMap<SocketAddr, Rc<RefCell<Backlog>>>,
    udp: BTreeMap<SocketAddr, Rc<RefCell<Inbox>>>,
    names: BTreeMap<String, Vec<IpAddr>>,
    last_port: u16,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<MemoryFlow>,
    most: usize,
    acceptor: Option<Waker>,
    /// Who tries again when there is room.
    connecting: Vec<Waker>,
}

#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<(Vec<u8>, SocketAddr)>,
    reader: Option<Waker>,
    groups: Vec<IpAddr>,
}

impl Inbox {
    fn deliver(&mut self, payload: &[u8], sender: SocketAddr) {
        if self.datagrams.len() < DATAGRAMS {
            self.datagrams.push_back((payload.to_vec(), sender));
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Network {
    /// A network with no host and no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stack of the host with this address.
    pub fn stack(&self, address: IpAddr) -> MemoryStack {
        MemoryStack {
            network: self.clone(),
            address,
        }
    }

    /// Makes `name` resolve to `addresses`.
    pub fn name(&self, name: &str, addresses: &[IpAddr]) {
        self.inner
            .borrow_mut()
            .names
            .insert(name.to_owned(), addresses.to_vec());
    }
}

impl Inner {
    fn port(&mut self) -> u16 {
        self.last_port = self.last_port.checked_add(1).unwrap_or(0).max(49152);
        self.last_port
    }
}

/// The stack of one host on a [`Network`].
#[derive(Clone)]
pub struct MemoryStack {
    network: Network,
    address: IpAddr,
}

impl MemoryStack {
    fn place(&self, wanted: SocketAddr) -> Result<SocketAddr, StackError> {
        if !wanted.ip().is_unspecified() && wanted.ip() != self.address {
            return Err(StackError::InvalidAddress);
        }
        let port = match wanted.port() {
            0 => self.network.inner.borrow_mut().port(),
            port => port,
        };
        Ok(SocketAddr::new(self.address, port))
    }
}

impl Stack for MemoryStack {
    type Flow = MemoryFlow;
    type Listener = MemoryListener;
    type Udp = MemoryUdp;

    async fn up(&self) {}

    fn addresses(&self) -> Vec<Cidr> {
        vec![Cidr {
            address: self.address,
            prefix: 24,
        }]
    }

    fn listen(&self, local: SocketAddr, backlog: usize) -> Result<MemoryListener, StackError> {
        let local = self.place(local)?;
        let mut inner = self.network.inner.borrow_mut();
        if inner.ports.contains_key(&local) {
            return Err(StackError::AddressInUse);
        }
        let state = Rc::new(RefCell::new(Backlog {
            most: backlog,
            ..Backlog::default()
        }));
        inner.ports.insert(local, state.clone());
        Ok(MemoryListener {
            network: self.network.clone(),
            local,
            state,
        })
    }

    async fn connect(&self, remote: SocketAddr) -> Result<MemoryFlow, StackError> {
        poll_fn(|context| {
            let mut inner = self.network.inner.borrow_mut();
            let listening = inner.ports.get(&remote).ok_or(StackError::Refused)?.clone();
            let mut backlog = listening.borrow_mut();
            if backlog.waiting.len() >= backlog.most {
                backlog.connecting.push(context.waker().clone());
                return Poll::Pending;
            }
            let local = SocketAddr::new(self.address, inner.port());
            let (here, there) = pair_between(CAPACITY, Some(local), Some(remote));
            backlog.waiting.push_back(there);
            backlog.acceptor.take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(here))
        })
        .await
    }

    fn bind_udp(&self, local: SocketAddr) -> Result<MemoryUdp, StackError> {
        let local = self.place(local)?;
        let mut inner = self.network.inner.borrow_mut();
        if inner.udp.contains_key(&local) {
            return Err(StackError::AddressInUse);
        }
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        inner.udp.insert(local, inbox.clone());
        Ok(MemoryUdp {
            network: self.network.clone(),
            local,
            inbox,
        })
    }

    async fn resolve(&self, name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, StackError> {
        let known = match name.parse() {
            Ok(address) => vec![address],
            Err(_) => self
                .network
                .inner
                .borrow()
                .names
                .get(name)
                .cloned()
                .unwrap_or_default(),
        };
        let wanted = |address: &IpAddr| match family {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        };
        let found: Vec<IpAddr> = known.into_iter().filter(wanted).collect();
        if found.is_empty() {
            Err(StackError::NameNotFound)
        } else {
            Ok(found)
        }
    }
}

/// A listening port of a [`MemoryStack`].
pub struct MemoryListener {
    network: Network,
    local: SocketAddr,
    state: Rc<RefCell<Backlog>>,
}

impl Listener for MemoryListener {
    type Flow = MemoryFlow;

    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> Result<MemoryFlow, StackError> {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            match state.waiting.pop_front() {
                Some(flow) => {
                    state.connecting.drain(..).for_each(Waker::wake);
                    Poll::Ready(Ok(flow))
                }
                None => {
                    state.acceptor = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        use mirage_device::Flow;
        self.network.inner.borrow_mut().ports.remove(&self.local);
        let mut state = self.state.borrow_mut();
        state.waiting.drain(..).for_each(Flow::abort);
        state.connecting.drain(..).for_each(Waker::wake);
    }
}

/// A bound UDP port of a [`MemoryStack`].
pub struct MemoryUdp {
    network: Network,
    local: SocketAddr,
    inbox: Rc<RefCell<Inbox>>,
}

impl Udp for MemoryUdp {
    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), StackError> {
        poll_fn(|context| {
            let mut inbox = self.inbox.borrow_mut();
            let Some((payload, sender)) = inbox.datagrams.pop_front() else {
                inbox.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            for (to, from) in buffer.iter_mut().zip(&payload) {
                *to = *from;
            }
            Poll::Ready(Ok((payload.len(), sender)))
        })
        .await
    }

    async fn send(&self, payload: &[u8], remote: SocketAddr) -> Result<(), StackError> {
        if payload.len() > 65_507 {
            return Err(StackError::TooLong);
        }
        let inner = self.network.inner.borrow();
        if remote.ip().is_multicast() {
            for (local, inbox) in &inner.udp {
                let mut inbox = inbox.borrow_mut();
                if local.port() == remote.port() && inbox.groups.contains(&remote.ip()) {
                    inbox.deliver(payload, self.local);
                }
            }
        } else if let Some(inbox) = inner.udp.get(&remote) {
            inbox.borrow_mut().deliver(payload, self.local);
        }
        Ok(())
    }

    fn join(&self, group: IpAddr) -> Result<(), StackError> {
        let groups = &mut self.inbox.borrow_mut().groups;
        if !group.is_multicast() {
            return Err(StackError::InvalidAddress);
        }
        if !groups.contains(&group) {
            groups.push(group);
        }
        Ok(())
    }

    fn leave(&self, group: IpAddr) -> Result<(), StackError> {
        if !group.is_multicast() {
            return Err(StackError::InvalidAddress);
        }
        self.inbox
            .borrow_mut()
            .groups
            .retain(|joined| *joined != group);
        Ok(())
    }
}

impl Drop for MemoryUdp {
    fn drop(&mut self) {
        self.network.inner.borrow_mut().udp.remove(&self.local);
    }
}
