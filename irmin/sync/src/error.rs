//! Why nothing was moved from one store to another.

use std::io;

use irmin::{BackendError, Format, UpdateError};
use irmin_packfile::PackError;

use crate::capabilities::format_name;
use crate::pktline::PacketError;
use crate::walk::WalkError;

/// A fetch or push that did not happen. No name has moved, here or (as far as was heard) there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The other side said why it does not go on.
    #[error("the other side says: {said}")]
    Remote {
        /// Its words, without control characters.
        said: String,
    },
    /// The other side did what the protocol does not allow.
    #[error("the other side breaks the protocol: {what}; nothing was moved")]
    Protocol {
        /// What it did.
        what: String,
    },
    /// What came is not Git's protocol, or the connection failed.
    #[error(transparent)]
    Packet(PacketError),
    /// The two stores keep different formats.
    #[error("the store there keeps {}, the one here {}; convert one of them first", format_name(*.there), format_name(*.here))]
    Format {
        /// The format of the other side.
        there: Format,
        /// Our own.
        here: Format,
    },
    /// No connection could be made, or it was refused.
    #[error("{0}")]
    Connect(String),
    /// The other side asks who we are, or does not believe it.
    #[error("{url} wants a user and password or a token{}", if *.given { "; those given were refused" } else { "" })]
    Unauthorized {
        /// Where, without secrets.
        url: String,
        /// Whether some were given.
        given: bool,
    },
    /// A name that was asked for is not there.
    #[error("the other side has no {name}")]
    NoSuchName {
        /// What was asked for.
        name: String,
    },
    /// Objects that must be here are not, though the other side said that it sent all.
    #[error("the other side left out objects: {0}; nothing was moved")]
    Incomplete(#[source] WalkError),
    /// Objects of ours could not be listed.
    #[error(transparent)]
    Walk(WalkError),
    /// The pack that came is refused, or none could be made.
    #[error(transparent)]
    Pack(PackError),
    /// A text that is no URL, refspec or option of ours.
    #[error("{0}")]
    Invalid(String),
    /// Names here could not be moved.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Our own store failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Sending failed.
    #[error("cannot send to the other side: {0}")]
    Send(#[source] io::Error),
}

impl From<PacketError> for SyncError {
    fn from(error: PacketError) -> SyncError {
        match error {
            PacketError::Remote { said } => SyncError::Remote { said },
            error => SyncError::Packet(error),
        }
    }
}

impl From<io::Error> for SyncError {
    /// While a request is written.
    fn from(error: io::Error) -> SyncError {
        SyncError::Send(error)
    }
}

/// The other side broke the protocol.
pub(crate) fn protocol<T>(what: impl Into<String>) -> Result<T, SyncError> {
    Err(SyncError::Protocol { what: what.into() })
}
