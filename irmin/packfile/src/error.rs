//! Why a pack was not taken in or given out.

use std::io;

use irmin::{BackendError, CollisionAttack, Id};

/// A pack that was not taken in or given out. Nothing points to what came before the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The stream ended in the middle.
    #[error("the pack ends after {offset} bytes, in its middle; the sender stopped: try again")]
    Cut {
        /// How many bytes came.
        offset: u64,
    },
    /// The bytes are no pack.
    #[error("the pack is damaged at byte {offset}: {wrong}; have it sent again")]
    Damaged {
        /// Where the entry begins.
        offset: u64,
        /// What is wrong.
        wrong: &'static str,
    },
    /// A limit would be passed.
    #[error("the pack is refused: {what}")]
    TooLarge {
        /// What is larger than which limit.
        what: String,
    },
    /// Deltas stand on an object that is neither in the pack nor in the store.
    #[error(
        "the pack has {count} deltas for objects that are not there, such as {base}; have a whole pack sent"
    )]
    MissingBase {
        /// One of the objects.
        base: Id,
        /// How many deltas.
        count: u64,
    },
    /// An object that was built to collide with another.
    #[error("the pack is refused: {0}")]
    Collision(#[from] CollisionAttack),
    /// An object of the pack has the id of one that is here, and other bytes.
    #[error("the pack is refused: it has other bytes for {id}, which is here already")]
    Differs {
        /// The id.
        id: Id,
    },
    /// An object that was to be given is not here.
    #[error("{id} is not in the store, so that no pack of it can be made; check the store (fsck)")]
    Missing {
        /// The object.
        id: Id,
    },
    /// The stream could not be read.
    #[error("reading the pack: {0}")]
    Read(#[source] io::Error),
    /// The stream could not be written.
    #[error("writing the pack: {0}")]
    Write(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
