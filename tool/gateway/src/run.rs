//! The gateway at work: one thread, one place where it waits.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::discriminant;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, IpProtocol};

use crate::address::{GATEWAY_V4, Policy, is_gateway, is_guest, is_source};
use crate::core::Core;
use crate::counters::Counters;
use crate::dhcp::{self, CLIENT_PORT, SERVER_PORT};
use crate::dns::Dns;
use crate::gateway::{Event, Gateway, Socket};
use crate::link::{Closed, Link, MAX_MESSAGE};
use crate::neighbour::{self, Learned};
use crate::packet::{Fault, IpPacket, tcp_ends, udp_parts};
use crate::poller::{Poller, Ready, Source};
use crate::resolv;
use crate::tcp::{Change, Tcp};
use crate::udp::Udp;

/// Frames taken from the guest before connections have their turn.
const TURN: usize = 64;
/// Connections through one published port that the guest has not answered yet; further ones wait
/// in the kernel's queue. A guest's own queue may be short, and what it drops costs a second.
const MAX_HALF_OPEN: usize = 64;

/// So long nothing is told of what was counted after it was told.
const UNTOLD: Duration = Duration::from_millis(100);

/// Without a free descriptor a connection waits so long before it is tried again.
const STARVED: Duration = Duration::from_millis(100);

/// A published port at work.
struct Published {
    socket: Socket,
    half_open: usize,
    enabled: bool,
    /// The process has no descriptor to spare before this.
    starved_until: Option<Instant>,
}

/// Questions to the guest whether it has an address yet. A guest takes a while to make use of a
/// lease or a prefix and tells nobody when it has; a connection opened too early would be lost
/// and tried again a second later.
struct Probe {
    what: Sought,
    at: Instant,
    delay: Duration,
}

#[derive(Clone, Copy)]
enum Sought {
    /// The address it was leased.
    Lease,
    /// The address that it makes of our prefix and what is in this one.
    OfPrefix(Ipv6Addr),
}

impl Probe {
    const FIRST: Duration = Duration::from_millis(1);
    const LAST: Duration = Duration::from_secs(1);
}

struct Running<F> {
    core: Core,
    tcp: Tcp,
    udp: Udp,
    dns: Dns,
    published: Vec<Published>,
    started: std::time::Instant,
    observe: F,
    probes: Vec<Probe>,
    /// The link may have frames that were not read yet.
    link_readable: bool,
    /// The poller tells when the link is writable. It would do so for each frame that the guest
    /// takes, so only while somebody waits for it.
    output_watched: bool,
    /// What was last told of what was counted, and when something may be told again.
    told: Counters,
    tell_at: Instant,
}

pub(crate) fn run(
    gateway: Gateway,
    link: OwnedFd,
    observe: impl FnMut(Event),
) -> io::Result<Counters> {
    let poller = Poller::new()?;
    let link = Link::new(link)?;
    poller.add_input(link.fd(), Source::Link)?;
    poller.add_level(&*gateway.stop, Source::Stop, true)?;
    let mut published = Vec::with_capacity(gateway.sockets.len());
    for (place, socket) in gateway.sockets.into_iter().enumerate() {
        match &socket {
            Socket::Tcp { listener, .. } => {
                poller.add_level(listener, Source::Published(place), false)
            }
            Socket::Udp(port) => poller.add_level(&port.socket, Source::Published(place), false),
        }?;
        published.push(Published {
            socket,
            half_open: 0,
            enabled: false,
            starved_until: None,
        });
    }
    let mut core = Core {
        link,
        poller,
        now: Instant::ZERO,
        policy: Policy {
            outgoing: gateway.config.outgoing,
            host: gateway.config.allow_host,
        },
        resolvers: gateway.config.resolvers.unwrap_or_else(resolv::system),
        first_frame: None,
        guest_v4: None,
        guest_v6: None,
        answered: vec![false; published.len()],
    };
    // Initial sequence numbers: unpredictable to whoever is behind the gateway.
    let tcp = Tcp::new(&mut core, RandomState::new().hash_one(()));
    let mut running = Running {
        core,
        tcp,
        udp: Udp::new(),
        dns: Dns::new(),
        published,
        started: std::time::Instant::now(),
        observe,
        probes: Vec::new(),
        link_readable: false,
        output_watched: false,
        told: Counters::default(),
        tell_at: Instant::ZERO,
    };
    running.run()?;
    Ok(running.core.link.counters)
}

