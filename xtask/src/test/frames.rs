//! Frames that no honest neighbour sends, straight onto the tap.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::RecvTimeoutError::Timeout;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::packet::{
    Ends, Mac, arp, checksum, ethernet, icmpv6, image_v4, ipv4, ipv4_with, ipv6, ipv6_with, ping,
    tcp, udp, with_sum,
};
use super::system::{PATIENCE, Tap};
use super::{Context, Test};
use crate::http;
use crate::process::Process;
use crate::raw::Link;

pub const TESTS: &[Test] = &[
    Test {
        name: "malformed Ethernet, ARP, IPv4, IPv6, ICMP, UDP and TCP frames change nothing",
        needs: &[Need::Tap],
        run: malformed,
    },
    Test {
        name: "valid frames with random bytes changed change nothing",
        needs: &[Need::Tap],
        run: random,
    },
    Test {
        name: "a client is served during and after a flood of half-open connections",
        needs: &[Need::Tap],
        run: flood,
    },
];

/// Starts the website on a tap and gives a raw link to it.
fn wire(
    context: &Context,
    act: impl FnOnce(&Ends, &mut Link, SocketAddr) -> Result<()> + Send,
) -> Result<()> {
    let tap = Tap::new()?;
    let (mut process, server) = tap.website(context)?;
    tap.client.enter(|| {
        let mut link = Link::open(Tap::NAME, PATIENCE)?;
        let ends = Ends {
            image: neighbour(Tap::V4)?,
            client: link.address,
        };
        act(&ends, &mut link, server)?;
        still_serves(&mut process, server)
    })
}

/// The hardware address that the kernel has learnt for an IPv4 address.
fn neighbour(address: IpAddr) -> Result<Mac> {
    let table = std::fs::read_to_string("/proc/thread-self/net/arp")?;
    let line = table
        .lines()
        .find(|line| line.starts_with(&format!("{address} ")));
    let mac = line.and_then(|line| line.split_whitespace().nth(3));
    let mac = mac.with_context(|| format!("no neighbour {address} in:\n{table}"))?;
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()?;
    bytes
        .try_into()
        .map_err(|_| anyhow::anyhow!("{mac} is no hardware address"))
}

fn still_serves(process: &mut Process, server: SocketAddr) -> Result<()> {
    if let Ok(status) = process.exit(Duration::ZERO) {
        anyhow::bail!("the image ended with {status}:\n{}", process.output());
    }
    // An attempt may meet a full queue; the client's kernel tries again after a second.
    let response = http::get(server, "/", PATIENCE)?;
    ensure!(
        response.status == 200,
        "afterwards `/` was answered with {}",
        response.head
    );
    Ok(())
}

fn malformed(context: &Context) -> Result<()> {
    wire(context, |ends, link, _| {
        for (_, frame) in frames(ends) {
            link.send(&frame)?;
        }
        Ok(())
    })?;
    // One at a time too, so that a failure has a name.
    wire(context, |ends, link, server| {
        for (name, frame) in frames(ends) {
            link.send(&frame).with_context(|| name.to_owned())?;
            let served = http::get(server, "/", PATIENCE);
            served.with_context(|| format!("after the frame `{name}`"))?;
        }
        Ok(())
    })
}

fn random(context: &Context) -> Result<()> {
    let seed = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
    let changed = wire(context, |ends, link, _| {
        let mut random = Random(seed);
        let valid = valid(ends);
        for _ in 0..20_000 {
            let original = &valid[random.below(valid.len())];
            let mut frame = original.clone();
            for _ in 0..=random.below(4) {
                // The hardware addresses stay, or the image would not even look.
                let at = 12 + random.below(frame.len() - 12);
                frame[at] = random.next() as u8;
            }
            if original[12..14] == [8, 6] {
                // Who says by ARP to have another address is believed, and that is no mistake.
                frame[22..28].copy_from_slice(&ends.client);
            }
            if random.below(4) == 0 {
                frame.truncate(14 + random.below(frame.len() - 14));
            }
            link.send(&frame)?;
        }
        Ok(())
    });
    changed.with_context(|| format!("with the seed {seed}"))
}

