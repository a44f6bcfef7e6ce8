//! Connections, datagrams and names from the guest to the outside.

mod guest;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use guest::{Guest, finished, take};
use mirage_gateway::{Config, GATEWAY_V4, GATEWAY_V6};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpEndpoint};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn open() -> Config {
    Config {
        allow_host: true,
        ..Config::default()
    }
}

/// Waits until a connection of the guest is established, or is not.
fn connects(guest: &mut Guest, address: IpAddr, port: u16) -> bool {
    let handle = guest.connect(address, port, 50_000);
    let connected = guest.until("an answer", |guest| match guest.socket(handle).state() {
        tcp::State::SynSent => None,
        tcp::State::Closed => Some(false),
        _ => Some(true),
    });
    guest.socket(handle).abort();
    guest.poll();
    guest.sockets.remove(handle);
    connected
}

fn converse(guest: &mut Guest, listener: &TcpListener, address: IpAddr) {
    let port = listener.local_addr().unwrap().port();
    let handle = guest.connect(address, port, 50_001);
    let mut received = Vec::new();
    let mut asked = false;
    let question = guest.during(
        || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(PATIENCE).unwrap();
            let mut question = String::new();
            // The guest's end of stream comes through; then the answer does.
            stream.read_to_string(&mut question).unwrap();
            stream.write_all(b"answer").unwrap();
            question
        },
        |guest| {
            let socket = guest.socket(handle);
            if !asked && socket.can_send() {
                socket.send_slice(b"question").unwrap();
                socket.close();
                asked = true;
            }
            received.extend(take(socket));
        },
    );
    guest.until("the answer", |guest| {
        received.extend(take(guest.socket(handle)));
        finished(guest.socket(handle)).then_some(())
    });
    assert_eq!(
        (question.as_str(), &received[..]),
        ("question", &b"answer"[..])
    );
}

#[test]
fn a_guest_converses_with_a_listener_over_ipv4() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::up(open());
    converse(&mut guest, &listener, GATEWAY_V4.into());
    assert_eq!(guest.end().connections, 1);
}

#[test]
fn a_guest_converses_with_a_listener_over_ipv6() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let mut guest = Guest::start(open());
    guest.until("an address", |guest| {
        let global = |address: &smoltcp::wire::IpCidr| match address.address().into() {
            IpAddr::V6(address) => address.segments()[0] == 0xfd00,
            IpAddr::V4(_) => false,
        };
        guest.interface.ip_addrs().iter().any(global).then_some(())
    });
    converse(&mut guest, &listener, GATEWAY_V6.into());
}

#[test]
fn a_refused_connection_is_refused_to_the_guest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::up(open());
    assert!(connects(&mut guest, GATEWAY_V4.into(), port));
    drop(listener);
    assert!(!connects(&mut guest, GATEWAY_V4.into(), port));
    assert_eq!(guest.end().refused, 1);
}

#[test]
fn the_hosts_own_services_are_out_of_reach_by_default() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let mut guest = Guest::up(Config::default());
    let own = UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut addresses: Vec<IpAddr> = vec![GATEWAY_V4.into(), Ipv4Addr::LOCALHOST.into()];
    // The address that the host has towards the outside, where it has one.
    if own.connect("192.0.2.1:9").is_ok() {
        addresses.push(own.local_addr().unwrap().ip());
    }
    for address in &addresses {
        assert!(!connects(&mut guest, *address, port), "{address}");
        let handle = guest.bind_udp(6000);
        let to = IpEndpoint::new((*address).into(), port);
        guest.datagrams(handle).send_slice(b"psst", to).unwrap();
        guest.poll();
        guest.sockets.remove(handle);
    }
    let counters = guest.end();
    assert_eq!(counters.forbidden, 2 * addresses.len() as u64);
    assert!(
        datagrams.recv(&mut [0; 8]).is_err(),
        "a datagram came through"
    );
}

#[test]
fn without_outgoing_nothing_leaves() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let mut guest = Guest::up(Config {
        outgoing: false,
        resolvers: Some(vec![server.local_addr().unwrap()]),
        ..Config::default()
    });
    assert!(!connects(
        &mut guest,
        Ipv4Addr::new(192, 0, 2, 1).into(),
        80
    ));
    let handle = guest.bind_udp(6000);
    let to = IpEndpoint::new(GATEWAY_V4.into(), 53);
    guest
        .datagrams(handle)
        .send_slice(&question(1), to)
        .unwrap();
    guest.poll();
    assert_eq!(guest.end().forbidden, 2);
    assert!(
        server.recv(&mut [0; 512]).is_err(),
        "a question came through"
    );
}

