//! The traits of `edge-nal` on this platform's stack, with a client that knows only those.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use edge_http::io::client::Connection;
use edge_nal::{
    Close, Dns, Readable, TcpAccept, TcpBind, TcpShutdown, TcpSplit, UdpBind, UdpConnect,
    UdpReceive, UdpSend, UdpSplit,
};
use mirage_device::io::{Read, Write};
use mirage_device::nal::Nal;
use mirage_device::{Sleep, Spawn};
use mirage_host::{Host, Options, Stack};
use mirage_runtime::{Runtime, Spawner, Timer};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs a test on a host of its own; it fails rather than hang.
fn run(test: impl AsyncFnOnce(Nal<Stack>, Runtime<Host>)) {
    let runtime = Runtime::new(Host::new(Options::default()).unwrap());
    let timer = Timer::new(runtime.clone());
    let future = test(Nal::new(Stack::new(runtime.clone())), runtime.clone());
    runtime
        .block_on(timer.timeout(PATIENCE, future))
        .expect("the test takes too long");
}

#[test]
fn a_client_written_for_edge_nal_fetches_a_page() {
    let server = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = server.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap();
        // Whatever else the client says is read, so that closing does not reset.
        stream.read_to_end(&mut Vec::new()).unwrap();
        String::from_utf8(request).unwrap()
    });
    run(async |nal, _| {
        let mut buffer = [0; 4096];
        let mut connection: Connection<'_, _> = Connection::new(&mut buffer, &nal, address);
        let headers = [("Host", "loopback")];
        connection
            .initiate_request(true, edge_http::Method::Get, "/page", &headers)
            .await
            .unwrap();
        connection.initiate_response().await.unwrap();
        let mut body = [0; 5];
        connection.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hello");
    });
    assert!(
        serving
            .join()
            .unwrap()
            .starts_with("GET /page HTTP/1.1\r\n")
    );
}

#[test]
fn halves_of_a_connection_work_apart_and_close_in_order() {
    run(async |nal, runtime| {
        // The acceptor tells no port; ask the kernel for a free one first.
        let free = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let acceptor = TcpBind::bind(&nal, address).await.unwrap();
        let client = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"over").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let (_, mut socket) = acceptor.accept().await.unwrap();
        socket.readable().await.unwrap();
        let (reader, writer) = socket.split();
        let mut word = [0; 4];
        reader.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"over");
        assert_eq!(reader.read(&mut word).await, Ok(0));
        writer.write_all(b"and out").await.unwrap();
        socket.close(Close::Both).await.unwrap();
        let waiting = Spawner::new(runtime).spawn(async move { client.join().unwrap() });
        assert_eq!(waiting.await, "and out");
    });
}

#[test]
fn datagrams_go_both_ways_and_a_connected_port_hears_its_peer_only() {
    run(async |nal, _| {
        let peer = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        let stranger = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let peer_address = peer.local_addr().unwrap();
        let mut socket = UdpConnect::connect(&nal, LOOPBACK, peer_address)
            .await
            .unwrap();
        let (mut receive, mut send) = socket.split();
        send.send(peer_address, b"marco").await.unwrap();
        let mut buffer = [0; 16];
        let (count, here) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"marco");
        stranger.send_to(b"noise", here).unwrap();
        peer.send_to(b"polo", here).unwrap();
        let (count, from) = receive.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..count], from), (&b"polo"[..], peer_address));
    });
}

#[test]
fn a_bound_port_hears_everybody_and_a_literal_name_is_its_address() {
    run(async |nal, _| {
        let peer = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        let peer_address = peer.local_addr().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = UdpBind::bind(&nal, LOOPBACK).await.unwrap();
        socket.send(peer_address, b"here").await.unwrap();
        let mut buffer = [0; 16];
        let (_, here) = peer.recv_from(&mut buffer).unwrap();
        peer.send_to(b"there", here).unwrap();
        let (count, from) = socket.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..count], from), (&b"there"[..], peer_address));
        let found = nal
            .get_host_by_name("192.0.2.7", edge_nal::AddrType::IPv4)
            .await;
        assert_eq!(found, Ok(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))));
    });
}

#[test]
fn two_tasks_cannot_accept_on_one_port_at_a_time() {
    run(async |nal, _| {
        let acceptor = TcpBind::bind(&nal, LOOPBACK).await.unwrap();
        let mut first = std::pin::pin!(acceptor.accept());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(acceptor.accept().await.is_err());
    });
}
