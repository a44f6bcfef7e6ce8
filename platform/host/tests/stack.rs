//! The contract of the interface `stack`, sentence by sentence, against clients of std.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{
    AddressFamily, Flow, FlowError, FlowWrite, Listener, Sleep, Spawn, Stack as _, StackError, Udp,
};
use mirage_host::{Host, Options, Stack};
use mirage_runtime::{Runtime, Spawner, Timer};

const PATIENCE: Duration = Duration::from_secs(20);
const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

fn runtime(publish: &[&str]) -> Runtime<Host> {
    let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
    Runtime::new(
        Host::new(Options {
            publish,
            ..Options::default()
        })
        .unwrap(),
    )
}

/// Runs a test on a host of its own; it fails rather than hang.
fn run<T>(publish: &[&str], test: impl AsyncFnOnce(Stack, Runtime<Host>) -> T) -> T {
    let runtime = runtime(publish);
    let timer = Timer::new(runtime.clone());
    let future = test(Stack::new(runtime.clone()), runtime.clone());
    runtime
        .block_on(timer.timeout(PATIENCE, future))
        .expect("the test takes too long")
}

fn client<T: Send + 'static>(
    address: SocketAddr,
    talk: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        talk(stream)
    })
}

#[test]
fn a_listener_accepts_and_both_know_both_addresses() {
    run(&[], async |stack, _| {
        stack.up().await;
        let mut listener = stack.listen(ANY, 16).unwrap();
        let local = listener.local();
        assert_eq!(
            local.ip(),
            Ipv4Addr::LOCALHOST,
            "nothing is exposed by accident"
        );
        let peer = client(local, |stream| stream.local_addr().unwrap());
        let flow = listener.accept().await.unwrap();
        assert_eq!(flow.local(), Some(local));
        assert_eq!(flow.peer(), Some(peer.join().unwrap()));
    });
}

#[test]
fn bytes_go_both_ways_and_the_end_is_read_again_and_again() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let peer = client(listener.local(), |mut stream| {
            stream.write_all(b"question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut flow = listener.accept().await.unwrap();
        let (mut question, mut buffer) = (Vec::new(), [0; 3]);
        assert_eq!(flow.read(&mut []).await, Ok(0), "an empty buffer is no end");
        loop {
            match flow.read(&mut buffer).await.unwrap() {
                0 => break,
                len => question.extend_from_slice(&buffer[..len]),
            }
        }
        assert_eq!(question, b"question");
        assert_eq!(flow.read(&mut buffer).await, Ok(0));
        // The peer has closed its side; this one goes on.
        flow.write_all(b"an ").await.unwrap();
        let len = flow.write_vectored(&[b"ans", b"", b"wer"]).await.unwrap();
        assert_eq!(len, 6);
        flow.flush().await.unwrap();
        drop(flow);
        assert_eq!(peer.join().unwrap(), "an answer");
    });
}

#[test]
fn after_a_shutdown_reading_goes_on_and_writing_is_closed() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let peer = client(listener.local(), |mut stream| {
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            stream.write_all(b"late").unwrap();
            all
        });
        let mut flow = listener.accept().await.unwrap();
        flow.write_all(b"last words").await.unwrap();
        flow.shutdown();
        flow.shutdown();
        assert_eq!(flow.write(b"x").await, Err(FlowError::Closed));
        assert_eq!(flow.write_vectored(&[b"x"]).await, Err(FlowError::Closed));
        let mut buffer = [0; 4];
        flow.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"late");
        assert_eq!(peer.join().unwrap(), "last words");
    });
}

#[test]
fn halves_belong_to_different_tasks_and_the_writer_ends_its_side_when_dropped() {
    run(&[], async |stack, runtime| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let peer = client(listener.local(), |mut stream| {
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            stream.write_all(b"heard").unwrap();
            all
        });
        let (mut reader, mut writer) = listener.accept().await.unwrap().split();
        let task = Spawner::new(runtime).spawn(async move {
            let mut buffer = [0; 5];
            reader.read_exact(&mut buffer).await.unwrap();
            buffer
        });
        writer.write_all(b"hear").await.unwrap();
        drop(writer);
        assert_eq!(&task.await, b"heard");
        assert_eq!(peer.join().unwrap(), "hear");
    });
}

#[test]
fn an_abort_is_a_reset_for_the_peer_and_a_reset_of_the_peer_is_one_here() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let peer = client(listener.local(), |mut stream| {
            stream.read(&mut [0; 8]).map_err(|error| error.kind())
        });
        let mut flow = listener.accept().await.unwrap();
        flow.write_all(b"").await.unwrap();
        flow.abort();
        assert_eq!(peer.join().unwrap(), Err(ErrorKind::ConnectionReset));

        // Closing with bytes unread is how a kernel is made to reset.
        let peer = client(listener.local(), |stream| {
            stream.peek(&mut [0]).unwrap();
        });
        let mut flow = listener.accept().await.unwrap();
        flow.write_all(b"unread").await.unwrap();
        peer.join().unwrap();
        assert_eq!(flow.read(&mut [0; 8]).await, Err(FlowError::Reset));
    });
}

