//! Numbers as they lie on disk, and those of kinds.

use irmin::Kind;

/// The kind of this number.
pub fn kind(number: u8) -> Option<Kind> {
    Some(match number {
        1 => Kind::Blob,
        2 => Kind::Tree,
        3 => Kind::Commit,
        4 => Kind::Tag,
        _ => return None,
    })
}

pub fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Blob => 1,
        Kind::Tree => 2,
        Kind::Commit => 3,
        Kind::Tag => 4,
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
