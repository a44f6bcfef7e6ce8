//! The bytes of Git's objects, read and written bit for bit.
//!
//! What Git kept from old programs (modes with zeros in front, odd time zones, headers nobody knows)
//! is kept here too: what is read is written back the same.

mod commit;
mod signature;
mod tag;
mod tree;

pub use commit::CommitData;
pub use signature::Signature;
pub use tag::TagData;
pub use tree::{Mode, TreeEntries, TreeEntry, git_order, push_entry};

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that are no object of their kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} is malformed: {what}")]
pub struct Malformed {
    /// What they should have been.
    pub kind: crate::Kind,
    /// What is wrong.
    pub what: String,
}

fn malformed<T>(kind: crate::Kind, what: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed {
        kind,
        what: what.into(),
    })
}

/// The bytes up to the end of the line, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&b| b == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The bytes of a directory without entries.
pub fn empty_tree(format: crate::Format) -> Vec<u8> {
    // In the native format a page says how far it is above the leaves.
    if format.is_git() {
        Vec::new()
    } else {
        alloc::vec![0]
    }
}