/// SYNs a millisecond: fills a backlog of 1,024 five times a second, and is less than the tap
/// carries, for what the tap drops nobody behind it can serve.
const BURST: u64 = 5;
/// So many SYNs go by between two requests of the client that is to be served.
const BETWEEN: u64 = 500;

fn flood(context: &Context) -> Result<()> {
    let tap = Tap::new()?;
    let (mut process, server) = tap.website(context)?;
    tap.client.enter(|| {
        let (told, passed) = mpsc::channel();
        let (over, stop) = mpsc::channel::<()>();
        let mut link = Link::open(Tap::NAME, PATIENCE)?;
        let ends = Ends {
            image: neighbour(Tap::V4)?,
            client: link.address,
        };
        let sent = std::thread::scope(|scope| {
            let flooding = scope.spawn(move || {
                let mut random = Random(7);
                let mut sent = 0;
                loop {
                    // Addresses for tests of network devices (RFC 2544), behind the router.
                    let from = Ipv4Addr::from_bits(0xc612_0000 | random.next() as u32 & 0x1_ffff);
                    let port = 1024 + random.below(60_000) as u16;
                    let segment = tcp(from, port, random.next() as u32, 0x02, &[]);
                    link.send(&ethernet(&ends, 0x0800, &ipv4(from, 6, &segment)))?;
                    sent += 1;
                    if sent % BETWEEN == 0 {
                        // Nobody listens once all requests have been answered.
                        let _ = told.send(());
                    }
                    let tick = Duration::from_millis(1);
                    if sent % BURST == 0 && stop.recv_timeout(tick) != Err(Timeout) {
                        return Ok(sent);
                    }
                }
            });
            let served = served_while(&passed, server);
            drop(over);
            let flooded: Result<u64> = flooding
                .join()
                .map_err(|_| anyhow::anyhow!("the flooder panicked"))?;
            served.and(flooded)
        })?;
        still_serves(&mut process, server).with_context(|| format!("after {sent} SYNs"))
    })
}

/// Ten answers, one after the other, spread over at least 5,000 SYNs.
fn served_while(passed: &Receiver<()>, server: SocketAddr) -> Result<()> {
    for n in 1..=10 {
        passed
            .recv_timeout(PATIENCE)
            .context("the flood stands still")?;
        let start = Instant::now();
        let response = http::get(server, "/", PATIENCE);
        let waited = start.elapsed();
        let response =
            response.with_context(|| format!("request {n}, given up after {waited:?}"))?;
        ensure!(
            response.status == 200,
            "request {n} was answered with {}",
            response.head
        );
    }
    Ok(())
}

/// xorshift64*: enough to change bytes, and repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One frame of each kind that the image takes.
fn valid(ends: &Ends) -> Vec<Vec<u8>> {
    let from = Tap::CLIENT;
    let solicitation = [
        &[135, 0, 0, 0, 0, 0, 0, 0],
        &ipv6(0, &[])[24..40],
        &[1, 1],
        &ends.client[..],
    ]
    .concat();
    vec![
        ethernet(ends, 0x0806, &arp(1, ends.client, image_v4())),
        ethernet(ends, 0x0800, &ipv4(from, 1, &ping(&[7; 40]))),
        ethernet(ends, 0x0800, &ipv4(from, 17, &udp(from, 68, &[2; 60]))),
        ethernet(
            ends,
            0x0800,
            &ipv4(from, 6, &tcp(from, 9, 1, 0x02, &[2, 4, 5, 180])),
        ),
        ethernet(
            ends,
            0x0800,
            &ipv4_with(from, 1, &[7, 4, 4, 0], 0x2000, &ping(&[7; 40])),
        ),
        ethernet(ends, 0x86dd, &icmpv6(&solicitation)),
        ethernet(ends, 0x86dd, &icmpv6(&[128, 0, 0, 0, 0, 1, 0, 1, 9, 9])),
        ethernet(
            ends,
            0x86dd,
            &ipv6(0, &[58, 0, 5, 2, 0, 0, 1, 0, 128, 0, 0, 0, 0, 1, 0, 1]),
        ),
    ]
}

