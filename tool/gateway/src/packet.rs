//! Reading the guest's packets, writing datagrams to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket, UdpRepr};

use crate::link::Link;

const UDP_HEADER: usize = 8;

/// Why a packet is not looked at any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    Fragment,
}

/// An IP packet, as far as the gateway cares.
#[derive(Debug)]
pub(crate) struct IpPacket<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) hop_limit: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    pub(crate) fn parse_v4(bytes: &'a [u8]) -> Result<Self, Fault> {
        let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Fault::Malformed)?;
        if packet.version() != 4 || packet.header_len() < 20 {
            return Err(Fault::Malformed);
        }
        if packet.more_frags() || packet.frag_offset() != 0 {
            return Err(Fault::Fragment);
        }
        Ok(Self {
            source: packet.src_addr().into(),
            destination: packet.dst_addr().into(),
            protocol: packet.next_header(),
            hop_limit: packet.hop_limit(),
            payload: packet.payload(),
        })
    }

    pub(crate) fn parse_v6(bytes: &'a [u8]) -> Result<Self, Fault> {
        let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Fault::Malformed)?;
        if packet.version() != 6 {
            return Err(Fault::Malformed);
        }
        if packet.next_header() == IpProtocol::Ipv6Frag {
            return Err(Fault::Fragment);
        }
        Ok(Self {
            source: packet.src_addr().into(),
            destination: packet.dst_addr().into(),
            protocol: packet.next_header(),
            hop_limit: packet.hop_limit(),
            payload: packet.payload(),
        })
    }
}

/// The two ends of a connection or an exchange of datagrams, as the guest sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) guest: SocketAddr,
    pub(crate) far: SocketAddr,
}

/// What a TCP segment means to a connection that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TcpSegment {
    /// It asks for a new connection.
    Open,
    /// It throws one away.
    Reset,
    Other,
}

/// The ends of a TCP segment and its meaning.
pub(crate) fn tcp_ends(packet: &IpPacket<'_>) -> Result<(Ends, TcpSegment), Fault> {
    let tcp = TcpPacket::new_checked(packet.payload).map_err(|_| Fault::Malformed)?;
    if tcp.src_port() == 0 || tcp.dst_port() == 0 {
        return Err(Fault::Malformed);
    }
    let ends = Ends {
        guest: SocketAddr::new(packet.source, tcp.src_port()),
        far: SocketAddr::new(packet.destination, tcp.dst_port()),
    };
    let kind = match (tcp.rst(), tcp.syn() && !tcp.ack() && !tcp.fin()) {
        (true, _) => TcpSegment::Reset,
        (false, true) => TcpSegment::Open,
        (false, false) => TcpSegment::Other,
    };
    Ok((ends, kind))
}

/// The ends of a datagram and what it carries.
pub(crate) fn udp_parts<'a>(packet: &IpPacket<'a>) -> Result<(Ends, &'a [u8]), Fault> {
    let udp = UdpPacket::new_checked(packet.payload).map_err(|_| Fault::Malformed)?;
    if udp.src_port() == 0 || udp.dst_port() == 0 {
        return Err(Fault::Malformed);
    }
    let ends = Ends {
        guest: SocketAddr::new(packet.source, udp.src_port()),
        far: SocketAddr::new(packet.destination, udp.dst_port()),
    };
    let len = usize::from(udp.len());
    let payload = packet
        .payload
        .get(UDP_HEADER..len)
        .ok_or(Fault::Malformed)?;
    Ok((ends, payload))
}

impl Link {
    /// Sends a datagram to the guest as one packet, whatever its length. Returns `false` when
    /// it is longer than a packet can be.
    pub(crate) fn send_udp(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let len = UDP_HEADER + payload.len();
        let ip = IpRepr::new(from.ip().into(), to.ip().into(), IpProtocol::Udp, len, 64);
        if ip.buffer_len() > usize::from(u16::MAX) {
            return false;
        }
        let checksums = ChecksumCapabilities::default();
        let udp = UdpRepr {
            src_port: from.port(),
            dst_port: to.port(),
        };
        let broadcast = match to.ip() {
            IpAddr::V4(address) => address == Ipv4Addr::BROADCAST,
            IpAddr::V6(address) => address == Ipv6Addr::UNSPECIFIED,
        };
        let guest = if broadcast {
            smoltcp::wire::EthernetAddress::BROADCAST
        } else {
            self.guest
        };
        self.send_ip(guest, ip.buffer_len(), None, |buffer| {
            ip.emit(&mut *buffer, &checksums);
            let mut packet = UdpPacket::new_unchecked(&mut buffer[ip.header_len()..]);
            udp.emit(
                &mut packet,
                &ip.src_addr(),
                &ip.dst_addr(),
                payload.len(),
                |buffer| buffer.copy_from_slice(payload),
                &checksums,
            );
        });
        true
    }
}
