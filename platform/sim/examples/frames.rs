//! Frames a second on one core: `cargo run --release -p mirage-sim --example frames`.
//!
//! - `stacks`: two machines whose TCP/IP stacks exchange questions of 45 bytes and answers of 850
//!   over 32 connections, on a network with latency;
//! - `raw`: two machines that send frames of 60 bytes to and fro, 32 at a time;
//! - `wire`: what `stacks` does, on the wire of the stack's own tests, which has no world around
//!   it: no time passes, nothing can fail, nothing is traced.
//!
//! A frame counts once, when it is delivered. Time is that of the processor: others use the
//! machine too.

#[path = "../../../lib/smoltcp/tests/world/mod.rs"]
#[allow(unused_imports, reason = "a part is used")]
mod wired;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{FlowWrite, Listener, Net, Spawn, Stack, Task, Transmit};
use mirage_runtime::{Entropy, Runtime, Spawner, Timer};
use mirage_sim::{Sim, World};
use mirage_smoltcp::Smoltcp;

const EXCHANGES: u64 = 200_000;
const CONNECTIONS: usize = 32;
const FRAMES: u64 = 2_000_000;

fn main() {
    let chosen = std::env::args().nth(1);
    for (name, measure) in [
        ("stacks", stacks as fn() -> f64),
        ("raw", raw),
        ("wire", wire),
    ] {
        if chosen.as_deref().is_none_or(|chosen| chosen == name) {
            println!("{name} {:.0}", measure());
        }
    }
}

/// Seconds this thread has had a processor.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0.0) / 1e9
}

async fn serve(stack: impl Stack, spawn: impl Spawn) {
    let mut listener = stack.listen("[::]:80".parse().unwrap(), 2000).unwrap();
    while let Ok(mut flow) = listener.accept().await {
        let job = async move {
            let mut buffer = [0; 4096];
            let (head, body) = ([1; 238], [2; 612]);
            while let Ok(1..) = flow.read(&mut buffer).await {
                flow.write_vectored(&[&head, &body]).await.unwrap();
            }
        };
        spawn.spawn(job).detach();
    }
}

/// Asks until all is asked, over many connections at once.
async fn ask(stack: impl Stack, spawn: impl Spawn, left: Rc<Cell<u64>>) {
    let mut jobs = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut flow = stack.connect("10.0.0.2:80".parse().unwrap()).await.unwrap();
        let left = left.clone();
        jobs.push(spawn.spawn(async move {
            let mut buffer = [0; 4096];
            while left.get() > 0 {
                left.set(left.get() - 1);
                flow.write_all(&[3; 45]).await.unwrap();
                let mut got = 0;
                while got < 850 {
                    got += flow.read(&mut buffer).await.unwrap();
                }
            }
        }));
    }
    for job in jobs {
        job.await;
    }
}

async fn stack(runtime: &Runtime<Sim>, number: u8) -> (Smoltcp, Spawner<Sim>) {
    let net = mirage_runtime::Net::new(runtime.clone(), "net").unwrap();
    let spawn = Spawner::new(runtime.clone());
    let stack = Smoltcp::new(
        net,
        Timer::new(runtime.clone()),
        spawn.clone(),
        Entropy::new(runtime.clone()),
        mirage_runtime::counters(runtime.clone()),
        "stack",
        wired::fixed(number),
    );
    (stack.await.unwrap(), spawn)
}

fn stacks() -> f64 {
    let world = World::new(1);
    let lan = world.network("lan");
    let left = Rc::new(Cell::new(EXCHANGES));
    let server = world.machine("server").net("net", &lan);
    server.start(|runtime| async move {
        let (stack, spawn) = stack(&runtime, 2).await;
        serve(stack, spawn).await;
    });
    let counter = left.clone();
    let client = world.machine("client").net("net", &lan);
    let client = client.start(move |runtime| {
        let left = counter.clone();
        async move {
            let (stack, spawn) = stack(&runtime, 1).await;
            ask(stack, spawn, left).await;
        }
    });
    let start = processor_time();
    assert!(world.run_until(Duration::from_secs(3600), || client.status().is_some()));
    assert_eq!(left.get(), 0);
    world.frames() as f64 / (processor_time() - start)
}

fn raw() -> f64 {
    let world = World::new(1);
    let lan = world.network("lan");
    for (name, first) in [("a", 32), ("b", 0)] {
        let machine = world.machine(name).net("net", &lan);
        machine.start(move |runtime| async move {
            let net = mirage_runtime::Net::new(runtime, "net").unwrap();
            let mut buffer = [0xff; 1514];
            for _ in 0..first {
                net.send(&buffer[..60], Transmit::default()).unwrap();
            }
            loop {
                while let Some(received) = net.receive(&mut buffer).unwrap() {
                    let frame = &buffer[..received.len];
                    net.send(frame, Transmit::default()).unwrap();
                }
                std::future::poll_fn(|cx| net.poll_readable(cx)).await;
            }
        });
    }
    let start = processor_time();
    while world.frames() < FRAMES {
        world.run_for(Duration::from_millis(100));
    }
    world.frames() as f64 / (processor_time() - start)
}

/// Counts what is received.
struct Counted<N>(N, Rc<Cell<u64>>);

impl<N: Net> Net for Counted<N> {
    fn info(&self) -> mirage_device::NetInfo {
        self.0.info()
    }

    fn receive(
        &self,
        buffer: &mut [u8],
    ) -> Result<Option<mirage_device::Received>, mirage_device::NetError> {
        let received = self.0.receive(buffer);
        if let Ok(Some(_)) = received {
            self.1.set(self.1.get() + 1);
        }
        received
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), mirage_device::NetError> {
        self.0.send(frame, transmit)
    }

    fn poll_readable(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.0.poll_readable(cx)
    }

    fn poll_writable(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.0.poll_writable(cx)
    }
}

fn wire() -> f64 {
    let world = wired::World::real();
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let options = wired::wire::Options {
            room: 4096,
            ..wired::wire::Options::default()
        };
        let (a, b) = wired::wire::wire(&world, options);
        let frames = Rc::new(Cell::new(0));
        let new = |end, number| {
            let net = Counted(end, frames.clone());
            let (world, keys) = (world.clone(), wired::fixed(number));
            async move { world.try_stack(net, keys).await }
        };
        let (client, server) = (new(a, 1).await.unwrap(), new(b, 2).await.unwrap());
        world.spawn(serve(server, world.clone())).detach();
        let start = processor_time();
        ask(client, world.clone(), Rc::new(Cell::new(EXCHANGES))).await;
        frames.get() as f64 / (processor_time() - start)
    })
}
