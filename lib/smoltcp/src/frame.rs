//! What a received frame is: enough of its headers to find the socket it belongs to.
//!
//! Every length is checked here before smoltcp sees the frame, so each drop has a cause.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// EtherTypes and protocol numbers (IANA).
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ICMPV4: u8 = 1;
const IGMP: u8 = 2;
pub(crate) const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// Control bits of a TCP header (RFC 9293 §3.1).
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// What a connection is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub remote_port: u16,
    pub local_port: u16,
    pub remote: IpAddr,
    pub local: IpAddr,
}

impl Hash for Tuple {
    /// The addresses as numbers: both families in the form in which IPv6 writes IPv4.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let mut bytes = [0; 36];
        let (remote, rest) = bytes.split_at_mut(16);
        let (local, ports) = rest.split_at_mut(16);
        remote.copy_from_slice(&number(self.remote).to_ne_bytes());
        local.copy_from_slice(&number(self.local).to_ne_bytes());
        let both = u32::from(self.remote_port) << 16 | u32::from(self.local_port);
        ports.copy_from_slice(&both.to_ne_bytes());
        state.write(&bytes);
    }
}

/// A TCP segment's header, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub tuple: Tuple,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    /// Bytes of payload.
    pub len: usize,
}

impl Segment {
    /// A first SYN: no other control bit.
    pub fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: &'a [u8],
}

/// What a frame is.
#[derive(Debug)]
pub(crate) enum Class<'a> {
    Tcp(Segment),
    Udp(Datagram<'a>),
    Arp,
    /// IGMP or MLD, whose answers smoltcp delays without telling when.
    Membership,
    Neighbour(Discovery<'a>),
    /// For smoltcp alone.
    Other,
}

/// A Neighbour Discovery message, its checksum and hop limit verified.
#[derive(Debug)]
pub(crate) enum Discovery<'a> {
    /// A router advertisement (RFC 4861 §4.2).
    Advertisement { router: Ipv6Addr, message: &'a [u8] },
    /// A solicitation for an address by somebody who has none yet (RFC 4862 §5.4.3).
    Probe(Ipv6Addr),
    /// For smoltcp alone.
    Other,
}

/// Why a frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    Malformed,
    Checksum,
    Fragment,
    NotForUs,
}

/// Finds out what `frame` is. `verify`: transport checksums have to be computed here.
pub(crate) fn classify(frame: &[u8], mac: [u8; 6], verify: bool) -> Result<Class<'_>, Drop> {
    let destination = frame.get(..6).ok_or(Drop::Malformed)?;
    if destination[0] & 1 == 0 && destination != mac {
        return Err(Drop::NotForUs);
    }
    let payload = frame.get(ETHERNET..).ok_or(Drop::Malformed)?;
    match u16_at(frame, 12)? {
        IPV4 => ipv4(payload, verify),
        IPV6 => ipv6(payload, verify),
        ARP if payload.len() >= 28 => Ok(Class::Arp),
        ARP => Err(Drop::Malformed),
        _ => Err(Drop::NotForUs),
    }
}

fn ipv4(packet: &[u8], verify: bool) -> Result<Class<'_>, Drop> {
    let first = *packet.first().ok_or(Drop::Malformed)?;
    let header_len = usize::from(first & 15) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    if first >> 4 != 4 || header_len < 20 || total < header_len {
        return Err(Drop::Malformed);
    }
    let packet = packet.get(..total).ok_or(Drop::Malformed)?;
    let (header, payload) = packet.split_at_checked(header_len).ok_or(Drop::Malformed)?;
    if checksum::fold(checksum::add(0, header)) != 0xffff {
        return Err(Drop::Checksum);
    }
    if u16_at(header, 6)? & 0x3fff != 0 {
        return Err(Drop::Fragment);
    }
    let source = IpAddr::V4(Ipv4Addr::from_octets(array(header, 12)?));
    let destination = IpAddr::V4(Ipv4Addr::from_octets(array(header, 16)?));
    match *header.get(9).ok_or(Drop::Malformed)? {
        TCP => tcp(payload, source, destination, verify),
        UDP => udp(payload, source, destination, verify),
        IGMP => Ok(Class::Membership),
        ICMPV4 if checksum::fold(checksum::add(0, payload)) != 0xffff => Err(Drop::Checksum),
        _ => Ok(Class::Other),
    }
}

