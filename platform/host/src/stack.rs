use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use mirage_device::{AddressFamily, Cidr, StackError, Tally};
use mirage_runtime::Runtime;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily as Family, SocketAddrAny, SocketType, bind, connect, getpeername, getsockname,
    listen, sockopt,
};

use crate::flow::TcpFlow;
use crate::host::Host;
use crate::listener::TcpListener;
use crate::publish::Protocol;
use crate::socket::Socket;
use crate::udp::UdpSocket;
use crate::{error, resolve};

/// The host's own TCP/IP stack.
///
/// A port that the host publishes is opened where it says; any other on 127.0.0.1, or on `::1`
/// when that is asked for. A UDP socket with a port of the stack's choice is a client's: it can
/// reach everybody. Every address is there from the start: 127.0.0.1, and those that ports are
/// published at. `::1` is none of them: it is opened for who asks for it by name.
#[derive(Clone)]
pub struct Stack {
    runtime: Runtime<Host>,
    tally: Rc<Tally>,
}

pub(crate) const ACCEPTED: usize = 0;
const OPENED: usize = 1;
pub(crate) const BYTES_RECEIVED: usize = 2;
pub(crate) const BYTES_SENT: usize = 3;
/// What a stack counts of its connections; the host does not tell more.
const NAMES: [&str; 4] = [
    "connections_accepted_total",
    "connections_opened_total",
    "bytes_received_total",
    "bytes_sent_total",
];

impl Stack {
    /// The stack of the host that `runtime` runs on. Returns at once.
    pub fn new(runtime: Runtime<Host>) -> Self {
        let tally = mirage_runtime::counters(runtime.clone()).tally("stack", &NAMES);
        Self {
            runtime,
            tally: Rc::new(tally),
        }
    }

    /// Where a port is opened that the unikernel asks for.
    fn place(&self, local: SocketAddr, protocol: Protocol) -> Result<SocketAddr, StackError> {
        let host = self.runtime.platform();
        let published = host
            .publish
            .iter()
            .find(|published| published.protocol == protocol && published.port == local.port());
        match published {
            Some(published) => Ok(published.host),
            None if local.ip().is_unspecified() => {
                Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), local.port()))
            }
            None if local.ip().is_loopback() => Ok(local),
            None => Err(StackError::InvalidAddress),
        }
    }

    fn bound(
        &self,
        local: SocketAddr,
        protocol: Protocol,
        prepare: impl FnOnce(&Socket) -> Result<(), Errno>,
    ) -> Result<(Socket, SocketAddr), StackError> {
        let kind = match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let socket = Socket::new(&self.runtime, family(local), kind).map_err(error::stack)?;
        let opened = prepare(&socket)
            .and_then(|()| bind(&socket.fd, &local))
            .and_then(|()| getsockname(&socket.fd));
        let name = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let local = opened.map_err(|failure| {
            // The interface has no word for it: say it here.
            if matches!(failure, Errno::ACCESS | Errno::PERM) {
                log::error!(
                    "no permission for {name} port {port}; publish it under another, for example \
                     MIRAGE_PUBLISH=127.0.0.1:8080={port}/{name}",
                    port = local.port()
                );
            }
            error::stack(failure)
        })?;
        Ok((socket, address(local).ok_or(StackError::InvalidAddress)?))
    }

    /// A socket that reaches everybody, over both families where the host has both.
    fn client(&self) -> Result<(Socket, SocketAddr), StackError> {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        self.bound(both, Protocol::Udp, |socket| {
            sockopt::set_ipv6_v6only(&socket.fd, false)
        })
        .or_else(|_| {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
            self.bound(v4, Protocol::Udp, |_| Ok(()))
        })
    }
}

impl mirage_device::Stack for Stack {
    type Flow = TcpFlow;
    type Listener = TcpListener;
    type Udp = UdpSocket;

    async fn up(&self) {}

    fn addresses(&self) -> Vec<Cidr> {
        let mut addresses = vec![Cidr {
            address: Ipv4Addr::LOCALHOST.into(),
            prefix: 8,
        }];
        for published in &self.runtime.platform().publish {
            let address = published.host.ip();
            if !address.is_unspecified() && !address.is_loopback() {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                addresses.push(Cidr { address, prefix });
            }
        }
        addresses
    }

    fn listen(&self, local: SocketAddr, backlog: usize) -> Result<TcpListener, StackError> {
        let place = self.place(local, Protocol::Tcp)?;
        // Connections of an earlier run that have not died away yet are no obstacle.
        let (socket, local) = self.bound(place, Protocol::Tcp, |socket| {
            sockopt::set_socket_reuseaddr(&socket.fd, true)
        })?;
        let backlog = i32::try_from(backlog.max(1)).unwrap_or(i32::MAX);
        listen(&socket.fd, backlog).map_err(error::stack)?;
        Ok(TcpListener {
            socket,
            local,
            tally: self.tally.clone(),
        })
    }

    async fn connect(&self, remote: SocketAddr) -> Result<TcpFlow, StackError> {
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(StackError::InvalidAddress);
        }
        let socket =
            Socket::new(&self.runtime, family(remote), SocketType::STREAM).map_err(error::stack)?;
        match connect(&socket.fd, &remote) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(failure) => return Err(error::stack(failure)),
        }
        let connected = std::future::poll_fn(|cx| {
            socket
                .source
                .output
                .poll(cx, || match sockopt::socket_error(&socket.fd) {
                    Ok(Ok(())) => match getpeername(&socket.fd) {
                        Ok(Some(_)) => Ok(()),
                        Ok(None) | Err(Errno::NOTCONN) => Err(Errno::AGAIN),
                        Err(failure) => Err(failure),
                    },
                    Ok(Err(failure)) | Err(failure) => Err(failure),
                })
        });
        connected.await.map_err(error::stack)?;
        self.tally.add(OPENED, 1);
        Ok(TcpFlow::new(socket, self.tally.clone()))
    }

    fn bind_udp(&self, local: SocketAddr) -> Result<UdpSocket, StackError> {
        let (socket, local) = if local.port() == 0 && local.ip().is_unspecified() {
            self.client()?
        } else {
            self.bound(self.place(local, Protocol::Udp)?, Protocol::Udp, |_| Ok(()))?
        };
        Ok(UdpSocket { socket, local })
    }

    async fn resolve(&self, name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, StackError> {
        resolve::resolve(&self.runtime.platform().poller, name, family).await
    }
}

fn family(address: SocketAddr) -> Family {
    match address {
        SocketAddr::V4(_) => Family::INET,
        SocketAddr::V6(_) => Family::INET6,
    }
}

/// An address as the interfaces have it: an IPv4 one is never in the clothes of an IPv6 one.
pub(crate) fn address(address: SocketAddrAny) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
