//! What hostile frames may cost in memory.

mod world;

use mirage_device::Stack;
use world::peer::{self, ACK, RST, SYN};
use world::wire::{End, Options, wire};
use world::{World, fixed};

/// The most bytes that are taken while a listener that nobody accepts from goes through so many
/// rounds of hostile frames.
fn most_bytes(rounds: usize, round: impl AsyncFn(&World, &End) + 'static) -> u64 {
    let world = World::new(1);
    let tasks = world.clone();
    let (stack, end) = world.run(async move {
        let (end, right) = wire(&tasks, Options::default());
        (tasks.stack(right, fixed(2)).await, end)
    });
    let _listener = stack.listen("[::]:80".parse().unwrap(), 64).unwrap();
    let tasks = world.clone();
    let flood = async move {
        for _ in 0..rounds {
            round(&tasks, &end).await;
        }
    };
    allocation_counter::measure(|| world.run(flood)).bytes_max
}

fn assert_bounded(round: impl AsyncFn(&World, &End) + Copy + 'static) {
    let (few, many) = (most_bytes(100, round), most_bytes(600, round));
    assert!(many < few + (64 << 10), "{few} bytes, then {many}");
}

async fn inject(world: &World, end: &End, host: u8, seq: u32, flags: u8) {
    for port in 1..=32 {
        end.inject(&peer::segment(host, 2, (port, 80), seq, 0, flags));
    }
    world.settle().await;
}

#[test]
fn repeated_attempts_of_a_neighbour_that_cannot_be_found_take_no_memory() {
    assert_bounded(async |world, end| {
        inject(world, end, 9, 5000, SYN).await;
        end.drain();
    });
}

#[test]
fn attempts_that_are_taken_back_take_no_memory() {
    assert_bounded(async |world, end| {
        inject(world, end, 9, 5000, SYN).await;
        inject(world, end, 9, 5001, RST).await;
        end.drain();
    });
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_take_no_memory() {
    assert_bounded(async |world, end| {
        end.inject(&peer::arp_reply(1, 2));
        inject(world, end, 1, 5000, SYN).await;
        for frame in end.drain().iter().filter(|frame| peer::is_tcp(frame)) {
            end.inject(&peer::answer(frame, ACK, b""));
        }
        world.settle().await;
        inject(world, end, 1, 5001, RST).await;
        end.drain();
    });
}
