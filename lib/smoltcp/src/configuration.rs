//! The stack's addresses, routers and name servers, and where they come from.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mirage_device::Net;
use smoltcp::iface::{Route, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpCidr, Ipv4Cidr, Ipv6Cidr};

use crate::endpoint::{Endpoint, NEVER, Work};
use crate::keys::{Plan, Source};
use crate::port::Port;
use crate::reply;
use crate::slaac::{Slaac, interface_id};
use crate::state::State;

/// How long to wait for a DHCP offer before asking again (RFC 2131 §4.1 begins at 4 seconds).
const DISCOVER: Duration = Duration::from_secs(4);
/// How long smoltcp may take to answer a membership query (10 seconds at most: RFC 2236 §2.2,
/// RFC 3810 §5.1.3), and how often it is asked meanwhile, since it does not tell when.
const QUERY: Duration = Duration::from_secs(11);
const QUERY_STEP: Duration = Duration::from_millis(250);

/// What the stack is configured with, and what it has learnt.
pub(crate) struct Configuration {
    plan: Plan,
    mac: [u8; 6],
    lease: Option<Lease>,
    slaac: Slaac,
    /// Addresses to announce as soon as the driver runs.
    announce: Vec<IpAddr>,
    /// While a membership query is being answered: until when, and when to look next.
    query_until: Instant,
    query_next: Instant,
}

/// What a DHCP server has lent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    address: Ipv4Cidr,
    router: Option<Ipv4Addr>,
    servers: Vec<Ipv4Addr>,
}

impl Configuration {
    pub fn new(plan: Plan, mac: [u8; 6]) -> Self {
        Self {
            plan,
            mac,
            lease: None,
            slaac: Slaac::new(plan.ipv6 == Source::Learnt),
            announce: Vec::new(),
            query_until: Instant::ZERO,
            query_next: NEVER,
        }
    }

    /// The default router for IPv4.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.plan.gateway.or_else(|| self.lease.as_ref()?.router)
    }

    /// The default router for IPv6.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.plan.gateway6.or_else(|| self.slaac.router())
    }

    /// The name servers to ask, best first.
    pub fn servers(&self) -> Vec<IpAddr> {
        if let Some(server) = self.plan.dns {
            return Vec::from([server]);
        }
        let lease = self.lease.iter().flat_map(|lease| &lease.servers);
        lease
            .map(|&a| a.into())
            .chain(self.slaac.servers().map(Into::into))
            .collect()
    }

    fn link_local(&self) -> Ipv6Addr {
        interface_id(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), self.mac)
    }

    /// Every address the stack should have.
    fn addresses(&self) -> Vec<IpCidr> {
        let mut all = Vec::new();
        match self.plan.ipv4 {
            Source::Static(address, prefix) => all.push(Ipv4Cidr::new(address, prefix).into()),
            _ => all.extend(self.lease.as_ref().map(|lease| IpCidr::from(lease.address))),
        }
        if self.plan.ipv6 != Source::None {
            all.push(Ipv6Cidr::new(self.link_local(), 64).into());
        }
        if let Source::Static(address, prefix) = self.plan.ipv6 {
            all.push(Ipv6Cidr::new(address, prefix).into());
        }
        let learnt = self.slaac.addresses(self.mac);
        all.extend(learnt.map(|address| IpCidr::from(Ipv6Cidr::new(address, 64))));
        all
    }

    /// A membership query was received.
    pub fn queried(&mut self, now: Instant) {
        self.query_until = now + QUERY;
        self.query_next = self.query_next.min(now + QUERY_STEP);
    }

    /// When something of this has to be looked at.
    pub fn due(&self) -> Instant {
        self.slaac.due().min(self.query_next)
    }
}

