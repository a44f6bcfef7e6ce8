//! The DNS client: queries and answers (RFC 1035), asked over UDP and, when truncated, TCP.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::pin;
use core::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{AddressFamily, Stack, StackError, Udp};

use crate::Smoltcp;

/// How long each attempt waits for an answer. Every server is asked once in each round.
const ROUNDS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// The most servers that are asked.
const SERVERS: usize = 3;
/// How long an exchange over TCP may take.
const TCP: Duration = Duration::from_secs(5);
/// The longest answer over UDP without EDNS (RFC 1035 §4.2.1) is 512 bytes; room for servers
/// that do not count.
const ANSWER: usize = 1500;
/// The most aliases that are followed.
const ALIASES: usize = 16;
/// Record types and the class (RFC 1035 §3.2, RFC 3596 §2.1).
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// Looks `name` up; see [`Stack::resolve`].
pub(crate) async fn resolve(
    stack: &Smoltcp,
    name: &str,
    family: AddressFamily,
) -> Result<Vec<IpAddr>, StackError> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        let fits = match family {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        };
        return if fits {
            Ok(Vec::from([address]))
        } else {
            Err(StackError::NameNotFound)
        };
    }
    let name = encode(name).ok_or(StackError::NameNotFound)?;
    let kinds: &[u16] = match family {
        AddressFamily::Any => &[A, AAAA],
        AddressFamily::V4 => &[A],
        AddressFamily::V6 => &[AAAA],
    };
    let mut addresses = Vec::new();
    let mut error = StackError::NameNotFound;
    for &kind in kinds {
        match ask(stack, &name, kind).await {
            Ok(found) => addresses.extend(found),
            Err(StackError::NameNotFound) => (),
            Err(other) => error = other,
        }
    }
    if addresses.is_empty() {
        Err(error)
    } else {
        Ok(addresses)
    }
}

/// Asks the servers in turn until one gives a usable answer.
async fn ask(stack: &Smoltcp, name: &[u8], kind: u16) -> Result<Vec<IpAddr>, StackError> {
    let servers = stack.shared().state().configuration.servers();
    for patience in ROUNDS {
        for &server in servers.iter().take(SERVERS) {
            match exchange(stack, server, name, kind, patience).await {
                Ok(Answer::Addresses(addresses)) => return Ok(addresses),
                Ok(Answer::NoSuchName | Answer::NoSuchRecord) => {
                    return Err(StackError::NameNotFound);
                }
                Err(StackError::Gone) => return Err(StackError::Gone),
                // This server is of no use; the next may be.
                Ok(Answer::Truncated | Answer::Failure) | Err(_) => (),
            }
        }
    }
    Err(StackError::NameServer)
}

/// Asks one server once.
async fn exchange(
    stack: &Smoltcp,
    server: IpAddr,
    name: &[u8],
    kind: u16,
    patience: Duration,
) -> Result<Answer, StackError> {
    // A port and a number of its own for each question, both random: what keeps an answer from
    // being forged by somebody who cannot read the question (RFC 5452 §9.2).
    let mut id = [0; 2];
    let shared = stack.shared();
    shared.host.random(&mut id)?;
    let id = u16::from_ne_bytes(id);
    let query = query(id, name, kind);
    let server = SocketAddr::new(server, 53);
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let udp = stack.bind_udp(SocketAddr::new(any, 0))?;
    let answer = async {
        udp.send(&query, server).await?;
        let mut buffer = [0; ANSWER];
        loop {
            let (len, from) = udp.receive(&mut buffer).await?;
            if from == server
                && let Some(answer) = buffer
                    .get(..len)
                    .and_then(|message| parse(message, id, name, kind))
            {
                return Ok(answer);
            }
        }
    };
    let answer = within(stack, patience, answer).await?;
    match answer {
        Answer::Truncated => {
            within(stack, TCP, over_tcp(stack, server, &query, id, name, kind)).await
        }
        answer => Ok(answer),
    }
}

/// Asks once more where an answer may be long (RFC 7766 §5).
async fn over_tcp(
    stack: &Smoltcp,
    server: SocketAddr,
    query: &[u8],
    id: u16,
    name: &[u8],
    kind: u16,
) -> Result<Answer, StackError> {
    let mut flow = stack.connect(server).await?;
    let mut message = Vec::from((query.len() as u16).to_be_bytes());
    message.extend_from_slice(query);
    flow.write_all(&message)
        .await
        .map_err(|_| StackError::NameServer)?;
    let mut len = [0; 2];
    flow.read_exact(&mut len)
        .await
        .map_err(|_| StackError::NameServer)?;
    message.resize(usize::from(u16::from_be_bytes(len)), 0);
    flow.read_exact(&mut message)
        .await
        .map_err(|_| StackError::NameServer)?;
    parse(&message, id, name, kind).ok_or(StackError::NameServer)
}

