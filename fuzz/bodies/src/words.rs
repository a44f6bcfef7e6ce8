use std::net::{IpAddr, SocketAddr};

use mirage_device::Cidr;
use mirage_gateway::{Protocol, Publish};
use mirage_tender_process::mac::Mac;
use mirage_tender_process::text::{Word, number, split_once};

/// The small words of command lines: ports to publish, hardware addresses, networks, numbers.
/// What is read is shown as what reads the same.
pub fn words(input: &[u8]) {
    let shown = Word(input).to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(number(input), by_hand(input));
    if let Some((before, after)) = split_once(input, b'=') {
        assert!(!before.contains(&b'='));
        assert_eq!([before, b"=", after].concat(), input);
    }
    if let Some(mac) = Mac::parse(input) {
        assert_eq!((mac.0[0] & 1, input.len()), (0, 17));
        assert_eq!(mac.to_string().into_bytes(), input.to_ascii_lowercase());
    }
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    if let Ok(publish) = text.parse::<Publish>() {
        assert_ne!(publish.guest, 0);
        assert_eq!(publish.to_string().parse(), Ok(publish));
        let loopback = matches!(publish.host.ip(), IpAddr::V4(address) if address.is_loopback());
        assert!(
            loopback || text.contains('.') || text.contains('['),
            "{text}"
        );
    }
    if let Ok(host) = text.parse::<SocketAddr>()
        && !matches!(host, SocketAddr::V6(host) if host.scope_id() != 0)
    {
        let expected = Publish {
            host,
            guest: 80,
            protocol: Protocol::Udp,
        };
        assert_eq!(format!("{host}:80/udp").parse(), Ok(expected));
    }
    if let Ok(network) = text.parse::<Cidr>() {
        assert_eq!(network.to_string().parse(), Ok(network));
        assert!(!text.contains('+'), "{text}");
    }
}

fn by_hand(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(word).unwrap().parse().ok())?
}
