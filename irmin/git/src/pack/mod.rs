//! Packs: many objects in one file, with an index beside it (gitformat-pack(5)).

mod delta;
mod file;
mod gather;
mod index;
mod write;

pub(crate) use delta::apply;
pub(crate) use file::{Base, Pack};
pub(crate) use gather::Gather;
pub(crate) use write::{Built, Writer};

use irmin::Kind;

/// How many deltas may stand on one another before an object is whole: what Git itself allows at
/// most. A loop of deltas ends here.
pub(crate) const MAX_DEPTH: usize = 4095;

/// How long a chain we write at most.
const OUR_DEPTH: u8 = 50;

/// A kind as packs number it.
fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

const OFFSET_DELTA: u8 = 6;
const ID_DELTA: u8 = 7;
