//! TCP between two stacks.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{
    Clock, Flow, FlowError, FlowWrite, Listener, Sleep, Spawn, Stack, StackError, Task,
};
use mirage_smoltcp::{Smoltcp, TcpFlow};
use world::wire::{Options, wire};
use world::{Random, World, fixed, pair, seconds};

/// A server that sends back what it reads, until the end.
fn echo(world: &World, stack: &Smoltcp, port: u16) {
    let tasks = world.clone();
    let mut listener = stack.listen(any(port), 64).unwrap();
    let job = async move {
        while let Ok(mut flow) = listener.accept().await {
            let job = async move {
                let mut buffer = vec![0; 4096];
                while let Ok(len @ 1..) = flow.read(&mut buffer).await {
                    flow.write_all(&buffer[..len]).await.unwrap();
                }
            };
            tasks.spawn(job).detach();
        }
    };
    world.spawn(job).detach();
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new("::".parse().unwrap(), port)
}

/// A connected pair of flows: the client's and the server's.
async fn connected(client: &Smoltcp, server: &Smoltcp, to: &str) -> (TcpFlow, TcpFlow) {
    let to: SocketAddr = to.parse().unwrap();
    let mut listener = server.listen(any(to.port()), 8).unwrap();
    let client = client.connect(to).await.unwrap();
    let server = listener.accept().await.unwrap();
    (client, server)
}

async fn read_to_end(flow: &mut impl Read<Error = FlowError>) -> Result<Vec<u8>, FlowError> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        match flow.read(&mut buffer).await? {
            0 => return Ok(all),
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn run_seeded<F: Future<Output = ()> + 'static>(
    seed: u64,
    options: Options,
    test: impl FnOnce(World, Smoltcp, Smoltcp) -> F + 'static,
) {
    let world = World::new(seed);
    let inner = world.clone();
    world.run(async move {
        let (a, b) = pair(&inner, options).await;
        test(inner, a, b).await;
    });
}

fn run<F: Future<Output = ()> + 'static>(
    test: impl FnOnce(World, Smoltcp, Smoltcp) -> F + 'static,
) {
    run_seeded(1, Options::default(), test);
}

#[test]
fn an_echo_comes_back_over_both_families_with_and_without_offload() {
    for offload in [false, true] {
        for to in ["10.0.0.2:7", "[fd00::2]:7"] {
            let options = Options {
                offload,
                ..Options::default()
            };
            run_seeded(1, options, move |world, a, b| async move {
                echo(&world, &b, 7);
                let mut flow = a.connect(to.parse().unwrap()).await.unwrap();
                assert_eq!(flow.peer(), Some(to.parse().unwrap()));
                flow.write_all(b"hello").await.unwrap();
                flow.shutdown();
                assert_eq!(read_to_end(&mut flow).await.unwrap(), b"hello");
            });
        }
    }
}

#[test]
fn megabytes_arrive_whole_with_every_kind_of_device() {
    let cut = Options {
        offload: true,
        cut: true,
        ..Options::default()
    };
    let whole = Options {
        offload: true,
        ..Options::default()
    };
    let narrow = Options {
        room: 3,
        ..Options::default()
    };
    let jumbo = Options {
        mtu: 9000,
        ..Options::default()
    };
    for options in [Options::default(), cut, whole, narrow, jumbo] {
        for to in ["10.0.0.2:9", "[fd00::2]:9"] {
            run_seeded(2, options, move |world, a, b| async move {
                let (mut sender, mut receiver) = connected(&a, &b, to).await;
                let sent = bytes(7, 3_000_000);
                let expected = sent.clone();
                let job = world.spawn(async move {
                    sender.write_all(&sent).await.unwrap();
                    sender.flush().await.unwrap();
                });
                assert_eq!(read_to_end(&mut receiver).await.unwrap(), expected);
                job.await;
            });
        }
    }
}

