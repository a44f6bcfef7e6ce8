//! Wrong stacks, listeners and UDP ports.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};

use mirage_conformance::stack::Network;
use mirage_conformance::{listener, stack, udp};
use mirage_device::{AddressFamily, Cidr, Flow, Listener, Stack, StackError, Udp};
use mirage_sim::memory::{MemoryFlow, MemoryListener, MemoryStack, MemoryUdp};

use crate::rigs::{caught, run, turn};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// An accept that is dropped has taken a connection.
    AcceptLoses,
    /// The newest connection is accepted first.
    NewestFirst,
    /// A datagram that is too long for the buffer has the buffer's length.
    TruncatesSilently,
    /// A receive that is dropped has taken a datagram.
    ReceiveLoses,
    /// Two datagrams come as one.
    Joins,
    /// Leaving a group changes nothing.
    StaysIn,
    /// Refuses what the backlog has no room for.
    RefusesBeyond,
    /// Takes as many connections as come.
    IgnoresBacklog,
    /// Says that a name has no address by saying nothing.
    ResolvesToNothing,
    /// Lets a second listener have the port.
    SharesPorts,
}

#[derive(Clone)]
struct Wrong {
    stack: MemoryStack,
    fault: Fault,
}

struct WrongListener {
    listener: Option<MemoryListener>,
    fault: Fault,
    kept: Vec<MemoryFlow>,
}

struct WrongUdp {
    udp: MemoryUdp,
    fault: Fault,
    kept: RefCell<Vec<u8>>,
    sent: Cell<u32>,
}

impl Stack for Wrong {
    type Flow = MemoryFlow;
    type Listener = WrongListener;
    type Udp = WrongUdp;

    async fn up(&self) {
        self.stack.up().await;
    }

    fn addresses(&self) -> Vec<Cidr> {
        self.stack.addresses()
    }

    fn listen(&self, local: SocketAddr, backlog: usize) -> Result<WrongListener, StackError> {
        let backlog = match self.fault {
            Fault::RefusesBeyond | Fault::IgnoresBacklog => 64,
            _ => backlog,
        };
        let listener = match self.stack.listen(local, backlog) {
            Err(StackError::AddressInUse) if self.fault == Fault::SharesPorts => {
                self.stack.listen(SocketAddr::new(local.ip(), 0), backlog)
            }
            other => other,
        };
        Ok(WrongListener {
            listener: Some(listener?),
            fault: self.fault,
            kept: Vec::new(),
        })
    }

    async fn connect(&self, remote: SocketAddr) -> Result<MemoryFlow, StackError> {
        self.stack.connect(remote).await
    }

    fn bind_udp(&self, local: SocketAddr) -> Result<WrongUdp, StackError> {
        let udp = self.stack.bind_udp(local)?;
        Ok(WrongUdp {
            udp,
            fault: self.fault,
            kept: RefCell::default(),
            sent: Cell::default(),
        })
    }

    async fn resolve(&self, name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, StackError> {
        match self.stack.resolve(name, family).await {
            Err(_) if self.fault == Fault::ResolvesToNothing => Ok(Vec::new()),
            other => other,
        }
    }
}

impl Listener for WrongListener {
    type Flow = MemoryFlow;

    fn local(&self) -> SocketAddr {
        self.listener.as_ref().unwrap().local()
    }

    async fn accept(&mut self) -> Result<MemoryFlow, StackError> {
        let listener = self.listener.as_mut().unwrap();
        match self.fault {
            Fault::AcceptLoses => {
                let flow = listener.accept().await;
                turn().await;
                flow
            }
            Fault::NewestFirst => {
                if self.kept.is_empty() {
                    self.kept.push(listener.accept().await?);
                }
                let mut next = std::pin::pin!(listener.accept());
                let more =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx))).await;
                if let std::task::Poll::Ready(flow) = more {
                    self.kept.push(flow?);
                }
                self.kept.pop().ok_or(StackError::Gone)
            }
            Fault::RefusesBeyond => {
                // Two have room; who came later is thrown out.
                let flow = listener.accept().await?;
                let mut waiting = Vec::new();
                loop {
                    let mut next = std::pin::pin!(listener.accept());
                    match std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx)))
                        .await
                    {
                        std::task::Poll::Ready(flow) => waiting.push(flow?),
                        std::task::Poll::Pending => break,
                    }
                }
                waiting.into_iter().for_each(Flow::abort);
                Ok(flow)
            }
            _ => listener.accept().await,
        }
    }
}

impl Udp for WrongUdp {
    fn local(&self) -> SocketAddr {
        self.udp.local()
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), StackError> {
        let received = self.udp.receive(buffer).await;
        match self.fault {
            Fault::TruncatesSilently => received.map(|(len, from)| (len.min(buffer.len()), from)),
            Fault::ReceiveLoses => {
                turn().await;
                received
            }
            _ => received,
        }
    }

    async fn send(&self, payload: &[u8], remote: SocketAddr) -> Result<(), StackError> {
        if self.fault == Fault::Joins && payload.len() < 1_000 {
            let mut joined = self.kept.take();
            joined.extend_from_slice(payload);
            self.sent.set(self.sent.get() + 1);
            if self.sent.get() % 2 == 1 {
                self.kept.replace(joined);
                return Ok(());
            }
            return self.udp.send(&joined, remote).await;
        }
        self.udp.send(payload, remote).await
    }

    fn join(&self, group: IpAddr) -> Result<(), StackError> {
        self.udp.join(group)
    }

    fn leave(&self, group: IpAddr) -> Result<(), StackError> {
        match self.fault {
            Fault::StaysIn if group.is_multicast() => Ok(()),
            _ => self.udp.leave(group),
        }
    }
}

#[test]
fn a_stack_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::AcceptLoses, listener::ACCEPT_DROPPED),
        (Fault::NewestFirst, listener::ACCEPT),
        (Fault::TruncatesSilently, udp::TRUNCATES),
        (Fault::ReceiveLoses, udp::RECEIVE_DROPPED),
        (Fault::Joins, udp::WHOLE),
        (Fault::StaysIn, udp::LEAVES),
        (Fault::RefusesBeyond, stack::BACKLOG),
        (Fault::IgnoresBacklog, stack::BACKLOG),
        (Fault::ResolvesToNothing, stack::FAMILY),
        (Fault::SharesPorts, stack::IN_USE),
    ] {
        let report = run(async |s| {
            let network = mirage_sim::memory::Network::new();
            let addresses = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
            let [near, far] = addresses.map(|address| network.stack(address));
            let near = Wrong { stack: near, fault };
            let known = Network {
                name: None,
                multicast: true,
            };
            stack::check(&near, &far, &s, known).await
        });
        caught(&report, sentence);
    }
}

/// Says once that the network is gone, and waits for it for ever afterwards.
struct HopesOn(bool);

impl Listener for HopesOn {
    type Flow = MemoryFlow;

    fn local(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 80))
    }

    async fn accept(&mut self) -> Result<MemoryFlow, StackError> {
        if !std::mem::replace(&mut self.0, true) {
            return Err(StackError::Gone);
        }
        std::future::pending().await
    }
}

#[test]
fn a_listener_that_hopes_on_when_its_network_is_gone() {
    let report = run(async |s| listener::after_unplug(&mut HopesOn(false), &s).await);
    caught(&report, listener::ACCEPT_FINAL);
}