#[test]
fn datagrams_reach_a_socket_and_come_back() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(PATIENCE).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut guest = Guest::up(open());
    let handles = [guest.bind_udp(6000), guest.bind_udp(6001)];
    let to = IpEndpoint::new(GATEWAY_V4.into(), port);
    for (n, handle) in handles.iter().enumerate() {
        guest
            .datagrams(*handle)
            .send_slice(&[n as u8; 100], to)
            .unwrap();
    }
    let mut answers = Vec::new();
    guest.during(
        || {
            for _ in 0..2 {
                let mut datagram = [0; 200];
                let (len, from) = server.recv_from(&mut datagram).unwrap();
                server.send_to(&datagram[..len], from).unwrap();
            }
        },
        |_| {},
    );
    guest.until("both answers", |guest| {
        for (n, handle) in handles.iter().enumerate() {
            if let Ok((data, from)) = guest.datagrams(*handle).recv() {
                assert_eq!((data, from.endpoint), (&[n as u8; 100][..], to));
                answers.push(n);
            }
        }
        (answers.len() == 2).then_some(())
    });
}

/// A DNS question with this transaction number.
fn question(id: u16) -> Vec<u8> {
    let mut question = id.to_be_bytes().to_vec();
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    question.extend(b"\x07example\x00\x00\x01\x00\x01");
    question
}

fn ask(guest: &mut Guest, id: u16, during: impl FnOnce() + Send) -> Vec<u8> {
    let handle = guest.bind_udp(6000 + id);
    let to = IpEndpoint::new(GATEWAY_V4.into(), 53);
    guest
        .datagrams(handle)
        .send_slice(&question(id), to)
        .unwrap();
    guest.during(during, |_| {});
    guest.until("the answer", |guest| match guest.datagrams(handle).recv() {
        Ok((answer, from)) => {
            assert_eq!(from.endpoint, to);
            Some(answer.to_vec())
        }
        Err(udp::RecvError::Exhausted) => None,
        Err(error) => panic!("{error}"),
    })
}

fn serve(server: &UdpSocket) {
    server.set_read_timeout(PATIENCE).unwrap();
    let mut question = [0; 512];
    let (len, from) = server.recv_from(&mut question).unwrap();
    let mut wrong = question;
    wrong[0] ^= 0xff;
    wrong[2] |= 0x80;
    server.send_to(&wrong[..len], from).unwrap();
    question[2] |= 0x80;
    server.send_to(&question[..len], from).unwrap();
}

#[test]
fn names_are_asked_of_the_resolver_and_only_its_answer_is_believed() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::up(Config {
        resolvers: Some(vec![server.local_addr().unwrap()]),
        ..Config::default()
    });
    let mut expected = question(7);
    expected[2] |= 0x80;
    assert_eq!(ask(&mut guest, 7, || serve(&server)), expected);
}

#[test]
fn a_resolver_that_is_not_there_gives_way_to_the_next() {
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut guest = Guest::up(Config {
        resolvers: Some(vec![gone, server.local_addr().unwrap()]),
        ..Config::default()
    });
    assert_eq!(ask(&mut guest, 7, || serve(&server))[3] & 15, 0);
}

#[test]
fn with_no_resolver_the_guest_is_told_at_once() {
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for resolvers in [vec![], vec![gone]] {
        let mut guest = Guest::up(Config {
            resolvers: Some(resolvers),
            ..Config::default()
        });
        let answer = ask(&mut guest, 9, || {});
        assert_eq!((answer[2] & 0x80, answer[3] & 15), (0x80, 2), "SERVFAIL");
    }
}

#[test]
fn names_are_asked_over_tcp_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let resolvers: Vec<SocketAddr> = vec![gone, listener.local_addr().unwrap()];
    let mut guest = Guest::up(Config {
        resolvers: Some(resolvers),
        ..Config::default()
    });
    assert!(connects(&mut guest, GATEWAY_V4.into(), 53));
}

#[test]
fn the_gateway_answers_a_ping_and_nobody_else_does() {
    let mut guest = Guest::up(Config::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let handle = guest.sockets.add(icmp::Socket::new(buffer(), buffer()));
    guest
        .sockets
        .get_mut::<icmp::Socket>(handle)
        .bind(icmp::Endpoint::Ident(7))
        .unwrap();
    for address in [Ipv4Addr::new(192, 0, 2, 1), GATEWAY_V4] {
        let echo = Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no: 1,
            data: b"ping",
        };
        let socket = guest.sockets.get_mut::<icmp::Socket>(handle);
        let bytes = socket.send(echo.buffer_len(), address.into()).unwrap();
        echo.emit(
            &mut Icmpv4Packet::new_unchecked(bytes),
            &smoltcp::phy::ChecksumCapabilities::default(),
        );
    }
    let from = guest.until("the answer", |guest| {
        guest
            .sockets
            .get_mut::<icmp::Socket>(handle)
            .recv()
            .ok()
            .map(|(_, from)| from)
    });
    assert_eq!(from, GATEWAY_V4.into());
    // The other ping came to nothing, as did what the guest told of its groups.
    let reports = guest.wire.reports;
    assert_eq!(guest.end().unsupported, 1 + reports);
}

#[test]
fn an_address_of_ipv6_that_hides_an_ipv4_one_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::start(Config::default());
    guest.until("a router", |guest| {
        (guest.interface.ip_addrs().len() > 1).then_some(())
    });
    let mapped: Ipv6Addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    assert!(!connects(&mut guest, mapped.into(), port));
    assert!(!connects(&mut guest, Ipv6Addr::LOCALHOST.into(), port));
}
