//! Datagrams: those of published ports and those that the guest sends out.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use smoltcp::time::Instant;

use crate::address::{GATEWAY_V4, GATEWAY_V6};
use crate::core::Core;
use crate::packet::Ends;
use crate::poller::Source;
use crate::table::{Id, Table};

/// Most exchanges at once; beyond them the one that has been silent longest makes room.
const MAX_EXCHANGES: usize = 1024;
/// An exchange in which nobody has spoken for so long is over (RFC 4787 REQ-5: at least this).
const IDLE: Duration = Duration::from_secs(120);
/// Datagrams taken from one socket before others have their turn.
const TURN: usize = 32;

/// Who speaks with the guest.
enum Peer {
    /// The kernel's connected socket towards an address that the guest chose.
    Outgoing(UdpSocket),
    /// A client of the published port with this place.
    Client(usize, SocketAddr),
}

struct Exchange {
    ends: Ends,
    peer: Peer,
    /// When it is over, if nobody speaks.
    until: Instant,
    /// Its place among the deadlines; not moved for each datagram.
    scheduled: Instant,
}

/// A published UDP port.
pub(crate) struct Port {
    pub(crate) socket: UdpSocket,
    pub(crate) guest: u16,
}

pub(crate) struct Udp {
    exchanges: Table<Exchange>,
    by_ends: HashMap<Ends, Id>,
    by_client: HashMap<(usize, SocketAddr), Id>,
    deadlines: BTreeSet<(Instant, Id)>,
    next_port: u16,
}

impl Udp {
    pub(crate) fn new() -> Self {
        Self {
            exchanges: Table::new(MAX_EXCHANGES),
            by_ends: HashMap::new(),
            by_client: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_port: 49_152,
        }
    }

    /// Takes a datagram from the guest. `ports` finds a published port by its place.
    pub(crate) fn datagram<'a>(
        &mut self,
        core: &mut Core,
        ports: impl Fn(usize) -> Option<&'a Port>,
        ends: Ends,
        payload: &[u8],
    ) {
        let id = match self.by_ends.get(&ends) {
            Some(&id) => id,
            None => {
                let Some(&[target]) = core.targets(ends.far).as_deref() else {
                    core.link.counters.forbidden += 1;
                    return;
                };
                let Some(id) = self.start_outgoing(core, ends, target) else {
                    core.link.counters.no_room += 1;
                    return;
                };
                id
            }
        };
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.until = core.now + IDLE.into();
        // A datagram may be lost: an error is no more than that.
        let _ = match &exchange.peer {
            Peer::Outgoing(socket) => socket.send(payload),
            Peer::Client(place, client) => match ports(*place) {
                Some(port) => port.socket.send_to(payload, client),
                None => return,
            },
        };
    }

    /// A published port has datagrams from its clients.
    pub(crate) fn published(
        &mut self,
        core: &mut Core,
        place: usize,
        port: &Port,
        buffer: &mut [u8],
    ) {
        for _ in 0..TURN {
            let (len, client) = match port.socket.recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The guest's last answer met nobody: the error is spent, datagrams may follow.
                Err(_) => continue,
            };
            let Some(guest) = core.guest(port.guest) else {
                return;
            };
            let known = self.by_client.get(&(place, client)).copied();
            let id = match known.filter(|id| self.speaks_with(*id, guest)) {
                Some(id) => id,
                None => {
                    let Some(ends) = self.free_ends(guest) else {
                        continue;
                    };
                    let Some(id) = self.start(core, ends, |_| Some(Peer::Client(place, client)))
                    else {
                        core.link.counters.no_room += 1;
                        continue;
                    };
                    self.by_client.insert((place, client), id);
                    id
                }
            };
            self.deliver(core, id, buffer.get(..len).unwrap_or_default());
        }
    }

    /// The host's side of an outgoing exchange has datagrams for the guest.
    pub(crate) fn host_ready(&mut self, core: &mut Core, id: Id, buffer: &mut [u8]) {
        for _ in 0..TURN {
            let Some(Exchange {
                peer: Peer::Outgoing(socket),
                ..
            }) = self.exchanges.get_mut(id)
            else {
                return;
            };
            match socket.recv(buffer) {
                Ok(len) => self.deliver(core, id, buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The kernel passes on that a datagram met nobody; the next may.
                Err(_) => {}
            }
        }
    }

    fn deliver(&mut self, core: &mut Core, id: Id, payload: &[u8]) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.until = core.now + IDLE.into();
        if !core
            .link
            .send_udp(exchange.ends.far, exchange.ends.guest, payload)
        {
            core.link.counters.malformed += 1;
        }
    }

    fn speaks_with(&mut self, id: Id, guest: SocketAddr) -> bool {
        self.exchanges
            .get_mut(id)
            .is_some_and(|exchange| exchange.ends.guest == guest)
    }

    fn start_outgoing(&mut self, core: &Core, ends: Ends, target: SocketAddr) -> Option<Id> {
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(target).ok()?;
        self.start(core, ends, |id| {
            core.poller
                .add_level(&socket, Source::Datagrams(id), true)
                .ok()?;
            Some(Peer::Outgoing(socket))
        })
    }

    fn start(
        &mut self,
        core: &Core,
        ends: Ends,
        peer: impl FnOnce(Id) -> Option<Peer>,
    ) -> Option<Id> {
        if self.exchanges.is_full() {
            let silent = self
                .exchanges
                .iter()
                .min_by_key(|(_, exchange)| exchange.until)?
                .0;
            self.end(silent);
        }
        let until = core.now + IDLE.into();
        let id = self.exchanges.insert_with(|id| {
            Some(Exchange {
                ends,
                peer: peer(id)?,
                until,
                scheduled: until,
            })
        })?;
        self.by_ends.insert(ends, id);
        self.deadlines.insert((until, id));
        Some(id)
    }

    /// Ends towards `guest` that nobody has.
    fn free_ends(&mut self, guest: SocketAddr) -> Option<Ends> {
        let gateway: IpAddr = match guest {
            SocketAddr::V4(_) => GATEWAY_V4.into(),
            SocketAddr::V6(_) => GATEWAY_V6.into(),
        };
        for _ in 0..=MAX_EXCHANGES {
            let ends = Ends {
                guest,
                far: SocketAddr::new(gateway, self.next_port),
            };
            self.next_port = self.next_port.checked_add(1).unwrap_or(49_152);
            if !self.by_ends.contains_key(&ends) {
                return Some(ends);
            }
        }
        None
    }

    fn end(&mut self, id: Id) {
        let Some(exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.deadlines.remove(&(exchange.scheduled, id));
        self.by_ends.remove(&exchange.ends);
        if let Peer::Client(place, client) = exchange.peer
            && self.by_client.get(&(place, client)) == Some(&id)
        {
            self.by_client.remove(&(place, client));
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends what has been silent too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            if exchange.until <= now {
                self.end(id);
            } else {
                exchange.scheduled = exchange.until;
                self.deadlines.insert((exchange.until, id));
            }
        }
    }
}

#[cfg(test)]
mod tests;
