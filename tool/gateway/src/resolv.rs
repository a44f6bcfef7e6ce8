//! The system's name servers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const PORT: u16 = 53;
/// As many as the C library asks (resolv.conf(5), MAXNS).
const MOST: usize = 3;

/// The name servers that `/etc/resolv.conf` names; the local host when it names none.
pub(crate) fn system() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers = parse(&text);
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    servers
}

/// The `nameserver` lines of a resolv.conf. An address with a zone (`fe80::1%eth0`) is left out:
/// it means something on one link only.
fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            if words.next()? != "nameserver" {
                return None;
            }
            let address: IpAddr = words.next()?.parse().ok()?;
            Some(SocketAddr::new(address, PORT))
        })
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_nameserver_lines_count() {
        let text = "# nameserver 1.1.1.1\nsearch lan\n nameserver 9.9.9.9 \nnameserver fe80::1%eth0\n\
                    nameserver\nnameserver x\nnameserver 2620:fe::fe\nnameserver 8.8.8.8\n\
                    nameserver 8.8.4.4\n";
        let servers: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["9.9.9.9:53", "[2620:fe::fe]:53", "8.8.8.8:53"]);
        assert_eq!(parse(""), []);
    }
}