/// What `future` gives within `patience`.
async fn within<T>(
    stack: &Smoltcp,
    patience: Duration,
    future: impl Future<Output = Result<T, StackError>>,
) -> Result<T, StackError> {
    let mut future = pin!(future);
    let mut alarm = stack.shared().host.sleep(patience);
    core::future::poll_fn(|cx| {
        if let ready @ core::task::Poll::Ready(_) = future.as_mut().poll(cx) {
            return ready;
        }
        alarm.as_mut().poll(cx).map(|()| Err(StackError::TimedOut))
    })
    .await
}

/// What a server has answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// The name exists, but has no record of this type.
    NoSuchRecord,
    Truncated,
    /// The server cannot or will not.
    Failure,
}

/// A name as it stands in a message: labels with their lengths, in lower case. `None`: it is no
/// name (RFC 1035 §2.3.4: labels of 1 to 63 bytes, 255 in all).
fn encode(name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 || !label.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

fn query(id: u16, name: &[u8], kind: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + name.len());
    message.extend(id.to_be_bytes());
    // One question, recursion desired.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(name);
    message.extend(kind.to_be_bytes());
    message.extend(IN.to_be_bytes());
    message
}

/// Reads an answer. `None`: it is not one to this question.
fn parse(message: &[u8], id: u16, name: &[u8], kind: u16) -> Option<Answer> {
    let flags = u16_at(message, 2)?;
    let (response, opcode, truncated, code) =
        (flags >> 15, flags >> 11 & 15, flags >> 9 & 1, flags & 15);
    if u16_at(message, 0)? != id || response != 1 || opcode != 0 || u16_at(message, 4)? != 1 {
        return None;
    }
    let (asked, at) = name_at(message, 12)?;
    if asked != name || u16_at(message, at)? != kind || u16_at(message, at + 2)? != IN {
        return None;
    }
    match code {
        _ if truncated == 1 => return Some(Answer::Truncated),
        0 => (),
        3 => return Some(Answer::NoSuchName),
        _ => return Some(Answer::Failure),
    }
    // From here on it is the server's answer, and a broken one is a failure of the server.
    let count = u16_at(message, 6)?;
    let Some(records) = records(message, at + 4, count) else {
        return Some(Answer::Failure);
    };
    let mut owner = asked;
    for _ in 0..ALIASES {
        let addresses: Vec<IpAddr> = records
            .iter()
            .filter(|record| record.kind == kind && record.owner == owner)
            .filter_map(|record| match (kind, record.data) {
                (A, data) => Some(Ipv4Addr::from_octets(data.try_into().ok()?).into()),
                (_, data) => Some(Ipv6Addr::from_octets(data.try_into().ok()?).into()),
            })
            .collect();
        if !addresses.is_empty() {
            return Some(Answer::Addresses(addresses));
        }
        let alias = records
            .iter()
            .find(|record| record.kind == CNAME && record.owner == owner);
        match alias.and_then(|record| name_at(message, record.data_at)) {
            Some((target, _)) => owner = target,
            None => return Some(Answer::NoSuchRecord),
        }
    }
    Some(Answer::Failure)
}

/// A resource record of class IN.
struct Record<'a> {
    owner: Vec<u8>,
    kind: u16,
    data: &'a [u8],
    data_at: usize,
}

/// The records of a section that begins at `at`.
fn records(message: &[u8], mut at: usize, count: u16) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    for _ in 0..count {
        let (owner, end) = name_at(message, at)?;
        let (kind, class) = (u16_at(message, end)?, u16_at(message, end + 2)?);
        let data_at = end + 10;
        let len = usize::from(u16_at(message, end + 8)?);
        let data = message.get(data_at..data_at + len)?;
        if class == IN {
            records.push(Record {
                owner,
                kind,
                data,
                data_at,
            });
        }
        at = data_at + len;
    }
    Some(records)
}