#[test]
fn everything_arrives_in_order_over_a_wire_that_loses_and_reorders() {
    for seed in 0..20 {
        println!("seed {seed}");
        let options = Options {
            offload: seed % 2 == 1,
            cut: seed % 4 == 3,
            delay: Duration::from_millis(2),
            lost: 30,
            late: 50,
            ..Options::default()
        };
        run_seeded(seed, options, move |world, a, b| async move {
            let to = if seed % 3 == 0 {
                "[fd00::2]:9"
            } else {
                "10.0.0.2:9"
            };
            let (sender, receiver) = connected(&a, &b, to).await;
            let (mut reader, mut writer) = sender.split();
            let (forth, back) = (bytes(seed, 200_000), bytes(seed + 1, 150_000));
            let (sent, answered) = (forth.clone(), back.clone());
            let writing = world.spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.flush().await.unwrap();
            });
            let (mut reader2, mut writer2) = receiver.split();
            let answering = world.spawn(async move { writer2.write_all(&answered).await.unwrap() });
            assert_eq!(read_to_end(&mut reader2).await.unwrap(), forth);
            assert_eq!(read_to_end(&mut reader).await.unwrap(), back);
            writing.await;
            answering.await;
        });
    }
}

#[test]
fn a_half_closed_flow_still_carries_the_other_way() {
    run(|_, a, b| async move {
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        client.write_all(b"question").await.unwrap();
        client.shutdown();
        client.shutdown();
        assert_eq!(client.write(b"more").await, Err(FlowError::Closed));
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"question");
        server.write_all(b"answer").await.unwrap();
        server.flush().await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(client.read(&mut buffer).await, Ok(6));
        drop(server);
        assert_eq!(client.read(&mut buffer).await, Ok(0));
        assert_eq!(client.read(&mut buffer).await, Ok(0));
    });
}

#[test]
fn a_dropped_flow_still_delivers_what_was_written() {
    run(|world, a, b| async move {
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        let sent = bytes(3, 100_000);
        let mut written = 0;
        while written < sent.len() {
            written += client.write(&sent[written..]).await.unwrap();
        }
        drop(client);
        world.sleep(seconds(1)).await;
        assert_eq!(read_to_end(&mut server).await.unwrap(), sent);
        server.write_all(b"into the void").await.unwrap();
        // Nobody reads at the other end: its stack says so.
        let mut buffer = [0; 10];
        world.sleep(seconds(1)).await;
        assert_eq!(server.write(b"again").await, Err(FlowError::Reset));
        assert_eq!(server.read(&mut buffer).await, Ok(0));
    });
}

#[test]
fn halves_end_the_connection_when_both_are_dropped() {
    run(|_, a, b| async move {
        let (client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        let (reader, mut writer) = client.split();
        writer.write_all(b"last words").await.unwrap();
        drop(reader);
        server.write_all(b"kept").await.unwrap();
        drop(writer);
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"last words");
    });
}

