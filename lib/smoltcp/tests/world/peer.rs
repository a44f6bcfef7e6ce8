//! A host played by hand: frames written and read byte by byte.

use super::wire::{mac, pseudo, sum};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// An Ethernet header from host `from` to host `to`.
pub fn ethernet(from: u8, to: u8, kind: u16) -> Vec<u8> {
    [&mac(to)[..], &mac(from)[..], &kind.to_be_bytes()[..]].concat()
}

/// Host `from` tells host `to` its address.
pub fn arp_reply(from: u8, to: u8) -> Vec<u8> {
    let mut frame = ethernet(from, to, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac(from));
    frame.extend([10, 0, 0, from]);
    frame.extend(mac(to));
    frame.extend([10, 0, 0, to]);
    frame
}

/// An IPv4 packet with a correct header checksum.
pub fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(((payload.len() + 20) as u16).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(from);
    header.extend(to);
    let value = sum(&header);
    header[10..12].copy_from_slice(&value.to_be_bytes());
    header.extend_from_slice(payload);
    header
}

pub fn ipv6(from: [u8; 16], to: [u8; 16], protocol: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, hops]);
    packet.extend(from);
    packet.extend(to);
    packet.extend_from_slice(payload);
    packet
}

/// Puts the transport checksum where it belongs.
pub fn complete(frame: &mut [u8]) {
    let v6 = frame[12..14] == [0x86, 0xdd];
    let start = if v6 {
        54
    } else {
        14 + usize::from(frame[14] & 15) * 4
    };
    let protocol = if v6 { frame[20] } else { frame[23] };
    let at = match protocol {
        6 => start + 16,
        17 => start + 6,
        58 | 1 => start + 2,
        _ => return,
    };
    frame[at..at + 2].fill(0);
    let mut all = if protocol == 1 {
        Vec::new()
    } else {
        pseudo(frame, start)
    };
    all.extend_from_slice(&frame[start..]);
    let value = sum(&all);
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Whether a frame's transport checksum is right, computed in full.
pub fn is_complete(frame: &[u8]) -> bool {
    let mut copy = frame.to_vec();
    complete(&mut copy);
    copy == frame
}

/// A TCP segment without payload or options but the window 65535.
pub fn tcp(from: u16, to: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    segment
}

/// A segment from host `from` to host `to` over IPv4.
pub fn segment(from: u8, to: u8, ports: (u16, u16), seq: u32, ack: u32, flags: u8) -> Vec<u8> {
    let tcp = tcp(ports.0, ports.1, seq, ack, flags, b"");
    let mut frame = ethernet(from, to, 0x0800);
    frame.extend(ipv4([10, 0, 0, from], [10, 0, 0, to], 6, &tcp));
    complete(&mut frame);
    frame
}

/// What matters of a TCP segment over IPv4 without IP options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub from: u16,
    pub to: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub len: usize,
}

pub fn is_tcp(frame: &[u8]) -> bool {
    frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6
}

pub fn see(frame: &[u8]) -> Seen {
    assert!(is_tcp(frame));
    let tcp = &frame[34..];
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    Seen {
        from: u16::from_be_bytes([tcp[0], tcp[1]]),
        to: u16::from_be_bytes([tcp[2], tcp[3]]),
        seq: u32::from_be_bytes(tcp[4..8].try_into().unwrap()),
        ack: u32::from_be_bytes(tcp[8..12].try_into().unwrap()),
        flags: tcp[13],
        len: total - 20 - usize::from(tcp[12] >> 4) * 4,
    }
}

/// The answer to a segment over IPv4: everything in it is acknowledged.
pub fn answer(frame: &[u8], flags: u8, payload: &[u8]) -> Vec<u8> {
    let seen = see(frame);
    let counted = seen.len as u32 + u32::from(seen.flags & (SYN | FIN) != 0);
    let seq = if flags & SYN != 0 { 1000 } else { seen.ack };
    let tcp = tcp(
        seen.to,
        seen.from,
        seq,
        seen.seq.wrapping_add(counted),
        flags,
        payload,
    );
    let mut reply = [&frame[6..12], &frame[..6], &frame[12..14]].concat();
    let from = frame[30..34].try_into().unwrap();
    let to = frame[26..30].try_into().unwrap();
    reply.extend(ipv4(from, to, 6, &tcp));
    complete(&mut reply);
    reply
}
