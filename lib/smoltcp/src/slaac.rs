//! Stateless address autoconfiguration (RFC 4862) and what else router advertisements carry.
//!
//! smoltcp 0.14 has one of its own; it is not used because with it `Interface::poll_at` forgets
//! the sockets' timers, and never rests on a link without a router.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use smoltcp::time::{Duration, Instant};

use crate::endpoint::NEVER;

/// RFC 4861 §10.
const MAX_RTR_SOLICITATIONS: u8 = 3;
const RTR_SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// The most of each kind that are remembered: a hostile neighbour may invent any number.
const MOST: usize = 4;
/// A lifetime that anybody on the link may shorten no further (RFC 4862 §5.5.3 e).
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);
/// Option types (RFC 4861 §4.6, RFC 8106 §5.1).
const PREFIX_INFORMATION: u8 = 3;
const RECURSIVE_DNS_SERVER: u8 = 25;
const AUTONOMOUS: u8 = 0x40;

/// Something learnt, and until when it holds.
struct Learnt {
    address: Ipv6Addr,
    until: Instant,
}

/// What routers have advertised.
pub(crate) struct Slaac {
    prefixes: Vec<Learnt>,
    routers: Vec<Learnt>,
    servers: Vec<Learnt>,
    /// Solicitations still to be sent, and when the next one is.
    solicitations: u8,
    solicit_at: Instant,
}

impl Slaac {
    pub fn new(enabled: bool) -> Self {
        Self {
            prefixes: Vec::new(),
            routers: Vec::new(),
            servers: Vec::new(),
            solicitations: if enabled { MAX_RTR_SOLICITATIONS } else { 0 },
            solicit_at: Instant::ZERO,
        }
    }

    /// The addresses of this interface in the prefixes advertised.
    pub fn addresses(&self, mac: [u8; 6]) -> impl Iterator<Item = Ipv6Addr> {
        self.prefixes
            .iter()
            .map(move |prefix| interface_id(prefix.address, mac))
    }

    pub fn router(&self) -> Option<Ipv6Addr> {
        self.routers.first().map(|router| router.address)
    }

    pub fn servers(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.servers.iter().map(|server| server.address)
    }

    /// Whether a solicitation has to be sent now.
    pub fn solicit(&mut self, now: Instant) -> bool {
        if self.solicitations == 0 || self.solicit_at > now {
            return false;
        }
        self.solicitations -= 1;
        self.solicit_at = now + RTR_SOLICITATION_INTERVAL;
        true
    }

    /// When there is something to be done.
    pub fn due(&self) -> Instant {
        let solicit = if self.solicitations > 0 {
            self.solicit_at
        } else {
            NEVER
        };
        let all = self
            .prefixes
            .iter()
            .chain(&self.routers)
            .chain(&self.servers);
        all.map(|learnt| learnt.until).fold(solicit, Instant::min)
    }

