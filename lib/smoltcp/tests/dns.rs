//! Names: the stack asks, host 2 answers.

mod world;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use mirage_device::io::{Read, Write};
use mirage_device::{AddressFamily, Clock, Listener, Sleep, Spawn, Stack, StackError, Task, Udp};
use mirage_smoltcp::{Keys, Smoltcp};
use world::wire::{Options, wire};
use world::{World, fixed, seconds};

/// What the server does with a question: its flags and records, or silence.
type Answer = fn(kind: u16, over_tcp: bool) -> Option<(u16, Vec<Vec<u8>>)>;

const OK: u16 = 0x8180;

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

fn reply(question: &[u8], answer: Answer, over_tcp: bool) -> Option<Vec<u8>> {
    let kind = u16::from_be_bytes(
        question[question.len() - 4..question.len() - 2]
            .try_into()
            .ok()?,
    );
    let (flags, records) = answer(kind, over_tcp)?;
    let mut reply = question.to_vec();
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    reply[7] = records.len() as u8;
    reply.extend(records.concat());
    Some(reply)
}

/// Runs `test` with a stack whose name server answers so. The questions are gathered.
fn run<F: Future<Output = ()> + 'static>(
    answer: Answer,
    test: impl FnOnce(World, Smoltcp, Rc<RefCell<Vec<Vec<u8>>>>) -> F + 'static,
) {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (left, right) = wire(&world, Options::default());
        let keys = Keys {
            dns: Some("10.0.0.2".parse().unwrap()),
            ..fixed(1)
        };
        let stack = world.stack(left, keys).await;
        let server = world.stack(right, fixed(2)).await;
        let questions = Rc::new(RefCell::new(Vec::new()));
        let asked = questions.clone();
        let udp = server.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
        let over_udp = async move {
            let mut buffer = [0; 512];
            loop {
                let (len, from) = udp.receive(&mut buffer).await.unwrap();
                asked.borrow_mut().push(buffer[..len].to_vec());
                if let Some(reply) = reply(&buffer[..len], answer, false) {
                    udp.send(&reply, from).await.unwrap();
                }
            }
        };
        world.spawn(over_udp).detach();
        let mut listener = server.listen("0.0.0.0:53".parse().unwrap(), 8).unwrap();
        let over_tcp = async move {
            while let Ok(mut flow) = listener.accept().await {
                let mut len = [0; 2];
                flow.read_exact(&mut len).await.unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
                flow.read_exact(&mut question).await.unwrap();
                let reply = reply(&question, answer, true).unwrap();
                flow.write_all(&(reply.len() as u16).to_be_bytes())
                    .await
                    .unwrap();
                flow.write_all(&reply).await.unwrap();
            }
        };
        world.spawn(over_tcp).detach();
        test(world, stack, questions).await;
    });
}

fn both(kind: u16, _: bool) -> Option<(u16, Vec<Vec<u8>>)> {
    match kind {
        1 => Some((
            OK,
            vec![record(1, &[10, 0, 0, 9]), record(1, &[10, 0, 0, 10])],
        )),
        _ => Some((
            OK,
            vec![record(
                28,
                &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            )],
        )),
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_name_has_the_addresses_of_the_families_asked_for() {
    run(both, |_, stack, questions| async move {
        for (family, expected) in [
            (AddressFamily::V4, ips(&["10.0.0.9", "10.0.0.10"])),
            (AddressFamily::V6, ips(&["fd00::9"])),
            (
                AddressFamily::Any,
                ips(&["10.0.0.9", "10.0.0.10", "fd00::9"]),
            ),
        ] {
            assert_eq!(stack.resolve("host.example", family).await, Ok(expected));
        }
        // Every question has a number of its own.
        let questions = questions.borrow();
        let numbers: std::collections::HashSet<_> = questions
            .iter()
            .map(|question| question[..2].to_vec())
            .collect();
        assert_eq!((questions.len(), numbers.len()), (4, 4));
    });
}

#[test]
fn an_address_is_its_own_answer() {
    run(
        |_, _| None,
        |world, stack, questions| async move {
            let start = world.now();
            for (text, family, expected) in [
                ("192.0.2.1", AddressFamily::Any, Ok(ips(&["192.0.2.1"]))),
                ("::1", AddressFamily::V6, Ok(ips(&["::1"]))),
                ("[::1]", AddressFamily::Any, Ok(ips(&["::1"]))),
                ("::1", AddressFamily::V4, Err(StackError::NameNotFound)),
                (
                    "not a name",
                    AddressFamily::Any,
                    Err(StackError::NameNotFound),
                ),
            ] {
                assert_eq!(stack.resolve(text, family).await, expected, "{text}");
            }
            assert_eq!(world.now(), start);
            assert_eq!(questions.borrow().len(), 0);
        },
    );
}

#[test]
fn a_name_that_does_not_exist_or_has_no_such_address_is_not_found() {
    run(
        |_, _| Some((0x8183, vec![])),
        |_, stack, _| async move {
            let result = stack.resolve("no.example", AddressFamily::Any).await;
            assert_eq!(result, Err(StackError::NameNotFound));
        },
    );
    run(
        |_, _| Some((OK, vec![])),
        |_, stack, _| async move {
            let result = stack.resolve("empty.example", AddressFamily::V6).await;
            assert_eq!(result, Err(StackError::NameNotFound));
        },
    );
}

#[test]
fn a_silent_or_failing_server_is_asked_thrice_and_then_given_up() {
    run(
        |_, _| None,
        |world, stack, questions| async move {
            let start = world.now();
            let result = stack.resolve("slow.example", AddressFamily::V4).await;
            assert_eq!(result, Err(StackError::NameServer));
            assert_eq!(world.now() - start, seconds(7));
            assert_eq!(questions.borrow().len(), 3);
        },
    );
    run(
        |_, _| Some((0x8182, vec![])),
        |_, stack, questions| async move {
            let result = stack.resolve("broken.example", AddressFamily::V4).await;
            assert_eq!(result, Err(StackError::NameServer));
            assert_eq!(questions.borrow().len(), 3);
        },
    );
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    fn answer(_: u16, over_tcp: bool) -> Option<(u16, Vec<Vec<u8>>)> {
        let many = (0..100).map(|n| record(1, &[10, 0, 1, n])).collect();
        if over_tcp {
            Some((OK, many))
        } else {
            Some((0x8380, vec![]))
        }
    }
    run(answer, |_, stack, _| async move {
        let found = stack
            .resolve("many.example", AddressFamily::V4)
            .await
            .unwrap();
        assert_eq!(found.len(), 100);
    });
}

#[test]
fn a_dropped_question_leaves_nothing_behind() {
    run(
        |_, _| None,
        |world, stack, _| async move {
            let question = stack.resolve("slow.example", AddressFamily::V4);
            assert!(world.timeout(seconds(1), question).await.is_none());
            world.sleep(seconds(30)).await;
            assert!(!world.has_timers());
        },
    );
}

#[test]
fn without_a_server_there_is_an_answer_too() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let (left, _right) = wire(&inner, Options::default());
        let stack = inner.stack(left, fixed(1)).await;
        let result = stack.resolve("a.example", AddressFamily::Any).await;
        assert_eq!(result, Err(StackError::NameServer));
    });
}
