//! Frames that the stack builds itself, because smoltcp has none of the kind.

use core::net::{Ipv4Addr, Ipv6Addr};

use mirage_device::Net;

use crate::checksum;
use crate::frame::{ACK, ARP, ETHERNET, ICMPV6, IPV6};
use crate::port::Port;

/// Every node of the link, and every router (RFC 4291 §2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Answers the segment received last with an acknowledgement: RFC 9293 §3.10.7.4 for a
/// connection in TIME-WAIT. The window is zero: nobody will read.
pub(crate) fn acknowledge<N: Net>(port: &mut Port<N>, seq: u32, ack: u32) {
    let mut head = [0; ETHERNET + 60];
    let frame = port.frame();
    let v6 = frame.get(12..14) == Some(&IPV6.to_be_bytes());
    let ip_len = match frame.get(ETHERNET) {
        Some(_) if v6 => 40,
        Some(byte) => usize::from(byte & 15) * 4,
        None => return,
    };
    let Some(ports) = frame.get(ETHERNET + ip_len..ETHERNET + ip_len + 4) else {
        return;
    };
    let (mine, len) = if v6 {
        (40, ETHERNET + 60)
    } else {
        (20, ETHERNET + 40)
    };
    let tcp = ETHERNET + mine;
    let header = |from: usize, to: usize| frame.get(from..to).unwrap_or_default();
    copy(&mut head, 0, header(6, 12));
    copy(&mut head, 6, header(0, 6));
    copy(&mut head, 12, header(12, 14));
    if v6 {
        copy(&mut head, 14, &[0x60, 0, 0, 0, 0, 20, 6, 64]);
        copy(&mut head, 22, header(38, 54));
        copy(&mut head, 38, header(22, 38));
    } else {
        copy(&mut head, 14, &[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
        copy(&mut head, 26, header(30, 34));
        copy(&mut head, 30, header(26, 30));
        let sum = !checksum::fold(checksum::add(0, &head[14..34]));
        copy(&mut head, 24, &sum.to_be_bytes());
    }
    copy(&mut head, tcp, &[ports[2], ports[3], ports[0], ports[1]]);
    copy(&mut head, tcp + 4, &seq.to_be_bytes());
    copy(&mut head, tcp + 8, &ack.to_be_bytes());
    copy(&mut head, tcp + 12, &[5 << 4, ACK]);
    port.emit(len, |frame| copy(frame, 0, &head));
}

/// Announces an IPv4 address (RFC 5227 §2.3): an ARP request for the address itself.
pub(crate) fn announce_ipv4<N: Net>(port: &mut Port<N>, address: Ipv4Addr) {
    let mac = port.info().mac;
    port.emit(ETHERNET + 28, |frame| {
        copy(frame, 0, &[0xff; 6]);
        copy(frame, 6, &mac);
        copy(frame, 12, &ARP.to_be_bytes());
        // Ethernet, IPv4, six and four bytes of address, request (RFC 826).
        copy(frame, 14, &[0, 1, 8, 0, 6, 4, 0, 1]);
        copy(frame, 22, &mac);
        copy(frame, 28, &address.octets());
        copy(frame, 38, &address.octets());
    });
}

/// Announces an IPv6 address: an unsolicited Neighbour Advertisement (RFC 4861 §7.2.6).
pub(crate) fn announce_ipv6<N: Net>(port: &mut Port<N>, address: Ipv6Addr) {
    let mac = port.info().mac;
    let mut message = [0; 32];
    // Type 136, the Override flag, the target, the Target Link-Layer Address option.
    copy(&mut message, 0, &[136, 0, 0, 0, 0x20]);
    copy(&mut message, 8, &address.octets());
    copy(&mut message, 24, &[2, 1]);
    copy(&mut message, 26, &mac);
    icmpv6(port, address, ALL_NODES, &message);
}

/// Asks the routers of the link to introduce themselves (RFC 4861 §4.1).
pub(crate) fn solicit_routers<N: Net>(port: &mut Port<N>, source: Ipv6Addr) {
    let mac = port.info().mac;
    let mut message = [0; 16];
    copy(&mut message, 0, &[133]);
    copy(&mut message, 8, &[1, 1]);
    copy(&mut message, 10, &mac);
    icmpv6(port, source, ALL_ROUTERS, &message);
}

/// Sends a Neighbour Discovery message to a multicast address.
fn icmpv6<N: Net>(port: &mut Port<N>, source: Ipv6Addr, group: Ipv6Addr, message: &[u8]) {
    let mac = port.info().mac;
    let [.., a, b, c, d] = group.octets();
    let pseudo = checksum::pseudo_of(source.into(), group.into(), ICMPV6, message.len());
    let sum = !checksum::fold(checksum::add(pseudo, message));
    port.emit(ETHERNET + 40 + message.len(), |frame| {
        copy(frame, 0, &[0x33, 0x33, a, b, c, d]);
        copy(frame, 6, &mac);
        copy(frame, 12, &IPV6.to_be_bytes());
        copy(frame, 14, &[0x60, 0, 0, 0]);
        copy(frame, 18, &(message.len() as u16).to_be_bytes());
        copy(frame, 20, &[ICMPV6, 255]);
        copy(frame, 22, &source.octets());
        copy(frame, 38, &group.octets());
        copy(frame, 54, message);
        copy(frame, 56, &sum.to_be_bytes());
    });
}

/// Copies what fits of `bytes` to `to[at..]`.
#[inline(never)]
fn copy(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = to.get_mut(at..) {
        to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    }
}
