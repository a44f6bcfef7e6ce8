//! All TCP connections, published and outgoing.

mod opening;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpListenEndpoint};

use crate::address::{GATEWAY_V4, GATEWAY_V6, PREFIX_V4, PREFIX_V6};
use crate::core::Core;
use crate::device::PacketDevice;
use crate::dial::Dial;
use crate::flow::{Connection, Flow, Moved};
use crate::packet::{Ends, TcpSegment};
use crate::poller::{Ready, Source};
use crate::table::{Id, Table};

/// Most connections at once; further ones wait in the kernel's queue, or are not answered.
const MAX_FLOWS: usize = 2048;
/// Most connections that the kernel is opening for the guest at once.
const MAX_DIALS: usize = 256;
/// Connections kept with their buffers for the next.
const MAX_SPARE: usize = 64;
/// Ports of the gateway from which it opens connections to the guest.
const FIRST_PORT: u16 = 1024;

/// Who has a pair of ends.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Flow(Id),
    Dial(Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Flow(Id),
    Dial(Id),
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// After it was established.
    Closed,
    /// The guest refused it, or did not answer.
    Refused,
}

/// What other parts want to know of a published connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Established(usize),
    /// Ended before it was established.
    Refused(usize),
}

pub(crate) struct Tcp {
    interface: Interface,
    flows: Table<Flow>,
    dials: Table<Dial>,
    owners: HashMap<Ends, Owner>,
    ready: VecDeque<Id>,
    /// Flows with something to send while the link is blocked.
    stalled: Vec<Id>,
    /// At most one for each flow and each dial.
    alarms: BTreeSet<(Instant, Alarm)>,
    spare: Vec<Connection>,
    /// No sockets: what is handed to it is answered with a reset, or as an echo.
    nobody: SocketSet<'static>,
    next_port: u16,
    pub(crate) changes: Vec<Change>,
}