/// The name at `at` in lower case, and where what follows it begins (RFC 1035 §4.1.4).
fn name_at(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                name.push(0);
                return (name.len() <= 255).then_some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                let next = at + 1 + usize::from(len);
                name.push(len);
                name.extend(
                    message
                        .get(at + 1..next)?
                        .iter()
                        .map(u8::to_ascii_lowercase),
                );
                at = next;
            }
            0xc0.. => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                end = end.or(Some(at + 2));
                // Only backwards: so it ends.
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
        if name.len() > 255 {
            return None;
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn answer(name: &[u8], kind: u16, count: u8, records: &[u8]) -> Vec<u8> {
        let mut message = query(7, name, kind);
        message[2..4].copy_from_slice(&[0x81, 0x80]);
        message[7] = count;
        message.extend_from_slice(records);
        message
    }

    /// A record whose owner is a pointer to the question's name.
    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut record = Vec::from([0xc0, 12]);
        record.extend(kind.to_be_bytes());
        record.extend([0, 1, 0, 0, 0, 60]);
        record.extend((data.len() as u16).to_be_bytes());
        record.extend_from_slice(data);
        record
    }

    #[test]
    fn names_are_checked_and_lowered() {
        assert_eq!(encode("a.Example.").unwrap(), b"\x01a\x07example\x00");
        for bad in ["", ".", "a..b", "a b", "\u{e4}.de", &"x".repeat(64)] {
            assert_eq!(encode(bad), None, "{bad:?}");
        }
        let long: String = core::iter::repeat_n("abcdefg.", 32).collect();
        assert_eq!(encode(&long), None);
    }

    #[test]
    fn addresses_are_found_behind_aliases() {
        let name = encode("www.example").unwrap();
        let target = encode("host.example").unwrap();
        let mut records = record(CNAME, &target);
        records.extend_from_slice(&target);
        records.extend([0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 9]);
        let message = answer(&name, A, 2, &records);
        let found = Answer::Addresses(Vec::from([IpAddr::from([10, 0, 0, 9])]));
        assert_eq!(parse(&message, 7, &name, A), Some(found));
    }

    #[test]
    fn an_address_of_another_name_is_not_believed() {
        let name = encode("a.example").unwrap();
        let mut records = encode("b.example").unwrap();
        records.extend([0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 9]);
        let message = answer(&name, A, 1, &records);
        assert_eq!(parse(&message, 7, &name, A), Some(Answer::NoSuchRecord));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let name = encode("a.example").unwrap();
        let good = answer(&name, A, 1, &record(A, &[10, 0, 0, 1]));
        assert!(matches!(
            parse(&good, 7, &name, A),
            Some(Answer::Addresses(_))
        ));
        assert_eq!(parse(&good, 8, &name, A), None);
        assert_eq!(parse(&good, 7, &name, AAAA), None);
        assert_eq!(parse(&good, 7, &encode("b.example").unwrap(), A), None);
        assert_eq!(parse(&query(7, &name, A), 7, &name, A), None);
    }

    #[test]
    fn codes_and_truncation_are_told_apart() {
        let name = encode("a.example").unwrap();
        for (byte2, byte3, expected) in [
            (0x81, 0x83, Answer::NoSuchName),
            (0x81, 0x82, Answer::Failure),
            (0x81, 0x85, Answer::Failure),
            (0x83, 0x80, Answer::Truncated),
            (0x81, 0x80, Answer::NoSuchRecord),
        ] {
            let mut message = answer(&name, A, 0, &[]);
            message[2..4].copy_from_slice(&[byte2, byte3]);
            assert_eq!(parse(&message, 7, &name, A), Some(expected));
        }
    }

    #[test]
    fn a_loop_of_aliases_or_pointers_ends() {
        let name = encode("a.example").unwrap();
        let message = answer(&name, A, 1, &record(CNAME, &[0xc0, 12]));
        assert_eq!(parse(&message, 7, &name, A), Some(Answer::Failure));
        let at = 12 + name.len() as u8 + 4;
        let mut looped = answer(&name, A, 1, &record(A, &[10, 0, 0, 1]));
        looped[at as usize + 1] = at;
        assert_eq!(parse(&looped, 7, &name, A), Some(Answer::Failure));
    }

    #[test]
    fn every_shortened_answer_is_harmless() {
        let name = encode("a.example").unwrap();
        let message = answer(&name, A, 1, &record(A, &[10, 0, 0, 1]));
        for len in 0..message.len() {
            let parsed = parse(&message[..len], 7, &name, A);
            assert!(
                matches!(parsed, None | Some(Answer::Failure)),
                "{len}: {parsed:?}"
            );
        }
    }
}
