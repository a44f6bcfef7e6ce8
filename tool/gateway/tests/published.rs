//! Connections and datagrams from the host to the guest.

mod guest;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use guest::{Guest, echo, finished, take};
use mirage_gateway::{BindError, Config, Event, Gateway};
use smoltcp::socket::tcp;
use smoltcp::wire::Ipv4Cidr;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn publish(ports: &[&str]) -> Config {
    let publish = ports.iter().map(|port| port.parse().unwrap()).collect();
    Config {
        publish,
        ..Config::default()
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(PATIENCE).unwrap();
    stream.set_write_timeout(PATIENCE).unwrap();
    stream
}

/// Bytes that tell when one is lost, doubled or moved.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

#[test]
fn a_published_port_carries_bytes_both_ways() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    let answer = guest.during(
        || {
            let mut stream = client(address);
            stream.write_all(b"hello").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        },
        |guest| echo(guest.socket(handle)),
    );
    assert_eq!(answer, "hello");
    let is_counted = |event: &Event| matches!(event, Event::Counted(_));
    let (counted, events): (Vec<Event>, Vec<Event>) = guest.events.try_iter().partition(is_counted);
    assert!(!counted.is_empty(), "what was counted is told");
    assert!(matches!(events[0], Event::FirstFrame { .. }), "{events:?}");
    let addressed = events
        .iter()
        .any(|event| matches!(event, Event::GuestAddress(_)));
    assert!(addressed, "{events:?}");
    assert!(events.contains(&Event::Answered { port: 7 }));
    assert_eq!(guest.end().connections, 1);
}

#[test]
fn a_connection_made_before_the_guest_boots_is_answered_when_it_has() {
    let mut guest = Guest::start(publish(&["0:7"]));
    let mut stream = client(guest.published[0].host);
    stream.write_all(b"early").unwrap();
    guest.dhcp();
    let handle = guest.listen(7);
    let mut answer = [0; 5];
    guest.during(
        || stream.read_exact(&mut answer).unwrap(),
        |guest| echo(guest.socket(handle)),
    );
    assert_eq!(&answer, b"early");
}

#[test]
fn a_guest_that_does_not_listen_yet_is_asked_again() {
    let mut guest = Guest::start(publish(&["0:7"]));
    let mut stream = client(guest.published[0].host);
    stream.write_all(b"early").unwrap();
    guest.dhcp();
    guest.until("three refused connections", |guest| {
        (guest.wire.syns >= 3).then_some(())
    });
    let handle = guest.listen(7);
    let mut answer = [0; 5];
    guest.during(
        || stream.read_exact(&mut answer).unwrap(),
        |guest| echo(guest.socket(handle)),
    );
    assert_eq!(&answer, b"early");
}

#[test]
fn a_guest_with_a_fixed_address_is_found_without_saying_a_word_first() {
    let mut guest = Guest::start(publish(&["0:7"]));
    guest.fix(Ipv4Cidr::new(Ipv4Addr::new(10, 0, 2, 15), 24));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    guest.during(
        || {
            let mut stream = client(address);
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        },
        |guest| echo(guest.socket(handle)),
    );
}