/// Frames that are each wrong in one way.
fn frames(ends: &Ends) -> Vec<(&'static str, Vec<u8>)> {
    let from = Tap::CLIENT;
    let v4 = |packet: &[u8]| ethernet(ends, 0x0800, packet);
    let v6 = |packet: &[u8]| ethernet(ends, 0x86dd, packet);
    let good = ipv4(from, 1, &ping(&[7; 40]));
    // With a byte changed; the header's checksum made right again unless it is the one changed.
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        if at != 10 {
            packet[10..12].fill(0);
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum);
        }
        v4(&packet)
    };
    let segment = |at: usize, value: u8| {
        let mut segment = tcp(from, 9, 1, 0x02, &[]);
        segment[at] = value;
        segment[16..18].fill(0);
        v4(&ipv4(from, 6, &with_sum(from, 6, segment, 16)))
    };
    let syn_with = |options: &[u8]| v4(&ipv4(from, 6, &tcp(from, 9, 1, 0x02, options)));
    let fragment = |field, payload: &[u8]| v4(&ipv4_with(from, 1, &[], field, payload));
    let options = |options: &[u8]| v4(&ipv4_with(from, 1, options, 0, &ping(&[7; 40])));
    let neighbour = |option: &[u8]| {
        let target = &ipv6(0, &[])[24..40];
        v6(&icmpv6(
            &[&[135, 0, 0, 0, 0, 0, 0, 0], target, option].concat(),
        ))
    };
    let router = |option: &[u8]| {
        v6(&icmpv6(
            &[&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0], option].concat(),
        ))
    };
    let mut short_datagram = udp(from, 68, &[2; 20]);
    short_datagram[4..6].copy_from_slice(&[0, 7]);
    let mut long_datagram = udp(from, 68, &[2; 20]);
    long_datagram[4..6].copy_from_slice(&[0xff, 0xff]);
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(150);
    vec![
        ("an Ethernet header alone", ethernet(ends, 0x0800, &[])),
        ("an unknown EtherType", ethernet(ends, 0x88b5, &[1; 60])),
        (
            "a length instead of an EtherType",
            ethernet(ends, 3, &[1; 60]),
        ),
        (
            "a VLAN tag without a frame",
            ethernet(ends, 0x8100, &[0, 1]),
        ),
        (
            "an ARP packet cut short",
            ethernet(ends, 0x0806, &arp(1, ends.client, image_v4())[..20]),
        ),
        (
            "an ARP packet of another hardware",
            ethernet(ends, 0x0806, &{
                let mut packet = arp(1, ends.client, image_v4());
                packet[4] = 255;
                packet
            }),
        ),
        (
            "an ARP answer from a multicast address",
            ethernet(ends, 0x0806, &arp(2, [0xff; 6], image_v4())),
        ),
        ("an IPv4 header cut short", v4(&good[..19])),
        ("version 6 in an IPv4 packet", changed(0, 0x65)),
        ("a header length of 0", changed(0, 0x40)),
        (
            "a header longer than the packet",
            v4(&{
                let mut packet = ipv4(from, 1, &[]);
                packet[0] = 0x4f;
                packet
            }),
        ),
        ("a total length of 0", changed(3, 0)),
        ("a total length below the header's", changed(3, 19)),
        ("a total length beyond the frame", changed(2, 0xff)),
        ("a wrong header checksum", changed(10, 0x55)),
        ("an unknown protocol", changed(9, 253)),
        ("a hop limit of 0", changed(8, 0)),
        ("the image's own address as the source", changed(15, 2)),
        ("a multicast source", changed(12, 224)),
        ("the loopback network as the source", changed(12, 127)),
        ("an option of length 0", options(&[7, 0, 0, 0])),
        ("an option of length 1", options(&[7, 1, 0, 0])),
        ("an option longer than the header", options(&[7, 39, 4, 0])),
        ("a source route", options(&[0x83, 7, 4, 10, 9, 0, 1, 0])),
        ("options up to the limit", options(&[1; 40])),
        (
            "a first fragment without the rest",
            fragment(0x2000, &ping(&[7; 40])),
        ),
        ("a fragment of 1 byte", fragment(0x2001, &[1])),
        ("a fragment without content", fragment(0x2001, &[])),
        ("a fragment over the one before", fragment(0x2002, &[9; 64])),
        (
            "a last fragment beyond 65,535 bytes",
            fragment(0x1fff, &[9; 64]),
        ),
        (
            "an echo request cut short",
            v4(&ipv4(from, 1, &[8, 0, 0xf7])),
        ),
        (
            "an unreachable message about nothing",
            v4(&ipv4(from, 1, &[3, 1, 0xfc, 0xfe, 0, 0, 0, 0])),
        ),
        ("a UDP header cut short", v4(&ipv4(from, 17, &[0, 1, 0]))),
        (
            "a UDP length below the header's",
            v4(&ipv4(from, 17, &short_datagram)),
        ),
        (
            "a UDP length beyond the packet",
            v4(&ipv4(from, 17, &long_datagram)),
        ),
        (
            "a UDP datagram to port 0",
            v4(&ipv4(from, 17, &udp(from, 0, &[]))),
        ),
        ("a TCP header cut short", v4(&ipv4(from, 6, &[0; 12]))),
        ("a TCP data offset of 0", segment(12, 0x00)),
        ("a TCP data offset beyond the segment", segment(12, 0xf0)),
        ("no TCP flags", segment(13, 0)),
        ("all TCP flags", segment(13, 0xff)),
        ("SYN and FIN", segment(13, 0x03)),
        ("SYN and RST", segment(13, 0x06)),
        ("a TCP segment to port 0", segment(3, 0)),
        ("a TCP option of length 0", syn_with(&[2, 0, 0, 0])),
        ("a TCP option of length 1", syn_with(&[2, 1, 5, 180])),
        ("a TCP option beyond the header", syn_with(&[1, 1, 2, 4])),
        ("a segment size of 0", syn_with(&[2, 4, 0, 0])),
        ("a window scale of 255", syn_with(&[3, 3, 255, 0])),
        ("an IPv6 header cut short", v6(&ipv6(58, &[])[..39])),
        (
            "version 4 in an IPv6 packet",
            v6(&[&[0x40], &ipv6(58, &[])[1..]].concat()),
        ),
        (
            "an IPv6 length beyond the frame",
            v6(&ipv6_with(58, 0xffff, &[0; 8])),
        ),
        (
            "an IPv6 length of 0 with content",
            v6(&ipv6_with(58, 0, &[128; 8])),
        ),
        ("hop-by-hop options cut short", v6(&ipv6(0, &[58]))),
        (
            "hop-by-hop options beyond the packet",
            v6(&ipv6(0, &[58, 255, 1, 4, 0, 0, 0, 0])),
        ),
        (
            "a hop-by-hop option beyond its header",
            v6(&ipv6(0, &[58, 0, 1, 255, 0, 0, 0, 0])),
        ),
        ("a long chain of extension headers", v6(&ipv6(60, &chain))),
        (
            "an extension header that names itself",
            v6(&ipv6(0, &[0, 0, 1, 4, 0, 0, 0, 0])),
        ),
        (
            "a routing header of type 0",
            v6(&ipv6(43, &[58, 2, 0, 1, 0, 0, 0, 0])),
        ),
        (
            "an IPv6 fragment header cut short",
            v6(&ipv6(44, &[58, 0, 0])),
        ),
        (
            "an IPv6 fragment without the rest",
            v6(&ipv6(44, &[58, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9])),
        ),
        ("an ICMPv6 header cut short", v6(&ipv6(58, &[135]))),
        (
            "a neighbour option of length 0",
            neighbour(&[1, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "a neighbour option beyond the packet",
            neighbour(&[1, 255, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "a router option of length 0",
            router(&[3, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "a prefix of 255 bits",
            router(&[&[3, 4, 255, 0xc0][..], &[0xff; 28]].concat()),
        ),
        ("an MTU of 0", router(&[5, 1, 0, 0, 0, 0, 0, 0])),
        (
            "a multicast report cut short",
            v6(&icmpv6(&[143, 0, 0, 0, 0, 0])),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_fits_an_ethernet_of_1500_bytes() {
        let ends = Ends {
            image: [2; 6],
            client: [4; 6],
        };
        let frames = frames(&ends);
        assert!(
            frames
                .iter()
                .all(|(_, frame)| (14..=1514).contains(&frame.len()))
        );
        assert!(valid(&ends).iter().all(|frame| frame.len() > 14));
    }
}
