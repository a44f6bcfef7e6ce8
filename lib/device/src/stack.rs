use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::Flow;

/// A TCP/IP stack: TCP and UDP over IPv4 and IPv6, and names.
///
/// A clone is another handle on the same stack. An unspecified IPv6 address (`[::]`) to listen
/// on or bind stands for every address of both families, `0.0.0.0` for every IPv4 address.
pub trait Stack: Clone + 'static {
    /// A TCP connection.
    type Flow: Flow;
    /// A listening TCP port.
    type Listener: Listener<Flow = Self::Flow>;
    /// A bound UDP port.
    type Udp: Udp;

    /// Waits until the stack has an address that is not link-local. Completes at once when it
    /// has one already. Cancel-safe: a dropped call changes nothing.
    async fn up(&self);

    /// The addresses the stack has now, link-local ones included. Returns at once.
    fn addresses(&self) -> Vec<Cidr>;

    /// Listens on a TCP port; port 0 lets the stack choose.
    ///
    /// Returns at once, listening. `backlog` bounds the connections that are open or half-open
    /// and not accepted yet; what arrives beyond it is dropped so that the peer tries again,
    /// never reset. [`StackError::AddressInUse`] when somebody listens there already,
    /// [`StackError::InvalidAddress`] for an address that is not the stack's. Dropping the
    /// listener closes the port and resets what was not accepted.
    fn listen(&self, local: SocketAddr, backlog: usize) -> Result<Self::Listener, StackError>;

    /// Opens a TCP connection. Waits for the peer's answer. [`StackError::Refused`] when nobody
    /// listens there. Dropping the future abandons the attempt, and harms no other connection.
    async fn connect(&self, remote: SocketAddr) -> Result<Self::Flow, StackError>;

    /// Binds a UDP port; port 0 lets the stack choose. Returns at once, bound.
    /// [`StackError::AddressInUse`] when the port is taken. Dropping the socket frees it.
    fn bind_udp(&self, local: SocketAddr) -> Result<Self::Udp, StackError>;

    /// Looks a host name up in the DNS; an address in text form is answered without asking.
    /// Waits for a name server's answer, and not for ever. Cancel-safe: a dropped call changes
    /// nothing. Never `Ok` with no address, nor with one of another family than asked for.
    async fn resolve(&self, name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, StackError>;
}

/// A listening TCP port.
pub trait Listener: 'static {
    /// What a connection is.
    type Flow: Flow;

    /// The address listened on, with the port the stack chose. Returns at once; never changes.
    fn local(&self) -> SocketAddr;

    /// Waits for the next established connection, oldest first. Cancel-safe: a dropped call has
    /// taken none. The caller owns the flow; the listener's end leaves it alone. An error is final
    /// for the listener.
    async fn accept(&mut self) -> Result<Self::Flow, StackError>;
}

/// A bound UDP port.
///
/// Datagrams are sent and received whole, never in pieces or joined. What arrives while the
/// socket's buffer is full is dropped. Takes `&self`: one task may receive while another sends.
pub trait Udp: 'static {
    /// The address bound, with the port the stack chose. Returns at once; never changes.
    fn local(&self) -> SocketAddr;

    /// Waits for a datagram: its length and sender. One longer than `buffer` fills the buffer,
    /// the rest is lost and the full length is returned. Cancel-safe: a dropped call has taken
    /// none. The caller owns the buffer. [`StackError::Gone`] is final; no other error is.
    async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), StackError>;

    /// Sends `payload` as one datagram. Waits for room in the send buffer. Cancel-safe: a
    /// dropped call has sent nothing. The caller keeps the buffer. `Ok` says nothing about
    /// arrival. [`StackError::TooLong`] when no datagram can be so long; nothing was sent then.
    async fn send(&self, payload: &[u8], remote: SocketAddr) -> Result<(), StackError>;

    /// Receives datagrams sent to a multicast `group` from now on. Returns at once. A second call
    /// does nothing. [`StackError::InvalidAddress`] for what is no group.
    fn join(&self, group: IpAddr) -> Result<(), StackError>;

    /// Ends [`Udp::join`]: nothing sent to the group is received any more. Returns at once.
    fn leave(&self, group: IpAddr) -> Result<(), StackError>;
}

/// An address with the length of its network's prefix, `10.0.0.2/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// Bits of prefix: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl core::str::FromStr for Cidr {
    type Err = StackError;

    /// `ADDRESS/PREFIX`; the prefix must fit the family.
    fn from_str(text: &str) -> Result<Self, StackError> {
        let (address, prefix) = text.split_once('/').ok_or(StackError::InvalidAddress)?;
        let address: IpAddr = address.parse().map_err(|_| StackError::InvalidAddress)?;
        // A number alone: `parse` would take a sign.
        let signed = prefix.starts_with('+');
        let prefix: u8 = prefix.parse().map_err(|_| StackError::InvalidAddress)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most || signed {
            Err(StackError::InvalidAddress)
        } else {
            Ok(Self { address, prefix })
        }
    }
}

/// Which addresses to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// IPv4 and IPv6, whatever the name has.
    #[default]
    Any,
    /// Only IPv4 (A records).
    V4,
    /// Only IPv6 (AAAA records).
    V6,
}

/// What a stack could not do. None is final for the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackError {
    /// The port, or every port there is to choose from, is taken.
    AddressInUse,
    /// The address is not one of the stack's, or not an address at all.
    InvalidAddress,
    /// The peer refused the connection.
    Refused,
    /// There is no route to the peer, or the stack has no address of that family.
    Unreachable,
    /// Nobody answered in time.
    TimedOut,
    /// The datagram is longer than a UDP datagram or the buffer can be.
    TooLong,
    /// The name does not exist, or has no address of that family.
    NameNotFound,
    /// No name server is known, or none gave a usable answer.
    NameServer,
    /// The stack has no room for more sockets, names or groups.
    NoResources,
    /// The stack or device below went away. Final for the socket that reports it.
    Gone,
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressInUse => "the port is in use",
            Self::InvalidAddress => "the address is not valid here",
            Self::Refused => "the peer refused the connection",
            Self::Unreachable => "there is no route to the peer",
            Self::TimedOut => "the peer did not answer in time",
            Self::TooLong => "the datagram is too long",
            Self::NameNotFound => "the name has no such address",
            Self::NameServer => "no name server gave a usable answer",
            Self::NoResources => "the stack has no room for more",
            Self::Gone => "the network below went away",
        })
    }
}

impl core::error::Error for StackError {}

impl embedded_io_async::Error for StackError {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        use embedded_io_async::ErrorKind;
        match self {
            Self::AddressInUse => ErrorKind::AddrInUse,
            Self::InvalidAddress => ErrorKind::AddrNotAvailable,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::TooLong => ErrorKind::InvalidInput,
            Self::NameNotFound => ErrorKind::NotFound,
            Self::NoResources => ErrorKind::OutOfMemory,
            Self::Gone => ErrorKind::NotConnected,
            Self::Unreachable | Self::NameServer => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_reads_what_it_shows_and_refuses_the_rest() {
        use alloc::string::ToString;
        for text in ["10.0.0.2/24", "fd00::2/64", "0.0.0.0/0", "::1/128"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for text in [
            "10.0.0.2",
            "10.0.0.2/33",
            "::1/129",
            "10.0.0/8",
            "/",
            "a/1",
            "1.2.3.4/-1",
        ] {
            assert_eq!(
                text.parse::<Cidr>(),
                Err(StackError::InvalidAddress),
                "{text}"
            );
        }
    }
}
