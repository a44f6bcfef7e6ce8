//! Where the ports that a unikernel asks for are opened on the host.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// What a published port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of the unikernel and the host's address that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Published {
    /// What is opened on the host; port 0 lets the kernel choose.
    pub host: SocketAddr,
    /// The port that the unikernel asks for.
    pub port: u16,
    /// What it carries.
    pub protocol: Protocol,
}

/// A text that is no [`Published`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not ADDRESS:HOSTPORT=PORT/tcp or /udp, for example 127.0.0.1:8080=80/tcp")]
pub struct PublishError(String);

impl FromStr for Published {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        parse(text).ok_or_else(|| PublishError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Published> {
    let (host, rest) = text.split_once('=')?;
    let (port, protocol) = rest.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    // `parse` would take a sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits {
        port.parse().ok().filter(|port| *port != 0)?
    } else {
        return None;
    };
    Some(Published {
        host: host.parse().ok()?,
        port,
        protocol,
    })
}

/// Reads a list of them, separated by commas.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Published>, PublishError> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect()
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}={}/{protocol}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_shown() {
        let text = "127.0.0.1:8080=80/tcp,[::1]:0=53/udp";
        let list = parse_list(text).unwrap();
        let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown.join(","), text);
        assert_eq!(parse_list(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_published_port_is_refused_with_an_example() {
        for text in [
            "80",
            "8080=80/tcp",
            "127.0.0.1:8080=80",
            "127.0.0.1:8080=0/tcp",
            "127.0.0.1:8080=+1/tcp",
            "127.0.0.1:8080=80/sctp",
            "127.0.0.1:70000=80/tcp",
        ] {
            let error = parse_list(text).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("for example 127.0.0.1:8080=80/tcp"),
                "{text}"
            );
        }
    }
}