fn ipv6(packet: &[u8], verify: bool) -> Result<Class<'_>, Drop> {
    let (header, rest) = packet.split_at_checked(40).ok_or(Drop::Malformed)?;
    if header[0] >> 4 != 6 {
        return Err(Drop::Malformed);
    }
    let mut payload = rest
        .get(..usize::from(u16_at(header, 4)?))
        .ok_or(Drop::Malformed)?;
    let source = Ipv6Addr::from_octets(array(header, 8)?);
    let destination = Ipv6Addr::from_octets(array(header, 24)?);
    let mut next = header[6];
    if next == HOP_BY_HOP {
        // The one extension header that smoltcp walks past (RFC 8200 §4.3).
        next = *payload.first().ok_or(Drop::Malformed)?;
        let len = usize::from(*payload.get(1).ok_or(Drop::Malformed)?) * 8 + 8;
        payload = payload.get(len..).ok_or(Drop::Malformed)?;
    }
    const FRAGMENT: u8 = 44;
    match next {
        TCP => tcp(payload, source.into(), destination.into(), verify),
        UDP => udp(payload, source.into(), destination.into(), verify),
        FRAGMENT => Err(Drop::Fragment),
        ICMPV6 => {
            let sum = checksum::pseudo_of(source.into(), destination.into(), next, payload.len());
            if checksum::fold(checksum::add(sum, payload)) != 0xffff {
                return Err(Drop::Checksum);
            }
            icmpv6(payload, source, header[7])
        }
        _ => Ok(Class::Other),
    }
}

fn icmpv6(message: &[u8], source: Ipv6Addr, hop_limit: u8) -> Result<Class<'_>, Drop> {
    let discovery = match message.first().ok_or(Drop::Malformed)? {
        // Multicast Listener Query (RFC 3810 §5.1).
        130 => return Ok(Class::Membership),
        // Nothing that a router has forwarded is Neighbour Discovery (RFC 4861 §6.1, §7.1).
        133..=137 if hop_limit != 255 => return Err(Drop::Malformed),
        134 if source.is_unicast_link_local() => Discovery::Advertisement {
            router: source,
            message,
        },
        135 if source.is_unspecified() => {
            Discovery::Probe(Ipv6Addr::from_octets(array(message, 8)?))
        }
        133..=137 => Discovery::Other,
        _ => return Ok(Class::Other),
    };
    Ok(Class::Neighbour(discovery))
}

fn tcp<'a>(
    segment: &[u8],
    source: IpAddr,
    destination: IpAddr,
    verify: bool,
) -> Result<Class<'a>, Drop> {
    let (header, _) = segment.split_at_checked(20).ok_or(Drop::Malformed)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let len = segment
        .len()
        .checked_sub(header_len)
        .ok_or(Drop::Malformed)?;
    let (remote_port, local_port) = (u16_at(header, 0)?, u16_at(header, 2)?);
    if header_len < 20 || remote_port == 0 || local_port == 0 {
        return Err(Drop::Malformed);
    }
    if verify && !verified(segment, source, destination, TCP) {
        return Err(Drop::Checksum);
    }
    Ok(Class::Tcp(Segment {
        tuple: Tuple {
            remote_port,
            local_port,
            remote: source,
            local: destination,
        },
        flags: header[13],
        seq: u32::from_be_bytes(array(header, 4)?),
        ack: u32::from_be_bytes(array(header, 8)?),
        len,
    }))
}

fn udp(
    datagram: &[u8],
    source: IpAddr,
    destination: IpAddr,
    verify: bool,
) -> Result<Class<'_>, Drop> {
    let len = usize::from(u16_at(datagram, 4)?);
    let datagram = datagram.get(..len).ok_or(Drop::Malformed)?;
    let (from, to) = (u16_at(datagram, 0)?, u16_at(datagram, 2)?);
    let payload = datagram.get(8..).ok_or(Drop::Malformed)?;
    if to == 0 {
        return Err(Drop::Malformed);
    }
    // Zero means none was computed; IPv6 does not allow it (RFC 768, RFC 8200 §8.1).
    let present = u16_at(datagram, 6)? != 0;
    if verify && (present || source.is_ipv6()) && !verified(datagram, source, destination, UDP) {
        return Err(Drop::Checksum);
    }
    Ok(Class::Udp(Datagram {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        payload,
    }))
}

