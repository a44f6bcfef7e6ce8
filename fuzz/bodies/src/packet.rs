//! Frames written by hand, and frames judged by smoltcp's readers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{
    ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv6Packet,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

pub(crate) type Mac = [u8; 6];

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

pub(crate) fn ethernet(from: Mac, to: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

/// An answer to, or announcement instead of, a request for an IPv4 address; `operation` 1 asks.
pub(crate) fn arp(operation: u16, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(from.0, to.0, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [from, to] {
        frame.extend(mac);
        frame.extend(address.octets());
    }
    frame
}

/// An IPv4 packet in a frame, its checksums right.
pub(crate) fn ipv4(
    (from, source): (Mac, Ipv4Addr),
    (to, destination): (Mac, Ipv4Addr),
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = ethernet(from, to, 0x0800);
    frame.extend([0x45, 0]);
    frame.extend(((payload.len() + 20) as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(payload);
    complete(&mut frame);
    frame
}

/// An IPv6 packet in a frame, its checksum right.
pub(crate) fn ipv6(
    (from, source): (Mac, Ipv6Addr),
    (to, destination): (Mac, Ipv6Addr),
    protocol: u8,
    hops: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = ethernet(from, to, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([protocol, hops]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(payload);
    complete(&mut frame);
    frame
}

/// A TCP segment without options, of the window 65535.
pub(crate) fn segment(ports: (u16, u16), seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(ports.0.to_be_bytes());
    segment.extend(ports.1.to_be_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

pub(crate) fn datagram(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend(((payload.len() + 8) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// Puts every checksum right that has a place in the frame.
pub(crate) fn complete(frame: &mut [u8]) {
    let Ok(mut ethernet) = EthernetFrame::new_checked(frame) else {
        return;
    };
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let Ok(mut ip) = Ipv4Packet::new_checked(ethernet.payload_mut()) else {
                return;
            };
            ip.fill_checksum();
            let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
            transport(ip.next_header(), from, to, ip.payload_mut());
        }
        EthernetProtocol::Ipv6 => {
            let Ok(mut ip) = Ipv6Packet::new_checked(ethernet.payload_mut()) else {
                return;
            };
            let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
            transport(ip.next_header(), from, to, ip.payload_mut());
        }
        _ => {}
    }
}

fn transport(protocol: IpProtocol, from: IpAddr, to: IpAddr, bytes: &mut [u8]) {
    match (protocol, from, to) {
        (IpProtocol::Tcp, ..) => {
            if let Ok(mut tcp) = TcpPacket::new_checked(bytes) {
                tcp.fill_checksum(&from.into(), &to.into());
            }
        }
        (IpProtocol::Udp, ..) => {
            if let Ok(mut udp) = UdpPacket::new_checked(bytes) {
                udp.fill_checksum(&from.into(), &to.into());
            }
        }
        (IpProtocol::Icmp, ..) => {
            if let Ok(mut icmp) = Icmpv4Packet::new_checked(bytes) {
                icmp.fill_checksum();
            }
        }
        (IpProtocol::Icmpv6, IpAddr::V6(from), IpAddr::V6(to)) => {
            if let Ok(mut icmp) = Icmpv6Packet::new_checked(bytes) {
                icmp.fill_checksum(&from, &to);
            }
        }
        _ => {}
    }
}

/// What matters of a TCP segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) from: (IpAddr, u16),
    pub(crate) to: (IpAddr, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Payload, and one each for SYN and FIN.
    pub(crate) length: u32,
}

/// How much of a frame's transport checksum is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksums {
    All,
    /// The device computes those of TCP and UDP.
    NotTcpUdp,
    /// Nobody computes TCP's.
    NotTcp,
}

/// Judges a frame that was sent by `mac`: a whole packet without a byte too many, from a station,
/// every checksum right. What it says, when it is TCP.
pub(crate) fn judge(frame: &[u8], mac: Mac, checksums: Checksums) -> Option<Seen> {
    let ethernet = EthernetFrame::new_checked(frame).expect("a frame");
    assert_eq!(ethernet.src_addr().0, mac, "somebody else's address");
    let (source, destination, protocol, payload): (IpAddr, IpAddr, _, _);
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            ArpPacket::new_checked(ethernet.payload()).expect("an ARP packet");
            return None;
        }
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).expect("an IPv4 packet");
            assert!(ip.verify_checksum(), "IPv4 header checksum");
            assert_eq!(usize::from(ip.total_len()), ethernet.payload().len());
            assert!(!ip.more_frags() && ip.frag_offset() == 0, "a fragment");
            (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            (protocol, payload) = (ip.next_header(), ip.payload());
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).expect("an IPv6 packet");
            assert_eq!(ip.total_len(), ethernet.payload().len());
            (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            (protocol, payload) = (ip.next_header(), ip.payload());
        }
        other => panic!("a frame of the type {other}"),
    }
    assert!(!source.is_multicast() && !destination.is_unspecified());
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).expect("a TCP segment");
            if checksums == Checksums::All {
                assert!(
                    tcp.verify_checksum(&source.into(), &destination.into()),
                    "TCP checksum"
                );
            }
            let flags = [
                (tcp.fin(), FIN),
                (tcp.syn(), SYN),
                (tcp.rst(), 4),
                (tcp.ack(), ACK),
            ];
            return Some(Seen {
                from: (source, tcp.src_port()),
                to: (destination, tcp.dst_port()),
                seq: tcp.seq_number().0 as u32,
                ack: tcp.ack_number().0 as u32,
                flags: flags.iter().filter(|flag| flag.0).map(|flag| flag.1).sum(),
                length: tcp.segment_len() as u32,
            });
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).expect("a datagram");
            if checksums != Checksums::NotTcpUdp {
                assert_ne!(udp.checksum(), 0, "a datagram without a checksum");
                assert!(
                    udp.verify_checksum(&source.into(), &destination.into()),
                    "UDP checksum"
                );
            }
            assert_eq!(usize::from(udp.len()), payload.len());
        }
        IpProtocol::Icmp => {
            let icmp = Icmpv4Packet::new_checked(payload).expect("an ICMP message");
            assert!(icmp.verify_checksum(), "ICMP checksum");
            let known = [Icmpv4Message::EchoReply, Icmpv4Message::DstUnreachable];
            assert!(known.contains(&icmp.msg_type()), "{}", icmp.msg_type());
        }
        IpProtocol::Icmpv6 => {
            let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) else {
                panic!("ICMPv6 over IPv4");
            };
            let icmp = Icmpv6Packet::new_checked(payload).expect("an ICMPv6 message");
            assert!(
                icmp.verify_checksum(&source, &destination),
                "ICMPv6 checksum"
            );
        }
        // Group reports: IGMP, and MLD behind a router alert.
        IpProtocol::Igmp | IpProtocol::HopByHop => {}
        other => panic!("a packet of the protocol {other}"),
    }
    None
}

/// The answer to a segment over IPv4: everything in it is acknowledged.
pub(crate) fn answer(
    seen: &Seen,
    stations: (Mac, Mac),
    flags: u8,
    (seq, ack): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (seen.to.0, seen.from.0) else {
        return Vec::new();
    };
    let base = if seen.flags & ACK == 0 {
        1000
    } else {
        seen.ack
    };
    let all = seen.seq.wrapping_add(seen.length);
    let (seq, ack) = (base.wrapping_add(seq), all.wrapping_add(ack));
    let segment = segment((seen.to.1, seen.from.1), seq, ack, flags, payload);
    ipv4((stations.0, from), (stations.1, to), 6, &segment)
}
