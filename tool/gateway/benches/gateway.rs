//! Figures of the gateway with a plain smoltcp guest on another thread:
//! `cargo bench -p mirage-gateway`.

#[path = "../tests/guest/mod.rs"]
mod guest;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use guest::{Guest, echo, finished};
use mirage_gateway::Config;

const BULK: usize = 1 << 30;
const REQUESTS: u32 = 50_000;

fn config() -> Config {
    let mut config = Config::default();
    config
        .publish
        .push("0:7".parse().expect("a published port"));
    config
}

fn guest() -> Guest {
    let mut guest = Guest::with_mtu(config(), 65_000);
    guest.dhcp();
    guest
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Processor time of the gateway's thread: what the machine's other work does not touch.
fn gateway_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.flatten().filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = times.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        (name == "gateway\n").then_some(nanos)
    });
    Duration::from_nanos(nanos.sum())
}

fn bulk(name: &str, time: Duration) {
    let rate = |time: Duration| BULK as f64 / time.as_secs_f64() / 1e6;
    let (rate, limit) = (rate(time), rate(gateway_time()));
    println!("{name}: {rate:.0} MB/s; one core of gateway carries {limit:.0} MB/s");
}

fn first_answer() {
    let start = Instant::now();
    let mut guest = Guest::start(config());
    let mut stream = connect(guest.published[0].host);
    stream.write_all(b"x").expect("a connection");
    let handle = guest.listen(7);
    guest.dhcp();
    guest.during(
        || stream.read_exact(&mut [0]).expect("an answer"),
        |guest| {
            echo(guest.socket(handle));
        },
    );
    println!(
        "first answer, DHCP included: {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
}

fn host_to_guest() {
    let mut guest = guest();
    let handle = guest.listen_with(7, 256 << 10);
    let mut stream = connect(guest.published[0].host);
    let start = Instant::now();
    let mut received = 0;
    let mut drain = |guest: &mut Guest| {
        let socket = guest.socket(handle);
        while socket.can_recv() {
            received += socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0);
        }
    };
    guest.during(
        || {
            let block = vec![7; 256 << 10];
            for _ in 0..BULK / block.len() {
                stream.write_all(&block).expect("a connection");
            }
            stream.shutdown(Shutdown::Write).expect("a connection");
        },
        &mut drain,
    );
    guest.until("the rest", |guest| {
        drain(guest);
        finished(guest.socket(handle)).then_some(())
    });
    bulk("host to guest", start.elapsed());
}

fn guest_to_host() {
    let mut guest = guest();
    let handle = guest.listen_with(7, 256 << 10);
    let mut stream = connect(guest.published[0].host);
    let start = Instant::now();
    let mut left = BULK;
    guest.during(
        || {
            let mut block = vec![0; 256 << 10];
            while stream.read(&mut block).expect("a connection") > 0 {}
        },
        |guest| {
            let socket = guest.socket(handle);
            while left > 0 && socket.can_send() {
                left -= socket
                    .send(|room| {
                        let len = room.len().min(left);
                        (len, len)
                    })
                    .unwrap_or(0);
            }
            if left == 0 {
                socket.close();
            }
        },
    );
    bulk("guest to host", start.elapsed());
}

fn requests(connections: u32) {
    let mut guest = guest();
    let handles: Vec<_> = (0..connections).map(|_| guest.listen(7)).collect();
    let mut streams: Vec<_> = (0..connections)
        .map(|_| connect(guest.published[0].host))
        .collect();
    let start = Instant::now();
    guest.during(
        || {
            let mut answer = [0; 600];
            for _ in 0..REQUESTS / connections {
                for stream in &mut streams {
                    stream.write_all(&[7; 600]).expect("a connection");
                }
                for stream in &mut streams {
                    stream.read_exact(&mut answer).expect("an answer");
                }
            }
        },
        |guest| {
            for handle in &handles {
                echo(guest.socket(*handle));
            }
        },
    );
    let rate = f64::from(REQUESTS) / start.elapsed().as_secs_f64();
    let limit = f64::from(REQUESTS) / gateway_time().as_secs_f64();
    println!(
        "{connections} connections: {rate:.0} exchanges of 600 bytes a second; \
         one core of gateway carries {limit:.0}"
    );
}

fn main() {
    first_answer();
    host_to_guest();
    guest_to_host();
    requests(1);
    requests(32);
}