    /// Forgets what holds no longer. Whether there was any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut expired = false;
        for list in [&mut self.prefixes, &mut self.routers, &mut self.servers] {
            let before = list.len();
            list.retain(|learnt| learnt.until > now);
            expired |= list.len() < before;
        }
        expired
    }

    /// Takes a router advertisement whose source and hop limit have been checked. One whose
    /// options contradict their lengths is ignored whole (RFC 4861 §6.1.2).
    pub fn advertised(&mut self, source: Ipv6Addr, message: &[u8], now: Instant) {
        let (Some(lifetime), Some(mut options)) = (u16_at(message, 6), message.get(16..)) else {
            return;
        };
        let mut rest = options;
        while let [_, words, ..] = rest {
            match rest.get(usize::from(*words) * 8..) {
                Some(next) if *words > 0 => rest = next,
                _ => return,
            }
        }
        if !rest.is_empty() {
            return;
        }
        self.solicitations = 0;
        learn(
            &mut self.routers,
            source,
            Duration::from_secs(lifetime.into()),
            now,
        );
        while let [kind, words, ..] = options {
            let Some((option, next)) = options.split_at_checked(usize::from(*words) * 8) else {
                return;
            };
            match *kind {
                PREFIX_INFORMATION => self.prefix(option, now),
                RECURSIVE_DNS_SERVER => self.name_servers(option, now),
                _ => (),
            }
            options = next;
        }
    }

    /// RFC 4862 §5.5.3.
    fn prefix(&mut self, option: &[u8], now: Instant) {
        let (Some(&[_, _, len, flags]), Some(valid), Some(preferred), Some(prefix)) = (
            option.first_chunk(),
            u32_at(option, 4),
            u32_at(option, 8),
            address_at(option, 16),
        ) else {
            return;
        };
        if flags & AUTONOMOUS == 0
            || len != 64
            || preferred > valid
            || prefix.is_unicast_link_local()
            || prefix.is_multicast()
            || prefix.is_unspecified()
        {
            return;
        }
        let prefix = Ipv6Addr::from_bits(prefix.to_bits() & !u128::from(u64::MAX));
        let mut valid = Duration::from_secs(valid.into());
        if let Some(known) = self.prefixes.iter().find(|known| known.address == prefix) {
            let remaining = known.until - now;
            if valid <= TWO_HOURS && valid < remaining {
                valid = remaining.min(TWO_HOURS);
            }
        }
        learn(&mut self.prefixes, prefix, valid, now);
    }

    /// RFC 8106 §5.1.
    fn name_servers(&mut self, option: &[u8], now: Instant) {
        let Some(lifetime) = u32_at(option, 4) else {
            return;
        };
        for bytes in option.get(8..).unwrap_or_default().chunks_exact(16) {
            if let Some(server) = address_at(bytes, 0)
                && !server.is_multicast()
                && !server.is_unspecified()
            {
                learn(
                    &mut self.servers,
                    server,
                    Duration::from_secs(lifetime.into()),
                    now,
                );
            }
        }
    }
}

/// Remembers `address` for `lifetime`, or forgets it when that is zero.
fn learn(list: &mut Vec<Learnt>, address: Ipv6Addr, lifetime: Duration, now: Instant) {
    let until = now + lifetime;
    if let Some(known) = list.iter_mut().find(|known| known.address == address) {
        known.until = until;
    } else if list.len() < MOST {
        list.push(Learnt { address, until });
    }
    list.retain(|known| known.until > now);
}