#[test]
fn a_guest_with_ipv6_alone_is_found_by_its_own_address() {
    let mut guest = Guest::start(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    guest.during(
        || {
            let mut stream = client(address);
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        },
        |guest| echo(guest.socket(handle)),
    );
    let far = guest.socket(handle).remote_endpoint();
    assert!(far.is_none_or(|far| far.addr.version() == smoltcp::wire::IpVersion::Ipv6));
}

#[test]
fn a_refused_port_closes_the_clients_connection() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    let error = guest.during(
        || {
            let mut stream = client(address);
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            // The guest listened once: now it does not, and it is believed at once.
            let mut stream = client(address);
            stream.read_exact(&mut [0]).unwrap_err().kind()
        },
        |guest| echo(guest.socket(handle)),
    );
    assert!(
        matches!(error, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
        "{error}"
    );
    assert_eq!(guest.end().refused, 1);
}

#[test]
fn the_clients_end_of_stream_reaches_the_guest_while_the_guest_still_sends() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    let mut received = Vec::new();
    let mut sent = false;
    let answer = guest.during(
        || {
            let mut stream = client(address);
            stream.write_all(b"question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        },
        |guest| {
            let socket = guest.socket(handle);
            received.extend(take(socket));
            if !sent && finished(socket) {
                assert_eq!(received, b"question");
                socket.send_slice(b"answer after the end").unwrap();
                socket.close();
                sent = true;
            }
        },
    );
    assert_eq!(answer, "answer after the end");
}

#[test]
fn the_guests_end_of_stream_reaches_the_client_while_the_client_still_sends() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    let (mut closed, mut received) = (false, Vec::new());
    guest.during(
        || {
            let mut stream = client(address);
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).unwrap();
            assert_eq!(greeting, "bye");
            stream.write_all(b"but I am not done").unwrap();
        },
        |guest| {
            let socket = guest.socket(handle);
            if !closed && socket.may_send() {
                socket.send_slice(b"bye").unwrap();
                socket.close();
                closed = true;
            }
            received.extend(take(socket));
        },
    );
    guest.until("the client's bytes and its end", |guest| {
        received.extend(take(guest.socket(handle)));
        finished(guest.socket(handle)).then_some(())
    });
    assert_eq!(received, b"but I am not done");
}

#[test]
fn a_reset_by_the_guest_is_a_reset_for_the_client() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let address = guest.published[0].host;
    let error = guest.during(
        || client(address).read(&mut [0]).unwrap_err().kind(),
        |guest| {
            if guest.socket(handle).state() == tcp::State::Established {
                guest.socket(handle).abort();
            }
        },
    );
    assert_eq!(error, ErrorKind::ConnectionReset);
}

#[test]
fn a_slow_guest_holds_the_client_back_and_loses_nothing() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen_with(7, 4096);
    let stream = client(guest.published[0].host);
    guest.until("the connection", |guest| {
        guest.socket(handle).may_recv().then_some(())
    });
    // Nobody reads: the client can write what the buffers on the way hold, and then no more.
    stream.set_nonblocking(true).unwrap();
    let data = pattern(24 << 20);
    let mut written = 0;
    let mut writer = &stream;
    loop {
        guest.poll();
        match writer.write(&data[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Until the client's own kernel has passed on all it can.
                let queued = rustix::io::ioctl_fionread(&stream);
                assert!(queued.is_ok());
                break;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written < data.len(), "nothing holds the client back");
    }
    stream.set_nonblocking(false).unwrap();
    let rest = &data[written..];
    let mut received = Vec::new();
    guest.during(
        || {
            (&stream).write_all(rest).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        },
        |guest| received.extend(take(guest.socket(handle))),
    );
    guest.until("all bytes", |guest| {
        received.extend(take(guest.socket(handle)));
        finished(guest.socket(handle)).then_some(())
    });
    assert!(
        received == data,
        "{} of {} bytes, or other ones",
        received.len(),
        data.len()
    );
}

#[test]
fn a_slow_client_holds_the_guest_back_and_loses_nothing() {
    let mut guest = Guest::up(publish(&["0:7"]));
    let handle = guest.listen(7);
    let mut stream = client(guest.published[0].host);
    let data = pattern(24 << 20);
    let mut sent = 0;
    // The guest writes until nobody takes any more: its buffer is full, and all is acknowledged
    // that will be.
    guest.until("the guest to be held back", |guest| {
        let socket = guest.socket(handle);
        if socket.can_send() {
            sent += socket.send_slice(&data[sent..]).unwrap();
        }
        assert!(sent < data.len(), "nothing holds the guest back");
        let full = sent > 0 && !socket.can_send();
        // A closed window: the engine waits for nothing but its probe.
        let idle = guest
            .flush()
            .is_none_or(|delay| delay > Duration::from_millis(100));
        (full && idle).then_some(())
    });
    let expected = data.len();
    let received = guest.during(
        || {
            let mut received = Vec::with_capacity(expected);
            stream.read_to_end(&mut received).unwrap();
            received
        },
        |guest| {
            let socket = guest.socket(handle);
            if sent < data.len() && socket.can_send() {
                sent += socket.send_slice(&data[sent..]).unwrap();
            } else if sent == data.len() {
                socket.close();
            }
        },
    );
    assert!(
        received == data,
        "{} of {} bytes, or other ones",
        received.len(),
        data.len()
    );
}

