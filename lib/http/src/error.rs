use core::fmt;

use mirage_device::FlowError;

use crate::Status;

/// Why a message could not be received or sent. All are final for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The connection below failed.
    Flow(FlowError),
    /// The peer was slower than the limits allow.
    TimedOut,
    /// The peer closed the connection in the middle of a message.
    Ended,
    /// The peer broke the protocol; the text says how.
    Malformed(&'static str),
    /// The peer's content is longer than the limits allow.
    TooLarge,
    /// A name, value or target given by the application cannot be sent: it holds bytes that
    /// would end the line, or it is one that only the library may set.
    Field,
    /// The application wrote more or fewer bytes than it had announced.
    Length,
    /// The answer had been completed before.
    Answered,
}

impl Error {
    /// The status that tells the peer; `None` when there is no use in telling it anything.
    pub(crate) const fn status(self) -> Option<Status> {
        match self {
            Self::Flow(_) | Self::Ended => None,
            Self::TimedOut => Some(Status::REQUEST_TIMEOUT),
            Self::Malformed(_) => Some(Status::BAD_REQUEST),
            Self::TooLarge => Some(Status::CONTENT_TOO_LARGE),
            Self::Field | Self::Length | Self::Answered => Some(Status::INTERNAL_SERVER_ERROR),
        }
    }
}

impl From<FlowError> for Error {
    fn from(error: FlowError) -> Self {
        Self::Flow(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flow(error) => return error.fmt(f),
            Self::TimedOut => "the peer was too slow",
            Self::Ended => "the peer closed the connection in the middle of a message",
            Self::Malformed(how) => return write!(f, "the peer broke the protocol: {how}"),
            Self::TooLarge => "the content is longer than the limit",
            Self::Field => "a header field or target cannot be sent as it was given",
            Self::Length => "the content's length is not the announced one",
            Self::Answered => "the request has been answered already",
        })
    }
}

impl core::error::Error for Error {}
