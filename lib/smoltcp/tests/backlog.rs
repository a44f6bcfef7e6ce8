//! What a listener does with more than it can take.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{Flow, Listener, Sleep, Spawn, Stack, StackError, Task};
use mirage_smoltcp::Smoltcp;
use world::peer::{self, ACK, RST, SYN, see};
use world::wire::{End, Options, wire};
use world::{World, fixed, pair, seconds};

/// A stack as host 2, and the wire's other end as host 1, which the stack knows.
async fn served(world: &World) -> (Smoltcp, End) {
    let (left, right) = wire(
        world,
        Options {
            room: 4096,
            ..Options::default()
        },
    );
    let stack = world.stack(right, fixed(2)).await;
    left.inject(&peer::arp_reply(1, 2));
    world.sleep(seconds(1)).await;
    left.drain();
    (stack, left)
}

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(World) -> F + 'static) {
    let world = World::new(1);
    world.run(test(world.clone()));
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new("::".parse().unwrap(), port)
}

fn syn(port: u16) -> Vec<u8> {
    peer::segment(1, 2, (port, 80), 5000 + u32::from(port), 0, SYN)
}

/// The TCP segments among the frames that have arrived.
fn segments(end: &End) -> Vec<Vec<u8>> {
    end.drain()
        .into_iter()
        .filter(|frame| peer::is_tcp(frame))
        .collect()
}

#[test]
fn a_burst_of_a_thousand_syns_is_served_and_none_is_reset() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let mut listener = stack.listen(any(80), 1024).unwrap();
        for port in 1..=1000 {
            end.inject(&syn(port));
        }
        world.settle().await;
        let answers = segments(&end);
        assert_eq!(answers.len(), 1000);
        for answer in &answers {
            assert_eq!(see(answer).flags, SYN | ACK);
            end.inject(&peer::answer(answer, ACK, b""));
        }
        let mut flows = Vec::new();
        for port in 1..=1000 {
            let flow = listener.accept().await.unwrap();
            assert_eq!(flow.peer(), Some(SocketAddr::from(([10, 0, 0, 1], port))));
            flows.push(flow);
        }
        assert_eq!(segments(&end).len(), 0);
        assert_eq!(world.dropped(2, "connections", "backlog"), 0);
    });
}

#[test]
fn a_thousand_connections_at_once_are_served_by_a_stack() {
    run(|world| async move {
        let options = Options {
            room: 4096,
            ..Options::default()
        };
        let (client, server) = pair(&world, options).await;
        let mut listener = server.listen(any(80), 1024).unwrap();
        let mut jobs = Vec::new();
        for n in 0..1000u32 {
            let client = client.clone();
            jobs.push(world.spawn(async move {
                let mut flow = client
                    .connect("10.0.0.2:80".parse().unwrap())
                    .await
                    .unwrap();
                flow.write_all(&n.to_be_bytes()).await.unwrap();
                let mut answer = [0; 4];
                flow.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, n.to_be_bytes());
            }));
        }
        let tasks = world.clone();
        let serve = async move {
            while let Ok(mut flow) = listener.accept().await {
                let job = async move {
                    let mut question = [0; 4];
                    flow.read_exact(&mut question).await.unwrap();
                    flow.write_all(&question).await.unwrap();
                };
                tasks.spawn(job).detach();
            }
        };
        let _serving = world.spawn(serve);
        for job in jobs {
            job.await;
        }
    });
}

#[test]
fn what_is_beyond_the_backlog_is_dropped_and_served_later() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let mut listener = stack.listen(any(80), 10).unwrap();
        for port in 1..=30 {
            end.inject(&syn(port));
        }
        world.settle().await;
        let answers = segments(&end);
        assert_eq!(answers.len(), 10);
        assert!(answers.iter().all(|answer| see(answer).flags == SYN | ACK));
        assert_eq!(world.dropped(2, "connections", "backlog"), 20);
        for answer in &answers {
            end.inject(&peer::answer(answer, ACK, b""));
        }
        // Whole connections count until they are accepted.
        world.settle().await;
        end.inject(&syn(11));
        world.settle().await;
        assert_eq!(segments(&end), [] as [Vec<u8>; 0]);
        let _flow = listener.accept().await.unwrap();
        end.inject(&syn(11));
        world.settle().await;
        assert_eq!(see(&segments(&end)[0]).to, 11);
    });
}