impl State {
    /// Starts to look for addresses where the keys say so.
    pub fn start_configuration(&mut self) {
        if self.configuration.plan.ipv4 == Source::Learnt {
            let mut socket = dhcpv4::Socket::new();
            let mut retry = socket.get_retry_config();
            retry.discover_timeout = DISCOVER;
            socket.set_retry_config(retry);
            let mut set = SocketSet::new(Vec::with_capacity(1));
            let handle = set.add(socket);
            self.dhcp = Some(Endpoint::new(set, handle));
            self.enqueue(Work::Dhcp);
        }
        self.configure();
    }

    /// Takes over what DHCP has to say.
    pub fn dhcp_changed(&mut self) {
        let Some(endpoint) = &mut self.dhcp else {
            return;
        };
        let socket = endpoint.set.get_mut::<dhcpv4::Socket>(endpoint.handle);
        self.configuration.lease = match socket.poll() {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => Some(Lease {
                address: config.address,
                router: config
                    .router
                    .filter(|a| !a.is_unspecified() && !a.is_multicast()),
                servers: config.dns_servers.iter().copied().collect(),
            }),
        };
        self.configure();
    }

    /// Takes a router advertisement.
    pub fn advertised(&mut self, source: Ipv6Addr, message: &[u8]) {
        if self.configuration.plan.ipv6 == Source::Learnt {
            self.configuration
                .slaac
                .advertised(source, message, self.now);
            self.configure();
        }
    }

    /// Does what is due, and sends what was left to be sent.
    pub fn tend<N: Net>(&mut self, port: &mut Port<N>) {
        let now = self.now;
        if self.configuration.slaac.expire(now) {
            self.configure();
        }
        for address in core::mem::take(&mut self.configuration.announce) {
            match address {
                IpAddr::V4(address) => reply::announce_ipv4(port, address),
                IpAddr::V6(address) => reply::announce_ipv6(port, address),
            }
        }
        if self.configuration.slaac.solicit(now) {
            reply::solicit_routers(port, self.configuration.link_local());
        }
        if self.configuration.query_next <= now {
            let next = now + QUERY_STEP;
            let more = next < self.configuration.query_until;
            self.configuration.query_next = if more { next } else { NEVER };
            self.reports = true;
        }
        if core::mem::take(&mut self.reports) {
            self.interface.poll_egress(now, port, &mut self.nobody);
        }
    }

    /// Makes the interface have the addresses and routes it should have.
    fn configure(&mut self) {
        let wanted = self.configuration.addresses();
        let had: Vec<IpCidr> = self.interface.ip_addrs().to_vec();
        if had != wanted {
            self.interface.update_ip_addrs(|addresses| {
                addresses.clear();
                for &address in &wanted {
                    // There is room for all that `Configuration::addresses` can be.
                    let _ = addresses.push(address);
                }
            });
            for address in wanted.iter().filter(|address| !had.contains(address)) {
                log::info!("address {address}");
                self.configuration.announce.push(address.address().into());
            }
            for address in had.iter().filter(|address| !wanted.contains(address)) {
                log::info!("address {address} is gone");
            }
            self.reports = true;
            // Connections on an address that is gone end.
            for id in self.connections.ids() {
                self.enqueue(Work::Tcp(id));
            }
        }
        let (gateway, gateway6) = (self.configuration.gateway(), self.configuration.gateway6());
        self.interface.routes_mut().update(|routes| {
            routes.clear();
            let v4 = gateway.map(Route::new_ipv4_gateway);
            let v6 = gateway6.map(Route::new_ipv6_gateway);
            for route in v4.into_iter().chain(v6) {
                let _ = routes.push(route);
            }
        });
        self.feed();
        if self.is_up() {
            for waker in core::mem::take(&mut self.waiting_up) {
                waker.wake();
            }
        }
    }

    /// Whether there is an address that is not link-local.
    pub fn is_up(&self) -> bool {
        self.interface
            .ip_addrs()
            .iter()
            .any(|cidr| match cidr.address().into() {
                IpAddr::V4(address) => !address.is_link_local(),
                IpAddr::V6(address) => !address.is_unicast_link_local(),
            })
    }
}
