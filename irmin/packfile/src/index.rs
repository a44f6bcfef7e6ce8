//! The index that Git keeps beside a pack (version 2): from an id to its place.

use irmin::{Format, Id};

use crate::Hasher;

/// The first bytes of an index of version 2.
const MAGIC: [u8; 8] = *b"\xfftOc\0\0\0\x02";

/// One object of a pack, as its index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The object.
    pub id: Id,
    /// Where its entry begins.
    pub offset: u64,
    /// The CRC-32 of the entry, head and stream.
    pub crc: u32,
}

/// The bytes of an index of these objects, which are sorted by id, for the pack of this checksum.
pub fn encode_index(format: Format, places: &[Place], pack: &Id) -> Vec<u8> {
    let mut out = Vec::with_capacity(1100 + places.len() * (format.id_len() + 8));
    out.extend_from_slice(&MAGIC);
    push_table(places.iter().map(|place| place.id), &mut out);
    for place in places {
        out.extend_from_slice(&place.crc.to_be_bytes());
    }
    let mut far = Vec::new();
    for place in places {
        let near = u32::try_from(place.offset)
            .ok()
            .filter(|near| near & 0x8000_0000 == 0);
        let near = near.unwrap_or_else(|| {
            far.push(place.offset);
            0x8000_0000 | (far.len() - 1) as u32
        });
        out.extend_from_slice(&near.to_be_bytes());
    }
    far.iter()
        .for_each(|offset| out.extend_from_slice(&offset.to_be_bytes()));
    out.extend_from_slice(pack.as_bytes());
    Hasher::seal(format, &mut out);
    out
}

/// Appends the table of ids that indexes and commit-graphs share: 256 counts by first byte, then the
/// ids, which are sorted.
pub fn push_table(ids: impl Iterator<Item = Id> + Clone, into: &mut Vec<u8>) {
    let mut counts = [0u32; 256];
    for id in ids.clone() {
        counts[usize::from(id.as_bytes()[0])] += 1;
    }
    let mut sum = 0;
    for count in counts {
        sum += count;
        into.extend_from_slice(&sum.to_be_bytes());
    }
    for id in ids {
        into.extend_from_slice(id.as_bytes());
    }
}
