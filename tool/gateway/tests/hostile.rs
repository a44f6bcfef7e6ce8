//! What a hostile guest sends: every frame is carried or counted, and the gateway lives on.

mod guest;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use guest::{Guest, MAC, echo};
use mirage_gateway::{Config, Counters, GATEWAY_V4};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpEndpoint, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber,
};

fn config() -> Config {
    Config {
        publish: vec!["0:7".parse().unwrap()],
        // Nothing a random frame asks for reaches anybody.
        resolvers: Some(Vec::new()),
        ..Config::default()
    }
}

/// A connection still works.
fn lives(guest: &mut Guest) {
    // A random frame may have told the gateway another hardware address: this one tells it ours.
    let datagrams = guest.bind_udp(9);
    let discard = IpEndpoint::new(GATEWAY_V4.into(), 9);
    guest.datagrams(datagrams).send_slice(b"", discard).unwrap();
    guest.poll();
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    guest.during(
        || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        },
        |guest| echo(guest.socket(handle)),
    );
}

fn dropped(counters: &Counters) -> u64 {
    counters.malformed + counters.foreign + counters.fragments + counters.unsupported
}

/// The start of a frame that gets past the first checks, of each protocol.
fn prefixes() -> impl Strategy<Value = Vec<u8>> {
    let ethernet = |protocol: [u8; 2]| [&[0x52, 0x55, 10, 0, 2, 2][..], &MAC.0, &protocol].concat();
    let ipv4 = move |protocol: u8, len: u16| {
        let len = len.to_be_bytes();
        let header = [
            0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2,
        ];
        [ethernet([8, 0]), header.to_vec()].concat()
    };
    let ipv6 = move |protocol: u8, hops: u8, len: u16| {
        let len = len.to_be_bytes();
        let mut header = vec![0x60, 0, 0, 0, len[0], len[1], protocol, hops];
        header.extend(b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0f");
        header.extend(b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02");
        [ethernet([0x86, 0xdd]), header].concat()
    };
    prop_oneof![
        Just(Vec::new()),
        Just(ethernet([8, 0])),
        Just(ethernet([8, 6])),
        Just(ethernet([0x86, 0xdd])),
        (
            prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()],
            20..120_u16
        )
            .prop_map(move |(protocol, len)| ipv4(protocol, len)),
        (
            prop_oneof![Just(58_u8), Just(6), Just(17), any::<u8>()],
            0..100_u16
        )
            .prop_map(move |(protocol, len)| ipv6(protocol, 255, len)),
        // A DHCP message.
        (240..400_u16).prop_map(move |len| {
            let len = len.to_be_bytes();
            let mut frame = ipv4(17, 20 + 8 + u16::from_be_bytes(len));
            frame.extend([0, 68, 0, 67, len[0], len[1], 0, 0]);
            frame.extend([1, 1, 6, 0]);
            frame
        }),
    ]
}

#[test]
fn no_frame_stops_the_gateway() {
    let frames = (prefixes(), prop::collection::vec(any::<u8>(), 0..400))
        .prop_map(|(prefix, rest)| [prefix, rest].concat());
    let batches = prop::collection::vec((frames, any::<bool>()), 1..64);
    let mut guest = Guest::up(config());
    // A failure prints the frames that cause it, and the seed.
    let mut runner = TestRunner::new(Runs {
        cases: 200,
        failure_persistence: None,
        ..Runs::default()
    });
    let guest_cell = std::cell::RefCell::new(&mut guest);
    runner
        .run(&batches, |batch| {
            let mut guest = guest_cell.borrow_mut();
            for (frame, with_header) in &batch {
                match with_header {
                    true => guest.wire.send_frame(frame),
                    false => guest.wire.send_message(frame),
                }
            }
            // All of them have been dealt with when this has been answered.
            while guest.wire.receive_frame().is_some() {}
            Ok(())
        })
        .unwrap();
    lives(&mut guest);
    let counters = guest.end();
    assert!(dropped(&counters) > 1000, "{counters}");
}

#[test]
fn an_empty_message_is_not_the_end() {
    let mut guest = Guest::up(config());
    for message in [&[][..], &[0], &[0; 10], &[0; 23], &[0; 80_000]] {
        guest.wire.send_message(message);
    }
    lives(&mut guest);
    assert_eq!(guest.end().malformed, 5);
}

/// A frame that asks for a connection.
fn syn(source: u16, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: source,
        dst_port: port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(0),
        ack_number: None,
        window_len: 1000,
        window_scale: None,
        max_seg_size: Some(0),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: Ipv4Addr::new(10, 0, 2, 15),
        dst_addr: to,
        next_header: IpProtocol::Tcp,
        payload_len: segment.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; 14 + ip.buffer_len() + segment.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_src_addr(MAC);
    frame.set_dst_addr(smoltcp::wire::EthernetAddress([0x52, 0x55, 10, 0, 2, 2]));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let checksums = ChecksumCapabilities::default();
    ip.emit(
        &mut Ipv4Packet::new_unchecked(frame.payload_mut()),
        &checksums,
    );
    segment.emit(
        &mut TcpPacket::new_unchecked(&mut bytes[34..]),
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        &checksums,
    );
    bytes
}

#[test]
fn a_flood_of_half_open_connections_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 4096).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::up(Config {
        allow_host: true,
        ..config()
    });
    // The plain guest must not answer what it never asked for: its frames are thrown away.
    for source in 1..10_000 {
        guest.wire.send_frame(&syn(source, GATEWAY_V4, port));
        while guest.wire.receive_frame().is_some() {}
    }
    guest.until("all frames to be taken", |guest| {
        while guest.wire.receive_frame().is_some() {}
        guest.wire.is_drained().then_some(())
    });
    let counters = guest.end();
    assert!(counters.no_room > 5_000, "{counters}");
    assert_eq!(counters.connections, 0, "none was ever acknowledged");
}

#[test]
fn a_guest_that_never_reads_costs_a_bounded_number_of_frames() {
    let mut guest = Guest::up(config());
    // Each is answered with a reset that nobody reads.
    for n in 0..20_000_u32 {
        guest.wire.send_frame(&syn(
            1 + (n % 60_000) as u16,
            Ipv4Addr::new(127, 0, 0, 1),
            9,
        ));
    }
    guest.drain_unread();
    let counters = guest.end();
    // The last frames may still lie in the pair.
    assert!(counters.forbidden > 19_000, "{counters}");
    assert!(counters.link_full > 1_000, "{counters}");
}

#[test]
fn frames_of_a_foreign_address_and_fragments_are_counted() {
    let mut guest = Guest::up(config());
    let mut foreign = syn(5, GATEWAY_V4, 9);
    foreign[26] = 11;
    guest.wire.send_frame(&foreign);
    let mut fragment = syn(5, GATEWAY_V4, 9);
    fragment[20] = 0x20;
    guest.wire.send_frame(&fragment);
    lives(&mut guest);
    let counters = guest.end();
    assert_eq!((counters.foreign, counters.fragments), (1, 1));
}
