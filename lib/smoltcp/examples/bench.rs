//! How fast two stacks are in memory, on one thread: `cargo run --release --example bench`.
//!
//! Both ends' work is in every figure. There is no system call in them.

#[path = "../tests/world/mod.rs"]
mod world;

use std::cell::Cell;
use std::rc::Rc;

use mirage_device::io::{Read, Write};
use mirage_device::{FlowWrite, Listener, Spawn, Stack, Task};
use world::wire::Options;
use world::{World, pair};

fn main() {
    for (name, offload) in [("plain", false), ("offload", true)] {
        for connections in [1, 32, 1000] {
            let rate = exchanges(offload, connections);
            println!("{name}: {connections} connections: {rate:.0} exchanges/s");
        }
        println!("{name}: bulk {:.0} MB/s", bulk(offload) / 1e6);
    }
}

/// Seconds this thread has had a processor: others use the machine too.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Exchanges of a 45-byte question and a 850-byte answer in a second.
fn exchanges(offload: bool, connections: usize) -> f64 {
    let world = World::real();
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let options = Options {
            offload,
            room: 4096,
            ..Options::default()
        };
        let (client, server) = pair(&world, options).await;
        let tasks = world.clone();
        let mut listener = server.listen("[::]:80".parse().unwrap(), 2000).unwrap();
        let serve = async move {
            while let Ok(mut flow) = listener.accept().await {
                let job = async move {
                    let mut buffer = [0; 4096];
                    let (head, body) = ([1; 238], [2; 612]);
                    while let Ok(1..) = flow.read(&mut buffer).await {
                        flow.write_vectored(&[&head, &body]).await.unwrap();
                    }
                };
                tasks.spawn(job).detach();
            }
        };
        world.spawn(serve).detach();
        let left = Rc::new(Cell::new(1_000_000u64));
        let mut flows = Vec::new();
        for _ in 0..connections {
            flows.push(
                client
                    .connect("10.0.0.2:80".parse().unwrap())
                    .await
                    .unwrap(),
            );
        }
        let start = processor_time();
        let mut jobs = Vec::new();
        for mut flow in flows {
            let left = left.clone();
            jobs.push(world.spawn(async move {
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
        1e6 / (processor_time() - start)
    })
}

/// Bytes in a second through one connection.
fn bulk(offload: bool) -> f64 {
    const TOTAL: usize = 4 << 30;
    let world = World::real();
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let options = Options {
            offload,
            ..Options::default()
        };
        let (client, server) = pair(&world, options).await;
        let mut listener = server.listen("[::]:80".parse().unwrap(), 8).unwrap();
        let mut sender = client
            .connect("10.0.0.2:80".parse().unwrap())
            .await
            .unwrap();
        let mut receiver = listener.accept().await.unwrap();
        let total = if offload { TOTAL } else { TOTAL / 8 };
        let start = processor_time();
        let job = world.spawn(async move {
            let chunk = vec![7; 64 << 10];
            for _ in 0..total / chunk.len() {
                sender.write_all(&chunk).await.unwrap();
            }
        });
        let mut buffer = vec![0; 64 << 10];
        let mut got = 0;
        while let len @ 1.. = receiver.read(&mut buffer).await.unwrap() {
            got += len;
        }
        assert_eq!(got, total);
        job.await;
        total as f64 / (processor_time() - start)
    })
}