#[test]
fn large_segments_pass_uncut_both_ways() {
    let mut guest = Guest::with_mtu(publish(&["0:7"]), 65_000);
    guest.dhcp();
    let handle = guest.listen_with(7, 256 << 10);
    let address = guest.published[0].host;
    let data = pattern(8 << 20);
    let received = guest.during(
        || {
            let mut stream = client(address);
            let mut writer = stream.try_clone().unwrap();
            let data = &data;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    writer.write_all(data).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                received
            })
        },
        |guest| echo(guest.socket(handle)),
    );
    assert!(received == data);
    assert!(
        guest.wire.longest > 30_000,
        "the longest frame has {} bytes",
        guest.wire.longest
    );
}

#[test]
fn a_thousand_connections_at_once_are_all_served() {
    const CONNECTIONS: usize = 1000;
    // Few sockets listen at a time, as in a guest with a short queue.
    let mut guest = Guest::up(publish(&["0:7"]));
    let mut handles: Vec<_> = (0..CONNECTIONS)
        .map(|_| guest.listen_with(7, 2048))
        .collect();
    let address = guest.published[0].host;
    guest.during(
        || {
            let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| client(address)).collect();
            for (n, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&(n as u32).to_be_bytes()).unwrap();
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(u32::from_be_bytes(answer), n as u32);
            }
        },
        |guest| {
            for handle in &handles {
                echo(guest.socket(*handle));
            }
        },
    );
    handles.clear();
    let counters = guest.end();
    assert_eq!(
        (counters.connections, counters.refused),
        (CONNECTIONS as u64, 0)
    );
}

#[test]
fn datagrams_find_the_guest_and_answers_their_own_client() {
    let mut guest = Guest::with_mtu(publish(&["0:7/udp"]), 9000);
    guest.dhcp();
    let handle = guest.bind_udp(7);
    let address = guest.published[0].host;
    guest.during(
        || {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    socket.set_read_timeout(PATIENCE).unwrap();
                    socket.connect(address).unwrap();
                    socket
                })
                .collect();
            for (n, client) in clients.iter().enumerate() {
                // Empty, short, and longer than an Ethernet frame.
                client.send(&vec![n as u8; n * 1000]).unwrap();
            }
            for (n, client) in clients.iter().enumerate() {
                let mut answer = [0; 4000];
                let len = client.recv(&mut answer).unwrap();
                assert_eq!(answer[..len], vec![n as u8; n * 1000]);
            }
        },
        |guest| {
            while let Ok((data, from)) = guest
                .datagrams(handle)
                .recv()
                .map(|(data, from)| (data.to_vec(), from))
            {
                guest.datagrams(handle).send_slice(&data, from).unwrap();
            }
        },
    );
}

#[test]
fn a_port_in_use_is_an_error_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Gateway::bind(publish(&["0:1", &format!("{port}:80")]))
        .err()
        .unwrap();
    assert!(matches!(error, BindError::InUse(_)));
    assert_eq!(
        error.to_string(),
        format!("port {port} of 127.0.0.1 is in use; publish another one or stop what uses it")
    );
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Gateway::bind(publish(&[&format!("{port}:80/udp")]))
        .err()
        .unwrap();
    assert!(matches!(error, BindError::InUse(_)));
    let error = Gateway::bind(publish(&["192.0.2.1:0:80"])).err().unwrap();
    assert!(matches!(error, BindError::NoSuchAddress(_)), "{error}");
}

#[test]
fn a_stopped_gateway_returns_and_frees_its_ports() {
    let guest = Guest::up(publish(&["0:7"]));
    let address = guest.published[0].host;
    guest.stop.clone().stop();
    guest.join();
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}
