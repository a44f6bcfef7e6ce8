//! Ethernet addresses.

use core::fmt;

use crate::text::split_once;

/// An Ethernet address of one station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads `02:00:00:aa:bb:cc`. `None` for any other form, for a group's address (IEEE 802
    /// §8.2: the first octet's lowest bit) and for all zeros.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let mut mac = [0; 6];
        let mut rest = word;
        for (number, octet) in mac.iter_mut().enumerate() {
            let pair = if number == 5 {
                rest
            } else {
                let (pair, after) = split_once(rest, b':')?;
                rest = after;
                pair
            };
            let [high, low] = pair else { return None };
            *octet = hex(*high)? << 4 | hex(*low)?;
        }
        (mac[0] & 1 == 0 && mac != [0; 6]).then_some(Self(mac))
    }

    /// A locally administered address that is always the same for the same words, and most
    /// probably another for others: FNV-1a over them, of which 46 bits remain.
    pub fn derive(words: &[&[u8]]) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for word in words {
            // The zero keeps "ab","c" and "a","bc" apart: no word holds one.
            for byte in word.iter().chain(&[0]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        // The lowest bits of FNV mix worst: fold the upper ones onto them.
        let [_, _, mac @ ..] = (hash ^ hash >> 48).to_be_bytes();
        let [first, rest @ ..] = mac;
        let mut mac = [first & !1 | 2, 0, 0, 0, 0, 0];
        mac[1..].copy_from_slice(&rest);
        Self(mac)
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, octet) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_mac_reads_what_it_shows_and_refuses_the_rest() {
        let mac = Mac::parse(b"02:00:5E:aa:bb:0c").unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:aa:bb:0c");
        for word in [
            "",
            "02",
            "02:00:00:aa:bb",
            "02:00:00:aa:bb:cc:dd",
            "02:00:00:aa:bb:c",
            "02:00:00:aa:bb:0cc",
            "02-00-00-aa-bb-cc",
            "g2:00:00:aa:bb:cc",
            "01:00:00:aa:bb:cc",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(Mac::parse(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn a_derived_mac_is_local_to_one_station_stable_and_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..10_000 {
            let tap = std::format!("tap{number}");
            let mac = Mac::derive(&[b"website", b"net", tap.as_bytes()]);
            assert_eq!(mac.0[0] & 3, 2);
            assert!(seen.insert(mac.0), "{tap}");
        }
        assert_eq!(
            Mac::derive(&[b"website", b"net", b"tap0"]),
            Mac::derive(&[b"website", b"net", b"tap0"])
        );
        assert_ne!(Mac::derive(&[b"ab", b"c"]), Mac::derive(&[b"a", b"bc"]));
    }
}