#[test]
fn dropping_a_flow_delivers_what_was_written_even_with_bytes_unread() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let peer = client(listener.local(), |mut stream| {
            stream.write_all(&[1; 100_000]).unwrap();
            let mut all = Vec::new();
            stream
                .read_to_end(&mut all)
                .map(|_| all.len())
                .map_err(|error| error.kind())
        });
        let mut flow = listener.accept().await.unwrap();
        let mut first = [0; 100_000];
        // All has arrived when the last byte has, and some of it stays unread.
        flow.read_exact(&mut first[..99_000]).await.unwrap();
        flow.write_all(&[2; 50_000]).await.unwrap();
        drop(flow);
        assert_eq!(peer.join().unwrap(), Ok(50_000));
    });
}

#[test]
fn a_write_waits_while_the_peer_does_not_read_and_a_dropped_one_has_taken_nothing() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let peer = client(listener.local(), move |mut stream| {
            wait.recv().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let mut flow = listener.accept().await.unwrap();
        let mut sent: Vec<u8> = Vec::new();
        let pattern: Vec<u8> = (0..65_521_u32).map(|n| n as u8).collect();
        while let Some(len) = poll_once(flow.write(&pattern)) {
            sent.extend_from_slice(&pattern[..len.unwrap()]);
        }
        go.send(()).unwrap();
        flow.write_all(b"end").await.unwrap();
        flow.flush().await.unwrap();
        drop(flow);
        sent.extend_from_slice(b"end");
        let received = peer.join().unwrap();
        assert!(
            received == sent,
            "{} bytes of {}",
            received.len(),
            sent.len()
        );
    });
}

#[test]
fn a_dropped_read_has_taken_no_byte_and_a_dropped_accept_no_connection() {
    run(&[], async |stack, _| {
        let mut listener = stack.listen(ANY, 16).unwrap();
        assert!(poll_once(listener.accept()).is_none());
        let mut peer = TcpStream::connect(listener.local()).unwrap();
        let mut flow = listener.accept().await.unwrap();
        let mut buffer = [0; 8];
        assert!(poll_once(flow.read(&mut buffer)).is_none());
        peer.write_all(b"all").unwrap();
        flow.read_exact(&mut buffer[..3]).await.unwrap();
        assert_eq!(&buffer[..3], b"all");
    });
}

fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn a_port_in_use_and_an_address_of_somebody_else_are_errors() {
    run(&[], async |stack, _| {
        let listener = stack.listen(ANY, 16).unwrap();
        assert_eq!(
            stack.listen(listener.local(), 16).err(),
            Some(StackError::AddressInUse)
        );
        let foreign = "192.0.2.1:0".parse().unwrap();
        assert_eq!(
            stack.listen(foreign, 16).err(),
            Some(StackError::InvalidAddress)
        );
        let address = listener.local();
        drop(listener);
        assert!(
            stack.listen(address, 16).is_ok(),
            "a dropped listener frees its port"
        );
        let udp = stack.bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(
            stack.bind_udp(udp.local()).err(),
            Some(StackError::AddressInUse)
        );
    });
}