#[test]
fn an_aborted_flow_resets_its_peer() {
    run(|world, a, b| async move {
        let (client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        let mut buffer = [0; 10];
        server.write_all(b"unread").await.unwrap();
        world.sleep(seconds(1)).await;
        client.abort();
        assert_eq!(server.read(&mut buffer).await, Err(FlowError::Reset));
        assert_eq!(server.write(b"x").await, Err(FlowError::Reset));
        assert_eq!(server.flush().await, Ok(()));
    });
}

#[test]
fn a_read_or_write_that_was_dropped_has_taken_nothing() {
    run(|world, a, b| async move {
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        let mut buffer = [0; 10];
        assert_eq!(
            world.timeout(seconds(1), server.read(&mut buffer)).await,
            None
        );
        client.write_all(b"whole").await.unwrap();
        assert_eq!(server.read(&mut buffer).await, Ok(5));
        assert_eq!(server.read(&mut []).await, Ok(0));
        // Fill what fits; the write that does not fit takes nothing.
        let chunk = vec![1; 65_536];
        let mut taken = 0;
        while let Some(len) = world.timeout(seconds(1), client.write(&chunk)).await {
            taken += len.unwrap();
        }
        drop(client);
        assert_eq!(read_to_end(&mut server).await.unwrap().len(), taken);
    });
}

#[test]
fn a_flush_waits_for_the_peers_acknowledgement() {
    let options = Options {
        delay: Duration::from_millis(50),
        ..Options::default()
    };
    run_seeded(1, options, |world, a, b| async move {
        let (mut client, _server) = connected(&a, &b, "10.0.0.2:9").await;
        client.flush().await.unwrap();
        let start = world.now();
        client.write_all(b"x").await.unwrap();
        assert_eq!(world.now(), start);
        client.flush().await.unwrap();
        assert_eq!(world.now() - start, Duration::from_millis(100));
    });
}

#[test]
fn a_vectored_write_leaves_in_one_segment_with_the_acknowledgement() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (left, right) = wire(&world, Options::default());
        let tap = right.tap();
        let a = world.stack(left, fixed(1)).await;
        let b = world.stack(right, fixed(2)).await;
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        world.sleep(seconds(1)).await;
        tap.take();
        let job = world.spawn(async move {
            let mut buffer = [0; 100];
            server.read(&mut buffer).await.unwrap();
            server
                .write_vectored(&[b"head", b"", b"body"])
                .await
                .unwrap();
            server
        });
        client.write_all(b"question").await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(client.read(&mut buffer).await, Ok(8));
        let _server = job.await;
        assert_eq!(tap.take().len(), 1);
    });
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    run(|_, a, _b| async move {
        for to in ["10.0.0.2:1", "[fd00::2]:1"] {
            let result = a.connect(to.parse().unwrap()).await;
            assert_eq!(result.err(), Some(StackError::Refused), "{to}");
        }
    });
}

#[test]
fn connecting_to_what_cannot_be_reached_says_so_in_time() {
    run(|world, a, _b| async move {
        let connect = async |to: &str| {
            let start = world.now();
            let error = a.connect(to.parse().unwrap()).await.err().unwrap();
            (error, (world.now() - start).as_secs())
        };
        // No route, no neighbour, no address.
        assert_eq!(connect("192.0.2.1:80").await, (StackError::Unreachable, 0));
        assert_eq!(
            connect("[2001:db8::1]:80").await,
            (StackError::Unreachable, 0)
        );
        assert_eq!(connect("10.0.0.1:80").await, (StackError::Unreachable, 0));
        assert_eq!(connect("10.0.0.77:80").await, (StackError::Unreachable, 3));
        assert_eq!(connect("[fd00::77]:80").await, (StackError::Unreachable, 3));
        assert_eq!(connect("0.0.0.0:80").await, (StackError::InvalidAddress, 0));
        assert_eq!(
            connect("224.0.0.1:80").await,
            (StackError::InvalidAddress, 0)
        );
        assert_eq!(connect("10.0.0.2:0").await, (StackError::InvalidAddress, 0));
    });
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_an_ipv4_address() {
    run(|world, a, b| async move {
        echo(&world, &b, 7);
        let flow = a
            .connect("[::ffff:10.0.0.2]:7".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(flow.peer(), Some("10.0.0.2:7".parse().unwrap()));
    });
}

#[test]
fn an_abandoned_attempt_to_connect_leaves_nothing_behind() {
    run(|world, a, _b| async move {
        let attempt = a.connect("10.0.0.77:80".parse().unwrap());
        assert!(
            world
                .timeout(Duration::from_millis(500), attempt)
                .await
                .is_none()
        );
        world.sleep(seconds(60)).await;
        assert!(!world.has_timers());
    });
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (left, right) = wire(&world, Options::default());
        let a = world.stack(left, fixed(1)).await;
        // The peer is played: it answers the handshake and then never again.
        let client = world.spawn({
            let a = a.clone();
            async move { a.connect("10.0.0.2:80".parse().unwrap()).await }
        });
        right.inject(&world::peer::arp_reply(2, 1));
        let syn = right.expect(world::peer::is_tcp).await;
        right.inject(&world::peer::answer(
            &syn,
            world::peer::SYN | world::peer::ACK,
            b"",
        ));
        let mut flow = client.await.unwrap();
        let start = world.now();
        flow.write_all(b"anybody?").await.unwrap();
        assert_eq!(flow.flush().await, Err(FlowError::TimedOut));
        assert_eq!((world.now() - start).as_secs(), 100);
        assert_eq!(flow.write(b"x").await, Err(FlowError::TimedOut));
        // And with nobody holding it, its memory is free well before that.
        drop(flow);
        world.sleep(seconds(61)).await;
        assert!(!world.has_timers());
    });
}

