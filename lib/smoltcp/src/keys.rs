use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mirage_device::{Cidr, EntropyError};

/// How the stack gets its addresses: the provider's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// `dhcp`, `none`, or an address such as `10.0.0.2/24`.
    pub ipv4: String,
    /// The default router for IPv4. With DHCP it takes the place of the one learnt.
    pub gateway: Option<IpAddr>,
    /// `auto` (a link-local address, and those that routers advertise), `none`, or an address such
    /// as `fd00::2/64` besides the link-local one.
    pub ipv6: String,
    /// The default router for IPv6. With `auto` it takes the place of the one learnt.
    pub gateway6: Option<IpAddr>,
    /// The DNS server, in place of those learnt.
    pub dns: Option<IpAddr>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            ipv4: "dhcp".into(),
            gateway: None,
            ipv6: "auto".into(),
            gateway6: None,
            dns: None,
        }
    }
}

/// Why the stack could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A key's value is not one of those it may have.
    Key {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The device's hardware address is a multicast address or all zero.
    HardwareAddress([u8; 6]),
    /// The device's MTU in bytes is below what TCP over IPv4 needs (RFC 791: 576).
    Mtu(usize),
    /// There are no random bytes for sequence numbers and ports.
    Entropy(EntropyError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key {
                key,
                value,
                expected,
            } => {
                write!(f, "key {key}: `{value}` is not valid; give {expected}")
            }
            Self::HardwareAddress([a, b, c, d, e, g]) => write!(
                f,
                "the network device's address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} is \
                 not a unicast address; give the device another one"
            ),
            Self::Mtu(mtu) => {
                write!(
                    f,
                    "the network device's MTU is {mtu} bytes; it must be at least 576"
                )
            }
            Self::Entropy(error) => write!(f, "no random bytes for the network stack: {error}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}

/// Where a family's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<A> {
    /// Nowhere: the family is off.
    None,
    /// DHCP, or router advertisements.
    Learnt,
    /// The keys.
    Static(A, u8),
}

/// The keys, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub ipv4: Source<Ipv4Addr>,
    pub gateway: Option<Ipv4Addr>,
    pub ipv6: Source<Ipv6Addr>,
    pub gateway6: Option<Ipv6Addr>,
    pub dns: Option<IpAddr>,
}

#[inline(never)]
fn bad(key: &'static str, value: &dyn fmt::Display, expected: &'static str) -> Error {
    let value = value.to_string();
    Error::Key {
        key,
        value,
        expected,
    }
}

impl Plan {
    pub fn new(keys: &Keys) -> Result<Self, Error> {
        let expected = "ADDRESS/PREFIX such as 10.0.0.2/24, dhcp or none";
        let ipv4 = match keys.ipv4.as_str() {
            "none" => Source::None,
            "dhcp" => Source::Learnt,
            text => match text.parse() {
                Ok(Cidr {
                    address: IpAddr::V4(a),
                    prefix,
                }) if !a.is_multicast() && !a.is_broadcast() && !a.is_unspecified() => {
                    Source::Static(a, prefix)
                }
                _ => return Err(bad("ipv4", &text, expected)),
            },
        };
        let expected = "ADDRESS/PREFIX such as fd00::2/64, auto or none";
        let ipv6 = match keys.ipv6.as_str() {
            "none" => Source::None,
            "auto" => Source::Learnt,
            text => match text.parse() {
                Ok(Cidr {
                    address: IpAddr::V6(a),
                    prefix,
                }) if !a.is_multicast() && !a.is_unspecified() && !a.is_loopback() => {
                    Source::Static(a, prefix)
                }
                _ => return Err(bad("ipv6", &text, expected)),
            },
        };
        let gateway = match keys.gateway {
            None => None,
            Some(IpAddr::V4(a)) if !a.is_multicast() && !a.is_unspecified() => Some(a),
            Some(a) => return Err(bad("gateway", &a, "the IPv4 address of a router")),
        };
        let gateway6 = match keys.gateway6 {
            None => None,
            Some(IpAddr::V6(a)) if !a.is_multicast() && !a.is_unspecified() => Some(a),
            Some(a) => return Err(bad("gateway6", &a, "the IPv6 address of a router")),
        };
        if let Some(a) = keys.dns
            && (a.is_unspecified() || a.is_multicast())
        {
            return Err(bad("dns", &a, "the address of a DNS server"));
        }
        Ok(Self {
            ipv4,
            gateway,
            ipv6,
            gateway6,
            dns: keys.dns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ipv4: &str, ipv6: &str) -> Keys {
        Keys {
            ipv4: ipv4.into(),
            ipv6: ipv6.into(),
            ..Keys::default()
        }
    }

    #[test]
    fn the_default_keys_learn_everything() {
        let plan = Plan::new(&Keys::default()).unwrap();
        assert_eq!((plan.ipv4, plan.ipv6), (Source::Learnt, Source::Learnt));
    }

    #[test]
    fn an_address_of_the_wrong_kind_is_refused_with_the_right_kinds() {
        for (ipv4, ipv6, key) in [
            ("10.0.0.2", "none", "ipv4"),
            ("255.255.255.255/8", "none", "ipv4"),
            ("224.0.0.1/4", "none", "ipv4"),
            ("fd00::1/64", "none", "ipv4"),
            ("DHCP", "none", "ipv4"),
            ("none", "10.0.0.2/24", "ipv6"),
            ("none", "ff02::1/64", "ipv6"),
            ("none", "", "ipv6"),
        ] {
            let text = Plan::new(&keys(ipv4, ipv6)).unwrap_err().to_string();
            assert!(text.starts_with(&alloc::format!("key {key}: ")), "{text}");
            assert!(text.contains("give ADDRESS/PREFIX"), "{text}");
        }
    }

    #[test]
    fn a_router_must_be_of_its_family() {
        let mut keys = keys("10.0.0.2/24", "fd00::2/64");
        keys.gateway = Some("fd00::1".parse().unwrap());
        assert!(
            Plan::new(&keys)
                .unwrap_err()
                .to_string()
                .starts_with("key gateway: ")
        );
        keys.gateway = None;
        keys.gateway6 = Some("10.0.0.1".parse().unwrap());
        assert!(
            Plan::new(&keys)
                .unwrap_err()
                .to_string()
                .starts_with("key gateway6: ")
        );
        keys.gateway6 = None;
        keys.dns = Some("0.0.0.0".parse().unwrap());
        assert!(
            Plan::new(&keys)
                .unwrap_err()
                .to_string()
                .starts_with("key dns: ")
        );
    }
}
