//! Who has which address: ARP (RFC 826), neighbour discovery and router advertisements (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

use crate::address::{
    GATEWAY_LINK_LOCAL, GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6, GUEST_V4, PREFIX, PREFIX_V6,
    is_gateway, is_guest,
};
use crate::link::Link;
use crate::packet::{Fault, IpPacket};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is valid only when no router can have passed it on (RFC 4861 §6.1).
const HOP_LIMIT: u8 = 255;

/// Looks at an ARP packet, answers a question for the gateway, and tells whose packet it was.
pub(crate) fn arp(link: &mut Link, bytes: &[u8]) -> Result<Option<IpAddr>, Fault> {
    let packet = ArpPacket::new_checked(bytes).map_err(|_| Fault::Malformed)?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).map_err(|_| Fault::Malformed)?
    else {
        return Err(Fault::Malformed);
    };
    if operation == ArpOperation::Request && target_protocol_addr == GATEWAY_V4 {
        let guest = link.guest;
        link.send_arp(
            guest,
            ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: GATEWAY_MAC,
                source_protocol_addr: GATEWAY_V4,
                target_hardware_addr: source_hardware_addr,
                target_protocol_addr: source_protocol_addr,
            },
        );
    }
    let source = source_protocol_addr.into();
    Ok(is_guest(source).then_some(source))
}

/// Asks for the address that a guest with a fixed one most probably has: it answers before it
/// would otherwise say a word. The frame waits in the pair until the guest has booted.
pub(crate) fn probe_v4(link: &mut Link) {
    link.send_arp(
        EthernetAddress::BROADCAST,
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: GATEWAY_MAC,
            source_protocol_addr: GATEWAY_V4,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: GUEST_V4,
        },
    );
}

/// What a neighbour discovery message tells of the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It has this address.
    Has(Ipv6Addr),
    /// Nothing yet, but with this link-local address it may have made another of our prefix.
    Ask(Ipv6Addr),
    /// Nothing.
    Nothing,
    /// It was no neighbour discovery message.
    Other,
}

/// Looks at an ICMPv6 packet and answers what it asks of a router and a neighbour.
pub(crate) fn ndp(link: &mut Link, packet: &IpPacket<'_>) -> Result<Learned, Fault> {
    let icmp = Icmpv6Packet::new_checked(packet.payload).map_err(|_| Fault::Malformed)?;
    if !icmp.msg_type().is_ndisc() {
        return Ok(Learned::Other);
    }
    let IpAddr::V6(source) = packet.source else {
        return Err(Fault::Malformed);
    };
    let message = NdiscRepr::parse(&icmp).map_err(|_| Fault::Malformed)?;
    if packet.hop_limit != HOP_LIMIT {
        return Err(Fault::Malformed);
    }
    Ok(match message {
        NdiscRepr::RouterSolicit { .. } => {
            advertise_router(link);
            if source.is_unicast_link_local() {
                Learned::Ask(source)
            } else {
                Learned::Nothing
            }
        }
        NdiscRepr::NeighborSolicit { target_addr, .. } => {
            if is_gateway(target_addr.into()) {
                let to = if source.is_unspecified() {
                    ALL_NODES
                } else {
                    source
                };
                let mut flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
                if !source.is_unspecified() {
                    flags |= NdiscNeighborFlags::SOLICITED;
                }
                let advert = NdiscRepr::NeighborAdvert {
                    flags,
                    target_addr,
                    lladdr: Some(GATEWAY_MAC.into()),
                };
                send_ndisc(link, target_addr, to, advert);
            }
            if is_guest(source.into()) {
                Learned::Has(source)
            } else {
                Learned::Nothing
            }
        }
        NdiscRepr::NeighborAdvert { target_addr, .. } if is_guest(target_addr.into()) => {
            Learned::Has(target_addr)
        }
        _ => Learned::Nothing,
    })
}

/// Asks for the address that a guest with this link-local address makes of our prefix
/// (RFC 4862 §5.5.3): the same interface identifier.
pub(crate) fn probe_v6(link: &mut Link, link_local: Ipv6Addr) {
    let target = Ipv6Addr::from_bits(PREFIX.to_bits() | u128::from(link_local.to_bits() as u64));
    let solicit = NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: Some(GATEWAY_MAC.into()),
    };
    // The solicited-node group, RFC 4291 §2.7.1.
    let group = Ipv6Addr::from_bits(
        0xff02_0000_0000_0000_0000_0001_ff00_0000 | target.to_bits() & 0x00ff_ffff,
    );
    send_ndisc(link, GATEWAY_V6, group, solicit);
}

/// Sends a router advertisement to all nodes: a prefix to make an address of, a default router
/// and a name server (RFC 8106).
pub(crate) fn advertise_router(link: &mut Link) {
    let mut message = Vec::with_capacity(96);
    message.extend([134, 0, 0, 0]);
    // Hop limit; not managed; lifetime of the default router; no advice on timers.
    message.extend([64, 0]);
    message.extend(u16::MAX.to_be_bytes());
    message.extend([0; 8]);
    // Prefix information: on-link, autonomous; valid and preferred for ever.
    message.extend([3, 4, PREFIX_V6, 0xc0]);
    message.extend([0xff; 8]);
    message.extend([0; 4]);
    message.extend(PREFIX.octets());
    // Source link-layer address.
    message.extend([1, 1]);
    message.extend(GATEWAY_MAC.0);
    // Recursive DNS server, for ever.
    message.extend([25, 3, 0, 0]);
    message.extend([0xff; 4]);
    message.extend(GATEWAY_V6.octets());
    send_icmpv6(
        link,
        GATEWAY_LINK_LOCAL,
        ALL_NODES,
        message.len(),
        |buffer| {
            buffer.copy_from_slice(&message);
            Icmpv6Packet::new_unchecked(buffer).fill_checksum(&GATEWAY_LINK_LOCAL, &ALL_NODES);
        },
    );
}

fn send_ndisc(link: &mut Link, from: Ipv6Addr, to: Ipv6Addr, message: NdiscRepr<'_>) {
    let message = Icmpv6Repr::Ndisc(message);
    send_icmpv6(link, from, to, message.buffer_len(), |buffer| {
        let checksums = ChecksumCapabilities::default();
        message.emit(
            &from,
            &to,
            &mut Icmpv6Packet::new_unchecked(buffer),
            &checksums,
        );
    });
}

fn send_icmpv6(
    link: &mut Link,
    from: Ipv6Addr,
    to: Ipv6Addr,
    len: usize,
    fill: impl FnOnce(&mut [u8]),
) {
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: len,
        hop_limit: HOP_LIMIT,
    };
    let octets = to.octets();
    let destination = match to.is_multicast() {
        // RFC 2464 §7.
        true => EthernetAddress([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]),
        false => link.guest,
    };
    link.send_ip(destination, ip.buffer_len() + len, None, |buffer| {
        let (header, payload) = buffer.split_at_mut(ip.buffer_len());
        ip.emit(&mut smoltcp::wire::Ipv6Packet::new_unchecked(header));
        fill(payload);
    });
}
