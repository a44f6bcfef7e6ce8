//! What one request costs without a network: nanoseconds in the server alone, and requests per
//! second with 32 clients that live in the same thread.
//!
//!     cargo bench -p mirage-http

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mirage_device::io::{ErrorType, Read, Write};
use mirage_device::{Asset, Assets, Flow, FlowError, FlowRead, FlowWrite, Spawn};
use mirage_http::{Server, files};
use mirage_sim::World;
use mirage_sim::memory::pair;

/// The size of nginx's own index page.
const PAGE: [u8; 612] = [b'x'; 612];

/// What wrk sends.
const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n";

/// What Chromium sends.
const CHROMIUM: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nConnection: keep-alive\r\n\
    Cache-Control: max-age=0\r\nsec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,\
    application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n";

#[derive(Clone, Copy)]
struct Site;

impl Assets for Site {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        let page = Asset::new(
            &PAGE,
            "text/html; charset=utf-8",
            "ba7816bf8f01cfea414140de",
        );
        (path == "index.html").then_some(page)
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        ["index.html"].into_iter()
    }
}

/// A peer that sends `batch` requests whenever it is asked, waits once before each, and takes
/// every answer at once.
struct Script {
    request: Vec<u8>,
    reads: usize,
    waits: bool,
}

impl ErrorType for Script {
    type Error = FlowError;
}

impl Read for Script {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        Wait { begun: self.waits }.await;
        if self.reads == 0 {
            return Ok(0);
        }
        self.reads -= 1;
        buffer[..self.request.len()].copy_from_slice(&self.request);
        Ok(self.request.len())
    }
}

impl Write for Script {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, FlowError> {
        Ok(std::hint::black_box(buffer).len())
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        Ok(())
    }
}

impl FlowRead for Script {}

impl FlowWrite for Script {
    fn shutdown(&mut self) {}
}

impl Flow for Script {
    type Reader = Script;
    type Writer = Script;

    fn split(self) -> (Self, Self) {
        unreachable!("the server does not split")
    }

    fn abort(self) {}

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

/// Pending once.
struct Wait {
    begun: bool,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.begun) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// The time that this thread has run: others may use the machine meanwhile.
fn cpu_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
}

fn server(simulation: &World) -> Server<World, World> {
    simulation.set_wall(Some(Duration::from_secs(784_111_777)));
    Server::new(simulation.clone(), simulation.clone(), simulation.clone())
}

fn alone(name: &str, request: &[u8], batch: usize) {
    const REQUESTS: usize = 1_600_000;
    let simulation = World::new(0);
    let server = server(&simulation);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let flow = Script {
            request: request.repeat(batch),
            reads: REQUESTS / batch,
            waits: true,
        };
        let start = cpu_time();
        simulation.block_on(server.serve_flow(flow, &files(Site)));
        best = best.min(cpu_time() - start);
    }
    println!(
        "{name:32} {:>7} ns/request",
        best.as_nanos() / REQUESTS as u128
    );
}

fn together() {
    const CONNECTIONS: usize = 32;
    const REQUESTS: usize = 20_000;
    let simulation = World::new(0);
    let server = server(&simulation);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = cpu_time();
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (mut client, flow) = pair(16 << 10);
                let server = server.clone();
                let serving = async move { server.serve_flow(flow, &files(Site)).await };
                let serving = simulation.spawn(serving);
                simulation.spawn(async move {
                    let mut buffer = vec![0; 4096];
                    for _ in 0..REQUESTS {
                        client.write(WRK).await.unwrap();
                        assert!(client.read(&mut buffer).await.unwrap() > 612);
                    }
                    drop(client);
                    serving.await;
                })
            })
            .collect();
        simulation.block_on(async {
            for client in clients {
                client.await;
            }
        });
        best = best.min(cpu_time() - start);
    }
    let rate = (CONNECTIONS * REQUESTS) as f64 / best.as_secs_f64();
    println!(
        "{:32} {rate:>7.0} requests/s, clients included",
        "32 connections in memory"
    );
}

fn main() {
    alone("wrk's request", WRK, 1);
    alone("wrk's request, 16 pipelined", WRK, 16);
    alone("Chromium's request", CHROMIUM, 1);
    together();
}
