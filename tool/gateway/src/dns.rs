//! Questions over UDP to the gateway's port 53, passed on to the host's name servers.
//!
//! Each question has a kernel socket of its own, so that an answer that comes late, or from
//! somebody else, meets nobody. TCP to the same port is an outgoing connection like others.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use smoltcp::time::Instant;

use crate::core::Core;
use crate::packet::Ends;
use crate::poller::Source;
use crate::table::{Id, Table};

/// Most questions without an answer at once.
const MAX_QUERIES: usize = 256;
/// A server that has not answered for so long is given up for the next.
const PATIENCE: Duration = Duration::from_secs(3);
const HEADER: usize = 12;
/// A name server's failure (RFC 1035 §4.1.1).
const SERVFAIL: u8 = 2;

struct Query {
    ends: Ends,
    question: Vec<u8>,
    socket: UdpSocket,
    /// Which of the servers is being asked.
    server: usize,
    deadline: Instant,
}

pub(crate) struct Dns {
    queries: Table<Query>,
    /// A question that is repeated while it is being asked is asked once.
    asked: HashMap<(Ends, [u8; 2]), Id>,
    deadlines: BTreeSet<(Instant, Id)>,
}

impl Dns {
    pub(crate) fn new() -> Self {
        Self {
            queries: Table::new(MAX_QUERIES),
            asked: HashMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Takes a question from the guest.
    pub(crate) fn ask(&mut self, core: &mut Core, ends: Ends, question: &[u8]) {
        let Some(id) = transaction(question) else {
            core.link.counters.malformed += 1;
            return;
        };
        if self.asked.contains_key(&(ends, id)) {
            return;
        }
        if self.queries.is_full() {
            core.link.counters.no_room += 1;
            return;
        }
        match self.send(core, ends, question, 0) {
            Some(query) => {
                self.asked.insert((ends, id), query);
            }
            None => fail(core, ends, question),
        }
    }

    /// Asks the first server from `from` on that can be asked.
    fn send(&mut self, core: &Core, ends: Ends, question: &[u8], from: usize) -> Option<Id> {
        for (server, address) in core.resolvers.iter().enumerate().skip(from) {
            let Ok(socket) = connected(*address) else {
                continue;
            };
            let deadline = core.now + PATIENCE.into();
            let id = self.queries.insert_with(|id| {
                core.poller
                    .add_level(&socket, Source::Query(id), true)
                    .ok()?;
                socket.send(question).ok()?;
                Some(Query {
                    ends,
                    question: question.to_vec(),
                    socket,
                    server,
                    deadline,
                })
            });
            if let Some(id) = id {
                self.deadlines.insert((deadline, id));
                return Some(id);
            }
        }
        None
    }

    fn take(&mut self, id: Id) -> Option<Query> {
        let query = self.queries.remove(id)?;
        self.deadlines.remove(&(query.deadline, id));
        if let Some(transaction) = transaction(&query.question) {
            self.asked.remove(&(query.ends, transaction));
        }
        Some(query)
    }

    /// A server has answered, or the kernel says that it will not.
    pub(crate) fn answered(&mut self, core: &mut Core, id: Id, buffer: &mut [u8]) {
        let Some(query) = self.queries.get_mut(id) else {
            return;
        };
        let answer = match query.socket.recv(buffer) {
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => return self.next_server(core, id),
        };
        if transaction(answer).is_none() || transaction(answer) != transaction(&query.question) {
            return;
        }
        let ends = query.ends;
        core.link.send_udp(ends.far, ends.guest, answer);
        self.take(id);
    }

    fn next_server(&mut self, core: &mut Core, id: Id) {
        let Some(query) = self.take(id) else { return };
        match (
            self.send(core, query.ends, &query.question, query.server + 1),
            transaction(&query.question),
        ) {
            (Some(id), Some(transaction)) => {
                self.asked.insert((query.ends, transaction), id);
            }
            _ => fail(core, query.ends, &query.question),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn expire(&mut self, core: &mut Core) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= core.now
        {
            self.next_server(core, id);
        }
    }
}

/// The number that ties an answer to its question; `None` for what is too short to be either.
fn transaction(message: &[u8]) -> Option<[u8; 2]> {
    match message {
        [a, b, ..] if message.len() >= HEADER => Some([*a, *b]),
        _ => None,
    }
}

fn connected(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

/// Tells the guest at once that nobody answers: the question with the response bit and the code.
fn fail(core: &mut Core, ends: Ends, question: &[u8]) {
    core.link.counters.refused += 1;
    let mut answer = question.to_vec();
    if let Some(flags) = answer.get_mut(2..4) {
        flags[0] |= 0x80;
        flags[1] = flags[1] & 0x70 | 0x80 | SERVFAIL;
    }
    core.link.send_udp(ends.far, ends.guest, &answer);
}