#[test]
fn a_flood_of_half_open_connections_is_bounded_and_passes() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let mut listener = stack.listen(any(80), 100).unwrap();
        for port in 1..=10_000 {
            end.inject(&syn(port));
        }
        world.sleep(Duration::from_millis(50)).await;
        assert_eq!(world.dropped(2, "connections", "backlog"), 9_900);
        // Young ones are left in peace; after a tenth of a second the oldest makes room.
        end.inject(&syn(20_000));
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(world.dropped(2, "connections", "backlog"), 9_901);
        world.sleep(Duration::from_millis(40)).await;
        end.drain();
        end.inject(&syn(20_000));
        world.settle().await;
        let answer = segments(&end).pop().unwrap();
        assert_eq!(see(&answer).to, 20_000);
        end.inject(&peer::answer(&answer, ACK, b""));
        let flow = listener.accept().await.unwrap();
        assert_eq!(world.dropped(2, "connections", "half_open"), 1);
        // And in the end nothing is left of it.
        world.sleep(seconds(20)).await;
        assert_eq!(world.dropped(2, "connections", "half_open"), 100);
        assert!(!world.has_timers());
        drop(flow);
    });
}

#[test]
fn dropping_the_listener_resets_what_was_not_accepted() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let listener = stack.listen(any(80), 10).unwrap();
        end.inject(&syn(1));
        end.inject(&syn(2));
        world.settle().await;
        let answers = segments(&end);
        end.inject(&peer::answer(&answers[0], ACK, b""));
        world.settle().await;
        drop(listener);
        world.settle().await;
        let resets = segments(&end);
        assert_eq!(resets.len(), 2);
        assert!(resets.iter().all(|reset| see(reset).flags & RST != 0));
        // The port is free at once.
        let listener = stack.listen(any(80), 10).unwrap();
        drop(listener);
        let _listener = stack.listen(any(80), 10).unwrap();
    });
}

#[test]
fn a_connection_reset_before_it_is_accepted_is_not_accepted() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let mut listener = stack.listen(any(80), 2).unwrap();
        for port in [1, 2] {
            end.inject(&syn(port));
            let answer = end.expect(peer::is_tcp).await;
            end.inject(&peer::answer(&answer, ACK, b""));
            if port == 1 {
                end.inject(&peer::answer(&answer, RST | ACK, b""));
            }
        }
        let flow = listener.accept().await.unwrap();
        assert_eq!(flow.peer(), Some("10.0.0.1:2".parse().unwrap()));
    });
}

#[test]
fn a_port_is_listened_on_once_and_zero_chooses_one() {
    run(|world| async move {
        let (stack, _end) = served(&world).await;
        let first = stack.listen(any(80), 1).unwrap();
        assert_eq!(first.local(), any(80));
        for taken in ["[::]:80", "0.0.0.0:80", "10.0.0.2:80"] {
            let result = stack.listen(taken.parse().unwrap(), 1);
            assert_eq!(result.err(), Some(StackError::AddressInUse), "{taken}");
        }
        let foreign = stack.listen("10.0.0.9:81".parse().unwrap(), 1);
        assert_eq!(foreign.err(), Some(StackError::InvalidAddress));
        let chosen = stack.listen(any(0), 1).unwrap();
        assert!(chosen.local().port() >= 49_152);
        // Different families do not quarrel.
        let _v4 = stack.listen("0.0.0.0:90".parse().unwrap(), 1).unwrap();
        let _v6 = stack.listen("[fd00::2]:90".parse().unwrap(), 1).unwrap();
    });
}

#[test]
fn a_listener_on_one_family_does_not_hear_the_other() {
    run(|world| async move {
        let (client, server) = pair(&world, Options::default()).await;
        let _listener = server.listen("0.0.0.0:80".parse().unwrap(), 9).unwrap();
        assert!(client.connect("10.0.0.2:80".parse().unwrap()).await.is_ok());
        let refused = client.connect("[fd00::2]:80".parse().unwrap()).await;
        assert_eq!(refused.err(), Some(StackError::Refused));
    });
}

#[test]
fn an_ended_connection_still_answers_for_itself_and_yields_to_a_new_one() {
    run(|world| async move {
        let (stack, end) = served(&world).await;
        let mut listener = stack.listen(any(80), 8).unwrap();
        end.inject(&syn(1));
        let answer = end.expect(peer::is_tcp).await;
        end.inject(&peer::answer(&answer, ACK, b""));
        // This side closes first: it is the one that has to remember.
        drop(listener.accept().await.unwrap());
        let fin = end.expect(peer::is_tcp).await;
        assert_eq!(see(&fin).flags & peer::FIN, peer::FIN);
        let closing = peer::answer(&fin, ACK | peer::FIN, b"");
        end.inject(&closing);
        let last = see(&end.expect(peer::is_tcp).await);
        assert_eq!(last.flags, ACK);
        world.sleep(seconds(5)).await;
        end.inject(&closing);
        let again = end.expect(peer::is_tcp).await;
        assert_eq!(see(&again), last);
        assert!(peer::is_complete(&again));
        // The peer may use its port again at once.
        end.inject(&peer::segment(1, 2, (1, 80), 9_000_000, 0, SYN));
        assert_eq!(see(&end.expect(peer::is_tcp).await).flags, SYN | ACK);
    });
}