impl<F: FnMut(Event)> Running<F> {
    fn run(&mut self) -> io::Result<()> {
        neighbour::probe_v4(&mut self.core.link);
        let mut ready = Vec::new();
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let timeout = self.tell(self.timeout());
            self.core.poller.wait(timeout, &mut ready)?;
            self.core.now = now(self.started);
            for event in &ready {
                if event.source == Source::Stop {
                    return Ok(());
                }
                self.handle(*event, &mut buffer);
            }
            if self.link_readable && self.receive(&mut buffer).is_err() {
                return Ok(());
            }
            self.tcp.expire(&mut self.core);
            self.dns.expire(&mut self.core);
            self.udp.expire(self.core.now);
            self.probe();
            self.tcp.work(&mut self.core);
            self.apply_changes();
            self.enable_ports()?;
            if self.core.link.is_closed() {
                return Ok(());
            }
            let blocked = self.core.link.is_blocked();
            if blocked != self.output_watched {
                self.output_watched = blocked;
                self.core
                    .poller
                    .watch_output(self.core.link.fd(), Source::Link, blocked)?;
            }
        }
    }

    /// Tells what was counted, or makes sure that it is told soon: how long to wait at most.
    fn tell(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.core.link.counters == self.told {
            return timeout;
        }
        let now = now(self.started);
        if now < self.tell_at {
            let soon = Duration::from_micros((self.tell_at - now).total_micros());
            return Some(timeout.map_or(soon, |timeout| timeout.min(soon)));
        }
        self.told = self.core.link.counters;
        self.tell_at = now + UNTOLD.into();
        (self.observe)(Event::Counted(self.told));
        timeout
    }

    /// How long nothing need be done; `None` for ever.
    fn timeout(&self) -> Option<Duration> {
        if self.link_readable || self.tcp.has_work() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.tcp.next_alarm(),
            self.dns.next_deadline(),
            self.udp.next_deadline(),
        ];
        let starved = self
            .published
            .iter()
            .filter_map(|published| published.starved_until);
        let probes = self.probes.iter().map(|probe| probe.at);
        let next = deadlines
            .into_iter()
            .flatten()
            .chain(starved)
            .chain(probes)
            .min()?;
        let now = now(self.started);
        Some(if next <= now {
            Duration::ZERO
        } else {
            (next - now).into()
        })
    }

    fn handle(&mut self, event: Ready, buffer: &mut [u8]) {
        match event.source {
            Source::Stop => {}
            Source::Link => {
                self.link_readable |= event.readable;
                if event.writable && self.core.link.is_blocked() {
                    self.core.link.flush();
                    if !self.core.link.is_blocked() {
                        self.tcp.unblocked();
                    }
                }
            }
            Source::Published(place) => self.published_ready(place, buffer),
            Source::Flow(id) => self.tcp.host_ready(id, event),
            // Before a connection is established neither is ever set alone for good.
            Source::Dial(id) if event.writable || event.ended => {
                self.tcp.dialled(&mut self.core, id);
            }
            Source::Dial(_) => {}
            Source::Datagrams(id) => self.udp.host_ready(&mut self.core, id, buffer),
            Source::Query(id) => self.dns.answered(&mut self.core, id, buffer),
        }
    }

    fn published_ready(&mut self, place: usize, buffer: &mut [u8]) {
        let Some(published) = self.published.get_mut(place) else {
            return;
        };
        match &published.socket {
            Socket::Udp(port) => self.udp.published(&mut self.core, place, port, buffer),
            Socket::Tcp { listener, guest } => {
                let Some(to) = self.core.guest(*guest) else {
                    return;
                };
                while published.half_open < MAX_HALF_OPEN && self.tcp.has_room() {
                    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                    match accept_with(listener, flags) {
                        Ok(host) => {
                            published.half_open += 1;
                            self.tcp.open(&mut self.core, host, place, to);
                        }
                        Err(Errno::AGAIN) => return,
                        // The client has given up already.
                        Err(Errno::CONNABORTED | Errno::INTR) => {}
                        // No descriptor left, or worse.
                        Err(_) => {
                            self.core.link.counters.no_room += 1;
                            published.starved_until = Some(self.core.now + STARVED.into());
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Asks the guest for an address, at once and then ever more rarely until it has answered.
    fn seek(&mut self, what: Sought) {
        self.probes
            .retain(|probe| discriminant(&probe.what) != discriminant(&what));
        self.probes.push(Probe {
            what,
            at: self.core.now,
            delay: Probe::FIRST,
        });
    }

    fn probe(&mut self) {
        let core = &mut self.core;
        self.probes.retain_mut(|probe| {
            let found = match probe.what {
                Sought::Lease => core.guest_v4.is_some(),
                Sought::OfPrefix(_) => core.guest_v6.is_some(),
            };
            if found || probe.delay > Probe::LAST {
                return false;
            }
            if probe.at <= core.now {
                match probe.what {
                    Sought::Lease => neighbour::probe_v4(&mut core.link),
                    Sought::OfPrefix(link_local) => neighbour::probe_v6(&mut core.link, link_local),
                }
                probe.at = core.now + probe.delay.into();
                probe.delay *= 2;
            }
            true
        });
    }

    fn apply_changes(&mut self) {
        for change in std::mem::take(&mut self.tcp.changes) {
            let (Change::Established(place) | Change::Refused(place)) = change;
            let Some(published) = self.published.get_mut(place) else {
                continue;
            };
            published.half_open = published.half_open.saturating_sub(1);
            if let Change::Established(_) = change
                && let Some(answered) = self.core.answered.get_mut(place)
                && !std::mem::replace(answered, true)
                && let Socket::Tcp { guest, .. } = published.socket
            {
                (self.observe)(Event::Answered { port: guest });
            }
        }
    }

    /// Lets the ports be reported that something could be taken from now, and no others.
    fn enable_ports(&mut self) -> io::Result<()> {
        let guest = self.core.guest_v4.is_some() || self.core.guest_v6.is_some();
        let room = self.tcp.has_room();
        for (place, published) in self.published.iter_mut().enumerate() {
            published.starved_until = published.starved_until.filter(|at| *at > self.core.now);
            let source = Source::Published(place);
            let wanted = match published.socket {
                Socket::Tcp { .. } => {
                    guest
                        && room
                        && published.half_open < MAX_HALF_OPEN
                        && published.starved_until.is_none()
                }
                Socket::Udp(_) => guest,
            };
            if wanted == published.enabled {
                continue;
            }
            published.enabled = wanted;
            match &published.socket {
                Socket::Tcp { listener, .. } => self.core.poller.enable(listener, source, wanted),
                Socket::Udp(port) => self.core.poller.enable(&port.socket, source, wanted),
            }?;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Closed> {
        for _ in 0..TURN {
            match self.core.link.receive(buffer)? {
                Some(frame) => {
                    if let Err(fault) = self.frame(frame) {
                        match fault {
                            Fault::Malformed => self.core.link.counters.malformed += 1,
                            Fault::Fragment => self.core.link.counters.fragments += 1,
                        }
                    }
                }
                None => {
                    self.link_readable = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let frame = EthernetFrame::new_checked(frame).map_err(|_| Fault::Malformed)?;
        let source = frame.src_addr();
        if !source.is_unicast() || source == EthernetAddress([0; 6]) {
            return Err(Fault::Malformed);
        }
        self.core.link.guest = source;
        if self.core.first_frame.is_none() {
            self.core.first_frame = Some(self.core.now);
            (self.observe)(Event::FirstFrame {
                at: std::time::Instant::now(),
            });
        }
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                if let Some(address) = neighbour::arp(&mut self.core.link, frame.payload())? {
                    self.learn(address);
                }
                Ok(())
            }
            EthernetProtocol::Ipv4 => {
                let packet = IpPacket::parse_v4(frame.payload())?;
                self.packet(&packet, frame.payload())
            }
            EthernetProtocol::Ipv6 => {
                let packet = IpPacket::parse_v6(frame.payload())?;
                if packet.protocol == IpProtocol::Icmpv6 {
                    match neighbour::ndp(&mut self.core.link, &packet)? {
                        Learned::Other => return self.packet(&packet, frame.payload()),
                        Learned::Has(address) => self.learn(address.into()),
                        Learned::Ask(link_local) => self.seek(Sought::OfPrefix(link_local)),
                        Learned::Nothing => {}
                    }
                    return Ok(());
                }
                self.packet(&packet, frame.payload())
            }
            EthernetProtocol::Unknown(_) => {
                self.core.link.counters.unsupported += 1;
                Ok(())
            }
        }
    }

    fn packet(&mut self, packet: &IpPacket<'_>, bytes: &[u8]) -> Result<(), Fault> {
        if packet.protocol == IpProtocol::Udp {
            return self.udp(packet);
        }
        if !self.admit(packet) {
            return Ok(());
        }
        match packet.protocol {
            IpProtocol::Tcp => {
                let (ends, kind) = tcp_ends(packet)?;
                self.tcp.segment(&mut self.core, bytes, ends, kind);
            }
            IpProtocol::Icmp if is_gateway(packet.destination) => {
                Icmpv4Packet::new_checked(packet.payload).map_err(|_| Fault::Malformed)?;
                self.tcp.answer(&mut self.core, bytes);
            }
            IpProtocol::Icmpv6 if is_gateway(packet.destination) => {
                self.tcp.answer(&mut self.core, bytes);
            }
            _ => self.core.link.counters.unsupported += 1,
        }
        Ok(())
    }

    fn udp(&mut self, packet: &IpPacket<'_>) -> Result<(), Fault> {
        let (ends, payload) = udp_parts(packet)?;
        if ends.far.port() == SERVER_PORT && packet.destination.is_ipv4() {
            return self.dhcp(payload);
        }
        if !self.admit(packet) {
            return Ok(());
        }
        if is_gateway(ends.far.ip()) && ends.far.port() == 53 && self.core.policy.outgoing {
            self.dns.ask(&mut self.core, ends, payload);
            return Ok(());
        }
        let published = &self.published;
        let ports = |place: usize| match published.get(place).map(|published| &published.socket) {
            Some(Socket::Udp(port)) => Some(port),
            _ => None,
        };
        self.udp.datagram(&mut self.core, ports, ends, payload);
        Ok(())
    }

    fn dhcp(&mut self, message: &[u8]) -> Result<(), Fault> {
        let Some(answer) = dhcp::answer(message).map_err(|_| Fault::Malformed)? else {
            return Ok(());
        };
        let from = SocketAddr::new(GATEWAY_V4.into(), SERVER_PORT);
        let to = SocketAddr::new(Ipv4Addr::BROADCAST.into(), CLIENT_PORT);
        self.core.link.send_udp(from, to, &answer.message);
        if answer.leased {
            self.seek(Sought::Lease);
        }
        Ok(())
    }

    /// Whether a packet comes from the guest's own network; if so, the guest has that address.
    fn admit(&mut self, packet: &IpPacket<'_>) -> bool {
        if !is_source(packet.source) {
            self.core.link.counters.foreign += 1;
            return false;
        }
        if is_guest(packet.source) {
            self.learn(packet.source);
        }
        true
    }

    fn learn(&mut self, address: IpAddr) {
        let first = match address {
            IpAddr::V4(address) => self.core.guest_v4.replace(address).is_none(),
            IpAddr::V6(address) => self.core.guest_v6.replace(address).is_none(),
        };
        if first {
            (self.observe)(Event::GuestAddress(address));
        }
    }
}

fn now(started: std::time::Instant) -> Instant {
    Instant::from_micros(i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX))
}
