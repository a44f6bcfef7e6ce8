//! Sends back what it gets, over TCP and UDP (RFC 862).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use core::net::{Ipv6Addr, SocketAddr};

use mirage_kit::device::{Flow, FlowError, Listener, Spawn, Stack, StackError, Task, Udp};
use mirage_kit::log;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// TCP and UDP port to answer on.
    pub port: u16,
}

/// Answers until the network goes away.
pub async fn main(stack: impl Stack, spawn: impl Spawn, keys: Keys) -> Result<(), StackError> {
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), keys.port);
    let mut listener = stack.listen(here, 128)?;
    let udp = stack.bind_udp(here)?;
    // Dropping the handle would cancel the task: it lives as long as this function.
    let _datagrams = spawn.spawn(datagrams(udp));
    log::info!("listening on TCP and UDP port {}", keys.port);
    loop {
        let flow = listener.accept().await?;
        spawn
            .spawn(async move { stream(flow).await.unwrap_or_else(ended) })
            .detach();
    }
}

/// Echoes until the peer has sent everything; the flow's end closes our side.
async fn stream(mut flow: impl Flow) -> Result<(), FlowError> {
    let mut buffer = vec![0; 4096];
    loop {
        let count = flow.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        flow.write_all(&buffer[..count]).await?;
    }
}

fn ended(error: FlowError) {
    log::debug!("a connection ended: {error}");
}

async fn datagrams(udp: impl Udp) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, sender)) = udp.receive(&mut buffer).await {
        let datagram = buffer.get(..length).unwrap_or(&buffer);
        if let Err(error) = udp.send(datagram, sender).await {
            log::debug!("no answer to {sender}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use mirage_kit::device::io::{Read, Write};
    use mirage_kit::device::{FlowWrite, Sleep};
    use mirage_sim::World;
    use mirage_sim::memory::{MemoryStack, Network};

    /// An echo server on port 7 of 10.0.0.2, and a host beside it.
    fn network(simulation: &World) -> MemoryStack {
        let network = Network::new();
        let server = network.stack([10, 0, 0, 2].into());
        let main = main(server, simulation.clone(), Keys { port: 7 });
        simulation.spawn(main).detach();
        network.stack([10, 0, 0, 3].into())
    }

    #[test]
    fn a_stream_comes_back_whole_and_ends_when_the_client_ends_it() {
        let simulation = World::new(0);
        let client = network(&simulation);
        simulation.block_on(async {
            simulation.sleep(Duration::from_secs(1)).await;
            let mut flow = client.connect("10.0.0.2:7".parse().unwrap()).await.unwrap();
            let sent: vec::Vec<u8> = (0..30_000_u32).map(|n| n as u8).collect();
            flow.write_all(&sent).await.unwrap();
            flow.shutdown();
            let mut received = vec![0; sent.len()];
            flow.read_exact(&mut received).await.unwrap();
            assert_eq!(received, sent);
            assert_eq!(flow.read(&mut [0]).await, Ok(0));
        });
    }

    #[test]
    fn a_datagram_comes_back_to_its_sender() {
        let simulation = World::new(0);
        let client = network(&simulation);
        simulation.block_on(async {
            simulation.sleep(Duration::from_secs(1)).await;
            let udp = client.bind_udp("10.0.0.3:0".parse().unwrap()).unwrap();
            let server = "10.0.0.2:7".parse().unwrap();
            udp.send(b"hello", server).await.unwrap();
            let mut buffer = [0; 16];
            assert_eq!(udp.receive(&mut buffer).await, Ok((5, server)));
            assert_eq!(&buffer[..5], b"hello");
        });
    }
}