#[test]
fn dropping_a_listener_resets_what_was_not_accepted() {
    run(&[], async |stack, _| {
        let listener = stack.listen(ANY, 16).unwrap();
        let mut waiting = TcpStream::connect(listener.local()).unwrap();
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(listener);
        let error = waiting.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_published_port_is_opened_where_it_was_published() {
    run(
        &["127.0.0.2:0=80/tcp", "127.0.0.3:0=53/udp"],
        async |stack, _| {
            for local in ["[::]:80", "0.0.0.0:80", "10.0.0.2:80"] {
                let mut listener = stack.listen(local.parse().unwrap(), 16).unwrap();
                let address = listener.local();
                assert_eq!(address.ip(), Ipv4Addr::new(127, 0, 0, 2));
                let peer = client(address, |_| ());
                listener.accept().await.unwrap();
                peer.join().unwrap();
            }
            let udp = stack.bind_udp("[::]:53".parse().unwrap()).unwrap();
            assert_eq!(udp.local().ip(), Ipv4Addr::new(127, 0, 0, 3));
        },
    );
}

#[test]
fn a_connection_is_opened_or_refused() {
    run(&[], async |stack, _| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let mut flow = stack.connect(address).await.unwrap();
            let (mut peer, from) = listener.accept().unwrap();
            assert_eq!((flow.peer(), flow.local()), (Some(address), Some(from)));
            peer.write_all(b"hi").unwrap();
            let mut buffer = [0; 2];
            flow.read_exact(&mut buffer).await.unwrap();
            drop(listener);
            assert_eq!(
                stack.connect(address).await.err(),
                Some(StackError::Refused)
            );
        }
        for nowhere in ["127.0.0.1:0", "0.0.0.0:80", "[ff02::1]:80"] {
            let error = stack.connect(nowhere.parse().unwrap()).await.err();
            assert_eq!(error, Some(StackError::InvalidAddress), "{nowhere}");
        }
    });
}

#[test]
fn datagrams_are_whole_and_a_long_one_tells_its_full_length() {
    run(&[], async |stack, _| {
        let udp = stack.bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 4];
        assert!(poll_once(udp.receive(&mut buffer)).is_none());
        for datagram in [&b"ab"[..], b"", b"abcdef", b"cd"] {
            peer.send_to(datagram, udp.local()).unwrap();
        }
        let from = peer.local_addr().unwrap();
        for (len, start) in [(2, &b"ab"[..]), (0, b""), (6, b"abcd"), (2, b"cd")] {
            assert_eq!(udp.receive(&mut buffer).await, Ok((len, from)));
            assert_eq!(&buffer[..len.min(4)], start);
        }
        udp.send(b"answer", from).await.unwrap();
        let len = peer.recv(&mut [0; 16]).unwrap();
        assert_eq!(len, 6);
        assert_eq!(udp.send(&[0; 65_508], from).await, Err(StackError::TooLong));
        // Nobody is there: that is no error of this datagram or the next.
        drop(peer);
        udp.send(b"x", from).await.unwrap();
        udp.send(b"x", from).await.unwrap();
    });
}

#[test]
fn a_clients_udp_socket_reaches_both_families() {
    run(&[], async |stack, _| {
        let udp = stack.bind_udp(ANY).unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let peer = UdpSocket::bind(address).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            udp.send(b"ping", peer.local_addr().unwrap()).await.unwrap();
            let mut buffer = [0; 8];
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            peer.send_to(&buffer[..len], from).unwrap();
            let answer = udp.receive(&mut buffer).await.unwrap();
            assert_eq!(
                answer,
                (4, peer.local_addr().unwrap()),
                "an IPv4 address is one"
            );
        }
    });
}

#[test]
fn groups_are_joined_and_left() {
    run(&[], async |stack, _| {
        let udp = stack.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
        assert_eq!(
            udp.join(Ipv4Addr::LOCALHOST.into()),
            Err(StackError::InvalidAddress)
        );
        let udp = stack.bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let group = Ipv4Addr::new(224, 0, 0, 251).into();
        match udp.join(group) {
            Ok(()) => {
                assert_eq!(udp.join(group), Ok(()));
                assert_eq!(udp.leave(group), Ok(()));
            }
            // A machine without a route for groups.
            Err(error) => assert_eq!(error, StackError::Unreachable),
        }
        assert_eq!(
            udp.leave(group),
            Err(StackError::InvalidAddress),
            "it is no member"
        );
    });
}

#[test]
fn names_are_looked_up_without_stopping_other_tasks() {
    run(&[], async |stack, _| {
        let found = stack.resolve("localhost", AddressFamily::V4).await.unwrap();
        assert_eq!(found, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let text = stack
            .resolve("192.0.2.1", AddressFamily::Any)
            .await
            .unwrap();
        assert_eq!(text, [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]);
        let wrong = stack.resolve("192.0.2.1", AddressFamily::V6).await;
        assert_eq!(wrong, Err(StackError::NameNotFound));
        assert_eq!(
            stack.resolve("", AddressFamily::Any).await,
            Err(StackError::NameNotFound)
        );
        // Dropped while the thread is at work: its answer meets nobody. Now and then a thread is
        // done before the first poll.
        let mut lookups =
            (0..100).map(|_| poll_once(stack.resolve("localhost", AddressFamily::Any)));
        assert!(lookups.any(|answer| answer.is_none()));
    });
}

#[test]
fn many_connections_are_served_at_once() {
    run(&[], async |stack, runtime| {
        let mut listener = stack.listen(ANY, 1024).unwrap();
        let address = listener.local();
        let peers = std::thread::spawn(move || {
            let mut streams: Vec<_> = (0..400)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            for (n, stream) in streams.iter_mut().enumerate() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(&[n as u8]).unwrap();
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                let mut answer = [0];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [n as u8]);
            }
        });
        let spawn = Spawner::new(runtime);
        let mut tasks = Vec::new();
        for _ in 0..400 {
            let mut flow = listener.accept().await.unwrap();
            tasks.push(spawn.spawn(async move {
                let mut byte = [0];
                flow.read_exact(&mut byte).await.unwrap();
                flow.write_all(&byte).await.unwrap();
            }));
        }
        for task in tasks {
            task.await;
        }
        peers.join().unwrap();
    });
}
