//! Clone, fetch and push between Irmin stores and Git servers.
//!
//! What both sides share, without files and sockets: Git's packets ([`pktline`]), what a server says
//! first ([`advertisement`], [`capabilities`]), and what one store has and another lacks ([`walk`]).
//! The server's side ([`server`]) is made of them.

#![forbid(unsafe_code)]

pub mod advertisement;
pub mod capabilities;
mod error;
pub mod pktline;
pub mod server;
mod text;
pub mod walk;

pub use error::SyncError;
pub use text::clean;
