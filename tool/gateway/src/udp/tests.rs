use std::collections::HashMap;
use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::address::{GUEST_V4, Policy};
use crate::link::Link;
use crate::poller::Poller;

/// A gateway's parts without a gateway, and the guest's end of the link.
fn core() -> (Core, OwnedFd) {
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (ours, theirs) = socketpair(kind.0, kind.1, SocketFlags::CLOEXEC, None).unwrap();
    let core = Core {
        link: Link::new(ours).unwrap(),
        poller: Poller::new().unwrap(),
        now: Instant::ZERO,
        policy: Policy {
            outgoing: true,
            host: true,
        },
        resolvers: Vec::new(),
        first_frame: None,
        guest_v4: Some(GUEST_V4),
        guest_v6: None,
        answered: Vec::new(),
    };
    (core, theirs)
}

fn ends(port: u16) -> Ends {
    Ends {
        guest: SocketAddr::new(GUEST_V4.into(), 1000),
        far: SocketAddr::new(GATEWAY_V4.into(), port),
    }
}

fn client(number: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), number)
}

/// No list knows of anything that the others do not.
fn is_consistent(udp: &Udp) {
    let count = udp.exchanges.len();
    assert_eq!((udp.by_ends.len(), udp.deadlines.len()), (count, count));
    for (id, exchange) in udp.exchanges.iter() {
        assert_eq!(udp.by_ends.get(&exchange.ends), Some(&id));
        assert!(udp.deadlines.contains(&(exchange.scheduled, id)));
        assert!(exchange.scheduled <= exchange.until);
    }
}

#[test]
fn an_exchange_in_which_nobody_speaks_for_two_minutes_is_over() {
    let (mut core, _guest) = core();
    let mut udp = Udp::new();
    let [silent, talking] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [silent, talking] = [&silent, &talking].map(|it| ends(it.local_addr().unwrap().port()));
    let say = |udp: &mut Udp, core: &mut Core, ends| udp.datagram(core, |_| None, ends, b"x");
    say(&mut udp, &mut core, silent);
    say(&mut udp, &mut core, talking);
    assert_eq!(udp.next_deadline(), Some(Instant::ZERO + IDLE.into()));

    core.now = Instant::from_secs(100);
    say(&mut udp, &mut core, talking);
    udp.expire(Instant::from_millis(119_999));
    assert_eq!(udp.exchanges.len(), 2);
    udp.expire(Instant::from_secs(120));
    assert!(!udp.by_ends.contains_key(&silent) && udp.by_ends.contains_key(&talking));
    is_consistent(&udp);
    assert_eq!(udp.next_deadline(), Some(Instant::from_secs(220)));
    udp.expire(Instant::from_secs(220));
    assert_eq!((udp.exchanges.len(), udp.next_deadline()), (0, None));
}

#[test]
fn at_the_limit_the_one_that_has_been_silent_longest_makes_room() {
    let (mut core, _guest) = core();
    let mut udp = Udp::new();
    for number in 0..=MAX_EXCHANGES as u16 {
        core.now = Instant::from_millis(number);
        if number == MAX_EXCHANGES as u16 {
            // The first speaks once more: the second is the oldest now.
            let id = udp.by_ends[&ends(1)];
            udp.deliver(&mut core, id, b"x");
        }
        let peer = |_| Some(Peer::Client(0, client(number)));
        assert!(udp.start(&core, ends(number + 1), peer).is_some());
    }
    assert_eq!(udp.exchanges.len(), MAX_EXCHANGES);
    assert!(udp.by_ends.contains_key(&ends(1)) && !udp.by_ends.contains_key(&ends(2)));
    assert!(udp.by_ends.contains_key(&ends(MAX_EXCHANGES as u16 + 1)));
    is_consistent(&udp);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Start(u16),
    Speak(u16),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9_u16).prop_map(Step::Start),
        (1..9_u16).prop_map(Step::Speak),
        (1..90_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn exchanges_live_and_end_as_in_a_plain_list(steps in prop::collection::vec(step(), 0..80)) {
        const ROOM: usize = 4;
        let (mut core, _guest) = core();
        let mut udp = Udp { exchanges: Table::new(ROOM), ..Udp::new() };
        // When each exchange is over.
        let mut model: HashMap<u16, Instant> = HashMap::new();
        let mut seconds = 0;
        for step in steps {
            // No two things happen at once, so that one is always the oldest.
            core.now += smoltcp::time::Duration::from_millis(1);
            let until = core.now + IDLE.into();
            match step {
                Step::Start(port) if !model.contains_key(&port) => {
                    if model.len() == ROOM {
                        let oldest = *model.iter().min_by_key(|(_, until)| **until).unwrap().0;
                        model.remove(&oldest);
                    }
                    model.insert(port, until);
                    let peer = |_| Some(Peer::Client(0, client(port)));
                    let id = udp.start(&core, ends(port), peer).unwrap();
                    udp.by_client.insert((0, client(port)), id);
                }
                Step::Start(port) | Step::Speak(port) => {
                    if let Some(&id) = udp.by_ends.get(&ends(port)) {
                        udp.deliver(&mut core, id, b"x");
                    }
                    model.entry(port).and_modify(|end| *end = until);
                }
                Step::Pass(time) => {
                    seconds += time;
                    core.now += smoltcp::time::Duration::from_secs(time);
                    udp.expire(core.now);
                    model.retain(|_, until| *until > core.now);
                }
            }
            let mut left: Vec<u16> = udp.by_ends.keys().map(|ends| ends.far.port()).collect();
            let mut expected: Vec<u16> = model.keys().copied().collect();
            left.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(left, expected, "after {} seconds", seconds);
            prop_assert_eq!(udp.by_client.len(), model.len());
            is_consistent(&udp);
            // Woken in time, and for nothing only when somebody has spoken meanwhile.
            let first = model.values().min().copied();
            prop_assert!(udp.next_deadline() <= first || first.is_none());
        }
    }
}
