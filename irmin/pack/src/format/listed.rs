//! The list of what a block holds.

use alloc::vec::Vec;

use bytes::Bytes;
use irmin::Kind;

use super::{kind, kind_number, u32_at, u64_at};

/// The most bytes that are compressed together.
pub const RAW: usize = 64 << 10;
/// Bytes of an object in a block's list.
pub const LISTED: usize = 12;

/// An object as a block's list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: u64,
    pub kind: Kind,
    pub len: u32,
}

impl Listed {
    /// Appends it to a list.
    pub fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        let number = u32::from(kind_number(self.kind)) << 24 | self.len;
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// The list at the beginning of a block's payload, of so many objects, and what follows; `None` if it
/// makes no sense.
pub fn list(payload: &Bytes, count: u32) -> Option<(Vec<Listed>, Bytes)> {
    let bytes = (count as usize).checked_mul(LISTED)?;
    let mut listed = Vec::with_capacity(payload.get(..bytes)?.len() / LISTED);
    let mut raw = 0usize;
    for entry in payload[..bytes].chunks_exact(LISTED) {
        let number = u32_at(entry, 8);
        let (kind, len) = (kind((number >> 24) as u8)?, number & 0xff_ffff);
        raw = raw.saturating_add(len as usize);
        listed.push(Listed {
            key: u64_at(entry, 0),
            kind,
            len,
        });
    }
    (raw <= RAW).then(|| (listed, payload.slice(bytes..)))
}
