//! The Internet checksum (RFC 1071): a one's-complement sum of 16-bit words.

use core::net::IpAddr;

/// Adds `bytes` to a running sum. Only the last piece of a checksum may have an odd length.
pub(crate) fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    // Four bytes at a time into 64 bits: the carries gather above and are folded at the end.
    // Native order, because a one's-complement sum may be computed in either (RFC 1071 §2.B).
    let mut chunks = bytes.chunks_exact(4);
    let mut native = 0u64;
    for chunk in &mut chunks {
        if let Ok(word) = chunk.try_into() {
            native += u64::from(u32::from_ne_bytes(word));
        }
    }
    let folded = u16::from_be(fold(native));
    sum += u64::from(folded);
    match *chunks.remainder() {
        [a, b, c] => {
            sum += u64::from(u16::from_be_bytes([a, b])) + u64::from(u16::from_be_bytes([c, 0]));
        }
        [a, b] => sum += u64::from(u16::from_be_bytes([a, b])),
        [a] => sum += u64::from(u16::from_be_bytes([a, 0])),
        _ => (),
    }
    sum
}

/// The sum with its carries added back in. Not complemented.
pub(crate) fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The sum of a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1). Addresses of two families give a
/// sum that fits nothing.
pub(crate) fn pseudo(source: &[u8], destination: &[u8], protocol: u8, len: usize) -> u64 {
    let len = len as u64;
    let sum = u64::from(protocol) + (len >> 16) + (len & 0xffff);
    add(add(sum, source), destination)
}

/// As [`pseudo`], from addresses.
pub(crate) fn pseudo_of(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => pseudo(&s.octets(), &d.octets(), protocol, len),
        (IpAddr::V6(s), IpAddr::V6(d)) => pseudo(&s.octets(), &d.octets(), protocol, len),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_rfc_1071_section_3() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(add(0, &bytes)), 0xddf2);
    }

    #[test]
    fn every_length_and_split_gives_the_same_sum_as_word_by_word() {
        let bytes: [u8; 67] = core::array::from_fn(|i| (i * 151 + 7) as u8);
        for len in 0..=bytes.len() {
            let mut slow = 0u64;
            for pair in bytes[..len].chunks(2) {
                slow += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            }
            assert_eq!(fold(add(0, &bytes[..len])), fold(slow), "{len}");
            let middle = (len / 2) & !1;
            let split = add(add(0, &bytes[..middle]), &bytes[middle..len]);
            assert_eq!(fold(split), fold(slow), "{len}");
        }
    }
}