#[test]
fn an_idle_connection_needs_no_timer_and_no_turn() {
    run(|world, a, b| async move {
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        client.write_all(b"x").await.unwrap();
        server.read(&mut [0; 9]).await.unwrap();
        world.sleep(seconds(2)).await;
        assert!(!world.has_timers());
        let before = world.wakeups();
        world.sleep(seconds(3600)).await;
        assert_eq!(world.wakeups(), before + 1);
        // And it is still alive.
        client.write_all(b"y").await.unwrap();
        assert_eq!(server.read(&mut [0; 9]).await, Ok(1));
    });
}

#[test]
fn a_receiver_that_pauses_stops_the_sender_and_starts_it_again() {
    run(|world, a, b| async move {
        let (mut client, mut server) = connected(&a, &b, "10.0.0.2:9").await;
        let sent = bytes(5, 2_000_000);
        let expected = sent.clone();
        let job = world.spawn(async move { client.write_all(&sent).await.unwrap() });
        let mut received = Vec::new();
        let mut buffer = vec![0; 50_000];
        while received.len() < expected.len() {
            world.sleep(seconds(20)).await;
            let len = server.read(&mut buffer).await.unwrap();
            received.extend_from_slice(&buffer[..len]);
        }
        assert_eq!(received, expected);
        job.await;
    });
}

#[test]
fn the_device_going_away_ends_everything_with_gone() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (left, right) = wire(&world, Options::default());
        let (left, plug) = left.plug();
        let a = world.stack(left, fixed(1)).await;
        let b = world.stack(right, fixed(2)).await;
        let (mut client, _server) = connected(&a, &b, "10.0.0.2:9").await;
        let mut listener = a.listen(any(80), 8).unwrap();
        let unplug = world.clone();
        let job = async move {
            unplug.sleep(seconds(1)).await;
            plug.pull();
        };
        world.spawn(job).detach();
        assert_eq!(client.read(&mut [0; 9]).await, Err(FlowError::Gone));
        assert_eq!(client.write(b"x").await, Err(FlowError::Gone));
        assert_eq!(listener.accept().await.err(), Some(StackError::Gone));
        let connect = a.connect("10.0.0.2:9".parse().unwrap()).await;
        assert_eq!(connect.err(), Some(StackError::Gone));
        assert_eq!(a.listen(any(81), 8).err(), Some(StackError::Gone));
        assert_eq!(a.bind_udp(any(81)).err(), Some(StackError::Gone));
    });
}

#[test]
fn connections_come_and_go_without_gathering() {
    run(|world, a, b| async move {
        echo(&world, &b, 7);
        for round in 0..3000 {
            let mut flow = a.connect("10.0.0.2:7".parse().unwrap()).await.unwrap();
            flow.write_all(b"hi").await.unwrap();
            assert_eq!(flow.read(&mut [0; 9]).await, Ok(2), "{round}");
        }
        world.sleep(seconds(61)).await;
        assert!(!world.has_timers());
    });
}

#[test]
fn patience_is_counted_from_the_call_however_long_nothing_happened_before() {
    run(|world, a, b| async move {
        let mut listener = b.listen(any(9), 8).unwrap();
        world.sleep(seconds(10_000)).await;
        let mut client = a.connect("10.0.0.2:9".parse().unwrap()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        world.sleep(seconds(10_000)).await;
        client.write_all(b"late").await.unwrap();
        drop(client);
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"late");
    });
}

#[test]
fn the_first_segment_waits_only_for_the_neighbours_answer() {
    run(|world, a, b| async move {
        let _listener = b.listen(any(9), 8).unwrap();
        let start = world.now();
        a.connect("10.0.0.2:9".parse().unwrap()).await.unwrap();
        assert_eq!(world.now(), start);
    });
}
