use std::net::IpAddr;
use std::time::Duration;

use mirage_device::{AddressFamily, Clock, Instant, Sleep, Spawn, Stack};
use mirage_sim::World;

use crate::input::Input;
use crate::lan::{self, Lan, OUR_V4, OURS, THEIR_V4, THEIRS};
use crate::packet;

/// No search takes longer.
const DEADLINE: Instant = Instant::from_nanos(120_000_000_000);

const UDP_PAYLOAD: usize = 14 + 20 + 8;

/// A name looked up at a server that answers with any bytes: an address that comes of it stands
/// in an answer of the right number, and the search ends.
pub fn dns(input: &[u8]) {
    let mut input = Input::new(input);
    let family = [AddressFamily::Any, AddressFamily::V4, AddressFamily::V6][input.below(3)];
    let simulation = World::new(0);
    let lan = Lan::new(false);
    let stack = lan.stack(&simulation, lan::fixed());
    let (theirs, ours) = ((THEIRS, THEIR_V4), (OURS, OUR_V4));
    lan.inject(&packet::arp(2, theirs, ours));
    let mut search = simulation.spawn(async move { stack.resolve("host.example", family).await });

    let mut answers: Vec<Vec<u8>> = Vec::new();
    let found = loop {
        let moment = simulation.timeout(Duration::from_millis(100), &mut search);
        if let Some(found) = simulation.block_on(moment) {
            break found;
        }
        assert!(simulation.now() < DEADLINE, "the search never ends");
        for (frame, _) in lan.drain() {
            let udp = frame.len() > UDP_PAYLOAD && frame[12..14] == [8, 0] && frame[23] == 17;
            if !udp || frame[36..38] != [0, 53] {
                continue;
            }
            let port = u16::from_be_bytes([frame[34], frame[35]]);
            let answer = reply(&mut input, &frame[UDP_PAYLOAD..]);
            lan.inject(&packet::ipv4(
                theirs,
                ours,
                17,
                &packet::datagram((53, port), &answer),
            ));
            answers.push(answer);
        }
    };
    simulation.runtime().clear();
    let Ok(found) = found else { return };
    assert!(!found.is_empty());
    for address in found {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert!(family != AddressFamily::V4 || address.is_ipv4());
        assert!(family != AddressFamily::V6 || address.is_ipv6());
        let stands = |answer: &Vec<u8>| answer.windows(bytes.len()).any(|window| window == bytes);
        assert!(answers.iter().any(stands), "{address} was made up");
    }
}

/// What the server sends back: the question, mostly, and what the input says.
fn reply(input: &mut Input<'_>, question: &[u8]) -> Vec<u8> {
    let flags = input.byte();
    let mut answer = match flags & 3 {
        0 => Vec::new(),
        1 => question[..12.min(question.len())].to_vec(),
        _ => question.to_vec(),
    };
    if let Some(header) = answer.get_mut(2..12) {
        // A response that holds so many answers, of so many questions.
        header[0] = 0x81;
        header[1] = 0x80 | input.byte() & 15;
        header[5] = input.byte();
        if flags & 4 != 0 {
            header[3] = (flags >> 3) & 3;
        }
    }
    answer.extend(input.counted());
    answer
}
