//! Which port of the host leads to which port of the guest.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// What a published port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host that leads to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Publish {
    /// Where the host listens; port 0 lets the kernel choose.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// What it carries.
    pub protocol: Protocol,
}

/// A text that is no [`Publish`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not [ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp], for example 8080:80")]
pub struct PublishError(String);

/// `[ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp]`. Without an address the port is that of 127.0.0.1:
/// nobody else's machine reaches it. An IPv6 address stands in brackets.
impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        parse(text).ok_or_else(|| PublishError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Publish> {
    let (ports, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some(_) => return None,
    };
    let (rest, guest) = ports.rsplit_once(':')?;
    let guest = port(guest).filter(|port| *port != 0)?;
    let host = match rest.rsplit_once(':') {
        None => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port(rest)?),
        Some((address, host)) => {
            let address: IpAddr = match address.strip_prefix('[') {
                Some(address) => IpAddr::V6(address.strip_suffix(']')?.parse().ok()?),
                None => IpAddr::V4(address.parse().ok()?),
            };
            SocketAddr::new(address, port(host)?)
        }
    };
    Some(Publish {
        host,
        guest,
        protocol,
    })
}

/// A decimal number and nothing else: `parse` would take a sign.
fn port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.guest, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("8080:80", "127.0.0.1:8080:80/tcp"),
            ("8080:80/tcp", "127.0.0.1:8080:80/tcp"),
            ("0.0.0.0:53:5353/udp", "0.0.0.0:53:5353/udp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("0:80", "127.0.0.1:0:80/tcp"),
        ] {
            let publish: Publish = text.parse().unwrap();
            assert_eq!(publish.to_string(), shown);
            assert_eq!(shown.parse::<Publish>().unwrap(), publish);
        }
    }

    #[test]
    fn what_is_no_published_port_is_refused_with_an_example() {
        for text in [
            "",
            "80",
            ":",
            "8080:",
            ":80",
            "8080:0",
            "65536:80",
            "80:65536",
            "+80:80",
            "a:80:80",
            "::1:8080:80",
            "[::1]8080:80",
            "8080:80/sctp",
            "8080:80/tcp/udp",
            "1:2:3:4",
            "-1:80",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
        assert_eq!(
            "x".parse::<Publish>().unwrap_err().to_string(),
            "`x` is not [ADDRESS:]HOSTPORT:GUESTPORT[/tcp|/udp], for example 8080:80"
        );
    }
}