impl Tcp {
    pub(crate) fn new(core: &mut Core, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut device = PacketDevice {
            packet: None,
            link: &mut core.link,
        };
        let mut interface = Interface::new(config, &mut device, core.now);
        interface.set_any_ip(true);
        interface.update_ip_addrs(|addresses| {
            addresses.extend([
                IpCidr::new(GATEWAY_V4.into(), PREFIX_V4),
                IpCidr::new(GATEWAY_V6.into(), PREFIX_V6),
            ]);
        });
        Self {
            interface,
            flows: Table::new(MAX_FLOWS),
            dials: Table::new(MAX_DIALS),
            owners: HashMap::new(),
            ready: VecDeque::new(),
            stalled: Vec::new(),
            alarms: BTreeSet::new(),
            spare: Vec::new(),
            nobody: SocketSet::new(Vec::new()),
            next_port: FIRST_PORT + (seed % 30_000) as u16,
            changes: Vec::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.flows.is_full()
    }

    /// There are flows that could go on without waiting.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a segment from the guest: `packet` with its IP header.
    pub(crate) fn segment(&mut self, core: &mut Core, packet: &[u8], ends: Ends, kind: TcpSegment) {
        if kind == TcpSegment::Open {
            self.make_way(core, ends);
        }
        match self.owners.get(&ends).copied() {
            Some(Owner::Flow(id)) => {
                self.feed(core, packet, Some(id));
                self.note_established(core, id);
                self.enqueue(id);
            }
            Some(Owner::Dial(id)) if kind == TcpSegment::Reset => drop(self.take_dial(id)),
            // A repeated SYN: the kernel has not answered the first yet.
            Some(Owner::Dial(_)) => {}
            None if kind == TcpSegment::Open => self.dial(core, packet, ends),
            None => self.answer(core, packet),
        }
    }

    /// Told at once: the guest's next segment may end the connection again.
    fn note_established(&mut self, core: &mut Core, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.became_established()
        {
            core.link.counters.connections += 1;
            if let Some(place) = flow.published {
                self.changes.push(Change::Established(place));
            }
        }
    }

    /// Ends a connection that is over already, so that the guest may open the next between the
    /// same ends.
    fn make_way(&mut self, core: &mut Core, ends: Ends) {
        if let Some(Owner::Flow(id)) = self.owners.get(&ends).copied()
            && let Some(flow) = self.flows.get_mut(id)
            && matches!(
                flow.connection.socket().state(),
                State::Closed | State::TimeWait
            )
        {
            self.turn(core, id);
        }
    }

    /// Hands a packet to the engine with no socket open: it answers an echo request with a reply
    /// and a segment with a reset.
    pub(crate) fn answer(&mut self, core: &mut Core, packet: &[u8]) {
        self.feed(core, packet, None);
    }

    fn feed(&mut self, core: &mut Core, packet: &[u8], to: Option<Id>) {
        let set = match to {
            Some(id) => match self.flows.get_mut(id) {
                Some(flow) => &mut flow.connection.set,
                None => return,
            },
            None => &mut self.nobody,
        };
        let mut device = PacketDevice {
            packet: Some(packet),
            link: &mut core.link,
        };
        self.interface
            .poll_ingress_single(core.now, &mut device, set);
    }

    fn dial(&mut self, core: &mut Core, packet: &[u8], ends: Ends) {
        let Some(mut targets) = core.targets(ends.far) else {
            core.link.counters.forbidden += 1;
            return self.answer(core, packet);
        };
        // The first is tried first, and they are taken from the end.
        targets.reverse();
        if self.dials.is_full() || self.flows.is_full() {
            // Not answered: the guest tries again.
            core.link.counters.no_room += 1;
            return;
        }
        let id = self.dials.insert_with(|id| {
            Dial::start(
                &core.poller,
                id,
                ends,
                packet,
                targets,
                core.now + Dial::TIMEOUT.into(),
            )
        });
        match id {
            Some(id) => {
                self.owners.insert(ends, Owner::Dial(id));
                self.alarms
                    .insert((core.now + Dial::TIMEOUT.into(), Alarm::Dial(id)));
            }
            None => {
                core.link.counters.refused += 1;
                self.answer(core, packet);
            }
        }
    }

    /// The kernel has answered, one way or the other.
    pub(crate) fn dialled(&mut self, core: &mut Core, id: Id) {
        let Some(dial) = self.dials.get_mut(id) else {
            return;
        };
        match dial.result(&core.poller, id) {
            None => {}
            Some(true) => self.accept(core, id),
            Some(false) => self.refuse_dial(core, id),
        }
    }

    fn refuse_dial(&mut self, core: &mut Core, id: Id) {
        let Some(dial) = self.take_dial(id) else {
            return;
        };
        core.link.counters.refused += 1;
        self.answer(core, &dial.syn);
    }

    fn take_dial(&mut self, id: Id) -> Option<Dial> {
        let dial = self.dials.remove(id)?;
        self.owners.remove(&dial.ends);
        self.alarms.remove(&(dial.deadline, Alarm::Dial(id)));
        Some(dial)
    }

    /// The kernel's connection is there: now the guest's SYN is answered.
    fn accept(&mut self, core: &mut Core, id: Id) {
        let Some(dial) = self.take_dial(id) else {
            return;
        };
        let mut connection = self.spare.pop().unwrap_or_else(Connection::new);
        let far = dial.ends.far;
        let listen = IpListenEndpoint {
            addr: Some(far.ip().into()),
            port: far.port(),
        };
        if connection.renew().listen(listen).is_err() {
            return self.answer(core, &dial.syn);
        }
        match self.insert(core, dial.ends, dial.host, connection, None) {
            Some(id) => {
                self.feed(core, &dial.syn, Some(id));
                self.enqueue(id);
            }
            None => {
                core.link.counters.no_room += 1;
                self.answer(core, &dial.syn);
            }
        }
    }

    fn insert(
        &mut self,
        core: &Core,
        ends: Ends,
        host: OwnedFd,
        connection: Connection,
        published: Option<usize>,
    ) -> Option<Id> {
        // Latency counts more than a few headers; a failure costs only that.
        let _ = sockopt::set_tcp_nodelay(&host, true);
        let id = self.flows.insert_with(|id| {
            match published {
                Some(_) => core.poller.add_edges(&host, Source::Flow(id)),
                // It is known to the poller already, as a dial.
                None => core.poller.rename_edges(&host, Source::Flow(id)),
            }
            .ok()?;
            Some(Flow::new(ends, host, connection, published))
        })?;
        self.owners.insert(ends, Owner::Flow(id));
        Some(id)
    }

    /// The host's side of a flow has become ready.
    pub(crate) fn host_ready(&mut self, id: Id, ready: Ready) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.readable |= ready.readable;
            flow.writable |= ready.writable;
            flow.ended |= ready.ended;
            self.enqueue(id);
        }
    }

    fn enqueue(&mut self, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.queued
        {
            flow.queued = true;
            self.ready.push_back(id);
        }
    }

    /// The guest reads again.
    pub(crate) fn unblocked(&mut self) {
        for id in std::mem::take(&mut self.stalled) {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.stalled = false;
            }
            self.enqueue(id);
        }
    }

    /// Gives every flow that has something to do one turn.
    pub(crate) fn work(&mut self, core: &mut Core) {
        for _ in 0..self.ready.len() {
            if let Some(id) = self.ready.pop_front() {
                self.turn(core, id);
            }
        }
    }

    fn turn(&mut self, core: &mut Core, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.queued = false;
        let moved = flow.move_bytes();
        if moved == Moved::Broken {
            flow.connection.socket().abort();
        }
        loop {
            let mut device = PacketDevice {
                packet: None,
                link: &mut core.link,
            };
            let set = &mut flow.connection.set;
            if self.interface.poll_egress(core.now, &mut device, set) == PollResult::None {
                break;
            }
        }
        let blocked = core.link.is_blocked();
        match flow.connection.socket().state() {
            // A reset still has to be sent.
            State::Closed if blocked && flow.connection.socket().remote_endpoint().is_some() => {}
            State::Closed if flow.retry.refused => {}
            State::Closed if flow.established => return self.end(core, id, Ended::Closed),
            State::Closed => return self.refused(core, id),
            // No segment of the past wanders on this link: nothing is to be waited for
            // (RFC 9293 §3.6.1 waits for such).
            State::TimeWait if !blocked => return self.end(core, id, Ended::Closed),
            _ => {}
        }
        // Once: a guest that sends and does not read has many turns.
        if blocked && !std::mem::replace(&mut flow.stalled, true) {
            self.stalled.push(id);
        }
        if moved == Moved::More {
            self.enqueue(id);
        }
        if !blocked {
            self.schedule(core.now, id);
        }
    }

    fn schedule(&mut self, now: Instant, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let engine = self.interface.poll_at(now, &flow.connection.set);
        let Some(at) = engine.into_iter().chain(flow.retry.at).min() else {
            return;
        };
        // What is due was done just now.
        let at = at.max(now + Duration::from_millis(1).into());
        if flow.scheduled.is_none_or(|scheduled| at < scheduled) {
            if let Some(later) = flow.scheduled.replace(at) {
                self.alarms.remove(&(later, Alarm::Flow(id)));
            }
            self.alarms.insert((at, Alarm::Flow(id)));
        }
    }

    fn end(&mut self, core: &mut Core, id: Id, how: Ended) {
        let Some(flow) = self.flows.remove(id) else {
            return;
        };
        self.owners.remove(&flow.ends);
        if let Some(at) = flow.scheduled {
            self.alarms.remove(&(at, Alarm::Flow(id)));
        }
        if !flow.is_complete() {
            // Closing with this set resets: the host must not take a cut for an end.
            let _ = sockopt::set_socket_linger(&flow.host, Some(Duration::ZERO));
        }
        if how == Ended::Refused {
            core.link.counters.refused += 1;
        }
        if let Some(place) = flow.published
            && !flow.established
        {
            self.changes.push(Change::Refused(place));
        }
        if self.spare.len() < MAX_SPARE {
            self.spare.push(flow.connection);
        }
    }

    /// When [`Tcp::expire`] is due.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, core: &mut Core) {
        while let Some(&(at, alarm)) = self.alarms.first()
            && at <= core.now
        {
            self.alarms.pop_first();
            match alarm {
                Alarm::Dial(id) => self.refuse_dial(core, id),
                Alarm::Flow(id) => {
                    let Some(flow) = self.flows.get_mut(id) else {
                        continue;
                    };
                    flow.scheduled = None;
                    if flow.retry.at.is_some_and(|at| at <= core.now) {
                        self.retry(core, id);
                    } else {
                        self.enqueue(id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Policy;
    use crate::link::Link;
    use crate::neighbour;
    use crate::poller::Poller;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_flow_of_a_guest_that_only_sends_waits_for_it_once() {
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK, None);
        let (ours, _guest) = pair(SocketType::SEQPACKET).unwrap();
        let (host, _client) = pair(SocketType::STREAM).unwrap();
        let mut core = Core {
            link: Link::new(ours).unwrap(),
            poller: Poller::new().unwrap(),
            now: Instant::ZERO,
            policy: Policy {
                outgoing: false,
                host: false,
            },
            resolvers: Vec::new(),
            first_frame: None,
            guest_v4: None,
            guest_v6: None,
            answered: vec![false],
        };
        while !core.link.is_blocked() {
            neighbour::probe_v4(&mut core.link);
        }
        let mut tcp = Tcp::new(&mut core, 7);
        tcp.open(&mut core, host, 0, "10.0.2.15:80".parse().unwrap());
        let id = tcp.flows.iter().next().unwrap().0;
        for _ in 0..100 {
            tcp.enqueue(id);
            tcp.work(&mut core);
        }
        assert_eq!(tcp.stalled.len(), 1);
    }
}
