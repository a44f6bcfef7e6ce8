//! What a stack counts of its connections.

mod world;

use std::net::SocketAddr;

use mirage_device::io::{Read, Write};
use mirage_device::{Flow, FlowWrite, Listener, Sleep, Spawn, Stack, Task};
use world::peer::{self, ACK, SYN};
use world::wire::{Options, wire};
use world::{World, fixed, pair, seconds};

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(World) -> F + 'static) {
    let world = World::new(1);
    world.run(test(world.clone()));
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn connections_are_counted_on_both_sides_from_their_beginning_to_their_end() {
    run(|world| async move {
        let (a, b) = pair(&world, Options::default()).await;
        let mut listener = b.listen(at("[::]:80"), 8).unwrap();
        let mut flow = a.connect(at("10.0.0.2:80")).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        let other = a.connect(at("[fd00::2]:80")).await.unwrap();
        let _other = listener.accept().await.unwrap();
        assert_eq!(world.count(1, "connections_opened_total"), 2);
        assert_eq!(world.count(1, "connections_accepted_total"), 0);
        assert_eq!(world.count(2, "connections_opened_total"), 0);
        assert_eq!(world.count(2, "connections_accepted_total"), 2);
        assert_eq!(
            (world.count(1, "connections"), world.count(2, "connections")),
            (2, 2)
        );

        flow.write_all(&vec![7; 100_000]).await.unwrap();
        flow.shutdown();
        let mut buffer = vec![0; 10_000];
        while let Ok(1..) = server.read(&mut buffer).await {}
        drop((flow, server));
        world.sleep(seconds(40)).await;
        assert_eq!(
            (world.count(1, "connections"), world.count(2, "connections")),
            (1, 1)
        );
        for n in [1, 2] {
            assert_eq!(world.count(n, "resets_sent_total"), 0);
            assert_eq!(
                world.count(n, "segments_retransmitted_total"),
                0,
                "nothing was lost"
            );
        }

        other.abort();
        world.settle().await;
        assert_eq!(world.count(1, "resets_sent_total"), 1);
        assert_eq!(world.count(2, "resets_received_total"), 1);
        // Nobody listens there.
        a.connect(at("10.0.0.2:81")).await.err().unwrap();
        assert_eq!(world.count(2, "resets_sent_total"), 1);
        assert_eq!(world.count(1, "resets_received_total"), 1);
        assert_eq!(world.count(1, "connections_opened_total"), 2);
    });
}

#[test]
fn a_segment_that_is_sent_again_is_counted_each_time() {
    run(|world| async move {
        let (left, right) = wire(&world, Options::default());
        let stack = world.stack(right, fixed(2)).await;
        let mut listener = stack.listen(at("[::]:80"), 8).unwrap();
        left.inject(&peer::arp_reply(1, 2));
        left.inject(&peer::segment(1, 2, (999, 80), 5000, 0, SYN));
        let again = || world.count(2, "segments_retransmitted_total");
        world.settle().await;
        assert_eq!(again(), 0);
        // The SYN-ACK is sent again after one second, and after two more.
        world.sleep(seconds(4)).await;
        assert_eq!(again(), 2);
        let answer = left.expect(peer::is_tcp).await;
        left.inject(&peer::answer(&answer, ACK, b""));
        let mut flow = listener.accept().await.unwrap();
        let writing = async move {
            flow.write_all(b"not acknowledged").await.unwrap();
            core::future::pending::<()>().await;
        };
        world.spawn(writing).detach();
        world.settle().await;
        assert_eq!(again(), 2, "what is new is not counted");
        world.sleep(seconds(15)).await;
        assert!(again() > 2);
    });
}

#[test]
fn a_wire_that_loses_frames_shows_in_the_retransmissions() {
    run(|world| async move {
        let options = Options {
            lost: 50,
            ..Options::default()
        };
        let (a, b) = pair(&world, options).await;
        let mut listener = b.listen(at("[::]:80"), 8).unwrap();
        let mut flow = a.connect(at("10.0.0.2:80")).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        let writing = async move {
            flow.write_all(&vec![7; 1_000_000]).await.unwrap();
            flow.flush().await.unwrap();
        };
        let writing = world.spawn(writing);
        let (mut buffer, mut left) = (vec![0; 100_000], 1_000_000);
        while left > 0 {
            left -= server.read(&mut buffer).await.unwrap();
        }
        writing.await;
        let again = world.count(1, "segments_retransmitted_total");
        // Some 700 segments, of which one in twenty was lost.
        assert!((20..400).contains(&again), "{again}");
    });
}
