//! Object ids: 20 or 32 bytes.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

/// The name of an object: the hash of its kind, length and bytes.
///
/// 20 bytes in Git's SHA-1 format, 32 bytes in the others. Printed, and read, as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    bytes: [u8; 32],
    len: u8,
}

impl Id {
    /// An id of these 20 or 32 bytes; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Id> {
        if bytes.len() != 20 && bytes.len() != 32 {
            return None;
        }
        let mut id = Id {
            bytes: [0; 32],
            len: bytes.len() as u8,
        };
        id.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(id)
    }

    /// The 20 or 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Reads an id from 40 or 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`IdError`] for another length or another character.
    pub fn from_hex(hex: &[u8]) -> Result<Id, IdError> {
        if hex.len() != 40 && hex.len() != 64 {
            return Err(IdError);
        }
        let mut id = Id {
            bytes: [0; 32],
            len: (hex.len() / 2) as u8,
        };
        for (byte, pair) in id.bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(id)
    }

    /// The lower-case hexadecimal digits, as ASCII.
    pub fn to_hex(&self) -> Vec<u8> {
        let mut hex = Vec::with_capacity(2 * usize::from(self.len));
        self.push_hex(&mut hex);
        hex
    }

    pub(crate) fn push_hex(&self, into: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.as_bytes() {
            into.push(DIGITS[usize::from(byte >> 4)]);
            into.push(DIGITS[usize::from(byte & 15)]);
        }
    }

    /// Whether the hexadecimal form begins with these digits, in either case.
    pub fn begins_with(&self, hex: &str) -> bool {
        let digits = hex.as_bytes();
        digits.len() <= 2 * usize::from(self.len)
            && digits.iter().enumerate().all(|(at, &wanted)| {
                let byte = self.bytes[at / 2];
                digit(wanted) == Ok(if at % 2 == 0 { byte >> 4 } else { byte & 15 })
            })
    }
}

fn digit(byte: u8) -> Result<u8, IdError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(IdError),
    }
}

impl Hash for Id {
    /// The bytes are a hash already: eight of them are enough for a table's hasher.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.bytes[..8]);
        state.write_u64(u64::from_le_bytes(first));
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(hex: &str) -> Result<Id, IdError> {
        Id::from_hex(hex.as_bytes())
    }
}

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 40 or 64 hexadecimal digits")]
pub struct IdError;
