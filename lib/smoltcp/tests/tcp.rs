//! TCP between two stacks.

mod world;

use std::net::SocketAddr;

use mirage_device::io::{Read, Write};
use mirage_device::{Flow, FlowError, FlowWrite, Listener, Sleep, Spawn, Stack, StackError, Task};
use mirage_smoltcp::{Smoltcp, TcpFlow};
use world::wire::Options;
use world::{World, pair, seconds};

/// A server that sends back what it reads, until the end.
fn echo(world: &World, stack: &Smoltcp, port: u16) {
    let (tasks, stack) = (world.clone(), stack.clone());
    let mut listener = stack
        .listen(format!("[::]:{port}").parse().unwrap(), 64)
        .unwrap();
    world
        .spawn(async move {
            while let Ok(mut flow) = listener.accept().await {
                let job = async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(len @ 1..) = flow.read(&mut buffer).await {
                        flow.write_all(&buffer[..len]).await.unwrap();
                    }
                };
                tasks.spawn(job).detach();
            }
        })
        .detach();
}

/// A connected pair of flows: the client's and the server's.
async fn connected(client: &Smoltcp, server: &Smoltcp, to: &str) -> (TcpFlow, TcpFlow) {
    let to: SocketAddr = to.parse().unwrap();
    let mut listener = server
        .listen(SocketAddr::new("::".parse().unwrap(), to.port()), 8)
        .unwrap();
    let client = client.connect(to).await.unwrap();
    let server = listener.accept().await.unwrap();
    (client, server)
}

fn run<F: Future<Output = ()> + 'static>(
    options: Options,
    test: impl FnOnce(World, Smoltcp, Smoltcp) -> F + 'static,
) {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let (a, b) = pair(&inner, options).await;
        test(inner, a, b).await;
    });
}

#[test]
fn an_echo_comes_back_over_both_families_with_and_without_offload() {
    for offload in [false, true] {
        for to in ["10.0.0.2:7", "[fd00::2]:7"] {
            run(
                Options {
                    offload,
                    ..Options::default()
                },
                move |world, a, b| async move {
                    echo(&world, &b, 7);
                    let mut flow = a.connect(to.parse().unwrap()).await.unwrap();
                    assert_eq!(flow.peer(), Some(to.parse().unwrap()));
                    flow.write_all(b"hello").await.unwrap();
                    flow.shutdown();
                    let mut answer = Vec::new();
                    let mut buffer = [0; 64];
                    while let len @ 1.. = flow.read(&mut buffer).await.unwrap() {
                        answer.extend_from_slice(&buffer[..len]);
                    }
                    assert_eq!(answer, b"hello");
                },
            );
        }
    }
}
