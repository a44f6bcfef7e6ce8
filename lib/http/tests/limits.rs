//! A slow or greedy peer costs nobody but itself, on simulated time.

mod common;

use common::{Lab, connect, converse, read_all};
use mirage_device::io::{Read, Write};
use mirage_device::{Clock, FlowError, Listener, Sleep, Spawn, Stack, Task};
use mirage_http::{Limits, Server};
use mirage_sim::World;
use mirage_sim::memory::{MemoryStack, Network};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A server with the default limits, and what it does to a peer that sends these parts, one a
/// second.
fn drip<'p>(parts: impl Iterator<Item = &'p [u8]>) -> common::Outcome {
    let simulation = common::world();
    let flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    converse(&simulation, flow, &parts.collect::<Vec<_>>(), false)
}

#[test]
fn a_silent_peer_is_closed_after_the_idle_time() {
    let outcome = drip(std::iter::empty());
    assert_eq!(
        (outcome.received, outcome.end, outcome.at),
        (vec![], Ok(()), 60 * SECOND)
    );
}

#[test]
fn an_idle_connection_is_closed_and_each_request_starts_the_time_anew() {
    let request: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    let outcome = drip([request; 30].into_iter());
    assert_eq!(outcome.statuses().len(), 30);
    assert_eq!((outcome.end, outcome.at), (Ok(()), 89 * SECOND));
}

#[test]
fn a_dripping_head_is_cut_off_with_408() {
    let head = b"GET /hello HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
    let outcome = drip(head.chunks(1));
    assert_eq!(outcome.statuses(), [408]);
    assert_eq!((outcome.end, outcome.at), (Ok(()), 10 * SECOND));
}

#[test]
fn a_stalled_body_and_a_dripping_body_are_cut_off_with_408() {
    let head: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    let stalled = drip(std::iter::once(head));
    assert_eq!(
        (stalled.statuses(), stalled.end, stalled.at),
        (vec![408], Ok(()), 20 * SECOND)
    );
    let dripping = drip(std::iter::once(head).chain([b"x" as &[u8]; 90]));
    assert_eq!((dripping.statuses(), dripping.end), (vec![408], Ok(())));
    assert!(
        dripping.at > 19 * SECOND && dripping.at < 22 * SECOND,
        "{:?}",
        dripping.at
    );
    // Fast enough, however long it takes.
    let steady: Vec<Vec<u8>> = vec![vec![b'x'; 600]; 60];
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 36000\r\n\r\n" as &[u8];
    let outcome = drip(std::iter::once(head).chain(steady.iter().map(Vec::as_slice)));
    assert_eq!(outcome.statuses(), [200]);
}

#[test]
fn a_chunked_body_drips_no_longer_than_another() {
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" as &[u8];
    let outcome = drip(std::iter::once(head).chain([b"1;a=b\r\nx\r\n" as &[u8]; 90]));
    assert_eq!((outcome.statuses(), outcome.end), (vec![408], Ok(())));
    assert!(outcome.at < 25 * SECOND, "{:?}", outcome.at);
}

#[test]
fn a_peer_that_never_reads_is_reset() {
    let simulation = common::world();
    let mut flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    simulation.block_on(async {
        flow.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        simulation.sleep(19 * SECOND).await;
        // The buffers are full and the connection is still there.
        flow.write_all(b"x").await.unwrap();
        simulation.sleep(2 * SECOND).await;
        assert_eq!(flow.read(&mut [0; 10]).await, Err(FlowError::Reset));
    });
}

#[test]
fn a_peer_that_reads_too_slowly_is_reset_and_a_steady_one_is_not() {
    for (bytes, end) in [(10, Err(FlowError::Reset)), (2000, Ok(()))] {
        let simulation = common::world();
        let mut flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
        simulation.block_on(async {
            let ask = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            flow.write_all(ask).await.unwrap();
            let mut buffer = vec![0; bytes];
            let mut total = 0;
            let found = loop {
                simulation.sleep(SECOND).await;
                match flow.read(&mut buffer).await {
                    Ok(0) => break Ok(()),
                    Ok(count) => total += count,
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(found, end, "{bytes} bytes a second, {total} in all");
        });
    }
}

#[test]
fn a_closing_connection_lingers_no_longer_than_its_limit() {
    // The peer keeps its side open for ever; the server's task ends all the same.
    let simulation = common::world();
    let (mut client, flow) = mirage_sim::memory::pair(4096);
    let server = Server::new(simulation.clone(), simulation.clone(), simulation.clone());
    let lab = Lab(simulation.clone());
    let task = simulation.spawn(async move { server.serve_flow(flow, &lab).await });
    simulation.block_on(async {
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let outcome = read_all(&simulation, &mut client).await;
        assert_eq!(
            (outcome.statuses(), outcome.at),
            (vec![400], Duration::ZERO)
        );
        task.await;
        assert_eq!(
            Duration::from_nanos(simulation.now().as_nanos()),
            2 * SECOND
        );
    });
}

fn serve(simulation: &World, connections: usize) -> MemoryStack {
    let network = Network::new();
    let listener = network
        .stack([10, 0, 0, 1].into())
        .listen("10.0.0.1:80".parse().unwrap(), 64);
    let listener = listener.unwrap();
    assert_eq!(listener.local().port(), 80);
    let mut limits = Limits::default();
    limits.connections = connections;
    let clock = simulation.clone();
    let server = Server::with_limits(clock.clone(), clock.clone(), clock.clone(), limits);
    simulation
        .spawn(async move { server.serve(listener, Lab(clock)).await })
        .detach();
    network.stack([10, 0, 0, 2].into())
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_idle_longest() {
    let simulation = common::world();
    let client = serve(&simulation, 3);
    let address = "10.0.0.1:80".parse().unwrap();
    let ask = b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n";
    simulation.block_on(async {
        let mut flows = Vec::new();
        for _ in 0..3 {
            flows.push(client.connect(address).await.unwrap());
            simulation.sleep(SECOND).await;
        }
        // The first is used again: the second has now been idle longest.
        flows[0].write_all(ask).await.unwrap();
        assert_eq!(flows[0].read(&mut [0; 100]).await, Ok(27));
        simulation.sleep(SECOND).await;
        let mut fourth = client.connect(address).await.unwrap();
        fourth.write_all(ask).await.unwrap();
        assert_eq!(fourth.read(&mut [0; 100]).await, Ok(27));
        assert_eq!(flows[1].read(&mut [0; 100]).await, Ok(0));
        for flow in [0, 2] {
            flows[flow].write_all(ask).await.unwrap();
            assert_eq!(flows[flow].read(&mut [0; 100]).await, Ok(27));
        }
    });
}

#[test]
fn when_none_is_idle_a_new_connection_waits_for_its_turn() {
    let simulation = common::world();
    let client = serve(&simulation, 2);
    let address = "10.0.0.1:80".parse().unwrap();
    simulation.block_on(async {
        let mut busy = Vec::new();
        for _ in 0..2 {
            let mut flow = client.connect(address).await.unwrap();
            flow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            busy.push(flow);
        }
        simulation.sleep(SECOND).await;
        let mut third = client.connect(address).await.unwrap();
        third
            .write_all(b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(third.read(&mut [0; 100]).await, Ok(27));
        assert!(Duration::from_nanos(simulation.now().as_nanos()) >= 100 * SECOND);
    });
}
