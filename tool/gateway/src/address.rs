//! The addresses of the guest's network, and which destinations the guest may reach.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use smoltcp::wire::EthernetAddress;

/// The gateway's hardware address: locally administered, its IPv4 address inside.
pub(crate) const GATEWAY_MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 10, 0, 2, 2]);
/// The gateway: router, DHCP server and name server.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The address that the DHCP server leases to the guest.
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Length of the prefix of the guest's IPv4 network.
pub const PREFIX_V4: u8 = 24;
/// The gateway's IPv6 address, `fd00::2`: router and name server.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
/// Length of the prefix that the gateway advertises; the guest makes its own address of it.
pub const PREFIX_V6: u8 = 64;
/// Where router advertisements come from.
pub(crate) const GATEWAY_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

pub(crate) const NETMASK_V4: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
pub(crate) const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0);
pub(crate) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// One of the gateway's own addresses.
pub(crate) fn is_gateway(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == GATEWAY_V4,
        IpAddr::V6(address) => address == GATEWAY_V6 || address == GATEWAY_LINK_LOCAL,
    }
}

fn network_v6(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

/// An address that the guest can be reached at from outside: not link-local.
pub(crate) fn is_guest(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let host = address.to_bits() & !NETMASK_V4.to_bits();
            address.to_bits() & NETMASK_V4.to_bits() == GATEWAY_V4.to_bits() & NETMASK_V4.to_bits()
                && host != 0
                && host != !NETMASK_V4.to_bits()
                && address != GATEWAY_V4
        }
        IpAddr::V6(address) => {
            network_v6(address) == network_v6(PREFIX) && address != GATEWAY_V6 && address != PREFIX
        }
    }
}

/// An address that the guest may use as its source.
pub(crate) fn is_source(address: IpAddr) -> bool {
    is_guest(address)
        || match address {
            IpAddr::V6(address) => {
                network_v6(address) == network_v6(LINK_LOCAL) && address != GATEWAY_LINK_LOCAL
            }
            IpAddr::V4(_) => false,
        }
}

/// Where a packet of the guest shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the host's name servers.
    NameServer,
    /// To this address, by the host's kernel.
    Host(SocketAddr),
    /// Nowhere.
    Forbidden,
}

/// What the guest is allowed to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) outgoing: bool,
    pub(crate) host: bool,
}

impl Policy {
    /// Decides about a destination that the guest asks for.
    ///
    /// The host's own services trust whoever can reach the loopback interface, so without
    /// `host` no address that leads back to the host is allowed: neither loopback nor any
    /// address of the host's interfaces. Link-local addresses are never allowed, nor others at
    /// which clouds hand out credentials.
    pub(crate) fn route(self, far: SocketAddr) -> Route {
        let address = far.ip();
        if is_gateway(address) {
            return match (far.port(), self) {
                (53, Self { outgoing: true, .. }) => Route::NameServer,
                (port, Self { host: true, .. }) => Route::Host(SocketAddr::new(
                    match address {
                        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    },
                    port,
                )),
                _ => Route::Forbidden,
            };
        }
        if !self.outgoing || far.port() == 0 || !is_global(address) || is_metadata(address) {
            return Route::Forbidden;
        }
        if !self.host && is_own(address) {
            return Route::Forbidden;
        }
        Route::Host(far)
    }
}

/// Not loopback, unspecified, link-local, multicast, broadcast, the guest's own network, or an
/// IPv4 address in the clothes of an IPv6 one.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.octets()[0] == 0
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.octets()[0] >= 224
                || v4.to_bits() & NETMASK_V4.to_bits()
                    == GATEWAY_V4.to_bits() & NETMASK_V4.to_bits())
        }
        IpAddr::V6(v6) => {
            !(v6.to_bits() >> 32 == 0
                || v6.to_ipv4_mapped().is_some()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || network_v6(v6) == network_v6(PREFIX))
        }
    }
}

/// Where a cloud tells a machine its credentials, besides the link-local 169.254.0.0/16: Amazon
/// (`fd00:ec2::254`, and `fd00:ec2::23` for EKS), Google (`fd20:ce::254`), Alibaba
/// (`100.100.100.200`), as their documentation of instance metadata says.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4 == Ipv4Addr::new(100, 100, 100, 200),
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254]
        ),
    }
}

/// The kernel sends a packet to one of its own addresses from that very address, so it can be
/// asked without privilege, and without sending, whether an address is its own.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    match source {
        Ok(source) => source.ip() == address,
        // Where no packet can go there is no host. Any other failure leaves the question open,
        // and then the answer is the safe one.
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Policy = Policy {
        outgoing: true,
        host: false,
    };
    const OPEN: Policy = Policy {
        outgoing: true,
        host: true,
    };

    #[test]
    fn nothing_that_leads_back_to_the_host_is_reached_unless_allowed() {
        for far in [
            "127.0.0.1:80",
            "127.1.2.3:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[::127.0.0.1]:80",
            "10.0.2.2:80",
            "[fd00::2]:80",
            "[fe80::2]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[fd00:ec2::23]:80",
            "[fd20:ce::254]:80",
            "100.100.100.200:80",
            "255.255.255.255:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "10.0.2.15:80",
            "10.0.2.255:80",
            "1.1.1.1:0",
        ] {
            assert_eq!(
                CLOSED.route(far.parse().unwrap()),
                Route::Forbidden,
                "{far}"
            );
        }
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn with_the_allowance_the_gateway_stands_for_the_hosts_loopback() {
        let route = |far: &str| OPEN.route(far.parse().unwrap());
        assert_eq!(
            route("10.0.2.2:80"),
            Route::Host("127.0.0.1:80".parse().unwrap())
        );
        assert_eq!(
            route("[fd00::2]:80"),
            Route::Host("[::1]:80".parse().unwrap())
        );
        assert_eq!(route("127.0.0.1:80"), Route::Forbidden);
    }

    #[test]
    fn names_are_served_only_while_outgoing_is_allowed() {
        let far = "10.0.2.2:53".parse().unwrap();
        assert_eq!(CLOSED.route(far), Route::NameServer);
        assert_eq!(
            Policy {
                outgoing: false,
                host: false
            }
            .route(far),
            Route::Forbidden
        );
    }

    #[test]
    fn only_addresses_of_its_own_network_are_the_guests() {
        for (address, guest) in [
            ("10.0.2.15", true),
            ("10.0.2.2", false),
            ("10.0.2.0", false),
            ("10.0.2.255", false),
            ("10.0.3.1", false),
            ("fd00::5", true),
            ("fd00::2", false),
            ("fe80::5", false),
        ] {
            assert_eq!(is_guest(address.parse().unwrap()), guest, "{address}");
        }
        assert!(is_source("fe80::5".parse().unwrap()));
    }
}