/// The address of an interface in a /64 prefix: a modified EUI-64 (RFC 4291 appendix A).
pub(crate) fn interface_id(prefix: Ipv6Addr, mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(prefix.to_bits() | u128::from(id))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| Ipv6Addr::from_octets(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

    fn advertisement(router: u16, prefix: &str, flags: u8, valid: u32) -> Vec<u8> {
        let mut message = Vec::from([134, 0, 0, 0, 64, 0]);
        message.extend(router.to_be_bytes());
        message.extend([0; 8]);
        message.extend([3, 4, 64, flags]);
        message.extend(valid.to_be_bytes());
        message.extend(valid.to_be_bytes());
        message.extend([0; 4]);
        message.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
        message
    }

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn three_solicitations_are_sent_and_then_none() {
        let mut slaac = Slaac::new(true);
        assert!(slaac.solicit(at(0)) && !slaac.solicit(at(3)));
        assert!(slaac.solicit(at(4)) && slaac.solicit(at(8)));
        assert!(!slaac.solicit(at(100)));
        assert_eq!(slaac.due(), NEVER);
    }

    #[test]
    fn an_address_lives_as_long_as_its_prefix() {
        let mut slaac = Slaac::new(true);
        slaac.advertised(
            ROUTER,
            &advertisement(1800, "2001:db8::", 0xc0, 9000),
            at(0),
        );
        let addresses: Vec<_> = slaac.addresses(MAC).collect();
        assert_eq!(
            addresses,
            ["2001:db8::ff:fe00:5".parse::<Ipv6Addr>().unwrap()]
        );
        assert_eq!(slaac.router(), Some(ROUTER));
        assert!(slaac.expire(at(1800)));
        assert_eq!(slaac.router(), None);
        assert_eq!(slaac.addresses(MAC).count(), 1);
        assert!(slaac.expire(at(9000)));
        assert_eq!(slaac.addresses(MAC).count(), 0);
        assert!(!slaac.expire(at(9001)));
    }

    #[test]
    fn a_forged_short_lifetime_leaves_two_hours() {
        let mut slaac = Slaac::new(true);
        slaac.advertised(ROUTER, &advertisement(0, "2001:db8::", 0xc0, 86_400), at(0));
        slaac.advertised(ROUTER, &advertisement(0, "2001:db8::", 0xc0, 1), at(0));
        assert_eq!(slaac.due(), at(7200));
    }

    #[test]
    fn advertisements_that_mean_no_address_give_none() {
        let good = advertisement(0, "2001:db8::", 0xc0, 9000);
        let mut cases = Vec::from([
            advertisement(0, "2001:db8::", 0x80, 9000),
            advertisement(0, "fe80::", 0xc0, 9000),
            advertisement(0, "ff00::", 0xc0, 9000),
            advertisement(0, "2001:db8::", 0xc0, 0),
        ]);
        let mut endless = good.clone();
        endless[17] = 0;
        cases.push(endless);
        let mut short = good.clone();
        short[18] = 63;
        cases.push(short);
        cases.extend((0..good.len()).map(|len| good[..len].to_vec()));
        for case in cases {
            let mut slaac = Slaac::new(true);
            slaac.advertised(ROUTER, &case, at(0));
            assert_eq!(slaac.addresses(MAC).count(), 0, "{case:?}");
        }
    }

    #[test]
    fn a_flood_of_routers_and_prefixes_is_bounded() {
        let mut slaac = Slaac::new(true);
        for n in 1..100 {
            let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n);
            let prefix = alloc::format!("2001:db8:0:{n}::");
            slaac.advertised(router, &advertisement(1800, &prefix, 0xc0, 9000), at(0));
        }
        assert_eq!(slaac.addresses(MAC).count(), MOST);
        assert_eq!(
            slaac.router(),
            Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_advertised_little_is_remembered_and_the_next_thing_to_do_is_never_past(
            messages in proptest::collection::vec(
                (
                    0..5_u16,
                    0..9000_u16,
                    proptest::collection::vec(
                        (
                            proptest::sample::select(&[3_u8, 25, 1, 99][..]),
                            0..6_u8,
                            proptest::collection::vec(proptest::num::u8::ANY, 46),
                        ),
                        0..4,
                    ),
                    0..5000_i64,
                ),
                0..20,
            ),
        ) {
            let mut slaac = Slaac::new(true);
            let mut now = at(0);
            for (router, lifetime, options, pass) in messages {
                let mut message = Vec::from([134, 0, 0, 0, 64, 0]);
                message.extend(lifetime.to_be_bytes());
                message.extend([0; 8]);
                for (kind, words, bytes) in options {
                    message.extend([kind, words]);
                    // A few prefixes and servers that come again, now and then with another life.
                    let mut bytes = bytes;
                    (bytes[0], bytes[1]) = (64, bytes[1] | AUTONOMOUS);
                    bytes[14..].iter_mut().for_each(|byte| *byte &= 1);
                    message.extend(&bytes[..(usize::from(words) * 8).saturating_sub(2)]);
                }
                let source = Ipv6Addr::from_bits(ROUTER.to_bits() + u128::from(router));
                slaac.advertised(source, &message, now);
                for list in [&slaac.prefixes, &slaac.routers, &slaac.servers] {
                    assert!(list.len() <= MOST && list.iter().all(|learnt| learnt.until > now));
                    for (place, learnt) in list.iter().enumerate() {
                        assert!(list[..place].iter().all(|other| other.address != learnt.address));
                    }
                }
                now += Duration::from_secs(pass as u64);
                let waited = slaac.due() <= now;
                let expired = slaac.expire(now);
                while slaac.solicit(now) {}
                assert!(waited || !expired, "something ended of which nobody was told");
                assert!(slaac.due() > now);
            }
        }
    }
}
