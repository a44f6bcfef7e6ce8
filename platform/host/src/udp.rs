use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mirage_device::{StackError, Udp};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto, sockopt};

use crate::error;
use crate::socket::Socket;
use crate::stack::address;

/// A bound UDP port of the host's kernel.
pub struct UdpSocket {
    pub(crate) socket: Socket,
    pub(crate) local: SocketAddr,
}

impl Udp for UdpSocket {
    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), StackError> {
        let Socket { fd, source, .. } = &self.socket;
        loop {
            let received = std::future::poll_fn(|cx| {
                source
                    .input
                    .poll(cx, || match recvfrom(fd, &mut *buffer, RecvFlags::TRUNC) {
                        // An earlier datagram met nobody: that is no news of the next.
                        Err(Errno::CONNREFUSED) => Err(Errno::INTR),
                        result => result,
                    })
            });
            let (_, len, sender) = received.await.map_err(error::stack)?;
            if let Some(sender) = sender.and_then(address) {
                return Ok((len, sender));
            }
        }
    }

    async fn send(&self, payload: &[u8], remote: SocketAddr) -> Result<(), StackError> {
        let Socket { fd, source, .. } = &self.socket;
        let remote = match (self.local, remote) {
            // A socket of both families speaks of an IPv4 address in the clothes of an IPv6 one.
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            (SocketAddr::V4(_), SocketAddr::V6(_)) => return Err(StackError::Unreachable),
            _ => remote,
        };
        if remote.port() == 0 {
            return Err(StackError::InvalidAddress);
        }
        let sent = std::future::poll_fn(|cx| {
            source.output.poll(cx, || {
                match sendto(fd, payload, SendFlags::NOSIGNAL, &remote) {
                    Err(Errno::CONNREFUSED) => Err(Errno::INTR),
                    result => result,
                }
            })
        });
        sent.await.map(drop).map_err(error::stack)
    }

    fn join(&self, group: IpAddr) -> Result<(), StackError> {
        let fd = &self.socket.fd;
        let joined = match multicast(group)? {
            IpAddr::V4(group) => sockopt::set_ip_add_membership(fd, &group, &Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(group) => sockopt::set_ipv6_add_membership(fd, &group, 0),
        };
        match joined {
            // It is a member already.
            Ok(()) | Err(Errno::ADDRINUSE) => Ok(()),
            Err(error) => Err(error::stack(error)),
        }
    }

    fn leave(&self, group: IpAddr) -> Result<(), StackError> {
        let fd = &self.socket.fd;
        match multicast(group)? {
            IpAddr::V4(group) => {
                sockopt::set_ip_drop_membership(fd, &group, &Ipv4Addr::UNSPECIFIED)
            }
            IpAddr::V6(group) => sockopt::set_ipv6_drop_membership(fd, &group, 0),
        }
        .map_err(error::stack)
    }
}

fn multicast(group: IpAddr) -> Result<IpAddr, StackError> {
    if group.is_multicast() {
        Ok(group)
    } else {
        Err(StackError::InvalidAddress)
    }
}
