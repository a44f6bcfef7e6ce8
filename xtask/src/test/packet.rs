//! Packets to the image, built byte by byte.

use std::net::{IpAddr, Ipv4Addr};

use super::system::Tap;

/// A hardware address.
pub type Mac = [u8; 6];
const SERVER_PORT: u16 = 80;

/// The two ends of the wire.
pub struct Ends {
    /// The image's address.
    pub image: Mac,
    /// The client's address.
    pub client: Mac,
}

pub fn ethernet(ends: &Ends, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&ends.image, &ends.client, &kind.to_be_bytes()[..], payload].concat()
}

pub fn image_v4() -> [u8; 4] {
    match Tap::V4 {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => unreachable!("it is an IPv4 address"),
    }
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An IPv4 packet to the image (RFC 791 §3.1).
pub fn ipv4(from: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(from, protocol, &[], 0, payload)
}

/// The same with options, a multiple of 4 bytes, and the field of flags and fragment offset.
pub fn ipv4_with(
    from: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = (header + payload.len()) as u16;
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(image_v4());
    packet.extend(options);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// A TCP segment to the image's server (RFC 9293 §3.1).
pub fn tcp(from: Ipv4Addr, port: u16, sequence: u32, flags: u8, options: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(port.to_be_bytes());
    segment.extend(SERVER_PORT.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend([
        (((20 + options.len()) / 4) << 4) as u8,
        flags,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
    segment.extend(options);
    with_sum(from, 6, segment, 16)
}

/// A UDP datagram to the image (RFC 768).
pub fn udp(from: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(9_u16.to_be_bytes());
    datagram.extend(port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    with_sum(from, 17, datagram, 6)
}

pub fn with_sum(from: Ipv4Addr, protocol: u8, mut body: Vec<u8>, at: usize) -> Vec<u8> {
    let mut all = [&from.octets()[..], &image_v4(), &[0, protocol]].concat();
    all.extend((body.len() as u16).to_be_bytes());
    all.extend(&body);
    let sum = checksum(&all);
    body[at..at + 2].copy_from_slice(&sum);
    body
}

/// An ICMP echo request (RFC 792).
pub fn ping(payload: &[u8]) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0, 0, 1, 0, 1], payload].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// An IPv6 packet to the image (RFC 8200 §3); its payload length says `length`.
pub fn ipv6_with(next: u8, length: u16, payload: &[u8]) -> Vec<u8> {
    let address = |last: u8| [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next, 255]);
    packet.extend(address(1));
    packet.extend(address(2));
    packet.extend(payload);
    packet
}

pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_with(next, payload.len() as u16, payload)
}

/// An ICMPv6 message with the right checksum (RFC 4443 §2.3).
pub fn icmpv6(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let pseudo = ipv6(58, &[]);
    let mut all = pseudo[8..40].to_vec();
    all.extend((message.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, 58]);
    all.extend(&message);
    let sum = checksum(&all);
    message[2..4].copy_from_slice(&sum);
    ipv6(58, &message)
}

pub fn arp(operation: u16, sender: Mac, target: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend(sender);
    packet.extend(Tap::CLIENT.octets());
    packet.extend([0; 6]);
    packet.extend(target);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_rfc_1071() {
        // The example of RFC 1071 §3: the sum is ddf2.
        assert_eq!(
            checksum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]),
            (!0xddf2_u16).to_be_bytes()
        );
        assert_eq!(
            checksum(&ipv4(Tap::CLIENT, 1, &[])),
            [0, 0],
            "it makes the sum zero"
        );
    }
}