fn verified(payload: &[u8], source: IpAddr, destination: IpAddr, protocol: u8) -> bool {
    let sum = checksum::pseudo_of(source, destination, protocol, payload.len());
    checksum::fold(checksum::add(sum, payload)) == 0xffff
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Drop> {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk())
        .copied()
        .ok_or(Drop::Malformed)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Drop> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Where the transport header of a frame that smoltcp has built stands.
pub(crate) struct Transport {
    pub ipv6: bool,
    pub protocol: u8,
    /// The transport header's first byte, counted from the frame's.
    pub start: usize,
    /// The sum of the pseudo-header.
    pub pseudo: u64,
}

/// Finds the TCP or UDP header of a frame of our own.
pub(crate) fn transport(frame: &[u8]) -> Option<Transport> {
    let ethertype = u16_at(frame, 12).ok()?;
    let (ipv6, protocol, start, addresses) = match ethertype {
        IPV4 => {
            let header_len = usize::from(frame.get(ETHERNET)? & 15) * 4;
            (
                false,
                *frame.get(23)?,
                ETHERNET + header_len,
                frame.get(26..34)?,
            )
        }
        IPV6 => (true, *frame.get(20)?, ETHERNET + 40, frame.get(22..54)?),
        _ => return None,
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let pseudo = checksum::pseudo(addresses, &[], protocol, frame.len().checked_sub(start)?);
    Some(Transport {
        ipv6,
        protocol,
        start,
        pseudo,
    })
}

/// The flags of a TCP segment whose transport header starts there; none of another packet.
pub(crate) fn tcp_flags(frame: &[u8], transport: &Transport) -> u8 {
    match transport.protocol {
        TCP => frame.get(transport.start + 13).copied().unwrap_or_default(),
        _ => 0,
    }
}

/// Notes in `highest` how far a TCP segment of our own reaches, or has a bare acknowledgement
/// carry that number. Whether the segment carries something sent before.
pub(crate) fn keep_up(frame: &mut [u8], transport: &Transport, highest: &mut u32) -> bool {
    let start = transport.start;
    let (TCP, Ok(seq), Some(&words)) = (
        transport.protocol,
        array(frame, start + 4),
        frame.get(start + 12),
    ) else {
        return false;
    };
    let flags = tcp_flags(frame, transport);
    let payload = frame
        .len()
        .saturating_sub(start + usize::from(words >> 4) * 4) as u32;
    let counted = payload + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let seq = u32::from_be_bytes(seq);
    let end = seq.wrapping_add(counted);
    // The first SYN has no number before it.
    let again = match flags & SYN {
        0 => counted > 0 && (seq.wrapping_sub(*highest) as i32) < 0,
        _ => end == *highest,
    };
    if end.wrapping_sub(*highest) as i32 >= 0 || flags & SYN != 0 {
        *highest = end;
    } else if counted == 0
        && flags & RST == 0
        && let Some(field) = frame.get_mut(start + 4..start + 8)
    {
        field.copy_from_slice(&highest.to_be_bytes());
    }
    again
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;
    use smoltcp::wire::{
        EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
    };

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A frame of TCP or UDP whose checksums are right.
    fn frame(ipv6: bool, tcp: bool, addresses: [u8; 32], transport: &[u8]) -> Vec<u8> {
        let mut transport = transport.to_vec();
        match tcp {
            true => transport[12] = 5 << 4,
            false => {
                let len = transport.len() as u16;
                transport[4..6].copy_from_slice(&len.to_be_bytes());
            }
        }
        let protocol = if tcp { TCP } else { UDP };
        let len = transport.len() as u16;
        let mut frame = [&MAC[..], &[2; 6]].concat();
        if ipv6 {
            frame.extend(IPV6.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(addresses);
        } else {
            frame.extend(IPV4.to_be_bytes());
            frame.extend([0x45, 0]);
            frame.extend((len + 20).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend(&addresses[..8]);
            Ipv4Packet::new_unchecked(&mut frame[ETHERNET..]).fill_checksum();
        }
        let (source, destination) = ends(&frame);
        match tcp {
            true => TcpPacket::new_unchecked(&mut transport[..])
                .fill_checksum(&source.into(), &destination.into()),
            false => UdpPacket::new_unchecked(&mut transport[..])
                .fill_checksum(&source.into(), &destination.into()),
        }
        frame.extend(transport);
        frame
    }

    fn ends(frame: &[u8]) -> (IpAddr, IpAddr) {
        match u16_at(frame, 12) {
            Ok(IPV6) => {
                let ip = Ipv6Packet::new_unchecked(&frame[ETHERNET..]);
                (ip.src_addr().into(), ip.dst_addr().into())
            }
            _ => {
                let ip = Ipv4Packet::new_unchecked(&frame[ETHERNET..]);
                (ip.src_addr().into(), ip.dst_addr().into())
            }
        }
    }

    /// What smoltcp's own readers find: the protocol, the two ends, and the payload.
    fn reading(frame: &[u8]) -> Option<(IpProtocol, SocketAddr, SocketAddr, Vec<u8>)> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let ours = ethernet.dst_addr().0 == MAC || ethernet.dst_addr().is_multicast();
        ours.then_some(())?;
        let (protocol, payload) = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
                let whole = !ip.more_frags() && ip.frag_offset() == 0;
                if ip.version() != 4 || ip.header_len() < 20 || !ip.verify_checksum() || !whole {
                    return None;
                }
                (ip.next_header(), ip.payload())
            }
            EthernetProtocol::Ipv6 => {
                let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
                (ip.version() == 6).then_some(())?;
                (ip.next_header(), ip.payload())
            }
            _ => return None,
        };
        let (source, destination) = ends(frame);
        let ((from, to), payload) = match protocol {
            IpProtocol::Tcp => {
                let tcp = TcpPacket::new_checked(payload).ok()?;
                let valid = tcp.verify_checksum(&source.into(), &destination.into());
                valid.then_some(((tcp.src_port(), tcp.dst_port()), tcp.payload()))?
            }
            IpProtocol::Udp => {
                let udp = UdpPacket::new_checked(payload).ok()?;
                let valid = udp.verify_checksum(&source.into(), &destination.into());
                valid.then_some(((udp.src_port(), udp.dst_port()), udp.payload()))?
            }
            _ => return None,
        };
        let (from, to) = (
            SocketAddr::new(source, from),
            SocketAddr::new(destination, to),
        );
        Some((protocol, from, to, payload.to_vec()))
    }

    proptest! {
        #[test]
        fn what_is_taken_for_tcp_or_udp_is_what_another_reader_finds(
            (ipv6, tcp) in any::<(bool, bool)>(),
            addresses in any::<[u8; 32]>(),
            transport in proptest::collection::vec(any::<u8>(), 20..60),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
            length in any::<proptest::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut transport = transport;
            // Nobody has port 0.
            transport[1] |= 1;
            transport[3] |= 1;
            let whole = frame(ipv6, tcp, addresses, &transport);
            prop_assert!(reading(&whole).is_some());
            let mut bytes = whole.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let expected = reading(&bytes);
            match classify(&bytes, MAC, true) {
                Ok(Class::Tcp(segment)) => {
                    let (protocol, from, to, payload) = expected.expect("another reader's");
                    prop_assert_eq!(protocol, IpProtocol::Tcp);
                    let Tuple { remote, remote_port, local, local_port } = segment.tuple;
                    prop_assert_eq!(SocketAddr::new(remote, remote_port), from);
                    prop_assert_eq!(SocketAddr::new(local, local_port), to);
                    prop_assert_eq!(segment.len, payload.len());
                }
                Ok(Class::Udp(datagram)) => {
                    let (protocol, from, to, payload) = expected.expect("another reader's");
                    prop_assert_eq!(protocol, IpProtocol::Udp);
                    prop_assert_eq!((datagram.source, datagram.destination), (from, to));
                    prop_assert_eq!(datagram.payload, payload);
                }
                Ok(_) => prop_assert!(expected.is_none()),
                Err(_) => prop_assert!(bytes != whole, "a whole frame was dropped"),
            }
        }
    }
}
