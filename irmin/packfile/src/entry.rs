//! The head of an entry: what it is and how large.

use irmin::{Format, Id, Kind};

/// How many deltas may stand on one another before an object is whole: what Git itself allows at
/// most.
pub const MAX_DEPTH: usize = 4095;

const OFFSET_DELTA: u8 = 6;
const ID_DELTA: u8 = 7;

/// What the data of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// An object.
    Whole(Kind),
    /// A delta for the object that begins at this offset of the pack, before the entry itself.
    Offset(u64),
    /// A delta for this object, which is in the same pack or, in a thin pack, with the receiver.
    Id(Id),
}

/// The head of an entry; its data follow as a zlib stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the data are.
    pub base: Base,
    /// How many bytes the data have, inflated. Claimed, not checked.
    pub size: u64,
    /// How many bytes this head has itself.
    pub length: usize,
}

/// What [`Header::parse`] made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A head.
    Header(Header),
    /// The beginning of a head: more bytes are needed (no head has more than 42).
    Short,
    /// No head.
    Broken,
}

impl Header {
    /// Reads the head at the beginning of `bytes`, of the entry that begins at `offset`.
    pub fn parse(bytes: &[u8], offset: u64, format: Format) -> Parsed {
        let mut rest = bytes.iter().copied();
        let Some(mut byte) = rest.next() else {
            return Parsed::Short;
        };
        let code = byte >> 4 & 7;
        let mut size = u64::from(byte & 15);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            if shift > 53 {
                return Parsed::Broken;
            }
            let Some(next) = rest.next() else {
                return Parsed::Short;
            };
            byte = next;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let base = match code {
            1 => Base::Whole(Kind::Commit),
            2 => Base::Whole(Kind::Tree),
            3 => Base::Whole(Kind::Blob),
            4 => Base::Whole(Kind::Tag),
            OFFSET_DELTA => {
                let Some(mut byte) = rest.next() else {
                    return Parsed::Short;
                };
                let mut back = u64::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    let Some(next) = rest.next() else {
                        return Parsed::Short;
                    };
                    byte = next;
                    let more = back.checked_add(1).and_then(|back| back.checked_mul(128));
                    let Some(more) = more else {
                        return Parsed::Broken;
                    };
                    back = more | u64::from(byte & 0x7f);
                }
                match offset.checked_sub(back) {
                    Some(base) if back > 0 => Base::Offset(base),
                    _ => return Parsed::Broken,
                }
            }
            ID_DELTA => {
                let at = bytes.len() - rest.len();
                let Some(id) = bytes.get(at..at + format.id_len()) else {
                    return Parsed::Short;
                };
                rest = bytes[at + id.len()..].iter().copied();
                Base::Id(Id::from_bytes(id).expect("20 or 32 bytes"))
            }
            _ => return Parsed::Broken,
        };
        Parsed::Header(Header {
            base,
            size,
            length: bytes.len() - rest.len(),
        })
    }

    /// Appends the head of an entry that begins at `offset`, with so many bytes of data.
    pub fn push(base: Base, size: u64, offset: u64, out: &mut Vec<u8>) {
        let code = match base {
            Base::Whole(Kind::Commit) => 1,
            Base::Whole(Kind::Tree) => 2,
            Base::Whole(Kind::Blob) => 3,
            Base::Whole(Kind::Tag) => 4,
            Base::Offset(_) => OFFSET_DELTA,
            Base::Id(_) => ID_DELTA,
        };
        let mut byte = code << 4 | (size & 15) as u8;
        let mut size = size >> 4;
        while size > 0 {
            out.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        out.push(byte);
        match base {
            Base::Whole(_) => {}
            Base::Offset(base) => push_distance(offset - base, out),
            Base::Id(base) => out.extend_from_slice(base.as_bytes()),
        }
    }
}

/// A distance as packs write it: seven bits a byte, the highest first, each step one more.
fn push_distance(mut back: u64, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let mut at = bytes.len() - 1;
    bytes[at] = (back & 0x7f) as u8;
    back >>= 7;
    while back > 0 {
        back -= 1;
        at -= 1;
        bytes[at] = 0x80 | (back & 0x7f) as u8;
        back >>= 7;
    }
    out.extend_from_slice(&bytes[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_distance_of_more_than_64_bits_is_no_head() {
        // What stands before the last byte is 2^64 - 1, which has no successor.
        let bytes = [&[0x60, 0x80][..], &[0xfe; 8], &[0xff, 5]].concat();
        let parsed = Header::parse(&bytes, u64::MAX, Format::GitSha1);
        assert_eq!(parsed, Parsed::Broken);
    }

    proptest! {
        #[test]
        fn a_head_reads_as_it_was_written(size in 0u64..1 << 57, back: u32, code in 0u8..6, id: [u8; 20]) {
            let kinds = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];
            let offset = 1 << 40;
            let base = match kinds.get(usize::from(code)) {
                Some(&kind) => Base::Whole(kind),
                None if code == 4 => Base::Offset(offset - 1 - u64::from(back)),
                None => Base::Id(Id::from_bytes(&id).unwrap()),
            };
            let mut bytes = Vec::new();
            Header::push(base, size, offset, &mut bytes);
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(Header::parse(&bytes[..cut], offset, Format::GitSha1), Parsed::Short);
            }
            bytes.push(7);
            let header = Header { base, size, length };
            prop_assert_eq!(Header::parse(&bytes, offset, Format::GitSha1), Parsed::Header(header));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, offset: u64) {
            let _ = Header::parse(&bytes, offset, Format::GitSha256);
        }
    }
}
