//! Ways to a server.

#[cfg(feature = "transports")]
mod command;
#[cfg(feature = "transports")]
mod http;
#[cfg(feature = "transports")]
mod local;
#[cfg(feature = "transports")]
mod pushes;
#[cfg(feature = "transports")]
mod settings;
mod stream;
#[cfg(feature = "transports")]
mod tcp;
#[cfg(feature = "transports")]
mod timed;
#[cfg(feature = "transports")]
mod url;

use std::io::{Read, Write};

#[cfg(feature = "transports")]
pub use self::command::{Program, git_elsewhere};
#[cfg(feature = "transports")]
pub use self::http::Http;
#[cfg(feature = "transports")]
pub use self::local::Local;
#[cfg(feature = "transports")]
pub use self::pushes::Taker;
#[cfg(feature = "transports")]
pub use self::settings::{Calls, Credentials, Settings, connect};
pub use self::stream::Stream;
#[cfg(feature = "transports")]
pub use self::tcp::Daemon;
#[cfg(feature = "transports")]
pub use self::url::Url;
use crate::error::SyncError;
pub use crate::server::Service;

/// A way to a server.
pub trait Transport: Send {
    /// Where it leads to, without secrets, for messages.
    fn url(&self) -> String;

    /// Begins a conversation: connects and asks for a service, in this version of the protocol if the
    /// server knows it. Waits until there is a connection.
    ///
    /// # Errors
    /// [`SyncError::Connect`], [`SyncError::Unauthorized`].
    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError>;
}

/// A conversation with a service. Dropping it breaks it off.
pub trait Connection {
    /// Whether each request stands alone, so that it has to say again what was said before (HTTP).
    fn is_stateless(&self) -> bool;

    /// What the server says first. To be read before the first request, up to its flush packet.
    ///
    /// # Errors
    /// [`SyncError`].
    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, SyncError>;

    /// Sends what `write` writes, and gives what the server answers: to be read as far as the protocol
    /// says. `write` is called once.
    ///
    /// # Errors
    /// [`SyncError`]; those of `write` too.
    fn request(&mut self, write: &mut WriteRequest<'_>) -> Result<Box<dyn Read + '_>, SyncError>;

    /// Ends it when everything is said: waits until the server has gone too.
    ///
    /// # Errors
    /// [`SyncError`].
    fn finish(self: Box<Self>) -> Result<(), SyncError> {
        Ok(())
    }
}

/// Writes a request.
pub type WriteRequest<'a> = dyn FnMut(&mut dyn Write) -> Result<(), SyncError> + 'a;
